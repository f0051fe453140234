/* The figures at the end of a run; see stats.h. */
#include "host/linux/stats.h"

#include "core/vm.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define PIECE_PAGES 4096

void stats_begin(struct stats *stats, const struct vm *vm, uint64_t start_ns)
{
	*stats = (struct stats){.start_ns = start_ns, .run_ns = platform_clock_ns()};
}

/* KiB of guest memory that the host has given pages for. */
static uint64_t guest_resident_kib(struct vm *vm)
{
	static const size_t step = (size_t)PIECE_PAGES * PAGE_SIZE;
	unsigned char present[PIECE_PAGES];
	uint64_t pages = 0;

	for (unsigned i = 0; i < vm->mem.count; i++) {
		const struct mem_slot *slot = &vm->mem.slots[i];

		for (uint64_t at = 0; at < slot->size; at += step) {
			size_t len = slot->size - at < step ? (size_t)(slot->size - at) : step;

			if (mincore(slot->hva + at, len, present) < 0)
				continue;
			for (size_t page = 0; page < len / PAGE_SIZE; page++)
				pages += present[page] & 1;
		}
	}
	return pages * (PAGE_SIZE / 1024);
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
		uint64_t count = 0;

		for (unsigned i = 0; i < vm->vcpu_count; i++)
			count += vm->vcpus[i]->stats.exits[kind];
		if (count)
			fprintf(out, "exits %s: %llu\n", vm_exit_name(kind), (unsigned long long)count);
		total += count;
	}
	fprintf(out, "exits: %llu\n", (unsigned long long)total);
}

void stats_print(const struct stats *stats, struct vm *vm, FILE *out)
{
	const double seconds = (double)(platform_clock_ns() - stats->run_ns) / 1e9;
	uint64_t instructions = 0, guest_kib = guest_resident_kib(vm);
	struct rusage usage = {0};

	for (unsigned i = 0; i < vm->vcpu_count; i++)
		instructions += vm->vcpus[i]->stats.instructions;
	fprintf(out, "engine: %s\n", vm->engine->name);
	fprintf(out, "run time: %.3f s\n", seconds);
	if (vm->engine->instructions) {
		fprintf(out, "guest instructions: %llu\n", (unsigned long long)instructions);
		fprintf(out, "MIPS: %.1f\n", (double)instructions / 1e6 / (seconds > 0 ? seconds : 1));
	}
	print_exits(vm, out);
	if (getrusage(RUSAGE_SELF, &usage) == 0) {
		fprintf(out, "resident memory: %ld KiB\n", usage.ru_maxrss);
		fprintf(out, "resident beside guest memory: %lld KiB\n",
			(long long)usage.ru_maxrss - (long long)guest_kib);
	}
	print_times(stats, vm, out);
}
