/* Guest instructions that fault again and again, by physical address: a small cache of counters. An instruction that was
 * displaced from it just begins to count anew.
 */
#include "engine/dbt/dbt.h"
#include "core/platform.h"

/* Faults of a kind before an instruction gets another form. A look-up of its own costs three instructions; a check for pages
 * costs ten, and a step of the interpreter more. */
static const uint8_t often[] = {[SITE_PLAIN] = 255, [SITE_FRESH] = 1, [SITE_ABSENT] = 1, [SITE_WRAPS] = 4, [SITE_CROSSES] = 4, [SITE_STEP] = 6};

#define SIGNALS_MIN 8u

struct dbt_site_entry {
	gpa_t gpa;
	uint16_t signals; /* that SITE_ABSENT would spare */
	uint8_t patience; /* how often it was not worth that */
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

/* ---- pages that are often absent ----
 *
 * A look costs a dozen instructions each time, a signal some microseconds: 15,000 instructions. So an instruction looks while it is
 * worth that. Each time that it was not, it takes twice as many signals to have it look again.
 */
#define REVIEW_NS      10000000u
#define LOOKS_A_SIGNAL 500u
#define PATIENCE_MAX   12u
#define IDLE_MAX       20u /* reviews without a use, after which an instruction gives way to others */

struct dbt_absent *dbt_site_absent(struct dbt *d, gpa_t gpa)
{
	for (unsigned i = 0; i < d->absent_count; i++) {
		if (d->absent[i].gpa == gpa && d->absent[i].used)
			return &d->absent[i];
	}
	return NULL;
}

/* It becomes plain. */
static void absent_remove(struct dbt *d, struct dbt_absent *absent)
{
	struct dbt_site_entry *entry = entry_of(d, absent->gpa);

	absent->used = false;
	if (entry->gpa == absent->gpa) {
		entry->signals = 0;
		entry->counts[SITE_ABSENT] = 0;
		if (entry->patience < PATIENCE_MAX)
			entry->patience++;
	}
	dbt_page_drop_range(d, absent->gpa, 1);
}

void dbt_sites_review(struct dbt *d)
{
	uint64_t now;

	if (!d->absent_count)
		return;
	now = platform_clock_ns();
	if (now - d->absent_seen_ns < REVIEW_NS)
		return;
	d->absent_seen_ns = now;
	for (unsigned i = 0; i < d->absent_count; i++) {
		struct dbt_absent *absent = &d->absent[i];

		if (!absent->used)
			continue;
		absent->idle = absent->misses ? 0 : absent->idle + 1;
		if (absent->looks > (absent->misses + 4ull) * LOOKS_A_SIGNAL ||
		    (absent->idle > IDLE_MAX && d->absent_count == DBT_ABSENT_MAX)) {
			absent_remove(d, absent);
		} else {
			absent->looks /= 2;
			absent->misses /= 2;
		}
	}
}

/* It becomes one, if it is worth that and there is room. */
static bool absent_add(struct dbt *d, struct dbt_site_entry *entry)
{
	unsigned i = 0;

	if (++entry->signals < SIGNALS_MIN << entry->patience)
		return false;
	while (i < d->absent_count && d->absent[i].used)
		i++;
	if (i == DBT_ABSENT_MAX)
		return false;
	if (i == d->absent_count)
		d->absent_count++;
	d->absent[i] = (struct dbt_absent){.gpa = entry->gpa, .used = true};
	return true;
}

bool dbt_site_count(struct dbt *d, gpa_t gpa, enum dbt_site kind)
{
	struct dbt_site_entry *entry = entry_of(d, gpa);

	if (entry->gpa != gpa)
		*entry = (struct dbt_site_entry){.gpa = gpa};
	if (kind == SITE_ABSENT && !entry->counts[kind] && !absent_add(d, entry))
		return false;
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
