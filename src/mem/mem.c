/* Guest memory: slots, checked accessors, the marks that a foreign write leaves. See mem.h.
 *
 * Example:
 *     struct mem mem = {0};
 *     r = mem_add_slot(&mem, 0, MIB(128), hva, false);
 *     r = mem_write(&mem, 0x7000, &mptable, sizeof(mptable));
 */
#include "mem/mem.h"
#include "base/checked.h"
#include "base/errno.h"
#include "base/string.h"
#include "core/platform.h"
#include <stdatomic.h>

#define CODE_PRESENT    1u
#define CODE_GENERATION 2u /* one step of bits 1..31 */

static uint64_t slot_pages(const struct mem_slot *slot)
{
	return slot->size >> PAGE_SHIFT;
}

static size_t dirty_words(const struct mem_slot *slot)
{
	return (size_t)((slot_pages(slot) + 63) / 64);
}

static bool overlaps(const struct mem_slot *slot, gpa_t gpa, gpa_t last)
{
	return gpa <= slot->gpa + (slot->size - 1) && slot->gpa <= last;
}

int mem_add_slot(struct mem *mem, gpa_t gpa, uint64_t size, void *hva, bool read_only)
{
	struct mem_slot slot = {.gpa = gpa, .size = size, .hva = hva, .read_only = read_only};
	gpa_t last;
	unsigned at;

	if (!hva || size == 0 || ((gpa | size) & ~PAGE_MASK) || add_overflow(gpa, size - 1, &last))
		return -EINVAL;
	for (at = 0; at < mem->count; at++)
		if (overlaps(&mem->slots[at], gpa, last))
			return -EINVAL;
	if (mem->count == MEM_MAX_SLOTS)
		return -ENOSPC;
	slot.page_words = platform_alloc((size_t)slot_pages(&slot) * sizeof(*slot.page_words));
	if (!slot.page_words)
		return -ENOMEM;
	for (at = mem->count; at > 0 && mem->slots[at - 1].gpa > gpa; at--)
		mem->slots[at] = mem->slots[at - 1];
	mem->slots[at] = slot;
	mem->count++;
	return 0;
}

void mem_destroy(struct mem *mem)
{
	mem_dirty_stop(mem);
	for (unsigned i = 0; i < mem->count; i++)
		platform_free((void *)mem->slots[i].page_words);
	mem->count = 0;
}

struct mem_slot *mem_find(struct mem *mem, gpa_t gpa)
{
	/* A machine has two or three slots: a loop beats a search. */
	for (unsigned i = 0; i < mem->count; i++)
		if (gpa - mem->slots[i].gpa < mem->slots[i].size)
			return &mem->slots[i];
	return NULL;
}

static struct mem_slot *find_range(struct mem *mem, gpa_t gpa, uint64_t len)
{
	struct mem_slot *slot = mem_find(mem, gpa);

	return slot && len <= slot->size - (gpa - slot->gpa) ? slot : NULL;
}

void *mem_hva(struct mem *mem, gpa_t gpa, uint64_t len)
{
	struct mem_slot *slot = find_range(mem, gpa, len);

	return slot ? slot->hva + (gpa - slot->gpa) : NULL;
}

void *mem_hva_writable(struct mem *mem, gpa_t gpa, uint64_t len)
{
	struct mem_slot *slot = find_range(mem, gpa, len);

	return slot && !slot->read_only ? slot->hva + (gpa - slot->gpa) : NULL;
}

/* gpa's slot and how much of [gpa, gpa+len) lies in it; NULL and 0 outside RAM. */
static struct mem_slot *find_part(struct mem *mem, gpa_t gpa, uint64_t len, uint64_t *part)
{
	struct mem_slot *slot = mem_find(mem, gpa);

	*part = slot ? slot->size - (gpa - slot->gpa) : 0;
	if (*part > len)
		*part = len;
	return slot;
}

/* Is all of it RAM (and writable)? Every accessor asks before it touches a byte. */
static bool accessible(struct mem *mem, gpa_t gpa, uint64_t len, bool write)
{
	uint64_t part;

	for (; len > 0; gpa += part, len -= part) {
		struct mem_slot *slot = find_part(mem, gpa, len, &part);

		if (!slot || (write && slot->read_only))
			return false;
	}
	return true;
}

int mem_read(struct mem *mem, gpa_t gpa, void *buf, size_t len)
{
	uint8_t *out = buf;
	uint64_t part;

	if (!accessible(mem, gpa, len, false))
		return -EFAULT;
	for (; len > 0; gpa += part, out += part, len -= part) {
		struct mem_slot *slot = find_part(mem, gpa, len, &part);

		memcpy(out, slot->hva + (gpa - slot->gpa), part);
	}
	return 0;
}

int mem_write(struct mem *mem, gpa_t gpa, const void *buf, size_t len)
{
	const uint8_t *in = buf;
	gpa_t first = gpa;
	size_t total = len;
	uint64_t part;

	if (!accessible(mem, gpa, len, true))
		return -EFAULT;
	for (; len > 0; gpa += part, in += part, len -= part) {
		struct mem_slot *slot = find_part(mem, gpa, len, &part);

		memcpy(slot->hva + (gpa - slot->gpa), in, part);
	}
	mem_mark_written(mem, first, total);
	return 0;
}

int mem_fill(struct mem *mem, gpa_t gpa, uint8_t byte, uint64_t len)
{
	gpa_t first = gpa;
	uint64_t total = len, part;

	if (!accessible(mem, gpa, len, true))
		return -EFAULT;
	for (; len > 0; gpa += part, len -= part) {
		struct mem_slot *slot = find_part(mem, gpa, len, &part);

		memset(slot->hva + (gpa - slot->gpa), byte, part);
	}
	mem_mark_written(mem, first, total);
	return 0;
}

/* Is all of it RAM whose bytes are nobody's? */
static bool discardable(struct mem *mem, gpa_t gpa, uint64_t len)
{
	uint64_t part;

	for (; len > 0; gpa += part, len -= part) {
		struct mem_slot *slot = find_part(mem, gpa, len, &part);

		if (!slot || slot->read_only || slot->lasting)
			return false;
	}
	return true;
}

int mem_discard(struct mem *mem, gpa_t gpa, uint64_t len)
{
	gpa_t first = gpa;
	uint64_t total = len, part;

	if ((gpa | len) & ~PAGE_MASK)
		return -EINVAL;
	if (!discardable(mem, gpa, len))
		return -EFAULT;
	for (; len > 0; gpa += part, len -= part) {
		struct mem_slot *slot = find_part(mem, gpa, len, &part);
		uint8_t *hva = slot->hva + (gpa - slot->gpa);

		if (platform_discard(hva, part) < 0)
			memset(hva, 0, part);
	}
	if (mem->discarded)
		mem->discarded(mem->written_ctx, first, total);
	mem_mark_written(mem, first, total);
	return 0;
}

static void mark_pages(struct mem_slot *slot, uint64_t first, uint64_t last)
{
	for (uint64_t page = first; page <= last; page++) {
		_Atomic uint32_t *word = &slot->page_words[page];

		if (atomic_load(word) & CODE_PRESENT)
			atomic_fetch_add(word, CODE_GENERATION);
		if (slot->dirty)
			atomic_fetch_or(&slot->dirty[page / 64], UINT64_C(1) << (page % 64));
	}
}

void mem_mark_written(struct mem *mem, gpa_t gpa, uint64_t len)
{
	gpa_t at = gpa;
	uint64_t left = len, part;

	/* The bytes must be there before the generation says that they changed. */
	atomic_thread_fence(memory_order_seq_cst);
	for (; left > 0; at += part, left -= part) {
		struct mem_slot *slot = find_part(mem, at, left, &part);

		if (!slot)
			break;
		mark_pages(slot, (at - slot->gpa) >> PAGE_SHIFT, (at - slot->gpa + part - 1) >> PAGE_SHIFT);
	}
	if (len > 0 && mem->written)
		mem->written(mem->written_ctx, gpa, len);
}

_Atomic uint32_t *mem_page_word(struct mem *mem, gpa_t gpa)
{
	struct mem_slot *slot = mem_find(mem, gpa);

	return slot ? &slot->page_words[(gpa - slot->gpa) >> PAGE_SHIFT] : NULL;
}

uint64_t mem_size(const struct mem *mem)
{
	uint64_t size = 0;

	for (unsigned i = 0; i < mem->count; i++)
		if (!mem->slots[i].read_only)
			size += mem->slots[i].size;
	return size;
}

uint64_t mem_told_size(const struct mem *mem)
{
	uint64_t size = mem_size(mem);

	for (unsigned i = 0; i < mem->count; i++)
		if (!mem->slots[i].read_only && mem->slots[i].apart)
			size -= mem->slots[i].size;
	return size;
}

int mem_dirty_start(struct mem *mem)
{
	for (unsigned i = 0; i < mem->count; i++) {
		struct mem_slot *slot = &mem->slots[i];

		if (slot->dirty)
			continue;
		slot->dirty = platform_alloc(dirty_words(slot) * sizeof(*slot->dirty));
		if (!slot->dirty) {
			mem_dirty_stop(mem);
			return -ENOMEM;
		}
	}
	return 0;
}

void mem_dirty_stop(struct mem *mem)
{
	for (unsigned i = 0; i < mem->count; i++) {
		platform_free((void *)mem->slots[i].dirty);
		mem->slots[i].dirty = NULL;
	}
}

void mem_dirty_collect(struct mem *mem, unsigned index, uint64_t *out)
{
	struct mem_slot *slot;

	if (index >= mem->count || !mem->slots[index].dirty)
		return;
	slot = &mem->slots[index];
	for (size_t i = 0; i < dirty_words(slot); i++)
		out[i] = atomic_load_explicit(&slot->dirty[i], memory_order_relaxed)
				 ? atomic_exchange(&slot->dirty[i], 0)
				 : 0;
}
