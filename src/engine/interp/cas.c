/* See cas.h. */
#include "engine/interp/cas.h"

#include "base/string.h"

#define CAS(type)                                                                                  \
	do {                                                                                       \
		type *e_ = expected;                                                               \
		return __atomic_compare_exchange_n((type *)at, e_, *(const type *)desired, false,  \
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);            \
	} while (0)

bool sem_cas_host(void *at, unsigned size, void *expected, const void *desired)
{
	unsigned __int128 want, put, got;

	switch (size) {
	case 1:
		CAS(uint8_t);
	case 2:
		CAS(uint16_t);
	case 4:
		CAS(uint32_t);
	case 8:
		CAS(uint64_t);
	default:
		memcpy(&want, expected, 16);
		memcpy(&put, desired, 16);
		got = __sync_val_compare_and_swap((unsigned __int128 *)at, want, put);
		memcpy(expected, &got, 16);
		return got == want;
	}
}
