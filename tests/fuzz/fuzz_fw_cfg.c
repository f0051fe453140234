/* libFuzzer target for fw_cfg: firmware that selects, reads and asks for DMA at will, by ports and in memory. Whatever it does, it gets
 * bytes of the items and nothing else, nothing outside of its RAM is written, and its ROM stays as it was.
 *
 * Example:
 *     fuzz_fw_cfg -max_len=256 -runs=200000
 */
#include "../unit/fake_platform.h"
#include "board/config.h"
#include "core/vm.h"
#include "dev/misc/fw_cfg.h"
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                           \
	do {                                                                                                       \
		if (!(condition))                                                                                  \
			abort();                                                                                   \
	} while (0)

#define RAM_SIZE 0x2000u
#define ROM_SIZE 0x1000u /* right behind the RAM */
#define MMIO     0x9000000u

enum op { PORT_WRITE, PORT_READ, MMIO_WRITE, MMIO_READ, POKE, DMA, RESET, OP_COUNT };

struct input {
	const uint8_t *bytes;
	size_t len;
};

static uint64_t take(struct input *in, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes && in->len > 0; i++, in->len--)
		value |= (uint64_t)*in->bytes++ << (8 * i);
	return value;
}

/* A whole DMA request: structure at `at`, control, length, address; then its address by the port. */
static void request_dma(struct vm *vm, struct input *in)
{
	uint32_t control = (uint32_t)take(in, 1) | (uint32_t)take(in, 1) << 16, at = (uint32_t)take(in, 2);
	uint32_t words[4] = {__builtin_bswap32(control), __builtin_bswap32((uint32_t)take(in, 4)), 0, 0};

	words[2] = __builtin_bswap32(take(in, 1) & 1 ? UINT32_MAX : 0);
	words[3] = __builtin_bswap32((uint32_t)take(in, 2));
	(void)!mem_write(&vm->mem, at, words, sizeof(words));
	bus_write(&vm->pio, FW_CFG_PORT + 4, 4, 0);
	bus_write(&vm->pio, FW_CFG_PORT + 8, 4, __builtin_bswap32(at));
}

static void step(struct vm *vm, struct input *in)
{
	const unsigned size = 1u << (take(in, 1) & 3);
	const unsigned offset = (unsigned)take(in, 1) % FW_CFG_MMIO_SIZE;

	switch ((enum op)(take(in, 1) % OP_COUNT)) {
	case PORT_WRITE:
		bus_write(&vm->pio, FW_CFG_PORT + offset % FW_CFG_PORTS, size & 7 ? size & 7 : 4, take(in, 4));
		break;
	case PORT_READ:
		bus_read(&vm->pio, FW_CFG_PORT + offset % FW_CFG_PORTS, size & 7 ? size & 7 : 4);
		break;
	case MMIO_WRITE:
		bus_write(&vm->mmio, MMIO + offset, size, take(in, 8));
		break;
	case MMIO_READ:
		bus_read(&vm->mmio, MMIO + offset, size);
		break;
	case POKE: {
		uint64_t value = take(in, 8);

		(void)!mem_write(&vm->mem, take(in, 2), &value, size);
		break;
	}
	case DMA:
		request_dma(vm, in);
		break;
	case RESET:
		devices_reset(vm);
		break;
	case OP_COUNT:
		break;
	}
}

static void refresh(void *ctx)
{
	uint8_t bytes[100];

	memset(bytes, 'r', sizeof(bytes));
	CHECK(fw_cfg_refresh_file(ctx, "etc/table", bytes, sizeof(bytes)) == 0);
	CHECK(fw_cfg_refresh_file(ctx, "etc/table", bytes, sizeof(bytes) - 1) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct vm *vm = calloc(1, sizeof(*vm));
	uint8_t *ram = aligned_alloc(PAGE_SIZE, RAM_SIZE), *rom = aligned_alloc(PAGE_SIZE, ROM_SIZE), table[100];
	const struct vm_config config = {.memory = MIB(64), .cpus = 1};
	struct fw_cfg *both[2];

	CHECK(vm && ram && rom);
	fake_reset();
	vm->config = &config;
	memset(ram, 0, RAM_SIZE);
	memset(rom, 0x5a, ROM_SIZE);
	memset(table, 't', sizeof(table));
	CHECK(mem_add_slot(&vm->mem, 0, RAM_SIZE, ram, false) == 0);
	CHECK(mem_add_slot(&vm->mem, RAM_SIZE, ROM_SIZE, rom, true) == 0);
	CHECK(fw_cfg_create(vm, &both[0]) == 0 && fw_cfg_create_mmio(vm, MMIO, &both[1]) == 0);
	for (unsigned i = 0; i < 2; i++) {
		CHECK(fw_cfg_add_file(both[i], "etc/table", table, sizeof(table)) == 0);
		CHECK(fw_cfg_add_file(both[i], "bootorder", table, 1) == 0);
		fw_cfg_on_select(both[i], refresh, both[i]);
	}
	while (in.len > 0)
		step(vm, &in);
	for (unsigned i = 0; i < ROM_SIZE; i++)
		CHECK(rom[i] == 0x5a);
	while (vm->device_count > 0) {
		struct device *dev = vm->devices[--vm->device_count];

		dev->ops->destroy(dev);
	}
	mem_destroy(&vm->mem);
	CHECK(fake_alloc_live() == 0);
	free(ram);
	free(rom);
	free(vm);
	return 0;
}
