/* AML encoding; the opcodes are those of ACPI 6.4 §20.2 and §20.3, resource descriptors §6.4. See aml.h. */
#include "loader/aml.h"

#include "base/errno.h"
#include "base/string.h"

#define OP_NAME     0x08
#define OP_BYTE     0x0a
#define OP_WORD     0x0b
#define OP_DWORD    0x0c
#define OP_STRING   0x0d
#define OP_QWORD    0x0e
#define OP_SCOPE    0x10
#define OP_BUFFER   0x11
#define OP_PACKAGE  0x12
#define OP_METHOD   0x14
#define OP_DUAL     0x2e
#define OP_MULTI    0x2f
#define OP_EXT      0x5b
#define OP_EXT_REGION 0x80
#define OP_EXT_FIELD  0x81
#define OP_EXT_DEVICE 0x82
#define OP_LOCAL0   0x60
#define OP_ARG0     0x68
#define OP_STORE    0x70
#define OP_AND      0x7b
#define OP_OR       0x7d
#define OP_NOTIFY   0x86
#define OP_CREATE_DWORD 0x8a
#define OP_IF       0xa0
#define OP_RETURN   0xa4

#define REGION_SYSTEM_IO 1
#define REGION_PCI       2
#define FIELD_BYTE       1
#define FIELD_DWORD      3
#define MAX_SEGMENTS     4

static void put(struct aml *aml, const void *bytes, size_t len)
{
	if (aml->failed || len > aml->size - aml->len) {
		aml->failed = true;
		return;
	}
	memcpy(aml->buf + aml->len, bytes, len);
	aml->len += len;
}

static void put_byte(struct aml *aml, unsigned byte)
{
	uint8_t value = (uint8_t)byte;

	put(aml, &value, 1);
}

static void put_le(struct aml *aml, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		put_byte(aml, (unsigned)(value >> (8 * i)) & 0xff);
}

void aml_start(struct aml *aml, uint8_t *buf, size_t size)
{
	*aml = (struct aml){.buf = buf, .size = size};
}

int aml_finish(struct aml *aml, size_t *len)
{
	if (aml->failed || aml->depth)
		return -ENOSPC;
	*len = aml->len;
	return 0;
}

/* ---- what holds others ---- */

static void begin(struct aml *aml)
{
	if (aml->depth == AML_MAX_DEPTH) {
		aml->failed = true;
		return;
	}
	aml->open[aml->depth++] = aml->len;
}

/* The package length counts itself and comes first: insert it, now that the rest is known (§20.2.4). */
void aml_end(struct aml *aml)
{
	uint8_t encoded[4];
	size_t at, content, bytes;

	if (aml->failed || !aml->depth) {
		aml->failed = true;
		return;
	}
	at = aml->open[--aml->depth];
	content = aml->len - at;
	bytes = content + 1 < 0x40 ? 1 : content + 2 < 0x1000 ? 2 : content + 3 < 0x100000 ? 3 : 4;
	size_t length = content + bytes;
	if (bytes == 1) {
		encoded[0] = (uint8_t)length;
	} else {
		encoded[0] = (uint8_t)((bytes - 1) << 6 | (length & 15));
		for (size_t i = 1; i < bytes; i++)
			encoded[i] = (uint8_t)(length >> (4 + 8 * (i - 1)));
	}
	put(aml, encoded, bytes); /* makes the room */
	if (aml->failed)
		return;
	memmove(aml->buf + at + bytes, aml->buf + at, content);
	memcpy(aml->buf + at, encoded, bytes);
}

/* ---- names and constants ---- */

static const char *put_segment(struct aml *aml, const char *text)
{
	for (unsigned i = 0; i < 4; i++) {
		if (*text && *text != '.')
			put_byte(aml, (uint8_t)*text++);
		else
			put_byte(aml, '_');
	}
	if (*text && *text != '.')
		aml->failed = true; /* more than four characters */
	return *text == '.' ? text + 1 : text;
}

void aml_path(struct aml *aml, const char *path)
{
	unsigned segments = 1;

	if (*path == '\\') {
		put_byte(aml, '\\');
		path++;
	}
	for (const char *p = path; *p; p++)
		segments += *p == '.';
	if (segments > MAX_SEGMENTS) {
		aml->failed = true;
		return;
	}
	if (segments == 2) {
		put_byte(aml, OP_DUAL);
	} else if (segments > 2) {
		put_byte(aml, OP_MULTI);
		put_byte(aml, segments);
	}
	for (unsigned i = 0; i < segments; i++)
		path = put_segment(aml, path);
}

void aml_integer(struct aml *aml, uint64_t value)
{
	if (value <= 1) {
		put_byte(aml, (unsigned)value);
	} else if (value <= 0xff) {
		put_byte(aml, OP_BYTE);
		put_le(aml, value, 1);
	} else if (value <= 0xffff) {
		put_byte(aml, OP_WORD);
		put_le(aml, value, 2);
	} else if (value <= 0xffffffff) {
		put_byte(aml, OP_DWORD);
		put_le(aml, value, 4);
	} else {
		put_byte(aml, OP_QWORD);
		put_le(aml, value, 8);
	}
}

void aml_string(struct aml *aml, const char *text)
{
	put_byte(aml, OP_STRING);
	do
		put_byte(aml, (uint8_t)*text);
	while (*text++);
}

static unsigned hex_digit(char c)
{
	return c <= '9' ? (unsigned)(c - '0') & 15u : (unsigned)(c - 'A' + 10) & 15u;
}

/* Three letters of five bits, four hexadecimal digits, in big-endian order (§19.3.4). */
void aml_eisaid(struct aml *aml, const char *id)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < 3; i++)
		value = value << 5 | ((unsigned)id[i] & 31u);
	for (unsigned i = 3; i < 7; i++)
		value = value << 4 | hex_digit(id[i]);
	put_byte(aml, OP_DWORD);
	for (unsigned i = 0; i < 4; i++)
		put_byte(aml, value >> (24 - 8 * i) & 0xff);
}

void aml_name(struct aml *aml, const char *name)
{
	put_byte(aml, OP_NAME);
	aml_path(aml, name);
}

void aml_name_integer(struct aml *aml, const char *name, uint64_t value)
{
	aml_name(aml, name);
	aml_integer(aml, value);
}

void aml_name_string(struct aml *aml, const char *name, const char *text)
{
	aml_name(aml, name);
	aml_string(aml, text);
}

void aml_name_eisaid(struct aml *aml, const char *name, const char *id)
{
	aml_name(aml, name);
	aml_eisaid(aml, id);
}

void aml_scope_begin(struct aml *aml, const char *path)
{
	put_byte(aml, OP_SCOPE);
	begin(aml);
	aml_path(aml, path);
}

void aml_device_begin(struct aml *aml, const char *name)
{
	put_byte(aml, OP_EXT);
	put_byte(aml, OP_EXT_DEVICE);
	begin(aml);
	aml_path(aml, name);
}

void aml_method_begin(struct aml *aml, const char *name, unsigned arguments, bool serialized)
{
	put_byte(aml, OP_METHOD);
	begin(aml);
	aml_path(aml, name);
	put_byte(aml, (arguments & 7u) | (serialized ? 8u : 0u));
}

void aml_package_begin(struct aml *aml, uint8_t elements)
{
	put_byte(aml, OP_PACKAGE);
	begin(aml);
	put_byte(aml, elements);
}

void aml_if_begin(struct aml *aml)
{
	put_byte(aml, OP_IF);
	begin(aml);
}

/* ---- what methods do ---- */

void aml_io_field32(struct aml *aml, const char *region, uint16_t port, const char *field)
{
	put_byte(aml, OP_EXT);
	put_byte(aml, OP_EXT_REGION);
	aml_path(aml, region);
	put_byte(aml, REGION_SYSTEM_IO);
	aml_integer(aml, port);
	aml_integer(aml, 4);
	put_byte(aml, OP_EXT);
	put_byte(aml, OP_EXT_FIELD);
	begin(aml);
	aml_path(aml, region);
	put_byte(aml, FIELD_DWORD);
	put_segment(aml, field);
	put_byte(aml, 32); /* bits, as a package length */
	aml_end(aml);
}

void aml_store_to_local(struct aml *aml, const char *field, unsigned local)
{
	put_byte(aml, OP_STORE);
	aml_path(aml, field);
	put_byte(aml, OP_LOCAL0 + (local & 7u));
}

void aml_local_and(struct aml *aml, unsigned local, uint64_t mask)
{
	put_byte(aml, OP_AND);
	put_byte(aml, OP_LOCAL0 + (local & 7u));
	aml_integer(aml, mask);
	put_byte(aml, 0); /* the result goes nowhere else */
}

void aml_argument_field32(struct aml *aml, unsigned argument, unsigned offset, const char *name)
{
	put_byte(aml, OP_CREATE_DWORD);
	put_byte(aml, OP_ARG0 + argument % 7);
	aml_integer(aml, offset);
	aml_path(aml, name);
}

void aml_field_and(struct aml *aml, const char *name, uint64_t mask)
{
	put_byte(aml, OP_AND);
	aml_path(aml, name);
	aml_integer(aml, mask);
	aml_path(aml, name);
}

void aml_return_argument(struct aml *aml, unsigned argument)
{
	put_byte(aml, OP_RETURN);
	put_byte(aml, OP_ARG0 + argument % 7);
}

void aml_notify(struct aml *aml, const char *path, uint8_t value)
{
	put_byte(aml, OP_NOTIFY);
	aml_path(aml, path);
	aml_integer(aml, value);
}

/* ---- registers of PCI devices ---- */

void aml_pci_region(struct aml *aml, const char *region, uint8_t offset, uint8_t size)
{
	put_byte(aml, OP_EXT);
	put_byte(aml, OP_EXT_REGION);
	aml_path(aml, region);
	put_byte(aml, REGION_PCI);
	aml_integer(aml, offset);
	aml_integer(aml, size);
}

void aml_bytes_begin(struct aml *aml, const char *region)
{
	put_byte(aml, OP_EXT);
	put_byte(aml, OP_EXT_FIELD);
	begin(aml);
	aml_path(aml, region);
	put_byte(aml, FIELD_BYTE);
}

void aml_byte(struct aml *aml, const char *name)
{
	put_segment(aml, name);
	put_byte(aml, 8); /* bits, as a package length */
}

void aml_bytes_skip(struct aml *aml, uint8_t bytes)
{
	put_byte(aml, 0);
	put_byte(aml, (bytes & 7u) * 8);
}

/* ---- what methods compute ---- */

void aml_buffer_field32(struct aml *aml, const char *buffer, unsigned offset, const char *name)
{
	put_byte(aml, OP_CREATE_DWORD);
	aml_path(aml, buffer);
	aml_integer(aml, offset);
	aml_path(aml, name);
}

void aml_store(struct aml *aml, const char *from, const char *to)
{
	put_byte(aml, OP_STORE);
	aml_path(aml, from);
	aml_path(aml, to);
}

void aml_store_argument(struct aml *aml, unsigned argument, const char *to)
{
	put_byte(aml, OP_STORE);
	put_byte(aml, OP_ARG0 + argument % 7);
	aml_path(aml, to);
}

static void put_binary(struct aml *aml, unsigned op, const char *from, uint64_t mask, const char *to)
{
	put_byte(aml, op);
	aml_path(aml, from);
	aml_integer(aml, mask);
	if (to)
		aml_path(aml, to);
	else
		put_byte(aml, 0);
}

void aml_and(struct aml *aml, const char *from, uint64_t mask, const char *to)
{
	put_binary(aml, OP_AND, from, mask, to);
}

void aml_or(struct aml *aml, const char *from, uint64_t mask, const char *to)
{
	put_binary(aml, OP_OR, from, mask, to);
}

void aml_return(struct aml *aml, const char *name)
{
	put_byte(aml, OP_RETURN);
	aml_path(aml, name);
}

void aml_return_integer(struct aml *aml, uint64_t value)
{
	put_byte(aml, OP_RETURN);
	aml_integer(aml, value);
}

/* ---- resources ---- */

void aml_resources_begin(struct aml *aml, const char *name)
{
	aml_name(aml, name);
	put_byte(aml, OP_BUFFER);
	begin(aml);
	put_byte(aml, OP_WORD);
	aml->resources = aml->len;
	put_le(aml, 0, 2); /* the size; aml_resources_end knows it */
}

void aml_resource_io(struct aml *aml, uint16_t port, uint8_t count)
{
	put_byte(aml, 0x47);
	put_byte(aml, 1); /* decodes 16 bits */
	put_le(aml, port, 2);
	put_le(aml, port, 2);
	put_byte(aml, 1); /* alignment */
	put_byte(aml, count);
}

void aml_resource_irq(struct aml *aml, unsigned irq)
{
	put_byte(aml, 0x22);
	put_le(aml, 1u << (irq & 15), 2);
}

void aml_resource_memory(struct aml *aml, uint32_t base, uint32_t size)
{
	put_byte(aml, 0x86);
	put_le(aml, 9, 2);
	put_byte(aml, 1); /* writable */
	put_le(aml, base, 4);
	put_le(aml, size, 4);
}

void aml_resource_interrupt(struct aml *aml, uint32_t gsi, bool level, bool shared)
{
	put_byte(aml, 0x89);
	put_le(aml, 6, 2);
	put_byte(aml, 1u | (level ? 0u : 2u) | (shared ? 8u : 0u)); /* consumer */
	put_byte(aml, 1);                                           /* one interrupt */
	put_le(aml, gsi, 4);
}

void aml_resource_interrupts(struct aml *aml, const uint8_t *interrupts, uint8_t count)
{
	put_byte(aml, 0x89);
	put_le(aml, 2u + 4u * count, 2);
	put_byte(aml, 1u | 8u); /* consumer, level, shared */
	put_byte(aml, count);
	for (unsigned i = 0; i < count; i++)
		put_le(aml, interrupts[i], 4);
}

/* §6.4.3.5: a producer, both ends fixed; no translation. */
#define SPACE_MEMORY    0
#define SPACE_IO        1
#define SPACE_BUS       2
#define SPACE_FIXED     0x0c
#define IO_ENTIRE_RANGE 3
#define MEMORY_WRITABLE 1

static void put_space(struct aml *aml, unsigned tag, unsigned bytes, unsigned type, unsigned flags, uint64_t first, uint64_t last)
{
	put_byte(aml, tag);
	put_le(aml, 3 + 5 * bytes, 2);
	put_byte(aml, type);
	put_byte(aml, SPACE_FIXED);
	put_byte(aml, flags);
	put_le(aml, 0, bytes); /* granularity */
	put_le(aml, first, bytes);
	put_le(aml, last, bytes);
	put_le(aml, 0, bytes); /* translation */
	put_le(aml, last - first + 1, bytes);
}

void aml_resource_buses(struct aml *aml, uint8_t first, uint8_t last)
{
	put_space(aml, 0x88, 2, SPACE_BUS, 0, first, last);
}

void aml_resource_io_window(struct aml *aml, uint16_t first, uint16_t last)
{
	put_space(aml, 0x88, 2, SPACE_IO, IO_ENTIRE_RANGE, first, last);
}

void aml_resource_memory_window(struct aml *aml, uint64_t first, uint64_t last)
{
	bool high = last >> 32;

	put_space(aml, high ? 0x8a : 0x87, high ? 8 : 4, SPACE_MEMORY, MEMORY_WRITABLE, first, last);
}

void aml_resources_end(struct aml *aml)
{
	put_byte(aml, 0x79);
	put_byte(aml, 0); /* no checksum */
	if (aml->failed)
		return;
	size_t size = aml->len - aml->resources - 2;
	aml->buf[aml->resources] = (uint8_t)size;
	aml->buf[aml->resources + 1] = (uint8_t)(size >> 8);
	aml_end(aml);
}
