/* The one path from an engine to the devices: a const table of handlers, one for each kind of exit.
 *
 * Example: `r = vcpu_dispatch_exit(vcpu, &exit);`
 */
#include "core/exit.h"
#include "base/errno.h"
#include "core/trace.h"
#include "core/vm.h"
#include <stdatomic.h>

#define KVM_ENOSYS 1000

static const char *const kind_names[] = {
	[VM_EXIT_INTERRUPTED] = "interrupted",
	[VM_EXIT_IO] = "io",
	[VM_EXIT_MMIO] = "mmio",
	[VM_EXIT_MSR] = "msr",
	[VM_EXIT_HYPERCALL] = "hypercall",
	[VM_EXIT_HALT] = "halt",
	[VM_EXIT_SHUTDOWN] = "shutdown",
	[VM_EXIT_DEBUG] = "debug",
	[VM_EXIT_FAIL] = "fail",
};
_Static_assert(ARRAY_SIZE(kind_names) == VM_EXIT_KIND_COUNT, "every exit has a name");

const char *vm_exit_name(enum vm_exit_kind kind)
{
	return (unsigned)kind < VM_EXIT_KIND_COUNT ? kind_names[kind] : "unknown";
}

static const char *reason_of(const struct vm_exit *exit)
{
	return exit->reason ? exit->reason : "no reason given";
}

static int handle_interrupted(struct vcpu *vcpu, struct vm_exit *exit)
{
	return 0;
}

static int handle_io(struct vcpu *vcpu, struct vm_exit *exit)
{
	struct vm *vm = vcpu->vm;

	if (exit->io.write)
		bus_write(&vm->pio, exit->io.port, exit->io.size, exit->io.value);
	else
		exit->io.value = (uint32_t)bus_read(&vm->pio, exit->io.port, exit->io.size);
	if (trace_on(vm, TRACE_IO))
		trace_line(vm, TRACE_IO, "cpu%u %s%u port 0x%x %s 0x%x", vcpu->index,
			   exit->io.write ? "out" : "in", exit->io.size * 8u, exit->io.port,
			   exit->io.write ? "<-" : "->", exit->io.value);
	return 0;
}

static int handle_mmio(struct vcpu *vcpu, struct vm_exit *exit)
{
	struct vm *vm = vcpu->vm;

	if (vm->irq_ops && vm->irq_ops->mmio && vm->irq_ops->mmio(vcpu, exit))
		;
	else if (exit->mmio.write)
		bus_write(&vm->mmio, exit->mmio.gpa, exit->mmio.size, exit->mmio.value);
	else
		exit->mmio.value = bus_read(&vm->mmio, exit->mmio.gpa, exit->mmio.size);
	if (trace_on(vm, TRACE_MMIO))
		trace_line(vm, TRACE_MMIO, "cpu%u %s%u gpa 0x%llx %s 0x%llx", vcpu->index,
			   exit->mmio.write ? "write" : "read", exit->mmio.size * 8u,
			   (unsigned long long)exit->mmio.gpa, exit->mmio.write ? "<-" : "->",
			   (unsigned long long)exit->mmio.value);
	return 0;
}

static const struct msr_handler *find_msr(const struct vm *vm, uint32_t index)
{
	unsigned low = 0, high = vm->msr_handler_count;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct msr_handler *handler = &vm->msr_handlers[middle];

		if (index < handler->first)
			high = middle;
		else if (index > handler->last)
			low = middle + 1;
		else
			return handler;
	}
	return NULL;
}

static int handle_msr(struct vcpu *vcpu, struct vm_exit *exit)
{
	const struct msr_handler *handler = find_msr(vcpu->vm, exit->msr.index);
	bool ok = false;

	if (handler && exit->msr.write && handler->write)
		ok = handler->write(vcpu, handler->ctx, exit->msr.index, exit->msr.value);
	else if (handler && !exit->msr.write && handler->read)
		ok = handler->read(vcpu, handler->ctx, exit->msr.index, &exit->msr.value);
	exit->msr.fault = !ok;
	if (trace_on(vcpu->vm, TRACE_MSR))
		trace_line(vcpu->vm, TRACE_MSR, "cpu%u %s 0x%x %s 0x%llx%s", vcpu->index,
			   exit->msr.write ? "wrmsr" : "rdmsr", exit->msr.index,
			   exit->msr.write ? "<-" : "->", (unsigned long long)exit->msr.value,
			   ok ? "" : " #GP");
	return 0;
}

static int handle_hypercall(struct vcpu *vcpu, struct vm_exit *exit)
{
	if (vcpu->vm->hypercall)
		vcpu->vm->hypercall(vcpu, exit);
	else
		exit->hypercall.result = 0u - (uint64_t)KVM_ENOSYS;
	return 0;
}

static int handle_halt(struct vcpu *vcpu, struct vm_exit *exit)
{
	vcpu->run_state = VCPU_HALTED;
	return 0;
}

static int handle_shutdown(struct vcpu *vcpu, struct vm_exit *exit)
{
	struct vm *vm = vcpu->vm;
	const bool resets = vm->shutdown_resets && !vm->no_reboot;

	log_guest("vcpu", "cpu%u shut down: %s%s", vcpu->index, exit->reason ? exit->reason : "triple fault",
		  resets ? "; the machine is reset" : "");
	vm_stop(vm, resets ? VM_STOP_RESET : VM_STOP_TRIPLE_FAULT, 0);
	return resets ? 0 : -EIO;
}

static int handle_debug(struct vcpu *vcpu, struct vm_exit *exit)
{
	if (vcpu->vm->debug)
		debug_hit(vcpu, &exit->debug);
	return 0;
}

static int handle_fail(struct vcpu *vcpu, struct vm_exit *exit)
{
	log_error("vcpu", "cpu%u can't go on: %s", vcpu->index, reason_of(exit));
	vm_stop(vcpu->vm, VM_STOP_HOST_ERROR, 0);
	return -EIO;
}

static int (*const handlers[])(struct vcpu *vcpu, struct vm_exit *exit) = {
	[VM_EXIT_INTERRUPTED] = handle_interrupted,
	[VM_EXIT_IO] = handle_io,
	[VM_EXIT_MMIO] = handle_mmio,
	[VM_EXIT_MSR] = handle_msr,
	[VM_EXIT_HYPERCALL] = handle_hypercall,
	[VM_EXIT_HALT] = handle_halt,
	[VM_EXIT_SHUTDOWN] = handle_shutdown,
	[VM_EXIT_DEBUG] = handle_debug,
	[VM_EXIT_FAIL] = handle_fail,
};
_Static_assert(ARRAY_SIZE(handlers) == VM_EXIT_KIND_COUNT, "every exit has a handler");

static bool is_write(const struct vm_exit *exit)
{
	switch (exit->kind) {
	case VM_EXIT_IO:
		return exit->io.write;
	case VM_EXIT_MMIO:
		return exit->mmio.write;
	case VM_EXIT_MSR:
		return exit->msr.write;
	default:
		return false;
	}
}

int vcpu_dispatch_exit(struct vcpu *vcpu, struct vm_exit *exit)
{
	BUG_ON((unsigned)exit->kind >= VM_EXIT_KIND_COUNT);
	vcpu->stats.exits[exit->kind]++;
	vcpu->stats.writes[exit->kind] += is_write(exit);
	if (trace_on(vcpu->vm, TRACE_EXITS))
		trace_line(vcpu->vm, TRACE_EXITS, "cpu%u %s", vcpu->index, vm_exit_name(exit->kind));
	return handlers[exit->kind](vcpu, exit);
}
