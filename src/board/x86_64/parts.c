/* What the boards share; see parts.h. */
#include "board/x86_64/parts.h"

#include "arch/state.h"
#include "arch/x86_64/cpu_model.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/vcpu_hooks.h"
#include "base/fmt.h"
#include "base/string.h"
#include "core/tsc.h"
#include "dev/virtio/balloon.h"
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

		if (i > 0) {
			x86_state_reset(&state.x86, false);
			/* Whoever set them up for the first has done so for all. */
			state.x86.mtrr_def_type = boot->x86.mtrr_def_type;
			memcpy(state.x86.mtrr_fixed, boot->x86.mtrr_fixed, sizeof(state.x86.mtrr_fixed));
			memcpy(state.x86.mtrr_base, boot->x86.mtrr_base, sizeof(state.x86.mtrr_base));
			memcpy(state.x86.mtrr_mask, boot->x86.mtrr_mask, sizeof(state.x86.mtrr_mask));
		}
		vcpu_power_on(vm->vcpus[i], &state);
	}
}

/* Where devices go. */
struct sink {
	struct vm *vm;
	int (*add)(struct vm *vm, void *ctx, struct virtio_device *dev, const char *id);
	void *ctx;
};

static unsigned queue_count(const struct vm *vm, unsigned wanted, unsigned max)
{
	unsigned count = wanted ? wanted : vm->vcpu_count;

	return count < max ? count : max;
}

static int create_disk(struct vm *vm, unsigned index, struct block_backend *backend, struct virtio_device **dev)
{
	const struct disk_config *disk = &vm->config->disks[index];
	const struct virtio_blk_options options = {
		.queues = queue_count(vm, disk->queues, VIRTIO_BLK_MAX_QUEUES),
		.limit = disk->rate,
	};

	return virtio_blk_create_with(vm, backend, &options, dev);
}

static int create_net(struct vm *vm, unsigned index, struct net_backend *backend, struct virtio_device **dev)
{
	const struct net_config *net = &vm->config->nets[index];
	const struct virtio_net_options options = {
		.pairs = queue_count(vm, net->queues, VIRTIO_NET_MAX_PAIRS),
		.receive = net->rate,
		.send = net->rate,
	};

	return virtio_net_create_with(vm, backend, &options, dev);
}

int parts_create_plugged(struct vm *vm, const struct board_plug *plug, struct virtio_device **dev)
{
	if (plug->disk) {
		const struct virtio_blk_options options = {.queues = queue_count(vm, plug->queues, VIRTIO_BLK_MAX_QUEUES), .limit = plug->rate};

		return virtio_blk_create_with(vm, plug->disk, &options, dev);
	}
	const struct virtio_net_options options = {
		.pairs = queue_count(vm, plug->queues, VIRTIO_NET_MAX_PAIRS), .receive = plug->rate, .send = plug->rate};

	return virtio_net_create_with(vm, plug->net, &options, dev);
}

static int create_disks(struct sink *sink, const struct board_inputs *inputs)
{
	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++) {
		struct virtio_device *dev;
		char id[16];
		int r;

		if (!inputs->disks[i] || sink->vm->config->disks[i].interface != DISK_VIRTIO)
			continue;
		fmt_print(id, sizeof(id), "disk%u", i);
		r = create_disk(sink->vm, i, inputs->disks[i], &dev);
		if (!r)
			r = sink->add(sink->vm, sink->ctx, dev, id);
		if (r)
			return r;
	}
	return 0;
}

/* One adapter for all of them, numbered in their order. */
static int create_scsi(struct sink *sink, const struct board_inputs *inputs)
{
	struct block_backend *disks[CONFIG_MAX_DISKS];
	struct virtio_device *dev;
	unsigned count = 0;
	int r;

	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++)
		if (inputs->disks[i] && sink->vm->config->disks[i].interface == DISK_SCSI)
			disks[count++] = inputs->disks[i];
	if (!count)
		return 0;
	r = virtio_scsi_create(sink->vm, disks, count, &dev);
	return r ? r : sink->add(sink->vm, sink->ctx, dev, "scsi");
}

static int create_nets(struct sink *sink, const struct board_inputs *inputs)
{
	for (unsigned i = 0; i < CONFIG_MAX_NETS; i++) {
		struct virtio_device *dev;
		char id[16];
		int r;

		if (inputs->nets[i])
			r = create_net(sink->vm, i, inputs->nets[i], &dev);
		else if (inputs->vhost_nets[i].backend)
			r = virtio_vhost_net_create(sink->vm, inputs->vhost_nets[i].backend, inputs->vhost_nets[i].mac, &dev);
		else
			continue;
		fmt_print(id, sizeof(id), "net%u", i);
		if (!r)
			dev->rom = inputs->net_roms[i];
		if (!r)
			r = sink->add(sink->vm, sink->ctx, dev, id);
		if (r)
			return r;
	}
	return 0;
}

static int create_file_systems(struct sink *sink, const struct board_inputs *inputs)
{
	for (unsigned i = 0; i < CONFIG_MAX_FS; i++) {
		struct virtio_device *dev;
		char id[16];
		int r;

		if (!inputs->fs[i])
			continue;
		fmt_print(id, sizeof(id), "fs%u", i);
		r = virtio_fs_create(sink->vm, inputs->fs[i], sink->vm->config->fs[i].tag, &dev);
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

static int create_vsock(struct sink *sink, const struct board_inputs *inputs)
{
	struct virtio_device *dev;
	int r;

	if (!inputs->vsock)
		return 0;
	r = virtio_vsock_create(sink->vm, sink->vm->config->vsock.cid, inputs->vsock, &dev);
	return r ? r : sink->add(sink->vm, sink->ctx, dev, "vsock");
}

static int create_shares(struct sink *sink, const struct board_inputs *inputs)
{
	for (unsigned i = 0; i < CONFIG_MAX_SHARES; i++) {
		struct virtio_device *dev;
		char id[16];
		int r;

		if (!inputs->shares[i])
			continue;
		fmt_print(id, sizeof(id), "share%u", i);
		r = virtio_9p_create(sink->vm, sink->vm->config->shares[i].tag, inputs->shares[i], &dev);
		if (!r)
			r = sink->add(sink->vm, sink->ctx, dev, id);
		if (r)
			return r;
	}
	return 0;
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

static int create_input(struct sink *sink, enum virtio_input_kind kind, const char *id, struct input_sink **out)
{
	struct input_sink *input;
	struct virtio_device *dev;
	int r = virtio_input_create(sink->vm, kind, &dev, &input);

	if (!r)
		r = sink->add(sink->vm, sink->ctx, dev, id);
	if (!r)
		*out = input;
	return r;
}

static int create_inputs(struct sink *sink)
{
	int r;

	if (!sink->vm->config->input)
		return 0;
	r = create_input(sink, VIRTIO_INPUT_KEYBOARD, "keyboard", &sink->vm->keyboard);
	return r ? r : create_input(sink, VIRTIO_INPUT_TABLET, "tablet", &sink->vm->pointer);
}

static int create_balloon(struct sink *sink)
{
	struct virtio_device *dev;
	int r;

	if (!sink->vm->config->balloon)
		return 0;
	r = virtio_balloon_create(sink->vm, sink->vm->config->balloon_size, &dev);
	if (!r)
		r = sink->add(sink->vm, sink->ctx, dev, "balloon");
	if (!r)
		sink->vm->balloon = dev;
	return r;
}

int parts_create_virtio(struct vm *vm, const struct board_inputs *inputs,
			int (*add)(struct vm *vm, void *ctx, struct virtio_device *dev, const char *id), void *ctx)
{
	struct sink sink = {.vm = vm, .add = add, .ctx = ctx};
	int r = create_disks(&sink, inputs);

	if (!r)
		r = create_scsi(&sink, inputs);
	if (!r)
		r = create_nets(&sink, inputs);
	if (!r)
		r = create_file_systems(&sink, inputs);
	if (!r)
		r = create_console(&sink, inputs);
	if (!r)
		r = create_vsock(&sink, inputs);
	if (!r)
		r = create_shares(&sink, inputs);
	if (!r)
		r = create_rng(&sink);
	if (!r)
		r = create_inputs(&sink);
	return r ? r : create_balloon(&sink);
}
