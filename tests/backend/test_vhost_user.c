/* The front end of vhost-user against a back end of ours on a thread (vhost_peer.h): what goes through, and what becomes of a
 * peer that refuses, lies, is silent or ends. And the ring by itself, where the other side writes what it likes. */
#include "backend/vhost_ring.h"
#include "backend/vhost_user.h"
#include "core/platform.h"
#include "core/vhost.h"
#include "host/linux/loop.h"
#include "host/linux/memory.h"
#include "mem/mem.h"
#include "vhost_peer.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define RAM MIB(2)

enum conduct { ECHO, LIE_ABOUT_HEAD, LIE_ABOUT_LENGTH, RUN_AWAY, UNASKED, CLOSE };

struct fixture {
	struct loop *loop;
	struct mem mem;
	struct guest_memory memory;
	struct vhost_backend *backend;
	struct timer pause;
	struct vhost_peer peer;
	enum conduct conduct;
	unsigned last_message; /* the peer ends after this one; 0: never */
	pthread_t thread;
	unsigned done[2], finished[2], failed;
	uint32_t written[1024];
	unsigned tokens[1024], token_count;
};

/* ---- the peer's thread ---- */

static void misbehave(struct fixture *f)
{
	struct vhost_peer *peer = &f->peer;
	struct peer_ring *ring = &peer->rings[1];
	uint8_t buf[2048];
	uint16_t *used;

	if (peer_take(peer, 1, buf, sizeof(buf)) == 0)
		return;
	used = peer_at(peer, ring->used);
	/* The entry was right, and may have been seen: the next one isn't. */
	if (f->conduct == LIE_ABOUT_HEAD)
		((uint32_t *)(void *)used)[1 + 2 * (ring->next_used % ring->size)] = 7;
	if (f->conduct == LIE_ABOUT_LENGTH)
		((uint32_t *)(void *)used)[2 + 2 * (ring->next_used % ring->size)] = 1;
	used[1] = (uint16_t)(ring->next_used + (f->conduct == RUN_AWAY ? 2000 : 1));
	peer_call(peer, 1);
}

static bool act(struct fixture *f)
{
	struct vhost_peer *peer = &f->peer;
	uint8_t buf[70000];
	size_t n;

	switch (f->conduct) {
	case ECHO:
		while ((n = peer_take(peer, 1, buf, sizeof(buf))) > 0)
			peer_give(peer, 0, buf, n);
		return true;
	case UNASKED:
		return !peer->rings[1].enabled || (send(peer->fd, "hello", 5, MSG_NOSIGNAL) == 5 && false);
	case CLOSE:
		return !peer->rings[1].enabled;
	default:
		misbehave(f);
		return true;
	}
}

static void *serve_peer(void *ctx)
{
	struct fixture *f = ctx;
	struct vhost_peer *peer = &f->peer;
	bool on = true;

	while (on) {
		struct pollfd fds[2] = {{.fd = peer->fd, .events = POLLIN},
					{.fd = peer->rings[1].kick > 0 ? peer->rings[1].kick : -1, .events = POLLIN}};
		uint64_t count;

		assert_true(poll(fds, 2, 10000) > 0);
		if (fds[0].revents)
			on = peer_message(peer) && peer->last != f->last_message;
		else if (fds[1].revents)
			on = read(peer->rings[1].kick, &count, sizeof(count)) == sizeof(count);
		on = on && act(f);
	}
	/* Unasked bytes have to be read before the end is. */
	peer_end(peer);
	if (f->conduct == UNASKED)
		while (peer_message(peer))
			;
	close(peer->fd);
	return NULL;
}

/* ---- the device's part ---- */

static void on_done(void *ctx, unsigned queue, unsigned token, uint32_t written)
{
	struct fixture *f = ctx;

	f->done[queue]++;
	f->written[f->token_count % 1024] = written;
	f->tokens[f->token_count++ % 1024] = token;
}

static void on_finished(void *ctx, unsigned queue)
{
	((struct fixture *)ctx)->finished[queue]++;
}

static void on_failed(void *ctx)
{
	((struct fixture *)ctx)->failed++;
}

static void stop_loop(void *ctx)
{
	loop_stop(ctx);
}

static void serve(struct fixture *f)
{
	loop_timer_arm(f->loop, &f->pause, platform_clock_ns() + 5000000u);
	assert_int_equal(loop_run(f->loop), 0);
}

static void prepare(struct fixture *f, enum conduct conduct)
{
	char why[256] = "";

	memset(f, 0, sizeof(*f));
	signal(SIGPIPE, SIG_IGN);
	f->conduct = conduct;
	f->peer.features = PEER_FEATURES;
	f->peer.protocol = 1 | 8;
	f->loop = loop_create(why, sizeof(why));
	assert_non_null(f->loop);
	timer_init(&f->pause, NULL, stop_loop, f->loop);
	assert_int_equal(guest_memory_add(&f->memory, &f->mem, 0, RAM, GUEST_MEMORY_FILE, why, sizeof(why)), 0);
	assert_int_equal(guest_memory_add(&f->memory, &f->mem, MIB(8), RAM, 0, why, sizeof(why)), 0);
}

static int try_open(struct fixture *f, unsigned queues, char *why, size_t why_size)
{
	int pair[2], r;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	f->peer.fd = pair[1];
	assert_int_equal(pthread_create(&f->thread, NULL, serve_peer, f), 0);
	r = vhost_user_open(pair[0], "the test", queues, f->loop, &f->backend, why, why_size);
	if (r)
		return r;
	f->backend->done = on_done;
	f->backend->finished = on_finished;
	f->backend->failed = on_failed;
	f->backend->ctx = f;
	return vhost_user_share(f->backend, &f->memory, why, why_size);
}

static void start(struct fixture *f, enum conduct conduct)
{
	char why[256] = "";

	prepare(f, conduct);
	assert_int_equal(try_open(f, 2, why, sizeof(why)), 0);
	assert_int_equal(f->backend->ops->start(f->backend, 1 << 15), 0);
	assert_int_equal(f->backend->ops->start_queue(f->backend, 0), 0);
	if (conduct != UNASKED && conduct != CLOSE)
		assert_int_equal(f->backend->ops->start_queue(f->backend, 1), 0);
}

static void stop(struct fixture *f)
{
	if (f->backend)
		f->backend->ops->destroy(f->backend);
	pthread_join(f->thread, NULL);
	loop_timer_cancel(f->loop, &f->pause);
	loop_destroy(f->loop);
	mem_destroy(&f->mem);
	guest_memory_destroy(&f->memory);
}

static uint8_t *ram(struct fixture *f, gpa_t gpa)
{
	return mem_hva(&f->mem, gpa, 1);
}

static int submit(struct fixture *f, unsigned queue, unsigned token, gpa_t gpa, size_t len)
{
	const struct iobuf buf = {.base = NULL, .len = len};
	const struct vhost_chain chain = {.gpas = &gpa, .bufs = &buf, .out = queue, .in = 1 - queue};

	return f->backend->ops->submit(f->backend, queue, token, &chain);
}

static void wait_for(struct fixture *f, const unsigned *counter, unsigned value)
{
	for (unsigned i = 0; i < 1000 && *counter < value; i++)
		serve(f);
	assert_true(*counter >= value);
}

/* ---- tests ---- */

static void frames_go_and_come(void **state)
{
	struct fixture f;

	for (unsigned plain = 0; plain < 2; plain++) {
		prepare(&f, ECHO);
		/* Without features of the protocol: no acknowledgements, rings are enabled as they start. */
		if (plain)
			f.peer.protocol = 0;
		char why[256] = "";
		assert_int_equal(try_open(&f, 2, why, sizeof(why)), 0);
		assert_int_equal(f.backend->features, PEER_FEATURES);
		assert_int_equal(f.backend->ops->start(f.backend, 1 << 15), 0);
		for (unsigned queue = 0; queue < 2; queue++)
			assert_int_equal(f.backend->ops->start_queue(f.backend, queue), 0);
		for (unsigned i = 0; i < 3000; i++) {
			memset(ram(&f, 0x1000), (int)i, 200);
			memset(ram(&f, 0x2000), 0xee, 400);
			assert_int_equal(submit(&f, 0, 2 * i % 1024, 0x2000, 150), 1);
			assert_int_equal(submit(&f, 0, (2 * i + 1) % 1024, 0x2100, 150), 1);
			f.backend->ops->kick(f.backend, 0);
			assert_int_equal(submit(&f, 1, 5, 0x1000, 200), 1);
			f.token_count = 0;
			f.backend->ops->kick(f.backend, 1);
			for (unsigned n = 0; n < 1000 && f.done[0] < 2 * (i + 1); n++) {
				/* It loops until something comes. */
				loop_timer_arm(f.loop, &f.pause, platform_clock_ns() + 100000u);
				assert_int_equal(loop_run(f.loop), 0);
			}
			assert_int_equal(f.done[0], 2 * (i + 1));
			assert_int_equal(f.done[1], i + 1);
			assert_memory_equal(ram(&f, 0x1000) + 12, ram(&f, 0x2000) + 12, 138);
			assert_memory_equal(ram(&f, 0x1000), ram(&f, 0x2100), 50);
			assert_int_equal(ram(&f, 0x2000)[10], 2);
		}
		assert_int_equal(f.failed, 0);
		assert_int_equal(f.peer.chosen, 1ull << 32 | 1ull << 30 | 1 << 15);
		stop(&f);
	}
}

static void queues_stop_and_start_again(void **state)
{
	struct fixture f;

	start(&f, ECHO);
	for (unsigned round = 1; round < 20; round++) {
		for (unsigned i = 0; i < 200; i++)
			assert_int_equal(submit(&f, 0, i, 0x2000 + 0x100 * i, 150), 1);
		f.backend->ops->kick(f.backend, 0);
		assert_int_equal(submit(&f, 1, 3, 0x1000, 50), 1);
		f.backend->ops->kick(f.backend, 1);
		wait_for(&f, &f.done[0], round);
		for (unsigned queue = 0; queue < 2; queue++) {
			f.backend->ops->stop_queue(f.backend, queue);
			f.backend->ops->stop_queue(f.backend, queue);
			assert_int_equal(f.peer.rings[queue].kick, 0);
		}
		serve(&f);
		assert_int_equal(f.done[0], round);
		assert_int_equal(f.backend->ops->start(f.backend, 0), 0);
		for (unsigned queue = 0; queue < 2; queue++)
			assert_int_equal(f.backend->ops->start_queue(f.backend, queue), 0);
	}
	assert_int_equal(f.failed, 0);
	stop(&f);
}

static void what_is_not_shared(void **state)
{
	struct fixture f;

	start(&f, ECHO);
	assert_int_equal(submit(&f, 1, 0, RAM - 16, 16), 1);
	assert_int_equal(submit(&f, 1, 1, RAM - 16, 17), -EFAULT);
	assert_int_equal(submit(&f, 1, 1, RAM, 1), -EFAULT);
	assert_int_equal(submit(&f, 1, 1, MIB(8), 16), -EFAULT);
	/* Where the peer has the rings. */
	assert_int_equal(submit(&f, 1, 1, GIB(1), 16), -EFAULT);
	assert_int_equal(submit(&f, 1, 1, 0, 1ull << 32), -EFAULT);
	assert_int_equal(submit(&f, 1, 1, ~0ull, 16), -EFAULT);
	/* The ring is as long as it is. */
	for (unsigned i = 1; i < 1024; i++)
		assert_int_equal(submit(&f, 1, i, 0, 16), 1);
	assert_int_equal(submit(&f, 1, 1024, 0, 16), 0);
	stop(&f);
}

static void peers_that_lie(void **state)
{
	static const enum conduct conducts[] = {LIE_ABOUT_HEAD, LIE_ABOUT_LENGTH, RUN_AWAY};
	struct fixture f;

	for (unsigned i = 0; i < ARRAY_SIZE(conducts); i++) {
		start(&f, conducts[i]);
		assert_int_equal(submit(&f, 1, 0, 0x1000, 100), 1);
		assert_int_equal(submit(&f, 1, 1, 0x1000, 100), 1);
		f.backend->ops->kick(f.backend, 1);
		wait_for(&f, &f.failed, 1);
		/* It is dead: nothing does harm, nothing goes on. */
		assert_int_equal(submit(&f, 1, 2, 0x1000, 100), 0);
		f.backend->ops->kick(f.backend, 1);
		f.backend->ops->stop_queue(f.backend, 1);
		assert_int_equal(f.backend->ops->start(f.backend, 0), -EIO);
		assert_int_equal(f.backend->ops->start_queue(f.backend, 1), -EIO);
		serve(&f);
		assert_int_equal(f.failed, 1);
		stop(&f);
	}
}

static void peers_that_end(void **state)
{
	static const enum conduct conducts[] = {UNASKED, CLOSE};
	struct fixture f;

	for (unsigned i = 0; i < ARRAY_SIZE(conducts); i++) {
		start(&f, conducts[i]);
		/* What comes behind the answer may be read with this one already. */
		int r = f.backend->ops->start_queue(f.backend, 1);
		assert_true(r == 0 || f.failed == 1);
		wait_for(&f, &f.failed, 1);
		assert_int_equal(f.failed, 1);
		stop(&f);
	}
	/* After any message that comes while it is set up. */
	for (unsigned last = 1; last <= 18; last++) {
		char why[256] = "";

		prepare(&f, ECHO);
		f.last_message = last;
		int r = try_open(&f, 2, why, sizeof(why));
		assert_true(r <= 0);
		assert_true(r == 0 || strlen(why) > 20);
		if (f.backend) {
			r = r ? r : f.backend->ops->start(f.backend, 0);
			for (unsigned queue = 0; queue < 2 && !r; queue++)
				r = f.backend->ops->start_queue(f.backend, queue);
			for (unsigned queue = 0; queue < 2; queue++)
				f.backend->ops->stop_queue(f.backend, queue);
		}
		stop(&f);
	}
}

static void peers_that_cannot(void **state)
{
	char why[256] = "";
	struct fixture f;

	/* No virtio 1.0. */
	prepare(&f, ECHO);
	f.peer.features = 1 << 30;
	assert_int_equal(try_open(&f, 2, why, sizeof(why)), -EOPNOTSUPP);
	assert_non_null(strstr(why, "virtio 1.0"));
	stop(&f);
	/* Not so many queues. */
	prepare(&f, ECHO);
	assert_int_equal(try_open(&f, 6, why, sizeof(why)), -EOPNOTSUPP);
	assert_non_null(strstr(why, "6 queues"));
	stop(&f);
	/* Nobody there, and somebody of another trade. */
	prepare(&f, ECHO);
	assert_int_equal(vhost_user_connect("/nonexistent/socket", 2, f.loop, &f.backend, why, sizeof(why)), -ENOENT);
	assert_non_null(strstr(why, "/nonexistent/socket"));
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(write(pair[1], "HTTP/1.1 400 Bad Request\r\n", 26), 26);
	assert_int_equal(vhost_user_open(pair[0], "the test", 2, f.loop, &f.backend, why, sizeof(why)), -EPROTO);
	assert_non_null(strstr(why, "doesn't speak vhost-user"));
	close(pair[1]);
	loop_destroy(f.loop);
	mem_destroy(&f.mem);
	guest_memory_destroy(&f.memory);
}

/* Whoever has the file can't make it smaller, or our own accesses would fault. */
static void memory_keeps_its_size(void **state)
{
	int fd = memory_file(65536);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), -1);
	assert_int_equal(ftruncate(fd, 1 << 20), -1);
	close(fd);
}

static void ring_by_itself(void **state)
{
	static uint8_t shared[VHOST_RING_BYTES] __attribute__((aligned(4096)));
	static struct vhost_ring ring;
	const struct vhost_piece pieces[4] = {{0x1000, 10}, {0x2000, 20}, {0x3000, 30}, {0x4000, 40}};
	uint16_t *used = (uint16_t *)(void *)(shared + VHOST_RING_USED);
	uint32_t *entries = (uint32_t *)(void *)(shared + VHOST_RING_USED + 4);
	uint16_t *avail = (uint16_t *)(void *)(shared + VHOST_RING_AVAIL);
	unsigned token;
	uint32_t written;

	vhost_ring_init(&ring, shared);
	assert_int_equal(vhost_ring_take(&ring, &token, &written), 0);
	assert_true(vhost_ring_add(&ring, 77, pieces, 2, 2));
	assert_int_equal(avail[1], 0);
	assert_true(vhost_ring_publish(&ring));
	assert_int_equal(avail[1], 1);
	used[0] = 1;
	assert_false(vhost_ring_publish(&ring));
	/* Not a chain's first; more than can be written; then right; then the same again. */
	for (unsigned i = 0; i < 3; i++) {
		entries[0] = i == 0 ? avail[2] + 1u : avail[2];
		entries[1] = i == 1 ? 71 : 70;
		used[1] = 1;
		assert_int_equal(vhost_ring_take(&ring, &token, &written), i < 2 ? -EIO : 1);
	}
	assert_int_equal(token, 77);
	assert_int_equal(written, 70);
	entries[2] = avail[2];
	entries[3] = 0;
	used[1] = 2;
	assert_int_equal(vhost_ring_take(&ring, &token, &written), -EIO);
	used[1] = 0;
	assert_int_equal(vhost_ring_take(&ring, &token, &written), -EIO);
	used[1] = 1;
	/* The table that the other side sees is not what the descriptors are freed by. */
	for (unsigned i = 0; i < 256; i++)
		assert_true(vhost_ring_add(&ring, i, pieces, 4, 0));
	assert_false(vhost_ring_add(&ring, 256, pieces, 1, 0));
	memset(shared + VHOST_RING_DESC, 0xff, 16 * VHOST_RING_SIZE);
	for (unsigned i = 0; i < 256; i++) {
		unsigned at = 1 + i;

		entries[2 * at] = avail[2 + at];
		entries[2 * at + 1] = 0;
		used[1] = (uint16_t)(at + 1);
		assert_int_equal(vhost_ring_take(&ring, &token, &written), 1);
		assert_int_equal(token, i);
	}
	for (unsigned i = 0; i < 1024; i++)
		assert_true(vhost_ring_add(&ring, i, pieces, 1, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_go_and_come),
		cmocka_unit_test(queues_stop_and_start_again),
		cmocka_unit_test(what_is_not_shared),
		cmocka_unit_test(peers_that_lie),
		cmocka_unit_test(peers_that_end),
		cmocka_unit_test(peers_that_cannot),
		cmocka_unit_test(memory_keeps_its_size),
		cmocka_unit_test(ring_by_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
