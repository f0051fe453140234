/* The way out of a serial port: a ring between the vcpu that writes and the I/O thread, on which backends are called. What the models
 * of serial ports share.
 *
 *   vcpu: serial_out_put() -> [ring] -> work -> backend->write()   (I/O thread)
 *
 * Output never holds a vcpu up: where the backend is slow the ring fills up, and the port says that its transmitter is busy.
 *
 * Example: `if (!serial_out_has_room(&port->out, FIFO_SIZE)) flags |= TX_FULL;`
 */
#ifndef DEV_SERIAL_SERIAL_OUT_H
#define DEV_SERIAL_SERIAL_OUT_H

#include "core/backend.h"
#include "core/device.h"
#include "core/platform.h"

#define SERIAL_OUT_RING 8192u /* power of two */

struct serial_out {
	struct device *dev;           /* whose lock protects this */
	struct char_backend *backend; /* or NULL: what is put is gone */
	struct work work;
	/* Some of the ring was given to the backend; lock held, I/O thread. */
	void (*sent)(struct device *dev);
	uint8_t ring[SERIAL_OUT_RING];
	uint32_t head, tail; /* free-running: head is where the guest puts */
	bool blocked;        /* the backend took less: wait for writable() */
};

void serial_out_init(struct serial_out *out, struct vm *vm, struct device *dev, struct char_backend *backend,
		     void (*sent)(struct device *dev));
/* Lock held. What does not fit is lost, as on a line. */
void serial_out_put(struct serial_out *out, uint8_t byte);
/* Lock held. */
bool serial_out_has_room(const struct serial_out *out, unsigned bytes);
/* The device has room for input again: the backend is told on the I/O thread. */
void serial_out_resume_input(struct serial_out *out);
/* The backend's writable(). */
void serial_out_writable(struct serial_out *out);
/* The last words, before the device goes; the I/O thread is this one, or gone. The backend forgets the device. */
void serial_out_finish(struct serial_out *out);

#endif
