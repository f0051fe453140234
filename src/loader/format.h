/* What the formats (bzimage.c, elf.c, multiboot1.c) share; private to src/loader.
 *
 * Example: `return loader_refuse(report, -ENOEXEC, "%s is cut short", image->name);`
 */
#ifndef LOADER_FORMAT_H
#define LOADER_FORMAT_H

#include "loader/loader.h"

/* Where the one sentence goes. */
struct loader_report {
	char *why;
	size_t why_size;
};

/* Writes the sentence, returns err. */
__attribute__((format(printf, 3, 4))) int loader_refuse(struct loader_report *report, int err,
							const char *format, ...);

/* Adds a segment after checking it against the file, the loader's own area and the RAM in the map. */
int loader_add_segment(const struct loader_input *input, struct loader_plan *plan,
		       const struct loader_segment *segment, struct loader_report *report) must_check;

/* One format. probe: is it this one? 1 yes, 0 no, -errno with a sentence. plan: fills segments, entry and
 * cmdline_max; initrd_max is where the initrd has to end. start: writes the information structures and the
 * state, everything else is in place. */
struct loader_format_ops {
	const char *name;
	int (*probe)(const struct image *kernel, struct loader_report *report);
	int (*plan)(const struct loader_input *input, struct loader_plan *plan, gpa_t *initrd_max,
		    struct loader_report *report);
	int (*start)(const struct loader_input *input, const struct loader_plan *plan, struct mem *mem,
		     struct x86_state *boot);
};

extern const struct loader_format_ops loader_bzimage, loader_pvh, loader_multiboot, loader_elf64;

/* Linux's struct boot_params at LOADER_ZERO_PAGE, without a setup header's values but with a command line,
 * initrd, E820 map and RSDP (bzimage.c). header: setup_header_size bytes from file offset 0x1f1, or NULL. */
int loader_write_zero_page(const struct loader_input *input, const struct loader_plan *plan, struct mem *mem,
			   const void *header, size_t header_size) must_check;
/* struct hvm_start_info with memory map and initrd at LOADER_INFO (pvh.c). */
int loader_write_start_info(const struct loader_input *input, const struct loader_plan *plan,
			    struct mem *mem) must_check;

/* Page tables and GDT in memory, and a 64-bit or a flat 32-bit protected-mode state (start.c). */
int loader_start_64(struct mem *mem, struct x86_state *boot, gpa_t entry) must_check;
int loader_start_32(struct mem *mem, struct x86_state *boot, gpa_t entry) must_check;

size_t loader_strlen(const char *text);

static inline uint16_t loader_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t loader_le32(const uint8_t *p)
{
	return loader_le16(p) | (uint32_t)loader_le16(p + 2) << 16;
}

static inline uint64_t loader_le64(const uint8_t *p)
{
	return loader_le32(p) | (uint64_t)loader_le32(p + 4) << 32;
}

static inline void loader_put32(uint8_t *p, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(value >> (8 * i));
}

static inline void loader_put64(uint8_t *p, uint64_t value)
{
	loader_put32(p, (uint32_t)value);
	loader_put32(p + 4, (uint32_t)(value >> 32));
}

#endif
