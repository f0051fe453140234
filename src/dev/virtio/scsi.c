/* The SCSI host bus adapter (virtio 1.2 §5.6) with one target, whose logical units are block backends (dev/scsi/disk.h).
 *
 * Example:
 *     err = virtio_scsi_create(vm, backends, 2, &vdev);    // LUN 0 and 1 of target 0
 *
 * Queues: 0 control (task management), 1 events, 2 requests. Threads and life of a request as in blk.c. What a backend has been given
 * can't be called back: a task management function that ends tasks is answered when they have ended by themselves.
 */
#include "base/errno.h"
#include "base/log.h"
#include "base/string.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/scsi/disk.h"
#include "dev/virtio/virtio.h"

#define CONTROL  0u
#define EVENTS   1u
#define REQUESTS 2u

#define QUEUE_SIZE    128
#define CONTROL_SIZE  64
#define BATCH         16 /* requests popped before they are submitted */
#define BUDGET        128
#define CONTROL_BUDGET 16u

#define CDB_SIZE   32 /* until the driver wants another */
#define SENSE_SIZE 96
#define SIZES_MAX  256u

#define SCSI_F_HOTPLUG (1ull << 1)
#define SCSI_F_CHANGE  (1ull << 2)

/* §5.6.6.1 */
enum response {
	S_OK = 0,
	S_OVERRUN = 1,
	S_BAD_TARGET = 3,
	S_FAILURE = 9,
	S_FUNCTION_SUCCEEDED = 10,
	S_FUNCTION_REJECTED = 11,
	S_INCORRECT_LUN = 12,
};
#define S_FUNCTION_COMPLETE 0

/* §5.6.6.2 */
enum control_type { T_TMF = 0, T_AN_QUERY = 1, T_AN_SUBSCRIBE = 2 };
enum tmf {
	TMF_ABORT_TASK = 0,
	TMF_ABORT_TASK_SET = 1,
	TMF_CLEAR_ACA = 2,
	TMF_CLEAR_TASK_SET = 3,
	TMF_I_T_NEXUS_RESET = 4,
	TMF_LOGICAL_UNIT_RESET = 5,
	TMF_QUERY_TASK = 6,
	TMF_QUERY_TASK_SET = 7,
};

/* §5.6.6.3 */
#define T_NO_EVENT      0u
#define T_PARAM_CHANGE  3u
#define T_EVENTS_MISSED 0x80000000u
#define CAPACITY_CHANGED (0x2au | 0x09u << 8) /* additional sense code and qualifier */

/* §5.6.4 */
struct scsi_config {
	uint32_t num_queues;
	uint32_t seg_max;
	uint32_t max_sectors;
	uint32_t cmd_per_lun;
	uint32_t event_info_size;
	uint32_t sense_size;
	uint32_t cdb_size;
	uint16_t max_channel;
	uint16_t max_target;
	uint32_t max_lun;
};

struct scsi_request_header {
	uint8_t lun[8];
	uint64_t id;
	uint8_t task_attr;
	uint8_t prio;
	uint8_t crn;
} __attribute__((packed));

struct scsi_response {
	uint32_t sense_len;
	uint32_t resid;
	uint16_t status_qualifier;
	uint8_t status;
	uint8_t response;
};

struct scsi_tmf {
	uint32_t type;
	uint32_t subtype;
	uint8_t lun[8];
	uint64_t id;
};

struct scsi_an {
	uint32_t type;
	uint8_t lun[8];
	uint32_t event_requested;
};

struct scsi_event {
	uint32_t event;
	uint8_t lun[8];
	uint32_t reason;
};
_Static_assert(sizeof(struct scsi_config) == 36 && sizeof(struct scsi_request_header) == 19 && sizeof(struct scsi_response) == 12 &&
		       sizeof(struct scsi_tmf) == 24 && sizeof(struct scsi_an) == 16 && sizeof(struct scsi_event) == 16,
	       "virtio 1.2 §5.6.4, §5.6.6");

struct scsi;

struct request {
	struct scsi *scsi;
	struct request *next; /* free list, or a batch */
	bool busy;            /* popped, and not answered */
	uint8_t lun[8];
	uint64_t id;
	unsigned sense_size;  /* as the driver wanted it when the request came */
	struct scsi_task task;
	struct virtq_chain chain;
};

struct scsi {
	struct virtio_device dev;
	struct scsi_config config;
	struct scsi_disk disks[SCSI_LUNS_MAX];
	unsigned disk_count;
	struct request *requests; /* QUEUE_SIZE of them, */
	unsigned used_once;       /* of which these many have ever been taken, */
	struct request *free;     /* and these came back */
	bool starved;             /* notify() stopped for want of a free request */
	bool events_missed;
	/* A task management function that waits for tasks to end; no other is looked at meanwhile. */
	bool tmf_waits;
	struct scsi_tmf tmf;
	struct virtq_chain tmf_chain;
	struct virtq_chain event_chain;
};

static struct scsi *scsi_of(struct virtio_device *dev)
{
	return container_of(dev, struct scsi, dev);
}

/* ---- addresses ---- */

/* §5.6.6.1: 1, the target, and a number of peripheral or flat format. */
static bool is_our_target(const uint8_t lun[8])
{
	return lun[0] == 1 && lun[1] == 0 && lun[2] < 0x80;
}

static struct scsi_disk *find_disk(struct scsi *scsi, const uint8_t lun[8])
{
	unsigned number = (lun[2] & 0x3fu) << 8 | lun[3];

	return is_our_target(lun) && number < scsi->disk_count ? &scsi->disks[number] : NULL;
}

/* ---- task management ---- */

/* Is it a task that the function is about? */
static bool concerns(struct scsi *scsi, const struct scsi_tmf *tmf, const struct request *request)
{
	if (!request->busy)
		return false;
	if (tmf->subtype == TMF_I_T_NEXUS_RESET)
		return true;
	if (request->task.disk != find_disk(scsi, tmf->lun))
		return false;
	return (tmf->subtype != TMF_ABORT_TASK && tmf->subtype != TMF_QUERY_TASK) || request->id == tmf->id;
}

static bool any_task(struct scsi *scsi, const struct scsi_tmf *tmf)
{
	for (unsigned i = 0; i < scsi->used_once; i++)
		if (concerns(scsi, tmf, &scsi->requests[i]))
			return true;
	return false;
}

static void tell_of_reset(struct scsi *scsi, const struct scsi_tmf *tmf)
{
	for (unsigned i = 0; i < scsi->disk_count; i++)
		if (tmf->subtype == TMF_I_T_NEXUS_RESET || &scsi->disks[i] == find_disk(scsi, tmf->lun))
			scsi->disks[i].unit_attention = true;
}

/* The answer, or -EAGAIN: when its tasks have ended. */
static int manage(struct scsi *scsi, const struct scsi_tmf *tmf)
{
	if (!is_our_target(tmf->lun))
		return S_BAD_TARGET;
	if (tmf->subtype != TMF_I_T_NEXUS_RESET && !find_disk(scsi, tmf->lun))
		return S_INCORRECT_LUN;
	switch ((enum tmf)tmf->subtype) {
	case TMF_QUERY_TASK:
	case TMF_QUERY_TASK_SET:
		return any_task(scsi, tmf) ? S_FUNCTION_SUCCEEDED : S_FUNCTION_COMPLETE;
	case TMF_ABORT_TASK:
	case TMF_ABORT_TASK_SET:
	case TMF_CLEAR_TASK_SET:
		return any_task(scsi, tmf) ? -EAGAIN : S_FUNCTION_COMPLETE;
	case TMF_I_T_NEXUS_RESET:
	case TMF_LOGICAL_UNIT_RESET:
		if (any_task(scsi, tmf))
			return -EAGAIN;
		tell_of_reset(scsi, tmf);
		return S_FUNCTION_COMPLETE;
	case TMF_CLEAR_ACA:
		break;
	}
	return S_FUNCTION_REJECTED;
}

static void answer_tmf(struct scsi *scsi, int answer)
{
	uint8_t response = (uint8_t)answer;
	struct virtq *queue = &scsi->dev.queues[CONTROL];

	virtq_push(queue, &scsi->tmf_chain, (uint32_t)virtq_chain_write(&scsi->tmf_chain, 0, &response, 1));
}

/* A task has ended. */
static void look_at_tmf(struct scsi *scsi)
{
	int answer = scsi->tmf_waits ? manage(scsi, &scsi->tmf) : -EAGAIN;

	if (answer < 0)
		return;
	scsi->tmf_waits = false;
	answer_tmf(scsi, answer);
	virtq_signal(&scsi->dev.queues[CONTROL]);
	work_post(&scsi->dev.queues[CONTROL].work);
}

/* What the chain in tmf_chain asks for. */
static void control(struct scsi *scsi)
{
	struct virtq *queue = &scsi->dev.queues[CONTROL];
	struct virtq_chain *chain = &scsi->tmf_chain;
	struct {
		uint32_t event_actual;
		uint8_t response;
	} __attribute__((packed)) an = {0, S_OK};
	uint32_t type = 0;
	int answer;

	virtq_chain_read(chain, 0, &type, sizeof(type));
	if (type == T_TMF && chain->out_len >= sizeof(scsi->tmf)) {
		virtq_chain_read(chain, 0, &scsi->tmf, sizeof(scsi->tmf));
		answer = manage(scsi, &scsi->tmf);
		scsi->tmf_waits = answer < 0;
		if (answer >= 0)
			answer_tmf(scsi, answer);
	} else if ((type == T_AN_QUERY || type == T_AN_SUBSCRIBE) && chain->out_len >= sizeof(struct scsi_an)) {
		/* There is nothing that it could be told of so. */
		virtq_push(queue, chain, (uint32_t)virtq_chain_write(chain, 0, &an, sizeof(an)));
	} else {
		answer_tmf(scsi, S_FAILURE);
	}
}

static void control_notify(struct scsi *scsi, struct virtq *queue)
{
	unsigned budget = CONTROL_BUDGET;

	lock_take(&scsi->dev.lock);
	do {
		virtq_disable_notify(queue);
		while (budget > 0 && !scsi->tmf_waits && virtq_pop(queue, &scsi->tmf_chain) > 0) {
			control(scsi);
			budget--;
		}
	} while (budget > 0 && !scsi->tmf_waits && virtq_enable_notify(queue));
	if (budget == 0)
		work_post(&queue->work);
	virtq_signal(queue);
	lock_release(&scsi->dev.lock);
}

/* ---- events ---- */

/* Lock held. */
static void send_event(struct scsi *scsi, const struct scsi_event *what)
{
	struct virtq *queue = &scsi->dev.queues[EVENTS];
	struct virtq_chain *chain = &scsi->event_chain;
	struct scsi_event event = *what;

	if (virtq_pop(queue, chain) <= 0) {
		scsi->events_missed = true;
		return;
	}
	if (scsi->events_missed)
		event.event |= T_EVENTS_MISSED;
	scsi->events_missed = false;
	virtq_push(queue, chain, (uint32_t)virtq_chain_write(chain, 0, &event, sizeof(event)));
	virtq_signal(queue);
}

/* The driver has made room. */
static void events_notify(struct scsi *scsi)
{
	lock_take(&scsi->dev.lock);
	if (scsi->events_missed)
		send_event(scsi, &(struct scsi_event){.event = T_NO_EVENT});
	lock_release(&scsi->dev.lock);
}

void virtio_scsi_capacity_changed(struct virtio_device *dev, unsigned lun)
{
	struct scsi *scsi = scsi_of(dev);

	lock_take(&dev->lock);
	if (lun < scsi->disk_count && virtio_device_live(dev) && virtio_has(dev, SCSI_F_CHANGE))
		send_event(scsi, &(struct scsi_event){
					 .event = T_PARAM_CHANGE, .lun = {1, 0, 0x40, (uint8_t)lun}, .reason = CAPACITY_CHANGED});
	lock_release(&dev->lock);
}

/* ---- requests ---- */

static size_t response_size(const struct request *request)
{
	return sizeof(struct scsi_response) + request->sense_size;
}

/* Lock held. */
static void answer(struct request *request, enum response response)
{
	struct scsi *scsi = request->scsi;
	struct scsi_task *task = &request->task;
	struct scsi_response header = {.status = (uint8_t)task->status, .response = response};
	const uint64_t data = task->out_len + task->in_len, moved = response == S_OK ? task->transferred : 0;
	uint64_t written = response_size(request);

	header.resid = data - moved > UINT32_MAX ? UINT32_MAX : (uint32_t)(data - moved);
	if (response == S_OK && task->status == SCSI_CHECK_CONDITION) {
		header.sense_len = request->sense_size < SCSI_SENSE_SIZE ? request->sense_size : SCSI_SENSE_SIZE;
		virtq_chain_write(&request->chain, sizeof(header), task->sense, header.sense_len);
	} else if (response != S_OK) {
		header.status = 0;
	}
	virtq_chain_write(&request->chain, 0, &header, sizeof(header));
	if (task->in_len)
		written += moved;
	virtq_push(&scsi->dev.queues[REQUESTS], &request->chain, written > UINT32_MAX ? UINT32_MAX : (uint32_t)written);
	request->busy = false;
	request->next = scsi->free;
	scsi->free = request;
}

static void io_done(struct block_request *io, int status)
{
	struct request *request = io->ctx;
	struct scsi *scsi = request->scsi;
	struct virtq *queue = &scsi->dev.queues[REQUESTS];
	struct block_backend *backend = request->task.disk->backend;
	const bool read_failed = io->op == BLOCK_READ && status < 0;

	if (scsi_disk_continue(&request->task, status)) {
		backend->ops->submit(backend, io);
		return;
	}
	lock_take(&scsi->dev.lock);
	if (read_failed)
		virtq_chain_mark(queue, &request->chain); /* who knows how far it came */
	answer(request, S_OK);
	virtq_signal(queue);
	look_at_tmf(scsi);
	if (scsi->starved) {
		scsi->starved = false;
		work_post(&queue->work);
	}
	lock_release(&scsi->dev.lock);
}

/* The buffers from `skip` bytes on, of those of one direction. */
static unsigned slice(struct iobuf *to, const struct iobuf *from, unsigned count, uint64_t skip)
{
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++) {
		if (skip >= from[i].len) {
			skip -= from[i].len;
			continue;
		}
		to[n++] = (struct iobuf){(uint8_t *)from[i].base + skip, from[i].len - (size_t)skip};
		skip = 0;
	}
	return n;
}

/* Reads the header. False: it breaks the rules. */
static bool parse(struct request *request)
{
	struct scsi *scsi = request->scsi;
	const struct virtq_chain *chain = &request->chain;
	const size_t header_size = sizeof(struct scsi_request_header) + scsi->config.cdb_size;
	const size_t cdb_size = scsi->config.cdb_size < SCSI_CDB_SIZE ? scsi->config.cdb_size : SCSI_CDB_SIZE;
	struct scsi_task *task = &request->task;
	struct scsi_request_header header;

	request->sense_size = scsi->config.sense_size;
	if (chain->out_len < header_size || chain->in_len < response_size(request))
		return false;
	virtq_chain_read(chain, 0, &header, sizeof(header));
	memcpy(request->lun, header.lun, sizeof(request->lun));
	request->id = header.id;
	memset(task->cdb, 0, sizeof(task->cdb));
	virtq_chain_read(chain, sizeof(header), task->cdb, cdb_size);
	task->disk = find_disk(scsi, header.lun);
	task->luns = (1u << scsi->disk_count) - 1;
	task->status = SCSI_GOOD;
	task->transferred = 0;
	task->out_len = chain->out_len - header_size;
	task->in_len = chain->in_len - response_size(request);
	if (task->out_len)
		task->count = slice(task->bufs, chain->bufs, chain->out_count, header_size);
	else
		task->count = slice(task->bufs, chain->bufs + chain->out_count, chain->in_count, response_size(request));
	task->io = (struct block_request){.done = io_done, .ctx = request};
	return true;
}

/* True: submit request->task.io. False: it has been answered. Lock held. */
static bool take_request(struct request *request)
{
	struct scsi_task *task = &request->task;
	enum response response = S_OK;

	if (!is_our_target(request->lun))
		response = S_BAD_TARGET;
	else if (task->out_len && task->in_len) /* there is no VIRTIO_SCSI_F_INOUT */
		response = S_FAILURE;
	else if (scsi_disk_begin(task))
		return true;
	answer(request, task->overrun && response == S_OK ? S_OVERRUN : response);
	return false;
}

/* As in blk.c: the most recently used first. */
static struct request *free_request(struct scsi *scsi)
{
	struct request *request = scsi->free;

	if (!request && scsi->used_once < QUEUE_SIZE) {
		request = &scsi->requests[scsi->used_once++];
		request->scsi = scsi;
		scsi->free = request;
	}
	return request;
}

/* Pops one chain into a free request. 1: *out is it; 0: no more; -errno: broken. Lock held. */
static int pop_request(struct scsi *scsi, struct request **out)
{
	struct virtq *queue = &scsi->dev.queues[REQUESTS];
	struct request *request = free_request(scsi);
	int got;

	if (!request) {
		scsi->starved = true;
		return 0;
	}
	got = virtq_pop(queue, &request->chain);
	if (got <= 0)
		return got;
	request->task.overrun = false;
	if (!parse(request)) {
		virtq_drop(queue);
		virtio_device_broken(&scsi->dev, "a SCSI request has no room for its header or its response");
		return -EIO;
	}
	scsi->free = request->next;
	request->busy = true;
	*out = request;
	return 1;
}

static unsigned take_batch(struct scsi *scsi, struct request **list)
{
	struct request *request, **tail = list;
	unsigned taken = 0;

	for (*list = NULL; taken < BATCH && pop_request(scsi, &request) > 0; taken++) {
		if (take_request(request)) {
			request->next = NULL;
			*tail = request;
			tail = &request->next;
		}
	}
	virtq_signal(&scsi->dev.queues[REQUESTS]);
	return taken;
}

static void requests_notify(struct scsi *scsi, struct virtq *queue)
{
	struct request *list, *request;
	unsigned total = 0, taken;
	bool again;

	do {
		lock_take(&scsi->dev.lock);
		virtq_disable_notify(queue);
		taken = take_batch(scsi, &list);
		/* Out of requests: completions will call again, and kicks until then are idle. */
		again = taken == BATCH || (!scsi->starved && virtq_enable_notify(queue));
		lock_release(&scsi->dev.lock);
		while ((request = list)) {
			struct block_backend *backend = request->task.disk->backend;

			list = request->next;
			backend->ops->submit(backend, &request->task.io);
		}
		total += taken;
	} while (again && total < BUDGET);
	if (again)
		work_post(&queue->work);
}

static void scsi_notify(struct virtio_device *dev, struct virtq *queue)
{
	struct scsi *scsi = scsi_of(dev);

	if (queue->index == CONTROL)
		control_notify(scsi, queue);
	else if (queue->index == EVENTS)
		events_notify(scsi);
	else
		requests_notify(scsi, queue);
}

/* ---- the rest of a device ---- */

static void scsi_config_read(struct virtio_device *dev, unsigned offset, void *buf, unsigned len)
{
	memcpy(buf, (const uint8_t *)&scsi_of(dev)->config + offset, len);
}

/* §5.6.4.2: the driver's are sense_size and cdb_size. */
static void scsi_config_write(struct virtio_device *dev, unsigned offset, const void *buf, unsigned len)
{
	struct scsi *scsi = scsi_of(dev);
	struct scsi_config written = scsi->config;

	memcpy((uint8_t *)&written + offset, buf, len);
	if (written.sense_size <= SIZES_MAX)
		scsi->config.sense_size = written.sense_size;
	if (written.cdb_size <= SIZES_MAX)
		scsi->config.cdb_size = written.cdb_size;
}

static void drop_tmf(struct scsi *scsi)
{
	if (scsi->tmf_waits)
		virtq_drop(&scsi->dev.queues[CONTROL]);
	scsi->tmf_waits = false;
}

static void scsi_queue_reset(struct virtio_device *dev, struct virtq *queue)
{
	if (queue->index == CONTROL)
		drop_tmf(scsi_of(dev));
}

static void scsi_reset(struct virtio_device *dev)
{
	struct scsi *scsi = scsi_of(dev);

	drop_tmf(scsi);
	scsi->starved = scsi->events_missed = false;
	scsi->config.sense_size = SENSE_SIZE;
	scsi->config.cdb_size = CDB_SIZE;
	for (unsigned i = 0; i < scsi->disk_count; i++)
		scsi->disks[i].unit_attention = false;
}

static void scsi_drain(struct virtio_device *dev)
{
	struct scsi *scsi = scsi_of(dev);

	for (unsigned i = 0; i < scsi->disk_count; i++) {
		struct block_backend *backend = scsi->disks[i].backend;

		if (backend->ops->drain)
			backend->ops->drain(backend);
	}
}

static void scsi_destroy(struct virtio_device *dev)
{
	struct scsi *scsi = scsi_of(dev);

	virtio_device_fini(dev);
	platform_free(scsi->requests);
	platform_free(scsi);
}

static const struct virtio_device_ops scsi_ops = {
	.name = "scsi",
	.id = VIRTIO_ID_SCSI,
	.config_read = scsi_config_read,
	.config_write = scsi_config_write,
	.notify = scsi_notify,
	.reset = scsi_reset,
	.queue_reset = scsi_queue_reset,
	.drain = scsi_drain,
	.destroy = scsi_destroy,
};

int virtio_scsi_create(struct vm *vm, struct block_backend *const *backends, unsigned count, struct virtio_device **out)
{
	static const uint16_t sizes[] = {CONTROL_SIZE, CONTROL_SIZE, QUEUE_SIZE};
	struct scsi *scsi;
	int err = -ENOMEM;

	if (!count || count > SCSI_LUNS_MAX)
		return -EINVAL;
	scsi = platform_alloc(sizeof(*scsi));
	if (!scsi)
		return -ENOMEM;
	scsi->config = (struct scsi_config){
		.num_queues = 1,
		.seg_max = VIRTQ_MAX_SEGS - 2, /* header and response take one each */
		.max_sectors = 0xffff,
		.cmd_per_lun = QUEUE_SIZE,
		.event_info_size = sizeof(struct scsi_event),
		.sense_size = SENSE_SIZE,
		.cdb_size = CDB_SIZE,
		.max_lun = SCSI_LUNS_MAX - 1,
	};
	scsi->disk_count = count;
	for (unsigned i = 0; i < count; i++)
		scsi->disks[i] = (struct scsi_disk){.backend = backends[i], .lun = i, .luns = (1u << count) - 1};
	scsi->requests = platform_alloc(QUEUE_SIZE * sizeof(*scsi->requests));
	if (!scsi->requests)
		goto free_scsi;
	err = virtio_device_init(&scsi->dev, vm, &scsi_ops, SCSI_F_HOTPLUG | SCSI_F_CHANGE, sizeof(scsi->config), ARRAY_SIZE(sizes), sizes);
	if (err < 0)
		goto free_requests;
	*out = &scsi->dev;
	return 0;
free_requests:
	platform_free(scsi->requests);
free_scsi:
	platform_free(scsi);
	return err;
}
