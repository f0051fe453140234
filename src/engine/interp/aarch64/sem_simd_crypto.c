/* AES's rounds (FEAT_AES) and the operations of SHA-3 (FEAT_SHA3): DDI 0487 C7.2, AESD to AESMC, BCAX, EOR3, RAX1, XAR.
 */
#include "engine/interp/aarch64/simd.h"
#include "engine/interp/crypto.h"

#define SEM(name) void a64_sem_##name(struct a64_cpu *cpu, uint32_t insn)

/* ---- AES: the key is added first ---- */

static union a64_vreg keyed(const struct a64_cpu *cpu, uint32_t insn)
{
	const union a64_vreg *d = &cpu->s.v[a64_rd(insn)], *n = &cpu->s.v[a64_rn(insn)];

	return (union a64_vreg){.d = {d->d[0] ^ n->d[0], d->d[1] ^ n->d[1]}};
}

SEM(aese)
{
	const union a64_vreg state = keyed(cpu, insn);

	aes_substitute(cpu->s.v[a64_rd(insn)].b, state.b);
}

SEM(aesd)
{
	const union a64_vreg state = keyed(cpu, insn);

	aes_inverse_substitute(cpu->s.v[a64_rd(insn)].b, state.b);
}

SEM(aesmc)
{
	union a64_vreg *d = &cpu->s.v[a64_rd(insn)];

	*d = cpu->s.v[a64_rn(insn)];
	aes_mix_columns(d->s);
}

SEM(aesimc)
{
	union a64_vreg *d = &cpu->s.v[a64_rd(insn)];

	*d = cpu->s.v[a64_rn(insn)];
	aes_inverse_mix_columns(d->s);
}

/* ---- SHA-3: on both doublewords alike ---- */

static uint64_t rotated(uint64_t value, unsigned amount)
{
	return amount ? rotate_right64(value, amount) : value;
}

#define BOTH(name, expression)                                                                                                         \
	SEM(name)                                                                                                                      \
	{                                                                                                                              \
		const union a64_vreg *vn = &cpu->s.v[a64_rn(insn)], *vm = &cpu->s.v[a64_rm(insn)], *va = &cpu->s.v[a64_ra(insn)];      \
		union a64_vreg out;                                                                                                    \
                                                                                                                                       \
		for (unsigned i = 0; i < 2; i++) {                                                                                     \
			const uint64_t n = vn->d[i], m = vm->d[i], a __attribute__((unused)) = va->d[i];                               \
                                                                                                                                       \
			out.d[i] = expression;                                                                                         \
		}                                                                                                                      \
		cpu->s.v[a64_rd(insn)] = out;                                                                                          \
	}
BOTH(eor3, n ^ m ^ a)
BOTH(bcax, n ^ (m & ~a))
BOTH(rax1, n ^ rotated(m, 63))
BOTH(xar, rotated(n ^ m, a64_bits(insn, 10, 6)))
