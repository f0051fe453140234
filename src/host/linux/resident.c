/* Resident memory from /proc/self/smaps; see resident.h. A mapping's Pss is its resident pages, each divided by how often it is
 * mapped: added up over all mappings, each page counts once.
 *
 * What belongs to guest RAM is told by its file: mappings of the same one as a memory slot's are views of it.
 */
#include "host/linux/resident.h"
#include "mem/mem.h"
#include <inttypes.h>
#include <string.h>

#define FILES_MAX MEM_MAX_SLOTS

struct mapping {
	uint64_t start, end, inode;
	unsigned device[2];
};

/* Mappings of guest RAM's files, one of each. Private memory has none (inode 0), and is told by its address. */
struct files {
	struct mapping of[FILES_MAX];
	unsigned count;
};

static bool overlaps_ram(const struct mapping *mapping, const struct mem *mem)
{
	for (unsigned i = 0; i < mem->count; i++) {
		uint64_t start = (uintptr_t)mem->slots[i].hva;

		if (mapping->start < start + mem->slots[i].size && start < mapping->end)
			return true;
	}
	return false;
}

static bool same_file(const struct mapping *a, const struct mapping *b)
{
	return a->inode && a->inode == b->inode && a->device[0] == b->device[0] && a->device[1] == b->device[1];
}

static bool of_guest(const struct mapping *mapping, const struct mem *mem, const struct files *files)
{
	for (unsigned i = 0; i < files->count; i++)
		if (same_file(&files->of[i], mapping))
			return true;
	return overlaps_ram(mapping, mem);
}

/* A mapping's first line; else a line about the one before. */
static bool mapping_line(const char *line, struct mapping *mapping)
{
	return sscanf(line, "%" SCNx64 "-%" SCNx64 " %*4s %*x %x:%x %" SCNu64, &mapping->start, &mapping->end,
		      &mapping->device[0], &mapping->device[1], &mapping->inode) == 5;
}

static void find_files(FILE *maps, const struct mem *mem, struct files *files)
{
	struct mapping mapping;
	char line[512];

	while (fgets(line, sizeof(line), maps))
		if (mapping_line(line, &mapping) && mapping.inode && files->count < FILES_MAX && overlaps_ram(&mapping, mem))
			files->of[files->count++] = mapping;
}

void resident_open(struct resident *resident)
{
	*resident = (struct resident){.maps = fopen("/proc/self/smaps", "re")};
}

bool resident_measure(struct resident *resident, const struct mem *mem)
{
	struct files files = {.count = 0};
	bool guest = false;
	char line[512];

	resident->known = false;
	if (!resident->maps)
		return false;
	rewind(resident->maps);
	find_files(resident->maps, mem, &files);
	rewind(resident->maps);
	resident->guest_kib = resident->other_kib = 0;
	while (fgets(line, sizeof(line), resident->maps)) {
		struct mapping mapping;
		uint64_t kib;

		if (sscanf(line, "Pss: %" SCNu64 " kB", &kib) == 1) {
			*(guest ? &resident->guest_kib : &resident->other_kib) += kib;
			resident->known = true;
		} else if (mapping_line(line, &mapping)) {
			guest = of_guest(&mapping, mem, &files);
		}
	}
	return resident->known;
}

void resident_close(struct resident *resident)
{
	if (resident->maps)
		fclose(resident->maps);
	resident->maps = NULL;
}
