/* kvmclock; see kvm_clock.h.
 *
 * Example: a guest writes 0x12345001 to MSR 0x4b564d01 and finds struct pvclock_vcpu_time_info at 0x12345000.
 */
#include "pv/kvm_clock.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/msr.h"
#include "base/errno.h"
#include "core/platform.h"
#include "core/vm.h"
#include <stdatomic.h>

#define NS_PER_S 1000000000u

#define SYSTEM_TIME_ENABLE 1u
#define FLAG_TSC_STABLE    1u

/* The ABI's structures: little-endian, packed by their natural alignment. */
struct pvclock_vcpu_time_info {
	uint32_t version; /* odd: being written */
	uint32_t pad0;
	uint64_t tsc_timestamp;
	uint64_t system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags;
	uint8_t pad[2];
};
_Static_assert(sizeof(struct pvclock_vcpu_time_info) == 32, "pvclock ABI");

struct pvclock_wall_clock {
	uint32_t version;
	uint32_t sec;
	uint32_t nsec;
};
_Static_assert(sizeof(struct pvclock_wall_clock) == 12, "pvclock ABI");

struct kvm_clock {
	struct device dev;
	uint64_t wall_clock;                /* the MSR's last value; any vcpu writes it, for all */
	uint64_t system_time[VM_MAX_VCPUS]; /* each by its own vcpu */
	uint32_t version[VM_MAX_VCPUS];
	uint32_t mul;                       /* ns = ((ticks << shift) * mul) >> 32 */
	int8_t shift;
};

/* The multiplier with the most bits: hz is brought into (10^9, 2 * 10^9] by the shift. */
static void set_scale(struct kvm_clock *clock, uint64_t hz)
{
	int8_t shift = 0;

	if (hz == 0)
		hz = NS_PER_S;
	while (hz > 2ull * NS_PER_S) {
		hz >>= 1;
		shift--;
	}
	while (hz <= NS_PER_S) {
		hz <<= 1;
		shift++;
	}
	clock->shift = shift;
	clock->mul = (uint32_t)(((uint64_t)NS_PER_S << 32) / hz);
}

/* A guest-chosen address that is no RAM gets nothing: as in KVM, that is the guest's problem alone. */
static void put(struct vm *vm, gpa_t gpa, const void *data, size_t size)
{
	int r = mem_write(&vm->mem, gpa, data, size);

	(void)r;
}

static void put_version(struct vm *vm, gpa_t gpa, uint32_t version)
{
	atomic_thread_fence(memory_order_seq_cst);
	put(vm, gpa, &version, sizeof(version));
	atomic_thread_fence(memory_order_seq_cst);
}

/* Other vcpus may be reading (the vDSO reads vcpu 0's): version odd, body, version even. */
static void publish(struct kvm_clock *clock, struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	gpa_t gpa = clock->system_time[vcpu->index] & ~(uint64_t)SYSTEM_TIME_ENABLE;
	struct pvclock_vcpu_time_info info = {
		.tsc_timestamp = vcpu->tsc_offset,
		.tsc_to_system_mul = clock->mul,
		.tsc_shift = clock->shift,
		.flags = FLAG_TSC_STABLE,
	};
	uint32_t *version = &clock->version[vcpu->index];

	if (!(clock->system_time[vcpu->index] & SYSTEM_TIME_ENABLE))
		return;
	put_version(vm, gpa, ++*version | 1);
	put(vm, gpa + 4, (const char *)&info + 4, sizeof(info) - 4);
	*version = (*version | 1) + 1;
	put_version(vm, gpa, *version);
}

/* The wall clock at system time 0. */
static void publish_wall_clock(struct kvm_clock *clock)
{
	struct vm *vm = clock->dev.vm;
	uint64_t ns = platform_wall_ns() - (platform_clock_ns() - vm->clock_base_ns);
	struct pvclock_wall_clock wall = {.sec = (uint32_t)(ns / NS_PER_S), .nsec = (uint32_t)(ns % NS_PER_S)};
	uint32_t version = 0;

	if (mem_read(&vm->mem, clock->wall_clock, &version, sizeof(version)))
		return;
	put_version(vm, clock->wall_clock, version | 1);
	put(vm, clock->wall_clock + 4, (const char *)&wall + 4, sizeof(wall) - 4);
	put_version(vm, clock->wall_clock, (version | 1) + 1);
}

static bool read_msr(struct vcpu *vcpu, void *ctx, uint32_t index, uint64_t *value)
{
	const struct kvm_clock *clock = ctx;

	if (index == X86_MSR_KVM_WALL_CLOCK || index == X86_MSR_KVM_WALL_CLOCK_OLD)
		*value = clock->wall_clock;
	else
		*value = clock->system_time[vcpu->index];
	return true;
}

static bool write_msr(struct vcpu *vcpu, void *ctx, uint32_t index, uint64_t value)
{
	struct kvm_clock *clock = ctx;

	if (index == X86_MSR_KVM_WALL_CLOCK || index == X86_MSR_KVM_WALL_CLOCK_OLD) {
		lock_take(&clock->dev.lock);
		clock->wall_clock = value;
		publish_wall_clock(clock);
		lock_release(&clock->dev.lock);
	} else {
		clock->system_time[vcpu->index] = value;
		publish(clock, vcpu);
	}
	return true;
}

static void tsc_changed(struct vcpu *vcpu, void *ctx)
{
	publish(ctx, vcpu);
}

static void clock_reset(struct device *dev)
{
	struct kvm_clock *clock = container_of(dev, struct kvm_clock, dev);

	clock->wall_clock = 0;
	for (unsigned i = 0; i < VM_MAX_VCPUS; i++)
		clock->system_time[i] = 0;
}

static void clock_destroy(struct device *dev)
{
	platform_free(container_of(dev, struct kvm_clock, dev));
}

/* On no bus: it is a device for its reset and its end. */
static const struct device_ops ops = {
	.name = "kvm-clock",
	.reset = clock_reset,
	.destroy = clock_destroy,
};

int kvm_clock_create(struct vm *vm)
{
	struct kvm_clock *clock = platform_alloc(sizeof(*clock));
	struct msr_handler handler = {
		.first = X86_MSR_KVM_WALL_CLOCK_OLD,
		.last = X86_MSR_KVM_SYSTEM_TIME_OLD,
		.read = read_msr,
		.write = write_msr,
		.ctx = clock,
	};
	int r;

	if (!clock)
		return -ENOMEM;
	set_scale(clock, vm->cpuid->tsc_hz);
	r = device_register(vm, &clock->dev, &ops, "kvm-clock");
	if (r) {
		platform_free(clock);
		return r;
	}
	r = msr_handler_register(vm, &handler);
	if (r)
		return r;
	handler.first = X86_MSR_KVM_WALL_CLOCK;
	handler.last = X86_MSR_KVM_SYSTEM_TIME;
	handler.tsc_changed = tsc_changed;
	return msr_handler_register(vm, &handler);
}
