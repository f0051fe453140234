/* Connections by AF_VSOCK, for a Linux guest: what tests/boot/vsock.py runs inside of it.
 *
 * cc -O2 -static vsock.c -o vsock
 *
 * usage: vsock echo PORT COUNT             listens, says so, and sends back what COUNT connections send
 *        vsock talk PORT BYTES COUNT       COUNT connections to the host at once: sends BYTES on each, and compares what comes back
 *        vsock call PORT                   connects to the host and says what came of it
 *        vsock stuff PORT                  sends until nothing goes any more, says how much, and sends the rest of 4 MiB when it goes again
 *        vsock reset PORT                  connects and dies with data unread
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#define CHUNK 65536u
#define STUFF (4u << 20)

static struct sockaddr_vm address(unsigned cid, unsigned port)
{
	return (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
}

static _Noreturn void die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(1);
}

static int call(unsigned port)
{
	struct sockaddr_vm host = address(VMADDR_CID_HOST, port);
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (fd < 0)
		die("socket");
	if (connect(fd, (struct sockaddr *)&host, sizeof(host)) < 0)
		die("connect");
	return fd;
}

/* Byte `at` of connection `number`. */
static uint8_t byte_of(unsigned number, size_t at)
{
	uint32_t x = (uint32_t)at * 2654435761u + number * 40503u;

	return (uint8_t)(x >> 13 ^ x);
}

static void echo_one(int fd)
{
	static uint8_t buf[CHUNK];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t done = 0, m; done < n; done += m)
			if ((m = write(fd, buf + done, (size_t)(n - done))) <= 0)
				die("echo");
	if (n < 0)
		die("read");
	/* The other end still reads. */
	shutdown(fd, SHUT_WR);
	_exit(0);
}

static int echo(unsigned port, unsigned count)
{
	struct sockaddr_vm any = address(VMADDR_CID_ANY, port);
	int listener = socket(AF_VSOCK, SOCK_STREAM, 0), failed = 0, status;

	if (listener < 0 || bind(listener, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(listener, 256) < 0)
		die("listen");
	printf("listening\n");
	fflush(stdout);
	for (unsigned i = 0; i < count; i++) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			die("accept");
		if (fork() == 0)
			echo_one(fd);
		close(fd);
	}
	for (unsigned i = 0; i < count; i++)
		failed |= wait(&status) < 0 || status != 0;
	printf(failed ? "failed\n" : "echoed\n");
	return failed;
}

/* Sends and receives at once, so that neither side's buffers matter. */
static void talk_one(unsigned port, size_t bytes, unsigned number)
{
	static uint8_t out[CHUNK], in[CHUNK];
	size_t sent = 0, got = 0;
	int fd = call(port);

	while (got < bytes) {
		struct pollfd poll_on = {.fd = fd, .events = (short)(POLLIN | (sent < bytes ? POLLOUT : 0))};

		if (poll(&poll_on, 1, 30000) <= 0)
			die("poll");
		if (sent < bytes && (poll_on.revents & POLLOUT)) {
			size_t part = bytes - sent < CHUNK ? bytes - sent : CHUNK;
			ssize_t n;

			for (size_t i = 0; i < part; i++)
				out[i] = byte_of(number, sent + i);
			n = send(fd, out, part, MSG_DONTWAIT);
			if (n < 0 && errno != EAGAIN)
				die("send");
			sent += n > 0 ? (size_t)n : 0;
			if (sent == bytes)
				shutdown(fd, SHUT_WR);
		}
		if (poll_on.revents & (POLLIN | POLLHUP)) {
			ssize_t n = recv(fd, in, sizeof(in), MSG_DONTWAIT);

			if (n == 0 || (n < 0 && errno != EAGAIN))
				die("recv");
			for (ssize_t i = 0; i < n; i++)
				if (in[i] != byte_of(number, got + (size_t)i)) {
					printf("connection %u: byte %zu is wrong\n", number, got + (size_t)i);
					exit(1);
				}
			got += n > 0 ? (size_t)n : 0;
		}
	}
	if (read(fd, in, 1) != 0) {
		printf("connection %u: no end\n", number);
		exit(1);
	}
	close(fd);
	_exit(0);
}

static int talk(unsigned port, size_t bytes, unsigned count)
{
	int failed = 0, status;

	for (unsigned i = 0; i < count; i++)
		if (fork() == 0)
			talk_one(port, bytes, i);
	for (unsigned i = 0; i < count; i++)
		failed |= wait(&status) < 0 || status != 0;
	printf(failed ? "failed\n" : "talked\n");
	return failed;
}

static int stuff(unsigned port)
{
	static uint8_t buf[CHUNK];
	int fd = call(port);
	size_t sent = 0;

	for (unsigned idle = 0; idle < 20 && sent < STUFF;) {
		ssize_t n = send(fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n > 0) {
			sent += (size_t)n;
			idle = 0;
			continue;
		}
		if (errno != EAGAIN)
			die("send");
		usleep(20000);
		idle++;
	}
	printf("stuffed %zu\n", sent);
	fflush(stdout);
	while (sent < STUFF) {
		ssize_t n = write(fd, buf, STUFF - sent < CHUNK ? STUFF - sent : CHUNK);

		if (n <= 0)
			die("write");
		sent += (size_t)n;
	}
	close(fd);
	printf("sent\n");
	return 0;
}

int main(int argc, char **argv)
{
	unsigned port = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 4 && !strcmp(argv[1], "echo"))
		return echo(port, (unsigned)atoi(argv[3]));
	if (argc == 5 && !strcmp(argv[1], "talk"))
		return talk(port, (size_t)atol(argv[3]), (unsigned)atoi(argv[4]));
	if (argc == 3 && !strcmp(argv[1], "stuff"))
		return stuff(port);
	if (argc == 3 && !strcmp(argv[1], "call")) {
		call(port);
		printf("connected\n");
		return 0;
	}
	if (argc == 3 && !strcmp(argv[1], "reset")) {
		int fd = call(port);

		sleep(1);
		return fd < 0;
	}
	return 2;
}
