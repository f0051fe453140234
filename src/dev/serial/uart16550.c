/* A 16550A serial port; see uart16550.h. Register and bit names are the data sheet's (PC16550D).
 *
 * The line is infinitely fast: a byte written is transmitted at once as long as the ring (serial_out.h) has room for a whole FIFO.
 *
 *   vcpu: THR -> [ring] -> backend->write()                  (I/O thread)
 *         RBR <- [FIFO of 16] <- room(), receive()           (I/O thread)
 *
 * Example: a guest reads LSR (port + 5) until THRE and writes 'x' to port + 0.
 */
#include "dev/serial/uart16550.h"
#include "base/errno.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/serial/serial_out.h"

#define FIFO_SIZE 16u

enum uart_register {
	UART_DATA = 0, /* RBR, THR; DLL */
	UART_IER = 1,  /* DLM */
	UART_IIR = 2,  /* FCR when written */
	UART_LCR = 3,
	UART_MCR = 4,
	UART_LSR = 5,
	UART_MSR = 6,
	UART_SCR = 7,
};

#define IER_RDA  0x01 /* received data */
#define IER_THRE 0x02
#define IER_LSI  0x04 /* line status */
#define IER_MSI  0x08 /* modem status */

#define IIR_NONE    0x01
#define IIR_MSI     0x00
#define IIR_THRE    0x02
#define IIR_RDA     0x04
#define IIR_LSI     0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFOS   0xc0

#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02
#define FCR_CLEAR_TX 0x04

#define LCR_DLAB 0x80

#define MCR_DTR  0x01
#define MCR_RTS  0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10

#define LSR_DR   0x01
#define LSR_OE   0x02
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

#define MSR_DELTA 0x0f
#define MSR_TERI  0x04
#define MSR_CTS   0x10
#define MSR_DSR   0x20
#define MSR_RI    0x40
#define MSR_DCD   0x80

struct uart {
	struct device dev;
	struct irq_line irq;
	struct serial_out out;

	uint8_t ier, lcr, mcr, msr, scr, dll, dlm;
	bool fifos;
	uint8_t trigger;     /* bytes in the FIFO that raise RDA */
	bool thre_pending;   /* the THRE interrupt; reading IIR or writing THR ends it */
	bool overrun;

	uint8_t fifo[FIFO_SIZE];
	unsigned fifo_count, fifo_head;
	bool starved;        /* the backend was told that there is no room */

	bool busy;           /* the transmitter had no room for a FIFO when it was looked at last */
};

/* ---- interrupts ---- */
static bool has_room_for_fifo(const struct uart *uart)
{
	return serial_out_has_room(&uart->out, FIFO_SIZE);
}

static uint8_t interrupt_identification(const struct uart *uart)
{
	if ((uart->ier & IER_LSI) && uart->overrun)
		return IIR_LSI;
	if ((uart->ier & IER_RDA) && uart->fifo_count >= uart->trigger)
		return IIR_RDA;
	/* Less than the trigger level: the time-out of four characters is over at once on this line. */
	if ((uart->ier & IER_RDA) && uart->fifo_count > 0)
		return IIR_TIMEOUT;
	if ((uart->ier & IER_THRE) && uart->thre_pending)
		return IIR_THRE;
	if ((uart->ier & IER_MSI) && (uart->msr & MSR_DELTA))
		return IIR_MSI;
	return IIR_NONE;
}

static void update(struct uart *uart)
{
	irq_set(&uart->irq, interrupt_identification(uart) != IIR_NONE);
}

/* ---- receiver ---- */
static unsigned fifo_size(const struct uart *uart)
{
	return uart->fifos ? FIFO_SIZE : 1;
}

static void push(struct uart *uart, uint8_t byte)
{
	if (uart->fifo_count >= fifo_size(uart)) {
		uart->overrun = true;
		return;
	}
	uart->fifo[(uart->fifo_head + uart->fifo_count++) % FIFO_SIZE] = byte;
}

static void room_again(struct uart *uart)
{
	if (uart->starved && !(uart->mcr & MCR_LOOP) && uart->fifo_count < fifo_size(uart)) {
		uart->starved = false;
		serial_out_resume_input(&uart->out);
	}
}

static uint8_t pop(struct uart *uart)
{
	uint8_t byte;

	if (uart->fifo_count == 0)
		return 0;
	byte = uart->fifo[uart->fifo_head];
	uart->fifo_head = (uart->fifo_head + 1) % FIFO_SIZE;
	uart->fifo_count--;
	room_again(uart);
	return byte;
}

/* In loopback the pins are not connected: nothing comes in. */
static size_t backend_room(void *ctx)
{
	struct uart *uart = ctx;
	size_t room = 0;

	lock_take(&uart->dev.lock);
	if (!(uart->mcr & MCR_LOOP))
		room = fifo_size(uart) - uart->fifo_count;
	if (room == 0)
		uart->starved = true;
	lock_release(&uart->dev.lock);
	return room;
}

static void backend_receive(void *ctx, const void *buf, size_t len)
{
	struct uart *uart = ctx;

	lock_take(&uart->dev.lock);
	for (size_t i = 0; i < len; i++)
		push(uart, ((const uint8_t *)buf)[i]);
	/* The backend may not ask again before it stops reading. */
	if (uart->fifo_count == fifo_size(uart))
		uart->starved = true;
	update(uart);
	lock_release(&uart->dev.lock);
}

/* ---- transmitter ---- */
static void backend_writable(void *ctx)
{
	struct uart *uart = ctx;

	serial_out_writable(&uart->out);
}

/* If the transmitter was busy it is free again. */
static void sent(struct device *dev)
{
	struct uart *uart = container_of(dev, struct uart, dev);

	if (uart->busy && has_room_for_fifo(uart)) {
		uart->busy = false;
		uart->thre_pending = true;
	}
	update(uart);
}

static void transmit(struct uart *uart, uint8_t byte)
{
	uart->thre_pending = false;
	if (uart->mcr & MCR_LOOP) {
		push(uart, byte);
		uart->thre_pending = true;
		return;
	}
	serial_out_put(&uart->out, byte);
	uart->thre_pending = has_room_for_fifo(uart);
	uart->busy = !uart->thre_pending;
}

/* ---- modem lines ---- */
/* In loopback the outputs are the inputs; else the other side is there and ready. */
static void update_modem(struct uart *uart)
{
	uint8_t lines = MSR_CTS | MSR_DSR | MSR_DCD, changed;

	if (uart->mcr & MCR_LOOP)
		lines = (uint8_t)((uart->mcr & MCR_RTS ? MSR_CTS : 0) | (uart->mcr & MCR_DTR ? MSR_DSR : 0) |
				  (uart->mcr & MCR_OUT1 ? MSR_RI : 0) | (uart->mcr & MCR_OUT2 ? MSR_DCD : 0));
	changed = (uint8_t)((uart->msr ^ lines) >> 4);
	if (lines & MSR_RI) /* only its trailing edge counts */
		changed &= (uint8_t)~MSR_TERI;
	uart->msr = (uint8_t)(lines | (uart->msr & MSR_DELTA) | changed);
}

/* ---- registers ---- */
static uint8_t line_status(const struct uart *uart)
{
	uint8_t lsr = 0;

	if (uart->fifo_count)
		lsr |= LSR_DR;
	if (uart->overrun)
		lsr |= LSR_OE;
	if (has_room_for_fifo(uart))
		lsr |= LSR_THRE | LSR_TEMT;
	return lsr;
}

static uint64_t uart_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct uart *uart = container_of(dev, struct uart, dev);
	bool dlab = uart->lcr & LCR_DLAB;
	uint8_t value = 0;

	switch ((enum uart_register)offset) {
	case UART_DATA:
		value = dlab ? uart->dll : pop(uart);
		break;
	case UART_IER:
		value = dlab ? uart->dlm : uart->ier;
		break;
	case UART_IIR:
		value = interrupt_identification(uart);
		if (value == IIR_THRE)
			uart->thre_pending = false;
		value |= uart->fifos ? IIR_FIFOS : 0;
		break;
	case UART_LCR:
		value = uart->lcr;
		break;
	case UART_MCR:
		value = uart->mcr;
		break;
	case UART_LSR:
		value = line_status(uart);
		uart->overrun = false;
		break;
	case UART_MSR:
		value = uart->msr;
		uart->msr &= (uint8_t)~MSR_DELTA;
		break;
	case UART_SCR:
		value = uart->scr;
		break;
	}
	update(uart);
	return value;
}

static void write_ier(struct uart *uart, uint8_t value)
{
	/* Enabling the THRE interrupt while the holding register is empty raises it. */
	if (!(uart->ier & IER_THRE) && (value & IER_THRE) && has_room_for_fifo(uart))
		uart->thre_pending = true;
	uart->ier = value & 0x0f;
}

static void write_fcr(struct uart *uart, uint8_t value)
{
	static const uint8_t triggers[4] = {1, 4, 8, 14};
	bool enable = value & FCR_ENABLE;

	/* What was given for output has left the transmitter already: CLEAR_TX finds nothing. */
	if (enable != uart->fifos || (enable && (value & FCR_CLEAR_RX)))
		uart->fifo_count = 0;
	uart->fifos = enable;
	uart->trigger = enable ? triggers[value >> 6] : 1;
	room_again(uart);
}

static void uart_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct uart *uart = container_of(dev, struct uart, dev);
	bool dlab = uart->lcr & LCR_DLAB;
	uint8_t byte = (uint8_t)value;

	switch ((enum uart_register)offset) {
	case UART_DATA:
		if (dlab)
			uart->dll = byte;
		else
			transmit(uart, byte);
		break;
	case UART_IER:
		if (dlab)
			uart->dlm = byte;
		else
			write_ier(uart, byte);
		break;
	case UART_IIR:
		write_fcr(uart, byte);
		break;
	case UART_LCR:
		uart->lcr = byte;
		break;
	case UART_MCR:
		uart->mcr = byte & 0x1f;
		update_modem(uart);
		room_again(uart);
		break;
	case UART_SCR:
		uart->scr = byte;
		break;
	case UART_LSR: /* factory test */
	case UART_MSR:
		break;
	}
	update(uart);
}

/* What is in the ring was transmitted before the reset. */
static void uart_reset(struct device *dev)
{
	struct uart *uart = container_of(dev, struct uart, dev);

	uart->ier = uart->lcr = uart->mcr = uart->scr = uart->dlm = 0;
	uart->dll = 12; /* 9600 baud */
	uart->msr = MSR_CTS | MSR_DSR | MSR_DCD;
	uart->fifos = false;
	uart->trigger = 1;
	uart->thre_pending = uart->overrun = false;
	uart->fifo_count = 0;
	room_again(uart);
	update(uart);
}

static void uart_destroy(struct device *dev)
{
	struct uart *uart = container_of(dev, struct uart, dev);

	serial_out_finish(&uart->out);
	platform_free(uart);
}

static const struct device_ops ops = {
	.name = "uart16550",
	.reset = uart_reset,
	.read = uart_read,
	.write = uart_write,
	.destroy = uart_destroy,
};

int uart_create(struct vm *vm, uint16_t port, struct irq_line irq, struct char_backend *backend, const char *id)
{
	struct uart *uart = platform_alloc(sizeof(*uart));
	int r;

	if (!uart)
		return -ENOMEM;
	uart->irq = irq;
	serial_out_init(&uart->out, vm, &uart->dev, backend, sent);
	uart_reset(&uart->dev);
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
	return bus_attach_sized(&vm->pio, port, 8, &uart->dev, 0, 1, 1);
}
