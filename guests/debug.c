/* Something to stop in: for tests/engine/gdb.py, which sets breakpoints at the symbols below, watches `watched`, and steps. By itself it is
 * a test as the others are. With two processors the other one runs other_work(). */
#include "guest.h"

const char guest_name[] = "debug";

volatile uint64_t watched __attribute__((aligned(8)));
volatile uint64_t unwatched[8] __attribute__((aligned(64)));
volatile uint64_t other_turns, stop_others, ticks, string_total;
uint8_t string_from[64], string_to[64];

/* Each instruction has a label. */
uint64_t steps(uint64_t value);
__asm__(".text\n"
	".globl steps\n"
	"steps:\n"
	"	mov %rdi, %rax\n"
	".globl steps_add\n"
	"steps_add:\n"
	"	add $5, %rax\n"
	".globl steps_call\n"
	"steps_call:\n"
	"	call steps_leaf\n"
	".globl steps_after\n"
	"steps_after:\n"
	"	lea 1(%rax), %rax\n"
	".globl steps_jump\n"
	"steps_jump:\n"
	"	jmp 1f\n"
	"	ud2\n"
	".globl steps_end\n"
	"steps_end:\n"
	"1:	ret\n"
	".globl steps_leaf\n"
	"steps_leaf:\n"
	"	nop\n"
	".globl steps_leaf_end\n"
	"steps_leaf_end:\n"
	"	ret\n");

volatile uint64_t patched_total;
/* Set by a debugger: the end waits for it to be cleared. */
volatile uint64_t held;

/* Called often, so that it is translated when somebody wants to stop in its middle, or to patch it. */
__attribute__((noinline)) uint64_t hot(uint64_t n)
{
	uint64_t sum = 0, patched = 0;

	for (uint64_t i = 0; i < n; i++) {
		sum += i ^ unwatched[i & 7];
		__asm__ volatile(".globl hot_middle\nhot_middle: nop" : "+r"(sum));
		/* The last of four bytes is the number. */
		__asm__ volatile(".globl hot_patch\nhot_patch: addq $0, %0\n"
				 ".globl hot_patch_end\nhot_patch_end: nop"
				 : "+r"(patched));
	}
	patched_total += patched;
	return sum;
}

__attribute__((noinline)) void write_watched(uint64_t value)
{
	unwatched[0] = value;
	__asm__ volatile(".globl watched_write\nwatched_write: movq %1, %0\n"
			 ".globl watched_written\nwatched_written: nop"
			 : "=m"(watched)
			 : "r"(value));
	unwatched[1] = value;
}

__attribute__((noinline)) uint64_t read_watched(void)
{
	uint64_t value;

	__asm__ volatile(".globl watched_read\nwatched_read: movq %1, %0\n"
			 ".globl watched_was_read\nwatched_was_read: nop"
			 : "=r"(value)
			 : "m"(watched));
	return value;
}

/* The middle of what a string instruction writes is watched. */
__attribute__((noinline)) void copy_string(void)
{
	uint8_t *to = string_to, *from = string_from;
	uint64_t count = sizeof(string_to);

	__asm__ volatile(".globl string_copy\nstring_copy: rep movsb\n"
			 ".globl string_copied\nstring_copied: nop"
			 : "+D"(to), "+S"(from), "+c"(count)
			 :
			 : "memory");
}

static void undefined(uint64_t unused)
{
	__asm__ volatile(".globl undefined_here\nundefined_here: ud2");
}

static void on_tick(struct frame *frame)
{
	ticks++;
	*apic(0xb0) = 0;
}

/* A timer's interrupt is always due: steps must not go into its handler. */
__attribute__((noinline)) void with_interrupts(void)
{
	uint64_t before;

	on_vector(0x40, on_tick);
	*apic(0x3e0) = 0xb;          /* divide by 1 */
	*apic(0x320) = 0x20040;      /* periodic */
	*apic(0x380) = 100000;
	__asm__ volatile("sti");
	before = ticks;
	while (ticks < before + 3)
		__asm__ volatile("pause");
	__asm__ volatile(".globl ticking\nticking: nop\n nop\n nop\n nop\n"
			 ".globl ticked\nticked: nop");
	do
		__asm__ volatile(".globl halting\nhalting: hlt\n"
				 ".globl halted\nhalted: nop");
	while (ticks < before + 6);
	__asm__ volatile("cli");
	*apic(0x320) = 0x10040;
}

__attribute__((noinline)) void other_work(void)
{
	other_turns++;
}

void guest_ap_main(void)
{
	while (!stop_others)
		other_work();
	for (;;)
		__asm__ volatile("cli; hlt");
}

__attribute__((noinline)) void begin(void)
{
	__asm__ volatile("");
}

__attribute__((noinline)) void finish(void)
{
	__asm__ volatile("");
}

void guest_main(void)
{
	uint32_t topology[4];

	begin();
	apic_enable();
	EQUAL(steps(1), 7);
	EQUAL(hot(8), 28);
	for (unsigned i = 0; i < 8; i++)
		string_from[i] = (uint8_t)(i + 1);
	EQUAL(hot(100000), 4999950000ull);
	write_watched(17);
	EQUAL(read_watched(), 17);
	copy_string();
	EQUAL(string_to[7], 8);
	EQUAL(fault_of(undefined, 0), 6);
	with_interrupts();
	/* Nothing of a breakpoint is to be seen in the code. */
	EQUAL(*(volatile uint8_t *)(uintptr_t)steps, 0x48);
	EQUAL(*(volatile uint8_t *)(uintptr_t)hot == 0xcc, 0);
	cpuid(0xb, 1, topology);
	if ((topology[1] & 0xffff) > 1) {
		start_others();
		while (other_turns < 1000)
			__asm__ volatile("pause");
		stop_others = 1;
	}
	while (held)
		__asm__ volatile("pause");
	finish();
}
