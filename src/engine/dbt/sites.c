/* Guest instructions that fault again and again, by physical address: a small cache of counters. An instruction that was
 * displaced from it just begins to count anew.
 */
#include "engine/dbt/dbt.h"

#define FAULTS_OFTEN 6

struct dbt_site_entry {
	gpa_t gpa;
	uint8_t kind;
	uint8_t count;
};

static struct dbt_site_entry *entry_of(const struct dbt *d, gpa_t gpa)
{
	return &d->sites[gpa * 0x9e3779b97f4a7c15ull >> (64 - DBT_SITES_BITS)];
}

bool dbt_site_count(struct dbt *d, gpa_t gpa, enum dbt_site kind)
{
	struct dbt_site_entry *entry = entry_of(d, gpa);

	if (entry->gpa != gpa || entry->kind != kind) {
		/* What is known to be slow stays unless it is another way now. */
		*entry = (struct dbt_site_entry){.gpa = gpa, .kind = (uint8_t)kind, .count = 1};
		return false;
	}
	if (entry->count >= FAULTS_OFTEN)
		return false;
	return ++entry->count == FAULTS_OFTEN;
}

enum dbt_site dbt_site_kind(const struct dbt *d, gpa_t gpa)
{
	const struct dbt_site_entry *entry = entry_of(d, gpa);

	return entry->gpa == gpa && entry->count >= FAULTS_OFTEN ? (enum dbt_site)entry->kind : SITE_PLAIN;
}

size_t dbt_sites_size(void)
{
	return sizeof(struct dbt_site_entry) << DBT_SITES_BITS;
}
