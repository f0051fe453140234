/* User networking with the test as the guest: ARP, DHCP, and a connection through a forwarded port. */
#include "backend/net_user.h"
#include "base/types.h"
#include "core/platform.h"
#include "host/linux/loop.h"
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_NS 5000000000ull

struct fixture {
	struct loop *loop;
	struct net_backend *backend;
	struct timer deadline;
	bool timed_out, full;
	uint8_t frame[2048]; /* the last that was wanted */
	size_t len;
	unsigned frames;
	bool (*wanted)(const uint8_t *frame, size_t len);
};

static bool receive(void *ctx, const void *frame, size_t len)
{
	struct fixture *f = ctx;

	if (f->full)
		return false;
	f->frames++;
	if (len <= sizeof(f->frame) && f->wanted && f->wanted(frame, len)) {
		memcpy(f->frame, frame, len);
		f->len = len;
		loop_stop(f->loop);
	}
	return true;
}

static void too_late(void *ctx)
{
	struct fixture *f = ctx;

	f->timed_out = true;
	loop_stop(f->loop);
}

static void start(struct fixture *f, const struct net_user_options *options)
{
	char why[256] = "";

	memset(f, 0, sizeof(*f));
	f->loop = loop_create(why, sizeof(why));
	assert_non_null(f->loop);
	assert_int_equal(net_user_open(options, f->loop, &f->backend, why, sizeof(why)), 0);
	f->backend->receive = receive;
	f->backend->receive_ctx = f;
	timer_init(&f->deadline, NULL, too_late, f);
}

static void stop(struct fixture *f)
{
	loop_timer_cancel(f->loop, &f->deadline);
	f->backend->ops->destroy(f->backend);
	loop_destroy(f->loop);
}

static void send_frame(struct fixture *f, const void *frame, size_t len)
{
	/* In two pieces, as a guest might. */
	const struct iobuf bufs[] = {{(void *)(uintptr_t)frame, 14}, {(uint8_t *)(uintptr_t)frame + 14, len - 14}};

	f->backend->ops->send(f->backend, bufs, 2);
}

static void wait_for(struct fixture *f, bool (*wanted)(const uint8_t *frame, size_t len))
{
	f->wanted = wanted;
	f->len = 0;
	loop_timer_arm(f->loop, &f->deadline, platform_clock_ns() + DEADLINE_NS);
	assert_int_equal(loop_run(f->loop), 0);
	assert_false(f->timed_out);
}

static bool is_arp_reply(const uint8_t *frame, size_t len)
{
	return len >= 42 && frame[12] == 8 && frame[13] == 6 && frame[21] == 2;
}

static size_t arp_frame(const struct fixture *f, uint8_t *frame, uint8_t op, const uint8_t *target)
{
	static const uint8_t fixed[] = {8, 6, 0, 1, 8, 0, 6, 4, 0};
	static const uint8_t own[] = {10, 0, 2, 15};

	memset(frame, 0xff, 6);
	memcpy(frame + 6, f->backend->mac, 6);
	memcpy(frame + 12, fixed, sizeof(fixed));
	frame[21] = op;
	memcpy(frame + 22, f->backend->mac, 6);
	memcpy(frame + 28, own, 4);
	memset(frame + 32, 0, 6);
	memcpy(frame + 38, target, 4);
	return 42;
}

static void the_gateway_answers_arp(void **state)
{
	static const uint8_t gateway[] = {10, 0, 2, 2};
	const struct net_user_options options = {0};
	struct fixture f;
	uint8_t frame[64];

	start(&f, &options);
	assert_true(f.backend->mac[0] == 0x52 && !(f.backend->mac[0] & 1));
	send_frame(&f, frame, arp_frame(&f, frame, 1, gateway));
	if (f.frames == 0)
		wait_for(&f, is_arp_reply);
	assert_int_equal(f.frames, 1);
	/* Without room the answer waits. */
	f.full = true;
	send_frame(&f, frame, arp_frame(&f, frame, 1, gateway));
	send_frame(&f, frame, arp_frame(&f, frame, 1, gateway));
	assert_int_equal(f.frames, 1);
	f.full = false;
	f.backend->ops->resume(f.backend);
	assert_int_equal(f.frames, 3);
	/* Nonsense from the guest is taken; and frames without end, of which so many wait. */
	for (size_t len = 14; len < sizeof(frame); len++)
		send_frame(&f, frame, len);
	f.full = true;
	for (unsigned i = 0; i < 10000; i++)
		send_frame(&f, frame, arp_frame(&f, frame, 1, gateway));
	f.full = false;
	f.frames = 0;
	f.backend->ops->resume(f.backend);
	assert_int_equal(f.frames, 8192);
	stop(&f);
}

static uint16_t ip_checksum(const uint8_t *header)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < 20; i += 2)
		sum += (uint32_t)(header[i] << 8 | header[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~((sum & 0xffff) + (sum >> 16));
}

static bool is_dhcp_offer(const uint8_t *frame, size_t len)
{
	return len > 286 && frame[23] == 17 && frame[37] == 68 && frame[42] == 2;
}

static void dhcp_offers_the_address(void **state)
{
	static const uint8_t options[] = {0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255};
	const struct net_user_options none = {0};
	uint8_t frame[14 + 20 + 8 + 300] = {0}, *ip = frame + 14, *udp = ip + 20, *bootp = udp + 8;
	uint16_t sum;
	struct fixture f;

	start(&f, &none);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, f.backend->mac, 6);
	frame[12] = 8;
	memcpy(ip, (const uint8_t[]){0x45, 0, 328 >> 8, 328 & 255, 0, 1, 0, 0, 64, 17}, 10);
	memset(ip + 16, 0xff, 4);
	sum = ip_checksum(ip);
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
	memcpy(udp, (const uint8_t[]){0, 68, 0, 67, 308 >> 8, 308 & 255, 0, 0}, 8);
	memcpy(bootp, (const uint8_t[]){1, 1, 6, 0, 1, 2, 3, 4}, 8);
	memcpy(bootp + 28, f.backend->mac, 6);
	memcpy(bootp + 236, options, sizeof(options));
	f.wanted = is_dhcp_offer;
	send_frame(&f, frame, sizeof(frame));
	if (f.len == 0)
		wait_for(&f, is_dhcp_offer);
	assert_memory_equal(f.frame + 42 + 16, ((const uint8_t[]){10, 0, 2, 15}), 4);
	stop(&f);
}

/* A SYN for guest port 80, or the request for the guest's hardware address before it. */
static bool is_arp_request(const uint8_t *frame, size_t len)
{
	return len >= 42 && frame[12] == 8 && frame[13] == 6 && frame[21] == 1;
}

static bool is_syn(const uint8_t *frame, size_t len)
{
	return len >= 54 && frame[12] == 8 && frame[13] == 0 && frame[23] == 6 && frame[36] == 0 &&
	       frame[37] == 80 && (frame[47] & 2);
}

static void forwarded_ports_reach_the_guest(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct net_user_options options = {.forward = {{0, 80}}, .forward_count = 1};
	socklen_t size = sizeof(address);
	struct fixture f;
	uint8_t frame[64];
	char why[256];
	struct net_backend *second;
	int probe = socket(AF_INET, SOCK_STREAM, 0), client;

	/* A port that is free now. */
	assert_int_equal(bind(probe, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(probe, (struct sockaddr *)&address, &size), 0);
	options.forward[0].host = ntohs(address.sin_port);
	close(probe);

	start(&f, &options);
	assert_true(net_user_open(&options, f.loop, &second, why, sizeof(why)) < 0);
	assert_non_null(strstr(why, "can't be forwarded"));
	client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	connect(client, (struct sockaddr *)&address, sizeof(address));
	wait_for(&f, is_arp_request);
	f.wanted = is_syn;
	f.len = 0;
	send_frame(&f, frame, arp_frame(&f, frame, 2, f.frame + 28));
	if (f.len == 0)
		wait_for(&f, is_syn);
	assert_memory_equal(f.frame + 30, ((const uint8_t[]){10, 0, 2, 15}), 4);
	close(client);
	stop(&f);
}

/* ---- a guest that is slow to take what the host sends, and has sent its own FIN long ago ---- */

#define TCP_FIN 1u
#define TCP_SYN 2u
#define TCP_RST 4u
#define TCP_ACK 16u
#define SENT    30000u
#define WINDOW  2000u

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put32(uint8_t *at, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static bool is_tcp(const uint8_t *frame, size_t len)
{
	return len >= 54 && frame[12] == 8 && frame[13] == 0 && frame[23] == 6;
}

/* A segment without data in answer to the last frame that was wanted. */
static void send_segment(struct fixture *f, unsigned flags, uint32_t seq, uint32_t ack)
{
	static const uint8_t pseudo[] = {0, 6, 0, 20};
	uint8_t frame[54] = {0}, *ip = frame + 14, *tcp = ip + 20;
	uint32_t sum = 0;
	uint16_t header;

	memcpy(frame, f->frame + 6, 6);
	memcpy(frame + 6, f->backend->mac, 6);
	frame[12] = 8;
	memcpy(ip, (const uint8_t[]){0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6}, 10);
	memcpy(ip + 12, f->frame + 30, 4);
	memcpy(ip + 16, f->frame + 26, 4);
	header = ip_checksum(ip);
	ip[10] = (uint8_t)(header >> 8);
	ip[11] = (uint8_t)header;
	memcpy(tcp, f->frame + 36, 2);
	memcpy(tcp + 2, f->frame + 34, 2);
	put32(tcp + 4, seq);
	put32(tcp + 8, ack);
	tcp[12] = 5 << 4;
	tcp[13] = (uint8_t)flags;
	tcp[14] = WINDOW >> 8;
	tcp[15] = WINDOW & 255;
	for (unsigned i = 0; i < 20; i += 2)
		sum += (uint32_t)(tcp[i] << 8 | tcp[i + 1]);
	for (unsigned i = 0; i < 8; i += 2)
		sum += (uint32_t)(ip[12 + i] << 8 | ip[13 + i]);
	for (unsigned i = 0; i < 4; i += 2)
		sum += (uint32_t)(pseudo[i] << 8 | pseudo[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	tcp[16] = (uint8_t)(sum >> 8);
	tcp[17] = (uint8_t)sum;
	f->wanted = is_tcp;
	f->len = 0;
	send_frame(f, frame, sizeof(frame));
}

/* Acknowledges what comes until the end; returns its flags. `next` is the next byte. */
static unsigned take_all(struct fixture *f, uint32_t next, uint32_t *bytes)
{
	for (*bytes = 0;;) {
		const uint8_t *tcp = f->frame + 34;
		uint32_t header, data;

		if (f->len == 0)
			wait_for(f, is_tcp);
		header = tcp[12] >> 4;
		data = (uint32_t)(f->frame[16] << 8 | f->frame[17]) - 20 - 4 * header;
		if (tcp[13] & TCP_RST)
			return tcp[13];
		if (get32(tcp + 4) == next) {
			*bytes += data;
			next += data;
			if (tcp[13] & TCP_FIN)
				return tcp[13];
		}
		send_segment(f, TCP_ACK, 1002, next);
	}
}

static void all_that_the_host_sent_arrives(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct net_user_options options = {.forward = {{0, 80}}, .forward_count = 1};
	socklen_t size = sizeof(address);
	uint8_t frame[64], data[SENT] = {0};
	uint32_t next, bytes;
	struct fixture f;
	int probe = socket(AF_INET, SOCK_STREAM, 0), client;

	assert_int_equal(bind(probe, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(probe, (struct sockaddr *)&address, &size), 0);
	options.forward[0].host = ntohs(address.sin_port);
	close(probe);

	start(&f, &options);
	client = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
	wait_for(&f, is_arp_request);
	f.wanted = is_syn;
	f.len = 0;
	send_frame(&f, frame, arp_frame(&f, frame, 2, f.frame + 28));
	if (f.len == 0)
		wait_for(&f, is_syn);
	next = get32(f.frame + 38) + 1;
	send_segment(&f, TCP_SYN | TCP_ACK, 1000, next);
	send_segment(&f, TCP_FIN | TCP_ACK, 1001, next);
	/* Our end of the connection is closed both ways once the host closes its own. */
	while (recv(client, data, 1, MSG_DONTWAIT) != 0) {
		f.wanted = is_tcp;
		loop_timer_arm(f.loop, &f.deadline, platform_clock_ns() + 10000000);
		assert_int_equal(loop_run(f.loop), 0);
		f.timed_out = false;
	}
	assert_int_equal(send(client, data, SENT, 0), SENT);
	close(client);
	f.len = 0;
	assert_true(take_all(&f, next, &bytes) & TCP_FIN);
	assert_int_equal(bytes, SENT);
	stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_gateway_answers_arp),
		cmocka_unit_test(dhcp_offers_the_address),
		cmocka_unit_test(forwarded_ports_reach_the_guest),
		cmocka_unit_test(all_that_the_host_sent_arrives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
