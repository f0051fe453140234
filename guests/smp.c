/* Several processors: INIT and SIPI, IPIs, locked operations, cross-modifying code, TLB shootdown by IPI.
 * Runs with any number of processors; the number is printed, so engines are compared at the same --cpus. */
#include "guest.h"

const char guest_name[] = "smp";

static volatile uint32_t arrived, go, finished;
static volatile uint64_t counter, split_area[16] __attribute__((aligned(64)));
static volatile uint32_t ipis;
static volatile uint32_t patched_results_bad;
static uint8_t *code;
static unsigned others;

static void on_ipi(struct frame *frame)
{
	__sync_fetch_and_add(&ipis, 1);
	*apic(0xb0) = 0;
}

#define ROUNDS 20000

static void hammer(void)
{
	volatile uint64_t *split = (volatile uint64_t *)((uint8_t *)split_area + 60); /* crosses a cache line */

	for (unsigned i = 0; i < ROUNDS; i++) {
		__sync_fetch_and_add(&counter, 1);
		__asm__ volatile("lock incq %0" : "+m"(*split));
	}
}

/* Makes what other processors wrote be what this one executes: by CPUID, and by SERIALIZE where it is offered. */
static void serialize(bool with_serialize)
{
	uint32_t r[4];

	if (with_serialize)
		__asm__ volatile("serialize" : : : "memory");
	else
		cpuid(0, 0, r);
}

/* Waits for a go number, runs the code that the boot processor has patched, and reports. */
static void run_patched(void)
{
	uint32_t seen = 0, r[4];

	cpuid(7, 0, r);
	while (seen < 50) {
		uint32_t now = go;

		if (now == seen) {
			__asm__ volatile("pause");
			continue;
		}
		seen = now;
		serialize(seen & 1 && r[3] >> 14 & 1);
		if (((uint32_t (*)(void))code)() != seen)
			__sync_fetch_and_add(&patched_results_bad, 1);
		__sync_fetch_and_add(&finished, 1);
	}
}

void guest_ap_main(void)
{
	apic_enable();
	__sync_fetch_and_add(&arrived, 1);
	__asm__ volatile("sti");
	while (!go)
		__asm__ volatile("pause");
	hammer();
	__sync_fetch_and_add(&finished, 1);
	while (go)
		__asm__ volatile("pause");
	__sync_fetch_and_add(&arrived, 1);
	run_patched();
}

static unsigned count_others(void)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	return (r[1] >> 16 & 255) - 1;
}

void guest_main(void)
{
	uint32_t r[4];

	apic_enable();
	on_vector(0x50, on_ipi);
	cpuid(0xb, 1, r);
	others = (r[1] & 0xffff) ? (r[1] & 0xffff) - 1 : count_others();
	print("%u processors\n", (uint64_t)others + 1);
	if (!others) {
		hammer();
		EQUAL(counter, ROUNDS);
		return;
	}
	code = alloc_page();
	start_others();
	while (arrived < others)
		__asm__ volatile("pause");

	/* IPIs: to all but self, and to self. */
	*apic(0x300) = 0xc4050;
	while (ipis < others)
		__asm__ volatile("pause");
	__asm__ volatile("sti");
	*apic(0x300) = 0x44050;
	while (ipis < others + 1)
		__asm__ volatile("pause");
	__asm__ volatile("cli");
	EQUAL(ipis, others + 1);

	go = 1;
	hammer();
	while (finished < others)
		__asm__ volatile("pause");
	EQUAL(counter, (uint64_t)ROUNDS * (others + 1));
	EQUAL(*(volatile uint64_t *)((uint8_t *)split_area + 60), (uint64_t)ROUNDS * (others + 1));

	arrived = 0;
	finished = 0;
	go = 0;
	while (arrived < others)
		__asm__ volatile("pause");
	code[0] = 0xb8; /* mov $n, %eax; ret */
	code[5] = 0xc3;
	for (uint32_t n = 1; n <= 50; n++) {
		for (unsigned i = 0; i < 4; i++)
			code[1 + i] = (uint8_t)(n >> 8 * i);
		go = n;
		while (finished < others * n)
			__asm__ volatile("pause");
	}
	EQUAL(patched_results_bad, 0);
}
