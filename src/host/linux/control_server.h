/* The control socket of a VM: what `ruse ps`, `ctl`, `stop` and `top` talk to. Served on the I/O thread; the protocol is control/control.h.
 *
 * While nobody watches nothing is counted or timed for it. What a client does can't hold the VM up: one that does not read is dropped.
 *
 * Example:
 *     r = control_open(&options, &control, why, sizeof(why));   // before the sandbox closes
 *     control_start(control, vm);                               // all vcpus are made
 *     loop_run(loop);
 *     control_stop(control);                                    // before the vcpus are destroyed
 *     control_close(control);
 */
#ifndef HOST_LINUX_CONTROL_SERVER_H
#define HOST_LINUX_CONTROL_SERVER_H

#include "host/linux/loop.h"

struct control;
struct gdb_server;
struct vm;

struct control_options {
	struct loop *loop;
	const char *name;    /* or NULL: the process's number */
	const char *console; /* path of the detached console's socket, or NULL */
	struct gdb_server *gdb; /* or NULL */
	struct plugs **plugs;   /* *plugs may be NULL: nothing can be plugged in; it is there when control_start() is called */
};

/* -errno with one sentence in why: there is no place for the socket. What the options point to stays. */
int control_open(const struct control_options *options, struct control **out, char *why, size_t why_size) must_check;
/* NULL is allowed, here and below. */
void control_start(struct control *control, struct vm *vm);
void control_stop(struct control *control);
void control_close(struct control *control);

#endif
