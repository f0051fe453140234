/* The last bytes of a stream; see char_memory.h. */
#include "backend/char_memory.h"

#include "core/platform.h"
#include <string.h>

struct char_memory {
	struct char_backend backend;
	size_t size;
	uint64_t total; /* bytes ever written */
	uint8_t ring[];
};

static size_t memory_write(struct char_backend *backend, const void *buf, size_t len)
{
	struct char_memory *memory = container_of(backend, struct char_memory, backend);
	const uint8_t *bytes = buf;

	for (size_t i = 0; i < len; i++)
		memory->ring[(memory->total + i) % memory->size] = bytes[i];
	memory->total += len;
	return len;
}

static void memory_resume(struct char_backend *backend)
{
}

static void memory_destroy(struct char_backend *backend)
{
	platform_free(container_of(backend, struct char_memory, backend));
}

static const struct char_backend_ops memory_ops = {
	.write = memory_write,
	.resume = memory_resume,
	.destroy = memory_destroy,
};

struct char_memory *char_memory_create(size_t size)
{
	struct char_memory *memory = platform_alloc(sizeof(*memory) + size);

	if (memory) {
		memory->backend.ops = &memory_ops;
		memory->size = size;
	}
	return memory;
}

struct char_backend *char_memory_backend(struct char_memory *memory)
{
	return &memory->backend;
}

size_t char_memory_copy(const struct char_memory *memory, void *buf, size_t size)
{
	uint64_t kept = memory->total < memory->size ? memory->total : memory->size;
	uint8_t *out = buf;

	if (kept > size)
		kept = size;
	for (uint64_t i = 0; i < kept; i++)
		out[i] = memory->ring[(memory->total - kept + i) % memory->size];
	return (size_t)kept;
}
