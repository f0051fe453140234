/* Signals to the process as events of the loop: no handler runs, so nothing has to be signal-safe.
 *
 * Example:
 *     r = signals_open(&signals, loop, on_signal, vm, why, sizeof(why));   // before any thread is started
 *     static void on_signal(void *ctx, int number) { vm_stop(ctx, VM_STOP_QUIT, 128 + number); }
 */
#ifndef HOST_LINUX_SIGNALS_H
#define HOST_LINUX_SIGNALS_H

#include "host/linux/loop.h"

struct signals {
	struct watch watch;
	struct loop *loop;
	void (*received)(void *ctx, int number);
	void *ctx;
};

/* Takes SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGWINCH; ignores SIGPIPE (writes say -EPIPE instead). A signal
 * that was ignored when the process began (nohup) stays ignored. received() runs on the I/O thread. 0, or
 * -errno with one sentence in why. */
int signals_open(struct signals *signals, struct loop *loop, void (*received)(void *ctx, int number), void *ctx,
		 char *why, size_t why_size) must_check;
void signals_close(struct signals *signals);

#endif
