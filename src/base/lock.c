/* The one-word mutex of lock.h: free, held, or held with somebody waiting.
 *
 * Example: `lock_take(&dev->lock); ...; lock_release(&dev->lock);`
 *
 * A waiter always takes the lock as "held and somebody waits", since it can't know whether it was the
 * only one; the price is one needless wake at the end of a queue.
 */
#include "base/lock.h"
#include "core/platform.h"
#include <stdatomic.h>

enum { LOCK_FREE, LOCK_HELD, LOCK_CONTENDED };

/* A critical section is short: worth a few hundred cycles before the system is asked to sleep. */
#define SPIN_ROUNDS 50

bool lock_try(struct lock *lock)
{
	uint32_t expected = LOCK_FREE;

	return atomic_compare_exchange_strong_explicit(&lock->word, &expected, LOCK_HELD,
						       memory_order_acquire, memory_order_relaxed);
}

void lock_take(struct lock *lock)
{
	for (unsigned i = 0; i < SPIN_ROUNDS; i++) {
		if (atomic_load_explicit(&lock->word, memory_order_relaxed) == LOCK_FREE && lock_try(lock))
			return;
		lock_relax();
	}
	while (atomic_exchange_explicit(&lock->word, LOCK_CONTENDED, memory_order_acquire) != LOCK_FREE)
		platform_wait(&lock->word, LOCK_CONTENDED, UINT64_MAX);
}

void lock_release(struct lock *lock)
{
	if (atomic_exchange_explicit(&lock->word, LOCK_FREE, memory_order_release) == LOCK_CONTENDED)
		platform_wake(&lock->word, false);
}
