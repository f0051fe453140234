/* Translations that outlive the VM: the file of --tb-cache.
 *
 * A record is one block of 64-bit code as it can be used wherever its guest bytes are found again at the same offset of a page,
 * under the same key and assumptions: the guest's bytes, the host's code without its ways out, and what in it depends on the
 * guest's address or on where the code lies in the cache (relocs). The ways out are made anew (tr_finish()).
 *
 * Two processes take part:
 *   - the VM's (cache.c) reads the file, and puts what it had to translate itself into a ring: guest code, not host code;
 *   - the keeper's (cache_keep.c), a child that never sees the guest run, translates that again and writes the file. So a
 *     VM that its guest has taken over can leave other VMs nothing but guest code.
 *
 * The file: header, environments, a hash table of slots, records. Everything is little-endian, aligned to 8 bytes, and of no use
 * to another build of the program (translation_keeper.identity).
 *
 * Example:
 *     tb = dbt_cache_load(d, rip, gpa, page);
 *     if (!tb) { tb = dbt_translate(...); dbt_cache_offer(d, tb, page); }
 */
#ifndef ENGINE_DBT_CACHE_H
#define ENGINE_DBT_CACHE_H

#include "core/translation.h"
#include "engine/dbt/translate.h"

#define CACHE_MAGIC       0x3163627465737572ull /* "rusetbc1" */
#define CACHE_SIZE_MAX    MIB(256) /* of a file */
#define CACHE_ENVIRONMENTS 256
#define CACHE_PROBES      64 /* slots that are looked at for one block */

struct cache_header {
	uint64_t magic, identity;
	uint64_t size; /* of the file */
	uint32_t environments, slots; /* slots: a power of two */
	uint64_t index_check; /* of environments and slots */
	uint64_t check;       /* of what is above */
};

/* What blocks depend on besides their bytes. */
struct cache_environment {
	struct dbt_assumptions assumptions;
	uint64_t key;
};

struct cache_slot {
	uint32_t tag, record; /* upper half of the hash; offset in the file / 8, 0: none */
};

struct cache_reloc {
	uint16_t at; /* in the body */
	uint8_t form, meaning;
	/* ADDRESS, MINUS_ADDRESS: address - rip. TABLE_ENTRY: its page - rip. HELP: index of the instruction. STUB: offset in the code
	 * cache. */
	int32_t value;
};

enum { CACHE_EXIT_LINK, CACHE_EXIT_STEP, CACHE_EXIT_HELP };
struct cache_exit {
	uint16_t at, kind; /* of the rel32 in the body */
	int32_t target;    /* - rip */
};

/* A number of 4 bytes in the guest's code, sign-extended: rip + value, or (constant) value - rip. */
struct cache_field {
	uint16_t at, constant; /* at: in the guest's bytes */
	int32_t value;
};

struct cache_site {
	uint16_t guest; /* offset of the instruction */
	uint16_t kind;  /* enum dbt_site */
};

struct cache_record {
	uint64_t check; /* of all that follows */
	uint64_t rip;   /* its low 12 bits; all of it for code that keeps to its place */
	uint32_t size;  /* of the record, a multiple of 8 */
	uint16_t environment;
	uint16_t length, count; /* the guest's bytes, its instructions */
	uint16_t body;          /* the host's bytes */
	uint16_t relocs;
	uint8_t exits, sites, fields;
	bool fixed; /* not to be moved */
	uint8_t pad[6];
	/* relocs, exits, fields, sites, insns (struct tb_insn), guest, body: in this order, without gaps */
};

struct cache_parts {
	const struct cache_reloc *relocs;
	const struct cache_exit *exits;
	const struct cache_field *fields; /* ascending */
	const struct cache_site *sites;
	const struct tb_insn *insns;
	const uint8_t *guest, *body;
	size_t size; /* of it all */
};

/* What the VM's process tells the keeper's: `size` bytes each, this header first, then `seen` of the guest's bytes from the block's
 * first (those behind its end are only looked at), then its sites. */
struct cache_recipe {
	uint32_t size; /* a multiple of 8 */
	uint32_t key;
	uint64_t rip;
	struct dbt_assumptions assumptions;
	uint16_t length, seen, sites, pad;
};
#define CACHE_LOOK_AHEAD 48
#define CACHE_RECIPE_MAX (sizeof(struct cache_recipe) + PAGE_SIZE + TB_MAX_INSNS * sizeof(struct cache_site) + 8)

/* Shared by the two processes. One writes head, the other tail; both count bytes since the beginning. */
#define CACHE_RING MIB(8)
struct translation_ring {
	_Atomic uint64_t head, tail;
	uint8_t data[CACHE_RING];
};

/* ---- cache_check.c ---- */
uint64_t cache_check(const void *data, size_t size);
uint64_t cache_check_seeded(const void *data, size_t size, uint64_t seed);

/* ---- cache.c ---- */
struct cache_parts cache_parts(const struct cache_record *record);
/* Are its counts such that everything lies within its size? */
bool cache_record_sound(const struct cache_record *record, size_t room);
/* Where the search for a block begins: the low bits choose the slot, the upper half is the tag. Of its first instructions, count of
 * them (CACHE_HASHED, or all if there are fewer), without what may be an address; code: from its first byte to the end of the page
 * at most. 0: that is not so many instructions. */
#define CACHE_HASHED 4
uint64_t cache_hash(uint32_t environment, uint64_t rip, const uint8_t *code, size_t size, unsigned count);
/* Is it the guest code at rip? */
bool cache_same_guest(const struct cache_record *record, const uint8_t *code, uint64_t rip);

/* The current place's translation from the file; NULL: there is none. */
struct tb *dbt_cache_load(struct dbt *d, uint64_t rip, gpa_t gpa, const uint8_t *page);
/* A block from its record, which is sound, for the code at rip; NULL: that is other code, or it can't be used there. */
struct tb *cache_place(struct dbt *d, const struct cache_record *record, uint64_t rip, gpa_t gpa, const uint8_t *code);
/* The same, with --check tb-cache compared with a new translation. from: what the record comes from. */
struct tb *cache_use(struct dbt *d, const struct cache_record *record, uint64_t rip, gpa_t gpa, const uint8_t *page, const char *from);
/* The instructions of a block that are not plain: their number, at most count; -1: it is not to be kept. */
int cache_sites_of(const struct dbt *d, gpa_t gpa, const struct tb_insn *insns, unsigned count, struct cache_site *sites);
/* Is each instruction of the block in the form that its faults here ask for? */
bool cache_sites_match(const struct dbt *d, const struct cache_record *record, const struct cache_parts *parts, gpa_t gpa);
/* Tells the keeper of a block that had to be translated. */
void dbt_cache_offer(struct dbt *d, const struct tb *tb, const uint8_t *page);

/* ---- cache_record.c ---- */
/* A record of the first `length` guest bytes, in zeroed memory that alloc() gives; NULL: it can't be kept, or there is no memory. tr: walked
 * over, with notes, which are not full. */
struct cache_record *cache_record_of(const struct tr *tr, unsigned length, const struct cache_site *sites, unsigned site_count,
				     uint32_t environment, void *(*alloc)(void *ctx, size_t size), void *ctx);
/* Translates what the recipe says and makes a record of it, to be freed; NULL: it can't be kept. d: of the keeper. */
struct cache_record *cache_record_make(struct dbt *d, const struct cache_recipe *recipe, const uint8_t *bytes,
				       const struct cache_site *sites, uint32_t environment);

/* ---- cache_keep.c ---- */
extern const struct translation_keeper dbt_keeper;

#endif
