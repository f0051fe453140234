/* Products that are added to what is in the destination: rounded high halves (FEAT_RDM) and sums of four bytes' (FEAT_DotProd);
 * DDI 0487 C7.2: SQRDMLAH, SQRDMLSH, SDOT, UDOT.
 */
#include "engine/interp/aarch64/simd.h"

#define SEM(name) void a64_sem_##name(struct a64_cpu *cpu, uint32_t insn)

static void rounded_high(struct a64_cpu *cpu, uint32_t insn, struct simd_second second, bool subtracts)
{
	const unsigned size = simd_size(insn), count = simd_count(cpu, insn, size), bits = 8u << size;
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)], *d = &cpu->s.v[a64_rd(insn)];
	union a64_vreg out = {.d = {0, 0}};

	for (unsigned i = 0; i < count; i++) {
		const __int128 product = simd_wide(n, size, i, false) * simd_second_lane(&second, size, i, false) * 2;
		const __int128 sum = simd_wide(d, size, i, false) * ((__int128)1 << bits) + (subtracts ? -product : product);

		simd_set_lane(&out, size, i, simd_saturate(cpu, (sum + ((__int128)1 << (bits - 1))) >> bits, size, false));
	}
	cpu->s.v[a64_rd(insn)] = out;
}

SEM(sqrdmlah) { rounded_high(cpu, insn, simd_by_register(cpu, insn), false); }
SEM(sqrdmlsh) { rounded_high(cpu, insn, simd_by_register(cpu, insn), true); }
SEM(sqrdmlah_e) { rounded_high(cpu, insn, simd_by_element(cpu, insn), false); }
SEM(sqrdmlsh_e) { rounded_high(cpu, insn, simd_by_element(cpu, insn), true); }

/* The element is a word: four bytes. */
static void dot(struct a64_cpu *cpu, uint32_t insn, struct simd_second second)
{
	const union a64_vreg *n = &cpu->s.v[a64_rn(insn)];
	union a64_vreg out = cpu->s.v[a64_rd(insn)];

	for (unsigned i = 0; i < 16; i++) {
		const unsigned from = second.is_element ? second.index * 4 + i % 4 : i;

		if (simd_unsigned(insn))
			out.s[i / 4] += (uint32_t)n->b[i] * second.v->b[from];
		else
			out.s[i / 4] += (uint32_t)((int8_t)n->b[i] * (int8_t)second.v->b[from]);
	}
	if (!simd_q(insn))
		out.d[1] = 0;
	cpu->s.v[a64_rd(insn)] = out;
}

SEM(dot) { dot(cpu, insn, simd_by_register(cpu, insn)); }
SEM(dot_e) { dot(cpu, insn, simd_by_element(cpu, insn)); }
