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

/* Makes disks, networks, console and random numbers, in this order, and gives each to add() with its id. add() takes the
 * device over, also when it fails. */
int parts_create_virtio(struct vm *vm, const struct board_inputs *inputs,
			int (*add)(struct vm *vm, void *ctx, struct virtio_device *dev, const char *id), void *ctx) must_check;

/* Every vcpu into its power-on state: the first one as in *boot, the others waiting for a start-up IPI. */
void parts_power_on(struct vm *vm, const union arch_state *boot);

#endif
