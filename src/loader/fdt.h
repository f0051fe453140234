/* Writes a flattened device tree (Devicetree Specification v0.4, chapter 5; version 17) into a buffer.
 *
 * Example:
 *     struct fdt fdt;
 *     fdt_begin(&fdt, buf, size);
 *     fdt_u32(&fdt, "#address-cells", 2);
 *     fdt_node(&fdt, "memory@40000000");
 *     fdt_string(&fdt, "device_type", "memory");
 *     fdt_cells(&fdt, "reg", (uint32_t[]){0, 0x40000000, 0, 0x8000000}, 4);
 *     fdt_end_node(&fdt);
 *     r = fdt_finish(&fdt, &len);
 *
 * What does not fit is remembered, and fdt_finish() says so: nobody else has to look. Of a node, properties come before nodes.
 */
#ifndef LOADER_FDT_H
#define LOADER_FDT_H

#include "base/types.h"

#define FDT_STRINGS_SIZE 2048u

struct fdt {
	uint8_t *buf;
	size_t size, at;
	unsigned depth;
	bool overflow;
	size_t strings_len;
	char strings[FDT_STRINGS_SIZE]; /* names of properties */
};

/* Opens the root node. buf is 8-byte aligned where the tree is used in place. */
void fdt_begin(struct fdt *fdt, void *buf, size_t size);
/* Ends the root, puts everything in its place; *len: bytes in all. -ENOSPC: the buffer is too small; -EINVAL: nodes are left open. */
int fdt_finish(struct fdt *fdt, size_t *len) must_check;

void fdt_node(struct fdt *fdt, const char *name);
/* "name@address" */
void fdt_node_at(struct fdt *fdt, const char *name, uint64_t address);
void fdt_end_node(struct fdt *fdt);

void fdt_empty(struct fdt *fdt, const char *name);
void fdt_u32(struct fdt *fdt, const char *name, uint32_t value);
void fdt_u64(struct fdt *fdt, const char *name, uint64_t value);
void fdt_cells(struct fdt *fdt, const char *name, const uint32_t *cells, unsigned count);
/* Address and size, two cells each. */
void fdt_reg(struct fdt *fdt, uint64_t address, uint64_t size);
void fdt_string(struct fdt *fdt, const char *name, const char *value);
/* len includes the NULs between, and behind, the strings: "a\0b" has sizeof("a\0b"). */
void fdt_bytes(struct fdt *fdt, const char *name, const void *bytes, size_t len);

#endif
