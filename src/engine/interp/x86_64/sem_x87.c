/* x87 arithmetic, comparison and transcendental instructions: the operands' places, empty registers and which
 * exceptions keep the result from being written; x87_arith.h computes.
 *
 * Example: `fsubp st(1), st` is ST(1) = ST(1) - ST(0) with st[0] = ST(1) and st[1] = ST(0), then a pop.
 */
#include "engine/interp/x86_64/x87.h"

/* ---- arithmetic: one line for each operation, all operand forms ---- */

struct arithmetic {
	x87_fn *reg, *f32, *f64;
};

static void finish(struct x86_fpu *fpu, unsigned i, const struct x86_float80 *result, uint16_t status, bool pop)
{
	if (!x87_raise(fpu, status, FSW_C1))
		return;
	x87_write(fpu, i, *result);
	if (pop)
		x87_pop(fpu);
}

/* Masked stack underflow: the indefinite value is the result. */
static void finish_underflow(struct x86_fpu *fpu, unsigned i, bool pop)
{
	if (!x87_underflow(fpu))
		return;
	x87_write(fpu, i, x87_indefinite);
	if (pop)
		x87_pop(fpu);
}

static void arithmetic_register(struct cpu *cpu, const struct x86_insn *insn, x87_fn *fn, bool pop)
{
	struct x86_fpu *fpu = x87_begin(cpu);
	const unsigned to = insn->operand[0].reg, from = insn->operand[1].reg;

	x87_record(cpu, insn);
	if (x87_empty(fpu, to) || x87_empty(fpu, from)) {
		finish_underflow(fpu, to, pop);
		return;
	}
	struct x86_float80 st[2] = { *x87_st(fpu, to), *x87_st(fpu, from) };
	const uint16_t status = fn(fpu->fcw, st, NULL);
	finish(fpu, to, st, status, pop);
}

static void arithmetic_memory(struct cpu *cpu, const struct x86_insn *insn, const struct arithmetic *op)
{
	struct x86_fpu *fpu = x87_begin(cpu);
	const uint64_t memory = sem_read(cpu, insn, 0);

	x87_record(cpu, insn);
	if (x87_empty(fpu, 0)) {
		finish_underflow(fpu, 0, false);
		return;
	}
	struct x86_float80 st[2] = { *x87_st(fpu, 0) };
	const uint16_t status = (insn->operand[0].size == 4 ? op->f32 : op->f64)(fpu->fcw, st, &memory);
	finish(fpu, 0, st, status, false);
}

static void arithmetic_integer(struct cpu *cpu, const struct x86_insn *insn, const struct arithmetic *op)
{
	struct x86_fpu *fpu = x87_begin(cpu);
	const int64_t memory = x87_load_int(cpu, insn);

	x87_record(cpu, insn);
	if (x87_empty(fpu, 0)) {
		finish_underflow(fpu, 0, false);
		return;
	}
	struct x86_float80 st[2], integer[2];
	x87_fild(fpu->fcw, integer, &memory);
	st[0] = *x87_st(fpu, 0);
	st[1] = integer[0];
	const uint16_t status = op->reg(fpu->fcw, st, NULL);
	finish(fpu, 0, st, status, false);
}

static void arithmetic(struct cpu *cpu, const struct x86_insn *insn, const struct arithmetic *op)
{
	if (insn->operand[0].kind == X86_OPND_MEM)
		arithmetic_memory(cpu, insn, op);
	else
		arithmetic_register(cpu, insn, op->reg, false);
}

#define ARITHMETIC(X)                                                                              \
	X(FADD, FADDP, FIADD, fadd) X(FMUL, FMULP, FIMUL, fmul)                                    \
	X(FSUB, FSUBP, FISUB, fsub) X(FSUBR, FSUBRP, FISUBR, fsubr)                                \
	X(FDIV, FDIVP, FIDIV, fdiv) X(FDIVR, FDIVRP, FIDIVR, fdivr)
#define DEFINE_ARITHMETIC(OP, POP, INTEGER, name)                                                  \
	static const struct arithmetic name##_forms = { x87_##name, x87_##name##_f32, x87_##name##_f64 }; \
	static void sem_##OP(struct cpu *cpu, const struct x86_insn *insn)                         \
	{                                                                                          \
		arithmetic(cpu, insn, &name##_forms);                                              \
	}                                                                                          \
	static void sem_##POP(struct cpu *cpu, const struct x86_insn *insn)                        \
	{                                                                                          \
		arithmetic_register(cpu, insn, x87_##name, true);                                  \
	}                                                                                          \
	static void sem_##INTEGER(struct cpu *cpu, const struct x86_insn *insn)                    \
	{                                                                                          \
		arithmetic_integer(cpu, insn, &name##_forms);                                      \
	}
ARITHMETIC(DEFINE_ARITHMETIC)

/* ---- of ST(0), or ST(0) and ST(1), to ST(0) ---- */

/* C2 of instructions that write it says that they are not done; stack faults clear it. */
static void clear_incomplete(struct x86_fpu *fpu, uint16_t conditions)
{
	x87_raise(fpu, 0, conditions & FSW_C2);
}

static void unary(struct cpu *cpu, const struct x86_insn *insn, x87_fn *fn, uint16_t conditions)
{
	struct x86_fpu *fpu = x87_begin(cpu);

	x87_record(cpu, insn);
	clear_incomplete(fpu, conditions);
	if (x87_empty(fpu, 0)) {
		finish_underflow(fpu, 0, false);
		return;
	}
	struct x86_float80 st[2] = { *x87_st(fpu, 0) };
	if (x87_raise(fpu, fn(fpu->fcw, st, NULL), conditions))
		x87_write(fpu, 0, st[0]);
}

static bool is_nan(const struct x86_float80 *a)
{
	return (a->exponent & 0x7fffu) == 0x7fff && a->mantissa << 1;
}

static void binary(struct cpu *cpu, const struct x86_insn *insn, x87_fn *fn, uint16_t conditions)
{
	struct x86_fpu *fpu = x87_begin(cpu);

	x87_record(cpu, insn);
	clear_incomplete(fpu, conditions);
	if (x87_empty(fpu, 0) || x87_empty(fpu, 1)) {
		finish_underflow(fpu, 0, false);
		return;
	}
	struct x86_float80 st[2] = { *x87_st(fpu, 0), *x87_st(fpu, 1) };
	const uint16_t status = fn(fpu->fcw, st, NULL);
	/* Where there is no quotient its bits are not written. */
	if ((status & (FSW_IE | (~fpu->fcw & FSW_PRECOMPUTATION))) || is_nan(&st[0]))
		conditions &= FSW_C1 | FSW_C2;
	if (x87_raise(fpu, status, conditions))
		x87_write(fpu, 0, st[0]);
}

/* To ST(1), then a pop. */
static void popping(struct cpu *cpu, const struct x86_insn *insn, x87_fn *fn)
{
	struct x86_fpu *fpu = x87_begin(cpu);

	x87_record(cpu, insn);
	if (x87_empty(fpu, 0) || x87_empty(fpu, 1)) {
		finish_underflow(fpu, 1, true);
		return;
	}
	struct x86_float80 st[2] = { *x87_st(fpu, 0), *x87_st(fpu, 1) };
	const uint16_t status = fn(fpu->fcw, st, NULL);
	finish(fpu, 1, st, status, true);
}

/* One result to ST(0), another pushed; C2 says that the operand was out of range: nothing happened then. */
static void pushing(struct cpu *cpu, const struct x86_insn *insn, x87_fn *fn, uint16_t conditions)
{
	struct x86_fpu *fpu = x87_begin(cpu);
	struct x86_float80 st[2] = { x87_indefinite, x87_indefinite };

	x87_record(cpu, insn);
	clear_incomplete(fpu, conditions);
	if (x87_empty(fpu, 0)) {
		if (!x87_underflow(fpu))
			return;
	} else if (!x87_empty(fpu, 7)) {
		if (!x87_overflow(fpu))
			return;
	} else {
		st[0] = *x87_st(fpu, 0);
		const uint16_t status = fn(fpu->fcw, st, NULL);
		if (!x87_raise(fpu, status, conditions) || (status & conditions & FSW_C2))
			return;
	}
	x87_write(fpu, 0, st[1]);
	x87_push(fpu, st[0]);
}

/* op, shape, function, condition bits that it writes */
#define FUNCTIONS(X)                                                                               \
	X(FSQRT, unary, fsqrt, FSW_C1)                                                             \
	X(FRNDINT, unary, frndint, FSW_C1)                                                         \
	X(F2XM1, unary, f2xm1, FSW_C1)                                                             \
	X(FSIN, unary, fsin, FSW_C1 | FSW_C2)                                                      \
	X(FCOS, unary, fcos, FSW_C1 | FSW_C2)                                                      \
	X(FPREM, binary, fprem, FSW_CONDITION)                                                     \
	X(FPREM1, binary, fprem1, FSW_CONDITION)                                                   \
	X(FSCALE, binary, fscale, FSW_C1)                                                          \
	X(FSINCOS, pushing, fsincos, FSW_C1 | FSW_C2)                                              \
	X(FPTAN, pushing, fptan, FSW_C1 | FSW_C2)                                                  \
	X(FXTRACT, pushing, fxtract, FSW_C1)
#define DEFINE_FUNCTION(OP, shape, name, conditions)                                               \
	static void sem_##OP(struct cpu *cpu, const struct x86_insn *insn)                         \
	{                                                                                          \
		shape(cpu, insn, x87_##name, conditions);                                          \
	}
FUNCTIONS(DEFINE_FUNCTION)

#define POPPING(X) X(FYL2X, fyl2x) X(FYL2XP1, fyl2xp1) X(FPATAN, fpatan)
#define DEFINE_POPPING(OP, name)                                                                   \
	static void sem_##OP(struct cpu *cpu, const struct x86_insn *insn)                         \
	{                                                                                          \
		popping(cpu, insn, x87_##name);                                                    \
	}
POPPING(DEFINE_POPPING)

/* ---- sign bits: no exception but of the stack ---- */

static void change_sign(struct cpu *cpu, const struct x86_insn *insn, unsigned keep, unsigned flip)
{
	struct x86_fpu *fpu = x87_begin(cpu);

	x87_record(cpu, insn);
	if (x87_empty(fpu, 0)) {
		finish_underflow(fpu, 0, false);
		return;
	}
	x87_raise(fpu, 0, FSW_C1);
	x87_st(fpu, 0)->exponent = (uint16_t)((x87_st(fpu, 0)->exponent & keep) ^ flip);
}

static void sem_FABS(struct cpu *cpu, const struct x86_insn *insn)
{
	change_sign(cpu, insn, 0x7fff, 0);
}

static void sem_FCHS(struct cpu *cpu, const struct x86_insn *insn)
{
	change_sign(cpu, insn, 0xffff, 0x8000);
}

/* ---- comparison ---- */

#define UNORDERED (FSW_C3 | FSW_C2 | FSW_C0)

/* To the condition bits; whether the instruction goes on, to its pops. C1 is cleared. */
static bool compared(struct x86_fpu *fpu, uint16_t status)
{
	return x87_raise(fpu, status & (uint16_t)~FSW_C1, FSW_CONDITION);
}

/* ZF, PF, CF are C3, C2, C0; OF, SF, AF are cleared. C1 is cleared by a stack fault only and the flags are written
 * with an unmasked exception too: so do AMD's processors; Intel's manual has it otherwise in both. */
static bool compared_to_flags(struct cpu *cpu, struct x86_fpu *fpu, uint16_t status)
{
	const bool proceed = x87_raise(fpu, status & (uint16_t)~FSW_CONDITION, status & FSW_SF ? FSW_C1 : 0);

	sem_set_flags(cpu, X86_FLAGS_STATUS,
		      (status & FSW_C3 ? X86_FLAG_ZF : 0) | (status & FSW_C2 ? X86_FLAG_PF : 0) |
			      (status & FSW_C0 ? X86_FLAG_CF : 0));
	return proceed;
}

static uint16_t compare_registers(struct x86_fpu *fpu, unsigned i, x87_fn *fn)
{
	if (x87_empty(fpu, 0) || x87_empty(fpu, i))
		return FSW_IE | FSW_SF | UNORDERED;
	struct x86_float80 st[2] = { *x87_st(fpu, 0), *x87_st(fpu, i) };
	return fn(fpu->fcw, st, NULL);
}

static uint16_t compare_memory(struct x86_fpu *fpu, x87_fn *fn, const void *memory)
{
	if (x87_empty(fpu, 0))
		return FSW_IE | FSW_SF | UNORDERED;
	struct x86_float80 st[2] = { *x87_st(fpu, 0) };
	return fn(fpu->fcw, st, memory);
}

static uint16_t compare_integer(struct x86_fpu *fpu, int64_t memory)
{
	struct x86_float80 st[2], integer[2];

	if (x87_empty(fpu, 0))
		return FSW_IE | FSW_SF | UNORDERED;
	x87_fild(fpu->fcw, integer, &memory);
	st[0] = *x87_st(fpu, 0);
	st[1] = integer[0];
	return x87_fcom(fpu->fcw, st, NULL);
}

static void compare(struct cpu *cpu, const struct x86_insn *insn, x87_fn *fn, unsigned pops)
{
	struct x86_fpu *fpu = x87_begin(cpu);
	const struct x86_operand *operand = &insn->operand[0];
	uint16_t status;

	if (insn->operand_count && operand->kind == X86_OPND_MEM) {
		const uint64_t memory = sem_read(cpu, insn, 0);

		status = compare_memory(fpu, operand->size == 4 ? x87_fcom_f32 : x87_fcom_f64, &memory);
	} else {
		status = compare_registers(fpu, insn->operand_count ? operand->reg : 1, fn);
	}
	x87_record(cpu, insn);
	if (!compared(fpu, status))
		return;
	while (pops--)
		x87_pop(fpu);
}

static void compare_int(struct cpu *cpu, const struct x86_insn *insn, bool pop)
{
	struct x86_fpu *fpu = x87_begin(cpu);
	const int64_t memory = x87_load_int(cpu, insn);

	x87_record(cpu, insn);
	if (compared(fpu, compare_integer(fpu, memory)) && pop)
		x87_pop(fpu);
}

static void compare_flags(struct cpu *cpu, const struct x86_insn *insn, x87_fn *fn, bool pop)
{
	struct x86_fpu *fpu = x87_begin(cpu);

	x87_record(cpu, insn);
	if (compared_to_flags(cpu, fpu, compare_registers(fpu, insn->operand[1].reg, fn)) && pop)
		x87_pop(fpu);
}

#define COMPARISONS(X)                                                                             \
	X(FCOM, compare, x87_fcom, 0) X(FCOMP, compare, x87_fcom, 1) X(FCOMPP, compare, x87_fcom, 2) \
	X(FUCOM, compare, x87_fucom, 0) X(FUCOMP, compare, x87_fucom, 1)                           \
	X(FUCOMPP, compare, x87_fucom, 2)                                                          \
	X(FCOMI, compare_flags, x87_fcom, false) X(FCOMIP, compare_flags, x87_fcom, true)          \
	X(FUCOMI, compare_flags, x87_fucom, false) X(FUCOMIP, compare_flags, x87_fucom, true)      \
	X(FICOM, compare_int, false) X(FICOMP, compare_int, true)
#define DEFINE_COMPARISON(OP, shape, ...)                                                          \
	static void sem_##OP(struct cpu *cpu, const struct x86_insn *insn)                         \
	{                                                                                          \
		shape(cpu, insn, __VA_ARGS__);                                                     \
	}
COMPARISONS(DEFINE_COMPARISON)

static void sem_FTST(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_fpu *fpu = x87_begin(cpu);

	x87_record(cpu, insn);
	compared(fpu, compare_memory(fpu, x87_ftst, NULL));
}

/* The class of ST(0), SDM 2 table 3-42; C1 is its sign, of an empty register too. */
static unsigned classify(const struct x86_float80 *a)
{
	const unsigned exponent = a->exponent & 0x7fffu;

	if (exponent && !(a->mantissa >> 63))
		return 0; /* no supported format */
	if (exponent == 0x7fff)
		return a->mantissa << 1 ? FSW_C0 : FSW_C2 | FSW_C0;
	if (exponent)
		return FSW_C2;
	return a->mantissa ? FSW_C3 | FSW_C2 : FSW_C3;
}

static void sem_FXAM(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_fpu *fpu = x87_begin(cpu);
	const struct x86_float80 *a = x87_st(fpu, 0);
	const unsigned class = x87_empty(fpu, 0) ? FSW_C3 | FSW_C0 : classify(a);

	x87_record(cpu, insn);
	x87_raise(fpu, (uint16_t)(class | (a->exponent >> 15 ? FSW_C1 : 0)), FSW_CONDITION);
}

#define ENTRY(OP, ...) { X86_##OP, sem_##OP },
#define ARITHMETIC_ENTRIES(OP, POP, INTEGER, ...) ENTRY(OP) ENTRY(POP) ENTRY(INTEGER)

const struct sem_entry sem_x87[] = {
	ARITHMETIC(ARITHMETIC_ENTRIES)
	FUNCTIONS(ENTRY)
	POPPING(ENTRY)
	COMPARISONS(ENTRY)
	{ X86_FABS, sem_FABS },
	{ X86_FCHS, sem_FCHS },
	{ X86_FTST, sem_FTST },
	{ X86_FXAM, sem_FXAM },
	{ 0, NULL },
};
