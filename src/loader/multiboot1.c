/* Multiboot 1 (Multiboot Specification 0.6.96): a header in the first 8 KiB of the file, an ELF or four load
 * addresses, entered in flat 32-bit protected mode with an information structure.
 *
 *     LOADER_INFO + 0x000  information structure (120 bytes)
 *                 + 0x080  one module, the initrd
 *                 + 0x0c0  loader's name
 *                 + 0x100  the module's string
 *                 + 0x200  memory map
 *
 * The command line starts with the kernel's name, as other loaders have it. A header that asks for a video mode
 * is loaded nevertheless: there is no screen, and the kernel sees that in the information flags.
 */
#include "arch/x86_64/state.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "base/string.h"
#include "loader/elf.h"
#include "mem/mem.h"

#define HEADER_MAGIC  0x1badb002u
#define BOOT_MAGIC    0x2badb002u
#define SEARCH_SIZE   8192

/* Header flags: the low 16 bits are demands. */
#define WANTS_ALIGNED_MODULES (1u << 0)
#define WANTS_MEMORY          (1u << 1)
#define WANTS_VIDEO           (1u << 2)
#define HAS_ADDRESSES         (1u << 16)
#define KNOWN_DEMANDS         (WANTS_ALIGNED_MODULES | WANTS_MEMORY | WANTS_VIDEO)

/* Information flags */
#define INFO_MEMORY  (1u << 0)
#define INFO_CMDLINE (1u << 2)
#define INFO_MODULES (1u << 3)
#define INFO_MMAP    (1u << 6)
#define INFO_NAME    (1u << 9)

#define MODULES_AT     0x80
#define NAME_AT        0xc0
#define MODULE_NAME_AT 0x100
#define MMAP_AT        0x200

struct header {
	uint32_t at; /* offset in the file */
	uint32_t flags;
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

/* 1 found, 0 not there, -errno with a sentence. */
static int find_header(const struct image *kernel, struct header *header, struct loader_report *report)
{
	uint8_t file[SEARCH_SIZE];
	const uint32_t size = kernel->size < sizeof(file) ? (uint32_t)kernel->size : sizeof(file);

	if (image_read(kernel, 0, file, size))
		return loader_refuse(report, -EIO, "kernel %s can't be read; check the file", kernel->name);
	for (uint32_t at = 0; at + 12 <= size; at += 4) {
		const uint8_t *p = file + at;

		if (loader_le32(p) != HEADER_MAGIC ||
		    loader_le32(p) + loader_le32(p + 4) + loader_le32(p + 8) != 0)
			continue;
		*header = (struct header){.at = at, .flags = loader_le32(p + 4)};
		if (!(header->flags & HAS_ADDRESSES))
			return 1;
		if (at + 32 > size)
			return loader_refuse(report, -ENOEXEC,
					     "kernel %s is cut short inside its multiboot header; copy it again", kernel->name);
		header->header_addr = loader_le32(p + 12);
		header->load_addr = loader_le32(p + 16);
		header->load_end_addr = loader_le32(p + 20);
		header->bss_end_addr = loader_le32(p + 24);
		header->entry_addr = loader_le32(p + 28);
		return 1;
	}
	return 0;
}

static int multiboot_probe(const struct image *kernel, struct loader_report *report)
{
	struct header header;

	return find_header(kernel, &header, report);
}

/* The addresses of the header ("a.out kludge", specification 3.1.3). */
static int plan_addresses(const struct loader_input *input, const struct header *header, struct loader_plan *plan,
			  struct loader_report *report)
{
	const struct image *kernel = input->kernel;
	uint32_t before = header->header_addr - header->load_addr; /* bytes of the image before the header */
	struct loader_segment segment = {.gpa = header->load_addr, .offset = header->at - (uint64_t)before};

	if (header->load_addr > header->header_addr || before > header->at ||
	    (header->load_end_addr && header->load_end_addr < header->load_addr))
		return loader_refuse(report, -ENOEXEC,
				     "kernel %s has contradicting multiboot load addresses; link it again", kernel->name);
	segment.file_size = header->load_end_addr ? header->load_end_addr - header->load_addr
						  : kernel->size - segment.offset;
	segment.mem_size = segment.file_size;
	if (header->bss_end_addr > header->load_addr &&
	    header->bss_end_addr - header->load_addr > segment.mem_size)
		segment.mem_size = header->bss_end_addr - header->load_addr;
	plan->entry = header->entry_addr;
	if (header->entry_addr < segment.gpa || header->entry_addr - segment.gpa >= segment.mem_size)
		return loader_refuse(report, -ENOEXEC,
				     "kernel %s has its multiboot entry 0x%x outside of what is loaded; link it again",
				     kernel->name, header->entry_addr);
	return loader_add_segment(input, plan, &segment, report);
}

static int multiboot_plan(const struct loader_input *input, struct loader_plan *plan, gpa_t *initrd_max,
			  struct loader_report *report)
{
	struct header header = {0};
	struct elf elf;
	int r = find_header(input->kernel, &header, report);

	if (r <= 0)
		return r < 0 ? r : -ENOEXEC;
	if (header.flags & 0xffff & ~KNOWN_DEMANDS)
		return loader_refuse(report, -ENOEXEC,
				     "kernel %s demands multiboot features 0x%x that do not exist in multiboot 1; build it without them",
				     input->kernel->name, header.flags & 0xffff & ~KNOWN_DEMANDS);
	/* Room for the kernel's name in front. */
	size_t name_size = loader_strlen(input->kernel->name) + 1;
	plan->cmdline_max = name_size < plan->cmdline_max ? plan->cmdline_max - (uint32_t)name_size : 0;
	if (header.flags & HAS_ADDRESSES)
		return plan_addresses(input, &header, plan, report);
	r = elf_read_header(input->kernel, &elf, report);
	if (r < 0)
		return r;
	if (!r)
		return loader_refuse(report, -ENOEXEC,
				     "kernel %s has a multiboot header without load addresses and is no ELF; link it as one",
				     input->kernel->name);
	return elf_plan_segments(input, &elf, plan, report);
}

static int write_modules(const struct loader_input *input, const struct loader_plan *plan, struct mem *mem)
{
	char name[MMAP_AT - MODULE_NAME_AT];
	const uint32_t module[4] = {(uint32_t)plan->initrd, (uint32_t)(plan->initrd + plan->initrd_size),
				    LOADER_INFO + MODULE_NAME_AT, 0};
	size_t len = fmt_print(name, sizeof(name), "%s", input->initrd->name);
	int r = mem_write(mem, LOADER_INFO + MODULES_AT, module, sizeof(module));

	return r ? r : mem_write(mem, LOADER_INFO + MODULE_NAME_AT, name, len < sizeof(name) ? len + 1 : sizeof(name));
}

static int write_mmap(const struct loader_input *input, struct mem *mem, uint32_t *mem_upper)
{
	int r = 0;

	for (unsigned i = 0; i < input->map_count && !r; i++) {
		const struct loader_range *range = &input->map[i];
		uint8_t entry[24];

		loader_put32(entry, sizeof(entry) - 4); /* its size, this word not included */
		loader_put64(entry + 4, range->gpa);
		loader_put64(entry + 12, range->size);
		loader_put32(entry + 20, range->type);
		r = mem_write(mem, LOADER_INFO + MMAP_AT + i * sizeof(entry), entry, sizeof(entry));
		if (range->type == LOADER_RAM && range->gpa == MIB(1))
			*mem_upper = (uint32_t)(range->size >> 10);
	}
	return r;
}

static int write_cmdline(const struct loader_input *input, struct mem *mem)
{
	size_t name_len = loader_strlen(input->kernel->name);
	int r = mem_write(mem, LOADER_CMDLINE, input->kernel->name, name_len);

	if (!r)
		r = mem_write(mem, LOADER_CMDLINE + name_len, " ", 1);
	return r ? r
		 : mem_write(mem, LOADER_CMDLINE + name_len + 1, input->cmdline,
			     loader_strlen(input->cmdline) + 1);
}

static int multiboot_start(const struct loader_input *input, const struct loader_plan *plan, struct mem *mem,
			   struct x86_state *boot)
{
	static const char loader_name[] = "ruse";
	uint32_t info[30] = {0};
	uint32_t mem_upper = 0;
	int r = write_mmap(input, mem, &mem_upper);

	if (!r && plan->initrd)
		r = write_modules(input, plan, mem);
	if (!r)
		r = write_cmdline(input, mem);
	if (!r)
		r = mem_write(mem, LOADER_INFO + NAME_AT, loader_name, sizeof(loader_name));
	if (r)
		return r;
	info[0] = INFO_MEMORY | INFO_CMDLINE | INFO_MMAP | INFO_NAME | (plan->initrd ? INFO_MODULES : 0);
	info[1] = 639;
	info[2] = mem_upper;
	info[4] = LOADER_CMDLINE;
	info[5] = plan->initrd != 0;
	info[6] = plan->initrd ? LOADER_INFO + MODULES_AT : 0;
	info[11] = input->map_count * 24;
	info[12] = LOADER_INFO + MMAP_AT;
	info[16] = LOADER_INFO + NAME_AT;
	r = mem_write(mem, LOADER_INFO, info, sizeof(info));
	if (!r)
		r = loader_start_32(mem, boot, plan->entry);
	boot->gpr[X86_RAX] = BOOT_MAGIC;
	boot->gpr[X86_RBX] = LOADER_INFO;
	return r;
}

const struct loader_format_ops loader_multiboot = {
	.name = "multiboot",
	.probe = multiboot_probe,
	.plan = multiboot_plan,
	.start = multiboot_start,
};
