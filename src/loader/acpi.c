/* ACPI tables; see acpi.h. Offsets in comments are those of ACPI 6.4 chapter 5. */
#include "loader/acpi.h"

#include "base/errno.h"
#include "base/string.h"

#define RSDP_SIZE   36
#define HEADER_SIZE 36

/* FADT flags (table 5.10) and boot architecture flags (table 5.11) */
#define FADT_WBINVD        (1u << 0)
#define FADT_PWR_BUTTON    (1u << 4)
#define FADT_SLP_BUTTON    (1u << 5)
#define FADT_RESET_REG_SUP (1u << 10)
#define FADT_HW_REDUCED    (1u << 20)
#define BOOT_LEGACY_DEVICES  (1u << 0)
#define BOOT_VGA_NOT_PRESENT (1u << 2)

#define MADT_PCAT_COMPAT (1u << 0)
#define MPS_LEVEL_HIGH   0x000du

#define GAS_IO    1
#define GAS_BYTE  1
#define CMOS_CENTURY 0x32

/* The tables so far. */
struct tables {
	gpa_t gpa;
	uint8_t *buf;
	size_t size, len;
	size_t table; /* where the open one begins */
	bool failed;
};

static uint8_t *reserve(struct tables *t, size_t bytes)
{
	uint8_t *at = t->buf + t->len;

	if (t->failed || bytes > t->size - t->len) {
		t->failed = true;
		return NULL;
	}
	memset(at, 0, bytes);
	t->len += bytes;
	return at;
}

static void put(struct tables *t, uint64_t value, unsigned bytes)
{
	uint8_t *at = reserve(t, bytes);

	for (unsigned i = 0; at && i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

/* Overwrites a field of the open table. */
static void set(struct tables *t, size_t offset, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; !t->failed && i < bytes; i++)
		t->buf[t->table + offset + i] = (uint8_t)(value >> (8 * i));
}

static void set_gas(struct tables *t, size_t offset, uint16_t port)
{
	set(t, offset, GAS_IO, 1);
	set(t, offset + 1, 8, 1);
	set(t, offset + 3, GAS_BYTE, 1);
	set(t, offset + 4, port, 8);
}

static void checksum(uint8_t *table, size_t len, size_t at)
{
	unsigned sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += table[i];
	table[at] = (uint8_t)(table[at] - sum);
}

static void table_begin(struct tables *t, const char *signature, uint8_t revision)
{
	static const char ids[] = "RUSE  RUSEVM  ";
	size_t padding = -t->len & 15u;

	(void)reserve(t, padding);
	t->table = t->len;
	uint8_t *header = reserve(t, HEADER_SIZE);
	if (!header)
		return;
	memcpy(header, signature, 4);
	header[8] = revision;
	memcpy(header + 10, ids, 14); /* OEMID, OEM table id */
	set(t, 24, 1, 4);             /* OEM revision */
	memcpy(header + 28, "RUSE", 4);
	set(t, 32, 1, 4);
}

/* Returns the table's guest-physical address. */
static gpa_t table_end(struct tables *t)
{
	if (t->failed)
		return 0;
	set(t, 4, t->len - t->table, 4);
	checksum(t->buf + t->table, t->len - t->table, 9);
	return t->gpa + t->table;
}

static gpa_t build_dsdt(struct tables *t, const struct acpi_machine *machine)
{
	struct aml aml;
	size_t len = 0;

	table_begin(t, "DSDT", 2);
	if (t->failed)
		return 0;
	aml_start(&aml, t->buf + t->len, t->size - t->len);
	machine->dsdt(machine->ctx, &aml);
	if (aml_finish(&aml, &len))
		t->failed = true;
	t->len += len;
	return table_end(t);
}

static gpa_t build_fadt(struct tables *t, const struct acpi_machine *machine, gpa_t dsdt)
{
	table_begin(t, "FACP", 6);
	(void)reserve(t, 276 - HEADER_SIZE);
	set(t, 40, dsdt, 4);
	set(t, 108, CMOS_CENTURY, 1);
	set(t, 109, BOOT_LEGACY_DEVICES | BOOT_VGA_NOT_PRESENT, 2);
	set(t, 112, FADT_WBINVD | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_RESET_REG_SUP | FADT_HW_REDUCED, 4);
	set_gas(t, 116, machine->reset);
	set(t, 128, machine->reset_value, 1);
	set(t, 131, 4, 1); /* minor version: 6.4 */
	set(t, 140, dsdt, 8);
	set_gas(t, 244, machine->sleep_control);
	set_gas(t, 256, machine->sleep_status);
	if (!t->failed)
		memcpy(t->buf + t->table + 268, "RUSE", 4); /* hypervisor vendor identity */
	return table_end(t);
}

/* An ISA interrupt that is not what ISA says: another GSI, or level-triggered (§5.2.12.5). */
static void put_override(struct tables *t, unsigned irq, unsigned gsi, unsigned flags)
{
	put(t, 2, 1);
	put(t, 10, 1);
	put(t, 0, 1);
	put(t, irq, 1);
	put(t, gsi, 4);
	put(t, flags, 2);
}

static gpa_t build_madt(struct tables *t, const struct acpi_machine *machine)
{
	table_begin(t, "APIC", 5);
	put(t, machine->lapic, 4);
	put(t, MADT_PCAT_COMPAT, 4);
	for (unsigned i = 0; i < machine->cpus; i++) {
		put(t, 0, 1); /* local APIC */
		put(t, 8, 1);
		put(t, i, 1);
		put(t, i, 1);
		put(t, 1, 4); /* enabled */
	}
	put(t, 1, 1); /* I/O APIC */
	put(t, 12, 1);
	put(t, 0, 2);
	put(t, machine->ioapic, 4);
	put(t, 0, 4);
	put_override(t, 0, 2, 0);
	for (unsigned irq = 0; irq < 16; irq++)
		if (machine->level_irqs & 1u << irq)
			put_override(t, irq, irq, MPS_LEVEL_HIGH);
	put(t, 4, 1); /* NMI at LINT1 of all processors */
	put(t, 6, 1);
	put(t, 0xff, 1);
	put(t, 0, 2);
	put(t, 1, 1);
	return table_end(t);
}

/* Serial port console redirection, revision 2: 115200 8n1, VT-UTF8. */
static gpa_t build_spcr(struct tables *t, const struct acpi_machine *machine)
{
	table_begin(t, "SPCR", 2);
	(void)reserve(t, 80 - HEADER_SIZE);
	set_gas(t, 40, machine->serial_port);
	set(t, 52, 3, 1); /* both PC-AT interrupt and I/O APIC */
	set(t, 53, machine->serial_irq, 1);
	set(t, 54, machine->serial_irq, 4);
	set(t, 58, 7, 1); /* 115200 */
	set(t, 60, 1, 1); /* one stop bit */
	set(t, 62, 2, 1);
	set(t, 64, 0xffff, 2); /* no PCI device */
	set(t, 66, 0xffff, 2);
	return table_end(t);
}

static gpa_t build_xsdt(struct tables *t, const gpa_t *tables, unsigned count)
{
	table_begin(t, "XSDT", 1);
	for (unsigned i = 0; i < count; i++)
		put(t, tables[i], 8);
	return table_end(t);
}

int acpi_build(const struct acpi_machine *machine, gpa_t gpa, uint8_t *buf, size_t size, size_t *len)
{
	struct tables t = {.gpa = gpa, .buf = buf, .size = size};
	uint8_t *rsdp = reserve(&t, RSDP_SIZE);
	gpa_t listed[3], dsdt, xsdt;
	unsigned count = 0;

	dsdt = build_dsdt(&t, machine);
	listed[count++] = build_fadt(&t, machine, dsdt);
	listed[count++] = build_madt(&t, machine);
	if (machine->serial_port)
		listed[count++] = build_spcr(&t, machine);
	xsdt = build_xsdt(&t, listed, count);
	if (t.failed)
		return -ENOSPC;
	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, "RUSE  ", 6);
	rsdp[15] = 2;
	t.table = 0;
	set(&t, 20, RSDP_SIZE, 4);
	set(&t, 24, xsdt, 8);
	checksum(rsdp, 20, 8);
	checksum(rsdp, RSDP_SIZE, 32);
	*len = t.len;
	return 0;
}
