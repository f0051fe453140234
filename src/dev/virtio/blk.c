/* The block device (virtio 1.2 §5.2) in front of a struct block_backend.
 *
 * Example:
 *     err = virtio_blk_create(vm, backend, &vdev);
 *
 * A request waits in the table from the moment its chain is popped until its status byte is written.
 * notify() pops under the device lock, submits to the backend with none held, and completions (I/O
 * thread, any order) take the lock again. A driver without VIRTIO_BLK_F_FLUSH expects writes to be
 * stable: each is followed by a flush before it is completed (§5.2.6.2, write-through).
 */
#include "base/checked.h"
#include "base/errno.h"
#include "base/string.h"
#include "core/backend.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/virtio/virtio.h"
#include "mem/mem.h"

#define SECTOR_SHIFT 9
#define SECTOR_SIZE  512u

#define QUEUE_SIZE 256
#define SEG_MAX    (VIRTQ_MAX_SEGS - 2) /* header and status take one each */
#define BATCH      16                   /* requests popped before they are submitted */
#define BUDGET     256                  /* requests taken before other work gets its turn */

#define MAX_DISCARD_SECTORS (1u << 22)

#define BLK_F_SEG_MAX      (1ull << 2)
#define BLK_F_RO           (1ull << 5)
#define BLK_F_BLK_SIZE     (1ull << 6)
#define BLK_F_FLUSH        (1ull << 9)
#define BLK_F_TOPOLOGY     (1ull << 10)
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
	struct blk_request *requests; /* QUEUE_SIZE of them, */
	unsigned used_once;           /* of which these many have ever been taken, */
	struct blk_request *free;     /* and these came back */
	bool starved;                 /* notify() stopped for want of a free request */
};

static struct blk *blk_of(struct virtio_device *dev)
{
	return container_of(dev, struct blk, dev);
}

/* ---- completion ---- */

/* Lock held. written: bytes of data in front of the status byte that are surely there. */
static void finish(struct blk_request *request, enum blk_status status, uint64_t written)
{
	struct blk *blk = request->blk;
	struct virtq *queue = &blk->dev.queues[0];

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

static void io_done(struct block_request *io, int status)
{
	struct blk_request *request = io->ctx;
	struct blk *blk = request->blk;
	struct virtq *queue = &blk->dev.queues[0];
	bool read = io->op == BLOCK_READ;

	if (status == 0 && request->flush_after) {
		request->flush_after = false;
		io->op = BLOCK_FLUSH;
		blk->backend->ops->submit(blk->backend, io);
		return;
	}
	lock_take(&blk->dev.lock);
	if (read && status < 0)
		virtq_chain_mark(queue, &request->chain); /* who knows how far it came */
	finish(request, status < 0 ? BLK_S_IOERR : BLK_S_OK, read && status < 0 ? 0 : request->chain.in_len);
	virtq_signal(queue);
	if (blk->starved) {
		blk->starved = false;
		work_post(&queue->work);
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

	if (!request && blk->used_once < QUEUE_SIZE) {
		request = &blk->requests[blk->used_once++];
		request->blk = blk;
		blk->free = request;
	}
	return request;
}

/* Pops one chain into a free request. 1: *out is it; 0: no more; -errno: broken. Lock held. */
static int pop_request(struct blk *blk, struct blk_request **out)
{
	struct virtq *queue = &blk->dev.queues[0];
	struct blk_request *request = free_request(blk);
	int got;

	if (!request) {
		blk->starved = true;
		return 0;
	}
	got = virtq_pop(queue, &request->chain);
	if (got <= 0)
		return got;
	request->status = virtq_chain_take_last_in(&request->chain, &request->status_gpa);
	if (!request->status || request->chain.out_len < sizeof(struct blk_header)) {
		virtq_drop(queue);
		virtio_device_broken(&blk->dev, "a block request has no header or no status byte");
		return -EIO;
	}
	blk->free = request->next;
	*out = request;
	return 1;
}

/* Pops up to BATCH requests; those for the backend come back as a list in order. Returns how many
 * chains were taken. Lock held. */
static unsigned take_batch(struct blk *blk, struct blk_request **list)
{
	struct blk_request *request, **tail = list;
	unsigned taken = 0;

	for (*list = NULL; taken < BATCH && pop_request(blk, &request) > 0; taken++) {
		if (take_request(request)) {
			request->next = NULL;
			*tail = request;
			tail = &request->next;
		}
	}
	virtq_signal(&blk->dev.queues[0]);
	return taken;
}

static void blk_notify(struct virtio_device *dev, struct virtq *queue)
{
	struct blk *blk = blk_of(dev);
	struct blk_request *list, *request;
	unsigned total = 0, taken;
	bool again;

	do {
		lock_take(&dev->lock);
		virtq_disable_notify(queue);
		taken = take_batch(blk, &list);
		/* Out of requests: completions will call again, and kicks until then are idle. */
		again = taken == BATCH || (!blk->starved && virtq_enable_notify(queue));
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

static void blk_destroy(struct virtio_device *dev)
{
	struct blk *blk = blk_of(dev);

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
	.destroy = blk_destroy,
};

static uint64_t blk_features(const struct block_backend *backend)
{
	uint64_t features = BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_FLUSH | BLK_F_TOPOLOGY;

	if (backend->read_only)
		return features | BLK_F_RO;
	return features | BLK_F_WRITE_ZEROES | (backend->can_discard ? BLK_F_DISCARD : 0);
}

int virtio_blk_create(struct vm *vm, struct block_backend *backend, struct virtio_device **out)
{
	struct blk *blk = platform_alloc(sizeof(*blk));
	int err;

	if (!blk)
		return -ENOMEM;
	blk->backend = backend;
	blk->config = (struct blk_config){
		.capacity = backend->size >> SECTOR_SHIFT,
		.seg_max = SEG_MAX,
		.blk_size = SECTOR_SIZE,
		.physical_block_exp = 3, /* 4 KiB: what the host's page cache and file systems like */
		.min_io_size = 8,
		.num_queues = 1,
		.max_discard_sectors = MAX_DISCARD_SECTORS,
		.max_discard_seg = 1,
		.discard_sector_alignment = 8,
		.max_write_zeroes_sectors = MAX_DISCARD_SECTORS,
		.max_write_zeroes_seg = 1,
		.write_zeroes_may_unmap = backend->can_discard,
	};
	err = -ENOMEM;
	blk->requests = platform_alloc(QUEUE_SIZE * sizeof(*blk->requests));
	if (!blk->requests)
		goto free_blk;
	err = virtio_device_init(&blk->dev, vm, &blk_ops, blk_features(backend), 60, 1,
				 (const uint16_t[]){QUEUE_SIZE});
	if (err < 0)
		goto free_requests;
	*out = &blk->dev;
	return 0;
free_requests:
	platform_free(blk->requests);
free_blk:
	platform_free(blk);
	return err;
}
