/* What AArch64's bare-metal guests share: checks, exceptions, an identity map, PSCI, the interrupt controller.
 *
 * A guest is one file with guest_name and guest_main(). It runs on processor 0 at EL1 with the MMU on: the first GiB is devices, the second memory
 * that EL1 reads, writes and executes. It says what failed, then "NAME: N passed, N failed", and powers the machine off.
 *
 * Example:
 *     TRY("brk #5");
 *     check("class of BRK", caught.esr >> 26, 0x3c);
 */
#ifndef GUESTS_AARCH64_LIB_GUEST_H
#define GUESTS_AARCH64_LIB_GUEST_H

#include <stdbool.h>
#include <stdint.h>

extern const char guest_name[];
void guest_main(void);
/* Processors besides the first, if the guest starts them. */
void guest_secondary(unsigned number);

/* ---- what is told ---- */
void check(const char *what, uint64_t value, uint64_t expected);
void print(const char *text);
void print_hex(uint64_t value);

/* ---- exceptions ---- */
struct frame {
	uint64_t x[31], elr, spsr, sp_el0;
};
/* The last one: its vector is 0 to 15 (4 of SP_EL0, of SP_EL1, of EL0, of EL0 in AArch32; each synchronous, IRQ, FIQ, SError). */
struct caught {
	unsigned count, vector;
	uint64_t esr, elr, far, spsr;
};
extern struct caught caught;
extern uint64_t resume; /* where the next one goes on, once; 0: where it says itself */
extern void (*on_interrupt)(uint32_t intid); /* called with what was acknowledged; its end is signalled afterwards */

/* One instruction, and on behind it whatever comes. What it needs is in x0 and x1; x0 comes back. */
#define TRY_WITH(code, a, b)                                                                                                                   \
	({                                                                                                                                     \
		register uint64_t x0_ __asm__("x0") = (uint64_t)(a);                                                                           \
		register uint64_t x1_ __asm__("x1") = (uint64_t)(b);                                                                           \
		caught.count = 0;                                                                                                              \
		__asm__ volatile("adr x9, 1f\n str x9, [%2]\n" code "\n1:\n str xzr, [%2]"                                                    \
				 : "+r"(x0_), "+r"(x1_)                                                                                        \
				 : "r"(&resume)                                                                                                \
				 : "x9", "x10", "x30", "cc", "memory");                                                                               \
		x0_;                                                                                                                           \
	})
#define TRY(code) TRY_WITH(code, 0, 0)

/* Runs pc at EL0, with its stack at user_stack's end, until there is an exception; x0 then. */
uint64_t user(uint64_t pc, uint64_t x0);
extern uint8_t user_stack[0x1000];

/* ---- registers ---- */
#define READ(name)                                                                                                                             \
	({                                                                                                                                     \
		uint64_t value_;                                                                                                               \
		__asm__ volatile("mrs %0, " #name : "=r"(value_)::"memory");                                                                   \
		value_;                                                                                                                        \
	})
#define WRITE(name, value) __asm__ volatile("msr " #name ", %0\n isb" ::"r"((uint64_t)(value)) : "memory")

/* ---- the machine ---- */
#define MEMORY 0x40000000ull
#define GICD   0x08000000ull
#define GICR   0x080a0000ull
#define UART   0x09000000ull
void mmio_write32(uint64_t address, uint32_t value);
uint32_t mmio_read32(uint64_t address);
void mmio_write64(uint64_t address, uint64_t value);
uint64_t psci(uint32_t function, uint64_t a, uint64_t b, uint64_t c);
#define PSCI_VERSION       0x84000000u
#define PSCI_CPU_OFF       0x84000002u
#define PSCI_CPU_ON        0xc4000003u
#define PSCI_AFFINITY_INFO 0xc4000004u
#define PSCI_SYSTEM_OFF    0x84000008u
#define PSCI_FEATURES      0x8400000au
/* The interrupt controller for this processor: group 1, all priorities, nothing enabled. The distributor with it if first. */
void gic_start(unsigned number, bool first);
void gic_enable(unsigned number, uint32_t intid, uint8_t priority);
void gic_disable(unsigned number, uint32_t intid);
void interrupts_on(void);
void interrupts_off(void);

/* The table of level 1 (512 entries of 1 GiB) that is in force. */
extern uint64_t level1[512];
void tlb_flush(void);

static inline unsigned cpu_number(void)
{
	return (unsigned)READ(tpidr_el1);
}

#endif
