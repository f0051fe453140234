/* Hints, barriers, PSTATE, and the SYS space: cache and TLB maintenance, address translation (DDI 0487 C4.1.66, C5.3 to C5.5). Registers are
 * sysreg.c's.
 */
#include "engine/interp/aarch64/cpu.h"
#include "engine/interp/aarch64/sysreg.h"

#define SEM(name) void a64_sem_##name(struct a64_cpu *cpu, uint32_t insn)

/* ---- hints ---- */

SEM(yield) {}
SEM(hint) {}

static void check_wait(struct a64_cpu *cpu, uint64_t allowed, unsigned what)
{
	if (!cpu->el && !(cpu->s.sys[A64_SYS_SCTLR_EL1] & allowed))
		a64_raise(cpu, A64_EC_WFX, 1u << 24 | 14u << 20 | what);
}

/* May come back for any reason, and does at once. */
SEM(wfe)
{
	if (!cpu->event)
		check_wait(cpu, A64_SCTLR_NTWE, 1);
	cpu->event = false;
}

SEM(wfi)
{
	if (!cpu->irq_pending && !cpu->fiq_pending)
		check_wait(cpu, A64_SCTLR_NTWI, 0);
	cpu->s.activity = A64_WAITING;
	cpu->attention = true;
}

/* ---- barriers ---- */

SEM(dsb) { atomic_thread_fence(memory_order_seq_cst); }
SEM(dmb) { atomic_thread_fence(memory_order_seq_cst); }
SEM(isb) {}
SEM(sb) {}

/* ---- PSTATE by immediate ---- */

static void set_pstate(struct a64_cpu *cpu, uint64_t bit, bool on)
{
	if (!cpu->el)
		a64_undefined(cpu);
	cpu->s.pstate = on ? cpu->s.pstate | bit : cpu->s.pstate & ~bit;
	a64_update_mode(cpu);
}

SEM(msr_uao) { set_pstate(cpu, A64_PSTATE_UAO, insn & 1u << 8); }
SEM(msr_pan) { set_pstate(cpu, A64_PSTATE_PAN, insn & 1u << 8); }
SEM(msr_spsel) { set_pstate(cpu, A64_PSTATE_SP, insn & 1u << 8); }

static uint64_t daif_bits(struct a64_cpu *cpu, uint32_t insn)
{
	if (!cpu->el && !(cpu->s.sys[A64_SYS_SCTLR_EL1] & A64_SCTLR_UMA))
		a64_sysreg_trap(cpu, insn);
	return (uint64_t)a64_bits(insn, 8, 4) << 6;
}

SEM(msr_daifset)
{
	cpu->s.pstate |= daif_bits(cpu, insn);
	a64_update_mode(cpu);
}

SEM(msr_daifclr)
{
	cpu->s.pstate &= ~daif_bits(cpu, insn);
	a64_update_mode(cpu);
}

/* ---- SYS ---- */

#define OP(op1, crn, crm, op2) ((op1) << 11 | (crn) << 7 | (crm) << 3 | (op2))

enum {
	IC_IALLUIS = OP(0, 7, 1, 0),
	IC_IALLU = OP(0, 7, 5, 0),
	IC_IVAU = OP(3, 7, 5, 1),
	DC_IVAC = OP(0, 7, 6, 1),
	DC_ISW = OP(0, 7, 6, 2),
	DC_CSW = OP(0, 7, 10, 2),
	DC_CISW = OP(0, 7, 14, 2),
	DC_ZVA = OP(3, 7, 4, 1),
	DC_CVAC = OP(3, 7, 10, 1),
	DC_CVAU = OP(3, 7, 11, 1),
	DC_CVAP = OP(3, 7, 12, 1),
	DC_CIVAC = OP(3, 7, 14, 1),
	AT_S1E1R = OP(0, 7, 8, 0),
	AT_S1E1W = OP(0, 7, 8, 1),
	AT_S1E0R = OP(0, 7, 8, 2),
	AT_S1E0W = OP(0, 7, 8, 3),
	AT_S1E1RP = OP(0, 7, 9, 0),
	AT_S1E1WP = OP(0, 7, 9, 1),
	TLBI_VMALLE1 = OP(0, 8, 7, 0),
	TLBI_VAE1 = OP(0, 8, 7, 1),
	TLBI_ASIDE1 = OP(0, 8, 7, 2),
	TLBI_VAAE1 = OP(0, 8, 7, 3),
	TLBI_VALE1 = OP(0, 8, 7, 5),
	TLBI_VAALE1 = OP(0, 8, 7, 7),
};
#define TLBI_INNER_SHAREABLE OP(0, 8, 3, 0) /* instead of 7 */

static bool is_tlbi(unsigned op)
{
	const unsigned group = op & ~7u;

	return group == TLBI_VMALLE1 || group == TLBI_INNER_SHAREABLE;
}

static void tlbi(struct a64_cpu *cpu, unsigned op, uint64_t operand)
{
	switch (op | TLBI_VMALLE1) {
	case TLBI_VMALLE1:
		a64_tlb_flush(cpu, true);
		break;
	case TLBI_ASIDE1:
		a64_tlb_flush(cpu, false);
		break;
	case TLBI_VAE1:
	case TLBI_VAAE1:
	case TLBI_VALE1:
	case TLBI_VAALE1:
		/* Bits 43:0 are the address's 55:12. */
		a64_tlb_flush_page(cpu, (uint64_t)((int64_t)(operand << 20) >> 8));
		break;
	default:
		a64_undefined(cpu);
	}
	if ((op & ~7u) == TLBI_INNER_SHAREABLE)
		a64_tlb_broadcast(cpu);
}

/* Operations on caches by address that EL0 may use if SCTLR_EL1 has the bit. */
static void check_user(struct a64_cpu *cpu, uint32_t insn, uint64_t bit)
{
	if (!cpu->el && !(cpu->s.sys[A64_SYS_SCTLR_EL1] & bit))
		a64_sysreg_trap(cpu, insn);
}

static unsigned pan(const struct a64_cpu *cpu)
{
	return cpu->s.pstate & A64_PSTATE_PAN ? A64_WALK_PAN : 0;
}

static void at(struct a64_cpu *cpu, unsigned op, uint64_t address)
{
	unsigned access = 0;

	if (op == AT_S1E0R || op == AT_S1E0W)
		access |= A64_WALK_USER;
	if (op == AT_S1E1W || op == AT_S1E0W || op == AT_S1E1WP)
		access |= A64_WALK_WRITE;
	if (op == AT_S1E1RP || op == AT_S1E1WP)
		access |= pan(cpu);
	cpu->s.sys[A64_SYS_PAR_EL1] = a64_translate_address(cpu, address, access);
}

/* Those that EL0 may have. False: none of them. */
static bool cache_operation(struct a64_cpu *cpu, uint32_t insn, unsigned op, uint64_t address)
{
	switch (op) {
	case DC_ZVA:
		check_user(cpu, insn, A64_SCTLR_DZE);
		a64_zero_block(cpu, address);
		return true;
	case DC_CVAC:
	case DC_CVAU:
	case DC_CVAP:
	case DC_CIVAC:
		check_user(cpu, insn, A64_SCTLR_UCI);
		a64_check_maintenance(cpu, address);
		return true;
	case IC_IVAU:
		check_user(cpu, insn, A64_SCTLR_UCI);
		a64_ic_invalidate(cpu, address);
		return true;
	default:
		return false;
	}
}

SEM(sys)
{
	const unsigned op = a64_bits(insn, 5, 14);
	const uint64_t operand = a64_x(&cpu->s, a64_rd(insn));

	if (cache_operation(cpu, insn, op, operand))
		return;
	if (!cpu->el)
		a64_undefined(cpu);
	if (is_tlbi(op)) {
		tlbi(cpu, op, operand);
		return;
	}
	switch (op) {
	case IC_IALLU:
	case IC_IALLUIS:
		a64_ic_invalidate_all(cpu);
		break;
	case DC_IVAC:
		a64_check_maintenance(cpu, operand);
		break;
	case DC_ISW:
	case DC_CSW:
	case DC_CISW:
		break;
	case AT_S1E1R:
	case AT_S1E1W:
	case AT_S1E0R:
	case AT_S1E0W:
	case AT_S1E1RP:
	case AT_S1E1WP:
		at(cpu, op, operand);
		break;
	default:
		a64_undefined(cpu);
	}
}

SEM(sysl) { a64_undefined(cpu); }
