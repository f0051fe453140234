/* Accesses that leave the engine: device memory, system registers of devices, hypercalls. Each either finds its result in the replay log or
 * fills the exit and leaves; the instruction is then started again (cpu.h).
 */
#include "base/log.h"
#include "engine/interp/aarch64/cpu.h"

static bool replayed(struct a64_cpu *cpu, uint64_t *value, bool *fault)
{
	if (cpu->replay_pos >= cpu->replay_count)
		return false;
	*value = cpu->replay[cpu->replay_pos].value;
	*fault = cpu->replay[cpu->replay_pos].fault;
	cpu->replay_pos++;
	return true;
}

static __attribute__((noreturn)) void leave_for(struct a64_cpu *cpu)
{
	cpu->completing = true;
	a64_leave_exit(cpu);
}

/* No instruction makes so many accesses: LD4 of bytes makes 64. */
static bool log_full(struct a64_cpu *cpu)
{
	if (cpu->replay_count < A64_REPLAY_MAX)
		return false;
	log_guest("interp", "cpu%u: one instruction made %d device accesses at pc %lx", cpu->vcpu->index, A64_REPLAY_MAX, (unsigned long)cpu->s.pc);
	return true;
}

uint64_t a64_device_read(struct a64_cpu *cpu, uint64_t gpa, unsigned size)
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

void a64_device_write(struct a64_cpu *cpu, uint64_t gpa, unsigned size, uint64_t value)
{
	uint64_t ignored;
	bool fault;

	if (replayed(cpu, &ignored, &fault) || log_full(cpu))
		return;
	*cpu->exit = (struct vm_exit){.kind = VM_EXIT_MMIO, .mmio = {.gpa = gpa, .size = (uint8_t)size, .write = true, .value = value}};
	leave_for(cpu);
}

bool a64_device_sysreg(struct a64_cpu *cpu, uint32_t key, bool write, uint64_t *value)
{
	uint64_t result;
	bool fault;

	if (replayed(cpu, &result, &fault)) {
		if (!write)
			*value = result;
		return !fault;
	}
	*cpu->exit = (struct vm_exit){.kind = VM_EXIT_MSR, .msr = {.index = key, .write = write, .value = *value}};
	leave_for(cpu);
}

uint64_t a64_hypercall(struct a64_cpu *cpu)
{
	uint64_t result;
	bool fault;

	if (replayed(cpu, &result, &fault))
		return result;
	*cpu->exit = (struct vm_exit){.kind = VM_EXIT_HYPERCALL,
				      .hypercall = {.number = cpu->s.x[0],
						    .args = {cpu->s.x[1], cpu->s.x[2], cpu->s.x[3], cpu->s.x[4], cpu->s.x[5], cpu->s.x[6]},
						    .long_mode = true}};
	leave_for(cpu);
}

void a64_complete(struct a64_cpu *cpu, const struct vm_exit *exit)
{
	uint64_t value = 0;
	bool fault = false;

	if (!cpu->completing)
		return;
	cpu->completing = false;
	if (cpu->replay_count >= A64_REPLAY_MAX)
		return;
	switch (exit->kind) {
	case VM_EXIT_MMIO:
		value = exit->mmio.value;
		break;
	case VM_EXIT_MSR:
		value = exit->msr.value;
		fault = exit->msr.fault;
		break;
	case VM_EXIT_HYPERCALL:
		value = exit->hypercall.result;
		break;
	default:
		return;
	}
	cpu->replay[cpu->replay_count].value = value;
	cpu->replay[cpu->replay_count++].fault = fault;
}
