/* Several processors: PSCI's CPU_ON, CPU_OFF and AFFINITY_INFO, interrupts from one to another, and memory that all of them change at once: by
 * exclusives, by LSE atomics, and in an order that barriers and acquire and release keep (DDI 0487 B2).
 */
#include "guest.h"

const char guest_name[] = "smp";

#define PROCESSORS 4u
#define ROUNDS     5000u
#define MESSAGES   200u /* each is waited for, by more processors than the host may have */

static uint64_t exclusives, atomics, swapped, pair[2] __attribute__((aligned(16)));
static volatile unsigned started, go, finished;
static volatile unsigned interrupted[PROCESSORS];
static uint64_t lock, locked_count;

static void add_exclusively(uint64_t *at)
{
	__asm__ volatile("1: ldxr x9, [%0]\n add x9, x9, #1\n stxr w10, x9, [%0]\n cbnz w10, 1b" ::"r"(at) : "x9", "x10", "memory");
}

/* Both halves together: they stay equal. */
static void add_pair(uint64_t *at)
{
	__asm__ volatile("1: ldaxp x9, x10, [%0]\n add x9, x9, #1\n add x10, x10, #1\n stlxp w11, x9, x10, [%0]\n cbnz w11, 1b" ::"r"(at)
			 : "x9", "x10", "x11", "memory");
}

static void locked(void)
{
	__asm__ volatile("1: ldaxr x9, [%0]\n cbnz x9, 1b\n stxr w10, %1, [%0]\n cbnz w10, 1b" ::"r"(&lock), "r"(1ull) : "x9", "x10", "memory");
	locked_count++;
	__asm__ volatile("stlr xzr, [%0]" ::"r"(&lock) : "memory");
}

static void add_one(volatile unsigned *at)
{
	__asm__ volatile("ldaddal %w0, wzr, [%1]" ::"r"(1), "r"(at) : "memory");
}

static void compare_and_swap(uint64_t *at)
{
	uint64_t seen;

	do {
		const uint64_t expected = *(volatile uint64_t *)at;

		seen = expected;
		__asm__ volatile("casal %0, %1, [%2]" : "+r"(seen) : "r"(expected + 1), "r"(at) : "memory");
		if (seen == expected)
			return;
	} while (1);
}

static void contend(void)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		add_exclusively(&exclusives);
		__asm__ volatile("stadd %0, [%1]" ::"r"(1ull), "r"(&atomics) : "memory");
		compare_and_swap(&swapped);
		add_pair(pair);
		locked();
	}
}

/* ---- messages: data, then a flag; whoever sees the flag sees the data ---- */

static volatile uint64_t message, flag;
static volatile unsigned wrong;

static void tell_and_hear(unsigned number)
{
	for (uint64_t i = 1; i <= MESSAGES; i++) {
		if (number == 0) {
			message = i;
			__asm__ volatile("dmb ishst" ::: "memory");
			flag = i;
			while (flag == i)
				;
		} else if (number == 1) {
			while (flag != i)
				;
			__asm__ volatile("dmb ishld" ::: "memory");
			if (message != i)
				wrong++;
			__asm__ volatile("stlr %0, [%1]" ::"r"(0ull), "r"(&flag) : "memory");
		}
	}
}

/* Each stores its own and loads the other's: with DMB not both may see the old. */
static volatile uint64_t mine[2][16], result[2];
static volatile unsigned arrived;

static void both_store(unsigned number)
{
	for (unsigned i = 1; i <= MESSAGES && number < 2; i++) {
		mine[number][0] = i;
		__asm__ volatile("dmb ish" ::: "memory");
		result[number] = mine[1 - number][0];
		add_one(&arrived);
		while (arrived < 2 * i)
			;
		if (number == 0 && result[0] < i && result[1] < i)
			wrong++;
		add_one(&finished);
		while (finished < 2 * i)
			;
	}
}

static void note(uint32_t intid)
{
	if (intid == 1)
		interrupted[cpu_number()]++;
}

static void send(unsigned to) { __asm__ volatile("msr s3_0_c12_c11_5, %0\n isb" ::"r"(1ull << 24 | 1ull << to) : "memory"); }

void guest_secondary(unsigned number)
{
	gic_start(number, false);
	gic_enable(number, 1, 0x80);
	interrupts_on();
	add_one(&started);
	while (!go)
		;
	contend();
	add_one(&finished);
	while (go < 2)
		;
	tell_and_hear(number);
	while (go < 3)
		;
	both_store(number);
	/* Masked, so that it can't come between the look and the wait. */
	interrupts_off();
	while (!interrupted[number])
		__asm__ volatile("wfi\n msr daifclr, #2\n isb\n msr daifset, #2" ::: "memory");
}

void secondary_entry(void);

void guest_main(void)
{
	gic_start(0, true);
	on_interrupt = note;
	check("PSCI's version is at least 1.0", psci(PSCI_VERSION, 0, 0, 0) >> 16, 1);
	check("CPU_ON is there", (int32_t)psci(PSCI_FEATURES, PSCI_CPU_ON, 0, 0) >= 0, 1);
	check("a processor that isn't there", (int32_t)psci(PSCI_CPU_ON, 99, (uint64_t)secondary_entry, 0), (uint64_t)-2);
	check("one that is on", (int32_t)psci(PSCI_CPU_ON, 0, (uint64_t)secondary_entry, 0), (uint64_t)-4);
	for (unsigned n = 1; n < PROCESSORS; n++) {
		check("off at first", psci(PSCI_AFFINITY_INFO, n, 0, 0), 1);
		check("CPU_ON", psci(PSCI_CPU_ON, n, (uint64_t)secondary_entry, n), 0);
	}
	while (started != PROCESSORS - 1)
		;
	check("on then", psci(PSCI_AFFINITY_INFO, 1, 0, 0), 0);
	go = 1;
	contend();
	while (finished != PROCESSORS - 1)
		;
	check("exclusives", exclusives, PROCESSORS * ROUNDS);
	check("atomics", atomics, PROCESSORS * ROUNDS);
	check("compare and swap", swapped, PROCESSORS * ROUNDS);
	check("pairs: first", pair[0], PROCESSORS * ROUNDS);
	check("pairs: second", pair[1], PROCESSORS * ROUNDS);
	check("under a lock", locked_count, PROCESSORS * ROUNDS);
	finished = 0;
	go = 2;
	tell_and_hear(0);
	check("messages that came before their data", wrong, 0);
	go = 3;
	both_store(0);
	check("stores that both missed", wrong, 0);
	for (unsigned n = 1; n < PROCESSORS; n++) {
		send(n);
		while (psci(PSCI_AFFINITY_INFO, n, 0, 0) != 1)
			;
		check("interrupted, and off by CPU_OFF", interrupted[n], 1);
	}
	/* And on again. */
	interrupted[1] = 0;
	check("CPU_ON again", psci(PSCI_CPU_ON, 1, (uint64_t)secondary_entry, 1), 0);
	while (started != PROCESSORS)
		;
	check("started again", started, PROCESSORS);
}
