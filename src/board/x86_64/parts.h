/* What the x86-64 boards have in common: processors as the guest is told of them, and the virtio devices that the
 * description asks for, whatever transport they get.
 *
 * Example: `r = parts_create_virtio(vm, inputs, add_virtio_mmio, chip);`
 */
#ifndef BOARD_X86_64_PARTS_H
#define BOARD_X86_64_PARTS_H

#include "board/board.h"

struct virtio_device;
struct x86_cpuid_table;

/* CPUID by engine and --cpu, in *table, which becomes vm->cpuid. One sentence in why. */
int parts_create_processors(struct vm *vm, struct x86_cpuid_table *table, char *why, size_t why_size) must_check;

/* Makes disks, SCSI, networks, file systems, console, vsock, shares, random numbers and balloon, in this order, and gives each to add() with its id. add() takes the
 * device over, also when it fails. */
int parts_create_virtio(struct vm *vm, const struct board_inputs *inputs,
			int (*add)(struct vm *vm, void *ctx, struct virtio_device *dev, const char *id), void *ctx) must_check;

/* The device for what is plugged in while the guest runs. 0 or -errno. */
int parts_create_plugged(struct vm *vm, const struct board_plug *plug, struct virtio_device **dev) must_check;

/* What stands behind all RAM that the guest is told of: files (--pmem), then the region for memory that is plugged while it runs. */
struct parts_regions {
	struct board_ram pmems[CONFIG_MAX_PMEMS];
	unsigned pmem_count;
	struct board_ram pluggable; /* of size 0: there is none */
	gpa_t end;                  /* of all of it */
};
/* ram_end: where RAM ends. */
void parts_place_regions(const struct vm_config *config, const struct board_inputs *inputs, gpa_t ram_end, struct parts_regions *regions);
/* Adds them to a memory map of `count` ranges, up to max. Returns how many there are then. */
unsigned parts_add_regions(const struct parts_regions *regions, struct board_ram *ram, unsigned count, unsigned max);
/* Can all of it be addressed? One sentence in why. */
int parts_check_regions(const struct parts_regions *regions, char *why, size_t why_size) must_check;
/* Makes the devices for them, as parts_create_virtio(). */
int parts_create_regions(struct vm *vm, const struct board_inputs *inputs, const struct parts_regions *regions,
			 int (*add)(struct vm *vm, void *ctx, struct virtio_device *dev, const char *id), void *ctx) must_check;

/* Every vcpu into its power-on state: the first one as in *boot, the others waiting for a start-up IPI. */
void parts_power_on(struct vm *vm, const union arch_state *boot);

#endif
