/* `--fs`: a file system that another process serves; see options.h.
 *
 * Example: `--fs socket=/run/virtiofsd.sock,tag=home`
 */
#include "cli/options.h"

#include "dev/virtio/virtio.h"
#include <errno.h>
#include <string.h>

int check_fs(const struct fs_config *fs, char *why, size_t why_size)
{
	const char *wrong = NULL;

	if (!fs->socket || !*fs->socket)
		wrong = "a shared file system needs the socket of what serves it: socket=PATH";
	else if (!fs->tag || !*fs->tag)
		wrong = "a shared file system needs a tag, by which the guest mounts it: tag=T";
	else if (strlen(fs->tag) > VIRTIO_FS_TAG_MAX)
		wrong = "a shared file system's tag has at most 36 bytes: choose a shorter one";
	if (wrong)
		snprintf(why, why_size, "%s", wrong);
	return wrong ? -EINVAL : 0;
}

int parse_fs(struct run_options *options, const char *text, char *why, size_t why_size)
{
	struct vm_config *config = &options->config;
	struct fs_config fs = {0};
	size_t len;
	int r;

	for (const char *p = text; *p; p += len + (p[len] == ',')) {
		len = strcspn(p, ",");
		if (len > 7 && !memcmp(p, "socket=", 7)) {
			fs.socket = strings_copy(&options->strings, p + 7, len - 7);
		} else if (len > 4 && !memcmp(p, "tag=", 4)) {
			fs.tag = strings_copy(&options->strings, p + 4, len - 4);
		} else {
			snprintf(why, why_size, "--fs %.*s is not understood; write --fs socket=PATH,tag=T", (int)len, p);
			return -EINVAL;
		}
	}
	r = check_fs(&fs, why, why_size);
	if (r)
		return r;
	if (config->fs_count == CONFIG_MAX_FS) {
		snprintf(why, why_size, "more than %d shared file systems; leave some --fs out", CONFIG_MAX_FS);
		return -EINVAL;
	}
	config->fs[config->fs_count++] = fs;
	return 0;
}
