/* The event loop: one epoll set, timers, work from other threads. Whoever calls loop_run() is the I/O thread
 * (the process's main thread): all device timers, work and backend callbacks run there, no locks held.
 *
 * Example:
 *     loop = loop_create(why, sizeof(why));
 *     vm = vm_create(&(struct vm_params){..., .platform = loop});
 *     watch_init(&watch, fd, on_ready, ctx);
 *     r = loop_watch(loop, &watch, EPOLLIN);
 *     loop_run(loop);                        // until loop_stop(), which platform_vm_stopped() calls
 *
 * timer_arm() and work_post() of core/platform.h find the loop in vm->platform; host code without a VM
 * (backends) uses loop_timer_arm() and loop_post() with the same structures.
 *
 * Only the I/O thread touches watches and hooks once loop_run() has been entered; before that, the thread
 * that sets things up. Timers, work and loop_stop() are for any thread.
 */
#ifndef HOST_LINUX_LOOP_H
#define HOST_LINUX_LOOP_H

#include "base/types.h"
#include "core/platform.h"

struct loop;

/* A descriptor to wait for. Owned by the caller, who also closes fd (after loop_unwatch). */
struct watch {
	int fd;
	uint32_t events; /* what is waited for now; 0: not in the epoll set, not even for a hang-up */
	void (*ready)(void *ctx, uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR */
	void *ctx;
};

/* Called around every sleep, for libraries that bring poll loops of their own (libslirp). */
struct loop_hook {
	void (*prepare)(void *ctx); /* before sleeping: set watches, arm timers; may be NULL */
	void (*finish)(void *ctx);  /* after all that was ready has been served; may be NULL */
	void *ctx;
	struct loop_hook *next;     /* the loop's */
};

/* NULL on failure, with one sentence in why. Makes every descriptor it will ever need. */
struct loop *loop_create(char *why, size_t why_size);
/* Everything that was watched, armed or posted is forgotten. NULL is allowed. */
void loop_destroy(struct loop *loop);

void watch_init(struct watch *watch, int fd, void (*ready)(void *ctx, uint32_t events), void *ctx);
/* Adds, changes (level-triggered), or with events == 0 removes. 0 or -errno: -EPERM for files that are
 * always ready (regular ones). */
int loop_watch(struct loop *loop, struct watch *watch, uint32_t events) must_check;
/* Removes; afterwards ready() is not called, even if this very round has found it so. */
void loop_unwatch(struct loop *loop, struct watch *watch);

void loop_hook_add(struct loop *loop, struct loop_hook *hook);
void loop_hook_remove(struct loop *loop, struct loop_hook *hook);

/* As timer_arm(), timer_cancel(), work_post(); the structures come from timer_init() and work_init() with
 * any vm, also NULL. */
void loop_timer_arm(struct loop *loop, struct timer *timer, uint64_t deadline_ns);
void loop_timer_cancel(struct loop *loop, struct timer *timer);
void loop_post(struct loop *loop, struct work *work);
/* Takes posted work back: afterwards it does not run. I/O thread; for owners that are about to free it. */
void loop_unpost(struct loop *loop, struct work *work);

/* Before the VM's devices are freed: what they have posted or armed is forgotten, and what they post or arm from
 * now on is not taken. Its vcpu threads are gone. I/O thread, outside of loop_run(). */
void loop_forget_vm(struct loop *loop, const struct vm *vm);

/* Serves until loop_stop(); work posted before the stop has run. 0, or -errno when epoll fails. May be
 * called again. */
int loop_run(struct loop *loop) must_check;
/* Any thread, also from a signal handler. */
void loop_stop(struct loop *loop);

#endif
