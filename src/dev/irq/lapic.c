/* The local APIC's registers, priorities and access paths; see lapic.h. SDM 3A chapter 11.
 *
 * Example: `vcpu->vm->irq_ops->ack(vcpu)` is what an engine calls when RFLAGS.IF lets an interrupt in.
 */
#include "dev/irq/lapic_private.h"
#include "base/errno.h"
#include "base/string.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/msr.h"
#include "dev/irq/irqchip.h"
#include "dev/irq/pic.h"
#include <stdatomic.h>

#define VERSION        (0x14u | (LAPIC_LVT_COUNT - 1) << 16)
#define LVT_LINT0_WIRE 0x700u /* ExtINT, unmasked: what a PC's firmware leaves on the boot processor */

/* Bits of each register that can be written; the LVT's read-only ones (delivery status 12, remote IRR 14) may be
 * given as anything. */
#define LVT_READ_ONLY 0x5000u
static const uint32_t lvt_writable[LAPIC_LVT_COUNT] = {
	0x000700ff, /* timer */
	0x000107ff, /* thermal */
	0x000107ff, /* performance */
	0x0001a7ff, /* LINT0 */
	0x0001a7ff, /* LINT1 */
	0x000100ff, /* error */
};
#define LVT_TIMER_DEADLINE 0x40000u /* the mode's upper bit: reserved without TSC-deadline mode */

static uint32_t lvt_mask(const struct lapic *lapic, unsigned reg)
{
	uint32_t mask = lvt_writable[reg - LAPIC_LVT_TIMER];

	if (reg == LAPIC_LVT_TIMER && !x86_cpuid_offers(lapic->vcpu->vm->cpuid, X86_CPU_tsc_deadline_timer))
		mask &= ~LVT_TIMER_DEADLINE;
	return mask;
}

/* ---- modes ---- */
static bool is_enabled(const struct lapic *lapic)
{
	return lapic->base & LAPIC_BASE_ENABLE;
}

static bool is_x2apic(const struct lapic *lapic)
{
	return (lapic->base & (LAPIC_BASE_ENABLE | LAPIC_BASE_X2APIC)) == (LAPIC_BASE_ENABLE | LAPIC_BASE_X2APIC);
}

static uint32_t lapic_id(const struct lapic *lapic)
{
	return lapic->vcpu->index;
}

/* ---- priorities (SDM 3A 11.8.3) ---- */
static int highest(const uint32_t *words)
{
	for (int i = 7; i >= 0; i--)
		if (words[i])
			return i * 32 + 31 - __builtin_clz(words[i]);
	return -1;
}

static int highest_irr(const struct lapic *lapic)
{
	for (int i = 7; i >= 0; i--) {
		uint32_t word = lapic->irr[i];

		if (word)
			return i * 32 + 31 - __builtin_clz(word);
	}
	return -1;
}

static uint32_t ppr(const struct lapic *lapic)
{
	int in_service = highest(lapic->isr);
	uint32_t isr_class = in_service < 0 ? 0 : (uint32_t)in_service & 0xf0;

	return (lapic->tpr & 0xf0) >= isr_class ? lapic->tpr : isr_class;
}

uint32_t lapic_arbitration(const struct lapic *lapic)
{
	int irr = highest_irr(lapic);
	uint32_t requested = irr < 0 ? 0 : (uint32_t)irr & 0xf0;

	return (lapic->tpr & 0xf0) > requested ? lapic->tpr & 0xf0 : requested;
}

/* The vector of this APIC that is deliverable now, or -1. */
static int deliverable(const struct lapic *lapic)
{
	int vector = highest_irr(lapic);

	return vector >= 0 && ((uint32_t)vector & 0xf0) > (ppr(lapic) & 0xf0) ? vector : -1;
}

/* Does the 8259's INTR pin reach the processor through LINT0? With the APIC disabled LINT0 is the INTR pin. */
static bool lint0_passes(const struct lapic *lapic)
{
	uint32_t lint0 = lapic->lvt[LAPIC_LVT_LINT0 - LAPIC_LVT_TIMER];

	if (lapic->vcpu->index != 0)
		return false;
	return !is_enabled(lapic) || (!(lint0 & LAPIC_LVT_MASKED) && LAPIC_LVT_MODE(lint0) == LAPIC_EXTINT);
}

static bool extint_pending(const struct lapic *lapic)
{
	return lapic->common->pic && (lapic->extint || lint0_passes(lapic)) && pic_output(lapic->common->pic);
}

static void recheck(struct lapic *lapic)
{
	if (deliverable(lapic) >= 0)
		vcpu_request(lapic->vcpu, VCPU_REQ_IRQ);
}

/* ---- what arrives ---- */
void lapic_accept(struct lapic *lapic, uint8_t vector, bool level)
{
	uint32_t bit = 1u << (vector & 31);

	if (vector < 16) {
		lapic_error(lapic, LAPIC_ESR_RECEIVE_VECTOR);
		return;
	}
	if (level)
		lapic->tmr[vector >> 5] |= bit;
	else
		lapic->tmr[vector >> 5] &= ~bit;
	if (!(atomic_fetch_or(&lapic->irr[vector >> 5], bit) & bit))
		vcpu_request(lapic->vcpu, VCPU_REQ_IRQ);
}

void lapic_local(struct lapic *lapic, unsigned reg)
{
	uint32_t lvt = lapic->lvt[reg - LAPIC_LVT_TIMER];

	if (!is_enabled(lapic) || lvt & LAPIC_LVT_MASKED)
		return;
	if (reg == LAPIC_LVT_TIMER || reg == LAPIC_LVT_ERROR) {
		lapic_accept(lapic, (uint8_t)lvt, false);
		return;
	}
	switch (LAPIC_LVT_MODE(lvt)) {
	case LAPIC_FIXED:
		lapic_accept(lapic, (uint8_t)lvt, false);
		break;
	case LAPIC_NMI:
		vcpu_request(lapic->vcpu, VCPU_REQ_NMI);
		break;
	case LAPIC_INIT:
		vcpu_request(lapic->vcpu, VCPU_REQ_INIT);
		break;
	case LAPIC_EXTINT:
		vcpu_request(lapic->vcpu, VCPU_REQ_IRQ);
		break;
	default: /* SMI: there is no SMM; the rest is reserved */
		break;
	}
}

void lapic_pic_output(struct vm *vm, bool level)
{
	struct lapic *lapic = lapic_of(vm->vcpus[0]);

	if (!level)
		return;
	if (is_enabled(lapic))
		lapic_local(lapic, LAPIC_LVT_LINT0);
	else
		vcpu_request(lapic->vcpu, VCPU_REQ_IRQ);
}

void lapic_error(struct lapic *lapic, uint32_t esr_bit)
{
	uint32_t lvt = lapic->lvt[LAPIC_LVT_ERROR - LAPIC_LVT_TIMER];

	/* An illegal vector in the error entry itself must not raise the error again. */
	if (!(atomic_fetch_or(&lapic->esr_pending, esr_bit) & esr_bit) && (lvt & 0xff) >= 16)
		lapic_local(lapic, LAPIC_LVT_ERROR);
}

/* ---- the engine's side: struct vcpu_irq_ops ---- */
static int irq_pending(struct vcpu *vcpu)
{
	struct lapic *lapic = lapic_of(vcpu);

	if (extint_pending(lapic))
		return pic_peek(lapic->common->pic);
	return is_enabled(lapic) ? deliverable(lapic) : -1;
}

static int irq_ack(struct vcpu *vcpu)
{
	struct lapic *lapic = lapic_of(vcpu);
	int vector;

	if (extint_pending(lapic)) {
		lapic->extint = false;
		vector = pic_acknowledge(lapic->common->pic);
		if (irq_pending(vcpu) >= 0)
			vcpu_request(vcpu, VCPU_REQ_IRQ);
		return vector;
	}
	vector = is_enabled(lapic) ? deliverable(lapic) : -1;
	if (vector >= 0) {
		lapic->irr[vector >> 5] &= ~(1u << (vector & 31));
		lapic->isr[vector >> 5] |= 1u << (vector & 31);
	}
	return vector;
}

static uint64_t irq_get_tpr(struct vcpu *vcpu)
{
	return lapic_of(vcpu)->tpr >> 4;
}

static void irq_set_tpr(struct vcpu *vcpu, uint64_t cr8)
{
	struct lapic *lapic = lapic_of(vcpu);

	lapic->tpr = (uint32_t)(cr8 & 15) << 4;
	recheck(lapic);
}

static void end_of_interrupt(struct lapic *lapic)
{
	int vector = highest(lapic->isr);

	if (vector < 0)
		return;
	lapic->isr[vector >> 5] &= ~(1u << (vector & 31));
	if (lapic->tmr[vector >> 5] >> (vector & 31) & 1 && lapic->common->eoi)
		lapic->common->eoi(lapic->common->eoi_ctx, (uint8_t)vector);
	recheck(lapic);
}

/* ---- registers ---- */
static bool read_register(struct lapic *lapic, unsigned reg, uint64_t *value)
{
	bool x2apic = is_x2apic(lapic);

	switch (reg) {
	case LAPIC_ID:
		*value = x2apic ? lapic_id(lapic) : lapic_id(lapic) << 24;
		break;
	case LAPIC_VERSION:
		*value = VERSION;
		break;
	case LAPIC_TPR:
		*value = lapic->tpr;
		break;
	case LAPIC_APR:
	case LAPIC_RRR:
		*value = 0;
		return !x2apic;
	case LAPIC_PPR:
		*value = ppr(lapic);
		break;
	case LAPIC_LDR:
		*value = lapic->ldr;
		break;
	case LAPIC_DFR:
		*value = lapic->dfr;
		return !x2apic;
	case LAPIC_SVR:
		*value = lapic->svr;
		break;
	case LAPIC_ISR ... LAPIC_ISR + 7:
		*value = lapic->isr[reg - LAPIC_ISR];
		break;
	case LAPIC_TMR ... LAPIC_TMR + 7:
		*value = lapic->tmr[reg - LAPIC_TMR];
		break;
	case LAPIC_IRR ... LAPIC_IRR + 7:
		*value = lapic->irr[reg - LAPIC_IRR];
		break;
	case LAPIC_ESR:
		*value = lapic->esr;
		break;
	case LAPIC_ICR:
		*value = x2apic ? lapic->icr : (uint32_t)lapic->icr;
		break;
	case LAPIC_ICR2:
		*value = lapic->icr >> 32;
		return !x2apic;
	case LAPIC_LVT_TIMER ... LAPIC_LVT_ERROR:
		*value = lapic->lvt[reg - LAPIC_LVT_TIMER];
		break;
	case LAPIC_INITIAL_COUNT:
		*value = lapic->initial_count;
		break;
	case LAPIC_CURRENT_COUNT:
		*value = lapic_timer_count(lapic);
		break;
	case LAPIC_DIVIDE:
		*value = lapic->divide_config;
		break;
	case LAPIC_EOI: /* write-only; xAPIC reads give zero */
		*value = 0;
		return !x2apic;
	default:
		return false;
	}
	return true;
}

static void write_svr(struct lapic *lapic, uint32_t value)
{
	lapic->svr = value & 0x3ff;
	if (value & LAPIC_SVR_ENABLE)
		return;
	lapic_timer_set_lvt(lapic, lapic->lvt[0] | LAPIC_LVT_MASKED);
	for (unsigned i = 1; i < LAPIC_LVT_COUNT; i++)
		lapic->lvt[i] |= LAPIC_LVT_MASKED;
}

static void write_lvt(struct lapic *lapic, unsigned reg, uint32_t value)
{
	value &= lvt_mask(lapic, reg);
	if (!(lapic->svr & LAPIC_SVR_ENABLE))
		value |= LAPIC_LVT_MASKED;
	if (reg == LAPIC_LVT_TIMER)
		lapic_timer_set_lvt(lapic, value);
	else
		lapic->lvt[reg - LAPIC_LVT_TIMER] = value;
	/* LINT0 opens while the 8259's output is up */
	if (reg == LAPIC_LVT_LINT0 && extint_pending(lapic))
		vcpu_request(lapic->vcpu, VCPU_REQ_IRQ);
}

/* Bits that may be set by WRMSR in x2APIC mode; 0 bits of the upper half too, but for ICR. */
static uint64_t x2apic_writable(const struct lapic *lapic, unsigned reg)
{
	switch (reg) {
	case LAPIC_TPR:
	case LAPIC_SELF_IPI:
		return 0xff;
	case LAPIC_SVR:
		return 0x3ff;
	case LAPIC_ICR:
		return 0xffffffff000cdfffull;
	case LAPIC_LVT_TIMER ... LAPIC_LVT_ERROR:
		return lvt_mask(lapic, reg) | LVT_READ_ONLY;
	case LAPIC_INITIAL_COUNT:
		return 0xffffffff;
	case LAPIC_DIVIDE:
		return 0xb;
	default: /* EOI and ESR take zero */
		return 0;
	}
}

/* False: no such register, or a read-only one. */
static bool write_register(struct lapic *lapic, unsigned reg, uint64_t value)
{
	bool x2apic = is_x2apic(lapic);
	uint32_t low = (uint32_t)value;

	switch (reg) {
	case LAPIC_TPR:
		lapic->tpr = low & 0xff;
		recheck(lapic);
		break;
	case LAPIC_EOI:
		end_of_interrupt(lapic);
		break;
	case LAPIC_LDR:
		if (x2apic)
			return false;
		lapic->ldr = low & 0xff000000;
		break;
	case LAPIC_DFR:
		if (x2apic)
			return false;
		lapic->dfr = low | 0x0fffffff;
		break;
	case LAPIC_SVR:
		write_svr(lapic, low);
		break;
	case LAPIC_ESR:
		lapic->esr = atomic_exchange(&lapic->esr_pending, 0);
		break;
	case LAPIC_ICR:
		lapic->icr = x2apic ? value & 0xffffffff000ccfffull :
				      (lapic->icr & 0xffffffff00000000ull) | (low & 0x000ccfff);
		lapic_send(lapic, lapic->icr, x2apic);
		break;
	case LAPIC_ICR2:
		if (x2apic)
			return false;
		lapic->icr = (uint32_t)lapic->icr | (uint64_t)(low & 0xff000000) << 32;
		break;
	case LAPIC_LVT_TIMER ... LAPIC_LVT_ERROR:
		write_lvt(lapic, reg, low);
		break;
	case LAPIC_INITIAL_COUNT:
		lapic_timer_set_count(lapic, low);
		break;
	case LAPIC_DIVIDE:
		lapic_timer_set_divide(lapic, low & 0xb);
		break;
	case LAPIC_SELF_IPI:
		if (!x2apic)
			return false;
		if (lapic->svr & LAPIC_SVR_ENABLE)
			lapic_accept(lapic, (uint8_t)low, false);
		break;
	case LAPIC_ID: /* fixed by the hardware on every processor since 2008 */
		return !x2apic;
	default:
		return false;
	}
	return true;
}

/* ---- the xAPIC page ---- */
static bool mmio(struct vcpu *vcpu, struct vm_exit *exit)
{
	struct lapic *lapic = lapic_of(vcpu);
	uint64_t offset = exit->mmio.gpa - (lapic->base & PAGE_MASK);
	unsigned reg = (unsigned)(offset >> 4), byte = (unsigned)offset & 15;
	uint64_t value = 0;

	if (offset >= PAGE_SIZE || !is_enabled(lapic) || is_x2apic(lapic))
		return false;
	/* Registers are 32 bits at multiples of 16; anything else is undefined, and harmless here. */
	if (exit->mmio.write) {
		if (byte == 0 && exit->mmio.size >= 4 && !write_register(lapic, reg, (uint32_t)exit->mmio.value))
			lapic_error(lapic, LAPIC_ESR_REGISTER);
		return true;
	}
	if (!read_register(lapic, reg, &value)) {
		lapic_error(lapic, LAPIC_ESR_REGISTER);
		value = 0;
	}
	exit->mmio.value = byte < 4 ? (value & 0xffffffff) >> 8 * byte : 0;
	return true;
}

/* ---- MSRs ---- */
static bool x2apic_read(struct vcpu *vcpu, void *ctx, uint32_t index, uint64_t *value)
{
	struct lapic *lapic = lapic_of(vcpu);

	return is_x2apic(lapic) && read_register(lapic, index - X86_MSR_X2APIC_FIRST, value);
}

static bool x2apic_write(struct vcpu *vcpu, void *ctx, uint32_t index, uint64_t value)
{
	struct lapic *lapic = lapic_of(vcpu);
	unsigned reg = index - X86_MSR_X2APIC_FIRST;

	if (!is_x2apic(lapic) || value & ~x2apic_writable(lapic, reg))
		return false;
	return write_register(lapic, reg, value);
}

static void reset_registers(struct lapic *lapic)
{
	lapic->ldr = 0;
	lapic->dfr = 0xffffffff;
	lapic->svr = 0xff;
	for (unsigned i = 0; i < LAPIC_LVT_COUNT; i++)
		lapic->lvt[i] = LAPIC_LVT_MASKED;
	if (lapic->vcpu->index == 0)
		lapic->lvt[LAPIC_LVT_LINT0 - LAPIC_LVT_TIMER] = LVT_LINT0_WIRE;
	lapic->tpr = 0;
	for (unsigned i = 0; i < 8; i++)
		lapic->irr[i] = lapic->tmr[i] = lapic->isr[i] = 0;
	lapic->esr = 0;
	lapic->esr_pending = 0;
	lapic->extint = false;
	lapic->icr = 0;
	lapic_timer_reset(lapic);
}

static bool base_read(struct vcpu *vcpu, void *ctx, uint32_t index, uint64_t *value)
{
	*value = lapic_of(vcpu)->base;
	return true;
}

/* SDM 3A 11.12.5: the state machine of enable and x2APIC bits. */
static bool base_write(struct vcpu *vcpu, void *ctx, uint32_t index, uint64_t value)
{
	struct lapic *lapic = lapic_of(vcpu);
	uint64_t address = ((1ull << vcpu->vm->cpuid->physical_bits) - 1) & PAGE_MASK;
	uint64_t old = lapic->base;

	if (value & ~(address | LAPIC_BASE_BSP | LAPIC_BASE_X2APIC | LAPIC_BASE_ENABLE))
		return false;
	if ((value & LAPIC_BASE_X2APIC) &&
	    (!(value & LAPIC_BASE_ENABLE) || !x86_cpuid_offers(vcpu->vm->cpuid, X86_CPU_x2apic)))
		return false;
	if ((old & LAPIC_BASE_X2APIC) && !(value & LAPIC_BASE_X2APIC) && (value & LAPIC_BASE_ENABLE))
		return false;
	if (!(old & LAPIC_BASE_ENABLE) && (value & LAPIC_BASE_X2APIC))
		return false;

	lapic->base = value;
	if ((old & LAPIC_BASE_ENABLE) && !(value & LAPIC_BASE_ENABLE))
		reset_registers(lapic);
	if (!(old & LAPIC_BASE_X2APIC) && (value & LAPIC_BASE_X2APIC)) {
		uint32_t id = lapic_id(lapic);

		lapic->ldr = (id >> 4) << 16 | 1u << (id & 15);
		lapic->icr = (uint32_t)lapic->icr;
	}
	return true;
}

static bool deadline_read(struct vcpu *vcpu, void *ctx, uint32_t index, uint64_t *value)
{
	*value = lapic_timer_deadline(lapic_of(vcpu));
	return true;
}

static bool deadline_write(struct vcpu *vcpu, void *ctx, uint32_t index, uint64_t value)
{
	lapic_timer_set_deadline(lapic_of(vcpu), value);
	return true;
}

static void tsc_changed(struct vcpu *vcpu, void *ctx)
{
	lapic_timer_tsc_changed(lapic_of(vcpu));
}

/* ---- life ---- */
static void power_on(struct lapic *lapic)
{
	lapic->base = LAPIC_DEFAULT_BASE | LAPIC_BASE_ENABLE | (lapic->vcpu->index == 0 ? LAPIC_BASE_BSP : 0);
	reset_registers(lapic);
}

/* INIT keeps IA32_APIC_BASE, so the x2APIC mode too (SDM 3A 11.12.5.1); LDR follows from the id there. */
static void init(struct vcpu *vcpu)
{
	struct lapic *lapic = lapic_of(vcpu);
	uint32_t ldr = lapic->ldr;

	reset_registers(lapic);
	if (is_x2apic(lapic))
		lapic->ldr = ldr;
}

static const struct vcpu_irq_ops irq_ops = {
	.pending = irq_pending,
	.ack = irq_ack,
	.get_tpr = irq_get_tpr,
	.set_tpr = irq_set_tpr,
	.init = init,
	.mmio = mmio,
};

static int register_msrs(struct vm *vm)
{
	const struct msr_handler handlers[] = {
		{.first = X86_MSR_APIC_BASE, .last = X86_MSR_APIC_BASE, .read = base_read, .write = base_write},
		{.first = X86_MSR_TSC_DEADLINE,
		 .last = X86_MSR_TSC_DEADLINE,
		 .read = deadline_read,
		 .write = deadline_write,
		 .tsc_changed = tsc_changed},
		{.first = X86_MSR_X2APIC_FIRST, .last = X86_MSR_X2APIC_LAST, .read = x2apic_read, .write = x2apic_write},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(handlers); i++) {
		int r = msr_handler_register(vm, &handlers[i]);

		if (r)
			return r;
	}
	return 0;
}

void lapics_destroy(struct vm *vm)
{
	struct lapic_common *common = NULL;

	vm->irq_ops = NULL;
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		struct lapic *lapic = lapic_of(vm->vcpus[i]);

		if (!lapic)
			continue;
		common = lapic->common;
		timer_cancel(&lapic->timer);
		platform_free(lapic);
		vm->vcpus[i]->intc = NULL;
	}
	platform_free(common);
}

int lapics_create(struct vm *vm, void (*eoi)(void *ctx, uint8_t vector), void *eoi_ctx, struct pic *pic)
{
	struct lapic_common *common = platform_alloc(sizeof(*common));
	int r;

	if (!common)
		return -ENOMEM;
	*common = (struct lapic_common){.eoi = eoi, .eoi_ctx = eoi_ctx, .pic = pic};
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		struct lapic *lapic = platform_alloc(sizeof(*lapic));

		if (!lapic) {
			if (i == 0)
				platform_free(common);
			lapics_destroy(vm);
			return -ENOMEM;
		}
		lapic->vcpu = vm->vcpus[i];
		lapic->common = common;
		lapic_timer_init(lapic);
		vm->vcpus[i]->intc = lapic;
		power_on(lapic);
	}
	r = register_msrs(vm);
	if (r) {
		lapics_destroy(vm);
		return r;
	}
	vm->irq_ops = &irq_ops;
	return 0;
}

void lapics_reset(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		power_on(lapic_of(vm->vcpus[i]));
}
