/* A set of cluster numbers: open addressing, at most half full. Example: `r = qcow2_set_add(&q->metadata, cluster);` */
#include "disk/qcow2_private.h"
#include <errno.h>
#include <stdlib.h>

/* Clusters next to each other are the rule: spread them. */
static size_t slot_of(const struct qcow2_set *set, uint64_t cluster)
{
	return (size_t)(cluster * 0x9e3779b97f4a7c15u >> 20) & (set->capacity - 1);
}

static void put(struct qcow2_set *set, uint64_t cluster)
{
	size_t i = slot_of(set, cluster);

	while (set->slots[i] && set->slots[i] != cluster + 1)
		i = (i + 1) & (set->capacity - 1);
	set->used += set->slots[i] == 0;
	set->slots[i] = cluster + 1;
}

int qcow2_set_add(struct qcow2_set *set, uint64_t cluster)
{
	if (set->used * 2 >= set->capacity) {
		struct qcow2_set larger = {.capacity = set->capacity ? set->capacity * 2 : 64};

		larger.slots = calloc(larger.capacity, sizeof(*larger.slots));
		if (!larger.slots)
			return -ENOMEM;
		for (size_t i = 0; i < set->capacity; i++)
			if (set->slots[i])
				put(&larger, set->slots[i] - 1);
		free(set->slots);
		*set = larger;
	}
	put(set, cluster);
	return 0;
}

bool qcow2_set_has(const struct qcow2_set *set, uint64_t cluster)
{
	if (!set->capacity)
		return false;
	for (size_t i = slot_of(set, cluster); set->slots[i]; i = (i + 1) & (set->capacity - 1))
		if (set->slots[i] == cluster + 1)
			return true;
	return false;
}

void qcow2_set_remove(struct qcow2_set *set, uint64_t cluster)
{
	size_t i;

	if (!qcow2_set_has(set, cluster))
		return;
	for (i = slot_of(set, cluster); set->slots[i] != cluster + 1; i = (i + 1) & (set->capacity - 1))
		;
	set->slots[i] = 0;
	set->used--;
	/* Who was pushed past this slot must be found without it. */
	for (i = (i + 1) & (set->capacity - 1); set->slots[i]; i = (i + 1) & (set->capacity - 1)) {
		uint64_t moved = set->slots[i] - 1;

		set->slots[i] = 0;
		set->used--;
		put(set, moved);
	}
}
