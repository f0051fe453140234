/* libFuzzer target for what a vhost-user back end can send us: replies to requests, and the used rings of its queues. Whatever
 * comes, chains come back at most once, no more bytes are said to be written than could be, and all memory is given back.
 *
 * Example:
 *     fuzz_vhost -seed_inputs=seeds/vhost_replies,seeds/vhost_ring -max_len=600 -runs=200000
 *
 * The first byte says which: 0: the rest are the bytes of replies; else the rest is a list of operations on a ring.
 */
#include "backend/vhost_ring.h"
#include "backend/vhost_user.h"
#include "core/vhost.h"
#include "host/linux/loop.h"
#include "host/linux/memory.h"
#include "mem/mem.h"
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHECK(condition)                                                                                           \
	do {                                                                                                       \
		if (!(condition))                                                                                  \
			abort();                                                                                   \
	} while (0)

/* ---- the loop is not run: nothing that a watch says is needed here ---- */

void watch_init(struct watch *watch, int fd, void (*ready)(void *ctx, uint32_t events), void *ctx)
{
	*watch = (struct watch){.fd = fd, .ready = ready, .ctx = ctx};
}

int loop_watch(struct loop *loop, struct watch *watch, uint32_t events)
{
	watch->events = events;
	return 0;
}

void loop_unwatch(struct loop *loop, struct watch *watch)
{
	watch->events = 0;
}

int socket_connect_unix(const char *path)
{
	return -1;
}

/* ---- replies ---- */

static unsigned dones;

static void on_done(void *ctx, unsigned queue, unsigned token, uint32_t written)
{
	dones++;
}

static void on_finished(void *ctx, unsigned queue)
{
}

static void on_failed(void *ctx)
{
	CHECK(!*(bool *)ctx);
	*(bool *)ctx = true;
}

static void use(struct vhost_backend *backend, struct guest_memory *memory)
{
	char why[256];
	gpa_t gpa = 0;
	const struct iobuf buf = {.base = memory->ranges[0].ram, .len = 100};
	const struct vhost_chain chain = {.gpas = &gpa, .bufs = &buf, .out = 1};

	if (vhost_user_share(backend, memory, why, sizeof(why)) || backend->ops->start(backend, 0) ||
	    backend->ops->start_queue(backend, 0) || backend->ops->start_queue(backend, 1))
		return;
	CHECK(backend->ops->submit(backend, 0, 3, &chain) == 1);
	backend->ops->kick(backend, 0);
	backend->ops->stop_queue(backend, 1);
	backend->ops->stop_queue(backend, 0);
	CHECK(dones == 0);
}

static void fuzz_replies(const uint8_t *bytes, size_t len)
{
	struct vhost_backend *backend;
	struct guest_memory memory = {0};
	struct mem mem = {0};
	char why[256];
	bool failed = false;
	int pair[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CHECK(write(pair[1], bytes, len) == (ssize_t)len);
	CHECK(shutdown(pair[1], SHUT_WR) == 0);
	CHECK(guest_memory_add(&memory, &mem, 0, 65536, GUEST_MEMORY_FILE, why, sizeof(why)) == 0);
	dones = 0;
	if (vhost_user_open(pair[0], "the fuzzer", 2, NULL, &backend, why, sizeof(why)) == 0) {
		backend->done = on_done;
		backend->finished = on_finished;
		backend->failed = on_failed;
		backend->ctx = &failed;
		use(backend, &memory);
		backend->ops->destroy(backend);
	}
	close(pair[1]);
	mem_destroy(&mem);
	guest_memory_destroy(&memory);
}

/* ---- a ring ---- */

struct model {
	bool out[VHOST_MAX_TOKENS];
	uint32_t room[VHOST_MAX_TOKENS];
	unsigned pieces[VHOST_MAX_TOKENS], used;
};

static void add(struct vhost_ring *ring, struct model *model, const uint8_t *op)
{
	struct vhost_piece pieces[256];
	unsigned out = op[0], in = op[1] % (256 - out > 0 ? 256 - out : 1), token = op[2];
	uint64_t room = 0;

	if (model->out[token] || out + in == 0)
		return;
	for (unsigned i = 0; i < out + in; i++) {
		pieces[i] = (struct vhost_piece){.address = i, .length = op[3] == 255 ? UINT32_MAX : op[3]};
		room += i < out ? 0 : pieces[i].length;
	}
	if (!vhost_ring_add(ring, token, pieces, out, in)) {
		CHECK(model->used + out + in > VHOST_RING_SIZE);
		return;
	}
	model->used += out + in;
	CHECK(model->used <= VHOST_RING_SIZE);
	model->out[token] = true;
	model->room[token] = room > UINT32_MAX ? UINT32_MAX : (uint32_t)room;
	model->pieces[token] = out + in;
	vhost_ring_publish(ring);
}

static void take(struct vhost_ring *ring, struct model *model)
{
	unsigned token = UINT32_MAX;
	uint32_t written;
	int r = vhost_ring_take(ring, &token, &written);

	if (r <= 0)
		return;
	CHECK(token < VHOST_MAX_TOKENS && model->out[token] && written <= model->room[token]);
	model->out[token] = false;
	model->used -= model->pieces[token];
}

static void fuzz_ring(const uint8_t *bytes, size_t len)
{
	static uint8_t shared[VHOST_RING_BYTES] __attribute__((aligned(4096)));
	static struct vhost_ring ring;
	struct model model = {0};

	vhost_ring_init(&ring, shared);
	for (; len >= 5; bytes += 5, len -= 5) {
		const uint8_t *op = bytes + 1;

		switch (bytes[0] % 5) {
		case 0:
			add(&ring, &model, op);
			break;
		case 1: /* anywhere in what the other side can write */
			shared[(op[0] << 8 | op[1]) % VHOST_RING_BYTES] = op[2];
			break;
		case 2: { /* a used entry, and that it is there */
			uint32_t entry[2] = {(uint32_t)(op[0] | (op[1] & 7) << 8), (uint32_t)(op[2] | op[3] << 8)};

			memcpy(shared + VHOST_RING_USED + 4 + 8 * (ring.next_used % VHOST_RING_SIZE), entry, sizeof(entry));
			uint16_t index = (uint16_t)(ring.next_used + 1);
			memcpy(shared + VHOST_RING_USED + 2, &index, sizeof(index));
			take(&ring, &model);
			break;
		}
		case 3: { /* the first of those that are out, as it should be */
			uint32_t entry[2] = {(uint32_t)(op[0] | (op[1] & 3) << 8), 0};
			uint16_t index = (uint16_t)(ring.next_used + 1);

			for (unsigned i = 0; i < VHOST_RING_SIZE && !ring.state[entry[0]].count; i++)
				entry[0] = (entry[0] + 1) % VHOST_RING_SIZE;
			memcpy(shared + VHOST_RING_USED + 4 + 8 * (ring.next_used % VHOST_RING_SIZE), entry, sizeof(entry));
			memcpy(shared + VHOST_RING_USED + 2, &index, sizeof(index));
			take(&ring, &model);
			break;
		}
		case 4:
			take(&ring, &model);
			break;
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (len == 0)
		return 0;
	if (bytes[0] == 0)
		fuzz_replies(bytes + 1, len - 1);
	else
		fuzz_ring(bytes + 1, len - 1);
	return 0;
}
