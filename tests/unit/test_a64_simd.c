/* Integer Advanced SIMD of the AArch64 interpreter: known answers (DDI 0487 C7.2) of forms that round, saturate, shift by everything an
 * element has and more, or work on parts of registers; AES, SHA-1 and SHA-256 by their standards' examples; reserved values.
 */
#include "base/string.h"
#include "engine/interp/aarch64/cpu.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

static struct a64_cpu *cpu;

static a64_sem *const functions[A64_OP_COUNT] = {
#define X(name, class) [A64_##name] = a64_sem_##name,
	A64_FORMS(X)
#undef X
};

/* False: Undefined. */
static bool step(uint32_t insn)
{
	const enum a64_op op = a64_decode(insn);

	if (op == A64_UNALLOCATED)
		return false;
	if (setjmp(cpu->jump))
		return false;
	functions[op](cpu, insn);
	return true;
}

/* The word with these registers. */
static void step_on(uint32_t insn, unsigned d, unsigned n, unsigned m)
{
	assert_true(step((insn & ~0x3ffu) | d | n << 5 | m << 16));
}

static int set_up(void **state)
{
	cpu = calloc(1, sizeof(*cpu));
	return cpu ? 0 : -1;
}

static int tear_down(void **state)
{
	free(cpu);
	return 0;
}

/* ---- known answers: Vd = V0, Vn = V1, Vm = V2; the high doubleword first ---- */

struct answer {
	const char *text;
	uint32_t insn;
	uint64_t n[2], m[2], d[2], result[2];
	bool qc;
};

static const struct answer answers[] = {
	/* clang-format off */
	{"add v0.16b, v1.16b, v2.16b", 0x4e228420, {0x00ff7f8001020304, 0x0506070880818283}, {0x0101010180ff807f, 0x0102030480808080},
	 {0, 0}, {0x0100808181018383, 0x06080a0c00010203}, false},
	{"add v0.8b, v1.8b, v2.8b", 0x0e228420, {0xffffffffffffffff, 0x7f80ff0001020304}, {0x1111111111111111, 0x0101010180ff807f},
	 {0xffffffffffffffff, 0xffffffffffffffff}, {0x0000000000000000, 0x8081000181018383}, false},
	{"addp v0.4h, v1.4h, v2.4h", 0x0e62bc20, {0xffffffffffffffff, 0x0001000200030004}, {0xffffffffffffffff, 0x1000200030004000},
	 {0, 0}, {0x0000000000000000, 0x3000700000030007}, false},
	{"addp d0, v1.2d", 0x5ef1b820, {0xffffffffffffffff, 0x0000000000000002}, {0, 0},
	 {0xffffffffffffffff, 0xffffffffffffffff}, {0x0000000000000000, 0x0000000000000001}, false},
	{"addv h0, v1.8h", 0x4e71b820, {0x0001000200030004, 0x0005000600078000}, {0, 0},
	 {0xffffffffffffffff, 0xffffffffffffffff}, {0x0000000000000000, 0x000000000000801c}, false},
	{"uaddlv s0, v1.8h", 0x6e703820, {0xffffffffffffffff, 0xffffffffffffffff}, {0, 0},
	 {0, 0}, {0x0000000000000000, 0x000000000007fff8}, false},
	{"sminv b0, v1.16b", 0x4e31a820, {0x0001020304058006, 0x0708090a0b0c0d0e}, {0, 0},
	 {0xffffffffffffffff, 0xffffffffffffffff}, {0x0000000000000000, 0x0000000000000080}, false},
	{"umaxp v0.16b, v1.16b, v2.16b", 0x6e22a420, {0x0001020304050607, 0x08090a0b0c0d0e0f}, {0xf0e1d2c3b4a59687, 0x78695a4b3c2d1e0f},
	 {0, 0}, {0xf0d2b496785a3c1e, 0x01030507090b0d0f}, false},
	{"sqadd v0.8h, v1.8h, v2.8h", 0x4e620c20, {0x7fff80007fff8000, 0x000100020003fffe}, {0x0001ffff80008000, 0x00000000fffd0002},
	 {0, 0}, {0x7fff8000ffff8000, 0x0001000200000000}, true},
	{"sqadd v0.4h, v1.4h, v2.4h", 0x0e620c20, {0x7fff80007fff8000, 0x000100020003fffe}, {0x0001ffff80008000, 0x00000000fffd0002},
	 {0, 0}, {0x0000000000000000, 0x0001000200000000}, false},
	{"uqsub d0, d1, d2", 0x7ee22c20, {0x0000000000000000, 0x0000000000000001}, {0x0000000000000000, 0x0000000000000002},
	 {0xffffffffffffffff, 0xffffffffffffffff}, {0, 0}, true},
	{"suqadd v0.16b, v1.16b", 0x4e203820, {0xff7f800102030405, 0x06070809ff0a0b0c}, {0, 0},
	 {0x807f01ff7f80fe00, 0x010203047f7e7d7c}, {0x7f7f7f007f830205, 0x07090b0d7f7f7f7f}, true},
	{"usqadd v0.4s, v1.4s", 0x6ea03820, {0xffffffff80000000, 0x7fffffff00000001}, {0, 0},
	 {0x000000007fffffff, 0xfffffffeffffffff}, {0x0000000000000000, 0xffffffffffffffff}, true},
	{"sqabs v0.2d, v1.2d", 0x4ee07820, {0x8000000000000000, 0xffffffffffffffff}, {0, 0},
	 {0, 0}, {0x7fffffffffffffff, 0x0000000000000001}, true},
	{"sqneg b0, b1", 0x7e207820, {0x8080808080808080, 0x8080808080808080}, {0, 0},
	 {0xffffffffffffffff, 0xffffffffffffffff}, {0x0000000000000000, 0x000000000000007f}, true},
	{"sqdmulh v0.4s, v1.4s, v2.4s", 0x4ea2b420, {0x8000000080000000, 0x7fffffff00010000}, {0x800000007fffffff, 0x7fffffff00008000},
	 {0, 0}, {0x7fffffff80000001, 0x7ffffffe00000001}, true},
	{"sqrdmulh v0.8h, v1.8h, v2.h[7]", 0x4f72d820, {0x80007fff00014000, 0x3fff8001ffff0002}, {0x8000ffffffffffff, 0xffffffffffffffff},
	 {0, 0}, {0x7fff8001ffffc000, 0xc0017fff0001fffe}, true},
	{"sqrdmlah v0.8h, v1.8h, v2.8h", 0x6e428420, {0x80007fff00014000, 0x3fff8001ffff0002}, {0x80007fff40004000, 0x3fff800180004001},
	 {0x7fff7fffffff8000, 0x8001000100010001}, {0x7fff7fff0000a000, 0xa0007fff00020002}, true},
	{"sqrdmlsh s0, s1, v2.s[3]", 0x7fa2f820, {0x0000000000000000, 0x0000000080000000}, {0x8000000000000000, 0x0000000000000000},
	 {0, 0}, {0x0000000000000000, 0x0000000080000000}, false},
	{"sqdmull d0, s1, s2", 0x5ea2d020, {0x0000000000000000, 0x0000000080000000}, {0x0000000000000000, 0x0000000080000000},
	 {0, 0}, {0x0000000000000000, 0x7fffffffffffffff}, true},
	{"sqdmlal2 v0.4s, v1.8h, v2.8h", 0x4e629020, {0x8000800040007fff, 0x0000000000000000}, {0x8000800040008000, 0x00000000000000ff},
	 {0x00000001ffffffff, 0x7fffffff80000000}, {0x7fffffff7ffffffe, 0x7fffffff80000000}, true},
	{"sshl v0.16b, v1.16b, v2.16b", 0x4e224420, {0x8080808081818181, 0x7f7f7f7fffffffff}, {0x00ff01f807f9087f, 0x80fe02fc00ff0af6},
	 {0, 0}, {0x80c000ff80ff0000, 0x001ffc07ffff00ff}, false},
	{"urshl v0.8h, v1.8h, v2.8h", 0x6e625420, {0xffff8000ffff8000, 0x0001ffff00018000}, {0xfff0fff0ffefffff, 0xfffffff8000f0010},
	 {0, 0}, {0x0001000100004000, 0x0001010080000000}, false},
	{"srshl v0.2d, v1.2d, v2.2d", 0x4ee25420, {0x8000000000000000, 0x8000000000000000}, {0x00000000000000c0, 0x00000000000000c1},
	 {0, 0}, {0x0000000000000000, 0xffffffffffffffff}, false},
	{"sqshl v0.4s, v1.4s, v2.4s", 0x4ea24c20, {0x8000000000000001, 0x4000000000000001}, {0x0000000100000020, 0x000000010000001e},
	 {0, 0}, {0x800000007fffffff, 0x7fffffff40000000}, true},
	{"uqrshl v0.2d, v1.2d, v2.2d", 0x6ee25c20, {0xffffffffffffffff, 0x8000000000000000}, {0x00000000000000ff, 0x00000000000000c0},
	 {0, 0}, {0x8000000000000000, 0x0000000000000001}, false},
	{"sqrshl d0, d1, d2", 0x5ee25c20, {0x0000000000000000, 0xffffffffffffffff}, {0x0000000000000000, 0x000000000000003f},
	 {0, 0}, {0x0000000000000000, 0x8000000000000000}, false},
	{"ushr v0.2d, v1.2d, #64", 0x6f400420, {0xffffffffffffffff, 0xffffffffffffffff}, {0, 0},
	 {0xffffffffffffffff, 0xffffffffffffffff}, {0, 0}, false},
	{"srshr v0.2d, v1.2d, #64", 0x4f402420, {0xffffffffffffffff, 0x8000000000000000}, {0, 0}, {0, 0}, {0, 0}, false},
	{"ursra v0.16b, v1.16b, #8", 0x6f083420, {0x7f80ff0001020304, 0x050607088182fffe}, {0, 0},
	 {0xff01020304050607, 0x08090a0b0c0d0eff}, {0xff02030304050607, 0x08090a0b0d0e0f00}, false},
	{"sri v0.8h, v1.8h, #16", 0x6f104420, {0xffffffffffffffff, 0xffffffffffffffff}, {0, 0},
	 {0x0123456789abcdef, 0x0123456789abcdef}, {0x0123456789abcdef, 0x0123456789abcdef}, false},
	{"sli v0.4s, v1.4s, #31", 0x6f3f5420, {0x0000000100000002, 0x000000030000fff0}, {0, 0},
	 {0xffffffffffffffff, 0x0123456789abcdef}, {0xffffffff7fffffff, 0x8123456709abcdef}, false},
	{"sqshlu v0.8h, v1.8h, #15", 0x6f1f6420, {0x00018000ffff0002, 0x0000000100030004}, {0, 0},
	 {0, 0}, {0x800000000000ffff, 0x00008000ffffffff}, true},
	{"sqshrun2 v0.16b, v1.8h, #1", 0x6f0f8420, {0x7fff8000ffff01fe, 0x01ff00000001fffe}, {0, 0},
	 {0x0123456789abcdef, 0x0123456789abcdef}, {0xff0000ffff000000, 0x0123456789abcdef}, true},
	{"uqrshrn v0.4h, v1.4s, #16", 0x2f109c20, {0xffffffffffff8000, 0xffff7fff00008000}, {0, 0},
	 {0xffffffffffffffff, 0xffffffffffffffff}, {0x0000000000000000, 0xffffffffffff0001}, true},
	{"sqrshrn b0, h1, #8", 0x5f089c20, {0x0000000000000000, 0x0000000000007f80}, {0, 0},
	 {0xffffffffffffffff, 0xffffffffffffffff}, {0x0000000000000000, 0x000000000000007f}, true},
	{"shrn v0.8b, v1.8h, #4", 0x0f0c8420, {0xff00ff0000ff00ff, 0x123456789abcdef0}, {0, 0},
	 {0xffffffffffffffff, 0xffffffffffffffff}, {0x0000000000000000, 0xf0f00f0f2367abef}, false},
	{"sqxtun2 v0.8h, v1.4s", 0x6e612820, {0x0000ffff00010000, 0xffffffff7fffffff}, {0, 0},
	 {0x0123456789abcdef, 0x0123456789abcdef}, {0xffffffff0000ffff, 0x0123456789abcdef}, true},
	{"raddhn v0.8b, v1.8h, v2.8h", 0x2e224020, {0x007f0080ff7fff80, 0x123456789abcdef0}, {0x0000000000000000, 0x11111111ffffffff},
	 {0xffffffffffffffff, 0xffffffffffffffff}, {0x0000000000000000, 0x0001ff0023689bdf}, false},
	{"subhn2 v0.4s, v1.2d, v2.2d", 0x4ea26020, {0x8000000000000000, 0x0000000100000000}, {0x0000000000000001, 0x0000000000000001},
	 {0x0123456789abcdef, 0x0123456789abcdef}, {0x7fffffff00000000, 0x0123456789abcdef}, false},
	{"uabal2 v0.8h, v1.16b, v2.16b", 0x6e225020, {0xff00807f01020304, 0x0000000000000000}, {0x00ff7f8004030201, 0x0000000000000000},
	 {0xffff000000010002, 0x0003000400050006}, {0x00fe00ff00020003, 0x0006000500060009}, false},
	{"sabdl v0.2d, v1.2s, v2.2s", 0x0ea27020, {0x0000000000000000, 0x7fffffff80000000}, {0x0000000000000000, 0x800000007fffffff},
	 {0, 0}, {0x00000000ffffffff, 0x00000000ffffffff}, false},
	{"shadd v0.16b, v1.16b, v2.16b", 0x4e220420, {0x7f80ff0001020304, 0x050607088182fffe}, {0x7f80010001030304, 0x050607088182ff01},
	 {0, 0}, {0x7f80000001020304, 0x050607088182ffff}, false},
	{"urhadd v0.8h, v1.8h, v2.8h", 0x6e621420, {0xffff000000010002, 0x0003000400050006}, {0xffff000100020002, 0x0004000500060007},
	 {0, 0}, {0xffff000100020002, 0x0004000500060007}, false},
	{"pmul v0.16b, v1.16b, v2.16b", 0x6e229c20, {0xff01020304050607, 0x08090a0b0c0d0eff}, {0xff80402010080402, 0xff80402010080403},
	 {0, 0}, {0x558080604028180e, 0xf8808060c0683801}, false},
	{"pmull2 v0.8h, v1.16b, v2.16b", 0x4e22e020, {0xff01020304050607, 0x08090a0b0c0d0eff}, {0xff80402010080402, 0xff80402010080403},
	 {0, 0}, {0x5555008000800060, 0x004000280018000e}, false},
	{"pmull v0.1q, v1.1d, v2.1d", 0x0ee2e020, {0x0000000000000000, 0xffffffffffffffff}, {0x0000000000000000, 0xffffffffffffffff},
	 {0, 0}, {0x5555555555555555, 0x5555555555555555}, false},
	{"cls v0.4s, v1.4s", 0x4ea04820, {0x00000000ffffffff, 0x8000000000000001}, {0, 0},
	 {0, 0}, {0x0000001f0000001f, 0x000000000000001e}, false},
	{"rbit v0.16b, v1.16b", 0x6e605820, {0x0102030405060708, 0x090a0b0c0d0e0ff0}, {0, 0},
	 {0, 0}, {0x8040c020a060e010, 0x9050d030b070f00f}, false},
	{"tbx v0.16b, {v1.16b, v2.16b}, v2.16b", 0x4e023020, {0x0001020304050607, 0x08090a0b0c0d0e0f},
	 {0xf01f100f1e110e01, 0xff20212223000102},
	 {0xaaaaaaaaaaaaaaaa, 0xaaaaaaaaaaaaaaaa}, {0xaaf002001f01010e, 0xaaaaaaaaaa0f0e0d}, false},
	{"ext v0.8b, v1.8b, v2.8b, #3", 0x2e021820, {0x0001020304050607, 0x0001020304050607}, {0x08090a0b0c0d0e0f, 0x08090a0b0c0d0e0f},
	 {0xffffffffffffffff, 0xffffffffffffffff}, {0x0000000000000000, 0x0d0e0f0001020304}, false},
	{"zip2 v0.8h, v1.8h, v2.8h", 0x4e427820, {0x0001020304050607, 0x0001020304050607}, {0x08090a0b0c0d0e0f, 0x08090a0b0c0d0e0f},
	 {0, 0}, {0x080900010a0b0203, 0x0c0d04050e0f0607}, false},
	{"uzp1 v0.8b, v1.8b, v2.8b", 0x0e021820, {0x0001020304050607, 0x1011121314151617}, {0x08090a0b0c0d0e0f, 0x28292a2b2c2d2e2f},
	 {0xffffffffffffffff, 0xffffffffffffffff}, {0x0000000000000000, 0x292b2d2f11131517}, false},
	{"sdot v0.4s, v1.16b, v2.4b[3]", 0x4fa2e820, {0x80808080ff01ff01, 0x7f7f7f7f01020304}, {0x8080808000000000, 0x0000000000000000},
	 {0x0000000100000002, 0xfffffffffffffff0}, {0x0001000100000002, 0xffff01fffffffaf0}, false},
	{"udot v0.2s, v1.8b, v2.8b", 0x2e829420, {0xffffffffffffffff, 0xffffffff01020304}, {0xffffffffffffffff, 0xffffffff01010101},
	 {0xffffffffffffffff, 0xffffffff00000001}, {0x0000000000000000, 0x0003f8030000000b}, false},
	{"eor3 v0.16b, v1.16b, v2.16b, v3.16b", 0xce020c20, {0x0123456789abcdef, 0x0123456789abcdef},
	 {0xffffffffffffffff, 0x0000000000000000},
	 {0, 0}, {0xcdef89ab45670123, 0x32107654ba98fedc}, false},
	{"rax1 v0.2d, v1.2d, v2.2d", 0xce628c20, {0x0000000000000001, 0x0000000000000002}, {0x8000000000000000, 0x4000000000000001},
	 {0, 0}, {0x0000000000000000, 0x8000000000000000}, false},
	{"xar v0.2d, v1.2d, v2.2d, #63", 0xce82fc20, {0x8000000000000000, 0x0000000000000001}, {0x0000000000000001, 0x8000000000000000},
	 {0, 0}, {0x0000000000000003, 0x0000000000000003}, false},
	{"bcax v0.16b, v1.16b, v2.16b, v1.16b", 0xce220420, {0x0123456789abcdef, 0x0123456789abcdef},
	 {0xffffffffffffffff, 0x00000000ffffffff},
	 {0, 0}, {0xffffffffffffffff, 0x01234567ffffffff}, false},
	{"sha512h q0, q1, v2.2d", 0xce628020, {0x0123456789abcdef, 0xfedcba9876543210}, {0x0f1e2d3c4b5a6978, 0x8796a5b4c3d2e1f0},
	 {0x0011223344556677, 0x8899aabbccddeeff}, {0xafea1d1a8b00bbb7, 0x4e485d062f4942ca}, false},
	{"sha512h2 q0, q1, v2.2d", 0xce628420, {0x0123456789abcdef, 0xfedcba9876543210}, {0x0f1e2d3c4b5a6978, 0x8796a5b4c3d2e1f0},
	 {0x0011223344556677, 0x8899aabbccddeeff}, {0xf40cd2a74128a751, 0x9bfa5df5ae5ed7e7}, false},
	{"sha512su0 v0.2d, v1.2d", 0xcec08020, {0x0123456789abcdef, 0xfedcba9876543210}, {0, 0},
	 {0x0011223344556677, 0x8899aabbccddeeff}, {0x6e7e5ab6d8064bd5, 0x7fa24d3bc4c43b90}, false},
	{"sha512su1 v0.2d, v1.2d, v2.2d", 0xce628820, {0x0123456789abcdef, 0xfedcba9876543210}, {0x0f1e2d3c4b5a6978, 0x8796a5b4c3d2e1f0},
	 {0x0011223344556677, 0x8899aabbccddeeff}, {0x7fd2957d4b840169, 0x838d0a62d4dc9f74}, false},
	{"movi v0.2d, #0xff00ff0000ffff00", 0x6f05e4c0, {0, 0}, {0, 0}, {0, 0}, {0xff00ff0000ffff00, 0xff00ff0000ffff00}, false},
	{"mvni v0.4s, #0x12, msl #16", 0x6f00d640, {0, 0}, {0, 0}, {0, 0}, {0xffed0000ffed0000, 0xffed0000ffed0000}, false},
	{"bic v0.4h, #0xf0, lsl #8", 0x2f07b600, {0, 0}, {0, 0},
	 {0xffffffffffffffff, 0x1234567890abcdef}, {0x0000000000000000, 0x0234067800ab0def}, false},
	{"movi d0, #0xffffffffffffffff", 0x2f07e7e0, {0, 0}, {0, 0},
	 {0xffffffffffffffff, 0xffffffffffffffff}, {0x0000000000000000, 0xffffffffffffffff}, false},
	/* clang-format on */
};

static union a64_vreg register_of(const uint64_t value[2])
{
	return (union a64_vreg){.d = {value[1], value[0]}};
}

static void test_answers(void **state)
{
	for (unsigned i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		const struct answer *answer = &answers[i];

		memset(&cpu->s, 0, sizeof(cpu->s));
		cpu->s.v[0] = register_of(answer->d);
		cpu->s.v[1] = register_of(answer->n);
		cpu->s.v[2] = register_of(answer->m);
		cpu->s.v[3] = (union a64_vreg){.d = {0x3333333333333333, 0x3333333333333333}};
		if (!step(answer->insn))
			fail_msg("%s is undefined", answer->text);
		if (cpu->s.v[0].d[1] != answer->result[0] || cpu->s.v[0].d[0] != answer->result[1])
			fail_msg("%s gives %016lx %016lx", answer->text, cpu->s.v[0].d[1], cpu->s.v[0].d[0]);
		if (cpu->s.fpsr != (answer->qc ? A64_FPSR_QC : 0))
			fail_msg("%s: FPSR is %x", answer->text, cpu->s.fpsr);
	}
}

static void test_general_registers(void **state)
{
	cpu->s.v[1] = (union a64_vreg){.d = {0x0011223344556677, 0x8899aabbccddeeff}};
	cpu->s.x[3] = ~0ull;
	step_on(0x0e1f3c00, 3, 1, 31); /* umov w3, v1.b[15] */
	assert_int_equal(cpu->s.x[3], 0x88);
	step_on(0x0e1e2c00, 3, 1, 30); /* smov w3, v1.h[7] */
	assert_int_equal(cpu->s.x[3], 0xffff8899);
	step_on(0x4e1e2c00, 3, 1, 30); /* smov x3, v1.h[7] */
	assert_int_equal(cpu->s.x[3], 0xffffffffffff8899);
	step_on(0x4e183c00, 3, 1, 24); /* umov x3, v1.d[1] */
	assert_int_equal(cpu->s.x[3], 0x8899aabbccddeeff);
	step_on(0x4e0e1c00, 1, 3, 14); /* ins v1.h[3], w3 */
	assert_int_equal(cpu->s.v[1].d[0], 0xeeff223344556677);
	step_on(0x6e0c0400, 1, 1, 12); /* ins v1.s[1], v1.s[0] */
	assert_int_equal(cpu->s.v[1].d[0], 0x4455667744556677);
	assert_int_equal(cpu->s.v[1].d[1], 0x8899aabbccddeeff);
	step_on(0x0e020c00, 2, 31, 2); /* dup v2.4h, wzr */
	assert_int_equal(cpu->s.v[2].d[0] | cpu->s.v[2].d[1], 0);
}

/* ---- ciphers and hashes ---- */

/* SubWord: of four equal columns ShiftRows changes nothing. */
static uint32_t substituted(uint32_t word)
{
	cpu->s.v[30] = (union a64_vreg){.s = {word, word, word, word}};
	cpu->s.v[31] = (union a64_vreg){.d = {0, 0}};
	step_on(0x4e284800, 30, 31, 8);
	return cpu->s.v[30].s[0];
}

/* FIPS 197, appendix B; and back. */
static void test_aes(void **state)
{
	static const uint8_t key[16] = {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c};
	static const uint8_t plain[16] = {0x32, 0x43, 0xf6, 0xa8, 0x88, 0x5a, 0x30, 0x8d, 0x31, 0x31, 0x98, 0xa2, 0xe0, 0x37, 0x07, 0x34};
	static const uint8_t cipher[16] = {0x39, 0x25, 0x84, 0x1d, 0x02, 0xdc, 0x09, 0xfb, 0xdc, 0x11, 0x85, 0x97, 0x19, 0x6a, 0x0b, 0x32};
	union a64_vreg keys[11];
	uint32_t words[44], constant = 1;

	memcpy(words, key, 16);
	for (unsigned i = 4; i < 44; i++) {
		uint32_t word = words[i - 1];

		if (i % 4 == 0) {
			word = substituted(word >> 8 | word << 24) ^ constant;
			constant = constant << 1 ^ (constant >> 7) * 0x11b;
		}
		words[i] = words[i - 4] ^ word;
	}
	memcpy(keys, words, sizeof(keys));

	memcpy(cpu->s.v[0].b, plain, 16);
	for (unsigned round = 0; round < 10; round++) {
		cpu->s.v[1] = keys[round];
		step_on(0x4e284800, 0, 1, 8); /* aese */
		if (round < 9)
			step_on(0x4e286800, 0, 0, 8); /* aesmc */
	}
	cpu->s.v[1] = keys[10];
	step_on(0x6e201c00, 0, 0, 1); /* eor */
	assert_memory_equal(cpu->s.v[0].b, cipher, 16);

	for (unsigned round = 10; round > 0; round--) {
		cpu->s.v[1] = keys[round];
		if (round < 10)
			step_on(0x4e287800, 1, 1, 8); /* aesimc */
		step_on(0x4e285800, 0, 1, 8);         /* aesd */
		if (round > 1)
			step_on(0x4e287800, 0, 0, 8); /* aesimc */
	}
	cpu->s.v[1] = keys[0];
	step_on(0x6e201c00, 0, 0, 1);
	assert_memory_equal(cpu->s.v[0].b, plain, 16);
}

/* The one block of "abc" as words. */
static const union a64_vreg abc[4] = {{.s = {0x61626380}}, {.s = {0}}, {.s = {0}}, {.s = {0, 0, 0, 24}}};

/* v0: a to d; v1: e; v2: words with constants; v3: the next e; v4 to v7: the schedule. */
static void test_sha1(void **state)
{
	static const uint32_t constants[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
	static const uint32_t rounds[4] = {0x5e000000, 0x5e001000, 0x5e002000, 0x5e001000}; /* sha1c, sha1p, sha1m */
	static const uint32_t start[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};

	memcpy(cpu->s.v[0].s, start, 16);
	cpu->s.v[1] = (union a64_vreg){.s = {start[4]}};
	memcpy(&cpu->s.v[4], abc, sizeof(abc));
	for (unsigned i = 0; i < 20; i++) {
		for (unsigned lane = 0; lane < 4; lane++)
			cpu->s.v[2].s[lane] = cpu->s.v[4 + i % 4].s[lane] + constants[i / 5];
		step_on(0x5e280800, 3, 0, 8); /* sha1h */
		step_on(rounds[i / 5], 0, 1, 2);
		cpu->s.v[1] = cpu->s.v[3];
		step_on(0x5e003000, 4 + i % 4, 4 + (i + 1) % 4, 4 + (i + 2) % 4); /* sha1su0 */
		step_on(0x5e281800, 4 + i % 4, 4 + (i + 3) % 4, 8);               /* sha1su1 */
	}
	for (unsigned lane = 0; lane < 4; lane++)
		cpu->s.v[0].s[lane] += start[lane];
	assert_memory_equal(cpu->s.v[0].s, ((const uint32_t[4]){0xa9993e36, 0x4706816a, 0xba3e2571, 0x7850c26c}), 16);
	assert_int_equal(cpu->s.v[1].s[0] + start[4], 0x9cd0d89d);
}

static void test_sha256(void **state)
{
	static const uint32_t constants[64] = {
		0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
		0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
		0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
		0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
		0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
		0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
		0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
		0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
	};
	static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
	static const uint32_t digest[8] = {0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223, 0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad};

	memcpy(&cpu->s.v[0], start, sizeof(start));
	memcpy(&cpu->s.v[4], abc, sizeof(abc));
	for (unsigned i = 0; i < 16; i++) {
		for (unsigned lane = 0; lane < 4; lane++)
			cpu->s.v[2].s[lane] = cpu->s.v[4 + i % 4].s[lane] + constants[4 * i + lane];
		cpu->s.v[3] = cpu->s.v[0];
		step_on(0x5e004000, 0, 1, 2);                                     /* sha256h */
		step_on(0x5e005000, 1, 3, 2);                                     /* sha256h2 */
		step_on(0x5e282800, 4 + i % 4, 4 + (i + 1) % 4, 8);               /* sha256su0 */
		step_on(0x5e006000, 4 + i % 4, 4 + (i + 2) % 4, 4 + (i + 3) % 4); /* sha256su1 */
	}
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal((uint32_t)(cpu->s.v[i / 4].s[i % 4] + start[i]), digest[i]);
}

/* ---- what is reserved ---- */

static void test_reserved(void **state)
{
	static const uint32_t words[] = {
		0x0ee28420, /* add v0.1d: one doubleword */
		0x4ee29c20, /* mul v0.2d */
		0x0e103c20, /* umov of no size */
		0x0e183c20, /* umov w0, v1.d[1] */
		0x4e0c3c20, /* umov x0 of a word */
		0x0e180420, /* dup v0.1d */
		0x2e024020, /* ext v0.8b by 8 */
		0x0ec22820, /* trn1 v0.1d */
		0x0eb1b820, /* addv of two words */
		0x0f400420, /* sshr v0.1d */
		0x4e62e020, /* pmull of halfwords */
		0x0e284820, /* aese on half a register */
		0x0e40e420, /* no form */
	};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		memset(&cpu->s, 0x5a, sizeof(cpu->s));
		if (step(words[i]))
			fail_msg("%08x is defined", words[i]);
		assert_int_equal(cpu->s.v[0].d[0], 0x5a5a5a5a5a5a5a5a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_general_registers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_aes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sha1, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sha256, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_reserved, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
