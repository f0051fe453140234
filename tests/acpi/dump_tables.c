/* Writes the microvm's ACPI tables into files, one each, as iasl takes them, checking the addresses and checksums
 * that lead from the RSDP to them.
 *
 * Example: `dump_tables 4 6 DIRECTORY` for four processors and six virtio devices
 */
#include "board/x86_64/microvm.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t tables[MICROVM_ACPI_END - MICROVM_ACPI];
static size_t size;

static void fail(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static uint64_t get(const uint8_t *at, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)at[i] << (8 * i);
	return value;
}

static void check_sum(const uint8_t *at, size_t len, const char *what)
{
	unsigned sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += at[i];
	if (sum & 0xff)
		fail(what);
}

/* A table inside of what was built. */
static const uint8_t *table_at(uint64_t gpa)
{
	if (gpa < MICROVM_ACPI || gpa - MICROVM_ACPI + 36 > size)
		fail("a table lies outside");
	const uint8_t *table = tables + (gpa - MICROVM_ACPI);
	if (get(table + 4, 4) > size - (size_t)(table - tables))
		fail("a table is longer than what was built");
	check_sum(table, get(table + 4, 4), "a table's checksum is wrong");
	return table;
}

static void write_table(const uint8_t *table, const char *directory)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%.4s.dat", directory, (const char *)table);
	FILE *out = fopen(path, "wb");
	if (!out || fwrite(table, 1, get(table + 4, 4), out) != get(table + 4, 4) || fclose(out))
		fail("can't write");
}

int main(int argc, char **argv)
{
	struct microvm_tables description;

	if (argc != 4)
		fail("usage: dump_tables CPUS VIRTIO_DEVICES DIRECTORY");
	description = (struct microvm_tables){.cpus = (unsigned)atoi(argv[1]), .virtio_count = (unsigned)atoi(argv[2])};
	/* Too little room is said, not overrun. */
	for (size_t room = 0; room < 2000; room += 7)
		if (microvm_build_acpi(&description, tables, room, &size) == 0 && size > room)
			fail("wrote more than there was room for");
	if (microvm_build_acpi(&description, tables, sizeof(tables), &size))
		fail("the tables do not fit into their place");

	if (memcmp(tables, "RSD PTR ", 8) || tables[15] != 2)
		fail("no RSDP");
	check_sum(tables, 20, "the RSDP's checksum is wrong");
	check_sum(tables, 36, "the RSDP's extended checksum is wrong");
	const uint8_t *xsdt = table_at(get(tables + 24, 8));
	if (memcmp(xsdt, "XSDT", 4))
		fail("no XSDT");
	write_table(xsdt, argv[3]);
	for (uint64_t at = 36; at + 8 <= get(xsdt + 4, 4); at += 8) {
		const uint8_t *table = table_at(get(xsdt + at, 8));

		write_table(table, argv[3]);
		if (!memcmp(table, "FACP", 4))
			write_table(table_at(get(table + 140, 8)), argv[3]);
	}
	return 0;
}
