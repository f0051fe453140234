/* MRS and MSR (DDI 0487 C5.2, D19): PSTATE's fields, the tables of arch/aarch64, and the registers of devices.
 */
#include "engine/interp/aarch64/sysreg.h"

#include "dev/timer/arm_timer.h"
#include "engine/interp/aarch64/cpu.h"

#define SEM(name) void a64_sem_##name(struct a64_cpu *cpu, uint32_t insn)
#define KEY A64_SYSREG_KEY

enum {
	KEY_SP_EL0 = KEY(3, 0, 4, 1, 0),
	KEY_SPSEL = KEY(3, 0, 4, 2, 0),
	KEY_CURRENT_EL = KEY(3, 0, 4, 2, 2),
	KEY_PAN = KEY(3, 0, 4, 2, 3),
	KEY_UAO = KEY(3, 0, 4, 2, 4),
	KEY_NZCV = KEY(3, 3, 4, 2, 0),
	KEY_DAIF = KEY(3, 3, 4, 2, 1),
	KEY_FPCR = KEY(3, 3, 4, 4, 0),
	KEY_FPSR = KEY(3, 3, 4, 4, 1),
	KEY_TIMERS_FIRST = KEY(3, 3, 14, 2, 0),
	KEY_TIMERS_LAST = KEY(3, 3, 14, 3, 2),
};

/* CNTKCTL_EL1 (D19.8.16). */
#define CNTKCTL_EL0PCTEN (1u << 0)
#define CNTKCTL_EL0VCTEN (1u << 1)
#define CNTKCTL_EL0VTEN  (1u << 8)
#define CNTKCTL_EL0PTEN  (1u << 9)

static uint32_t key_of(uint32_t insn)
{
	return a64_bits(insn, 5, 16);
}

void a64_sysreg_trap(struct a64_cpu *cpu, uint32_t insn)
{
	const uint32_t iss = a64_bits(insn, 19, 2) << 20 | a64_bits(insn, 5, 3) << 17 | a64_bits(insn, 16, 3) << 14 | a64_bits(insn, 12, 4) << 10 |
			     a64_rd(insn) << 5 | a64_bits(insn, 8, 4) << 1 | a64_bits(insn, 21, 1);

	a64_raise(cpu, A64_EC_SYSREG, iss);
}

/* ---- fields of PSTATE, FPCR, FPSR, SP_EL0 ---- */

static void check_fp(struct a64_cpu *cpu)
{
	if (!cpu->fp_enabled)
		a64_raise(cpu, A64_EC_FP, 1u << 24 | 14u << 20);
}

static void check_el1(struct a64_cpu *cpu)
{
	if (!cpu->el)
		a64_undefined(cpu);
}

static void check_daif(struct a64_cpu *cpu, uint32_t insn)
{
	if (!cpu->el && !(cpu->s.sys[A64_SYS_SCTLR_EL1] & A64_SCTLR_UMA))
		a64_sysreg_trap(cpu, insn);
}

static bool read_field(struct a64_cpu *cpu, uint32_t insn, uint64_t *value)
{
	const struct a64_state *s = &cpu->s;

	switch (key_of(insn)) {
	case KEY_NZCV:
		*value = s->pstate & A64_PSTATE_NZCV;
		return true;
	case KEY_DAIF:
		check_daif(cpu, insn);
		*value = s->pstate & A64_PSTATE_DAIF;
		return true;
	case KEY_FPCR:
		check_fp(cpu);
		*value = s->fpcr;
		return true;
	case KEY_FPSR:
		check_fp(cpu);
		*value = s->fpsr;
		return true;
	case KEY_CURRENT_EL:
		check_el1(cpu);
		*value = s->pstate & A64_PSTATE_EL;
		return true;
	case KEY_SPSEL:
		check_el1(cpu);
		*value = s->pstate & A64_PSTATE_SP;
		return true;
	case KEY_PAN:
		check_el1(cpu);
		*value = s->pstate & A64_PSTATE_PAN;
		return true;
	case KEY_UAO:
		check_el1(cpu);
		*value = s->pstate & A64_PSTATE_UAO;
		return true;
	case KEY_SP_EL0:
		check_el1(cpu);
		if (!(s->pstate & A64_PSTATE_SP))
			a64_undefined(cpu);
		*value = s->sp[0];
		return true;
	default:
		return false;
	}
}

static void set_bits(struct a64_cpu *cpu, uint64_t mask, uint64_t value)
{
	cpu->s.pstate = (cpu->s.pstate & ~mask) | (value & mask);
	a64_update_mode(cpu);
}

static bool write_field(struct a64_cpu *cpu, uint32_t insn, uint64_t value)
{
	switch (key_of(insn)) {
	case KEY_NZCV:
		cpu->s.pstate = (cpu->s.pstate & ~A64_PSTATE_NZCV) | (value & A64_PSTATE_NZCV);
		return true;
	case KEY_DAIF:
		check_daif(cpu, insn);
		set_bits(cpu, A64_PSTATE_DAIF, value);
		return true;
	case KEY_FPCR:
		check_fp(cpu);
		cpu->s.fpcr = (uint32_t)value & A64_FPCR_MASK;
		a64_update_mode(cpu);
		return true;
	case KEY_FPSR:
		check_fp(cpu);
		cpu->s.fpsr = (uint32_t)value & A64_FPSR_MASK;
		return true;
	case KEY_SPSEL:
		check_el1(cpu);
		set_bits(cpu, A64_PSTATE_SP, value);
		return true;
	case KEY_PAN:
		check_el1(cpu);
		set_bits(cpu, A64_PSTATE_PAN, value);
		return true;
	case KEY_UAO:
		check_el1(cpu);
		set_bits(cpu, A64_PSTATE_UAO, value);
		return true;
	case KEY_SP_EL0:
		check_el1(cpu);
		if (!(cpu->s.pstate & A64_PSTATE_SP))
			a64_undefined(cpu);
		cpu->s.sp[0] = value;
		return true;
	default:
		return false;
	}
}

/* ---- registers of the table ---- */

/* What EL0 may read only as long as EL1 lets it. */
static void check_user(struct a64_cpu *cpu, uint32_t insn, unsigned index)
{
	const uint64_t control = cpu->s.sys[A64_SYS_CNTKCTL_EL1];
	bool allowed = true;

	if (cpu->el)
		return;
	switch (index) {
	case A64_SYS_CTR_EL0:
		allowed = cpu->s.sys[A64_SYS_SCTLR_EL1] & A64_SCTLR_UCT;
		break;
	case A64_SYS_CNTFRQ_EL0:
		allowed = control & (CNTKCTL_EL0PCTEN | CNTKCTL_EL0VCTEN);
		break;
	case A64_SYS_CNTPCT_EL0:
		allowed = control & CNTKCTL_EL0PCTEN;
		break;
	case A64_SYS_CNTVCT_EL0:
		allowed = control & CNTKCTL_EL0VCTEN;
		break;
	case A64_SYS_MDCCSR_EL0:
	case A64_SYS_DBGDTR_EL0:
	case A64_SYS_DBGDTRRX_EL0:
		allowed = !(cpu->s.sys[A64_SYS_MDSCR_EL1] & 1u << 12); /* TDCC */
		break;
	default:
		break;
	}
	if (!allowed)
		a64_sysreg_trap(cpu, insn);
}

/* CCSIDR_EL1 of the cache that CSSELR_EL1 names: 32 KiB and 32 KiB, 512 KiB; 64-byte lines. */
static uint64_t cache_size(uint64_t select)
{
	const uint64_t lines = 2, ways = 7ull << 3;

	return (select >> 1 ? 1023ull : 63ull) << 13 | ways | lines;
}

static uint64_t read_register(const struct a64_cpu *cpu, unsigned index)
{
	switch (index) {
	case A64_SYS_CNTPCT_EL0:
	case A64_SYS_CNTVCT_EL0:
		return arm_counter(cpu->vm);
	case A64_SYS_CCSIDR_EL1:
		return cache_size(cpu->s.sys[A64_SYS_CSSELR_EL1]);
	case A64_SYS_ISR_EL1:
		return (uint64_t)cpu->irq_pending << 7 | (uint64_t)cpu->fiq_pending << 6;
	default:
		return cpu->s.sys[index];
	}
}

/* What a change of it means for the rest of the processor. */
static void written(struct a64_cpu *cpu, unsigned index, uint64_t old)
{
	const uint64_t changed = old ^ cpu->s.sys[index];

	switch (index) {
	case A64_SYS_SCTLR_EL1:
		if (changed & (A64_SCTLR_M | A64_SCTLR_WXN))
			a64_tlb_flush(cpu, true);
		a64_update_mode(cpu);
		break;
	case A64_SYS_CPACR_EL1:
	case A64_SYS_MDSCR_EL1:
		a64_update_mode(cpu);
		break;
	case A64_SYS_TTBR0_EL1:
	case A64_SYS_TTBR1_EL1:
		/* The soft TLB knows no ASIDs. */
		if (changed)
			a64_tlb_switch(cpu);
		break;
	case A64_SYS_TCR_EL1:
	case A64_SYS_MAIR_EL1:
		if (changed)
			a64_tlb_flush(cpu, true);
		break;
	case A64_SYS_OSLAR_EL1:
		cpu->s.sys[A64_SYS_OSLSR_EL1] = 8 | (cpu->s.sys[A64_SYS_OSLAR_EL1] & 1) << 1;
		a64_update_mode(cpu);
		break;
	default:
		break;
	}
}

static void write_register(struct a64_cpu *cpu, const struct a64_sysreg *reg, uint64_t value)
{
	const uint64_t old = cpu->s.sys[reg->index];

	cpu->s.sys[reg->index] = (old & ~reg->writable) | (value & reg->writable);
	written(cpu, reg->index, old);
}

/* ---- registers of devices ---- */

/* At EL0 there are only the timers', each by CNTKCTL_EL1's leave. */
static void check_device_user(struct a64_cpu *cpu, uint32_t insn, uint32_t key)
{
	if (cpu->el)
		return;
	if (key < KEY_TIMERS_FIRST || key > KEY_TIMERS_LAST)
		a64_undefined(cpu);
	if (!(cpu->s.sys[A64_SYS_CNTKCTL_EL1] & (key >> 3 & 1 ? CNTKCTL_EL0VTEN : CNTKCTL_EL0PTEN)))
		a64_sysreg_trap(cpu, insn);
}

static uint64_t access_device(struct a64_cpu *cpu, uint32_t insn, bool write, uint64_t value)
{
	const uint32_t key = key_of(insn);

	check_device_user(cpu, insn, key);
	if (!a64_device_sysreg(cpu, key, write, &value))
		a64_undefined(cpu);
	/* An interrupt may have been taken, ended or unmasked. */
	atomic_fetch_or(&cpu->vcpu->request, VCPU_REQ_IRQ);
	return value;
}

/* ---- the instructions ---- */

SEM(mrs)
{
	const uint32_t key = key_of(insn);
	const struct a64_sysreg *reg;
	uint64_t value;

	if (read_field(cpu, insn, &value)) {
		a64_set_x(&cpu->s, a64_rd(insn), value);
		return;
	}
	reg = a64_sysreg_find(key);
	if (reg) {
		if (!(reg->access & (cpu->el ? A64_R1 : A64_R0)))
			a64_undefined(cpu);
		check_user(cpu, insn, reg->index);
		value = read_register(cpu, reg->index);
	} else if (a64_id_register(key, &value)) {
		check_el1(cpu);
	} else {
		value = access_device(cpu, insn, false, 0);
	}
	a64_set_x(&cpu->s, a64_rd(insn), value);
}

SEM(msr_reg)
{
	const uint64_t value = a64_x(&cpu->s, a64_rd(insn));
	const struct a64_sysreg *reg;

	if (write_field(cpu, insn, value))
		return;
	reg = a64_sysreg_find(key_of(insn));
	if (!reg) {
		access_device(cpu, insn, true, value);
		return;
	}
	if (!(reg->access & (cpu->el ? A64_W1 : A64_W0)))
		a64_undefined(cpu);
	check_user(cpu, insn, reg->index);
	write_register(cpu, reg, value);
}
