/* The figures at the end of a run; see stats.h. */
#include "host/linux/stats.h"

#include "core/vm.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static bool same_name(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* Those of several vcpus are added up. */
static void add(struct stats_sink *sink, const struct stat *stat)
{
	struct stats *stats = (struct stats *)sink;
	struct stat *figure = stats->figures;

	lock_take(&stats->lock);
	while (figure < stats->figures + stats->count &&
	       !(same_name(figure->group, stat->group) && same_name(figure->name, stat->name)))
		figure++;
	if (figure < stats->figures + stats->count) {
		figure->value += stat->value;
		figure->part_value += stat->part_value;
	} else if (stats->count < STATS_MAX) {
		*figure = *stat;
		stats->count++;
	}
	lock_release(&stats->lock);
}

void stats_collect(struct stats *stats, struct vm *vm)
{
	*stats = (struct stats){.sink.add = add};
	resident_open(&stats->resident);
	vm->stats = &stats->sink;
}

void stats_begin(struct stats *stats, const struct vm *vm, uint64_t start_ns)
{
	stats->start_ns = start_ns;
	stats->run_ns = platform_clock_ns();
}

void stats_end(struct stats *stats, const struct vm *vm)
{
	devices_stats(vm, &stats->sink);
	(void)resident_measure(&stats->resident, &vm->mem);
	resident_close(&stats->resident);
}

/* ---- the engine's figures ---- */

static void print_figure(const struct stat *stat, uint64_t total, FILE *out)
{
	fprintf(out, "%s%s%s: ", stat->group ? stat->group : "", stat->group ? " " : "", stat->name);
	if (stat->unit == STAT_NS)
		fprintf(out, "%.1f ms (%.1f%%)", (double)stat->value / 1e6,
			100.0 * (double)stat->value / (double)(total ? total : 1));
	else
		fprintf(out, "%llu", (unsigned long long)stat->value);
	if (stat->part && stat->part_value)
		fprintf(out, " (%s %llu)", stat->part, (unsigned long long)stat->part_value);
	fputc('\n', out);
}

/* figures: of one group; used up. (The C library's qsort() asks the kernel how much memory there is, which the sandbox does
 * not allow.) */
static void print_group(struct stat *figures, unsigned count, FILE *out)
{
	struct stat others = figures[0];
	uint64_t total = 0;

	others.name = "others";
	others.value = others.part_value = 0;
	for (unsigned i = 0; i < count; i++)
		total += figures[i].value;
	for (unsigned shown = 0; shown < STATS_TOP; shown++) {
		struct stat *largest = figures;

		for (unsigned i = 1; i < count; i++)
			if (figures[i].value > largest->value)
				largest = &figures[i];
		if (!largest->value)
			return;
		print_figure(largest, total, out);
		largest->value = largest->part_value = 0;
	}
	for (unsigned i = 0; i < count; i++) {
		others.value += figures[i].value;
		others.part_value += figures[i].part_value;
	}
	if (others.value)
		print_figure(&others, total, out);
}

static void print_figures(struct stats *stats, FILE *out)
{
	struct stat *group = malloc(sizeof(stats->figures));

	for (unsigned i = 0; i < stats->count; i++) {
		const char *name = stats->figures[i].group;
		unsigned count = 0;

		if (!name) {
			print_figure(&stats->figures[i], 0, out);
			continue;
		}
		/* A group is printed whole where its first figure stands. */
		for (unsigned j = 0; group && j < stats->count; j++) {
			if (!same_name(stats->figures[j].group, name))
				continue;
			if (j < i)
				break;
			group[count++] = stats->figures[j];
		}
		if (count)
			print_group(group, count, out);
	}
	free(group);
}

static void print_times(const struct stats *stats, const struct vm *vm, FILE *out)
{
	uint64_t first = UINT64_MAX, serial = atomic_load(&vm->first_serial_ns);

	for (unsigned i = 0; i < vm->vcpu_count; i++)
		if (vm->vcpus[i]->stats.first_instruction_ns && vm->vcpus[i]->stats.first_instruction_ns < first)
			first = vm->vcpus[i]->stats.first_instruction_ns;
	if (first != UINT64_MAX)
		fprintf(out, "time to first instruction: %.2f ms\n", (double)(first - stats->start_ns) / 1e6);
	if (serial)
		fprintf(out, "time to first serial byte: %.2f ms\n", (double)(serial - stats->start_ns) / 1e6);
}

static void print_exits(const struct vm *vm, FILE *out)
{
	uint64_t total = 0;

	for (unsigned kind = 0; kind < VM_EXIT_KIND_COUNT; kind++) {
		uint64_t count = 0, writes = 0;

		for (unsigned i = 0; i < vm->vcpu_count; i++) {
			count += vm->vcpus[i]->stats.exits[kind];
			writes += vm->vcpus[i]->stats.writes[kind];
		}
		if (count)
			fprintf(out, "exits %s: %llu", vm_exit_name(kind), (unsigned long long)count);
		if (writes)
			fprintf(out, " (writes %llu)", (unsigned long long)writes);
		if (count)
			fputc('\n', out);
		total += count;
	}
	fprintf(out, "exits: %llu\n", (unsigned long long)total);
}

void stats_now(struct stats *stats, const struct vm *vm, FILE *out)
{
	stats->sink.add = add;
	stats->count = 0;
	fprintf(out, "engine: %s\nprocessors: %u\nrun time: %.3f s\n", vm->engine->name, vm->vcpu_count,
		(double)(platform_clock_ns() - stats->run_ns) / 1e9);
	print_exits(vm, out);
	for (unsigned i = 0; vm->engine->report && i < vm->vcpu_count; i++)
		vm->engine->report(vm->vcpus[i], &stats->sink);
	devices_stats(vm, &stats->sink);
	print_figures(stats, out);
}

void stats_print(struct stats *stats, struct vm *vm, FILE *out)
{
	const double seconds = (double)(platform_clock_ns() - stats->run_ns) / 1e9;
	uint64_t instructions = 0;

	for (unsigned i = 0; i < vm->vcpu_count; i++)
		instructions += vm->vcpus[i]->stats.instructions;
	fprintf(out, "engine: %s\n", vm->engine->name);
	fprintf(out, "run time: %.3f s\n", seconds);
	if (vm->engine->instructions) {
		fprintf(out, "guest instructions: %llu\n", (unsigned long long)instructions);
		fprintf(out, "MIPS: %.1f\n", (double)instructions / 1e6 / (seconds > 0 ? seconds : 1));
	}
	print_exits(vm, out);
	print_figures(stats, out);
	if (stats->resident.known) {
		fprintf(out, "resident memory: %llu KiB\n",
			(unsigned long long)(stats->resident.guest_kib + stats->resident.other_kib));
		fprintf(out, "resident beside guest memory: %llu KiB\n", (unsigned long long)stats->resident.other_kib);
	}
	print_times(stats, vm, out);
}
