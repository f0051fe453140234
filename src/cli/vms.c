/* Talking to running VMs; see vms.h. */
#include "cli/vms.h"

#include "control/control.h"
#include "host/linux/registry.h"
#include "host/linux/socket.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX 262144
#define PATIENCE_S 5

/* 0 or -errno. */
static int connect_to(long pid, struct vm_link *link)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	char path[REGISTRY_PATH_MAX];

	if (!registry_path(path, sizeof(path), pid, "sock"))
		return -ENOENT;
	*link = (struct vm_link){.pid = pid, .line = malloc(ANSWER_MAX)};
	if (!link->line)
		return -ENOMEM;
	link->fd = socket_connect_unix(path);
	if (link->fd < 0) {
		free(link->line);
		return link->fd;
	}
	setsockopt(link->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return 0;
}

void vms_close(struct vm_link *link)
{
	close(link->fd);
	free(link->line);
}

/* One line as JSON; NULL: the end, or no answer in time. */
static json_t *read_line(struct vm_link *link)
{
	char *end;

	while (!(end = memchr(link->line, '\n', link->len))) {
		ssize_t n = link->len < ANSWER_MAX ? read(link->fd, link->line + link->len, ANSWER_MAX - link->len) : 0;

		if (n <= 0)
			return NULL;
		link->len += (size_t)n;
	}
	json_t *root = json_loadb(link->line, (size_t)(end - link->line), 0, NULL);

	link->len -= (size_t)(end + 1 - link->line);
	memmove(link->line, end + 1, link->len);
	return root;
}

#define FILES_MAX 32

static bool send_text(int fd, char *text, size_t len, const int *files, unsigned count)
{
	struct iovec iov = {text, len};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(FILES_MAX * sizeof(int))];
	} room = {0};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (count > FILES_MAX)
		return false;
	if (count) {
		message.msg_control = &room;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		room.header = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(count * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&room.header), files, count * sizeof(int));
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool send_command(struct vm_link *link, const char *command, json_t *arguments, const int *files, unsigned count)
{
	json_t *request = json_pack("{s:s, s:O*}", "command", command, "arguments", arguments);
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0;
	bool sent;

	json_decref(request);
	if (!text)
		return false;
	text[len] = '\n'; /* in place of the NUL */
	sent = send_text(link->fd, text, len + 1, files, count);
	free(text);
	return sent;
}

/* The answer's "return"; else NULL and *error, if it is one (both new references). */
static json_t *ask_files(struct vm_link *link, const char *command, json_t *arguments, const int *files, unsigned count, json_t **error)
{
	json_t *answer = send_command(link, command, arguments, files, count) ? read_line(link) : NULL;
	json_t *value = json_object_get(answer, "return");

	*error = json_incref(json_object_get(answer, "error"));
	json_incref(value);
	json_decref(answer);
	return value;
}

static json_t *ask(struct vm_link *link, const char *command, json_t *arguments, json_t **error)
{
	return ask_files(link, command, arguments, NULL, 0, error);
}

json_t *vms_ask_files(struct vm_link *link, const char *command, json_t *arguments, const int *files, unsigned count)
{
	json_t *error, *value = ask_files(link, command, arguments, files, count, &error);

	if (!value && json_is_string(error))
		fprintf(stderr, "ruse: %s\n", json_string_value(error));
	else if (!value)
		fprintf(stderr, "ruse: VM %ld gives no answer; it may have just ended\n", link->pid);
	json_decref(error);
	return value;
}

json_t *vms_ask_with(struct vm_link *link, const char *command, json_t *arguments)
{
	return vms_ask_files(link, command, arguments, NULL, 0);
}

json_t *vms_ask(struct vm_link *link, const char *command)
{
	return vms_ask_with(link, command, NULL);
}

json_t *vms_next(struct vm_link *link)
{
	return read_line(link);
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool vms_wait_end(struct vm_link *link, long milliseconds)
{
	struct pollfd ended = {.fd = link->fd, .events = POLLIN};
	const long end = now_ms() + milliseconds;
	char rest[256];

	for (long left = milliseconds; left >= 0; left = end - now_ms()) {
		if (poll(&ended, 1, (int)(left > 1000000 ? 1000000 : left)) > 0 && read(link->fd, rest, sizeof(rest)) <= 0)
			return true;
	}
	return false;
}

/* ---- which there are ---- */

static json_t *status_of(long pid, struct vm_link *link)
{
	json_t *error, *status;

	if (connect_to(pid, link) < 0)
		return NULL;
	status = ask(link, "status", NULL, &error);
	json_decref(error);
	if (status && json_is_string(json_object_get(status, "name")))
		return status;
	json_decref(status);
	vms_close(link);
	return NULL;
}

unsigned vms_list(json_t *statuses[VMS_MAX])
{
	long pids[VMS_MAX];
	unsigned found = registry_list(pids, VMS_MAX), count = 0;

	for (unsigned i = 0; i < found; i++) {
		struct vm_link link;
		json_t *status = status_of(pids[i], &link);

		if (!status)
			continue;
		vms_close(&link);
		statuses[count++] = status;
	}
	return count;
}

static int find_by_number(long pid, struct vm_link *link)
{
	json_t *status = status_of(pid, link);

	if (!status) {
		fprintf(stderr, "ruse: no VM %ld answers; `ruse ps` lists those that do\n", pid);
		return 1;
	}
	json_decref(status);
	return 0;
}

int vms_find(const char *name, struct vm_link *link)
{
	long pids[VMS_MAX], first = 0, second = 0;
	unsigned found;

	if (*name && strspn(name, "0123456789") == strlen(name) && strlen(name) < 10)
		return find_by_number(strtol(name, NULL, 10), link);
	found = registry_list(pids, VMS_MAX);
	for (unsigned i = 0; i < found; i++) {
		struct vm_link one;
		json_t *status = status_of(pids[i], &one);

		if (!status)
			continue;
		if (strcmp(json_string_value(json_object_get(status, "name")), name)) {
			vms_close(&one);
		} else if (!first) {
			*link = one;
			first = pids[i];
		} else {
			second = pids[i];
			vms_close(&one);
		}
		json_decref(status);
	}
	if (!first) {
		fprintf(stderr, "ruse: there is no VM '%s'; `ruse ps` lists those that run\n", name);
		return 1;
	}
	if (second) {
		fprintf(stderr, "ruse: two VMs are called '%s': give the process number, %ld or %ld\n", name, first, second);
		vms_close(link);
		return 1;
	}
	return 0;
}
