/* Counters in translated code, for `--count-blocks` (counts.c). Without it none of this costs more than a look at a pointer. */
#ifndef ENGINE_DBT_COUNTS_H
#define ENGINE_DBT_COUNTS_H

#include "engine/dbt/translate.h"

/* Counters a vcpu has room for; then translations are forgotten, as when the cache is full. */
#define DBT_COUNTERS_MAX (1u << 20)

/* Bytes to be mapped behind struct dbt, where translated code reaches the counters relative to GS. */
size_t dbt_counts_size(const struct vm *vm);
/* 0, also when nobody asks; -ENOMEM. */
int dbt_counts_init(struct dbt *d) must_check;
void dbt_counts_destroy(struct dbt *d);
bool dbt_counts_room(const struct dbt *d);

/* In a translation: before an instruction, at the beginning and behind each that may go on elsewhere. */
void dbt_counts_emit(struct tr *tr);
/* Nothing came of the instruction that the last one was for. */
void dbt_counts_take_back(struct tr *tr, uint8_t *at);
/* The block is there. */
void dbt_counts_keep(struct tr *tr, const struct tb *tb);
/* May the next instruction not follow this one, though the block goes on? */
bool dbt_counts_ends_run(const struct x86_insn *insn);

/* Translated code is about to be entered by a block; it has returned. */
static inline void dbt_counts_enter(struct dbt *d)
{
	d->counting = DBT_COUNTERS_MAX;
}
void dbt_counts_left(struct dbt *d);

/* Gives all to the VM's sink, and begins anew: before blocks are forgotten, and at the end. */
void dbt_counts_collect(struct dbt *d);

#endif
