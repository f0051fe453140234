/* Messages between local APICs, and from I/O APICs and MSIs to them: destinations and delivery modes
 * (SDM 3A 11.6, 11.11).
 *
 * Example: `lapic_msi(vm, 0xfee01000, 0x0041);` sends vector 0x41 to the APIC with id 1.
 */
#include "dev/irq/lapic_private.h"

enum shorthand { TO_DESTINATION, TO_SELF, TO_ALL, TO_OTHERS };

static bool matches_logical(const struct lapic *lapic, const struct lapic_message *message)
{
	uint32_t destination = message->destination, ldr = lapic->ldr;

	if (lapic->base & LAPIC_BASE_X2APIC) /* cluster in the upper half */
		return destination >> 16 == ldr >> 16 && (destination & ldr & 0xffff);
	if (message->wide && destination > 0xff)
		return false;
	ldr >>= 24;
	if (lapic->dfr >> 28 == 0xf) /* flat */
		return destination & ldr;
	return destination >> 4 == ldr >> 4 && (destination & ldr & 0xf);
}

static bool matches(const struct lapic *lapic, const struct lapic_message *message)
{
	if (!(lapic->base & LAPIC_BASE_ENABLE))
		return false;
	if (message->destination == (message->wide ? 0xffffffffu : 0xffu))
		return true;
	if (message->logical)
		return matches_logical(lapic, message);
	return message->destination == lapic->vcpu->index;
}

/* Hands one APIC the message; false if it takes none. */
static bool hand_over(struct lapic *lapic, const struct lapic_message *message)
{
	struct vcpu *vcpu = lapic->vcpu;

	switch (message->mode) {
	case LAPIC_FIXED:
	case LAPIC_LOWEST:
		if (!(lapic->svr & LAPIC_SVR_ENABLE))
			return false;
		lapic_accept(lapic, message->vector, message->level);
		return true;
	case LAPIC_NMI:
		vcpu_request(vcpu, VCPU_REQ_NMI);
		return true;
	case LAPIC_INIT:
		vcpu_request(vcpu, VCPU_REQ_INIT);
		return true;
	case LAPIC_SIPI:
		vcpu->sipi_vector = message->vector;
		vcpu_request(vcpu, VCPU_REQ_SIPI);
		return true;
	case LAPIC_EXTINT:
		lapic->extint = true;
		vcpu_request(vcpu, VCPU_REQ_IRQ);
		return true;
	default: /* SMI: there is no SMM; 3 is reserved */
		return false;
	}
}

/* The APIC of lowest priority; among equals the vector chooses, so that different interrupts spread and the same one
 * stays where its caches are warm. */
static bool deliver_lowest(struct vm *vm, const struct lapic_message *message)
{
	struct lapic *best = NULL;
	uint32_t best_priority = 0;

	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		struct lapic *lapic = lapic_of(vm->vcpus[(message->vector + i) % vm->vcpu_count]);
		uint32_t priority;

		if (!matches(lapic, message) || !(lapic->svr & LAPIC_SVR_ENABLE))
			continue;
		priority = lapic_arbitration(lapic);
		if (!best || priority < best_priority) {
			best = lapic;
			best_priority = priority;
		}
	}
	return best && hand_over(best, message);
}

bool lapic_deliver(struct vm *vm, const struct lapic_message *message)
{
	bool accepted = false;

	if (message->mode == LAPIC_LOWEST)
		return deliver_lowest(vm, message);
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		struct lapic *lapic = lapic_of(vm->vcpus[i]);

		if (matches(lapic, message))
			accepted |= hand_over(lapic, message);
	}
	return accepted;
}

void lapic_msi(struct vm *vm, uint64_t address, uint32_t data)
{
	struct lapic_message message = {
		.destination = address >> 12 & 0xff,
		.logical = address >> 2 & 1,
		.level = data >> 15 & 1,
		.mode = data >> 8 & 7,
		.vector = (uint8_t)data,
	};

	if (address >> 20 != 0xfee)
		return; /* a memory write that reaches no APIC */
	/* The redirection hint asks for one of a logical set. */
	if ((address >> 3 & 1) && message.logical && message.mode == LAPIC_FIXED)
		message.mode = LAPIC_LOWEST;
	lapic_deliver(vm, &message);
}

void lapic_send(struct lapic *lapic, uint64_t icr, bool x2apic)
{
	struct vm *vm = lapic->vcpu->vm;
	struct lapic_message message = {
		.destination = (uint32_t)(x2apic ? icr >> 32 : icr >> 56),
		.wide = x2apic,
		.logical = icr >> 11 & 1,
		.mode = icr >> 8 & 7,
		.vector = (uint8_t)icr,
	};
	bool asserted = icr >> 14 & 1;
	enum shorthand shorthand = icr >> 18 & 3;

	if ((message.mode == LAPIC_FIXED || message.mode == LAPIC_LOWEST) && message.vector < 16) {
		lapic_error(lapic, LAPIC_ESR_SEND_VECTOR);
		return;
	}
	/* INIT level de-assert only ever synchronised arbitration ids. ExtINT can't be sent. */
	if ((message.mode == LAPIC_INIT && !asserted) || message.mode == LAPIC_EXTINT)
		return;

	switch (shorthand) {
	case TO_DESTINATION:
		lapic_deliver(vm, &message);
		break;
	case TO_SELF:
		if (message.mode != LAPIC_INIT && message.mode != LAPIC_SIPI)
			hand_over(lapic, &message);
		break;
	case TO_ALL:
	case TO_OTHERS:
		if (message.mode == LAPIC_LOWEST)
			message.mode = LAPIC_FIXED; /* not valid with these shorthands; be generous */
		for (unsigned i = 0; i < vm->vcpu_count; i++) {
			struct lapic *target = lapic_of(vm->vcpus[i]);

			if ((shorthand == TO_ALL || target != lapic) && target->base & LAPIC_BASE_ENABLE)
				hand_over(target, &message);
		}
		break;
	}
}
