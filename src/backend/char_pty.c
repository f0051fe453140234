/* A pseudo-terminal of our own, for `screen /dev/pts/N`; see char.h.
 *
 * Example: `r = char_open(&host, "pty", "serial0", &backend, why, sizeof(why));`
 *
 * While nobody has it open the kernel reports a hang-up without end, so we don't watch it then but look a few
 * times a second whether somebody has come. Output meanwhile is dropped.
 */
#include "backend/char_kinds.h"
#include "backend/char_stream.h"
#include "base/fmt.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define LOOK_NS 200000000u

struct char_pty {
	struct char_stream stream;
	struct timer look;
	int fd; /* the master side */
};

static struct char_pty *pty_of(struct char_stream *stream)
{
	return container_of(stream, struct char_pty, stream);
}

static void look_later(struct char_pty *pty)
{
	loop_timer_arm(pty->stream.host->loop, &pty->look, platform_clock_ns() + LOOK_NS);
}

static void look(void *ctx)
{
	struct char_pty *pty = ctx;
	struct pollfd state = {.fd = pty->fd};

	if ((poll(&state, 1, 0) > 0 && (state.revents & POLLHUP)) ||
	    char_stream_attach(&pty->stream, pty->fd, pty->fd) < 0) {
		look_later(pty);
		return;
	}
	pty->stream.backend.ops->resume(&pty->stream.backend);
}

static void pty_hangup(struct char_stream *stream)
{
	char_stream_detach(stream);
	look_later(pty_of(stream));
}

static void pty_destroy(struct char_stream *stream)
{
	struct char_pty *pty = pty_of(stream);

	loop_timer_cancel(stream->host->loop, &pty->look);
	if (pty->fd >= 0)
		close(pty->fd);
	platform_free(pty);
}

static const struct char_stream_ops pty_ops = {.hangup = pty_hangup, .destroy = pty_destroy};

/* The slave side set to raw, and opened once so that from now on its absence is seen. 0 or -errno. */
static int prepare_slave(const char *name)
{
	struct termios settings;
	int r = 0, fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (tcgetattr(fd, &settings) < 0) {
		r = -errno;
	} else {
		cfmakeraw(&settings);
		if (tcsetattr(fd, TCSANOW, &settings) < 0)
			r = -errno;
	}
	close(fd);
	return r;
}

static int make_pty(int *fd, char *name, size_t name_size)
{
	*fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0 || grantpt(*fd) < 0 || unlockpt(*fd) < 0)
		return -errno;
	if (ptsname_r(*fd, name, name_size) != 0)
		return -errno;
	return prepare_slave(name);
}

int char_pty_open(struct char_host *host, const char *path, const char *id, struct char_backend **out, char *why,
		  size_t why_size)
{
	struct char_pty *pty = platform_alloc(sizeof(*pty));
	char name[64], text[128];
	int r;

	if (!pty)
		return -ENOMEM;
	char_stream_init(&pty->stream, host, id, &pty_ops);
	timer_init(&pty->look, NULL, look, pty);
	r = make_pty(&pty->fd, name, sizeof(name));
	if (r < 0) {
		fmt_print(why, why_size, "%s: cannot make a pseudo-terminal: %s", id, strerror(-r));
		char_stream_destroy(&pty->stream.backend);
		return r;
	}
	/* Whoever asked for a pty must learn its name, whatever the log level. */
	fmt_print(text, sizeof(text), "connected to %s", name);
	platform_log(LOG_INFO, id, text);
	look(pty);
	*out = &pty->stream.backend;
	return 0;
}
