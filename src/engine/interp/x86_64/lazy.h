/* Lazy status flags: the inline primitives of the fast path. See struct lazy_flags in cpu.h for the form.
 *
 * Example: `r = a + b; lf_add(&cpu->lf, a, b, r, 4, (int32_t)r);`
 */
#ifndef ENGINE_INTERP_X86_64_LAZY_H
#define ENGINE_INTERP_X86_64_LAZY_H

#include "engine/interp/x86_64/cpu.h"

static inline uint32_t lf_cf(const struct lazy_flags *lf)
{
	return lf->aux >> 1 & 1;
}
static inline bool lf_zf(const struct lazy_flags *lf)
{
	return lf->result == 0;
}
static inline bool lf_sf(const struct lazy_flags *lf)
{
	return (lf->result >> 63) ^ (lf->aux >> 16 & 1);
}
static inline bool lf_of(const struct lazy_flags *lf)
{
	return (lf->aux ^ lf->aux >> 1) & 1;
}
static inline bool lf_pf(const struct lazy_flags *lf)
{
	return !__builtin_parity((unsigned)(lf->result ^ lf->aux >> LF_PF_SHIFT) & 0xff);
}

/* The carry out of each bit tells CF, AF, and with the carry into the top bit OF. size in bytes. */
static inline void lf_carries(struct lazy_flags *lf, uint64_t carries, unsigned size, int64_t result)
{
	lf->result = (uint64_t)result;
	lf->aux = (uint32_t)(carries >> (size * 8 - 2) & 3) | (uint32_t)(carries & LF_AF);
}
static inline void lf_add(struct lazy_flags *lf, uint64_t a, uint64_t b, uint64_t r, unsigned size, int64_t result)
{
	lf_carries(lf, (a & b) | ((a | b) & ~r), size, result);
}
static inline void lf_sub(struct lazy_flags *lf, uint64_t a, uint64_t b, uint64_t r, unsigned size, int64_t result)
{
	lf_carries(lf, (~a & b) | ((~a | b) & r), size, result);
}
static inline void lf_logic(struct lazy_flags *lf, int64_t result)
{
	lf->result = (uint64_t)result;
	lf->aux = 0;
}
static inline void lf_mul(struct lazy_flags *lf, bool overflow, int64_t result)
{
	lf->result = (uint64_t)result;
	lf->aux = overflow ? LF_CF : 0; /* CF = OF */
}
/* INC and DEC: OF as computed, CF as it was. */
static inline void lf_keep_cf(struct lazy_flags *lf, uint32_t cf)
{
	uint32_t of = (lf->aux ^ lf->aux >> 1) & 1;

	lf->aux = (lf->aux & ~3u) | cf << 1 | (of ^ cf);
}

#define LF_SHIFTS(s, type, stype)                                                                  \
	static inline type lf_shl_##s(struct lazy_flags *lf, type a, unsigned n)                   \
	{                                                                                          \
		type r = (type)(a << n);                                                           \
		uint32_t cf = (uint32_t)(a >> (sizeof(a) * 8 - n)) & 1;                            \
		lf->result = (uint64_t)(stype)r;                                                   \
		lf->aux = cf << 1 | (uint32_t)(r >> (sizeof(a) * 8 - 1));                          \
		return r;                                                                          \
	}                                                                                          \
	static inline type lf_shr_##s(struct lazy_flags *lf, type a, unsigned n)                   \
	{                                                                                          \
		type r = (type)(a >> n);                                                           \
		uint32_t cf = (uint32_t)(a >> (n - 1)) & 1;                                        \
		uint32_t of = (uint32_t)(r >> (sizeof(a) * 8 - 2)) & 1;                            \
		lf->result = (uint64_t)(stype)r;                                                   \
		lf->aux = cf << 1 | (cf ^ of);                                                     \
		return r;                                                                          \
	}                                                                                          \
	static inline type lf_sar_##s(struct lazy_flags *lf, type a, unsigned n)                   \
	{                                                                                          \
		type r = (type)((stype)a >> n);                                                    \
		uint32_t cf = (uint32_t)((stype)a >> (n - 1)) & 1;                                 \
		lf->result = (uint64_t)(stype)r;                                                   \
		lf->aux = cf << 1 | cf;                                                            \
		return r;                                                                          \
	}
LF_SHIFTS(l, uint32_t, int32_t)
LF_SHIFTS(q, uint64_t, int64_t)

/* SDM 1 appendix B: conditions in the order of their encodings. */
static inline bool lf_condition(const struct lazy_flags *lf, unsigned cc)
{
	bool value;

	switch (cc >> 1) {
	case 0:
		value = lf_of(lf);
		break;
	case 1:
		value = lf_cf(lf);
		break;
	case 2:
		value = lf_zf(lf);
		break;
	case 3:
		value = lf_cf(lf) || lf_zf(lf);
		break;
	case 4:
		value = lf_sf(lf);
		break;
	case 5:
		value = lf_pf(lf);
		break;
	case 6:
		value = lf_sf(lf) != lf_of(lf);
		break;
	default:
		value = lf_zf(lf) || lf_sf(lf) != lf_of(lf);
		break;
	}
	return value ^ (cc & 1);
}

/* All six as RFLAGS bits, and back. */
static inline uint32_t lf_get(const struct lazy_flags *lf)
{
	return lf_cf(lf) | (lf_pf(lf) ? X86_FLAG_PF : 0) | (lf->aux & LF_AF ? X86_FLAG_AF : 0) |
	       (lf_zf(lf) ? X86_FLAG_ZF : 0) | (lf_sf(lf) ? X86_FLAG_SF : 0) | (lf_of(lf) ? X86_FLAG_OF : 0);
}
static inline void lf_set(struct lazy_flags *lf, uint32_t flags)
{
	uint32_t cf = flags & X86_FLAG_CF, of = flags >> 11 & 1;
	bool zf = flags & X86_FLAG_ZF, pf = flags & X86_FLAG_PF;

	lf->result = !zf; /* parity of 0 is even, of 1 odd */
	lf->aux = cf << 1 | (cf ^ of) | (flags & X86_FLAG_AF ? LF_AF : 0) |
		  (pf != zf ? 1u << LF_PF_SHIFT : 0) | (flags & X86_FLAG_SF ? LF_SF : 0);
}

#endif
