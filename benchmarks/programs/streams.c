/* Several connections at once: what all of them carry together.
 *
 * Example: streams_tests("10.0.2.2", 4000, 4001, 8, 300e6);     // prints "receive-8 1234.00 MB/s", "send-8 ..."
 *
 * A process for each; the other end is that of net_tests().
 */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include "suite.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define STREAMS_MAX 64
#define BLOCK       (64 << 10)

static double receive_until(int fd, double end)
{
	static char buffer[BLOCK];
	double bytes = 0;

	do {
		ssize_t got = recv(fd, buffer, sizeof(buffer), 0);

		if (got <= 0)
			fail("receiving");
		bytes += (double)got;
	} while (now_ns() < end);
	return bytes;
}

/* Until the other end has swallowed all. */
static double send_until(int fd, double end)
{
	static char buffer[BLOCK];
	double bytes = 0;

	do {
		ssize_t put = send(fd, buffer, sizeof(buffer), MSG_NOSIGNAL);

		if (put <= 0)
			fail("sending");
		bytes += (double)put;
	} while (now_ns() < end);
	shutdown(fd, SHUT_WR);
	if (recv(fd, buffer, sizeof(buffer), 0) < 0)
		fail("the end of sending");
	return bytes;
}

static void run_streams(const char *name, const char *address, int port, unsigned count, double ns,
			double (*move)(int fd, double end))
{
	double *bytes = mmap(NULL, STREAMS_MAX * sizeof(*bytes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double start, sum = 0;

	if (bytes == MAP_FAILED || count > STREAMS_MAX)
		fail("streams");
	fflush(stdout);
	start = now_ns();
	for (unsigned i = 0; i < count; i++) {
		pid_t pid = fork();

		if (pid < 0)
			fail("fork");
		if (pid == 0) {
			bytes[i] = move(connect_to(address, port), start + ns);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < count; i++)
		wait(NULL);
	for (unsigned i = 0; i < count; i++) {
		if (!(bytes[i] > 0))
			fail("a stream");
		sum += bytes[i];
	}
	printf("%s-%u %.2f MB/s\n", name, count, sum * 1e3 / (now_ns() - start));
	munmap(bytes, STREAMS_MAX * sizeof(*bytes));
}

void streams_tests(const char *address, int source_port, int sink_port, unsigned count, double ns)
{
	run_streams("receive", address, source_port, count, ns, receive_until);
	run_streams("send", address, sink_port, count, ns, send_until);
}
