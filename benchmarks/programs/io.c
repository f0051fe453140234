/* Throughput of a disk and of a network connection.
 *
 * Example: disk_tests("/dev/vda", 1, 300e6); net_tests("10.0.2.2", 4000, 4001, 300e6);
 *
 * The network's other end sends without end what is read from its source port, and swallows what is
 * written to its sink port until the end of the connection, and then closes.
 */
#define _GNU_SOURCE /* O_DIRECT */
#include "suite.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DISK_SIZE   (32 << 20) /* the first part of the disk, which is used */
#define LARGE_BLOCK (256 << 10)
#define SMALL_BLOCK 4096
#define NET_BLOCK   (64 << 10)

static void print_rate(const char *name, double bytes, double ns)
{
	printf("%s %.2f MB/s\n", name, bytes * 1e3 / ns);
	fflush(stdout);
}

/* ---- disk ---- */

typedef ssize_t transfer(int fd, void *buffer, size_t len, off_t at);

static ssize_t write_block(int fd, void *buffer, size_t len, off_t at)
{
	return pwrite(fd, buffer, len, at);
}

static void disk_test(const char *name, int fd, transfer *transfer, size_t block, int random,
		      void *buffer, double ns)
{
	const uint64_t blocks = DISK_SIZE / block;
	double start = now_ns(), taken;
	uint64_t i = 0;

	do {
		uint64_t at = random ? (i * 2654435761u) % blocks : i % blocks;

		if (transfer(fd, buffer, block, (off_t)(at * block)) != (ssize_t)block)
			fail(name);
		i++;
		taken = now_ns() - start;
	} while (taken < ns);
	print_rate(name, (double)(i * block), taken);
}

void disk_tests(const char *path, int direct, double ns)
{
	int fd = open(path, O_RDWR | (direct ? O_DIRECT : 0));
	void *buffer = NULL;

	if (fd < 0)
		fail(path);
	if (posix_memalign(&buffer, 4096, LARGE_BLOCK))
		fail("memory");
	memset(buffer, 1, LARGE_BLOCK);
	disk_test("disk-write", fd, write_block, LARGE_BLOCK, 0, buffer, ns);
	disk_test("disk-read", fd, pread, LARGE_BLOCK, 0, buffer, ns);
	disk_test("disk-4k-read", fd, pread, SMALL_BLOCK, 1, buffer, ns);
	disk_test("disk-4k-write", fd, write_block, SMALL_BLOCK, 1, buffer, ns);
	free(buffer);
	close(fd);
}

/* ---- network ---- */

int connect_to(const char *address, int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		fail(address);
	return fd;
}

static void receive_test(const char *address, int port, char *buffer, double ns)
{
	int fd = connect_to(address, port);
	double start = now_ns(), taken, bytes = 0;

	do {
		ssize_t got = recv(fd, buffer, NET_BLOCK, 0);

		if (got <= 0)
			fail("receiving");
		bytes += (double)got;
		taken = now_ns() - start;
	} while (taken < ns);
	print_rate("net-receive", bytes, taken);
	close(fd);
}

/* Until the other end has swallowed all. */
static void send_test(const char *address, int port, char *buffer, double ns)
{
	int fd = connect_to(address, port);
	double start = now_ns(), bytes = 0;

	do {
		ssize_t put = send(fd, buffer, NET_BLOCK, MSG_NOSIGNAL);

		if (put <= 0)
			fail("sending");
		bytes += (double)put;
	} while (now_ns() - start < ns);
	shutdown(fd, SHUT_WR);
	if (recv(fd, buffer, NET_BLOCK, 0) < 0)
		fail("the end of sending");
	print_rate("net-send", bytes, now_ns() - start);
	close(fd);
}

void net_tests(const char *address, int source_port, int sink_port, double ns)
{
	static char buffer[NET_BLOCK];

	receive_test(address, source_port, buffer, ns);
	send_test(address, sink_port, buffer, ns);
}
