/* What `--profile` asks of a translator's vcpu (profile.c). Without it none of this costs more than a look at a pointer. */
#ifndef ENGINE_DBT_PROFILE_H
#define ENGINE_DBT_PROFILE_H

#include "engine/dbt/dbt.h"
#include <signal.h>

struct profile_sink;

/* For the process: who gets the samples' signal. */
int dbt_profile_signal_init(void (*handler)(int, siginfo_t *, void *));
/* On the vcpu's thread. 0 also when nobody asks. */
int dbt_profile_begin(struct dbt *d);
void dbt_profile_end(struct dbt *d);
/* in_block: translated code was interrupted, not a stub or C. */
void dbt_profile_sample(struct dbt *d, bool in_block, uint64_t rip);
void dbt_profile_fault(struct dbt *d, enum dbt_fault_cause cause, gva_t gva);
/* The instruction at rip is left to the interpreter. */
void dbt_profile_step(struct dbt *d, unsigned op);
void dbt_profile_report(struct vcpu *vcpu, struct profile_sink *sink);

#endif
