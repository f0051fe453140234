/* A file in memory that can lose its power: what was written since the last sync may be there or not, sector by sector.
 *
 * Example:
 *     struct disk_file *file = memory_file_create();
 *     ... the image is used ...
 *     struct disk_file *after = memory_file_crash(file, &seed);   // as the medium may look now
 */
#ifndef TESTS_DISK_MEMORY_FILE_H
#define TESTS_DISK_MEMORY_FILE_H

#include "disk/file.h"

struct disk_file *memory_file_create(void);
/* A copy of bytes. */
struct disk_file *memory_file_from(const void *bytes, size_t len);
struct disk_file *memory_file_crash(const struct disk_file *file, uint64_t *seed);
/* The same with everything that was written: the process died, the host did not. */
struct disk_file *memory_file_copy(const struct disk_file *file);
const uint8_t *memory_file_bytes(const struct disk_file *file);
/* From now on each transfer fails with this probability in 256. */
void memory_file_fail(struct disk_file *file, unsigned probability);
/* No larger than this: -ENOSPC. 64 MiB without it. */
void memory_file_limit(struct disk_file *file, uint64_t limit);

/* xorshift64*; never zero. */
uint64_t random_next(uint64_t *seed);

#endif
