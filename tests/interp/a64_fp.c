/* The interpreter's semantics of A64 floating point: one known answer for each line of arch/aarch64/fp.insns (a64_fp_cases.def).
 *
 * Example: `meson test -C build interp-a64-fp`
 */
#include "engine/interp/aarch64/cpu.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct known {
	const char *form;
	uint32_t insn;
	uint8_t before; /* index of states */
	uint32_t fpcr;
	union a64_vreg v;
	uint64_t x;
	uint32_t nzcv, fpsr;
};

static const struct known cases[] = {
#include "a64_fp_cases.def"
};

/* V0 to V3: halves, singles, doubles. */
static const union a64_vreg states[3][4] = {
	{{.d = {0x3c00c2007bff0001, 0x7e014500b8003555}}, {.d = {0x40007c00bc00c64a, 0x3800fc00048ac5ff}},
	 {.d = {0x3e00000046003c01, 0xb9990400c00068d0}}, {.d = {0x44cd8000c4003555, 0x3bff7d0141009666}}},
	{{.d = {0xbfc000003f9d70a4, 0x42f6e97900000001}}, {.d = {0x4048f5c3c0a00000, 0x7f800000c61c4000}},
	 {.d = {0x3eaaaaab40e00000, 0x7fc000433f800001}}, {.d = {0xc2c80000be4ccccd, 0x4b0000013f000000}}},
	{{.d = {0x3ff3ae147ae147ae, 0xc0091eb851eb851f}}, {.d = {0xc014000000000000, 0x40fe240c9fbe76c9}},
	 {.d = {0x3fd5555555555555, 0x7ff0000000000000}}, {.d = {0x4059000000000000, 0xbfe0000000000001}}},
};
static const uint64_t general[4] = {0x3039, 0xfffffffffffffff7, 0x123456789abcdef0, 0x7fffffff};

static a64_sem *const semantics[A64_OP_COUNT] = {
#define X(name, class) [A64_##name] = a64_sem_##name,
	A64_FORMS(X)
#undef X
};

static void known_answers(void **state)
{
	struct a64_cpu *cpu = calloc(1, sizeof(*cpu));

	assert_non_null(cpu);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct known *c = &cases[i];
		const unsigned d = c->insn & 3;
		const enum a64_op op = a64_decode(c->insn);

		if (strcmp(a64_op_name(op), c->form))
			fail_msg("%#010x is %s instead of %s", c->insn, a64_op_name(op), c->form);
		memset(&cpu->s, 0, sizeof(cpu->s));
		memcpy(cpu->s.v, states[c->before], sizeof(states[c->before]));
		memcpy(cpu->s.x, general, sizeof(general));
		cpu->s.fpcr = c->fpcr;
		cpu->s.pstate = A64_PSTATE_C;
		semantics[op](cpu, c->insn);
		if (memcmp(&cpu->s.v[d], &c->v, sizeof(c->v)) || cpu->s.x[d] != c->x || cpu->s.pstate != c->nzcv || cpu->s.fpsr != c->fpsr)
			fail_msg("%s %#010x on state %u, FPCR %#x: V %#llx %#llx, X %#llx, NZCV %#llx, FPSR %#x", c->form, c->insn, c->before,
				 c->fpcr, (unsigned long long)cpu->s.v[d].d[0], (unsigned long long)cpu->s.v[d].d[1],
				 (unsigned long long)cpu->s.x[d], (unsigned long long)cpu->s.pstate, cpu->s.fpsr);
	}
	free(cpu);
}

/* Every form of class FP has its known answer. */
static void all_forms(void **state)
{
	bool known[A64_OP_COUNT] = {false};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		known[a64_decode(cases[i].insn)] = true;
	for (unsigned op = A64_UNALLOCATED + 1; op < A64_OP_COUNT; op++) {
		if (a64_class_of(op) == A64_CLASS_FP && !known[op])
			fail_msg("%s has no known answer", a64_op_name(op));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),
		cmocka_unit_test(all_forms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
