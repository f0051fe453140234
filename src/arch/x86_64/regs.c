/* The general registers of an instruction: its operands', and by operation those that no operand names.
 * Example of use: regs.h.
 *
 * The table follows the operations' descriptions in SDM volume 2.
 */
#include "arch/x86_64/regs.h"
#include "arch/x86_64/state.h"

#define A   (1u << X86_RAX)
#define B   (1u << X86_RBX)
#define C   (1u << X86_RCX)
#define D   (1u << X86_RDX)
#define SI  (1u << X86_RSI)
#define DI  (1u << X86_RDI)
#define BP  (1u << X86_RBP)
#define SP  (1u << X86_RSP)
#define R11 (1u << X86_R11)
#define ALL 0xffffu

/* When `more` is used as well. */
enum condition {
	NEVER,
	WIDE, /* operands of more than a byte: RDX is the upper half */
	REP,  /* a REP or REPNE prefix */
};

struct implicit {
	struct x86_regs_used always, more;
	uint8_t condition; /* enum condition */
};

#define USES(op, read, written) [X86_##op] = { { (read), (written) }, { 0, 0 }, NEVER }
#define WIDE_USES(op, read, written, more_read, more_written)                                       \
	[X86_##op] = { { (read), (written) }, { (more_read), (more_written) }, WIDE }
#define STRING(op, read, written) [X86_##op] = { { (read), (written) }, { C, C }, REP }

static const struct implicit implicit_uses[X86_OP_COUNT] = {
	/* stack */
	USES(PUSH, SP, SP), USES(POP, SP, SP), USES(PUSHF, SP, SP), USES(POPF, SP, SP),
	USES(PUSHA, A | C | D | B | SP | BP | SI | DI, SP),
	USES(POPA, SP, A | C | D | B | SP | BP | SI | DI),
	USES(CALL, SP, SP), USES(RET, SP, SP), USES(CALL_FAR, SP, SP), USES(RET_FAR, SP, SP),
	USES(ENTER, SP | BP, SP | BP), USES(LEAVE, BP, SP | BP),
	USES(INT, SP, SP), USES(INT1, SP, SP), USES(INT3, SP, SP), USES(INTO, SP, SP), USES(IRET, SP, SP),
	/* strings */
	STRING(MOVS, SI | DI, SI | DI), STRING(CMPS, SI | DI, SI | DI),
	STRING(STOS, A | DI, DI), STRING(SCAS, A | DI, DI), STRING(LODS, SI, A | SI),
	STRING(INS, D | DI, DI), STRING(OUTS, D | SI, SI),
	USES(XLAT, A | B, A), USES(MASKMOVQ, DI, 0), USES(MASKMOVDQU, DI, 0), USES(VMASKMOVDQU, DI, 0),
	USES(PCMPESTRI, A | D, C), USES(VPCMPESTRI, A | D, C), USES(PCMPISTRI, 0, C), USES(VPCMPISTRI, 0, C),
	USES(PCMPESTRM, A | D, 0), USES(VPCMPESTRM, A | D, 0),
	/* arithmetic */
	WIDE_USES(MUL, A, A, 0, D), WIDE_USES(IMUL, A, A, 0, D), /* IMUL: with one operand, see below */
	WIDE_USES(DIV, A, A, D, D), WIDE_USES(IDIV, A, A, D, D), USES(MULX, D, 0),
	USES(CBW, A, A), USES(CWD, A, D), USES(LAHF, 0, A), USES(SAHF, A, 0),
	USES(AAA, A, A), USES(AAS, A, A), USES(AAM, A, A), USES(AAD, A, A), USES(DAA, A, A), USES(DAS, A, A),
	USES(SALC, 0, A),
	USES(CMPXCHG, A, A), USES(CMPXCHG8B, A | B | C | D, A | D), USES(CMPXCHG16B, A | B | C | D, A | D),
	/* control flow */
	USES(JCXZ, C, 0), USES(LOOP, C, C), USES(LOOPE, C, C), USES(LOOPNE, C, C),
	USES(SYSCALL, 0, C | R11), USES(SYSRET, C | R11, 0), USES(SYSENTER, 0, SP), USES(SYSEXIT, C | D, SP),
	USES(RSM, 0, ALL),
	/* system */
	USES(CPUID, A | C, A | B | C | D), USES(RDTSC, 0, A | D), USES(RDTSCP, 0, A | C | D),
	USES(RDMSR, C, A | D), USES(WRMSR, A | C | D, 0), USES(RDPMC, C, A | D),
	USES(XGETBV, C, A | D), USES(XSETBV, A | C | D, 0), USES(RDPKRU, C, A | D), USES(WRPKRU, A | C | D, 0),
	USES(MONITOR, A | C | D, 0), USES(MWAIT, A | C, 0),
	USES(XSAVE, A | D, 0), USES(XSAVEC, A | D, 0), USES(XSAVEOPT, A | D, 0), USES(XSAVES, A | D, 0),
	USES(XRSTOR, A | D, 0), USES(XRSTORS, A | D, 0),
};

static uint16_t bit(unsigned reg)
{
	return (uint16_t)(1u << (reg & 15)); /* AH to BH are 16 to 19 */
}

static void add(struct x86_regs_used *used, struct x86_regs_used more)
{
	used->read |= more.read;
	used->written |= more.written;
}

static bool holds(enum condition condition, const struct x86_insn *insn)
{
	switch (condition) {
	case NEVER: return false;
	case WIDE: return insn->opsize > 1;
	case REP: return insn->prefixes & (X86_PFX_REP | X86_PFX_REPNE);
	}
	return false;
}

static void add_implicit(struct x86_regs_used *used, const struct x86_insn *insn)
{
	const struct implicit *implicit = &implicit_uses[insn->op];

	if (insn->op == X86_IMUL && insn->operand_count > 1)
		return;
	add(used, implicit->always);
	if (holds((enum condition)implicit->condition, insn))
		add(used, implicit->more);
}

static void add_address(struct x86_regs_used *used, const struct x86_insn *insn)
{
	if (insn->mem.base < 16)
		used->read |= bit(insn->mem.base);
	if (insn->mem.index < 16 && !(insn->prefixes & X86_PFX_VSIB))
		used->read |= bit(insn->mem.index);
}

/* BSF and BSR of 0 keep the destination (APM 3; so do Intel's processors). Not in the operand's access, because the
 * operation may have been TZCNT or LZCNT when the instruction was decoded. */
static bool keeps_destination(const struct x86_insn *insn)
{
	return insn->op == X86_BSF || insn->op == X86_BSR;
}

struct x86_regs_used x86_insn_regs(const struct x86_insn *insn)
{
	struct x86_regs_used used = { 0, 0 };

	for (unsigned i = 0; i < insn->operand_count; i++) {
		const struct x86_operand *operand = &insn->operand[i];

		if (operand->kind == X86_OPND_MEM)
			add_address(&used, insn);
		if (operand->kind != X86_OPND_GPR)
			continue;
		if (operand->access & X86_ACCESS_READ)
			used.read |= bit(operand->reg);
		if (operand->access & X86_ACCESS_WRITE)
			used.written |= bit(operand->reg);
	}
	if (keeps_destination(insn))
		used.read |= used.written;
	add_implicit(&used, insn);
	return used;
}
