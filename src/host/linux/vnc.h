/* The screen for viewers of VNC (`--display vnc=unix:PATH`): RFB 3.8 (RFC 6143) at a Unix socket of the user alone, without a password.
 * The protocol is libvncserver's, which is loaded when it is wanted. It has a thread, and a role in the sandbox, of its own: a client that
 * stops in the middle of a message keeps other clients waiting for VNC_WAIT_MS, then it is dropped, and never keeps the guest.
 *
 * Example:
 *     r = vnc_open("vnc=unix:/run/vm.vnc", &vnc, why, sizeof(why));   // before there are threads, disks or a sandbox
 *     r = vnc_start(vnc, vm, "name", enter, ctx, why, sizeof(why));   // before the sandbox closes; enter() is called on its thread
 *     ...
 *     vnc_close(vnc);                                                 // the VM is still there
 */
#ifndef HOST_LINUX_VNC_H
#define HOST_LINUX_VNC_H

#include "base/types.h"

#define VNC_WAIT_MS 2000

struct vm;
struct vnc;

/* address: "vnc=unix:PATH". Makes the socket, with mode 0600, and loads the library. 0, or -errno with one sentence in why. */
int vnc_open(const char *address, struct vnc **out, char *why, size_t why_size) must_check;
/* Starts serving. name: what viewers call it. enter: 0, or the thread ends; it has logged why. 0, or -errno with one sentence in why. */
int vnc_start(struct vnc *vnc, struct vm *vm, const char *name, int (*enter)(void *ctx), void *enter_ctx, char *why,
	      size_t why_size) must_check;
/* Drops the clients and removes the socket. NULL is allowed. */
void vnc_close(struct vnc *vnc);

#endif
