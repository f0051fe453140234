/* The local APIC, its timer, TSC deadline, priorities, interrupt shadows, HLT, the IOAPIC and the PIT. */
#include "guest.h"

const char guest_name[] = "interrupts";

static volatile uint32_t timer_count, self_count, order[8], order_count, pit_count;

static void eoi(void)
{
	*apic(0xb0) = 0;
}
static void on_timer(struct frame *frame)
{
	timer_count++;
	eoi();
}
static void on_self(struct frame *frame)
{
	self_count++;
	if (order_count < 8)
		order[order_count++] = (uint32_t)frame->vector;
	eoi();
}
static void on_pit(struct frame *frame)
{
	pit_count++;
	eoi();
}

static void send_self(unsigned vector)
{
	*apic(0x300) = 0x40000 | vector;
}

static void wait_for(volatile uint32_t *count, uint32_t want)
{
	while (*count < want)
		__asm__ volatile("sti; hlt; cli" ::: "memory");
}

static void test_self(void)
{
	on_vector(0x61, on_self);
	on_vector(0x72, on_self);
	on_vector(0x83, on_self);
	/* Held while IF is clear, then by priority, highest first. */
	send_self(0x61);
	send_self(0x83);
	send_self(0x72);
	EQUAL(self_count, 0);
	CHECK(*apic(0x230) & 2); /* IRR bit 0x61 */
	__asm__ volatile("sti; nop; nop; cli" ::: "memory");
	EQUAL(self_count, 3);
	EQUAL(order[0], 0x83);
	EQUAL(order[1], 0x72);
	EQUAL(order[2], 0x61);

	/* TPR holds back its class and below; CR8 is its upper half. */
	self_count = 0;
	WRITE_CR(8, 7);
	EQUAL(*apic(0x80), 0x70);
	send_self(0x72);
	send_self(0x83);
	__asm__ volatile("sti; nop; nop; cli" ::: "memory");
	EQUAL(self_count, 1);
	WRITE_CR(8, 0);
	__asm__ volatile("sti; nop; nop; cli" ::: "memory");
	EQUAL(self_count, 2);
}

static void test_shadow(void)
{
	/* The instruction after STI is not interrupted; STI; CLI leaves no window; STI; NOP; CLI leaves one. */
	self_count = 0;
	send_self(0x61);
	__asm__ volatile("sti; cli; nop" ::: "memory");
	EQUAL(self_count, 0);
	__asm__ volatile("sti; nop; cli" ::: "memory");
	EQUAL(self_count, 1);
	/* POPF has no shadow. */
	send_self(0x61);
	__asm__ volatile("pushfq; orq $0x200, (%%rsp); popfq; cli" ::: "memory", "cc");
	EQUAL(self_count, 2);
	/* MOV SS has: the interrupt waits for one more instruction. */
	uint64_t before;

	send_self(0x61);
	__asm__ volatile("mov %%ss, %%eax; sti; mov %%eax, %%ss; movl %1, %%edx; nop; cli; movq %%rdx, %0"
			 : "=r"(before)
			 : "m"(self_count)
			 : "rax", "rdx", "memory");
	EQUAL(self_count, 3);
}

static void test_timer(void)
{
	uint32_t r[4];

	on_vector(0x40, on_timer);
	*apic(0x3e0) = 0xb; /* divide by 1 */
	*apic(0x320) = 0x40; /* one-shot */
	*apic(0x380) = 100000;
	wait_for(&timer_count, 1);
	EQUAL(timer_count, 1);
	EQUAL(*apic(0x390), 0);
	*apic(0x320) = 0x20040; /* periodic */
	*apic(0x380) = 100000;
	wait_for(&timer_count, 5);
	*apic(0x320) = 0x10040; /* masked */
	*apic(0x380) = 0;
	CHECK(timer_count >= 5);
	/* A tick that came before the mask may still be pending; none comes after it. */
	__asm__ volatile("sti; nop; nop; cli" ::: "memory");

	cpuid(1, 0, r);
	if (r[2] & 1 << 24) {
		uint32_t before = timer_count;
		uint64_t tsc;

		*apic(0x320) = 0x40040; /* TSC deadline */
		__asm__ volatile("mfence; rdtsc; shlq $32, %%rdx; orq %%rdx, %%rax" : "=a"(tsc)::"rdx");
		wrmsr(0x6e0, tsc + 200000);
		wait_for(&timer_count, before + 1);
		EQUAL(timer_count, before + 1);
		EQUAL(rdmsr(0x6e0), 0);
		/* One in the past fires at once. */
		wrmsr(0x6e0, 1);
		wait_for(&timer_count, before + 2);
		EQUAL(timer_count, before + 2);
	}
}

static void test_x2apic(void)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	if (!(r[2] & 1 << 21))
		return;
	wrmsr(0x1b, rdmsr(0x1b) | 1 << 10);
	EQUAL(rdmsr(0x802), 0); /* id of the boot processor */
	self_count = 0;
	wrmsr(0x83f, 0x61);     /* self IPI */
	__asm__ volatile("sti; nop; nop; cli" ::: "memory");
	/* on_self's EOI goes to the xAPIC page, which is gone: finish it here. */
	wrmsr(0x80b, 0);
	EQUAL(self_count, 1);
}

static void test_pit(void)
{
	on_vector(0x55, on_pit);
	/* IOAPIC pin 2 (the PIT's, by the override) to vector 0x55, edge. */
	volatile uint32_t *ioapic = (volatile uint32_t *)0xfec00000ul;

	outb(0x21, 0xff); /* the 8259s stay out of it */
	outb(0xa1, 0xff);
	ioapic[0] = 0x10 + 4 + 1;
	ioapic[4] = 0;
	ioapic[0] = 0x10 + 4;
	ioapic[4] = 0x55;
	outb(0x43, 0x34); /* channel 0, rate generator */
	outb(0x40, 0x00);
	outb(0x40, 0x10); /* 4096 ticks: 3.4 ms */
	wait_for(&pit_count, 3);
	ioapic[0] = 0x10 + 4;
	ioapic[4] = 0x10000;
	CHECK(pit_count >= 3);
}

void guest_main(void)
{
	apic_enable();
	test_self();
	test_shadow();
	test_timer();
	test_pit();
	test_x2apic();
}
