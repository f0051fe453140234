/* Each with its reason; paragraphs are those of DDI 0487.
 */
#include "tests/oracle64/differences.h"

#include "arch/aarch64/state.h"
#include <signal.h>

static unsigned field(uint32_t word, unsigned at, unsigned count)
{
	return word >> at & ((1u << count) - 1);
}

/* C6.1.2 and the instructions' own pages: a base that is loaded or stored while it moves, a pair into one register, a status in a register that is in
 * use. Either side may choose. */
static bool is_constrained_unpredictable(uint32_t word, enum a64_op op)
{
	const unsigned t = field(word, 0, 5), n = field(word, 5, 5), t2 = field(word, 10, 5), s = field(word, 16, 5);

	switch (op) {
	case A64_ldr_9:
	case A64_str_9:
	case A64_ldrs_9:
		return field(word, 10, 1) && t == n && n != 31;
	case A64_ldp:
	case A64_ldnp:
	case A64_ldpsw:
		return t == t2 || (field(word, 23, 1) && n != 31 && (t == n || t2 == n));
	case A64_stp:
		return field(word, 23, 1) && n != 31 && (t == n || t2 == n);
	case A64_vldp:
	case A64_ldxp:
		return t == t2;
	case A64_stxr:
		return s == t || (s == n && n != 31);
	case A64_stxp:
		return s == t || s == t2 || (s == n && n != 31);
	default:
		return false;
	}
}

/* Fields that should be ones (C2.1.1): we do not look at them, QEMU takes other values for other instructions. */
static bool has_other_fixed_bits(uint32_t word, enum a64_op op)
{
	return op == A64_ldapr && field(word, 16, 5) != 31;
}

bool oracle_excludes(uint32_t word, enum a64_op op)
{
	switch (op) {
	/* Calls of who is above a user program; debuggers' (their immediates mean something to an emulator). */
	case A64_svc:
	case A64_hvc:
	case A64_smc:
	case A64_brk:
	case A64_hlt:
	case A64_drps:
	case A64_eret:
	/* The system's registers and operations: an emulator of user programs has few of them. */
	case A64_mrs:
	case A64_msr_reg:
	case A64_sys:
	case A64_sysl:
	case A64_msr_uao:
	case A64_msr_pan:
	case A64_msr_spsel:
	case A64_msr_daifset:
	case A64_msr_daifclr:
	/* They wait. */
	case A64_wfe:
	case A64_wfi:
		return true;
	default:
		return word && (is_constrained_unpredictable(word, op) || has_other_fixed_bits(word, op));
	}
}

bool oracle_difference(const struct oracle_case *ours, const struct oracle_case *theirs)
{
	const struct registers *a = &ours->after, *b = &theirs->after;

	switch (a64_decode(ours->word)) {
	/* B2.9.5: whether a store that fails for want of a monitor faults where it would have otherwise is the implementation's choice. */
	case A64_stxr:
	case A64_stxp:
		return ours->signal && !theirs->signal;
	/* B2.5.2: without FEAT_LSE2 it must be aligned. QEMU 7.2 doesn't look. */
	case A64_ldapr:
		return ours->signal == SIGBUS;
	/* The second register of a pair that begins with X30 is XZR. QEMU 7.2 writes SP. */
	case A64_casp:
		return (ours->word >> 16 & 31) == 30 && a->sp == ours->before.sp && b->sp != a->sp;
	/* QEMU 7.2 sets Z for a denormal operand that FPCR.FZ flushes; FPToFixedJS (J1) has it clear: the operand was not an integer. */
	case A64_fjcvtzs:
		return ours->before.fpcr & A64_FPCR_FZ && (a->nzcv ^ b->nzcv) == A64_PSTATE_Z;
	/* QEMU 7.2 leaves the sign in bits 31:16 of a half-precision result; what is above an element is zero (V[], J1). */
	case A64_fcvtzs_vfix:
		return (ours->word >> 28 & 1) && (uint16_t)a->v[ours->word & 31][0] == (uint16_t)b->v[ours->word & 31][0];
	default:
		return false;
	}
}
