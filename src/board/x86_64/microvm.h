/* The microvm: an x86-64 machine without PCI and firmware. The map and the interrupts, for those who need to
 * know them (tables, tests); what each device is, is in microvm.c.
 *
 * Example: `struct board_ram ram[2]; n = board_microvm.memory_map(config, ram, 2);`
 */
#ifndef BOARD_X86_64_MICROVM_H
#define BOARD_X86_64_MICROVM_H

#include "board/board.h"

#define MICROVM_LOW_RAM_END GIB(3)
#define MICROVM_HIGH_RAM    GIB(4)
#define MICROVM_EBDA        0x9fc00u
#define MICROVM_ACPI        0xe0000u
#define MICROVM_ACPI_END    0xffff0u
#define MICROVM_RESET_VECTOR 0xffff0u
#define MICROVM_VIRTIO      0xfeb00000u
#define MICROVM_VIRTIO_STEP 0x1000u
#define MICROVM_SERIAL_PORT 0x3f8u
#define MICROVM_SERIAL_IRQ  4u

/* At most this many virtio devices: disks, nets, file systems, shares, files as memory; console, vsock, rng, balloon, keyboard, tablet,
 * pluggable memory. */
#define MICROVM_MAX_VIRTIO (CONFIG_MAX_DISKS + CONFIG_MAX_NETS + CONFIG_MAX_FS + CONFIG_MAX_SHARES + CONFIG_MAX_PMEMS + 7)

/* The GSI of virtio device `index`; beyond the fourteenth they are shared (edges may be). */
unsigned microvm_virtio_gsi(unsigned index);

/* What the ACPI tables tell of a machine (microvm_acpi.c). */
struct microvm_tables {
	unsigned cpus;
	unsigned virtio_count;
};
/* As acpi_build(), at MICROVM_ACPI. */
int microvm_build_acpi(const struct microvm_tables *tables, uint8_t *buf, size_t size, size_t *len) must_check;

extern const struct board_ops board_microvm;

#endif
