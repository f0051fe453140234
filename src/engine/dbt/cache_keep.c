/* The keeper of the translation cache: a process beside the VM's that translates again what the VM had to translate, and makes the
 * file. See cache.h. All that comes through the ring may be an attack: it is copied first, then checked, then taken for guest
 * code and nothing else.
 */
#include "engine/dbt/cache.h"
#include "base/errno.h"
#include "base/string.h"
#include "core/vm.h"
#include "engine/dbt/host_cpu.h"
#include <elf.h>
#include <link.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#define CODE_ROOM MIB(1) /* of one translation at a time */
#define META_ROOM 65536

struct translation_kept {
	struct dbt *d;
	uint64_t identity;
	struct cache_environment environments[CACHE_ENVIRONMENTS];
	uint32_t environment_count;
	struct cache_record **records; /* owned; open addressing by cache_hash() */
	uint32_t slots, count;         /* slots: a power of two */
	unsigned fresh;
	uint64_t size;                 /* of all records */
	bool spoilt;                   /* what came through the ring was none of ours: nothing more is taken from it */
};

/* ---- which build, which guest ---- */

/* The linker's identification of this program. */
static int find_build(struct dl_phdr_info *info, size_t size, void *ctx)
{
	uint64_t *build = ctx;

	(void)size;
	/* The program itself comes first. */
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];
		const uint8_t *at = (const uint8_t *)(info->dlpi_addr + header->p_vaddr), *end = at + header->p_memsz;

		while (header->p_type == PT_NOTE && (size_t)(end - at) >= sizeof(ElfW(Nhdr))) {
			const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)at;
			size_t name = (note->n_namesz + 3u) & ~3u, data = (note->n_descsz + 3u) & ~3u;

			if (name + data > (size_t)(end - at) - sizeof(*note))
				break;
			if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4)
				*build = cache_check(at + sizeof(*note) + name, note->n_descsz);
			at += sizeof(*note) + name + data;
		}
	}
	return 1;
}

static uint64_t identity(const struct vm *vm)
{
	struct {
		uint64_t build, avx;
		uint8_t features[sizeof(vm->cpuid->features)];
	} all = {.avx = dbt_host_avx()};

	dl_iterate_phdr(find_build, &all.build);
	if (!all.build)
		return 0;
	memcpy(all.features, vm->cpuid->features, sizeof(all.features));
	return cache_check(&all, sizeof(all));
}

/* ---- the file ---- */

static size_t records_at(const struct cache_header *header)
{
	return sizeof(*header) + header->environments * sizeof(struct cache_environment) +
	       (size_t)header->slots * sizeof(struct cache_slot);
}

static bool valid(const void *file, size_t size, uint64_t identity)
{
	const struct cache_header *header = file;

	if (size < sizeof(*header) || header->magic != CACHE_MAGIC || header->identity != identity || header->size != size ||
	    size > CACHE_SIZE_MAX || header->check != cache_check(header, offsetof(struct cache_header, check)))
		return false;
	if (header->environments > CACHE_ENVIRONMENTS || !header->slots || (header->slots & (header->slots - 1)) ||
	    header->slots > CACHE_SIZE_MAX || records_at(header) > size)
		return false;
	return header->index_check == cache_check(header + 1, records_at(header) - sizeof(*header));
}

/* ---- the keeper's own translator ---- */

static struct dbt *translator(struct vm *vm)
{
	struct dbt *d = mmap(NULL, sizeof(*d), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct emitter e;

	if (d == MAP_FAILED)
		return NULL;
	d->cpu.vm = vm;
	d->cpu.cpuid = vm->cpuid;
	d->code_size = CODE_ROOM;
	d->code_run = d->code_write = malloc(CODE_ROOM);
	d->meta_size = META_ROOM;
	d->meta = malloc(META_ROOM);
	d->tb_hash = calloc(DBT_TB_HASH, sizeof(*d->tb_hash));
	d->sites = calloc(1, dbt_sites_size());
	if (!d->code_write || !d->meta || !d->tb_hash || !d->sites)
		return NULL; /* the process ends */
	e = (struct emitter){.at = d->code_write, .end = d->code_write + CODE_ROOM};
	dbt_stubs_emit(d, &e);
	d->code_used = d->code_start = (size_t)(e.at - d->code_write + 63) & ~(size_t)63;
	return d;
}

/* As the VM's processor was before the block. False: no such state is translated by us. */
static bool set_state(struct dbt *d, const struct cache_recipe *recipe)
{
	const struct dbt_assumptions *a = &recipe->assumptions;
	struct cpu *cpu = &d->cpu;

	cpu->key = recipe->key & ~DBT_KEY_RF;
	cpu->mode = X86_MODE_64;
	cpu->long_mode = true;
	cpu->cpl = recipe->key & 4 ? 3 : 0;
	cpu->s.cr0 = a->cr0;
	cpu->s.cr4 = a->cr4;
	cpu->s.efer = a->efer;
	cpu->s.star = a->star;
	cpu->s.fmask = a->fmask;
	cpu->s.xcr0 = a->xcr0;
	d->rf = recipe->key & DBT_KEY_RF;
	d->assumptions = dbt_assumptions(cpu);
	return (recipe->key & ~(4u | DBT_KEY_RF)) == (X86_MODE_64 | 1u << 3) && !memcmp(&d->assumptions, a, sizeof(*a));
}

static struct translation_kept *open_kept(struct vm *vm, uint64_t identity)
{
	struct translation_kept *kept = calloc(1, sizeof(*kept));

	if (!kept)
		return NULL;
	kept->identity = identity;
	kept->slots = 65536;
	kept->records = calloc(kept->slots, sizeof(struct cache_record *));
	kept->d = translator(vm);
	return kept->records && kept->d ? kept : NULL;
}

/* ---- records ---- */

static uint32_t environment_of(struct translation_kept *kept, const struct dbt_assumptions *assumptions, uint64_t key)
{
	struct cache_environment new = {.assumptions = *assumptions, .key = key};
	uint32_t i = 0;

	while (i < kept->environment_count && memcmp(&kept->environments[i], &new, sizeof(new)))
		i++;
	if (i == kept->environment_count && i < CACHE_ENVIRONMENTS)
		kept->environments[kept->environment_count++] = new;
	return i;
}

static uint64_t hash_of(const struct cache_record *record)
{
	return cache_hash(record->environment, record->rip, cache_parts(record).guest, record->length,
			  record->count < CACHE_HASHED ? record->count : CACHE_HASHED);
}

/* Would both be found for the same code? */
static bool same_code(const struct cache_record *a, const struct cache_record *b)
{
	return a->environment == b->environment && a->length == b->length && a->fields == b->fields && a->fixed == b->fixed &&
	       (a->fixed ? a->rip == b->rip : (a->rip & ~PAGE_MASK) == (b->rip & ~PAGE_MASK)) &&
	       cache_same_guest(a, cache_parts(b).guest, b->rip);
}

static bool grow(struct translation_kept *kept)
{
	uint32_t slots = kept->slots * 2;
	struct cache_record **records = calloc(slots, sizeof(struct cache_record *));

	if (!records)
		return false;
	for (uint32_t i = 0; i < kept->slots; i++) {
		uint64_t at;

		if (!kept->records[i])
			continue;
		at = hash_of(kept->records[i]);
		while (records[at & (slots - 1)])
			at++;
		records[at & (slots - 1)] = kept->records[i];
	}
	free(kept->records);
	kept->records = records;
	kept->slots = slots;
	return true;
}

/* Takes the record. replace: instead of one that was there. */
static void add(struct translation_kept *kept, struct cache_record *record, bool replace)
{
	uint64_t at = hash_of(record), first = at;
	struct cache_record **slot;

	for (; *(slot = &kept->records[at & (kept->slots - 1)]); at++) {
		bool same = same_code(*slot, record);

		if (same && replace) {
			kept->size += (uint64_t)record->size - (*slot)->size;
			free(*slot);
			*slot = record;
			kept->fresh++;
			return;
		}
		/* So many that no search comes so far. */
		if (same || at - first >= CACHE_PROBES) {
			free(record);
			return;
		}
	}
	if (kept->size + record->size > CACHE_SIZE_MAX / 2 || kept->count >= UINT32_MAX / 64) {
		free(record);
		return;
	}
	*slot = record;
	kept->count++;
	kept->size += record->size;
	kept->fresh += replace;
	if (kept->count > kept->slots / 2 && !grow(kept))
		kept->size = CACHE_SIZE_MAX; /* no more */
}

static void merge(struct translation_kept *kept, const void *file)
{
	const struct cache_header *header = file;
	const struct cache_environment *environments = (const struct cache_environment *)(header + 1);
	const struct cache_slot *slots = (const struct cache_slot *)(environments + header->environments);

	for (uint32_t i = 0; i < header->slots; i++) {
		uint64_t at = (uint64_t)slots[i].record * 8;
		const struct cache_record *record = (const struct cache_record *)((const uint8_t *)file + at);
		struct cache_record *copy;

		if (!at || at >= header->size || !cache_record_sound(record, header->size - at) ||
		    record->environment >= header->environments)
			continue;
		copy = malloc(record->size);
		if (!copy)
			return;
		memcpy(copy, record, record->size);
		copy->environment = (uint16_t)environment_of(kept, &environments[record->environment].assumptions,
							     environments[record->environment].key);
		copy->check = cache_check(&copy->check + 1, copy->size - sizeof(copy->check));
		if (copy->environment == CACHE_ENVIRONMENTS)
			free(copy);
		else
			add(kept, copy, false);
	}
}

static int image(const struct translation_kept *kept, void **image, size_t *size)
{
	struct cache_header head = {.magic = CACHE_MAGIC, .identity = kept->identity, .environments = kept->environment_count, .slots = kept->slots};
	size_t at = (records_at(&head) + 7) & ~(size_t)7;
	struct cache_slot *slots;
	uint8_t *file;

	head.size = at + kept->size;
	file = calloc(1, head.size);
	if (!file)
		return -ENOMEM;
	memcpy(file + sizeof(head), kept->environments, kept->environment_count * sizeof(kept->environments[0]));
	slots = (struct cache_slot *)(file + sizeof(head) + kept->environment_count * sizeof(kept->environments[0]));
	for (uint32_t i = 0; i < kept->slots; i++) {
		const struct cache_record *record = kept->records[i];

		if (!record)
			continue;
		/* The slots of the file are those of our table: what was found here by probing is found there. */
		slots[i] = (struct cache_slot){.tag = (uint32_t)(hash_of(record) >> 32), .record = (uint32_t)(at / 8)};
		memcpy(file + at, record, record->size);
		at += record->size;
	}
	head.index_check = cache_check(file + sizeof(head), records_at(&head) - sizeof(head));
	head.check = cache_check(&head, offsetof(struct cache_header, check));
	memcpy(file, &head, sizeof(head));
	*image = file;
	*size = head.size;
	return 0;
}

/* ---- from the VM ---- */

static void ring_get(const struct translation_ring *ring, uint64_t at, void *data, size_t size)
{
	size_t offset = at % CACHE_RING, first = size < CACHE_RING - offset ? size : CACHE_RING - offset;

	memcpy(data, ring->data + offset, first);
	memcpy((uint8_t *)data + first, ring->data, size - first);
}

/* Is it one of ours, by its numbers? */
static bool sound(const struct cache_recipe *recipe, uint64_t available)
{
	unsigned offset = (unsigned)(recipe->rip & ~PAGE_MASK);

	return recipe->size >= sizeof(*recipe) && recipe->size <= CACHE_RECIPE_MAX && recipe->size <= available && recipe->size % 8 == 0 &&
	       recipe->length && recipe->length <= TB_MAX_INSNS * 15 && recipe->seen >= recipe->length &&
	       offset + recipe->seen <= PAGE_SIZE && recipe->sites <= TB_MAX_INSNS &&
	       sizeof(*recipe) + recipe->seen + recipe->sites * sizeof(struct cache_site) <= recipe->size;
}

static bool sites_sound(const struct cache_recipe *recipe, const struct cache_site *sites)
{
	for (unsigned i = 0; i < recipe->sites; i++) {
		if (sites[i].guest >= recipe->length || sites[i].kind > SITE_STEP || sites[i].kind == SITE_ABSENT || (i && sites[i].guest <= sites[i - 1].guest))
			return false;
	}
	return true;
}

static void keep(struct translation_kept *kept, const struct cache_recipe *recipe, const uint8_t *bytes)
{
	struct cache_site sites[TB_MAX_INSNS];
	struct cache_record *record;
	uint32_t environment;

	memcpy(sites, bytes + recipe->seen, recipe->sites * sizeof(sites[0]));
	if (!sites_sound(recipe, sites) || !set_state(kept->d, recipe))
		return;
	environment = environment_of(kept, &recipe->assumptions, recipe->key);
	if (environment == CACHE_ENVIRONMENTS)
		return;
	record = cache_record_make(kept->d, recipe, bytes, sites, environment);
	if (record && !hash_of(record))
		free(record); /* it would not be found */
	else if (record)
		add(kept, record, true);
}

static unsigned collect(struct translation_kept *kept, struct translation_ring *ring)
{
	uint64_t tail = atomic_load(&ring->tail), head = atomic_load_explicit(&ring->head, memory_order_acquire);
	unsigned count = 0;

	while (tail != head && !kept->spoilt) {
		struct cache_recipe recipe;
		uint8_t rest[CACHE_RECIPE_MAX];

		if (head - tail < sizeof(recipe) || head - tail > CACHE_RING) {
			kept->spoilt = true;
			break;
		}
		ring_get(ring, tail, &recipe, sizeof(recipe));
		if (!sound(&recipe, head - tail)) {
			kept->spoilt = true;
			break;
		}
		ring_get(ring, tail + sizeof(recipe), rest, recipe.size - sizeof(recipe));
		keep(kept, &recipe, rest);
		count++;
		tail += recipe.size;
		atomic_store_explicit(&ring->tail, tail, memory_order_release);
	}
	return count;
}

static unsigned count(const struct translation_kept *kept)
{
	return kept->count;
}

static unsigned fresh(const struct translation_kept *kept)
{
	return kept->fresh;
}

const struct translation_keeper dbt_keeper = {
	.identity = identity,
	.valid = valid,
	.ring_size = sizeof(struct translation_ring),
	.open = open_kept,
	.collect = collect,
	.merge = merge,
	.count = count,
	.fresh = fresh,
	.image = image,
};
