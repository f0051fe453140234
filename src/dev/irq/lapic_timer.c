/* The local APIC's timer: one-shot, periodic, TSC deadline (SDM 3A 11.5.4).
 *
 * What is kept is the deadline in platform nanoseconds; the current count is computed from it when it is read.
 * The platform's timer fires on the I/O thread, so everything here is under timer_lock, a leaf: delivery too, so that
 * after a write that masks, stops or re-programs the timer none of its earlier interrupts can still arrive.
 *
 * Example: `lapic_timer_set_deadline(lapic, tsc);`
 */
#include "arch/x86_64/cpuid.h"
#include "core/tsc.h"
#include "dev/irq/lapic_private.h"

/* A periodic timer no faster than this, lest a guest keep the I/O thread busy for nothing. */
#define MIN_PERIOD_NS 20000u

static uint32_t timer_lvt(const struct lapic *lapic)
{
	return lapic->lvt[0];
}

static unsigned divide_shift(uint32_t config)
{
	return (((config >> 1 & 4) | (config & 3)) + 1) & 7;
}

static uint64_t count_to_ns(const struct lapic *lapic, uint32_t count)
{
	return tsc_to_ns((uint64_t)count << divide_shift(lapic->divide_config), lapic->vcpu->vm->cpuid->apic_hz);
}

static uint64_t period_ns(const struct lapic *lapic)
{
	uint64_t period = count_to_ns(lapic, lapic->initial_count);

	return period < MIN_PERIOD_NS ? MIN_PERIOD_NS : period;
}

static void disarm(struct lapic *lapic)
{
	lapic->armed = false;
	timer_cancel(&lapic->timer);
}

static void arm(struct lapic *lapic, uint64_t deadline_ns)
{
	lapic->armed = true;
	lapic->deadline_ns = deadline_ns;
	timer_arm(&lapic->timer, deadline_ns);
}

/* The deadline has come: what is next. Lock held. */
static void expire(struct lapic *lapic, uint64_t now)
{
	switch (LAPIC_TIMER_MODE(timer_lvt(lapic))) {
	case LAPIC_TIMER_PERIODIC: {
		uint64_t period = period_ns(lapic);
		uint64_t next = lapic->deadline_ns + period;

		/* Ticks that were missed are merged into this one. */
		if (next <= now)
			next = now + period - (now - lapic->deadline_ns) % period;
		arm(lapic, next);
		break;
	}
	case LAPIC_TIMER_DEADLINE:
		lapic->tsc_deadline = 0;
		lapic->armed = false;
		break;
	default:
		lapic->armed = false;
		break;
	}
}

/* I/O thread */
static void fire(void *ctx)
{
	struct lapic *lapic = ctx;
	uint64_t now = platform_clock_ns();
	bool due;

	lock_take(&lapic->timer_lock);
	due = lapic->armed && now >= lapic->deadline_ns;
	if (due)
		expire(lapic, now);
	else if (lapic->armed)
		timer_arm(&lapic->timer, lapic->deadline_ns);
	if (due)
		lapic_local(lapic, LAPIC_LVT_TIMER);
	lock_release(&lapic->timer_lock);
}

void lapic_timer_init(struct lapic *lapic)
{
	timer_init(&lapic->timer, lapic->vcpu->vm, fire, lapic);
}

void lapic_timer_reset(struct lapic *lapic)
{
	lock_take(&lapic->timer_lock);
	disarm(lapic);
	lapic->initial_count = 0;
	lapic->divide_config = 0;
	lapic->tsc_deadline = 0;
	lock_release(&lapic->timer_lock);
}

void lapic_timer_set_lvt(struct lapic *lapic, uint32_t value)
{
	bool was_deadline = LAPIC_TIMER_MODE(timer_lvt(lapic)) == LAPIC_TIMER_DEADLINE;
	bool is_deadline = LAPIC_TIMER_MODE(value) == LAPIC_TIMER_DEADLINE;

	lock_take(&lapic->timer_lock);
	lapic->lvt[0] = value;
	if (was_deadline != is_deadline) {
		disarm(lapic);
		lapic->initial_count = 0;
		lapic->tsc_deadline = 0;
	}
	lock_release(&lapic->timer_lock);
}

void lapic_timer_set_count(struct lapic *lapic, uint32_t count)
{
	if (LAPIC_TIMER_MODE(timer_lvt(lapic)) == LAPIC_TIMER_DEADLINE)
		return;
	lock_take(&lapic->timer_lock);
	lapic->initial_count = count;
	if (count == 0)
		disarm(lapic);
	else if (LAPIC_TIMER_MODE(timer_lvt(lapic)) == LAPIC_TIMER_PERIODIC)
		arm(lapic, platform_clock_ns() + period_ns(lapic));
	else
		arm(lapic, platform_clock_ns() + count_to_ns(lapic, count));
	lock_release(&lapic->timer_lock);
}

/* Lock held. */
static uint32_t current_count(struct lapic *lapic, uint64_t now)
{
	uint64_t left = lapic->deadline_ns - now, ticks;

	if (!lapic->armed || lapic->initial_count == 0)
		return 0;
	if (now >= lapic->deadline_ns) {
		uint64_t period = period_ns(lapic);

		if (LAPIC_TIMER_MODE(timer_lvt(lapic)) != LAPIC_TIMER_PERIODIC)
			return 0;
		left = period - (now - lapic->deadline_ns) % period;
	}
	ticks = tsc_from_ns(left, lapic->vcpu->vm->cpuid->apic_hz) >> divide_shift(lapic->divide_config);
	return ticks > lapic->initial_count ? lapic->initial_count : (uint32_t)ticks;
}

uint32_t lapic_timer_count(struct lapic *lapic)
{
	uint32_t count;

	lock_take(&lapic->timer_lock);
	count = LAPIC_TIMER_MODE(timer_lvt(lapic)) == LAPIC_TIMER_DEADLINE ?
			0 :
			current_count(lapic, platform_clock_ns());
	lock_release(&lapic->timer_lock);
	return count;
}

/* A running timer goes on with the count it has, at the new rate. */
void lapic_timer_set_divide(struct lapic *lapic, uint32_t config)
{
	uint64_t now = platform_clock_ns();
	uint32_t count;

	lock_take(&lapic->timer_lock);
	count = current_count(lapic, now);
	lapic->divide_config = config;
	if (lapic->armed && count != 0)
		arm(lapic, now + count_to_ns(lapic, count));
	lock_release(&lapic->timer_lock);
}

uint64_t lapic_timer_deadline(struct lapic *lapic)
{
	uint64_t tsc;

	lock_take(&lapic->timer_lock);
	tsc = lapic->tsc_deadline;
	lock_release(&lapic->timer_lock);
	return tsc;
}

void lapic_timer_set_deadline(struct lapic *lapic, uint64_t tsc)
{
	struct vcpu *vcpu = lapic->vcpu;
	uint64_t deadline_ns;
	bool due = false;

	if (LAPIC_TIMER_MODE(timer_lvt(lapic)) != LAPIC_TIMER_DEADLINE)
		return;
	lock_take(&lapic->timer_lock);
	lapic->tsc_deadline = tsc;
	deadline_ns = tsc ? vm_tsc_deadline_ns(vcpu->vm, vcpu->tsc_offset, tsc) : UINT64_MAX;
	if (deadline_ns == 0) {
		due = true;
		lapic->tsc_deadline = 0;
	}
	if (deadline_ns == 0 || deadline_ns == UINT64_MAX)
		disarm(lapic);
	else
		arm(lapic, deadline_ns);
	lock_release(&lapic->timer_lock);
	if (due)
		lapic_local(lapic, LAPIC_LVT_TIMER);
}

void lapic_timer_tsc_changed(struct lapic *lapic)
{
	uint64_t tsc = lapic_timer_deadline(lapic);

	if (tsc)
		lapic_timer_set_deadline(lapic, tsc);
}
