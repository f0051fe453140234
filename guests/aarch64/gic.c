/* The interrupt controller, GICv3 (IHI 0069): software-generated and shared interrupts, priorities, masks, preemption, ends in one and two steps.
 */
#include "guest.h"

const char guest_name[] = "gic";

static unsigned seen[64], count;
static uint64_t running[64];

#define READ_ICC(name)                                                                                                                         \
	({                                                                                                                                     \
		uint64_t value_;                                                                                                               \
		__asm__ volatile("mrs %0, " name "\n dsb sy" : "=r"(value_)::"memory");                                                        \
		value_;                                                                                                                        \
	})
#define WRITE_ICC(name, value) __asm__ volatile("msr " name ", %0\n isb" ::"r"((uint64_t)(value)) : "memory")
#define ICC_PMR   "s3_0_c4_c6_0"
#define ICC_IAR1  "s3_0_c12_c12_0"
#define ICC_EOIR1 "s3_0_c12_c12_1"
#define ICC_HPPIR1 "s3_0_c12_c12_2"
#define ICC_DIR   "s3_0_c12_c11_1"
#define ICC_RPR   "s3_0_c12_c11_3"
#define ICC_SGI1R "s3_0_c12_c11_5"
#define ICC_CTLR  "s3_0_c12_c12_4"

#define SGI_BASE (GICR + 0x10000)

static void send(unsigned n) { WRITE_ICC(ICC_SGI1R, (uint64_t)n << 24 | 1); }

static void note(uint32_t intid)
{
	running[count] = READ_ICC(ICC_RPR);
	seen[count++ & 63] = intid;
}

static void settle(void)
{
	interrupts_on();
	for (volatile unsigned i = 0; i < 1000; i++)
		;
	interrupts_off();
}

static void software_generated(void)
{
	for (unsigned n = 0; n < 16; n++)
		gic_enable(0, n, (uint8_t)(0x80 + 8 * (15 - n)));
	count = 0;
	send(3);
	send(7);
	send(5);
	check("the highest priority is pending", READ_ICC(ICC_HPPIR1), 7);
	check("three are pending", mmio_read32(SGI_BASE + 0x200), 1 << 3 | 1 << 5 | 1 << 7);
	settle();
	check("three came", count, 3);
	check("by priority: first", seen[0], 7);
	check("second", seen[1], 5);
	check("third", seen[2], 3);
	check("the running priority", running[0], 0x80 + 8 * 8);
	check("then none", READ_ICC(ICC_RPR), 0xff);
	check("nothing is pending", READ_ICC(ICC_IAR1), 1023);
	send(4);
	send(4);
	count = 0;
	settle();
	check("twice is once", count, 1);
}

static void masks(void)
{
	count = 0;
	WRITE_ICC(ICC_PMR, 0x90);
	send(2); /* priority 0xe8 */
	send(14); /* 0x88 */
	settle();
	check("only what is above the mask", count, 1);
	check("which is", seen[0], 14);
	WRITE_ICC(ICC_PMR, 0xff);
	settle();
	check("then the other", seen[1], 2);
	gic_disable(0, 6);
	send(6);
	settle();
	check("a disabled one stays", count, 2);
	gic_enable(0, 6, 0xa0);
	settle();
	check("until it is enabled", seen[2], 6);
}

static void steps(void)
{
	uint64_t intid;

	WRITE_ICC(ICC_CTLR, READ_ICC(ICC_CTLR) | 2); /* EOImode: priority drop and deactivation apart */
	send(9);
	intid = READ_ICC(ICC_IAR1);
	check("acknowledged", intid, 9);
	check("active", mmio_read32(SGI_BASE + 0x300) >> 9 & 1, 1);
	check("not pending", mmio_read32(SGI_BASE + 0x200) >> 9 & 1, 0);
	WRITE_ICC(ICC_EOIR1, intid);
	check("its priority dropped", READ_ICC(ICC_RPR), 0xff);
	check("still active", mmio_read32(SGI_BASE + 0x300) >> 9 & 1, 1);
	send(9);
	check("an active one isn't given again", READ_ICC(ICC_IAR1), 1023);
	WRITE_ICC(ICC_DIR, intid);
	check("deactivated", mmio_read32(SGI_BASE + 0x300) >> 9 & 1, 0);
	check("given again", READ_ICC(ICC_IAR1), 9);
	WRITE_ICC(ICC_EOIR1, 9);
	WRITE_ICC(ICC_DIR, 9);
	WRITE_ICC(ICC_CTLR, READ_ICC(ICC_CTLR) & ~2ull);
}

static unsigned depth, deepest;

static void nest(uint32_t intid)
{
	depth++;
	if (depth > deepest)
		deepest = depth;
	seen[count++ & 63] = intid;
	if (intid == 1) {
		const uint64_t elr = READ(elr_el1), spsr = READ(spsr_el1);

		send(15);
		settle();
		WRITE(elr_el1, elr);
		WRITE(spsr_el1, spsr);
	}
	depth--;
}

static void preemption(void)
{
	count = 0;
	on_interrupt = nest;
	gic_enable(0, 1, 0xc0);
	gic_enable(0, 15, 0x20);
	send(1);
	settle();
	check("one within the other", deepest, 2);
	check("both came", count, 2);
	check("the inner one", seen[1], 15);
	on_interrupt = note;
}

/* A shared interrupt by hand, and the UART's by its line. */
static void shared(void)
{
	count = 0;
	gic_enable(0, 100, 0xa0);
	mmio_write32(GICD + 0x200 + 4 * (100 / 32), 1u << 100 % 32);
	settle();
	check("set pending", count, 1);
	check("which", seen[0], 100);
	mmio_write32(GICD + 0x200 + 4 * (100 / 32), 1u << 100 % 32);
	mmio_write32(GICD + 0x280 + 4 * (100 / 32), 1u << 100 % 32);
	settle();
	check("cleared before it was taken", count, 1);
	mmio_write32(UART + 0x30, 0x301); /* on, both ways */
	mmio_write32(UART + 0x38, 1 << 5); /* transmit */
	gic_enable(0, 33, 0xa0);
	mmio_write32(UART, ' ');
	check("the UART's line", mmio_read32(GICD + 0x204) >> 1 & 1, 1);
	mmio_write32(UART + 0x38, 0);
	check("a level is gone with its cause", mmio_read32(GICD + 0x204) >> 1 & 1, 0);
	gic_disable(0, 33);
}

void guest_main(void)
{
	gic_start(0, true);
	on_interrupt = note;
	software_generated();
	masks();
	steps();
	preemption();
	shared();
}
