/* x87 loads, stores and moves: FLD, FILD, FBLD, FST(P), FIST(P), FISTTP, FBSTP, FXCH, FCMOVcc and the constants.
 *
 * Example: `fistp word [mem]` of 1e9 with invalid masked stores 0x8000, sets IE and pops.
 */
#include "engine/interp/x86_64/x87.h"
#include <string.h>

/* ---- memory operands: those of 80 bits are a quadword and a word to alignment checks ---- */

static void load_bytes(struct cpu *cpu, const struct x86_insn *insn, uint8_t *buf, unsigned size)
{
	const uint64_t offset = sem_offset(cpu, insn);

	sem_load(cpu, insn->mem.seg, offset, buf, size < 8 ? size : 8);
	if (size > 8)
		sem_load(cpu, insn->mem.seg, offset + 8, buf + 8, size - 8);
}

static void probe_bytes(struct cpu *cpu, const struct x86_insn *insn, unsigned size)
{
	const uint64_t offset = sem_offset(cpu, insn);

	sem_probe_store(cpu, insn->mem.seg, offset, size < 8 ? size : 8);
	if (size > 8)
		sem_probe_store(cpu, insn->mem.seg, offset + 8, size - 8);
}

static void store_bytes(struct cpu *cpu, const struct x86_insn *insn, const uint8_t *buf, unsigned size)
{
	const uint64_t offset = sem_offset(cpu, insn);

	if (size > 8)
		probe_bytes(cpu, insn, size);
	sem_store(cpu, insn->mem.seg, offset, buf, size < 8 ? size : 8);
	if (size > 8)
		sem_store(cpu, insn->mem.seg, offset + 8, buf + 8, size - 8);
}

/* ---- loads ---- */

/* What was fetched, pushed by the rules of a full stack. */
static void push_loaded(struct x86_fpu *fpu, uint16_t status, struct x86_float80 value)
{
	if (!x87_empty(fpu, 7)) {
		if (x87_overflow(fpu))
			x87_push(fpu, x87_indefinite);
	} else if (x87_raise(fpu, status, FSW_C1) || !(status & FSW_IE)) {
		/* A denormal is loaded even if its exception is unmasked. */
		x87_push(fpu, value);
	}
}

static void load(struct cpu *cpu, const struct x86_insn *insn, x87_fn *fn, unsigned size)
{
	struct x86_fpu *fpu = x87_begin(cpu);
	struct x86_float80 st[2];
	uint8_t memory[10];

	load_bytes(cpu, insn, memory, size);
	x87_record(cpu, insn);
	const uint16_t status = fn(fpu->fcw, st, memory);
	push_loaded(fpu, status & ~FSW_C1, st[0]);
}

static void load_register(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_fpu *fpu = x87_begin(cpu);
	const unsigned i = insn->operand[0].reg;

	x87_record(cpu, insn);
	if (x87_empty(fpu, i)) {
		if (x87_underflow(fpu))
			x87_push(fpu, x87_indefinite);
	} else {
		push_loaded(fpu, 0, *x87_st(fpu, i));
	}
}

static void load_extended(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_fpu *fpu = x87_begin(cpu);
	struct x86_float80 value = { 0 };
	uint8_t memory[10];

	load_bytes(cpu, insn, memory, 10);
	memcpy(&value.mantissa, memory, 8);
	memcpy(&value.exponent, memory + 8, 2);
	x87_record(cpu, insn);
	push_loaded(fpu, 0, value);
}

static void sem_FLD(struct cpu *cpu, const struct x86_insn *insn)
{
	if (insn->operand[0].kind == X86_OPND_ST)
		load_register(cpu, insn);
	else if (insn->operand[0].size == 4)
		load(cpu, insn, x87_fld_f32, 4);
	else if (insn->operand[0].size == 8)
		load(cpu, insn, x87_fld_f64, 8);
	else
		load_extended(cpu, insn);
}

static void sem_FILD(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_fpu *fpu = x87_begin(cpu);
	struct x86_float80 st[2];
	const int64_t value = x87_load_int(cpu, insn);

	x87_record(cpu, insn);
	x87_fild(fpu->fcw, st, &value);
	push_loaded(fpu, 0, st[0]);
}

static void sem_FBLD(struct cpu *cpu, const struct x86_insn *insn)
{
	load(cpu, insn, x87_fbld, 10);
}

/* ---- constants: rounded by FCW.RC ---- */

static void load_constant(struct cpu *cpu, const struct x86_insn *insn, x87_fn *fn)
{
	struct x86_fpu *fpu = x87_begin(cpu);
	struct x86_float80 st[2];

	x87_record(cpu, insn);
	fn(fpu->fcw, st, NULL);
	push_loaded(fpu, 0, st[0]);
}

#define CONSTANTS(X)                                                                               \
	X(FLD1, fld1) X(FLDL2T, fldl2t) X(FLDL2E, fldl2e) X(FLDPI, fldpi) X(FLDLG2, fldlg2)        \
	X(FLDLN2, fldln2) X(FLDZ, fldz)
#define DEFINE_CONSTANT(OP, name)                                                                  \
	static void sem_##OP(struct cpu *cpu, const struct x86_insn *insn)                         \
	{                                                                                          \
		load_constant(cpu, insn, x87_##name);                                              \
	}
CONSTANTS(DEFINE_CONSTANT)

/* ---- stores ---- */

static void pop_if(struct x86_fpu *fpu, const struct x86_insn *insn)
{
	switch (insn->op) {
	case X86_FST:
	case X86_FIST:
		break;
	default:
		x87_pop(fpu);
		break;
	}
}

/* D9 D8+i, which the manual leaves out: an empty register is not moved, but popped without an exception. */
static void store_register_unchecked(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_fpu *fpu = x87_begin(cpu);

	x87_record(cpu, insn);
	x87_raise(fpu, 0, FSW_C1);
	if (!x87_empty(fpu, 0))
		x87_write(fpu, insn->operand[0].reg, *x87_st(fpu, 0));
	x87_pop(fpu);
}

static void store_register(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_fpu *fpu = x87_begin(cpu);

	x87_record(cpu, insn);
	if (x87_empty(fpu, 0)) {
		if (!x87_underflow(fpu))
			return;
		x87_write(fpu, insn->operand[0].reg, x87_indefinite);
	} else {
		x87_raise(fpu, 0, FSW_C1);
		x87_write(fpu, insn->operand[0].reg, *x87_st(fpu, 0));
	}
	pop_if(fpu, insn);
}

/* An unmasked exception keeps memory as it is, but for inexact results, which are stored. The store comes before any
 * change of the state: it may fault. */
static void store(struct cpu *cpu, const struct x86_insn *insn, const uint8_t *value, uint16_t status)
{
	struct x86_fpu *fpu = &cpu_state(cpu)->fpu;
	const unsigned size = insn->operand[0].size;
	const bool stored = !(status & ~fpu->fcw & (FSW_PRECOMPUTATION | FSW_OE | FSW_UE));

	if (stored)
		store_bytes(cpu, insn, value, size);
	else
		probe_bytes(cpu, insn, size);
	x87_record(cpu, insn);
	x87_raise(fpu, status, FSW_C1);
	if (stored)
		pop_if(fpu, insn);
}

static void convert_and_store(struct cpu *cpu, const struct x86_insn *insn, x87_store_fn *fn, uint16_t rounding,
			      const void *indefinite)
{
	struct x86_fpu *fpu = x87_begin(cpu);
	uint8_t value[10] = { 0 };
	uint16_t status;

	if (x87_empty(fpu, 0)) {
		memcpy(value, indefinite, insn->operand[0].size);
		status = FSW_IE | FSW_SF;
	} else {
		status = fn(fpu->fcw | rounding, x87_st(fpu, 0), value);
	}
	if (insn->op == X86_FISTTP)
		status &= (uint16_t)~FSW_C1;
	store(cpu, insn, value, status);
}

static void store_extended(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_fpu *fpu = x87_begin(cpu);
	const bool empty = x87_empty(fpu, 0);
	const struct x86_float80 *from = empty ? &x87_indefinite : x87_st(fpu, 0);
	uint8_t value[10];

	memcpy(value, &from->mantissa, 8);
	memcpy(value + 8, &from->exponent, 2);
	store(cpu, insn, value, empty ? FSW_IE | FSW_SF : 0);
}

static void sem_FST(struct cpu *cpu, const struct x86_insn *insn)
{
	static const uint32_t indefinite32 = 0xffc00000;
	static const uint64_t indefinite64 = 0xfff8000000000000;

	if (insn->operand[0].kind == X86_OPND_ST && insn->opcode == 0xd9)
		store_register_unchecked(cpu, insn);
	else if (insn->operand[0].kind == X86_OPND_ST)
		store_register(cpu, insn);
	else if (insn->operand[0].size == 4)
		convert_and_store(cpu, insn, x87_fst_f32, 0, &indefinite32);
	else if (insn->operand[0].size == 8)
		convert_and_store(cpu, insn, x87_fst_f64, 0, &indefinite64);
	else
		store_extended(cpu, insn);
}

static void store_integer(struct cpu *cpu, const struct x86_insn *insn, uint16_t rounding)
{
	const unsigned size = insn->operand[0].size;
	const uint64_t indefinite = 1ull << (8 * size - 1);

	convert_and_store(cpu, insn, size == 2 ? x87_fist_16 : size == 4 ? x87_fist_32 : x87_fist_64, rounding,
			  &indefinite);
}

static void sem_FIST(struct cpu *cpu, const struct x86_insn *insn)
{
	store_integer(cpu, insn, 0);
}

static void sem_FISTTP(struct cpu *cpu, const struct x86_insn *insn)
{
	store_integer(cpu, insn, FCW_RC); /* RC 3: toward zero */
}

static void sem_FBSTP(struct cpu *cpu, const struct x86_insn *insn)
{
	static const uint8_t indefinite[10] = { 0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff };

	convert_and_store(cpu, insn, x87_fbst, 0, indefinite);
}

/* ---- between registers ---- */

static void sem_FXCH(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_fpu *fpu = x87_begin(cpu);
	const unsigned i = insn->operand[0].reg;
	struct x86_float80 a = *x87_st(fpu, 0), b = *x87_st(fpu, i);

	x87_record(cpu, insn);
	if (x87_empty(fpu, 0) || x87_empty(fpu, i)) {
		if (x87_empty(fpu, 0))
			a = x87_indefinite;
		if (x87_empty(fpu, i))
			b = x87_indefinite;
		if (!x87_underflow(fpu))
			return;
	} else {
		x87_raise(fpu, 0, FSW_C1);
	}
	x87_write(fpu, 0, b);
	x87_write(fpu, i, a);
}

static void move_if(struct cpu *cpu, const struct x86_insn *insn, bool taken)
{
	struct x86_fpu *fpu = x87_begin(cpu);
	const unsigned i = insn->operand[1].reg;

	x87_record(cpu, insn);
	if (x87_empty(fpu, 0) || x87_empty(fpu, i)) {
		if (x87_underflow(fpu))
			x87_write(fpu, 0, x87_indefinite);
		return;
	}
	if (taken)
		x87_write(fpu, 0, *x87_st(fpu, i));
}

/* op, the flags of which one must be set, or none */
#define CONDITIONAL(X)                                                                             \
	X(FCMOVB, X86_FLAG_CF, true)                                                               \
	X(FCMOVE, X86_FLAG_ZF, true)                                                               \
	X(FCMOVBE, X86_FLAG_CF | X86_FLAG_ZF, true)                                                \
	X(FCMOVU, X86_FLAG_PF, true)                                                               \
	X(FCMOVNB, X86_FLAG_CF, false)                                                             \
	X(FCMOVNE, X86_FLAG_ZF, false)                                                             \
	X(FCMOVNBE, X86_FLAG_CF | X86_FLAG_ZF, false)                                              \
	X(FCMOVNU, X86_FLAG_PF, false)
#define DEFINE_CONDITIONAL(OP, flags, set)                                                         \
	static void sem_##OP(struct cpu *cpu, const struct x86_insn *insn)                         \
	{                                                                                          \
		move_if(cpu, insn, ((sem_flags(cpu) & (flags)) != 0) == (set));                    \
	}
CONDITIONAL(DEFINE_CONDITIONAL)

#define ENTRY(OP, ...) { X86_##OP, sem_##OP },

const struct sem_entry sem_x87_move[] = {
	CONSTANTS(ENTRY)
	CONDITIONAL(ENTRY)
	{ X86_FLD, sem_FLD },
	{ X86_FILD, sem_FILD },
	{ X86_FBLD, sem_FBLD },
	{ X86_FST, sem_FST },
	{ X86_FSTP, sem_FST },
	{ X86_FIST, sem_FIST },
	{ X86_FISTP, sem_FIST },
	{ X86_FISTTP, sem_FISTTP },
	{ X86_FBSTP, sem_FBSTP },
	{ X86_FXCH, sem_FXCH },
	{ 0, NULL },
};
