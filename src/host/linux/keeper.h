/* `--tb-cache`: translations that outlive the VM (core/translation.h), their directory, and the process that writes them.
 *
 * In the directory lie, for each identity, IDENTITY.cache, which VMs of that identity read, and what keepers have written since:
 * IDENTITY.PID.new. A keeper may name no file once the guest runs, so it leaves its file under that name, locked while it lives;
 * the next VM puts the largest in the place of IDENTITY.cache, if it is whole, and removes the others. What no VM has used for a
 * month goes too.
 *
 * Example:
 *     r = keeper_open(vm, directory, true, &keeper, why, sizeof(why));  // cpuid is known, no thread but ours, no guest code has run
 *     ... vm runs ...
 *     keeper_end(keeper);   // the vcpus are gone
 *     ... other things are undone meanwhile ...
 *     keeper_wait(keeper);
 */
#ifndef HOST_LINUX_KEEPER_H
#define HOST_LINUX_KEEPER_H

#include "base/types.h"

struct vm;
struct keeper;

/* Sets vm->translation_cache. directory: NULL for $RUSE_CACHE/tb or ~/.cache/ruse/tb, where failing is no error; "none" for nothing.
 * 0, *keeper NULL if there is none; -errno with one sentence in why. */
int keeper_open(struct vm *vm, const char *directory, bool sandbox, struct keeper **keeper, char *why, size_t why_size) must_check;
/* The VM is over: the keeper writes what it has. NULL is allowed, here and below. */
void keeper_end(struct keeper *keeper);
/* Waits for it, a few seconds at most, and frees. */
void keeper_wait(struct keeper *keeper);

#endif
