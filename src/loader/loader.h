/* Kernels: recognised by content, planned without touching a machine, then loaded.
 *
 * Example:
 *     r = loader_plan(&input, &plan, why, sizeof(why));            // --dry-run ends here
 *     r = loader_load(&input, &plan, &vm->mem, &boot->x86, why, sizeof(why));
 *
 * Formats and the state the boot processor starts in:
 *
 * | format    | is                               | entry                                             |
 * | --------- | -------------------------------- | ------------------------------------------------- |
 * | bzimage   | "HdrS" at 0x202, protocol 2.12+  | 64-bit entry at load address + 0x200; RSI: zero   |
 * |           | (Linux boot.rst)                 | page                                              |
 * | pvh       | ELF with a XEN_ELFNOTE_PHYS32_   | 32-bit protected mode, no paging; EBX:            |
 * |           | ENTRY note                       | hvm_start_info                                    |
 * | multiboot | multiboot-1 header in the first  | 32-bit protected mode, no paging; EAX: magic,     |
 * |           | 8 KiB, ELF or address fields     | EBX: information structure                        |
 * | elf64     | any other x86-64 ELF             | 64-bit mode at e_entry (translated to a physical  |
 * |           |                                  | address by the segment that holds it);            |
 * |           |                                  | RDI: hvm_start_info, RSI: Linux zero page,        |
 * |           |                                  | RSP: LOADER_STACK_TOP                             |
 *
 * In every 64-bit start the first 4 GiB are identity-mapped with 2 MiB pages, CS is 0x10, DS ES SS are
 * 0x18, interrupts are off. A PVH kernel's note wins over its multiboot header.
 *
 * What the loader keeps for itself below 1 MiB:
 *
 *     0x00500  GDT                          0x0f000  page directories (4), to 0x13000
 *     0x06000  start information, 4 KiB     0x20000  command line, at most 64 KiB
 *     0x07000  Linux zero page, 4 KiB       0x30000  end
 *     0x0d000  PML4; 0x0e000 PDPT           0x0d000  top of the stack, growing down
 */
#ifndef LOADER_LOADER_H
#define LOADER_LOADER_H

#include "base/types.h"
#include "loader/image.h"

struct x86_state;
struct mem;

#define LOADER_GDT          0x500u
#define LOADER_INFO         0x6000u
#define LOADER_INFO_SIZE    0x1000u
#define LOADER_ZERO_PAGE    0x7000u
#define LOADER_STACK_TOP    0xd000u
#define LOADER_PAGE_TABLES  0xd000u
#define LOADER_CMDLINE      0x20000u
#define LOADER_CMDLINE_SIZE 0x10000u
#define LOADER_LOW_END      0x30000u

/* Address ranges as the firmware interface E820 types them. */
enum loader_range_type { LOADER_RAM = 1, LOADER_RESERVED = 2, LOADER_ACPI = 3 };

struct loader_range {
	gpa_t gpa;
	uint64_t size;
	enum loader_range_type type;
};

#define LOADER_MAX_RANGES   16
#define LOADER_MAX_SEGMENTS 32

enum loader_format { LOADER_BZIMAGE, LOADER_PVH, LOADER_MULTIBOOT, LOADER_ELF64 };

struct loader_input {
	const struct image *kernel;
	const struct image *initrd; /* or NULL */
	const char *cmdline;        /* never NULL */
	struct loader_range map[LOADER_MAX_RANGES]; /* sorted, disjoint */
	unsigned map_count;
	gpa_t rsdp;                 /* 0: none */
};

/* A piece of the kernel's file and where it goes; behind file_size it is zero up to mem_size. */
struct loader_segment {
	gpa_t gpa;
	uint64_t offset, file_size, mem_size;
	bool scratch; /* what lies behind file_size only has to be RAM: it is not touched */
};

struct loader_plan {
	enum loader_format format;
	struct loader_segment segments[LOADER_MAX_SEGMENTS];
	unsigned segment_count;
	gpa_t entry;
	gpa_t initrd;               /* where the initrd goes; 0: there is none */
	uint64_t initrd_size;
	uint32_t cmdline_max;       /* longest command line this kernel takes, without its NUL */
	uint16_t setup_header_size; /* bzImage: bytes from 0x1f1 that go to the zero page */
};

/* Recognises the kernel and finds room for everything. -ENOEXEC: not a kernel we can start; -ENOSPC:
 * does not fit; -E2BIG: command line too long; -EIO: unreadable. One sentence in why. */
int loader_plan(const struct loader_input *input, struct loader_plan *plan, char *why,
		size_t why_size) must_check;

/* Does what the plan says and sets *boot to the boot processor's first state. */
int loader_load(const struct loader_input *input, const struct loader_plan *plan, struct mem *mem,
		struct x86_state *boot, char *why, size_t why_size) must_check;

const char *loader_format_name(enum loader_format format);

#endif
