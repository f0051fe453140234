/* The system calls that each role may make after the sandbox has closed; see sandbox.h.
 *
 * A call that is missing here shows as "the sandbox stopped system call ...": add it with the narrowest roles and
 * the narrowest check that do. KVM's ioctls are in sandbox_kvm_<architecture>.c.
 */
#include "host/linux/sandbox_rules.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#ifndef PIDFD_SELF
#define PIDFD_SELF (-10000) /* linux/pidfd.h */
#endif

/* The kernel takes an ioctl's or fcntl's number as 32 bits: the upper half is not compared. */
#define LOW32                     0xffffffffu
#define EQUALS(argument, number)  CHECK_MASKED, argument, LOW32, (uint32_t)(number)
#define WITHOUT(argument, bits)   CHECK_MASKED, argument, bits, 0
#define FAILS(error)              CHECK_ERRNO, 0, 0, error
#define SELF(argument)            CHECK_SELF, argument, 0, 0

const struct sandbox_rule sandbox_rules[] = {
	/* Waiting and waking, time, the end of a thread. */
	{"futex", ROLE_EVERY},
	{"sched_yield", ROLE_ALL},
	{"clock_gettime", ROLE_EVERY},
	{"gettimeofday", ROLE_EVERY},
	{"nanosleep", ROLE_ALL},
	{"clock_nanosleep", ROLE_ALL},
	{"restart_syscall", ROLE_EVERY},
	{"timerfd_settime", ROLE_ALL}, /* any thread arms timers */
	{"exit", ROLE_EVERY},
	{"exit_group", ROLE_EVERY},
	{"getpid", ROLE_EVERY},
	{"gettid", ROLE_EVERY},
	{"tgkill", ROLE_ALL, SELF(0)}, /* kicks, abort() */
	{"rt_sigreturn", ROLE_EVERY},
	{"rt_sigprocmask", ROLE_EVERY},
	{"sigaltstack", ROLE_ALL},

	/* The C library's memory: never executable. */
	{"brk", ROLE_EVERY},
	{"mmap", ROLE_EVERY, WITHOUT(2, PROT_EXEC)},
	{"mprotect", ROLE_EVERY, WITHOUT(2, PROT_EXEC)},
	{"mremap", ROLE_EVERY},
	{"munmap", ROLE_EVERY},
	{"madvise", ROLE_EVERY},
	{"timer_delete", ROLE_VCPU}, /* --profile */
	{"process_madvise", ROLE_VCPU | ROLE_IO, EQUALS(0, PIDFD_SELF)}, /* guards in guest memory, dbt/ram.c */
	{"sched_getaffinity", ROLE_EVERY}, /* malloc counts processors */
	{"getrandom", ROLE_EVERY},
	{"openat", ROLE_EVERY, FAILS(EACCES)}, /* free() asks /proc/sys/vm/overcommit_memory; it can do without */

	/* Descriptors that are open: wake-ups, messages. */
	{"write", ROLE_EVERY},
	{"writev", ROLE_ALL},
	{"close", ROLE_EVERY},
	{"ioctl", ROLE_ALL, EQUALS(1, TCSETS)}, /* the terminal's way back, from wherever we crash */
	{"ioctl", ROLE_ALL, EQUALS(1, TCGETS)}, /* tcsetattr() looks too */

	/* Device I/O. */
	{"read", ROLE_IO | ROLE_BLOCK | ROLE_KEEPER | ROLE_BROKER | ROLE_VNC},
	{"readv", ROLE_IO | ROLE_BLOCK},
	{"pread64", ROLE_IO | ROLE_BLOCK},
	{"preadv", ROLE_IO | ROLE_BLOCK},
	{"preadv2", ROLE_IO | ROLE_BLOCK},
	{"pwrite64", ROLE_IO | ROLE_BLOCK | ROLE_KEEPER},
	{"pwritev", ROLE_IO | ROLE_BLOCK},
	{"pwritev2", ROLE_IO | ROLE_BLOCK},
	{"lseek", ROLE_IO | ROLE_BLOCK},
	{"fsync", ROLE_IO | ROLE_BLOCK},
	{"fdatasync", ROLE_IO | ROLE_BLOCK},
	{"fallocate", ROLE_IO | ROLE_BLOCK},
	{"ioctl", ROLE_IO | ROLE_BLOCK, EQUALS(1, BLKDISCARD)},
	{"ioctl", ROLE_IO | ROLE_BLOCK, EQUALS(1, BLKZEROOUT)},
	{"io_uring_enter", ROLE_IO}, /* the ring itself is restricted, backend/block_uring.c */
	{"fstat", ROLE_IO},
	{"newfstatat", ROLE_IO}, /* stdio; and libslirp asks whether resolv.conf has changed */

	/* The event loop, the terminal. */
	{"epoll_wait", ROLE_IO},
	{"epoll_pwait", ROLE_IO},
	{"epoll_pwait2", ROLE_IO},
	{"epoll_ctl", ROLE_IO},
	{"poll", ROLE_IO | ROLE_KEEPER | ROLE_VNC},
	{"ppoll", ROLE_IO | ROLE_VNC},
	{"ioctl", ROLE_IO, EQUALS(1, TIOCGWINSZ)},
	{"ioctl", ROLE_IO, EQUALS(1, TIOCGPGRP)},
	{"ioctl", ROLE_IO, EQUALS(1, FIONREAD)},
	{"ioctl", ROLE_IO, EQUALS(1, FIONBIO)},
	{"getpgrp", ROLE_IO},
	{"getpgid", ROLE_IO},
	{"kill", ROLE_IO, SELF(0)}, /* SIGSTOP, when the terminal has been given back */
	{"fcntl", ROLE_IO, EQUALS(1, F_GETFD)},
	{"fcntl", ROLE_IO, EQUALS(1, F_SETFD)},
	{"fcntl", ROLE_IO, EQUALS(1, F_GETFL)},
	{"fcntl", ROLE_IO, EQUALS(1, F_SETFL)},
	{"fcntl", ROLE_IO, EQUALS(1, F_OFD_SETLK)}, /* an image's lock is given back */
	{"accept4", ROLE_IO | ROLE_VNC}, /* unix=P; only sockets that listen already */

	/* What the C library does at exit() and for lazily made things that it can do without. */
	{"rt_sigaction", ROLE_IO},
	{"sched_setscheduler", ROLE_KEEPER}, /* at the end somebody waits for it */
	{"open", ROLE_IO, FAILS(EACCES)},
	{"access", ROLE_IO, FAILS(EACCES)},
	{"readlink", ROLE_IO, FAILS(EACCES)},

	/* User networking. */
	{"socket", ROLE_NET, EQUALS(0, AF_INET)},
	{"socket", ROLE_NET, EQUALS(0, AF_INET6)},
	{"connect", ROLE_NET},
	{"bind", ROLE_NET},
	{"listen", ROLE_NET},
	{"accept", ROLE_NET},
	{"shutdown", ROLE_NET},
	{"getsockname", ROLE_NET},
	{"getpeername", ROLE_NET},
	{"getsockopt", ROLE_NET},
	{"setsockopt", ROLE_NET},
	{"sendto", ROLE_NET},
	{"sendmsg", ROLE_NET},
	{"recvfrom", ROLE_NET},
	{"recvmsg", ROLE_NET},

	/* vsock: the broker connects, the I/O thread takes its descriptors, and ends one direction of a connection. */
	{"socket", ROLE_BROKER, EQUALS(0, AF_UNIX)},
	{"connect", ROLE_BROKER},
	{"sendmsg", ROLE_BROKER},
	{"recvmsg", ROLE_VSOCK},
	{"shutdown", ROLE_VSOCK},

	/* vhost-user: descriptors of kicks and calls are sent whenever the guest starts a queue. */
	{"sendmsg", ROLE_VHOST},

	/* NBD: what is connected only, so a message may name no address. */
	{"sendto", ROLE_NBD, CHECK_MASKED, 4, ~0ull, 0},
	{"recvfrom", ROLE_NBD},
	{"shutdown", ROLE_NBD},

	/* A tap: what the guest's driver takes in frames. */
	{"ioctl", ROLE_TAP | ROLE_PLUG, EQUALS(1, TUNSETOFFLOAD)},

	/* Disks and cards that come while the guest runs: `ruse ctl` sends descriptors, images are examined and locked. */
	{"recvmsg", ROLE_PLUG},
	{"fcntl", ROLE_PLUG, EQUALS(1, F_OFD_GETLK)},
	{"flock", ROLE_PLUG},
	{"ioctl", ROLE_PLUG, EQUALS(1, BLKGETSIZE64)},

	/* A shared directory. A filter can't see where openat2() leads: the thread is confined by Landlock before (backend/share_dir.c). */
	{"openat2", ROLE_SHARE},
	{"newfstatat", ROLE_SHARE},
	{"fstat", ROLE_SHARE},
	{"fstatfs", ROLE_SHARE},
	{"readlinkat", ROLE_SHARE},
	{"getdents64", ROLE_SHARE},
	{"lseek", ROLE_SHARE},
	{"preadv", ROLE_SHARE},
	{"pwritev", ROLE_SHARE},
	{"fsync", ROLE_SHARE},
	{"fdatasync", ROLE_SHARE},
	{"ftruncate", ROLE_SHARE},
	{"fchmodat", ROLE_SHARE},
	{"fchownat", ROLE_SHARE},
	{"utimensat", ROLE_SHARE},
	{"mkdirat", ROLE_SHARE},
	{"mknodat", ROLE_SHARE, WITHOUT(2, S_IFCHR)}, /* a bit that block devices have too: files, FIFOs, sockets are left */
	{"symlinkat", ROLE_SHARE},
	{"linkat", ROLE_SHARE},
	{"renameat", ROLE_SHARE},
	{"renameat2", ROLE_SHARE}, /* where there is no renameat */
	{"unlinkat", ROLE_SHARE},
	{"fcntl", ROLE_SHARE, EQUALS(1, F_GETFL)},
	{"fcntl", ROLE_SHARE, EQUALS(1, F_OFD_SETLK)},
	{"fcntl", ROLE_SHARE, EQUALS(1, F_OFD_GETLK)},

	/* Viewers: libvncserver with sockets that are connected. It can do without their names, and without Nagle's algorithm being off. */
	{"select", ROLE_VNC},
	{"pselect6", ROLE_VNC},
	{"fcntl", ROLE_VNC, EQUALS(1, F_GETFL)},
	{"fcntl", ROLE_VNC, EQUALS(1, F_SETFL)},
	{"recvfrom", ROLE_VNC},
	{"shutdown", ROLE_VNC},
	{"setsockopt", ROLE_VNC, FAILS(EOPNOTSUPP)},
	{"getpeername", ROLE_VNC},
	{"uname", ROLE_VNC},
	{"prlimit64", ROLE_VNC, EQUALS(2, 0)}, /* asks how many descriptors there may be */

	{NULL},
};
