/* The backend behind which nothing is; see char.h.
 *
 * Example: `r = char_open(&host, "none", "serial0", &backend, why, sizeof(why));`
 */
#include "backend/char_kinds.h"
#include "core/platform.h"
#include <errno.h>

static size_t none_write(struct char_backend *backend, const void *buf, size_t len)
{
	return len;
}

static void none_resume(struct char_backend *backend)
{
}

static void none_destroy(struct char_backend *backend)
{
	platform_free(backend);
}

static const struct char_backend_ops none_ops = {
	.write = none_write,
	.resume = none_resume,
	.destroy = none_destroy,
};

int char_none_open(struct char_host *host, const char *path, const char *id, struct char_backend **out, char *why,
		   size_t why_size)
{
	*out = platform_alloc(sizeof(**out));
	if (!*out)
		return -ENOMEM;
	(*out)->ops = &none_ops;
	return 0;
}
