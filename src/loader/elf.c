/* ELF files (System V ABI, chapters 4 and 5), and kernels that are nothing but an ELF; see elf.h. */
#include "loader/elf.h"

#include "arch/x86_64/state.h"
#include "base/errno.h"
#include "base/string.h"

#define EHDR_SIZE_32 52
#define EHDR_SIZE_64 64
#define PHDR_SIZE_32 32
#define PHDR_SIZE_64 56
#define NOTES_MAX_SIZE KIB(64)
#define ET_EXEC 2
#define ET_DYN  3

static int unreadable(const struct image *image, struct loader_report *report)
{
	return loader_refuse(report, -EIO, "kernel %s can't be read; check the file", image->name);
}

int elf_read_header(const struct image *image, struct elf *elf, struct loader_report *report)
{
	static const uint8_t magic[4] = {0x7f, 'E', 'L', 'F'};
	uint8_t h[EHDR_SIZE_64] = {0};
	uint16_t type;

	if (image->size < sizeof(magic))
		return 0;
	if (image_read(image, 0, h, image->size < sizeof(h) ? (size_t)image->size : sizeof(h)))
		return unreadable(image, report);
	if (memcmp(h, magic, sizeof(magic)))
		return 0;
	if (image->size < (h[4] == ELF_CLASS_64 ? EHDR_SIZE_64 : EHDR_SIZE_32))
		return loader_refuse(report, -ENOEXEC, "kernel %s is cut short inside its ELF header; copy it again",
				     image->name);
	*elf = (struct elf){.class = h[4], .machine = loader_le16(h + 18)};
	type = loader_le16(h + 16);
	if ((h[4] != ELF_CLASS_32 && h[4] != ELF_CLASS_64) || h[5] != 1 ||
	    (elf->machine != ELF_EM_386 && elf->machine != ELF_EM_X86_64))
		return loader_refuse(report, -ENOEXEC,
				     "kernel %s is an ELF for another processor (machine %u); give one for x86", image->name,
				     elf->machine);
	if (type != ET_EXEC && type != ET_DYN)
		return loader_refuse(report, -ENOEXEC,
				     "kernel %s is an ELF of type %u, not an executable; link it first", image->name, type);
	if (h[4] == ELF_CLASS_64) {
		elf->entry = loader_le64(h + 24);
		elf->segment_offset = loader_le64(h + 32);
		elf->segment_size = loader_le16(h + 54);
		elf->segment_count = loader_le16(h + 56);
	} else {
		elf->entry = loader_le32(h + 24);
		elf->segment_offset = loader_le32(h + 28);
		elf->segment_size = loader_le16(h + 42);
		elf->segment_count = loader_le16(h + 44);
	}
	if (!elf->segment_count || elf->segment_count > ELF_MAX_SEGMENTS ||
	    elf->segment_size != (elf->class == ELF_CLASS_64 ? PHDR_SIZE_64 : PHDR_SIZE_32))
		return loader_refuse(report, -ENOEXEC,
				     "kernel %s has an ELF program header table that can't be used (%u entries of %u bytes); link it as an executable",
				     image->name, elf->segment_count, elf->segment_size);
	if (elf->segment_offset > image->size ||
	    (uint64_t)elf->segment_size * elf->segment_count > image->size - elf->segment_offset)
		return loader_refuse(report, -ENOEXEC,
				     "kernel %s is cut short: its ELF program headers lie behind its end; copy it again",
				     image->name);
	return 1;
}

int elf_read_segment(const struct image *image, const struct elf *elf, unsigned index,
		     struct elf_segment *segment, struct loader_report *report)
{
	uint8_t h[PHDR_SIZE_64];

	if (image_read(image, elf->segment_offset + (uint64_t)index * elf->segment_size, h, elf->segment_size))
		return unreadable(image, report);
	segment->type = loader_le32(h);
	if (elf->class == ELF_CLASS_64) {
		segment->offset = loader_le64(h + 8);
		segment->vaddr = loader_le64(h + 16);
		segment->paddr = loader_le64(h + 24);
		segment->file_size = loader_le64(h + 32);
		segment->mem_size = loader_le64(h + 40);
		segment->align = loader_le64(h + 48);
	} else {
		segment->offset = loader_le32(h + 4);
		segment->vaddr = loader_le32(h + 8);
		segment->paddr = loader_le32(h + 12);
		segment->file_size = loader_le32(h + 16);
		segment->mem_size = loader_le32(h + 20);
		segment->align = loader_le32(h + 28);
	}
	return 0;
}

int elf_plan_segments(const struct loader_input *input, const struct elf *elf, struct loader_plan *plan,
		      struct loader_report *report)
{
	const char *name = input->kernel->name;
	bool inside = false;
	struct elf_segment segment;

	plan->entry = elf->entry;
	for (unsigned i = 0; i < elf->segment_count; i++) {
		int r = elf_read_segment(input->kernel, elf, i, &segment, report);
		if (r)
			return r;
		if (segment.type != ELF_PT_LOAD)
			continue;
		r = loader_add_segment(input, plan,
				       &(struct loader_segment){.gpa = segment.paddr,
								.offset = segment.offset,
								.file_size = segment.file_size,
								.mem_size = segment.mem_size},
				       report);
		if (r)
			return r;
		if (elf->entry >= segment.vaddr && elf->entry - segment.vaddr < segment.mem_size) {
			plan->entry = elf->entry - segment.vaddr + segment.paddr;
			inside = true;
		} else if (elf->entry >= segment.paddr && elf->entry - segment.paddr < segment.mem_size) {
			inside = true;
		}
	}
	if (!inside || plan->entry >= GIB(4))
		return loader_refuse(report, -ENOEXEC,
				     "kernel %s has its entry point 0x%llx outside of what is loaded; link it with an entry symbol",
				     name, (unsigned long long)elf->entry);
	return 0;
}

static uint64_t align_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

/* One PT_NOTE segment: name size, descriptor size, type, name, descriptor, each padded. Sizes are 32 bits and
 * the segment is at most 64 KiB, so 64-bit sums can't wrap. */
static int find_in_segment(const struct image *image, const struct elf_segment *segment, const char *name,
			   uint32_t type, uint64_t *value, struct loader_report *report)
{
	const uint64_t end = segment->file_size < NOTES_MAX_SIZE ? segment->file_size : NOTES_MAX_SIZE;
	const uint64_t align = segment->align == 8 ? 8 : 4;
	const size_t name_size = loader_strlen(name) + 1;
	uint64_t at = 0;

	while (at + 12 <= end) {
		uint8_t head[12], text[16] = {0}, desc[8] = {0};

		if (image_read(image, segment->offset + at, head, sizeof(head)))
			return unreadable(image, report);
		uint64_t desc_at = align_up(at + 12 + loader_le32(head), align);
		uint64_t desc_size = loader_le32(head + 4);

		if (desc_at > end || desc_size > end - desc_at)
			return 0;
		if (loader_le32(head) == name_size && name_size <= sizeof(text) && loader_le32(head + 8) == type &&
		    (desc_size == 4 || desc_size == 8)) {
			if (image_read(image, segment->offset + at + 12, text, name_size) ||
			    image_read(image, segment->offset + desc_at, desc, (size_t)desc_size))
				return unreadable(image, report);
			if (!memcmp(text, name, name_size)) {
				*value = loader_le64(desc);
				return 1;
			}
		}
		at = align_up(desc_at + desc_size, align);
	}
	return 0;
}

int elf_find_note(const struct image *image, const struct elf *elf, const char *name, uint32_t type,
		  uint64_t *value, struct loader_report *report)
{
	struct elf_segment segment;

	for (unsigned i = 0; i < elf->segment_count; i++) {
		int r = elf_read_segment(image, elf, i, &segment, report);

		if (!r && segment.type == ELF_PT_NOTE && segment.offset <= image->size &&
		    segment.file_size <= image->size - segment.offset)
			r = find_in_segment(image, &segment, name, type, value, report);
		if (r)
			return r;
	}
	return 0;
}

/* ---- a plain x86-64 ELF ---- */

static int elf64_probe(const struct image *kernel, struct loader_report *report)
{
	struct elf elf;
	int r = elf_read_header(kernel, &elf, report);

	if (r <= 0)
		return r;
	if (elf.class != ELF_CLASS_64 || elf.machine != ELF_EM_X86_64)
		return loader_refuse(report, -ENOEXEC,
				     "kernel %s is a 32-bit ELF without a PVH note or multiboot header; add one or build it for x86-64",
				     kernel->name);
	return 1;
}

static int elf64_plan(const struct loader_input *input, struct loader_plan *plan, gpa_t *initrd_max,
		      struct loader_report *report)
{
	struct elf elf;
	int r = elf_read_header(input->kernel, &elf, report);

	if (r <= 0)
		return r < 0 ? r : -ENOEXEC;
	return elf_plan_segments(input, &elf, plan, report);
}

static int elf64_start(const struct loader_input *input, const struct loader_plan *plan, struct mem *mem,
		       struct x86_state *boot)
{
	int r = loader_write_zero_page(input, plan, mem, NULL, 0);

	if (!r)
		r = loader_write_start_info(input, plan, mem);
	if (!r)
		r = loader_start_64(mem, boot, plan->entry);
	boot->gpr[X86_RSI] = LOADER_ZERO_PAGE;
	boot->gpr[X86_RDI] = LOADER_INFO;
	return r;
}

const struct loader_format_ops loader_elf64 = {
	.name = "ELF64",
	.probe = elf64_probe,
	.plan = elf64_plan,
	.start = elf64_start,
};
