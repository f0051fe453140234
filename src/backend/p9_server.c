/* The messages of 9P2000.L; see p9_server.h. The protocol has no manual of its own: this follows Linux's Documentation/filesystems/9p.rst,
 * include/net/9p/9p.h and the client in net/9p/client.c, and diod's protocol.md.
 *
 * Example: `len = p9_server_serve(server, out, out_count, in, in_count);`
 *
 * A message is copied before it is looked at, but for the data of Twrite and Rread, which go between file and guest directly. A handler reads
 * its fields, checks that they were all there, does the work, and writes the fields of the answer; or returns -errno, and the answer
 * is Rlerror.
 */
#include "backend/p9_server.h"
#include "backend/p9_fids.h"
#include "backend/p9_files.h"
#include "backend/p9_message.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEADER       7u     /* size[4] type[1] tag[2] */
#define COPIED_MAX   8192u  /* of a message: the longest is Twalk with sixteen names, or Tsymlink */
#define MSIZE_MIN    4096u
#define MSIZE_MAX    (512u << 10)
#define ANSWER_MAX   (64u << 10) /* of those that are put together here: Rreaddir's is the longest */
#define DENTS_SIZE   (32u << 10)
#define WALK_MAX     16u
#define WRITE_HEADER (HEADER + 16u)
#define READ_HEADER  (HEADER + 4u)
#define MAX_IOV      256u
#define NO_FID       UINT32_MAX

/* Types of requests; the answer is one more. */
enum {
	TLERROR = 6,
	TSTATFS = 8,
	TLOPEN = 12,
	TLCREATE = 14,
	TSYMLINK = 16,
	TMKNOD = 18,
	TRENAME = 20,
	TREADLINK = 22,
	TGETATTR = 24,
	TSETATTR = 26,
	TXATTRWALK = 30,
	TXATTRCREATE = 32,
	TREADDIR = 40,
	TFSYNC = 50,
	TLOCK = 52,
	TGETLOCK = 54,
	TLINK = 70,
	TMKDIR = 72,
	TRENAMEAT = 74,
	TUNLINKAT = 76,
	TVERSION = 100,
	TAUTH = 102,
	TATTACH = 104,
	TFLUSH = 108,
	TWALK = 110,
	TREAD = 116,
	TWRITE = 118,
	TCLUNK = 120,
	TREMOVE = 122,
	TYPES,
};

/* Flags of Tlopen and Tlcreate: x86's, whatever the host is. */
#define L_WRONLY    01u
#define L_RDWR      02u
#define L_ACCESS    03u
#define L_EXCL      0200u
#define L_TRUNC     01000u
#define L_APPEND    02000u
#define L_DSYNC     010000u
#define L_DIRECTORY 0200000u
#define L_SYNC      04000000u

#define L_REMOVEDIR 0x200u

/* Tsetattr */
#define ATTR_MODE      0x001u
#define ATTR_UID       0x002u
#define ATTR_GID       0x004u
#define ATTR_SIZE      0x008u
#define ATTR_ATIME     0x010u
#define ATTR_MTIME     0x020u
#define ATTR_ATIME_SET 0x080u
#define ATTR_MTIME_SET 0x100u

#define STATS_BASIC 0x7ffu /* Rgetattr: all but birth time, generation, data version */

#define QID_DIR     0x80u
#define QID_SYMLINK 0x02u

/* Tlock */
#define TYPE_READ      0u
#define TYPE_WRITE     1u
#define TYPE_NONE      2u
#define STATUS_SUCCESS 0u
#define STATUS_BLOCKED 1u

struct p9_server {
	struct p9_files files;
	struct p9_fids fids;
	uint32_t msize; /* 0: no version was agreed on */
	/* Of the message that is served. */
	const struct iobuf *request, *room;
	unsigned request_count, room_count;
	uint64_t request_len, room_len;
	uint8_t copied[COPIED_MAX];
	uint8_t answer[ANSWER_MAX];
	uint8_t dents[DENTS_SIZE] __attribute__((aligned(8)));
};

/* ---- fids and paths ---- */

static int get_fid(struct p9_server *server, uint32_t number, struct p9_fid **out)
{
	*out = p9_fids_find(&server->fids, number);
	if (!*out)
		return -EBADF;
	return (*out)->lost ? -ESTALE : 0;
}

static int get_open_fid(struct p9_server *server, uint32_t number, struct p9_fid **out)
{
	*out = p9_fids_find(&server->fids, number);
	return *out && (*out)->fd >= 0 ? 0 : -EBADF;
}

/* path + "/" + name */
static int join(const char *path, const char *name, char *out)
{
	size_t len = strlen(path), name_len = strlen(name);

	if (len + (len > 0) + name_len > P9_PATH_MAX)
		return -ENAMETOOLONG;
	memmove(out, path, len);
	if (len > 0)
		out[len++] = '/';
	memcpy(out + len, name, name_len + 1);
	return 0;
}

/* The fid's file: its open descriptor, or one that is looked up; *found is to be closed if it isn't -1. */
static int file_of(struct p9_server *server, const struct p9_fid *fid, int *found)
{
	*found = -1;
	if (fid->fd >= 0)
		return fid->fd;
	*found = p9_files_look(&server->files, fid->path);
	return *found;
}

static void close_found(int found)
{
	if (found >= 0)
		close(found);
}

static int may_write(const struct p9_server *server)
{
	return server->files.read_only ? -EROFS : 0;
}

static int get_name(struct p9_in *in, char name[P9_NAME_MAX + 1])
{
	p9_get_string(in, name, P9_NAME_MAX + 1);
	return !in->bad && p9_name_valid(name, strlen(name)) ? 0 : -EINVAL;
}

/* Where a name is to be made, renamed or removed: the fid's directory. The descriptor is to be closed. */
static int directory_of(struct p9_server *server, uint32_t number, struct p9_fid **fid)
{
	int r = get_fid(server, number, fid);
	int fd = r < 0 ? r : p9_files_look(&server->files, (*fid)->path);
	struct stat st;

	if (fd < 0)
		return fd;
	r = fstat(fd, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

static int to_host_flags(uint32_t flags)
{
	int host = (flags & L_ACCESS) == L_RDWR ? O_RDWR : (flags & L_ACCESS) == L_WRONLY ? O_WRONLY : O_RDONLY;

	host |= flags & L_TRUNC ? O_TRUNC : 0;
	host |= flags & L_APPEND ? O_APPEND : 0;
	host |= flags & L_DIRECTORY ? O_DIRECTORY : 0;
	host |= (flags & L_SYNC) == L_SYNC ? O_SYNC : 0;
	host |= flags & L_DSYNC ? O_DSYNC : 0;
	return host;
}

/* ---- fields ---- */

static uint64_t qid_path(const struct p9_server *server, dev_t device, ino_t inode)
{
	/* What is mounted in the directory has numbers of its own. */
	return device == server->files.device ? inode : inode ^ (uint64_t)device * 0x9e3779b97f4a7c15u;
}

static void put_qid(const struct p9_server *server, struct p9_out *out, const struct stat *st)
{
	p9_put8(out, S_ISDIR(st->st_mode) ? QID_DIR : S_ISLNK(st->st_mode) ? QID_SYMLINK : 0);
	p9_put32(out, (uint32_t)st->st_mtim.tv_nsec ^ (uint32_t)st->st_mtim.tv_sec << 8 ^ (uint32_t)st->st_size);
	p9_put64(out, qid_path(server, st->st_dev, st->st_ino));
}

static int put_qid_of(const struct p9_server *server, struct p9_out *out, int directory, const char *name)
{
	struct stat st;

	if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0)
		return -errno;
	put_qid(server, out, &st);
	return 0;
}

/* ---- session ---- */

static int do_version(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	static const char dialect[] = "9P2000.L";
	char version[32];
	uint32_t msize = p9_get32(in);
	bool known;

	p9_get_string(in, version, sizeof(version));
	if (in->bad || msize < MSIZE_MIN)
		return -EINVAL;
	p9_server_end_session(server);
	known = !strcmp(version, dialect);
	msize = msize < MSIZE_MAX ? msize : MSIZE_MAX;
	server->msize = known ? msize : 0;
	p9_put32(out, msize);
	p9_put_string(out, known ? dialect : "unknown", known ? sizeof(dialect) - 1 : 7);
	return 0;
}

static int do_auth(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	return -EOPNOTSUPP;
}

static int do_attach(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	char user[P9_NAME_MAX + 1], tree[P9_NAME_MAX + 1];
	uint32_t number = p9_get32(in), auth = p9_get32(in);
	struct p9_fid *fid;
	int r;

	p9_get_string(in, user, sizeof(user));
	p9_get_string(in, tree, sizeof(tree));
	(void)p9_get32(in); /* n_uname: all are the same to us */
	if (in->bad || auth != NO_FID || number == NO_FID)
		return -EINVAL;
	if (*tree && strcmp(tree, "/"))
		return -ENOENT;
	r = p9_fids_add(&server->fids, number, "", &fid);
	if (r < 0)
		return r;
	r = put_qid_of(server, out, server->files.root, "");
	if (r < 0)
		p9_fids_remove(&server->fids, fid);
	return r;
}

static int do_flush(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	(void)p9_get16(in);
	return in->bad ? -EINVAL : 0;
}

/* ---- walking ---- */

/* One step of a walk. path becomes that of the file called name there; *at, an O_PATH descriptor of the directory path, that of the file. */
static int walk_step(struct p9_server *server, char path[P9_PATH_MAX + 1], int *at, const char *name)
{
	int next, r;

	if (!strcmp(name, "..")) {
		/* Never the kernel's: that of a directory which was moved away leads anywhere. */
		char *slash = strrchr(path, '/');

		*(slash ? slash : path) = 0;
		next = p9_files_look(&server->files, path);
	} else {
		if (!p9_name_valid(name, strlen(name)))
			return -ENOENT;
		next = p9_files_look_in(&server->files, *at, name);
		r = next < 0 ? next : join(path, name, path);
		if (r < 0) {
			close_found(next);
			return r;
		}
	}
	if (next < 0)
		return next;
	close(*at);
	*at = next;
	return 0;
}

/* Does the walk; *walked is how many names there were, with a qid each. */
static int walk(struct p9_server *server, struct p9_in *in, struct p9_out *out, uint16_t count, char path[P9_PATH_MAX + 1],
		uint16_t *walked)
{
	int at = p9_files_look(&server->files, path), r = 0;

	if (at < 0)
		return at;
	for (*walked = 0; *walked < count; ++*walked) {
		char name[P9_NAME_MAX + 1];

		p9_get_string(in, name, sizeof(name));
		r = in->bad ? -EINVAL : walk_step(server, path, &at, name);
		if (r == 0)
			r = put_qid_of(server, out, at, "");
		if (r < 0)
			break;
	}
	close(at);
	return r;
}

static int do_walk(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	uint32_t number = p9_get32(in), new_number = p9_get32(in);
	uint16_t count = p9_get16(in), walked = 0;
	char path[P9_PATH_MAX + 1];
	size_t count_at = out->len;
	struct p9_fid *fid, *copy;
	int r = get_fid(server, number, &fid);

	if (in->bad || count > WALK_MAX || new_number == NO_FID)
		return -EINVAL;
	if (r < 0)
		return r;
	/* Nothing can be opened twice by one fid, so an open one doesn't move. */
	if (new_number == number ? fid->fd >= 0 : p9_fids_find(&server->fids, new_number) != NULL)
		return -EINVAL;
	strcpy(path, fid->path);
	p9_put16(out, 0);
	if (count > 0) {
		r = walk(server, in, out, count, path, &walked);
		if (r < 0 && (walked == 0 || in->bad))
			return in->bad ? -EINVAL : r;
	}
	out->bytes[count_at] = (uint8_t)walked;
	if (walked < count)
		return 0; /* so far and no further: new_number stands for nothing */
	if (new_number != number)
		return p9_fids_add(&server->fids, new_number, path, &copy);
	return p9_fids_set_path(&server->fids, fid, path);
}

static int do_clunk(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *fid = p9_fids_find(&server->fids, p9_get32(in));

	if (in->bad || !fid)
		return in->bad ? -EINVAL : -EBADF;
	p9_fids_remove(&server->fids, fid);
	return 0;
}

/* ---- opening ---- */

static int open_fid(struct p9_server *server, struct p9_fid *fid, int found, uint32_t flags, struct p9_out *out)
{
	int fd = p9_files_open_file(&server->files, found, to_host_flags(flags));
	int r = fd < 0 ? fd : put_qid_of(server, out, fd, "");

	if (r < 0) {
		close_found(fd);
		return r;
	}
	p9_put32(out, 0); /* iounit: what fits a message */
	p9_fids_opened(&server->fids, fid, fd);
	return 0;
}

static int do_lopen(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *fid;
	int found, r = get_fid(server, p9_get32(in), &fid);
	uint32_t flags = p9_get32(in);

	if (in->bad || (flags & L_ACCESS) == L_ACCESS)
		return -EINVAL;
	if (r < 0)
		return r;
	if (fid->fd >= 0)
		return -EBADF;
	if (!p9_fids_may_open(&server->fids))
		return -EMFILE;
	found = p9_files_look(&server->files, fid->path);
	if (found < 0)
		return found;
	r = open_fid(server, fid, found, flags, out);
	close(found);
	return r;
}

/* The fid stands for what was made, and is open. */
static int create_in(struct p9_server *server, struct p9_fid *fid, int directory, const char *name, uint32_t flags, uint32_t mode,
		     struct p9_out *out)
{
	char path[P9_PATH_MAX + 1];
	int found, fd, r = join(fid->path, name, path);

	if (r < 0)
		return r;
	fd = p9_files_create(&server->files, directory, name, to_host_flags(flags), mode & 01777);
	if (fd == -EEXIST && !(flags & L_EXCL)) {
		found = p9_files_look_in(&server->files, directory, name);
		if (found < 0)
			return found;
		fd = p9_files_open_file(&server->files, found, to_host_flags(flags));
		close(found);
	}
	if (fd < 0)
		return fd;
	r = put_qid_of(server, out, fd, "");
	if (r == 0)
		r = p9_fids_set_path(&server->fids, fid, path);
	if (r < 0) {
		close(fd);
		return r;
	}
	p9_put32(out, 0);
	p9_fids_opened(&server->fids, fid, fd);
	return 0;
}

static int do_lcreate(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	uint32_t number = p9_get32(in), flags, mode;
	char name[P9_NAME_MAX + 1];
	int directory, r = get_name(in, name);
	struct p9_fid *fid;

	flags = p9_get32(in);
	mode = p9_get32(in);
	(void)p9_get32(in); /* gid: see p9_server.h */
	if (r < 0 || in->bad || (flags & L_ACCESS) == L_ACCESS)
		return -EINVAL;
	directory = directory_of(server, number, &fid);
	if (directory < 0)
		return directory;
	if (fid->fd >= 0)
		r = -EBADF;
	else if (!p9_fids_may_open(&server->fids))
		r = -EMFILE;
	else
		r = create_in(server, fid, directory, name, flags, mode, out);
	close(directory);
	return r;
}

/* ---- data ---- */

/* The bytes [skip, skip + len) of the buffers; how many pieces, and in *len how many bytes there are. */
static int cut(const struct iobuf *bufs, unsigned count, uint64_t skip, uint32_t *len, struct iovec iov[MAX_IOV])
{
	uint32_t left = *len;
	int n = 0;

	for (unsigned i = 0; i < count && left > 0 && n < (int)MAX_IOV; i++) {
		size_t part;

		if (skip >= bufs[i].len) {
			skip -= bufs[i].len;
			continue;
		}
		part = bufs[i].len - (size_t)skip;
		part = part < left ? part : left;
		iov[n++] = (struct iovec){.iov_base = (uint8_t *)bufs[i].base + skip, .iov_len = part};
		left -= (uint32_t)part;
		skip = 0;
	}
	*len -= left;
	return n;
}

/* The data is behind the fields: put there directly, and counted in out->len without being there. */
static int do_read(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct iovec iov[MAX_IOV];
	struct p9_fid *fid;
	int n, r = get_open_fid(server, p9_get32(in), &fid);
	uint64_t offset = p9_get64(in);
	uint32_t count = p9_get32(in);
	ssize_t got = 0;

	if (in->bad || offset > INT64_MAX)
		return -EINVAL;
	if (r < 0)
		return r;
	if (count > server->msize - READ_HEADER)
		count = server->msize - READ_HEADER;
	n = cut(server->room, server->room_count, READ_HEADER, &count, iov);
	if (n > 0)
		got = preadv(fid->fd, iov, n, (off_t)offset);
	if (got < 0)
		return -errno;
	p9_put32(out, (uint32_t)got);
	return (int)got;
}

static int do_write(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct iovec iov[MAX_IOV];
	struct p9_fid *fid;
	int n, r = get_open_fid(server, p9_get32(in), &fid);
	uint64_t offset = p9_get64(in);
	uint32_t count = p9_get32(in), have = count;
	ssize_t written = 0;

	if (in->bad || offset > INT64_MAX || count > server->msize - WRITE_HEADER || count > server->request_len - WRITE_HEADER)
		return -EINVAL;
	if (r < 0)
		return r;
	n = cut(server->request, server->request_count, WRITE_HEADER, &have, iov);
	if (n > 0)
		written = pwritev(fid->fd, iov, n, (off_t)offset);
	if (written < 0)
		return -errno;
	p9_put32(out, (uint32_t)written);
	return 0;
}

static int do_fsync(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *fid;
	int r = get_open_fid(server, p9_get32(in), &fid);
	/* Older clients leave it out. */
	bool data_only = in->left >= 4 && p9_get32(in);

	if (r < 0)
		return r;
	return (data_only ? fdatasync(fid->fd) : fsync(fid->fd)) < 0 ? -errno : 0;
}

/* ---- directories ---- */

/* One entry; false: it doesn't fit. */
static bool put_entry(const struct p9_server *server, struct p9_out *out, const struct dirent64 *entry, size_t limit)
{
	size_t name_len = strlen(entry->d_name);
	struct stat st = {.st_dev = server->files.device, .st_ino = entry->d_ino};

	if (out->len + 13 + 8 + 1 + 2 + name_len > limit)
		return false;
	/* No numbers of what is outside. */
	if (!strcmp(entry->d_name, ".."))
		st.st_ino = 0;
	st.st_mode = entry->d_type == DT_DIR ? S_IFDIR : entry->d_type == DT_LNK ? S_IFLNK : S_IFREG;
	put_qid(server, out, &st);
	p9_put64(out, (uint64_t)entry->d_off);
	p9_put8(out, entry->d_type);
	p9_put_string(out, entry->d_name, name_len);
	return true;
}

/* Entries from the descriptor's place on, as many as fit; what doesn't is read again, from the offset of the last that did. */
static int put_entries(struct p9_server *server, int fd, struct p9_out *out, size_t limit)
{
	const size_t start = out->len;

	for (;;) {
		ssize_t n = getdents64(fd, server->dents, sizeof(server->dents));

		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *entry = (const void *)(server->dents + at);

			if (!put_entry(server, out, entry, limit))
				return out->len > start ? 0 : -EINVAL; /* no room for any */
			at += entry->d_reclen;
		}
	}
}

static int do_readdir(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *fid;
	int r = get_open_fid(server, p9_get32(in), &fid);
	uint64_t offset = p9_get64(in);
	size_t count = p9_get32(in), start = out->len + 4, limit;

	if (in->bad || offset > INT64_MAX)
		return -EINVAL;
	if (r < 0)
		return r;
	limit = out->size < server->msize ? out->size : server->msize;
	if (server->room_len < limit)
		limit = (size_t)server->room_len;
	if (limit > start && count < limit - start)
		limit = start + count;
	p9_put32(out, 0);
	if (lseek(fid->fd, (off_t)offset, SEEK_SET) < 0)
		return -errno;
	r = put_entries(server, fid->fd, out, limit);
	if (r < 0 && out->len == start)
		return r;
	for (unsigned i = 0; i < 4 && !out->full; i++)
		out->bytes[start - 4 + i] = (uint8_t)((out->len - start) >> (8 * i));
	return 0;
}

/* ---- attributes ---- */

static void put_time(struct p9_out *out, const struct timespec *time)
{
	p9_put64(out, (uint64_t)time->tv_sec);
	p9_put64(out, (uint64_t)time->tv_nsec);
}

/* As Linux's new_encode_dev(). */
static uint64_t device_number(dev_t device)
{
	return (minor(device) & 0xff) | (uint64_t)major(device) << 8 | (uint64_t)(minor(device) & ~0xffu) << 12;
}

static int do_getattr(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	static const struct timespec none;
	struct p9_fid *fid;
	struct stat st;
	int fd, found, r = get_fid(server, p9_get32(in), &fid);

	(void)p9_get64(in); /* which are wanted: all are given */
	if (in->bad)
		return -EINVAL;
	if (r < 0)
		return r;
	fd = file_of(server, fid, &found);
	if (fd < 0)
		return fd;
	r = fstat(fd, &st) < 0 ? -errno : 0;
	close_found(found);
	if (r < 0)
		return r;
	p9_put64(out, STATS_BASIC);
	put_qid(server, out, &st);
	p9_put32(out, st.st_mode);
	p9_put32(out, st.st_uid);
	p9_put32(out, st.st_gid);
	p9_put64(out, st.st_nlink);
	p9_put64(out, device_number(st.st_rdev));
	p9_put64(out, (uint64_t)st.st_size);
	p9_put64(out, (uint64_t)st.st_blksize);
	p9_put64(out, (uint64_t)st.st_blocks);
	put_time(out, &st.st_atim);
	put_time(out, &st.st_mtim);
	put_time(out, &st.st_ctim);
	put_time(out, &none);
	p9_put64(out, 0); /* generation */
	p9_put64(out, 0); /* data version */
	return 0;
}

struct attributes {
	uint32_t valid, mode, uid, gid;
	uint64_t size;
	struct timespec times[2];
};

static int set_owner(int fd, const struct attributes *set)
{
	uid_t uid = set->valid & ATTR_UID ? set->uid : (uid_t)-1;
	gid_t gid = set->valid & ATTR_GID ? set->gid : (gid_t)-1;
	struct stat st;

	if (!(set->valid & (ATTR_UID | ATTR_GID)))
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* To whom it belongs already. */
	if ((uid == (uid_t)-1 || uid == st.st_uid) && (gid == (gid_t)-1 || gid == st.st_gid))
		return 0;
	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int set_size(struct p9_server *server, const struct p9_fid *fid, int fd, uint64_t size)
{
	int flags = fid->fd >= 0 ? fcntl(fid->fd, F_GETFL) : O_RDONLY;
	int to_write = fd, r;

	if (size > INT64_MAX)
		return -EINVAL;
	if ((flags & O_ACCMODE) == O_RDONLY)
		to_write = p9_files_open_file(&server->files, fd, O_WRONLY);
	if (to_write < 0)
		return to_write;
	r = ftruncate(to_write, (off_t)size) < 0 ? -errno : 0;
	if (to_write != fd)
		close(to_write);
	return r;
}

static struct timespec time_to_set(const struct attributes *set, unsigned which)
{
	static const uint32_t now[] = {ATTR_ATIME, ATTR_MTIME}, given[] = {ATTR_ATIME_SET, ATTR_MTIME_SET};

	if (!(set->valid & now[which]))
		return (struct timespec){.tv_nsec = UTIME_OMIT};
	return set->valid & given[which] ? set->times[which] : (struct timespec){.tv_nsec = UTIME_NOW};
}

static int set_times(int fd, const struct attributes *set)
{
	struct timespec times[2] = {time_to_set(set, 0), time_to_set(set, 1)};

	if (!(set->valid & (ATTR_ATIME | ATTR_MTIME)))
		return 0;
	return utimensat(fd, "", times, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int set_attributes(struct p9_server *server, const struct p9_fid *fid, int fd, const struct attributes *set)
{
	int r = set_owner(fd, set);

	if (r == 0 && (set->valid & ATTR_MODE))
		r = p9_files_chmod(&server->files, fd, set->mode & 01777);
	if (r == 0 && (set->valid & ATTR_SIZE))
		r = set_size(server, fid, fd, set->size);
	return r ? r : set_times(fd, set);
}

static int do_setattr(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct attributes set;
	struct p9_fid *fid;
	int fd, found, r = get_fid(server, p9_get32(in), &fid);

	set.valid = p9_get32(in);
	set.mode = p9_get32(in);
	set.uid = p9_get32(in);
	set.gid = p9_get32(in);
	set.size = p9_get64(in);
	for (unsigned i = 0; i < 2; i++) {
		set.times[i].tv_sec = (time_t)p9_get64(in);
		set.times[i].tv_nsec = (long)p9_get64(in);
		/* The numbers above have meanings: UTIME_NOW, UTIME_OMIT. */
		if (set.times[i].tv_nsec < 0 || set.times[i].tv_nsec >= 1000000000)
			in->bad = true;
	}
	if (in->bad)
		return -EINVAL;
	if (r < 0 || (r = may_write(server)) < 0)
		return r;
	fd = file_of(server, fid, &found);
	if (fd < 0)
		return fd;
	r = set_attributes(server, fid, fd, &set);
	close_found(found);
	return r;
}

static int do_statfs(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *fid;
	struct statfs fs;
	int fd, found, r = get_fid(server, p9_get32(in), &fid);

	if (in->bad || r < 0)
		return in->bad ? -EINVAL : r;
	fd = file_of(server, fid, &found);
	if (fd < 0)
		return fd;
	r = fstatfs(fd, &fs) < 0 ? -errno : 0;
	close_found(found);
	if (r < 0)
		return r;
	p9_put32(out, 0x01021997); /* V9FS_MAGIC */
	p9_put32(out, (uint32_t)fs.f_bsize);
	p9_put64(out, fs.f_blocks);
	p9_put64(out, fs.f_bfree);
	p9_put64(out, fs.f_bavail);
	p9_put64(out, fs.f_files);
	p9_put64(out, fs.f_ffree);
	p9_put64(out, 0);
	p9_put32(out, P9_NAME_MAX);
	return 0;
}

static int do_readlink(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	char target[PATH_MAX];
	struct p9_fid *fid;
	int found, r = get_fid(server, p9_get32(in), &fid);
	ssize_t len;

	if (in->bad || r < 0)
		return in->bad ? -EINVAL : r;
	found = p9_files_look(&server->files, fid->path);
	if (found < 0)
		return found;
	len = readlinkat(found, "", target, sizeof(target));
	/* ENOENT: that is how it says that it is no link. */
	r = len < 0 ? (errno == ENOENT ? -EINVAL : -errno) : 0;
	close(found);
	if (r == 0)
		p9_put_string(out, target, (size_t)len);
	return r;
}

static int no_attributes(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	return -EOPNOTSUPP;
}

/* ---- names ---- */

static int do_mkdir(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	uint32_t number = p9_get32(in), mode;
	char name[P9_NAME_MAX + 1];
	int directory, r = get_name(in, name);
	struct p9_fid *fid;

	mode = p9_get32(in);
	(void)p9_get32(in); /* gid */
	if (r < 0 || in->bad)
		return -EINVAL;
	if ((r = may_write(server)) < 0)
		return r;
	directory = directory_of(server, number, &fid);
	if (directory < 0)
		return directory;
	r = mkdirat(directory, name, mode & 01777) < 0 ? -errno : put_qid_of(server, out, directory, name);
	close(directory);
	return r;
}

static int do_symlink(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	uint32_t number = p9_get32(in);
	char name[P9_NAME_MAX + 1], target[PATH_MAX];
	int directory, r = get_name(in, name);
	struct p9_fid *fid;

	p9_get_string(in, target, sizeof(target));
	(void)p9_get32(in); /* gid */
	if (r < 0 || in->bad)
		return -EINVAL;
	if ((r = may_write(server)) < 0)
		return r;
	directory = directory_of(server, number, &fid);
	if (directory < 0)
		return directory;
	/* Whatever it says: it is the guest who follows it. */
	r = symlinkat(target, directory, name) < 0 ? -errno : put_qid_of(server, out, directory, name);
	close(directory);
	return r;
}

static int do_mknod(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	uint32_t number = p9_get32(in), mode, kind;
	char name[P9_NAME_MAX + 1];
	int directory, r = get_name(in, name);
	struct p9_fid *fid;

	mode = p9_get32(in);
	(void)p9_get32(in); /* major */
	(void)p9_get32(in); /* minor */
	(void)p9_get32(in); /* gid */
	if (r < 0 || in->bad)
		return -EINVAL;
	kind = mode & S_IFMT;
	if (kind != 0 && kind != S_IFREG && kind != S_IFIFO && kind != S_IFSOCK)
		return -EPERM;
	if ((r = may_write(server)) < 0)
		return r;
	directory = directory_of(server, number, &fid);
	if (directory < 0)
		return directory;
	r = mknodat(directory, name, kind | (mode & 01777), 0) < 0 ? -errno : put_qid_of(server, out, directory, name);
	close(directory);
	return r;
}

static int do_link(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	uint32_t directory_number = p9_get32(in), number = p9_get32(in);
	char name[P9_NAME_MAX + 1];
	int directory, from, r = get_name(in, name);
	struct p9_fid *fid, *directory_fid;
	const char *old;

	if (r < 0)
		return r;
	if ((r = may_write(server)) < 0 || (r = get_fid(server, number, &fid)) < 0)
		return r;
	from = p9_files_parent(&server->files, fid->path, &old);
	if (from < 0)
		return from;
	directory = directory_of(server, directory_number, &directory_fid);
	if (directory < 0) {
		close(from);
		return directory;
	}
	/* Without AT_SYMLINK_FOLLOW: if it is a link, it is the link that gets another name. */
	r = linkat(from, old, directory, name, 0) < 0 ? -errno : 0;
	close(directory);
	close(from);
	return r;
}

/* In `from`, old becomes new in `to`: on the host, and for the fids. */
static int rename_between(struct p9_server *server, int from, const char *from_path, const char *old, int to, const char *to_path,
			  const char *new)
{
	char before[P9_PATH_MAX + 1], after[P9_PATH_MAX + 1];
	int r = join(from_path, old, before);

	if (r == 0)
		r = join(to_path, new, after);
	if (r < 0)
		return r;
	if (renameat(from, old, to, new) < 0)
		return -errno;
	p9_fids_renamed(&server->fids, before, after);
	return 0;
}

static int do_renameat(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	uint32_t from_number = p9_get32(in), to_number;
	char old[P9_NAME_MAX + 1], new[P9_NAME_MAX + 1];
	int from, to, r = get_name(in, old);
	struct p9_fid *from_fid, *to_fid;

	to_number = p9_get32(in);
	if (r < 0 || (r = get_name(in, new)) < 0 || (r = may_write(server)) < 0)
		return r;
	from = directory_of(server, from_number, &from_fid);
	if (from < 0)
		return from;
	to = directory_of(server, to_number, &to_fid);
	if (to < 0) {
		close(from);
		return to;
	}
	r = rename_between(server, from, from_fid->path, old, to, to_fid->path, new);
	close(to);
	close(from);
	return r;
}

/* The path of the directory that holds the fid. */
static void parent_path(const struct p9_fid *fid, char path[P9_PATH_MAX + 1])
{
	char *slash;

	strcpy(path, fid->path);
	slash = strrchr(path, '/');
	*(slash ? slash : path) = 0;
}

static int do_rename(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	uint32_t number = p9_get32(in), to_number = p9_get32(in);
	char new[P9_NAME_MAX + 1], old[P9_NAME_MAX + 1], from_path[P9_PATH_MAX + 1];
	int from, to, r = get_name(in, new);
	struct p9_fid *fid, *to_fid;
	const char *name;

	if (r < 0 || (r = may_write(server)) < 0 || (r = get_fid(server, number, &fid)) < 0)
		return r;
	from = p9_files_parent(&server->files, fid->path, &name);
	if (from < 0)
		return from;
	snprintf(old, sizeof(old), "%s", name);
	parent_path(fid, from_path);
	to = directory_of(server, to_number, &to_fid);
	if (to < 0) {
		close(from);
		return to;
	}
	r = rename_between(server, from, from_path, old, to, to_fid->path, new);
	close(to);
	close(from);
	return r;
}

static int do_unlinkat(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	uint32_t number = p9_get32(in), flags;
	char name[P9_NAME_MAX + 1];
	int directory, r = get_name(in, name);
	struct p9_fid *fid;

	flags = p9_get32(in);
	if (r < 0 || in->bad || (flags & ~L_REMOVEDIR))
		return -EINVAL;
	if ((r = may_write(server)) < 0)
		return r;
	directory = directory_of(server, number, &fid);
	if (directory < 0)
		return directory;
	r = unlinkat(directory, name, flags & L_REMOVEDIR ? AT_REMOVEDIR : 0) < 0 ? -errno : 0;
	close(directory);
	return r;
}

static int remove_path(struct p9_server *server, const char *path)
{
	const char *name;
	int r, directory = p9_files_parent(&server->files, path, &name);

	if (directory < 0)
		return directory;
	r = unlinkat(directory, name, 0) < 0 ? -errno : 0;
	if (r == -EISDIR)
		r = unlinkat(directory, name, AT_REMOVEDIR) < 0 ? -errno : 0;
	close(directory);
	return r;
}

/* The fid is gone whether it works or not. */
static int do_remove(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *fid = p9_fids_find(&server->fids, p9_get32(in));
	int r;

	if (in->bad || !fid)
		return in->bad ? -EINVAL : -EBADF;
	r = may_write(server);
	if (r == 0)
		r = fid->lost ? -ESTALE : remove_path(server, fid->path);
	p9_fids_remove(&server->fids, fid);
	return r;
}

/* ---- locks ---- */

struct lock_fields {
	uint8_t type;
	uint64_t start, length;
	uint32_t process;
	char client[P9_NAME_MAX + 1];
};

/* Of the open file, as each of the guest's processes has its own fid. */
static int to_host_lock(const struct lock_fields *fields, struct flock *lock)
{
	static const short types[] = {[TYPE_READ] = F_RDLCK, [TYPE_WRITE] = F_WRLCK, [TYPE_NONE] = F_UNLCK};

	if (fields->type >= ARRAY_SIZE(types) || fields->start > INT64_MAX || fields->length > INT64_MAX)
		return -EINVAL;
	*lock = (struct flock){.l_type = types[fields->type],
			       .l_whence = SEEK_SET,
			       .l_start = (off_t)fields->start,
			       .l_len = (off_t)fields->length};
	return 0;
}

static int do_lock(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct lock_fields fields;
	struct p9_fid *fid;
	struct flock lock;
	int r = get_open_fid(server, p9_get32(in), &fid);
	uint8_t status = STATUS_SUCCESS;

	fields.type = p9_get8(in);
	(void)p9_get32(in); /* whether it would wait: the client asks again */
	fields.start = p9_get64(in);
	fields.length = p9_get64(in);
	fields.process = p9_get32(in);
	p9_get_string(in, fields.client, sizeof(fields.client));
	if (in->bad)
		return -EINVAL;
	if (r < 0 || (r = to_host_lock(&fields, &lock)) < 0)
		return r;
	if (fcntl(fid->fd, F_OFD_SETLK, &lock) < 0) {
		if (errno == EAGAIN || errno == EACCES)
			status = STATUS_BLOCKED;
		/* EBADF: a write lock on a file that is open to be read, as flock() may have it. The guest's kernel keeps it among
		 * its own processes. */
		else if (errno != EBADF)
			return -errno;
	}
	p9_put8(out, status);
	return 0;
}

static int do_getlock(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	static const uint8_t types[] = {[F_RDLCK] = TYPE_READ, [F_WRLCK] = TYPE_WRITE, [F_UNLCK] = TYPE_NONE};
	struct lock_fields fields;
	struct p9_fid *fid;
	struct flock lock;
	int r = get_open_fid(server, p9_get32(in), &fid);

	fields.type = p9_get8(in);
	fields.start = p9_get64(in);
	fields.length = p9_get64(in);
	fields.process = p9_get32(in);
	p9_get_string(in, fields.client, sizeof(fields.client));
	if (in->bad || fields.type == TYPE_NONE)
		return -EINVAL;
	if (r < 0 || (r = to_host_lock(&fields, &lock)) < 0)
		return r;
	if (fcntl(fid->fd, F_OFD_GETLK, &lock) < 0)
		return -errno;
	p9_put8(out, types[lock.l_type]);
	p9_put64(out, (uint64_t)lock.l_start);
	p9_put64(out, (uint64_t)lock.l_len);
	p9_put32(out, fields.process);
	p9_put_string(out, fields.client, strlen(fields.client));
	return 0;
}

/* ---- serving ---- */

/* 0, -errno, or (Tread) how many bytes are behind the fields already. */
typedef int (*handler)(struct p9_server *server, struct p9_in *in, struct p9_out *out);

static const handler handlers[TYPES] = {
	[TSTATFS] = do_statfs,
	[TLOPEN] = do_lopen,
	[TLCREATE] = do_lcreate,
	[TSYMLINK] = do_symlink,
	[TMKNOD] = do_mknod,
	[TRENAME] = do_rename,
	[TREADLINK] = do_readlink,
	[TGETATTR] = do_getattr,
	[TSETATTR] = do_setattr,
	[TXATTRWALK] = no_attributes,
	[TXATTRCREATE] = no_attributes,
	[TREADDIR] = do_readdir,
	[TFSYNC] = do_fsync,
	[TLOCK] = do_lock,
	[TGETLOCK] = do_getlock,
	[TLINK] = do_link,
	[TMKDIR] = do_mkdir,
	[TRENAMEAT] = do_renameat,
	[TUNLINKAT] = do_unlinkat,
	[TVERSION] = do_version,
	[TAUTH] = do_auth,
	[TATTACH] = do_attach,
	[TFLUSH] = do_flush,
	[TWALK] = do_walk,
	[TREAD] = do_read,
	[TWRITE] = do_write,
	[TCLUNK] = do_clunk,
	[TREMOVE] = do_remove,
};

static uint64_t total(const struct iobuf *bufs, unsigned count)
{
	uint64_t len = 0;

	for (unsigned i = 0; i < count; i++)
		len += bufs[i].len;
	return len;
}

static size_t copy_in(const struct iobuf *bufs, unsigned count, uint8_t *to, size_t size)
{
	size_t len = 0;

	for (unsigned i = 0; i < count && len < size; i++) {
		size_t part = bufs[i].len < size - len ? bufs[i].len : size - len;

		memcpy(to + len, bufs[i].base, part);
		len += part;
	}
	return len;
}

static void copy_out(const struct iobuf *bufs, unsigned count, const uint8_t *from, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < len; i++) {
		size_t part = bufs[i].len < len - done ? bufs[i].len : len - done;

		memcpy(bufs[i].base, from + done, part);
		done += part;
	}
}

static void put_header(struct p9_out *out, uint8_t type, uint16_t tag)
{
	out->len = 0;
	out->full = false;
	p9_put32(out, 0);
	p9_put8(out, type);
	p9_put16(out, tag);
}

/* The handler's result, -errno or how many bytes are behind the answer. */
static int handle(struct p9_server *server, uint8_t type, uint16_t tag, struct p9_in *in, struct p9_out *out)
{
	int r;

	put_header(out, (uint8_t)(type + 1), tag);
	if (type >= TYPES || !handlers[type])
		return -EOPNOTSUPP;
	if (!server->msize && type != TVERSION)
		return -EINVAL;
	r = handlers[type](server, in, out);
	/* It doesn't fit the client's room: what was done is done. */
	if (r >= 0 && (out->full || out->len + (unsigned)r > server->room_len))
		r = -EMSGSIZE;
	return r;
}

uint32_t p9_server_serve(struct p9_server *server, const struct iobuf *request, unsigned request_count, const struct iobuf *room,
			 unsigned room_count)
{
	struct p9_out out = {.bytes = server->answer, .size = sizeof(server->answer)};
	struct p9_in in = {.at = server->copied};
	uint32_t size;
	uint16_t tag;
	uint8_t type;
	int r;

	server->request = request;
	server->request_count = request_count;
	server->request_len = total(request, request_count);
	server->room = room;
	server->room_count = room_count;
	server->room_len = total(room, room_count);
	in.left = copy_in(request, request_count, server->copied, sizeof(server->copied));
	size = p9_get32(&in);
	type = p9_get8(&in);
	tag = p9_get16(&in);
	if (in.bad || server->room_len < HEADER + 4)
		return 0;
	if (size < HEADER || size > server->request_len || (server->msize && size > server->msize)) {
		put_header(&out, 0, tag);
		r = -EINVAL;
	} else {
		/* Nothing beyond what the message says of itself. */
		server->request_len = size;
		if (in.left > size - HEADER)
			in.left = size - HEADER;
		r = handle(server, type, tag, &in, &out);
	}
	if (r < 0) {
		put_header(&out, TLERROR + 1, tag);
		p9_put32(&out, (uint32_t)-r);
		r = 0;
	}
	size = (uint32_t)out.len + (uint32_t)r;
	for (unsigned i = 0; i < 4; i++)
		out.bytes[i] = (uint8_t)(size >> (8 * i));
	copy_out(room, room_count, out.bytes, out.len);
	return size;
}

void p9_server_end_session(struct p9_server *server)
{
	p9_fids_clear(&server->fids);
	server->msize = 0;
}

int p9_server_root(const struct p9_server *server)
{
	return server->files.root;
}

int p9_server_create(const char *directory, bool read_only, unsigned max_open, struct p9_server **out, char *why, size_t why_size)
{
	struct p9_server *server = calloc(1, sizeof(*server));
	int r = server ? p9_fids_start(&server->fids, max_open) : -ENOMEM;

	if (r < 0) {
		snprintf(why, why_size, "no memory to share %s; free some on the host", directory);
		free(server);
		return r;
	}
	r = p9_files_start(&server->files, directory, read_only, why, why_size);
	if (r < 0) {
		p9_fids_end(&server->fids);
		free(server);
		return r;
	}
	*out = server;
	return 0;
}

void p9_server_destroy(struct p9_server *server)
{
	if (!server)
		return;
	p9_fids_end(&server->fids);
	p9_files_end(&server->files);
	free(server);
}
