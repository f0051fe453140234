/* The decoder's conventions that no other decoder shares (decode.h): what is an operand, how immediates are
 * extended, which prefixes are reported, what happens when bytes run out. The encodings themselves are
 * compared with Zydis in tests/decoder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "arch/x86_64/decode_table.h"
#include "arch/x86_64/state.h"

#define DECODE(insn, mode, ...) decode(insn, mode, (const uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

static int decode(struct x86_insn *insn, enum x86_mode mode, const uint8_t *bytes, size_t size)
{
	return x86_decode(insn, bytes, size, mode);
}

static void check_operand(const struct x86_insn *insn, unsigned n, unsigned kind, unsigned reg, unsigned size,
			  unsigned access)
{
	assert_true(n < insn->operand_count);
	assert_int_equal(insn->operand[n].kind, kind);
	if (kind != X86_OPND_MEM)
		assert_int_equal(insn->operand[n].reg, reg);
	assert_int_equal(insn->operand[n].size, size);
	assert_int_equal(insn->operand[n].access, access);
}

enum { R = X86_ACCESS_READ, W = X86_ACCESS_WRITE, RW = R | W };

/* Every operation has a row, and every row an operation. */
static void test_table_is_complete(void **state)
{
	bool has_row[X86_OP_COUNT] = { false };

	for (unsigned map = 0; map < MAP_COUNT; map++)
		for (unsigned opcode = 0; opcode < 256; opcode++)
			for (unsigned i = 0; i < x86_opcodes[map][opcode].count; i++) {
				const struct insn_row *row = &x86_insn_rows[x86_opcodes[map][opcode].first + i];

				assert_true(row->op > X86_INVALID && row->op < X86_OP_COUNT);
				assert_int_equal(row->value & ~row->mask, 0);
				has_row[row->op] = true;
			}
	for (unsigned op = 1; op < X86_OP_COUNT; op++)
		if (!has_row[op])
			fail_msg("no row for %s", x86_op_name(op));
}

static void test_immediates(void **state)
{
	struct x86_insn insn;

	/* add eax, -1: extended to the operand size, not beyond */
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0x83, 0xc0, 0xff), 3);
	assert_int_equal(insn.op, X86_ADD);
	check_operand(&insn, 0, X86_OPND_GPR, X86_RAX, 4, RW);
	check_operand(&insn, 1, X86_OPND_IMM, 0, 4, R);
	assert_int_equal(insn.imm, 0xffffffff);
	/* add rax, imm32 */
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0x48, 0x05, 0, 0, 0, 0x80), 6);
	assert_int_equal(insn.imm, 0xffffffff80000000);
	/* shl eax, 1 and the moves from absolute addresses */
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0xd1, 0xe0), 2);
	check_operand(&insn, 1, X86_OPND_IMM, 0, 1, R);
	assert_int_equal(insn.imm, 1);
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0xa0, 1, 2, 3, 4, 5, 6, 7, 0x88), 9);
	check_operand(&insn, 1, X86_OPND_MEM, 0, 1, R);
	assert_int_equal(insn.mem.disp, (int64_t)0x8807060504030201);
	assert_int_equal(insn.mem.base, X86_REG_NONE);
	/* enter 0x100, 2; jmp far */
	assert_int_equal(DECODE(&insn, X86_MODE_32, 0xc8, 0x00, 0x01, 0x02), 4);
	assert_int_equal(insn.imm, 0x100);
	assert_int_equal(insn.imm2, 2);
	assert_int_equal(DECODE(&insn, X86_MODE_16, 0xea, 0x34, 0x12, 0x00, 0xf0), 5);
	check_operand(&insn, 0, X86_OPND_FAR, 0, 4, R);
	assert_int_equal(insn.imm, 0x1234);
	assert_int_equal(insn.imm2, 0xf000);
	/* jmp -2 */
	assert_int_equal(DECODE(&insn, X86_MODE_16, 0xeb, 0xfe), 2);
	assert_int_equal((int64_t)insn.imm, -2);
}

static void test_memory(void **state)
{
	struct x86_insn insn;

	/* mov rax, fs:[r12 + rbp*4 - 8] */
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0x64, 0x49, 0x8b, 0x44, 0xac, 0xf8), 6);
	assert_int_equal(insn.mem.seg, X86_FS);
	assert_int_equal(insn.mem.base, X86_R12);
	assert_int_equal(insn.mem.index, X86_RBP);
	assert_int_equal(insn.mem.scale, 4);
	assert_int_equal(insn.mem.disp, -8);
	/* [rip + 1]; [rsp] is in SS; [bp] too */
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0x8b, 0x05, 1, 0, 0, 0), 6);
	assert_int_equal(insn.mem.base, X86_REG_RIP);
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0x8b, 0x04, 0x24), 3);
	assert_int_equal(insn.mem.seg, X86_SS);
	assert_int_equal(DECODE(&insn, X86_MODE_16, 0x8b, 0x46, 0x02), 3);
	assert_int_equal(insn.mem.base, X86_RBP);
	assert_int_equal(insn.mem.seg, X86_SS);
	/* movs: no operands, but the source's segment */
	assert_int_equal(DECODE(&insn, X86_MODE_32, 0xf3, 0x26, 0xa5), 3);
	assert_int_equal(insn.op, X86_MOVS);
	assert_int_equal(insn.operand_count, 0);
	assert_int_equal(insn.opsize, 4);
	assert_int_equal(insn.mem.seg, X86_ES);
	assert_int_equal(insn.prefixes, X86_PFX_REP | X86_PFX_SEG);
}

static void test_registers(void **state)
{
	struct x86_insn insn;

	/* mov ah, cl; with REX the same bytes are mov spl, cl */
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0x88, 0xcc), 2);
	check_operand(&insn, 0, X86_OPND_GPR, X86_REG_AH, 1, W);
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0x40, 0x88, 0xcc), 3);
	check_operand(&insn, 0, X86_OPND_GPR, X86_RSP, 1, W);
	/* A REX prefix that is not the last prefix does not count. */
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0x48, 0x66, 0x89, 0xc8), 4);
	check_operand(&insn, 0, X86_OPND_GPR, X86_RAX, 2, W);
	/* mov ds, eax; mov cs is undefined; so are segment registers 6 and 7 */
	assert_int_equal(DECODE(&insn, X86_MODE_32, 0x8e, 0xd8), 2);
	check_operand(&insn, 0, X86_OPND_SEG, X86_DS, 2, W);
	assert_int_equal(DECODE(&insn, X86_MODE_32, 0x8e, 0xc8), X86_DECODE_UD);
	assert_int_equal(DECODE(&insn, X86_MODE_32, 0x8c, 0xf0), X86_DECODE_UD);
	/* mov cr8, rax; mov cr1, rax */
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0x44, 0x0f, 0x22, 0xc0), 4);
	check_operand(&insn, 0, X86_OPND_CR, 8, 8, W);
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0x0f, 0x22, 0xc8), X86_DECODE_UD);
}

static void test_vectors(void **state)
{
	struct x86_insn insn;

	/* addss xmm1, xmm2: F3 is part of the opcode */
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0xf3, 0x0f, 0x58, 0xca), 4);
	assert_int_equal(insn.prefixes, 0);
	assert_int_equal(insn.vl, 0);
	check_operand(&insn, 0, X86_OPND_XMM, 1, 4, RW);
	check_operand(&insn, 1, X86_OPND_XMM, 2, 4, R);
	/* movss xmm1, [rax] writes all of the register */
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0xf3, 0x0f, 0x10, 0x08), 4);
	check_operand(&insn, 0, X86_OPND_XMM, 1, 16, W);
	check_operand(&insn, 1, X86_OPND_MEM, 0, 4, R);
	/* pblendvb xmm0, xmm1, <xmm0> */
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0x66, 0x0f, 0x38, 0x10, 0xc1), 5);
	assert_int_equal(insn.operand_count, 3);
	check_operand(&insn, 2, X86_OPND_XMM, 0, 16, R);
	/* vpaddd: AVX or AVX2 by vector length */
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0xc5, 0xf1, 0xfe, 0xc2), 4);
	assert_int_equal(insn.feature, X86_FEATURE_AVX);
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0xc5, 0xf5, 0xfe, 0xc2), 4);
	assert_int_equal(insn.feature, X86_FEATURE_AVX2);
	assert_int_equal(insn.vl, 32);
	check_operand(&insn, 1, X86_OPND_YMM, 1, 32, R);
	/* 66 before VEX, and an unused vvvv */
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0x66, 0xc5, 0xf1, 0xfe, 0xc2), X86_DECODE_UD);
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0xc5, 0xf1, 0x6f, 0xc2), X86_DECODE_UD);
	/* vgatherdps xmm0, [rax + xmm1], xmm0: mask and destination are the same */
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0xc4, 0xe2, 0x69, 0x92, 0x04, 0x08), 6);
	assert_true(insn.prefixes & X86_PFX_VSIB);
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0xc4, 0xe2, 0x79, 0x92, 0x04, 0x08), X86_DECODE_UD);
}

static void test_lock(void **state)
{
	struct x86_insn insn;

	assert_int_equal(DECODE(&insn, X86_MODE_64, 0xf0, 0x01, 0x08), 3);
	assert_true(insn.prefixes & X86_PFX_LOCK);
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0xf0, 0x01, 0xc8), X86_DECODE_UD); /* register */
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0xf0, 0x03, 0x08), X86_DECODE_UD); /* memory is the source */
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0xf0, 0x8b, 0x08), X86_DECODE_UD); /* not lockable */
}

static void test_bytes_run_out(void **state)
{
	static const uint8_t mov[] = { 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8 };
	static const uint8_t prefixes[16] = { 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
					      0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90, 0x66 };
	struct x86_insn insn;

	for (size_t n = 0; n < sizeof(mov); n++)
		assert_int_equal(decode(&insn, X86_MODE_64, mov, n), X86_DECODE_MORE);
	assert_int_equal(decode(&insn, X86_MODE_64, mov, sizeof(mov)), 10);
	assert_int_equal(decode(&insn, X86_MODE_64, prefixes, 16), 15);
	assert_int_equal(decode(&insn, X86_MODE_64, prefixes, 14), X86_DECODE_MORE);
	assert_int_equal(decode(&insn, X86_MODE_64, (const uint8_t[16]){ [0 ... 15] = 0x66 }, 16), X86_DECODE_LONG);
	/* Undefined is undefined without the bytes that would follow. */
	assert_int_equal(DECODE(&insn, X86_MODE_64, 0x06), X86_DECODE_UD);
	assert_int_equal(insn.length, 1);
}

static void test_operation_facts(void **state)
{
	assert_string_equal(x86_op_name(X86_ADDPS), "ADDPS");
	assert_string_equal(x86_op_name(X86_OP_COUNT), "INVALID");
	assert_int_equal(x86_op_feature(X86_PSHUFB), X86_FEATURE_SSSE3);
	assert_int_equal(x86_op_flags(X86_ADC).read, X86_FLAG_CF);
	assert_int_equal(x86_op_flags(X86_AND).undefined, X86_FLAG_AF);
	assert_int_equal(x86_op_flags(X86_MOV).written, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_is_complete), cmocka_unit_test(test_immediates),
		cmocka_unit_test(test_memory),            cmocka_unit_test(test_registers),
		cmocka_unit_test(test_vectors),           cmocka_unit_test(test_lock),
		cmocka_unit_test(test_bytes_run_out),     cmocka_unit_test(test_operation_facts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
