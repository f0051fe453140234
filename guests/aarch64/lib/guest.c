#include "guest.h"

struct caught caught;
uint64_t resume;
void (*on_interrupt)(uint32_t intid);
uint64_t level1[512] __attribute__((aligned(4096)));

static unsigned passed, failed;

/* ---- what is told ---- */

void mmio_write32(uint64_t address, uint32_t value) { __asm__ volatile("str %w0, [%1]" ::"r"(value), "r"(address) : "memory"); }
void mmio_write64(uint64_t address, uint64_t value) { __asm__ volatile("str %0, [%1]" ::"r"(value), "r"(address) : "memory"); }

uint32_t mmio_read32(uint64_t address)
{
	uint32_t value;

	__asm__ volatile("ldr %w0, [%1]" : "=r"(value) : "r"(address) : "memory");
	return value;
}

void print(const char *text)
{
	for (; *text; text++)
		mmio_write32(UART, (uint8_t)*text);
}

void print_hex(uint64_t value)
{
	char text[19] = "0x";
	unsigned at = 2, shift = 60;

	while (shift && !(value >> shift))
		shift -= 4;
	for (;; shift -= 4) {
		text[at++] = "0123456789abcdef"[value >> shift & 15];
		if (!shift)
			break;
	}
	text[at] = 0;
	print(text);
}

static void print_number(unsigned value)
{
	char text[11];
	unsigned at = 10;

	text[at] = 0;
	do
		text[--at] = (char)('0' + value % 10);
	while ((value /= 10));
	print(text + at);
}

void check(const char *what, uint64_t value, uint64_t expected)
{
	if (value == expected) {
		passed++;
		return;
	}
	failed++;
	print("FAIL: ");
	print(what);
	print(" is ");
	print_hex(value);
	print(" instead of ");
	print_hex(expected);
	print("\n");
}

/* ---- the machine ---- */

uint64_t psci(uint32_t function, uint64_t a, uint64_t b, uint64_t c)
{
	register uint64_t x0 __asm__("x0") = function;
	register uint64_t x1 __asm__("x1") = a;
	register uint64_t x2 __asm__("x2") = b;
	register uint64_t x3 __asm__("x3") = c;

	__asm__ volatile("hvc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)::"memory");
	return x0;
}

static uint64_t redistributor(unsigned number)
{
	return GICR + number * 0x20000ull;
}

void gic_start(unsigned number, bool first)
{
	if (first)
		mmio_write32(GICD, 0x12); /* affinity routing, group 1 */
	mmio_write32(redistributor(number) + 0x14, 0); /* awake */
	while (mmio_read32(redistributor(number) + 0x14) & 4)
		;
	mmio_write32(redistributor(number) + 0x10080, ~0u); /* private ones are of group 1 */
	__asm__ volatile("msr s3_0_c12_c12_5, %0\n isb" ::"r"(7ull)); /* ICC_SRE_EL1 */
	__asm__ volatile("msr s3_0_c4_c6_0, %0" ::"r"(0xffull));      /* ICC_PMR_EL1 */
	__asm__ volatile("msr s3_0_c12_c12_3, %0" ::"r"(0ull));       /* ICC_BPR1_EL1 */
	__asm__ volatile("msr s3_0_c12_c12_7, %0\n isb" ::"r"(1ull)); /* ICC_IGRPEN1_EL1 */
}

static uint64_t base_of(unsigned number, uint32_t intid)
{
	return intid < 32 ? redistributor(number) + 0x10000 : GICD;
}

void gic_enable(unsigned number, uint32_t intid, uint8_t priority)
{
	const uint64_t base = base_of(number, intid), word = base + 0x400 + (intid & ~3u);
	const unsigned shift = 8 * (intid & 3);

	mmio_write32(word, (mmio_read32(word) & ~(0xffu << shift)) | (uint32_t)priority << shift);
	if (intid >= 32) {
		mmio_write32(base + 0x80 + 4 * (intid / 32), mmio_read32(base + 0x80 + 4 * (intid / 32)) | 1u << intid % 32);
		mmio_write64(GICD + 0x6000 + 8 * intid, number); /* affinity 0 is the number */
	}
	mmio_write32(base + 0x100 + 4 * (intid / 32), 1u << intid % 32);
}

void gic_disable(unsigned number, uint32_t intid)
{
	mmio_write32(base_of(number, intid) + 0x180 + 4 * (intid / 32), 1u << intid % 32);
}

void interrupts_on(void) { __asm__ volatile("msr daifclr, #2" ::: "memory"); }
void interrupts_off(void) { __asm__ volatile("msr daifset, #2" ::: "memory"); }

void tlb_flush(void) { __asm__ volatile("dsb ishst\n tlbi vmalle1is\n dsb ish\n isb" ::: "memory"); }

static void mmu_on(void)
{
	level1[0] = 0x401ull | 1ull << 2 | 1ull << 53 | 1ull << 54; /* AF, attributes 1, nobody executes */
	level1[1] = MEMORY | 0x701ull | 1ull << 54;                 /* AF, inner shareable, attributes 0 */
	WRITE(mair_el1, 0x04ff);
	WRITE(tcr_el1, 25 | 1u << 8 | 1u << 10 | 3u << 12 | 1ull << 23 | 2ull << 32);
	WRITE(ttbr0_el1, level1);
	tlb_flush();
	WRITE(sctlr_el1, READ(sctlr_el1) | 1 | 1 << 2 | 1 << 12);
}

/* ---- exceptions ---- */

void user_return(void);

static void take_interrupt(void)
{
	uint64_t intid;

	__asm__ volatile("mrs %0, s3_0_c12_c12_0\n dsb sy" : "=r"(intid)::"memory"); /* ICC_IAR1_EL1 */
	if (intid >= 1020)
		return;
	if (on_interrupt)
		on_interrupt((uint32_t)intid);
	__asm__ volatile("msr s3_0_c12_c12_1, %0\n isb" ::"r"(intid) : "memory"); /* ICC_EOIR1_EL1 */
}

void exception(struct frame *frame, unsigned vector)
{
	if ((vector & 3) == 1) {
		take_interrupt();
		return;
	}
	caught.count++;
	caught.vector = vector;
	caught.esr = READ(esr_el1);
	caught.far = READ(far_el1);
	caught.elr = frame->elr;
	caught.spsr = frame->spsr;
	if (vector >= 8) {
		frame->elr = (uint64_t)(uintptr_t)user_return;
		frame->spsr = 0x3c5;
	} else if (resume) {
		frame->elr = resume;
		frame->spsr &= ~(1ull << 20); /* of an illegal return */
		resume = 0;
	} else {
		print("unexpected exception: vector ");
		print_number(vector);
		print(" esr ");
		print_hex(caught.esr);
		print(" elr ");
		print_hex(caught.elr);
		print(" far ");
		print_hex(caught.far);
		print("\n");
		psci(PSCI_SYSTEM_OFF, 0, 0, 0);
	}
}

/* ---- start and end ---- */

void guest_start(void)
{
	mmu_on();
	WRITE(sp_el0, user_stack + sizeof(user_stack));
	guest_main();
	print(guest_name);
	print(": ");
	print_number(passed);
	print(" passed, ");
	print_number(failed);
	print(" failed\n");
	psci(PSCI_SYSTEM_OFF, 0, 0, 0);
}

__attribute__((weak)) void guest_secondary(unsigned number) {}

void secondary_start(unsigned number)
{
	mmu_on();
	guest_secondary(number);
	psci(PSCI_CPU_OFF, 0, 0, 0);
}
