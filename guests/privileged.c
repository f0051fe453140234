/* Privileged instructions as hot code meets them: IRET of every outcome, MOV to CR3 with PCIDs, MSRs, segments, time.
 *
 * Each is done many times over, so that a translator has translated what it translates. QEMU's TCG (7.2) differs: it enters
 * a non-canonical RIP and faults there, and faults save no RF.
 */
#include "guest.h"

const char guest_name[] = "privileged";

#define AGAIN 40

#define FLAG_C  1ull
#define FLAG_TF 0x100ull
#define FLAG_IF 0x200ull
#define FLAG_D  0x400ull
#define FLAG_NT 0x4000ull
#define FLAG_RF 0x10000ull
#define FLAG_AC 0x40000ull
#define FLAG_ID 0x200000ull
#define NON_CANONICAL 0x0000800000000000ull
#define GP 13
#define DB 1

/* ---- IRET ---- */

struct image {
	uint64_t rip, cs, rflags, rsp, ss;
};
extern char iret_here[], iret_landed[];
extern uint64_t landed_rsp, landed_flags, landed_ss, caller_rsp, wanted_flags;
void iret_with(uint64_t image);
void iret_nested(uint64_t image);

__asm__(".pushsection .text\n"
	".globl iret_with, iret_here, iret_landed, iret_nested\n"
	/* NT first, for an IRET that must refuse. */
	"iret_nested:\n"
	"	pushq $0x4002\n"
	"	popfq\n"
	"iret_with:\n"
	"	movq %rsp, caller_rsp(%rip)\n"
	"	pushq 32(%rdi)\n"
	"	pushq 24(%rdi)\n"
	"	pushq 16(%rdi)\n"
	"	pushq 8(%rdi)\n"
	"	pushq (%rdi)\n"
	"iret_here:\n"
	"	iretq\n"
	"iret_landed:\n"
	"	movq %rsp, landed_rsp(%rip)\n"
	"	movq caller_rsp(%rip), %rsp\n"
	"	pushfq\n"
	"	popq landed_flags(%rip)\n"
	"	pushq $2\n"
	"	popfq\n"
	"	movq %ss, %rax\n"
	"	movq %rax, landed_ss(%rip)\n"
	"	movl $0x20, %eax\n"
	"	movl %eax, %ss\n"
	"	ret\n"
	".popsection\n");
uint64_t landed_rsp, landed_flags, landed_ss, caller_rsp, wanted_flags;

static uint64_t other_stack[64];

static struct image usual(void)
{
	return (struct image){(uint64_t)iret_landed, 8, 2, (uint64_t)(other_stack + 32), 0x20};
}

static void test_iret(void)
{
	static const uint64_t flags[] = {2, 2 | FLAG_C, 0x8d7, 2 | FLAG_RF, 0x8d7 | FLAG_RF, 2 | FLAG_D, 2 | FLAG_ID | FLAG_RF};

	for (unsigned again = 0; again < AGAIN; again++) {
		for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
			struct image image = usual();

			image.rflags = flags[i];
			landed_rsp = 0;
			EQUAL(fault_of(iret_with, (uint64_t)&image), -1);
			EQUAL(landed_rsp, image.rsp);
			EQUAL(landed_flags, flags[i] & ~FLAG_RF);
			EQUAL(landed_ss, 0x20);
		}
		/* A null stack segment, as an interrupt from user mode leaves it. */
		struct image image = usual();

		image.ss = 0;
		EQUAL(fault_of(iret_with, (uint64_t)&image), -1);
		EQUAL(landed_ss, 0);
	}
}

/* Refused where the IRET is, with nothing done. */
static void refused(struct image image, uint64_t error)
{
	landed_rsp = 0;
	EQUAL(fault_of(iret_with, (uint64_t)&image), GP);
	EQUAL(caught.error, error);
	EQUAL(caught.rip, iret_here);
	EQUAL(caught.rsp, caller_rsp - 40);
	CHECK(caught.rflags & FLAG_RF);
	EQUAL(landed_rsp, 0);
}

static void test_iret_refused(void)
{
	for (unsigned again = 0; again < AGAIN; again++) {
		struct image image = usual();

		image.rip = NON_CANONICAL;
		refused(image, 0);
		image = usual();
		image.cs = 0;
		refused(image, 0);
		image.cs = 0x10; /* data */
		refused(image, 0x10);
		image.cs = 0x1008; /* outside the table */
		refused(image, 0x1008);
		image.cs = 0x0b; /* the kernel's code at level 3 */
		refused(image, 0x08);
		image = usual();
		image.ss = 0x08; /* code */
		refused(image, 0x08);
		image.ss = 0x23; /* another level's RPL */
		refused(image, 0x20);
		image = usual();
		image.cs = 0x3b;
		image.ss = 0; /* null is not for user mode */
		refused(image, 0);
		EQUAL(fault_of(iret_nested, (uint64_t)&image), GP);
		EQUAL(caught.error, 0);
		EQUAL(caught.rip, iret_here);
		CHECK(caught.rflags & FLAG_NT);
	}
}

static uint64_t event_rip, event_flags, event_count;

static void note_step(struct frame *frame)
{
	event_rip = frame->rip;
	event_flags = frame->rflags;
	event_count++;
	frame->rflags &= ~FLAG_TF;
}
static void note_interrupt(struct frame *frame)
{
	event_rip = frame->rip;
	event_flags = frame->rflags;
	event_count++;
	*apic(0xb0) = 0;
}

/* TF steps one instruction behind it; an interrupt that waits comes before the first, and finds RF as IRET set it. */
static void test_iret_events(void)
{
	on_vector(DB, note_step);
	on_vector(0x61, note_interrupt);
	for (unsigned again = 0; again < AGAIN; again++) {
		struct image image = usual();

		image.rflags = 2 | FLAG_TF;
		event_count = 0;
		iret_with((uint64_t)&image);
		EQUAL(event_count, 1);
		EQUAL(event_rip, iret_landed + 7);
		EQUAL(event_flags & (FLAG_TF | FLAG_RF), FLAG_TF);

		for (unsigned rf = 0; rf < 2; rf++) {
			image.rflags = 2 | FLAG_IF | (rf ? FLAG_RF : 0);
			event_count = 0;
			*apic(0x300) = 0x40000 | 0x61;
			iret_with((uint64_t)&image);
			EQUAL(event_count, 1);
			EQUAL(event_rip, iret_landed);
			EQUAL(event_flags, image.rflags);
			EQUAL(landed_flags, 2 | FLAG_IF);
		}
	}
	on_vector(DB, NULL);
}

/* A page fault whose cause is removed: the instruction is done when the handler returns with RF set. */
static volatile uint64_t *broken_pte;
static uint64_t fixes;

static void fix(struct frame *frame)
{
	*broken_pte |= PTE_P;
	CHECK(frame->rflags & FLAG_RF);
	fixes++;
}

static void test_fault_return(void)
{
	volatile uint64_t *page = alloc_page();

	broken_pte = pte_of((uint64_t)page);
	on_vector(14, fix);
	for (unsigned i = 0; i < AGAIN; i++) {
		*page = i;
		*broken_pte &= ~PTE_P;
		invlpg((uint64_t)page);
		EQUAL(*page, i);
		*broken_pte &= ~PTE_P;
		invlpg((uint64_t)page);
		__asm__ volatile("rep stosb" ::"D"(page), "c"(9), "a"(i) : "memory");
		*broken_pte &= ~PTE_P;
		invlpg((uint64_t)page);
		__asm__ volatile("fninit; fildll %0; fistpll %0" : "+m"(*page));
		EQUAL(*(volatile uint8_t *)page, i);
	}
	EQUAL(fixes, 3 * AGAIN);
	on_vector(14, NULL);
}

static void user_add(uint64_t arg)
{
	*(volatile uint64_t *)arg += 1;
}

static void test_user(void)
{
	static uint64_t sum;

	for (unsigned i = 0; i < AGAIN; i++)
		EQUAL(run_user(user_add, USER(&sum)), 0x80);
	EQUAL(sum, AGAIN);
}

/* ---- CR3 ---- */

#define CR4_PCIDE (1ull << 17)
#define NO_FLUSH  (1ull << 63)
#define AT        (1ull << 39) /* one entry of the top table */

static uint64_t *map_in(uint64_t *top, uint64_t address, uint64_t page)
{
	uint64_t *table = top;

	for (unsigned level = 3; level > 0; level--) {
		uint64_t *next = alloc_page(), *entry = &table[address >> (12 + 9 * level) & 511];

		*entry = (uint64_t)next | PTE_P | PTE_W;
		table = next;
	}
	table[address >> 12 & 511] = page | PTE_P | PTE_W;
	return &table[address >> 12 & 511];
}

/* mov $value, %eax; ret */
static uint64_t code_page(uint8_t value)
{
	uint8_t *page = alloc_page();

	page[0] = 0xb8;
	page[1] = value;
	page[5] = 0xc3;
	return (uint64_t)page;
}

static __attribute__((noinline)) void switch_to(uint64_t cr3)
{
	WRITE_CR(3, cr3);
}

static void write_cr3(uint64_t value)
{
	WRITE_CR(3, value);
}

static void test_spaces(void)
{
	uint32_t (*here)(void) = (uint32_t (*)(void))AT, leaf[4];
	volatile uint32_t *bytes = (volatile uint32_t *)(AT + 1);
	uint64_t *tops[3], *entries[3], before = READ_CR(3), cr4 = READ_CR(4);
	bool pcid;

	cpuid(1, 0, leaf);
	pcid = leaf[2] >> 17 & 1;
	for (unsigned i = 0; i < 3; i++) {
		tops[i] = alloc_page();
		for (unsigned n = 0; n < 512; n++)
			tops[i][n] = ((uint64_t *)before)[n];
		entries[i] = map_in(tops[i], AT, code_page((uint8_t)(i + 1)));
	}
	for (unsigned with = 0; with <= pcid; with++) {
		if (with)
			WRITE_CR(4, cr4 | CR4_PCIDE);
		for (unsigned i = 0; i < 3 * AGAIN; i++) {
			unsigned space = i % 3;
			uint64_t cr3 = (uint64_t)tops[space] | (with ? space + 1 : 0);

			switch_to(cr3 | (with && i >= 3 ? NO_FLUSH : 0));
			EQUAL(READ_CR(3), cr3);
			EQUAL(here(), space + 1);
			EQUAL(*bytes, space + 1);
			/* Another page, seen after a flush. */
			if (i % 7 == 0) {
				uint64_t kept = *entries[space];

				*entries[space] = *entries[(space + 1) % 3];
				switch_to(cr3);
				EQUAL(here(), (space + 1) % 3 + 1);
				*entries[space] = kept;
				invlpg(AT);
				EQUAL(here(), space + 1);
				EQUAL(*bytes, space + 1);
			}
		}
		/* Reserved bits; and bit 63 without PCIDs. */
		for (unsigned i = 0; i < AGAIN; i++) {
			uint64_t now = READ_CR(3);

			EQUAL(fault_of(write_cr3, now | 1ull << 62), GP);
			if (!with)
				EQUAL(fault_of(write_cr3, now | NO_FLUSH), GP);
			EQUAL(READ_CR(3), now);
		}
		switch_to(before);
		if (with)
			WRITE_CR(4, cr4);
	}
}

/* ---- segments, MSRs, time ---- */

#define FS_BASE        0xc0000100u
#define KERNEL_GS_BASE 0xc0000102u

static void write_fs_base(uint64_t value)
{
	wrmsr(FS_BASE, value);
}
static void write_msr(uint64_t index)
{
	wrmsr((uint32_t)index, 0);
}
static void load_es(uint64_t selector)
{
	__asm__ volatile("movl %0, %%es" ::"r"((uint32_t)selector));
}
static void write_cr8(uint64_t value)
{
	WRITE_CR(8, value);
}

static void test_registers(void)
{
	static const uint64_t word = 0x1122334455667788;
	uint64_t last = 0;

	for (unsigned i = 0; i < AGAIN; i++) {
		uint64_t value;
		uint32_t low, high;
		uint16_t es;

		wrmsr(FS_BASE, (uint64_t)&word - 16);
		__asm__ volatile("movq %%fs:16, %0" : "=r"(value));
		EQUAL(value, word);
		EQUAL(fault_of(write_fs_base, NON_CANONICAL), GP);
		EQUAL(rdmsr(FS_BASE), (uint64_t)&word - 16);
		wrmsr(KERNEL_GS_BASE, i);
		__asm__ volatile("swapgs");
		EQUAL(rdmsr(KERNEL_GS_BASE + 0xffffffff), i); /* GS_BASE */
		__asm__ volatile("swapgs");
		EQUAL(fault_of(write_msr, 0x12345678), GP);

		EQUAL(fault_of(load_es, 0x30), -1);
		__asm__ volatile("movw %%es, %0" : "=r"(es));
		EQUAL(es, 0x30);
		EQUAL(fault_of(load_es, 0x50 | 4), GP);
		EQUAL(caught.error, 0x54);
		EQUAL(fault_of(load_es, 3), -1);
		__asm__ volatile("movw %%es, %0" : "=r"(es));
		EQUAL(es, 3);
		EQUAL(fault_of(load_es, 0x10), -1);
		EQUAL(fault_of(write_cr8, 16), GP);

		/* Time goes forward, and the upper halves of what it is read into become zero. */
		__asm__ volatile("movq $-1, %%rax; movq $-1, %%rdx; rdtsc" : "=a"(value), "=d"(high));
		low = (uint32_t)value;
		EQUAL(value >> 32, 0);
		CHECK(((uint64_t)high << 32 | low) >= last);
		last = (uint64_t)high << 32 | low;
	}
	wrmsr(FS_BASE, 0);
}

void guest_main(void)
{
	apic_enable();
	test_iret();
	test_iret_refused();
	test_iret_events();
	test_fault_return();
	test_user();
	test_spaces();
	test_registers();
}
