/* Which firmware a disk wants, by what is on it, and hostile tables.
 *
 * Example: `meson test -C build boot_disk`
 */
#include "host/linux/boot_disk.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const uint8_t efi_system[16] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};

static struct disk {
	struct block_backend backend;
	uint8_t bytes[128 * 512];
	bool broken;
} disk;

static void submit(struct block_backend *backend, struct block_request *request)
{
	assert_int_equal(request->op, BLOCK_READ);
	assert_int_equal(request->offset % 512 + request->length % 512, 0);
	assert_true(request->offset <= sizeof(disk.bytes) && request->length <= sizeof(disk.bytes) - request->offset);
	memcpy(request->bufs[0].base, disk.bytes + request->offset, request->length);
	request->done(request, disk.broken ? -EIO : 0);
}

static const struct block_backend_ops ops = {.submit = submit};

static int setup(void **state)
{
	memset(&disk, 0, sizeof(disk));
	disk.backend = (struct block_backend){.ops = &ops, .size = sizeof(disk.bytes)};
	return 0;
}

static void put_mbr(bool code, uint8_t type)
{
	disk.bytes[0] = code ? 0xeb : 0;
	disk.bytes[446 + 16 + 4] = type;
	disk.bytes[510] = 0x55;
	disk.bytes[511] = 0xaa;
}

static void put64(size_t at, uint64_t value)
{
	memcpy(disk.bytes + at, &value, sizeof(value));
}

static void put_gpt(uint64_t first, uint32_t count, uint32_t size)
{
	memcpy(disk.bytes + 512, "EFI PART", 8);
	put64(512 + 72, first);
	put64(512 + 80, count | (uint64_t)size << 32);
}

static void expect(const char *firmware)
{
	const char *got = boot_disk_firmware(&disk.backend);

	if (firmware)
		assert_string_equal(got, firmware);
	else
		assert_null(got);
}

static void legacy_partitions(void **state)
{
	expect(NULL);
	put_mbr(false, 0x83);
	expect(NULL);
	put_mbr(false, 0xef);
	expect("ovmf");
	put_mbr(true, 0xef);
	expect("seabios");
	disk.bytes[511] = 0;
	expect(NULL);
}

static void gpt_partitions(void **state)
{
	put_mbr(false, 0xee);
	put_gpt(2, 128, 128);
	expect(NULL);
	memcpy(disk.bytes + 2 * 512 + 127 * 128, efi_system, 16);
	expect("ovmf");
	put_gpt(2, 124, 128); /* of which that is none */
	expect(NULL);
	put_gpt(2, 128, 128);
	put_mbr(true, 0xee);
	expect("seabios");
}

static void hostile_tables(void **state)
{
	memcpy(disk.bytes + 2 * 512, efi_system, 16);
	put_gpt(2, 0xffffffff, 128);
	expect("ovmf");
	put_gpt(2, 0, 128);
	expect(NULL);
	put_gpt(2, 4, 0);
	expect(NULL);
	put_gpt(2, 4, 0xffffffff);
	expect(NULL);
	put_gpt(UINT64_MAX, 4, 128);
	expect(NULL);
	put_gpt(UINT64_MAX / 512, 4, 128);
	expect(NULL);
	put_gpt(127, 128, 128);
	expect(NULL);
	put_gpt(2, 4, 128);
	expect("ovmf");
	disk.broken = true;
	expect(NULL);
	disk.broken = false;
	disk.backend.size = 512;
	expect(NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(legacy_partitions, setup),
		cmocka_unit_test_setup(gpt_partitions, setup),
		cmocka_unit_test_setup(hostile_tables, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
