/* The tap backend in a network namespace of its own, against Linux's UDP: frames both ways, checksums that are left to the other
 * side, a device without room, interfaces that are not there, not taps, in use, of several queues, or go away. */
#include "backend/net_tap.h"
#include "core/platform.h"
#include "host/linux/loop.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define HOST  "10.9.0.1"
#define GUEST "10.9.0.2"
#define PORT  5000u
#define UDP   42u /* where the datagram begins: Ethernet, IPv4, UDP */

struct fixture {
	struct loop *loop;
	struct net_backend *backend;
	struct timer pause;
	int socket;
	uint8_t mac[6]; /* the interface's */
	bool full;
	unsigned frames, pair; /* UDP ones; the queue of the last */
	unsigned full_pair;    /* `full` is only this, from 1; 0: all */
	struct net_offload offload;
	uint8_t last[66000];
	size_t last_len;
};

static const uint8_t guest_mac[6] = {0x52, 0x54, 0, 1, 2, 3};

/* ---- the interface ---- */

static int control_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_true(fd >= 0);
	return fd;
}

static struct ifreq named(const char *name)
{
	struct ifreq request = {0};

	strcpy(request.ifr_name, name);
	return request;
}

static int set_tap(const char *name, unsigned flags, int persistent)
{
	struct ifreq request = named(name);
	int fd = open("/dev/net/tun", O_RDWR), r;

	if (fd < 0)
		return -errno;
	request.ifr_flags = (short)(flags | IFF_NO_PI);
	r = ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETPERSIST, (unsigned long)persistent) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static void set_address(int fd, const char *name, unsigned long request, const char *text)
{
	struct ifreq r = named(name);
	struct sockaddr_in address = {.sin_family = AF_INET};

	inet_pton(AF_INET, text, &address.sin_addr);
	memcpy(&r.ifr_addr, &address, sizeof(address));
	assert_int_equal(ioctl(fd, request, &r), 0);
}

static void set_guests_mac(int fd, const char *name)
{
	struct arpreq arp = {.arp_flags = ATF_COM | ATF_PERM};
	struct sockaddr_in address = {.sin_family = AF_INET};

	inet_pton(AF_INET, GUEST, &address.sin_addr);
	memcpy(&arp.arp_pa, &address, sizeof(address));
	arp.arp_ha.sa_family = ARPHRD_ETHER;
	memcpy(arp.arp_ha.sa_data, guest_mac, 6);
	strcpy(arp.arp_dev, name);
	assert_int_equal(ioctl(fd, SIOCSARP, &arp), 0);
}

static void bring_up(const char *name, uint8_t mac[6])
{
	int fd = control_socket();
	struct ifreq r = named(name);

	set_address(fd, name, SIOCSIFADDR, HOST);
	set_address(fd, name, SIOCSIFNETMASK, "255.255.255.0");
	r.ifr_flags = IFF_UP;
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &r), 0);
	r = named(name);
	assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &r), 0);
	memcpy(mac, r.ifr_hwaddr.sa_data, 6);
	set_guests_mac(fd, name);
	close(fd);
}

/* ---- the device ---- */

static bool receive_offload(void *ctx, unsigned pair, const struct net_offload *offload, const void *data, size_t len)
{
	struct fixture *f = ctx;
	const uint8_t *frame = data;

	/* What Linux says by itself when an interface comes up is not of interest. */
	if (len < UDP || frame[12] != 8 || frame[13] != 0 || frame[23] != 17 || memcmp(frame + 30, "\x0a\x09\x00\x02", 4))
		return true;
	if (f->full && (!f->full_pair || f->full_pair == pair + 1))
		return false;
	f->frames++;
	f->pair = pair;
	f->offload = *offload;
	f->last_len = len;
	memcpy(f->last, frame, len);
	return true;
}

static void stop_loop(void *ctx)
{
	loop_stop(ctx);
}

static void serve(struct fixture *f)
{
	loop_timer_arm(f->loop, &f->pause, platform_clock_ns() + 20000000u);
	assert_int_equal(loop_run(f->loop), 0);
}

static int try_open(struct fixture *f, const char *name, unsigned pairs, char *why, size_t why_size)
{
	memset(f, 0, sizeof(*f));
	f->loop = loop_create(why, why_size);
	assert_non_null(f->loop);
	timer_init(&f->pause, NULL, stop_loop, f->loop);
	return net_tap_open(name, pairs, f->loop, &f->backend, why, why_size);
}

static void start_pairs(struct fixture *f, const char *name, unsigned flags, unsigned pairs)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(INADDR_ANY)}};
	char why[256] = "";

	assert_int_equal(set_tap(name, IFF_TAP | flags, 1), 0);
	if (try_open(f, name, pairs, why, sizeof(why)))
		fail_msg("%s", why);
	f->backend->receive_offload = receive_offload;
	f->backend->receive_ctx = f;
	bring_up(name, f->mac);
	f->socket = control_socket();
	assert_int_equal(bind(f->socket, (struct sockaddr *)&here, sizeof(here)), 0);
	assert_int_equal(fcntl(f->socket, F_SETFL, O_NONBLOCK), 0);
	serve(f);
}

static void start(struct fixture *f, const char *name, unsigned flags)
{
	start_pairs(f, name, flags, 1);
}

static void stop(struct fixture *f, const char *name, unsigned flags)
{
	if (f->backend)
		f->backend->ops->destroy(f->backend);
	if (name)
		set_tap(name, IFF_TAP | flags, 0);
	if (f->socket)
		close(f->socket);
	loop_timer_cancel(f->loop, &f->pause);
	loop_destroy(f->loop);
}

/* ---- frames ---- */

static uint16_t sum(const uint8_t *bytes, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint16_t pseudo_sum(const uint8_t *frame, size_t len)
{
	return sum(frame + 26, 8, (uint32_t)(17 + len - 34));
}

static void put16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* A datagram from the guest to the host; its checksum is complete, or only that of the pseudo header. */
static size_t make_frame(struct fixture *f, uint8_t *frame, const void *data, size_t size, bool complete)
{
	const size_t len = UDP + size;

	memset(frame, 0, UDP);
	memcpy(frame, f->mac, 6);
	memcpy(frame + 6, guest_mac, 6);
	frame[12] = 8;
	frame[14] = 0x45;
	put16(frame + 16, len - 14);
	frame[22] = 64;
	frame[23] = 17;
	inet_pton(AF_INET, GUEST, frame + 26);
	inet_pton(AF_INET, HOST, frame + 30);
	put16(frame + 24, (uint16_t)~sum(frame + 14, 20, 0));
	put16(frame + 34, 777);
	put16(frame + 36, PORT);
	put16(frame + 38, 8 + size);
	memcpy(frame + UDP, data, size);
	put16(frame + 40, complete ? (uint16_t)~sum(frame + 34, len - 34, pseudo_sum(frame, len)) : pseudo_sum(frame, len));
	return len;
}

static void from_host(struct fixture *f, const void *data, size_t size)
{
	struct sockaddr_in guest = {.sin_family = AF_INET, .sin_port = htons(777)};

	inet_pton(AF_INET, GUEST, &guest.sin_addr);
	assert_int_equal(sendto(f->socket, data, size, 0, (struct sockaddr *)&guest, sizeof(guest)), size);
	serve(f);
}

/* ---- tests ---- */

static void frames_both_ways(void **state)
{
	static const struct {
		const char *name;
		unsigned flags;
	} taps[] = {{"plain", 0}, {"header", IFF_VNET_HDR}, {"queues", IFF_MULTI_QUEUE}};
	uint8_t frame[1514], data[1472];
	struct fixture f;

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	for (unsigned t = 0; t < ARRAY_SIZE(taps); t++) {
		start(&f, taps[t].name, taps[t].flags);
		size_t len = make_frame(&f, frame, data, sizeof(data), true);
		const struct iobuf parts[] = {{frame, 20}, {frame + 20, len - 20}};
		uint8_t got[2000];

		f.backend->ops->send(f.backend, parts, 2);
		assert_int_equal(recv(f.socket, got, sizeof(got), 0), sizeof(data));
		assert_memory_equal(got, data, sizeof(data));
		from_host(&f, data, 1000);
		assert_int_equal(f.frames, 1);
		assert_int_equal(f.last_len, UDP + 1000);
		assert_memory_equal(f.last, guest_mac, 6);
		assert_memory_equal(f.last + UDP, data, 1000);
		/* Too many pieces, and nothing at all: lost. */
		struct iobuf many[300];
		for (unsigned i = 0; i < 300; i++)
			many[i] = (struct iobuf){frame, 1};
		f.backend->ops->send(f.backend, many, 300);
		f.backend->ops->send(f.backend, many, 0);
		f.backend->ops->send(f.backend, parts, 2);
		assert_int_equal(recv(f.socket, got, sizeof(got), 0), sizeof(data));
		stop(&f, taps[t].name, taps[t].flags);
	}
}

static void checksums_are_left_to_the_other_side(void **state)
{
	const struct net_offload complete = {.flags = 1, .csum_start = 34, .csum_offset = 6};
	uint8_t frame[200], got[200], data[100] = "what is summed up by somebody else";
	struct fixture f;

	start(&f, "sums", 0);
	/* Linux checks what comes with a checksum; with one to be completed it need not. */
	size_t len = make_frame(&f, frame, data, sizeof(data), false);
	const struct iobuf part = {frame, len};
	f.backend->ops->send(f.backend, &part, 1);
	assert_int_equal(recv(f.socket, got, sizeof(got), 0), -1);
	f.backend->ops->send_offload(f.backend, 0, &complete, &part, 1);
	assert_int_equal(recv(f.socket, got, sizeof(got), 0), sizeof(data));
	/* Outside of the frame: Linux refuses. */
	f.backend->ops->send_offload(f.backend, 0, &(struct net_offload){.flags = 1, .csum_start = 60000, .csum_offset = 6}, &part, 1);
	assert_int_equal(recv(f.socket, got, sizeof(got), 0), -1);

	for (unsigned kinds = 0; kinds < 16; kinds++) {
		/* Each needs those before it. */
		if ((kinds > 1 && !(kinds & 1)) || kinds == 9)
			continue;
		f.backend->ops->set_offloads(f.backend, kinds);
		f.frames = 0;
		from_host(&f, data, sizeof(data));
		assert_int_equal(f.frames, 1);
		assert_int_equal(f.offload.flags & 1, kinds & 1);
		if (kinds & 1) {
			assert_int_equal(f.offload.csum_start, 34);
			assert_int_equal(f.offload.csum_offset, 6);
		} else {
			assert_int_equal(sum(f.last + 34, f.last_len - 34, pseudo_sum(f.last, f.last_len)), 0xffff);
		}
	}
	stop(&f, "sums", 0);
}

static void without_room_frames_wait(void **state)
{
	struct fixture f;
	uint32_t number;

	start(&f, "room", 0);
	f.full = true;
	for (number = 0; number < 5; number++)
		from_host(&f, &number, sizeof(number));
	assert_int_equal(f.frames, 0);
	f.backend->ops->resume(f.backend);
	serve(&f);
	assert_int_equal(f.frames, 0);
	f.full = false;
	f.backend->ops->resume(f.backend);
	assert_int_equal(f.frames, 1);
	assert_int_equal(f.last[UDP], 0);
	f.backend->ops->resume(f.backend);
	serve(&f);
	assert_int_equal(f.frames, 5);
	assert_int_equal(f.last[UDP], 4);
	stop(&f, "room", 0);
}

/* Sends a datagram from a port by a pair; the answer's pair is returned. */
static unsigned pair_of_answer(struct fixture *f, unsigned port, unsigned pair)
{
	struct sockaddr_in guest = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	uint8_t frame[200], got[200];
	const size_t len = make_frame(f, frame, "ask", 3, true);
	const struct iobuf part = {frame, len};

	put16(frame + 34, port);
	put16(frame + 40, 0);
	put16(frame + 40, (uint16_t)~sum(frame + 34, len - 34, pseudo_sum(frame, len)));
	f->backend->ops->send_offload(f->backend, pair, &(struct net_offload){0}, &part, 1);
	assert_int_equal(recv(f->socket, got, sizeof(got), 0), 3);
	inet_pton(AF_INET, GUEST, &guest.sin_addr);
	f->frames = 0;
	assert_int_equal(sendto(f->socket, "answer", 6, 0, (struct sockaddr *)&guest, sizeof(guest)), 6);
	serve(f);
	return f->pair;
}

static void a_queue_for_each_pair(void **state)
{
	struct fixture f;

	start_pairs(&f, "queues", IFF_MULTI_QUEUE, 3);
	assert_int_equal(f.backend->pairs, 3);
	for (unsigned pair = 0; pair < 3; pair++)
		assert_int_equal(pair_of_answer(&f, 1000 + pair, pair), pair);
	/* A connection that moves to another processor; a pair that there is no queue for. */
	assert_int_equal(pair_of_answer(&f, 1000, 2), 2);
	assert_int_equal(pair_of_answer(&f, 1000, 4), 1);
	/* One is full: the others go on, it waits. */
	f.full = true;
	f.full_pair = 2;
	pair_of_answer(&f, 1000, 1);
	assert_int_equal(f.frames, 0);
	assert_int_equal(pair_of_answer(&f, 1002, 2), 2);
	assert_int_equal(f.frames, 1);
	f.full = false;
	f.backend->ops->resume(f.backend);
	assert_int_equal(f.frames, 2);
	assert_int_equal(f.pair, 1);
	stop(&f, "queues", IFF_MULTI_QUEUE);
	/* There is only one. */
	start_pairs(&f, "plain", 0, 3);
	assert_int_equal(f.backend->pairs, 1);
	assert_int_equal(pair_of_answer(&f, 1000, 2), 0);
	stop(&f, "plain", 0);
}

static void interfaces_that_cannot(void **state)
{
	struct fixture f;
	char why[256] = "";

	assert_int_equal(try_open(&f, "nothing", 1, why, sizeof(why)), -ENODEV);
	assert_non_null(strstr(why, "there is no interface nothing"));
	stop(&f, NULL, 0);
	assert_int_equal(try_open(&f, "a/b", 1, why, sizeof(why)), -EINVAL);
	stop(&f, NULL, 0);
	assert_int_equal(try_open(&f, "sixteen-letters.", 1, why, sizeof(why)), -EINVAL);
	stop(&f, NULL, 0);
	assert_true(try_open(&f, "lo", 1, why, sizeof(why)) < 0);
	assert_non_null(strstr(why, "lo can't be used"));
	stop(&f, NULL, 0);
	assert_int_equal(set_tap("tun", IFF_TUN, 1), 0);
	assert_int_equal(try_open(&f, "tun", 1, why, sizeof(why)), -EINVAL);
	stop(&f, NULL, 0);
	assert_int_equal(set_tap("tun", IFF_TUN, 0), 0);
	/* Two at once. */
	struct fixture other;
	start(&f, "shared", 0);
	assert_int_equal(try_open(&other, "shared", 2, why, sizeof(why)), -EBUSY);
	stop(&other, NULL, 0);
	stop(&f, "shared", 0);
}

static void an_interface_that_goes_away(void **state)
{
	uint8_t frame[200];
	struct fixture f;
	FILE *ip;

	start_pairs(&f, "gone", IFF_MULTI_QUEUE, 2);
	ip = popen("ip link del gone 2>&1", "r");
	if (!ip || pclose(ip) != 0)
		skip(); /* no iproute2 */
	serve(&f);
	const struct iobuf part = {frame, make_frame(&f, frame, "x", 1, true)};
	f.backend->ops->send(f.backend, &part, 1);
	f.backend->ops->set_offloads(f.backend, 1);
	f.backend->ops->resume(f.backend);
	stop(&f, NULL, 0);
}

/* As root, or as a root who is nobody outside. */
static bool enter_namespace(void)
{
	const unsigned uid = geteuid();
	FILE *map;

	if (unshare(CLONE_NEWNET) == 0)
		return true;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return false;
	map = fopen("/proc/self/uid_map", "w");
	if (map) {
		fprintf(map, "0 %u 1\n", uid);
		fclose(map);
	}
	return true;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_both_ways),
		cmocka_unit_test(checksums_are_left_to_the_other_side),
		cmocka_unit_test(without_room_frames_wait),
		cmocka_unit_test(a_queue_for_each_pair),
		cmocka_unit_test(interfaces_that_cannot),
		cmocka_unit_test(an_interface_that_goes_away),
	};

	if (!enter_namespace()) {
		printf("SKIP: this host allows no network namespace: %s\n", strerror(errno));
		return 77;
	}
	if (set_tap("probe", IFF_TAP, 0) < 0) {
		printf("SKIP: this host has no tap interfaces\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
