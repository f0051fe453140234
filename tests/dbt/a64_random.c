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
#include "tests/oracle64/generate.h"
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

struct machine {
	struct vm *vm;
	uint8_t *memory;
};

static struct a64_generator generator = {.branch_words = 3, .data = DATA + 0x4000, .data_size = 0x8000, .index_size = 0x1000, .wild = 16};

static uint32_t below(uint32_t bound)
{
	return a64_generate_below(&generator, bound);
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

#define NEAR_FORMS 80
static unsigned near_form;

static uint32_t random_instruction(void)
{
	const unsigned count = a64_generate_form_count();

	for (;;) {
		/* Forms of one class are together: a program is mostly of what is near its own. */
		const uint32_t word = a64_generate_word(&generator, below(3) ? (near_form + below(NEAR_FORMS)) % count : below(count));
		const enum a64_op op = a64_decode(word);

		/* What the tables call unallocated is tried too, but rarely: it ends a program. */
		if (!is_excluded(op) && (op != A64_UNALLOCATED || !below(50)))
			return word;
	}
}

static void random_state(union arch_state *state, uint64_t end)
{
	struct a64_state *s = &state->a64;

	a64_start_state(state, 0, CODE, 0);
	a64_generate_registers(&generator, s, &s->sp[1]);
	s->x[29] = end;
	s->sp[0] = random_integer(&generator.rng);
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

	near_form = below(a64_generate_form_count());
	for (unsigned i = 0; i < ARRAY_SIZE(code); i++)
		code[i] = i < LENGTH ? random_instruction() : HVC;
	for (unsigned again = 0; again < 3; again++) {
		union arch_state before, after[2];

		random_state(&before, CODE + 4 * LENGTH);
		for (unsigned i = 0; i < DATA_SIZE; i += 8)
			*(uint64_t *)(void *)(machines[0].memory + (DATA - MEMORY) + i) = random_next(&generator.rng);
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
	generator.rng = (struct random){seed};
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
