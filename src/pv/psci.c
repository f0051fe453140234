/* PSCI; see psci.h.
 *
 * A processor's power state is an atomic word: who takes it from OFF to ON_PENDING, alone, writes its first state. It is ON as soon as
 * somebody asks and finds that it has taken that state.
 *
 * Example: CPU_ON of processor 1: `mov x0, #0xc4000003; mov x1, #1; mov x2, entry; mov x3, context; hvc #0`.
 */
#include "pv/psci.h"

#include "arch/aarch64/names.h"
#include "arch/state.h"
#include "base/errno.h"
#include "core/platform.h"
#include "core/vm.h"
#include <stdatomic.h>

/* Functions: DEN 0028 2.5, DEN 0022 5. _64: also there with 64-bit arguments, bit 30. */
enum function {
	SMCCC_VERSION = 0x80000000,
	SMCCC_ARCH_FEATURES = 0x80000001,
	PSCI_VERSION = 0x84000000,
	PSCI_CPU_SUSPEND = 0x84000001,    /* _64 */
	PSCI_CPU_OFF = 0x84000002,
	PSCI_CPU_ON = 0x84000003,         /* _64 */
	PSCI_AFFINITY_INFO = 0x84000004,  /* _64 */
	PSCI_MIGRATE_INFO_TYPE = 0x84000006,
	PSCI_SYSTEM_OFF = 0x84000008,
	PSCI_SYSTEM_RESET = 0x84000009,
	PSCI_FEATURES = 0x8400000a,
	PSCI_SYSTEM_RESET2 = 0x84000012,  /* _64 */
};
#define FUNCTION_64 0x40000000u

enum result {
	SUCCESS = 0,
	NOT_SUPPORTED = -1,
	INVALID_PARAMETERS = -2,
	ALREADY_ON = -4,
	ON_PENDING = -5,
};

#define SMCCC_1_1 0x10001
#define PSCI_1_1  0x10001

#define NO_MIGRATION 2 /* MIGRATE_INFO_TYPE: there is no Trusted OS, or it doesn't matter */

#define AFFINITY_MASK 0xff00ffffffull

enum power { POWER_ON, POWER_OFF, POWER_ON_PENDING }; /* as AFFINITY_INFO tells them */

struct psci {
	struct device dev;
	const struct psci_hooks *hooks;
	_Atomic uint32_t power[VM_MAX_VCPUS];
};

/* Its index, or vcpu_count. */
static unsigned find_cpu(const struct vm *vm, uint64_t affinity)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		if (a64_cpu_affinity(i) == affinity)
			return i;
	return vm->vcpu_count;
}

/* A processor that was started has come as far as its first state. */
static enum power power_of(struct psci *psci, unsigned index)
{
	uint32_t pending = POWER_ON_PENDING;

	if (!atomic_load(&psci->dev.vm->vcpus[index]->power_on))
		atomic_compare_exchange_strong(&psci->power[index], &pending, POWER_ON);
	return atomic_load(&psci->power[index]);
}

static int64_t cpu_on(struct psci *psci, uint64_t target, uint64_t entry, uint64_t context)
{
	struct vm *vm = psci->dev.vm;
	const unsigned index = find_cpu(vm, target & AFFINITY_MASK);
	uint32_t off = POWER_OFF;
	union arch_state state;

	if (index == vm->vcpu_count || target & ~AFFINITY_MASK)
		return INVALID_PARAMETERS;
	if (!atomic_compare_exchange_strong(&psci->power[index], &off, POWER_ON_PENDING))
		return power_of(psci, index) == POWER_ON ? ALREADY_ON : ON_PENDING;
	psci->hooks->start(&state, index, entry, context);
	vcpu_start(vm->vcpus[index], &state);
	return SUCCESS;
}

/* It does not come back from this: the exit has nothing to complete. */
static int cpu_off(struct psci *psci, struct vcpu *vcpu, struct vm_exit *exit)
{
	const struct engine_ops *engine = vcpu->vm->engine;
	union arch_state state;
	int r = engine->get_state(vcpu, &state);

	if (r)
		return r;
	psci->hooks->stop(&state);
	r = engine->set_state(vcpu, &state);
	if (r)
		return r;
	*exit = (struct vm_exit){.kind = VM_EXIT_INTERRUPTED};
	vcpu->run_state = VCPU_WAIT_SIPI;
	/* From here on another one may start it. */
	atomic_store(&psci->power[vcpu->index], POWER_OFF);
	return 0;
}

static int64_t affinity_info(struct psci *psci, uint64_t target, uint64_t level)
{
	const unsigned index = find_cpu(psci->dev.vm, target & AFFINITY_MASK);

	/* Levels above processors need not be there since 1.0. */
	if (index == psci->dev.vm->vcpu_count || target & ~AFFINITY_MASK || level != 0)
		return INVALID_PARAMETERS;
	return power_of(psci, index);
}

static bool has_64(uint32_t function)
{
	switch ((enum function)function) {
	case PSCI_CPU_SUSPEND:
	case PSCI_CPU_ON:
	case PSCI_AFFINITY_INFO:
	case PSCI_SYSTEM_RESET2:
		return true;
	default:
		return false;
	}
}

static int64_t features(uint64_t asked)
{
	const uint32_t function = (uint32_t)asked;

	switch ((enum function)(has_64(function & ~FUNCTION_64) ? function & ~FUNCTION_64 : function)) {
	case SMCCC_VERSION:
	case PSCI_VERSION:
	case PSCI_CPU_SUSPEND: /* the original format of power states; no OS-initiated mode */
	case PSCI_CPU_OFF:
	case PSCI_CPU_ON:
	case PSCI_AFFINITY_INFO:
	case PSCI_MIGRATE_INFO_TYPE:
	case PSCI_SYSTEM_OFF:
	case PSCI_SYSTEM_RESET:
	case PSCI_FEATURES:
	case PSCI_SYSTEM_RESET2:
		return SUCCESS;
	default:
		return NOT_SUPPORTED;
	}
}

/* The machine stops, or starts again: the call is never answered. */
static int64_t stop(struct vm *vm, enum vm_stop_reason reason)
{
	vm_stop(vm, reason, 0);
	return SUCCESS;
}

static int64_t call(struct psci *psci, uint64_t number, const uint64_t *args)
{
	const bool wide = number & FUNCTION_64;
	const uint32_t function = (uint32_t)number & ~(has_64((uint32_t)number & ~FUNCTION_64) ? FUNCTION_64 : 0);
	const uint64_t mask = wide ? ~0ull : UINT32_MAX;

	switch ((enum function)function) {
	case SMCCC_VERSION:
		return SMCCC_1_1;
	case SMCCC_ARCH_FEATURES:
		return (uint32_t)args[0] == SMCCC_VERSION || (uint32_t)args[0] == SMCCC_ARCH_FEATURES ? SUCCESS : NOT_SUPPORTED;
	case PSCI_VERSION:
		return PSCI_1_1;
	case PSCI_CPU_SUSPEND:
		/* Standby, and something has woken it already: who idles by WFI is better off. */
		return SUCCESS;
	case PSCI_CPU_ON:
		return cpu_on(psci, args[0] & mask, args[1] & mask, args[2] & mask);
	case PSCI_AFFINITY_INFO:
		return affinity_info(psci, args[0] & mask, args[1] & mask);
	case PSCI_MIGRATE_INFO_TYPE:
		return NO_MIGRATION;
	case PSCI_SYSTEM_OFF:
		return stop(psci->dev.vm, VM_STOP_POWEROFF);
	case PSCI_SYSTEM_RESET:
		return stop(psci->dev.vm, VM_STOP_RESET);
	case PSCI_SYSTEM_RESET2:
		/* The architectural warm reset, 0, is a reset; vendors' kinds are not there. */
		return (uint32_t)args[0] == 0 ? stop(psci->dev.vm, VM_STOP_RESET) : INVALID_PARAMETERS;
	case PSCI_FEATURES:
		return features(args[0]);
	default:
		return NOT_SUPPORTED;
	}
}

static void hypercall(struct vcpu *vcpu, struct vm_exit *exit)
{
	struct psci *psci = vcpu->vm->pv;
	const uint32_t function = (uint32_t)exit->hypercall.number;

	/* The number is W0 (DEN 0028 2.4). */
	if (function == PSCI_CPU_OFF && cpu_off(psci, vcpu, exit) == 0)
		return;
	exit->hypercall.result = (uint64_t)call(psci, function, exit->hypercall.args);
}

/* ---- life ---- */

static void psci_reset(struct device *dev)
{
	struct psci *psci = container_of(dev, struct psci, dev);

	for (unsigned i = 0; i < dev->vm->vcpu_count; i++)
		atomic_store(&psci->power[i], i == 0 ? POWER_ON : POWER_OFF);
}

static void psci_destroy(struct device *dev)
{
	struct psci *psci = container_of(dev, struct psci, dev);

	dev->vm->hypercall = NULL;
	dev->vm->pv = NULL;
	platform_free(psci);
}

/* It sits on no bus; being a device gives it its reset and its end. */
static const struct device_ops ops = {
	.name = "psci",
	.reset = psci_reset,
	.destroy = psci_destroy,
};

int psci_create(struct vm *vm, const struct psci_hooks *hooks)
{
	struct psci *psci = platform_alloc(sizeof(*psci));
	int r;

	if (!psci)
		return -ENOMEM;
	psci->hooks = hooks;
	r = device_register(vm, &psci->dev, &ops, "psci");
	if (r) {
		platform_free(psci);
		return r;
	}
	psci_reset(&psci->dev);
	vm->pv = psci;
	vm->hypercall = hypercall;
	return 0;
}
