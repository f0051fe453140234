/* Unpacking gzip; see gunzip.h. The output is its own window, so nothing is copied twice.
 *
 * A code of up to FAST_BITS bits is looked up; longer ones, which are rare, are found length by length among the canonical codes.
 *
 * Example: `r = gunzip(&source, header, sizeof(header), &produced);` for the first bytes alone ends with -ENOSPC.
 */
#include "loader/gunzip.h"

#include "base/errno.h"
#include "base/string.h"

#define FAST_BITS  10u
#define MAX_BITS   15u
#define MAX_LITLEN 288u
#define MAX_DIST   30u

struct code {
	uint16_t fast[1u << FAST_BITS]; /* symbol << 4 | length; 0: not among the short ones */
	uint16_t count[MAX_BITS + 1];   /* codes of each length */
	uint16_t symbols[MAX_LITLEN];   /* in the order of their codes */
};

struct state {
	const struct gzip_source *source;
	uint8_t in[4096];
	size_t in_at, in_len;
	uint64_t bits; /* the next ones, the first lowest */
	unsigned bit_count;
	unsigned padding; /* bytes of zeros that were made up behind the end */
	int error;

	uint8_t *out;
	size_t size, at;

	struct code litlen, dist;
};

/* ---- input ---- */

/* One byte; behind the end a zero, a few of which a look-ahead may want. */
static uint8_t next_byte(struct state *s)
{
	if (s->in_at == s->in_len) {
		int64_t len = s->error ? 0 : s->source->read(s->source->ctx, s->in, sizeof(s->in));

		if (len < 0)
			s->error = (int)len;
		s->in_at = 0;
		s->in_len = len > 0 ? (size_t)len : 0;
		if (s->in_len == 0) {
			s->padding++;
			return 0;
		}
	}
	return s->in[s->in_at++];
}

static void need(struct state *s, unsigned count)
{
	for (; s->bit_count < count; s->bit_count += 8)
		s->bits |= (uint64_t)next_byte(s) << s->bit_count;
}

static void drop(struct state *s, unsigned count)
{
	s->bits >>= count;
	s->bit_count -= count;
}

/* count: at most 32 */
static uint32_t take(struct state *s, unsigned count)
{
	uint32_t value;

	need(s, count);
	value = (uint32_t)(s->bits & ((1ull << count) - 1));
	drop(s, count);
	return value;
}

/* Was more used than there is? */
static bool is_cut_short(const struct state *s)
{
	return s->padding > s->bit_count / 8;
}

/* ---- codes ---- */

static uint32_t reversed(uint32_t code, unsigned length)
{
	uint32_t result = 0;

	for (unsigned i = 0; i < length; i++)
		result |= (code >> i & 1) << (length - 1 - i);
	return result;
}

/* lengths[symbol] is 0 for those that don't occur. Codes that are not complete are allowed where there is one of length 1, or none:
 * for distances (RFC 1951 3.2.7). */
static int build(struct code *code, const uint8_t *lengths, unsigned symbols)
{
	uint16_t offset[MAX_BITS + 2], next[MAX_BITS + 1];
	int left = 1;

	memset(code->count, 0, sizeof(code->count));
	memset(code->fast, 0, sizeof(code->fast));
	for (unsigned i = 0; i < symbols; i++)
		code->count[lengths[i]]++;
	code->count[0] = 0;
	offset[1] = next[0] = 0;
	for (unsigned length = 1; length <= MAX_BITS; length++) {
		left = 2 * left - code->count[length];
		if (left < 0)
			return -EINVAL;
		offset[length + 1] = (uint16_t)(offset[length] + code->count[length]);
		next[length] = (uint16_t)(length == 1 ? 0 : (next[length - 1] + code->count[length - 1]) << 1);
	}
	if (left > 0 && offset[MAX_BITS + 1] > 1)
		return -EINVAL;
	for (unsigned i = 0; i < symbols; i++) {
		const unsigned length = lengths[i];
		uint32_t bits;

		if (length == 0)
			continue;
		code->symbols[offset[length]++] = (uint16_t)i;
		bits = reversed(next[length]++, length);
		for (; length <= FAST_BITS && bits < 1u << FAST_BITS; bits += 1u << length)
			code->fast[bits] = (uint16_t)(i << 4 | length);
	}
	return 0;
}

/* The next symbol, or -EINVAL. */
static int decode(struct state *s, const struct code *code)
{
	uint32_t value = 0, first = 0;
	unsigned index = 0;
	uint16_t fast;

	need(s, MAX_BITS);
	fast = code->fast[s->bits & ((1u << FAST_BITS) - 1)];
	if (fast) {
		drop(s, fast & 15);
		return fast >> 4;
	}
	for (unsigned length = 1; length <= MAX_BITS; length++) {
		value |= (uint32_t)(s->bits >> (length - 1)) & 1;
		if (value - first < code->count[length]) {
			drop(s, length);
			return code->symbols[index + value - first];
		}
		index += code->count[length];
		first = (first + code->count[length]) << 1;
		value <<= 1;
	}
	return -EINVAL;
}

static int read_lengths(struct state *s, uint8_t *lengths, unsigned count)
{
	unsigned at = 0;

	while (at < count) {
		int symbol = decode(s, &s->litlen);
		unsigned repeat;
		uint8_t length = 0;

		if (symbol < 0 || is_cut_short(s))
			return -EINVAL;
		if (symbol < 16) {
			lengths[at++] = (uint8_t)symbol;
			continue;
		}
		if (symbol == 16) {
			if (at == 0)
				return -EINVAL;
			length = lengths[at - 1];
			repeat = 3 + take(s, 2);
		} else {
			repeat = symbol == 17 ? 3 + take(s, 3) : 11 + take(s, 7);
		}
		if (repeat > count - at)
			return -EINVAL;
		memset(lengths + at, length, repeat);
		at += repeat;
	}
	return 0;
}

static int read_codes(struct state *s)
{
	static const uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
	const unsigned litlens = take(s, 5) + 257, dists = take(s, 5) + 1, counts = take(s, 4) + 4;
	uint8_t lengths[286 + 30] = {0};
	int r;

	if (litlens > 286 || dists > MAX_DIST)
		return -EINVAL;
	for (unsigned i = 0; i < counts; i++)
		lengths[order[i]] = (uint8_t)take(s, 3);
	r = build(&s->litlen, lengths, 19);
	if (!r)
		r = read_lengths(s, lengths, litlens + dists);
	if (r || lengths[256] == 0)
		return -EINVAL;
	r = build(&s->litlen, lengths, litlens);
	return r ? r : build(&s->dist, lengths + litlens, dists);
}

static int fixed_codes(struct state *s)
{
	uint8_t lengths[MAX_LITLEN];
	int r;

	for (unsigned i = 0; i < MAX_LITLEN; i++)
		lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
	r = build(&s->litlen, lengths, MAX_LITLEN);
	if (r)
		return r;
	/* 30 and 31 take part in the code and never occur. */
	memset(lengths, 5, 32);
	return build(&s->dist, lengths, 32);
}

/* ---- blocks ---- */

static int copy_stored(struct state *s)
{
	uint32_t len, not_len;

	drop(s, s->bit_count % 8);
	len = take(s, 16);
	not_len = take(s, 16);
	if (len != (not_len ^ 0xffff))
		return -EINVAL;
	for (; len; len--) {
		const uint8_t byte = (uint8_t)take(s, 8);

		if (is_cut_short(s))
			return -EINVAL;
		if (s->at == s->size)
			return -ENOSPC;
		s->out[s->at++] = byte;
	}
	return 0;
}

static int copy_match(struct state *s, unsigned symbol)
{
	static const uint16_t length_base[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
					       31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
	static const uint8_t length_extra[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
	static const uint16_t dist_base[MAX_DIST] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
						     193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
	size_t length, distance;
	bool fits;
	int dist;

	if (symbol >= ARRAY_SIZE(length_base))
		return -EINVAL;
	length = length_base[symbol] + take(s, length_extra[symbol]);
	dist = decode(s, &s->dist);
	if (dist < 0 || dist >= (int)MAX_DIST)
		return -EINVAL;
	distance = dist_base[dist] + take(s, dist < 4 ? 0 : (unsigned)dist / 2 - 1);
	if (distance > s->at)
		return -EINVAL;
	fits = length <= s->size - s->at;
	if (!fits)
		length = s->size - s->at;
	/* Byte by byte: what is copied may be what is being written. */
	for (uint8_t *to = s->out + s->at, *end = to + length; to < end; to++)
		*to = *(to - distance);
	s->at += length;
	return fits ? 0 : -ENOSPC;
}

static int copy_compressed(struct state *s)
{
	for (;;) {
		const int symbol = decode(s, &s->litlen);
		int r;

		if (symbol < 0 || is_cut_short(s))
			return -EINVAL;
		if (symbol == 256)
			return 0;
		if (symbol > 256) {
			r = copy_match(s, (unsigned)symbol - 257);
			if (r)
				return r;
		} else if (s->at == s->size) {
			return -ENOSPC;
		} else {
			s->out[s->at++] = (uint8_t)symbol;
		}
	}
}

static int inflate(struct state *s)
{
	bool last;
	int r;

	do {
		last = take(s, 1);
		switch (take(s, 2)) {
		case 0:
			r = copy_stored(s);
			break;
		case 1:
			r = fixed_codes(s);
			if (!r)
				r = copy_compressed(s);
			break;
		case 2:
			r = read_codes(s);
			if (!r)
				r = copy_compressed(s);
			break;
		default:
			r = -EINVAL;
			break;
		}
		if (!r && is_cut_short(s))
			r = -EINVAL;
	} while (!r && !last);
	return r;
}

/* ---- the file around it ---- */

#define FHCRC    (1u << 1)
#define FEXTRA   (1u << 2)
#define FNAME    (1u << 3)
#define FCOMMENT (1u << 4)

static int skip_text(struct state *s)
{
	while (take(s, 8))
		if (is_cut_short(s))
			return -EINVAL;
	return 0;
}

static int read_header(struct state *s)
{
	uint32_t flags;
	int r = 0;

	if (take(s, 16) != 0x8b1f || take(s, 8) != 8)
		return -EINVAL;
	flags = take(s, 8);
	(void)take(s, 32); /* time */
	(void)take(s, 16); /* how, where */
	if (flags & FEXTRA)
		for (uint32_t len = take(s, 16); len; len--)
			(void)take(s, 8);
	if (flags & FNAME)
		r = skip_text(s);
	if (!r && (flags & FCOMMENT))
		r = skip_text(s);
	if (flags & FHCRC)
		(void)take(s, 16);
	return r || is_cut_short(s) ? -EINVAL : 0;
}

static uint32_t crc32(const uint8_t *data, size_t len)
{
	uint32_t table[256], crc = ~0u;

	for (uint32_t i = 0; i < 256; i++) {
		table[i] = i;
		for (unsigned bit = 0; bit < 8; bit++)
			table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
	}
	for (size_t i = 0; i < len; i++)
		crc = crc >> 8 ^ table[(crc ^ data[i]) & 0xff];
	return ~crc;
}

static int check_trailer(struct state *s)
{
	uint32_t crc, size;

	drop(s, s->bit_count % 8);
	crc = take(s, 32);
	size = take(s, 32);
	return is_cut_short(s) || size != (uint32_t)s->at || crc != crc32(s->out, s->at) ? -EINVAL : 0;
}

int gunzip(const struct gzip_source *source, void *out, size_t size, size_t *produced)
{
	struct state s;
	int r;

	s.source = source;
	s.in_at = s.in_len = 0;
	s.bits = 0;
	s.bit_count = s.padding = 0;
	s.error = 0;
	s.out = out;
	s.size = size;
	s.at = 0;
	r = read_header(&s);
	if (!r)
		r = inflate(&s);
	if (!r)
		r = check_trailer(&s);
	*produced = s.at;
	return s.error ? s.error : r;
}
