/* A directory of the host for the guest: 9P messages (p9_server.h) on a thread of its own, so that nobody else waits for its files.
 *
 * Example:
 *     err = share_dir_open(&(struct share_dir_options){.directory = "/home/me/project"}, loop, &backend, why, sizeof(why));
 *
 * Before its first message the thread gives up what it doesn't need: by Landlock it is confined to the directory, where the kernel
 * has that, and then by whatever enter_worker does.
 */
#ifndef BACKEND_SHARE_DIR_H
#define BACKEND_SHARE_DIR_H

#include "core/backend.h"

struct loop;

struct share_dir_options {
	const char *directory;
	bool read_only;
	bool confine;   /* by Landlock */
	/* Called on the thread before the first message; false: it serves none. May be NULL. */
	bool (*enter_worker)(void *ctx);
	void *enter_ctx;
};

/* 0, or -errno with one sentence in why. */
int share_dir_open(const struct share_dir_options *options, struct loop *loop, struct share_backend **out, char *why, size_t why_size) must_check;

#endif
