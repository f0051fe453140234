/* Where a guest spends its time, for `--profile`: an engine that can tell counts it and gives it here at the end; the host puts
 * it together over the vcpus and writes it down.
 *
 * Example: `if (vm->profile) vm->profile->add(vm->profile, &entry);`
 */
#ifndef CORE_PROFILE_H
#define CORE_PROFILE_H

#include "base/types.h"

enum profile_kind {
	PROFILE_TIME,        /* samples; address: of the code */
	PROFILE_INTERPRETED, /* instructions left to the interpreter; address: theirs */
	PROFILE_FAULT,       /* faults; address: of the data, where it is known */
	PROFILE_LOST,        /* what there was no room for */
	PROFILE_KIND_COUNT,
};

/* Texts are compared by what they say and must stay. */
struct profile_entry {
	enum profile_kind kind;
	const char *what; /* of the kind: what the vcpu did, which operation, why it faulted */
	uint64_t address; /* linear */
	uint64_t space;   /* user mode: CR3 without its low bits; supervisor: 0 */
	bool user;
	uint64_t count;
};

struct profile_sink {
	unsigned interval_us; /* processor time between samples */
	void (*add)(struct profile_sink *sink, const struct profile_entry *entry); /* any thread */
};

#endif
