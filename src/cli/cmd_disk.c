/* `ruse disk`: making, examining and changing disk images.
 *
 * Example: `ruse disk create --backing base.qcow2 overlay.qcow2`
 */
#include "cli/commands.h"
#include "cli/options.h"
#include "disk/copy.h"
#include "disk/image.h"
#include "disk/nbd_client.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_FAILED 1
#define EXIT_LEAKS  3

/* What all subcommands may be told. */
struct arguments {
	const char *words[2];
	unsigned word_count;
	const char *format;         /* of the image, of the one that is read */
	const char *to_format;      /* convert: of the one that is made */
	const char *backing, *backing_format, *backing_dir;
	const char *repair;
	const char *compression;
	uint64_t cluster_size, refcount_bits, version;
	bool compress, shrink, json, force;
};

struct argument {
	const char *name;
	const char *const *commands; /* which take it */
	size_t offset;
	enum { TEXT, NUMBER, FLAG } kind;
};

#define ONLY(...) (const char *const[]){__VA_ARGS__, NULL}
#define AT(field) offsetof(struct arguments, field)

static const struct argument arguments[] = {
	{"--format", ONLY("create", "info", "resize", "convert", "check", "commit"), AT(format), TEXT},
	{"--to", ONLY("convert"), AT(to_format), TEXT},
	{"--backing", ONLY("create"), AT(backing), TEXT},
	{"--backing-format", ONLY("create"), AT(backing_format), TEXT},
	{"--backing-dir", ONLY("create", "convert", "commit"), AT(backing_dir), TEXT},
	{"--cluster-size", ONLY("create", "convert"), AT(cluster_size), NUMBER},
	{"--refcount-bits", ONLY("create", "convert"), AT(refcount_bits), NUMBER},
	{"--version", ONLY("create", "convert"), AT(version), NUMBER},
	{"--compression", ONLY("create", "convert"), AT(compression), TEXT},
	{"--compress", ONLY("convert"), AT(compress), FLAG},
	{"-c", ONLY("convert"), AT(compress), FLAG},
	{"--repair", ONLY("check"), AT(repair), TEXT},
	{"-r", ONLY("check"), AT(repair), TEXT},
	{"--shrink", ONLY("resize"), AT(shrink), FLAG},
	{"--json", ONLY("info", "check"), AT(json), FLAG},
	{"--force", ONLY("create", "convert"), AT(force), FLAG},
};

static const char usage[] =
	"usage: ruse disk create PATH SIZE [--format raw|qcow2] [--backing FILE [--backing-format F]] [--cluster-size N]\n"
	"                 [--refcount-bits N] [--version 2|3] [--compression zlib|zstd] [--backing-dir DIR] [--force]\n"
	"       ruse disk info PATH [--format F] [--json]\n"
	"       ruse disk resize PATH [+]SIZE [--format F] [--shrink]\n"
	"       ruse disk convert FROM TO [--format F] [--to raw|qcow2] [--compress] [--cluster-size N] [--backing-dir DIR]\n"
	"                 [--refcount-bits N] [--version 2|3] [--compression zlib|zstd] [--force]\n"
	"       ruse disk check PATH [--repair leaks|all] [--format F] [--json]\n"
	"       ruse disk commit PATH [--format F] [--backing-dir DIR]\n\n"
	"Disk images, raw and qcow2. Without a format, a name that ends in .qcow2 or .qcow means qcow2, any other raw.\n"
	"Exit status of check: 0 sound, 1 damaged, 3 only leaks.\n";

__attribute__((format(printf, 2, 3))) static int complain(int status, const char *format, ...)
{
	va_list args;

	fputs("ruse: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return status;
}

/* ---- the command line ---- */

static bool takes(const struct argument *argument, const char *command)
{
	for (const char *const *name = argument->commands; *name; name++)
		if (!strcmp(*name, command))
			return true;
	return false;
}

static int set(struct arguments *out, const struct argument *argument, const char *value)
{
	void *field = (uint8_t *)out + argument->offset;

	switch (argument->kind) {
	case FLAG:
		*(bool *)field = true;
		return 0;
	case TEXT:
		*(const char **)field = value;
		return 0;
	case NUMBER:
		if (parse_size(value, field))
			return 0;
		return complain(EXIT_USAGE, "%s %s is no number; write for instance 64K", argument->name, value);
	}
	return 0;
}

static int parse(const char *command, int argc, char **argv, struct arguments *out)
{
	for (int i = 0; i < argc; i++) {
		const struct argument *found = NULL;
		int r;

		for (size_t k = 0; k < ARRAY_SIZE(arguments); k++)
			if (!strcmp(argv[i], arguments[k].name) && takes(&arguments[k], command))
				found = &arguments[k];
		if (!found && argv[i][0] == '-' && argv[i][1])
			return complain(EXIT_USAGE, "disk %s does not know '%s'; see ruse disk --help", command, argv[i]);
		if (!found && out->word_count == 2)
			return complain(EXIT_USAGE, "'%s' is one word too many; see ruse disk --help", argv[i]);
		if (!found) {
			out->words[out->word_count++] = argv[i];
			continue;
		}
		if (found->kind != FLAG && i + 1 == argc)
			return complain(EXIT_USAGE, "%s needs a value", found->name);
		r = set(out, found, found->kind == FLAG ? NULL : argv[++i]);
		if (r)
			return r;
	}
	return 0;
}

static int find_format(const char *name, enum disk_format *format)
{
	*format = name ? disk_format_find(name) : DISK_FORMAT_AUTO;
	if (!name || *format != DISK_FORMAT_AUTO)
		return 0;
	return complain(EXIT_USAGE, "the disk format %s is unknown; use raw or qcow2", name);
}

static enum disk_format format_of_new(const char *path, enum disk_format format)
{
	const char *dot = strrchr(path, '.');

	if (format != DISK_FORMAT_AUTO)
		return format;
	return dot && (!strcmp(dot, ".qcow2") || !strcmp(dot, ".qcow")) ? DISK_FORMAT_QCOW2 : DISK_FORMAT_RAW;
}

static int log2_of(uint64_t value)
{
	return value && !(value & (value - 1)) ? __builtin_ctzll(value) : -1;
}

/* The shape of a new image. */
static int fill_shape(const struct arguments *args, struct qcow2_create_options *shape)
{
	const int cluster = log2_of(args->cluster_size ? args->cluster_size : KIB(64));
	const int refcount = log2_of(args->refcount_bits ? args->refcount_bits : 16);

	shape->version = args->version ? (unsigned)args->version : 3;
	if (shape->version != 2 && shape->version != 3)
		return complain(EXIT_USAGE, "--version must be 2 or 3");
	if (cluster < 9 || cluster > 21)
		return complain(EXIT_USAGE, "--cluster-size must be a power of two from 512 to 2M");
	if (refcount < 0 || refcount > 6 || (shape->version == 2 && refcount != 4))
		return complain(EXIT_USAGE, "--refcount-bits must be 1, 2, 4, 8, 16, 32 or 64, and 16 in version 2");
	shape->cluster_bits = (unsigned)cluster;
	shape->refcount_order = (unsigned)refcount;
	if (args->compression && strcmp(args->compression, "zlib") && strcmp(args->compression, "zstd"))
		return complain(EXIT_USAGE, "--compression must be zlib or zstd");
	if (args->compression && !strcmp(args->compression, "zstd"))
		shape->compression = QCOW2_ZSTD;
	if (shape->compression && shape->version == 2)
		return complain(EXIT_USAGE, "version 2 knows no zstd; leave out --version 2");
	return 0;
}

/* ---- making ---- */

/* A new image, closed again. Whatever was in the way is only replaced with --force. */
static int make(const char *path, enum disk_format format, uint64_t size, const struct arguments *args,
		struct qcow2_create_options *shape)
{
	const struct host_file_options options = {
		.path = path, .writable = true, .create = true, .exclusive = !args->force};
	struct disk_file *file;
	char why[512];
	int r = host_file_open(&options, &file, why, sizeof(why));

	if (r < 0)
		return complain(EXIT_FAILED, "%s", why);
	shape->size = size;
	if (format == DISK_FORMAT_QCOW2) {
		r = qcow2_create(file, shape, why, sizeof(why));
	} else {
		r = file->ops->resize(file, size);
		snprintf(why, sizeof(why), "it can't be made %llu bytes large (%s)", (unsigned long long)size, strerror(-r));
	}
	file->ops->close(file);
	if (r < 0 && options.exclusive)
		unlink(path);
	return r < 0 ? complain(EXIT_FAILED, "%s can't be made: %s", path, why) : 0;
}

/* A backing file's size; its format, if it was not told, is what its name says. */
static int examine_backing(const struct arguments *args, struct qcow2_create_options *shape, uint64_t *size)
{
	const char *slash = strrchr(args->words[0], '/');
	struct disk_image_options options = {.backing_dir = args->backing_dir, .unlocked = true};
	struct disk_image *image;
	char why[512], *path;
	int r = find_format(args->backing_format, &options.format);

	if (r)
		return r;
	/* As whoever opens the new image will look for it. */
	if (args->backing[0] == '/' || !slash)
		path = strdup(args->backing);
	else if (asprintf(&path, "%.*s/%s", (int)(slash - args->words[0]), args->words[0], args->backing) < 0)
		path = NULL;
	if (!path)
		return complain(EXIT_FAILED, "out of memory; free some");
	options.path = path;
	r = disk_image_open(&options, &image, why, sizeof(why));
	if (r == 0) {
		*size = image->size;
		shape->backing_format = image->qcow2 ? "qcow2" : "raw";
		shape->backing = args->backing;
		r = disk_image_close(image);
	}
	free(path);
	return r < 0 ? complain(EXIT_FAILED, "%s", why) : 0;
}

static int create(const struct arguments *args)
{
	struct qcow2_create_options shape = {0};
	enum disk_format format;
	uint64_t size = 0;
	int r = find_format(args->format, &format);

	if (!r)
		r = fill_shape(args, &shape);
	if (r)
		return r;
	if (args->word_count < (args->backing ? 1 : 2))
		return complain(EXIT_USAGE, "write ruse disk create PATH SIZE; only with --backing the size may be left out");
	format = format_of_new(args->words[0], format);
	if (args->backing && format != DISK_FORMAT_QCOW2)
		return complain(EXIT_USAGE, "a raw image has no backing file; choose --format qcow2");
	if (args->backing)
		r = examine_backing(args, &shape, &size);
	if (r)
		return r;
	size = (size + 511) / 512 * 512;
	if (args->word_count == 2 && (!parse_size(args->words[1], &size) || size % 512))
		return complain(EXIT_USAGE, "%s is no size: write for instance 10G, a multiple of 512", args->words[1]);
	return make(args->words[0], format, size, args, &shape);
}

/* ---- opening what there is ---- */

static int open_words(const struct arguments *args, const struct disk_image_options *base, struct disk_image **image)
{
	struct disk_image_options options = *base;
	char why[512];
	int r;

	if (args->word_count < 1)
		return complain(EXIT_USAGE, "write which image; see ruse disk --help");
	r = find_format(args->format, &options.format);
	if (r)
		return r;
	options.path = args->words[0];
	options.backing_dir = args->backing_dir;
	r = disk_image_open(&options, image, why, sizeof(why));
	return r < 0 ? complain(EXIT_FAILED, "%s", why) : 0;
}

static int close_image(struct disk_image *image, int status)
{
	int r = disk_image_close(image);

	return r < 0 && !status ? complain(EXIT_FAILED, "what was written last can't be kept (%s): check the host's disk", strerror(-r)) : status;
}

static uint64_t room_taken(const struct disk_image *image)
{
	struct stat st;

	return fstat(host_file_buffered_fd(image->file), &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static json_t *describe(const struct disk_image *image)
{
	json_t *object = json_pack("{s:s, s:s, s:I}", "path", image->path, "format", image->qcow2 ? "qcow2" : "raw", "size",
				   (json_int_t)image->size);
	struct qcow2_info info;

	/* A server of NBD's doesn't say. */
	if (!nbd_client_is_uri(image->path))
		json_object_set_new(object, "used", json_integer((json_int_t)room_taken(image)));
	if (!image->qcow2)
		return object;
	qcow2_describe(image->qcow2, &info);
	json_object_set_new(object, "version", json_integer(info.version));
	json_object_set_new(object, "cluster_size", json_integer((json_int_t)info.cluster_size));
	json_object_set_new(object, "refcount_bits", json_integer(info.refcount_bits));
	json_object_set_new(object, "compression", json_string(info.compression));
	json_object_set_new(object, "snapshots", json_integer(info.snapshots));
	json_object_set_new(object, "dirty", json_boolean(info.dirty));
	json_object_set_new(object, "corrupt", json_boolean(info.corrupt));
	if (info.backing)
		json_object_set_new(object, "backing", json_string(info.backing));
	if (info.backing_format)
		json_object_set_new(object, "backing_format", json_string(info.backing_format));
	return object;
}

static void print_text(const json_t *object)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, key, value) {
		if (json_is_string(value)) {
			/* What stands in an image may be anything: nothing for a terminal to obey. */
			printf("%-15s", key);
			for (const char *p = json_string_value(value); *p; p++)
				putchar((unsigned char)*p < ' ' || *p == 127 ? '?' : *p);
			putchar('\n');
		} else if (json_is_integer(value)) {
			printf("%-15s%lld\n", key, (long long)json_integer_value(value));
		} else {
			printf("%-15s%s\n", key, json_is_true(value) ? "yes" : "no");
		}
	}
}

static void print_object(json_t *object, bool json)
{
	if (json) {
		json_dumpf(object, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_text(object);
	}
	json_decref(object);
}

static int info(const struct arguments *args)
{
	struct disk_image *image;
	int status = open_words(args, &(struct disk_image_options){.no_backing = true, .check = true, .unlocked = true, .nbd = true}, &image);

	if (status)
		return status;
	print_object(describe(image), args->json);
	return close_image(image, 0);
}

/* ---- changing ---- */

static int resize(const struct arguments *args)
{
	const bool more = args->word_count == 2 && args->words[1][0] == '+';
	struct disk_image *image;
	char why[512];
	uint64_t size;
	int r = 0, status;

	if (args->word_count != 2 || !parse_size(args->words[1] + more, &size))
		return complain(EXIT_USAGE, "write ruse disk resize PATH SIZE, for instance 20G or +10G");
	status = open_words(args, &(struct disk_image_options){.writable = true}, &image);
	if (status)
		return status;
	if (more && size > INT64_MAX - image->size)
		status = complain(EXIT_USAGE, "%s more than %llu bytes are too many", args->words[1], (unsigned long long)image->size);
	size += more ? image->size : 0;
	if (!status && image->qcow2) {
		r = qcow2_resize(image->qcow2, size, args->shrink, why, sizeof(why));
	} else if (!status && size < image->size && !args->shrink) {
		snprintf(why, sizeof(why), "it would lose what lies behind the new end: say --shrink if that is meant");
		r = -EINVAL;
	} else if (!status) {
		r = size % 512 ? -EINVAL : image->file->ops->resize(image->file, size);
		snprintf(why, sizeof(why), "it can't be made %llu bytes large (%s)", (unsigned long long)size, strerror(-r));
	}
	if (r < 0)
		status = complain(EXIT_FAILED, "%s keeps its size: %s", args->words[0], why);
	return close_image(image, status);
}

static int convert_to(const struct arguments *args, struct disk_image *from)
{
	struct qcow2_create_options shape = {0};
	struct disk_image_options options = {.path = args->words[1], .writable = true};
	struct disk_image *to;
	struct stat st;
	char why[512];
	const uint64_t size = (from->size + 511) / 512 * 512;
	int r = find_format(args->to_format, &options.format), status;

	if (!r)
		r = fill_shape(args, &shape);
	if (r)
		return r;
	options.format = format_of_new(args->words[1], options.format);
	if (args->compress && options.format != DISK_FORMAT_QCOW2)
		return complain(EXIT_USAGE, "a raw image can't be compressed; choose --to qcow2");
	/* A block device is there already. */
	if (stat(args->words[1], &st) < 0 || !S_ISBLK(st.st_mode)) {
		status = make(args->words[1], options.format, size, args, &shape);
		if (status)
			return status;
	}
	r = disk_image_open(&options, &to, why, sizeof(why));
	if (r < 0)
		return complain(EXIT_FAILED, "%s", why);
	r = to->size < from->size ? -ENOSPC : disk_copy(from, to, args->compress);
	status = r < 0 ? complain(EXIT_FAILED, "%s can't be copied to %s (%s)", args->words[0], args->words[1], strerror(-r)) : 0;
	return close_image(to, status);
}

static int convert(const struct arguments *args)
{
	struct disk_image *from;
	int status;

	if (args->word_count != 2)
		return complain(EXIT_USAGE, "write ruse disk convert FROM TO");
	status = open_words(args, &(struct disk_image_options){.nbd = true}, &from);
	return status ? status : close_image(from, convert_to(args, from));
}

static int commit(const struct arguments *args)
{
	struct disk_image *image;
	char why[512];
	int status = open_words(args, &(struct disk_image_options){.writable = true, .backing_writable = true}, &image);

	if (status)
		return status;
	if (disk_commit(image, why, sizeof(why)) < 0)
		status = complain(EXIT_FAILED, "%s", why);
	return close_image(image, status);
}

/* ---- checking ---- */

static void say(void *ctx, const char *text)
{
	fprintf(stderr, "%s\n", text);
}

static int check_once(const struct arguments *args, enum qcow2_repair repair, bool loud, struct qcow2_check_result *result)
{
	struct disk_image *image;
	int r = 0, status;

	*result = (struct qcow2_check_result){.say = loud ? say : NULL};
	status = open_words(args,
			    &(struct disk_image_options){.writable = repair != QCOW2_REPAIR_NONE, .no_backing = true, .check = true}, &image);
	if (status)
		return status;
	if (!image->qcow2)
		status = complain(EXIT_FAILED, "%s is raw: there is nothing in it that could be checked", args->words[0]);
	else if ((r = qcow2_check(image->qcow2, repair, result)) < 0)
		status = complain(EXIT_FAILED, "%s can't be checked (%s)", args->words[0], strerror(-r));
	return close_image(image, status);
}

static int check(const struct arguments *args)
{
	enum qcow2_repair repair = QCOW2_REPAIR_NONE;
	struct qcow2_check_result before, after;
	int status;

	if (args->repair && strcmp(args->repair, "leaks") && strcmp(args->repair, "all"))
		return complain(EXIT_USAGE, "--repair takes leaks or all");
	if (args->repair)
		repair = !strcmp(args->repair, "all") ? QCOW2_REPAIR_ALL : QCOW2_REPAIR_LEAKS;
	status = check_once(args, repair, true, &before);
	if (status)
		return status;
	after = before;
	if (repair != QCOW2_REPAIR_NONE && (before.corruptions || before.leaks)) {
		/* What it is now, not what it was meant to become. */
		status = check_once(args, QCOW2_REPAIR_NONE, false, &after);
		if (status)
			return status;
	}
	print_object(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "corruptions", (json_int_t)after.corruptions, "leaks",
			       (json_int_t)after.leaks, "corruptions_fixed", (json_int_t)(before.corruptions - after.corruptions),
			       "leaks_fixed", (json_int_t)(before.leaks - after.leaks), "clusters", (json_int_t)after.clusters, "compressed",
			       (json_int_t)after.compressed, "end", (json_int_t)after.end),
		     args->json);
	return after.corruptions ? EXIT_FAILED : after.leaks ? EXIT_LEAKS : 0;
}

static const struct {
	const char *name;
	int (*run)(const struct arguments *args);
} subcommands[] = {
	{"create", create}, {"info", info}, {"resize", resize}, {"convert", convert}, {"check", check}, {"commit", commit},
};

int cmd_disk(int argc, char **argv, uint64_t start_ns)
{
	struct arguments args = {0};
	int status;

	if (argc && (!strcmp(argv[argc - 1], "--help") || !strcmp(argv[argc - 1], "-h"))) {
		fputs(usage, stdout);
		return 0;
	}
	if (!argc) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++) {
		if (strcmp(subcommands[i].name, argv[0]))
			continue;
		status = parse(argv[0], argc - 1, argv + 1, &args);
		return status ? status : subcommands[i].run(&args);
	}
	return complain(EXIT_USAGE, "disk does not know '%s'; it does create, info, resize, convert, check and commit", argv[0]);
}
