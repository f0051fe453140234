/* A 9P client for tests: it puts messages together, gives them to a server directly, and takes the answers apart.
 *
 * Example:
 *     p9_client_start(&client, server);                       // version, fid 0 is the root
 *     assert_int_equal(p9_walk(&client, 0, 1, "dir/file"), 0);
 *     assert_int_equal(p9_open(&client, 1, O_RDONLY), 0);
 *     n = p9_read(&client, 1, 0, buf, sizeof(buf));
 */
#ifndef TESTS_BACKEND_P9_CLIENT_H
#define TESTS_BACKEND_P9_CLIENT_H

#include "backend/p9_message.h"
#include "backend/p9_server.h"
#include <sys/stat.h>

#define P9_CLIENT_MSIZE 65536u

struct p9_client {
	struct p9_server *server;
	struct p9_out out;
	struct p9_in in; /* what follows the header of the last answer */
	uint8_t message[P9_CLIENT_MSIZE], answer[P9_CLIENT_MSIZE];
	unsigned split;  /* messages are cut there, for the server's sake */
};

/* A message: begin, put fields into client->out, send. 0, or what Rlerror says, negated. */
void p9_begin(struct p9_client *client, uint8_t type);
int p9_send(struct p9_client *client);
/* What is in client->message, as it is; returns what the server returns. */
uint32_t p9_send_raw(struct p9_client *client, size_t len, size_t room);

void p9_client_start(struct p9_client *client, struct p9_server *server);
int p9_version(struct p9_client *client, uint32_t msize, const char *version);
int p9_attach(struct p9_client *client, uint32_t fid, const char *tree);
/* names with slashes between them; "": none. -ENOENT also if the walk ended early. */
int p9_walk(struct p9_client *client, uint32_t fid, uint32_t new_fid, const char *names);
int p9_open(struct p9_client *client, uint32_t fid, uint32_t flags);
int p9_create(struct p9_client *client, uint32_t fid, const char *name, uint32_t flags, uint32_t mode);
/* Bytes, or -errno. */
int p9_read(struct p9_client *client, uint32_t fid, uint64_t offset, void *buf, uint32_t count);
int p9_write(struct p9_client *client, uint32_t fid, uint64_t offset, const void *buf, uint32_t count);
/* mode, size and the like; what the protocol doesn't have is zero. */
int p9_getattr(struct p9_client *client, uint32_t fid, struct stat *st);
int p9_setattr(struct p9_client *client, uint32_t fid, uint32_t valid, uint32_t mode, uint32_t uid, uint64_t size, uint64_t mtime);
int p9_mkdir(struct p9_client *client, uint32_t fid, const char *name, uint32_t mode);
int p9_symlink(struct p9_client *client, uint32_t fid, const char *name, const char *target);
int p9_mknod(struct p9_client *client, uint32_t fid, const char *name, uint32_t mode);
int p9_link(struct p9_client *client, uint32_t directory, uint32_t fid, const char *name);
int p9_rename(struct p9_client *client, uint32_t fid, uint32_t directory, const char *name);
int p9_renameat(struct p9_client *client, uint32_t from, const char *old, uint32_t to, const char *new);
int p9_unlinkat(struct p9_client *client, uint32_t directory, const char *name, uint32_t flags);
int p9_readlink(struct p9_client *client, uint32_t fid, char *target, size_t size);
int p9_clunk(struct p9_client *client, uint32_t fid);
int p9_remove(struct p9_client *client, uint32_t fid);
/* A fid of its own for the path, opened, used and clunked. Bytes or -errno. */
int p9_read_file(struct p9_client *client, const char *path, void *buf, uint32_t count);
int p9_write_file(struct p9_client *client, const char *path, const char *text);

#endif
