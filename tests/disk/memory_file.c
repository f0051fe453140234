/* See memory_file.h. */
#include "memory_file.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512u
#define LIMIT  (64u << 20)

struct write {
	uint64_t offset, len;
	uint8_t *bytes;
};

struct memory_file {
	struct disk_file file;
	uint8_t *now, *durable;
	uint64_t durable_size, capacity, limit;
	struct write *writes; /* since the last sync */
	size_t count, room;
	unsigned fail;
	uint64_t seed;
};

static struct memory_file *memory_of(const struct disk_file *file)
{
	return container_of((struct disk_file *)(uintptr_t)file, struct memory_file, file);
}

uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * 2685821657736338717u;
}

static bool fails(struct memory_file *memory)
{
	return memory->fail && random_next(&memory->seed) >> 32 & 255 && (random_next(&memory->seed) >> 20 & 255) < memory->fail;
}

static int reserve(struct memory_file *memory, uint64_t size)
{
	uint64_t capacity = memory->capacity ? memory->capacity : 65536;

	if (size > memory->limit)
		return -ENOSPC;
	while (capacity < size)
		capacity *= 2;
	if (capacity == memory->capacity)
		return 0;
	memory->now = realloc(memory->now, capacity);
	memory->durable = realloc(memory->durable, capacity);
	if (!memory->now || !memory->durable)
		abort();
	memset(memory->now + memory->capacity, 0, capacity - memory->capacity);
	memset(memory->durable + memory->capacity, 0, capacity - memory->capacity);
	memory->capacity = capacity;
	return 0;
}

static int64_t memory_readv(struct disk_file *file, uint64_t offset, const struct iovec *iov, unsigned count)
{
	struct memory_file *memory = memory_of(file);
	uint64_t done = 0;

	if (fails(memory))
		return -EIO;
	for (unsigned i = 0; i < count && offset < file->size; i++) {
		uint64_t len = iov[i].iov_len < file->size - offset ? iov[i].iov_len : file->size - offset;

		memcpy(iov[i].iov_base, memory->now + offset, len);
		offset += len;
		done += len;
	}
	return (int64_t)done;
}

static void note(struct memory_file *memory, uint64_t offset, uint64_t len)
{
	struct write *write;

	if (memory->count == memory->room) {
		memory->room = memory->room ? memory->room * 2 : 64;
		memory->writes = realloc(memory->writes, memory->room * sizeof(*memory->writes));
		if (!memory->writes)
			abort();
	}
	write = &memory->writes[memory->count++];
	*write = (struct write){offset, len, malloc(len)};
	if (!write->bytes)
		abort();
	memcpy(write->bytes, memory->now + offset, len);
}

static int64_t memory_writev(struct disk_file *file, uint64_t offset, const struct iovec *iov, unsigned count)
{
	struct memory_file *memory = memory_of(file);
	uint64_t done = 0;

	if (fails(memory))
		return -EIO;
	for (unsigned i = 0; i < count; i++) {
		int r = reserve(memory, offset + iov[i].iov_len);

		if (r < 0 && done)
			note(memory, offset - done, done);
		if (r < 0)
			return done ? (int64_t)done : r;
		memcpy(memory->now + offset, iov[i].iov_base, iov[i].iov_len);
		offset += iov[i].iov_len;
		done += iov[i].iov_len;
		if (offset > file->size)
			file->size = offset;
	}
	note(memory, offset - done, done);
	return (int64_t)done;
}

static void forget_writes(struct memory_file *memory)
{
	while (memory->count)
		free(memory->writes[--memory->count].bytes);
}

static int memory_sync(struct disk_file *file)
{
	struct memory_file *memory = memory_of(file);

	if (fails(memory))
		return -EIO;
	for (size_t i = 0; i < memory->count; i++)
		memcpy(memory->durable + memory->writes[i].offset, memory->writes[i].bytes, memory->writes[i].len);
	memory->durable_size = file->size;
	forget_writes(memory);
	return 0;
}

static int memory_zero(struct disk_file *file, uint64_t offset, uint64_t len, bool punch)
{
	struct memory_file *memory = memory_of(file);

	if (offset >= file->size)
		return 0;
	if (len > file->size - offset)
		len = file->size - offset;
	memset(memory->now + offset, 0, len);
	note(memory, offset, len);
	return 0;
}

static int memory_resize(struct disk_file *file, uint64_t size)
{
	int r = reserve(memory_of(file), size);

	if (r == 0)
		file->size = size;
	return r;
}

static void memory_close(struct disk_file *file)
{
	struct memory_file *memory = memory_of(file);

	forget_writes(memory);
	free(memory->writes);
	free(memory->now);
	free(memory->durable);
	free(memory);
}

static const struct disk_file_ops memory_ops = {
	.readv = memory_readv,
	.writev = memory_writev,
	.sync = memory_sync,
	.zero = memory_zero,
	.resize = memory_resize,
	.close = memory_close,
};

struct disk_file *memory_file_create(void)
{
	struct memory_file *memory = calloc(1, sizeof(*memory));

	if (!memory)
		abort();
	memory->file.ops = &memory_ops;
	memory->file.writable = true;
	memory->limit = LIMIT;
	memory->seed = 88172645463325252u;
	return &memory->file;
}

struct disk_file *memory_file_from(const void *bytes, size_t len)
{
	struct disk_file *file = memory_file_create();
	struct memory_file *memory = memory_of(file);

	if (reserve(memory, len) < 0)
		abort();
	if (len) {
		memcpy(memory->now, bytes, len);
		memcpy(memory->durable, bytes, len);
	}
	file->size = memory->durable_size = len;
	return file;
}

struct disk_file *memory_file_copy(const struct disk_file *file)
{
	return memory_file_from(memory_of(file)->now, file->size);
}

struct disk_file *memory_file_crash(const struct disk_file *file, uint64_t *seed)
{
	const struct memory_file *memory = memory_of(file);
	struct disk_file *after = memory_file_from(memory->durable, memory->durable_size);
	unsigned kept = (unsigned)(random_next(seed) >> 33) % 257; /* of 256 sectors */

	for (size_t i = 0; i < memory->count; i++) {
		const struct write *write = &memory->writes[i];

		for (uint64_t at = 0; at < write->len;) {
			uint64_t n = SECTOR - (write->offset + at) % SECTOR;

			if (n > write->len - at)
				n = write->len - at;
			if ((random_next(seed) >> 33) % 256 < kept && reserve(memory_of(after), write->offset + at + n) == 0) {
				memcpy(memory_of(after)->now + write->offset + at, write->bytes + at, n);
				if (write->offset + at + n > after->size)
					after->size = write->offset + at + n;
			}
			at += n;
		}
	}
	return after;
}

const uint8_t *memory_file_bytes(const struct disk_file *file)
{
	return memory_of(file)->now;
}

void memory_file_fail(struct disk_file *file, unsigned probability)
{
	memory_of(file)->fail = probability;
}

void memory_file_limit(struct disk_file *file, uint64_t limit)
{
	memory_of(file)->limit = limit;
}
