/* libFuzzer target for the instruction decoder. The first byte chooses the mode, the rest is code.
 *
 * Example:
 *     fuzz_decode -max_len=17 -runs=1000000
 * Invariants, for every number of bytes available:
 *   - not a byte beyond `available` or beyond the 15th is read (the buffer ends there: ASan sees it);
 *   - the length is 1..15 and not above `available`; all fields are in range;
 *   - as long as the result is MORE, fewer bytes gave MORE too; once it is known it stays the same.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/decode.h"
#include "arch/x86_64/state.h"

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

static bool is_size(unsigned size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

static void check_operand(const struct x86_insn *insn, const struct x86_operand *operand)
{
	CHECK(operand->kind > X86_OPND_NONE && operand->kind <= X86_OPND_YMM);
	CHECK(operand->access && operand->access <= (X86_ACCESS_READ | X86_ACCESS_WRITE));
	switch (operand->kind) {
	case X86_OPND_GPR:
		CHECK(is_size(operand->size));
		CHECK(operand->reg < 16 || (operand->size == 1 && operand->reg < 20));
		break;
	case X86_OPND_MEM:
		CHECK(insn->mem.seg < X86_SEG_COUNT);
		CHECK(insn->mem.base <= X86_REG_RIP || insn->mem.base == X86_REG_NONE);
		CHECK(insn->mem.index < 16 || insn->mem.index == X86_REG_NONE);
		CHECK(is_size(insn->mem.scale));
		break;
	case X86_OPND_IMM: CHECK(operand->size == 8 || insn->imm >> (8 * operand->size) == 0); break;
	case X86_OPND_SEG: CHECK(operand->reg < X86_SEG_COUNT); break;
	case X86_OPND_CR: CHECK(operand->reg <= 8); break;
	case X86_OPND_DR:
	case X86_OPND_ST:
	case X86_OPND_MMX: CHECK(operand->reg < 8); break;
	case X86_OPND_XMM: CHECK(operand->reg < 16 && operand->size <= 16); break;
	case X86_OPND_YMM: CHECK(operand->reg < 16 && operand->size == 32); break;
	default: break;
	}
	if (insn->mode != X86_MODE_64 && operand->kind != X86_OPND_MEM)
		CHECK(operand->reg < 8 || (operand->kind == X86_OPND_GPR && operand->size == 1));
}

static void check_insn(const struct x86_insn *insn, int length)
{
	CHECK(insn->length == length && length >= 1 && length <= 15);
	CHECK(insn->op > X86_INVALID && insn->op < X86_OP_COUNT);
	CHECK(insn->feature < X86_FEATURE_COUNT);
	CHECK(is_size(insn->opsize) && (insn->addrsize == 2 || insn->addrsize == 4 || insn->addrsize == 8));
	CHECK(insn->operand_count <= 4 && insn->cc < 16);
	CHECK(insn->vl == 0 || insn->vl == 16 || insn->vl == 32);
	for (unsigned i = 0; i < insn->operand_count; i++)
		check_operand(insn, &insn->operand[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum x86_mode mode;
	struct x86_insn insn, known;
	int result = X86_DECODE_MORE;

	if (size < 1 || size > 64)
		return 0;
	mode = (enum x86_mode)(data[0] % 3);
	for (size_t available = 0; available < size; available++) {
		/* A buffer of exactly that size. */
		uint8_t *bytes = malloc(available + !available);
		int now;

		if (!bytes)
			return 0;
		memcpy(bytes, data + 1, available);
		now = x86_decode(&insn, bytes, available, mode);
		free(bytes);
		CHECK(now == X86_DECODE_UD || now == X86_DECODE_MORE || now == X86_DECODE_LONG || now > 0);
		CHECK(insn.length <= available && insn.length <= 15);
		if (now > 0)
			check_insn(&insn, now);
		if (now == X86_DECODE_MORE)
			CHECK(available < 15);
		if (result == X86_DECODE_MORE) {
			CHECK(now <= 0 || (size_t)now == available);
			result = now;
			known = insn;
		} else {
			CHECK(now == result && !memcmp(&insn, &known, sizeof(insn)));
		}
	}
	return 0;
}
