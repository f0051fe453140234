/* The `interp` engine for AArch64 guests: engine_ops over the interpreter's vcpu. Runs on every host.
 */
#include "base/errno.h"
#include "base/fmt.h"
#include "base/string.h"
#include "arch/state.h"
#include "core/engine.h"
#include "core/stats.h"
#include "engine/interp/aarch64/cpu.h"
#include "engine/interp/aarch64/engine.h"
#include "engine/interp/interp.h"

static int interp_probe(char *why, size_t why_size)
{
	return 0;
}

int a64_vm_init(struct vm *vm, char *why, size_t why_size)
{
	vm->engine_vm = platform_alloc(sizeof(struct a64_interp_vm));
	if (vm->engine_vm)
		return 0;
	fmt_print(why, why_size, "no host memory for the interpreter: free some or stop another VM");
	return -ENOMEM;
}

void a64_vm_destroy(struct vm *vm)
{
	platform_free(vm->engine_vm);
	vm->engine_vm = NULL;
}

static void interp_vcpu_destroy(struct vcpu *vcpu)
{
	struct a64_cpu *cpu = vcpu->engine_vcpu;

	vcpu->engine_vcpu = NULL;
	if (cpu)
		a64_cpu_destroy(cpu);
	platform_free(cpu);
}

static void set_state(struct a64_cpu *cpu, const struct a64_state *state)
{
	cpu->s = *state;
	cpu->leave = A64_LEAVE_NONE;
	cpu->completing = cpu->exclusive = false;
	cpu->replay_count = cpu->replay_pos = 0;
	cpu->irq_pending = cpu->fiq_pending = false;
	atomic_fetch_or(&cpu->vcpu->request, VCPU_REQ_IRQ);
	cpu->tlb_used = true;
	a64_tlb_flush(cpu, true);
	a64_update_mode(cpu);
}

void a64_cpu_destroy(struct a64_cpu *cpu)
{
	a64_blocks_destroy(cpu);
}

int a64_cpu_init(struct a64_cpu *cpu, struct vcpu *vcpu)
{
	struct a64_state state;

	if (a64_blocks_create(cpu) < 0)
		return -ENOMEM;
	cpu->vcpu = vcpu;
	cpu->vm = vcpu->vm;
	cpu->shared = vcpu->vm->engine_vm;
	for (unsigned i = 0; i < A64_TLB_SIZE; i++)
		cpu->tlb[A64_TLB_CHECKED][i] = (struct a64_tlb_entry){.read_tag = A64_TLB_NONE, .write_tag = A64_TLB_NONE};
	a64_state_reset(&state, vcpu->index);
	set_state(cpu, &state);
	return 0;
}

static int interp_vcpu_init(struct vcpu *vcpu, char *why, size_t why_size)
{
	struct a64_cpu *cpu = platform_alloc(sizeof(*cpu));

	if (cpu && !a64_cpu_init(cpu, vcpu)) {
		vcpu->engine_vcpu = cpu;
		return 0;
	}
	if (cpu)
		a64_cpu_destroy(cpu);
	platform_free(cpu);
	fmt_print(why, why_size, "no host memory for processor %u: free some or use fewer --cpus", vcpu->index);
	return -ENOMEM;
}

int a64_engine_run(struct vcpu *vcpu, struct vm_exit *exit)
{
	struct a64_cpu *cpu = vcpu->engine_vcpu;

	a64_complete(cpu, exit);
	cpu->exit = exit;
	a64_run(cpu);
	return 0;
}

int a64_get_state(struct vcpu *vcpu, union arch_state *state)
{
	const struct a64_cpu *cpu = vcpu->engine_vcpu;

	state->a64 = cpu->s;
	return 0;
}

int a64_set_state(struct vcpu *vcpu, const union arch_state *state)
{
	set_state(vcpu->engine_vcpu, &state->a64);
	return 0;
}

/* run() looks at the request word at every block boundary: nothing to do. */
static void interp_kick(struct vcpu *vcpu)
{
}

void a64_invalidate(struct vm *vm, gpa_t gpa, uint64_t len)
{
	mem_mark_written(&vm->mem, gpa, len);
}

int a64_dirty_sync(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vcpu_request(vm->vcpus[i], VCPU_REQ_FLUSH);
	return 0;
}

static uint64_t interp_instructions(const struct vcpu *vcpu)
{
	const struct a64_cpu *cpu = vcpu->engine_vcpu;

	return cpu ? cpu->instructions : 0;
}

const struct engine_ops interp_a64_engine = {
	.name = "interp",
	.about = "interprets every instruction: runs everywhere, slowest",
	.arch = GUEST_AARCH64,
	.probe = interp_probe,
	.vm_init = a64_vm_init,
	.vm_destroy = a64_vm_destroy,
	.vcpu_init = interp_vcpu_init,
	.vcpu_destroy = interp_vcpu_destroy,
	.run = a64_engine_run,
	.get_state = a64_get_state,
	.set_state = a64_set_state,
	.kick = interp_kick,
	.invalidate = a64_invalidate,
	.dirty_sync = a64_dirty_sync,
	.instructions = interp_instructions,
};
