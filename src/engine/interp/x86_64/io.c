/* Accesses that leave the engine: ports, device memory, MSRs of devices, hypercalls. Each either finds its result
 * in the replay log or fills the exit and leaves; the instruction is then started again (cpu.h).
 */
#include "engine/interp/x86_64/io.h"
#include "base/log.h"

/* The next recorded result; false if the access has not been made yet. */
static bool replayed(struct cpu *cpu, uint64_t *value, bool *fault)
{
	if (cpu->replay_pos >= cpu->replay_count)
		return false;
	*value = cpu->replay[cpu->replay_pos].value;
	*fault = cpu->replay[cpu->replay_pos].fault;
	cpu->replay_pos++;
	return true;
}

static __attribute__((noreturn)) void leave_for(struct cpu *cpu)
{
	cpu->completing = true;
	cpu_leave_exit(cpu);
}

/* An instruction with more device accesses than the log holds (XSAVE into a register bank): no machine has
 * such registers; the rest reads all ones and writes nothing. */
static bool log_full(struct cpu *cpu)
{
	if (cpu->replay_count < REPLAY_MAX)
		return false;
	log_guest("interp", "cpu%u: one instruction made %d device accesses at rip %lx", cpu->vcpu->index, REPLAY_MAX,
		  (unsigned long)cpu->s.rip);
	return true;
}

uint64_t cpu_phys_read(struct cpu *cpu, gpa_t gpa, unsigned size)
{
	uint64_t value;
	bool fault;

	if (replayed(cpu, &value, &fault))
		return value;
	if (log_full(cpu))
		return ~0ull;
	*cpu->exit = (struct vm_exit){.kind = VM_EXIT_MMIO, .mmio = {.gpa = gpa, .size = (uint8_t)size}};
	leave_for(cpu);
}

void cpu_phys_write(struct cpu *cpu, gpa_t gpa, unsigned size, uint64_t value)
{
	uint64_t ignored;
	bool fault;

	if (replayed(cpu, &ignored, &fault) || log_full(cpu))
		return;
	*cpu->exit = (struct vm_exit){.kind = VM_EXIT_MMIO,
				      .mmio = {.gpa = gpa, .size = (uint8_t)size, .write = true, .value = value}};
	leave_for(cpu);
}

/* SDM 1 19.5.2: IOPL, else the TSS's permission bitmap. */
void cpu_check_port(struct cpu *cpu, uint16_t port, unsigned size)
{
	const struct x86_segment *tr = &cpu->s.tr;
	bool vm86 = cpu->s.rflags & X86_FLAG_VM;

	if (!(cpu->s.cr0 & X86_CR0_PE))
		return;
	if (!vm86 && cpu->cpl <= (cpu->s.rflags >> 12 & 3))
		return;
	if (!(tr->ar & X86_AR_P) || (X86_AR_TYPE(tr->ar) & 8) == 0 || tr->limit < 103)
		raise_error(cpu, X86_EXC_GP, 0);

	uint64_t map = cpu_load_system(cpu, tr->base + 102, 2);
	uint64_t byte = map + port / 8;

	if (byte + 1 > tr->limit)
		raise_error(cpu, X86_EXC_GP, 0);
	uint64_t bits = cpu_load_system(cpu, tr->base + byte, 2) >> (port & 7);

	if (bits & ((1u << size) - 1))
		raise_error(cpu, X86_EXC_GP, 0);
}

uint32_t cpu_io(struct cpu *cpu, uint16_t port, unsigned size, bool write, uint32_t value)
{
	uint64_t result;
	bool fault;

	cpu_check_port(cpu, port, size);
	if (replayed(cpu, &result, &fault))
		return (uint32_t)result;
	if (log_full(cpu))
		return ~0u;
	*cpu->exit = (struct vm_exit){
		.kind = VM_EXIT_IO, .io = {.port = port, .size = (uint8_t)size, .write = write, .value = value}};
	leave_for(cpu);
}

uint64_t cpu_device_msr(struct cpu *cpu, uint32_t index, bool write, uint64_t value)
{
	uint64_t result;
	bool fault;

	if (replayed(cpu, &result, &fault)) {
		if (fault)
			raise_error(cpu, X86_EXC_GP, 0);
		return result;
	}
	*cpu->exit =
		(struct vm_exit){.kind = VM_EXIT_MSR, .msr = {.index = index, .write = write, .value = value}};
	leave_for(cpu);
}

uint64_t cpu_hypercall(struct cpu *cpu)
{
	uint64_t result;
	bool fault;

	if (replayed(cpu, &result, &fault))
		return result;
	*cpu->exit = (struct vm_exit){
		.kind = VM_EXIT_HYPERCALL,
		.hypercall = {.number = cpu->s.gpr[X86_RAX],
			      .args = {cpu->s.gpr[X86_RBX], cpu->s.gpr[X86_RCX], cpu->s.gpr[X86_RDX],
				       cpu->s.gpr[X86_RSI]},
			      .long_mode = cpu->mode == X86_MODE_64}};
	leave_for(cpu);
}
