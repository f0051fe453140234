/* One virtual machine: everything hangs off struct vm. */
#ifndef CORE_VM_H
#define CORE_VM_H

#include "base/types.h"
#include "core/bus.h"
#include "core/device.h"
#include "core/engine.h"
#include "core/irq.h"
#include "core/vcpu.h"
#include "mem/mem.h"

#define VM_MAX_DEVICES 64

enum vm_stop_reason {
	VM_STOP_NONE,
	VM_STOP_POWEROFF,     /* exit status 0 */
	VM_STOP_RESET,        /* with --no-reboot: exit status 0 */
	VM_STOP_PANIC,        /* guest panic: 3 */
	VM_STOP_TRIPLE_FAULT, /* 3 */
	VM_STOP_DEBUG_EXIT,   /* isa-debug-exit: the code */
	VM_STOP_QUIT,         /* the user asked */
	VM_STOP_HOST_ERROR,   /* 1 */
};

struct vm_config; /* board/config.h */
struct x86_cpuid_table;

struct vm {
	const struct vm_config *config; /* owned by the caller of vm_create, outlives the vm */
	struct mem mem;
	struct bus pio, mmio;
	struct vcpu *vcpus[VM_MAX_VCPUS];
	unsigned vcpu_count;
	struct device *devices[VM_MAX_DEVICES];
	unsigned device_count;

	const struct engine_ops *engine;
	void *engine_vm;
	const struct vcpu_irq_ops *irq_ops; /* NULL when the engine has its own */
	const struct board_ops *board;      /* board/board.h */
	void *board_data;
	struct x86_cpuid_table *cpuid;      /* what this guest is offered; fixed before the first run */
	void *pv;                           /* pv/'s per-VM state */
	void *platform;                     /* host's: event loop */

	uint64_t clock_base_ns;             /* platform clock at VM start: guest time 0 */
	_Atomic uint32_t stop_reason;       /* enum vm_stop_reason; first one wins */
	int stop_code;
	_Atomic uint32_t trace;             /* bits of enum trace_topic, core/trace.h */
	_Atomic uint64_t first_serial_ns;   /* platform clock at the first byte out of a serial port */
};

/* Asks every vcpu and the host's loop to stop; the first reason wins. Any thread, also a device's
 * write with its lock held. VM_STOP_RESET becomes a machine reset unless --no-reboot. */
void vm_stop(struct vm *vm, enum vm_stop_reason reason, int code);
/* Implemented by the platform: the stop reason is set; wake whoever waits for it. */
void platform_vm_stopped(struct vm *vm);

#endif
