/* Linux bzImage by its 64-bit entry (boot.rst, "64-bit boot protocol"): no real-mode code is run.
 *
 *     file:  boot sector and setup code, (setup_sects + 1) * 512 bytes | protected-mode kernel
 *     guest: the kernel at pref_address; it unpacks itself inside [pref_address, pref_address + init_size)
 */
#include "loader/bzimage.h"

#include "arch/x86_64/state.h"
#include "base/errno.h"
#include "base/string.h"
#include "loader/format.h"
#include "mem/mem.h"

#define HEADER_FROM BOOT_SETUP_SECTS
#define HEADER_SIZE (BOOT_HEADER_END - HEADER_FROM)

static int bzimage_probe(const struct image *kernel, struct loader_report *report)
{
	uint8_t magic[6];

	if (kernel->size < BOOT_VERSION + 2)
		return 0;
	if (image_read(kernel, BOOT_FLAG, magic, 2) || image_read(kernel, BOOT_HEADER_MAGIC, magic + 2, 4))
		return loader_refuse(report, -EIO, "kernel %s can't be read; check the file", kernel->name);
	return loader_le16(magic) == BOOT_FLAG_VALUE && loader_le32(magic + 2) == BOOT_MAGIC;
}

/* header points to what lies at offset 0x1f1. */
#define FIELD(header, offset) (&(header)[(offset) - HEADER_FROM])

static int bzimage_plan(const struct loader_input *input, struct loader_plan *plan, gpa_t *initrd_max,
			struct loader_report *report)
{
	const struct image *kernel = input->kernel;
	uint8_t header[HEADER_SIZE];
	struct loader_segment segment;

	if (image_read(kernel, HEADER_FROM, header, sizeof(header)))
		return loader_refuse(report, -ENOEXEC, "kernel %s is cut short inside its setup header; copy it again",
				     kernel->name);
	if (loader_le16(FIELD(header, BOOT_VERSION)) < BOOT_VERSION_64 ||
	    !(loader_le16(FIELD(header, BOOT_XLOADFLAGS)) & BOOT_KERNEL_64))
		return loader_refuse(report, -ENOEXEC,
				     "kernel %s has no 64-bit entry (it is a 32-bit or pre-3.8 bzImage); give an x86-64 kernel",
				     kernel->name);

	uint64_t setup_sects = *FIELD(header, BOOT_SETUP_SECTS) ? *FIELD(header, BOOT_SETUP_SECTS) : 4;
	uint64_t setup_size = (setup_sects + 1) * 512;
	uint64_t promised = (uint64_t)loader_le32(FIELD(header, BOOT_SYSSIZE)) * 16;
	uint64_t there = kernel->size > setup_size ? kernel->size - setup_size : 0;

	/* syssize is rounded up to paragraphs. What lies behind it is a signature. */
	if (there <= BOOT_ENTRY_64 || there + 15 < promised)
		return loader_refuse(report, -ENOEXEC,
				     "kernel %s is cut short: %llu bytes where its header promises %llu; copy it again",
				     kernel->name, (unsigned long long)kernel->size,
				     (unsigned long long)(setup_size + promised));

	segment = (struct loader_segment){
		.gpa = loader_le64(FIELD(header, BOOT_PREF_ADDRESS)),
		.offset = setup_size,
		.file_size = promised && promised < there ? promised : there,
		.mem_size = loader_le32(FIELD(header, BOOT_INIT_SIZE)),
		.scratch = true, /* the kernel clears what it needs cleared */
	};
	if (segment.mem_size < segment.file_size)
		segment.mem_size = segment.file_size;
	/* The identity map of the start ends at 4 GiB. */
	if (segment.gpa < MIB(1) || segment.gpa + segment.mem_size < segment.gpa ||
	    segment.gpa + segment.mem_size > GIB(4))
		return loader_refuse(report, -ENOEXEC,
				     "kernel %s is damaged: it asks to be loaded at 0x%llx; take another copy", kernel->name,
				     (unsigned long long)segment.gpa);

	plan->entry = segment.gpa + BOOT_ENTRY_64;
	plan->setup_header_size = HEADER_SIZE;
	uint32_t end = 0x202u - HEADER_FROM + header[BOOT_JUMP + 1 - HEADER_FROM];
	if (end < plan->setup_header_size)
		plan->setup_header_size = (uint16_t)end;
	uint32_t cmdline_size = loader_le32(FIELD(header, BOOT_CMDLINE_SIZE));
	if (cmdline_size < plan->cmdline_max)
		plan->cmdline_max = cmdline_size;
	*initrd_max = (uint64_t)loader_le32(FIELD(header, BOOT_INITRD_MAX)) + 1;
	return loader_add_segment(input, plan, &segment, report);
}

static unsigned write_e820(const struct loader_input *input, uint8_t *table)
{
	for (unsigned i = 0; i < input->map_count; i++, table += 20) {
		loader_put64(table, input->map[i].gpa);
		loader_put64(table + 8, input->map[i].size);
		loader_put32(table + 16, input->map[i].type);
	}
	return input->map_count;
}

int loader_write_zero_page(const struct loader_input *input, const struct loader_plan *plan, struct mem *mem,
			   const void *header, size_t header_size)
{
	uint8_t page[PAGE_SIZE];

	memset(page, 0, sizeof(page));
	if (header) {
		memcpy(page + HEADER_FROM, header, header_size);
	} else {
		loader_put32(page + BOOT_HEADER_MAGIC, BOOT_MAGIC);
		page[BOOT_FLAG] = BOOT_FLAG_VALUE & 0xff;
		page[BOOT_FLAG + 1] = BOOT_FLAG_VALUE >> 8;
	}
	page[BOOT_TYPE_OF_LOADER] = BOOT_LOADER_UNDEFINED;
	page[BOOT_LOADFLAGS] |= BOOT_LOADED_HIGH;
	loader_put32(page + BOOT_CMD_LINE_PTR, LOADER_CMDLINE);
	loader_put64(page + BOOT_SETUP_DATA, 0);
	loader_put32(page + BOOT_RAMDISK_IMAGE, (uint32_t)plan->initrd);
	loader_put32(page + BOOT_RAMDISK_SIZE, (uint32_t)plan->initrd_size);
	loader_put32(page + BOOT_EXT_RAMDISK_IMAGE, (uint32_t)(plan->initrd >> 32));
	loader_put32(page + BOOT_EXT_RAMDISK_IMAGE + 4, (uint32_t)(plan->initrd_size >> 32));
	loader_put64(page + BOOT_ACPI_RSDP, input->rsdp);
	page[BOOT_E820_ENTRIES] = (uint8_t)write_e820(input, page + BOOT_E820_TABLE);
	return mem_write(mem, LOADER_ZERO_PAGE, page, sizeof(page));
}

static int bzimage_start(const struct loader_input *input, const struct loader_plan *plan, struct mem *mem,
			 struct x86_state *boot)
{
	uint8_t header[HEADER_SIZE];
	int r = image_read(input->kernel, HEADER_FROM, header, plan->setup_header_size);

	if (!r)
		r = loader_write_zero_page(input, plan, mem, header, plan->setup_header_size);
	if (!r)
		r = loader_start_64(mem, boot, plan->entry);
	boot->gpr[X86_RSI] = LOADER_ZERO_PAGE;
	return r;
}

const struct loader_format_ops loader_bzimage = {
	.name = "bzImage",
	.probe = bzimage_probe,
	.plan = bzimage_plan,
	.start = bzimage_start,
};
