/* Framing of gdb's packets; see gdb_packet.h. Whatever comes in, no more than GDB_PACKET_MAX bytes are kept.
 *
 * Example: the packet "OK" is `$OK#9a`.
 */
#include "control/gdb_packet.h"

#define ESCAPE     '}'
#define ESCAPE_XOR 0x20

static int digit(uint8_t byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	if (byte >= 'a' && byte <= 'f')
		return byte - 'a' + 10;
	if (byte >= 'A' && byte <= 'F')
		return byte - 'A' + 10;
	return -1;
}

static enum gdb_found between(struct gdb_packet *packet, uint8_t byte)
{
	switch (byte) {
	case '$':
		packet->at = GDB_DATA;
		packet->sum = 0;
		packet->len = 0;
		packet->bad = false;
		return GDB_NOTHING;
	case '+': return GDB_ACK;
	case '-': return GDB_NACK;
	case 3: return GDB_INTERRUPT;
	default: return GDB_NOTHING;
	}
}

static void keep(struct gdb_packet *packet, uint8_t byte)
{
	if (packet->len == GDB_PACKET_MAX)
		packet->bad = true;
	else
		packet->data[packet->len++] = byte;
}

static void data(struct gdb_packet *packet, uint8_t byte)
{
	if (byte == '#') {
		packet->at = GDB_SUM1;
		return;
	}
	if (byte == '$') { /* the end of the last one was lost */
		between(packet, byte);
		return;
	}
	packet->sum = (uint8_t)(packet->sum + byte);
	if (byte == ESCAPE)
		packet->at = GDB_ESCAPED;
	else
		keep(packet, byte);
}

static enum gdb_found finish(struct gdb_packet *packet, uint8_t byte, bool exact)
{
	int low = digit(byte);

	packet->at = GDB_BETWEEN;
	packet->data[packet->len] = 0;
	if (low < 0 || (uint8_t)(packet->told | low) != packet->sum)
		packet->bad |= exact;
	return packet->bad ? GDB_BAD : GDB_PACKET;
}

enum gdb_found gdb_packet_byte(struct gdb_packet *packet, uint8_t byte, bool exact)
{
	int high;

	switch (packet->at) {
	case GDB_BETWEEN: return between(packet, byte);
	case GDB_DATA:
		data(packet, byte);
		return GDB_NOTHING;
	case GDB_ESCAPED:
		packet->sum = (uint8_t)(packet->sum + byte);
		keep(packet, byte ^ ESCAPE_XOR);
		packet->at = GDB_DATA;
		return GDB_NOTHING;
	case GDB_SUM1:
		high = digit(byte);
		packet->bad |= exact && high < 0;
		packet->told = (uint8_t)((high < 0 ? 0 : high) << 4);
		packet->at = GDB_SUM2;
		return GDB_NOTHING;
	case GDB_SUM2: return finish(packet, byte, exact);
	}
	return GDB_NOTHING;
}

/* ---- replies ---- */

static void put(struct gdb_reply *reply, uint8_t byte)
{
	/* Room for the checksum stays. */
	if (reply->len >= GDB_REPLY_MAX - 3) {
		reply->full = true;
		return;
	}
	reply->bytes[reply->len++] = byte;
	reply->sum = (uint8_t)(reply->sum + byte);
}

void gdb_reply_begin(struct gdb_reply *reply)
{
	reply->bytes[0] = '$';
	reply->len = 1;
	reply->sum = 0;
	reply->full = false;
}

void gdb_reply_text(struct gdb_reply *reply, const char *text)
{
	while (*text)
		put(reply, (uint8_t)*text++);
}

static const char digits[] = "0123456789abcdef";

void gdb_reply_hex(struct gdb_reply *reply, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < len; i++) {
		put(reply, (uint8_t)digits[at[i] >> 4]);
		put(reply, (uint8_t)digits[at[i] & 15]);
	}
}

void gdb_reply_binary(struct gdb_reply *reply, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < len; i++) {
		if (at[i] == '$' || at[i] == '#' || at[i] == ESCAPE || at[i] == '*') {
			put(reply, ESCAPE);
			put(reply, at[i] ^ ESCAPE_XOR);
		} else {
			put(reply, at[i]);
		}
	}
}

void gdb_reply_number(struct gdb_reply *reply, uint64_t value)
{
	unsigned shift = 60;

	while (shift && !(value >> shift))
		shift -= 4;
	for (;; shift -= 4) {
		put(reply, (uint8_t)digits[value >> shift & 15]);
		if (!shift)
			break;
	}
}

void gdb_reply_end(struct gdb_reply *reply)
{
	uint8_t sum = reply->sum;

	reply->bytes[reply->len++] = '#';
	reply->bytes[reply->len++] = (uint8_t)digits[sum >> 4];
	reply->bytes[reply->len++] = (uint8_t)digits[sum & 15];
}
