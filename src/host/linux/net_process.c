/* See net_process.h. */
#include "host/linux/net_process.h"
#include "backend/net_stream.h"
#include "host/linux/loop.h"
#include "host/linux/sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct bridge {
	struct loop *loop;
	struct net_backend *user, *stream;
	struct watch end;
};

/* ---- the process ---- */

/* What the stream has no room for is lost, as on any wire. */
static bool to_vm(void *ctx, const void *frame, size_t len)
{
	struct bridge *bridge = ctx;
	const struct iobuf buf = {(void *)(uintptr_t)frame, len};

	bridge->stream->ops->send(bridge->stream, &buf, 1);
	return true;
}

static bool from_vm(void *ctx, const void *frame, size_t len)
{
	struct bridge *bridge = ctx;
	const struct iobuf buf = {(void *)(uintptr_t)frame, len};

	bridge->user->ops->send(bridge->user, &buf, 1);
	return true;
}

static void on_end(void *ctx, uint32_t events)
{
	loop_stop(((struct bridge *)ctx)->loop);
}

static int build(struct bridge *bridge, const struct net_user_options *options, int fd, char *why, size_t why_size)
{
	int r;

	bridge->loop = loop_create(why, why_size);
	if (!bridge->loop)
		return -ENOMEM;
	watch_init(&bridge->end, dup(fd), on_end, bridge);
	r = net_user_open(options, bridge->loop, &bridge->user, why, why_size);
	if (!r)
		r = net_stream_open(fd, "the VM", bridge->loop, &bridge->stream, why, why_size);
	if (r)
		return r;
	r = loop_watch(bridge->loop, &bridge->end, EPOLLRDHUP);
	if (r)
		snprintf(why, why_size, "the network's process can't wait for the VM: %s", strerror(-r));
	bridge->user->receive = to_vm;
	bridge->user->receive_ctx = bridge;
	bridge->stream->receive = from_vm;
	bridge->stream->receive_ctx = bridge;
	return r;
}

static int enter_sandbox(char *why, size_t why_size)
{
	struct sandbox *sandbox = sandbox_prepare(&(struct sandbox_options){.network = true}, why, why_size);

	return sandbox ? sandbox_enter(sandbox, SANDBOX_IO, why, why_size) : -EPERM;
}

/* fd, and 4 to say in what goes wrong, are all that stays open. */
static _Noreturn void child(const struct net_user_options *options, int fd, int say)
{
	int null = open("/dev/null", O_RDWR);
	struct bridge bridge = {0};
	char why[256] = "";

	(void)setsid();
	for (int i = 0; i < 3; i++)
		(void)dup2(null, i);
	/* Out of the way, then into place. */
	fd = fcntl(fd, F_DUPFD, 16);
	say = fcntl(say, F_DUPFD, 16);
	(void)dup2(fd, 3);
	(void)dup2(say, 4);
	(void)close_range(5, ~0u, 0);
	signal(SIGPIPE, SIG_IGN);
	if (build(&bridge, options, 3, why, sizeof(why)) < 0 || enter_sandbox(why, sizeof(why)) < 0) {
		ssize_t n = write(4, why, strlen(why));

		(void)n;
		_exit(1);
	}
	close(4);
	_exit(loop_run(bridge.loop) ? 1 : 0);
}

/* ---- who starts it ---- */

int net_process_start(const struct net_user_options *options, char *why, size_t why_size)
{
	int stream[2], say[2], r;
	pid_t pid;
	ssize_t n;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream) < 0)
		goto refuse;
	if (pipe2(say, O_CLOEXEC) < 0) {
		close(stream[0]);
		close(stream[1]);
		goto refuse;
	}
	pid = fork();
	if (pid == 0)
		child(options, stream[1], say[1]);
	r = -errno;
	close(stream[1]);
	close(say[1]);
	/* Nothing: it serves. */
	n = pid < 0 ? 0 : read(say[0], why, why_size - 1);
	close(say[0]);
	if (pid > 0 && n == 0)
		return stream[0];
	close(stream[0]);
	if (n > 0) {
		why[n] = 0;
		return -EIO;
	}
	errno = -r;
refuse:
	r = -errno;
	snprintf(why, why_size, "the process of a user network can't be started: %s; raise the limit of processes (ulimit -u)", strerror(-r));
	return r;
}
