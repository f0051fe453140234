/* The writer of device trees. With an argument: writes the tree of fdt.dts to standard output, for fdt.sh. */
#include "base/errno.h"
#include "loader/fdt.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static int build(uint8_t *buf, size_t size, size_t *len)
{
	struct fdt fdt;

	fdt_begin(&fdt, buf, size);
	fdt_u32(&fdt, "#address-cells", 2);
	fdt_u32(&fdt, "#size-cells", 2);
	fdt_bytes(&fdt, "compatible", "linux,dummy-virt\0second", sizeof("linux,dummy-virt\0second"));
	fdt_u32(&fdt, "size-cells", 1);
	fdt_u32(&fdt, "interrupt-parent", 0x8001);
	fdt_node_at(&fdt, "memory", 0x40000000);
	fdt_string(&fdt, "device_type", "memory");
	fdt_reg(&fdt, 0x40000000, 0x108000000);
	fdt_end_node(&fdt);
	fdt_node(&fdt, "empty");
	fdt_end_node(&fdt);
	fdt_node(&fdt, "chosen");
	fdt_string(&fdt, "bootargs", "");
	fdt_u64(&fdt, "linux,initrd-start", 0x148000000);
	fdt_empty(&fdt, "dma-coherent");
	fdt_bytes(&fdt, "odd", "\1\2\3\4\5", 5);
	fdt_node(&fdt, "inner");
	fdt_u32(&fdt, "reg", 7);
	fdt_end_node(&fdt);
	fdt_end_node(&fdt);
	return fdt_finish(&fdt, len);
}

/* Wherever the buffer ends, it is said and nothing is written behind it. */
static void overflows(void **state)
{
	uint8_t buf[1024];
	size_t whole, len;

	assert_int_equal(build(buf, sizeof(buf), &whole), 0);
	for (size_t size = 0; size < whole; size++) {
		memset(buf, 0xaa, sizeof(buf));
		assert_int_equal(build(buf, size, &len), -ENOSPC);
		for (size_t i = size; i < sizeof(buf); i++)
			assert_int_equal(buf[i], 0xaa);
	}
	assert_int_equal(build(buf, whole, &len), 0);
	assert_int_equal(len, whole);
}

static void too_many_names(void **state)
{
	static uint8_t buf[65536];
	struct fdt fdt;
	char name[32];
	size_t len;

	fdt_begin(&fdt, buf, sizeof(buf));
	for (unsigned i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "property-%u", i);
		fdt_empty(&fdt, name);
	}
	assert_int_equal(fdt_finish(&fdt, &len), -ENOSPC);
}

static void open_nodes(void **state)
{
	uint8_t buf[256];
	struct fdt fdt;
	size_t len;

	fdt_begin(&fdt, buf, sizeof(buf));
	fdt_node(&fdt, "a");
	assert_int_equal(fdt_finish(&fdt, &len), -EINVAL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(overflows),
		cmocka_unit_test(too_many_names),
		cmocka_unit_test(open_nodes),
	};
	uint8_t buf[1024];
	size_t len;

	if (argc == 1)
		return cmocka_run_group_tests(tests, NULL, NULL);
	return build(buf, sizeof(buf), &len) || fwrite(buf, 1, len, stdout) != len;
}
