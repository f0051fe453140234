/* Guest instructions that fault again and again, by physical address: a small cache of counters. An instruction that was
 * displaced from it just begins to count anew.
 */
#include "engine/dbt/dbt.h"

/* Faults of a kind before an instruction gets another form. A look-up of its own costs three instructions; a check for pages
 * costs ten, and a step of the interpreter more. */
static const uint8_t often[] = {[SITE_PLAIN] = 255, [SITE_FRESH] = 1, [SITE_WRAPS] = 4, [SITE_CROSSES] = 4, [SITE_STEP] = 6};

struct dbt_site_entry {
	gpa_t gpa;
	uint8_t counts[SITE_STEP + 1];
};

static struct dbt_site_entry *entry_of(const struct dbt *d, gpa_t gpa)
{
	return &d->sites[gpa * 0x9e3779b97f4a7c15ull >> (64 - DBT_SITES_BITS)];
}

/* Pages that have such instructions, and others of the same hash. */
static unsigned page_bit(gpa_t gpa)
{
	return (unsigned)((gpa >> PAGE_SHIFT) * 0x9e3779b97f4a7c15ull >> (64 - DBT_SITE_PAGES_BITS));
}

static void note_page(struct dbt *d, gpa_t gpa)
{
	d->site_pages[page_bit(gpa) / 64] |= 1ull << page_bit(gpa) % 64;
}

bool dbt_site_any(const struct dbt *d, gpa_t gpa)
{
	return d->site_pages[page_bit(gpa) / 64] >> page_bit(gpa) % 64 & 1;
}

void dbt_site_set(struct dbt *d, gpa_t gpa, enum dbt_site kind)
{
	*entry_of(d, gpa) = (struct dbt_site_entry){.gpa = gpa};
	if (kind == SITE_PLAIN)
		return;
	entry_of(d, gpa)->counts[kind] = often[kind];
	note_page(d, gpa);
}

bool dbt_site_count(struct dbt *d, gpa_t gpa, enum dbt_site kind)
{
	struct dbt_site_entry *entry = entry_of(d, gpa);

	if (entry->gpa != gpa)
		*entry = (struct dbt_site_entry){.gpa = gpa};
	if (entry->counts[kind] < 255)
		entry->counts[kind]++;
	if (entry->counts[kind] == often[kind])
		note_page(d, gpa);
	/* Blocks overlap: each that has the instruction in its old form will come here. */
	return entry->counts[kind] >= often[kind] && entry->counts[kind] < 255;
}

enum dbt_site dbt_site_kind(const struct dbt *d, gpa_t gpa)
{
	const struct dbt_site_entry *entry = entry_of(d, gpa);

	if (entry->gpa != gpa)
		return SITE_PLAIN;
	/* The one that costs most: each does what those before it do (but for addresses that wrap and cross: interpreted). */
	for (enum dbt_site kind = SITE_STEP; kind > SITE_PLAIN; kind--) {
		if (entry->counts[kind] >= often[kind])
			return kind;
	}
	return SITE_PLAIN;
}

size_t dbt_sites_size(void)
{
	return sizeof(struct dbt_site_entry) << DBT_SITES_BITS;
}
