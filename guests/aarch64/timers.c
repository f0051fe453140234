/* The generic timer's EL1 physical and virtual timers (DDI 0487 D11), and that their interrupts arrive, also out of WFI.
 */
#include "guest.h"

const char guest_name[] = "timers";

#define VIRTUAL_INTID  27u
#define PHYSICAL_INTID 30u

static volatile unsigned interrupts[32];

static void count(uint32_t intid)
{
	if (intid < 32)
		interrupts[intid]++;
	/* Level-triggered: it would be back at once. */
	if (intid == VIRTUAL_INTID)
		WRITE(cntv_ctl_el0, 3);
	if (intid == PHYSICAL_INTID)
		WRITE(cntp_ctl_el0, 3);
}

static uint64_t milliseconds(uint64_t n) { return READ(cntfrq_el0) * n / 1000; }

static void counters(void)
{
	const uint64_t first = READ(cntvct_el0), frequency = READ(cntfrq_el0);

	check("a frequency", frequency >= 1000000 && frequency <= 1000000000, 1);
	for (unsigned i = 0; i < 1000; i++)
		__asm__ volatile("");
	check("the counter goes on", READ(cntvct_el0) >= first, 1);
	const uint64_t virtual = READ(cntvct_el0);

	check("the offset is zero", READ(cntpct_el0) - virtual < milliseconds(1000), 1);
}

/* CTL: bit 0 enables, bit 1 masks, bit 2 says that the time has come. */
static void conditions(void)
{
	WRITE(cntv_ctl_el0, 2);
	check("off", READ(cntv_ctl_el0) & 7, 2);
	WRITE(cntv_cval_el0, 0);
	WRITE(cntv_ctl_el0, 3);
	check("in the past", READ(cntv_ctl_el0) & 7, 7);
	WRITE(cntv_cval_el0, ~0ull);
	check("in the far future", READ(cntv_ctl_el0) & 7, 3);
	WRITE(cntv_tval_el0, 0x1000);
	check("TVAL sets CVAL", READ(cntv_cval_el0) - READ(cntvct_el0) <= 0x1000 || (int64_t)(READ(cntv_cval_el0) - READ(cntvct_el0)) < 0, 1);
	WRITE(cntv_tval_el0, (uint64_t)-1 & 0xffffffff);
	check("TVAL is signed", READ(cntv_ctl_el0) & 7, 7);
	check("TVAL reads what is left", (int32_t)READ(cntv_tval_el0) < 0, 1);
	WRITE(cntv_ctl_el0, 0);
	WRITE(cntp_cval_el0, 0);
	WRITE(cntp_ctl_el0, 3);
	check("the physical one is another", READ(cntp_ctl_el0) & 7, 7);
	check("than the virtual one", READ(cntv_ctl_el0) & 7, 0);
	WRITE(cntp_ctl_el0, 0);
}

static void wait_for(unsigned intid, unsigned expected)
{
	while (interrupts[intid] != expected)
		__asm__ volatile("wfi\n msr daifclr, #2\n isb\n msr daifset, #2" ::: "memory");
}

static void by_interrupt(void)
{
	uint64_t before;

	interrupts_off();
	gic_enable(0, VIRTUAL_INTID, 0x80);
	gic_enable(0, PHYSICAL_INTID, 0x80);
	for (unsigned i = 1; i <= 20; i++) {
		before = READ(cntvct_el0);
		WRITE(cntv_cval_el0, before + milliseconds(1));
		WRITE(cntv_ctl_el0, 1);
		wait_for(VIRTUAL_INTID, i);
		check("not too early", READ(cntvct_el0) - before >= milliseconds(1), 1);
		WRITE(cntp_tval_el0, milliseconds(1));
		WRITE(cntp_ctl_el0, 1);
		wait_for(PHYSICAL_INTID, i);
	}
	/* Masked at the timer: none comes. */
	WRITE(cntv_cval_el0, 0);
	WRITE(cntv_ctl_el0, 3);
	interrupts_on();
	for (before = READ(cntvct_el0); READ(cntvct_el0) - before < milliseconds(2);)
		;
	check("masked at the timer", interrupts[VIRTUAL_INTID], 20);
	/* Not masked any more: one comes without anything else. */
	WRITE(cntv_ctl_el0, 1);
	for (before = READ(cntvct_el0); interrupts[VIRTUAL_INTID] == 20 && READ(cntvct_el0) - before < milliseconds(2000);)
		;
	check("unmasked at the timer", interrupts[VIRTUAL_INTID], 21);
	interrupts_off();
}

/* In a loop without anything that leaves the engine. */
static void into_a_loop(void)
{
	WRITE(cntv_cval_el0, READ(cntvct_el0) + milliseconds(5));
	WRITE(cntv_ctl_el0, 1);
	interrupts_on();
	__asm__ volatile("1: ldr w9, [%0]\n cmp w9, #22\n b.ne 1b" ::"r"(&interrupts[VIRTUAL_INTID]) : "x9", "cc", "memory");
	interrupts_off();
	check("into a loop", interrupts[VIRTUAL_INTID], 22);
}

void guest_main(void)
{
	gic_start(0, true);
	on_interrupt = count;
	counters();
	conditions();
	by_interrupt();
	into_a_loop();
}
