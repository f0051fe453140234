/* System instructions: control and debug registers, descriptor tables, MSRs, CPUID, time, TLB management, HLT,
 * the interrupt flag, hypercalls.
 */
#include "arch/x86_64/msr.h"
#include "core/tsc.h"
#include "engine/interp/x86_64/io.h"
#include "engine/interp/x86_64/segment.h"
#include "engine/interp/x86_64/sem.h"


static void require_cpl0(struct cpu *cpu)
{
	if (cpu->cpl != 0)
		raise_error(cpu, X86_EXC_GP, 0);
}

/* ---- control registers ---- */

#define CR0_VALID                                                                                  \
	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | \
	 X86_CR0_AM | X86_CR0_NW | X86_CR0_CD | X86_CR0_PG)

static void check_pdptes(struct cpu *cpu, uint64_t cr0, uint64_t cr3, uint64_t cr4)
{
	struct x86_state as_if = cpu->s;

	if (!(cr0 & X86_CR0_PG) || !(cr4 & X86_CR4_PAE) || (cpu->s.efer & X86_EFER_LME))
		return;
	as_if.cr4 = cr4;
	if (!x86_pdptes_valid(&cpu->vm->mem, &as_if, cr3, cpu->cpuid->physical_bits))
		raise_error(cpu, X86_EXC_GP, 0);
}

static void write_cr0(struct cpu *cpu, uint64_t value)
{
	uint64_t changed = cpu->s.cr0 ^ value;

	if (value >> 32)
		raise_error(cpu, X86_EXC_GP, 0);
	value = (value & CR0_VALID) | X86_CR0_ET;
	if (((value & X86_CR0_PG) && !(value & X86_CR0_PE)) || ((value & X86_CR0_NW) && !(value & X86_CR0_CD)))
		raise_error(cpu, X86_EXC_GP, 0);
	if (changed & X86_CR0_PG) {
		if (value & X86_CR0_PG) {
			if (cpu->s.efer & X86_EFER_LME) {
				if (!(cpu->s.cr4 & X86_CR4_PAE) || (cpu->s.seg[X86_CS].ar & X86_AR_L) ||
				    !(X86_AR_TYPE(cpu->s.tr.ar) & 8))
					raise_error(cpu, X86_EXC_GP, 0);
			} else {
				check_pdptes(cpu, value, cpu->s.cr3, cpu->s.cr4);
			}
		} else if (cpu->mode == X86_MODE_64 || (cpu->s.cr4 & X86_CR4_PCIDE)) {
			raise_error(cpu, X86_EXC_GP, 0);
		}
		if (cpu->s.efer & X86_EFER_LME)
			cpu->s.efer = value & X86_CR0_PG ? cpu->s.efer | X86_EFER_LMA
							 : cpu->s.efer & ~(uint64_t)X86_EFER_LMA;
	}
	cpu->s.cr0 = value;
	if (changed & (X86_CR0_PG | X86_CR0_WP | X86_CR0_PE))
		cpu_flush(cpu);
	cpu_update_mode(cpu);
}

static void write_cr3(struct cpu *cpu, uint64_t value)
{
	if (cpu->long_mode) {
		uint64_t reserved = ~((1ull << cpu->cpuid->physical_bits) - 1);

		if (cpu->s.cr4 & X86_CR4_PCIDE)
			reserved &= ~X86_CR3_NOFLUSH;
		if (value & reserved)
			raise_error(cpu, X86_EXC_GP, 0);
	} else {
		check_pdptes(cpu, cpu->s.cr0, value, cpu->s.cr4);
	}
	cpu_set_cr3(cpu, value);
}

static void write_cr4(struct cpu *cpu, uint64_t value)
{
	uint64_t changed = cpu->s.cr4 ^ value;

	if (value & ~cpu->cpuid->cr4_valid)
		raise_error(cpu, X86_EXC_GP, 0);
	if (cpu->long_mode && !(value & X86_CR4_PAE))
		raise_error(cpu, X86_EXC_GP, 0);
	if ((changed & value & X86_CR4_PCIDE) && (!cpu->long_mode || (cpu->s.cr3 & 0xfff)))
		raise_error(cpu, X86_EXC_GP, 0);
	if (changed & (X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PSE | X86_CR4_SMEP))
		check_pdptes(cpu, cpu->s.cr0, cpu->s.cr3, value);
	cpu->s.cr4 = value;
	if (changed & (X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PSE | X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PCIDE |
		       X86_CR4_PKE))
		cpu_flush(cpu);
	cpu_update_mode(cpu);
}

static void sem_mov_cr(struct cpu *cpu, const struct x86_insn *insn)
{
	bool to_cr = insn->operand[0].kind == X86_OPND_CR;
	unsigned reg = insn->operand[to_cr ? 0 : 1].reg;
	uint64_t value = 0;

	if (reg == 1 || reg == 5 || reg == 6 || reg == 7 || reg > 8)
		raise_exception(cpu, X86_EXC_UD);
	require_cpl0(cpu);
	if (to_cr) {
		value = sem_read(cpu, insn, 1);
		switch (reg) {
		case 0:
			write_cr0(cpu, value);
			break;
		case 2:
			cpu->s.cr2 = value;
			break;
		case 3:
			write_cr3(cpu, value);
			break;
		case 4:
			write_cr4(cpu, value);
			break;
		default:
			if (value & ~15ull)
				raise_error(cpu, X86_EXC_GP, 0);
			cpu->s.cr8 = value;
			if (cpu->vm->irq_ops)
				cpu->vm->irq_ops->set_tpr(cpu->vcpu, value);
			break;
		}
		return;
	}
	switch (reg) {
	case 0:
		value = cpu->s.cr0;
		break;
	case 2:
		value = cpu->s.cr2;
		break;
	case 3:
		value = cpu->s.cr3;
		break;
	case 4:
		value = cpu->s.cr4;
		break;
	default:
		value = cpu->vm->irq_ops ? cpu->vm->irq_ops->get_tpr(cpu->vcpu) : cpu->s.cr8;
		break;
	}
	sem_write(cpu, insn, 0, value);
}

static void sem_lmsw(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t value;

	require_cpl0(cpu);
	value = sem_read(cpu, insn, 0) & 15;
	/* LMSW can set PE, not clear it. */
	write_cr0(cpu, (cpu->s.cr0 & ~14ull) | value);
}

static void sem_smsw(struct cpu *cpu, const struct x86_insn *insn)
{
	if ((cpu->s.cr4 & X86_CR4_UMIP) && cpu->cpl != 0)
		raise_error(cpu, X86_EXC_GP, 0);
	sem_write(cpu, insn, 0, insn->operand[0].kind == X86_OPND_MEM ? cpu->s.cr0 & 0xffff : cpu->s.cr0);
}

static void sem_clts(struct cpu *cpu, const struct x86_insn *insn)
{
	require_cpl0(cpu);
	cpu->s.cr0 &= ~(uint64_t)X86_CR0_TS;
}

/* ---- debug registers ---- */

static void sem_mov_dr(struct cpu *cpu, const struct x86_insn *insn)
{
	bool to_dr = insn->operand[0].kind == X86_OPND_DR;
	unsigned reg = insn->operand[to_dr ? 0 : 1].reg;
	uint64_t value;

	if (reg > 7 || ((reg == 4 || reg == 5) && (cpu->s.cr4 & X86_CR4_DE)))
		raise_exception(cpu, X86_EXC_UD);
	if (reg == 4 || reg == 5)
		reg += 2;
	require_cpl0(cpu);
	if (cpu->s.dr7 & 1u << 13) { /* GD */
		cpu->s.dr6 |= 1u << 13;
		raise_exception(cpu, X86_EXC_DB);
	}
	if (!to_dr) {
		value = reg < 4 ? cpu->s.dr[reg] : reg == 6 ? cpu->s.dr6 : cpu->s.dr7;
		sem_write(cpu, insn, 0, value);
		return;
	}
	value = sem_read(cpu, insn, 1);
	if (reg < 4) {
		cpu->s.dr[reg] = value;
		return;
	}
	if (value >> 32)
		raise_error(cpu, X86_EXC_GP, 0);
	if (reg == 6)
		cpu->s.dr6 = (value & 0xe00f) | 0xffff0ff0;
	else
		cpu->s.dr7 = (value & 0xffff2bff) | 0x400;
	cpu_update_mode(cpu);
}

/* ---- descriptor tables ---- */

static void load_table(struct cpu *cpu, const struct x86_insn *insn, struct x86_table *table)
{
	bool wide = cpu->mode == X86_MODE_64;
	uint64_t offset = sem_offset(cpu, insn), base;
	uint16_t limit;

	require_cpl0(cpu);
	limit = (uint16_t)sem_load_int(cpu, insn->mem.seg, offset, 2);
	base = sem_load_int(cpu, insn->mem.seg, offset + 2, wide ? 8 : 4);
	if (insn->opsize == 2 && !wide)
		base &= 0xffffff;
	if (wide && !canonical(base))
		raise_error(cpu, X86_EXC_GP, 0);
	table->limit = limit;
	table->base = base;
}

static void store_table(struct cpu *cpu, const struct x86_insn *insn, const struct x86_table *table)
{
	bool wide = cpu->mode == X86_MODE_64;
	uint8_t bytes[10];

	if ((cpu->s.cr4 & X86_CR4_UMIP) && cpu->cpl != 0)
		raise_error(cpu, X86_EXC_GP, 0);
	bytes[0] = (uint8_t)table->limit;
	bytes[1] = (uint8_t)(table->limit >> 8);
	for (unsigned i = 0; i < 8; i++)
		bytes[2 + i] = (uint8_t)(table->base >> 8 * i);
	sem_store(cpu, insn->mem.seg, sem_offset(cpu, insn), bytes, wide ? 10 : 6);
}

static void sem_lgdt(struct cpu *cpu, const struct x86_insn *insn)
{
	load_table(cpu, insn, &cpu->s.gdtr);
}
static void sem_lidt(struct cpu *cpu, const struct x86_insn *insn)
{
	load_table(cpu, insn, &cpu->s.idtr);
}
static void sem_sgdt(struct cpu *cpu, const struct x86_insn *insn)
{
	store_table(cpu, insn, &cpu->s.gdtr);
}
static void sem_sidt(struct cpu *cpu, const struct x86_insn *insn)
{
	store_table(cpu, insn, &cpu->s.idtr);
}

/* ---- MSRs, time, CPUID ---- */

static void put_edx_eax(struct cpu *cpu, uint64_t value)
{
	cpu->s.gpr[X86_RAX] = value & 0xffffffff;
	cpu->s.gpr[X86_RDX] = value >> 32;
}

static uint64_t get_edx_eax(const struct cpu *cpu)
{
	return cpu->s.gpr[X86_RDX] << 32 | (cpu->s.gpr[X86_RAX] & 0xffffffff);
}

static uint64_t tsc_now(const struct cpu *cpu)
{
	return vm_tsc(cpu->vm, cpu->s.tsc_offset);
}

static void sem_rdmsr(struct cpu *cpu, const struct x86_insn *insn)
{
	uint32_t index = (uint32_t)cpu->s.gpr[X86_RCX];
	uint64_t value = 0;

	require_cpl0(cpu);
	switch (x86_msr_read(&cpu->s, cpu->cpuid, index, &value)) {
	case X86_MSR_OK:
		break;
	case X86_MSR_TSC:
		value = tsc_now(cpu);
		break;
	case X86_MSR_DEVICE:
		value = cpu_device_msr(cpu, index, false, 0);
		break;
	case X86_MSR_GP:
	default:
		raise_error(cpu, X86_EXC_GP, 0);
	}
	put_edx_eax(cpu, value);
}

static void sem_wrmsr(struct cpu *cpu, const struct x86_insn *insn)
{
	uint32_t index = (uint32_t)cpu->s.gpr[X86_RCX];
	uint64_t value = get_edx_eax(cpu), efer = cpu->s.efer;

	require_cpl0(cpu);
	switch (x86_msr_write(&cpu->s, cpu->cpuid, index, value)) {
	case X86_MSR_OK:
		break;
	case X86_MSR_TSC:
		/* IA32_TSC_ADJUST follows a write of the counter (SDM 3B 17.17.3). */
		{
			uint64_t delta = value - tsc_now(cpu);

			cpu->s.tsc_offset += delta;
			cpu->s.tsc_adjust += delta;
		}
		break;
	case X86_MSR_DEVICE:
		cpu_device_msr(cpu, index, true, value);
		if (index == X86_MSR_APIC_BASE)
			cpu->s.apic_base = value; /* CPUID.1:EDX.APIC follows it */
		return;
	case X86_MSR_GP:
	default:
		raise_error(cpu, X86_EXC_GP, 0);
	}
	if (cpu->s.tsc_offset != cpu->vcpu->tsc_offset)
		vcpu_set_tsc_offset(cpu->vcpu, cpu->s.tsc_offset);
	if ((efer ^ cpu->s.efer) & X86_EFER_NXE)
		cpu_flush(cpu);
	cpu_update_mode(cpu);
}

static void sem_rdtsc(struct cpu *cpu, const struct x86_insn *insn)
{
	if ((cpu->s.cr4 & X86_CR4_TSD) && cpu->cpl != 0)
		raise_error(cpu, X86_EXC_GP, 0);
	put_edx_eax(cpu, tsc_now(cpu));
}

static void sem_rdtscp(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_rdtsc(cpu, insn);
	cpu->s.gpr[X86_RCX] = cpu->s.tsc_aux & 0xffffffff;
}

static void sem_rdpid(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_write(cpu, insn, 0, cpu->s.tsc_aux & 0xffffffff);
}

static void sem_rdpmc(struct cpu *cpu, const struct x86_insn *insn)
{
	raise_error(cpu, X86_EXC_GP, 0); /* no counters (CPUID leaf 10 is zero) */
}

static void sem_cpuid(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_cpuid_result r = x86_cpuid_read(cpu->cpuid, cpu->vcpu->index, &cpu->s,
						   (uint32_t)cpu->s.gpr[X86_RAX], (uint32_t)cpu->s.gpr[X86_RCX]);

	cpu->s.gpr[X86_RAX] = r.eax;
	cpu->s.gpr[X86_RBX] = r.ebx;
	cpu->s.gpr[X86_RCX] = r.ecx;
	cpu->s.gpr[X86_RDX] = r.edx;
}

static void random_register(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t value = 0;
	bool got = platform_random(&value, sizeof(value)) == 0;

	sem_write(cpu, insn, 0, got ? value : 0);
	sem_set_flags(cpu, X86_FLAGS_STATUS, got ? X86_FLAG_CF : 0);
}

/* ---- TLB ---- */

static void sem_invlpg(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t offset = sem_offset(cpu, insn);
	gva_t gva;

	require_cpl0(cpu);
	if (cpu->mode == X86_MODE_64)
		gva = insn->mem.seg >= X86_FS ? cpu->s.seg[insn->mem.seg].base + offset : offset;
	else
		gva = (cpu->s.seg[insn->mem.seg].base + offset) & 0xffffffffull;
	if (cpu->mode != X86_MODE_64 || canonical(gva))
		cpu_flush_page(cpu, gva);
}

static void sem_invpcid(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t type = sem_read(cpu, insn, 0), descriptor[2];

	if (!(cpu->s.cr0 & X86_CR0_PE))
		;
	else if (cpu->cpl != 0 || (cpu->s.rflags & X86_FLAG_VM))
		raise_error(cpu, X86_EXC_GP, 0);
	sem_load(cpu, insn->mem.seg, sem_offset(cpu, insn), descriptor, 16);
	if (type > 3 || (type < 2 && descriptor[0] >> 12) ||
	    (type < 2 && !(cpu->s.cr4 & X86_CR4_PCIDE) && (descriptor[0] & 0xfff)) ||
	    (type == 0 && !canonical(descriptor[1])))
		raise_error(cpu, X86_EXC_GP, 0);
	cpu_invpcid(cpu, (unsigned)type, (unsigned)(descriptor[0] & 0xfff), descriptor[1]);
}

static void sem_invd(struct cpu *cpu, const struct x86_insn *insn)
{
	require_cpl0(cpu); /* caches are coherent: nothing to write back or to lose */
}

/* ---- interrupt flag, HLT ---- */

#define IOPL(cpu) ((unsigned)((cpu)->s.rflags >> 12 & 3))

static void sem_cli(struct cpu *cpu, const struct x86_insn *insn)
{
	bool vm86 = cpu->s.rflags & X86_FLAG_VM;

	if (!(cpu->s.cr0 & X86_CR0_PE) || (vm86 ? IOPL(cpu) == 3 : IOPL(cpu) >= cpu->cpl)) {
		cpu_irq_window(cpu);
		cpu->s.rflags &= ~(uint64_t)X86_FLAG_IF;
	} else if ((vm86 && (cpu->s.cr4 & X86_CR4_VME)) || (!vm86 && cpu->cpl == 3 && (cpu->s.cr4 & X86_CR4_PVI))) {
		cpu->s.rflags &= ~(uint64_t)X86_FLAG_VIF;
	} else {
		raise_error(cpu, X86_EXC_GP, 0);
	}
}

static void sem_sti(struct cpu *cpu, const struct x86_insn *insn)
{
	bool vm86 = cpu->s.rflags & X86_FLAG_VM;

	if (!(cpu->s.cr0 & X86_CR0_PE) || (vm86 ? IOPL(cpu) == 3 : IOPL(cpu) >= cpu->cpl)) {
		if (cpu->s.rflags & X86_FLAG_IF)
			return;
		cpu->s.rflags |= X86_FLAG_IF;
		cpu_irq_enabled(cpu);
		cpu->shadow_rip = sem_next_rip(cpu, insn);
	} else if ((vm86 && (cpu->s.cr4 & X86_CR4_VME)) || (!vm86 && cpu->cpl == 3 && (cpu->s.cr4 & X86_CR4_PVI))) {
		if (cpu->s.rflags & X86_FLAG_VIP)
			raise_error(cpu, X86_EXC_GP, 0);
		cpu->s.rflags |= X86_FLAG_VIF;
	} else {
		raise_error(cpu, X86_EXC_GP, 0);
	}
}

static void sem_hlt(struct cpu *cpu, const struct x86_insn *insn)
{
	require_cpl0(cpu);
	cpu->s.rip = sem_next_rip(cpu, insn);
	cpu->s.activity = X86_ACTIVITY_HLT;
	cpu->shadow_rip = ~0ull;
	cpu_restart(cpu); /* the loop sees the activity, after a last look at interrupts */
}

static void set_ac(struct cpu *cpu, bool on)
{
	if (cpu->cpl != 0)
		raise_exception(cpu, X86_EXC_UD);
	cpu->s.rflags = on ? cpu->s.rflags | X86_FLAG_AC : cpu->s.rflags & ~(uint64_t)X86_FLAG_AC;
	cpu_update_mode(cpu);
}
static void sem_stac(struct cpu *cpu, const struct x86_insn *insn)
{
	set_ac(cpu, true);
}
static void sem_clac(struct cpu *cpu, const struct x86_insn *insn)
{
	set_ac(cpu, false);
}

/* ---- FS and GS bases, protection keys ---- */

static void sem_swapgs(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t base = cpu->s.seg[X86_GS].base;

	require_cpl0(cpu);
	cpu->s.seg[X86_GS].base = cpu->s.kernel_gs_base;
	cpu->s.kernel_gs_base = base;
}

static void base_access(struct cpu *cpu, const struct x86_insn *insn, unsigned seg, bool write)
{
	uint64_t value;

	if (!(cpu->s.cr4 & X86_CR4_FSGSBASE))
		raise_exception(cpu, X86_EXC_UD);
	if (!write) {
		sem_write(cpu, insn, 0, cpu->s.seg[seg].base);
		return;
	}
	value = sem_read(cpu, insn, 0);
	if (!canonical(value))
		raise_error(cpu, X86_EXC_GP, 0);
	cpu->s.seg[seg].base = value;
}
static void sem_rdfsbase(struct cpu *cpu, const struct x86_insn *insn)
{
	base_access(cpu, insn, X86_FS, false);
}
static void sem_rdgsbase(struct cpu *cpu, const struct x86_insn *insn)
{
	base_access(cpu, insn, X86_GS, false);
}
static void sem_wrfsbase(struct cpu *cpu, const struct x86_insn *insn)
{
	base_access(cpu, insn, X86_FS, true);
}
static void sem_wrgsbase(struct cpu *cpu, const struct x86_insn *insn)
{
	base_access(cpu, insn, X86_GS, true);
}

static void check_pkru(struct cpu *cpu)
{
	if (!(cpu->s.cr4 & X86_CR4_PKE))
		raise_exception(cpu, X86_EXC_UD);
	if (cpu->s.gpr[X86_RCX] & 0xffffffff)
		raise_error(cpu, X86_EXC_GP, 0);
}

static void sem_rdpkru(struct cpu *cpu, const struct x86_insn *insn)
{
	check_pkru(cpu);
	put_edx_eax(cpu, cpu->s.pkru);
}

static void sem_wrpkru(struct cpu *cpu, const struct x86_insn *insn)
{
	check_pkru(cpu);
	if (cpu->s.gpr[X86_RDX] & 0xffffffff)
		raise_error(cpu, X86_EXC_GP, 0);
	cpu_set_pkru(cpu, (uint32_t)cpu->s.gpr[X86_RAX]);
}

/* ---- the rest ---- */

static void sem_hypercall(struct cpu *cpu, const struct x86_insn *insn)
{
	cpu->s.gpr[X86_RAX] = cpu_hypercall(cpu);
}

static void sem_undefined(struct cpu *cpu, const struct x86_insn *insn)
{
	raise_exception(cpu, X86_EXC_UD); /* RSM outside SMM; MONITOR and MWAIT are not offered */
}

static void sem_fence(struct cpu *cpu, const struct x86_insn *insn)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* The cache line's address is checked as a load's (SDM 2A CLFLUSH); the caches themselves are coherent. */
static void sem_clflush(struct cpu *cpu, const struct x86_insn *insn)
{
	sem_load_int(cpu, insn->mem.seg, sem_offset(cpu, insn), 1);
}

static void sem_prefetch(struct cpu *cpu, const struct x86_insn *insn)
{
}

const struct sem_entry sem_system[] = {
	{X86_MOV_CR, sem_mov_cr},
	{X86_LMSW, sem_lmsw},
	{X86_SMSW, sem_smsw},
	{X86_CLTS, sem_clts},
	{X86_MOV_DR, sem_mov_dr},
	{X86_LGDT, sem_lgdt},
	{X86_LIDT, sem_lidt},
	{X86_SGDT, sem_sgdt},
	{X86_SIDT, sem_sidt},
	{X86_RDMSR, sem_rdmsr},
	{X86_WRMSR, sem_wrmsr},
	{X86_RDTSC, sem_rdtsc},
	{X86_RDTSCP, sem_rdtscp},
	{X86_RDPID, sem_rdpid},
	{X86_RDPMC, sem_rdpmc},
	{X86_CPUID, sem_cpuid},
	{X86_RDRAND, random_register},
	{X86_RDSEED, random_register},
	{X86_INVLPG, sem_invlpg},
	{X86_INVPCID, sem_invpcid},
	{X86_INVD, sem_invd},
	{X86_WBINVD, sem_invd},
	{X86_CLI, sem_cli},
	{X86_STI, sem_sti},
	{X86_HLT, sem_hlt},
	{X86_STAC, sem_stac},
	{X86_CLAC, sem_clac},
	{X86_SWAPGS, sem_swapgs},
	{X86_RDFSBASE, sem_rdfsbase},
	{X86_RDGSBASE, sem_rdgsbase},
	{X86_WRFSBASE, sem_wrfsbase},
	{X86_WRGSBASE, sem_wrgsbase},
	{X86_RDPKRU, sem_rdpkru},
	{X86_WRPKRU, sem_wrpkru},
	{X86_VMCALL, sem_hypercall},
	{X86_VMMCALL, sem_hypercall},
	{X86_RSM, sem_undefined},
	{X86_MONITOR, sem_undefined},
	{X86_MWAIT, sem_undefined},
	{X86_LFENCE, sem_fence},
	{X86_MFENCE, sem_fence},
	{X86_SFENCE, sem_fence},
	{X86_SERIALIZE, sem_fence}, /* it ends its block: the next one is compared with memory */
	{X86_CLFLUSH, sem_clflush},
	{X86_CLFLUSHOPT, sem_clflush},
	{X86_CLWB, sem_clflush},
	{X86_PREFETCHW, sem_prefetch},
	{0, NULL},
};
