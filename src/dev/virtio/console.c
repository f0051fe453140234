/* The console device (virtio 1.2 §5.3): several ports, each in front of a struct char_backend.
 *
 * Example:
 *     const struct virtio_console_port ports[] = {{NULL, stdio}, {"agent.control", channel}};
 *     err = virtio_console_create(vm, ports, 2, &vdev);
 *
 * Queues: 0/1 are port 0's input and output, 2/3 the control queues, 4/5 port 1's, and so on. Input
 * (host to guest) waits in a small ring per port until the guest has opened the port and given buffers.
 * Output is written straight from the guest's buffers; what the backend doesn't take stays behind in
 * port->tx until the backend is writable again.
 *
 * What the guest must be told is kept as bits, not as a queue of messages: a guest that doesn't
 * take its control messages costs no memory. Backends are called with no lock held.
 */
#include "base/errno.h"
#include "base/string.h"
#include "core/backend.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/virtio/virtio.h"

#define QUEUE_SIZE   128
#define CONTROL_SIZE 64
#define INPUT_SIZE   4096u /* power of two */
#define NAME_SIZE    32
#define BUDGET       256          /* chains taken before other work gets its turn */
#define OUTPUT_STEP  (64u << 10)  /* bytes written likewise */

#define CONSOLE_F_SIZE      (1ull << 0)
#define CONSOLE_F_MULTIPORT (1ull << 1)

#define CONTROL_RX 2u
#define CONTROL_TX 3u

/* §5.3.6.2 */
enum control_event {
	DEVICE_READY = 0,
	DEVICE_ADD = 1,
	DEVICE_REMOVE = 2,
	PORT_READY = 3,
	CONSOLE_PORT = 4,
	RESIZE = 5,
	PORT_OPEN = 6,
	PORT_NAME = 7,
};

struct control {
	uint32_t id;
	uint16_t event;
	uint16_t value;
};
_Static_assert(sizeof(struct control) == 8, "virtio 1.2 §5.3.6.2");

struct console_config {
	uint16_t cols;
	uint16_t rows;
	uint32_t max_nr_ports;
	uint32_t emerg_wr;
};
_Static_assert(sizeof(struct console_config) == 12, "virtio 1.2 §5.3.4");

/* Messages that a port owes the guest, sent in this order. */
enum owed {
	OWE_ADD = 1u << 0,
	OWE_CONSOLE = 1u << 1,
	OWE_NAME = 1u << 2,
	OWE_RESIZE = 1u << 3,
	OWE_OPEN = 1u << 4,
	OWE_CLOSE = 1u << 5, /* after the last byte of input */
};

struct console;

struct port {
	struct console *console;
	unsigned index;
	char name[NAME_SIZE];
	struct char_backend *backend; /* or NULL */

	/* Below: under the device's lock. */
	uint32_t owed;
	bool guest_open;
	bool told_open;         /* what the backend knows of it */
	bool ended;             /* the backend has no more input */

	uint8_t input[INPUT_SIZE];
	uint32_t input_head, input_tail; /* free-running; head - tail bytes are in */
	bool made_room;                  /* the backend may be waiting to hear of it */

	bool tx_held;           /* tx holds a chain of which tx_done bytes went out, */
	bool tx_busy;           /* and the I/O thread is writing from it without the lock */
	uint64_t tx_done;
	struct virtq_chain tx;
};

struct console {
	struct virtio_device dev;
	struct console_config config;
	unsigned port_count;
	struct virtq_chain scratch; /* input and control; under the lock */
	struct port ports[];
};

static struct console *console_of(struct virtio_device *dev)
{
	return container_of(dev, struct console, dev);
}

static unsigned rx_index(unsigned port)
{
	return port == 0 ? 0 : 2 * port + 2;
}

static struct virtq *rx_queue(struct port *port)
{
	return &port->console->dev.queues[rx_index(port->index)];
}

static struct virtq *tx_queue(struct port *port)
{
	return &port->console->dev.queues[rx_index(port->index) + 1];
}

/* ---- host to guest ---- */

static uint32_t input_fill(const struct port *port)
{
	return port->input_head - port->input_tail;
}

/* Without MULTIPORT there is no opening: port 0 simply is. */
static bool is_open(const struct port *port)
{
	if (!virtio_has(&port->console->dev, CONSOLE_F_MULTIPORT))
		return port->index == 0;
	return port->guest_open;
}

/* Moves input into one chain; returns its bytes. */
static uint32_t fill_chain(struct port *port, struct virtq_chain *chain)
{
	uint32_t done = 0;

	while (input_fill(port) > 0) {
		uint32_t at = port->input_tail % INPUT_SIZE, part = input_fill(port);
		size_t copied;

		if (part > INPUT_SIZE - at)
			part = INPUT_SIZE - at;
		copied = virtq_chain_write(chain, done, port->input + at, part);
		done += (uint32_t)copied;
		port->input_tail += (uint32_t)copied;
		if (copied < part)
			break;
	}
	return done;
}

static bool input_waits(const struct port *port)
{
	return is_open(port) && input_fill(port) > 0;
}

/* Gives waiting input to the guest as far as it has buffers. Lock held. */
static void deliver_input(struct port *port)
{
	struct virtq *queue = rx_queue(port);
	struct virtq_chain *chain = &port->console->scratch;
	unsigned budget = BUDGET;

	virtq_disable_notify(queue);
	for (;;) {
		while (input_waits(port) && budget > 0 && virtq_pop(queue, chain) > 0) {
			virtq_push(queue, chain, fill_chain(port, chain));
			port->made_room = true;
			budget--;
		}
		if (budget == 0) {
			work_post(&queue->work);
			break;
		}
		/* Kicks are wanted only while something waits for buffers. */
		if (!input_waits(port) || !virtq_enable_notify(queue))
			break;
	}
	virtq_signal(queue);
}

/* No lock held. */
static void resume_backend(struct port *port)
{
	bool due;

	lock_take(&port->console->dev.lock);
	due = port->made_room;
	port->made_room = false;
	lock_release(&port->console->dev.lock);
	if (due && port->backend)
		port->backend->ops->resume(port->backend);
}

/* ---- control messages to the guest ---- */

/* Sends a message with `extra` behind it. False: the guest has no buffer for it. Lock held. */
static bool send_message(struct console *console, const struct control *message, const void *extra,
			 size_t extra_len)
{
	struct virtq *queue = &console->dev.queues[CONTROL_RX];
	struct virtq_chain *chain = &console->scratch;
	size_t len;

	if (virtq_pop(queue, chain) <= 0)
		return false;
	len = virtq_chain_write(chain, 0, message, sizeof(*message));
	len += virtq_chain_write(chain, len, extra, extra_len);
	virtq_push(queue, chain, (uint32_t)len);
	return true;
}

static size_t name_length(const struct port *port)
{
	size_t len = 0;

	while (len < NAME_SIZE && port->name[len])
		len++;
	return len;
}

/* The next thing to say about a port, or 0. */
static uint32_t next_owed(const struct port *port)
{
	uint32_t bit = port->owed & -port->owed;

	/* End of file comes after the data, and only to somebody who listens. */
	if (bit == OWE_CLOSE && (input_fill(port) > 0 || !port->guest_open))
		return 0;
	return bit;
}

static bool send_owed(struct port *port, uint32_t bit)
{
	struct console *console = port->console;
	struct control message = {.id = port->index, .value = 1};
	const void *extra = NULL;
	size_t extra_len = 0;
	/* Linux reads rows before columns, whatever the specification says. */
	const uint16_t size[2] = {console->config.rows, console->config.cols};

	switch (bit) {
	case OWE_ADD:
		message.event = DEVICE_ADD;
		break;
	case OWE_CONSOLE:
		message.event = CONSOLE_PORT;
		break;
	case OWE_NAME:
		message.event = PORT_NAME;
		extra = port->name;
		extra_len = name_length(port);
		break;
	case OWE_RESIZE:
		message.event = RESIZE;
		extra = size;
		extra_len = sizeof(size);
		break;
	default:
		message.event = PORT_OPEN;
		message.value = bit == OWE_OPEN;
		break;
	}
	return send_message(console, &message, extra, extra_len);
}

/* Says all that is owed as far as the guest has buffers. False: something is left. Lock held. */
static bool tell_all(struct console *console)
{
	for (unsigned i = 0; i < console->port_count; i++) {
		struct port *port = &console->ports[i];
		uint32_t bit;

		while ((bit = next_owed(port)) != 0) {
			if (!send_owed(port, bit))
				return false;
			port->owed &= ~bit;
		}
	}
	return true;
}

static void tell_guest(struct console *console)
{
	struct virtq *queue;
	bool again = true;

	if (!virtio_has(&console->dev, CONSOLE_F_MULTIPORT))
		return;
	queue = &console->dev.queues[CONTROL_RX];
	virtq_disable_notify(queue);
	while (again)
		again = !tell_all(console) && virtq_enable_notify(queue);
	virtq_signal(queue);
}

/* ---- guest to host ---- */

/* Writes what the backend takes of port->tx, at most OUTPUT_STEP bytes. No lock held. */
static uint64_t write_output(struct port *port, uint64_t from)
{
	const struct virtq_chain *chain = &port->tx;
	struct char_backend *backend = port->backend;
	uint64_t offset = from, written = 0;

	if (!backend)
		return chain->out_len - from;
	for (unsigned i = 0; i < chain->out_count && written < OUTPUT_STEP; i++) {
		size_t len = chain->bufs[i].len, taken;

		if (offset >= len) {
			offset -= len;
			continue;
		}
		len -= (size_t)offset;
		if (len > OUTPUT_STEP - written)
			len = (size_t)(OUTPUT_STEP - written);
		taken = backend->ops->write(backend, (const uint8_t *)chain->bufs[i].base + offset, len);
		written += taken;
		offset = 0;
		if (taken < len)
			break;
	}
	return written;
}

/* Makes port->tx the chain to write from. False: there is none. Lock held. */
static bool take_output(struct port *port)
{
	struct virtq *queue = tx_queue(port);

	if (port->tx_held)
		return true;
	virtq_disable_notify(queue);
	while (virtq_pop(queue, &port->tx) <= 0)
		if (!virtq_enable_notify(queue))
			return false;
	port->tx_held = true;
	port->tx_done = 0;
	return true;
}

/* Writes one step of output. False: nothing more can be done now. */
static bool output_step(struct port *port)
{
	struct console *console = port->console;
	struct virtq *queue = tx_queue(port);
	uint64_t written, from;

	lock_take(&console->dev.lock);
	if (!take_output(port)) {
		virtq_signal(queue);
		lock_release(&console->dev.lock);
		return false;
	}
	port->tx_busy = true;
	from = port->tx_done;
	lock_release(&console->dev.lock);

	written = write_output(port, from);

	lock_take(&console->dev.lock);
	port->tx_busy = false;
	port->tx_done += written;
	if (port->tx_done >= port->tx.out_len || !queue->ready) {
		port->tx_held = false;
		virtq_push(queue, &port->tx, 0);
		written = 1; /* on to the next, even if this one was empty */
	}
	if (written == 0)
		virtq_signal(queue);
	lock_release(&console->dev.lock);
	return written != 0;
}

/* Tells the backend what the guest's end of the port is, once all output before that is out. */
static void pass_on_open(struct port *port)
{
	struct console *console = port->console;
	bool open, changed;

	lock_take(&console->dev.lock);
	open = port->guest_open;
	changed = !port->tx_held && open != port->told_open;
	if (changed)
		port->told_open = open;
	lock_release(&console->dev.lock);
	if (changed && port->backend && port->backend->ops->guest_open)
		port->backend->ops->guest_open(port->backend, open);
}

static void send_output(struct port *port)
{
	struct console *console = port->console;

	for (unsigned budget = BUDGET; output_step(port);) {
		if (--budget == 0) {
			lock_take(&console->dev.lock);
			virtq_signal(tx_queue(port));
			lock_release(&console->dev.lock);
			work_post(&tx_queue(port)->work);
			return;
		}
	}
	pass_on_open(port);
}

/* ---- control messages from the guest ---- */

static void port_ready(struct port *port)
{
	port->owed |= (port->index == 0 ? OWE_CONSOLE : 0) | (port->name[0] ? OWE_NAME : 0) |
		      (port->backend ? OWE_OPEN : 0);
	if (port->index == 0 && port->console->config.cols)
		port->owed |= OWE_RESIZE;
	else if (port->index != 0 && port->ended)
		port->owed |= OWE_CLOSE;
}

/* Lock held. */
static void handle_message(struct console *console, const struct control *message)
{
	struct port *port;

	if (!virtio_has(&console->dev, CONSOLE_F_MULTIPORT))
		return;
	if (message->event == DEVICE_READY) {
		for (unsigned i = 0; i < console->port_count; i++)
			console->ports[i].owed = message->value ? OWE_ADD : 0;
		return;
	}
	if (message->id >= console->port_count)
		return;
	port = &console->ports[message->id];
	if (message->event == PORT_READY && message->value) {
		port_ready(port);
	} else if (message->event == PORT_OPEN) {
		port->guest_open = message->value != 0;
		deliver_input(port);
	}
}

static void handle_control(struct console *console)
{
	struct virtq *queue = &console->dev.queues[CONTROL_TX];
	struct virtq_chain *chain = &console->scratch;
	struct control message;
	unsigned budget = BUDGET;

	lock_take(&console->dev.lock);
	do {
		virtq_disable_notify(queue);
		while (budget > 0 && virtq_pop(queue, chain) > 0) {
			size_t len = virtq_chain_read(chain, 0, &message, sizeof(message));

			virtq_push(queue, chain, 0);
			if (len == sizeof(message))
				handle_message(console, &message);
			budget--;
		}
	} while (budget > 0 && virtq_enable_notify(queue));
	virtq_signal(queue);
	tell_guest(console);
	lock_release(&console->dev.lock);
	if (budget == 0)
		work_post(&queue->work);
	for (unsigned i = 0; i < console->port_count; i++) {
		if (console->ports[i].guest_open != console->ports[i].told_open)
			send_output(&console->ports[i]);
		resume_backend(&console->ports[i]);
	}
}

/* ---- the backend's side; I/O thread ---- */

static size_t port_room(void *ctx)
{
	struct port *port = ctx;
	size_t room;

	lock_take(&port->console->dev.lock);
	room = port->ended ? 0 : INPUT_SIZE - input_fill(port);
	lock_release(&port->console->dev.lock);
	return room;
}

static void port_receive(void *ctx, const void *buf, size_t len)
{
	struct port *port = ctx;
	struct console *console = port->console;

	lock_take(&console->dev.lock);
	BUG_ON(len > INPUT_SIZE - input_fill(port));
	for (size_t done = 0; done < len;) {
		uint32_t at = port->input_head % INPUT_SIZE;
		size_t part = len - done;

		if (part > INPUT_SIZE - at)
			part = INPUT_SIZE - at;
		memcpy(port->input + at, (const uint8_t *)buf + done, part);
		port->input_head += (uint32_t)part;
		done += part;
	}
	deliver_input(port);
	lock_release(&console->dev.lock);
}

static void port_end_of_input(void *ctx)
{
	struct port *port = ctx;
	struct console *console = port->console;

	lock_take(&console->dev.lock);
	if (!port->ended) {
		port->ended = true;
		/* A console has no end: nothing on it would ever reach the guest's users again. */
		if (port->index != 0 && virtio_device_live(&console->dev)) {
			port->owed |= OWE_CLOSE;
			tell_guest(console);
		}
	}
	lock_release(&console->dev.lock);
}

static void port_writable(void *ctx)
{
	send_output(ctx);
}

/* ---- the rest of a device ---- */

static void give_input(struct port *port)
{
	struct console *console = port->console;

	lock_take(&console->dev.lock);
	deliver_input(port);
	if (port->made_room)
		tell_guest(console); /* the end of file may be due */
	lock_release(&console->dev.lock);
	resume_backend(port);
}

static void console_notify(struct virtio_device *dev, struct virtq *queue)
{
	struct console *console = console_of(dev);
	struct port *port;

	if (queue->index == CONTROL_RX) {
		lock_take(&dev->lock);
		tell_guest(console);
		lock_release(&dev->lock);
		return;
	}
	if (queue->index == CONTROL_TX) {
		handle_control(console);
		return;
	}
	port = &console->ports[queue->index < 2 ? 0 : queue->index / 2 - 1];
	if (queue->index % 2 == 0)
		give_input(port);
	else
		send_output(port);
}

static void console_config_read(struct virtio_device *dev, unsigned offset, void *buf, unsigned len)
{
	memcpy(buf, (const uint8_t *)&console_of(dev)->config + offset, len);
}

/* Lets go of a half-written chain, unless the I/O thread is at it: that one drops it itself. */
static void drop_output(struct port *port)
{
	if (port->tx_held && !port->tx_busy) {
		port->tx_held = false;
		virtq_drop(tx_queue(port));
	}
}

/* Input stays: it was meant for this machine, and a driver's first act is a reset. */
static void console_reset(struct virtio_device *dev)
{
	struct console *console = console_of(dev);

	for (unsigned i = 0; i < console->port_count; i++) {
		struct port *port = &console->ports[i];

		drop_output(port);
		port->owed = 0;
		port->guest_open = false;
		if (port->told_open)
			work_post(&tx_queue(port)->work); /* the backend hears of it there */
	}
}

static void console_queue_reset(struct virtio_device *dev, struct virtq *queue)
{
	struct console *console = console_of(dev);

	for (unsigned i = 0; i < console->port_count; i++)
		if (tx_queue(&console->ports[i]) == queue)
			drop_output(&console->ports[i]);
}

static void console_destroy(struct virtio_device *dev)
{
	struct console *console = console_of(dev);

	for (unsigned i = 0; i < console->port_count; i++) {
		struct char_backend *backend = console->ports[i].backend;

		if (!backend)
			continue;
		backend->room = NULL;
		backend->receive = NULL;
		backend->end_of_input = NULL;
		backend->writable = NULL;
		backend->ctx = NULL;
	}
	virtio_device_fini(dev);
	platform_free(console);
}

void virtio_console_resize(struct virtio_device *dev, uint16_t columns, uint16_t rows)
{
	struct console *console = console_of(dev);

	lock_take(&dev->lock);
	console->config.cols = columns;
	console->config.rows = rows;
	if (!virtio_has(dev, CONSOLE_F_MULTIPORT)) {
		virtio_config_changed(dev);
	} else if (virtio_device_live(dev)) {
		console->ports[0].owed |= OWE_RESIZE;
		tell_guest(console);
	}
	lock_release(&dev->lock);
}

static const struct virtio_device_ops console_ops = {
	.name = "console",
	.id = VIRTIO_ID_CONSOLE,
	.config_read = console_config_read,
	.notify = console_notify,
	.reset = console_reset,
	.queue_reset = console_queue_reset,
	.destroy = console_destroy,
};

static void init_port(struct console *console, unsigned index, const struct virtio_console_port *from)
{
	struct port *port = &console->ports[index];
	struct char_backend *backend = from->backend;

	port->console = console;
	port->index = index;
	port->backend = backend;
	for (unsigned i = 0; from->name && from->name[i] && i < NAME_SIZE - 1; i++)
		port->name[i] = from->name[i];
	if (!backend)
		return;
	backend->room = port_room;
	backend->receive = port_receive;
	backend->end_of_input = port_end_of_input;
	backend->writable = port_writable;
	backend->ctx = port;
}

int virtio_console_create(struct vm *vm, const struct virtio_console_port *ports, unsigned count,
			  struct virtio_device **out)
{
	uint16_t sizes[2 * VIRTIO_CONSOLE_MAX_PORTS + 2];
	struct console *console;
	uint64_t features = CONSOLE_F_SIZE;
	unsigned queues = 2;
	int err;

	if (count == 0 || count > VIRTIO_CONSOLE_MAX_PORTS)
		return -EINVAL;
	/* A lone nameless console does without the protocol of ports: it is there earlier in a boot. */
	if (count > 1 || (ports[0].name && ports[0].name[0])) {
		features |= CONSOLE_F_MULTIPORT;
		queues = 2 * count + 2;
	}
	console = platform_alloc(sizeof(*console) + count * sizeof(console->ports[0]));
	if (!console)
		return -ENOMEM;
	for (unsigned i = 0; i < queues; i++)
		sizes[i] = i == CONTROL_RX || i == CONTROL_TX ? CONTROL_SIZE : QUEUE_SIZE;
	err = virtio_device_init(&console->dev, vm, &console_ops, features, sizeof(console->config), queues,
				 sizes);
	if (err < 0) {
		platform_free(console);
		return err;
	}
	console->port_count = count;
	console->config.max_nr_ports = count;
	for (unsigned i = 0; i < count; i++)
		init_port(console, i, &ports[i]);
	*out = &console->dev;
	return 0;
}
