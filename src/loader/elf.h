/* ELF files, 32 and 64 bits, little-endian x86: headers into one structure, every length checked.
 *
 * Example:
 *     r = elf_read_header(image, &elf);          // 0: not an ELF
 *     for (unsigned i = 0; i < elf.segment_count; i++) r = elf_read_segment(image, &elf, i, &segment);
 */
#ifndef LOADER_ELF_H
#define LOADER_ELF_H

#include "loader/format.h"

#define ELF_CLASS_32 1
#define ELF_CLASS_64 2
#define ELF_EM_386     3
#define ELF_EM_X86_64  62
#define ELF_PT_LOAD    1
#define ELF_PT_NOTE    4
#define ELF_MAX_SEGMENTS 64

struct elf {
	uint8_t class;
	uint16_t machine;
	uint64_t entry;
	uint64_t segment_offset;
	uint16_t segment_size;
	uint16_t segment_count;
};

struct elf_segment {
	uint32_t type;
	uint64_t offset, vaddr, paddr, file_size, mem_size, align;
};

/* 1: an ELF whose program header table lies inside the file; 0: no ELF; -errno with a sentence. */
int elf_read_header(const struct image *image, struct elf *elf, struct loader_report *report) must_check;
/* index < segment_count. */
int elf_read_segment(const struct image *image, const struct elf *elf, unsigned index,
		     struct elf_segment *segment, struct loader_report *report) must_check;
/* Adds all PT_LOAD segments at their physical addresses, and translates the entry point: a virtual address
 * inside a segment becomes its physical one, a physical one stays. */
int elf_plan_segments(const struct loader_input *input, const struct elf *elf, struct loader_plan *plan,
		      struct loader_report *report) must_check;
/* The value of note (name, type) of 4 or 8 bytes: 1 found, 0 not there, -errno with a sentence. */
int elf_find_note(const struct image *image, const struct elf *elf, const char *name, uint32_t type,
		  uint64_t *value, struct loader_report *report) must_check;

#endif
