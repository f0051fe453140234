/* Listening sockets; see socket.h. */
#include "host/linux/socket.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4

static int unix_address(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	strcpy(address->sun_path, path);
	return 0;
}

int socket_connect_unix(const char *path)
{
	struct sockaddr_un address;
	int fd, r = unix_address(path, &address);

	if (r)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	r = -errno;
	close(fd);
	return r;
}

/* Removes a socket that a dead process has left at this path. */
static void remove_stale(const char *path)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	fd = socket_connect_unix(path);
	if (fd == -ECONNREFUSED)
		unlink(path);
	if (fd >= 0)
		close(fd);
}

static int bind_and_listen(int fd, const struct sockaddr *address, socklen_t size)
{
	int r;

	if (bind(fd, address, size) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	r = -errno;
	close(fd);
	return r;
}

int socket_listen_unix(const char *path)
{
	struct sockaddr_un address;
	int fd, r = unix_address(path, &address);

	if (r)
		return r;
	remove_stale(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd < 0 ? -errno : bind_and_listen(fd, (const struct sockaddr *)&address, sizeof(address));
}

/* HOST and PORT of [HOST:]PORT, where HOST may stand in brackets. */
static bool split(const char *text, char *host, size_t host_size, const char **port)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	unsigned long number = 0;

	*port = colon ? colon + 1 : text;
	for (const char *c = *port; *c; c++) {
		if (*c < '0' || *c > '9' || (number = number * 10 + (unsigned long)(*c - '0')) > 65535)
			return false;
	}
	if (!number || (colon && !len))
		return false;
	if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len >= host_size)
		return false;
	snprintf(host, host_size, "%.*s", (int)len, text);
	if (!colon)
		snprintf(host, host_size, "127.0.0.1");
	return true;
}

bool socket_address_valid(const char *text)
{
	char host[256];
	const char *port;

	if (!strncmp(text, "unix=", 5))
		return text[5];
	return !strncmp(text, "tcp=", 4) && split(text + 4, host, sizeof(host), &port);
}

static int listen_tcp_at(const struct addrinfo *at)
{
	static const int on = 1;
	int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	/* What accept4() gives has the second one too. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return bind_and_listen(fd, at->ai_addr, at->ai_addrlen);
}

static int listen_tcp(const char *text, char *why, size_t why_size)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
	const char *port;
	char host[256];
	int r;

	if (!split(text, host, sizeof(host), &port)) {
		snprintf(why, why_size, "tcp=%s is not understood; write tcp=[HOST:]PORT", text);
		return -EINVAL;
	}
	r = getaddrinfo(host, port, &hints, &found);
	if (r) {
		snprintf(why, why_size, "the address of %s is not known: %s; give a number", host, gai_strerror(r));
		return -EADDRNOTAVAIL;
	}
	r = listen_tcp_at(found);
	freeaddrinfo(found);
	if (r < 0)
		snprintf(why, why_size, "cannot listen at port %s of %s: %s; choose another", port, host, strerror(-r));
	return r;
}

int socket_listen(const char *text, char *why, size_t why_size)
{
	int fd;

	if (!strncmp(text, "tcp=", 4))
		return listen_tcp(text + 4, why, why_size);
	if (strncmp(text, "unix=", 5) || !text[5]) {
		snprintf(why, why_size, "'%s' is neither unix=PATH nor tcp=[HOST:]PORT", text);
		return -EINVAL;
	}
	fd = socket_listen_unix(text + 5);
	if (fd < 0)
		snprintf(why, why_size, "cannot listen at '%s': %s", text + 5, strerror(-fd));
	return fd;
}
