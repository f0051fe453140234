/* What the boards share; see parts.h. */
#include "board/x86_64/parts.h"

#include "arch/state.h"
#include "arch/x86_64/cpu_model.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/vcpu_hooks.h"
#include "base/fmt.h"
#include "core/tsc.h"
#include "dev/virtio/virtio.h"

/* The engine's own counter, where it has one. */
static uint64_t tsc_hz(struct vm *vm)
{
	uint64_t hz = vm->engine->tsc_hz ? vm->engine->tsc_hz(vm) : 0;

	return hz ? hz : X86_TSC_HZ_DEFAULT;
}

int parts_create_processors(struct vm *vm, struct x86_cpuid_table *table, char *why, size_t why_size)
{
	vm->arch_ops = &x86_vcpu_ops;
	x86_cpuid_build(table, vm->vcpu_count, tsc_hz(vm));
	vm->cpuid = table;
	if (vm->engine->cpuid_filter)
		vm->engine->cpuid_filter(vm);
	x86_cpuid_derive(vm->cpuid); /* what was taken away */
	return x86_cpu_model_apply(vm->cpuid, vm->config->cpu, why, why_size);
}

void parts_power_on(struct vm *vm, const union arch_state *boot)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		union arch_state state = *boot;

		if (i > 0)
			x86_state_reset(&state.x86, false);
		vcpu_power_on(vm->vcpus[i], &state);
	}
}

/* Where devices go. */
struct sink {
	struct vm *vm;
	int (*add)(struct vm *vm, void *ctx, struct virtio_device *dev, const char *id);
	void *ctx;
};

static int create_disks(struct sink *sink, const struct board_inputs *inputs)
{
	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++) {
		struct virtio_device *dev;
		char id[16];
		int r;

		if (!inputs->disks[i])
			continue;
		fmt_print(id, sizeof(id), "disk%u", i);
		r = virtio_blk_create(sink->vm, inputs->disks[i], &dev);
		if (!r)
			r = sink->add(sink->vm, sink->ctx, dev, id);
		if (r)
			return r;
	}
	return 0;
}

static int create_nets(struct sink *sink, const struct board_inputs *inputs)
{
	for (unsigned i = 0; i < CONFIG_MAX_NETS; i++) {
		struct virtio_device *dev;
		char id[16];
		int r;

		if (!inputs->nets[i])
			continue;
		fmt_print(id, sizeof(id), "net%u", i);
		r = virtio_net_create(sink->vm, inputs->nets[i], &dev);
		if (!r)
			r = sink->add(sink->vm, sink->ctx, dev, id);
		if (r)
			return r;
	}
	return 0;
}

static int create_console(struct sink *sink, const struct board_inputs *inputs)
{
	struct virtio_console_port ports[CONFIG_MAX_PORTS];
	struct virtio_device *dev;
	int r;

	if (!inputs->port_count)
		return 0;
	for (unsigned i = 0; i < inputs->port_count; i++)
		ports[i] = (struct virtio_console_port){.name = inputs->ports[i].name,
							.backend = inputs->ports[i].backend};
	r = virtio_console_create(sink->vm, ports, inputs->port_count, &dev);
	return r ? r : sink->add(sink->vm, sink->ctx, dev, "console");
}

static int create_rng(struct sink *sink)
{
	struct virtio_device *dev;
	int r;

	if (!sink->vm->config->rng)
		return 0;
	r = virtio_rng_create(sink->vm, &dev);
	return r ? r : sink->add(sink->vm, sink->ctx, dev, "rng");
}

int parts_create_virtio(struct vm *vm, const struct board_inputs *inputs,
			int (*add)(struct vm *vm, void *ctx, struct virtio_device *dev, const char *id), void *ctx)
{
	struct sink sink = {.vm = vm, .add = add, .ctx = ctx};
	int r = create_disks(&sink, inputs);

	if (!r)
		r = create_nets(&sink, inputs);
	if (!r)
		r = create_console(&sink, inputs);
	return r ? r : create_rng(&sink);
}
