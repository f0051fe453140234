/* One virtual machine: everything hangs off struct vm.
 *
 * Life of a VM, as a host lives it:
 *
 *     vm = vm_create(&(struct vm_params){.config = config, .engine = engine, .cpus = 2});
 *     mem_add_slot(&vm->mem, ...); engine->vm_init(vm, ...); board->create(vm, ...);
 *     vm_set_reset(vm, load_and_reset, ctx); load_and_reset(ctx);
 *     ... a thread a vcpu: engine->vcpu_init(), vcpu_loop(), engine->vcpu_destroy() ...
 *     ... the I/O thread serves timers and work until platform_vm_stopped() ...
 *     board->destroy(vm); engine->vm_destroy(vm); vm_destroy(vm);
 *
 * Machine reset: vm_stop(VM_STOP_RESET) sends every vcpu VCPU_REQ_RESET; each leaves its engine and
 * parks. The last to arrive posts work, so that the I/O thread, which never waits for a vcpu, runs the
 * reset function while nobody executes; it resets devices, loads the kernel again, and gives every vcpu
 * its first state with vcpu_power_on(). Then the vcpus go on.
 */
#ifndef CORE_VM_H
#define CORE_VM_H

#include "base/types.h"
#include "core/barrier.h"
#include "core/bus.h"
#include "core/device.h"
#include "core/engine.h"
#include "core/irq.h"
#include "core/platform.h"
#include "core/vcpu.h"
#include "mem/mem.h"

#define VM_MAX_DEVICES      128
#define VM_MAX_MSR_HANDLERS 16

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

/* The model-specific registers [first, last] of a device or of pv/, reached by VM_EXIT_MSR. Called on
 * the vcpu's own thread. False: the access gets #GP(0). */
struct msr_handler {
	uint32_t first, last;
	bool (*read)(struct vcpu *vcpu, void *ctx, uint32_t index, uint64_t *value);
	bool (*write)(struct vcpu *vcpu, void *ctx, uint32_t index, uint64_t value);
	void (*tsc_changed)(struct vcpu *vcpu, void *ctx); /* optional: vcpu->tsc_offset is another */
	void *ctx;
};

struct vm_config; /* board/config.h */
struct x86_cpuid_table;
struct stats_sink;
struct profile_sink;
struct block_count_sink;
struct translation_log;
struct debug;
struct virtio_device;
struct vga;
struct input_sink;

struct vm {
	const struct vm_config *config; /* owned by the caller of vm_create, outlives the vm */
	struct mem mem;
	struct bus pio, mmio;
	struct vcpu *vcpus[VM_MAX_VCPUS];
	unsigned vcpu_count;
	struct device *devices[VM_MAX_DEVICES];
	unsigned device_count;
	struct device *retired;             /* off the list above, not freed yet */
	struct vm_barrier *barriers;        /* core/barrier.c: I/O thread */
	struct work barrier_work;
	_Atomic uint64_t barrier_ticket;

	const struct engine_ops *engine;
	void *engine_vm;
	const struct vcpu_irq_ops *irq_ops; /* NULL when the engine has its own */
	const struct board_ops *board;      /* board/board.h */
	void *board_data;
	struct x86_cpuid_table *cpuid;      /* what this guest is offered; fixed before the first run */
	void *pv;                           /* pv/'s per-VM state */
	struct virtio_device *balloon;      /* dev/virtio/balloon.h, for who controls the VM; or NULL */
	struct vga *screen;                 /* dev/display/vga.h, likewise; or NULL */
	struct virtio_device *pluggable;    /* dev/virtio/memory.h, likewise */
	struct input_sink *keyboard, *pointer; /* dev/input/input.h, likewise */
	const struct vcpu_arch_ops *arch_ops; /* the board's: arch/x86_64/vcpu_hooks.h */
	struct msr_handler msr_handlers[VM_MAX_MSR_HANDLERS]; /* sorted, disjoint; fixed before the first run */
	unsigned msr_handler_count;
	/* VM_EXIT_HYPERCALL: pv/ fills exit->hypercall.result. NULL: there are none (-1000, KVM_ENOSYS). */
	void (*hypercall)(struct vcpu *vcpu, struct vm_exit *exit);
	void *platform;                     /* host's: event loop */

	uint64_t clock_base_ns;             /* platform clock at VM start: guest time 0 */
	_Atomic uint32_t stop_reason;       /* enum vm_stop_reason; first one wins */
	int stop_code;                      /* valid once platform_vm_stopped() was called */
	bool no_reboot;                     /* VM_STOP_RESET stops instead of resetting */
	bool shutdown_resets;               /* the chipset resets the machine when a processor shuts down (triple fault); else that stops it */
	_Atomic bool reset_pending;         /* a machine reset was asked for and has not finished */
	_Atomic uint32_t reset_arrived;     /* vcpus parked for it */
	struct work reset_work;
	int (*reset)(void *ctx);            /* see vm_set_reset() */
	void *reset_ctx;
	_Atomic uint32_t trace;             /* bits of enum trace_topic, core/trace.h */
	struct translation_log *translations; /* who wants to see them (core/translation.h), or NULL; fixed before vcpu_init */
	struct translation_cache *translation_cache; /* or NULL; fixed before vcpu_init */
	bool check;                         /* the engine compares what it does with the interpreter; fixed before vcpu_init */
	struct stats_sink *stats;           /* who wants figures (core/stats.h), or NULL; fixed before vcpu_init */
	struct debug *debug;            /* for a debugger (core/debug.h), or NULL; fixed before vcpu_init */
	struct profile_sink *profile;       /* who wants to know where time goes (core/profile.h), or NULL; fixed before vcpu_init */
	struct block_count_sink *block_counts; /* who wants guest code counted (core/block_counts.h), or NULL; fixed before vcpu_init */
	_Atomic uint64_t first_serial_ns;   /* platform clock at the first byte out of a serial port */
};

struct vm_params {
	const struct vm_config *config; /* may be NULL in tests */
	const struct engine_ops *engine;
	unsigned cpus; /* 1..VM_MAX_VCPUS */
	bool no_reboot;
	uint32_t trace;
	void *platform;
};

/* A VM with its vcpus, nothing else. NULL when out of memory. */
struct vm *vm_create(const struct vm_params *params);
/* Destroys the devices that have a destroy hook (last registered first), the vcpus and the slots' records.
 * The vcpu threads are gone. NULL is allowed. */
void vm_destroy(struct vm *vm);

/* What a machine reset runs on the I/O thread while all vcpus are parked: devices_reset(), board->load(),
 * board->reset(). Anything but 0 stops the VM with VM_STOP_HOST_ERROR; it has logged why. */
void vm_set_reset(struct vm *vm, int (*reset)(void *ctx), void *ctx);

/* -EEXIST: overlaps another (logged). -ENOSPC, -EINVAL. */
int msr_handler_register(struct vm *vm, const struct msr_handler *handler) must_check;

/* Takes all vcpus out of their engines and waits until they are; lets them go on. Calls do not nest. The
 * caller holds no lock and is not a vcpu. */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);
bool vm_paused(const struct vm *vm);

/* Asks every vcpu and the host's loop to stop; the first reason wins. Any thread, also a device's
 * write with its lock held. VM_STOP_RESET becomes a machine reset unless --no-reboot. */
void vm_stop(struct vm *vm, enum vm_stop_reason reason, int code);
/* Implemented by the platform: the stop reason is set; wake whoever waits for it. */
void platform_vm_stopped(struct vm *vm);

#endif
