/* qcow2 images, versions 2 and 3, read and written.
 *
 * Example:
 *     r = qcow2_open(file, &q, why, sizeof(why));
 *     r = qcow2_read(q, offset, span, len);
 *     r = qcow2_flush(q);               // what was written before is on the medium now
 *     qcow2_close(q);                   // flushes; file stays the caller's
 *
 * Threads: all calls are one thread's, but for qcow2_map() with `cached`, which any other may make meanwhile.
 *
 * Order of writes, so that a file is consistent whenever the process or the power goes: what is new (data, refcounts that grow,
 * L2 tables that nothing refers to yet) is on the medium before what refers to it, and what is no longer referred to is given free
 * only after the reference is gone from the medium. What can be lost is room in the file (leaks), which `ruse disk check -r leaks`
 * finds. Tables are changed in memory, and written when the guest flushes or the cache is full.
 */
#ifndef DISK_QCOW2_H
#define DISK_QCOW2_H

#include "disk/file.h"

struct qcow2;

enum qcow2_compression { QCOW2_ZLIB = 0, QCOW2_ZSTD = 1 }; /* as in the header */

struct qcow2_options {
	/* Reads what lies under the image, `len` bytes; zeroes where there is nothing. NULL: there is none. */
	int (*read_backing)(void *ctx, uint64_t offset, struct span span, uint64_t len);
	void *backing_ctx;
	uint64_t cache_bytes; /* of L2 tables; 0: 32 MiB */
	bool discard;         /* give room that is freed back to the host */
	bool check;           /* open it even if it is damaged, for qcow2_check() */
};

enum qcow2_kind { QCOW2_KIND_BACKING, QCOW2_KIND_ZERO, QCOW2_KIND_DATA, QCOW2_KIND_COMPRESSED };

struct qcow2_extent {
	enum qcow2_kind kind;
	bool in_place;  /* DATA: may be written where it is */
	uint64_t host;  /* DATA: where in the file */
	uint64_t len;
	uint64_t entry; /* the first one's, as in the L2 table */
};

struct qcow2_info {
	unsigned version;
	uint64_t size, cluster_size;
	unsigned refcount_bits;
	unsigned snapshots;
	bool dirty, corrupt;
	const char *compression;
	const char *backing, *backing_format; /* or NULL */
};

/* The first bytes of a file: is it one? */
bool qcow2_recognise(const uint8_t *bytes, size_t len);

int qcow2_open(struct disk_file *file, const struct qcow2_options *options, struct qcow2 **out, char *why, size_t why_size) must_check;
void qcow2_describe(const struct qcow2 *q, struct qcow2_info *info);
void qcow2_set_backing(struct qcow2 *q, int (*read)(void *ctx, uint64_t offset, struct span span, uint64_t len), void *ctx);
/* Flushes, and frees. The result is that of the flush. */
int qcow2_close(struct qcow2 *q);

int qcow2_read(struct qcow2 *q, uint64_t offset, struct span span, uint64_t len) must_check;
int qcow2_write(struct qcow2 *q, uint64_t offset, struct span span, uint64_t len) must_check;
int qcow2_zero(struct qcow2 *q, uint64_t offset, uint64_t len, bool unmap) must_check;
int qcow2_discard(struct qcow2 *q, uint64_t offset, uint64_t len) must_check;
int qcow2_flush(struct qcow2 *q) must_check;
/* One whole cluster of the image (or its end), compressed if that makes it smaller. Meant for images that are being made. */
int qcow2_write_compressed(struct qcow2 *q, uint64_t offset, const void *data, uint64_t len) must_check;
/* Everything shows what lies under it again. */
int qcow2_empty(struct qcow2 *q) must_check;

/* What is at offset, in one piece, at most len bytes. With `cached` -EAGAIN when that takes reading a table. */
int qcow2_map(struct qcow2 *q, uint64_t offset, uint64_t len, bool cached, struct qcow2_extent *extent) must_check;
/* Are there changes that only memory knows? Any thread. */
bool qcow2_needs_flush(const struct qcow2 *q);

/* For users of qcow2_map() on other threads: clusters are given free only when whoever might have found them there is done.
 * begin() starts such a period, done() says whether it has passed; calls alternate. */
struct qcow2_grace {
	void (*begin)(void *ctx);
	bool (*done)(void *ctx);
	void *ctx;
};
void qcow2_set_grace(struct qcow2 *q, const struct qcow2_grace *grace);

/* ---- making, checking, changing ---- */

struct qcow2_create_options {
	uint64_t size;
	unsigned version;       /* 2 or 3 */
	unsigned cluster_bits;
	unsigned refcount_order;
	unsigned compression;   /* enum qcow2_compression */
	const char *backing, *backing_format; /* or NULL */
};

/* Into an empty file. 0, or -errno with one sentence in why. */
int qcow2_create(struct disk_file *file, const struct qcow2_create_options *options, char *why, size_t why_size) must_check;
/* Smaller only if `shrink`: what lies behind is gone. */
int qcow2_resize(struct qcow2 *q, uint64_t size, bool shrink, char *why, size_t why_size) must_check;

enum qcow2_repair { QCOW2_REPAIR_NONE, QCOW2_REPAIR_LEAKS, QCOW2_REPAIR_ALL };

struct qcow2_check_result {
	uint64_t corruptions, leaks;             /* found */
	uint64_t corruptions_fixed, leaks_fixed;
	uint64_t clusters, compressed;           /* of data */
	uint64_t end;                            /* of what is in use in the file */
	/* Each finding, one sentence; may be NULL. */
	void (*say)(void *ctx, const char *text);
	void *ctx;
};

/* 0, or -errno when the check itself could not be made. The image was opened with `check`. */
int qcow2_check(struct qcow2 *q, enum qcow2_repair repair, struct qcow2_check_result *result) must_check;

#endif
