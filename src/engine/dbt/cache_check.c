/* The hash of the translation cache, for checks and for its table: XXH3. */
#include "engine/dbt/cache.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t cache_check(const void *data, size_t size)
{
	return XXH3_64bits(data, size);
}

uint64_t cache_check_seeded(const void *data, size_t size, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, size, seed);
}
