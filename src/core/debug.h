/* Debugging a VM from outside: stopping its processors, looking at them, breakpoints, watchpoints, single steps. What speaks a
 * debugger's protocol stands on this (control/gdb.h).
 *
 * Nothing of it can be seen in guest memory: the interpreter and the translator look at addresses when they decode, KVM uses the
 * processor's debug registers. Without vm->debug nothing is looked at.
 *
 * Example, on the I/O thread, which all calls are made on but for those of the last section:
 *     r = debug_create(vm, on_stop, ctx);                 // before the vcpu threads start; debug_destroy() after they ended
 *     debug_stop(vm->debug, NULL, NULL);                  // every vcpu is out of its engine, its state is here
 *     debug_state(vm->debug, 0)->x86.rip = entry; debug_state_changed(vm->debug, 0);
 *     r = debug_point_add(vm->debug, &(struct debug_point){DEBUG_BREAK, gva, 1});
 *     debug_resume(vm->debug, ~0ull, 0);                  // on_stop() is called when something is hit
 */
#ifndef CORE_DEBUG_H
#define CORE_DEBUG_H

#include "base/types.h"

#define DEBUG_POINTS_MAX 128
#define DEBUG_LENGTH_MAX 4096 /* of a watchpoint */

struct debug;
struct vcpu;
struct vm;
union arch_state; /* arch/state.h */

enum debug_kind { DEBUG_BREAK, DEBUG_WATCH_WRITE, DEBUG_WATCH_READ, DEBUG_WATCH_ACCESS };

/* Addresses are linear, in whatever address space is current when they are reached. */
struct debug_point {
	enum debug_kind kind;
	gva_t gva;
	uint64_t len; /* bytes; 1 for breakpoints */
};

/* Why a vcpu came to a stop: an instruction was stepped; it stands before one with a breakpoint; one has done an access that is
 * watched, and is complete. */
enum debug_cause { DEBUG_STEPPED, DEBUG_HIT };
struct debug_event {
	enum debug_cause cause;
	struct debug_point point; /* DEBUG_HIT */
};

/* on_stop: an event came; all vcpus are stopped, debug_resume() is due. -ENOMEM. */
int debug_create(struct vm *vm, void (*on_stop)(void *ctx, unsigned vcpu, const struct debug_event *event), void *ctx) must_check;
void debug_destroy(struct vm *vm); /* vm->debug may be NULL */

/* Takes all vcpus out of their engines, and waits until they are. May be called again. True: one of them has an event that on_stop()
 * was not called for, and will not be; event and vcpu may be NULL. */
bool debug_stop(struct debug *debug, struct debug_event *event, unsigned *vcpu);
bool debug_stopped(const struct debug *debug);
/* Lets the vcpus of `run` (bit by index) go on, those of `step` for one instruction; VM-wide pauses end too (vm_pause()). False: on_stop()
 * will be called without an instruction having been executed, as there is an event left of one that was hit at the same time as another. */
bool debug_resume(struct debug *debug, uint64_t run, uint64_t step);
/* Whether interrupts come in during a step. False at first. */
void debug_step_interrupts(struct debug *debug, bool on);
bool debug_steps_interrupts(const struct debug *debug);

/* While stopped. -ENOSPC: the engine has no more of them; -EINVAL: it can't watch that many bytes there; -EEXIST. -ENOENT. */
int debug_point_add(struct debug *debug, const struct debug_point *point) must_check;
int debug_point_remove(struct debug *debug, const struct debug_point *point) must_check;
void debug_points_clear(struct debug *debug);

/* While stopped: the state of a vcpu, to be read, and to be written if debug_state_changed() is called then. */
union arch_state *debug_state(struct debug *debug, unsigned vcpu);
void debug_state_changed(struct debug *debug, unsigned vcpu);

/* ---- for engines, on the vcpu's thread, between engine_ops.debug() and the next stop ---- */

unsigned debug_points(const struct debug *debug, const struct debug_point **points);
bool debug_steps(const struct debug *debug, const struct vcpu *vcpu);
/* Is there a breakpoint at gva? NULL: no. */
const struct debug_point *debug_break_at(const struct debug *debug, gva_t gva);
/* Is there a breakpoint on some page at this offset (the low 12 bits)? Decoded code must end before it. */
bool debug_cuts_at(const struct debug *debug, gva_t gva);
bool debug_has_watches(const struct debug *debug);
/* Does a watchpoint lie on gva's page? */
bool debug_watches_page(const struct debug *debug, gva_t gva);
/* The watchpoint that the access touches, or NULL. */
const struct debug_point *debug_watch_at(const struct debug *debug, gva_t gva, uint64_t len, bool write);

/* ---- for core/, on the vcpu's thread ---- */

/* VM_EXIT_DEBUG. */
void debug_hit(struct vcpu *vcpu, const struct debug_event *event);
/* Its state is wanted: to be written where debug_shown_state() says, then debug_show(). */
bool debug_wants_state(const struct vcpu *vcpu);
union arch_state *debug_shown_state(const struct vcpu *vcpu);
void debug_show(const struct vcpu *vcpu);
/* The state was changed, and is to be taken back; the next call says no. */
bool debug_take_changed(const struct vcpu *vcpu);
/* I/O thread: the vcpu has another state now, that of power-on, which it is to show. */
void debug_forget_state(const struct vcpu *vcpu);

#endif
