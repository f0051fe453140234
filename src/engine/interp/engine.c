/* The `interp` engine: engine_ops over the interpreter's vcpu.
 *
 * Runs on every host: it needs neither /dev/kvm nor executable memory. It is the reference for what each
 * instruction does; speed comes second.
 */
#include "base/errno.h"
#include "base/fmt.h"
#include "base/string.h"
#include "core/engine.h"
#include "core/platform.h"
#include "core/tsc.h"
#include "arch/state.h"
#include "engine/interp/interp.h"
#include "engine/interp/x86_64/cpu.h"
#include "engine/interp/x86_64/run.h"

/* Enough for some 100,000 decoded instructions; memory is committed as it is used, and all is dropped
 * when it is full. */
#define ARENA_SIZE MIB(32)

static int interp_probe(char *why, size_t why_size)
{
	return 0;
}

static int interp_vm_init(struct vm *vm, char *why, size_t why_size)
{
	struct interp_vm *shared = platform_alloc(sizeof(*shared));

	if (!shared) {
		fmt_print(why, why_size, "no host memory for the interpreter: free some or stop another VM");
		return -ENOMEM;
	}
	sem_fill_table(shared->functions);
	vm->engine_vm = shared;
	return 0;
}

static void interp_vm_destroy(struct vm *vm)
{
	platform_free(vm->engine_vm);
	vm->engine_vm = NULL;
}

void cpu_destroy(struct cpu *cpu)
{
	platform_free(cpu->blocks.arena);
	platform_free(cpu->jump_cache);
	platform_free(cpu->scratch);
}

int cpu_init(struct cpu *cpu, struct vcpu *vcpu)
{
	cpu->vcpu = vcpu;
	cpu->vm = vcpu->vm;
	cpu->shared = vcpu->vm->engine_vm;
	cpu->cpuid = vcpu->vm->cpuid;
	cpu->delivering = -1;
	cpu->shadow_rip = ~0ull;
	cpu->blocks.size = ARENA_SIZE;
	cpu->blocks.arena = platform_alloc(ARENA_SIZE);
	cpu->jump_cache = platform_alloc(JUMP_CACHE_SIZE * sizeof(*cpu->jump_cache));
	cpu->scratch = platform_alloc(sizeof(struct block) + 2 * sizeof(struct uop) + sizeof(struct x86_insn));
	if (!cpu->blocks.arena || !cpu->jump_cache || !cpu->scratch) {
		cpu_destroy(cpu);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < TLB_SIZE; i++)
		cpu->tlb[TLB_CHECKED][i] = (struct tlb_entry){.read_tag = TLB_NONE, .write_tag = TLB_NONE};
	cpu_flush(cpu);
	x86_state_reset(&cpu->s, vcpu->index == 0);
	cpu_set_rflags(cpu, cpu->s.rflags);
	return 0;
}

static int interp_vcpu_init(struct vcpu *vcpu, char *why, size_t why_size)
{
	struct cpu *cpu = platform_alloc(sizeof(*cpu));

	if (!cpu || cpu_init(cpu, vcpu) < 0) {
		platform_free(cpu);
		fmt_print(why, why_size, "no host memory for processor %u: free some or use fewer --cpus", vcpu->index);
		return -ENOMEM;
	}
	vcpu->engine_vcpu = cpu;
	return 0;
}

static void interp_vcpu_destroy(struct vcpu *vcpu)
{
	if (vcpu->engine_vcpu)
		cpu_destroy(vcpu->engine_vcpu);
	platform_free(vcpu->engine_vcpu);
	vcpu->engine_vcpu = NULL;
}

static int interp_get_state(struct vcpu *vcpu, union arch_state *state)
{
	struct cpu *cpu = vcpu->engine_vcpu;

	cpu_rflags(cpu);
	state->x86 = cpu->s;
	state->x86.interrupt_shadow = cpu->shadow_rip == cpu->s.rip;
	if (cpu->vm->irq_ops)
		state->x86.cr8 = cpu->vm->irq_ops->get_tpr(vcpu);
	return 0;
}

static int interp_set_state(struct vcpu *vcpu, const union arch_state *state)
{
	struct cpu *cpu = vcpu->engine_vcpu;

	cpu->s = state->x86;
	cpu->delivering = -1;
	cpu->completing = false;
	cpu->replay_count = cpu->replay_pos = 0;
	cpu->irq_blocked = false;
	cpu->debug_stepped = false;
	cpu->watch_hit = NULL;
	cpu->shadow_rip = state->x86.interrupt_shadow ? state->x86.rip : ~0ull;
	cpu_set_rflags(cpu, state->x86.rflags);
	cpu_flush(cpu);
	vcpu_set_tsc_offset(vcpu, cpu->s.tsc_offset);
	return 0;
}

/* run() looks at the request word at every block boundary: nothing to do. */
static void interp_kick(struct vcpu *vcpu)
{
}

static void interp_invalidate(struct vm *vm, gpa_t gpa, uint64_t len)
{
	mem_mark_written(&vm->mem, gpa, len);
}

static int interp_dirty_sync(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vcpu_request(vm->vcpus[i], VCPU_REQ_FLUSH);
	return 0;
}

static uint64_t interp_instructions(const struct vcpu *vcpu)
{
	const struct cpu *cpu = vcpu->engine_vcpu;

	return cpu ? cpu->instructions : 0;
}

static int interp_debug(struct vcpu *vcpu)
{
	cpu_debug_update(vcpu->engine_vcpu);
	return 0;
}

static void interp_report(struct vcpu *vcpu, struct stats_sink *sink)
{
	const struct cpu *cpu = vcpu->engine_vcpu;

	if (cpu)
		cpu_report(cpu, sink);
}

const struct engine_ops interp_engine = {
	.name = "interp",
	.about = "interpreter: the reference, runs on every host",
	.probe = interp_probe,
	.vm_init = interp_vm_init,
	.vm_destroy = interp_vm_destroy,
	.vcpu_init = interp_vcpu_init,
	.vcpu_destroy = interp_vcpu_destroy,
	.run = interp_x86_run,
	.get_state = interp_get_state,
	.set_state = interp_set_state,
	.kick = interp_kick,
	.invalidate = interp_invalidate,
	.dirty_sync = interp_dirty_sync,
	.instructions = interp_instructions,
	.debug = interp_debug,
	.report = interp_report,
};
