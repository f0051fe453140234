/* Private to backend/char*: the kinds that char_open() chooses from. path is what follows `=`, or NULL.
 * Each fills why unless it returns 0 or -ENOMEM.
 */
#ifndef BACKEND_CHAR_KINDS_H
#define BACKEND_CHAR_KINDS_H

#include "backend/char.h"

int char_stdio_open(struct char_host *host, const char *path, const char *id, struct char_backend **out, char *why,
		    size_t why_size) must_check;
int char_none_open(struct char_host *host, const char *path, const char *id, struct char_backend **out, char *why,
		   size_t why_size) must_check;
int char_file_open(struct char_host *host, const char *path, const char *id, struct char_backend **out, char *why,
		   size_t why_size) must_check;
int char_unix_open(struct char_host *host, const char *path, const char *id, struct char_backend **out, char *why,
		   size_t why_size) must_check;
int char_detached_open(struct char_host *host, const char *path, const char *id, struct char_backend **out, char *why,
		       size_t why_size) must_check;
int char_pty_open(struct char_host *host, const char *path, const char *id, struct char_backend **out, char *why,
		  size_t why_size) must_check;

#endif
