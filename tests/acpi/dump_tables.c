/* Writes a board's ACPI tables into files, one each, as iasl takes them, checking the addresses and checksums that lead from
 * the RSDP to them.
 *
 * Example: `dump_tables microvm 4 6 DIRECTORY` for four processors and six virtio devices; `dump_tables pc 4 0 DIRECTORY`
 *
 * "firmware" is the pc again, as firmware gets it: put somewhere by following the links.
 */
#include "board/x86_64/microvm.h"
#include "board/x86_64/pc.h"
#include "board/x86_64/pc_tables.h"
#include "dev/timer/hpet.h"
#include "loader/acpi.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(PC_ACPI == MICROVM_ACPI, "one place for all");

#define PLACE 0x7fff0000u /* what firmware found */

static uint8_t tables[0x10000];
static size_t size;
static uint64_t base = MICROVM_ACPI;

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
	if (gpa < base || gpa - base + 36 > size)
		fail("a table lies outside");
	const uint8_t *table = tables + (gpa - base);
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

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static void sum_up(uint8_t *at, size_t len, size_t where)
{
	unsigned sum = 0;

	at[where] = 0;
	for (size_t i = 0; i < len; i++)
		sum += at[i];
	at[where] = (uint8_t)-sum;
}

/* What firmware does with the links; the RSDP stays before the tables here. */
static void link_tables(const struct acpi_links *links)
{
	base = PLACE - ACPI_TABLES_OFFSET;
	for (unsigned i = 0; i < links->pointer_count; i++) {
		uint8_t *at = tables + links->pointers[i].at;

		put(at, get(at, links->pointers[i].size) + PLACE, links->pointers[i].size);
	}
	for (unsigned i = 0; i < links->checksum_count; i++)
		sum_up(tables + links->checksums[i].start, links->checksums[i].len, 9);
	sum_up(tables, 20, 8);
	sum_up(tables, ACPI_RSDP_SIZE, 32);
}

static int build(const char *board, unsigned cpus, unsigned devices, size_t room)
{
	const struct microvm_tables microvm = {.cpus = cpus, .virtio_count = devices};
	const struct pc_tables pc = {
		.cpus = cpus, .ecam = PC_ECAM, .high_first = GIB(32), .high_last = GIB(64) - 1, .hpet_id = HPET_ID};
	struct acpi_links links;
	int r;

	if (!strcmp(board, "microvm"))
		return microvm_build_acpi(&microvm, tables, room, &size);
	if (!strcmp(board, "pc"))
		return pc_build_acpi(&pc, tables, room, &size);
	r = pc_build_acpi_relative(&pc, tables, room, &size, &links);
	if (!r)
		link_tables(&links);
	return r;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		fail("usage: dump_tables microvm|pc|firmware CPUS VIRTIO_DEVICES DIRECTORY");
	/* Too little room is said, not overrun. */
	for (size_t room = 0; room < 2000; room += 7)
		if (build(argv[1], (unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]), room) == 0 && size > room)
			fail("wrote more than there was room for");
	if (build(argv[1], (unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]), sizeof(tables)))
		fail("the tables do not fit into their place");

	if (memcmp(tables, "RSD PTR ", 8) || tables[15] != 2)
		fail("no RSDP");
	check_sum(tables, 20, "the RSDP's checksum is wrong");
	check_sum(tables, 36, "the RSDP's extended checksum is wrong");
	const uint8_t *xsdt = table_at(get(tables + 24, 8));
	if (memcmp(xsdt, "XSDT", 4))
		fail("no XSDT");
	write_table(xsdt, argv[4]);
	for (uint64_t at = 36; at + 8 <= get(xsdt + 4, 4); at += 8) {
		const uint8_t *table = table_at(get(xsdt + at, 8));

		write_table(table, argv[4]);
		if (!memcmp(table, "FACP", 4))
			write_table(table_at(get(table + 140, 8)), argv[4]);
	}
	return 0;
}
