/* Indirect branches to addresses that are not canonical: the fault is the branch's (SDM 2A CALL, JMP, RET), with RIP at it, RSP as before it
 * and nothing pushed; as processors do it in user mode, too.
 *
 * Translated code is not tried: like QEMU's TCG (7.2) it reports the fault at the target (docs/engine-dbt.md).
 */
#include "guest.h"

const char guest_name[] = "indirect";

/* Each function goes to its argument by the branch at `..._at`; a good target returns to who called. */
struct noted {
	uint64_t rsp, target;
};
extern struct noted noted;
#define FORMS(X) X(ret) X(ret_16) X(jmp) X(jmp_r9) X(jmp_r11) X(jmp_memory) X(call) X(call_r10) X(call_memory) X(thunk) X(thunk_r11)
#define DECLARE(name) void by_##name(uint64_t target); extern char by_##name##_at[];
FORMS(DECLARE)
void good_target(void);

#define NOTE "	mov %rsp, noted(%rip)\n"
#define BELOW "	movq $0x5a5a5a5a, -8(%rsp)\n	mov %rdi, noted+8(%rip)\n"
__asm__(".pushsection .text\n"
	"good_target: ret\n"
	"by_ret: push %rdi\n" NOTE "by_ret_at: ret\n"
	"by_ret_16: sub $16, %rsp; push %rdi\n" NOTE "by_ret_16_at: ret $16\n"
	"by_jmp:\n" NOTE "by_jmp_at: jmp *%rdi\n"
	"by_jmp_r9: mov %rdi, %r9\n" NOTE "by_jmp_r9_at: jmp *%r9\n"
	"by_jmp_r11: mov %rdi, %r11\n" NOTE "by_jmp_r11_at: jmp *%r11\n"
	"by_jmp_memory: mov %rdi, noted+8(%rip)\n" NOTE "by_jmp_memory_at: jmp *noted+8(%rip)\n"
	"by_call:" BELOW NOTE "by_call_at: call *%rdi\n ret\n"
	"by_call_r10: mov %rdi, %r10\n" BELOW NOTE "by_call_r10_at: call *%r10\n ret\n"
	"by_call_memory:" BELOW NOTE "by_call_memory_at: call *noted+8(%rip)\n ret\n"
	"by_thunk: lea -8(%rsp), %rax; mov %rax, noted(%rip); call 1f; 2: pause; lfence; jmp 2b; 1: mov %rdi, (%rsp)\n"
	"by_thunk_at: ret\n"
	"by_thunk_r11: mov %rdi, %r11; lea -8(%rsp), %rax; mov %rax, noted(%rip); call 1f; 2: pause; lfence; jmp 2b; 1: mov %r11, (%rsp)\n"
	"by_thunk_r11_at: ret\n"
	".popsection\n");

struct noted noted;

static const struct form {
	const char *name;
	void (*go)(uint64_t target);
	const char *at;
	bool calls;
} forms[] = {
	{"ret", by_ret, by_ret_at, false},
	{"ret 16", by_ret_16, by_ret_16_at, false},
	{"jmp", by_jmp, by_jmp_at, false},
	{"jmp r9", by_jmp_r9, by_jmp_r9_at, false},
	{"jmp r11", by_jmp_r11, by_jmp_r11_at, false},
	{"jmp memory", by_jmp_memory, by_jmp_memory_at, false},
	{"call", by_call, by_call_at, true},
	{"call r10", by_call_r10, by_call_r10_at, true},
	{"call memory", by_call_memory, by_call_memory_at, true},
	{"thunk", by_thunk, by_thunk_at, false},
	{"thunk r11", by_thunk_r11, by_thunk_r11_at, false},
};

static void expect(const struct form *form, uint64_t offset, uint64_t target)
{
	bool right = caught.error == 0 && caught.rip == (uint64_t)form->at + offset && caught.rsp == noted.rsp;

	if (!right)
		print("%s to %x: error %x, rip %x instead of %x, rsp %x instead of %x\n", form->name, target, caught.error, caught.rip,
		      (uint64_t)form->at + offset, caught.rsp, noted.rsp);
	CHECK(right);
	/* In user mode the frame is not on the same stack. */
	if (offset && form->calls)
		EQUAL(*(volatile uint64_t *)(noted.rsp - offset - 8), 0x5a5a5a5a);
}

void guest_main(void)
{
	const uint64_t good = (uint64_t)good_target, good_user = USER(good_target);
	const uint64_t bad[] = {
		1ull << 47, (1ull << 47) - 1 + (1ull << 47), 0xffff7fffffffffff, 0xffff000000000000 | good_user, 1ull << 48 | good, 1ull << 63 | good,
		1ull << 47 | good, 0xfffe800000000000, 0x7fff800000000000, 0x0001000000000000, 0x8000800000000000 | good,
	};

	for (unsigned f = 0; f < sizeof(forms) / sizeof(forms[0]); f++) {
		const struct form *form = &forms[f];

		for (unsigned turn = 0; turn < 4; turn++) {
			for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
				EQUAL(fault_of(form->go, good), -1);
				EQUAL(fault_of(form->go, bad[i]), 13);
				expect(form, 0, bad[i]);
				EQUAL(run_user(form->go, good_user), 0x80);
				EQUAL(run_user(form->go, bad[i]), 13);
				expect(form, USER(0), bad[i]);
			}
			/* The ends of what is canonical are not mapped. */
			EQUAL(run_user(form->go, (1ull << 47) - 1), 14);
			EQUAL(caught.rip, (1ull << 47) - 1);
			EQUAL(run_user(form->go, 0xffff800000000000), 14);
			EQUAL(caught.rip, 0xffff800000000000);
		}
	}
}
