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

/* What a frame still needs (virtio 1.2 §5.1.6): struct virtio_net_hdr as Linux has it, little-endian. The frame's checksum is
 * that of the pseudo header, to be completed; or the frame is longer than the wire takes, to be cut up. Whoever is given one
 * checks it: the other side is not to be trusted. */
struct net_offload {
	uint8_t flags;     /* 1: complete the checksum; 2 (receiving only): it was checked */
	uint8_t gso_type;  /* 0: none; 1: TCP over IPv4; 4: TCP over IPv6; 0x80: with ECN */
	uint16_t hdr_len, gso_size;
	uint16_t csum_start, csum_offset;
};

enum net_offload_kind {
	NET_OFFLOAD_CSUM = 1, /* TCP's and UDP's checksum */
	NET_OFFLOAD_TSO4 = 2, /* these only with CSUM */
	NET_OFFLOAD_TSO6 = 4,
	NET_OFFLOAD_ECN = 8,  /* this only with TSO4 or TSO6 */
};

struct net_backend;
struct net_backend_ops {
	/* A frame that needs nothing more. */
	void (*send)(struct net_backend *backend, const struct iobuf *bufs, unsigned count);
	/* With `offloads`: a frame that may need some of those, sent by this pair of the driver's queues. Where it is left out,
	 * send() is used. */
	void (*send_offload)(struct net_backend *backend, unsigned pair, const struct net_offload *offload,
			     const struct iobuf *bufs, unsigned count);
	/* With `offloads`: the guest's driver takes these in frames that it receives, from now on. None at first; told whenever a
	 * driver starts. */
	void (*set_offloads)(struct net_backend *backend, unsigned kinds);
	/* The device can take frames again after receive() returned false, for one of its queues at least. */
	void (*resume)(struct net_backend *backend);
	void (*destroy)(struct net_backend *backend);
};
struct net_backend {
	const struct net_backend_ops *ops;
	uint8_t mac[6];
	/* Its own queues: frames for the same connection come by the one that the guest sends by, and each waits for room by
	 * itself. 0 or 1: the device spreads them. */
	unsigned pairs;
	unsigned offloads; /* enum net_offload_kind: what it can do for frames sent, and may leave to do in frames received */
	/* Set by the device. False: no room now; the backend keeps the frame (or drops it, as a NIC
	 * would, when its own queue is full) and waits for resume(). */
	bool (*receive)(void *ctx, const void *frame, size_t len);
	/* The same for a frame that may need what set_offloads() allows, and that came by one of the backend's own pairs. */
	bool (*receive_offload)(void *ctx, unsigned pair, const struct net_offload *offload, const void *frame, size_t len);
	void *receive_ctx;
};

/* ---- vsock: byte streams between ports of the guest and ports of the host ---- */
struct vsock_stream; /* the backend's half of a connection */
struct vsock_backend;
struct vsock_backend_ops {
	/* The guest connects to a port of the host. connected() tells later, never from within, how it went, unless close()
	 * comes first. NULL: refused at once. */
	struct vsock_stream *(*connect)(struct vsock_backend *backend, uint32_t port, void *owner);
	/* The guest has taken the connection that incoming() announced; there we are called host_port. */
	void (*accepted)(struct vsock_stream *stream, uint32_t host_port);
	/* How many bytes; 0 from read(): the end. -EAGAIN: watch() for it. Any other -errno: the stream is broken. */
	int64_t (*read)(struct vsock_stream *stream, const struct iobuf *bufs, unsigned count);
	int64_t (*write)(struct vsock_stream *stream, const struct iobuf *bufs, unsigned count);
	/* Which of them ready() is wanted for. */
	void (*watch)(struct vsock_stream *stream, bool in, bool out);
	/* Nothing more will be written; reading goes on. */
	void (*finish)(struct vsock_stream *stream);
	/* Frees the stream; also from within ready() and connected(). */
	void (*close)(struct vsock_stream *stream);
	void (*destroy)(struct vsock_backend *backend); /* no stream is left */
};
struct vsock_backend {
	const struct vsock_backend_ops *ops;
	/* Set by the device. Somebody on the host connects to a port of the guest: the owner of the stream, or NULL, which
	 * refuses it; the backend then closes it. */
	void *(*incoming)(void *ctx, struct vsock_stream *stream, uint32_t port);
	void *ctx;
	void (*connected)(void *owner, int status);
	void (*ready)(void *owner, bool in, bool out);
};

/* ---- shared directory: messages of the 9P protocol ---- */
struct share_request {
	/* The message, and the room for its answer; valid until done. No message at all (out_count 0): the guest's session is over. */
	const struct iobuf *out, *in;
	unsigned out_count, in_count;
	void (*done)(struct share_request *request, uint32_t len); /* bytes of the answer; exactly once */
	void *ctx;
	struct share_request *next; /* the backend's */
	uint32_t backend_len;       /* the same */
};

struct share_backend;
struct share_backend_ops {
	/* Requests are done in the order in which they come. */
	void (*submit)(struct share_backend *backend, struct share_request *request);
	/* Returns when no request is under way; their done() run inside. As block_backend_ops.drain. */
	void (*drain)(struct share_backend *backend);
	void (*destroy)(struct share_backend *backend);
};
struct share_backend {
	const struct share_backend_ops *ops;
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
