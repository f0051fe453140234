/* Packets of gdb's remote serial protocol: $data#checksum, answered by + or - until both sides have agreed to do without.
 *
 * Example:
 *     for (size_t i = 0; i < len; i++)
 *             if (gdb_packet_byte(&in, bytes[i]) == GDB_PACKET) ... in.data, in.len ...
 */
#ifndef CONTROL_GDB_PACKET_H
#define CONTROL_GDB_PACKET_H

#include "base/types.h"

#define GDB_PACKET_MAX 16384

enum gdb_found {
	GDB_NOTHING,
	GDB_PACKET,    /* one is complete, its checksum right, what was escaped is not any more */
	GDB_BAD,       /* one is complete, and is not what was sent, or too long */
	GDB_ACK,
	GDB_NACK,
	GDB_INTERRUPT, /* Ctrl-C, between packets */
};

/* All zero: nothing has come yet. */
struct gdb_packet {
	enum { GDB_BETWEEN, GDB_DATA, GDB_ESCAPED, GDB_SUM1, GDB_SUM2 } at;
	uint8_t sum, told;
	bool bad;
	size_t len;
	uint8_t data[GDB_PACKET_MAX + 1]; /* NUL behind len bytes */
};

/* `exact`: the checksum counts (it does not where there are no answers). */
enum gdb_found gdb_packet_byte(struct gdb_packet *packet, uint8_t byte, bool exact);

/* A packet to be sent, as it goes over the line. */
#define GDB_REPLY_MAX (2 * GDB_PACKET_MAX + 8)
struct gdb_reply {
	size_t len;
	bool full; /* something did not fit: it is not sent */
	uint8_t sum;
	uint8_t bytes[GDB_REPLY_MAX];
};

void gdb_reply_begin(struct gdb_reply *reply);
void gdb_reply_text(struct gdb_reply *reply, const char *text);
void gdb_reply_hex(struct gdb_reply *reply, const void *bytes, size_t len);
void gdb_reply_binary(struct gdb_reply *reply, const void *bytes, size_t len); /* escaped */
void gdb_reply_number(struct gdb_reply *reply, uint64_t value);                /* hexadecimal, no leading zeroes */
void gdb_reply_end(struct gdb_reply *reply);

#endif
