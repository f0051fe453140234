/* Code that is executed a known number of times, on each processor, while a timer interrupts it: for --count-blocks.
 *
 * A label counted_NxI_... says that what follows, up to the next such label, is I instructions, each executed N times by each processor;
 * in usercounted_NxI_... by the boot processor, and in user mode. tests/engine/counts.sh takes them from the symbol table. The carry that goes
 * through all of it would show if counting changed a flag.
 */
#include "guest.h"

const char guest_name[] = "counts";

#define PAGES 64

static volatile uint32_t finished;
static volatile uint64_t ticks;
volatile uint8_t touched[PAGES * 4096] __attribute__((aligned(4096)));

/* rdi: of PAGES pages. rax: a checksum. */
uint64_t counted_code(volatile uint8_t *pages);
__asm__(".pushsection .text\n"
	"counted_code:\n"
	"	push %rbx\n"
	"	xor %eax, %eax\n"
	"	mov $1000000, %ecx\n"
	"	stc\n"
	"	jmp counted_1000000x4_loop\n"
	"	.balign 64\n"
	"counted_1000000x4_loop:\n"
	"	adc $1, %rax\n" /* of the carry, once; none comes from here */
	"	lea 1(%rdx), %rdx\n"
	"	dec %ecx\n"
	"	jnz counted_1000000x4_loop\n"
	"counted_1x2_behind:\n"
	"	mov $300000, %ebx\n"
	"	jmp counted_300000x1_call\n"
	"	.balign 64\n"
	"counted_300000x1_call:\n"
	"	call counted_300000x2_function\n"
	"counted_300000x2_return:\n"
	"	test $3, %bl\n"
	"	jnz counted_300000x2_join\n"
	"counted_75000x2_quarter:\n"
	"	inc %rax\n"
	"	jmp counted_300000x2_join\n"
	"	.balign 64\n"
	"counted_300000x2_join:\n"
	"	dec %ebx\n"
	"	jnz counted_300000x1_call\n"
	"counted_1x2_pages:\n"
	"	mov $64, %ecx\n"
	"	jmp counted_64x1_flush\n"
	"	.balign 64\n"
	"counted_64x1_flush:\n"
	"	invlpg (%rdi)\n"
	"counted_64x5_touch:\n" /* whose first instruction faults each time */
	"	mov %cl, (%rdi)\n"
	"	add (%rdi), %al\n"
	"	add $4096, %rdi\n"
	"	dec %ecx\n"
	"	jnz counted_64x1_flush\n"
	"counted_1x2_end:\n"
	"	pop %rbx\n"
	"	ret\n"
	"	.balign 64\n"
	"counted_300000x2_function:\n"
	"	add $2, %rax\n"
	"	ret\n"
	"counted_0x0_end:\n"
	"	.balign 64\n"
	"user_code:\n"
	"	mov $50000, %ecx\n"
	"	jmp usercounted_50000x2_loop\n"
	"	.balign 64\n"
	"usercounted_50000x2_loop:\n"
	"	dec %ecx\n"
	"	jnz usercounted_50000x2_loop\n"
	"usercounted_1x1_end:\n"
	"	ret\n"
	"usercounted_0x0_end:\n"
	".popsection\n");
void user_code(uint64_t);

static void on_timer(struct frame *frame)
{
	__sync_fetch_and_add(&ticks, 1);
	*apic(0xb0) = 0;
}

/* The low byte is of the pages' contents too. */
static uint64_t expected(void)
{
	uint64_t sum = 1000000 + 1 + 300000 * 2 + 75000;
	uint8_t low = (uint8_t)sum;

	for (unsigned i = 1; i <= PAGES; i++)
		low = (uint8_t)(low + i);
	return (sum & ~255ull) | low;
}

static void count(volatile uint8_t *pages)
{
	uint64_t sum;

	*apic(0x3e0) = 0xb; /* divide by 1 */
	*apic(0x320) = 0x20040;
	*apic(0x380) = 30000;
	__asm__ volatile("sti");
	sum = counted_code(pages);
	__asm__ volatile("cli");
	*apic(0x320) = 0x10040; /* masked */
	*apic(0x380) = 0;
	EQUAL(sum, expected());
}

static volatile uint32_t turn;

void guest_ap_main(void)
{
	static volatile uint8_t pages[PAGES * 4096] __attribute__((aligned(4096)));

	apic_enable();
	/* One after the other: the pages are shared. */
	while (__sync_lock_test_and_set(&turn, 1))
		__asm__ volatile("pause");
	count(pages);
	__sync_lock_release(&turn);
	__sync_fetch_and_add(&finished, 1);
}

void guest_main(void)
{
	uint32_t r[4], others;

	apic_enable();
	on_vector(0x40, on_timer);
	cpuid(0xb, 1, r);
	others = (r[1] & 0xffff) ? (r[1] & 0xffff) - 1 : 0;
	if (others)
		start_others();
	count(touched);
	EQUAL(run_user(user_code, 0), 0x80);
	while (finished < others)
		__asm__ volatile("pause");
	CHECK(ticks > 0);
}
