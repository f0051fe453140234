/* A small machine for device tests; see fake_machine.h. */
#include "fake_machine.h"
#include "arch/x86_64/cpuid.h"
#include <stdlib.h>

static void kick(struct vcpu *vcpu)
{
}

static const struct engine_ops idle_engine = {.name = "idle", .kick = kick};

struct vm *machine_create(unsigned cpus)
{
	struct vm *vm;
	void *ram = calloc(1, MACHINE_RAM_SIZE);

	fake_reset();
	vm = vm_create(&(struct vm_params){.engine = &idle_engine, .cpus = cpus, .no_reboot = true});
	if (!vm || !ram || mem_add_slot(&vm->mem, 0, MACHINE_RAM_SIZE, ram, false))
		abort();
	vm->cpuid = calloc(1, sizeof(*vm->cpuid));
	x86_cpuid_build(vm->cpuid, cpus, 1000000000);
	return vm;
}

void machine_destroy(struct vm *vm)
{
	void *ram = vm->mem.slots[0].hva;

	free(vm->cpuid);
	vm_destroy(vm);
	free(ram);
}

static void dispatch(struct vm *vm, unsigned cpu, struct vm_exit *exit)
{
	if (vcpu_dispatch_exit(vm->vcpus[cpu], exit))
		abort();
}

void machine_out(struct vm *vm, uint16_t port, unsigned size, uint32_t value)
{
	dispatch(vm, 0,
		 &(struct vm_exit){.kind = VM_EXIT_IO,
				   .io = {.port = port, .size = (uint8_t)size, .write = true, .value = value}});
}

uint32_t machine_in(struct vm *vm, uint16_t port, unsigned size)
{
	struct vm_exit exit = {.kind = VM_EXIT_IO, .io = {.port = port, .size = (uint8_t)size}};

	dispatch(vm, 0, &exit);
	return exit.io.value;
}

void machine_write(struct vm *vm, unsigned cpu, uint64_t gpa, unsigned size, uint64_t value)
{
	dispatch(vm, cpu,
		 &(struct vm_exit){.kind = VM_EXIT_MMIO,
				   .mmio = {.gpa = gpa, .size = (uint8_t)size, .write = true, .value = value}});
}

uint64_t machine_read(struct vm *vm, unsigned cpu, uint64_t gpa, unsigned size)
{
	struct vm_exit exit = {.kind = VM_EXIT_MMIO, .mmio = {.gpa = gpa, .size = (uint8_t)size}};

	dispatch(vm, cpu, &exit);
	return exit.mmio.value;
}

bool machine_wrmsr(struct vm *vm, unsigned cpu, uint32_t index, uint64_t value)
{
	struct vm_exit exit = {.kind = VM_EXIT_MSR, .msr = {.index = index, .write = true, .value = value}};

	dispatch(vm, cpu, &exit);
	return !exit.msr.fault;
}

bool machine_rdmsr(struct vm *vm, unsigned cpu, uint32_t index, uint64_t *value)
{
	struct vm_exit exit = {.kind = VM_EXIT_MSR, .msr = {.index = index}};

	dispatch(vm, cpu, &exit);
	*value = exit.msr.value;
	return !exit.msr.fault;
}

static void probe_set(void *ctx, unsigned pin, int level)
{
	struct irq_probe *probe = ctx;

	if (level && !probe->level)
		probe->rises++;
	probe->level = level;
}

struct irq_line irq_probe_line(struct irq_probe *probe)
{
	return (struct irq_line){.set = probe_set, .ctx = probe};
}
