/* A virtio driver for tests: builds rings in a little machine's memory and talks to a device through the
 * mmio transport's registers, as a guest would.
 *
 * Example:
 *     driver_start(&driver, vdev, 0, VIRTIO_F_EVENT_IDX);
 *     gpa_t data = driver_alloc(&driver, 512);
 *     driver_add(&driver, 0, 1, &(struct driver_buf){data, 512, true});
 *     driver_kick(&driver, 0);
 *     assert_true(driver_used(&driver, 0, &head, &len));
 */
#ifndef TESTS_UNIT_VIRTIO_DRIVER_H
#define TESTS_UNIT_VIRTIO_DRIVER_H

#include "core/vm.h"
#include "dev/virtio/mmio.h"
#include "dev/virtio/virtio.h"

#define DRIVER_RAM    (4u << 20)
#define DRIVER_BASE   0xd0000000u
#define DRIVER_QUEUES 80

struct driver_buf {
	gpa_t gpa;
	uint32_t len;
	bool write; /* the device writes it */
};

struct driver_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

/* In packed rings (virtio 1.2 §2.8). */
struct driver_packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};

struct driver_queue {
	uint16_t size;
	uint16_t avail_idx, used_seen, next_desc; /* packed: the last two are places in the ring, */
	bool avail_wrap, used_wrap;               /* and these the wrap counters */
	uint8_t slots[256];                       /* packed: descriptors of the chain with this id; 0: the id is free */
	gpa_t desc, avail, used;                  /* packed: ring, our event suppression, the device's */
};

struct driver {
	struct vm vm;
	uint8_t *ram;
	gpa_t brk; /* next free byte of RAM */
	unsigned pulses;
	int level;
	uint64_t features; /* negotiated */
	bool indirect;     /* driver_add() uses an indirect table */
	bool packed;       /* wants packed rings; driver_machine() sets it to driver_packed */
	struct driver_queue queues[DRIVER_QUEUES];
};

/* Is this program about packed rings (compiled with DRIVER_PACKED)? */
extern const bool driver_packed;

/* The machine alone: RAM at 0, a ROM of a page at 0xf0000000. */
void driver_machine(struct driver *driver);
/* The device on the bus, not touched yet. */
void driver_plug(struct driver *driver, struct virtio_device *vdev, unsigned mmio_flags);
/* Initialises a plugged device as virtio 1.2 §3.1.1 says, with all of `features` that it offers. Queues get
 * their largest size, or `size` if that isn't 0. */
void driver_init_device(struct driver *driver, uint64_t features, uint16_t size);
/* Both. */
void driver_start(struct driver *driver, struct virtio_device *vdev, unsigned mmio_flags, uint64_t features);
/* The device is destroyed, the machine taken apart. */
void driver_stop(struct driver *driver);

uint32_t driver_reg(struct driver *driver, unsigned offset);
void driver_set_reg(struct driver *driver, unsigned offset, uint32_t value);

gpa_t driver_alloc(struct driver *driver, uint32_t len); /* 16-aligned, zeroed */
void *driver_ptr(struct driver *driver, gpa_t gpa);

/* Makes a chain available; returns its head (packed: its id). Doesn't kick. */
uint16_t driver_add(struct driver *driver, unsigned queue, unsigned count, const struct driver_buf *bufs);
/* Split: makes a head available that the test has built itself. */
void driver_add_head(struct driver *driver, unsigned queue, uint16_t head);
struct driver_desc *driver_desc(struct driver *driver, unsigned queue, unsigned index);
struct driver_packed_desc *driver_packed_desc(struct driver *driver, unsigned queue, unsigned index);
/* Writes QueueNotify and lets the I/O thread work. */
void driver_kick(struct driver *driver, unsigned queue);
/* Would a driver have to kick, by the device's flags or event index? */
bool driver_must_kick(struct driver *driver, unsigned queue, uint16_t added);
/* The next used entry. With event index, asks for an interrupt at the next one. */
bool driver_used(struct driver *driver, unsigned queue, uint32_t *head, uint32_t *len);
/* How many entries driver_used() would find. */
unsigned driver_used_count(struct driver *driver, unsigned queue);
/* Split: an index; packed: a place in the ring, with the wrap bit. */
void driver_set_used_event(struct driver *driver, unsigned queue, uint16_t event);
/* Interrupts for all that is used, or none (without event index). */
void driver_want_interrupts(struct driver *driver, unsigned queue, bool want);

/* Reads and acknowledges the interrupt status. */
uint32_t driver_take_interrupt(struct driver *driver);

#endif
