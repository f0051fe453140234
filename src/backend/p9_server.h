/* A server of 9P2000.L (the dialect of Linux's 9p file system, net/9p) for one client, on the files of one directory.
 *
 * Example:
 *     r = p9_server_create("/home/me/project", false, 512, &server, why, sizeof(why));
 *     len = p9_server_serve(server, out, out_count, in, in_count);        // a message, and the room for its answer
 *
 * Requests are served one after the other, each before the function returns; whoever doesn't want to wait for disks has a thread for it
 * (share_dir.c). So a Tflush always finds its request answered.
 *
 * Who is who: everything is done as the user that ruse runs as. The guest sees owners as they are on the host; what it makes belongs to
 * that user and the user's group, and of other owners it can make only what that user may. Set-user-ID and set-group-ID bits are never
 * set, since programs of the host's users could run with them. Extended attributes are not served, and device nodes are not made.
 */
#ifndef BACKEND_P9_SERVER_H
#define BACKEND_P9_SERVER_H

#include "core/backend.h"

struct p9_server;

/* max_open: files that may be open at a time. 0, or -errno with one sentence in why. */
int p9_server_create(const char *directory, bool read_only, unsigned max_open, struct p9_server **out, char *why, size_t why_size) must_check;
/* NULL is allowed. */
void p9_server_destroy(struct p9_server *server);

/* The shared directory's O_PATH descriptor. */
int p9_server_root(const struct p9_server *server);

/* Serves one message; returns the length of the answer. 0: there is no room for one, or what came is no message. */
uint32_t p9_server_serve(struct p9_server *server, const struct iobuf *out, unsigned out_count, const struct iobuf *in, unsigned in_count);
/* The client is gone: its fids are forgotten. */
void p9_server_end_session(struct p9_server *server);

#endif
