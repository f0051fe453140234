/* Trace lines: formatted here, one topic each, switched on by `--trace`.
 *
 * Example: `if (trace_on(vm, TRACE_IO)) trace_line(vm, TRACE_IO, "cpu%u out %x", i, port);`
 */
#include "core/trace.h"
#include "base/fmt.h"
#include "base/string.h"
#include <stdatomic.h>

#define LINE_SIZE 512

static const struct {
	enum trace_topic topic;
	const char *name;
} topics[] = {
	{TRACE_EXITS, "exits"},   {TRACE_IO, "io"},         {TRACE_MMIO, "mmio"},
	{TRACE_MSR, "msr"},       {TRACE_IRQ, "irq"},       {TRACE_VIRTIO, "virtio"},
	{TRACE_EXCEPTION, "exception"}, {TRACE_BLOCK, "block"}, {TRACE_INSN, "insn"},
};

bool trace_on(const struct vm *vm, enum trace_topic topic)
{
	return unlikely(atomic_load_explicit(&vm->trace, memory_order_relaxed) & topic);
}

void trace_line(struct vm *vm, enum trace_topic topic, const char *format, ...)
{
	const char *name = "trace";
	char text[LINE_SIZE];
	va_list args;

	for (size_t i = 0; i < ARRAY_SIZE(topics); i++)
		if (topics[i].topic == topic)
			name = topics[i].name;
	va_start(args, format);
	fmt_vprint(text, sizeof(text), format, args);
	va_end(args);
	/* Asked for by name, so no level hides it. */
	platform_log(LOG_INFO, name, text);
}

uint32_t trace_topic_find(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(topics); i++) {
		const char *known = topics[i].name;
		size_t at = 0;

		while (at < len && known[at] && known[at] == name[at])
			at++;
		if (at == len && len > 0 && !known[at])
			return topics[i].topic;
	}
	return 0;
}
