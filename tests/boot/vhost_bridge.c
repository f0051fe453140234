/* A network card's other half for the boot test: takes one vhost-user connection at a socket, and moves its frames to and from
 * a Unix stream socket (passt's), where each has its length in front.
 *
 * usage: vhost_bridge SOCKET UPSTREAM
 */
#include "../backend/vhost_peer.h"
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define HEADER    12u
#define FRAME_MAX 65550u

static int open_socket(const char *path, bool listens)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (listens) {
		if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0)
			return -1;
		return accept(fd, NULL, NULL);
	}
	return connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -1 : fd;
}

static bool to_upstream(struct vhost_peer *peer, int upstream)
{
	static uint8_t buf[HEADER + FRAME_MAX];
	size_t n;

	while ((n = peer_take(peer, 1, buf, sizeof(buf))) > HEADER) {
		uint32_t length = htonl((uint32_t)(n - HEADER));

		/* The header's last bytes make room for the length. */
		memcpy(buf + HEADER - 4, &length, 4);
		for (size_t at = HEADER - 4; at < n;) {
			ssize_t part = write(upstream, buf + at, n - at);

			if (part <= 0)
				return false;
			at += (size_t)part;
		}
	}
	return true;
}

/* Waits for the rest of a frame; without room for it at the guest it is lost. */
static bool from_upstream(struct vhost_peer *peer, int upstream)
{
	static uint8_t buf[HEADER + FRAME_MAX];
	uint32_t length;

	if (recv(upstream, &length, sizeof(length), MSG_WAITALL) != sizeof(length))
		return false;
	length = ntohl(length);
	if (length > FRAME_MAX || recv(upstream, buf + HEADER, length, MSG_WAITALL) != (ssize_t)length)
		return false;
	memset(buf, 0, HEADER);
	peer_give(peer, 0, buf, HEADER + length);
	return true;
}

int main(int argc, char **argv)
{
	struct vhost_peer peer = {.features = PEER_FEATURES, .protocol = 1 | 8};
	int upstream;

	if (argc != 3)
		return 2;
	upstream = open_socket(argv[2], false);
	peer.fd = upstream < 0 ? -1 : open_socket(argv[1], true);
	if (peer.fd < 0) {
		perror("vhost_bridge");
		return 1;
	}
	for (;;) {
		struct pollfd fds[3] = {{.fd = peer.fd, .events = POLLIN},
					{.fd = upstream, .events = POLLIN},
					{.fd = peer.rings[1].kick > 0 ? peer.rings[1].kick : -1, .events = POLLIN}};
		uint64_t count;

		poll(fds, 3, -1);
		if (fds[0].revents && !peer_message(&peer))
			return 0;
		if (fds[2].revents && read(fds[2].fd, &count, sizeof(count)) != sizeof(count))
			return 1;
		if (!to_upstream(&peer, upstream) || (fds[1].revents && !from_upstream(&peer, upstream)))
			return 1;
	}
}
