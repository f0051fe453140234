/* libFuzzer target for the 9P server: a client sends messages, in order and out of order, whole and broken, with names that lead out, on
 * a small directory of real files that holds links to a file outside. Whatever it does, the answer is a message that fits its room, the
 * file outside stays as it was, and all memory and descriptors come back.
 *
 * Example:
 *     fuzz_9p -seed_inputs=seeds/9p -max_len=256 -runs=100000
 *
 * The input is a list of operations, a byte each with its operands behind it.
 */
#include "../backend/p9_client.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECK(condition)                                                                                           \
	do {                                                                                                       \
		if (!(condition))                                                                                  \
			abort();                                                                                   \
	} while (0)

#define CANARY "what nobody may see"

enum op { RAW, WALK, OPEN, CREATE, READ, WRITE, GETATTR, SETATTR, MKDIR, SYMLINK, MKNOD, LINK, RENAME, RENAMEAT, UNLINK, READLINK, CLUNK,
	  REMOVE, READDIR, OTHER, VERSION, OP_COUNT };

struct input {
	const uint8_t *bytes;
	size_t len;
};

/* Made once: the directories, removed at exit. */
static char base[64];
static int base_fd = -1;

static uint32_t take(struct input *in, unsigned bytes)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < bytes && in->len > 0; i++, in->len--)
		value |= (uint32_t)*in->bytes++ << (8 * i);
	return value;
}

static const char *take_name(struct input *in)
{
	static const char *const names[] = {"a", "b", "file", "dir", "out", "secret", "absolute", "..", ".", "", "dir/inner", "inner",
					    "a/b", "../outside", "link/../a", "fifo"};

	return names[take(in, 1) % ARRAY_SIZE(names)];
}

static uint32_t take_fid(struct input *in)
{
	uint32_t fid = take(in, 1) % 9;

	return fid == 8 ? UINT32_MAX : fid;
}

/* ---- files ---- */

static void empty_directory(int at, const char *name)
{
	int fd;
	DIR *dir;
	struct dirent *entry;

	fchmodat(at, name, 0700, 0);
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	CHECK(fd >= 0);
	dir = fdopendir(fd);
	CHECK(dir);
	while ((entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (unlinkat(fd, entry->d_name, 0) == 0)
			continue;
		empty_directory(fd, entry->d_name);
		CHECK(unlinkat(fd, entry->d_name, AT_REMOVEDIR) == 0);
	}
	closedir(dir);
}

static void put_file(const char *name, const char *text)
{
	int fd = openat(base_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void clean_up(void)
{
	empty_directory(AT_FDCWD, base);
	rmdir(base);
}

static void make_base(void)
{
	snprintf(base, sizeof(base), "%s/ruse-fuzz-9p-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	CHECK(mkdtemp(base));
	base_fd = open(base, O_RDONLY | O_DIRECTORY);
	CHECK(base_fd >= 0);
	atexit(clean_up);
	CHECK(mkdirat(base_fd, "outside", 0755) == 0);
	put_file("outside/secret", CANARY);
}

static void make_share(void)
{
	char target[100];

	CHECK(mkdirat(base_fd, "share", 0755) == 0 && mkdirat(base_fd, "share/dir", 0755) == 0);
	put_file("share/file", "content");
	put_file("share/dir/inner", "inner");
	snprintf(target, sizeof(target), "%s/outside", base);
	CHECK(symlinkat("../outside", base_fd, "share/out") == 0 && symlinkat("../outside/secret", base_fd, "share/secret") == 0);
	CHECK(symlinkat(target, base_fd, "share/absolute") == 0 && mkfifoat(base_fd, "share/fifo", 0600) == 0);
}

static void check_outside(void)
{
	char text[100] = "";
	struct stat st;
	int fd = openat(base_fd, "outside/secret", O_RDONLY);

	CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) == sizeof(CANARY) - 1 && !strcmp(text, CANARY));
	CHECK(fstat(fd, &st) == 0 && st.st_nlink == 1 && st.st_mode == (S_IFREG | 0644));
	close(fd);
	CHECK(fstatat(base_fd, "outside", &st, 0) == 0 && st.st_nlink == 2);
}

/* ---- messages ---- */

/* Bytes as they come, at most with the size that fits them. */
static void send_bytes(struct p9_client *client, struct input *in)
{
	uint32_t how = take(in, 1), len = take(in, 1), room = how & 2 ? 65536 : take(in, 1);
	uint32_t answered;

	for (uint32_t i = 0; i < len; i++)
		client->message[i] = (uint8_t)take(in, 1);
	if ((how & 1) && len >= 4) {
		memset(client->message, 0, 4);
		client->message[0] = (uint8_t)len;
	}
	answered = p9_send_raw(client, len, room);
	CHECK(answered <= room);
	CHECK(!memmem(client->answer, answered, "nobody may", 10));
}

/* Requests with one fid and numbers. */
static void send_other(struct p9_client *client, struct input *in)
{
	static const uint8_t types[] = {8, 30, 32, 50, 52, 54, 102, 104, 108};

	p9_begin(client, types[take(in, 1) % ARRAY_SIZE(types)]);
	p9_put32(&client->out, take_fid(in));
	for (unsigned i = take(in, 1) % 40; i > 0; i--)
		p9_put8(&client->out, (uint8_t)take(in, 1));
	(void)p9_send(client);
}

static void read_some(struct p9_client *client, struct input *in)
{
	static uint8_t buf[65536];
	uint32_t fid = take_fid(in);
	uint64_t offset = take(in, 1) & 1 ? (uint64_t)take(in, 4) << 32 : take(in, 1);
	int n = p9_read(client, fid, offset, buf, take(in, 2) % 60000);

	CHECK(n <= 0 || !memmem(buf, (size_t)n, "nobody may", 10));
}

static void write_some(struct p9_client *client, struct input *in)
{
	static const uint8_t data[5000] = "data of the guest";
	uint32_t fid = take_fid(in);
	uint64_t offset = take(in, 1) & 1 ? (uint64_t)take(in, 4) << 32 : take(in, 1);

	(void)p9_write(client, fid, offset, data, take(in, 2) % sizeof(data));
}

static void list(struct p9_client *client, struct input *in)
{
	p9_begin(client, 40);
	p9_put32(&client->out, take_fid(in));
	p9_put64(&client->out, take(in, 1));
	p9_put32(&client->out, take(in, 2));
	(void)p9_send(client);
}

static void step(struct p9_client *client, struct input *in)
{
	enum op op = take(in, 1) % OP_COUNT;
	uint32_t fid = op == RAW || op == OTHER || op == READ || op == WRITE || op == READDIR ? 0 : take_fid(in);
	char target[4096];
	const char *name;
	struct stat st;

	switch (op) {
	case RAW:
		send_bytes(client, in);
		break;
	case WALK:
		name = take_name(in);
		(void)p9_walk(client, fid, take_fid(in), name);
		break;
	case OPEN:
		(void)p9_open(client, fid, take(in, 3));
		break;
	case CREATE:
		name = take_name(in);
		(void)p9_create(client, fid, name, take(in, 3), take(in, 2));
		break;
	case READ:
		read_some(client, in);
		break;
	case WRITE:
		write_some(client, in);
		break;
	case GETATTR:
		(void)p9_getattr(client, fid, &st);
		break;
	case SETATTR:
		/* Not of owners: root could give files away. */
		(void)p9_setattr(client, fid, take(in, 2) & ~6u, take(in, 2), 0, take(in, 4), take(in, 2));
		break;
	case MKDIR:
		name = take_name(in);
		(void)p9_mkdir(client, fid, name, take(in, 2));
		break;
	case SYMLINK:
		name = take_name(in);
		(void)p9_symlink(client, fid, name, take_name(in));
		break;
	case MKNOD:
		name = take_name(in);
		(void)p9_mknod(client, fid, name, take(in, 2));
		break;
	case LINK:
		name = take_name(in);
		(void)p9_link(client, fid, take_fid(in), name);
		break;
	case RENAME:
		name = take_name(in);
		(void)p9_rename(client, fid, take_fid(in), name);
		break;
	case RENAMEAT:
		name = take_name(in);
		(void)p9_renameat(client, fid, name, take_fid(in), take_name(in));
		break;
	case UNLINK:
		name = take_name(in);
		(void)p9_unlinkat(client, fid, name, take(in, 1) & 1 ? 0x200 : 0);
		break;
	case READLINK:
		(void)p9_readlink(client, fid, target, sizeof(target));
		break;
	case CLUNK:
		(void)p9_clunk(client, fid);
		break;
	case REMOVE:
		(void)p9_remove(client, fid);
		break;
	case READDIR:
		list(client, in);
		break;
	case OTHER:
		send_other(client, in);
		break;
	case VERSION:
		if (p9_version(client, 4096 + (take(in, 1) << 8), "9P2000.L") == 0)
			(void)p9_attach(client, fid, "");
		break;
	case OP_COUNT:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct p9_client client;
	struct input in = {bytes, len};
	struct p9_server *server;
	char why[256], path[100];
	int before, after;

	if (base_fd < 0)
		make_base();
	make_share();
	before = dup(base_fd);
	CHECK(before >= 0);
	close(before);
	snprintf(path, sizeof(path), "%s/share", base);
	CHECK(p9_server_create(path, take(&in, 1) & 1, 8, &server, why, sizeof(why)) == 0);
	p9_client_start(&client, server);
	while (in.len > 0)
		step(&client, &in);
	p9_server_destroy(server);
	/* As many descriptors as there were. */
	after = dup(base_fd);
	CHECK(after == before);
	close(after);
	check_outside();
	empty_directory(base_fd, "share");
	CHECK(unlinkat(base_fd, "share", AT_REMOVEDIR) == 0);
	return 0;
}
