/* Vector operands: see vec.h. */
#include "engine/interp/x86_64/vec.h"

#include "engine/interp/x86_64/sem_mmx.h"
#include <string.h>

void vec_gate(struct cpu *cpu, const struct x86_insn *insn)
{
	if (vec_is_vex(insn))
		sem_check_avx(cpu);
	else
		sem_check_sse(cpu);
}

const union vec *vec_read_as(struct cpu *cpu, const struct x86_insn *insn, unsigned opn, struct vec_pair *buf,
			     enum sem_alignment alignment)
{
	if (insn->operand[opn].kind != X86_OPND_MEM)
		return vec_register(cpu, insn->operand[opn].reg);
	sem_read_vector(cpu, insn, opn, (union x86_vector *)buf, alignment);
	return buf->half;
}

const union vec *vec_read(struct cpu *cpu, const struct x86_insn *insn, unsigned opn, struct vec_pair *buf)
{
	const bool aligned = !vec_is_vex(insn) && insn->operand[opn].size == 16;

	return vec_read_as(cpu, insn, opn, buf, aligned ? SEM_ALIGNED : SEM_UNALIGNED);
}

void vec_write(struct cpu *cpu, const struct x86_insn *insn, unsigned opn, const union vec *value)
{
	const struct x86_operand *operand = &insn->operand[opn];
	union vec *reg = vec_register(cpu, operand->reg);

	reg[0] = value[0];
	if (operand->kind == X86_OPND_YMM)
		reg[1] = value[1];
	else if (vec_is_vex(insn))
		memset(&reg[1], 0, sizeof(reg[1]));
}

void vec_unary(struct cpu *cpu, const struct x86_insn *insn, vec_unary_fn *fn)
{
	struct vec_pair buf, d;

	if (vec_is_mmx(insn)) {
		sem_mmx_unary(cpu, insn, fn);
		return;
	}
	vec_gate(cpu, insn);
	const union vec *a = vec_read(cpu, insn, 1, &buf);
	for (unsigned h = 0; h < vec_halves(insn, 0); h++)
		fn(&d.half[h], &a[h]);
	vec_write(cpu, insn, 0, d.half);
}

void vec_binary(struct cpu *cpu, const struct x86_insn *insn, vec_binary_fn *fn)
{
	struct vec_pair buf, d;
	const unsigned first = vec_first_source(insn);

	if (vec_is_mmx(insn)) {
		sem_mmx_binary(cpu, insn, fn);
		return;
	}
	vec_gate(cpu, insn);
	const union vec *b = vec_read(cpu, insn, first + 1, &buf);
	const union vec *a = vec_register(cpu, insn->operand[first].reg);
	for (unsigned h = 0; h < vec_halves(insn, 0); h++)
		fn(&d.half[h], &a[h], &b[h]);
	vec_write(cpu, insn, 0, d.half);
}

void vec_unary_imm(struct cpu *cpu, const struct x86_insn *insn, vec_unary_imm_fn *fn, unsigned high_shift)
{
	struct vec_pair buf, d;
	const unsigned imm = (uint8_t)insn->imm;

	vec_gate(cpu, insn);
	const union vec *a = vec_read(cpu, insn, 1, &buf);
	for (unsigned h = 0; h < vec_halves(insn, 0); h++)
		fn(&d.half[h], &a[h], imm >> (h * high_shift));
	vec_write(cpu, insn, 0, d.half);
}

void vec_binary_imm(struct cpu *cpu, const struct x86_insn *insn, vec_binary_imm_fn *fn, unsigned high_shift)
{
	struct vec_pair buf, d;
	const unsigned first = vec_first_source(insn), imm = (uint8_t)insn->imm;

	if (vec_is_mmx(insn)) {
		sem_mmx_binary_imm(cpu, insn, fn);
		return;
	}
	vec_gate(cpu, insn);
	const union vec *b = vec_read(cpu, insn, first + 1, &buf);
	const union vec *a = vec_register(cpu, insn->operand[first].reg);
	for (unsigned h = 0; h < vec_halves(insn, 0); h++)
		fn(&d.half[h], &a[h], &b[h], imm >> (h * high_shift));
	vec_write(cpu, insn, 0, d.half);
}
