/* fw_cfg: the firmware configuration device at ports 0x510 (selector), 0x511 (data), 0x514 (DMA address), as QEMU's
 * docs/specs/fw_cfg describes it. Items are added while the machine is built; the device copies them.
 *
 * Example:
 *     r = fw_cfg_create(vm, &fw_cfg);
 *     r = fw_cfg_add_u16(fw_cfg, FW_CFG_NB_CPUS, cpus);
 *     r = fw_cfg_add_file(fw_cfg, "etc/e820", map, sizeof(map));
 */
#ifndef DEV_MISC_FW_CFG_H
#define DEV_MISC_FW_CFG_H

#include "core/vm.h"

#define FW_CFG_PORT  0x510u
#define FW_CFG_PORTS 12u
#define FW_CFG_MMIO_SIZE 0x18u

enum fw_cfg_key {
	FW_CFG_SIGNATURE = 0x00,
	FW_CFG_ID = 0x01,
	FW_CFG_UUID = 0x02,
	FW_CFG_RAM_SIZE = 0x03,
	FW_CFG_NOGRAPHIC = 0x04,
	FW_CFG_NB_CPUS = 0x05,
	FW_CFG_KERNEL_ADDR = 0x07,
	FW_CFG_KERNEL_SIZE = 0x08,
	FW_CFG_INITRD_ADDR = 0x0a,
	FW_CFG_INITRD_SIZE = 0x0b,
	FW_CFG_BOOT_MENU = 0x0e,
	FW_CFG_MAX_CPUS = 0x0f,
	FW_CFG_KERNEL_ENTRY = 0x10,
	FW_CFG_KERNEL_DATA = 0x11,
	FW_CFG_INITRD_DATA = 0x12,
	FW_CFG_CMDLINE_ADDR = 0x13,
	FW_CFG_CMDLINE_SIZE = 0x14,
	FW_CFG_CMDLINE_DATA = 0x15,
	FW_CFG_SETUP_ADDR = 0x16,
	FW_CFG_SETUP_SIZE = 0x17,
	FW_CFG_SETUP_DATA = 0x18,
	FW_CFG_FILE_DIR = 0x19,
	FW_CFG_FILE_FIRST = 0x20,
};

struct fw_cfg;

/* The signature, the id (DMA offered), RAM size and processor counts are there from the start. */
int fw_cfg_create(struct vm *vm, struct fw_cfg **fw_cfg) must_check;
/* The same in memory, where machines have no ports: data at 0, selector at 8, DMA address at 16. */
int fw_cfg_create_mmio(struct vm *vm, gpa_t base, struct fw_cfg **fw_cfg) must_check;
/* Copies data. -EEXIST, -ENOSPC, -ENOMEM. */
int fw_cfg_add(struct fw_cfg *fw_cfg, uint16_t key, const void *data, uint32_t size) must_check;
int fw_cfg_add_u16(struct fw_cfg *fw_cfg, uint16_t key, uint16_t value) must_check;
int fw_cfg_add_u32(struct fw_cfg *fw_cfg, uint16_t key, uint32_t value) must_check;
int fw_cfg_add_u64(struct fw_cfg *fw_cfg, uint16_t key, uint64_t value) must_check;
/* A named file; name of at most 55 characters. The directory is kept sorted by name. */
int fw_cfg_add_file(struct fw_cfg *fw_cfg, const char *name, const void *data, uint32_t size) must_check;
/* Something of what is told depends on what firmware has done meanwhile: called before a file is read, on a vcpu's thread with the
 * device's lock held; may call fw_cfg_refresh_file(). */
void fw_cfg_on_select(struct fw_cfg *fw_cfg, void (*select)(void *ctx), void *ctx);
/* Replaces a file's contents by others of the same size; of another size: -EINVAL, and nothing is changed. */
int fw_cfg_refresh_file(struct fw_cfg *fw_cfg, const char *name, const void *data, uint32_t size) must_check;

#endif
