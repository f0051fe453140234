/* A disk image with all that lies under it: the one that is opened, its backing file, that one's, ...
 *
 * Example:
 *     struct disk_image_options options = {.path = "disk.qcow2", .writable = true};
 *     r = disk_image_open(&options, &image, why, sizeof(why));
 *     r = disk_image_read(image, offset, span, len);
 *     disk_image_close(image);
 *
 * What a guest can write decides nothing here: a raw image whose first bytes look like another format's is not taken for one, and
 * the name of a backing file, which comes from inside an image, opens only a file beside it or in a directory that was named.
 */
#ifndef DISK_IMAGE_H
#define DISK_IMAGE_H

#include "disk/qcow2.h"

#define DISK_MAX_LAYERS 16

enum disk_format { DISK_FORMAT_AUTO, DISK_FORMAT_RAW, DISK_FORMAT_QCOW2 };

struct disk_image_options {
	const char *path;
	enum disk_format format;     /* AUTO: qcow2 if the name says so (.qcow2), else raw */
	const char *backing_dir;     /* or NULL: backing files may lie in it too, or below it */
	bool writable;
	bool direct, unsafe;         /* struct host_file_options */
	bool discard;
	bool check;                  /* of a damaged image; without its backing files */
	bool no_backing;             /* the image alone */
	bool backing_writable;       /* what lies directly under it too, for disk_commit() */
	bool unlocked;
	bool nbd;                    /* path may be the URI of an NBD export (nbd_client.h), which is raw and only read */
	bool together;               /* struct host_file_options */
	/* Or NULL: the files, opened by somebody who has checked where they lie, the top first; each that is used becomes -1. */
	int *files;
	unsigned file_count;
};

struct disk_image {
	struct disk_file *file;
	struct qcow2 *qcow2;         /* NULL: raw */
	struct disk_image *backing;  /* or NULL */
	uint64_t size;               /* bytes, a multiple of 512; of a raw backing file as it is */
	unsigned layer;              /* 0: the top */
	char *path;
};

int disk_image_open(const struct disk_image_options *options, struct disk_image **image, char *why, size_t why_size) must_check;
/* 0, or what the last flush said. NULL is allowed. */
int disk_image_close(struct disk_image *image);

int disk_image_read(struct disk_image *image, uint64_t offset, struct span span, uint64_t len) must_check;
int disk_image_write(struct disk_image *image, uint64_t offset, struct span span, uint64_t len) must_check;
int disk_image_zero(struct disk_image *image, uint64_t offset, uint64_t len, bool unmap) must_check;
int disk_image_discard(struct disk_image *image, uint64_t offset, uint64_t len) must_check;
int disk_image_flush(struct disk_image *image) must_check;

/* Where a piece of the disk lies, through all layers. */
struct disk_extent {
	enum { DISK_ZERO, DISK_DATA, DISK_ELSEWHERE } kind; /* ELSEWHERE: only disk_image_read() gets at it */
	bool in_place;    /* DATA of the top layer: may be written where it is */
	unsigned layer;   /* DATA: in which file, */
	uint64_t host;    /* where in it */
	uint64_t len;
};

/* `cached`: from any thread, as with qcow2_map(). */
int disk_image_map(struct disk_image *image, uint64_t offset, uint64_t len, bool cached, struct disk_extent *extent) must_check;

/* "raw" or "qcow2"; or DISK_FORMAT_AUTO, which is no name. */
enum disk_format disk_format_find(const char *name);

#endif
