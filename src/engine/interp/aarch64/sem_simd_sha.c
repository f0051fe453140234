/* SHA-1, SHA-256 and SHA-512: rounds and message schedules (FEAT_SHA1, FEAT_SHA256, FEAT_SHA512; DDI 0487 C7.2, SHA1C to SHA512SU1).
 * The constants of the rounds are in the words already.
 */
#include "engine/interp/aarch64/simd.h"
#include "engine/interp/crypto.h"

#define SEM(name) void a64_sem_##name(struct a64_cpu *cpu, uint32_t insn)

/* ---- SHA-1 ---- */

typedef uint32_t sha1_function(uint32_t x, uint32_t y, uint32_t z);

/* Four rounds: Vd holds a, b, c, d, the lowest word of Vn e. */
static void sha1_rounds(struct a64_cpu *cpu, uint32_t insn, sha1_function *f)
{
	const union a64_vreg w = cpu->s.v[a64_rm(insn)];
	union a64_vreg x = cpu->s.v[a64_rd(insn)];
	uint32_t e = cpu->s.v[a64_rn(insn)].s[0];

	for (unsigned i = 0; i < 4; i++) {
		const uint32_t a = e + rotate_left(x.s[0], 5) + f(x.s[1], x.s[2], x.s[3]) + w.s[i];

		e = x.s[3];
		x = (union a64_vreg){.s = {a, x.s[0], rotate_left(x.s[1], 30), x.s[2]}};
	}
	cpu->s.v[a64_rd(insn)] = x;
}

SEM(sha1c) { sha1_rounds(cpu, insn, sha_choose); }
SEM(sha1p) { sha1_rounds(cpu, insn, sha_parity); }
SEM(sha1m) { sha1_rounds(cpu, insn, sha_majority); }

SEM(sha1h)
{
	const uint32_t e = rotate_left(cpu->s.v[a64_rn(insn)].s[0], 30);

	cpu->s.v[a64_rd(insn)] = (union a64_vreg){.s = {e}};
}

SEM(sha1su0)
{
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)], *m = &cpu->s.v[a64_rm(insn)], d = cpu->s.v[a64_rd(insn)];

	cpu->s.v[a64_rd(insn)] = (union a64_vreg){.d = {d.d[1] ^ d.d[0] ^ m->d[0], n->d[0] ^ d.d[1] ^ m->d[1]}};
}

SEM(sha1su1)
{
	const union a64_vreg n = cpu->s.v[a64_rn(insn)];
	union a64_vreg *d = &cpu->s.v[a64_rd(insn)];

	for (unsigned i = 0; i < 4; i++)
		d->s[i] = rotate_left(d->s[i] ^ (i < 3 ? n.s[i + 1] : 0), 1);
	d->s[3] ^= rotate_left(d->s[0], 1);
}

/* ---- SHA-256 ---- */

/* Four rounds; x holds a, b, c, d, y e, f, g, h. */
static void sha256_rounds(union a64_vreg *x, union a64_vreg *y, const union a64_vreg *w)
{
	for (unsigned i = 0; i < 4; i++) {
		const uint32_t t = y->s[3] + sha256_sum1(y->s[0]) + sha_choose(y->s[0], y->s[1], y->s[2]) + w->s[i];
		const uint32_t a = t + sha256_sum0(x->s[0]) + sha_majority(x->s[0], x->s[1], x->s[2]);
		const uint32_t e = t + x->s[3];

		*x = (union a64_vreg){.s = {a, x->s[0], x->s[1], x->s[2]}};
		*y = (union a64_vreg){.s = {e, y->s[0], y->s[1], y->s[2]}};
	}
}

SEM(sha256h)
{
	union a64_vreg x = cpu->s.v[a64_rd(insn)], y = cpu->s.v[a64_rn(insn)];

	sha256_rounds(&x, &y, &cpu->s.v[a64_rm(insn)]);
	cpu->s.v[a64_rd(insn)] = x;
}

SEM(sha256h2)
{
	union a64_vreg x = cpu->s.v[a64_rn(insn)], y = cpu->s.v[a64_rd(insn)];

	sha256_rounds(&x, &y, &cpu->s.v[a64_rm(insn)]);
	cpu->s.v[a64_rd(insn)] = y;
}

SEM(sha256su0)
{
	const uint32_t next = cpu->s.v[a64_rn(insn)].s[0];
	union a64_vreg *d = &cpu->s.v[a64_rd(insn)];

	for (unsigned i = 0; i < 4; i++)
		d->s[i] += sha256_sigma0(i < 3 ? d->s[i + 1] : next);
}

SEM(sha256su1)
{
	const union a64_vreg n = cpu->s.v[a64_rn(insn)], m = cpu->s.v[a64_rm(insn)];
	union a64_vreg *d = &cpu->s.v[a64_rd(insn)];

	for (unsigned i = 0; i < 4; i++)
		d->s[i] += sha256_sigma1(i < 2 ? m.s[i + 2] : d->s[i - 2]) + (i < 3 ? n.s[i + 1] : m.s[0]);
}

/* ---- SHA-512 ---- */

static uint64_t sum0(uint64_t a)
{
	return rotate_right64(a, 28) ^ rotate_right64(a, 34) ^ rotate_right64(a, 39);
}

static uint64_t sum1(uint64_t e)
{
	return rotate_right64(e, 14) ^ rotate_right64(e, 18) ^ rotate_right64(e, 41);
}

static uint64_t sigma0(uint64_t w)
{
	return rotate_right64(w, 1) ^ rotate_right64(w, 8) ^ w >> 7;
}

static uint64_t sigma1(uint64_t w)
{
	return rotate_right64(w, 19) ^ rotate_right64(w, 61) ^ w >> 6;
}

SEM(sha512h)
{
	const union a64_vreg x = cpu->s.v[a64_rn(insn)], y = cpu->s.v[a64_rm(insn)];
	union a64_vreg *d = &cpu->s.v[a64_rd(insn)];

	d->d[1] += sum1(y.d[1]) + sha_choose64(y.d[1], x.d[0], x.d[1]);
	const uint64_t e = d->d[1] + y.d[0];

	d->d[0] += sum1(e) + sha_choose64(e, y.d[1], x.d[0]);
}

SEM(sha512h2)
{
	const union a64_vreg x = cpu->s.v[a64_rn(insn)], y = cpu->s.v[a64_rm(insn)];
	union a64_vreg *d = &cpu->s.v[a64_rd(insn)];

	d->d[1] += sum0(y.d[0]) + sha_majority64(x.d[0], y.d[1], y.d[0]);
	d->d[0] += sum0(d->d[1]) + sha_majority64(d->d[1], y.d[0], y.d[1]);
}

SEM(sha512su0)
{
	const uint64_t next = cpu->s.v[a64_rn(insn)].d[0];
	union a64_vreg *d = &cpu->s.v[a64_rd(insn)];

	d->d[0] += sigma0(d->d[1]);
	d->d[1] += sigma0(next);
}

SEM(sha512su1)
{
	const union a64_vreg n = cpu->s.v[a64_rn(insn)], m = cpu->s.v[a64_rm(insn)];
	union a64_vreg *d = &cpu->s.v[a64_rd(insn)];

	for (unsigned i = 0; i < 2; i++)
		d->d[i] += sigma1(n.d[i]) + m.d[i];
}
