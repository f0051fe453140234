/* 16-bit real mode and back: segment arithmetic, limits, a segment with a 4 GiB limit ("unreal mode"), interrupts by
 * the vector table at 0, and string instructions that wrap at 64 KiB.
 * QEMU's TCG (7.2) checks no limits, wrongly.
 */
#include "guest.h"

const char guest_name[] = "realmode";

#define BLOB   0x9000ull
#define RESULT 0xa000ull

extern char blob[], blob_end[], on_int[], on_gp[], on_divide[], after_int[], wide_read[], divide_here[];
extern uint64_t gdt[];
void run_blob(void);

/* What the blob stores at RESULT. */
struct result {
	uint16_t int_ip, int_cs, int_flags, int_now, gp_ip, divide_ip, carry, sp;
	uint32_t beyond, unreal;
	uint16_t far_calls; /* two bits a call */
};

__asm__(".pushsection .text\n"
	"run_blob:\n"
	"	pushq %rbx; pushq %rbp; pushq %r12; pushq %r13; pushq %r14; pushq %r15\n"
	"	sidt saved_idt\n"
	"	movq %rsp, saved_rsp\n"
	"	ljmp *compatible_pointer\n"
	".code32\n"
	"compatible:\n"
	"	movl %cr0, %eax\n"
	"	andl $0x7fffffff, %eax\n"
	"	movl %eax, %cr0\n"
	"	movl $0xc0000080, %ecx\n"
	"	rdmsr\n"
	"	andl $~0x100, %eax\n"
	"	wrmsr\n"
	"	movl $0x60, %eax\n" /* 64 KiB of data */
	"	movl %eax, %ds; movl %eax, %es; movl %eax, %ss; movl %eax, %gs\n"
	"	movl $0x20, %eax\n" /* 4 GiB */
	"	movl %eax, %fs\n"
	"	ljmp $0x68, $0x9000\n"
	".code16\n"
	"blob:\n"
	"	movl %cr0, %eax\n"
	"	andb $0xfe, %al\n"
	"	movl %eax, %cr0\n"
	"	ljmp $0x900, $1f - blob\n"
	"1:	xorw %ax, %ax\n"
	"	movw %ax, %ds; movw %ax, %fs; movw %ax, %ss\n"
	"	movw $0x7000, %sp\n"
	"	lidtl %cs:real_idt - blob\n"
	"	stc\n"
	"	int $0x60\n"
	"after_int:\n"
	"	setc 0xa00c\n"
	"	movw %sp, 0xa00e\n"
	"wide_read:\n"
	"	movw %ds:0xffff, %ax\n" /* across the limit; on_gp goes on after it */
	"2:	movw $0x01b3, 0xb000; movb $0xcb, 0xb002\n" /* movb $1, %bl; lretw: the same offset in two segments */
	"	movw $0x02b3, 0xc000; movb $0xcb, 0xc002\n"
	"	xorw %dx, %dx\n"
	"	movw $3, %cx\n"
	"5:	lcall $0xb00, $0; shlw $2, %dx; orb %bl, %dl\n"
	"	lcall $0xc00, $0; shlw $2, %dx; orb %bl, %dl\n"
	"	loop 5b\n"
	"	movw %dx, 0xa018\n"
	"	xorw %cx, %cx\n"
	"	movw $1, %ax\n"
	"	cwd\n"
	"divide_here:\n"
	"	divw %cx\n"
	"3:	movw $0xffff, %ax\n"
	"	movw %ax, %gs\n"
	"	movl %gs:0x10, %eax\n"
	"	movl %eax, 0xa010\n"
	"	movl $0x100004, %ebx\n"
	"	movl %fs:(%ebx), %eax\n"
	"	movl %eax, 0xa014\n"
	"	movw $0x2000, %ax\n"
	"	movw %ax, %es\n"
	"	cld\n"
	"	movw $0xfff0, %di\n"
	"	movw $0x20, %cx\n"
	"	movb $0x5a, %al\n"
	"	rep stosb\n"
	"	movl %cr0, %eax\n"
	"	orb $1, %al\n"
	"	movl %eax, %cr0\n"
	"	ljmpl $0x18, $back\n"
	"on_int:\n"
	"	movw %sp, %bp\n"
	"	movw (%bp), %ax\n"
	"	movw %ax, 0xa000\n"
	"	movw 2(%bp), %ax\n"
	"	movw %ax, 0xa002\n"
	"	movw 4(%bp), %ax\n"
	"	movw %ax, 0xa004\n"
	"	pushfw\n"
	"	popw 0xa006\n"
	"	iretw\n"
	"on_gp:\n"
	"	popw 0xa008\n"
	"	pushw $2b - blob\n"
	"	iretw\n"
	"on_divide:\n"
	"	popw 0xa00a\n"
	"	pushw $3b - blob\n"
	"	iretw\n"
	"real_idt: .word 0x3ff\n"
	"	.long 0\n"
	"blob_end:\n"
	".code32\n"
	"back:	movl $0x20, %eax\n"
	"	movl %eax, %ds; movl %eax, %es; movl %eax, %ss\n"
	"	movl $0xc0000080, %ecx\n"
	"	rdmsr\n"
	"	orl $0x100, %eax\n"
	"	wrmsr\n"
	"	movl %cr0, %eax\n"
	"	orl $0x80000000, %eax\n"
	"	movl %eax, %cr0\n"
	"	ljmp $8, $4f\n"
	".code64\n"
	"4:	lidt saved_idt\n"
	"	xorl %eax, %eax\n"
	"	movl %eax, %ds; movl %eax, %es; movl %eax, %ss; movl %eax, %fs; movl %eax, %gs\n"
	"	movq saved_rsp, %rsp\n"
	"	popq %r15; popq %r14; popq %r13; popq %r12; popq %rbp; popq %rbx\n"
	"	ret\n"
	".popsection\n"
	".pushsection .data\n"
	".balign 8\n"
	"saved_idt: .quad 0, 0\n"
	"saved_rsp: .quad 0\n"
	"compatible_pointer: .long compatible, 0x18\n"
	".popsection\n");

static void set_vector(unsigned vector, char *entry)
{
	uint64_t table = 0;
	volatile uint16_t *at;

	__asm__("" : "+r"(table)); /* the compiler takes it for a null pointer otherwise */
	at = (volatile uint16_t *)(table + 4 * vector);
	at[0] = (uint16_t)(entry - blob);
	at[1] = BLOB >> 4;
}

void guest_main(void)
{
	volatile struct result *result = (volatile struct result *)RESULT;
	volatile uint8_t *string = (volatile uint8_t *)0x20000;

	gdt[0x60 / 8] = 0x000093000000ffff;
	gdt[0x68 / 8] = 0x00009b000000ffff;
	for (char *from = blob; from < blob_end; from++)
		((volatile uint8_t *)BLOB)[from - blob] = (uint8_t)*from;
	set_vector(0, on_divide);
	set_vector(13, on_gp);
	set_vector(0x60, on_int);
	string[0x10] = 0;
	string[0xffef] = 0;
	string[0x10000] = 0;
	run_blob();

	EQUAL(result->int_ip, after_int - blob);
	EQUAL(result->far_calls, 0x666);
	EQUAL(result->int_cs, BLOB >> 4);
	EQUAL(result->int_flags & 0x203, 3);
	EQUAL(result->int_now & 0x302, 2);
	EQUAL(result->carry & 0xff, 1);
	EQUAL(result->sp, 0x7000);
	EQUAL(result->gp_ip, wide_read - blob);
	EQUAL(result->divide_ip, divide_here - blob);
	EQUAL(result->beyond, *(volatile uint32_t *)0x100000);
	EQUAL(result->unreal, *(volatile uint32_t *)0x100004);
	EQUAL(string[0xfff0], 0x5a);
	EQUAL(string[0xffff], 0x5a);
	EQUAL(string[0], 0x5a);
	EQUAL(string[0xf], 0x5a);
	EQUAL(string[0x10], 0);
	EQUAL(string[0xffef], 0);
	EQUAL(string[0x10000], 0);
}
