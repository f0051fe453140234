/* libFuzzer target for kernel images of all formats, and both architectures: whatever the bytes are, they are planned and loaded without a
 * byte read behind the file or written outside of guest memory, and a refusal has its sentence.
 *
 * Example:
 *     fuzz_loader -max_len=1024 -runs=200000
 *
 * The first byte chooses what is stamped over the rest, so that the fuzzer need not find magic numbers and checksums.
 */
#include "loader/arm64.h"
#include "loader/loader.h"

#include "arch/x86_64/state.h"
#include "core/platform.h"
#include "core/vm.h"
#include "mem/mem.h"
#include <stdlib.h>
#include <string.h>

#define RAM_SIZE MIB(4)

#define RAM_BASE_ARM64 GIB(1)
#define RAM_SIZE_ARM64 MIB(8)

#define CHECK(condition)                                                                                           \
	do {                                                                                                       \
		if (!(condition))                                                                                  \
			abort();                                                                                   \
	} while (0)

/* What of the platform the loader's rooms stand on. */
void *platform_alloc(size_t size)
{
	return calloc(1, size);
}

int platform_discard(void *base, size_t len)
{
	return -1;
}

void platform_free(void *ptr)
{
	free(ptr);
}

static int read_bytes(const struct image *image, uint64_t offset, void *buf, size_t len)
{
	CHECK(offset <= image->size && len <= image->size - offset);
	memcpy(buf, (const uint8_t *)image->ctx + offset, len);
	return 0;
}

static void stamp(uint8_t *file, size_t size, size_t at, const void *bytes, size_t len)
{
	if (at <= size && len <= size - at)
		memcpy(file + at, bytes, len);
}

static void stamp_format(uint8_t *file, size_t size, unsigned choice)
{
	static const uint8_t elf64[] = {2, 0, 62, 0}, elf32[] = {2, 0, 3, 0};
	uint32_t header[3] = {0x1badb002u};

	switch (choice % 6) {
	case 1:
		stamp(file, size, 0x1fe, "\x55\xaa", 2);
		stamp(file, size, 0x202, "HdrS\x0f\x02", 6);
		break;
	case 2:
		stamp(file, size, 0, "\177ELF\2\1\1", 7);
		stamp(file, size, 16, elf64, sizeof(elf64));
		stamp(file, size, 54, "\x38", 2);
		break;
	case 3:
		stamp(file, size, 0, "\177ELF\1\1\1", 7);
		stamp(file, size, 16, elf32, sizeof(elf32));
		stamp(file, size, 42, "\x20", 2);
		break;
	case 4:
	case 5:
		/* Demands and load addresses as the fuzzer has it; the sum is right. */
		if (size >= 0x60) {
			memcpy(&header[1], file + 0x44, 4);
			header[1] &= 0x10007;
			header[2] = -(header[0] + header[1]);
			stamp(file, size, 0x40, header, sizeof(header));
		}
		if (choice % 6 == 5)
			stamp_format(file, size, 3);
		break;
	default:
		break;
	}
}

/* AArch64: a header of the Image, of a zboot, or of gzip, whose first block is stored so that the fuzzer gets behind it. */
static void stamp_arm64(uint8_t *file, size_t size, unsigned choice)
{
	static const uint8_t gzip[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0, 0x40, 0, 0xbf, 0xff};

	switch (choice % 4) {
	case 0:
		stamp(file, size, 56, "ARM\x64", 4);
		break;
	case 1:
		stamp(file, size, 4, "zimg", 4);
		stamp(file, size, 24, "gzip", 4);
		break;
	case 2:
		stamp(file, size, 0, gzip, sizeof(gzip));
		stamp(file, size, sizeof(gzip) + 8, "\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0", 16);
		stamp(file, size, sizeof(gzip) + 56, "ARM\x64", 4);
		break;
	default:
		stamp(file, size, 0, gzip, 10);
		break;
	}
}

static void load_arm64(const struct image *kernel, const struct image *initrd)
{
	const struct arm64_input input = {.kernel = kernel, .initrd = initrd, .ram = RAM_BASE_ARM64, .ram_size = RAM_SIZE_ARM64};
	static uint8_t *ram;
	struct arm64_plan plan;
	struct mem mem = {0};
	char why[300] = "";

	if (!ram)
		ram = aligned_alloc(PAGE_SIZE, RAM_SIZE_ARM64);
	CHECK(mem_add_slot(&mem, RAM_BASE_ARM64, RAM_SIZE_ARM64, ram, false) == 0);
	if (arm64_plan(&input, &plan, why, sizeof(why)) < 0) {
		CHECK(why[0] && !strchr(why, '\n'));
	} else {
		CHECK(plan.entry >= RAM_BASE_ARM64 && plan.fdt + ARM64_FDT_SIZE <= RAM_BASE_ARM64 + RAM_SIZE_ARM64);
		if (arm64_load(&input, &plan, &mem, why, sizeof(why)) < 0)
			CHECK(plan.format != ARM64_IMAGE && why[0]);
	}
	mem_destroy(&mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const bool is_arm64 = size && data[0] & 0x80;
	uint8_t *file = malloc(size ? size : 1); /* of exactly this size, so that ASan sees its end */

	if (size) {
		size--;
		memcpy(file, data + 1, size);
		file = realloc(file, size ? size : 1);
		if (is_arm64)
			stamp_arm64(file, size, data[0]);
		else
			stamp_format(file, size, data[0]);
	}
	static const uint8_t initrd_bytes[100] = {1};
	const struct image kernel = {.name = "kernel", .size = size, .read = read_bytes, .ctx = file};
	const struct image initrd = {
		.name = "initrd", .size = sizeof(initrd_bytes), .read = read_bytes, .ctx = (void *)initrd_bytes};
	const struct loader_input input = {
		.kernel = &kernel,
		.initrd = size & 1 ? &initrd : NULL,
		.cmdline = "a=b",
		.map = {{0, 0x9fc00, LOADER_RAM},
			{0x9fc00, MIB(1) - 0x9fc00, LOADER_RESERVED},
			{MIB(1), RAM_SIZE - MIB(1), LOADER_RAM}},
		.map_count = 3,
		.rsdp = 0xe0000,
	};
	if (is_arm64) {
		load_arm64(&kernel, input.initrd);
		free(file);
		return 0;
	}
	static uint8_t *ram;
	struct loader_plan plan;
	struct x86_state boot;
	struct mem mem = {0};
	char why[300] = "";

	if (!ram)
		ram = aligned_alloc(PAGE_SIZE, RAM_SIZE);
	CHECK(mem_add_slot(&mem, 0, RAM_SIZE, ram, false) == 0);
	if (loader_plan(&input, &plan, why, sizeof(why)) < 0) {
		CHECK(why[0] && !strchr(why, '\n'));
	} else {
		/* What was planned fits: loading can't fail, and the entry is inside of RAM. */
		CHECK(loader_load(&input, &plan, &mem, &boot, why, sizeof(why)) == 0);
		CHECK(boot.rip < RAM_SIZE);
	}
	mem_destroy(&mem);
	free(file);
	return 0;
}
