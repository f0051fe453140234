/* One virtual processor, and the loop that every engine's vcpu thread runs. */
#ifndef CORE_VCPU_H
#define CORE_VCPU_H

#include "base/lock.h"
#include "base/types.h"
#include "core/exit.h"

#define VM_MAX_VCPUS 64

struct vm;
union arch_state; /* arch/state.h */

/* Bits of vcpu->request. Set by any thread through vcpu_request(), consumed on the vcpu's thread.
 * A non-zero word makes run() return VM_EXIT_INTERRUPTED unless the engine handles the bits itself:
 * IRQ and NMI and FLUSH are the engine's, the rest the loop's. */
enum vcpu_request {
	VCPU_REQ_IRQ = 1u << 0,   /* irq_ops.pending() may have changed */
	VCPU_REQ_NMI = 1u << 1,
	VCPU_REQ_FLUSH = 1u << 2, /* engine-private: flush translations */
	VCPU_REQ_STOP = 1u << 3,  /* leave the loop */
	VCPU_REQ_PAUSE = 1u << 4,
	VCPU_REQ_INIT = 1u << 5,  /* x86 INIT */
	VCPU_REQ_SIPI = 1u << 6,  /* x86 start-up; vector in vcpu->sipi_vector */
	VCPU_REQ_RESET = 1u << 7, /* machine reset: park until it has finished (vm.h) */
	VCPU_REQ_TIMER = 1u << 8, /* engine-private: re-read the deadline */
	VCPU_REQ_HELD = 1u << 9,  /* private to core/reset.c: parked, the machine reset is being done */
	VCPU_REQ_DEBUG = 1u << 10, /* private to core/debug.c: parked, the debugger has it */
	VCPU_REQ_BARRIER = 1u << 11, /* private to core/barrier.c: say that no access is under way */
};

/* Bits that end run(): the loop handles them. The engine takes the others itself, with
 * vcpu_take_request(), before it looks at what they announce: a bit that is never taken would keep a
 * halted vcpu from sleeping. */
#define VCPU_REQ_LOOP                                                                              \
	(VCPU_REQ_STOP | VCPU_REQ_PAUSE | VCPU_REQ_INIT | VCPU_REQ_SIPI | VCPU_REQ_RESET |         \
	 VCPU_REQ_HELD | VCPU_REQ_DEBUG | VCPU_REQ_BARRIER)

enum vcpu_run_state { VCPU_RUNNABLE, VCPU_HALTED, VCPU_WAIT_SIPI };

/* What the loop must know of an architecture; one const table each (arch/x86_64/vcpu_hooks.c). */
struct vcpu_arch_ops {
	void (*init)(union arch_state *state, bool boot_cpu);    /* INIT */
	void (*startup)(union arch_state *state, uint8_t vector); /* start-up IPI */
	enum vcpu_run_state (*run_state)(const union arch_state *state);
};

struct vcpu_stats {
	uint64_t exits[VM_EXIT_KIND_COUNT];
	uint64_t writes[VM_EXIT_KIND_COUNT]; /* of them, of those that read or write */
	uint64_t first_instruction_ns; /* platform clock at the first run() */
	uint64_t instructions;         /* engine_ops.instructions() when the thread ended */
};

struct vcpu {
	struct vm *vm;
	unsigned index;
	_Atomic uint32_t request;
	enum vcpu_run_state run_state; /* own thread */
	uint8_t sipi_vector;
	_Atomic uint64_t tsc_offset;   /* x86: set by vcpu_set_tsc_offset() only, core/tsc.h */
	_Atomic bool in_engine;
	_Atomic bool sleeping;         /* in platform_wait() on request */
	_Atomic uint32_t parked;       /* 1: out of its engine, for PAUSE or RESET or for good */
	_Atomic uint64_t barrier_passed; /* core/barrier.c */
	/* The state to start from, see vcpu_power_on(); taken on the vcpu's thread. Under power_on_lock while vcpus run. */
	union arch_state *power_on_state;
	struct lock power_on_lock;
	_Atomic bool power_on;
	void *engine_vcpu;             /* the engine's */
	void *intc;                    /* struct lapic, for irq_ops */
	void *pv;                      /* pv/'s per-vcpu state */
	void *thread;                  /* host's */
	struct vcpu_stats stats;       /* own thread; read by others for statistics only */
};

/* Makes the vcpus of vm, vm->vcpu_count of them. -ENOMEM, nothing left behind. */
int vcpus_create(struct vm *vm, unsigned count) must_check;
void vcpus_destroy(struct vm *vm);

/* Hands the vcpu the state that it starts with. For boards, before the threads start and in a machine
 * reset: the vcpu's own thread gives it to the engine before its next instruction, so that no engine
 * call is made from a foreign thread. Copies *state; forgets what was requested of the vcpu before, but
 * for STOP, PAUSE and a debugger's stop. */
void vcpu_power_on(struct vcpu *vcpu, const union arch_state *state);

/* For another vcpu, on its own thread: starts this one, which waits in VCPU_WAIT_SIPI or is about to, with that state. Copies *state. Who
 * calls it sees to it that nobody else does at the same time, nor before the vcpu runs. */
void vcpu_start(struct vcpu *vcpu, const union arch_state *state);

/* Sets bits, wakes the vcpu if it sleeps, kicks it if it is in its engine. Any thread. */
void vcpu_request(struct vcpu *vcpu, uint32_t bits);
/* Takes and clears the given bits. Own thread. */
uint32_t vcpu_take_request(struct vcpu *vcpu, uint32_t bits);

/* Runs until VCPU_REQ_STOP or failure; engine_ops.vcpu_init has succeeded on this thread. 0, or -errno after vm_stop() was called. */
int vcpu_loop(struct vcpu *vcpu) must_check;

#endif
