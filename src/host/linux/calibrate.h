/* How fast is an engine here? A guest of two pages that counts, timed. A /dev/kvm without hardware behind it is
 * slower than the interpreter, so `--engine auto` measures instead of believing.
 *
 * Example:
 *     const struct engine_ops *engine = engine_choose(GUEST_X86_64, why, sizeof(why));
 *     r = engine_measure(engine, 10000000, &ips, why, sizeof(why));     // for about 10 ms
 */
#ifndef HOST_LINUX_CALIBRATE_H
#define HOST_LINUX_CALIBRATE_H

#include "core/engine.h"

/* Guest instructions per second, measured for about budget_ns (at least one short run). 0 or -errno with a
 * sentence in why. */
int engine_measure(const struct engine_ops *engine, uint64_t budget_ns, double *per_second, char *why,
		   size_t why_size) must_check;

/* The fastest engine that works for guests of arch, or NULL with a sentence. Takes a few milliseconds at most. */
const struct engine_ops *engine_choose(enum guest_arch arch, char *why, size_t why_size);

#endif
