/* Requests to an NBD server; see block_nbd.h.
 *
 *     submit ----> waiting ----> a slot: one command after the other until the request is whole ----> done()
 *
 * libnbd calls back with its handle locked, so a callback only notes the result; pump() goes on with whatever has a result as soon
 * as libnbd has returned. A buffer of the guest's that is long enough goes to and from the socket by itself; short ones are gathered.
 */
#include "backend/block_nbd.h"
#include "base/log.h"
#include "core/platform.h"
#include "disk/nbd_client.h"
#include "host/linux/loop.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#define SECTOR         512u
#define SLOTS          64u       /* requests that the server is told of; a gathered piece of each is in memory */
#define GATHERED_MAX   MIB(1)
#define DIRECT_MIN     KIB(32)
#define RANGE_MAX      GIB(1)    /* of a command without data */
#define PATIENCE_MS    5000u

enum slot_state { SLOT_FREE, SLOT_BUSY, SLOT_ANSWERED };

struct slot {
	enum slot_state state;
	int status;                    /* ANSWERED: of the command */
	struct block_request *request;
	uint64_t done;                 /* bytes of it */
	uint64_t piece;                /* bytes of the command under way */
	uint8_t *gathered;             /* or NULL: the piece is in the guest's memory */
	bool syncing;                  /* the request is carried out, and flushed */
};

struct nbd_disk {
	struct block_backend backend;
	struct nbd_client client;
	struct loop *loop;
	struct watch watch;            /* the connection */
	char *uri;
	bool writethrough, unsafe;
	bool pumping;
	unsigned patience_ms;
	struct slot slots[SLOTS];
	unsigned busy;                 /* slots that are not free */
	unsigned answers;              /* ever; drain() sees by it that the server lives */
	struct block_request *waiting, **waiting_tail; /* linked by backend_private[0] */
};

static struct nbd_disk *disk_of(struct block_backend *backend)
{
	return container_of(backend, struct nbd_disk, backend);
}

/* ---- one command ---- */

static int on_answer(void *ctx, int *error)
{
	struct slot *slot = ctx;

	slot->status = -*error;
	slot->state = SLOT_ANSWERED;
	return 1; /* libnbd may forget it */
}

static struct span rest_of(const struct slot *slot)
{
	return (struct span){(const struct iovec *)(const void *)slot->request->bufs, slot->request->count, slot->done};
}

/* What the next piece is in: the guest's buffer, or, gathered, ours. NULL: no memory. */
static void *piece_buffer(const struct nbd_disk *disk, struct slot *slot)
{
	const uint64_t left = slot->request->length - slot->done;
	struct iovec first;
	unsigned count;

	slot->piece = span_slice(rest_of(slot), left < disk->client.transfer_max ? left : disk->client.transfer_max, &first, 1, &count);
	if (slot->piece == left || slot->piece >= DIRECT_MIN) {
		slot->piece -= slot->piece % SECTOR;
		return first.iov_base;
	}
	slot->piece = left < GATHERED_MAX ? left : GATHERED_MAX;
	if (slot->piece > disk->client.transfer_max)
		slot->piece = disk->client.transfer_max;
	slot->gathered = malloc((size_t)slot->piece);
	if (slot->gathered && slot->request->op == BLOCK_WRITE)
		span_copy(slot->gathered, rest_of(slot), slot->piece);
	return slot->gathered;
}

static void *zeroes_buffer(const struct nbd_disk *disk, struct slot *slot)
{
	slot->piece = slot->request->length - slot->done;
	if (slot->piece > GATHERED_MAX)
		slot->piece = GATHERED_MAX;
	if (slot->piece > disk->client.transfer_max)
		slot->piece = disk->client.transfer_max;
	slot->gathered = calloc(1, (size_t)slot->piece);
	return slot->gathered;
}

static int64_t send_range(struct nbd_disk *disk, struct slot *slot, nbd_completion_callback callback, uint32_t flags)
{
	const struct block_request *request = slot->request;
	const uint64_t left = request->length - slot->done;

	slot->piece = left < RANGE_MAX ? left : RANGE_MAX;
	if (request->op == BLOCK_DISCARD)
		return disk->client.lib.aio_trim(disk->client.handle, slot->piece, request->offset + slot->done, callback, flags);
	if (!request->unmap)
		flags |= LIBNBD_CMD_FLAG_NO_HOLE;
	return disk->client.lib.aio_zero(disk->client.handle, slot->piece, request->offset + slot->done, callback, flags);
}

/* False: no memory. */
static bool send_data(struct nbd_disk *disk, struct slot *slot, nbd_completion_callback callback, uint32_t flags, int64_t *cookie)
{
	const struct block_request *request = slot->request;
	const uint64_t at = request->offset + slot->done;
	void *buffer = request->op == BLOCK_WRITE_ZEROES ? zeroes_buffer(disk, slot) : piece_buffer(disk, slot);

	if (!buffer)
		return false;
	if (request->op == BLOCK_READ)
		*cookie = disk->client.lib.aio_pread(disk->client.handle, buffer, (size_t)slot->piece, at, callback, 0);
	else
		*cookie = disk->client.lib.aio_pwrite(disk->client.handle, buffer, (size_t)slot->piece, at, callback, flags);
	return true;
}

/* The next command of a request. Its answer may be there when this returns. */
static void send_command(struct nbd_disk *disk, struct slot *slot)
{
	const struct block_request *request = slot->request;
	const nbd_completion_callback callback = {.callback = on_answer, .user_data = slot};
	const uint32_t flags = disk->writethrough && disk->client.can_fua ? LIBNBD_CMD_FLAG_FUA : 0;
	int64_t cookie = 0;
	int status = 0;

	slot->state = SLOT_BUSY;
	slot->piece = 0;
	if (!disk->client.handle)
		status = -EIO;
	else if (slot->syncing || request->op == BLOCK_FLUSH)
		cookie = disk->client.lib.aio_flush(disk->client.handle, callback, 0);
	else if (request->op == BLOCK_DISCARD || (request->op == BLOCK_WRITE_ZEROES && disk->client.can_zero))
		cookie = send_range(disk, slot, callback, flags);
	else if (!send_data(disk, slot, callback, flags, &cookie))
		status = -ENOMEM;
	if (cookie < 0)
		status = disk->client.lib.get_errno() ? -disk->client.lib.get_errno() : -EIO;
	if (status < 0 && slot->state == SLOT_BUSY) {
		slot->state = SLOT_ANSWERED;
		slot->status = status;
	}
}

/* ---- one request ---- */

static void end_request(struct nbd_disk *disk, struct slot *slot, int status)
{
	struct block_request *request = slot->request;

	*slot = (struct slot){0};
	disk->busy--;
	/* Without a connection it is all the same to the guest. */
	request->done(request, status < 0 && !disk->client.handle ? -EIO : status);
}

static bool changes_disk(const struct block_request *request)
{
	return request->op != BLOCK_READ && request->op != BLOCK_FLUSH;
}

/* A command is answered. */
static void go_on(struct nbd_disk *disk, struct slot *slot)
{
	const struct block_request *request = slot->request;

	disk->answers++;
	if (slot->status == 0 && slot->gathered && request->op == BLOCK_READ)
		span_fill(rest_of(slot), slot->gathered, slot->piece);
	free(slot->gathered);
	slot->gathered = NULL;
	slot->done += slot->piece;
	if (slot->status < 0 || slot->syncing || request->op == BLOCK_FLUSH) {
		end_request(disk, slot, slot->status);
	} else if (slot->done < request->length) {
		send_command(disk, slot);
	} else if (disk->writethrough && changes_disk(request) && !disk->client.can_fua && disk->client.can_flush) {
		slot->syncing = true;
		send_command(disk, slot);
	} else {
		end_request(disk, slot, 0);
	}
}

static struct slot *free_slot(struct nbd_disk *disk)
{
	for (unsigned i = 0; i < SLOTS && disk->busy < SLOTS; i++)
		if (disk->slots[i].state == SLOT_FREE)
			return &disk->slots[i];
	return NULL;
}

static bool start_waiting(struct nbd_disk *disk)
{
	struct block_request *request = disk->waiting;
	struct slot *slot = request ? free_slot(disk) : NULL;

	if (!slot)
		return false;
	disk->waiting = request->backend_private[0];
	if (!disk->waiting)
		disk->waiting_tail = &disk->waiting;
	*slot = (struct slot){.request = request};
	disk->busy++;
	send_command(disk, slot);
	return true;
}

/* ---- the connection ---- */

/* Nobody calls back once the handle is closed: what it has not answered, this does. */
static void lose(struct nbd_disk *disk, const char *what)
{
	log_error("disk", "%s: %s; what the guest reads and writes there fails from now on: start the VM again when the server is back",
		  disk->uri, what);
	loop_unwatch(disk->loop, &disk->watch);
	nbd_client_close(&disk->client);
	for (unsigned i = 0; i < SLOTS; i++) {
		if (disk->slots[i].state == SLOT_BUSY) {
			disk->slots[i].state = SLOT_ANSWERED;
			disk->slots[i].status = -EIO;
		}
	}
}

static void check_connection(struct nbd_disk *disk)
{
	struct nbd_handle *handle = disk->client.handle;
	unsigned direction;
	uint32_t events;

	if (!handle)
		return;
	if (disk->client.lib.aio_is_dead(handle) || disk->client.lib.aio_is_closed(handle)) {
		lose(disk, "the connection to the NBD server is lost");
		return;
	}
	direction = disk->client.lib.aio_get_direction(handle);
	events = (direction & LIBNBD_AIO_DIRECTION_READ ? EPOLLIN : 0u) | (direction & LIBNBD_AIO_DIRECTION_WRITE ? EPOLLOUT : 0u);
	if (loop_watch(disk->loop, &disk->watch, events) < 0)
		lose(disk, "the connection to the NBD server can't be waited for");
}

/* Goes on with all that can go on. done() may submit more: that is taken here too, not from within. */
static void pump(struct nbd_disk *disk)
{
	bool any;

	if (disk->pumping)
		return;
	disk->pumping = true;
	do {
		any = false;
		check_connection(disk);
		for (unsigned i = 0; i < SLOTS && disk->busy; i++) {
			if (disk->slots[i].state == SLOT_ANSWERED) {
				go_on(disk, &disk->slots[i]);
				any = true;
			}
		}
		while (start_waiting(disk))
			any = true;
	} while (any);
	disk->pumping = false;
}

static void on_ready(void *ctx, uint32_t events)
{
	struct nbd_disk *disk = ctx;
	struct nbd_handle *handle = disk->client.handle;

	/* A hang-up is for whichever of the two is waited for to find. */
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && (disk->client.lib.aio_get_direction(handle) & LIBNBD_AIO_DIRECTION_READ))
		(void)disk->client.lib.aio_notify_read(handle);
	if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) && (disk->client.lib.aio_get_direction(handle) & LIBNBD_AIO_DIRECTION_WRITE))
		(void)disk->client.lib.aio_notify_write(handle);
	pump(disk);
}

/* ---- the backend ---- */

static bool is_allowed(const struct block_backend *backend, const struct block_request *request)
{
	if (request->op == BLOCK_FLUSH)
		return true;
	return (request->op == BLOCK_READ || !backend->read_only) && request->offset <= backend->size &&
	       request->length <= backend->size - request->offset;
}

/* Nothing that the server had to do. */
static bool is_nothing(const struct nbd_disk *disk, const struct block_request *request)
{
	if (request->op == BLOCK_FLUSH)
		return disk->unsafe || !disk->client.can_flush;
	return request->length == 0 || (request->op == BLOCK_DISCARD && !disk->client.can_trim);
}

static void nbd_submit(struct block_backend *backend, struct block_request *request)
{
	struct nbd_disk *disk = disk_of(backend);

	if (!is_allowed(backend, request) || !disk->client.handle || is_nothing(disk, request)) {
		request->done(request, !is_allowed(backend, request) ? -EINVAL : !disk->client.handle ? -EIO : 0);
		return;
	}
	request->backend_private[0] = NULL;
	*disk->waiting_tail = request;
	disk->waiting_tail = (struct block_request **)(void *)&request->backend_private[0];
	pump(disk);
}

/* A server that says nothing for a while will not be waited for. */
static void nbd_drain(struct block_backend *backend)
{
	struct nbd_disk *disk = disk_of(backend);
	uint64_t end = platform_clock_ns() + disk->patience_ms * 1000000ull;
	unsigned answers = disk->answers;

	while (disk->busy || disk->waiting) {
		const uint64_t now = platform_clock_ns();

		if (disk->answers != answers) {
			answers = disk->answers;
			end = now + disk->patience_ms * 1000000ull;
		}
		if (disk->client.handle && now >= end)
			lose(disk, "the NBD server does not answer");
		else if (disk->client.handle)
			(void)disk->client.lib.poll(disk->client.handle, (int)((end - now) / 1000000 + 1));
		pump(disk);
	}
}

static void free_disk(struct nbd_disk *disk)
{
	if (disk->client.handle) {
		loop_unwatch(disk->loop, &disk->watch);
		if (disk->client.lib.aio_is_ready(disk->client.handle))
			(void)disk->client.lib.aio_disconnect(disk->client.handle, 0);
	}
	nbd_client_close(&disk->client);
	free(disk->uri);
	free(disk);
}

static void nbd_destroy(struct block_backend *backend)
{
	nbd_drain(backend);
	free_disk(disk_of(backend));
}

static const struct block_backend_ops nbd_ops = {.submit = nbd_submit, .drain = nbd_drain, .destroy = nbd_destroy};

static int connect_disk(struct nbd_disk *disk, char *why, size_t why_size)
{
	int r = nbd_client_connect(&disk->client, disk->uri, why, why_size);

	if (r < 0)
		return r;
	watch_init(&disk->watch, disk->client.lib.aio_get_fd(disk->client.handle), on_ready, disk);
	if (!disk->client.size || disk->client.size % SECTOR) {
		snprintf(why, why_size, "%s has %llu bytes, and a disk has sectors of %u, one at least: let the server export such a disk", disk->uri,
			 (unsigned long long)disk->client.size, SECTOR);
		return -EINVAL;
	}
	r = loop_watch(disk->loop, &disk->watch, EPOLLIN);
	if (r < 0)
		snprintf(why, why_size, "%s can't be waited for (%s): raise the limit of watches", disk->uri, strerror(-r));
	return r;
}

int block_nbd_open(const struct block_nbd_options *options, struct loop *loop, struct block_backend **out, char *why, size_t why_size)
{
	struct nbd_disk *disk = calloc(1, sizeof(*disk));
	int r;

	if (!disk || !(disk->uri = strdup(options->uri))) {
		free(disk);
		snprintf(why, why_size, "no memory is left for %s: free some", options->uri);
		return -ENOMEM;
	}
	disk->loop = loop;
	disk->writethrough = options->writethrough;
	disk->unsafe = options->unsafe;
	disk->patience_ms = options->patience_ms ? options->patience_ms : PATIENCE_MS;
	disk->waiting_tail = &disk->waiting;
	r = connect_disk(disk, why, why_size);
	if (r < 0) {
		free_disk(disk);
		return r;
	}
	disk->backend.ops = &nbd_ops;
	disk->backend.size = disk->client.size;
	disk->backend.read_only = options->read_only || disk->client.read_only;
	disk->backend.can_discard = !disk->backend.read_only && disk->client.can_trim;
	if (options->serial)
		snprintf(disk->backend.serial, sizeof(disk->backend.serial), "%s", options->serial);
	*out = &disk->backend;
	return 0;
}
