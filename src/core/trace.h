/* `--trace TOPIC,...`: topics and the one function that emits a line.
 *
 * Example: `if (trace_on(vm, TRACE_EXITS)) trace_line(vm, TRACE_EXITS, "cpu%u io %x", i, port);`
 */
#ifndef CORE_TRACE_H
#define CORE_TRACE_H

#include "core/vm.h"

enum trace_topic {
	TRACE_EXITS = 1u << 0,
	TRACE_IO = 1u << 1,
	TRACE_MMIO = 1u << 2,
	TRACE_MSR = 1u << 3,
	TRACE_IRQ = 1u << 4,
	TRACE_VIRTIO = 1u << 5,
	TRACE_EXCEPTION = 1u << 6, /* interp: every exception with rip and error code */
	TRACE_BLOCK = 1u << 7,     /* interp: every block entered */
	TRACE_INSN = 1u << 8,      /* interp: every instruction, with registers */
};

bool trace_on(const struct vm *vm, enum trace_topic topic);
__attribute__((format(printf, 3, 4))) void trace_line(struct vm *vm, enum trace_topic topic,
						      const char *format, ...);
/* Name to bit, 0 if unknown; names are the enum's in lower case without the prefix. */
uint32_t trace_topic_find(const char *name, size_t len);

#endif
