/* The guest's time-stamp counter; see tsc.h.
 *
 * Example: `uint64_t now = vm_tsc(vm, cpu->s.tsc_offset);`
 */
#include "core/tsc.h"
#include "arch/x86_64/cpuid.h"
#include "base/checked.h"
#include "core/platform.h"
#include "core/vm.h"

#define NS_PER_S 1000000000u

/* value * to / from: split so that the products stay below 2^64. */
static uint64_t scale(uint64_t value, uint64_t from, uint64_t to)
{
	uint64_t whole, result;

	if (from == to || from == 0)
		return value;
	if (mul_overflow(value / from, to, &whole) || add_overflow(whole, value % from * to / from, &result))
		return UINT64_MAX;
	return result;
}

uint64_t tsc_from_ns(uint64_t ns, uint64_t hz)
{
	return scale(ns, NS_PER_S, hz);
}

uint64_t tsc_to_ns(uint64_t ticks, uint64_t hz)
{
	return scale(ticks, hz, NS_PER_S);
}

uint64_t vm_tsc(const struct vm *vm, uint64_t tsc_offset)
{
	return tsc_from_ns(platform_clock_ns() - vm->clock_base_ns, vm->cpuid->tsc_hz) + tsc_offset;
}

uint64_t vm_tsc_deadline_ns(const struct vm *vm, uint64_t tsc_offset, uint64_t tsc)
{
	uint64_t now_ns = platform_clock_ns();
	uint64_t now = tsc_from_ns(now_ns - vm->clock_base_ns, vm->cpuid->tsc_hz) + tsc_offset;
	uint64_t ticks, deadline;

	if (sub_overflow(tsc, now, &ticks) || ticks == 0)
		return 0;
	/* One nanosecond more, against rounding down: a deadline never comes early. */
	if (add_overflow(tsc_to_ns(ticks, vm->cpuid->tsc_hz), now_ns + (vm->cpuid->tsc_hz != NS_PER_S), &deadline))
		return UINT64_MAX;
	return deadline;
}

void vcpu_set_tsc_offset(struct vcpu *vcpu, uint64_t tsc_offset)
{
	struct vm *vm = vcpu->vm;

	if (vcpu->tsc_offset == tsc_offset)
		return;
	vcpu->tsc_offset = tsc_offset;
	for (unsigned i = 0; i < vm->msr_handler_count; i++) {
		const struct msr_handler *handler = &vm->msr_handlers[i];

		if (handler->tsc_changed)
			handler->tsc_changed(vcpu, handler->ctx);
	}
}
