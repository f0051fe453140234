/* The loop of a virtual processor: requests, sleep, engine, exits.
 *
 * Example, on the vcpu's thread: `if (engine->vcpu_init(vcpu, why, size) == 0) r = vcpu_loop(vcpu);`
 *
 * How a request never gets lost (Dekker's pattern): whoever sets a bit sets it first and then looks at
 * in_engine and sleeping; the vcpu sets in_engine or sleeping first and then looks at the bits. Both
 * sides are sequentially consistent, so at least one sees the other's store.
 */
#include "core/vcpu.h"
#include "arch/state.h"
#include "base/errno.h"
#include "core/barrier.h"
#include "core/debug.h"
#include "core/platform.h"
#include "core/reset.h"
#include "core/vm.h"
#include <stdatomic.h>

/* What wakes a processor that waits for a start-up IPI: not the interrupts. */
#define WAKES_WAIT_SIPI VCPU_REQ_LOOP

int vcpus_create(struct vm *vm, unsigned count)
{
	if (count == 0 || count > VM_MAX_VCPUS)
		return -EINVAL;
	for (unsigned i = 0; i < count; i++) {
		struct vcpu *vcpu = platform_alloc(sizeof(*vcpu));

		if (!vcpu)
			goto fail;
		vm->vcpus[vm->vcpu_count++] = vcpu;
		vcpu->vm = vm;
		vcpu->index = i;
		vcpu->power_on_state = platform_alloc(sizeof(*vcpu->power_on_state));
		if (!vcpu->power_on_state)
			goto fail;
	}
	return 0;
fail:
	vcpus_destroy(vm);
	return -ENOMEM;
}

void vcpus_destroy(struct vm *vm)
{
	while (vm->vcpu_count > 0) {
		struct vcpu *vcpu = vm->vcpus[--vm->vcpu_count];

		platform_free(vcpu->power_on_state);
		platform_free(vcpu);
		vm->vcpus[vm->vcpu_count] = NULL;
	}
}

void vcpu_power_on(struct vcpu *vcpu, const union arch_state *state)
{
	/* Here, where nobody executes, and not when the vcpu takes the state: by then another one may have
	 * sent it a start-up IPI. */
	atomic_fetch_and(&vcpu->request, VCPU_REQ_STOP | VCPU_REQ_PAUSE | VCPU_REQ_HELD | VCPU_REQ_DEBUG | VCPU_REQ_BARRIER);
	*vcpu->power_on_state = *state;
	if (vcpu->vm->debug)
		debug_forget_state(vcpu);
	atomic_store(&vcpu->power_on, true);
}

void vcpu_start(struct vcpu *vcpu, const union arch_state *state)
{
	lock_take(&vcpu->power_on_lock);
	*vcpu->power_on_state = *state;
	atomic_store(&vcpu->power_on, true);
	lock_release(&vcpu->power_on_lock);
	/* What wakes it; with the state taken before it, nothing more. */
	vcpu_request(vcpu, VCPU_REQ_SIPI);
}

void vcpu_request(struct vcpu *vcpu, uint32_t bits)
{
	uint32_t before = atomic_fetch_or(&vcpu->request, bits);

	/* All set already: whoever set them wakes, and whoever takes them finds our news too. */
	if ((before & bits) == bits)
		return;
	if (atomic_load(&vcpu->in_engine))
		vcpu->vm->engine->kick(vcpu);
	if (atomic_load(&vcpu->sleeping))
		platform_wake(&vcpu->request, true);
}

uint32_t vcpu_take_request(struct vcpu *vcpu, uint32_t bits)
{
	/* The plain look first: an engine asks often, and the answer is mostly no. */
	if (!(atomic_load(&vcpu->request) & bits))
		return 0;
	return atomic_fetch_and(&vcpu->request, ~bits) & bits;
}

/* Sleeps until the request word differs from `seen`. */
static void sleep_while(struct vcpu *vcpu, uint32_t seen)
{
	atomic_store(&vcpu->sleeping, true);
	if (atomic_load(&vcpu->request) == seen)
		platform_wait(&vcpu->request, seen, UINT64_MAX);
	atomic_store(&vcpu->sleeping, false);
}

/* HLT, or waiting for a start-up IPI, until a bit of `wakes` is set. */
static void sleep_until(struct vcpu *vcpu, uint32_t wakes)
{
	uint32_t seen;

	while (!((seen = atomic_load(&vcpu->request)) & wakes))
		sleep_while(vcpu, seen);
}

static int replace_state(struct vcpu *vcpu, struct vm_exit *exit, const union arch_state *state)
{
	int r;

	BUG_ON(!vcpu->vm->arch_ops); /* the board sets them */
	r = vcpu->vm->engine->set_state(vcpu, state);
	*exit = (struct vm_exit){.kind = VM_EXIT_INTERRUPTED};
	/* An engine with its own controllers waits for INIT, SIPI and interrupts in its run(): nobody tells us. */
	vcpu->run_state = vcpu->vm->engine->irq_set ? VCPU_RUNNABLE : vcpu->vm->arch_ops->run_state(state);
	return r;
}

static int take_power_on_state(struct vcpu *vcpu, struct vm_exit *exit)
{
	const struct engine_ops *engine = vcpu->vm->engine;
	int r = 0;

	lock_take(&vcpu->power_on_lock);
	atomic_store(&vcpu->power_on, false);
	if (engine->vcpu_reset)
		r = engine->vcpu_reset(vcpu);
	if (r >= 0)
		r = replace_state(vcpu, exit, vcpu->power_on_state);
	lock_release(&vcpu->power_on_lock);
	return r;
}

#define PARKS (VCPU_REQ_PAUSE | VCPU_REQ_RESET | VCPU_REQ_HELD | VCPU_REQ_DEBUG)

/* What a debugger wrote becomes the state. */
static int take_debugged(struct vcpu *vcpu, struct vm_exit *exit)
{
	return debug_take_changed(vcpu) ? replace_state(vcpu, exit, debug_shown_state(vcpu)) : 0;
}

/* To a debugger: what the next instruction would find. */
static int show_state(struct vcpu *vcpu, struct vm_exit *exit)
{
	int r = take_debugged(vcpu, exit);

	if (r == 0 && atomic_load(&vcpu->power_on))
		r = take_power_on_state(vcpu, exit);
	if (r == 0)
		r = vcpu->vm->engine->get_state(vcpu, debug_shown_state(vcpu));
	debug_show(vcpu);
	return r;
}

static int sleep_parked(struct vcpu *vcpu, struct vm_exit *exit)
{
	uint32_t seen;
	int r = 0;

	while (r == 0) {
		vcpu_pass_barrier(vcpu);
		seen = atomic_load(&vcpu->request);
		if ((seen & VCPU_REQ_STOP) || !(seen & PARKS))
			break;
		if ((seen & VCPU_REQ_RESET) && !(seen & VCPU_REQ_HELD))
			vm_reset_arrive(vcpu);
		else if ((seen & VCPU_REQ_DEBUG) && debug_wants_state(vcpu))
			r = show_state(vcpu, exit);
		else
			sleep_while(vcpu, seen);
	}
	return r;
}

/* Out of the engine for PAUSE, RESET or a debugger, until none is set or the VM stops. */
static int park(struct vcpu *vcpu, struct vm_exit *exit)
{
	const struct engine_ops *engine = vcpu->vm->engine;
	int r;

	atomic_store(&vcpu->parked, 1);
	platform_wake(&vcpu->parked, true);
	r = sleep_parked(vcpu, exit);
	atomic_store(&vcpu->parked, 0);
	if (r == 0 && vcpu->vm->debug) {
		r = take_debugged(vcpu, exit);
		if (r == 0 && engine->debug)
			r = engine->debug(vcpu);
	}
	return r;
}

static int take_init(struct vcpu *vcpu, struct vm_exit *exit)
{
	struct vm *vm = vcpu->vm;
	union arch_state state;
	int r = vm->engine->get_state(vcpu, &state);

	if (r < 0)
		return r;
	vm->arch_ops->init(&state, vcpu->index == 0);
	if (vm->irq_ops && vm->irq_ops->init)
		vm->irq_ops->init(vcpu);
	return replace_state(vcpu, exit, &state);
}

static int take_startup(struct vcpu *vcpu, struct vm_exit *exit)
{
	struct vm *vm = vcpu->vm;
	union arch_state state;
	int r;

	if (vcpu->run_state != VCPU_WAIT_SIPI)
		return 0; /* a processor that runs ignores it (SDM 3A 8.4.4.1 sends two) */
	r = vm->engine->get_state(vcpu, &state);
	if (r < 0)
		return r;
	vm->arch_ops->startup(&state, vcpu->sipi_vector);
	return replace_state(vcpu, exit, &state);
}

static int serve_requests(struct vcpu *vcpu, struct vm_exit *exit)
{
	uint32_t request = atomic_load(&vcpu->request);
	int r = 0;

	vcpu_pass_barrier(vcpu);
	if (request & PARKS)
		return park(vcpu, exit); /* look again then: it may be STOP */
	if (atomic_load(&vcpu->power_on))
		r = take_power_on_state(vcpu, exit);
	/* INIT before SIPI: that is the order in which they are sent when both are there. */
	if (r == 0 && vcpu_take_request(vcpu, VCPU_REQ_INIT))
		r = take_init(vcpu, exit);
	if (r == 0 && vcpu_take_request(vcpu, VCPU_REQ_SIPI))
		r = take_startup(vcpu, exit);
	return r;
}

static void wait_until_runnable(struct vcpu *vcpu)
{
	if (vcpu->run_state == VCPU_WAIT_SIPI) {
		sleep_until(vcpu, WAKES_WAIT_SIPI);
	} else if (vcpu->run_state == VCPU_HALTED) {
		sleep_until(vcpu, ~0u);
		/* The engine decides what the bit is worth; if nothing, it takes the bit and halts again. */
		if (!(atomic_load(&vcpu->request) & VCPU_REQ_LOOP))
			vcpu->run_state = VCPU_RUNNABLE;
	}
}

/* Results wait for the rest of their instruction. */
static bool is_unfinished(const struct vm_exit *exit)
{
	return exit->kind == VM_EXIT_IO || exit->kind == VM_EXIT_MMIO || exit->kind == VM_EXIT_MSR ||
	       exit->kind == VM_EXIT_HYPERCALL;
}

/* Whoever holds the vcpu, or sees or replaces its state, finds it between two instructions. */
static bool must_serve(const struct vcpu *vcpu, const struct vm_exit *exit)
{
	return ((atomic_load(&vcpu->request) & VCPU_REQ_LOOP) || atomic_load(&vcpu->power_on)) && !is_unfinished(exit);
}

static int enter_engine(struct vcpu *vcpu, struct vm_exit *exit)
{
	int r = 0;

	atomic_store(&vcpu->in_engine, true);
	if (!must_serve(vcpu, exit)) {
		if (unlikely(vcpu->stats.first_instruction_ns == 0))
			vcpu->stats.first_instruction_ns = platform_clock_ns();
		r = vcpu->vm->engine->run(vcpu, exit);
		atomic_store(&vcpu->in_engine, false);
		return r < 0 ? r : vcpu_dispatch_exit(vcpu, exit);
	}
	atomic_store(&vcpu->in_engine, false);
	return 0;
}

static int run_until_stopped(struct vcpu *vcpu)
{
	struct vm_exit exit = {.kind = VM_EXIT_INTERRUPTED};
	int r = 0;

	while (r == 0) {
		if (atomic_load(&vcpu->request) & VCPU_REQ_STOP)
			return 0;
		if (must_serve(vcpu, &exit))
			r = serve_requests(vcpu, &exit);
		else if (vcpu->run_state != VCPU_RUNNABLE)
			wait_until_runnable(vcpu);
		else
			r = enter_engine(vcpu, &exit);
	}
	return r;
}

int vcpu_loop(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	int r = run_until_stopped(vcpu);

	/* An exit that stops the VM has said why; this is a failure of the host. */
	if (r < 0 && atomic_load(&vm->stop_reason) == VM_STOP_NONE) {
		log_error("vcpu", "cpu%u: the %s engine failed (error %d)", vcpu->index, vm->engine->name, -r);
		vm_stop(vm, VM_STOP_HOST_ERROR, 0);
	}
	atomic_store(&vcpu->parked, 1);
	platform_wake(&vcpu->parked, true);
	if (vm->debug)
		debug_show(vcpu); /* nobody waits for it any more */
	return r;
}
