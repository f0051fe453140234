/* What is left of the process's rights once the first guest instruction runs: no capabilities, no way to gain
 * any, no descriptors but its own, and for each thread only the system calls of its role.
 *
 * Example:
 *     descriptors_note(&inherited);                           // first thing in main()
 *     ... options, images, backends, engine, vcpu threads are made ...
 *     sandbox = sandbox_prepare(&options, why, sizeof(why));
 *     descriptors_close(&inherited);
 *     r = sandbox_enter(sandbox, SANDBOX_IO, why, sizeof(why));   // on each thread, for itself
 *     ...
 *     sandbox_free(sandbox);
 *
 * A system call outside of the role ends the process with status 1 and a message that names it: it is a bug of
 * ours, or an attack that was stopped. Threads share their memory, so whoever owns one thread entirely can make
 * the others act within their roles; the outer wall is the union of the roles, which has no exec, no ptrace, no
 * new executable memory, no opening of files, and sockets only for a guest with a network. With a shared directory its thread may
 * open files, and the kernel (Landlock) sees to it that they are beneath that directory.
 */
#ifndef HOST_LINUX_SANDBOX_H
#define HOST_LINUX_SANDBOX_H

#include "base/types.h"

enum sandbox_role {
	SANDBOX_IO,    /* the main thread in loop_run() */
	SANDBOX_VCPU,
	SANDBOX_BLOCK, /* workers of the disk backend */
	SANDBOX_SHARE, /* the thread of a shared directory */
	SANDBOX_VNC,   /* the thread of the viewers' clients */
	SANDBOX_ROLE_COUNT
};

struct sandbox_options {
	bool network; /* the I/O thread may use internet sockets (libslirp) */
	bool vsock;   /* it may take connections from the broker (broker.h) */
	bool vhost;   /* it may send messages to what is connected: backend/vhost_user.h */
	bool plug;    /* it may take descriptors from whoever controls the VM: host/linux/plugs.h */
	bool nbd;     /* it may talk with the servers that are connected: backend/block_nbd.h */
	bool vnc;     /* there is SANDBOX_VNC */
	bool tap;     /* it may change a tap's offloads: backend/net_tap.h */
};

struct sandbox;

/* Makes the filters, and the SIGSYS handler that reports. Restricts nothing yet. NULL with one sentence in why. */
struct sandbox *sandbox_prepare(const struct sandbox_options *options, char *why, size_t why_size);

/* Drops every capability (also bounding and ambient), sets no_new_privs and installs the filter of the role, all
 * for the calling thread and what it starts. There is no way back. 0, or -errno with one sentence in why; makes no
 * memory, so that any thread may call it at any time. */
int sandbox_enter(const struct sandbox *sandbox, enum sandbox_role role, char *why, size_t why_size) must_check;

/* For the keeper's process (keeper.h), all at once: no files but those that are open, no descriptors' kinds of its own. 0, or -errno
 * with one sentence in why. */
int sandbox_enter_keeper(char *why, size_t why_size) must_check;

/* The same for the broker's process (broker.h): it makes Unix sockets, and connects them. */
int sandbox_enter_broker(char *why, size_t why_size) must_check;

/* The filters themselves stay. NULL is allowed. */
void sandbox_free(struct sandbox *sandbox);

/* ---- descriptors that our parent left open ---- */

#define DESCRIPTORS_MAX 256

struct descriptors {
	int fd[DESCRIPTORS_MAX];
	unsigned count;
};

/* Notes what is open beyond 0, 1 and 2 (more than DESCRIPTORS_MAX are closed at once), and opens /dev/null in
 * place of those three where they are missing, so that no file of ours becomes stdout by accident. */
void descriptors_note(struct descriptors *descriptors);
/* Closes what was noted, once options such as `--initrd <(...)` have been read through them. */
void descriptors_close(struct descriptors *descriptors);

/* ---- private to sandbox*.c ---- */

/* The KVM ioctls of each role, 0 at the end (sandbox_kvm_<architecture>.c). */
extern const unsigned long sandbox_kvm_vcpu[], sandbox_kvm_io[];
/* Names by number (made at build time), NULL for gaps. */
extern const char *const sandbox_syscall_names[];
extern const unsigned sandbox_syscall_count;

#endif
