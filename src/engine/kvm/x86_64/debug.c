/* A debugger's points and steps (core/debug.h) by KVM_SET_GUEST_DEBUG: the processor's four debug registers, of which the guest's own
 * do nothing meanwhile, and its trap flag.
 */
#include "base/errno.h"
#include "base/string.h"
#include "core/debug.h"
#include "engine/kvm/kvm.h"
#include <sys/ioctl.h>

#define SLOTS 4
#define EXCEPTION_DB 1

/* What one debug register watches. */
struct slot {
	const struct debug_point *point;
	gva_t gva;
	unsigned len;
};

/* Data must be aligned and 1, 2, 4 or 8 bytes long: more takes more registers. How many, or -errno. */
static int fill_slots(const struct debug_point *points, unsigned count, struct slot slots[SLOTS])
{
	unsigned used = 0;

	for (unsigned i = 0; i < count; i++) {
		const struct debug_point *point = &points[i];

		if (point->kind == DEBUG_WATCH_READ)
			return -EINVAL; /* x86 watches for writes, or for both */
		for (uint64_t done = 0; done < point->len;) {
			unsigned len = 8;

			while (len > point->len - done || (point->gva + done) % len)
				len /= 2;
			if (used == SLOTS)
				return -ENOSPC;
			slots[used++] = (struct slot){.point = point, .gva = point->gva + done, .len = len};
			done += len;
		}
	}
	return (int)used;
}

int kvm_arch_debug_check(const struct debug_point *points, unsigned count)
{
	struct slot slots[SLOTS];
	int r = fill_slots(points, count, slots);

	return r < 0 ? r : 0;
}

static int slots_now(const struct debug *debug, struct slot slots[SLOTS])
{
	const struct debug_point *points;
	unsigned count = debug_points(debug, &points);

	return fill_slots(points, count, slots);
}

/* SDM 3B 17.2.4: enabled globally; when it hits; its length. */
static uint64_t dr7_of(unsigned n, const struct slot *slot)
{
	static const uint8_t lengths[] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};
	static const uint8_t kinds[] = {[DEBUG_BREAK] = 0, [DEBUG_WATCH_WRITE] = 1, [DEBUG_WATCH_ACCESS] = 3};
	uint64_t how = kinds[slot->point->kind] | (uint64_t)(slot->point->kind == DEBUG_BREAK ? 0 : lengths[slot->len]) << 2;

	return 2ull << (2 * n) | how << (16 + 4 * n);
}

static uint32_t step_control(const struct vcpu *vcpu)
{
	const struct kvm_vm *kvm = vcpu->vm->engine_vm;
	uint32_t control = KVM_GUESTDBG_SINGLESTEP;

	if (!debug_steps_interrupts(vcpu->vm->debug) && kvm->guest_debug > 0 &&
	    ((uint32_t)kvm->guest_debug & KVM_GUESTDBG_BLOCKIRQ))
		control |= KVM_GUESTDBG_BLOCKIRQ;
	return control;
}

static int set_debug(struct vcpu *vcpu, uint32_t more)
{
	const struct kvm_vcpu *kv = vcpu->engine_vcpu;
	struct kvm_guest_debug debug = {.control = more};
	struct slot slots[SLOTS];
	int used = slots_now(vcpu->vm->debug, slots);

	if (debug_steps(vcpu->vm->debug, vcpu))
		debug.control |= KVM_GUESTDBG_ENABLE | step_control(vcpu);
	for (int i = 0; i < used; i++) {
		debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
		debug.arch.debugreg[i] = slots[i].gva;
		debug.arch.debugreg[7] |= dr7_of((unsigned)i, &slots[i]);
	}
	return ioctl(kv->fd, KVM_SET_GUEST_DEBUG, &debug) < 0 ? -errno : 0;
}

int kvm_arch_debug(struct vcpu *vcpu)
{
	return set_debug(vcpu, 0);
}

bool kvm_arch_debug_exit(struct vcpu *vcpu, struct vm_exit *exit)
{
	const struct kvm_vcpu *kv = vcpu->engine_vcpu;
	const struct kvm_debug_exit_arch *arch = &kv->run->debug.arch;
	struct slot slots[SLOTS];
	int used;

	if (!vcpu->vm->debug)
		return false;
	used = slots_now(vcpu->vm->debug, slots);
	*exit = (struct vm_exit){.kind = VM_EXIT_DEBUG, .debug = {.cause = DEBUG_STEPPED}};
	for (int i = 0; i < used; i++) {
		if (arch->dr6 >> i & 1) {
			exit->debug = (struct debug_event){.cause = DEBUG_HIT, .point = *slots[i].point};
			return true;
		}
	}
	if (debug_steps(vcpu->vm->debug, vcpu))
		return true;
	/* The guest's own: its trap flag, INT1. */
	if (arch->exception == EXCEPTION_DB)
		(void)set_debug(vcpu, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_DB);
	return false;
}
