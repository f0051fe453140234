/* What stands in a qcow2 file (QEMU's docs/interop/qcow2.txt). All numbers are big-endian.
 *
 * Example: `if (read_be32(header) != QCOW2_MAGIC) ...`
 *
 *     header            one cluster, with extensions and the backing file's name
 *     L1 table          a u64 for each L2 table          guest address -> L2 table
 *     L2 table          one cluster, a u64 for each      guest address -> cluster of data
 *     refcount table    a u64 for each refcount block
 *     refcount block    one cluster, a number for each cluster of the file: how often it is referred to
 */
#ifndef DISK_QCOW2_FORMAT_H
#define DISK_QCOW2_FORMAT_H

#include "base/types.h"
#include <endian.h>
#include <string.h>

#define QCOW2_MAGIC 0x514649fbu /* "QFI\xfb" */

/* Places in the header. */
enum qcow2_header {
	QCOW2_VERSION = 4,
	QCOW2_BACKING_OFFSET = 8,
	QCOW2_BACKING_SIZE = 16,
	QCOW2_CLUSTER_BITS = 20,
	QCOW2_SIZE = 24,
	QCOW2_CRYPT_METHOD = 32,
	QCOW2_L1_SIZE = 36,
	QCOW2_L1_OFFSET = 40,
	QCOW2_REFTABLE_OFFSET = 48,
	QCOW2_REFTABLE_CLUSTERS = 56,
	QCOW2_SNAPSHOT_COUNT = 60,
	QCOW2_SNAPSHOT_OFFSET = 64,
	QCOW2_V2_LENGTH = 72,
	QCOW2_INCOMPATIBLE = 72,
	QCOW2_COMPATIBLE = 80,
	QCOW2_AUTOCLEAR = 88,
	QCOW2_REFCOUNT_ORDER = 96,
	QCOW2_HEADER_LENGTH = 100,
	QCOW2_V3_LENGTH = 104,
	QCOW2_COMPRESSION_TYPE = 104,
	QCOW2_OUR_LENGTH = 112,
};

#define QCOW2_INCOMPATIBLE_DIRTY       1u
#define QCOW2_INCOMPATIBLE_CORRUPT     2u
#define QCOW2_INCOMPATIBLE_DATA_FILE   4u
#define QCOW2_INCOMPATIBLE_COMPRESSION 8u
#define QCOW2_INCOMPATIBLE_EXTENDED_L2 16u
#define QCOW2_INCOMPATIBLE_KNOWN \
	(QCOW2_INCOMPATIBLE_DIRTY | QCOW2_INCOMPATIBLE_CORRUPT | QCOW2_INCOMPATIBLE_COMPRESSION)

#define QCOW2_EXTENSION_END            0u
#define QCOW2_EXTENSION_BACKING_FORMAT 0xe2792acau

/* Entries of L1 and L2. */
#define QCOW2_COPIED     (1ull << 63) /* the refcount is exactly one: may be written in place */
#define QCOW2_COMPRESSED (1ull << 62)
#define QCOW2_ZERO       1ull         /* version 3 */
#define QCOW2_OFFSET     0x00fffffffffffe00ull

#define QCOW2_MIN_CLUSTER_BITS 9
#define QCOW2_MAX_CLUSTER_BITS 21
/* Limits that QEMU has too. */
#define QCOW2_MAX_L1_ENTRIES    (4u << 20)
#define QCOW2_MAX_REFTABLE_SIZE (8u << 20)
#define QCOW2_MAX_SNAPSHOTS     65536u
#define QCOW2_MAX_BACKING_NAME  1023u
/* Clusters beyond this can't be described. */
#define QCOW2_MAX_FILE_SIZE     (1ull << 56)

static inline uint32_t read_be32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return be32toh(value);
}

static inline uint64_t read_be64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return be64toh(value);
}

static inline void write_be32(uint8_t *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, sizeof(value));
}

static inline void write_be64(uint8_t *at, uint64_t value)
{
	value = htobe64(value);
	memcpy(at, &value, sizeof(value));
}

#endif
