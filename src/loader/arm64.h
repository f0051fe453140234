/* AArch64 Linux kernels (Documentation/arch/arm64/booting.rst): planned without touching a machine, then loaded.
 *
 * Example:
 *     r = arm64_plan(&input, &plan, why, sizeof(why));           // --dry-run ends here
 *     r = arm64_load(&input, &plan, &vm->mem, why, sizeof(why)); // then the device tree goes to plan.fdt, x0 is plan.fdt, pc plan.entry
 *
 * | format | is                                                                         |
 * | ------ | -------------------------------------------------------------------------- |
 * | image  | "ARM\x64" at 56: arch/arm64/boot/Image                                     |
 * | gzip   | the same, compressed: Image.gz                                             |
 * | zboot  | "zimg" at 4: vmlinuz.efi, an EFI program that carries a gzip-compressed one |
 *
 *     RAM: the kernel at its text_offset, with room for what it clears | initrd | device tree        each at 2 MiB
 */
#ifndef LOADER_ARM64_H
#define LOADER_ARM64_H

#include "base/types.h"
#include "loader/image.h"

#define ARM64_FDT_SIZE MIB(2) /* room for the device tree; no kernel takes a larger one */

struct mem;

enum arm64_format { ARM64_IMAGE, ARM64_GZIP, ARM64_ZBOOT };

struct arm64_input {
	const struct image *kernel;
	const struct image *initrd; /* or NULL */
	gpa_t ram;                  /* one piece, 2 MiB aligned */
	uint64_t ram_size;
};

struct arm64_plan {
	enum arm64_format format;
	uint64_t payload, payload_size; /* in the file: the Image or what it is compressed to */
	gpa_t entry;                    /* and where it is loaded */
	uint64_t mem_size;              /* of the kernel, with what it clears */
	gpa_t initrd;                   /* 0: there is none */
	uint64_t initrd_size;
	gpa_t fdt;                      /* ARM64_FDT_SIZE bytes */
};

/* Recognises the kernel and finds room for everything. -ENOEXEC: not a kernel we can start; -ENOSPC: does not fit; -EIO: unreadable.
 * One sentence in why. */
int arm64_plan(const struct arm64_input *input, struct arm64_plan *plan, char *why, size_t why_size) must_check;

/* Kernel and initrd to where the plan says. */
int arm64_load(const struct arm64_input *input, const struct arm64_plan *plan, struct mem *mem, char *why, size_t why_size) must_check;

const char *arm64_format_name(enum arm64_format format);

#endif
