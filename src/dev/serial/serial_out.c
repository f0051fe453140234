/* The way out of a serial port; see serial_out.h.
 *
 * Example: `serial_out_put(&uart->out, 'x');`
 */
#include "dev/serial/serial_out.h"
#include "core/vm.h"
#include <stdatomic.h>

#define CHUNK 512u /* given to the backend at a time */

/* A piece of the ring, copied so that the backend is called without the lock. */
static size_t take_chunk(struct serial_out *out, uint8_t *chunk)
{
	size_t len = out->head - out->tail;

	if (out->blocked)
		return 0;
	if (len > CHUNK)
		len = CHUNK;
	for (size_t i = 0; i < len; i++)
		chunk[i] = out->ring[(out->tail + i) % SERIAL_OUT_RING];
	return len;
}

/* I/O thread, the only one that moves the tail. */
static void run_work(void *ctx)
{
	struct serial_out *out = ctx;
	struct char_backend *backend = out->backend;
	uint8_t chunk[CHUNK];

	for (;;) {
		size_t len, sent;

		lock_take(&out->dev->lock);
		len = take_chunk(out, chunk);
		lock_release(&out->dev->lock);
		if (len == 0)
			break;
		sent = backend->ops->write(backend, chunk, len);
		lock_take(&out->dev->lock);
		if (sent > len)
			sent = len;
		out->tail += (uint32_t)sent;
		out->blocked = sent < len;
		out->sent(out->dev);
		lock_release(&out->dev->lock);
	}
	if (backend->ops->resume && backend->room(backend->ctx) != 0)
		backend->ops->resume(backend);
}

void serial_out_init(struct serial_out *out, struct vm *vm, struct device *dev, struct char_backend *backend,
		     void (*sent)(struct device *dev))
{
	out->dev = dev;
	out->backend = backend;
	out->sent = sent;
	work_init(&out->work, vm, run_work, out);
}

static void note_first_byte(struct vm *vm)
{
	uint64_t none = 0;

	if (vm->first_serial_ns == 0)
		atomic_compare_exchange_strong(&vm->first_serial_ns, &none, platform_clock_ns());
}

void serial_out_put(struct serial_out *out, uint8_t byte)
{
	note_first_byte(out->dev->vm);
	if (!out->backend)
		return;
	if (out->head - out->tail < SERIAL_OUT_RING) {
		out->ring[out->head % SERIAL_OUT_RING] = byte;
		out->head++;
	}
	work_post(&out->work);
}

bool serial_out_has_room(const struct serial_out *out, unsigned bytes)
{
	return SERIAL_OUT_RING - (out->head - out->tail) >= bytes;
}

void serial_out_resume_input(struct serial_out *out)
{
	if (out->backend)
		work_post(&out->work);
}

void serial_out_writable(struct serial_out *out)
{
	lock_take(&out->dev->lock);
	out->blocked = false;
	lock_release(&out->dev->lock);
	work_post(&out->work);
}

void serial_out_finish(struct serial_out *out)
{
	struct char_backend *backend = out->backend;

	if (!backend)
		return;
	run_work(out);
	backend->room = NULL;
	backend->receive = NULL;
	backend->writable = NULL;
	backend->ctx = NULL;
}
