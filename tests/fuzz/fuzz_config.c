/* libFuzzer target for `--config`: anything as a machine's description in JSON. It is refused with one sentence, or it gives a machine
 * whose description, printed, is understood and gives the same again; all memory comes back.
 *
 * Example:
 *     fuzz_config -seed_inputs=seeds/config -max_len=2048 -runs=200000
 */
#include "board/board.h"
#include "cli/config_json.h"
#include "cli/kernel_kind.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHECK(condition)                                                                                           \
	do {                                                                                                       \
		if (!(condition))                                                                                  \
			abort();                                                                                   \
	} while (0)

/* There is one of each, and nothing of them is used. */
const struct board_ops *board_find(const char *name)
{
	static const struct board_ops board = {.name = "pc"};

	return !strcmp(name, board.name) ? &board : NULL;
}

bool engine_known(const char *name)
{
	return !strcmp(name, "dbt");
}

bool kernel_is_arm64(const char *path)
{
	return false;
}

/* What --config reads it by. */
static int read_text(struct run_options *options, const void *text, size_t len, char *why, size_t why_size)
{
	int fd = memfd_create("config", 0), r;
	char path[32];

	CHECK(fd >= 0 && write(fd, text, len) == (ssize_t)len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	run_options_init(options);
	r = config_json_read(options, path, why, why_size);
	close(fd);
	return r;
}

static char *print(const struct run_options *options, size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);

	CHECK(out);
	config_json_print(options, out);
	fclose(out);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run_options first, second;
	char why[512] = "", *text, *again;
	size_t len, again_len;
	int r = read_text(&first, data, size, why, sizeof(why));

	CHECK((r == 0) == (why[0] == 0) && !memchr(why, '\n', strlen(why)));
	/* It may be one of which something is missing, or in which things don't go together. */
	if (r == 0 && run_options_check(&first, why, sizeof(why)) == 0) {
		text = print(&first, &len);
		r = read_text(&second, text, len, why, sizeof(why));
		CHECK(r == 0 && run_options_check(&second, why, sizeof(why)) == 0);
		again = print(&second, &again_len);
		CHECK(len == again_len && !memcmp(text, again, len));
		free(text);
		free(again);
		run_options_free(&second);
	}
	run_options_free(&first);
	return 0;
}
