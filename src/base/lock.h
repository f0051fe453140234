/* A mutex that is one word: uncontended it is one atomic operation; contended it sleeps through
 * platform_wait()/platform_wake() (a futex on Linux). Not recursive.
 *
 * Example: `lock_take(&dev->lock); ...; lock_release(&dev->lock);`
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include "base/types.h"

struct lock {
	_Atomic uint32_t word; /* 0 free, 1 held, 2 held and somebody waits */
};

/* What the body of a loop that waits for another processor does. */
static inline void lock_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

void lock_take(struct lock *lock);
bool lock_try(struct lock *lock) must_check;
void lock_release(struct lock *lock);

#endif
