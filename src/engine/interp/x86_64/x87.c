/* The x87 register stack and status word: see x87.h. */
#include "engine/interp/x86_64/x87.h"

const struct x86_float80 x87_indefinite = { .mantissa = 0xc000000000000000ull, .exponent = 0xffff };

struct x86_fpu *x87_begin(struct cpu *cpu)
{
	sem_check_x87(cpu);
	return &cpu_state(cpu)->fpu;
}

void x87_record(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_state *s = cpu_state(cpu);
	struct x86_fpu *fpu = &s->fpu;
	const bool wide = sem_long_code(cpu);

	fpu->fip = s->rip;
	fpu->fcs = wide ? 0 : s->seg[X86_CS].selector;
	fpu->fop = (uint16_t)((insn->opcode & 7u) << 8 | insn->modrm);
	if (insn->operand_count && insn->operand[0].kind == X86_OPND_MEM) {
		fpu->fdp = sem_offset(cpu, insn);
		fpu->fds = wide ? 0 : s->seg[insn->mem.seg].selector;
	}
}

void x87_summarise(struct x86_fpu *fpu)
{
	const bool unmasked = fpu->fsw & ~fpu->fcw & FSW_EXCEPTIONS;

	fpu->fsw = (uint16_t)((fpu->fsw & ~(FSW_ES | FSW_B)) | (unmasked ? FSW_ES | FSW_B : 0));
}

bool x87_raise(struct x86_fpu *fpu, uint16_t status, uint16_t conditions)
{
	const unsigned copied = conditions | FSW_SF | FSW_EXCEPTIONS;

	fpu->fsw = (uint16_t)((fpu->fsw & ~(unsigned)conditions) | (status & copied));
	x87_summarise(fpu);
	return !(status & ~fpu->fcw & FSW_PRECOMPUTATION);
}

bool x87_underflow(struct x86_fpu *fpu)
{
	return x87_raise(fpu, FSW_IE | FSW_SF, FSW_C1);
}

bool x87_overflow(struct x86_fpu *fpu)
{
	return x87_raise(fpu, FSW_IE | FSW_SF | FSW_C1, FSW_C1);
}

void x87_write(struct x86_fpu *fpu, unsigned i, struct x86_float80 value)
{
	*x87_st(fpu, i) = value;
	fpu->ftw = (uint8_t)(fpu->ftw | 1u << ((x87_top(fpu) + i) & 7u));
}

void x87_free(struct x86_fpu *fpu, unsigned i)
{
	fpu->ftw = (uint8_t)(fpu->ftw & ~(1u << ((x87_top(fpu) + i) & 7u)));
}

void x87_push(struct x86_fpu *fpu, struct x86_float80 value)
{
	x87_set_top(fpu, x87_top(fpu) - 1);
	x87_write(fpu, 0, value);
}

void x87_pop(struct x86_fpu *fpu)
{
	x87_free(fpu, 0);
	x87_set_top(fpu, x87_top(fpu) + 1);
}

int64_t x87_load_int(struct cpu *cpu, const struct x86_insn *insn)
{
	const uint64_t value = sem_read(cpu, insn, 0);

	switch (insn->operand[0].size) {
	case 2:
		return (int16_t)value;
	case 4:
		return (int32_t)value;
	default:
		return (int64_t)value;
	}
}
