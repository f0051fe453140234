/* The general registers instructions use, where tests/decoder can't ask Zydis: what the two see differently, and one
 * example of each rule of regs.h, for builds without Zydis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "arch/x86_64/regs.h"
#include "arch/x86_64/state.h"

#define A  (1u << X86_RAX)
#define B  (1u << X86_RBX)
#define C  (1u << X86_RCX)
#define D  (1u << X86_RDX)
#define SI (1u << X86_RSI)
#define DI (1u << X86_RDI)
#define BP (1u << X86_RBP)
#define SP (1u << X86_RSP)
#define R(n) (1u << (n))

struct example {
	const char *text;
	enum x86_mode mode;
	uint16_t read, written;
	uint8_t bytes[8];
};

static const struct example examples[] = {
	{ "add eax, ebx", X86_MODE_64, A | B, A, { 0x01, 0xd8 } },
	{ "mov al, ah", X86_MODE_64, A, A, { 0x88, 0xe0 } },
	{ "mov dil, spl", X86_MODE_64, SP, DI, { 0x40, 0x88, 0xe7 } },
	{ "mov bh, ah", X86_MODE_64, A, B, { 0x88, 0xe7 } },
	{ "mov [r8+r9*2], r10", X86_MODE_64, R(8) | R(9) | R(10), 0, { 0x4f, 0x89, 0x14, 0x48 } },
	{ "mov eax, [rip+0]", X86_MODE_64, 0, A, { 0x8b, 0x05 } },
	{ "lea eax, [rbx+rbp]", X86_MODE_64, B | BP, A, { 0x8d, 0x04, 0x2b } },
	{ "mov ax, [bx+si]", X86_MODE_16, B | SI, A, { 0x8b, 0x00 } },
	{ "vpgatherdd xmm1, [rax+xmm2], xmm3", X86_MODE_64, A, 0, { 0xc4, 0xe2, 0x61, 0x90, 0x0c, 0x10 } },
	{ "cmovz eax, ebx", X86_MODE_64, A | B, A, { 0x0f, 0x44, 0xc3 } },
	{ "bsf eax, ebx", X86_MODE_64, A | B, A, { 0x0f, 0xbc, 0xc3 } },
	{ "tzcnt eax, ebx", X86_MODE_64, B, A, { 0xf3, 0x0f, 0xbc, 0xc3 } },
	{ "lar eax, bx", X86_MODE_64, A | B, A, { 0x0f, 0x02, 0xc3 } },
	{ "shl edx, cl", X86_MODE_64, C | D, D, { 0xd3, 0xe2 } },
	{ "mul bl", X86_MODE_64, A | B, A, { 0xf6, 0xe3 } },
	{ "mul ebx", X86_MODE_64, A | B, A | D, { 0xf7, 0xe3 } },
	{ "imul bl", X86_MODE_64, A | B, A, { 0xf6, 0xeb } },
	{ "imul ebx", X86_MODE_64, A | B, A | D, { 0xf7, 0xeb } },
	{ "imul ecx, ebx", X86_MODE_64, C | B, C, { 0x0f, 0xaf, 0xcb } },
	{ "imul ecx, ebx, 3", X86_MODE_64, B, C, { 0x6b, 0xcb, 3 } },
	{ "div bl", X86_MODE_64, A | B, A, { 0xf6, 0xf3 } },
	{ "div rbx", X86_MODE_64, A | B | D, A | D, { 0x48, 0xf7, 0xf3 } },
	{ "cqo", X86_MODE_64, A, D, { 0x48, 0x99 } },
	{ "mulx eax, ecx, ebx", X86_MODE_64, D | B, A | C, { 0xc4, 0xe2, 0x73, 0xf6, 0xc3 } },
	{ "push rbx", X86_MODE_64, B | SP, SP, { 0x53 } },
	{ "pop rbx", X86_MODE_64, SP, B | SP, { 0x5b } },
	{ "pusha", X86_MODE_32, 0xff, SP, { 0x60 } },
	{ "popa", X86_MODE_32, SP, 0xff, { 0x61 } },
	{ "leave", X86_MODE_64, BP, BP | SP, { 0xc9 } },
	{ "int 0x80", X86_MODE_64, SP, SP, { 0xcd, 0x80 } },
	{ "int1", X86_MODE_64, SP, SP, { 0xf1 } },
	{ "int3", X86_MODE_64, SP, SP, { 0xcc } },
	{ "into", X86_MODE_32, SP, SP, { 0xce } },
	{ "movsb", X86_MODE_64, SI | DI, SI | DI, { 0xa4 } },
	{ "rep movsb", X86_MODE_64, C | SI | DI, C | SI | DI, { 0xf3, 0xa4 } },
	{ "repne movsb", X86_MODE_64, C | SI | DI, C | SI | DI, { 0xf2, 0xa4 } },
	{ "cmpsb", X86_MODE_64, SI | DI, SI | DI, { 0xa6 } },
	{ "repe cmpsb", X86_MODE_64, C | SI | DI, C | SI | DI, { 0xf3, 0xa6 } },
	{ "scasd", X86_MODE_64, A | DI, DI, { 0xaf } },
	{ "repne scasb", X86_MODE_64, A | C | DI, C | DI, { 0xf2, 0xae } },
	{ "insb", X86_MODE_64, D | DI, DI, { 0x6c } },
	{ "rep insb", X86_MODE_64, C | D | DI, C | DI, { 0xf3, 0x6c } },
	{ "outsb", X86_MODE_64, D | SI, SI, { 0x6e } },
	{ "rep outsb", X86_MODE_64, C | D | SI, C | SI, { 0xf3, 0x6e } },
	{ "xlat", X86_MODE_64, A | B, A, { 0xd7 } },
	{ "rsm", X86_MODE_64, 0, 0xffff, { 0x0f, 0xaa } },
	{ "lock cmpxchg [rdi], ecx", X86_MODE_64, A | C | DI, A, { 0xf0, 0x0f, 0xb1, 0x0f } },
	{ "cmpxchg16b [rdi]", X86_MODE_64, A | B | C | D | DI, A | D, { 0x48, 0x0f, 0xc7, 0x0f } },
	{ "syscall", X86_MODE_64, 0, C | R(11), { 0x0f, 0x05 } },
	{ "cpuid", X86_MODE_64, A | C, A | B | C | D, { 0x0f, 0xa2 } },
	{ "xsave [rdi]", X86_MODE_64, A | D | DI, 0, { 0x0f, 0xae, 0x27 } },
	{ "fnstsw ax", X86_MODE_64, 0, A, { 0xdf, 0xe0 } },
	{ "addps xmm0, xmm1", X86_MODE_64, 0, 0, { 0x0f, 0x58, 0xc1 } },
};

static void test_examples(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		const struct example *e = &examples[i];
		struct x86_regs_used used;
		struct x86_insn insn;

		if (x86_decode(&insn, e->bytes, sizeof(e->bytes), e->mode) < 0)
			fail_msg("%s: not decoded", e->text);
		used = x86_insn_regs(&insn);
		if (used.read != e->read || used.written != e->written)
			fail_msg("%s: reads %04x, writes %04x, not %04x, %04x", e->text, used.read, used.written, e->read,
				 e->written);
	}
}

/* An engine without TZCNT makes it a BSF after decoding. */
static void test_tzcnt_as_bsf(void **state)
{
	static const uint8_t tzcnt[] = { 0xf3, 0x0f, 0xbc, 0xc3 }; /* eax, ebx */
	struct x86_insn insn;

	assert_int_equal(x86_decode(&insn, tzcnt, sizeof(tzcnt), X86_MODE_64), 4);
	insn.op = X86_BSF;
	assert_int_equal(x86_insn_regs(&insn).read, A | B);
	assert_int_equal(x86_insn_regs(&insn).written, A);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_tzcnt_as_bsf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
