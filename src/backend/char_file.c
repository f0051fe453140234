/* Output to a file; see char.h.
 *
 * Example: `r = char_open(&host, "file=boot.log", "serial0", &backend, why, sizeof(why));`
 */
#include "backend/char_kinds.h"
#include "backend/char_stream.h"
#include "base/fmt.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct char_file {
	struct char_stream stream;
	int fd;
};

static void file_destroy(struct char_stream *stream)
{
	struct char_file *file = container_of(stream, struct char_file, stream);

	if (file->fd >= 0)
		close(file->fd);
	platform_free(file);
}

static const struct char_stream_ops file_ops = {.destroy = file_destroy};

int char_file_open(struct char_host *host, const char *path, const char *id, struct char_backend **out, char *why,
		   size_t why_size)
{
	struct char_file *file = platform_alloc(sizeof(*file));
	int r;

	if (!file)
		return -ENOMEM;
	char_stream_init(&file->stream, host, id, &file_ops);
	/* O_NONBLOCK is for the pipe that somebody may have put there. */
	file->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
	r = file->fd < 0 ? -errno : char_stream_attach(&file->stream, -1, file->fd);
	if (r < 0) {
		fmt_print(why, why_size, "%s: cannot write to '%s': %s", id, path, strerror(-r));
		char_stream_destroy(&file->stream.backend);
		return r;
	}
	*out = &file->stream.backend;
	return 0;
}
