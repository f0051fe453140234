/* AArch64's arithmetic on floating-point numbers. See fp.h.
 *
 * Most of what programs do is on normal numbers, rounds to nearest, and comes after something that was inexact already: then the host's own
 * arithmetic has the same result and there is no flag to raise (fp_host.h). The rest is arch/softfp's, with Arm's rules for NaNs and flags.
 */
#include "arch/aarch64/fp_host.h"
#include "arch/aarch64/fp_parts.h"

const struct fp_format a64_fp_formats[4] = {
	[A64_FP_SIZE_HALF] = {.precision = 11, .flushes = true, .emin = -14, .emax = 15},
	[A64_FP_SIZE_SINGLE] = {.precision = 24, .flushes = true, .emin = -126, .emax = 127},
	[A64_FP_SIZE_DOUBLE] = {.precision = 53, .flushes = true, .emin = -1022, .emax = 1023},
};

static bool flushes(const struct a64_fp *fp, unsigned size)
{
	return fp->fpcr & (size == A64_FP_SIZE_HALF ? A64_FPCR_FZ16 : A64_FPCR_FZ);
}

struct fp_parts a64_fp_unpack(struct a64_fp *fp, unsigned size, uint64_t a)
{
	const struct softfp plain = {.masked = 0x3f};
	struct fp_parts parts;

	switch (size) {
	case A64_FP_SIZE_HALF: parts = fp_unpack_f16((uint16_t)a); break;
	case A64_FP_SIZE_SINGLE: parts = fp_unpack_f32(&plain, (uint32_t)a); break;
	default: parts = fp_unpack_f64(&plain, a); break;
	}
	if (unlikely(parts.denormal) && flushes(fp, size)) {
		if (size != A64_FP_SIZE_HALF)
			fp->fpsr |= A64_FPSR_IDC;
		return fp_zero(parts.sign);
	}
	return parts;
}

uint64_t a64_fp_pack(unsigned size, struct fp_parts a)
{
	switch (size) {
	case A64_FP_SIZE_HALF: return fp_pack_f16(a);
	case A64_FP_SIZE_SINGLE: return fp_pack_f32(a);
	default: return fp_pack_f64(a);
	}
}

struct fp_parts a64_fp_default_nan(void)
{
	struct fp_parts nan = fp_default_nan();

	nan.sign = false;
	return nan;
}

struct fp_parts a64_fp_invalid(struct a64_fp *fp)
{
	fp->fpsr |= A64_FPSR_IOC;
	return a64_fp_default_nan();
}

bool a64_fp_nans(struct a64_fp *fp, const struct fp_parts *operands, unsigned count, struct fp_parts *result)
{
	const struct fp_parts *nan = NULL;

	for (unsigned i = 0; i < count; i++) {
		if (likely(!fp_is_nan(operands[i])))
			continue;
		if (!nan || (nan->class == FP_QNAN && operands[i].class == FP_SNAN))
			nan = &operands[i];
	}
	if (likely(!nan))
		return false;
	if (nan->class == FP_SNAN)
		fp->fpsr |= A64_FPSR_IOC;
	*result = fp->fpcr & A64_FPCR_DN ? a64_fp_default_nan() : fp_quieted(*nan);
	return true;
}

enum softfp_rounding a64_fp_softfp_rounding(enum a64_fp_rounding rounding)
{
	switch (rounding) {
	case A64_ROUND_NEAREST: return SOFTFP_NEAREST;
	case A64_ROUND_UP: return SOFTFP_UP;
	case A64_ROUND_DOWN: return SOFTFP_DOWN;
	default: return SOFTFP_ZERO;
	}
}

struct softfp a64_fp_context(const struct a64_fp *fp, unsigned size)
{
	return (struct softfp){
		.rounding = (uint8_t)a64_fp_softfp_rounding(a64_fp_mode(fp->fpcr)),
		.flush_to_zero = flushes(fp, size),
		.tiny_before_rounding = true,
		.masked = 0x3f,
	};
}

uint64_t a64_fp_finish(struct a64_fp *fp, const struct softfp *soft, unsigned size, struct fp_parts result)
{
	if (soft->flags & SOFTFP_INVALID)
		result = a64_fp_invalid(fp);
	fp->fpsr |= (soft->flags & SOFTFP_DIVZERO ? A64_FPSR_DZC : 0) | (soft->flags & SOFTFP_OVERFLOW ? A64_FPSR_OFC : 0) |
		    (soft->flags & SOFTFP_UNDERFLOW ? A64_FPSR_UFC : 0) | (soft->flags & SOFTFP_INEXACT ? A64_FPSR_IXC : 0);
	return a64_fp_pack(size, result);
}

int a64_fp_order(struct fp_parts a, struct fp_parts b)
{
	int magnitudes;

	if (a.class == FP_ZERO && b.class == FP_ZERO)
		return 0;
	if (a.class == FP_ZERO)
		return b.sign ? 1 : -1;
	if (b.class == FP_ZERO || a.sign != b.sign)
		return a.sign ? -1 : 1;
	if (a.class != b.class)
		magnitudes = a.class == FP_INFINITY ? 1 : -1;
	else if (a.class == FP_INFINITY)
		magnitudes = 0;
	else if (a.exp != b.exp)
		magnitudes = a.exp > b.exp ? 1 : -1;
	else
		magnitudes = (a.frac > b.frac) - (a.frac < b.frac);
	return a.sign ? -magnitudes : magnitudes;
}

/* ---- operations ---- */
typedef struct fp_parts arithmetic(struct softfp *fp, const struct fp_format *format, struct fp_parts a, struct fp_parts b);

static uint64_t two_operands(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b, arithmetic *op, bool negate_b)
{
	struct fp_parts operands[2] = {a64_fp_unpack(fp, size, a), a64_fp_unpack(fp, size, b)}, r;
	struct softfp soft = a64_fp_context(fp, size);

	if (a64_fp_nans(fp, operands, 2, &r))
		return a64_fp_pack(size, r);
	operands[1].sign ^= negate_b;
	r = op(&soft, &a64_fp_formats[size], operands[0], operands[1]);
	return a64_fp_finish(fp, &soft, size, r);
}

uint64_t a64_fp_add(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	uint64_t result;

	if (likely(a64_fp_host_does(fp)) && likely(a64_fp_host_add(size, a, b, &result)))
		return result;
	return two_operands(fp, size, a, b, fp_add, false);
}

uint64_t a64_fp_sub(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	uint64_t result;

	if (likely(a64_fp_host_does(fp)) && likely(a64_fp_host_sub(size, a, b, &result)))
		return result;
	return two_operands(fp, size, a, b, fp_add, true);
}

uint64_t a64_fp_mul(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	uint64_t result;

	if (likely(a64_fp_host_does(fp)) && likely(a64_fp_host_mul(size, a, b, &result)))
		return result;
	return two_operands(fp, size, a, b, fp_multiply, false);
}

uint64_t a64_fp_div(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	uint64_t result;

	if (likely(a64_fp_host_does(fp)) && likely(a64_fp_host_div(size, a, b, &result)))
		return result;
	return two_operands(fp, size, a, b, fp_divide, false);
}

/* FPMulX's product: 0 * infinity is 2. */
static struct fp_parts multiply_extended(struct softfp *fp, const struct fp_format *format, struct fp_parts a, struct fp_parts b)
{
	if ((a.class == FP_ZERO && b.class == FP_INFINITY) || (a.class == FP_INFINITY && b.class == FP_ZERO))
		return (struct fp_parts){.class = FP_FINITE, .sign = a.sign != b.sign, .exp = 1, .frac = FP_INTEGER_BIT};
	return fp_multiply(fp, format, a, b);
}

uint64_t a64_fp_mulx(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	uint64_t result;

	if (likely(a64_fp_host_does(fp)) && likely(a64_fp_host_mul(size, a, b, &result)))
		return result;
	return two_operands(fp, size, a, b, multiply_extended, false);
}

uint64_t a64_fp_sqrt(struct a64_fp *fp, unsigned size, uint64_t a)
{
	uint64_t result;

	if (likely(a64_fp_host_does(fp)) && likely(a64_fp_host_sqrt(size, a, &result)))
		return result;
	struct fp_parts x = a64_fp_unpack(fp, size, a), r;
	struct softfp soft = a64_fp_context(fp, size);

	if (a64_fp_nans(fp, &x, 1, &r))
		return a64_fp_pack(size, r);
	r = fp_square_root(&soft, &a64_fp_formats[size], x);
	return a64_fp_finish(fp, &soft, size, r);
}

/* FPMax and FPMin: of two zeros the sign is what both have, or what one has. */
static uint64_t extreme_by_parts(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b, bool maximum)
{
	const struct fp_parts operands[2] = {a64_fp_unpack(fp, size, a), a64_fp_unpack(fp, size, b)};
	struct fp_parts r;

	if (!a64_fp_nans(fp, operands, 2, &r)) {
		const int order = a64_fp_order(operands[0], operands[1]);

		r = (maximum ? order > 0 : order < 0) ? operands[0] : operands[1];
		if (r.class == FP_ZERO)
			r.sign = maximum ? operands[0].sign & operands[1].sign : operands[0].sign | operands[1].sign;
		else
			return ((maximum ? order > 0 : order < 0) ? a : b) & ~0ull >> (64 - (8u << size));
	}
	return a64_fp_pack(size, r);
}

static uint64_t extreme(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b, bool maximum)
{
	int order;

	if (unlikely(!a64_fp_host_order(fp, size, a, b, &order)))
		return extreme_by_parts(fp, size, a, b, maximum);
	if (order == 0) /* the same bits, or two zeros */
		a = maximum ? a & b : a | b;
	else
		a = (maximum ? order > 0 : order < 0) ? a : b;
	return a & ~0ull >> (64 - (8u << size));
}

uint64_t a64_fp_max(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return extreme(fp, size, a, b, true);
}

uint64_t a64_fp_min(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return extreme(fp, size, a, b, false);
}

/* A quiet NaN against what is none of those is replaced by the infinity that loses. */
static uint64_t extreme_number(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b, bool maximum)
{
	int order;

	if (likely(a64_fp_host_order(fp, size, a, b, &order)))
		return extreme(fp, size, a, b, maximum);
	const bool quiet_a = a64_fp_unpack(fp, size, a).class == FP_QNAN, quiet_b = a64_fp_unpack(fp, size, b).class == FP_QNAN;
	const uint64_t loser = a64_fp_pack(size, fp_infinity(maximum));

	if (quiet_a && !quiet_b)
		a = loser;
	else if (quiet_b && !quiet_a)
		b = loser;
	return extreme(fp, size, a, b, maximum);
}

uint64_t a64_fp_max_num(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return extreme_number(fp, size, a, b, true);
}

uint64_t a64_fp_min_num(struct a64_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
	return extreme_number(fp, size, a, b, false);
}

/* operands: the addend first. A quiet NaN as addend does not hide that infinity times zero is invalid. */
static uint64_t mul_add(struct a64_fp *fp, unsigned size, const struct fp_parts operands[3])
{
	const struct fp_parts *a = &operands[1], *b = &operands[2];
	struct softfp soft = a64_fp_context(fp, size);
	struct fp_parts r;

	if (unlikely(a64_fp_nans(fp, operands, 3, &r))) {
		if (operands[0].class == FP_QNAN &&
		    ((a->class == FP_INFINITY && b->class == FP_ZERO) || (a->class == FP_ZERO && b->class == FP_INFINITY)))
			r = a64_fp_invalid(fp);
		return a64_fp_pack(size, r);
	}
	r = fp_multiply_add(&soft, &a64_fp_formats[size], *a, *b, operands[0], false, false);
	return a64_fp_finish(fp, &soft, size, r);
}

uint64_t a64_fp_mul_add(struct a64_fp *fp, unsigned size, uint64_t addend, uint64_t a, uint64_t b)
{
	uint64_t result;

	if (likely(a64_fp_host_does(fp))) {
		if (size == A64_FP_SIZE_DOUBLE && likely(a64_fp_host_mul_add_double(addend, a, b, &result)))
			return result;
		if (size == A64_FP_SIZE_SINGLE && likely(a64_fp_host_mul_add_single(addend, a, b, &result)))
			return result;
	}
	const struct fp_parts operands[3] = {a64_fp_unpack(fp, size, addend), a64_fp_unpack(fp, size, a), a64_fp_unpack(fp, size, b)};

	return mul_add(fp, size, operands);
}

uint32_t a64_fp_mul_add_half(struct a64_fp *fp, uint32_t addend, uint16_t a, uint16_t b)
{
	const struct fp_parts operands[3] = {
		a64_fp_unpack(fp, A64_FP_SIZE_SINGLE, addend),
		a64_fp_unpack(fp, A64_FP_SIZE_HALF, a),
		a64_fp_unpack(fp, A64_FP_SIZE_HALF, b),
	};

	return (uint32_t)mul_add(fp, A64_FP_SIZE_SINGLE, operands);
}
