/* What a test guest is written with: output, checks, exceptions, page tables, ports, the local APIC.
 *
 * Example:
 *     void guest_main(void)
 *     {
 *             CHECK(fault_of(divide_by_zero, 0) == 0);
 *     }
 * A guest prints one line a failed check, then `NAME: N checks, M failed` and leaves through isa-debug-exit with
 * 0 or 1. What it prints must not depend on the engine.
 */
#ifndef GUESTS_LIB_GUEST_H
#define GUESTS_LIB_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECK(condition) check(condition, #condition, __LINE__)
/* Like CHECK, and prints both values when they differ. */
#define EQUAL(a, b) check_equal((uint64_t)(a), (uint64_t)(b), #a, __LINE__)

extern const char guest_name[];
void guest_main(void);      /* the test */
void guest_ap_main(void);   /* what another processor runs (weak: nothing) */

void print(const char *format, ...); /* %s %d %u %x (64-bit values) */
void check(bool ok, const char *what, int line);
void check_equal(uint64_t got, uint64_t want, const char *what, int line);
void guest_exit(unsigned code) __attribute__((noreturn));

struct frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

/* The last exception that was caught. */
extern volatile struct caught {
	uint64_t vector, error, cr2, rip, rflags, rsp, cs;
} caught;

/* The vector that fn(arg) raises, or -1. */
int fault_of(void (*fn)(uint64_t), uint64_t arg);
/* Called for a vector instead of the catcher; returns to the interrupted code. */
void on_vector(unsigned vector, void (*handler)(struct frame *frame));
void set_gate(unsigned vector, void (*entry)(void), unsigned type_dpl, unsigned ist);
/* The task state segment's stacks (loaded by the library; RSP0 and IST1..7). */
void set_stack(unsigned index, uint64_t top);

/* Where user mode sees what is at p: everything in the first GiB is mapped there again with user rights; the
 * original mapping is the supervisor's alone. */
#define USER(p) ((uint64_t)(p) + (4ull << 30))
/* Runs fn(arg) at CPL 3 in 64-bit code; returns the vector that ended it (0x80: it returned). */
int run_user(void (*fn)(uint64_t), uint64_t arg);

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}
static inline void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}
static inline uint8_t inb(uint16_t port)
{
	uint8_t value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}
static inline uint64_t rdmsr(uint32_t index)
{
	uint32_t low, high;
	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
	return (uint64_t)high << 32 | low;
}
static inline void wrmsr(uint32_t index, uint64_t value)
{
	__asm__ volatile("wrmsr" ::"c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}
#define READ_CR(n)                                                                                 \
	({                                                                                         \
		uint64_t v_;                                                                       \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(v_));                                 \
		v_;                                                                                \
	})
#define WRITE_CR(n, value) __asm__ volatile("mov %0, %%cr" #n ::"r"((uint64_t)(value)) : "memory")
static inline void invlpg(uint64_t address)
{
	__asm__ volatile("invlpg (%0)" ::"r"(address) : "memory");
}
static inline void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	__asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(subleaf));
}

/* ---- page tables: a 4-level mapping of one 4 KiB page; intermediate tables are made as needed ---- */
#define PTE_P  1ull
#define PTE_W  2ull
#define PTE_U  4ull
#define PTE_A  32ull
#define PTE_D  64ull
#define PTE_PS 128ull
#define PTE_G  256ull
#define PTE_NX (1ull << 63)
/* The entry that maps address at 4 KiB; splits or makes tables. */
volatile uint64_t *pte_of(uint64_t address);
/* A zeroed, identity-mapped page. */
void *alloc_page(void);

/* ---- local APIC, xAPIC mode ---- */
static inline volatile uint32_t *apic(unsigned offset)
{
	return (volatile uint32_t *)(uintptr_t)(0xfee00000u + offset);
}
void apic_enable(void);
void start_others(void); /* INIT, SIPI, SIPI to all but self */

#endif
