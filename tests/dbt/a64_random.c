/* Translated A64 code against the interpreter: random programs on both engines, in a machine each; then registers and memory are compared.
 *
 * usage: a64_random [--count N] [--seed N]
 *
 *     0           devices
 *     0x40000000  2 MiB of memory, behind which are devices; in it, at
 *       0x110000    the program; then HVC, which ends it
 *       0x120000    the vectors: HVC everywhere
 *       0x130000    translation table: 1 GiB of devices and 1 GiB of memory, each where it is
 *       0x180000    64 KiB that the program loads from and stores to
 *
 * Programs reach all of memory, so everything is put in its place anew for each run.
 */
#include "arch/aarch64/decode.h"
#include "arch/aarch64/sysregs.h"
#include "arch/state.h"
#include "board/aarch64/start.h"
#include "core/vm.h"
#include "engine/dbt/dbt_engine.h"
#include "engine/interp/interp.h"
#include "tests/oracle/random.h"
#include "tests/unit/float_operands.h"
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define MEMORY_SIZE MIB(2)
#define MEMORY      0x40000000u
#define CODE        (MEMORY + 0x110000u)
#define VECTORS     (MEMORY + 0x120000u)
#define TABLE       (MEMORY + 0x130000u)
#define DATA        (MEMORY + 0x180000u)
#define DATA_SIZE   0x10000u
#define LENGTH      20u
#define HVC         0xd4000002u

/* The forms, as the decoder has them. */
struct form {
	uint32_t mask, value;
	uint16_t op;
	uint16_t first_exclusion, exclusion_count;
};
struct exclusion {
	uint32_t mask, value;
};
#include "arch/aarch64/a64_forms.c.inc"

struct machine {
	struct vm *vm;
	uint8_t *memory;
};

static struct random rng;

static uint32_t below(uint32_t bound)
{
	return (uint32_t)random_below(&rng, bound);
}

/* What is there already stays as it was, and translated. */
static void put(struct machine *m, uint64_t at, const void *bytes, size_t len)
{
	if (!memcmp(m->memory + (at - MEMORY), bytes, len))
		return;
	memcpy(m->memory + (at - MEMORY), bytes, len);
	mem_mark_written(&m->vm->mem, at, len);
}

static void machine_create(struct machine *m, const struct engine_ops *engine)
{
	char why[256] = "";

	m->vm = vm_create(&(struct vm_params){.engine = engine, .cpus = 1});
	m->memory = aligned_alloc(PAGE_SIZE, MEMORY_SIZE);
	if (!m->vm || !m->memory)
		abort();
	m->vm->arch_ops = a64_board_arch_ops;
	memset(m->memory, 0, MEMORY_SIZE);
	if (mem_add_slot(&m->vm->mem, MEMORY, MEMORY_SIZE, m->memory, false) || engine->vm_init(m->vm, why, sizeof(why)) ||
	    engine->vcpu_init(m->vm->vcpus[0], why, sizeof(why))) {
		fprintf(stderr, "%s: %s\n", engine->name, why);
		exit(77);
	}
}

/* Everything but the data. */
static void machine_fill(struct machine *m, const uint32_t *code, size_t size)
{
	const uint64_t attributes = 1u << 10 | 3u << 8 | 1; /* AF, inner shareable, attributes 0, EL1 alone, a block */
	const uint64_t table[2] = {attributes, MEMORY | attributes};
	uint32_t vectors[0x800 / 4];

	for (unsigned i = 0; i < ARRAY_SIZE(vectors); i++)
		vectors[i] = HVC;
	put(m, TABLE, table, sizeof(table));
	put(m, VECTORS, vectors, sizeof(vectors));
	put(m, CODE, code, size);
}

/* ---- programs ---- */

/* What leaves the processor's own state, depends on time, or goes where the program does not end. */
static bool is_excluded(enum a64_op op)
{
	switch (op) {
	case A64_sys:
	case A64_sysl:
	case A64_mrs:
	case A64_msr_reg:
	case A64_msr_spsel:
	case A64_msr_pan:
	case A64_msr_uao:
	case A64_msr_daifset:
	case A64_msr_daifclr:
	case A64_wfi:
	case A64_eret:
	case A64_hvc:
		return true;
	default:
		return false;
	}
}

static uint32_t with_field(uint32_t word, unsigned at, unsigned count, uint32_t value)
{
	const uint32_t mask = ((1u << count) - 1) << at;

	return (word & ~mask) | value << at;
}

/* Branches go forward a little, or to where x29 says: to the end. */
static uint32_t tame(uint32_t word)
{
	switch (a64_decode(word)) {
	case A64_b:
	case A64_bl:
		return with_field(word, 0, 26, 1 + below(4));
	case A64_b_cond:
	case A64_cbz:
	case A64_cbnz:
		return with_field(word, 5, 19, 1 + below(4));
	case A64_tbz:
	case A64_tbnz:
		return with_field(word, 5, 14, 1 + below(4));
	case A64_br:
	case A64_blr:
	case A64_ret:
		return with_field(word, 5, 5, 29);
	default:
		break;
	}
	/* Loads and stores mostly have a base that is an address, and an index that is small. */
	if ((word & 0x0a000000) == 0x08000000 && below(16)) {
		word = with_field(word, 5, 5, below(6) ? 24 + below(4) : 31);
		if ((word & 0x3b200c00) == 0x38200800)
			word = with_field(word, 16, 5, 20 + below(4));
	}
	return word;
}

#define NEAR_FORMS 80
static unsigned near_form;

static uint32_t random_instruction(void)
{
	for (;;) {
		/* Forms of one class are together: a program is mostly of what is near its own. */
		const unsigned any = below(ARRAY_SIZE(forms)), near = (near_form + below(NEAR_FORMS)) % ARRAY_SIZE(forms);
		const struct form *form = &forms[below(3) ? near : any];
		const uint32_t word = tame(form->value | ((uint32_t)random_next(&rng) & ~form->mask));
		const enum a64_op op = a64_decode(word);

		/* What the tables call unallocated is tried too, but rarely: it ends a program. */
		if (!is_excluded(op) && (op != A64_UNALLOCATED || !below(50)))
			return word;
	}
}

/* Any bits, or numbers of one format in all elements. */
static void random_vector(union a64_vreg *v)
{
	static struct float_random floats;
	const unsigned format = below(4);

	floats.state ^= random_next(&rng);
	random_fill(&rng, v, sizeof(*v));
	for (unsigned i = 0; i < 2 && format == 1; i++)
		v->d[i] = operand_ieee(&floats, 11, 52);
	for (unsigned i = 0; i < 4 && format == 2; i++)
		v->s[i] = (uint32_t)operand_ieee(&floats, 8, 23);
	for (unsigned i = 0; i < 8 && format == 3; i++)
		v->h[i] = (uint16_t)operand_ieee(&floats, 5, 10);
}

static void random_state(union arch_state *state, uint64_t end)
{
	struct a64_state *s = &state->a64;

	a64_start_state(state, 0, CODE, 0);
	for (unsigned i = 0; i < 31; i++)
		s->x[i] = random_integer(&rng);
	for (unsigned i = 20; i < 24; i++)
		s->x[i] = below(0x1000);
	for (unsigned i = 24; i < 29; i++)
		s->x[i] = DATA + 0x4000 + below(0x8000);
	for (unsigned i = 24; i < 26; i++)
		s->x[i] &= ~15ull;
	s->x[29] = end;
	s->sp[1] = DATA + 0x8000 + 16 * below(256);
	s->sp[0] = random_integer(&rng);
	for (unsigned i = 0; i < 32; i++)
		random_vector(&s->v[i]);
	s->fpcr = below(4) ? 0 : (uint32_t)random_next(&rng) & A64_FPCR_MASK;
	s->fpsr = below(2) ? 0 : (uint32_t)random_next(&rng) & A64_FPSR_MASK;
	s->pstate |= (uint64_t)below(16) << 28;
	s->sys[A64_SYS_SCTLR_EL1] |= A64_SCTLR_M | A64_SCTLR_SPAN | (below(2) ? A64_SCTLR_SA : 0);
	s->sys[A64_SYS_TCR_EL1] = 25 | 1ull << 23 | 5ull << 32; /* 39 bits by TTBR0, none by TTBR1 */
	s->sys[A64_SYS_TTBR0_EL1] = TABLE;
	s->sys[A64_SYS_MAIR_EL1] = 0xff;
	s->sys[A64_SYS_VBAR_EL1] = VECTORS;
	s->sys[A64_SYS_CPACR_EL1] = below(16) ? 3u << 20 : 0;
}

/* ---- running ---- */

/* Few programs come back to themselves, by an address that they made up: what runs for so long is left alone. */
#define ENDLESS_US 200000
static struct vcpu *_Atomic running;

static void on_alarm(int number)
{
	struct vcpu *vcpu = atomic_load(&running);

	if (!vcpu)
		return;
	atomic_fetch_or(&vcpu->request, VCPU_REQ_STOP);
	vcpu->vm->engine->kick(vcpu);
}

static void set_alarm(long us)
{
	setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_usec = us}, NULL);
}

/* To the HVC; false: it does not come there. A device reads as a number made of its address. */
static bool run(struct machine *m, const union arch_state *state, union arch_state *after)
{
	const struct engine_ops *engine = m->vm->engine;
	struct vcpu *vcpu = m->vm->vcpus[0];
	struct vm_exit exit = {.kind = VM_EXIT_INTERRUPTED};

	if (engine->set_state(vcpu, state))
		abort();
	atomic_store(&running, vcpu);
	set_alarm(ENDLESS_US);
	for (unsigned turns = 0; turns < 1000; turns++) {
		if (engine->run(vcpu, &exit))
			abort();
		if (exit.kind == VM_EXIT_HYPERCALL || (atomic_load(&vcpu->request) & VCPU_REQ_STOP))
			break;
		if (exit.kind == VM_EXIT_MMIO && !exit.mmio.write)
			exit.mmio.value = exit.mmio.gpa * 0x9e3779b97f4a7c15ull >> (64 - 8 * exit.mmio.size);
	}
	set_alarm(0);
	atomic_store(&running, NULL);
	if (engine->get_state(vcpu, after))
		abort();
	return !(atomic_fetch_and(&vcpu->request, ~(uint32_t)VCPU_REQ_STOP) & VCPU_REQ_STOP);
}

static void tell(const char *what, uint64_t interpreted, uint64_t translated)
{
	if (interpreted != translated)
		printf("  %s: interp %016llx dbt %016llx\n", what, (unsigned long long)interpreted, (unsigned long long)translated);
}

static void report(const uint32_t *code, const union arch_state *before, const struct a64_state *a, const struct a64_state *b)
{
	char name[16];

	for (unsigned i = 0; i < LENGTH; i++)
		printf("  %05x: %08x %s\n", CODE + 4 * i, code[i], a64_op_name(a64_decode(code[i])));
	for (unsigned i = 0; i < 31; i++) {
		snprintf(name, sizeof(name), "x%u", i);
		tell(name, a->x[i], b->x[i]);
	}
	for (unsigned i = 0; i < 32; i++) {
		snprintf(name, sizeof(name), "v%u", i);
		tell(name, a->v[i].d[0], b->v[i].d[0]);
		tell(name, a->v[i].d[1], b->v[i].d[1]);
	}
	tell("sp", a->sp[1], b->sp[1]);
	tell("pc", a->pc, b->pc);
	tell("pstate", a->pstate, b->pstate);
	tell("fpsr", a->fpsr, b->fpsr);
	tell("esr", a->sys[A64_SYS_ESR_EL1], b->sys[A64_SYS_ESR_EL1]);
	tell("elr", a->sys[A64_SYS_ELR_EL1], b->sys[A64_SYS_ELR_EL1]);
	tell("far", a->sys[A64_SYS_FAR_EL1], b->sys[A64_SYS_FAR_EL1]);
	printf("  pstate before: %llx\n", (unsigned long long)before->a64.pstate);
}

/* One program, three times with other data: the second and third find code that is translated and linked. */
static bool round_of(struct machine *machines)
{
	uint32_t code[LENGTH + 8];

	near_form = below(ARRAY_SIZE(forms));
	for (unsigned i = 0; i < ARRAY_SIZE(code); i++)
		code[i] = i < LENGTH ? random_instruction() : HVC;
	for (unsigned again = 0; again < 3; again++) {
		union arch_state before, after[2];

		random_state(&before, CODE + 4 * LENGTH);
		for (unsigned i = 0; i < DATA_SIZE; i += 8)
			*(uint64_t *)(void *)(machines[0].memory + (DATA - MEMORY) + i) = random_next(&rng);
		memcpy(machines[1].memory, machines[0].memory, MEMORY_SIZE);
		for (unsigned i = 0; i < 2; i++)
			machine_fill(&machines[i], code, sizeof(code));
		if (!run(&machines[0], &before, &after[0]) || !run(&machines[1], &before, &after[1]))
			continue;
		if (memcmp(&after[0].a64, &after[1].a64, sizeof(after[0].a64)) ||
		    memcmp(machines[0].memory, machines[1].memory, MEMORY_SIZE)) {
			report(code, &before, &after[0].a64, &after[1].a64);
			return false;
		}
	}
	return true;
}

int main(int argc, char **argv)
{
	struct machine machines[2];
	unsigned long count = 3000, seed = 1;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--count"))
			count = strtoul(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--seed"))
			seed = strtoul(argv[i + 1], NULL, 0);
	}
	rng = (struct random){seed};
	signal(SIGALRM, on_alarm);
	machine_create(&machines[0], &interp_a64_engine);
	machine_create(&machines[1], &dbt_a64_engine);
	for (unsigned long i = 0; i < count; i++) {
		if (!round_of(machines)) {
			printf("program %lu of seed %lu differs\n", i, seed);
			return 1;
		}
	}
	printf("%lu programs of %u instructions, three times each: no difference\n", count, LENGTH);
	return 0;
}
