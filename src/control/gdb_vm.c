/* gdb's target: a VM; see gdb_vm.h.
 */
#include "control/gdb_vm.h"
#include "arch/state.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/paging.h"
#include "base/errno.h"
#include "base/string.h"
#include "core/vm.h"

static unsigned vm_cpus(void *ctx)
{
	const struct vm *vm = ctx;

	return vm->vcpu_count;
}

static bool vm_has_avx(void *ctx)
{
	const struct vm *vm = ctx;

	return vm->cpuid && vm->cpuid->features[X86_FEATURE_AVX];
}

static bool vm_gdb_stop(void *ctx, unsigned *cpu, struct debug_event *event)
{
	const struct vm *vm = ctx;

	return debug_stop(vm->debug, event, cpu);
}

static void vm_gdb_resume(void *ctx, uint64_t run, uint64_t step)
{
	const struct vm *vm = ctx;

	(void)debug_resume(vm->debug, run, step);
}

static union arch_state *vm_state(void *ctx, unsigned cpu)
{
	const struct vm *vm = ctx;

	return debug_state(vm->debug, cpu);
}

static void vm_state_changed(void *ctx, unsigned cpu)
{
	const struct vm *vm = ctx;

	debug_state_changed(vm->debug, cpu);
}

/* ---- memory ---- */

/* Where a byte is, whoever may access it; false: nowhere. */
static bool translate(struct vm *vm, unsigned cpu, bool physical, uint64_t address, gpa_t *gpa)
{
	struct x86_walk walk;

	if (physical) {
		*gpa = address;
		return true;
	}
	if (x86_walk(&vm->mem, &debug_state(vm->debug, cpu)->x86, vm->cpuid->physical_bits, address, X86_WALK_PROBE | X86_WALK_SMAP_AC,
		     &walk) < 0)
		return false;
	*gpa = walk.gpa;
	return true;
}

/* The piece at address that lies on one page of RAM, or NULL. */
static uint8_t *piece_at(struct vm *vm, unsigned cpu, bool physical, uint64_t address, size_t len, gpa_t *gpa, size_t *piece)
{
	size_t room = PAGE_SIZE - (size_t)(address & ~PAGE_MASK);

	*piece = len < room ? len : room;
	return translate(vm, cpu, physical, address, gpa) ? mem_hva(&vm->mem, *gpa, *piece) : NULL;
}

static size_t vm_read(void *ctx, unsigned cpu, bool physical, uint64_t address, void *buf, size_t len)
{
	size_t done = 0, piece;
	gpa_t gpa;

	for (; done < len; done += piece) {
		uint8_t *hva = piece_at(ctx, cpu, physical, address + done, len - done, &gpa, &piece);

		if (!hva)
			break;
		memcpy((uint8_t *)buf + done, hva, piece);
	}
	return done;
}

static int vm_write(void *ctx, unsigned cpu, bool physical, uint64_t address, const void *buf, size_t len)
{
	struct vm *vm = ctx;
	size_t done, piece;
	uint8_t *hva;
	gpa_t gpa;

	for (done = 0; done < len; done += piece) {
		if (!piece_at(vm, cpu, physical, address + done, len - done, &gpa, &piece))
			return -EFAULT;
	}
	for (done = 0; done < len; done += piece) {
		hva = piece_at(vm, cpu, physical, address + done, len - done, &gpa, &piece);
		if (!hva) /* what was written may have been a page table */
			return -EFAULT;
		memcpy(hva, (const uint8_t *)buf + done, piece);
		mem_mark_written(&vm->mem, gpa, piece);
	}
	return 0;
}

/* ---- the rest ---- */

static int vm_point(void *ctx, const struct debug_point *point, bool insert)
{
	const struct vm *vm = ctx;

	return insert ? debug_point_add(vm->debug, point) : debug_point_remove(vm->debug, point);
}

static void vm_clear_points(void *ctx)
{
	const struct vm *vm = ctx;

	debug_points_clear(vm->debug);
}

static void vm_step_interrupts(void *ctx, bool on)
{
	const struct vm *vm = ctx;

	debug_step_interrupts(vm->debug, on);
}

static const char *vm_activity(void *ctx, unsigned cpu)
{
	switch (vm_state(ctx, cpu)->x86.activity) {
	case X86_ACTIVITY_HLT: return "halted";
	case X86_ACTIVITY_WAIT_SIPI: return "waiting to be started";
	default: return "running";
	}
}

static void vm_gdb_reset(void *ctx)
{
	vm_stop(ctx, VM_STOP_RESET, 0);
}

static void vm_gdb_quit(void *ctx)
{
	vm_stop(ctx, VM_STOP_QUIT, 0);
}

const struct gdb_target gdb_vm_target = {
	.cpus = vm_cpus,
	.has_avx = vm_has_avx,
	.stop = vm_gdb_stop,
	.resume = vm_gdb_resume,
	.state = vm_state,
	.state_changed = vm_state_changed,
	.read = vm_read,
	.write = vm_write,
	.point = vm_point,
	.clear_points = vm_clear_points,
	.step_interrupts = vm_step_interrupts,
	.activity = vm_activity,
	.reset = vm_gdb_reset,
	.quit = vm_gdb_quit,
};
