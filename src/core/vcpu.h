/* One virtual processor, and the loop that every engine's vcpu thread runs. */
#ifndef CORE_VCPU_H
#define CORE_VCPU_H

#include "base/types.h"
#include "core/exit.h"

#define VM_MAX_VCPUS 64

struct vm;

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
	VCPU_REQ_RESET = 1u << 7, /* machine reset: park until vm_reset has finished */
	VCPU_REQ_TIMER = 1u << 8, /* engine-private: re-read the deadline */
};

enum vcpu_run_state { VCPU_RUNNABLE, VCPU_HALTED, VCPU_WAIT_SIPI };

struct vcpu_stats {
	uint64_t exits[VM_EXIT_KIND_COUNT];
	uint64_t first_instruction_ns; /* platform clock at the first run() */
};

struct vcpu {
	struct vm *vm;
	unsigned index;
	_Atomic uint32_t request;
	enum vcpu_run_state run_state; /* own thread */
	uint8_t sipi_vector;
	_Atomic bool in_engine;
	void *engine_vcpu;             /* the engine's */
	void *intc;                    /* struct lapic, for irq_ops */
	void *pv;                      /* pv/'s per-vcpu state */
	void *thread;                  /* host's */
	struct vcpu_stats stats;       /* own thread; read by others for statistics only */
};

/* Sets bits, wakes the vcpu if it sleeps, kicks it if it is in its engine. Any thread. */
void vcpu_request(struct vcpu *vcpu, uint32_t bits);
/* Takes and clears the given bits. Own thread. */
uint32_t vcpu_take_request(struct vcpu *vcpu, uint32_t bits);

/* Runs until VCPU_REQ_STOP or failure. 0, or -errno after vm_stop() was called. */
int vcpu_loop(struct vcpu *vcpu) must_check;

#endif
