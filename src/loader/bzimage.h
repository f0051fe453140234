/* Linux's x86 boot protocol (Documentation/arch/x86/boot.rst): the fields of the setup header and the zero page
 * that a loader reads and writes, by offset.
 *
 * Example: `loader_put32(page + BOOT_CMD_LINE_PTR, LOADER_CMDLINE);`
 */
#ifndef LOADER_BZIMAGE_H
#define LOADER_BZIMAGE_H

/* The setup header lies at the same offset in file and zero page. */
#define BOOT_SETUP_SECTS    0x1f1
#define BOOT_SYSSIZE        0x1f4
#define BOOT_FLAG           0x1fe
#define BOOT_JUMP           0x200
#define BOOT_HEADER_MAGIC   0x202
#define BOOT_VERSION        0x206
#define BOOT_TYPE_OF_LOADER 0x210
#define BOOT_LOADFLAGS      0x211
#define BOOT_RAMDISK_IMAGE  0x218
#define BOOT_RAMDISK_SIZE   0x21c
#define BOOT_CMD_LINE_PTR   0x228
#define BOOT_INITRD_MAX     0x22c
#define BOOT_RELOCATABLE    0x234
#define BOOT_XLOADFLAGS     0x236
#define BOOT_CMDLINE_SIZE   0x238
#define BOOT_SETUP_DATA     0x250
#define BOOT_PREF_ADDRESS   0x258
#define BOOT_INIT_SIZE      0x260
#define BOOT_HEADER_END     0x280 /* the longest header that boot_params has room for is to 0x290 */

/* The zero page alone */
#define BOOT_ACPI_RSDP         0x070
#define BOOT_EXT_RAMDISK_IMAGE 0x0c0
#define BOOT_E820_ENTRIES      0x1e8
#define BOOT_E820_TABLE        0x2d0 /* 128 entries of 20 bytes */

#define BOOT_MAGIC            0x53726448u /* "HdrS" */
#define BOOT_FLAG_VALUE       0xaa55u
#define BOOT_VERSION_64       0x020c
#define BOOT_LOADED_HIGH      (1u << 0)
#define BOOT_KERNEL_64        (1u << 0)
#define BOOT_ENTRY_64         0x200
#define BOOT_LOADER_UNDEFINED 0xff

#endif
