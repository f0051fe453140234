/* The `dbt` engine: binary translation of x86-64 guests on x86-64 hosts, beside the interpreter.
 *
 * Needs neither /dev/kvm nor privilege: a process that may map memory executable before the sandbox closes.
 */
#include "arch/state.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "core/platform.h"
#include "engine/dbt/cache.h"
#include "engine/dbt/counts.h"
#include "engine/dbt/dbt_engine.h"
#include "engine/dbt/host_cpu.h"
#include "engine/dbt/profile.h"
#include "engine/interp/interp.h"
#include "engine/interp/x86_64/run.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CODE_SIZE MIB(192)
/* Linear address space that all tables of a VM may take: what a host of 47 bits has, less some. */
#define TABLE_CONTEXTS 96

static int dbt_probe(char *why, size_t why_size)
{
	int r;

	if (!dbt_host_has(X86_FEATURE_BMI2)) {
		fmt_print(why, why_size, "this processor has no BMI2 instructions, which translated code needs: use the interp "
					 "engine");
		return -ENOSYS;
	}
	r = dbt_code_probe(why, why_size);
	return r < 0 ? r : dbt_ram_probe(why, why_size);
}

static int dbt_vm_init(struct vm *vm, char *why, size_t why_size)
{
	struct dbt_vm *shared = platform_alloc(sizeof(*shared));
	int r;

	if (!shared) {
		fmt_print(why, why_size, "no host memory for the translator: free some or stop another VM");
		return -ENOMEM;
	}
	sem_fill_table(shared->interp.functions);
	shared->vm = vm;
	r = dbt_ram_create(&vm->mem, &shared->ram, why, why_size);
	if (r < 0) {
		platform_free(shared);
		return r;
	}
	r = dbt_signals_init();
	if (r < 0) {
		fmt_print(why, why_size, "cannot handle the faults of translated code (error %d): use the interp engine", -r);
		dbt_ram_destroy(shared->ram);
		platform_free(shared);
		return r;
	}
	vm->engine_vm = shared;
	vm->mem.written = dbt_memory_written;
	vm->mem.discarded = dbt_memory_discarded;
	vm->mem.written_ctx = shared;
	return 0;
}

static void dbt_vm_destroy(struct vm *vm)
{
	struct dbt_vm *shared = vm->engine_vm;

	vm->mem.written = NULL;
	vm->mem.discarded = NULL;
	dbt_signals_exit();
	dbt_ram_destroy(shared->ram);
	platform_free(shared);
	vm->engine_vm = NULL;
}

static uint32_t host_mxcsr(void)
{
	uint32_t value;

	__asm__ volatile("stmxcsr %0" : "=m"(value));
	return value;
}

/* GS-relative offsets reach two pages of it from every thread: page-aligned, zeroed. */
static struct dbt *alloc_dbt(const struct vm *vm)
{
	void *at = mmap(NULL, sizeof(struct dbt) + dbt_counts_size(vm), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

static unsigned contexts_of(const struct vm *vm)
{
	unsigned contexts = TABLE_CONTEXTS / vm->vcpu_count;

	return contexts > DBT_CONTEXTS_MAX ? DBT_CONTEXTS_MAX : contexts ? contexts : 1;
}

static int dbt_vcpu_init(struct vcpu *vcpu, char *why, size_t why_size)
{
	struct dbt *d = alloc_dbt(vcpu->vm);
	int r = -ENOMEM;

	if (!d)
		goto fail;
	d->shared = vcpu->vm->engine_vm;
	d->host_mxcsr = host_mxcsr();
	d->x87_unloaded = 1;
	d->mask_31 = 31;
	d->mask_63 = 63;
	d->writes_seen = atomic_load(&d->shared->writes.head);
	r = cpu_init(&d->cpu, vcpu);
	if (r < 0)
		goto fail_unmap;
	for (unsigned write = 0; write < 2; write++)
		d->not_begin[write] = 0 - (uint64_t)dbt_ram_begin(d->shared->ram, write);
	r = dbt_mmu_init(&d->mmu, &d->cpu, d->shared->ram, contexts_of(vcpu->vm));
	if (r < 0)
		goto fail_cpu;
	r = dbt_code_init(d, CODE_SIZE);
	if (r < 0)
		goto fail_code;
	r = dbt_counts_init(d);
	if (r == 0 && vcpu->vm->check)
		r = dbt_check_init(d);
	if (r == 0)
		r = dbt_thread_init(d);
	dbt_stats_begin(d);
	if (r == 0)
		r = dbt_profile_begin(d);
	if (r < 0)
		goto fail_code;
	d->mmu.listener = dbt_code_listener;
	d->mmu.listener.ctx = d;
	d->cpu.mmu_hooks = &dbt_mmu_hooks;
	d->cpu.mmu_hooks_ctx = d;
	d->cpu.run_translated = dbt_run;
	vcpu->engine_vcpu = d;
	return 0;

fail_code:
	dbt_profile_end(d);
	dbt_check_exit(d);
	dbt_counts_destroy(d);
	dbt_code_destroy(d);
	dbt_mmu_destroy(&d->mmu);
fail_cpu:
	cpu_destroy(&d->cpu);
fail_unmap:
	munmap(d, sizeof(*d) + dbt_counts_size(vcpu->vm));
fail:
	fmt_print(why, why_size, "cannot prepare processor %u for translation (error %d): free memory, use fewer --cpus, or "
				 "choose --engine interp", vcpu->index, -r);
	return r;
}

static void dbt_vcpu_destroy(struct vcpu *vcpu)
{
	struct dbt *d = vcpu->engine_vcpu;

	dbt_profile_end(d);
	dbt_thread_exit(d);
	dbt_check_exit(d);
	dbt_counts_destroy(d);
	dbt_code_destroy(d);
	dbt_mmu_destroy(&d->mmu);
	cpu_destroy(&d->cpu);
	vcpu->engine_vcpu = NULL;
	munmap(d, sizeof(*d) + dbt_counts_size(vcpu->vm));
}

static int dbt_get_state(struct vcpu *vcpu, union arch_state *state)
{
	dbt_x87_store(vcpu->engine_vcpu);
	return interp_engine.get_state(vcpu, state);
}

static int dbt_set_state(struct vcpu *vcpu, const union arch_state *state)
{
	struct dbt *d = vcpu->engine_vcpu;

	d->x87_unloaded = 1;
	return interp_engine.set_state(vcpu, state);
}

static int dbt_engine_debug(struct vcpu *vcpu)
{
	struct dbt *d = vcpu->engine_vcpu;

	cpu_debug_update(&d->cpu);
	dbt_debug(d);
	return 0;
}

static void dbt_kick(struct vcpu *vcpu)
{
	struct dbt *d = vcpu->engine_vcpu;

	if (d && atomic_load(&d->thread_known))
		syscall(SYS_tgkill, getpid(), d->thread_id, dbt_kick_signal());
}

static void dbt_invalidate(struct vm *vm, gpa_t gpa, uint64_t len)
{
	mem_mark_written(&vm->mem, gpa, len);
}

static int dbt_dirty_sync(struct vm *vm)
{
	return interp_engine.dirty_sync(vm);
}

static void dbt_count_blocks(struct vcpu *vcpu)
{
	dbt_counts_collect(vcpu->engine_vcpu);
}

static int dbt_engine_run(struct vcpu *vcpu, struct vm_exit *exit)
{
	struct dbt *d = vcpu->engine_vcpu;
	int r;

	dbt_time(d, DBT_TIME_INTERPRETER);
	r = interp_x86_run(vcpu, exit);
	dbt_time(d, DBT_TIME_OUTSIDE);
	return r;
}

const struct engine_ops dbt_engine = {
	.name = "dbt",
	.about = "binary translation: guest code at close to native speed on any x86-64 Linux",
	.translates = true,
	.shared_memory = true,
	.probe = dbt_probe,
	.vm_init = dbt_vm_init,
	.vm_destroy = dbt_vm_destroy,
	.vcpu_init = dbt_vcpu_init,
	.vcpu_destroy = dbt_vcpu_destroy,
	.run = dbt_engine_run,
	.get_state = dbt_get_state,
	.set_state = dbt_set_state,
	.kick = dbt_kick,
	.invalidate = dbt_invalidate,
	.dirty_sync = dbt_dirty_sync,
	.cpuid_filter = dbt_cpuid_filter,
	.report = dbt_report,
	.measure = dbt_measure,
	.profile = dbt_profile_report,
	.count_blocks = dbt_count_blocks,
	.keeper = &dbt_keeper,
	.debug = dbt_engine_debug,
};
