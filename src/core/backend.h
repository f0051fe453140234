/* Backends: the host side of a device. Asynchronous; a device can't tell a file from an NVMe queue.
 *
 * All calls are made on, and all callbacks run on, the I/O thread, with no lock held.
 */
#ifndef CORE_BACKEND_H
#define CORE_BACKEND_H

#include "base/types.h"

/* One piece of guest memory, already range-checked, as the host sees it. */
struct iobuf {
	void *base;
	size_t len;
};

/* ---- block: 512-byte sectors ---- */
enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

struct block_request {
	enum block_op op;
	uint64_t offset;            /* bytes, multiple of 512 */
	uint64_t length;            /* bytes; for reads and writes the sum of the buffers */
	bool unmap;                 /* WRITE_ZEROES: may deallocate */
	const struct iobuf *bufs;   /* valid until done */
	unsigned count;
	void (*done)(struct block_request *request, int status); /* 0 or -errno; exactly once */
	void *ctx;
	void *backend_private[4];
};

struct block_backend;
struct block_backend_ops {
	void (*submit)(struct block_backend *backend, struct block_request *request);
	/* Returns when no request is under way; their done() runs inside. For machine reset and
	 * destruction: on the I/O thread, or when it no longer runs. May be left out by a backend that
	 * is done when submit() returns. */
	void (*drain)(struct block_backend *backend);
	void (*destroy)(struct block_backend *backend); /* waits for what is under way */
};
struct block_backend {
	const struct block_backend_ops *ops;
	uint64_t size;      /* bytes */
	bool read_only;
	bool can_discard;
	char serial[21];    /* NUL-terminated, at most 20 bytes */
};

/* ---- network: Ethernet frames, without virtio header ---- */
struct net_backend;
struct net_backend_ops {
	void (*send)(struct net_backend *backend, const struct iobuf *bufs, unsigned count);
	/* The device can take frames again after receive() returned false. */
	void (*resume)(struct net_backend *backend);
	void (*destroy)(struct net_backend *backend);
};
struct net_backend {
	const struct net_backend_ops *ops;
	uint8_t mac[6];
	/* Set by the device. False: no room now; the backend keeps the frame (or drops it, as a NIC
	 * would, when its own queue is full) and waits for resume(). */
	bool (*receive)(void *ctx, const void *frame, size_t len);
	void *receive_ctx;
};

/* ---- character streams: serial ports, consoles ---- */
struct char_backend;
struct char_backend_ops {
	/* Takes up to len bytes, returns how many (0: full, `writable` is called when there is room). */
	size_t (*write)(struct char_backend *backend, const void *buf, size_t len);
	/* The device has room for input again. */
	void (*resume)(struct char_backend *backend);
	/* Optional: a program in the guest has opened or closed its end; all its output is written. */
	void (*guest_open)(struct char_backend *backend, bool open);
	void (*destroy)(struct char_backend *backend); /* flushes */
};
struct char_backend {
	const struct char_backend_ops *ops;
	uint16_t columns, rows; /* of the window behind it; 0: there is none */
	/* Set by the device; all run on the I/O thread. */
	size_t (*room)(void *ctx);                               /* bytes it can take now */
	void (*receive)(void *ctx, const void *buf, size_t len); /* len <= room() */
	void (*end_of_input)(void *ctx);                         /* optional: stdin closed */
	void (*writable)(void *ctx);                             /* optional */
	void (*resized)(void *ctx);                              /* optional: columns or rows changed */
	void *ctx;
};

#endif
