/* The PL011; see pl011.h. Register and bit names are DDI 0183's (revision r1p5: FIFOs of 32).
 *
 * The line is infinitely fast: a byte written is transmitted at once as long as the ring (serial_out.h) has room for a whole FIFO, and the
 * receiver's time-out is over as soon as a byte is there. Bytes come in once a driver has enabled the receiver; they go out in any
 * case, for those who print before they know what a UART is.
 *
 * Example: a guest waits for FR.TXFF to be clear and writes 'x' to DR.
 */
#include "dev/serial/pl011.h"
#include "base/errno.h"
#include "core/vm.h"
#include "dev/primecell.h"
#include "dev/serial/serial_out.h"

#define FIFO_SIZE 32u

enum pl011_register {
	DR = 0x00,
	RSR = 0x04, /* ECR when written */
	FR = 0x18,
	ILPR = 0x20,
	IBRD = 0x24,
	FBRD = 0x28,
	LCR_H = 0x2c,
	CR = 0x30,
	IFLS = 0x34,
	IMSC = 0x38,
	RIS = 0x3c,
	MIS = 0x40,
	ICR = 0x44,
	DMACR = 0x48,
};
#define ID 0x00341011u

#define FR_CTS  (1u << 0)
#define FR_DSR  (1u << 1)
#define FR_DCD  (1u << 2)
#define FR_RXFE (1u << 4)
#define FR_TXFF (1u << 5)
#define FR_RXFF (1u << 6)
#define FR_TXFE (1u << 7)

#define LCR_H_FEN (1u << 4)

#define CR_UARTEN (1u << 0)
#define CR_LBE    (1u << 7)
#define CR_TXE    (1u << 8)
#define CR_RXE    (1u << 9)

#define INT_RX  (1u << 4)
#define INT_TX  (1u << 5)
#define INT_RT  (1u << 6)
#define INT_OE  (1u << 10)
#define INT_ALL 0x7ffu

#define RSR_OE (1u << 3)
#define DR_OE  (1u << 11)

struct pl011 {
	struct device dev;
	struct irq_line irq;
	struct serial_out out;

	uint16_t ilpr, ibrd, fbrd, lcr_h, cr, ifls, imsc, ris, dmacr;
	bool overrun; /* RSR.OE */
	bool busy;    /* the transmitter had no room for a FIFO when it was looked at last */

	uint8_t fifo[FIFO_SIZE];
	unsigned fifo_count, fifo_head;
	bool starved; /* the backend was told that there is no room */
};

static void update(struct pl011 *uart)
{
	irq_set(&uart->irq, (uart->ris & uart->imsc) != 0);
}

/* ---- receiver ---- */

static unsigned fifo_size(const struct pl011 *uart)
{
	return uart->lcr_h & LCR_H_FEN ? FIFO_SIZE : 1;
}

/* IFLS.RXIFLSEL: 1/8, 1/4, 1/2, 3/4, 7/8 */
static unsigned trigger_level(const struct pl011 *uart)
{
	static const uint8_t levels[8] = {4, 8, 16, 24, 28, 28, 28, 28};

	return uart->lcr_h & LCR_H_FEN ? levels[uart->ifls >> 3 & 7] : 1;
}

static void push(struct pl011 *uart, uint8_t byte)
{
	if (uart->fifo_count >= fifo_size(uart)) {
		uart->overrun = true;
		uart->ris |= INT_OE;
		return;
	}
	uart->fifo[(uart->fifo_head + uart->fifo_count++) % FIFO_SIZE] = byte;
	uart->ris |= INT_RT;
	if (uart->fifo_count >= trigger_level(uart))
		uart->ris |= INT_RX;
}

static bool can_receive(const struct pl011 *uart)
{
	return (uart->cr & (CR_UARTEN | CR_RXE | CR_LBE)) == (CR_UARTEN | CR_RXE);
}

static void room_again(struct pl011 *uart)
{
	if (uart->starved && can_receive(uart) && uart->fifo_count < fifo_size(uart)) {
		uart->starved = false;
		serial_out_resume_input(&uart->out);
	}
}

static uint32_t pop(struct pl011 *uart)
{
	uint32_t value;

	if (uart->fifo_count == 0)
		return 0;
	value = uart->fifo[uart->fifo_head] | (uart->overrun ? DR_OE : 0);
	uart->fifo_head = (uart->fifo_head + 1) % FIFO_SIZE;
	uart->fifo_count--;
	if (uart->fifo_count < trigger_level(uart))
		uart->ris &= (uint16_t)~INT_RX;
	if (uart->fifo_count == 0)
		uart->ris &= (uint16_t)~INT_RT;
	room_again(uart);
	return value;
}

static size_t backend_room(void *ctx)
{
	struct pl011 *uart = ctx;
	size_t room = 0;

	lock_take(&uart->dev.lock);
	if (can_receive(uart) && uart->fifo_count < fifo_size(uart))
		room = fifo_size(uart) - uart->fifo_count;
	if (room == 0)
		uart->starved = true;
	lock_release(&uart->dev.lock);
	return room;
}

static void backend_receive(void *ctx, const void *buf, size_t len)
{
	struct pl011 *uart = ctx;

	lock_take(&uart->dev.lock);
	for (size_t i = 0; i < len; i++)
		push(uart, ((const uint8_t *)buf)[i]);
	/* The backend may not ask again before it stops reading. */
	if (uart->fifo_count >= fifo_size(uart))
		uart->starved = true;
	update(uart);
	lock_release(&uart->dev.lock);
}

/* ---- transmitter ---- */

static void backend_writable(void *ctx)
{
	struct pl011 *uart = ctx;

	serial_out_writable(&uart->out);
}

static bool has_room(const struct pl011 *uart)
{
	return serial_out_has_room(&uart->out, FIFO_SIZE);
}

/* If the transmitter was busy it is free again. */
static void sent(struct device *dev)
{
	struct pl011 *uart = container_of(dev, struct pl011, dev);

	if (uart->busy && has_room(uart)) {
		uart->busy = false;
		uart->ris |= INT_TX;
	}
	update(uart);
}

static void transmit(struct pl011 *uart, uint8_t byte)
{
	if (uart->cr & CR_LBE) {
		push(uart, byte);
		uart->ris |= INT_TX;
		return;
	}
	serial_out_put(&uart->out, byte);
	uart->busy = !has_room(uart);
	uart->ris = (uint16_t)(uart->busy ? uart->ris & ~INT_TX : uart->ris | INT_TX);
}

/* ---- registers ---- */

static uint32_t flags(const struct pl011 *uart)
{
	uint32_t fr = FR_CTS | FR_DSR | FR_DCD;

	fr |= has_room(uart) ? FR_TXFE : FR_TXFF;
	if (uart->fifo_count == 0)
		fr |= FR_RXFE;
	if (uart->fifo_count >= fifo_size(uart))
		fr |= FR_RXFF;
	return fr;
}

static uint32_t read_register(struct pl011 *uart, uint64_t offset)
{
	switch ((enum pl011_register)offset) {
	case DR:
		return pop(uart);
	case RSR:
		return uart->overrun ? RSR_OE : 0;
	case FR:
		return flags(uart);
	case ILPR:
		return uart->ilpr;
	case IBRD:
		return uart->ibrd;
	case FBRD:
		return uart->fbrd;
	case LCR_H:
		return uart->lcr_h;
	case CR:
		return uart->cr;
	case IFLS:
		return uart->ifls;
	case IMSC:
		return uart->imsc;
	case RIS:
		return uart->ris;
	case MIS:
		return uart->ris & uart->imsc;
	case DMACR:
		return uart->dmacr;
	case ICR:
		return 0;
	}
	return offset >= PRIMECELL_ID ? primecell_id(ID, offset) : 0;
}

static uint64_t pl011_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct pl011 *uart = container_of(dev, struct pl011, dev);
	uint32_t value;

	if (offset & 3)
		return 0;
	value = read_register(uart, offset);
	update(uart);
	return value;
}

/* Switching the FIFOs on or off flushes them. */
static void write_lcr_h(struct pl011 *uart, uint16_t value)
{
	if ((value ^ uart->lcr_h) & LCR_H_FEN) {
		uart->fifo_count = 0;
		uart->ris &= (uint16_t)~(INT_RX | INT_RT);
	}
	uart->lcr_h = value & 0xff;
	room_again(uart);
}

static void write_register(struct pl011 *uart, uint64_t offset, uint16_t value)
{
	switch ((enum pl011_register)offset) {
	case DR:
		transmit(uart, (uint8_t)value);
		break;
	case RSR:
		uart->overrun = false;
		break;
	case ILPR:
		uart->ilpr = value & 0xff;
		break;
	case IBRD:
		uart->ibrd = value;
		break;
	case FBRD:
		uart->fbrd = value & 0x3f;
		break;
	case LCR_H:
		write_lcr_h(uart, value);
		break;
	case CR:
		uart->cr = value & 0xff87;
		room_again(uart);
		break;
	case IFLS:
		uart->ifls = value & 0x3f;
		break;
	case IMSC:
		uart->imsc = value & INT_ALL;
		break;
	case ICR:
		uart->ris &= (uint16_t)~value;
		break;
	case DMACR:
		uart->dmacr = value & 7;
		break;
	case FR:
	case RIS:
	case MIS:
		break;
	}
}

static void pl011_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct pl011 *uart = container_of(dev, struct pl011, dev);

	if (offset & 3)
		return;
	write_register(uart, offset, (uint16_t)value);
	update(uart);
}

/* What is in the ring was transmitted before the reset. */
static void pl011_reset(struct device *dev)
{
	struct pl011 *uart = container_of(dev, struct pl011, dev);

	uart->ilpr = uart->ibrd = uart->fbrd = uart->lcr_h = uart->imsc = uart->ris = uart->dmacr = 0;
	uart->cr = CR_TXE | CR_RXE;
	uart->ifls = 0x12;
	uart->overrun = false;
	uart->fifo_count = 0;
	update(uart);
}

static void pl011_destroy(struct device *dev)
{
	struct pl011 *uart = container_of(dev, struct pl011, dev);

	serial_out_finish(&uart->out);
	platform_free(uart);
}

static const struct device_ops ops = {
	.name = "pl011",
	.reset = pl011_reset,
	.read = pl011_read,
	.write = pl011_write,
	.destroy = pl011_destroy,
};

int pl011_create(struct vm *vm, gpa_t base, struct irq_line irq, struct char_backend *backend, const char *id)
{
	struct pl011 *uart = platform_alloc(sizeof(*uart));
	int r;

	if (!uart)
		return -ENOMEM;
	uart->irq = irq;
	serial_out_init(&uart->out, vm, &uart->dev, backend, sent);
	pl011_reset(&uart->dev);
	r = device_register(vm, &uart->dev, &ops, id);
	if (r) {
		platform_free(uart);
		return r;
	}
	if (backend) {
		backend->ctx = uart;
		backend->room = backend_room;
		backend->receive = backend_receive;
		backend->writable = backend_writable;
	}
	return bus_attach_sized(&vm->mmio, base, PL011_SIZE, &uart->dev, 0, 1, 4);
}
