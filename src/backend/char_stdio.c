/* Our own stdin and stdout as a character backend, and streams over descriptors in general; see char.h.
 *
 * Example: `r = char_open(&host, "stdio", "serial0", &backend, why, sizeof(why));`
 *
 * stdout is shared with whoever started us, so it is not made O_NONBLOCK: where /proc allows it we open the
 * same terminal or pipe once more for ourselves, and otherwise ask before each write.
 */
#include "backend/char_kinds.h"
#include "backend/char_stream.h"
#include "base/fmt.h"
#include "host/linux/terminal.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct char_stdio {
	struct char_stream stream;
	struct escape escape;
	int own_out; /* our own descriptor of stdout, or -1 */
	bool terminal;
};

static struct char_stdio *stdio_of(struct char_stream *stream)
{
	return container_of(stream, struct char_stdio, stream);
}

static void act(struct char_stream *stream, enum escape_action action)
{
	if (action == ESCAPE_QUIT && stream->host->quit)
		stream->host->quit(stream->host->quit_ctx);
	if (action == ESCAPE_HELP)
		stream->backend.ops->write(&stream->backend, escape_help, strlen(escape_help));
}

static size_t stdio_filter(struct char_stream *stream, uint8_t *buf, size_t len)
{
	struct char_stdio *stdio = stdio_of(stream);
	uint8_t keys[CHAR_STAGE_SIZE];
	size_t length = 0, at = 0;

	memcpy(keys, buf, len);
	while (at < len) {
		enum escape_action action;
		size_t used;

		length += escape_filter(&stdio->escape, keys + at, len - at, buf + length, &used, &action);
		at += used;
		act(stream, action);
	}
	return length;
}

static void stdio_resize(struct char_stream *stream)
{
	struct char_backend *backend = &stream->backend;
	uint16_t columns, rows;

	if (terminal_size(STDIN_FILENO, &columns, &rows) < 0 ||
	    (columns == backend->columns && rows == backend->rows))
		return;
	backend->columns = columns;
	backend->rows = rows;
	if (backend->resized)
		backend->resized(backend->ctx);
}

static void stdio_destroy(struct char_stream *stream)
{
	struct char_stdio *stdio = stdio_of(stream);

	if (stdio->terminal)
		terminal_restore();
	if (stdio->own_out >= 0)
		close(stdio->own_out);
	stream->host->stdio_taken = false;
	platform_free(stdio);
}

static const struct char_stream_ops terminal_ops = {
	.filter = stdio_filter,
	.resize = stdio_resize,
	.destroy = stdio_destroy,
};
static const struct char_stream_ops pipe_ops = {.destroy = stdio_destroy};

/* A second, non-blocking way to the same terminal or pipe; -1 if there is none. */
static int open_own(int fd)
{
	char path[32];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !(S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
		return -1;
	fmt_print(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static int open_stdio(struct char_host *host, int in, int out, bool terminal, const char *id,
		      struct char_backend **backend, char *why, size_t why_size)
{
	struct char_stdio *stdio = platform_alloc(sizeof(*stdio));
	int r = 0;

	if (!stdio)
		return -ENOMEM;
	stdio->own_out = open_own(out);
	char_stream_init(&stdio->stream, host, id, terminal ? &terminal_ops : &pipe_ops);
	if (terminal)
		r = terminal_make_raw(in);
	stdio->terminal = terminal && r == 0;
	if (r == 0)
		r = char_stream_attach(&stdio->stream, in, stdio->own_out >= 0 ? stdio->own_out : out);
	if (r < 0) {
		fmt_print(why, why_size, "%s: cannot use the descriptors %d and %d: %s", id, in, out,
			  strerror(-r));
		char_stream_destroy(&stdio->stream.backend);
		return r;
	}
	if (terminal)
		stdio_resize(&stdio->stream);
	*backend = &stdio->stream.backend;
	return 0;
}

/* Somebody may have started us with `<&-`. */
static int if_open(int fd)
{
	return fcntl(fd, F_GETFD) < 0 ? -1 : fd;
}

int char_stdio_open(struct char_host *host, const char *path, const char *id, struct char_backend **out, char *why,
		    size_t why_size)
{
	int r;

	if (host->stdio_taken) {
		fmt_print(why, why_size, "%s: stdio is taken by another device; choose one of none, file=PATH, "
					 "unix=PATH, pty for it", id);
		return -EBUSY;
	}
	r = open_stdio(host, if_open(STDIN_FILENO), if_open(STDOUT_FILENO), isatty(STDIN_FILENO), id, out, why,
		       why_size);
	host->stdio_taken = r == 0;
	return r;
}

int char_open_fds(struct char_host *host, int in, int out, const char *id, struct char_backend **backend,
		  char *why, size_t why_size)
{
	int r = open_stdio(host, in, out, false, id, backend, why, why_size);

	if (r == -ENOMEM)
		fmt_print(why, why_size, "%s: out of memory", id);
	return r;
}
