/* See p9_client.h. */
#include "p9_client.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SCRATCH 0x7fffu /* the fid of p9_read_file() and p9_write_file() */

void p9_begin(struct p9_client *client, uint8_t type)
{
	client->out = (struct p9_out){.bytes = client->message, .size = sizeof(client->message)};
	p9_put32(&client->out, 0);
	p9_put8(&client->out, type);
	p9_put16(&client->out, 7);
}

uint32_t p9_send_raw(struct p9_client *client, size_t len, size_t room)
{
	/* In pieces: nothing may depend on where they end. */
	size_t cut = client->split % (len + 1), answer_cut = client->split % 13;
	const struct iobuf out[] = {{client->message, cut}, {client->message + cut, len - cut}};
	struct iobuf in[2];

	client->split += 5;
	if (answer_cut > room)
		answer_cut = room;
	in[0] = (struct iobuf){client->answer, answer_cut};
	in[1] = (struct iobuf){client->answer + answer_cut, room - answer_cut};
	return p9_server_serve(client->server, out, 2, in, 2);
}

int p9_send(struct p9_client *client)
{
	size_t len = client->out.len;
	uint32_t got, size;
	uint8_t type;

	for (unsigned i = 0; i < 4; i++)
		client->message[i] = (uint8_t)(len >> (8 * i));
	got = p9_send_raw(client, len, sizeof(client->answer));
	client->in = (struct p9_in){.at = client->answer, .left = got};
	size = p9_get32(&client->in);
	type = p9_get8(&client->in);
	if (client->out.full || got < 7 || size != got || p9_get16(&client->in) != 7)
		abort();
	if (type == 7)
		return -(int)p9_get32(&client->in);
	if (type != client->message[4] + 1)
		abort();
	return 0;
}

static void put_text(struct p9_client *client, const char *text)
{
	p9_put_string(&client->out, text, strlen(text));
}

void p9_client_start(struct p9_client *client, struct p9_server *server)
{
	memset(client, 0, sizeof(*client));
	client->server = server;
	if (p9_version(client, P9_CLIENT_MSIZE, "9P2000.L") || p9_attach(client, 0, ""))
		abort();
}

int p9_version(struct p9_client *client, uint32_t msize, const char *version)
{
	p9_begin(client, 100);
	p9_put32(&client->out, msize);
	put_text(client, version);
	return p9_send(client);
}

int p9_attach(struct p9_client *client, uint32_t fid, const char *tree)
{
	p9_begin(client, 104);
	p9_put32(&client->out, fid);
	p9_put32(&client->out, UINT32_MAX);
	put_text(client, "root");
	put_text(client, tree);
	p9_put32(&client->out, 0);
	return p9_send(client);
}

int p9_walk(struct p9_client *client, uint32_t fid, uint32_t new_fid, const char *names)
{
	size_t count_at;
	uint16_t count = 0;
	int r;

	p9_begin(client, 110);
	p9_put32(&client->out, fid);
	p9_put32(&client->out, new_fid);
	count_at = client->out.len;
	p9_put16(&client->out, 0);
	while (*names) {
		size_t len = strcspn(names, "/");

		p9_put_string(&client->out, names, len);
		names += len + (names[len] == '/');
		count++;
	}
	client->message[count_at] = (uint8_t)count;
	r = p9_send(client);
	if (r == 0 && p9_get16(&client->in) != count)
		r = -ENOENT;
	return r;
}

int p9_open(struct p9_client *client, uint32_t fid, uint32_t flags)
{
	p9_begin(client, 12);
	p9_put32(&client->out, fid);
	p9_put32(&client->out, flags);
	return p9_send(client);
}

int p9_create(struct p9_client *client, uint32_t fid, const char *name, uint32_t flags, uint32_t mode)
{
	p9_begin(client, 14);
	p9_put32(&client->out, fid);
	put_text(client, name);
	p9_put32(&client->out, flags);
	p9_put32(&client->out, mode);
	p9_put32(&client->out, 0);
	return p9_send(client);
}

int p9_read(struct p9_client *client, uint32_t fid, uint64_t offset, void *buf, uint32_t count)
{
	uint32_t n;
	int r;

	p9_begin(client, 116);
	p9_put32(&client->out, fid);
	p9_put64(&client->out, offset);
	p9_put32(&client->out, count);
	r = p9_send(client);
	if (r < 0)
		return r;
	n = p9_get32(&client->in);
	if (n > count || n != client->in.left)
		abort();
	memcpy(buf, client->in.at, n);
	return (int)n;
}

int p9_write(struct p9_client *client, uint32_t fid, uint64_t offset, const void *buf, uint32_t count)
{
	int r;

	p9_begin(client, 118);
	p9_put32(&client->out, fid);
	p9_put64(&client->out, offset);
	p9_put32(&client->out, count);
	memcpy(client->message + client->out.len, buf, count);
	client->out.len += count;
	r = p9_send(client);
	return r < 0 ? r : (int)p9_get32(&client->in);
}

int p9_getattr(struct p9_client *client, uint32_t fid, struct stat *st)
{
	int r;

	p9_begin(client, 24);
	p9_put32(&client->out, fid);
	p9_put64(&client->out, 0x7ff);
	r = p9_send(client);
	if (r < 0)
		return r;
	memset(st, 0, sizeof(*st));
	(void)p9_get64(&client->in);
	(void)p9_get8(&client->in);
	(void)p9_get32(&client->in);
	st->st_ino = p9_get64(&client->in);
	st->st_mode = p9_get32(&client->in);
	st->st_uid = p9_get32(&client->in);
	st->st_gid = p9_get32(&client->in);
	st->st_nlink = p9_get64(&client->in);
	(void)p9_get64(&client->in);
	st->st_size = (off_t)p9_get64(&client->in);
	(void)p9_get64(&client->in);
	(void)p9_get64(&client->in);
	(void)p9_get64(&client->in);
	(void)p9_get64(&client->in);
	st->st_mtim.tv_sec = (time_t)p9_get64(&client->in);
	if (client->in.bad)
		abort();
	return 0;
}

int p9_setattr(struct p9_client *client, uint32_t fid, uint32_t valid, uint32_t mode, uint32_t uid, uint64_t size, uint64_t mtime)
{
	p9_begin(client, 26);
	p9_put32(&client->out, fid);
	p9_put32(&client->out, valid);
	p9_put32(&client->out, mode);
	p9_put32(&client->out, uid);
	p9_put32(&client->out, 0);
	p9_put64(&client->out, size);
	p9_put64(&client->out, 0);
	p9_put64(&client->out, 0);
	p9_put64(&client->out, mtime);
	p9_put64(&client->out, 0);
	return p9_send(client);
}

int p9_mkdir(struct p9_client *client, uint32_t fid, const char *name, uint32_t mode)
{
	p9_begin(client, 72);
	p9_put32(&client->out, fid);
	put_text(client, name);
	p9_put32(&client->out, mode);
	p9_put32(&client->out, 0);
	return p9_send(client);
}

int p9_symlink(struct p9_client *client, uint32_t fid, const char *name, const char *target)
{
	p9_begin(client, 16);
	p9_put32(&client->out, fid);
	put_text(client, name);
	put_text(client, target);
	p9_put32(&client->out, 0);
	return p9_send(client);
}

int p9_mknod(struct p9_client *client, uint32_t fid, const char *name, uint32_t mode)
{
	p9_begin(client, 18);
	p9_put32(&client->out, fid);
	put_text(client, name);
	p9_put32(&client->out, mode);
	p9_put32(&client->out, 1);
	p9_put32(&client->out, 3);
	p9_put32(&client->out, 0);
	return p9_send(client);
}

int p9_link(struct p9_client *client, uint32_t directory, uint32_t fid, const char *name)
{
	p9_begin(client, 70);
	p9_put32(&client->out, directory);
	p9_put32(&client->out, fid);
	put_text(client, name);
	return p9_send(client);
}

int p9_rename(struct p9_client *client, uint32_t fid, uint32_t directory, const char *name)
{
	p9_begin(client, 20);
	p9_put32(&client->out, fid);
	p9_put32(&client->out, directory);
	put_text(client, name);
	return p9_send(client);
}

int p9_renameat(struct p9_client *client, uint32_t from, const char *old, uint32_t to, const char *new)
{
	p9_begin(client, 74);
	p9_put32(&client->out, from);
	put_text(client, old);
	p9_put32(&client->out, to);
	put_text(client, new);
	return p9_send(client);
}

int p9_unlinkat(struct p9_client *client, uint32_t directory, const char *name, uint32_t flags)
{
	p9_begin(client, 76);
	p9_put32(&client->out, directory);
	put_text(client, name);
	p9_put32(&client->out, flags);
	return p9_send(client);
}

int p9_readlink(struct p9_client *client, uint32_t fid, char *target, size_t size)
{
	int r;

	p9_begin(client, 22);
	p9_put32(&client->out, fid);
	r = p9_send(client);
	if (r == 0)
		p9_get_string(&client->in, target, size);
	return r;
}

static int with_fid(struct p9_client *client, uint8_t type, uint32_t fid)
{
	p9_begin(client, type);
	p9_put32(&client->out, fid);
	return p9_send(client);
}

int p9_clunk(struct p9_client *client, uint32_t fid)
{
	return with_fid(client, 120, fid);
}

int p9_remove(struct p9_client *client, uint32_t fid)
{
	return with_fid(client, 122, fid);
}

int p9_read_file(struct p9_client *client, const char *path, void *buf, uint32_t count)
{
	int r = p9_walk(client, 0, SCRATCH, path);

	if (r < 0)
		return r;
	r = p9_open(client, SCRATCH, 0);
	if (r == 0)
		r = p9_read(client, SCRATCH, 0, buf, count);
	(void)p9_clunk(client, SCRATCH);
	return r;
}

int p9_write_file(struct p9_client *client, const char *path, const char *text)
{
	int r = p9_walk(client, 0, SCRATCH, path);

	if (r < 0)
		return r;
	r = p9_open(client, SCRATCH, 01 | 01000);
	if (r == 0)
		r = p9_write(client, SCRATCH, 0, text, (uint32_t)strlen(text));
	(void)p9_clunk(client, SCRATCH);
	return r;
}
