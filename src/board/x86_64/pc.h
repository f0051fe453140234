/* The pc: a machine like QEMU's Q35, for firmware, installers and whatever else expects a PC.
 *
 * Example: `ruse run --board pc --firmware seabios --disk debian.img`
 */
#ifndef BOARD_X86_64_PC_H
#define BOARD_X86_64_PC_H

#include "board/board.h"
#include "board/config.h"

#define PC_LOW_RAM_END   GIB(2)
#define PC_HIGH_RAM      GIB(4)
#define PC_VGA           0xa0000u /* to the expansion ROMs: no RAM */
#define PC_SHADOW        0xc0000u
#define PC_BIOS          0xe0000u /* the end of the firmware's image, which real mode sees */
#define PC_BIOS_SIZE     0x20000u
#define PC_ACPI          0xe0000u /* tables, when a kernel is started without firmware */
#define PC_SMBIOS        0xf0000u
#define PC_ECAM          0xb0000000u
#define PC_ECAM_SIZE     MIB(256)
#define PC_PCI_HOLE      0xc0000000u
#define PC_PCI_HOLE_END  0xfec00000u
#define PC_PCI_PORTS     0xc000u /* from here on, when a kernel is started without firmware */
#define PC_PM_BASE       0x600u
#define PC_SCI_GSI       9u
#define PC_SERIAL0_PORT  0x3f8u
#define PC_SERIAL0_IRQ   4u
#define PC_SERIAL1_PORT  0x2f8u
#define PC_KEYBOARD_IRQ  1u
#define PC_SERIAL1_IRQ   3u
#define PC_FIRMWARE_MAX  MIB(16)

#define PC_VGA_SLOT      1u
/* Slots of the root bus that virtio devices get, from the first on. */
#define PC_VIRTIO_SLOT   2u
#define PC_VIRTIO_LAST_SLOT 27u

/* Bytes of RAM below 2 GiB; the rest is at PC_HIGH_RAM. */
static inline uint64_t pc_low_ram(const struct vm_config *config)
{
	return config->memory < PC_LOW_RAM_END ? config->memory : PC_LOW_RAM_END;
}

extern const struct board_ops board_pc;

#endif
