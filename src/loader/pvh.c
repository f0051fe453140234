/* PVH (Xen's docs/misc/pvh.pandoc, xen/include/public/arch-x86/hvm/start_info.h): an ELF kernel says in a note
 * where it wants to be entered in flat 32-bit protected mode, and finds the machine in hvm_start_info.
 *
 *     LOADER_INFO + 0x000  struct hvm_start_info (version 1, 56 bytes)
 *                 + 0x040  one struct hvm_modlist_entry, the initrd
 *                 + 0x080  struct hvm_memmap_table_entry[]
 */
#include "arch/x86_64/state.h"
#include "base/errno.h"
#include "base/string.h"
#include "loader/elf.h"
#include "mem/mem.h"

#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define HVM_START_MAGIC          0x336ec578u

#define MODULES_AT 0x40
#define MEMMAP_AT  0x80

struct hvm_start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist_paddr;
	uint64_t cmdline_paddr;
	uint64_t rsdp_paddr;
	uint64_t memmap_paddr;
	uint32_t memmap_entries;
	uint32_t reserved;
};

struct hvm_modlist_entry {
	uint64_t paddr;
	uint64_t size;
	uint64_t cmdline_paddr;
	uint64_t reserved;
};

struct hvm_memmap_table_entry {
	uint64_t addr;
	uint64_t size;
	uint32_t type;
	uint32_t reserved;
};

_Static_assert(sizeof(struct hvm_start_info) == 56, "ABI");
_Static_assert(sizeof(struct hvm_modlist_entry) == 32, "ABI");
_Static_assert(sizeof(struct hvm_memmap_table_entry) == 24, "ABI");
_Static_assert(MEMMAP_AT + LOADER_MAX_RANGES * sizeof(struct hvm_memmap_table_entry) <= LOADER_INFO_SIZE, "fits");

int loader_write_start_info(const struct loader_input *input, const struct loader_plan *plan, struct mem *mem)
{
	struct hvm_start_info info = {
		.magic = HVM_START_MAGIC,
		.version = 1,
		.nr_modules = plan->initrd != 0,
		.modlist_paddr = plan->initrd ? LOADER_INFO + MODULES_AT : 0,
		.cmdline_paddr = LOADER_CMDLINE,
		.rsdp_paddr = input->rsdp,
		.memmap_paddr = LOADER_INFO + MEMMAP_AT,
		.memmap_entries = input->map_count,
	};
	struct hvm_modlist_entry module = {.paddr = plan->initrd, .size = plan->initrd_size};
	int r = mem_write(mem, LOADER_INFO, &info, sizeof(info));

	if (!r)
		r = mem_write(mem, LOADER_INFO + MODULES_AT, &module, sizeof(module));
	for (unsigned i = 0; i < input->map_count && !r; i++) {
		const struct loader_range *range = &input->map[i];
		struct hvm_memmap_table_entry entry = {
			.addr = range->gpa, .size = range->size, .type = range->type};

		r = mem_write(mem, LOADER_INFO + MEMMAP_AT + i * sizeof(entry), &entry, sizeof(entry));
	}
	return r;
}

static int pvh_probe(const struct image *kernel, struct loader_report *report)
{
	struct elf elf;
	uint64_t entry;
	int r = elf_read_header(kernel, &elf, report);

	return r <= 0 ? r : elf_find_note(kernel, &elf, "Xen", XEN_ELFNOTE_PHYS32_ENTRY, &entry, report);
}

static int pvh_plan(const struct loader_input *input, struct loader_plan *plan, gpa_t *initrd_max,
		    struct loader_report *report)
{
	struct elf elf;
	uint64_t entry = 0;
	int r = elf_read_header(input->kernel, &elf, report);

	if (r > 0)
		r = elf_find_note(input->kernel, &elf, "Xen", XEN_ELFNOTE_PHYS32_ENTRY, &entry, report);
	if (r <= 0)
		return r < 0 ? r : -ENOEXEC;
	elf.entry = entry;
	return elf_plan_segments(input, &elf, plan, report);
}

static int pvh_start(const struct loader_input *input, const struct loader_plan *plan, struct mem *mem,
		     struct x86_state *boot)
{
	int r = loader_write_start_info(input, plan, mem);

	if (!r)
		r = loader_start_32(mem, boot, plan->entry);
	boot->gpr[X86_RBX] = LOADER_INFO;
	return r;
}

const struct loader_format_ops loader_pvh = {
	.name = "PVH ELF",
	.probe = pvh_probe,
	.plan = pvh_plan,
	.start = pvh_start,
};
