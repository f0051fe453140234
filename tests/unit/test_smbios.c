/* SMBIOS as a reader of DSP0134 takes it apart: the entry point's sums, each structure's length and strings, and what it says.
 *
 * Example: `meson test -C build smbios`
 */
#include "board/x86_64/smbios.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static unsigned get(const uint8_t *at, unsigned bytes)
{
	unsigned value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value |= (unsigned)at[i] << (8 * i);
	return value;
}

static unsigned sum(const uint8_t *at, size_t len)
{
	unsigned total = 0;

	while (len--)
		total += *at++;
	return total & 0xff;
}

/* Counts structures by type, and calls for each; the end is where the anchor says. */
static unsigned walk(const struct smbios *smbios, unsigned by_type[static 256])
{
	const uint8_t *at = smbios->tables, *end = at + smbios->len;
	unsigned count = 0;

	while (at < end) {
		by_type[at[0]]++;
		if (at[0] == 0)
			assert_int_equal(get(at + 18, 2), 0x1000); /* a virtual machine, and nothing else */
		count++;
		assert_true(at[1] >= 4 && at[1] <= end - at);
		at += at[1];
		while (at[0] || at[1]) {
			at++;
			assert_true(at + 1 < end);
		}
		at += 2;
	}
	assert_ptr_equal(at, end);
	return count;
}

static void structures(void **state)
{
	static struct smbios smbios;

	for (unsigned cpus = 1; cpus <= 64; cpus += 21) {
		const struct smbios_machine machine = {
			.cpus = cpus, .memory = GIB(5), .low = GIB(2), .name = "name", .no_firmware = cpus == 1};
		unsigned by_type[256] = {0}, count;

		assert_int_equal(smbios_build(&smbios, &machine), 0);
		smbios_link(&smbios, 0xf0020);
		assert_memory_equal(smbios.anchor, "_SM_", 4);
		assert_memory_equal(smbios.anchor + 16, "_DMI_", 5);
		assert_int_equal(smbios.anchor[5], SMBIOS_ANCHOR_SIZE);
		assert_int_equal(sum(smbios.anchor, SMBIOS_ANCHOR_SIZE), 0);
		assert_int_equal(sum(smbios.anchor + 16, 15), 0);
		assert_int_equal(get(smbios.anchor + 24, 4), 0xf0020);
		assert_int_equal(get(smbios.anchor + 22, 2), smbios.len);
		count = walk(&smbios, by_type);
		assert_int_equal(get(smbios.anchor + 28, 2), count);
		assert_int_equal(by_type[4], cpus);
		assert_int_equal(by_type[0], machine.no_firmware);
		assert_int_equal(by_type[1], 1);
		assert_int_equal(by_type[17], 1);
		assert_int_equal(by_type[19], 2); /* below 4 GiB and above */
		assert_int_equal(by_type[127], 1);
	}
}

static void a_long_name_is_refused(void **state)
{
	static struct smbios smbios;
	char name[400];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	assert_int_not_equal(smbios_build(&smbios, &(struct smbios_machine){.cpus = 1, .memory = GIB(1), .low = GIB(1), .name = name}), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(structures), cmocka_unit_test(a_long_name_is_refused)};

	return cmocka_run_group_tests_name("smbios", tests, NULL, NULL);
}
