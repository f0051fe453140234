/* Choosing a format, finding room, copying; see loader.h. */
#include "loader/loader.h"

#include "base/checked.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "base/string.h"
#include "loader/format.h"
#include "mem/mem.h"

/* Asked in this order. */
static const struct loader_format_ops *const formats[] = {
	&loader_bzimage,
	&loader_pvh,
	&loader_multiboot,
	&loader_elf64,
};

static const enum loader_format format_ids[] = {
	LOADER_BZIMAGE,
	LOADER_PVH,
	LOADER_MULTIBOOT,
	LOADER_ELF64,
};

_Static_assert(ARRAY_SIZE(formats) == ARRAY_SIZE(format_ids), "one id a format");

static const struct loader_format_ops *format_ops(enum loader_format format)
{
	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
		if (format_ids[i] == format)
			return formats[i];
	return NULL;
}

const char *loader_format_name(enum loader_format format)
{
	const struct loader_format_ops *ops = format_ops(format);

	return ops ? ops->name : "unknown";
}

int loader_refuse(struct loader_report *report, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fmt_vprint(report->why, report->why_size, format, args);
	va_end(args);
	return err;
}

size_t loader_strlen(const char *text)
{
	size_t len = 0;

	while (text[len])
		len++;
	return len;
}

/* Does the RAM of the map hold [gpa, gpa+size)? Adjacent ranges count as one. */
static bool in_ram(const struct loader_input *input, gpa_t gpa, uint64_t size)
{
	gpa_t end;

	if (add_overflow(gpa, size, &end))
		return false;
	for (unsigned i = 0; i < input->map_count && gpa < end; i++) {
		const struct loader_range *range = &input->map[i];

		if (range->type == LOADER_RAM && gpa >= range->gpa && gpa - range->gpa < range->size)
			gpa = range->gpa + range->size;
	}
	return gpa >= end;
}

static gpa_t ram_end(const struct loader_input *input)
{
	gpa_t end = 0;

	for (unsigned i = 0; i < input->map_count; i++)
		if (input->map[i].type == LOADER_RAM)
			end = input->map[i].gpa + input->map[i].size;
	return end;
}

static unsigned long long mib_up(uint64_t bytes)
{
	return (unsigned long long)(bytes / MIB(1) + (bytes % MIB(1) != 0));
}

int loader_add_segment(const struct loader_input *input, struct loader_plan *plan,
		       const struct loader_segment *segment, struct loader_report *report)
{
	const char *name = input->kernel->name;
	uint64_t end;

	if (segment->mem_size == 0)
		return 0;
	if (segment->file_size > segment->mem_size || add_overflow(segment->gpa, segment->mem_size, &end))
		return loader_refuse(report, -ENOEXEC,
				     "kernel %s is damaged: a segment has impossible sizes; take another copy",
				     name);
	if (segment->offset > input->kernel->size ||
	    segment->file_size > input->kernel->size - segment->offset)
		return loader_refuse(report, -ENOEXEC,
				     "kernel %s is cut short: its headers promise more than its %llu bytes; copy it again",
				     name, (unsigned long long)input->kernel->size);
	if (segment->gpa < LOADER_LOW_END)
		return loader_refuse(report, -ENOEXEC,
				     "kernel %s wants to be loaded at 0x%llx, below 0x%x which is kept for boot data; link it higher",
				     name, (unsigned long long)segment->gpa, LOADER_LOW_END);
	if (!in_ram(input, segment->gpa, segment->mem_size) && end <= ram_end(input))
		return loader_refuse(report, -ENOEXEC,
				     "kernel %s wants 0x%llx to 0x%llx, which is not RAM on this machine; link it at 1 MiB or higher",
				     name, (unsigned long long)segment->gpa, (unsigned long long)end);
	if (!in_ram(input, segment->gpa, segment->mem_size))
		return loader_refuse(report, -ENOSPC,
				     "kernel %s needs memory up to 0x%llx where this machine has no RAM; try --memory %lluM",
				     name, (unsigned long long)end, mib_up(end) + 16);
	if (plan->segment_count == LOADER_MAX_SEGMENTS)
		return loader_refuse(report, -ENOEXEC, "kernel %s has more than %u segments; link it with fewer",
				     name, LOADER_MAX_SEGMENTS);
	plan->segments[plan->segment_count++] = *segment;
	return 0;
}

/* The end of the kernel's highest segment that lies inside the range. */
static gpa_t kernel_end(const struct loader_plan *plan, gpa_t low, gpa_t high)
{
	gpa_t end = low;

	for (unsigned i = 0; i < plan->segment_count; i++) {
		const struct loader_segment *segment = &plan->segments[i];

		if (segment->gpa < high && segment->gpa + segment->mem_size > end)
			end = segment->gpa + segment->mem_size;
	}
	return end;
}

/* As high as it can be below initrd_max, page-aligned, above the kernel: early kernel code moves upwards. */
static int place_initrd(const struct loader_input *input, struct loader_plan *plan, gpa_t initrd_max,
			struct loader_report *report)
{
	uint64_t size = input->initrd->size;

	if (!size)
		return loader_refuse(report, -EINVAL, "initrd %s is empty; build it again", input->initrd->name);
	for (unsigned i = input->map_count; i-- > 0;) {
		const struct loader_range *range = &input->map[i];
		gpa_t high = range->gpa + range->size;

		if (range->type != LOADER_RAM || range->gpa < MIB(1))
			continue;
		if (high > initrd_max)
			high = initrd_max;
		if (high <= range->gpa)
			continue;
		gpa_t low = kernel_end(plan, range->gpa, high);

		if (low < high && size <= ((high - low) & PAGE_MASK) &&
		    ((high - size) & PAGE_MASK) >= low) {
			plan->initrd = (high - size) & PAGE_MASK;
			plan->initrd_size = size;
			return 0;
		}
	}
	return loader_refuse(report, -ENOSPC,
			     "initrd %s (%llu MiB) does not fit into memory beside the kernel; give more with --memory",
			     input->initrd->name, mib_up(size));
}

int loader_plan(const struct loader_input *input, struct loader_plan *plan, char *why, size_t why_size)
{
	struct loader_report report = {.why = why, .why_size = why_size};
	const struct loader_format_ops *ops = NULL;
	gpa_t initrd_max = GIB(4);
	int r;

	memset(plan, 0, sizeof(*plan));
	if (!input->kernel->size)
		return loader_refuse(&report, -ENOEXEC, "kernel %s is empty; copy it again", input->kernel->name);
	for (unsigned i = 0; i < ARRAY_SIZE(formats) && !ops; i++) {
		r = formats[i]->probe(input->kernel, &report);
		if (r < 0)
			return r;
		if (r > 0) {
			ops = formats[i];
			plan->format = format_ids[i];
		}
	}
	if (!ops)
		return loader_refuse(&report, -ENOEXEC,
				     "kernel %s is in no known format; give a Linux bzImage, an ELF with a PVH note, a plain x86-64 ELF or a multiboot-1 kernel",
				     input->kernel->name);
	plan->cmdline_max = LOADER_CMDLINE_SIZE - 1;
	r = ops->plan(input, plan, &initrd_max, &report);
	if (r < 0)
		return r;
	if (loader_strlen(input->cmdline) > plan->cmdline_max)
		return loader_refuse(&report, -E2BIG, "the kernel takes a command line of at most %u bytes; shorten --append",
				     plan->cmdline_max);
	return input->initrd ? place_initrd(input, plan, initrd_max, &report) : 0;
}

static int load_segments(const struct loader_input *input, const struct loader_plan *plan, struct mem *mem)
{
	for (unsigned i = 0; i < plan->segment_count; i++) {
		const struct loader_segment *segment = &plan->segments[i];
		int r = image_to_mem(input->kernel, segment->offset, segment->file_size, mem, segment->gpa);

		/* Also on a machine reset, when the memory isn't fresh. */
		if (!r && !segment->scratch)
			r = mem_fill(mem, segment->gpa + segment->file_size, 0,
				     segment->mem_size - segment->file_size);
		if (r)
			return r;
	}
	return 0;
}

int loader_load(const struct loader_input *input, const struct loader_plan *plan, struct mem *mem,
		struct x86_state *boot, char *why, size_t why_size)
{
	struct loader_report report = {.why = why, .why_size = why_size};
	int r = load_segments(input, plan, mem);

	if (r)
		return loader_refuse(&report, r, "kernel %s can't be read into guest memory (error %d); has the file changed?",
				     input->kernel->name, -r);
	if (plan->initrd) {
		r = image_to_mem(input->initrd, 0, plan->initrd_size, mem, plan->initrd);
		if (r)
			return loader_refuse(&report, r,
					     "initrd %s can't be read into guest memory (error %d); has the file changed?",
					     input->initrd->name, -r);
	}
	r = mem_write(mem, LOADER_CMDLINE, input->cmdline, loader_strlen(input->cmdline) + 1);
	if (!r)
		r = format_ops(plan->format)->start(input, plan, mem, boot);
	if (r)
		return loader_refuse(&report, r, "boot data does not fit into guest memory; give more with --memory");
	return 0;
}
