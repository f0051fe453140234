/* From guest code to a record of the translation cache; see cache.h. */
#include "engine/dbt/cache.h"
#include "base/string.h"
#include <stdlib.h>

static uint64_t number_at(const uint8_t *at, enum emit_form form)
{
	uint64_t wide = 0;
	int32_t narrow;

	if (form == EMIT_WIDE64) {
		memcpy(&wide, at, 8);
		return wide;
	}
	memcpy(&narrow, at, 4);
	return form == EMIT_ZERO32 ? (uint32_t)narrow : (uint64_t)(int64_t)narrow;
}

/* The instruction that was kept for C under that number. */
static bool help_index(const struct tr *tr, const struct emit_note *note, int64_t *index)
{
	unsigned at = (unsigned)(note->at - tr->start), i = tr->count;

	while (i-- > 0) {
		if (tr->insns[i].host <= at) {
			*index = i;
			return true;
		}
	}
	return false;
}

static bool make_reloc(const struct tr *tr, const struct emit_note *note, struct cache_reloc *reloc)
{
	uint64_t number = number_at(note->at, note->form);
	int64_t value;

	switch (note->meaning) {
	case EMIT_ADDRESS:
		value = (int64_t)(number - tr->rip);
		break;
	case EMIT_MINUS_ADDRESS:
		value = (int64_t)(0 - number - tr->rip);
		break;
	case EMIT_TABLE_ENTRY:
		value = (int64_t)((((number + DBT_TABLE_BIAS) >> 3) << PAGE_SHIFT) - tr->rip);
		value = (int64_t)((uint64_t)value << 16) >> 16;
		break;
	case EMIT_HELP:
		if (!help_index(tr, note, &value))
			return false;
		break;
	case EMIT_STUB:
		value = note->at + 4 - tr->d->code_write + (int64_t)number;
		break;
	default:
		return false;
	}
	*reloc = (struct cache_reloc){.at = (uint16_t)(note->at - tr->start), .form = note->form, .meaning = note->meaning, .value = (int32_t)value};
	return value == (int32_t)value;
}

static bool make_exit(const struct tr *tr, const struct tr_exit *out, struct cache_exit *to)
{
	int64_t target = (int64_t)(out->target - tr->rip);

	*to = (struct cache_exit){.at = (uint16_t)(out->jump - tr->start),
				  .kind = out->help ? CACHE_EXIT_HELP : out->step ? CACHE_EXIT_STEP : CACHE_EXIT_LINK,
				  .target = (int32_t)target};
	return target == (int32_t)target;
}

/* The field is of an instruction of the block. */
static bool make_field(const struct tr *tr, const struct emit_field *from, unsigned length, struct cache_field *field)
{
	int32_t number;
	int64_t value;

	if (from->at + 4u > length)
		return false;
	memcpy(&number, tr->guest + from->at, sizeof(number));
	value = (int64_t)((uint64_t)(int64_t)number + (from->constant ? tr->rip : 0 - tr->rip));
	*field = (struct cache_field){.at = from->at, .constant = from->constant, .value = (int32_t)value};
	/* If it does not fit, the record will just not be found again. */
	return true;
}

static void *put(uint8_t **at, const void *data, size_t size)
{
	void *here = *at;

	memcpy(here, data, size);
	*at += size;
	return here;
}

struct cache_record *cache_record_of(const struct tr *tr, unsigned length, const struct cache_site *sites, unsigned site_count,
				     uint32_t environment, void *(*alloc)(void *ctx, size_t size), void *ctx)
{
	const struct emit_notes *notes = tr->e.notes;
	struct cache_field field;
	unsigned fields = notes->field_count;
	struct cache_record head = {
		.rip = tr->rip,
		.environment = (uint16_t)environment,
		.length = (uint16_t)length,
		.count = (uint16_t)tr->count,
		.body = (uint16_t)(tr->e.at - tr->start),
		.relocs = (uint16_t)notes->count,
		.exits = (uint8_t)tr->exit_count,
		.sites = (uint8_t)site_count,
		.fixed = notes->fixed,
	}, *record;
	uint8_t *at;
	size_t size;

	/* The last may be of an instruction that was left to the next block. */
	while (fields && !make_field(tr, &notes->fields[fields - 1], length, &field))
		fields--;
	head.fields = (uint8_t)fields;
	size = cache_parts(&head).size;
	head.size = (uint32_t)(size + 7) & ~7u;
	record = alloc(ctx, head.size);
	if (!record)
		return NULL;
	at = (uint8_t *)record;
	put(&at, &head, sizeof(head));
	for (unsigned i = 0; i < notes->count; i++) {
		struct cache_reloc reloc;

		if (!make_reloc(tr, &notes->note[i], &reloc))
			return NULL;
		put(&at, &reloc, sizeof(reloc));
	}
	for (unsigned i = 0; i < tr->exit_count; i++) {
		struct cache_exit out;

		if (!make_exit(tr, &tr->exits[i], &out))
			return NULL;
		put(&at, &out, sizeof(out));
	}
	for (unsigned i = 0; i < fields; i++) {
		if (make_field(tr, &notes->fields[i], length, &field))
			put(&at, &field, sizeof(field));
	}
	put(&at, sites, site_count * sizeof(*sites));
	put(&at, tr->insns, tr->count * sizeof(*tr->insns));
	put(&at, tr->guest, length);
	put(&at, tr->start, head.body);
	record->check = cache_check(&record->check + 1, record->size - sizeof(record->check));
	return record;
}

static void *from_heap(void *ctx, size_t size)
{
	void **last = ctx;

	return *last = calloc(1, size);
}

struct cache_record *cache_record_make(struct dbt *d, const struct cache_recipe *recipe, const uint8_t *bytes,
				       const struct cache_site *sites, uint32_t environment)
{
	static const gpa_t somewhere = PAGE_SIZE; /* no page's address is 0 */
	gpa_t gpa = somewhere | (recipe->rip & ~PAGE_MASK);
	size_t meta = d->meta_used;
	struct cache_record *record = NULL;
	void *memory = NULL;
	struct emit_notes notes;
	uint8_t page[PAGE_SIZE];
	struct tr tr;

	memset(page, 0, sizeof(page));
	memcpy(page + (recipe->rip & ~PAGE_MASK), bytes, recipe->seen);
	for (unsigned i = 0; i < recipe->sites; i++)
		dbt_site_set(d, gpa + sites[i].guest, (enum dbt_site)sites[i].kind);
	emit_notes_begin(&notes);
	tr_begin(&tr, d, recipe->rip, gpa, page);
	tr.e.notes = &notes;
	tr_walk(&tr, recipe->length);
	if (!tr.e.overflow && !notes.full && tr.at - tr.rip == recipe->length)
		record = cache_record_of(&tr, recipe->length, sites, recipe->sites, environment, from_heap, &memory);
	if (!record)
		free(memory);
	for (unsigned i = 0; i < recipe->sites; i++)
		dbt_site_set(d, gpa + sites[i].guest, SITE_PLAIN);
	d->meta_used = meta;
	return record;
}
