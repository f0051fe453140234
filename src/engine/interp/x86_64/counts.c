/* What a vcpu was interrupted by, for `--stats` and `ruse top`: events that were delivered to the guest, and requests of others that it
 * had to look at. Of both engines that interpret.
 */
#include "core/stats.h"
#include "engine/interp/x86_64/cpu.h"

static const char *const exception_names[32] = {
	[X86_EXC_DE] = "#DE", [X86_EXC_DB] = "#DB", [X86_EXC_BP] = "#BP", [X86_EXC_OF] = "#OF", [X86_EXC_BR] = "#BR",
	[X86_EXC_UD] = "#UD", [X86_EXC_NM] = "#NM", [X86_EXC_DF] = "#DF", [X86_EXC_TS] = "#TS", [X86_EXC_NP] = "#NP",
	[X86_EXC_SS] = "#SS", [X86_EXC_GP] = "#GP", [X86_EXC_PF] = "#PF", [X86_EXC_MF] = "#MF", [X86_EXC_AC] = "#AC",
	[X86_EXC_MC] = "#MC", [X86_EXC_XM] = "#XM",
};

void cpu_count_delivery(struct cpu *cpu, const struct cpu_event *event)
{
	struct cpu_counts *counts = &cpu->counts;

	switch (event->kind) {
	case EVENT_EXTERNAL:
		counts->external++;
		break;
	case EVENT_NMI:
		counts->nmi++;
		break;
	case EVENT_SOFTWARE:
		counts->software++;
		break;
	default:
		counts->exceptions[event->vector % ARRAY_SIZE(counts->exceptions)]++;
		break;
	}
}

static void add(struct stats_sink *sink, const char *group, const char *name, uint64_t value)
{
	if (value)
		stats_add(sink, group, name, value);
}

void cpu_report(const struct cpu *cpu, struct stats_sink *sink)
{
	const struct cpu_counts *counts = &cpu->counts;

	for (unsigned i = 0; i < ARRAY_SIZE(exception_names); i++)
		add(sink, "delivered", exception_names[i] ? exception_names[i] : "other exception", counts->exceptions[i]);
	add(sink, "delivered", "interrupt", counts->external);
	add(sink, "delivered", "NMI", counts->nmi);
	add(sink, "delivered", "INT instruction", counts->software);
	if (counts->irq)
		sink->add(sink, &(struct stat){.group = "request", .name = "interrupt", .value = counts->irq, .part = "held back until STI",
					       .part_value = counts->held_back});
	add(sink, "request", "NMI", counts->nmi_requests);
	add(sink, "request", "memory or code changed", counts->flush);
	add(sink, "request", "timer", counts->timer);
	add(sink, "request", "stop, pause, reset, INIT, SIPI", counts->loop);
}
