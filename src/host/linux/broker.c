/* The process that connects; see broker.h.
 *
 * Example: `fd = broker_start("/run/guest.vsock", true, why, sizeof(why));`
 *
 * Both sides speak in packets, one a request, one a reply; descriptors travel with them (unix(7), SCM_RIGHTS).
 */
#include "host/linux/broker.h"
#include "host/linux/sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET 3 /* the broker's only descriptor */

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

/* ---- the broker's process ---- */

static int connect_to(const char *prefix, uint32_t port)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, r;

	snprintf(address.sun_path, sizeof(address.sun_path), "%.*s_%u", BROKER_PREFIX_MAX, prefix, port);
	/* Non-blocking: a server whose backlog is full refuses, and can't hold up the others. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	r = -errno;
	close(fd);
	return r;
}

static bool answer(uint32_t id, int fd)
{
	struct broker_reply reply = {.id = id, .status = fd < 0 ? fd : 0};
	struct iovec iov = {.iov_base = &reply, .iov_len = sizeof(reply)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control = {0};

	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.bytes);
		control.header = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(fd)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	return sendmsg(SOCKET, &message, MSG_NOSIGNAL) == (ssize_t)sizeof(reply);
}

static void serve(const char *prefix)
{
	struct broker_request request;

	while (read(SOCKET, &request, sizeof(request)) == (ssize_t)sizeof(request)) {
		int fd = connect_to(prefix, request.port);
		bool answered = answer(request.id, fd);

		if (fd >= 0)
			close(fd);
		if (!answered)
			break;
	}
}

/* Everything closed but the socket, which becomes 3; nothing of the terminal's. */
static void only_socket(int fd)
{
	int null = open("/dev/null", O_RDWR);

	for (int i = 0; i < 3; i++)
		(void)dup2(null, i);
	(void)dup2(fd, SOCKET);
	(void)close_range(SOCKET + 1, ~0u, 0);
}

static _Noreturn void child(const char *prefix, bool sandbox, int fd)
{
	sigset_t none;
	char why[160];

	/* The terminal's signals are not for it: it ends with the VM. */
	(void)setsid();
	for (int i = 1; i < NSIG; i++)
		signal(i, i == SIGINT || i == SIGTERM || i == SIGHUP || i == SIGQUIT ? SIG_IGN : SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	only_socket(fd);
	if (!sandbox || sandbox_enter_broker(why, sizeof(why)) == 0)
		serve(prefix);
	_exit(0);
}

/* ---- the VM's process ---- */

int broker_start(const char *prefix, bool sandbox, char *why, size_t why_size)
{
	int pair[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		snprintf(why, why_size, "no socket for the process that connects to %s_PORT: %s", prefix, strerror(errno));
		return -errno;
	}
	pid = fork();
	if (pid == 0)
		child(prefix, sandbox, pair[1]);
	r = pid < 0 ? -errno : 0;
	close(pair[1]);
	if (r == 0 && fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0)
		r = -errno;
	if (r == 0)
		return pair[0];
	close(pair[0]);
	snprintf(why, why_size, "cannot start the process that connects to %s_PORT: %s; raise the limit of processes (ulimit -u)", prefix,
		 strerror(-r));
	return r;
}

int broker_receive(int fd, struct broker_reply *reply, int *connection)
{
	struct iovec iov = {.iov_base = reply, .iov_len = sizeof(*reply)};
	union control control = {0};
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.bytes)};
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	const struct cmsghdr *header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;

	*connection = -1;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : -EPIPE;
	if (n != (ssize_t)sizeof(*reply))
		return -EPIPE;
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
	    header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(connection, CMSG_DATA(header), sizeof(int));
	/* It comes without one when we have no room for another descriptor. */
	if (reply->status == 0 && *connection < 0)
		reply->status = -EMFILE;
	return 0;
}
