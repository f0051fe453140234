/* See subject.h. */
#include "tests/dbt/subject.h"
#include "arch/state.h"
#include "core/engine.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Instructions and iterations of REP, before a run is taken for a loop. */
#define STEPS_MAX 2000000
#define VECTOR_LOOP 254

bool subject_create(struct subject *subject, const struct engine_ops *engine)
{
	char why[200] = "no memory";

	memset(subject, 0, sizeof(*subject));
	if (engine->probe(why, sizeof(why)) < 0)
		goto fail;
	subject->ram = mmap(NULL, SUBJECT_RAM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (subject->ram == MAP_FAILED) {
		subject->ram = NULL;
		goto fail;
	}
	if (mem_add_slot(&subject->vm.mem, 0, SUBJECT_RAM, subject->ram, false) < 0)
		goto fail;
	x86_cpuid_build(&subject->cpuid, 1, 2000000000);
	subject->vm.cpuid = &subject->cpuid;
	subject->vm.engine = engine;
	if (engine->cpuid_filter)
		engine->cpuid_filter(&subject->vm);
	subject->vm.vcpu_count = 1;
	subject->vm.vcpus[0] = &subject->vcpu;
	subject->vcpu.vm = &subject->vm;
	if (engine->vm_init(&subject->vm, why, sizeof(why)) < 0 ||
	    engine->vcpu_init(&subject->vcpu, why, sizeof(why)) < 0)
		goto fail;
	subject->cpu = subject->vcpu.engine_vcpu;
	subject->cpu->exit = &subject->exit;
	return true;
fail:
	fprintf(stderr, "isolation: %s\n", why);
	return false;
}

void subject_destroy(struct subject *subject)
{
	if (subject->vcpu.engine_vcpu)
		subject->vm.engine->vcpu_destroy(&subject->vcpu);
	if (subject->vm.engine_vm)
		subject->vm.engine->vm_destroy(&subject->vm);
	mem_destroy(&subject->vm.mem);
	if (subject->ram)
		munmap(subject->ram, SUBJECT_RAM);
}

void subject_collect(struct subject *subject)
{
	union arch_state state;

	/* The translator brings the x87 registers home for it. */
	(void)subject->vm.engine->get_state(&subject->vcpu, &state);
	cpu_rflags(subject->cpu);
}

void subject_reset(struct subject *subject, const struct x86_state *state)
{
	struct cpu *cpu = subject->cpu;

	subject_collect(subject);
	cpu->s = *state;
	cpu->leave = LEAVE_NONE;
	cpu->delivering = -1;
	cpu->shadow_rip = ~0ull;
	cpu->replay_count = cpu->replay_pos = 0;
	cpu->smc = false;
	cpu_set_rflags(cpu, state->rflags);
	cpu_flush(cpu);
	mem_mark_written(&subject->vm.mem, 0, SUBJECT_RAM);
}

static void step(struct cpu *cpu)
{
	cpu->s.rflags &= ~(uint64_t)X86_FLAG_RF;
	fast_run_once(cpu, block_find(cpu, cpu->s.rip, true));
	cpu->smc = false;
	cpu_update_mode(cpu);
}

bool subject_run(struct subject *subject, uint64_t end, struct fault *fault)
{
	struct cpu *volatile cpu = subject->cpu;
	volatile unsigned steps = 0;

	while (cpu->s.rip != end) {
		if (++steps > STEPS_MAX) {
			*fault = (struct fault){.vector = VECTOR_LOOP};
			return false;
		}
		cpu->leave = LEAVE_NONE;
		if (setjmp(cpu->jump)) {
			if (cpu->leave != LEAVE_EXCEPTION)
				continue;
			if (cpu->s.rip == end)
				return true;
			*fault = (struct fault){
				.vector = cpu->event.vector,
				.error = cpu->event.has_error ? cpu->event.error : 0,
				.cr2 = cpu->event.vector == X86_EXC_PF ? cpu->s.cr2 : 0,
			};
			cpu->leave = LEAVE_NONE;
			return false;
		}
		cpu->replay_count = cpu->replay_pos = 0;
		if (!cpu->run_translated || cpu->run_translated(cpu)) {
			if (cpu->s.rip != end)
				step(cpu);
		} else if (vcpu_take_request(&subject->vcpu, VCPU_REQ_FLUSH)) {
			tlb_flush_writes(cpu);
		}
	}
	return true;
}
