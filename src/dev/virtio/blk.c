/* The block device (virtio 1.2 §5.2) in front of a struct block_backend.
 *
 * Example:
 *     err = virtio_blk_create(vm, backend, &vdev);
 *     err = virtio_blk_create_with(vm, backend, &(struct virtio_blk_options){.queues = 4}, &vdev);
 *
 * A request waits in the table from the moment its chain is popped until its status byte is written.
 * notify() pops under the device lock, submits to the backend with none held, and completions (I/O
 * thread, any order) take the lock again. A driver without VIRTIO_BLK_F_FLUSH expects writes to be
 * stable: each is followed by a flush before it is completed (§5.2.6.2, write-through).
 *
 * With several queues all share the table of requests and the limit of the rate; each answers by its own interrupt. The I/O
 * thread serves them in turn. A queue that is held back, by either, takes no kicks until its work is posted again.
 */
#include "base/checked.h"
#include "base/errno.h"
#include "base/string.h"
#include "core/backend.h"
#include "core/platform.h"
#include "core/stats.h"
#include "core/vm.h"
#include "dev/virtio/limiter.h"
#include "dev/virtio/virtio.h"
#include "mem/mem.h"

#define SECTOR_SHIFT 9
#define SECTOR_SIZE  512u

#define QUEUE_SIZE 256
#define TABLES_MAX 4                    /* so many queues' worth of requests may be under way */
#define SEG_MAX    (VIRTQ_MAX_SEGS - 2) /* header and status take one each */
#define BATCH      16                   /* requests popped before they are submitted */
#define BUDGET     256                  /* requests taken before other work gets its turn */

#define MAX_DISCARD_SECTORS (1u << 22)

#define BLK_F_SEG_MAX      (1ull << 2)
#define BLK_F_RO           (1ull << 5)
#define BLK_F_BLK_SIZE     (1ull << 6)
#define BLK_F_FLUSH        (1ull << 9)
#define BLK_F_TOPOLOGY     (1ull << 10)
#define BLK_F_MQ           (1ull << 12)
#define BLK_F_DISCARD      (1ull << 13)
#define BLK_F_WRITE_ZEROES (1ull << 14)

enum blk_type {
	BLK_T_IN = 0,
	BLK_T_OUT = 1,
	BLK_T_FLUSH = 4,
	BLK_T_GET_ID = 8,
	BLK_T_DISCARD = 11,
	BLK_T_WRITE_ZEROES = 13,
};

enum blk_status { BLK_S_OK = 0, BLK_S_IOERR = 1, BLK_S_UNSUPP = 2 };

#define BLK_ID_BYTES     20
#define BLK_ZEROES_UNMAP 1u

struct blk_header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

struct blk_discard {
	uint64_t sector;
	uint32_t num_sectors;
	uint32_t flags;
};

/* §5.2.4 */
struct blk_config {
	uint64_t capacity;
	uint32_t size_max;
	uint32_t seg_max;
	uint16_t cylinders;
	uint8_t heads;
	uint8_t sectors;
	uint32_t blk_size;
	uint8_t physical_block_exp;
	uint8_t alignment_offset;
	uint16_t min_io_size;
	uint32_t opt_io_size;
	uint8_t writeback;
	uint8_t unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors;
	uint32_t max_discard_seg;
	uint32_t discard_sector_alignment;
	uint32_t max_write_zeroes_sectors;
	uint32_t max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap;
	uint8_t unused1[3];
};
_Static_assert(sizeof(struct blk_header) == 16 && sizeof(struct blk_discard) == 16, "virtio 1.2 §5.2.6");
_Static_assert(sizeof(struct blk_config) == 64 && offsetof(struct blk_config, max_discard_sectors) == 36 &&
		       offsetof(struct blk_config, write_zeroes_may_unmap) == 56,
	       "virtio 1.2 §5.2.4 (and padding to 8)");

struct blk;

struct blk_request {
	struct blk *blk;
	struct virtq *queue;      /* that it came from */
	struct blk_request *next; /* free list, or a batch */
	uint8_t *status;          /* where the answer goes */
	gpa_t status_gpa;
	bool flush_after;         /* write-through */
	struct block_request io;
	struct virtq_chain chain; /* after the header and before the status */
};

struct blk {
	struct virtio_device dev;
	struct block_backend *backend;
	struct blk_config config;
	struct blk_request *requests; /* request_count of them, */
	unsigned request_count;
	unsigned used_once;           /* of which these many have ever been taken, */
	struct blk_request *free;     /* and these came back */
	bool starved;                 /* notify() stopped for want of a free request */
	struct limiter limiter;
	unsigned turn;                /* the queue that is served first, after all were held back */
	struct {
		uint64_t reads, writes, others, read_bytes, written_bytes;
	} done; /* figures; under the lock */
};

static struct blk *blk_of(struct virtio_device *dev)
{
	return container_of(dev, struct blk, dev);
}

/* What was held back goes on. The first place goes around: it may be the only one for which there is enough. */
static void post_all(struct blk *blk)
{
	for (unsigned i = 0; i < blk->dev.queue_count; i++)
		work_post(&blk->dev.queues[(blk->turn + i) % blk->dev.queue_count].work);
	blk->turn = (blk->turn + 1) % blk->dev.queue_count;
}

/* ---- completion ---- */

/* Lock held. written: bytes of data in front of the status byte that are surely there. */
static void finish(struct blk_request *request, enum blk_status status, uint64_t written)
{
	struct blk *blk = request->blk;
	struct virtq *queue = request->queue;

	/* The length is that of a prefix: without all of the data it can't include the status. */
	if (written == request->chain.in_len)
		written++;
	if (queue->ready) {
		*request->status = (uint8_t)status;
		mem_mark_written(&blk->dev.vm->mem, request->status_gpa, 1);
	}
	virtq_push(queue, &request->chain, written > UINT32_MAX ? UINT32_MAX : (uint32_t)written);
	request->next = blk->free;
	blk->free = request;
}

static void count(struct blk *blk, const struct block_request *io)
{
	switch (io->op) {
	case BLOCK_READ:
		blk->done.reads++;
		blk->done.read_bytes += io->length;
		break;
	case BLOCK_WRITE:
		blk->done.writes++;
		blk->done.written_bytes += io->length;
		break;
	default:
		blk->done.others++;
		break;
	}
}

static void io_done(struct block_request *io, int status)
{
	struct blk_request *request = io->ctx;
	struct blk *blk = request->blk;
	struct virtq *queue = request->queue;
	bool read = io->op == BLOCK_READ;

	if (status == 0 && request->flush_after) {
		request->flush_after = false;
		io->op = BLOCK_FLUSH;
		blk->backend->ops->submit(blk->backend, io);
		return;
	}
	lock_take(&blk->dev.lock);
	count(blk, io);
	if (read && status < 0)
		virtq_chain_mark(queue, &request->chain); /* who knows how far it came */
	finish(request, status < 0 ? BLK_S_IOERR : BLK_S_OK, read && status < 0 ? 0 : request->chain.in_len);
	virtq_signal(queue);
	if (blk->starved) {
		blk->starved = false;
		post_all(blk);
	}
	lock_release(&blk->dev.lock);
}

/* ---- requests ---- */

/* Sectors to bytes, or false if they aren't all on the disk. */
static bool on_disk(const struct blk *blk, uint64_t sector, uint64_t bytes, uint64_t *offset)
{
	uint64_t end;

	return !mul_overflow(sector, (uint64_t)SECTOR_SIZE, offset) && !add_overflow(*offset, bytes, &end) &&
	       end <= blk->config.capacity << SECTOR_SHIFT;
}

static enum blk_status prepare_transfer(struct blk_request *request, const struct blk_header *header, bool write)
{
	struct block_request *io = &request->io;
	const struct virtq_chain *chain = &request->chain;

	io->op = write ? BLOCK_WRITE : BLOCK_READ;
	io->length = write ? chain->out_len : chain->in_len;
	io->bufs = write ? chain->bufs : chain->bufs + chain->out_count;
	io->count = write ? chain->out_count : chain->in_count;
	if (write && request->blk->backend->read_only)
		return BLK_S_IOERR;
	if (io->length == 0 || io->length % SECTOR_SIZE != 0 ||
	    !on_disk(request->blk, header->sector, io->length, &io->offset))
		return BLK_S_IOERR;
	request->flush_after = write && !virtio_has(&request->blk->dev, BLK_F_FLUSH);
	return BLK_S_OK;
}

/* Discard and write zeroes: one segment a request, as the configuration says. */
static enum blk_status prepare_range(struct blk_request *request, bool zeroes)
{
	struct blk *blk = request->blk;
	struct block_request *io = &request->io;
	struct blk_discard range;

	if (!(blk->dev.features & (zeroes ? BLK_F_WRITE_ZEROES : BLK_F_DISCARD)))
		return BLK_S_UNSUPP;
	if (request->chain.out_len != sizeof(range))
		return BLK_S_IOERR;
	virtq_chain_read(&request->chain, 0, &range, sizeof(range));
	if (range.flags & ~(zeroes ? BLK_ZEROES_UNMAP : 0u))
		return BLK_S_UNSUPP;
	io->op = zeroes ? BLOCK_WRITE_ZEROES : BLOCK_DISCARD;
	io->length = (uint64_t)range.num_sectors << SECTOR_SHIFT;
	io->unmap = (range.flags & BLK_ZEROES_UNMAP) != 0;
	if (range.num_sectors > MAX_DISCARD_SECTORS || !on_disk(blk, range.sector, io->length, &io->offset))
		return BLK_S_IOERR;
	request->flush_after = !virtio_has(&blk->dev, BLK_F_FLUSH);
	return BLK_S_OK;
}

/* What to do with a request. 1: submit request->io. 0: it has been finished. Lock held. */
static int take_request(struct blk_request *request)
{
	struct blk *blk = request->blk;
	struct blk_header header;
	char id[BLK_ID_BYTES] = {0};
	enum blk_status status = BLK_S_OK;

	virtq_chain_read(&request->chain, 0, &header, sizeof(header));
	virtq_chain_skip_out(&request->chain, sizeof(header));
	request->flush_after = false;
	request->io = (struct block_request){.done = io_done, .ctx = request};
	switch (header.type) {
	case BLK_T_IN:
	case BLK_T_OUT:
		status = prepare_transfer(request, &header, header.type == BLK_T_OUT);
		break;
	case BLK_T_FLUSH:
		request->io.op = BLOCK_FLUSH;
		break;
	case BLK_T_DISCARD:
	case BLK_T_WRITE_ZEROES:
		status = prepare_range(request, header.type == BLK_T_WRITE_ZEROES);
		break;
	case BLK_T_GET_ID:
		for (unsigned i = 0; i < sizeof(id) && blk->backend->serial[i]; i++)
			id[i] = blk->backend->serial[i];
		finish(request, BLK_S_OK, virtq_chain_write(&request->chain, 0, id, sizeof(id)));
		return 0;
	default:
		status = BLK_S_UNSUPP;
		break;
	}
	if (status == BLK_S_OK)
		return 1;
	finish(request, status, 0);
	return 0;
}

/* A request that nobody uses, not taken from the list yet; NULL: all are under way. The most recently
 * used first: while traffic is thin the rest of the table costs address space only. */
static struct blk_request *free_request(struct blk *blk)
{
	struct blk_request *request = blk->free;

	if (!request && blk->used_once < blk->request_count) {
		request = &blk->requests[blk->used_once++];
		request->blk = blk;
		blk->free = request;
	}
	return request;
}

/* Is there room for one more request, and time? If not, the queue's work will be posted. Lock held. */
static bool may_take(struct blk *blk)
{
	if (!free_request(blk)) {
		blk->starved = true;
		return false;
	}
	return limiter_open(&blk->limiter);
}

/* Pops one chain into the free request that there is. 1: *out is it; 0: no more; -errno: broken. Lock held. */
static int pop_request(struct blk *blk, struct virtq *queue, struct blk_request **out)
{
	struct blk_request *request = free_request(blk);
	int got;

	got = virtq_pop(queue, &request->chain);
	if (got <= 0)
		return got;
	request->status = virtq_chain_take_last_in(&request->chain, &request->status_gpa);
	if (!request->status || request->chain.out_len < sizeof(struct blk_header)) {
		virtq_drop(queue);
		virtio_device_broken(&blk->dev, "a block request has no header or no status byte");
		return -EIO;
	}
	limiter_charge(&blk->limiter, request->chain.out_len - sizeof(struct blk_header) + request->chain.in_len);
	request->queue = queue;
	blk->free = request->next;
	*out = request;
	return 1;
}

/* Pops up to BATCH requests; those for the backend come back as a list in order. Returns how many
 * chains were taken; *held_back: more may be there, and are served later. Lock held. */
static unsigned take_batch(struct blk *blk, struct virtq *queue, struct blk_request **list, bool *held_back)
{
	struct blk_request *request, **tail = list;
	unsigned taken = 0;

	*held_back = false;
	for (*list = NULL; taken < BATCH; taken++) {
		*held_back = !may_take(blk);
		if (*held_back || pop_request(blk, queue, &request) <= 0)
			break;
		if (take_request(request)) {
			request->next = NULL;
			*tail = request;
			tail = &request->next;
		}
	}
	virtq_signal(queue);
	return taken;
}

static void blk_notify(struct virtio_device *dev, struct virtq *queue)
{
	struct blk *blk = blk_of(dev);
	struct blk_request *list, *request;
	unsigned total = 0, taken;
	bool again, held_back;

	do {
		lock_take(&dev->lock);
		virtq_disable_notify(queue);
		taken = take_batch(blk, queue, &list, &held_back);
		/* Held back: kicks until then are idle. */
		again = taken == BATCH || (!held_back && virtq_enable_notify(queue));
		lock_release(&dev->lock);
		while ((request = list)) {
			list = request->next;
			blk->backend->ops->submit(blk->backend, &request->io);
		}
		total += taken;
	} while (again && total < BUDGET);
	if (again)
		work_post(&queue->work);
}

/* ---- the rest of a device ---- */

static void blk_config_read(struct virtio_device *dev, unsigned offset, void *buf, unsigned len)
{
	memcpy(buf, (const uint8_t *)&blk_of(dev)->config + offset, len);
}

static void blk_reset(struct virtio_device *dev)
{
	blk_of(dev)->starved = false;
}

static void blk_drain(struct virtio_device *dev)
{
	struct block_backend *backend = blk_of(dev)->backend;

	if (backend->ops->drain)
		backend->ops->drain(backend);
}

static void limiter_again(void *ctx)
{
	post_all(ctx);
}

static void blk_stats(struct virtio_device *dev, struct stats_sink *sink)
{
	struct blk *blk = blk_of(dev);

	lock_take(&dev->lock);
	stats_add(sink, NULL, "disk reads", blk->done.reads);
	stats_add(sink, NULL, "disk bytes read", blk->done.read_bytes);
	stats_add(sink, NULL, "disk writes", blk->done.writes);
	stats_add(sink, NULL, "disk bytes written", blk->done.written_bytes);
	stats_add(sink, NULL, "disk other requests", blk->done.others);
	limiter_stats(&blk->limiter, sink, "disk pauses by rate limit", "disk time in pauses (ms)");
	lock_release(&dev->lock);
}

static void blk_destroy(struct virtio_device *dev)
{
	struct blk *blk = blk_of(dev);

	limiter_stop(&blk->limiter);
	virtio_device_fini(dev);
	platform_free(blk->requests);
	platform_free(blk);
}

static const struct virtio_device_ops blk_ops = {
	.name = "blk",
	.id = VIRTIO_ID_BLOCK,
	.config_read = blk_config_read,
	.notify = blk_notify,
	.reset = blk_reset,
	.drain = blk_drain,
	.stats = blk_stats,
	.destroy = blk_destroy,
};

static uint64_t blk_features(const struct block_backend *backend)
{
	uint64_t features = BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_FLUSH | BLK_F_TOPOLOGY;

	if (backend->read_only)
		return features | BLK_F_RO;
	return features | BLK_F_WRITE_ZEROES | (backend->can_discard ? BLK_F_DISCARD : 0);
}

static void describe(struct blk *blk, unsigned queues)
{
	const struct block_backend *backend = blk->backend;

	blk->config = (struct blk_config){
		.capacity = backend->size >> SECTOR_SHIFT,
		.seg_max = SEG_MAX,
		.blk_size = SECTOR_SIZE,
		.physical_block_exp = 3, /* 4 KiB: what the host's page cache and file systems like */
		.min_io_size = 8,
		.num_queues = (uint16_t)queues,
		.max_discard_sectors = MAX_DISCARD_SECTORS,
		.max_discard_seg = 1,
		.discard_sector_alignment = 8,
		.max_write_zeroes_sectors = MAX_DISCARD_SECTORS,
		.max_write_zeroes_seg = 1,
		.write_zeroes_may_unmap = backend->can_discard,
	};
}

int virtio_blk_create_with(struct vm *vm, struct block_backend *backend, const struct virtio_blk_options *options,
			   struct virtio_device **out)
{
	const unsigned queues = options->queues ? options->queues : 1;
	uint16_t sizes[VIRTIO_BLK_MAX_QUEUES];
	struct blk *blk;
	int err;

	if (queues > VIRTIO_BLK_MAX_QUEUES)
		return -EINVAL;
	blk = platform_alloc(sizeof(*blk));
	if (!blk)
		return -ENOMEM;
	blk->backend = backend;
	describe(blk, queues);
	for (unsigned i = 0; i < queues; i++)
		sizes[i] = QUEUE_SIZE;
	err = -ENOMEM;
	blk->request_count = QUEUE_SIZE * (queues < TABLES_MAX ? queues : TABLES_MAX);
	blk->requests = platform_alloc(blk->request_count * sizeof(*blk->requests));
	if (!blk->requests)
		goto free_blk;
	err = virtio_device_init(&blk->dev, vm, &blk_ops, blk_features(backend) | (queues > 1 ? BLK_F_MQ : 0), 60, queues,
				 sizes);
	if (err < 0)
		goto free_requests;
	limiter_init(&blk->limiter, vm, &options->limit, limiter_again, blk);
	*out = &blk->dev;
	return 0;
free_requests:
	platform_free(blk->requests);
free_blk:
	platform_free(blk);
	return err;
}

int virtio_blk_create(struct vm *vm, struct block_backend *backend, struct virtio_device **out)
{
	return virtio_blk_create_with(vm, backend, &(struct virtio_blk_options){.queues = 1}, out);
}
