/* The generic timer; see arm_timer.h.
 *
 * What the platform's timer is armed for may be earlier than what the guest wants, since a guest moves its deadlines on and on: then it
 * fires for nothing, and is armed again.
 *
 * Example: MSR CNTV_CVAL_EL0 is `write_register(vcpu, timer, A64_SYSREG_KEY(3, 3, 14, 3, 2), value)`.
 */
#include "dev/timer/arm_timer.h"
#include "arch/aarch64/names.h"
#include "base/errno.h"
#include "core/device.h"
#include "core/platform.h"
#include "core/vm.h"

#define NS_PER_TICK 16u
_Static_assert(1000000000u / NS_PER_TICK == ARM_TIMER_HZ, "whole nanoseconds");

#define KEY_FIRST A64_SYSREG_KEY(3, 3, 14, 2, 0)
#define KEY_LAST  A64_SYSREG_KEY(3, 3, 14, 3, 2)

enum timer_register { TVAL, CTL, CVAL };
enum { PHYSICAL, VIRTUAL, TIMERS };

#define CTL_ENABLE  (1u << 0)
#define CTL_IMASK   (1u << 1)
#define CTL_ISTATUS (1u << 2)

struct one_timer {
	struct irq_line line;
	uint8_t ctl;
	uint64_t cval;
	uint64_t offset; /* CNTVOFF_EL2 */
	bool level;      /* of the line */
};

struct cpu_timers {
	struct vm *vm;
	struct lock lock; /* of all that follows; interrupt controllers come after it */
	struct one_timer timers[TIMERS];
	struct timer timer;
	uint64_t armed_ns; /* UINT64_MAX: is not */
};

struct arm_timer {
	struct device dev;
	struct cpu_timers cpus[VM_MAX_VCPUS];
};

uint64_t arm_counter(const struct vm *vm)
{
	return (platform_clock_ns() - vm->clock_base_ns) / NS_PER_TICK;
}

static bool is_met(const struct one_timer *t, uint64_t counter)
{
	return counter - t->offset >= t->cval;
}

/* When the condition will be met, or UINT64_MAX: not in the life of this clock. */
static uint64_t deadline_of(const struct vm *vm, const struct one_timer *t)
{
	const uint64_t counter = t->cval + t->offset;

	if (counter < t->offset || counter > (UINT64_MAX - vm->clock_base_ns) / NS_PER_TICK)
		return UINT64_MAX;
	return vm->clock_base_ns + counter * NS_PER_TICK;
}

/* Lock held. */
static void update(struct cpu_timers *cpu)
{
	const uint64_t counter = arm_counter(cpu->vm);
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < TIMERS; i++) {
		struct one_timer *t = &cpu->timers[i];
		const bool wanted = (t->ctl & (CTL_ENABLE | CTL_IMASK)) == CTL_ENABLE;
		const bool level = wanted && is_met(t, counter);

		if (level != t->level) {
			t->level = level;
			irq_set(&t->line, level);
		}
		if (wanted && !level && deadline_of(cpu->vm, t) < next)
			next = deadline_of(cpu->vm, t);
	}
	if (next < cpu->armed_ns) {
		cpu->armed_ns = next;
		timer_arm(&cpu->timer, next);
	}
}

/* I/O thread */
static void fire(void *ctx)
{
	struct cpu_timers *cpu = ctx;

	lock_take(&cpu->lock);
	cpu->armed_ns = UINT64_MAX;
	update(cpu);
	lock_release(&cpu->lock);
}

static uint64_t read_locked(const struct cpu_timers *cpu, const struct one_timer *t, unsigned reg)
{
	const uint64_t counter = arm_counter(cpu->vm);

	switch ((enum timer_register)reg) {
	case TVAL:
		return (uint32_t)(t->cval - (counter - t->offset));
	case CTL:
		return t->ctl | ((t->ctl & CTL_ENABLE) && is_met(t, counter) ? CTL_ISTATUS : 0);
	case CVAL:
		return t->cval;
	}
	return 0;
}

static void write_locked(struct cpu_timers *cpu, struct one_timer *t, unsigned reg, uint64_t value)
{
	switch ((enum timer_register)reg) {
	case TVAL:
		t->cval = arm_counter(cpu->vm) - t->offset + (uint64_t)(int64_t)(int32_t)value;
		break;
	case CTL:
		t->ctl = value & (CTL_ENABLE | CTL_IMASK);
		break;
	case CVAL:
		t->cval = value;
		break;
	}
	update(cpu);
}

/* The keys of the two timers differ in CRm. */
static struct one_timer *timer_of(struct cpu_timers *cpu, uint32_t key)
{
	return &cpu->timers[key >> 3 & 1 ? VIRTUAL : PHYSICAL];
}
_Static_assert((A64_SYSREG_KEY(3, 3, 14, 2, 0) >> 3 & 1) == PHYSICAL && (A64_SYSREG_KEY(3, 3, 14, 3, 0) >> 3 & 1) == VIRTUAL, "CRm");

static bool read_register(struct vcpu *vcpu, void *ctx, uint32_t key, uint64_t *value)
{
	struct cpu_timers *cpu = &((struct arm_timer *)ctx)->cpus[vcpu->index];

	if ((key & 7) > CVAL)
		return false;
	lock_take(&cpu->lock);
	*value = read_locked(cpu, timer_of(cpu, key), key & 7);
	lock_release(&cpu->lock);
	return true;
}

static bool write_register(struct vcpu *vcpu, void *ctx, uint32_t key, uint64_t value)
{
	struct cpu_timers *cpu = &((struct arm_timer *)ctx)->cpus[vcpu->index];

	if ((key & 7) > CVAL)
		return false;
	lock_take(&cpu->lock);
	write_locked(cpu, timer_of(cpu, key), key & 7, value);
	lock_release(&cpu->lock);
	return true;
}

void arm_timer_set_virtual_offset(struct arm_timer *timer, struct vcpu *vcpu, uint64_t offset)
{
	struct cpu_timers *cpu = &timer->cpus[vcpu->index];

	lock_take(&cpu->lock);
	cpu->timers[VIRTUAL].offset = offset;
	update(cpu);
	lock_release(&cpu->lock);
}

/* ---- life ---- */

static void timer_reset(struct device *dev)
{
	struct arm_timer *timer = container_of(dev, struct arm_timer, dev);

	for (unsigned i = 0; i < dev->vm->vcpu_count; i++) {
		struct cpu_timers *cpu = &timer->cpus[i];

		lock_take(&cpu->lock);
		for (unsigned n = 0; n < TIMERS; n++) {
			cpu->timers[n].ctl = 0;
			cpu->timers[n].cval = cpu->timers[n].offset = 0;
		}
		timer_cancel(&cpu->timer);
		cpu->armed_ns = UINT64_MAX;
		update(cpu);
		lock_release(&cpu->lock);
	}
}

static void timer_destroy(struct device *dev)
{
	struct arm_timer *timer = container_of(dev, struct arm_timer, dev);

	for (unsigned i = 0; i < dev->vm->vcpu_count; i++)
		timer_cancel(&timer->cpus[i].timer);
	platform_free(timer);
}

/* It sits on no bus; being a device gives it its reset and its end. */
static const struct device_ops ops = {
	.name = "arm-timer",
	.reset = timer_reset,
	.destroy = timer_destroy,
};

int arm_timer_create(struct vm *vm, const struct arm_timer_lines *lines, struct arm_timer **out)
{
	struct arm_timer *timer = platform_alloc(sizeof(*timer));
	int r;

	if (!timer)
		return -ENOMEM;
	r = device_register(vm, &timer->dev, &ops, "timer");
	if (r) {
		platform_free(timer);
		return r;
	}
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		struct cpu_timers *cpu = &timer->cpus[i];

		cpu->vm = vm;
		cpu->timers[PHYSICAL].line = lines[i].physical;
		cpu->timers[VIRTUAL].line = lines[i].virtual;
		cpu->armed_ns = UINT64_MAX;
		timer_init(&cpu->timer, vm, fire, cpu);
	}
	*out = timer;
	return msr_handler_register(vm, &(struct msr_handler){.first = KEY_FIRST,
							      .last = KEY_LAST,
							      .read = read_register,
							      .write = write_register,
							      .ctx = timer});
}
