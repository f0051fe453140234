/* A writer of flattened device trees; see fdt.h.
 *
 *     header | memory reservations: none | structure | strings
 *
 * Example: `fdt_u32(fdt, "#size-cells", 2);`
 */
#include "loader/fdt.h"

#include "base/errno.h"
#include "base/fmt.h"
#include "base/string.h"

#define MAGIC             0xd00dfeedu
#define VERSION           17u
#define COMPATIBLE        16u
#define HEADER_SIZE       40u
#define RESERVATIONS_SIZE 16u
#define STRUCTURE         (HEADER_SIZE + RESERVATIONS_SIZE)

enum token { BEGIN_NODE = 1, END_NODE = 2, PROP = 3, END = 9 };

static void put(struct fdt *fdt, const void *bytes, size_t len)
{
	if (len > fdt->size - fdt->at) {
		fdt->overflow = true;
		return;
	}
	memcpy(fdt->buf + fdt->at, bytes, len);
	fdt->at += len;
}

static void big_endian(uint8_t *at, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void put_u32(struct fdt *fdt, uint32_t value)
{
	uint8_t bytes[4];

	big_endian(bytes, value);
	put(fdt, bytes, sizeof(bytes));
}

static void align(struct fdt *fdt)
{
	static const uint8_t zeros[3];

	put(fdt, zeros, -fdt->at & 3);
}

static size_t length_of(const char *text)
{
	size_t len = 0;

	while (text[len])
		len++;
	return len;
}

static bool ends_here(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* The offset of a name among the strings; one that is another's end shares it. */
static uint32_t name_offset(struct fdt *fdt, const char *name)
{
	const size_t len = length_of(name) + 1;

	for (size_t at = 0; at < fdt->strings_len; at++)
		if (ends_here(fdt->strings + at, name))
			return (uint32_t)at;
	if (len > sizeof(fdt->strings) - fdt->strings_len) {
		fdt->overflow = true;
		return 0;
	}
	memcpy(fdt->strings + fdt->strings_len, name, len);
	fdt->strings_len += len;
	return (uint32_t)(fdt->strings_len - len);
}

void fdt_begin(struct fdt *fdt, void *buf, size_t size)
{
	static const uint8_t zeros[STRUCTURE];

	fdt->buf = buf;
	fdt->size = size;
	fdt->at = fdt->strings_len = 0;
	fdt->depth = 0;
	fdt->overflow = false;
	put(fdt, zeros, sizeof(zeros));
	fdt_node(fdt, "");
}

void fdt_node(struct fdt *fdt, const char *name)
{
	put_u32(fdt, BEGIN_NODE);
	put(fdt, name, length_of(name) + 1);
	align(fdt);
	fdt->depth++;
}

void fdt_node_at(struct fdt *fdt, const char *name, uint64_t address)
{
	char whole[64];

	if (fmt_print(whole, sizeof(whole), "%s@%llx", name, (unsigned long long)address) >= sizeof(whole))
		fdt->overflow = true;
	fdt_node(fdt, whole);
}

void fdt_end_node(struct fdt *fdt)
{
	put_u32(fdt, END_NODE);
	fdt->depth--;
}

void fdt_bytes(struct fdt *fdt, const char *name, const void *bytes, size_t len)
{
	put_u32(fdt, PROP);
	put_u32(fdt, (uint32_t)len);
	put_u32(fdt, name_offset(fdt, name));
	put(fdt, bytes, len);
	align(fdt);
}

void fdt_empty(struct fdt *fdt, const char *name)
{
	fdt_bytes(fdt, name, "", 0);
}

void fdt_u32(struct fdt *fdt, const char *name, uint32_t value)
{
	fdt_cells(fdt, name, &value, 1);
}

void fdt_u64(struct fdt *fdt, const char *name, uint64_t value)
{
	fdt_cells(fdt, name, (const uint32_t[]){(uint32_t)(value >> 32), (uint32_t)value}, 2);
}

void fdt_cells(struct fdt *fdt, const char *name, const uint32_t *cells, unsigned count)
{
	put_u32(fdt, PROP);
	put_u32(fdt, 4 * count);
	put_u32(fdt, name_offset(fdt, name));
	for (unsigned i = 0; i < count; i++)
		put_u32(fdt, cells[i]);
}

void fdt_reg(struct fdt *fdt, uint64_t address, uint64_t size)
{
	const uint32_t cells[] = {(uint32_t)(address >> 32), (uint32_t)address, (uint32_t)(size >> 32), (uint32_t)size};

	fdt_cells(fdt, "reg", cells, ARRAY_SIZE(cells));
}

void fdt_string(struct fdt *fdt, const char *name, const char *value)
{
	fdt_bytes(fdt, name, value, length_of(value) + 1);
}

int fdt_finish(struct fdt *fdt, size_t *len)
{
	size_t strings;

	fdt_end_node(fdt);
	put_u32(fdt, END);
	strings = fdt->at;
	put(fdt, fdt->strings, fdt->strings_len);
	if (fdt->depth != 0)
		return -EINVAL;
	if (fdt->overflow || fdt->at > UINT32_MAX)
		return -ENOSPC;
	const uint32_t header[] = {
		MAGIC,
		(uint32_t)fdt->at,
		STRUCTURE,
		(uint32_t)strings,
		HEADER_SIZE,
		VERSION,
		COMPATIBLE,
		0, /* the processor that boots */
		(uint32_t)fdt->strings_len,
		(uint32_t)(strings - STRUCTURE),
	};
	_Static_assert(sizeof(header) == HEADER_SIZE, "its fields are words");
	for (unsigned i = 0; i < ARRAY_SIZE(header); i++)
		big_endian(fdt->buf + 4 * i, header[i]);
	*len = fdt->at;
	return 0;
}
