/* Stops, events and points of a debugger; see debug.h.
 *
 * A vcpu that finds VCPU_REQ_DEBUG parks (vcpu.c), and before it sleeps it shows its state: it alone may ask its engine for it. From
 * then on until `shown` is cleared that state is the I/O thread's.
 */
#include "core/debug.h"
#include "arch/state.h"
#include "base/errno.h"
#include "base/string.h"
#include "core/platform.h"
#include "core/vm.h"
#include <stdatomic.h>

struct debug_vcpu {
	union arch_state state;
	_Atomic uint32_t shown;  /* 1: state is the vcpu's, and it does not run */
	bool changed;            /* it is to be taken back; the I/O thread's while shown */
	bool step;
	_Atomic bool hit;        /* event is there, and nobody was told */
	struct debug_event event;
};

struct debug {
	struct vm *vm;
	void (*on_stop)(void *ctx, unsigned vcpu, const struct debug_event *event);
	void *ctx;
	struct work work; /* something was hit */
	bool stopped;
	bool step_interrupts;
	unsigned count, watches;
	struct debug_point points[DEBUG_POINTS_MAX]; /* changed while all vcpus are stopped */
	struct debug_vcpu vcpus[];
};

static struct debug_vcpu *vcpu_of(const struct vcpu *vcpu)
{
	return &vcpu->vm->debug->vcpus[vcpu->index];
}

static bool any_hit(struct debug *debug)
{
	for (unsigned i = 0; i < debug->vm->vcpu_count; i++) {
		if (atomic_load(&debug->vcpus[i].hit))
			return true;
	}
	return false;
}

static void on_work(void *ctx)
{
	struct debug *debug = ctx;
	struct debug_event event;
	unsigned vcpu;

	/* Somebody else may have stopped the VM, and have seen it. */
	if (any_hit(debug) && debug_stop(debug, &event, &vcpu))
		debug->on_stop(debug->ctx, vcpu, &event);
}

int debug_create(struct vm *vm, void (*on_stop)(void *ctx, unsigned vcpu, const struct debug_event *event), void *ctx)
{
	struct debug *debug = platform_alloc(sizeof(*debug) + vm->vcpu_count * sizeof(debug->vcpus[0]));

	if (!debug)
		return -ENOMEM;
	debug->vm = vm;
	debug->on_stop = on_stop;
	debug->ctx = ctx;
	work_init(&debug->work, vm, on_work, debug);
	vm->debug = debug;
	return 0;
}

void debug_destroy(struct vm *vm)
{
	platform_free(vm->debug);
	vm->debug = NULL;
}

/* ---- stop and go ---- */

/* Takes one event that nobody was told of. */
static bool take_event(struct debug *debug, struct debug_event *event, unsigned *vcpu)
{
	for (unsigned i = 0; i < debug->vm->vcpu_count; i++) {
		if (!atomic_load(&debug->vcpus[i].hit))
			continue;
		if (event)
			*event = debug->vcpus[i].event;
		if (vcpu)
			*vcpu = i;
		atomic_store(&debug->vcpus[i].hit, false);
		return true;
	}
	return false;
}

static void wait_shown(struct debug_vcpu *dv)
{
	while (!atomic_load(&dv->shown))
		platform_wait(&dv->shown, 0, UINT64_MAX);
}

bool debug_stop(struct debug *debug, struct debug_event *event, unsigned *vcpu)
{
	struct vm *vm = debug->vm;

	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vcpu_request(vm->vcpus[i], VCPU_REQ_DEBUG);
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		wait_shown(&debug->vcpus[i]);
	debug->stopped = true;
	return take_event(debug, event, vcpu);
}

bool debug_stopped(const struct debug *debug)
{
	return debug->stopped;
}

/* Of those that were hit together only one was told. A breakpoint is hit again; an access is done, and a step too. */
static bool events_left(struct debug *debug)
{
	bool left = false;

	for (unsigned i = 0; i < debug->vm->vcpu_count; i++) {
		struct debug_vcpu *dv = &debug->vcpus[i];
		const struct debug_point *point = &dv->event.point;
		bool keep = atomic_load(&dv->hit) && dv->event.cause == DEBUG_HIT && point->kind != DEBUG_BREAK &&
			    debug_watch_at(debug, point->gva, point->len, point->kind != DEBUG_WATCH_READ);

		atomic_store(&dv->hit, keep);
		left |= keep;
	}
	return left;
}

bool debug_resume(struct debug *debug, uint64_t run, uint64_t step)
{
	struct vm *vm = debug->vm;

	if (events_left(debug)) {
		work_post(&debug->work);
		return false;
	}
	debug->stopped = false;
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		struct debug_vcpu *dv = &debug->vcpus[i];

		if (!((run | step) >> i & 1))
			continue;
		/* After a machine reset it may just be about to show its state: a state that came after `shown` is cleared would be taken for the next one. */
		wait_shown(dv);
		dv->step = step >> i & 1;
		/* Before the vcpu is free to go: if it is stopped again before it has woken it shows its state anew. */
		atomic_store(&dv->shown, 0);
		atomic_fetch_and(&vm->vcpus[i]->request, ~(uint32_t)(VCPU_REQ_DEBUG | VCPU_REQ_PAUSE));
		platform_wake(&vm->vcpus[i]->request, true);
	}
	return true;
}

void debug_step_interrupts(struct debug *debug, bool on)
{
	debug->step_interrupts = on;
}

bool debug_steps_interrupts(const struct debug *debug)
{
	return debug->step_interrupts;
}

union arch_state *debug_state(struct debug *debug, unsigned vcpu)
{
	struct debug_vcpu *dv = &debug->vcpus[vcpu];

	/* A machine reset has given it another one, which it is about to show. */
	wait_shown(dv);
	return &dv->state;
}

void debug_state_changed(struct debug *debug, unsigned vcpu)
{
	debug->vcpus[vcpu].changed = true;
}

/* ---- points ---- */

static struct debug_point *find_point(struct debug *debug, const struct debug_point *point)
{
	for (unsigned i = 0; i < debug->count; i++) {
		struct debug_point *at = &debug->points[i];

		if (at->kind == point->kind && at->gva == point->gva && at->len == point->len)
			return at;
	}
	return NULL;
}

static void count_watches(struct debug *debug)
{
	debug->watches = 0;
	for (unsigned i = 0; i < debug->count; i++)
		debug->watches += debug->points[i].kind != DEBUG_BREAK;
}

int debug_point_add(struct debug *debug, const struct debug_point *point)
{
	const struct engine_ops *engine = debug->vm->engine;
	int r;

	if (!point->len || point->len > DEBUG_LENGTH_MAX || point->gva + point->len - 1 < point->gva)
		return -EINVAL;
	if (find_point(debug, point))
		return -EEXIST;
	if (debug->count == DEBUG_POINTS_MAX)
		return -ENOSPC;
	debug->points[debug->count++] = *point;
	r = engine->debug_check ? engine->debug_check(debug->points, debug->count) : 0;
	if (r < 0)
		debug->count--;
	count_watches(debug);
	return r;
}

int debug_point_remove(struct debug *debug, const struct debug_point *point)
{
	struct debug_point *at = find_point(debug, point);

	if (!at)
		return -ENOENT;
	*at = debug->points[--debug->count];
	count_watches(debug);
	return 0;
}

void debug_points_clear(struct debug *debug)
{
	debug->count = debug->watches = 0;
}

/* ---- for engines ---- */

unsigned debug_points(const struct debug *debug, const struct debug_point **points)
{
	*points = debug->points;
	return debug->count;
}

bool debug_steps(const struct debug *debug, const struct vcpu *vcpu)
{
	return debug->vcpus[vcpu->index].step;
}

const struct debug_point *debug_break_at(const struct debug *debug, gva_t gva)
{
	for (unsigned i = 0; i < debug->count; i++) {
		if (debug->points[i].kind == DEBUG_BREAK && debug->points[i].gva == gva)
			return &debug->points[i];
	}
	return NULL;
}

bool debug_cuts_at(const struct debug *debug, gva_t gva)
{
	for (unsigned i = 0; i < debug->count; i++) {
		if (debug->points[i].kind == DEBUG_BREAK && !((debug->points[i].gva ^ gva) & ~PAGE_MASK))
			return true;
	}
	return false;
}

bool debug_has_watches(const struct debug *debug)
{
	return debug->watches > 0;
}

static bool overlap(const struct debug_point *point, gva_t gva, uint64_t len)
{
	return gva <= point->gva + point->len - 1 && point->gva <= gva + len - 1;
}

bool debug_watches_page(const struct debug *debug, gva_t gva)
{
	for (unsigned i = 0; debug->watches && i < debug->count; i++) {
		if (debug->points[i].kind != DEBUG_BREAK && overlap(&debug->points[i], gva & PAGE_MASK, PAGE_SIZE))
			return true;
	}
	return false;
}

const struct debug_point *debug_watch_at(const struct debug *debug, gva_t gva, uint64_t len, bool write)
{
	for (unsigned i = 0; debug->watches && i < debug->count; i++) {
		const struct debug_point *point = &debug->points[i];

		if (point->kind == DEBUG_BREAK || point->kind == (write ? DEBUG_WATCH_READ : DEBUG_WATCH_WRITE))
			continue;
		if (overlap(point, gva, len))
			return point;
	}
	return NULL;
}

/* ---- for core/ ---- */

void debug_hit(struct vcpu *vcpu, const struct debug_event *event)
{
	struct debug_vcpu *dv = vcpu_of(vcpu);

	dv->event = *event;
	atomic_store(&dv->hit, true);
	vcpu_request(vcpu, VCPU_REQ_DEBUG);
	work_post(&vcpu->vm->debug->work);
}

bool debug_wants_state(const struct vcpu *vcpu)
{
	return vcpu->vm->debug && !atomic_load(&vcpu_of(vcpu)->shown);
}

union arch_state *debug_shown_state(const struct vcpu *vcpu)
{
	return &vcpu_of(vcpu)->state;
}

void debug_show(const struct vcpu *vcpu)
{
	struct debug_vcpu *dv = vcpu_of(vcpu);

	atomic_store(&dv->shown, 1);
	platform_wake(&dv->shown, true);
}

bool debug_take_changed(const struct vcpu *vcpu)
{
	struct debug_vcpu *dv = vcpu_of(vcpu);
	bool changed = dv->changed;

	dv->changed = false;
	return changed;
}

void debug_forget_state(const struct vcpu *vcpu)
{
	struct debug_vcpu *dv = vcpu_of(vcpu);

	dv->changed = false;
	atomic_store(&dv->shown, 0);
}
