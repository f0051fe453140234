/* The 9P server on real files: what each message does, what it refuses, and that nothing gets out of the shared directory, also while
 * a process of the host swaps directories and files for links as fast as it can.
 *
 * Example: `meson test -C build --suite backend p9`
 */
#include "backend/share_dir.h"
#include "host/linux/loop.h"
#include "p9_client.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define CANARY "what nobody may see"
#define RACE_S 3

struct fixture {
	char base[64]; /* holds share/ and outside/ */
	int base_fd, share, outside;
	struct p9_server *server;
	struct p9_client client;
};

static void put_file(int at, const char *name, const char *text)
{
	int fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static bool holds(int at, const char *name, const char *text)
{
	char buf[100] = "";
	int fd = openat(at, name, O_RDONLY | O_NOFOLLOW);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (fd >= 0)
		close(fd);
	return n >= 0 && !strcmp(buf, text);
}

static void start(struct fixture *f, bool read_only)
{
	char why[256], path[80];

	memset(f, 0, sizeof(*f));
	snprintf(f->base, sizeof(f->base), "/tmp/ruse-p9-XXXXXX");
	assert_non_null(mkdtemp(f->base));
	f->base_fd = open(f->base, O_RDONLY | O_DIRECTORY);
	assert_int_equal(mkdirat(f->base_fd, "share", 0755), 0);
	assert_int_equal(mkdirat(f->base_fd, "outside", 0755), 0);
	f->share = openat(f->base_fd, "share", O_RDONLY | O_DIRECTORY);
	f->outside = openat(f->base_fd, "outside", O_RDONLY | O_DIRECTORY);
	put_file(f->outside, "secret", CANARY);
	put_file(f->share, "file", "content");
	assert_int_equal(mkdirat(f->share, "dir", 0755), 0);
	put_file(f->share, "dir/inner", "inner content");
	snprintf(path, sizeof(path), "%s/share", f->base);
	assert_int_equal(p9_server_create(path, read_only, 16, &f->server, why, sizeof(why)), 0);
	p9_client_start(&f->client, f->server);
}

static unsigned count_entries(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY);
	DIR *dir = fdopendir(fd);
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* Nothing outside has changed. */
static void check_outside(struct fixture *f, unsigned entries)
{
	struct stat st;

	assert_true(holds(f->outside, "secret", CANARY));
	assert_int_equal(fstatat(f->outside, "secret", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0644);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(count_entries(f->outside, "."), entries + 2);
}

static void stop(struct fixture *f)
{
	char command[100];

	check_outside(f, 1);
	p9_server_destroy(f->server);
	close(f->share);
	close(f->outside);
	close(f->base_fd);
	snprintf(command, sizeof(command), "rm -rf %s", f->base);
	assert_int_equal(system(command), 0);
}

static void session(void **state)
{
	char version[20], buf[20];
	struct fixture f;

	start(&f, false);
	/* What was before is forgotten; other dialects are not spoken. */
	assert_int_equal(p9_walk(&f.client, 0, 1, "file"), 0);
	assert_int_equal(p9_version(&f.client, 1 << 30, "9P2000.L"), 0);
	assert_int_equal(p9_get32(&f.client.in), 512 << 10);
	p9_get_string(&f.client.in, version, sizeof(version));
	assert_string_equal(version, "9P2000.L");
	assert_int_equal(p9_walk(&f.client, 0, 2, ""), -EBADF);
	assert_int_equal(p9_attach(&f.client, 0, "/"), 0);
	assert_int_equal(p9_clunk(&f.client, 1), -EBADF);
	assert_int_equal(p9_attach(&f.client, 0, ""), -EEXIST);
	assert_int_equal(p9_attach(&f.client, 5, "/etc"), -ENOENT);
	assert_int_equal(p9_attach(&f.client, UINT32_MAX, ""), -EINVAL);
	assert_int_equal(p9_version(&f.client, 1 << 20, "9P2000.u"), 0);
	(void)p9_get32(&f.client.in);
	p9_get_string(&f.client.in, version, sizeof(version));
	assert_string_equal(version, "unknown");
	assert_int_equal(p9_attach(&f.client, 0, ""), -EINVAL);
	assert_int_equal(p9_version(&f.client, 100, "9P2000.L"), -EINVAL);
	assert_int_equal(p9_version(&f.client, 8192, "9P2000.L"), 0);
	assert_int_equal(p9_attach(&f.client, 0, ""), 0);
	/* A flush finds nothing to flush; nobody authenticates; there are no extended attributes. */
	p9_begin(&f.client, 108);
	p9_put16(&f.client.out, 3);
	assert_int_equal(p9_send(&f.client), 0);
	p9_begin(&f.client, 102);
	assert_int_equal(p9_send(&f.client), -EOPNOTSUPP);
	p9_begin(&f.client, 30);
	assert_int_equal(p9_send(&f.client), -EOPNOTSUPP);
	p9_begin(&f.client, 99);
	assert_int_equal(p9_send(&f.client), -EOPNOTSUPP);
	p9_begin(&f.client, 255);
	f.client.out.bytes[4] = 250;
	assert_int_equal(p9_send(&f.client), -EOPNOTSUPP);
	/* The end of the client is the end of its session. */
	p9_server_end_session(f.server);
	assert_int_equal(p9_read_file(&f.client, "file", buf, sizeof(buf)), -EINVAL);
	stop(&f);
}

static void reads_and_writes(void **state)
{
	static uint8_t big[60000], back[60000];
	struct fixture f;
	struct stat st;
	char buf[100];

	start(&f, false);
	assert_int_equal(p9_read_file(&f.client, "file", buf, sizeof(buf)), 7);
	assert_memory_equal(buf, "content", 7);
	assert_int_equal(p9_read_file(&f.client, "dir/inner", buf, 5), 5);
	assert_int_equal(p9_write_file(&f.client, "dir/inner", "other"), 5);
	assert_true(holds(f.share, "dir/inner", "other"));
	/* Much, at an offset, through one fid. */
	for (unsigned i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 31 >> 3);
	assert_int_equal(p9_walk(&f.client, 0, 1, ""), 0);
	assert_int_equal(p9_create(&f.client, 1, "new", 02, 0640), 0);
	assert_int_equal(p9_write(&f.client, 1, 1000, big, sizeof(big)), sizeof(big));
	assert_int_equal(p9_read(&f.client, 1, 1000, back, sizeof(back)), sizeof(back));
	assert_memory_equal(big, back, sizeof(big));
	assert_int_equal(p9_read(&f.client, 1, 0, back, 1000), 1000);
	assert_int_equal(back[500], 0);
	assert_int_equal(p9_read(&f.client, 1, 61000, back, 10), 0);
	assert_int_equal(p9_read(&f.client, 1, UINT64_MAX, back, 10), -EINVAL);
	assert_int_equal(p9_write(&f.client, 1, UINT64_MAX, back, 10), -EINVAL);
	assert_int_equal(p9_getattr(&f.client, 1, &st), 0);
	assert_int_equal(st.st_size, 61000);
	p9_begin(&f.client, 50);
	p9_put32(&f.client.out, 1);
	p9_put32(&f.client.out, 1);
	assert_int_equal(p9_send(&f.client), 0);
	assert_int_equal(p9_clunk(&f.client, 1), 0);
	assert_int_equal(fstatat(f.share, "new", &st, 0), 0);
	assert_int_equal(st.st_size, 61000);
	/* Not open, not to be written, a directory, twice. */
	assert_int_equal(p9_walk(&f.client, 0, 1, "new"), 0);
	assert_int_equal(p9_read(&f.client, 1, 0, buf, 1), -EBADF);
	assert_int_equal(p9_write(&f.client, 1, 0, buf, 1), -EBADF);
	assert_int_equal(p9_open(&f.client, 1, 3), -EINVAL);
	assert_int_equal(p9_open(&f.client, 1, 0200000), -ENOTDIR);
	assert_int_equal(p9_open(&f.client, 1, 0), 0);
	assert_int_equal(p9_write(&f.client, 1, 0, buf, 1), -EBADF);
	assert_int_equal(p9_open(&f.client, 1, 0), -EBADF);
	assert_int_equal(p9_walk(&f.client, 0, 2, "dir"), 0);
	assert_int_equal(p9_open(&f.client, 2, 02), -EISDIR);
	assert_int_equal(p9_open(&f.client, 2, 0), 0);
	assert_int_equal(p9_read(&f.client, 2, 0, buf, 1), -EISDIR);
	/* To the end, wherever that is. */
	assert_int_equal(p9_walk(&f.client, 0, 3, "file"), 0);
	assert_int_equal(p9_open(&f.client, 3, 01 | 02000), 0);
	assert_int_equal(p9_write(&f.client, 3, 0, "+", 1), 1);
	assert_true(holds(f.share, "file", "content+"));
	/* A file that is there: unless it must not be. */
	assert_int_equal(p9_walk(&f.client, 0, 4, ""), 0);
	assert_int_equal(p9_create(&f.client, 4, "file", 02 | 0200, 0600), -EEXIST);
	assert_int_equal(p9_create(&f.client, 4, "file", 02 | 01000, 0600), 0);
	assert_true(holds(f.share, "file", ""));
	stop(&f);
}

static void names(void **state)
{
	static const char *const bad[] = {"", ".", "..", "a/b", "/", "../x"};
	struct fixture f;
	struct stat st;
	char text[300];

	start(&f, false);
	umask(0);
	assert_int_equal(p9_mkdir(&f.client, 0, "d", 0750), 0);
	assert_int_equal(fstatat(f.share, "d", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0750);
	assert_int_equal(p9_mkdir(&f.client, 0, "d", 0750), -EEXIST);
	assert_int_equal(p9_symlink(&f.client, 0, "l", "/etc/passwd"), 0);
	assert_int_equal(p9_walk(&f.client, 0, 1, "l"), 0);
	assert_int_equal(p9_readlink(&f.client, 1, text, sizeof(text)), 0);
	assert_string_equal(text, "/etc/passwd");
	assert_int_equal(p9_walk(&f.client, 0, 2, "file"), 0);
	assert_int_equal(p9_readlink(&f.client, 2, text, sizeof(text)), -EINVAL);
	assert_int_equal(p9_link(&f.client, 0, 2, "hard"), 0);
	assert_true(holds(f.share, "hard", "content"));
	/* No devices; what opens nothing may be. */
	assert_int_equal(p9_mknod(&f.client, 0, "c", S_IFCHR | 0600), -EPERM);
	assert_int_equal(p9_mknod(&f.client, 0, "b", S_IFBLK | 0600), -EPERM);
	assert_int_equal(p9_mknod(&f.client, 0, "x", S_IFLNK | 0600), -EPERM);
	assert_int_equal(p9_mknod(&f.client, 0, "p", S_IFIFO | 0600), 0);
	assert_int_equal(p9_mknod(&f.client, 0, "r", S_IFREG | 0600), 0);
	assert_int_equal(p9_walk(&f.client, 0, 3, "p"), 0);
	assert_int_equal(p9_open(&f.client, 3, 0), -EACCES);
	assert_int_equal(p9_open(&f.client, 3, 02), -EACCES);
	assert_int_equal(p9_clunk(&f.client, 3), 0);
	assert_int_equal(p9_walk(&f.client, 0, 3, ""), 0);
	assert_int_equal(p9_create(&f.client, 3, "p", 01, 0600), -EACCES);
	assert_int_equal(p9_open(&f.client, 1, 0), -ELOOP);
	/* Renamed: by name, by fid, with what is below; open fids and others find their files. */
	assert_int_equal(p9_walk(&f.client, 0, 4, "dir/inner"), 0);
	assert_int_equal(p9_walk(&f.client, 0, 5, "dir"), 0);
	assert_int_equal(p9_walk(&f.client, 0, 6, "d"), 0);
	assert_int_equal(p9_renameat(&f.client, 0, "dir", 6, "moved"), 0);
	assert_int_equal(p9_getattr(&f.client, 4, &st), 0);
	assert_int_equal(p9_open(&f.client, 4, 0), 0);
	assert_int_equal(p9_read(&f.client, 4, 0, text, 100), 13);
	assert_int_equal(p9_rename(&f.client, 5, 0, "back"), 0);
	assert_int_equal(p9_walk(&f.client, 5, 7, "inner"), 0);
	assert_int_equal(p9_walk(&f.client, 0, 8, "back/inner"), 0);
	assert_int_equal(p9_renameat(&f.client, 0, "nothing", 0, "x"), -ENOENT);
	assert_int_equal(p9_rename(&f.client, 0, 6, "root"), -EPERM);
	/* Removed. */
	assert_int_equal(p9_unlinkat(&f.client, 0, "back", 0), -EISDIR);
	assert_int_equal(p9_unlinkat(&f.client, 0, "back", 0x200), -ENOTEMPTY);
	assert_int_equal(p9_unlinkat(&f.client, 0, "file", 0x200), -ENOTDIR);
	assert_int_equal(p9_unlinkat(&f.client, 0, "file", 0x400), -EINVAL);
	assert_int_equal(p9_unlinkat(&f.client, 5, "inner", 0), 0);
	assert_int_equal(p9_read(&f.client, 4, 0, text, 100), 13);
	assert_int_equal(p9_getattr(&f.client, 4, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(p9_getattr(&f.client, 7, &st), -ENOENT);
	assert_int_equal(p9_remove(&f.client, 5), 0);
	assert_int_equal(p9_clunk(&f.client, 5), -EBADF);
	assert_int_equal(p9_remove(&f.client, 7), -ENOENT);
	assert_int_equal(p9_clunk(&f.client, 7), -EBADF);
	assert_int_equal(p9_remove(&f.client, 0), -EPERM);
	assert_int_equal(p9_attach(&f.client, 0, ""), 0);
	/* What is no name. */
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(p9_walk(&f.client, 0, 50, ""), 0);
		assert_int_equal(p9_create(&f.client, 50, bad[i], 02, 0600), -EINVAL);
		assert_int_equal(p9_mkdir(&f.client, 0, bad[i], 0700), -EINVAL);
		assert_int_equal(p9_symlink(&f.client, 0, bad[i], "x"), -EINVAL);
		assert_int_equal(p9_mknod(&f.client, 0, bad[i], S_IFREG), -EINVAL);
		assert_int_equal(p9_link(&f.client, 0, 2, bad[i]), -EINVAL);
		assert_int_equal(p9_rename(&f.client, 2, 0, bad[i]), -EINVAL);
		assert_int_equal(p9_renameat(&f.client, 0, bad[i], 0, "x"), -EINVAL);
		assert_int_equal(p9_renameat(&f.client, 0, "hard", 0, bad[i]), -EINVAL);
		assert_int_equal(p9_unlinkat(&f.client, 0, bad[i], 0), -EINVAL);
		assert_int_equal(p9_clunk(&f.client, 50), 0);
	}
	memset(text, 'n', 256);
	text[256] = 0;
	assert_int_equal(p9_mkdir(&f.client, 0, text, 0700), -EINVAL);
	text[255] = 0;
	assert_int_equal(p9_mkdir(&f.client, 0, text, 0700), 0);
	stop(&f);
}

static void attributes(void **state)
{
	struct fixture f;
	struct stat st;

	start(&f, false);
	assert_int_equal(p9_walk(&f.client, 0, 1, "file"), 0);
	assert_int_equal(p9_setattr(&f.client, 1, 0x1, 06640, 0, 0, 0), 0);
	assert_int_equal(p9_setattr(&f.client, 1, 0x8, 0, 0, 3, 0), 0);
	assert_int_equal(p9_setattr(&f.client, 1, 0x120, 0, 0, 0, 1234), 0);
	assert_int_equal(fstatat(f.share, "file", &st, 0), 0);
	/* Nobody becomes another by what a guest has made. */
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(st.st_size, 3);
	assert_int_equal(st.st_mtim.tv_sec, 1234);
	assert_int_equal(p9_setattr(&f.client, 1, 0x20, 0, 0, 0, 0), 0);
	assert_int_equal(fstatat(f.share, "file", &st, 0), 0);
	assert_true(st.st_mtim.tv_sec > 1000000);
	/* The owner that it has already. */
	assert_int_equal(p9_setattr(&f.client, 1, 0x2, 0, st.st_uid, 0, 0), 0);
	assert_int_equal(p9_setattr(&f.client, 1, 0x8, 0, 0, UINT64_MAX, 0), -EINVAL);
	assert_int_equal(p9_getattr(&f.client, 1, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(st.st_uid, getuid());
	/* Through an open fid, read or write. */
	assert_int_equal(p9_open(&f.client, 1, 0), 0);
	assert_int_equal(p9_setattr(&f.client, 1, 0x9, 0600, 0, 100, 0), 0);
	assert_int_equal(p9_walk(&f.client, 0, 2, "dir"), 0);
	assert_int_equal(p9_setattr(&f.client, 2, 0x8, 0, 0, 0, 0), -EISDIR);
	/* Of a link: its own times, and nothing else. */
	assert_int_equal(symlinkat("../outside/secret", f.share, "l"), 0);
	assert_int_equal(p9_walk(&f.client, 0, 3, "l"), 0);
	assert_int_equal(p9_setattr(&f.client, 3, 0x1, 0777, 0, 0, 0), -EOPNOTSUPP);
	assert_int_equal(p9_setattr(&f.client, 3, 0x8, 0, 0, 0, 0), -ELOOP);
	assert_int_equal(p9_setattr(&f.client, 3, 0x120, 0, 0, 0, 77), 0);
	assert_int_equal(fstatat(f.share, "l", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mtim.tv_sec, 77);
	p9_begin(&f.client, 8);
	p9_put32(&f.client.out, 1);
	assert_int_equal(p9_send(&f.client), 0);
	assert_int_equal(p9_get32(&f.client.in), 0x01021997);
	stop(&f);
}

/* One Treaddir: how many entries; *offset is that of the last. */
static int read_entries(struct fixture *f, uint32_t fid, uint64_t *offset, uint32_t count, unsigned char seen[200])
{
	char name[256];
	int n = 0, r;

	p9_begin(&f->client, 40);
	p9_put32(&f->client.out, fid);
	p9_put64(&f->client.out, *offset);
	p9_put32(&f->client.out, count);
	r = p9_send(&f->client);
	if (r < 0)
		return r;
	r = (int)p9_get32(&f->client.in);
	assert_int_equal(r, f->client.in.left);
	assert_true((uint32_t)r <= count);
	for (; f->client.in.left; n++) {
		f->client.in.at += 13;
		f->client.in.left -= 13;
		*offset = p9_get64(&f->client.in);
		(void)p9_get8(&f->client.in);
		p9_get_string(&f->client.in, name, sizeof(name));
		assert_false(f->client.in.bad);
		if (!strncmp(name, "entry", 5))
			seen[atoi(name + 5)]++;
	}
	return n;
}

static void directories(void **state)
{
	static const uint32_t counts[] = {60000, 1000, 60};
	struct fixture f;
	uint64_t offset;

	start(&f, false);
	for (unsigned i = 0; i < 200; i++) {
		char name[32];

		snprintf(name, sizeof(name), "dir/entry%u", i);
		put_file(f.share, name, "");
	}
	assert_int_equal(p9_walk(&f.client, 0, 1, "dir"), 0);
	offset = 0;
	assert_int_equal(read_entries(&f, 1, &offset, 1000, NULL), -EBADF);
	assert_int_equal(p9_open(&f.client, 1, 0), 0);
	for (unsigned c = 0; c < 3; c++) {
		unsigned char seen[200] = {0};
		int n, total = 0;

		offset = 0;
		while ((n = read_entries(&f, 1, &offset, counts[c], seen)) > 0)
			total += n;
		assert_int_equal(n, 0);
		assert_int_equal(total, 203);
		for (unsigned i = 0; i < 200; i++)
			assert_int_equal(seen[i], 1);
	}
	offset = 0;
	assert_int_equal(read_entries(&f, 1, &offset, 10, NULL), -EINVAL);
	offset = UINT64_MAX;
	assert_int_equal(read_entries(&f, 1, &offset, 1000, NULL), -EINVAL);
	assert_int_equal(p9_walk(&f.client, 0, 2, "file"), 0);
	assert_int_equal(p9_open(&f.client, 2, 0), 0);
	offset = 0;
	assert_int_equal(read_entries(&f, 2, &offset, 1000, NULL), -ENOTDIR);
	stop(&f);
}

static void locks(void **state)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct fixture f;
	int fd;

	start(&f, false);
	fd = openat(f.share, "file", O_RDWR);
	for (unsigned i = 1; i <= 2; i++) {
		assert_int_equal(p9_walk(&f.client, 0, i, "file"), 0);
		assert_int_equal(p9_open(&f.client, i, 02), 0);
	}
	/* The first takes it, the second and the host don't get it; then it's free. */
	for (unsigned i = 0; i < 4; i++) {
		p9_begin(&f.client, 52);
		p9_put32(&f.client.out, i == 1 ? 2 : 1);
		p9_put8(&f.client.out, i == 2 ? 2 : i == 3 ? 9 : 1);
		p9_put32(&f.client.out, 0);
		p9_put64(&f.client.out, 10);
		p9_put64(&f.client.out, 10);
		p9_put32(&f.client.out, 1);
		p9_put_string(&f.client.out, "guest", 5);
		assert_int_equal(p9_send(&f.client), i == 3 ? -EINVAL : 0);
		if (i < 3)
			assert_int_equal(p9_get8(&f.client.in), i == 1 ? 1 : 0);
		assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock) < 0, i < 2);
		p9_begin(&f.client, 54);
		p9_put32(&f.client.out, 2);
		p9_put8(&f.client.out, 1);
		p9_put64(&f.client.out, 0);
		p9_put64(&f.client.out, 0);
		p9_put32(&f.client.out, 1);
		p9_put_string(&f.client.out, "guest", 5);
		assert_int_equal(p9_send(&f.client), 0);
		assert_int_equal(p9_get8(&f.client.in), 1);
		assert_int_equal(p9_get64(&f.client.in), i < 2 ? 10 : 0);
	}
	close(fd);
	stop(&f);
}

static void limits(void **state)
{
	char name[256], why[256], text[4] = "";
	struct fixture f;
	unsigned depth;
	int r = 0;

	start(&f, false);
	/* Open files: 16, as it was asked for. */
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(p9_walk(&f.client, 0, 100 + i, "file"), 0);
		assert_int_equal(p9_open(&f.client, 100 + i, 0), i < 16 ? 0 : -EMFILE);
	}
	assert_int_equal(p9_walk(&f.client, 0, 200, ""), 0);
	assert_int_equal(p9_create(&f.client, 200, "another", 02, 0600), -EMFILE);
	assert_int_equal(p9_clunk(&f.client, 100), 0);
	assert_int_equal(p9_open(&f.client, 119, 0), 0);
	/* Fids. */
	for (unsigned i = 0; i < 70000 && r == 0; i++)
		r = p9_walk(&f.client, 0, 1000 + i, "");
	assert_int_equal(r, -ENFILE);
	p9_client_start(&f.client, f.server);
	/* Paths: as long as the host's, and in all not more than there is memory for. */
	memset(name, 'n', 250);
	name[250] = 0;
	for (depth = 0; depth < 20; depth++) {
		r = p9_mkdir(&f.client, depth ? 1 : 0, name, 0700);
		if (r == 0)
			r = p9_walk(&f.client, depth ? 1 : 0, 1, name);
		if (r < 0)
			break;
	}
	assert_int_equal(r, -ENAMETOOLONG);
	assert_int_equal(depth, 16);
	for (unsigned i = 0; i < 5000 && (r == 0 || i == 0); i++)
		r = p9_walk(&f.client, 1, 1000 + i, "");
	assert_int_equal(r, -ENFILE);
	/* What is too long by renaming is lost, and only it: the longest path, its first part renamed to a longer name. */
	p9_client_start(&f.client, f.server);
	snprintf(why, sizeof(why), "%s", name);
	assert_int_equal(p9_walk(&f.client, 0, 1, name), 0);
	for (unsigned i = 1; i < 16; i++)
		assert_int_equal(p9_walk(&f.client, 1, 1, name), 0);
	memset(name, 'm', 79);
	name[79] = 0;
	assert_int_equal(p9_mkdir(&f.client, 1, name, 0700), 0);
	assert_int_equal(p9_walk(&f.client, 1, 2, name), 0);
	memset(name, 'x', 255);
	name[255] = 0;
	assert_int_equal(p9_renameat(&f.client, 0, why, 0, name), 0);
	assert_int_equal(p9_walk(&f.client, 2, 3, ""), -ESTALE);
	assert_int_equal(p9_walk(&f.client, 1, 3, ""), 0);
	assert_int_equal(p9_clunk(&f.client, 2), 0);
	assert_int_equal(p9_read_file(&f.client, "file", text, 1), 1);
	stop(&f);
}

static void bad_messages(void **state)
{
	struct fixture f;
	uint8_t *m;

	start(&f, false);
	m = f.client.message;
	/* Shorter than a header; no room for an error; sizes that lie. */
	memset(m, 0, 64);
	for (size_t len = 0; len < 7; len++)
		assert_int_equal(p9_send_raw(&f.client, len, 100), 0);
	assert_int_equal(p9_send_raw(&f.client, 64, 10), 0);
	for (unsigned size = 0; size < 200; size++) {
		m[0] = (uint8_t)size;
		m[4] = 100;
		assert_int_equal(p9_send_raw(&f.client, 64, 100), 11);
		assert_int_equal(f.client.answer[4], 7);
	}
	memset(m, 0xff, 4);
	assert_int_equal(p9_send_raw(&f.client, 64, 100), 11);
	/* Each message, cut at each place. */
	for (unsigned type = 0; type < 256; type++) {
		if (type == 100)
			continue;
		for (unsigned size = 7; size < 64; size++) {
			memset(m, 0, 64);
			m[0] = (uint8_t)size;
			m[4] = (uint8_t)type;
			memset(m + 7, (int)(size & 1 ? 0x01 : 0), 57);
			assert_true(p9_send_raw(&f.client, 64, 200) >= 7);
		}
	}
	/* Answers larger than the room. */
	p9_client_start(&f.client, f.server);
	assert_int_equal(p9_walk(&f.client, 0, 1, "file"), 0);
	assert_int_equal(p9_open(&f.client, 1, 0), 0);
	p9_begin(&f.client, 116);
	p9_put32(&f.client.out, 1);
	p9_put64(&f.client.out, 0);
	p9_put32(&f.client.out, 7);
	m[0] = 23;
	assert_int_equal(p9_send_raw(&f.client, 23, 14), 14);
	assert_memory_equal(f.client.answer + 11, "con", 3);
	p9_begin(&f.client, 24);
	p9_put32(&f.client.out, 1);
	p9_put64(&f.client.out, 0);
	m[0] = 19;
	assert_int_equal(p9_send_raw(&f.client, 19, 50), 11);
	assert_int_equal(f.client.answer[7], EMSGSIZE);
	stop(&f);
}

static void nothing_leads_out(void **state)
{
	struct fixture f;
	struct stat st, inside;
	char buf[100];
	char path[200];

	start(&f, false);
	assert_int_equal(symlinkat("../outside", f.share, "out"), 0);
	assert_int_equal(symlinkat("../outside/secret", f.share, "secret"), 0);
	snprintf(path, sizeof(path), "%s/outside", f.base);
	assert_int_equal(symlinkat(path, f.share, "absolute"), 0);
	assert_int_equal(symlinkat("/proc/self/root", f.share, "magic"), 0);
	assert_int_equal(p9_symlink(&f.client, 0, "mine", path), 0);
	assert_int_equal(p9_symlink(&f.client, 0, "inward", "dir"), 0);
	/* The root's parent is the root, and so is everybody's that is further out. */
	assert_int_equal(p9_getattr(&f.client, 0, &inside), 0);
	assert_int_equal(p9_walk(&f.client, 0, 1, "../../../.."), 0);
	assert_int_equal(p9_getattr(&f.client, 1, &st), 0);
	assert_int_equal(st.st_ino, inside.st_ino);
	assert_int_equal(p9_walk(&f.client, 0, 2, "dir/../../.."), 0);
	assert_int_equal(p9_getattr(&f.client, 2, &st), 0);
	assert_int_equal(st.st_ino, inside.st_ino);
	assert_int_equal(p9_read_file(&f.client, "../outside/secret", buf, sizeof(buf)), -ENOENT);
	assert_int_equal(p9_read_file(&f.client, "dir/../file", buf, sizeof(buf)), 7);
	/* No link is followed, not even inward. */
	for (const char *const *link = (const char *const[]){"out", "absolute", "mine", "magic", "inward", NULL}; *link; link++) {
		snprintf(path, sizeof(path), "%s/secret", *link);
		assert_true(p9_read_file(&f.client, path, buf, sizeof(buf)) < 0);
		assert_true(p9_write_file(&f.client, path, "x") < 0);
		assert_int_equal(p9_walk(&f.client, 0, 3, *link), 0);
		assert_int_equal(p9_open(&f.client, 3, 0), -ELOOP);
		assert_int_equal(p9_create(&f.client, 3, "new", 02, 0600), -ENOTDIR);
		assert_int_equal(p9_mkdir(&f.client, 3, "new", 0700), -ENOTDIR);
		assert_int_equal(p9_unlinkat(&f.client, 3, "secret", 0), -ENOTDIR);
		assert_int_equal(p9_renameat(&f.client, 3, "secret", 0, "stolen"), -ENOTDIR);
		assert_int_equal(p9_renameat(&f.client, 0, "file", 3, "given"), -ENOTDIR);
		assert_int_equal(p9_link(&f.client, 3, 1, "given"), -EPERM);
		assert_int_equal(p9_clunk(&f.client, 3), 0);
	}
	assert_int_equal(p9_read_file(&f.client, "secret", buf, sizeof(buf)), -ELOOP);
	assert_int_equal(p9_write_file(&f.client, "secret", "x"), -ELOOP);
	/* A file that is called like the link, without O_EXCL: not where that leads. */
	assert_int_equal(p9_walk(&f.client, 0, 4, ""), 0);
	assert_int_equal(p9_create(&f.client, 4, "secret", 02 | 01000, 0600), -ELOOP);
	/* Another name for a link is another link. */
	assert_int_equal(p9_walk(&f.client, 0, 5, "secret"), 0);
	assert_int_equal(p9_link(&f.client, 0, 5, "secret2"), 0);
	assert_int_equal(fstatat(f.share, "secret2", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISLNK(st.st_mode));
	/* A directory that the guest has, moved out: what is in it now is not the guest's. */
	assert_int_equal(p9_walk(&f.client, 0, 6, "dir"), 0);
	assert_int_equal(p9_walk(&f.client, 0, 7, "dir/inner"), 0);
	assert_int_equal(renameat(f.share, "dir", f.outside, "dir"), 0);
	put_file(f.outside, "dir/later", CANARY);
	assert_true(p9_walk(&f.client, 6, 8, "later") < 0);
	assert_true(p9_walk(&f.client, 6, 8, "../secret") < 0);
	assert_true(p9_mkdir(&f.client, 6, "new", 0700) < 0);
	assert_true(p9_open(&f.client, 7, 0) < 0);
	assert_int_equal(renameat(f.outside, "dir", f.share, "dir"), 0);
	assert_int_equal(p9_open(&f.client, 7, 0), 0);
	stop(&f);
}

static void read_only(void **state)
{
	struct fixture f;
	char buf[100];

	start(&f, true);
	assert_int_equal(p9_read_file(&f.client, "file", buf, sizeof(buf)), 7);
	assert_int_equal(p9_write_file(&f.client, "file", "x"), -EROFS);
	assert_int_equal(p9_walk(&f.client, 0, 1, "file"), 0);
	assert_int_equal(p9_open(&f.client, 1, 01000), -EROFS);
	assert_int_equal(p9_setattr(&f.client, 1, 1, 0, 0, 0, 0), -EROFS);
	assert_int_equal(p9_walk(&f.client, 0, 2, ""), 0);
	assert_int_equal(p9_create(&f.client, 2, "new", 0, 0600), -EROFS);
	assert_int_equal(p9_mkdir(&f.client, 0, "new", 0700), -EROFS);
	assert_int_equal(p9_symlink(&f.client, 0, "new", "x"), -EROFS);
	assert_int_equal(p9_mknod(&f.client, 0, "new", S_IFREG), -EROFS);
	assert_int_equal(p9_link(&f.client, 0, 1, "new"), -EROFS);
	assert_int_equal(p9_rename(&f.client, 1, 0, "new"), -EROFS);
	assert_int_equal(p9_renameat(&f.client, 0, "file", 0, "new"), -EROFS);
	assert_int_equal(p9_unlinkat(&f.client, 0, "file", 0), -EROFS);
	assert_int_equal(p9_remove(&f.client, 1), -EROFS);
	assert_true(holds(f.share, "file", "content"));
	assert_int_equal(count_entries(f.share, "."), 4);
	stop(&f);
}

/* ---- races ---- */

static void exchange(int at, const char *a, const char *b)
{
	if (syscall(SYS_renameat2, at, a, at, b, 2 /* RENAME_EXCHANGE */) < 0)
		_exit(3);
}

/* A process of the host that swaps, until it is killed: a directory for a link to one outside, a file for a link to one outside, a
 * file for a FIFO, and (if that is wanted) moves a directory out, puts a secret into it, and moves it back. */
static pid_t start_racer(struct fixture *f, bool move)
{
	pid_t pid;

	assert_int_equal(symlinkat("../outside", f->share, "link"), 0);
	assert_int_equal(symlinkat("../outside/secret", f->share, "file-link"), 0);
	assert_int_equal(mkfifoat(f->share, "fifo", 0666), 0);
	put_file(f->share, "plain", "plain");
	put_file(f->share, "dir/secret", "inner");
	assert_int_equal(mkdirat(f->share, "moving", 0755), 0);
	pid = fork();
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		exchange(f->share, "dir", "link");
		exchange(f->share, "file", "file-link");
		exchange(f->share, "plain", "fifo");
		if (!move)
			continue;
		renameat(f->share, "moving", f->outside, "moving");
		int fd = openat(f->outside, "moving/secret", O_WRONLY | O_CREAT, 0644);
		if (fd >= 0) {
			ssize_t n = write(fd, CANARY, sizeof(CANARY) - 1);

			(void)n;
			close(fd);
		}
		unlinkat(f->outside, "moving/secret", 0);
		renameat(f->outside, "moving", f->share, "moving");
	}
}

struct tally {
	unsigned reached, refused;
};

static void count(struct tally *tally, int result)
{
	if (result >= 0)
		tally->reached++;
	else
		tally->refused++;
}

/* Reads what is called path now. The canary is no answer. */
static void race_read(struct p9_client *client, const char *path, struct tally *tally)
{
	char buf[100] = "";
	int r = p9_read_file(client, path, buf, sizeof(buf) - 1);

	count(tally, r);
	assert_null(strstr(buf, "nobody"));
}

/* Everything that writes, at names that lead out every other moment. */
static void race_write(struct p9_client *client, struct tally *tally)
{
	count(tally, p9_write_file(client, "dir/secret", "x"));
	count(tally, p9_write_file(client, "file", "y"));
	count(tally, p9_write_file(client, "plain", "z"));
	if (p9_walk(client, 0, 10, "dir") == 0) {
		count(tally, p9_mkdir(client, 10, "made", 0755));
		count(tally, p9_unlinkat(client, 10, "made", 0x200));
		count(tally, p9_symlink(client, 10, "sym", "x"));
		count(tally, p9_renameat(client, 10, "sym", 10, "sym2"));
		count(tally, p9_unlinkat(client, 10, "sym2", 0));
		count(tally, p9_renameat(client, 10, "secret", 10, "secret"));
		count(tally, p9_setattr(client, 10, 1, 0755, 0, 0, 0));
		if (p9_walk(client, 10, 11, "secret") == 0) {
			count(tally, p9_setattr(client, 11, 0x9, 0600, 0, 1, 0));
			if (p9_link(client, 10, 11, "hard") == 0)
				(void)p9_unlinkat(client, 10, "hard", 0);
			(void)p9_clunk(client, 11);
		}
		/* A fid that was not created is still the directory, or the link. */
		if (p9_create(client, 10, "created", 02, 0600) == 0) {
			tally->reached++;
			(void)p9_remove(client, 10);
		} else {
			tally->refused++;
			(void)p9_clunk(client, 10);
		}
	}
	if (p9_walk(client, 0, 12, "file") == 0) {
		count(tally, p9_setattr(client, 12, 0x9, 0600, 0, 2, 0));
		(void)p9_clunk(client, 12);
	}
}

static void races(void **state)
{
	struct tally reads = {0}, writes = {0};
	struct fixture f;
	int status;
	pid_t pid;
	time_t end;

	start(&f, false);
	pid = start_racer(&f, false);
	end = time(NULL) + RACE_S;
	while (time(NULL) < end) {
		race_read(&f.client, "dir/secret", &reads);
		race_read(&f.client, "dir/../dir/secret", &reads);
		race_read(&f.client, "file", &reads);
		race_read(&f.client, "plain", &reads);
		race_write(&f.client, &writes);
	}
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	print_message("reads: %u reached a file, %u were refused; writes: %u, %u\n", reads.reached, reads.refused, writes.reached,
		      writes.refused);
	/* Both happened, so names were swapped under way. */
	assert_true(reads.reached > 50 && reads.refused > 50 && writes.reached > 50 && writes.refused > 50);
	check_outside(&f, 1);
	stop(&f);
}

/* ---- the thread ---- */

struct threaded {
	struct loop *loop;
	struct share_backend *backend;
	struct share_request request;
	uint32_t len;
	bool done;
};

static void on_done(struct share_request *request, uint32_t len)
{
	struct threaded *t = request->ctx;

	t->len = len;
	t->done = true;
	loop_stop(t->loop);
}

/* What the message in `bytes` gets for an answer. */
static uint32_t ask(struct threaded *t, struct p9_out *out, uint8_t *answer, size_t room)
{
	struct iobuf request = {out->bytes, out->len}, in = {answer, room};

	for (unsigned i = 0; i < 4; i++)
		out->bytes[i] = (uint8_t)(out->len >> (8 * i));
	t->request = (struct share_request){.out = &request, .out_count = 1, .in = &in, .in_count = 1, .done = on_done, .ctx = t};
	t->done = false;
	t->backend->ops->submit(t->backend, &t->request);
	while (!t->done)
		assert_int_equal(loop_run(t->loop), 0);
	return t->len;
}

static struct p9_out message(uint8_t *bytes, size_t size, uint8_t type)
{
	struct p9_out out = {.bytes = bytes, .size = size};

	p9_put32(&out, 0);
	p9_put8(&out, type);
	p9_put16(&out, 1);
	return out;
}

/* In a child: the thread's restrictions are for good. Moved directories too, by the kernel's own watch. */
static void thread_in_its_cage(void **state)
{
	uint8_t bytes[200], answer[8192];
	struct threaded t = {0};
	struct p9_out out;
	struct fixture f;
	char why[256], path[80];
	unsigned reached = 0;
	time_t end;
	pid_t pid;
	int status;

	start(&f, false);
	snprintf(path, sizeof(path), "%s/share", f.base);
	t.loop = loop_create(why, sizeof(why));
	assert_non_null(t.loop);
	assert_int_equal(share_dir_open(&(struct share_dir_options){.directory = path, .confine = true}, t.loop, &t.backend, why,
					sizeof(why)), 0);
	pid = start_racer(&f, true);
	out = message(bytes, sizeof(bytes), 100);
	p9_put32(&out, 8192);
	p9_put_string(&out, "9P2000.L", 8);
	assert_int_equal(ask(&t, &out, answer, sizeof(answer)), 21);
	out = message(bytes, sizeof(bytes), 104);
	p9_put32(&out, 0);
	p9_put32(&out, UINT32_MAX);
	p9_put_string(&out, "u", 1);
	p9_put_string(&out, "", 0);
	p9_put32(&out, 0);
	assert_int_equal(ask(&t, &out, answer, sizeof(answer)), 20);
	for (end = time(NULL) + RACE_S; time(NULL) < end;) {
		out = message(bytes, sizeof(bytes), 110);
		p9_put32(&out, 0);
		p9_put32(&out, 1);
		p9_put16(&out, 2);
		p9_put_string(&out, "moving", 6);
		p9_put_string(&out, "secret", 6);
		(void)ask(&t, &out, answer, sizeof(answer));
		out = message(bytes, sizeof(bytes), 12);
		p9_put32(&out, 1);
		p9_put32(&out, 0);
		(void)ask(&t, &out, answer, sizeof(answer));
		out = message(bytes, sizeof(bytes), 116);
		p9_put32(&out, 1);
		p9_put64(&out, 0);
		p9_put32(&out, 100);
		memset(answer, 0, sizeof(answer));
		(void)ask(&t, &out, answer, sizeof(answer));
		assert_null(memmem(answer, sizeof(answer), "nobody", 6));
		out = message(bytes, sizeof(bytes), 120);
		p9_put32(&out, 1);
		(void)ask(&t, &out, answer, sizeof(answer));
		out = message(bytes, sizeof(bytes), 110);
		p9_put32(&out, 0);
		p9_put32(&out, 2);
		p9_put16(&out, 1);
		p9_put_string(&out, "moving", 6);
		(void)ask(&t, &out, answer, sizeof(answer));
		reached += answer[4] == 111;
		out = message(bytes, sizeof(bytes), 120);
		p9_put32(&out, 2);
		(void)ask(&t, &out, answer, sizeof(answer));
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	assert_true(reached > 50);
	/* A session's end goes the same way. */
	t.request = (struct share_request){.done = on_done, .ctx = &t};
	t.done = false;
	t.backend->ops->submit(t.backend, &t.request);
	t.backend->ops->drain(t.backend);
	assert_true(t.done);
	t.backend->ops->destroy(t.backend);
	loop_destroy(t.loop);
	(void)renameat(f.outside, "moving", f.share, "moving");
	stop(&f);
}

static void refused_directories(void **state)
{
	struct p9_server *server;
	char why[256];

	assert_true(p9_server_create("/nonexistent", false, 16, &server, why, sizeof(why)) < 0);
	assert_non_null(strstr(why, "/nonexistent"));
	assert_int_equal(p9_server_create("/proc/self/exe", false, 16, &server, why, sizeof(why)), -ENOTDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(session),
		cmocka_unit_test(reads_and_writes),
		cmocka_unit_test(names),
		cmocka_unit_test(attributes),
		cmocka_unit_test(directories),
		cmocka_unit_test(locks),
		cmocka_unit_test(limits),
		cmocka_unit_test(bad_messages),
		cmocka_unit_test(nothing_leads_out),
		cmocka_unit_test(read_only),
		cmocka_unit_test(races),
		cmocka_unit_test(thread_in_its_cage),
		cmocka_unit_test(refused_directories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
