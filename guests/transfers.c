/* Far transfers in loops: far JMP, CALL and RET within a privilege level and through call gates, INT n and IRET, SYSENTER and SYSEXIT,
 * between 64-bit and 32-bit code. Each is counted by what it leads to, so that one which goes elsewhere shows; an engine that
 * translates should do them without leaving its own code (tests/engine/transfers.sh).
 *
 * Made on Intel's processors, as in syscall.c: AMD's have no SYSENTER in long mode.
 */
#include "guest.h"

const char guest_name[] = "transfers";

#define TURNS        2000
#define SYSENTER_CS  0x174u
#define SYSENTER_ESP 0x175u
#define SYSENTER_EIP 0x176u
#define CODE         0x70000000u /* 32-bit user code; data and its stack on the page behind */
#define KERNEL_GATE  0x60u
#define USER_CS64    0x3bu

extern uint64_t gdt[];

uint64_t there;
extern char interrupt_entry[], gate_entry[], sysenter_entry[], sysenter_entry32[];
extern char narrow[], narrow_sysenter[], narrow_end[];
void far_same_level(uint64_t arg), far_user(uint64_t arg), through_gate(uint64_t arg), by_interrupt(uint64_t arg), by_sysenter(uint64_t arg);

/* `there` counts the turns at the other end, RBX those at this one; what is pushed must be gone at the end. */
#define LOOP_BEGIN                                                                                                     \
	"	pushq %rbx\n"                                                                                          \
	"	movq $2000, %rbx\n"                                                                                    \
	"1:\n"
#define LOOP_END                                                                                                       \
	"	decq %rbx\n"                                                                                           \
	"	jnz 1b\n"                                                                                              \
	"	popq %rbx\n"                                                                                           \
	"	ret\n"
#define COUNT "	incq there(%rip)\n"

__asm__(".pushsection .text\n"
	/* Pointers of 16:64 and 16:32 bits, a return that releases parameters, one of 32 bits. */
	"far_same_level:\n" LOOP_BEGIN
	"	leaq 2f(%rip), %rax\n"
	"	movq %rax, -24(%rsp)\n"
	"	movw $8, -16(%rsp)\n"
	"	rex.w ljmp *-24(%rsp)\n"
	"	ud2\n"
	"2:" COUNT
	"	movl $3f, -24(%rsp)\n"
	"	movw $8, -20(%rsp)\n"
	"	ljmp *-24(%rsp)\n"
	"	ud2\n"
	"3:" COUNT
	"	pushq $11\n"
	"	pushq $12\n"
	"	leaq 4f(%rip), %rax\n"
	"	movq %rax, -64(%rsp)\n"
	"	movw $8, -56(%rsp)\n"
	"	rex.w lcall *-64(%rsp)\n"
	"	movl $5f, -64(%rsp)\n"
	"	movw $8, -60(%rsp)\n"
	"	lcall *-64(%rsp)\n"
	"	jmp 6f\n"
	"4:" COUNT
	"	rex.w lret $16\n"
	"5:" COUNT
	"	lretl\n"
	"6:\n" LOOP_END
	/* At CPL 3, to code 4 GiB up. */
	"far_user:\n" LOOP_BEGIN
	"	leaq 2f(%rip), %rax\n"
	"	movq %rax, -64(%rsp)\n"
	"	movw $0x3b, -56(%rsp)\n"
	"	rex.w lcall *-64(%rsp)\n"
	"	jmp 3f\n"
	"2:" COUNT
	"	lretq\n"
	"3:\n" LOOP_END
	/* Inwards and back. */
	"through_gate:\n" LOOP_BEGIN
	"	movw $0x63, -60(%rsp)\n"
	"	lcall *-64(%rsp)\n" LOOP_END
	"gate_entry:\n"
	"	incq there\n"
	"	lretq\n"
	"by_interrupt:\n" LOOP_BEGIN
	"	stc\n"
	"	int $0x81\n"
	"	jc 2f\n"
	"	ud2\n"
	"2:\n" LOOP_END
	"interrupt_entry:\n"
	"	incq there\n"
	"	iretq\n"
	/* R8 and R9: the user's stack pointer and where to go on. */
	"by_sysenter:\n"
	"	pushq %rbx\n"
	"	movq $2000, %rbx\n"
	"	movq %rsp, %r8\n"
	"	leaq 1f(%rip), %r9\n"
	"1:	decq %rbx\n"
	"	js 2f\n"
	"	sysenter\n"
	"2:	popq %rbx\n"
	"	ret\n"
	"sysenter_entry:\n"
	"	incq there\n"
	"	movq %r9, %rdx\n"
	"	movq %r8, %rcx\n"
	"	rex.w sysexit\n"
	/* The same for 32-bit code, which says so by EBP and ESI. */
	"sysenter_entry32:\n"
	"	incq there\n"
	"	movl %ebp, %ecx\n"
	"	movl %esi, %edx\n"
	"	sysexitl\n"
	/* 32-bit code: far jumps to 64-bit code and back, a far call and return, by all forms of pointer. */
	".code32\n"
	"narrow:\n"
	"	movl $2000, %ebx\n"
	"1:	ljmp $0x3b, $2f - narrow + 0x70000000\n"
	"	ud2\n"
	".code64\n"
	"2:	incq 0x70001800\n"
	"	movl $3f - narrow + 0x70000000, -16(%rsp)\n"
	"	movl $0x2b, -12(%rsp)\n"
	"	ljmp *-16(%rsp)\n"
	".code32\n"
	"3:	lcall $0x2b, $4f - narrow + 0x70000000\n"
	"	lcall *0x70001810\n"
	"	decl %ebx\n"
	"	jnz 1b\n"
	"	int $0x80\n"
	"4:	incl 0x70001808\n"
	"	lret\n"
	"narrow_sysenter:\n"
	"	movl $2000, %ebx\n"
	"	movl %esp, %ebp\n"
	"	movl $1f - narrow + 0x70000000, %esi\n"
	"1:	decl %ebx\n"
	"	js 2f\n"
	"	sysenter\n"
	"2:	int $0x80\n"
	"narrow_end:\n"
	".code64\n"
	".popsection\n");

static uint8_t stack[4096] __attribute__((aligned(16)));

static uint64_t counted(void)
{
	uint64_t count = there;

	there = 0;
	return count;
}

static void enter_narrow(uint64_t rip)
{
	__asm__ volatile("	pushq $0x33\n"
			 "	pushq $0x70001ff0\n"
			 "	pushq $2\n"
			 "	pushq $0x2b\n"
			 "	pushq %0\n"
			 "	movl $0x33, %%eax\n"
			 "	movl %%eax, %%ds\n"
			 "	movl %%eax, %%es\n"
			 "	xorl %%r8d, %%r8d\n"
			 "	iretq\n" ::"r"(rip)
			 : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "memory");
}

static void test_64(bool intel)
{
	EQUAL(fault_of(far_same_level, 0), -1);
	EQUAL(counted(), 4 * TURNS);
	EQUAL(run_user(far_user, 0), 0x80);
	EQUAL(caught.cs, USER_CS64);

	/* The stack of run_user() is not the gate's. */
	set_stack(0, (uint64_t)(stack + sizeof(stack)));
	gdt[KERNEL_GATE / 8] = ((uint64_t)gate_entry & 0xffff) | 8ull << 16 | 0xec00ull << 32 | ((uint64_t)gate_entry >> 16 & 0xffff) << 48;
	gdt[KERNEL_GATE / 8 + 1] = (uint64_t)gate_entry >> 32;
	there = 0;
	EQUAL(run_user(through_gate, 0), 0x80);
	EQUAL(counted(), TURNS);
	set_gate(0x81, (void (*)(void))interrupt_entry, 0xee, 0);
	EQUAL(run_user(by_interrupt, 0), 0x80);
	EQUAL(counted(), TURNS);
	EQUAL(fault_of(by_interrupt, 0), -1);
	EQUAL(counted(), TURNS);
	if (!intel)
		return;
	wrmsr(SYSENTER_CS, 8);
	wrmsr(SYSENTER_ESP, (uint64_t)(stack + sizeof(stack)));
	wrmsr(SYSENTER_EIP, (uint64_t)sysenter_entry);
	EQUAL(run_user(by_sysenter, 0), 0x80);
	EQUAL(counted(), TURNS);
	EQUAL(caught.cs, 0x2b); /* SYSEXIT's: 64-bit code whatever the descriptor says */
}

static void test_32(bool intel)
{
	uint8_t *page = alloc_page(), *other = alloc_page();
	volatile uint64_t *data = (volatile uint64_t *)(other + 0x800);

	for (char *at = narrow; at < narrow_end; at++)
		page[at - narrow] = (uint8_t)*at;
	*pte_of(CODE) = (uint64_t)page | PTE_P | PTE_W | PTE_U;
	*pte_of(CODE + 4096) = (uint64_t)other | PTE_P | PTE_W | PTE_U;
	invlpg(CODE);
	invlpg(CODE + 4096);
	data[2] = 0;
	for (unsigned i = 0; narrow + i < narrow_end; i++) {
		/* Where the far call by a pointer in memory leads: INC, LRET. */
		if (page[i] == 0xff && page[i + 1] == 0x05)
			data[2] = (CODE + i) | 0x2bull << 32;
	}
	EQUAL(fault_of(enter_narrow, CODE), 0x80);
	EQUAL(data[0], TURNS);
	EQUAL(data[1], 2 * TURNS);
	EQUAL(caught.rsp, CODE + 0x1ff0);
	if (!intel)
		return;
	wrmsr(SYSENTER_EIP, (uint64_t)sysenter_entry32);
	EQUAL(fault_of(enter_narrow, CODE + (uint64_t)(narrow_sysenter - narrow)), 0x80);
	EQUAL(counted(), TURNS);
	EQUAL(caught.cs, 0x1b);
}

void guest_main(void)
{
	uint32_t leaf[4];
	bool intel;

	cpuid(0, 0, leaf);
	intel = leaf[1] == 0x756e6547; /* "Genu" */
	test_64(intel);
	test_32(intel);
}
