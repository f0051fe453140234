/* x87 control: FNINIT, FNCLEX, the control and status words, the environment and the whole state in memory, FWAIT,
 * and what only moves the stack or its tags (SDM 1 8.1.10, 8.3.11; FXSAVE and XSAVE are sem_xsave.c's).
 *
 * Example: `fnstenv [mem]` stores 28 bytes (14 with a 16-bit operand size), then masks all exceptions.
 */
#include "engine/interp/x86_64/x87.h"
#include <string.h>

#define FCW_VALID    0x1f3fu
#define FCW_RESERVED 0x40u /* reads as 1 */

static void set_fcw(struct x86_fpu *fpu, uint64_t value)
{
	fpu->fcw = (uint16_t)((value & FCW_VALID) | FCW_RESERVED);
	x87_summarise(fpu);
}

static struct x86_fpu *begin_no_wait(struct cpu *cpu)
{
	sem_check_x87_no_wait(cpu);
	return &cpu_state(cpu)->fpu;
}

/* ---- words ---- */

static void initialise(struct x86_fpu *fpu)
{
	fpu->fcw = FCW_DEFAULT;
	fpu->fsw = 0;
	fpu->ftw = 0;
	fpu->fop = 0;
	fpu->fip = fpu->fdp = 0;
	fpu->fcs = fpu->fds = 0;
}

static void sem_FNINIT(struct cpu *cpu, const struct x86_insn *insn)
{
	(void)insn;
	initialise(begin_no_wait(cpu));
}

static void sem_FNCLEX(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_fpu *fpu = begin_no_wait(cpu);

	(void)insn;
	fpu->fsw = (uint16_t)(fpu->fsw & ~(FSW_EXCEPTIONS | FSW_SF | FSW_ES | FSW_B));
}

static void sem_FNSTCW(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_write(cpu, insn, 0, begin_no_wait(cpu)->fcw);
}

static void sem_FNSTSW(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_write(cpu, insn, 0, begin_no_wait(cpu)->fsw);
}

static void sem_FLDCW(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_fpu *fpu = x87_begin(cpu);

	set_fcw(fpu, sem_read(cpu, insn, 0));
}

/* CR0.TS counts only with CR0.MP, CR0.EM not at all (SDM 2, WAIT/FWAIT). */
static void sem_FWAIT(struct cpu *cpu, const struct x86_insn *insn)
{
	const struct x86_state *s = cpu_state(cpu);

	(void)insn;
	if ((s->cr0 & (X86_CR0_MP | X86_CR0_TS)) == (X86_CR0_MP | X86_CR0_TS))
		raise_exception(cpu, X86_EXC_NM);
	if (s->fpu.fsw & FSW_ES)
		raise_exception(cpu, X86_EXC_MF);
}

/* DB: what the 8087 and the 287 had as control instructions, which do not wait. */
static void sem_FNOP(struct cpu *cpu, const struct x86_insn *insn)
{
	if (insn->opcode == 0xdb) {
		sem_check_x87_no_wait(cpu);
		return;
	}
	x87_begin(cpu);
	x87_record(cpu, insn);
}

/* ---- the environment ---- */

#define ENVIRONMENT_MAX 28
#define STATE_MAX       (ENVIRONMENT_MAX + 80)

enum tag { TAG_VALID, TAG_ZERO, TAG_SPECIAL, TAG_EMPTY };

static enum tag tag_of(const struct x86_float80 *r)
{
	const unsigned exponent = r->exponent & 0x7fffu;

	if (!exponent && !r->mantissa)
		return TAG_ZERO;
	return !exponent || exponent == 0x7fff || !(r->mantissa >> 63) ? TAG_SPECIAL : TAG_VALID;
}

static uint16_t full_tags(const struct x86_fpu *fpu)
{
	unsigned tags = 0;

	for (unsigned i = 0; i < 8; i++)
		tags |= (unsigned)(fpu->ftw >> i & 1u ? tag_of(&fpu->r[i]) : TAG_EMPTY) << 2 * i;
	return (uint16_t)tags;
}

static void set_tags(struct x86_fpu *fpu, uint16_t tags)
{
	unsigned used = 0;

	for (unsigned i = 0; i < 8; i++)
		used |= (unsigned)((tags >> 2 * i & 3u) != TAG_EMPTY) << i;
	fpu->ftw = (uint8_t)used;
}

static bool real_format(struct cpu *cpu)
{
	const struct x86_state *s = cpu_state(cpu);

	return !(s->cr0 & X86_CR0_PE) || (s->rflags & X86_FLAG_VM);
}

static unsigned environment_size(const struct x86_insn *insn)
{
	return insn->opsize == 2 ? 14 : 28;
}

/* Seven words, or seven doublewords whose unused upper halves are ones (SDM 1 figures 8-9 to 8-12). */
static void environment_pack(struct cpu *cpu, const struct x86_insn *insn, uint8_t *out)
{
	const struct x86_fpu *fpu = &cpu_state(cpu)->fpu;
	const bool small = insn->opsize == 2;
	uint32_t field[7] = { 0xffff0000u | fpu->fcw, 0xffff0000u | fpu->fsw, 0xffff0000u | full_tags(fpu) };

	if (real_format(cpu)) {
		const uint32_t ip = ((uint32_t)fpu->fcs << 4) + (uint32_t)fpu->fip;
		const uint32_t dp = ((uint32_t)fpu->fds << 4) + (uint32_t)fpu->fdp;

		field[3] = 0xffff0000u | (ip & 0xffff);
		field[4] = (ip >> 16 & (small ? 0xfu : 0xffffu)) << 12 | fpu->fop;
		field[5] = 0xffff0000u | (dp & 0xffff);
		field[6] = (dp >> 16 & (small ? 0xfu : 0xffffu)) << 12;
	} else {
		field[3] = (uint32_t)fpu->fip;
		field[4] = (uint32_t)fpu->fop << 16 | fpu->fcs;
		field[5] = (uint32_t)fpu->fdp;
		field[6] = 0xffff0000u | fpu->fds;
	}
	for (unsigned i = 0; i < 7; i++)
		memcpy(out + (small ? 2 : 4) * i, &field[i], small ? 2 : 4);
}

static void environment_unpack(struct cpu *cpu, const struct x86_insn *insn, const uint8_t *in)
{
	struct x86_fpu *fpu = &cpu_state(cpu)->fpu;
	const bool small = insn->opsize == 2;
	uint32_t field[7] = { 0 };

	for (unsigned i = 0; i < 7; i++)
		memcpy(&field[i], in + (small ? 2 : 4) * i, small ? 2 : 4);
	if (real_format(cpu)) {
		fpu->fip = (field[3] & 0xffff) | (field[4] >> 12 & (small ? 0xfu : 0xffffu)) << 16;
		fpu->fdp = (field[5] & 0xffff) | (field[6] >> 12 & (small ? 0xfu : 0xffffu)) << 16;
		fpu->fop = field[4] & 0x7ff;
		fpu->fcs = fpu->fds = 0;
	} else {
		const bool wide = sem_long_code(cpu);

		fpu->fip = field[3];
		fpu->fdp = field[5];
		fpu->fop = small ? 0 : field[4] >> 16 & 0x7ff;
		fpu->fcs = wide ? 0 : (uint16_t)field[4];
		fpu->fds = wide ? 0 : (uint16_t)field[6];
	}
	fpu->fsw = (uint16_t)field[1];
	set_tags(fpu, (uint16_t)field[2]);
	set_fcw(fpu, field[0]);
}

static void load_bytes(struct cpu *cpu, const struct x86_insn *insn, uint8_t *buf, unsigned size)
{
	const uint64_t offset = sem_offset(cpu, insn);

	for (unsigned done = 0; done < size; done += 64)
		sem_load(cpu, insn->mem.seg, offset + done, buf + done, size - done < 64 ? size - done : 64);
}

static void store_bytes(struct cpu *cpu, const struct x86_insn *insn, const uint8_t *buf, unsigned size)
{
	const uint64_t offset = sem_offset(cpu, insn);

	for (unsigned done = 0; done < size; done += 64)
		sem_probe_store(cpu, insn->mem.seg, offset + done, size - done < 64 ? size - done : 64);
	for (unsigned done = 0; done < size; done += 64)
		sem_store(cpu, insn->mem.seg, offset + done, buf + done, size - done < 64 ? size - done : 64);
}

static void sem_FNSTENV(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_fpu *fpu = begin_no_wait(cpu);
	uint8_t buf[ENVIRONMENT_MAX];

	environment_pack(cpu, insn, buf);
	store_bytes(cpu, insn, buf, environment_size(insn));
	set_fcw(fpu, fpu->fcw | FCW_MASKS);
}

static void sem_FLDENV(struct cpu *cpu, const struct x86_insn *insn)
{
	uint8_t buf[ENVIRONMENT_MAX];

	x87_begin(cpu);
	load_bytes(cpu, insn, buf, environment_size(insn));
	environment_unpack(cpu, insn, buf);
}

/* ---- the state: the environment, then ST(0) to ST(7) ---- */

static void sem_FNSAVE(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_fpu *fpu = begin_no_wait(cpu);
	const unsigned size = environment_size(insn);
	uint8_t buf[STATE_MAX];

	environment_pack(cpu, insn, buf);
	for (unsigned i = 0; i < 8; i++) {
		memcpy(buf + size + 10 * i, &x87_st(fpu, i)->mantissa, 8);
		memcpy(buf + size + 10 * i + 8, &x87_st(fpu, i)->exponent, 2);
	}
	store_bytes(cpu, insn, buf, size + 80);
	initialise(fpu);
}

static void sem_FRSTOR(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_fpu *fpu = x87_begin(cpu);
	const unsigned size = environment_size(insn);
	uint8_t buf[STATE_MAX];

	load_bytes(cpu, insn, buf, size + 80);
	environment_unpack(cpu, insn, buf);
	for (unsigned i = 0; i < 8; i++) {
		memcpy(&x87_st(fpu, i)->mantissa, buf + size + 10 * i, 8);
		memcpy(&x87_st(fpu, i)->exponent, buf + size + 10 * i + 8, 2);
	}
}

/* ---- the stack pointer and tags ---- */

static void sem_FINCSTP(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_fpu *fpu = x87_begin(cpu);

	x87_record(cpu, insn);
	x87_set_top(fpu, x87_top(fpu) + 1);
	x87_raise(fpu, 0, FSW_C1);
}

static void sem_FDECSTP(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_fpu *fpu = x87_begin(cpu);

	x87_record(cpu, insn);
	x87_set_top(fpu, x87_top(fpu) - 1);
	x87_raise(fpu, 0, FSW_C1);
}

static void sem_FFREE(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_fpu *fpu = x87_begin(cpu);

	x87_record(cpu, insn);
	x87_raise(fpu, 0, FSW_C1); /* undefined in the manual; cleared by processors */
	x87_free(fpu, insn->operand[0].reg);
	if (insn->op == X86_FFREEP)
		x87_pop(fpu);
}

const struct sem_entry sem_x87_control[] = {
	{ X86_FNINIT, sem_FNINIT },
	{ X86_FNCLEX, sem_FNCLEX },
	{ X86_FNSTCW, sem_FNSTCW },
	{ X86_FNSTSW, sem_FNSTSW },
	{ X86_FLDCW, sem_FLDCW },
	{ X86_FWAIT, sem_FWAIT },
	{ X86_FNOP, sem_FNOP },
	{ X86_FNSTENV, sem_FNSTENV },
	{ X86_FLDENV, sem_FLDENV },
	{ X86_FNSAVE, sem_FNSAVE },
	{ X86_FRSTOR, sem_FRSTOR },
	{ X86_FINCSTP, sem_FINCSTP },
	{ X86_FDECSTP, sem_FDECSTP },
	{ X86_FFREE, sem_FFREE },
	{ X86_FFREEP, sem_FFREE },
	{ 0, NULL },
};
