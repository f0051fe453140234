/* The local APIC from inside: shared by lapic.c (registers), lapic_timer.c and lapic_route.c. */
#ifndef DEV_IRQ_LAPIC_PRIVATE_H
#define DEV_IRQ_LAPIC_PRIVATE_H

#include "base/lock.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/irq/lapic.h"

/* Register numbers: the xAPIC offset divided by 16, which is the x2APIC MSR minus 0x800 (SDM 3A tables 11-1, 11-6) */
enum lapic_register {
	LAPIC_ID = 0x02,
	LAPIC_VERSION = 0x03,
	LAPIC_TPR = 0x08,
	LAPIC_APR = 0x09,
	LAPIC_PPR = 0x0a,
	LAPIC_EOI = 0x0b,
	LAPIC_RRR = 0x0c,
	LAPIC_LDR = 0x0d,
	LAPIC_DFR = 0x0e,
	LAPIC_SVR = 0x0f,
	LAPIC_ISR = 0x10,
	LAPIC_TMR = 0x18,
	LAPIC_IRR = 0x20,
	LAPIC_ESR = 0x28,
	LAPIC_ICR = 0x30,
	LAPIC_ICR2 = 0x31,
	LAPIC_LVT_TIMER = 0x32,
	LAPIC_LVT_THERMAL = 0x33,
	LAPIC_LVT_PERF = 0x34,
	LAPIC_LVT_LINT0 = 0x35,
	LAPIC_LVT_LINT1 = 0x36,
	LAPIC_LVT_ERROR = 0x37,
	LAPIC_INITIAL_COUNT = 0x38,
	LAPIC_CURRENT_COUNT = 0x39,
	LAPIC_DIVIDE = 0x3e,
	LAPIC_SELF_IPI = 0x3f,
};
#define LAPIC_LVT_COUNT 6

#define LAPIC_BASE_BSP    (1u << 8)
#define LAPIC_BASE_X2APIC (1u << 10)
#define LAPIC_BASE_ENABLE (1u << 11)

#define LAPIC_SVR_ENABLE (1u << 8)

#define LAPIC_LVT_MASKED       (1u << 16)
#define LAPIC_LVT_MODE(lvt)    ((lvt) >> 8 & 7u)
#define LAPIC_TIMER_MODE(lvt)  ((lvt) >> 17 & 3u)
#define LAPIC_TIMER_ONE_SHOT   0u
#define LAPIC_TIMER_PERIODIC   1u
#define LAPIC_TIMER_DEADLINE   2u

#define LAPIC_ESR_SEND_VECTOR    (1u << 5)
#define LAPIC_ESR_RECEIVE_VECTOR (1u << 6)
#define LAPIC_ESR_REGISTER       (1u << 7)

/* What all local APICs of a machine share. */
struct lapic_common {
	void (*eoi)(void *ctx, uint8_t vector);
	void *eoi_ctx;
	struct pic *pic;
};

struct lapic {
	struct vcpu *vcpu;
	struct lapic_common *common;

	/* Written by the vcpu's thread, read by any that matches a destination. */
	_Atomic uint64_t base; /* IA32_APIC_BASE */
	_Atomic uint32_t ldr, dfr, svr;
	_Atomic uint32_t lvt[LAPIC_LVT_COUNT];
	_Atomic uint32_t tpr;

	/* Set by any thread, cleared by the vcpu's. A vector's TMR bit is written before its IRR bit. */
	_Atomic uint32_t irr[8], tmr[8];
	_Atomic uint32_t esr_pending;
	_Atomic bool extint; /* an IOAPIC entry of mode ExtINT fired: ask the 8259 */

	/* The vcpu's thread only. */
	uint32_t isr[8];
	uint32_t esr;
	uint64_t icr;

	/* The timer: under timer_lock, since the I/O thread fires it. */
	struct lock timer_lock;
	struct timer timer;
	bool armed;
	uint64_t deadline_ns;
	uint64_t tsc_deadline;
	uint32_t initial_count, divide_config;
};

static inline struct lapic *lapic_of(const struct vcpu *vcpu)
{
	return vcpu->intc;
}

/* lapic.c */
/* A vector arrives (any thread): IRR, and the vcpu is told. */
void lapic_accept(struct lapic *lapic, uint8_t vector, bool level);
/* What a local source's LVT entry says, happens. Any thread. */
void lapic_local(struct lapic *lapic, unsigned reg);
void lapic_error(struct lapic *lapic, uint32_t esr_bit);
/* The class an arbitration for lowest priority compares. Any thread. */
uint32_t lapic_arbitration(const struct lapic *lapic);

/* lapic_route.c: an interrupt command. Own thread. */
void lapic_send(struct lapic *lapic, uint64_t icr, bool x2apic);

/* lapic_timer.c; all on the vcpu's thread. */
void lapic_timer_init(struct lapic *lapic);
void lapic_timer_reset(struct lapic *lapic);
/* Sets the timer's LVT entry. A change to or from TSC-deadline mode stops the timer. */
void lapic_timer_set_lvt(struct lapic *lapic, uint32_t value);
void lapic_timer_set_count(struct lapic *lapic, uint32_t count);
void lapic_timer_set_divide(struct lapic *lapic, uint32_t config);
uint32_t lapic_timer_count(struct lapic *lapic);
uint64_t lapic_timer_deadline(struct lapic *lapic);
void lapic_timer_set_deadline(struct lapic *lapic, uint64_t tsc);
/* vcpu->tsc_offset changed. */
void lapic_timer_tsc_changed(struct lapic *lapic);

#endif
