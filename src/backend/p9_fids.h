/* The fids of a 9P session: the guest's numbers for files, opened or not. A fid is a path beneath the shared directory (p9_files.h) and,
 * once opened, a descriptor. There are at most so many, with so many bytes of paths in all, and so many are open.
 *
 * Example: `fid = p9_fids_find(&fids, 7);  path = fid->path;`
 */
#ifndef BACKEND_P9_FIDS_H
#define BACKEND_P9_FIDS_H

#include "base/types.h"

#define P9_MAX_FIDS       65536u
#define P9_MAX_PATH_BYTES MIB(16)
#define P9_FID_BUCKETS    4096u

struct p9_fid {
	struct p9_fid *next;
	uint32_t number;
	int fd;        /* -1: not open */
	bool lost;     /* its path became too long: it can only be forgotten */
	char *path;
};

struct p9_fids {
	struct p9_fid **buckets; /* P9_FID_BUCKETS of them */
	unsigned count, open, max_open;
	size_t path_bytes;
};

int p9_fids_start(struct p9_fids *fids, unsigned max_open) must_check; /* 0 or -ENOMEM */
void p9_fids_end(struct p9_fids *fids);
/* All are forgotten, what is open is closed. */
void p9_fids_clear(struct p9_fids *fids);

/* NULL: there is none. */
struct p9_fid *p9_fids_find(struct p9_fids *fids, uint32_t number);
/* A fid that isn't there yet. The path is copied. 0; -EEXIST; -ENFILE: there are too many; -ENOMEM. */
int p9_fids_add(struct p9_fids *fids, uint32_t number, const char *path, struct p9_fid **out) must_check;
void p9_fids_remove(struct p9_fids *fids, struct p9_fid *fid);
/* Its path is another one. 0, -ENFILE, -ENOMEM. */
int p9_fids_set_path(struct p9_fids *fids, struct p9_fid *fid, const char *path) must_check;
/* Is there room for another open one? */
bool p9_fids_may_open(const struct p9_fids *fids);
/* The fid has this descriptor from now on. */
void p9_fids_opened(struct p9_fids *fids, struct p9_fid *fid, int fd);
/* A file or directory is called otherwise now: so are those of the fids that were it or below it. */
void p9_fids_renamed(struct p9_fids *fids, const char *from, const char *to);

#endif
