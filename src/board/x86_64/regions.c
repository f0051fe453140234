/* Memory behind the RAM that the guest is told of; see parts.h. Each range starts at a whole GiB, which kernels that map memory in
 * large pieces like, and PCI's windows come behind them.
 *
 * Example:
 *     parts_place_regions(config, inputs, GIB(4), &regions);
 *     count = parts_add_regions(&regions, ram, count, max);
 */
#include "board/x86_64/parts.h"

#include "base/errno.h"
#include "base/fmt.h"
#include "dev/virtio/memory.h"
#include "dev/virtio/virtio.h"

#define ADDRESS_END (UINT64_C(1) << 40) /* physical addresses have 40 bits, arch/x86_64/cpuid.c */

static gpa_t round_up(gpa_t gpa)
{
	return (gpa + GIB(1) - 1) & ~(GIB(1) - 1);
}

void parts_place_regions(const struct vm_config *config, const struct board_inputs *inputs, gpa_t ram_end, struct parts_regions *regions)
{
	*regions = (struct parts_regions){.end = ram_end};
	for (unsigned i = 0; i < CONFIG_MAX_PMEMS; i++) {
		const uint64_t size = inputs->pmems[i].size;

		/* Nothing is so large; and what is added up stays a number. */
		if (!inputs->pmems[i].backend || regions->end > ADDRESS_END)
			continue;
		regions->pmems[regions->pmem_count++] = (struct board_ram){.gpa = round_up(regions->end),
									   .size = size,
									   .read_only = inputs->pmems[i].read_only,
									   .apart = true,
									   .is_pmem = true,
									   .pmem = i};
		regions->end = round_up(regions->end) + (size < ADDRESS_END ? size : ADDRESS_END);
	}
	if (config->memory_max > config->memory && regions->end <= ADDRESS_END) {
		const uint64_t size = (config->memory_max - config->memory) & ~(VIRTIO_MEMORY_BLOCK - 1);

		regions->pluggable = (struct board_ram){.gpa = round_up(regions->end), .size = size, .apart = true};
		regions->end = round_up(regions->end) + (size < ADDRESS_END ? size : ADDRESS_END);
	}
}

unsigned parts_add_regions(const struct parts_regions *regions, struct board_ram *ram, unsigned count, unsigned max)
{
	for (unsigned i = 0; i < regions->pmem_count && count < max; i++)
		ram[count++] = regions->pmems[i];
	if (regions->pluggable.size && count < max)
		ram[count++] = regions->pluggable;
	return count;
}

int parts_check_regions(const struct parts_regions *regions, char *why, size_t why_size)
{
	if (regions->end <= ADDRESS_END)
		return 0;
	fmt_print(why, why_size, "memory that can be plugged and files as memory end behind 1 TiB; make --memory or --pmem smaller");
	return -EINVAL;
}

int parts_create_regions(struct vm *vm, const struct board_inputs *inputs, const struct parts_regions *regions,
			 int (*add)(struct vm *vm, void *ctx, struct virtio_device *dev, const char *id), void *ctx)
{
	struct virtio_device *dev;
	char id[16];
	int r = 0;

	for (unsigned i = 0; i < regions->pmem_count && !r; i++) {
		const struct board_ram *ram = &regions->pmems[i];

		fmt_print(id, sizeof(id), "pmem%u", i);
		r = virtio_pmem_create(vm, inputs->pmems[ram->pmem].backend, ram->gpa, ram->size, &dev);
		if (!r)
			r = add(vm, ctx, dev, id);
	}
	if (r || !regions->pluggable.size)
		return r;
	r = virtio_memory_create(vm, regions->pluggable.gpa, regions->pluggable.size, &dev);
	if (!r)
		r = add(vm, ctx, dev, "memory");
	if (!r)
		vm->pluggable = dev;
	return r;
}
