/* The table of fids; see p9_fids.h. */
#include "backend/p9_fids.h"
#include "backend/p9_files.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct p9_fid **bucket_of(struct p9_fids *fids, uint32_t number)
{
	return &fids->buckets[number * 0x9e3779b1u >> 20];
}
_Static_assert(P9_FID_BUCKETS == 1u << 12, "what bucket_of() leaves");

int p9_fids_start(struct p9_fids *fids, unsigned max_open)
{
	*fids = (struct p9_fids){.max_open = max_open};
	fids->buckets = calloc(P9_FID_BUCKETS, sizeof(*fids->buckets));
	return fids->buckets ? 0 : -ENOMEM;
}

void p9_fids_end(struct p9_fids *fids)
{
	if (fids->buckets)
		p9_fids_clear(fids);
	free(fids->buckets);
	fids->buckets = NULL;
}

void p9_fids_clear(struct p9_fids *fids)
{
	for (unsigned i = 0; i < P9_FID_BUCKETS; i++)
		while (fids->buckets[i])
			p9_fids_remove(fids, fids->buckets[i]);
}

struct p9_fid *p9_fids_find(struct p9_fids *fids, uint32_t number)
{
	struct p9_fid *fid = *bucket_of(fids, number);

	while (fid && fid->number != number)
		fid = fid->next;
	return fid;
}

int p9_fids_set_path(struct p9_fids *fids, struct p9_fid *fid, const char *path)
{
	size_t len = strlen(path), before = fid->path ? strlen(fid->path) : 0;
	char *copy;

	if (fids->path_bytes - before + len > P9_MAX_PATH_BYTES)
		return -ENFILE;
	copy = malloc(len + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, path, len + 1);
	free(fid->path);
	fid->path = copy;
	fids->path_bytes += len - before;
	return 0;
}

int p9_fids_add(struct p9_fids *fids, uint32_t number, const char *path, struct p9_fid **out)
{
	struct p9_fid **bucket = bucket_of(fids, number), *fid;
	int r;

	if (p9_fids_find(fids, number))
		return -EEXIST;
	if (fids->count >= P9_MAX_FIDS)
		return -ENFILE;
	fid = calloc(1, sizeof(*fid));
	if (!fid)
		return -ENOMEM;
	fid->number = number;
	fid->fd = -1;
	r = p9_fids_set_path(fids, fid, path);
	if (r < 0) {
		free(fid);
		return r;
	}
	fid->next = *bucket;
	*bucket = fid;
	fids->count++;
	*out = fid;
	return 0;
}

void p9_fids_remove(struct p9_fids *fids, struct p9_fid *fid)
{
	struct p9_fid **link = bucket_of(fids, fid->number);

	while (*link != fid)
		link = &(*link)->next;
	*link = fid->next;
	fids->count--;
	fids->path_bytes -= strlen(fid->path);
	if (fid->fd >= 0) {
		close(fid->fd);
		fids->open--;
	}
	free(fid->path);
	free(fid);
}

bool p9_fids_may_open(const struct p9_fids *fids)
{
	return fids->open < fids->max_open;
}

void p9_fids_opened(struct p9_fids *fids, struct p9_fid *fid, int fd)
{
	fid->fd = fd;
	fids->open++;
}

static void rename_fid(struct p9_fids *fids, struct p9_fid *fid, size_t from_len, const char *to)
{
	const char *rest = fid->path + from_len;
	size_t to_len = strlen(to), rest_len = strlen(rest);
	char path[P9_PATH_MAX + 1];

	if (to_len + rest_len > P9_PATH_MAX) {
		fid->lost = true;
		return;
	}
	memcpy(path, to, to_len);
	memcpy(path + to_len, rest, rest_len + 1);
	if (p9_fids_set_path(fids, fid, path) < 0)
		fid->lost = true;
}

void p9_fids_renamed(struct p9_fids *fids, const char *from, const char *to)
{
	size_t len = strlen(from);

	for (unsigned i = 0; i < P9_FID_BUCKETS; i++)
		for (struct p9_fid *fid = fids->buckets[i]; fid; fid = fid->next)
			if (!strncmp(fid->path, from, len) && (fid->path[len] == 0 || fid->path[len] == '/'))
				rename_fid(fids, fid, len, to);
}
