/* The debug port; see debugcon.h.
 *
 * The port can't say that it is busy. What comes faster than the backend takes it goes into a ring; what does not fit
 * there is lost, and the loss is told.
 *
 * Example: `outb('x', 0x402)`
 */
#include "dev/misc/debugcon.h"
#include "base/errno.h"
#include "core/platform.h"

#define READBACK  0xe9
#define RING_SIZE 65536u /* power of two */

struct debugcon {
	struct device dev;
	struct char_backend *backend;
	struct work work;
	uint32_t head, tail; /* free-running: the guest puts at head */
	bool sending;        /* the I/O thread has a piece at the backend */
	uint8_t ring[RING_SIZE];
};

/* The I/O thread, no lock held: a backend may call back from its write(). */
static void send(void *ctx)
{
	struct debugcon *con = ctx;
	uint32_t tail, len;
	size_t written;

	for (;;) {
		lock_take(&con->dev.lock);
		tail = con->tail % RING_SIZE;
		len = con->head - con->tail;
		if (len > RING_SIZE - tail)
			len = RING_SIZE - tail;
		if (con->sending)
			len = 0;
		con->sending |= len > 0;
		lock_release(&con->dev.lock);
		if (!len)
			return;
		written = con->backend->ops->write(con->backend, con->ring + tail, len);
		lock_take(&con->dev.lock);
		con->tail += (uint32_t)written;
		con->sending = false;
		lock_release(&con->dev.lock);
		if (!written)
			return; /* writable() goes on */
	}
}

static uint64_t debugcon_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	return READBACK;
}

static void debugcon_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct debugcon *con = container_of(dev, struct debugcon, dev);

	if (con->head - con->tail == RING_SIZE) {
		log_guest("debugcon", "what firmware says comes too fast; some of it is lost");
		return;
	}
	con->ring[con->head++ % RING_SIZE] = (uint8_t)value;
	work_post(&con->work);
}

static void writable(void *ctx)
{
	struct debugcon *con = ctx;

	work_post(&con->work);
}

/* It has nothing to do with input. */
static size_t room(void *ctx)
{
	return RING_SIZE;
}

static void receive(void *ctx, const void *buf, size_t len)
{
}

static void debugcon_destroy(struct device *dev)
{
	struct debugcon *con = container_of(dev, struct debugcon, dev);

	send(con);
	con->backend->writable = NULL;
	con->backend->room = NULL;
	con->backend->receive = NULL;
	platform_free(con);
}

static const struct device_ops ops = {
	.name = "debugcon",
	.read = debugcon_read,
	.write = debugcon_write,
	.destroy = debugcon_destroy,
};

int debugcon_create(struct vm *vm, uint16_t port, struct char_backend *backend)
{
	struct debugcon *con = platform_alloc(sizeof(*con));
	int r;

	if (!con)
		return -ENOMEM;
	con->backend = backend;
	work_init(&con->work, vm, send, con);
	r = device_register(vm, &con->dev, &ops, "debugcon");
	if (r) {
		platform_free(con);
		return r;
	}
	backend->writable = writable;
	backend->room = room;
	backend->receive = receive;
	backend->ctx = con;
	return bus_attach_sized(&vm->pio, port, 1, &con->dev, 0, 1, 1);
}
