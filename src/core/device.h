/* A device: a model of hardware that the guest sees; knows nothing of hosts, engines, threads.
 *
 * Its registers are touched under dev->lock: the bus takes it around read and write; timer, work and
 * backend callbacks take it themselves. Lock order: virtio or ISA device, then IOAPIC/PIC; the local
 * APIC takes none (atomics only).
 */
#ifndef CORE_DEVICE_H
#define CORE_DEVICE_H

#include "base/lock.h"
#include "core/barrier.h"
#include "base/types.h"

struct vm;
struct device;
struct aml;      /* loader/aml.h */
struct snapshot; /* control/, later */
struct stats_sink;

struct device_ops {
	const char *name;
	void (*reset)(struct device *dev); /* power-on state; called with the lock held */
	/* offset is inside the region; size 1, 2, 4 or 8, offset naturally aligned. */
	uint64_t (*read)(struct device *dev, unsigned region, uint64_t offset, unsigned size);
	void (*write)(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value);
	void (*describe_acpi)(struct device *dev, struct aml *aml); /* optional: into \_SB's scope */
	int (*save)(struct device *dev, struct snapshot *snapshot); /* optional */
	int (*load)(struct device *dev, struct snapshot *snapshot); /* optional */
	/* Optional: figures so far (core/stats.h). The I/O thread, or when it no longer runs; no lock held. */
	void (*stats)(struct device *dev, struct stats_sink *sink);
	/* Optional, for network cards: the cable is plugged in or not. -EOPNOTSUPP: it is none. No lock held. */
	int (*set_link)(struct device *dev, bool up);
	void (*destroy)(struct device *dev);                        /* optional; frees the device */
};

struct device {
	const struct device_ops *ops;
	struct vm *vm;
	struct lock lock;
	char id[16]; /* "serial0": for messages, and by which it is found */
	/* Of one that is being retired. */
	struct vm_barrier barrier;
	struct device *retired_next;
	void (*gone)(void *ctx);
	void *gone_ctx;
};

/* Fills dev and adds it to vm->devices (reset order = order of registration). -ENOSPC. */
int device_register(struct vm *vm, struct device *dev, const struct device_ops *ops, const char *id) must_check;

/* The device with this id, or NULL. I/O thread. */
struct device *device_find(const struct vm *vm, const char *id);
/* Takes a device that nobody reaches any more (its regions are unmapped) off the machine and destroys it once no processor is in an
 * access to it; then calls gone(), unless the VM ends before. I/O thread. */
void device_retire(struct device *dev, void (*gone)(void *ctx), void *ctx);
/* For vm_destroy(): those that wait for that still. */
void devices_free_retired(struct vm *vm);

/* Every device to its power-on state, in order of registration; no vcpu runs. */
void devices_reset(struct vm *vm);

/* Adds every device's figures. */
void devices_stats(const struct vm *vm, struct stats_sink *sink);

#endif
