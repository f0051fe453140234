/* Token buckets; see limiter.h.
 *
 * Example: see limiter.h.
 */
#include "dev/virtio/limiter.h"
#include "base/checked.h"
#include "core/stats.h"

#define NS_PER_S  1000000000ull
#define MAX_UNITS (1ull << 33) /* times NS_PER_S is below 2^63 */

/* Rounded up, so that many small ones don't pass for nothing. */
static uint64_t time_of(const struct bucket *bucket, uint64_t units)
{
	uint64_t ns = (units < MAX_UNITS ? units : MAX_UNITS) * NS_PER_S;

	return ns / bucket->per_second + (ns % bucket->per_second != 0);
}

static void bucket_init(struct bucket *bucket, const struct rate *rate, bool whole)
{
	*bucket = (struct bucket){.per_second = rate->per_second, .least_ns = 1};
	if (!bucket->per_second)
		return;
	bucket->full_ns = time_of(bucket, rate->burst ? rate->burst : rate->per_second);
	if (whole)
		bucket->least_ns = time_of(bucket, 1);
}

/* 0: open at `now`; else when it will be. */
static uint64_t bucket_closed_until(const struct bucket *bucket, uint64_t now)
{
	uint64_t open_ns;

	if (!bucket->per_second)
		return 0;
	if (add_overflow(bucket->empty_ns, bucket->least_ns, &open_ns))
		open_ns = UINT64_MAX;
	return open_ns > now ? open_ns : 0;
}

static void bucket_charge(struct bucket *bucket, uint64_t now, uint64_t units)
{
	uint64_t earliest = now > bucket->full_ns ? now - bucket->full_ns : 0;

	if (!bucket->per_second)
		return;
	/* It holds no more than when it is full. */
	if (bucket->empty_ns < earliest)
		bucket->empty_ns = earliest;
	if (add_overflow(bucket->empty_ns, time_of(bucket, units), &bucket->empty_ns))
		bucket->empty_ns = UINT64_MAX;
}

static bool is_limited(const struct limiter *limiter)
{
	return limiter->bytes.per_second || limiter->ops.per_second;
}

static void fire(void *ctx)
{
	struct limiter *limiter = ctx;

	limiter->again(limiter->ctx);
}

void limiter_init(struct limiter *limiter, struct vm *vm, const struct rate_limit *limit, void (*again)(void *ctx),
		  void *ctx)
{
	static const struct rate_limit none;

	*limiter = (struct limiter){.again = again, .ctx = ctx};
	bucket_init(&limiter->bytes, limit ? &limit->bytes : &none.bytes, false);
	bucket_init(&limiter->ops, limit ? &limit->ops : &none.ops, true);
	timer_init(&limiter->timer, vm, fire, limiter);
}

void limiter_stop(struct limiter *limiter)
{
	if (is_limited(limiter))
		timer_cancel(&limiter->timer);
}

bool limiter_open(struct limiter *limiter)
{
	uint64_t now, bytes, ops;

	if (!is_limited(limiter))
		return true;
	now = platform_clock_ns();
	bytes = bucket_closed_until(&limiter->bytes, now);
	ops = bucket_closed_until(&limiter->ops, now);
	if (!bytes && !ops) {
		if (limiter->closed_since_ns)
			limiter->paused_ns += now - limiter->closed_since_ns;
		limiter->closed_since_ns = 0;
		return true;
	}
	if (!limiter->closed_since_ns) {
		limiter->closed_since_ns = now;
		limiter->pauses++;
	}
	timer_arm(&limiter->timer, bytes > ops ? bytes : ops);
	return false;
}

void limiter_charge(struct limiter *limiter, uint64_t bytes)
{
	uint64_t now;

	if (!is_limited(limiter))
		return;
	now = platform_clock_ns();
	bucket_charge(&limiter->bytes, now, bytes);
	bucket_charge(&limiter->ops, now, 1);
}

void limiter_stats(const struct limiter *limiter, struct stats_sink *sink, const char *pauses, const char *paused_ms)
{
	if (!is_limited(limiter))
		return;
	stats_add(sink, NULL, pauses, limiter->pauses);
	stats_add(sink, NULL, paused_ms, limiter->paused_ns / 1000000);
}
