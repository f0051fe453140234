/* The accessors that semantic functions are written against (sem.h), and the table that finds a function. */
#include "engine/interp/x86_64/sem.h"
#include "base/string.h"
#include "engine/interp/cas.h"
#include "engine/interp/x86_64/cpu.h"
#include "engine/interp/x86_64/lazy.h"

/* ---- the table ---- */

static const struct sem_entry *const sem_tables[] = {
	sem_integer, sem_bits, sem_control, sem_string,  sem_system,  sem_segment, sem_x87,
	sem_x87_move, sem_x87_control, sem_mmx, sem_sse_fp, sem_sse_int, sem_crypto, sem_avx, sem_xsave,
	sem_sse_move,
	sem_sse_shuffle, sem_sse_convert, sem_sse_text, sem_avx_memory, sem_avx_fma,
};

void sem_fill_table(sem_fn *functions[X86_OP_COUNT])
{
	for (unsigned t = 0; t < ARRAY_SIZE(sem_tables); t++) {
		for (const struct sem_entry *entry = sem_tables[t]; entry->op; entry++)
			functions[entry->op] = entry->fn;
	}
}

bool sem_ends_block(const struct x86_insn *insn)
{
	switch (insn->op) {
	case X86_JMP:
	case X86_JMP_FAR:
	case X86_CALL:
	case X86_CALL_FAR:
	case X86_RET:
	case X86_RET_FAR:
	case X86_JCC:
	case X86_JCXZ:
	case X86_LOOP:
	case X86_LOOPE:
	case X86_LOOPNE:
	case X86_INT:
	case X86_INT1:
	case X86_INT3:
	case X86_INTO:
	case X86_IRET:
	case X86_SERIALIZE:
	case X86_SYSCALL:
	case X86_SYSRET:
	case X86_SYSENTER:
	case X86_SYSEXIT:
	case X86_HLT:
	case X86_MWAIT:
	case X86_MOV_CR:
	case X86_MOV_DR:
	case X86_LMSW:
	case X86_CLTS:
	case X86_POPF:
	case X86_STI:
	case X86_STAC:
	case X86_CLAC:
	case X86_WRMSR:
	case X86_INVLPG:
	case X86_INVPCID:
	case X86_WRPKRU:
	case X86_LSS:
	case X86_VMCALL:
	case X86_VMMCALL:
	case X86_PAUSE:
	case X86_UD0:
	case X86_UD1:
	case X86_UD2:
	case X86_RSM:
		return true;
	case X86_MOV_SEG:
	case X86_POP:
		return insn->operand[0].kind == X86_OPND_SEG;
	case X86_MOVS:
	case X86_STOS:
	case X86_LODS:
	case X86_CMPS:
	case X86_SCAS:
	case X86_INS:
	case X86_OUTS:
		return insn->prefixes & (X86_PFX_REP | X86_PFX_REPNE);
	default:
		return false;
	}
}

/* ---- general registers ---- */

static uint64_t read_gpr(const struct cpu *cpu, const struct x86_operand *operand)
{
	unsigned reg = operand->reg;

	switch (operand->size) {
	case 1:
		return reg >= X86_REG_AH ? cpu->s.gpr[reg - X86_REG_AH] >> 8 & 0xff : cpu->s.gpr[reg] & 0xff;
	case 2:
		return cpu->s.gpr[reg] & 0xffff;
	case 4:
		return cpu->s.gpr[reg] & 0xffffffffull;
	default:
		return cpu->s.gpr[reg];
	}
}

static void write_gpr(struct cpu *cpu, const struct x86_operand *operand, uint64_t value)
{
	unsigned reg = operand->reg;
	uint64_t *gpr = &cpu->s.gpr[reg >= X86_REG_AH ? reg - X86_REG_AH : reg];

	switch (operand->size) {
	case 1:
		if (reg >= X86_REG_AH)
			*gpr = (*gpr & ~0xff00ull) | (value & 0xff) << 8;
		else
			*gpr = (*gpr & ~0xffull) | (value & 0xff);
		break;
	case 2:
		*gpr = (*gpr & ~0xffffull) | (value & 0xffff);
		break;
	case 4:
		*gpr = value & 0xffffffffull;
		break;
	default:
		*gpr = value;
		break;
	}
}

/* ---- operands ---- */

uint64_t sem_offset(struct cpu *cpu, const struct x86_insn *insn)
{
	const struct x86_mem *mem = &insn->mem;
	uint64_t offset = (uint64_t)mem->disp;

	if (mem->base == X86_REG_RIP)
		offset += cpu->s.rip + insn->length;
	else if (mem->base != X86_REG_NONE)
		offset += cpu->s.gpr[mem->base];
	if (mem->index != X86_REG_NONE && !(insn->prefixes & X86_PFX_VSIB))
		offset += cpu->s.gpr[mem->index] * mem->scale;
	if (insn->addrsize == 4)
		offset &= 0xffffffffull;
	else if (insn->addrsize == 2)
		offset &= 0xffff;
	return offset;
}

uint64_t sem_read(struct cpu *cpu, const struct x86_insn *insn, unsigned opn)
{
	const struct x86_operand *operand = &insn->operand[opn];

	switch (operand->kind) {
	case X86_OPND_GPR:
		return read_gpr(cpu, operand);
	case X86_OPND_MEM:
		return sem_load_int(cpu, insn->mem.seg, sem_offset(cpu, insn), operand->size);
	case X86_OPND_IMM:
	case X86_OPND_REL:
	case X86_OPND_FAR:
		return operand->size >= 8 || !operand->size ? insn->imm : insn->imm & ((1ull << operand->size * 8) - 1);
	case X86_OPND_IMM2:
		return insn->imm2;
	case X86_OPND_SEG:
		return cpu->s.seg[operand->reg].selector;
	default:
		return 0;
	}
}

void sem_write(struct cpu *cpu, const struct x86_insn *insn, unsigned opn, uint64_t value)
{
	const struct x86_operand *operand = &insn->operand[opn];

	if (operand->kind == X86_OPND_GPR)
		write_gpr(cpu, operand, value);
	else
		sem_store_int(cpu, insn->mem.seg, sem_offset(cpu, insn), operand->size, value);
}

uint64_t sem_read_for_write(struct cpu *cpu, const struct x86_insn *insn, unsigned opn)
{
	const struct x86_operand *operand = &insn->operand[opn];

	if (operand->kind == X86_OPND_MEM)
		sem_probe_store(cpu, insn->mem.seg, sem_offset(cpu, insn), operand->size);
	return sem_read(cpu, insn, opn);
}

/* ---- memory ---- */

static struct tlb_entry *entry_for(struct cpu *cpu, gva_t gva)
{
	return &cpu->tlb[cpu->data_tlb][(gva >> PAGE_SHIFT) & (TLB_SIZE - 1)];
}

void sem_load(struct cpu *cpu, unsigned seg, uint64_t offset, void *buf, unsigned len)
{
	gva_t gva = cpu_linear(cpu, seg, offset, len, false);
	const struct tlb_entry *entry = entry_for(cpu, gva);

	if (likely(entry->read_tag == ((gva + len - 1) & PAGE_MASK)))
		memcpy(buf, (const void *)(gva + entry->addend), len);
	else
		cpu_load_linear(cpu, gva, buf, len, cpu->rights, seg);
}

void sem_store(struct cpu *cpu, unsigned seg, uint64_t offset, const void *buf, unsigned len)
{
	gva_t gva = cpu_linear(cpu, seg, offset, len, true);
	const struct tlb_entry *entry = entry_for(cpu, gva);

	if (likely(entry->write_tag == ((gva + len - 1) & PAGE_MASK)))
		memcpy((void *)(gva + entry->addend), buf, len);
	else
		cpu_store_linear(cpu, gva, buf, len, cpu->rights, seg);
}

void sem_probe_store(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned len)
{
	gva_t gva = cpu_linear(cpu, seg, offset, len, true);

	if (entry_for(cpu, gva)->write_tag != ((gva + len - 1) & PAGE_MASK))
		cpu_probe_linear(cpu, gva, len, cpu->rights, seg);
}

uint64_t sem_load_int(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned size)
{
	gva_t gva = cpu_linear(cpu, seg, offset, size, false);
	const struct tlb_entry *entry = entry_for(cpu, gva);
	uint64_t value = 0;

	if (unlikely(entry->read_tag != ((gva + size - 1) & PAGE_MASK))) {
		cpu_load_linear(cpu, gva, &value, size, cpu->rights, seg);
		return value;
	}
	const void *at = (const void *)(gva + entry->addend);

	switch (size) {
	case 1:
		return *(const volatile uint8_t *)at;
	case 2:
		return *(const volatile uint16_t *)at;
	case 4:
		return *(const volatile uint32_t *)at;
	default:
		return *(const volatile uint64_t *)at;
	}
}

void sem_store_int(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned size, uint64_t value)
{
	gva_t gva = cpu_linear(cpu, seg, offset, size, true);
	const struct tlb_entry *entry = entry_for(cpu, gva);

	if (unlikely(entry->write_tag != ((gva + size - 1) & PAGE_MASK))) {
		cpu_store_linear(cpu, gva, &value, size, cpu->rights, seg);
		return;
	}
	void *at = (void *)(gva + entry->addend);

	switch (size) {
	case 1:
		*(volatile uint8_t *)at = (uint8_t)value;
		break;
	case 2:
		*(volatile uint16_t *)at = (uint16_t)value;
		break;
	case 4:
		*(volatile uint32_t *)at = (uint32_t)value;
		break;
	default:
		*(volatile uint64_t *)at = value;
		break;
	}
}

bool sem_cas(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned size, void *expected, const void *desired)
{
	gva_t gva = cpu_linear(cpu, seg, offset, size, true);
	const struct tlb_entry *entry = entry_for(cpu, gva);

	if (likely(entry->write_tag == ((gva + size - 1) & PAGE_MASK)))
		return sem_cas_host((void *)(gva + entry->addend), size, expected, desired);
	/* The page is not in the TLB for writing: a walk may put it there. What still has none is device memory, a page of
	 * code, or the operand crosses pages. */
	cpu_probe_linear(cpu, gva, size, cpu->rights, seg);
	if (entry->write_tag == ((gva + size - 1) & PAGE_MASK))
		return sem_cas(cpu, seg, offset, size, expected, desired);
	return cpu_cas_slow(cpu, gva, size, expected, desired, seg);
}

/* ---- vectors ---- */

void sem_check_alignment(struct cpu *cpu, const struct x86_insn *insn, uint64_t offset, unsigned size)
{
	gva_t gva = cpu->mode == X86_MODE_64 && insn->mem.seg < X86_FS ? offset
								       : cpu->s.seg[insn->mem.seg].base + offset;

	if (gva & (size - 1))
		raise_error(cpu, X86_EXC_GP, 0);
}

void sem_read_vector(struct cpu *cpu, const struct x86_insn *insn, unsigned opn, union x86_vector *out,
		     enum sem_alignment alignment)
{
	const struct x86_operand *operand = &insn->operand[opn];
	unsigned size = operand->size > sizeof(*out) ? sizeof(*out) : operand->size;

	memset(out, 0, sizeof(*out));
	switch (operand->kind) {
	case X86_OPND_XMM:
	case X86_OPND_YMM:
		memcpy(out, &cpu->s.fpu.ymm[operand->reg & 15], size);
		break;
	case X86_OPND_MMX:
		out->u64[0] = cpu->s.fpu.r[operand->reg & 7].mantissa;
		break;
	case X86_OPND_GPR:
		out->u64[0] = read_gpr(cpu, operand);
		break;
	case X86_OPND_MEM: {
		uint64_t offset = sem_offset(cpu, insn);

		if (alignment == SEM_ALIGNED)
			sem_check_alignment(cpu, insn, offset, size);
		sem_load(cpu, insn->mem.seg, offset, out, size);
		break;
	}
	default:
		break;
	}
}

void sem_write_vector(struct cpu *cpu, const struct x86_insn *insn, unsigned opn, const union x86_vector *value,
		      enum sem_alignment alignment)
{
	const struct x86_operand *operand = &insn->operand[opn];
	unsigned size = operand->size > sizeof(*value) ? sizeof(*value) : operand->size;

	switch (operand->kind) {
	case X86_OPND_XMM:
	case X86_OPND_YMM: {
		union x86_vector *reg = &cpu->s.fpu.ymm[operand->reg & 15];

		memcpy(reg, value, size);
		if ((insn->prefixes & X86_PFX_VEX) && size < sizeof(*reg))
			memset((uint8_t *)reg + size, 0, sizeof(*reg) - size);
		break;
	}
	case X86_OPND_GPR:
		write_gpr(cpu, operand, value->u64[0]);
		break;
	case X86_OPND_MEM: {
		uint64_t offset = sem_offset(cpu, insn);

		if (alignment == SEM_ALIGNED)
			sem_check_alignment(cpu, insn, offset, size);
		sem_store(cpu, insn->mem.seg, offset, value, size);
		break;
	}
	default:
		break;
	}
}

/* ---- gates ---- */

#define FSW_ES (1u << 7)

void sem_check_x87_no_wait(struct cpu *cpu)
{
	if (cpu->s.cr0 & (X86_CR0_EM | X86_CR0_TS))
		raise_exception(cpu, X86_EXC_NM);
}

void sem_check_x87(struct cpu *cpu)
{
	sem_check_x87_no_wait(cpu);
	if (cpu->s.fpu.fsw & FSW_ES)
		raise_exception(cpu, X86_EXC_MF);
}

void sem_check_mmx(struct cpu *cpu)
{
	if (cpu->s.cr0 & X86_CR0_EM)
		raise_exception(cpu, X86_EXC_UD);
	if (cpu->s.cr0 & X86_CR0_TS)
		raise_exception(cpu, X86_EXC_NM);
	if (cpu->s.fpu.fsw & FSW_ES)
		raise_exception(cpu, X86_EXC_MF);
}

void sem_check_sse(struct cpu *cpu)
{
	if ((cpu->s.cr0 & X86_CR0_EM) || !(cpu->s.cr4 & X86_CR4_OSFXSR))
		raise_exception(cpu, X86_EXC_UD);
	if (cpu->s.cr0 & X86_CR0_TS)
		raise_exception(cpu, X86_EXC_NM);
}

void sem_check_avx(struct cpu *cpu)
{
	bool real = !(cpu->s.cr0 & X86_CR0_PE) || (cpu->s.rflags & X86_FLAG_VM);

	if (real || !(cpu->s.cr4 & X86_CR4_OSXSAVE) || (cpu->s.xcr0 & 6) != 6)
		raise_exception(cpu, X86_EXC_UD);
	if (cpu->s.cr0 & X86_CR0_TS)
		raise_exception(cpu, X86_EXC_NM);
}

void sem_mxcsr_flags(struct cpu *cpu, uint32_t flags)
{
	uint32_t masked = cpu->s.fpu.mxcsr >> 7;

	cpu->s.fpu.mxcsr |= flags & 0x3f;
	if (flags & ~masked & 0x3f)
		raise_exception(cpu, cpu->s.cr4 & X86_CR4_OSXMMEXCPT ? X86_EXC_XM : X86_EXC_UD);
}

/* ---- flags ---- */

uint32_t sem_flags(struct cpu *cpu)
{
	return lf_get(&cpu->lf);
}

void sem_set_flags(struct cpu *cpu, uint32_t mask, uint32_t value)
{
	uint32_t flags = mask == X86_FLAGS_STATUS ? value : (lf_get(&cpu->lf) & ~mask) | (value & mask);

	lf_set(&cpu->lf, flags);
}

bool sem_condition(struct cpu *cpu, unsigned cc)
{
	return lf_condition(&cpu->lf, cc);
}

/* ---- control flow ---- */

uint64_t sem_next_rip(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t next = cpu->s.rip + insn->length;

	return cpu->mode == X86_MODE_64 ? next : next & 0xffffffffull;
}

void sem_jump(struct cpu *cpu, const struct x86_insn *insn, uint64_t target)
{
	if (insn->opsize == 2)
		target &= 0xffff;
	else if (insn->opsize == 4 && cpu->mode != X86_MODE_64)
		target &= 0xffffffffull;
	if (cpu->mode == X86_MODE_64) {
		if (!canonical(target))
			raise_error(cpu, X86_EXC_GP, 0);
	} else if (target > cpu->s.seg[X86_CS].limit) {
		raise_error(cpu, X86_EXC_GP, 0);
	}
	cpu->s.rip = target;
	cpu->jumped = true;
}

unsigned sem_cpl(struct cpu *cpu)
{
	return cpu->cpl;
}

bool sem_long_code(struct cpu *cpu)
{
	return cpu->mode == X86_MODE_64;
}
