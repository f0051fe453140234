/* See kernel_kind.h. */
#include "cli/kernel_kind.h"

#include "host/linux/image_file.h"
#include "loader/arm64.h"
#include <sys/stat.h>

bool kernel_is_arm64(const char *path)
{
	struct image image = {0};
	struct arm64_plan plan;
	struct stat st;
	char why[256];
	bool is = false;

	/* A pipe can be read only once. */
	if (stat(path, &st) || !S_ISREG(st.st_mode))
		return false;
	if (!image_file_open(&image, path, "kernel", why, sizeof(why)))
		is = arm64_plan(&(struct arm64_input){.kernel = &image, .ram_size = GIB(64)}, &plan, why, sizeof(why)) == 0;
	image_file_close(&image);
	return is;
}
