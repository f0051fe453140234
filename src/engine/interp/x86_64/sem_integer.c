/* Data movement and flag instructions, and the table of all integer instructions. */
#include "engine/interp/x86_64/sem_integer.h"
#include "engine/interp/x86_64/flags.h"
#include "engine/interp/x86_64/gpr.h"

static void sem_mov(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_write(cpu, insn, 0, sem_read(cpu, insn, 1));
}

/* MOVSX and MOVSXD */
static void sem_movsx(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t value = sem_read(cpu, insn, 1);

	sem_write(cpu, insn, 0, (uint64_t)size_extend(insn->operand[1].size, value));
}

static void sem_lea(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_write(cpu, insn, 0, sem_offset(cpu, insn));
}

static uint64_t swap_bytes(unsigned size, uint64_t value)
{
	return __builtin_bswap64(value) >> (64 - 8 * size);
}

static void sem_movbe(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t value = sem_read(cpu, insn, 1);

	sem_write(cpu, insn, 0, swap_bytes(insn->operand[0].size, value));
}

static void sem_bswap(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->operand[0].size;
	uint64_t value = sem_read(cpu, insn, 0);

	/* BSWAP r16 is undefined; processors clear the register's low half. */
	sem_write(cpu, insn, 0, size == 2 ? 0 : swap_bytes(size, value));
}

/* The source is read (and may fault) and a 32-bit destination's upper half is cleared whether or
 * not the condition holds. */
static void sem_cmovcc(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t source = sem_read(cpu, insn, 1);

	sem_write(cpu, insn, 0, sem_condition(cpu, insn->cc) ? source : sem_read(cpu, insn, 0));
}

static void sem_setcc(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_write(cpu, insn, 0, sem_condition(cpu, insn->cc));
}

/* CBW, CWDE, CDQE */
static void sem_cbw(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned half = insn->opsize / 2u;

	gpr_write(cpu, X86_RAX, insn->opsize,
		  (uint64_t)size_extend(half, gpr_read(cpu, X86_RAX, half)));
}

/* CWD, CDQ, CQO */
static void sem_cwd(struct cpu *cpu, const struct x86_insn *insn)
{
	int64_t value = size_extend(insn->opsize, cpu->s.gpr[X86_RAX]);

	gpr_write(cpu, X86_RDX, insn->opsize, (uint64_t)(value >> 63));
}

#define FLAGS_AH (X86_FLAG_CF | X86_FLAG_PF | X86_FLAG_AF | X86_FLAG_ZF | X86_FLAG_SF)

static void sem_lahf(struct cpu *cpu, const struct x86_insn *insn)
{
	gpr_write_ah(cpu, (uint8_t)((sem_flags(cpu) & FLAGS_AH) | X86_FLAG_FIX));
}

static void sem_sahf(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_set_flags(cpu, FLAGS_AH, gpr_read_ah(cpu) & FLAGS_AH);
}

static void sem_clc(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_set_flags(cpu, X86_FLAG_CF, 0);
}

static void sem_stc(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_set_flags(cpu, X86_FLAG_CF, X86_FLAG_CF);
}

static void sem_cmc(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_set_flags(cpu, X86_FLAG_CF, ~sem_flags(cpu) & X86_FLAG_CF);
}

static void sem_cld(struct cpu *cpu, const struct x86_insn *insn)
{
	cpu->s.rflags &= ~(uint64_t)X86_FLAG_DF;
}

static void sem_std(struct cpu *cpu, const struct x86_insn *insn)
{
	cpu->s.rflags |= X86_FLAG_DF;
}

static void sem_xlat(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t offset = cpu->s.gpr[X86_RBX] + gpr_read(cpu, X86_RAX, 1);

	offset &= size_mask(insn->addrsize);
	gpr_write(cpu, X86_RAX, 1, sem_load_int(cpu, insn->mem.seg, offset, 1));
}

static void sem_salc(struct cpu *cpu, const struct x86_insn *insn)
{
	gpr_write(cpu, X86_RAX, 1, sem_flags(cpu) & X86_FLAG_CF ? 0xff : 0);
}

static void sem_bound(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize;
	uint64_t offset = sem_offset(cpu, insn);
	uint64_t second = (offset + size) & size_mask(insn->addrsize);
	int64_t index = size_extend(size, sem_read(cpu, insn, 0));
	int64_t lower = size_extend(size, sem_load_int(cpu, insn->mem.seg, offset, size));
	int64_t upper = size_extend(size, sem_load_int(cpu, insn->mem.seg, second, size));

	if (index < lower || index > upper)
		raise_exception(cpu, X86_EXC_BR);
}

/* NOP, the hint space, PAUSE: a memory operand is not accessed. */
static void sem_nop(struct cpu *cpu, const struct x86_insn *insn)
{
}

/* clang-format off */
const struct sem_entry sem_integer[] = {
	{ X86_MOV, sem_mov },
	{ X86_MOVZX, sem_mov },
	{ X86_MOVSX, sem_movsx },
	{ X86_MOVSXD, sem_movsx },
	{ X86_LEA, sem_lea },
	{ X86_MOVBE, sem_movbe },
	{ X86_BSWAP, sem_bswap },
	{ X86_CMOVCC, sem_cmovcc },
	{ X86_SETCC, sem_setcc },
	{ X86_CBW, sem_cbw },
	{ X86_CWD, sem_cwd },
	{ X86_LAHF, sem_lahf },
	{ X86_SAHF, sem_sahf },
	{ X86_CLC, sem_clc },
	{ X86_STC, sem_stc },
	{ X86_CMC, sem_cmc },
	{ X86_CLD, sem_cld },
	{ X86_STD, sem_std },
	{ X86_XLAT, sem_xlat },
	{ X86_SALC, sem_salc },
	{ X86_BOUND, sem_bound },
	{ X86_NOP, sem_nop },
	{ X86_PAUSE, sem_nop },
	{ X86_ADD, sem_add },
	{ X86_OR, sem_or },
	{ X86_ADC, sem_adc },
	{ X86_SBB, sem_sbb },
	{ X86_AND, sem_and },
	{ X86_SUB, sem_sub },
	{ X86_XOR, sem_xor },
	{ X86_CMP, sem_cmp },
	{ X86_TEST, sem_test },
	{ X86_INC, sem_inc },
	{ X86_DEC, sem_dec },
	{ X86_NEG, sem_neg },
	{ X86_NOT, sem_not },
	{ X86_ADCX, sem_adcx },
	{ X86_ADOX, sem_adox },
	{ X86_ROL, sem_rol },
	{ X86_ROR, sem_ror },
	{ X86_RCL, sem_rcl },
	{ X86_RCR, sem_rcr },
	{ X86_SHL, sem_shl },
	{ X86_SHR, sem_shr },
	{ X86_SAR, sem_sar },
	{ X86_SHLD, sem_shld },
	{ X86_SHRD, sem_shrd },
	{ X86_MUL, sem_mul },
	{ X86_IMUL, sem_imul },
	{ X86_DIV, sem_div },
	{ X86_IDIV, sem_idiv },
	{ X86_XCHG, sem_xchg },
	{ X86_XADD, sem_xadd },
	{ X86_CMPXCHG, sem_cmpxchg },
	{ X86_CMPXCHG8B, sem_cmpxchg8b },
	{ X86_CMPXCHG16B, sem_cmpxchg16b },
	{ X86_AAA, sem_aaa },
	{ X86_AAS, sem_aas },
	{ X86_AAM, sem_aam },
	{ X86_AAD, sem_aad },
	{ X86_DAA, sem_daa },
	{ X86_DAS, sem_das },
	{ X86_PUSH, sem_push },
	{ X86_POP, sem_pop },
	{ X86_PUSHA, sem_pusha },
	{ X86_POPA, sem_popa },
	{ X86_PUSHF, sem_pushf },
	{ X86_POPF, sem_popf },
	{ X86_ENTER, sem_enter },
	{ X86_LEAVE, sem_leave },
	{ 0, NULL },
};
/* clang-format on */
