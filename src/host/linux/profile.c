/* The tables of `--profile`; see profile.h.
 */
#include "host/linux/profile.h"
#include "base/fmt.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 4096

static bool same_key(const struct profile_entry *a, const struct profile_entry *b)
{
	return a->kind == b->kind && a->address == b->address && a->space == b->space && a->user == b->user &&
	       !strcmp(a->what, b->what);
}

static size_t hash_of(const struct profile_entry *entry)
{
	return (size_t)((entry->address ^ entry->space * 3 ^ (uint64_t)entry->kind << 61) * 0x9e3779b97f4a7c15ull >> 16);
}

/* There is room. */
static struct profile_entry *find(struct profile_table *table, const struct profile_entry *entry)
{
	size_t at = hash_of(entry) & (table->size - 1);

	while (table->entries[at].count && !same_key(&table->entries[at], entry))
		at = (at + 1) & (table->size - 1);
	return &table->entries[at];
}

static bool grow(struct profile_table *table)
{
	struct profile_table larger = {.size = table->size ? 2 * table->size : FIRST_SIZE, .used = table->used};

	larger.entries = calloc(larger.size, sizeof(*larger.entries));
	if (!larger.entries)
		return false;
	for (size_t i = 0; i < table->size; i++)
		if (table->entries[i].count)
			*find(&larger, &table->entries[i]) = table->entries[i];
	free(table->entries);
	*table = larger;
	return true;
}

static bool count(struct profile_table *table, const struct profile_entry *entry)
{
	struct profile_entry *place;

	if (2 * table->used >= table->size && !grow(table))
		return false;
	place = find(table, entry);
	if (place->count) {
		place->count += entry->count;
	} else {
		*place = *entry;
		table->used++;
	}
	return true;
}

static void add(struct profile_sink *sink, const struct profile_entry *entry)
{
	struct profile *profile = (struct profile *)sink;

	if (!entry->count)
		return;
	lock_take(&profile->lock);
	if (entry->kind == PROFILE_LOST || !count(&profile->table, entry))
		profile->lost += entry->count;
	lock_release(&profile->lock);
}

int profile_open(struct profile *profile, const char *path, char *why, size_t why_size)
{
	*profile = (struct profile){.sink = {.interval_us = PROFILE_INTERVAL_US, .add = add}};
	profile->out = strcmp(path, "-") ? fopen(path, "we") : stderr;
	if (profile->out)
		return 0;
	fmt_print(why, why_size, "the profile %s can't be written: %s", path, strerror(errno));
	return -errno;
}

/* ---- tables ---- */

/* The largest are printed and used up. (qsort() asks the kernel what the sandbox does not allow.) */
static void print_table(struct profile_table *table, const char *title, const char *columns, FILE *out)
{
	uint64_t total = 0, shown = 0;

	for (size_t i = 0; i < table->size; i++)
		total += table->entries[i].count;
	if (!total)
		return;
	fprintf(out, "\n%s (%" PRIu64 ")\n   share      count  mode   %-16s  %s\n", title, total, "address", columns);
	for (unsigned line = 0; line < PROFILE_TOP; line++) {
		struct profile_entry *largest = table->entries;

		for (size_t i = 1; i < table->size; i++)
			if (table->entries[i].count > largest->count)
				largest = &table->entries[i];
		if (!largest->count)
			break;
		fprintf(out, "%7.2f%% %10" PRIu64 "  %-6s %016" PRIx64 "  %s", 100.0 * (double)largest->count / (double)total,
			largest->count, largest->user ? "user" : "kernel", largest->address, largest->what);
		if (largest->user)
			fprintf(out, "%scr3 %" PRIx64, *largest->what ? ", " : "", largest->space);
		fputc('\n', out);
		shown += largest->count;
		largest->count = 0;
	}
	if (shown < total)
		fprintf(out, "%7.2f%% %10" PRIu64 "  others\n", 100.0 * (double)(total - shown) / (double)total, total - shown);
}

/* One table of all entries of a kind: by `mask`ed address, what each says, or neither. */
static void print_kind(struct profile *profile, enum profile_kind kind, uint64_t mask, bool what, const char *title,
		       const char *columns)
{
	struct profile_table table = {0};

	for (size_t i = 0; i < profile->table.size; i++) {
		struct profile_entry entry = profile->table.entries[i];

		if (!entry.count || entry.kind != kind)
			continue;
		entry.address &= mask;
		if (!what)
			entry.what = "";
		if (!count(&table, &entry))
			break;
	}
	print_table(&table, title, columns, profile->out);
	free(table.entries);
}

void profile_print(struct profile *profile)
{
	FILE *out = profile->out;

	fprintf(out, "A sample each %u us of a virtual processor's time.\n", profile->sink.interval_us);
	if (profile->lost)
		fprintf(out, "Not counted, for lack of room or as two fell together: %" PRIu64 "\n", profile->lost);
	print_kind(profile, PROFILE_TIME, ~0ull, true, "Samples by block", "what the processor did for it");
	print_kind(profile, PROFILE_TIME, ~0xfffull, false, "Samples by page of code", "");
	print_kind(profile, PROFILE_INTERPRETED, ~0ull, true, "Left to the interpreter", "instruction");
	print_kind(profile, PROFILE_FAULT, ~0xfffull, true, "Faults by page", "cause");
	fflush(out);
}

void profile_close(struct profile *profile)
{
	free(profile->table.entries);
	if (profile->out && profile->out != stderr)
		fclose(profile->out);
	profile->out = NULL;
}
