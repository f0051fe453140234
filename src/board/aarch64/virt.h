/* The virt board: an AArch64 machine of virtio-mmio devices described by a device tree. The map and the interrupts, for those who need to
 * know them (tree, tests); what each device is, is in virt.c.
 *
 * Example: `struct board_ram ram[2]; n = board_virt.memory_map(config, inputs, ram, 2);`
 */
#ifndef BOARD_AARCH64_VIRT_H
#define BOARD_AARCH64_VIRT_H

#include "board/board.h"
#include "loader/arm64.h"

#define VIRT_FLASH       0x00000000u /* two banks: the firmware, then its variables */
#define VIRT_FLASH_BANK  MIB(64)
#define VIRT_GICD        0x08000000u
#define VIRT_ITS         0x08080000u
#define VIRT_GICR        0x080a0000u
#define VIRT_UART        0x09000000u
#define VIRT_RTC         0x09010000u
#define VIRT_FW_CFG      0x09020000u
#define VIRT_GPIO        0x09030000u
#define VIRT_VIRTIO      0x0a000000u
#define VIRT_VIRTIO_STEP 0x200u
#define VIRT_MAX_VIRTIO  32u
#define VIRT_PCI_MEMORY  0x10000000u /* where base address registers may point, to VIRT_PCI_MEMORY_END */
#define VIRT_PCI_MEMORY_END 0x3eff0000u
#define VIRT_ECAM        0x3f000000u
#define VIRT_PCI_BUSES   16u
#define VIRT_RAM         0x40000000u

/* Shared interrupts, from 0 */
#define VIRT_SPIS       256u
#define VIRT_UART_SPI   1u
#define VIRT_RTC_SPI    2u
#define VIRT_GPIO_SPI   7u
#define VIRT_VIRTIO_SPI 16u
#define VIRT_PCI_SPI    48u /* and the seven after it: PIRQs */

/* Private ones, by INTID */
#define VIRT_TIMER_SECURE_PPI   29u
#define VIRT_TIMER_PHYSICAL_PPI 30u
#define VIRT_TIMER_VIRTUAL_PPI  27u
#define VIRT_TIMER_HYP_PPI      26u

/* What the device tree tells of a machine (virt_fdt.c). */
struct virt_tree {
	unsigned cpus, virtio_count;
	uint64_t memory;
	const char *cmdline;
	const struct arm64_plan *plan;
	bool flash;       /* both banks are there */
	uint8_t seed[40]; /* randomness for the kernel: 8 bytes for its place, the rest for its generator */
};
/* *len: bytes of the tree. -ENOSPC. */
int virt_build_fdt(const struct virt_tree *tree, uint8_t *buf, size_t size, size_t *len) must_check;

extern const struct board_ops board_virt;

#endif
