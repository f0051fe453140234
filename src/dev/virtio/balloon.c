/* The memory balloon; see balloon.h.
 *
 * Queues: 0 inflate, 1 deflate, then, as far as the driver takes the features, statistics and free page reporting. (The
 * specification numbers the last one 4, Linux counts without gaps: both are understood.)
 *
 * Pages of the guest are given back under the device's lock: PAGES_MAX of a request, and a turn of the I/O thread ends after
 * BUDGET requests.
 */
#include "dev/virtio/balloon.h"
#include "base/errno.h"
#include "base/log.h"
#include "base/string.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/virtio/virtio.h"
#include "mem/mem.h"

#define QUEUES     5u
#define QUEUE_SIZE 128
#define BUDGET     16u
#define PAGES_MAX  4096u /* in a request; Linux puts 256 */
#define PIECE      256u  /* page numbers copied at a time */

#define STATS_PERIOD_NS 5000000000ull
#define STATS_ENTRIES   64u /* of a message; more are not looked at */

#define BALLOON_F_STATS_VQ       (1ull << 1)
#define BALLOON_F_DEFLATE_ON_OOM (1ull << 2)
#define BALLOON_F_PAGE_POISON    (1ull << 4)
#define BALLOON_F_REPORTING      (1ull << 5)

enum role { INFLATE, DEFLATE, STATS, REPORTING };

/* §5.5.4 */
struct balloon_config {
	uint32_t num_pages;
	uint32_t actual;
	uint32_t free_page_hint_cmd_id;
	uint32_t poison_val;
};
_Static_assert(sizeof(struct balloon_config) == 16, "virtio 1.2 §5.5.4");

/* §5.5.6.3 */
struct balloon_stat {
	uint16_t tag;
	uint64_t val;
} __attribute__((packed));
_Static_assert(sizeof(struct balloon_stat) == 10, "virtio 1.2 §5.5.6.3");

struct balloon {
	struct virtio_device dev;
	struct balloon_config config;
	uint64_t reported;
	bool known[BALLOON_STATS];
	uint64_t stats[BALLOON_STATS];
	/* The driver's buffer for statistics: giving it back asks for new ones. */
	struct virtq *stats_queue; /* NULL: we have none */
	struct virtq_chain stats_chain;
	struct virtq_chain chain;
	struct timer timer;
};

static struct balloon *balloon_of(struct virtio_device *dev)
{
	return container_of(dev, struct balloon, dev);
}

static enum role role_of(const struct virtio_device *dev, unsigned queue)
{
	if (queue < 2)
		return queue == 0 ? INFLATE : DEFLATE;
	return queue == 2 && virtio_has(dev, BALLOON_F_STATS_VQ) ? STATS : REPORTING;
}

/* ---- pages ---- */

/* Neighbouring pages, given back together. */
struct run {
	gpa_t gpa;
	uint64_t len;
};

static void give_back(struct balloon *balloon, struct run *run)
{
	if (run->len && mem_discard(&balloon->dev.vm->mem, run->gpa, run->len) < 0)
		log_guest("virtio", "%s: the guest gives away what is not its RAM, at %llx", balloon->dev.label,
			  (unsigned long long)run->gpa);
	run->len = 0;
}

/* Linux takes pages from the top down as often as upwards. */
static void add_page(struct balloon *balloon, struct run *run, uint32_t pfn)
{
	gpa_t gpa = (gpa_t)pfn << PAGE_SHIFT;

	if (run->len && gpa == run->gpa + run->len) {
		run->len += PAGE_SIZE;
	} else if (run->len && gpa + PAGE_SIZE == run->gpa) {
		run->gpa = gpa;
		run->len += PAGE_SIZE;
	} else {
		give_back(balloon, run);
		*run = (struct run){gpa, PAGE_SIZE};
	}
}

static void inflate(struct balloon *balloon, const struct virtq_chain *chain)
{
	uint32_t pfns[PIECE];
	struct run run = {0};
	unsigned total = 0;
	size_t len;

	while (total < PAGES_MAX && (len = virtq_chain_read(chain, (uint64_t)total * sizeof(*pfns), pfns, sizeof(pfns))) >= sizeof(*pfns)) {
		for (unsigned i = 0; i < len / sizeof(*pfns); i++)
			add_page(balloon, &run, pfns[i]);
		total += (unsigned)(len / sizeof(*pfns));
	}
	give_back(balloon, &run);
}

/* Whole pages inside of the driver's buffers. Its memory is given back once at most for each request. */
static void report(struct balloon *balloon, const struct virtq_chain *chain)
{
	uint64_t left = mem_size(&balloon->dev.vm->mem);

	/* What it expects to find there when it takes the pages again, we could only write. */
	if (virtio_has(&balloon->dev, BALLOON_F_PAGE_POISON) && balloon->config.poison_val)
		return;
	for (unsigned i = chain->out_count; i < chain->out_count + chain->in_count; i++) {
		gpa_t first = (chain->gpas[i] + PAGE_SIZE - 1) & PAGE_MASK, end = (chain->gpas[i] + chain->bufs[i].len) & PAGE_MASK;
		struct run run = {first, end > first ? end - first : 0};

		if (run.len > left)
			return;
		left -= run.len;
		balloon->reported += run.len;
		give_back(balloon, &run);
	}
}

/* ---- statistics ---- */

/* §5.5.6.3: what an earlier message said and this one does not, is not known any more. */
static void read_stats(struct balloon *balloon, const struct virtq_chain *chain)
{
	struct balloon_stat stat;

	memset(balloon->known, 0, sizeof(balloon->known));
	for (unsigned i = 0; i < STATS_ENTRIES && virtq_chain_read(chain, i * sizeof(stat), &stat, sizeof(stat)) == sizeof(stat); i++) {
		/* Linux says all bits set for what it does not count. */
		if (stat.tag < BALLOON_STATS && stat.val != UINT64_MAX) {
			balloon->known[stat.tag] = true;
			balloon->stats[stat.tag] = stat.val;
		}
	}
}

/* Lock held. */
static void ask(struct balloon *balloon)
{
	struct virtq *queue = balloon->stats_queue;

	if (!queue)
		return;
	balloon->stats_queue = NULL;
	virtq_push(queue, &balloon->stats_chain, 0);
	virtq_signal(queue);
}

static void on_timer(void *ctx)
{
	struct balloon *balloon = ctx;

	lock_take(&balloon->dev.lock);
	if (virtio_device_live(&balloon->dev) && virtio_has(&balloon->dev, BALLOON_F_STATS_VQ)) {
		ask(balloon);
		timer_arm(&balloon->timer, platform_clock_ns() + STATS_PERIOD_NS);
	}
	lock_release(&balloon->dev.lock);
}

static void stats_come(struct balloon *balloon, struct virtq *queue)
{
	/* One at a time is what the driver may give: it gets the older one back. */
	ask(balloon);
	balloon->stats_chain = balloon->chain;
	balloon->stats_queue = queue;
	read_stats(balloon, &balloon->stats_chain);
}

/* ---- requests ---- */

static void serve(struct balloon *balloon, struct virtq *queue)
{
	struct virtq_chain *chain = &balloon->chain;

	switch (role_of(&balloon->dev, queue->index)) {
	case INFLATE:
		inflate(balloon, chain);
		break;
	case DEFLATE:
		break; /* memory comes when the page is touched */
	case STATS:
		stats_come(balloon, queue);
		return;
	case REPORTING:
		report(balloon, chain);
		break;
	}
	virtq_push(queue, chain, 0);
}

static void balloon_notify(struct virtio_device *dev, struct virtq *queue)
{
	struct balloon *balloon = balloon_of(dev);
	unsigned budget = BUDGET;

	lock_take(&dev->lock);
	do {
		virtq_disable_notify(queue);
		while (budget > 0 && virtq_pop(queue, &balloon->chain) > 0) {
			serve(balloon, queue);
			budget--;
		}
	} while (budget > 0 && virtq_enable_notify(queue));
	if (budget == 0)
		work_post(&queue->work);
	virtq_signal(queue);
	lock_release(&dev->lock);
}

/* ---- the rest of a device ---- */

static void balloon_config_read(struct virtio_device *dev, unsigned offset, void *buf, unsigned len)
{
	memcpy(buf, (const uint8_t *)&balloon_of(dev)->config + offset, len);
}

/* The driver's are `actual` and `poison_val`. */
static void balloon_config_write(struct virtio_device *dev, unsigned offset, const void *buf, unsigned len)
{
	struct balloon *balloon = balloon_of(dev);
	struct balloon_config written = balloon->config;

	memcpy((uint8_t *)&written + offset, buf, len);
	balloon->config.actual = written.actual;
	balloon->config.poison_val = written.poison_val;
}

static void balloon_activate(struct virtio_device *dev)
{
	if (virtio_has(dev, BALLOON_F_STATS_VQ))
		timer_arm(&balloon_of(dev)->timer, platform_clock_ns() + STATS_PERIOD_NS);
}

static void drop_stats(struct balloon *balloon)
{
	if (balloon->stats_queue)
		virtq_drop(balloon->stats_queue);
	balloon->stats_queue = NULL;
}

static void balloon_queue_reset(struct virtio_device *dev, struct virtq *queue)
{
	if (balloon_of(dev)->stats_queue == queue)
		drop_stats(balloon_of(dev));
}

/* The wish stays: it is the host's. */
static void balloon_reset(struct virtio_device *dev)
{
	struct balloon *balloon = balloon_of(dev);

	drop_stats(balloon);
	timer_cancel(&balloon->timer);
	memset(balloon->known, 0, sizeof(balloon->known));
	balloon->config.actual = 0;
	balloon->config.poison_val = 0;
}

static void balloon_destroy(struct virtio_device *dev)
{
	struct balloon *balloon = balloon_of(dev);

	timer_cancel(&balloon->timer);
	virtio_device_fini(dev);
	platform_free(balloon);
}

static const struct virtio_device_ops balloon_ops = {
	.name = "balloon",
	.id = VIRTIO_ID_BALLOON,
	.config_read = balloon_config_read,
	.config_write = balloon_config_write,
	.activate = balloon_activate,
	.notify = balloon_notify,
	.reset = balloon_reset,
	.queue_reset = balloon_queue_reset,
	.destroy = balloon_destroy,
};

static uint32_t pages_of(uint64_t bytes)
{
	return bytes >> PAGE_SHIFT > UINT32_MAX ? UINT32_MAX : (uint32_t)(bytes >> PAGE_SHIFT);
}

int virtio_balloon_create(struct vm *vm, uint64_t target, struct virtio_device **out)
{
	static const uint16_t sizes[QUEUES] = {QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE};
	struct balloon *balloon = platform_alloc(sizeof(*balloon));
	int err;

	if (!balloon)
		return -ENOMEM;
	balloon->config.num_pages = pages_of(target);
	timer_init(&balloon->timer, vm, on_timer, balloon);
	err = virtio_device_init(&balloon->dev, vm, &balloon_ops,
				 BALLOON_F_STATS_VQ | BALLOON_F_DEFLATE_ON_OOM | BALLOON_F_PAGE_POISON | BALLOON_F_REPORTING,
				 sizeof(balloon->config), QUEUES, sizes);
	if (err < 0) {
		platform_free(balloon);
		return err;
	}
	*out = &balloon->dev;
	return 0;
}

/* ---- for the host ---- */

void virtio_balloon_resize(struct virtio_device *dev, uint64_t target)
{
	struct balloon *balloon = balloon_of(dev);

	lock_take(&dev->lock);
	balloon->config.num_pages = pages_of(target);
	virtio_config_changed(dev);
	lock_release(&dev->lock);
}

void virtio_balloon_look(struct virtio_device *dev, struct virtio_balloon_state *state)
{
	struct balloon *balloon = balloon_of(dev);

	lock_take(&dev->lock);
	*state = (struct virtio_balloon_state){
		.target = (uint64_t)balloon->config.num_pages << PAGE_SHIFT,
		.size = (uint64_t)balloon->config.actual << PAGE_SHIFT,
		.reported = balloon->reported,
	};
	memcpy(state->known, balloon->known, sizeof(state->known));
	memcpy(state->stats, balloon->stats, sizeof(state->stats));
	ask(balloon);
	lock_release(&dev->lock);
}

const char *virtio_balloon_stat_name(enum virtio_balloon_stat stat)
{
	static const char *const names[BALLOON_STATS] = {
		[BALLOON_S_SWAP_IN] = "guest swapped in",
		[BALLOON_S_SWAP_OUT] = "guest swapped out",
		[BALLOON_S_MAJFLT] = "guest major faults",
		[BALLOON_S_MINFLT] = "guest minor faults",
		[BALLOON_S_MEMFREE] = "guest memory free",
		[BALLOON_S_MEMTOT] = "guest memory total",
		[BALLOON_S_AVAIL] = "guest memory available",
		[BALLOON_S_CACHES] = "guest memory caches",
		[BALLOON_S_HTLB_PGALLOC] = "guest huge pages",
		[BALLOON_S_HTLB_PGFAIL] = "guest huge pages failed",
	};

	return names[stat];
}
