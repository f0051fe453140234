/* 32-bit user code under a 64-bit system: addressing forms and where they wrap, the stack, strings, calls, thread-local data by
 * GS, faults, and 64-bit code in between, at the same addresses too.
 *
 * Each snippet is copied to CODE and entered with all registers zero. It ends with END: flags and registers on the stack, and
 * an interrupt; what is there is then printed as one number.
 */
#include "guest.h"

const char guest_name[] = "compat";

#define CODE      0x70000000u /* 1 page */
#define DATA      0x70010000u /* 4 pages */
#define STACK     0x70040000u /* 32 pages */
#define STACK_TOP 0x70060000u
#define TLS       0x70013000u /* the base of GS */
#define NOTHING   0x6fff0000ull /* not mapped, nor is twice that */
#define LAST_PAGE 0xfffff000u
#define USER_CS32 0x2bu
#define USER_CS64 0x3bu
#define USER_DS   0x33u
#define TLS_SEL   0x63u

extern uint64_t gdt[];

/* What the snippets are assembled with: the addresses above, and where a label will be. */
__asm__(".set CODE, 0x70000000\n"
	".set DATA, 0x70010000\n"
	".macro SNIPPET name\n"
	"	.globl \\name, \\name\\()_end\n"
	"\\name:\n"
	".endm\n"
	".macro END name\n"
	"	pushfl\n"
	"	pushal\n"
	"	int $0x80\n"
	"\\name\\()_end:\n"
	".endm\n");

#define SNIPPET(name, ...)                                                                                             \
	extern char name[], name##_end[];                                                                              \
	__asm__(".pushsection .text\n.code32\nSNIPPET " #name "\n" __VA_ARGS__ "END " #name "\n.code64\n.popsection\n")
#define AT(label, name) "(" #label " - " #name " + CODE)"

SNIPPET(addressing,
	"	movl $DATA, %ebx\n"
	"	movl $0x11223344, (%ebx)\n"
	"	movl $0x55667788, 4(%ebx)\n"
	"	movl $2, %esi\n"
	"	addl (%ebx), %eax\n"
	"	addl 4(%ebx), %eax\n"
	"	xorl DATA, %eax\n"
	"	addl DATA(,%esi,2), %eax\n"
	"	subl -4(%ebx,%esi,4), %eax\n"
	"	leal DATA+0x100(,%esi,8), %ebp\n"
	"	movl %eax, (%ebp)\n"
	"	movl %eax, 8(%ebp,%esi,1)\n"
	"	pushl (%ebp)\n"
	"	movl (%esp), %ecx\n"
	"	addl 8(%ebp,%esi), %ecx\n"
	"	popl 0x20(%ebx)\n"
	"	movl %eax, DATA+0x30\n" /* moffs */
	"	movb DATA+0x31, %al\n"
	"	movb %al, DATA+0x37\n"
	"	movl DATA+0x34, %eax\n"
	"	movw DATA+2, %ax\n"
	"	incl %eax\n"
	"	decl %ecx\n"
	"	incl %ebp\n"
	"	incw %dx\n"
	"	decl %edi\n"
	"	movb %ah, %dh\n"
	"	addb %ch, %ah\n"
	"	xchgb %bh, 1(%ebx)\n"
	"	xchgb %bh, 1+DATA\n"
	"	movb $0x5a, %ch\n"
	"	subb %ch, 5(%ebx)\n"
	"	.byte 0x82, 0xc4, 0x77\n" /* add ah, 0x77 */
	"	.byte 0x82, 0x2b, 0x11\n" /* sub byte [ebx], 0x11 */
	"	leal 0x10(%esp), %edi\n"
	"	leal -0x10(%edi), %esp\n"
	"	bswap %edx\n"
	"	xaddl %edx, (%ebx)\n"
	"	cmpxchgl %ecx, 4(%ebx)\n"
	"	movl $77, %edi\n"
	"	btsl %edi, (%ebx)\n"
	"	btrl %edi, 0x100(%ebx)\n"
	"	movl $-3, %edi\n"
	"	btcl %edi, 0x40(%ebx)\n"
	"	movb $3, %cl\n"
	"	shll %cl, %edx\n"
	"	shldl $5, %edx, 0x20(%ebx)\n"
	"	imull $7, 4(%ebx), %edi\n"
	"	movsbl 3(%ebx), %esi\n"
	"	movzwl 2(%ebx), %ebp\n"
	"	cmpl %esi, %ebp\n"
	"	setb %cl\n"
	"	cmovbl %ebp, %esi\n"
	"	movl $100, %eax\n"
	"	cltd\n"
	"	movl $7, %ebp\n"
	"	idivl %ebp\n"
	"	addl $1, %eax\n");

/* Every way that an address wraps, often enough for the translator to have seen it. */
SNIPPET(wrapping,
	"	movl $0xffffffff, %ebx\n"
	"	movl $24, %ecx\n"
	"1:	addl 0x11(%ebx), %eax\n"  /* 0x10 */
	"	movl $4, %esi\n"
	"	addl -8(%esi), %eax\n"    /* 0xfffffffc */
	"	addl 0x21(%ebx,%esi,4), %eax\n"
	"	movl $0x80000000, %edx\n"
	"	addl 0x40(%edx,%edx), %eax\n"
	"	addl -0x7fffffc0(%edx), %eax\n" /* 0x80 */
	"	addl %eax, 0x51(%ebx)\n"
	"	leal 5(%ebx), %edi\n"
	"	addl %edi, %eax\n"
	"	movl $-0x10, %edi\n"
	"	movl (%edi), %ebp\n"
	"	addl %ebp, 0x30(%edi)\n" /* 0x20 */
	"	addl $0x20, %edi\n"
	"	addl (%edi), %eax\n"     /* 0x10 */
	"	loop 1b\n");

SNIPPET(stack_wraps,
	"	movl %esp, %ebx\n"
	"	movl $16, %ecx\n"
	"1:	movl $8, %esp\n"
	"	pushl $0x1234\n"
	"	pushl %ecx\n"
	"	pushl %esp\n"       /* at 0xfffffffc: 0 */
	"	movl (%esp), %edx\n"
	"	popl %eax\n"        /* esp: 0 */
	"	addl %eax, %edx\n"
	"	popl %esi\n"
	"	addl (%esp), %esi\n"
	"	leal -0x20(%esp), %esp\n" /* 0xffffffe4 */
	"	movl %ecx, (%esp)\n"
	"	leal 0x20(%esp), %esp\n"
	"	addl (%esp), %edi\n"
	"	addl $-0x24, %esp\n"
	"	addl 4(%esp), %edi\n"
	"	movl $0xfffffff8, %esp\n"
	"	popl %ebp\n"
	"	popl %ebp\n"
	"	addl 4(%esp), %ebp\n"
	"	movl %esp, %ebp\n"
	"	pushl $9\n"
	"	leave\n"            /* ebp: [0] */
	"	addl %esp, %edi\n"
	"	loop 1b\n"
	"	movl %ebx, %esp\n");

SNIPPET(strings,
	"	cld\n"
	"	movl $DATA, %edi\n"
	"	movl $0x01020304, %eax\n"
	"	movl $1500, %ecx\n"
	"	rep stosl\n"
	"	movl $DATA+3, %esi\n"
	"	movl $DATA+0x1ff1, %edi\n"
	"	movl $4000, %ecx\n"
	"	rep movsb\n"
	"	movl $DATA+2, %esi\n"
	"	movl $DATA+0x2fff, %edi\n"
	"	movl $9, %ecx\n"
	"1:	movsl\n"
	"	stosw\n"
	"	lodsb\n"
	"	loop 1b\n"
	"	movb $0x77, DATA+0x500\n"
	"	movl $DATA, %edi\n"
	"	movb $0x77, %al\n"
	"	movl $-1, %ecx\n"
	"	repne scasb\n"
	"	movl %edi, %edx\n"
	"	movl $DATA, %esi\n"
	"	movl $DATA+0x400, %edi\n"
	"	movl $4000, %ecx\n"
	"	repe cmpsb\n"
	"	std\n"
	"	movl $DATA+0x900, %esi\n"
	"	movl $DATA+0x904, %edi\n"
	"	movl $100, %ecx\n"
	"	rep movsl\n"
	"	cld\n"
	"	jecxz 2f\n"
	"	ud2\n"
	"2:	movl $0xffffffc0, %edi\n" /* the last bytes of all */
	"	movl $16, %ecx\n"
	"	rep stosl\n"
	"	movl $0xfffffff0, %esi\n"
	"	movl $0xfffffff4, %edi\n"
	"	movsl\n"
	"	movsl\n"
	"	addl $4, %esi\n"
	"	lodsl\n" /* esi: 0 */
	"	movl $DATA+8, %ebx\n"
	"	movb $9, %al\n"
	"	xlatb\n");

SNIPPET(calls,
	"	movl $15, %eax\n"
	"	call 3f\n"
	"	movl %eax, DATA\n"
	"	movl $5000, %eax\n" /* deeper than the translator's stack of returns */
	"	call 5f\n"
	"	movl %eax, DATA+4\n"
	"	movl $" AT(6f, calls) ", %ebx\n"
	"	call *%ebx\n"
	"	movl %ebx, DATA+8\n"
	"	movl $2, %ecx\n"
	"	pushl $11\n"
	"	pushl $12\n"
	"	call *DATA(,%ecx,4)\n"
	"	pushl $" AT(7f, calls) "\n"
	"	jmp *(%esp)\n"
	"7:	popl %esi\n"
	"	movl $" AT(8f, calls) ", %edx\n"
	"	jmp *%edx\n"
	"	ud2\n"
	"8:	pushl $13\n"
	"	pushl $14\n"
	"	call 9f\n"
	"	jmp 2f\n"
	"3:	cmpl $2, %eax\n" /* fib(eax) */
	"	jb 4f\n"
	"	pushl %eax\n"
	"	decl %eax\n"
	"	call 3b\n"
	"	xchgl %eax, (%esp)\n"
	"	subl $2, %eax\n"
	"	call 3b\n"
	"	popl %ecx\n"
	"	addl %ecx, %eax\n"
	"4:	ret\n"
	"5:	pushl %eax\n" /* the sum of 1 to eax */
	"	decl %eax\n"
	"	jz 4f\n"
	"	call 5b\n"
	"	addl %eax, (%esp)\n"
	"4:	popl %eax\n"
	"	ret\n"
	"6:	addl $1, %edi\n"
	"	movl (%esp), %ebp\n"
	"	ret\n"
	"9:	enter $16, $0\n"
	"	movl 8(%ebp), %eax\n"
	"	addl 12(%ebp), %eax\n"
	"	movl %eax, -8(%ebp)\n"
	"	pushl -8(%ebp)\n"
	"	popl %edx\n"
	"	leave\n"
	"	ret $8\n"
	"2:	popl %ebx\n"
	"	popl %ecx\n"
	"	pushl $0x8d7\n"
	"	popfl\n"
	"	pushfl\n"
	"	popl %eax\n"
	"	andl $0x8d5, %eax\n"
	"	pushal\n"
	"	popal\n"
	"	xorl %ebp, %ebp\n");

SNIPPET(threads,
	"	movl $0x63, %eax\n"
	"	movw %ax, %gs\n"
	"	movl $20, %ecx\n"
	"	movl $-8, %ebx\n"
	"1:	addl $0x31415926, %gs:0\n"
	"	addl %gs:0, %edx\n"
	"	movl %edx, %gs:-4\n"
	"	addl %gs:(%ebx), %edx\n"
	"	addl %gs:4(%ebx), %edx\n"
	"	movl %edx, %gs:8(%ebx,%ecx,4)\n"
	"	xorl %gs:DATA-0x70013000+16, %edx\n"
	"	loop 1b\n"
	"	movw %gs, %ax\n"
	"	movl %gs, %esi\n"
	"	testl %eax, %eax\n");

/* 64-bit code in between, by far jumps. */
SNIPPET(crossings,
	"	movl $30, %ecx\n"
	"1:	ljmp $0x3b, $" AT(2f, crossings) "\n"
	".code64\n"
	"2:	movq $0x123456789, %rdx\n"
	"	movq %rdx, DATA\n"
	"	addl %ecx, %eax\n"
	"	call 4f\n"
	"	movl %edx, %edx\n"
	"	pushq $0x2b\n"
	"	pushq $" AT(3f, crossings) "\n"
	"	lretq\n"
	"4:	addl $3, %eax\n"
	"	ret\n"
	".code32\n"
	"3:	call 4b\n" /* the same bytes */
	"	loop 1b\n"
	"	testl %eax, %eax\n");

/* Bytes that are other instructions to 64-bit code; the interrupt tells both. */
SNIPPET(both,
	"	movl $DATA, %ebx\n"
	"	xorl %eax, %eax\n"
	"	call 1f\n"
	"	call 1f\n"
	"	movl %eax, (%ebx)\n"
	"	int $0x80\n"
	"1:	.byte 0x48, 0xff, 0xc0\n" /* inc rax; dec eax, inc eax */
	"	ret\n");

/* ---- faults: the last instruction's ---- */

SNIPPET(reads_nothing, "	movl $0x6fff0000, %ebx\n	pushl $1\n	movl 8(%ebx), %eax\n");
SNIPPET(writes_nothing, "	movl $0x6fff0000, %ebx\n	pushl $1\n	movb %ah, 0x123(%ebx,%ebx)\n");
SNIPPET(writes_code, "	movl $CODE, %ebx\n	addl $1, (%ebx)\n");
SNIPPET(reads_kernel, "	movl $0x100000, %ebx\n	movl (%ebx), %ebx\n");
SNIPPET(divides, "	pushl $1\n	divl %ecx\n");
SNIPPET(writes_cs, "	movl %eax, %cs:DATA\n");
SNIPPET(null_gs, "	movw %ax, %gs\n	movl %gs:(%ebx), %eax\n");
SNIPPET(bounds, "	movl $DATA, %ebx\n	movl $-1, 4(%ebx)\n	bound %eax, (%ebx)\n");
SNIPPET(overflows, "	movl $0x7fffffff, %eax\n	incl %eax\n	into\n");
SNIPPET(pushes_nothing, "	movl $0x6fff0004, %esp\n	pushl $1\n	call 1f\n1:\n");
SNIPPET(jumps_nowhere, "	movl $0x6fff0000, %eax\n	jmp *%eax\n");
SNIPPET(privileged, "	cli\n");

static void *physical(uint64_t address)
{
	return (void *)(*pte_of(address) & 0xfffffff000ull);
}

static void map_page(uint64_t address, uint64_t rights)
{
	*pte_of(address) = (uint64_t)alloc_page() | PTE_P | PTE_U | rights;
	invlpg(address);
}

static void map_all(void)
{
	map_page(CODE, 0);
	for (unsigned i = 0; i < 4; i++)
		map_page(DATA + i * 4096, PTE_W);
	for (unsigned i = 0; i < 32; i++)
		map_page(STACK + i * 4096, PTE_W);
	map_page(0, PTE_W);
	map_page(LAST_PAGE, PTE_W);
	*pte_of(NOTHING) = *pte_of((2 * NOTHING) & 0xffffffff) = 0;
	invlpg(NOTHING);
	invlpg((2 * NOTHING) & 0xffffffff);
}

static void fill(uint64_t address, uint32_t seed)
{
	uint32_t *words = physical(address);

	for (unsigned i = 0; i < 1024; i++)
		words[i] = seed += 0x9e3779b9u;
}

static uint32_t sum(uint64_t address, uint32_t hash)
{
	const uint32_t *words = physical(address);

	for (unsigned i = 0; i < 1024; i++)
		hash = (hash ^ words[i]) * 0x01000193u + (hash >> 15);
	return hash;
}

struct entry {
	uint64_t rip, cs, rflags, rsp, ss;
};

static void enter(uint64_t arg)
{
	const struct entry *entry = (const struct entry *)arg;

	__asm__ volatile("	movl %1, %%ecx\n"
			 "	movl %%ecx, %%ds\n"
			 "	movl %%ecx, %%es\n"
			 "	pushq 32(%0)\n"
			 "	pushq 24(%0)\n"
			 "	pushq 16(%0)\n"
			 "	pushq 8(%0)\n"
			 "	pushq 0(%0)\n"
			 "	xorl %%eax, %%eax\n"
			 "	xorl %%ebx, %%ebx\n"
			 "	xorl %%ecx, %%ecx\n"
			 "	xorl %%edx, %%edx\n"
			 "	xorl %%esi, %%esi\n"
			 "	xorl %%edi, %%edi\n"
			 "	xorl %%ebp, %%ebp\n"
			 "	iretq\n" ::"r"(entry), "i"(USER_DS)
			 : "memory");
}

static int run_as(const char *begin, const char *end, uint64_t cs)
{
	struct entry entry = {.rip = CODE, .cs = cs, .rflags = 2, .rsp = STACK_TOP - 64, .ss = USER_DS};
	char *code = physical(CODE);

	for (const char *at = begin; at < end; at++)
		code[at - begin] = *at;
	return fault_of(enter, (uint64_t)&entry);
}

/* What the snippet left on its stack, and in memory. */
static void show(const char *name)
{
	uint32_t hash = 0;

	for (unsigned i = 0; i < 4; i++)
		hash = sum(DATA + i * 4096, hash);
	hash = sum(STACK_TOP - 4096, hash);
	hash = sum(0, hash);
	hash = sum(LAST_PAGE, hash);
	print("%s: %x at %x\n", name, (uint64_t)hash, caught.rsp);
}

static void prepare(void)
{
	for (unsigned i = 0; i < 4; i++)
		fill(DATA + i * 4096, i);
	for (unsigned i = 0; i < 32; i++)
		fill(STACK + i * 4096, 0);
	fill(0, 100);
	fill(LAST_PAGE, 200);
}

static uint32_t word(uint64_t address)
{
	return ((uint32_t *)physical(address & ~4095ull))[(address & 4095) / 4];
}

/* Registers as END left them: 0 is EDI, 7 EAX, 8 the flags. */
static uint32_t left(unsigned n)
{
	return word(caught.rsp + 4ull * n);
}

#define RUN(name)                                                                                                      \
	do {                                                                                                           \
		prepare();                                                                                             \
		EQUAL(run_as(name, name##_end, USER_CS32), 0x80);                                                      \
		EQUAL(caught.cs, USER_CS32);                                                                           \
		EQUAL(caught.rip, CODE + (uint64_t)(name##_end - name));                                               \
		show(#name);                                                                                           \
	} while (0)

static void test_snippets(void)
{
	uint32_t at_zero;

	RUN(addressing);
	EQUAL(left(7), 15);
	EQUAL(left(5), 2);
	EQUAL(left(0), word(DATA + 4) * 7);

	prepare();
	at_zero = word(0x10);
	EQUAL(at_zero, 100 + 5 * 0x9e3779b9u);
	RUN(wrapping);
	RUN(stack_wraps);
	EQUAL(word(0), 1);
	EQUAL(word(0xfffffffc), 9);
	EQUAL(caught.rsp, STACK_TOP - 64 - 36);
	RUN(strings);
	EQUAL(left(1), 0); /* ESI behind the last byte */
	EQUAL(word(0xfffffffc), 0x01020377); /* AL was 0x77 */
	RUN(calls);
	EQUAL(word(DATA), 610);
	EQUAL(word(DATA + 4), 5000 * 5001 / 2);
	EQUAL(left(0), 2);
	EQUAL(left(4), 12);
	EQUAL(left(6), 11);
	EQUAL(left(7), 0x8d5);
	RUN(threads);
	EQUAL(left(7), TLS_SEL);
	EQUAL(left(1), TLS_SEL);
	RUN(crossings);
	EQUAL(left(7), 30 * 31 / 2 + 30 * 6);
	EQUAL(word(DATA), 0x23456789);
}

static void test_both(void)
{
	prepare();
	for (unsigned i = 0; i < 20; i++) {
		const char *end = both_end;

		EQUAL(run_as(both, end, USER_CS32), 0x80);
		EQUAL(word(DATA), 0);
		EQUAL(run_as(both, end, USER_CS64), 0x80);
		EQUAL(word(DATA), 2);
	}
}

/* name faults at `offset` before its END, with the stack pointer so much lower. */
static void test_fault(const char *begin, const char *end, unsigned vector, uint64_t error, uint64_t cr2, unsigned back,
		       unsigned lower)
{
	for (unsigned i = 0; i < 10; i++) {
		prepare();
		EQUAL(run_as(begin, end, USER_CS32), vector);
		EQUAL(caught.error, error);
		if (vector == 14)
			EQUAL(caught.cr2, cr2);
		EQUAL(caught.rip, CODE + (uint64_t)(end - begin) - 4 - back);
		EQUAL(caught.cs, USER_CS32);
		EQUAL(caught.rsp, STACK_TOP - 64 - lower);
	}
}
#define FAULT(name, ...) test_fault(name, name##_end, __VA_ARGS__)

static void test_faults(void)
{
	FAULT(reads_nothing, 14, 4, 0x6fff0008, 3, 4);
	FAULT(writes_nothing, 14, 6, (2 * NOTHING & 0xffffffff) + 0x123, 7, 4);
	FAULT(writes_code, 14, 7, CODE, 3, 0);
	FAULT(reads_kernel, 14, 5, 0x100000, 2, 0);
	FAULT(divides, 0, 0, 0, 2, 4);
	FAULT(writes_cs, 13, 0, 0, 6, 0);
	FAULT(null_gs, 13, 0, 0, 3, 0);
	FAULT(bounds, 5, 0, 0, 2, 0);
	FAULT(overflows, 13, 4 * 8 + 2, 0, 1, 0); /* the gate is the kernel's */
	FAULT(privileged, 13, 0, 0, 1, 0);

	prepare();
	EQUAL(run_as(pushes_nothing, pushes_nothing_end, USER_CS32), 14);
	EQUAL(caught.rsp, 0x6fff0004);
	EQUAL(caught.cr2, 0x6fff0000);
	EQUAL(caught.rip, CODE + 5);
	EQUAL(caught.error, 6);
	EQUAL(run_as(jumps_nowhere, jumps_nowhere_end, USER_CS32), 14);
	EQUAL(caught.rip, 0x6fff0000);
	EQUAL(caught.cr2, 0x6fff0000);
}

void guest_main(void)
{
	/* User data with a base of TLS. */
	gdt[TLS_SEL >> 3] = 0x00cff3000000ffffull | (uint64_t)(TLS & 0xffffff) << 16 | (uint64_t)(TLS >> 24) << 56;
	map_all();
	test_snippets();
	test_both();
	test_faults();
}
