/* What a translator's vcpu did, for `--stats`.
 *
 * Counters are always kept where they cost nothing; clocks run and interpreted instructions are named only if somebody asks
 * (vm->stats). The clock is the TSC: read at each change of what the thread does.
 */
#include "core/platform.h"
#include "core/stats.h"
#include "core/vm.h"
#include "engine/dbt/dbt.h"
#include "engine/dbt/profile.h"

static const char *const exit_names[DBT_EXIT_COUNT] = {
	[DBT_EXIT_LOOKUP] = "look-up", [DBT_EXIT_LINK] = "link",   [DBT_EXIT_SLOT] = "slot", [DBT_EXIT_INDIRECT] = "indirect branch",
	[DBT_EXIT_STEP] = "interpreter", [DBT_EXIT_KICK] = "kick", [DBT_EXIT_X87] = "x87", [DBT_EXIT_HELP] = "helper", [DBT_EXIT_ABSENT] = "absent page",
};

static const char *const time_names[DBT_TIME_COUNT] = {
	[DBT_TIME_TRANSLATED] = "translated code", [DBT_TIME_TRANSLATION] = "translation", [DBT_TIME_FAULTS] = "fault handlers",
	[DBT_TIME_C] = "finding and linking blocks", [DBT_TIME_INTERPRETER] = "interpreter",
};

const char *const dbt_fault_names[DBT_FAULT_COUNT] = {
	[DBT_FAULT_FILLED] = "entry filled", [DBT_FAULT_WRITTEN] = "first write", [DBT_FAULT_ADDEND] = "another page's addend",
	[DBT_FAULT_CROSSES] = "crosses pages", [DBT_FAULT_DEVICE] = "device", [DBT_FAULT_CODE] = "write to code or ROM",
	[DBT_FAULT_GUEST] = "page fault of the guest", [DBT_FAULT_WRAPS] = "address wraps", [DBT_FAULT_ALIGNED] = "store not aligned",
	[DBT_FAULT_GENERAL] = "general protection", [DBT_FAULT_ARITHMETIC] = "arithmetic", [DBT_FAULT_OTHER] = "other",
};

static uint64_t tsc(void)
{
	return __builtin_ia32_rdtsc();
}

void dbt_stats_begin(struct dbt *d)
{
	d->measuring = d->cpu.vm->stats != NULL;
	d->clock = (struct dbt_clock){.began_ns = platform_clock_ns(), .began = tsc()};
	d->clock.at = d->clock.began;
}

/* The clock stands while nobody looks: from the vcpu's next change on it goes. */
void dbt_measure(struct vcpu *vcpu, bool on)
{
	struct dbt *d = vcpu->engine_vcpu;

	if (vcpu->vm->stats || d->profile)
		return;
	if (on && !d->measuring)
		__atomic_store_n(&d->clock.at, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&d->measuring, on, __ATOMIC_RELEASE);
}

enum dbt_time dbt_time_change(struct dbt *d, enum dbt_time to)
{
	struct dbt_clock *clock = &d->clock;
	enum dbt_time from = clock->now;
	uint64_t at = tsc();

	if (likely(clock->at))
		clock->ticks[from] += at - clock->at;
	clock->at = at;
	clock->now = to;
	return from;
}

void dbt_stats_step(struct dbt *d)
{
	struct cpu *cpu = &d->cpu;
	unsigned offset = (unsigned)(cpu->s.rip & ~PAGE_MASK), op = X86_INVALID;
	bool faulted = d->stats.fault_steps != d->stats.faults_seen;
	struct x86_insn insn;
	uint8_t *page;

	d->stats.faults_seen = d->stats.fault_steps;
	(void)cpu_code_page(cpu, cpu->s.rip, &page);
	if (page && x86_decode(&insn, page + offset, PAGE_SIZE - offset, cpu->mode) > 0)
		op = insn.op;
	dbt_profile_step(d, op);
	d->stats.steps[op]++;
	d->stats.step_faults[op] += faulted;
}

/* Of the VM: told once. */
static void report_ram(struct dbt *d, struct stats_sink *sink)
{
	struct dbt_ram_counts ram = dbt_ram_counts(d->shared->ram);

	if (d->cpu.vcpu->index)
		return;
	stats_add(sink, NULL, "parts of RAM first read", ram.read_parts);
	stats_add(sink, NULL, "parts of RAM first written", ram.write_parts);
	stats_add(sink, NULL, "large pages of RAM mapped", ram.regions);
	stats_add(sink, NULL, "pages of RAM protected as code", ram.protections);
}

static void report_times(struct dbt *d, struct stats_sink *sink)
{
	const struct dbt_clock *clock = &d->clock;
	uint64_t now = tsc(), at = __atomic_load_n(&clock->at, __ATOMIC_RELAXED);
	double ns_a_tick = (double)(platform_clock_ns() - clock->began_ns) / (double)(now - clock->began + 1);

	for (unsigned i = 0; i < DBT_TIME_COUNT; i++) {
		uint64_t ticks = clock->ticks[i];

		/* What it is at now, in a run that goes on. */
		if (i == clock->now && d->measuring && at && at < now)
			ticks += now - at;
		if (time_names[i])
			sink->add(sink, &(struct stat){.group = "time in", .name = time_names[i], .unit = STAT_NS,
						       .value = (uint64_t)((double)ticks * ns_a_tick)});
	}
}

void dbt_report(struct vcpu *vcpu, struct stats_sink *sink)
{
	struct dbt *d = vcpu->engine_vcpu;
	const struct dbt_stats *stats = &d->stats;
	const struct dbt_mmu *mmu = &d->mmu;
	const struct {
		const char *name;
		uint64_t value;
	} counters[] = {
		{"translated blocks", stats->translations},
		{"translated instructions", stats->translated_insns},
		{"translated guest bytes", stats->guest_bytes},
		{"translated host bytes", stats->host_bytes},
		{"blocks from the file of an earlier run", stats->loaded},
		{"blocks from another address", stats->moved},
		{"blocks invalidated", stats->invalidated},
		{"blocks resumed", stats->resumed},
		{"cache flushes", stats->cache_flushes},
		{"faults", stats->faults},
		{"faults interpreted", stats->fault_steps},
		{"kicks", stats->fault_kicks},
		{"blocks checked", stats->checked},
		{"blocks not compared", stats->unchecked},
		{"table fills", mmu->fills},
		{"table entries filled", mmu->filled_entries},
		{"table chunks committed", mmu->commits},
		{"address space switches", mmu->switches},
		{"table flushes", mmu->flushes},
		{"table page flushes", mmu->page_flushes},
		{"interpreted instructions", d->cpu.instructions},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(counters); i++)
		stats_add(sink, NULL, counters[i].name, counters[i].value);
	report_ram(d, sink);
	report_times(d, sink);
	for (unsigned i = 0; i < DBT_FAULT_COUNT; i++)
		sink->add(sink, &(struct stat){.group = "fault", .name = dbt_fault_names[i], .value = stats->fault_causes[i],
					       .part = "interpreted", .part_value = stats->interpreted_causes[i]});
	for (unsigned i = 0; i < DBT_EXIT_COUNT; i++)
		sink->add(sink, &(struct stat){.group = "left for", .name = exit_names[i], .value = stats->exits[i],
					       .part = "entry filled", .part_value = i == DBT_EXIT_ABSENT ? stats->absent_filled : 0});
	for (unsigned i = 0; i < X86_OP_COUNT; i++) {
		if (stats->steps[i])
			sink->add(sink, &(struct stat){.group = "interpreted", .name = i == X86_INVALID ? "(not decoded)" : x86_op_name(i), .value = stats->steps[i],
						       .part = "after faults", .part_value = stats->step_faults[i]});
	}
	cpu_report(&d->cpu, sink);
	for (unsigned i = 0; i < X86_OP_COUNT; i++) {
		if (stats->helped[i])
			stats_add(sink, "helped", x86_op_name(i), stats->helped[i]);
	}
}
