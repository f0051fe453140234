/* The least platform that one vcpu without devices stands on. */
#include "core/platform.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t platform_clock_ns(void)
{
	return 0;
}

uint64_t platform_wall_ns(void)
{
	return 0;
}

void *platform_alloc(size_t size)
{
	return calloc(1, size);
}

void platform_free(void *ptr)
{
	free(ptr);
}

void platform_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
}

void platform_wake(_Atomic uint32_t *word, bool all)
{
}

int platform_random(void *buf, size_t len)
{
	memset(buf, 0x5a, len);
	return 0;
}

bool platform_log_enabled(enum log_level level, const char *subsystem)
{
	return true;
}

void platform_log(enum log_level level, const char *subsystem, const char *text)
{
	fprintf(stderr, "%s: %s\n", subsystem, text);
}

void platform_bug(const char *file, int line)
{
	fprintf(stderr, "bug at %s:%d\n", file, line);
	abort();
}

void timer_init(struct timer *timer, struct vm *vm, void (*fire)(void *ctx), void *ctx)
{
}

void timer_arm(struct timer *timer, uint64_t deadline_ns)
{
}

void timer_cancel(struct timer *timer)
{
}

void work_init(struct work *work, struct vm *vm, void (*run)(void *ctx), void *ctx)
{
}

void work_post(struct work *work)
{
}

struct vm;
void platform_vm_stopped(struct vm *vm);
void platform_vm_stopped(struct vm *vm)
{
}
