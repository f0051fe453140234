/* The VM's side of the translation cache; see cache.h. */
#include "engine/dbt/cache.h"
#include "base/log.h"
#include "base/string.h"
#include "core/vm.h"
#include <stdatomic.h>

uint64_t cache_hash(uint32_t environment, uint64_t rip, const uint8_t *code, size_t size, unsigned count)
{
	uint8_t plain[15 * CACHE_HASHED];
	size_t at = 0;

	for (unsigned i = 0; i < count; i++) {
		struct x86_insn insn;

		if (x86_decode(&insn, code + at, size - at, X86_MODE_64) <= 0)
			return 0;
		memcpy(plain + at, code + at, insn.length);
		if (insn_has_disp32(&insn, code + at))
			memset(plain + at + insn.imm_offset - 4, 0, 4);
		if (insn_has_imm32(&insn))
			memset(plain + at + insn.imm_offset, 0, 4);
		at += insn.length;
	}
	return cache_check_seeded(plain, at, (uint64_t)environment << 32 | (rip & ~PAGE_MASK) << 8 | count) | 1;
}

bool cache_same_guest(const struct cache_record *record, const uint8_t *code, uint64_t rip)
{
	struct cache_parts parts = cache_parts(record);
	unsigned at = 0;

	for (unsigned i = 0; i < record->fields; i++) {
		const struct cache_field *field = &parts.fields[i];
		uint64_t value = (uint64_t)(int64_t)field->value;
		int32_t number;

		if (field->at < at || field->at + 4u > record->length || memcmp(parts.guest + at, code + at, field->at - at))
			return false;
		memcpy(&number, code + field->at, sizeof(number));
		if ((uint64_t)(int64_t)number != (field->constant ? value - rip : rip + value))
			return false;
		at = field->at + 4u;
	}
	return !memcmp(parts.guest + at, code + at, record->length - at);
}

struct cache_parts cache_parts(const struct cache_record *record)
{
	struct cache_parts parts;

	parts.relocs = (const struct cache_reloc *)(record + 1);
	parts.exits = (const struct cache_exit *)(parts.relocs + record->relocs);
	parts.fields = (const struct cache_field *)(parts.exits + record->exits);
	parts.sites = (const struct cache_site *)(parts.fields + record->fields);
	parts.insns = (const struct tb_insn *)(parts.sites + record->sites);
	parts.guest = (const uint8_t *)(parts.insns + record->count);
	parts.body = parts.guest + record->length;
	parts.size = (size_t)(parts.body + record->body - (const uint8_t *)record);
	return parts;
}

bool cache_record_sound(const struct cache_record *record, size_t room)
{
	struct cache_parts parts;

	if (room < sizeof(*record) || record->size > room || record->size < sizeof(*record))
		return false;
	parts = cache_parts(record);
	if (parts.size > record->size || !record->length || !record->count || record->count > TB_MAX_INSNS ||
	    (record->rip & ~PAGE_MASK) + record->length > PAGE_SIZE || record->length > TB_MAX_INSNS * 15 ||
	    record->exits > TB_MAX_EXITS || record->body < TB_REDIRECT || record->body > TB_MAX_HOST)
		return false;
	return record->check == cache_check(&record->check + 1, record->size - sizeof(record->check));
}

/* ---- from the file ---- */

static bool ring_wanted(const struct dbt *d)
{
	return d->cpu.vm->translation_cache && d->cpu.vm->translation_cache->ring;
}

/* The number of what the current code depends on; false: the file has nothing that does. */
static bool find_environment(struct dbt *d, const struct cache_header *header, uint32_t *environment)
{
	const struct cache_environment *all = (const struct cache_environment *)(header + 1);

	if (!d->environment_known || d->environment_key != dbt_key(d)) {
		d->environment_known = true;
		d->environment_key = dbt_key(d);
		for (d->environment = 0; d->environment < header->environments; d->environment++) {
			if (all[d->environment].key == dbt_key(d) &&
			    !memcmp(&all[d->environment].assumptions, &d->assumptions, sizeof(d->assumptions)))
				break;
		}
	}
	*environment = d->environment;
	return d->environment < header->environments;
}

bool cache_sites_match(const struct dbt *d, const struct cache_record *record, const struct cache_parts *parts, gpa_t gpa)
{
	if (!dbt_site_any(d, gpa))
		return true;
	for (unsigned i = 0, site = 0; i < record->count; i++) {
		enum dbt_site kind = dbt_site_kind(d, gpa + parts->insns[i].guest);

		while (site < record->sites && parts->sites[site].guest < parts->insns[i].guest)
			site++;
		if (kind != SITE_PLAIN &&
		    (site == record->sites || parts->sites[site].guest != parts->insns[i].guest || parts->sites[site].kind != kind))
			return false;
	}
	return true;
}

/* Keeps the instruction of that index for dbt_help(); ~0: no room. */
static uint32_t help_again(struct tr *tr, unsigned index)
{
	unsigned at = tr->insns[index].guest, length = (unsigned)(tr->at - tr->rip);
	struct x86_insn insn;

	if (at >= length || x86_decode(&insn, tr->guest + at, length - at, X86_MODE_64) <= 0)
		return ~0u;
	return dbt_help_new(tr->d, &insn);
}

static bool relocate(struct tr *tr, const struct cache_reloc *reloc, unsigned body)
{
	uint64_t address = tr->rip + (uint64_t)(int64_t)reloc->value, value;
	unsigned size = reloc->form == EMIT_WIDE64 ? 8 : 4;

	if (reloc->at + size > body)
		return false;
	switch (reloc->meaning) {
	case EMIT_ADDRESS:
		value = address;
		break;
	case EMIT_MINUS_ADDRESS:
		value = 0 - address;
		break;
	case EMIT_TABLE_ENTRY:
		value = (uint64_t)(((int64_t)(address << 16) >> 28) * 8 - DBT_TABLE_BIAS);
		break;
	case EMIT_HELP:
		if ((uint32_t)reloc->value >= tr->count)
			return false;
		value = help_again(tr, (unsigned)reloc->value);
		if (value == UINT32_MAX)
			return false;
		break;
	case EMIT_STUB:
		value = (uint64_t)(int64_t)reloc->value - (uint64_t)(tr->start + reloc->at + 4 - tr->d->code_write);
		break;
	default:
		return false;
	}
	if (reloc->form == EMIT_ZERO32 ? value > UINT32_MAX : reloc->form != EMIT_WIDE64 && (int64_t)value != (int32_t)value)
		return false;
	memcpy(tr->start + reloc->at, &value, size);
	return true;
}

static bool place_exit(struct tr *tr, const struct cache_exit *from, unsigned body)
{
	struct tr_exit *out = &tr->exits[tr->exit_count++];
	unsigned index = 0;

	if (from->at + 4u > body)
		return false;
	*out = (struct tr_exit){.jump = tr->start + from->at,
				.target = tr->rip + (uint64_t)(int64_t)from->target,
				.step = from->kind != CACHE_EXIT_LINK};
	/* Here a branch may lead where there is nothing, which is to be told at the branch. */
	if (from->kind == CACHE_EXIT_LINK && !canonical(out->target))
		return false;
	if (from->kind != CACHE_EXIT_HELP)
		return true;
	while (index < tr->count && tr->insns[index].guest != from->target)
		index++;
	if (index == tr->count)
		return false;
	out->help = help_again(tr, index) + 1;
	return out->help != 0;
}

struct tb *cache_place(struct dbt *d, const struct cache_record *record, uint64_t rip, gpa_t gpa, const uint8_t *code)
{
	struct cache_parts parts = cache_parts(record);
	struct tr tr;

	if (record->fixed && record->rip != rip)
		return NULL;
	tr_begin(&tr, d, rip, gpa, NULL);
	tr.at = rip + record->length;
	tr.count = record->count;
	/* A copy: another processor may be writing the page. */
	memcpy(tr.guest, code, record->length);
	if (!cache_same_guest(record, tr.guest, rip))
		return NULL;
	memcpy(tr.insns, parts.insns, record->count * sizeof(*tr.insns));
	memcpy(tr.start, parts.body, record->body);
	tr.e.at += record->body;
	for (unsigned i = 0; i < record->relocs; i++) {
		if (!relocate(&tr, &parts.relocs[i], record->body))
			return NULL;
	}
	for (unsigned i = 0; i < record->exits; i++) {
		if (!place_exit(&tr, &parts.exits[i], record->body))
			return NULL;
	}
	return tr_finish(&tr);
}

/* The record in that slot, if there is one. */
static const struct cache_record *record_in(struct dbt *d, const struct cache_header *header, const struct cache_slot *slot)
{
	struct translation_cache *cache = d->cpu.vm->translation_cache;
	uint64_t at = (uint64_t)slot->record * 8;
	const struct cache_record *record = (const struct cache_record *)((const uint8_t *)header + at);

	if (at < header->size && cache_record_sound(record, header->size - at))
		return record;
	if (!atomic_exchange(&cache->damaged, true))
		log_warn("dbt", "%s is damaged and is not used any more: remove it", cache->path);
	return NULL;
}

/* --check tb-cache: is the record, placed here, what the translator makes of the code now? The ways out and what C keeps have other
 * numbers each time. */
static struct tb *place_checked(struct dbt *d, const struct cache_record *record, uint64_t rip, gpa_t gpa, const uint8_t *page, const char *from)
{
	struct cache_parts parts = cache_parts(record);
	uint8_t new[TB_MAX_HOST], *old;
	size_t meta = d->meta_used, size;
	struct tb *tb;
	struct tr tr;

	tr_begin(&tr, d, rip, gpa, page);
	tr_walk(&tr, record->length);
	size = (size_t)(tr.e.at - tr.start);
	memcpy(new, tr.start, size < sizeof(new) ? size : sizeof(new));
	d->meta_used = meta;
	tb = cache_place(d, record, rip, gpa, page + (rip & ~PAGE_MASK));
	if (!tb)
		return NULL;
	old = d->code_write + tb->host;
	for (unsigned i = 0; i < record->exits && size == record->body; i++)
		memcpy(new + parts.exits[i].at, old + parts.exits[i].at, 4);
	for (unsigned i = 0; i < record->relocs && size == record->body; i++) {
		if (parts.relocs[i].meaning == EMIT_HELP)
			memcpy(new + parts.relocs[i].at, old + parts.relocs[i].at, 4);
	}
	for (unsigned i = 0; i < size; i++) {
		if (size != record->body || new[i] != old[i]) {
			log_error("dbt", "the translation of %llx from %s differs from a new one: %zu bytes instead of %u, the first at %u",
				  (unsigned long long)rip, from, size, record->body, i);
			vm_stop(d->cpu.vm, VM_STOP_HOST_ERROR, 0);
			break;
		}
	}
	d->stats.checked++;
	return tb;
}

struct tb *cache_use(struct dbt *d, const struct cache_record *record, uint64_t rip, gpa_t gpa, const uint8_t *page, const char *from)
{
	const struct translation_cache *cache = d->cpu.vm->translation_cache;

	/* A new one would not have the forms that faults have asked for earlier. */
	if (unlikely(cache && cache->check && !record->sites))
		return place_checked(d, record, rip, gpa, page, from);
	return cache_place(d, record, rip, gpa, page + (rip & ~PAGE_MASK));
}

/* A block whose first `count` instructions are those at rip. */
static struct tb *load_hashed(struct dbt *d, const struct cache_header *header, uint32_t environment, unsigned count, uint64_t rip,
			      gpa_t gpa, const uint8_t *page)
{
	const struct cache_environment *environments = (const struct cache_environment *)(header + 1);
	const struct cache_slot *slots = (const struct cache_slot *)(environments + header->environments);
	const uint8_t *code = page + (rip & ~PAGE_MASK);
	size_t room = PAGE_SIZE - (rip & ~PAGE_MASK);
	uint64_t hash = cache_hash(environment, rip, code, room, count);

	for (unsigned i = 0; hash && i < CACHE_PROBES; i++) {
		const struct cache_slot *slot = &slots[(hash + i) & (header->slots - 1)];
		const struct cache_record *record;
		struct cache_parts parts;
		struct tb *tb;

		if (!slot->record)
			break;
		if (slot->tag != hash >> 32)
			continue;
		record = record_in(d, header, slot);
		if (!record)
			break;
		parts = cache_parts(record);
		if (record->environment != environment || record->length > room || !cache_sites_match(d, record, &parts, gpa))
			continue;
		tb = cache_use(d, record, rip, gpa, page, d->cpu.vm->translation_cache->path);
		if (tb)
			return tb;
	}
	return NULL;
}

struct tb *dbt_cache_load(struct dbt *d, uint64_t rip, gpa_t gpa, const uint8_t *page)
{
	struct translation_cache *cache = d->cpu.vm->translation_cache;
	const struct cache_header *header = cache ? cache->file : NULL;
	uint32_t environment;

	if (!header || atomic_load_explicit(&cache->damaged, memory_order_relaxed))
		return NULL;
	if (!find_environment(d, header, &environment))
		return NULL;
	for (unsigned count = CACHE_HASHED; count > 0; count--) {
		struct tb *tb = load_hashed(d, header, environment, count, rip, gpa, page);

		if (tb) {
			d->stats.loaded++;
			return tb;
		}
	}
	return NULL;
}

/* ---- to the keeper ---- */

static void ring_put(struct translation_ring *ring, uint64_t at, const void *data, size_t size)
{
	size_t offset = at % CACHE_RING, first = size < CACHE_RING - offset ? size : CACHE_RING - offset;

	memcpy(ring->data + offset, data, first);
	memcpy(ring->data, (const uint8_t *)data + first, size - first);
}

int cache_sites_of(const struct dbt *d, gpa_t gpa, const struct tb_insn *insns, unsigned count, struct cache_site *sites)
{
	int found = 0;

	for (unsigned i = 0; dbt_site_any(d, gpa) && i < count; i++) {
		enum dbt_site kind = dbt_site_kind(d, gpa + insns[i].guest);

		if (kind == SITE_ABSENT)
			return -1; /* for a while only */
		if (kind != SITE_PLAIN)
			sites[found++] = (struct cache_site){.guest = insns[i].guest, .kind = (uint16_t)kind};
	}
	return found;
}

void dbt_cache_offer(struct dbt *d, const struct tb *tb, const uint8_t *page)
{
	struct cache_site sites[TB_MAX_INSNS];
	unsigned offset = (unsigned)(tb->rip & ~PAGE_MASK), room = (unsigned)PAGE_SIZE - offset - tb->length;
	struct cache_recipe recipe = {
		.key = tb->key,
		.rip = tb->rip,
		.assumptions = d->assumptions,
		.length = tb->length,
		.seen = (uint16_t)(tb->length + (room < CACHE_LOOK_AHEAD ? room : CACHE_LOOK_AHEAD)),
	};
	struct translation_ring *ring;
	uint64_t head;
	int count;

	if (!ring_wanted(d) || tb->second || (tb->key & 3) != X86_MODE_64)
		return;
	ring = d->cpu.vm->translation_cache->ring;
	count = cache_sites_of(d, tb->gpa, tb->insns, tb->count, sites);
	if (count < 0)
		return;
	recipe.sites = (uint16_t)count;
	recipe.size = (uint32_t)(sizeof(recipe) + recipe.seen + recipe.sites * sizeof(sites[0]) + 7) & ~7u;
	lock_take(&d->shared->offering);
	head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	/* Nobody waits for the keeper: what it has no time for is not kept. */
	if (head - atomic_load_explicit(&ring->tail, memory_order_acquire) + recipe.size <= CACHE_RING) {
		ring_put(ring, head, &recipe, sizeof(recipe));
		ring_put(ring, head + sizeof(recipe), tb->bytes, tb->length);
		ring_put(ring, head + sizeof(recipe) + tb->length, page + offset + tb->length, (size_t)recipe.seen - tb->length);
		ring_put(ring, head + sizeof(recipe) + recipe.seen, sites, recipe.sites * sizeof(sites[0]));
		atomic_store_explicit(&ring->head, head + recipe.size, memory_order_release);
	}
	lock_release(&d->shared->offering);
}
