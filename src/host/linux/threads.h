/* One thread a vcpu, running vcpu_loop(). Their names are ruse-cpu0, ruse-cpu1, ...
 *
 * Example:
 *     r = threads_create(vm, enter_role, ctx, &threads, why, sizeof(why));  // each vcpu_init has succeeded
 *     ... the sandbox closes behind the main thread ...
 *     threads_run(threads);                                                 // the first guest instruction
 *     r = loop_run(loop);                                                   // until the VM stops
 *     threads_wait(threads);                                                // each vcpu has ended, its engine's state is still there
 *     threads_join(threads);                                                // each vcpu_destroy is done
 */
#ifndef HOST_LINUX_THREADS_H
#define HOST_LINUX_THREADS_H

#include "base/types.h"

struct vm;
struct vcpu_threads;

/* Starts the threads; each runs engine->vcpu_init() and then waits for threads_run(). When all have
 * succeeded, 0; else -errno with one sentence in why, and no thread is left. Signals meant for the process
 * (INT, TERM, HUP, QUIT, WINCH, TSTP, CONT, CHLD, ALRM) are blocked in them.
 *
 * enter (may be NULL) is called on each thread after threads_run() and before the first guest instruction,
 * to restrict the thread; anything but 0 stops the VM with VM_STOP_HOST_ERROR, it has logged why. */
int threads_create(struct vm *vm, int (*enter)(void *ctx), void *enter_ctx, struct vcpu_threads **out, char *why,
		   size_t why_size) must_check;

/* Lets them go. */
void threads_run(struct vcpu_threads *threads);

/* Behind threads_run(): waits until all vcpus have left their loops and reported. */
void threads_wait(struct vcpu_threads *threads);

/* Waits until all vcpus have left their loops (vm_stop() was called, or threads_run() never was), ends the
 * threads and frees. NULL is allowed. */
void threads_join(struct vcpu_threads *threads);

#endif
