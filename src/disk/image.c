/* Images and their backing files; see image.h. */
#include "disk/image.h"
#include "disk/nbd_client.h"
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

__attribute__((format(printf, 3, 4))) static int refuse(char *why, size_t why_size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, why_size, format, args);
	va_end(args);
	return -EINVAL;
}

enum disk_format disk_format_find(const char *name)
{
	if (!strcmp(name, "raw"))
		return DISK_FORMAT_RAW;
	return !strcmp(name, "qcow2") ? DISK_FORMAT_QCOW2 : DISK_FORMAT_AUTO;
}

/* ---- which format ---- */

static bool name_says_qcow2(const char *path)
{
	const char *dot = strrchr(path, '.');

	return dot && (!strcasecmp(dot, ".qcow2") || !strcasecmp(dot, ".qcow"));
}

/* By the name. Content may contradict, but not decide: a guest writes what it likes into a raw disk. */
static int choose_format(const struct disk_image *image, enum disk_format *format, char *why, size_t why_size)
{
	uint8_t bytes[8];
	bool looks;
	int r = file_read(image->file, 0, bytes, sizeof(bytes));

	if (r < 0)
		return refuse(why, why_size, "%s can't be read (%s): check the host's disk", image->path, strerror(-r));
	looks = qcow2_recognise(bytes, sizeof(bytes));
	*format = name_says_qcow2(image->path) ? DISK_FORMAT_QCOW2 : DISK_FORMAT_RAW;
	if (looks == (*format == DISK_FORMAT_QCOW2))
		return 0;
	if (looks)
		return refuse(why, why_size, "%s looks like a qcow2 image, but its name doesn't say so: add format=qcow2 if you have "
			      "made it so, or format=raw if a guest has", image->path);
	return refuse(why, why_size, "%s is no qcow2 image: add format=raw if that is what it is", image->path);
}

/* ---- what lies under it ---- */

static bool lies_in(const char *path, const char *directory)
{
	size_t len = strlen(directory);

	while (len > 1 && directory[len - 1] == '/')
		len--;
	if (len == 1 && directory[0] == '/')
		return true;
	return !strncmp(path, directory, len) && path[len] == '/';
}

/* Where the opened file really is, whatever links led to it. */
static int real_path(const struct disk_file *file, char path[PATH_MAX])
{
	char self[64];
	ssize_t n;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", host_file_buffered_fd(file));
	n = readlink(self, path, PATH_MAX - 1);
	if (n <= 0)
		return -EIO;
	path[n] = 0;
	return 0;
}

static int check_place(const struct disk_image *image, const struct disk_image *backing, const char *backing_dir, char *why,
		       size_t why_size)
{
	char upper[PATH_MAX], lower[PATH_MAX], allowed[PATH_MAX];

	if (real_path(image->file, upper) < 0 || real_path(backing->file, lower) < 0)
		return refuse(why, why_size, "%s: where it lies can't be told: is /proc mounted?", backing->path);
	*strrchr(upper, '/') = 0;
	if (lies_in(lower, upper[0] ? upper : "/"))
		return 0;
	if (backing_dir && realpath(backing_dir, allowed) && lies_in(lower, allowed))
		return 0;
	return refuse(why, why_size, "the backing file of %s is %s, which is not in its directory: if you trust the image, allow it with "
		      "backing=DIRECTORY (ruse disk: --backing-dir)", image->path, lower);
}

/* Relative names are meant from where the image is. */
static char *backing_path(const struct disk_image *image, const char *name)
{
	const char *slash = strrchr(image->path, '/');
	char *path;

	if (name[0] == '/' || !slash)
		return strdup(name);
	return asprintf(&path, "%.*s/%s", (int)(slash - image->path), image->path, name) < 0 ? NULL : path;
}

static int open_layer(const struct disk_image_options *options, const struct disk_image *above, struct disk_image **out, char *why,
		      size_t why_size);

static int read_backing(void *ctx, uint64_t offset, struct span span, uint64_t len)
{
	struct disk_image *backing = ctx;
	uint64_t there = backing->size > offset ? backing->size - offset : 0;

	if (there > len)
		there = len;
	span_zero(span_at(span, there), len - there);
	return there ? disk_image_read(backing, offset, span, there) : 0;
}

static bool is_same_file(const struct disk_image *a, const struct disk_image *b)
{
	struct stat sa, sb;

	return fstat(host_file_buffered_fd(a->file), &sa) == 0 && fstat(host_file_buffered_fd(b->file), &sb) == 0 &&
	       sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

static int open_backing(struct disk_image *image, const struct disk_image_options *options, char *why, size_t why_size)
{
	struct disk_image_options below = {
		.backing_dir = options->backing_dir, .unlocked = options->unlocked, .writable = options->backing_writable};
	struct qcow2_info info;
	char *path;
	int r;

	qcow2_describe(image->qcow2, &info);
	if (!info.backing || options->no_backing)
		return 0;
	if (!info.backing_format)
		return refuse(why, why_size, "%s doesn't say of which format its backing file %s is, and guessing would let a guest choose: "
			      "say it with qemu-img rebase -u -F FORMAT -b %s %s", image->path, info.backing, info.backing, image->path);
	below.files = options->files;
	below.file_count = options->file_count;
	below.format = disk_format_find(info.backing_format);
	if (below.format == DISK_FORMAT_AUTO)
		return refuse(why, why_size, "the backing file of %s has the format %.32s; ruse knows raw and qcow2", image->path,
			      info.backing_format);
	if (!strncmp(info.backing, "json:", 5) || (strchr(info.backing, ':') && info.backing[0] != '/' &&
						   strcspn(info.backing, ":") < strcspn(info.backing, "/")))
		return refuse(why, why_size, "the backing file of %s is %.80s, which is no path: ruse opens files only", image->path,
			      info.backing);
	if (image->layer + 1 >= DISK_MAX_LAYERS)
		return refuse(why, why_size, "%s has more than %d images under it, or they lie in a circle: shorten the chain with ruse disk "
			      "commit or convert", image->path, DISK_MAX_LAYERS - 1);
	path = backing_path(image, info.backing);
	if (!path)
		return -ENOMEM;
	below.path = path;
	r = open_layer(&below, image, &image->backing, why, why_size);
	free(path);
	if (r < 0)
		return r;
	qcow2_set_backing(image->qcow2, read_backing, image->backing);
	return 0;
}

static int open_qcow2(struct disk_image *image, const struct disk_image_options *options, char *why, size_t why_size)
{
	/* Tables of all layers together stay within a bound. */
	const struct qcow2_options q = {
		.discard = options->discard, .check = options->check, .cache_bytes = image->layer ? MIB(8) : 0};
	struct qcow2_info info;
	char reason[256];
	int r = qcow2_open(image->file, &q, &image->qcow2, reason, sizeof(reason));

	if (r < 0) {
		snprintf(why, why_size, "%s can't be used: %s", image->path, reason);
		return r;
	}
	qcow2_describe(image->qcow2, &info);
	image->size = info.size;
	if (options->direct && info.cluster_size < 4096)
		return refuse(why, why_size, "%s has clusters of %llu bytes, too small for direct I/O: choose another cache= than none",
			      image->path, (unsigned long long)info.cluster_size);
	return options->check ? 0 : open_backing(image, options, why, why_size);
}

static int take_file(const struct disk_image_options *options, const struct disk_image *image, struct host_file_options *file, char *why,
		     size_t why_size)
{
	if (image->layer >= options->file_count || options->files[image->layer] < 0)
		return refuse(why, why_size, "%s is not among the files that were handed over: try again", image->path);
	file->fd = options->files[image->layer];
	options->files[image->layer] = -1;
	return 0;
}

/* Only what nobody writes, and nothing lies under. */
static int open_nbd(const struct disk_image_options *options, struct disk_image *image, char *why, size_t why_size)
{
	if (options->format == DISK_FORMAT_QCOW2)
		return refuse(why, why_size, "%s is an NBD export, whose format is raw: let the server read the qcow2 image, as qemu-nbd -f qcow2 does",
			      options->path);
	return nbd_file_open(options->path, &image->file, why, why_size);
}

static int open_layer(const struct disk_image_options *options, const struct disk_image *above, struct disk_image **out, char *why,
		      size_t why_size)
{
	const bool nbd = options->nbd && nbd_client_is_uri(options->path);
	struct host_file_options file = {.path = options->path, .writable = options->writable, .direct = options->direct,
					       .unsafe = options->unsafe, .unlocked = options->unlocked,
					       .together = options->together, .given = options->files != NULL};
	struct disk_image *image = calloc(1, sizeof(*image));
	enum disk_format format = options->format;
	int r = -ENOMEM;

	if (!image || !(image->path = strdup(options->path))) {
		free(image);
		snprintf(why, why_size, "no memory is left for %s: free some", options->path);
		return r;
	}
	image->layer = above ? above->layer + 1 : 0;
	r = options->files ? take_file(options, image, &file, why, why_size) : 0;
	if (r == 0 && nbd)
		r = open_nbd(options, image, why, why_size);
	else if (r == 0)
		r = host_file_open(&file, &image->file, why, why_size);
	if (r == 0 && above && !options->files)
		r = check_place(above, image, options->backing_dir, why, why_size);
	if (r == 0 && above && is_same_file(above, image))
		r = refuse(why, why_size, "%s has itself for a backing file: say another one with qemu-img rebase -u", image->path);
	if (r == 0 && format == DISK_FORMAT_AUTO && !nbd)
		r = choose_format(image, &format, why, why_size);
	if (r == 0 && format == DISK_FORMAT_QCOW2)
		r = open_qcow2(image, options, why, why_size);
	else if (r == 0)
		image->size = image->file->size;
	if (r < 0) {
		(void)disk_image_close(image);
		return r;
	}
	*out = image;
	return 0;
}

int disk_image_open(const struct disk_image_options *options, struct disk_image **image, char *why, size_t why_size)
{
	int r = open_layer(options, NULL, image, why, why_size);

	if (r == -ENOMEM && !why[0])
		snprintf(why, why_size, "no memory is left for %s: free some", options->path);
	return r;
}

int disk_image_close(struct disk_image *image)
{
	int r = 0;

	if (!image)
		return 0;
	if (image->qcow2)
		r = qcow2_close(image->qcow2);
	else if (image->file && image->file->writable)
		r = image->file->ops->sync(image->file);
	(void)disk_image_close(image->backing);
	if (image->file)
		image->file->ops->close(image->file);
	free(image->path);
	free(image);
	return r;
}

/* ---- use ---- */

int disk_image_read(struct disk_image *image, uint64_t offset, struct span span, uint64_t len)
{
	return image->qcow2 ? qcow2_read(image->qcow2, offset, span, len) : file_readv(image->file, offset, span, len);
}

int disk_image_write(struct disk_image *image, uint64_t offset, struct span span, uint64_t len)
{
	return image->qcow2 ? qcow2_write(image->qcow2, offset, span, len) : file_writev(image->file, offset, span, len);
}

int disk_image_zero(struct disk_image *image, uint64_t offset, uint64_t len, bool unmap)
{
	return image->qcow2 ? qcow2_zero(image->qcow2, offset, len, unmap) : file_zero(image->file, offset, len, unmap);
}

int disk_image_discard(struct disk_image *image, uint64_t offset, uint64_t len)
{
	int r = image->qcow2 ? qcow2_discard(image->qcow2, offset, len) : image->file->ops->zero(image->file, offset, len, true);

	return r == -EOPNOTSUPP ? 0 : r; /* a hint */
}

int disk_image_flush(struct disk_image *image)
{
	return image->qcow2 ? qcow2_flush(image->qcow2) : image->file->ops->sync(image->file);
}

static int map_raw(const struct disk_image *image, uint64_t offset, uint64_t len, struct disk_extent *extent)
{
	const uint64_t size = image->file->size;

	*extent = (struct disk_extent){.kind = DISK_ZERO, .layer = image->layer, .host = offset, .len = len};
	if (offset < size) {
		extent->kind = DISK_DATA;
		extent->in_place = image->layer == 0;
		extent->len = len < size - offset ? len : size - offset;
	}
	return 0;
}

static int map_qcow2(struct disk_image *image, uint64_t offset, uint64_t len, bool cached, struct disk_extent *extent)
{
	struct qcow2_extent found;
	struct disk_image *backing = image->backing;
	const uint64_t size = image->file->size;
	int r = qcow2_map(image->qcow2, offset, len, cached, &found);

	if (r < 0)
		return r;
	*extent = (struct disk_extent){.kind = DISK_ZERO, .layer = image->layer, .len = found.len};
	switch (found.kind) {
	case QCOW2_KIND_ZERO:
		break;
	case QCOW2_KIND_BACKING:
		if (!backing || offset >= backing->size)
			break;
		if (found.len > backing->size - offset)
			found.len = backing->size - offset;
		return disk_image_map(backing, offset, found.len, cached, extent);
	case QCOW2_KIND_DATA:
		extent->kind = DISK_DATA;
		extent->in_place = found.in_place && image->layer == 0;
		extent->host = found.host;
		/* The last cluster may not be there whole. */
		if (found.host >= size || found.len > size - found.host)
			extent->kind = DISK_ELSEWHERE;
		break;
	case QCOW2_KIND_COMPRESSED:
		extent->kind = DISK_ELSEWHERE;
		break;
	}
	return 0;
}

int disk_image_map(struct disk_image *image, uint64_t offset, uint64_t len, bool cached, struct disk_extent *extent)
{
	return image->qcow2 ? map_qcow2(image, offset, len, cached, extent) : map_raw(image, offset, len, extent);
}
