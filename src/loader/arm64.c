/* AArch64 kernels; see arm64.h.
 *
 * Example: `arm64_plan(&input, &plan, why, sizeof(why))` on Debian's vmlinuz finds ARM64_IMAGE, and its entry 2 MiB aligned.
 */
#include "loader/arm64.h"

#include "base/checked.h"
#include "base/errno.h"
#include "loader/format.h"
#include "loader/gunzip.h"
#include "mem/mem.h"

/* The Image's header */
#define IMAGE_TEXT_OFFSET 8
#define IMAGE_SIZE        16
#define IMAGE_FLAGS       24
#define IMAGE_MAGIC       56
#define IMAGE_HEADER_SIZE 64
#define IMAGE_MAGIC_VALUE 0x644d5241u /* "ARM\x64" */
#define IMAGE_BIG_ENDIAN  (1u << 0)
/* Kernels before 3.17 say nothing of their size */
#define OLD_TEXT_OFFSET   0x80000u
#define OLD_CLEARED       MIB(16)

/* The EFI program that unpacks itself (drivers/firmware/efi/libstub/zboot-header.S) */
#define ZBOOT_MAGIC          4
#define ZBOOT_MAGIC_VALUE    0x676d697au /* "zimg" */
#define ZBOOT_PAYLOAD        8
#define ZBOOT_PAYLOAD_SIZE   12
#define ZBOOT_COMPRESSION    24
#define ZBOOT_GZIP           0x70697a67u /* "gzip" */

#define ALIGNMENT MIB(2)

static uint64_t aligned(uint64_t at)
{
	return (at + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
}

const char *arm64_format_name(enum arm64_format format)
{
	static const char *const names[] = {"Image", "gzip-compressed Image", "EFI zboot"};

	return (unsigned)format < ARRAY_SIZE(names) ? names[format] : "unknown";
}

/* ---- unpacking ---- */

struct cursor {
	const struct image *image;
	uint64_t at, end;
};

static int64_t read_payload(void *ctx, void *buf, size_t size)
{
	struct cursor *cursor = ctx;
	const uint64_t left = cursor->end - cursor->at;
	const size_t len = left < size ? (size_t)left : size;
	int r = image_read(cursor->image, cursor->at, buf, len);

	cursor->at += len;
	return r ? r : (int64_t)len;
}

static int unpack(const struct image *kernel, const struct arm64_plan *plan, void *out, size_t size, size_t *produced)
{
	struct cursor cursor = {.image = kernel, .at = plan->payload, .end = plan->payload + plan->payload_size};

	return gunzip(&(struct gzip_source){.read = read_payload, .ctx = &cursor}, out, size, produced);
}

/* ---- planning ---- */

/* What is in the file, and the header of the Image itself. */
static int read_header(const struct image *kernel, struct arm64_plan *plan, uint8_t *header, struct loader_report *report)
{
	uint8_t start[IMAGE_HEADER_SIZE];
	size_t produced;
	int r;

	if (kernel->size < sizeof(start))
		return loader_refuse(report, -ENOEXEC, "%s is no kernel for AArch64: it has %llu bytes; give an Image, an Image.gz or a vmlinuz.efi",
				     kernel->name, (unsigned long long)kernel->size);
	if (image_read(kernel, 0, start, sizeof(start)))
		return loader_refuse(report, -EIO, "kernel %s can't be read; check the file", kernel->name);
	plan->payload = 0;
	plan->payload_size = kernel->size;
	if (loader_le32(start + IMAGE_MAGIC) == IMAGE_MAGIC_VALUE) {
		plan->format = ARM64_IMAGE;
		for (unsigned i = 0; i < sizeof(start); i++)
			header[i] = start[i];
		return 0;
	}
	if (loader_le32(start + ZBOOT_MAGIC) == ZBOOT_MAGIC_VALUE) {
		plan->format = ARM64_ZBOOT;
		plan->payload = loader_le32(start + ZBOOT_PAYLOAD);
		plan->payload_size = loader_le32(start + ZBOOT_PAYLOAD_SIZE);
		if (loader_le32(start + ZBOOT_COMPRESSION) != ZBOOT_GZIP)
			return loader_refuse(report, -ENOEXEC,
					     "kernel %s is compressed by something else than gzip; unpack it, or build it with CONFIG_KERNEL_GZIP",
					     kernel->name);
		if (plan->payload > kernel->size || plan->payload_size > kernel->size - plan->payload)
			return loader_refuse(report, -ENOEXEC, "kernel %s is cut short: its headers promise more than its %llu bytes; copy it again",
					     kernel->name, (unsigned long long)kernel->size);
	} else if (loader_le16(start) == 0x8b1f) {
		plan->format = ARM64_GZIP;
	} else {
		return loader_refuse(report, -ENOEXEC, "%s is no kernel for AArch64: give an Image, an Image.gz or a vmlinuz.efi", kernel->name);
	}
	r = unpack(kernel, plan, header, IMAGE_HEADER_SIZE, &produced);
	if ((r && r != -ENOSPC) || produced < IMAGE_HEADER_SIZE || loader_le32(header + IMAGE_MAGIC) != IMAGE_MAGIC_VALUE)
		return loader_refuse(report, -ENOEXEC, "what is compressed in %s is damaged, or no kernel for AArch64; take another copy", kernel->name);
	return 0;
}

static int no_room(const struct arm64_input *input, uint64_t needed, struct loader_report *report)
{
	return loader_refuse(report, -ENOSPC, "kernel %s%s%s with its data needs %llu MiB of memory; give more with --memory",
			     input->kernel->name, input->initrd ? " and initrd " : "", input->initrd ? input->initrd->name : "",
			     (unsigned long long)(needed / MIB(1) + (needed % MIB(1) != 0)));
}

int arm64_plan(const struct arm64_input *input, struct arm64_plan *plan, char *why, size_t why_size)
{
	struct loader_report report = {.why = why, .why_size = why_size};
	uint8_t header[IMAGE_HEADER_SIZE];
	uint64_t text_offset, end;
	int r = read_header(input->kernel, plan, header, &report);

	if (r)
		return r;
	if (loader_le32(header + IMAGE_FLAGS) & IMAGE_BIG_ENDIAN)
		return loader_refuse(&report, -ENOEXEC, "kernel %s is big-endian; give a little-endian one", input->kernel->name);
	text_offset = loader_le64(header + IMAGE_TEXT_OFFSET);
	plan->mem_size = loader_le64(header + IMAGE_SIZE);
	if (plan->mem_size == 0) {
		text_offset = OLD_TEXT_OFFSET;
		plan->mem_size = plan->payload_size + OLD_CLEARED;
	}
	if (plan->format == ARM64_IMAGE && plan->mem_size < plan->payload_size)
		plan->mem_size = plan->payload_size;
	if (text_offset >= input->ram_size || plan->mem_size > input->ram_size - text_offset)
		return no_room(input, plan->mem_size, &report);
	plan->entry = input->ram + text_offset;
	end = aligned(text_offset + plan->mem_size);
	plan->initrd = plan->initrd_size = 0;
	if (input->initrd) {
		if (!input->initrd->size)
			return loader_refuse(&report, -EINVAL, "initrd %s is empty; build it again", input->initrd->name);
		if (end > input->ram_size || input->initrd->size > input->ram_size - end)
			return no_room(input, end + (input->initrd->size < GIB(1024) ? input->initrd->size : GIB(1024)), &report);
		plan->initrd = input->ram + end;
		plan->initrd_size = input->initrd->size;
		end = aligned(end + plan->initrd_size);
	}
	if (end > input->ram_size || ARM64_FDT_SIZE > input->ram_size - end)
		return no_room(input, end + ARM64_FDT_SIZE, &report);
	plan->fdt = input->ram + end;
	return 0;
}

/* ---- loading ---- */

static int load_packed(const struct arm64_input *input, const struct arm64_plan *plan, struct mem *mem)
{
	uint8_t *to = mem_hva_writable(mem, plan->entry, plan->mem_size);
	size_t produced;
	int r;

	if (!to)
		return -EFAULT;
	r = unpack(input->kernel, plan, to, plan->mem_size, &produced);
	mem_mark_written(mem, plan->entry, produced);
	return r;
}

int arm64_load(const struct arm64_input *input, const struct arm64_plan *plan, struct mem *mem, char *why, size_t why_size)
{
	struct loader_report report = {.why = why, .why_size = why_size};
	int r;

	if (plan->format == ARM64_IMAGE)
		r = image_to_mem(input->kernel, plan->payload, plan->payload_size, mem, plan->entry);
	else
		r = load_packed(input, plan, mem);
	if (r == -EINVAL || r == -ENOSPC)
		return loader_refuse(&report, -ENOEXEC, "what is compressed in %s is damaged; take another copy", input->kernel->name);
	if (r)
		return loader_refuse(&report, r, "kernel %s can't be read into guest memory (error %d); has the file changed?",
				     input->kernel->name, -r);
	if (plan->initrd)
		r = image_to_mem(input->initrd, 0, plan->initrd_size, mem, plan->initrd);
	if (r)
		return loader_refuse(&report, r, "initrd %s can't be read into guest memory (error %d); has the file changed?",
				     input->initrd->name, -r);
	return 0;
}
