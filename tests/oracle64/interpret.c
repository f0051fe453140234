/* A case as a user program of one instruction: code and data are mapped for EL0 where the subject has them, and SVC comes behind. What it ends by
 * is seen at EL1, whose vectors are HVC instructions: an exit.
 *
 *     0x40000000  memory
 *       0x000000    vectors
 *       0x001000    translation tables of level 1, 2 and 3
 *       0x010000    the page of code
 *       0x020000    the data
 */
#include "tests/oracle64/interpret.h"

#include "arch/aarch64/sysregs.h"
#include "arch/state.h"
#include "board/aarch64/start.h"
#include "core/vm.h"
#include "engine/dbt/dbt_engine.h"
#include "engine/interp/aarch64/cpu.h"
#include "engine/interp/interp.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY      0x40000000ull
#define MEMORY_SIZE 0x80000u
#define LEVEL1      0x1000u
#define LEVEL2      0x2000u
#define LEVEL3      0x3000u
#define CODE        0x10000u
#define DATA        0x20000u

#define HVC    0xd4000002u
#define SVC(n) (0xd4000001u | (n) << 5)

struct interpreted {
	struct vm *vm;
	uint8_t *memory;
};

static void put64(struct interpreted *m, uint64_t at, uint64_t value)
{
	memcpy(m->memory + at, &value, sizeof(value));
}

static void put32(struct interpreted *m, uint64_t at, uint32_t value)
{
	memcpy(m->memory + at, &value, sizeof(value));
}

static unsigned level3_index(uint64_t address)
{
	return address >> 12 & 511;
}

/* A page: EL0 reads and writes, and executes code. */
static void map(struct interpreted *m, uint64_t address, uint64_t at, bool code)
{
	const uint64_t attributes = 1ull << 11 | 1u << 10 | 3u << 8 | 1u << 6 | 3; /* nG, AF, inner shareable, AP EL0 */

	put64(m, LEVEL3 + 8 * level3_index(address), (MEMORY + at) | attributes | (code ? 0 : 1ull << 54));
}

struct interpreted *interpreted_create(int translated)
{
	const struct engine_ops *engine = translated ? &dbt_a64_engine : &interp_a64_engine;
	struct interpreted *m = calloc(1, sizeof(*m));
	char why[256] = "";

	m->vm = vm_create(&(struct vm_params){.engine = engine, .cpus = 1});
	m->memory = aligned_alloc(PAGE_SIZE, MEMORY_SIZE);
	if (!m->vm || !m->memory)
		abort();
	m->vm->arch_ops = a64_board_arch_ops;
	memset(m->memory, 0, MEMORY_SIZE);
	for (unsigned at = 0; at < 0x800; at += 4)
		put32(m, at, HVC);
	put64(m, LEVEL1, (MEMORY + LEVEL2) | 3);
	put64(m, LEVEL1 + 8, MEMORY | 1u << 10 | 3u << 8 | 1); /* for EL1 */
	put64(m, LEVEL2 + 8 * (CODE_ADDRESS >> 21), (MEMORY + LEVEL3) | 3);
	map(m, CODE_ADDRESS, CODE, true);
	for (unsigned at = 0; at < DATA_SIZE; at += PAGE_SIZE)
		map(m, DATA_ADDRESS + at, DATA + at, false);
	put32(m, CODE + 4, SVC(0));
	put32(m, CODE + 8, SVC(1));
	if (mem_add_slot(&m->vm->mem, MEMORY, MEMORY_SIZE, m->memory, false) || engine->vm_init(m->vm, why, sizeof(why)) ||
	    engine->vcpu_init(m->vm->vcpus[0], why, sizeof(why))) {
		fprintf(stderr, "%s: %s\n", engine->name, why);
		exit(77);
	}
	return m;
}

/* ---- state ---- */

static void to_state(const struct registers *r, union arch_state *state)
{
	struct a64_state *s = &state->a64;

	a64_start_state(state, 0, CODE_ADDRESS, 0);
	memcpy(s->x, r->x, sizeof(s->x));
	memcpy(s->v, r->v, sizeof(s->v));
	s->sp[0] = r->sp;
	s->pstate = r->nzcv;
	s->fpcr = (uint32_t)r->fpcr;
	s->fpsr = (uint32_t)r->fpsr;
	s->sys[A64_SYS_SCTLR_EL1] |= A64_SCTLR_M;
	s->sys[A64_SYS_TCR_EL1] = 25 | 1ull << 23 | 5ull << 32 | 1ull << 37; /* 39 bits by TTBR0, with tags; none by TTBR1 */
	s->sys[A64_SYS_TTBR0_EL1] = MEMORY + LEVEL1;
	s->sys[A64_SYS_MAIR_EL1] = 0xff;
	s->sys[A64_SYS_VBAR_EL1] = MEMORY;
	s->sys[A64_SYS_CPACR_EL1] = 3u << 20;
}

static void from_state(const struct a64_state *s, struct registers *r)
{
	memcpy(r->x, s->x, sizeof(r->x));
	memcpy(r->v, s->v, sizeof(r->v));
	r->sp = s->sp[0];
	r->nzcv = s->sys[A64_SYS_SPSR_EL1] & A64_PSTATE_NZCV;
	r->fpcr = s->fpcr;
	r->fpsr = s->fpsr;
}

/* The signal that Linux makes of an exception (arch/arm64/mm/fault.c, kernel/traps.c). */
static uint32_t signal_of(const struct a64_state *s, uint32_t *taken)
{
	const uint64_t esr = s->sys[A64_SYS_ESR_EL1];
	const unsigned class = esr >> 26 & 63, fault = esr & 63;

	*taken = 0;
	switch (class) {
	case A64_EC_SVC:
		*taken = esr & 1;
		return 0;
	case A64_EC_DATA_LOWER:
		return fault == 0x21 ? SIGBUS : SIGSEGV;
	case A64_EC_FETCH_LOWER:
		return SIGSEGV;
	case A64_EC_PC_ALIGNMENT:
	case A64_EC_SP_ALIGNMENT:
		return SIGBUS;
	case A64_EC_BRK:
		return SIGTRAP;
	default:
		return SIGILL;
	}
}

void interpreted_run(struct interpreted *m, struct oracle_case *one)
{
	const struct engine_ops *engine = m->vm->engine;
	struct vcpu *vcpu = m->vm->vcpus[0];
	struct vm_exit exit = {.kind = VM_EXIT_INTERRUPTED};
	uint64_t *data = (void *)(m->memory + DATA);
	union arch_state state;

	memset(data, 0, DATA_SIZE);
	memcpy((uint8_t *)data + WINDOW_OFFSET, one->window, WINDOW_SIZE);
	put32(m, CODE, one->word);
	mem_mark_written(&m->vm->mem, MEMORY + CODE, 4);
	to_state(&one->before, &state);
	if (engine->set_state(vcpu, &state))
		abort();
	do {
		if (engine->run(vcpu, &exit))
			abort();
	} while (exit.kind == VM_EXIT_INTERRUPTED);
	if (engine->get_state(vcpu, &state))
		abort();
	one->signal = signal_of(&state.a64, &one->taken);
	from_state(&state.a64, &one->after);
	one->data_sum = data_sum(data);
	memcpy(one->window, (uint8_t *)data + WINDOW_OFFSET, WINDOW_SIZE);
}
