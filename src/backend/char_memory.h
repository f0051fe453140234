/* A character backend that keeps the last bytes of what a device writes, in memory: the serial console of a guest
 * that runs a command, shown only when something went wrong, and the port on which that command's status comes.
 *
 * Example:
 *     struct char_memory *log = char_memory_create(65536);
 *     inputs.serial = char_memory_backend(log);
 *     ...
 *     len = char_memory_copy(log, buf, sizeof(buf));
 *     log's backend->ops->destroy(backend);           // after the device is gone
 */
#ifndef BACKEND_CHAR_MEMORY_H
#define BACKEND_CHAR_MEMORY_H

#include "core/backend.h"

struct char_memory;

/* Keeps up to size bytes, the newest. NULL when there is no memory. */
struct char_memory *char_memory_create(size_t size);
struct char_backend *char_memory_backend(struct char_memory *memory);
/* Copies what is kept, oldest first, at most size bytes (the newest of it); returns how many. I/O thread. */
size_t char_memory_copy(const struct char_memory *memory, void *buf, size_t size);

#endif
