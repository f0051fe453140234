/* `--profile`: where the guest's time went, as tables of text.
 *
 * Example:
 *     r = profile_open(&profile, "profile.txt", why, sizeof(why));   // before the sandbox closes
 *     vm->profile = &profile.sink;
 *     ...
 *     profile_print(&profile);                                       // after the vcpu threads have ended
 *     profile_close(&profile);
 */
#ifndef HOST_LINUX_PROFILE_H
#define HOST_LINUX_PROFILE_H

#include "base/lock.h"
#include "core/profile.h"
#include <stdio.h>

#define PROFILE_TOP 40            /* lines of a table */
#define PROFILE_INTERVAL_US 1000

/* Entries by their key, counts added up. */
struct profile_table {
	struct profile_entry *entries; /* count 0: free */
	size_t size, used;             /* size: a power of two */
};

struct profile {
	struct profile_sink sink; /* first */
	struct lock lock;
	struct profile_table table;
	uint64_t lost;
	FILE *out;
};

/* "-" is stderr. 0, or -errno with one sentence in why. */
int profile_open(struct profile *profile, const char *path, char *why, size_t why_size) must_check;
void profile_print(struct profile *profile);
void profile_close(struct profile *profile);

#endif
