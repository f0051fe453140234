/* Why an engine handed a vcpu back: one structure for all engines, dispatched by one const table an
 * architecture (vcpu_dispatch_exit).
 *
 * Protocol: engine_ops.run() fills the exit and returns 0. The dispatcher handles it and writes the
 * result fields (marked "out"). The next run() is given the same structure and completes the
 * instruction with those results before it executes anything else.
 */
#ifndef CORE_EXIT_H
#define CORE_EXIT_H

#include "base/types.h"
#include "core/debug.h"

struct vcpu;

enum vm_exit_kind {
	VM_EXIT_INTERRUPTED, /* a request bit is set (vcpu.h), nothing to complete */
	VM_EXIT_IO,
	VM_EXIT_MMIO,
	VM_EXIT_MSR,       /* x86: an MSR that belongs to a device or to pv/, see msr.h */
	VM_EXIT_HYPERCALL,
	VM_EXIT_HALT,      /* HLT with interrupts possible; rip already past it */
	VM_EXIT_SHUTDOWN,  /* triple fault or equivalent */
	VM_EXIT_DEBUG,
	VM_EXIT_FAIL,      /* the engine can't go on; `reason` says why in a sentence */
	VM_EXIT_KIND_COUNT
};

struct vm_exit {
	enum vm_exit_kind kind;
	union {
		struct {
			uint16_t port;
			uint8_t size;   /* 1, 2, 4 */
			bool write;
			uint32_t value; /* out when reading */
		} io;
		struct {
			gpa_t gpa;
			uint8_t size;   /* 1, 2, 4, 8; never crosses a page; may be unaligned */
			bool write;
			uint64_t value; /* out when reading */
		} mmio;
		struct {
			uint32_t index;
			bool write;
			uint64_t value; /* out when reading */
			bool fault;     /* out: the access gets #GP(0) */
		} msr;
		struct {
			uint64_t number;
			uint64_t args[6];
			uint64_t result; /* out */
			bool long_mode;
		} hypercall;
		struct debug_event debug;
		const char *reason; /* FAIL, SHUTDOWN: a sentence, static or owned by the engine */
	};
};

/* The name of a kind, for traces and statistics. */
const char *vm_exit_name(enum vm_exit_kind kind);

/* Handles the exit. 0: run again. -errno: the VM has been asked to stop. */
int vcpu_dispatch_exit(struct vcpu *vcpu, struct vm_exit *exit) must_check;

#endif
