/* ACPI tables; see acpi.h. Offsets in comments are those of ACPI 6.4 chapter 5. */
#include "loader/acpi.h"

#include "base/errno.h"
#include "base/string.h"

#define RSDP_SIZE   ACPI_RSDP_SIZE
#define HEADER_SIZE 36

/* FADT flags (table 5.10) and boot architecture flags (table 5.11) */
#define FADT_WBINVD        (1u << 0)
#define FADT_PROC_C1       (1u << 2)
#define FADT_PWR_BUTTON    (1u << 4)
#define FADT_SLP_BUTTON    (1u << 5)
#define FADT_FIX_RTC       (1u << 6)
#define FADT_RESET_REG_SUP (1u << 10)
#define FADT_HW_REDUCED    (1u << 20)
#define BOOT_LEGACY_DEVICES  (1u << 0)
#define BOOT_8042            (1u << 1)
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
	struct acpi_links *links; /* or NULL */
	bool linked;  /* the open one has pointers */
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

/* Notes that the field holds an address of ours. */
static void note_pointer(struct tables *t, size_t offset, uint8_t bytes)
{
	struct acpi_links *links = t->links;

	if (!links || t->failed)
		return;
	if (links->pointer_count == ACPI_MAX_POINTERS) {
		t->failed = true;
		return;
	}
	links->pointers[links->pointer_count].at = (uint32_t)(t->table + offset);
	links->pointers[links->pointer_count++].size = bytes;
	t->linked = true;
}

static void set_pointer(struct tables *t, size_t offset, gpa_t gpa, uint8_t bytes)
{
	set(t, offset, gpa, bytes);
	note_pointer(t, offset, bytes);
}

static void put_pointer(struct tables *t, gpa_t gpa, uint8_t bytes)
{
	note_pointer(t, t->len - t->table, bytes);
	put(t, gpa, bytes);
}

static void set_gas_of(struct tables *t, size_t offset, uint16_t port, unsigned bits, unsigned access)
{
	set(t, offset, GAS_IO, 1);
	set(t, offset + 1, bits, 1);
	set(t, offset + 3, access, 1);
	set(t, offset + 4, port, 8);
}

static void set_gas(struct tables *t, size_t offset, uint16_t port)
{
	set_gas_of(t, offset, port, 8, GAS_BYTE);
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
	t->linked = false;
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
	if (!t->linked) {
		checksum(t->buf + t->table, t->len - t->table, 9);
	} else if (t->links->checksum_count == ACPI_MAX_TABLES) {
		t->failed = true;
	} else {
		t->links->checksums[t->links->checksum_count].start = (uint32_t)t->table;
		t->links->checksums[t->links->checksum_count++].len = (uint32_t)(t->len - t->table);
	}
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

/* §5.2.10: 64 bytes that firmware and the OS share; it has no checksum. */
static gpa_t build_facs(struct tables *t)
{
	(void)reserve(t, -t->len & 63u);
	t->table = t->len;
	uint8_t *facs = reserve(t, 64);
	if (!facs)
		return 0;
	memcpy(facs, "FACS", 4);
	set(t, 4, 64, 4);
	set(t, 32, 2, 1); /* version */
	return t->gpa + t->table;
}

static void set_fixed(struct tables *t, const struct acpi_fixed *fixed)
{
	set(t, 46, fixed->sci, 2);
	set(t, 48, fixed->smi_command, 4);
	set(t, 52, fixed->acpi_enable, 1);
	set(t, 53, fixed->acpi_disable, 1);
	set(t, 56, fixed->pm1_event, 4);
	set(t, 64, fixed->pm1_control, 4);
	set(t, 76, fixed->pm_timer, 4);
	set(t, 80, fixed->gpe0, 4);
	set(t, 88, 4, 1); /* lengths */
	set(t, 89, 2, 1);
	set(t, 91, 4, 1);
	set(t, 92, fixed->gpe0_len, 1);
	set(t, 96, 0xfff, 2); /* no C2 and C3 */
	set(t, 98, 0xfff, 2);
	set_gas_of(t, 148, fixed->pm1_event, 32, 2);
	set_gas_of(t, 172, fixed->pm1_control, 16, 2);
	set_gas_of(t, 208, fixed->pm_timer, 32, 3);
	set_gas_of(t, 220, fixed->gpe0, 8u * fixed->gpe0_len, 1);
}

static gpa_t build_fadt(struct tables *t, const struct acpi_machine *machine, gpa_t dsdt, gpa_t facs)
{
	table_begin(t, "FACP", 6);
	(void)reserve(t, 276 - HEADER_SIZE);
	if (machine->fixed)
		set_pointer(t, 36, facs, 4);
	set_pointer(t, 40, dsdt, 4);
	set(t, 108, CMOS_CENTURY, 1);
	set_gas(t, 116, machine->reset);
	set(t, 128, machine->reset_value, 1);
	set(t, 131, 4, 1); /* minor version: 6.4 */
	set_pointer(t, 140, dsdt, 8);
	if (machine->fixed) {
		set(t, 109, BOOT_LEGACY_DEVICES | BOOT_8042, 2);
		/* Without FADT_PWR_BUTTON the power button is one of the fixed events. */
		set(t, 112, FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC | FADT_RESET_REG_SUP, 4);
		set_fixed(t, machine->fixed);
	} else {
		set(t, 109, BOOT_LEGACY_DEVICES | BOOT_VGA_NOT_PRESENT, 2);
		set(t, 112, FADT_WBINVD | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_RESET_REG_SUP | FADT_HW_REDUCED, 4);
		set_gas(t, 244, machine->sleep_control);
		set_gas(t, 256, machine->sleep_status);
	}
	if (!t->failed)
		memcpy(t->buf + t->table + 268, "RUSE", 4); /* hypervisor vendor identity */
	return table_end(t);
}

/* PCI Firmware 3.2 §4.1.2: one segment, all 256 buses. */
static gpa_t build_mcfg(struct tables *t, gpa_t ecam)
{
	table_begin(t, "MCFG", 1);
	(void)reserve(t, 8);
	put(t, ecam, 8);
	put(t, 0, 2);
	put(t, 0, 1);
	put(t, 255, 1);
	put(t, 0, 4);
	return table_end(t);
}

/* IA-PC HPET 1.0a §3.2.4. */
static gpa_t build_hpet(struct tables *t, const struct acpi_machine *machine)
{
	table_begin(t, "HPET", 1);
	put(t, machine->hpet_id, 4);
	put(t, 0, 1); /* in memory */
	put(t, 64, 1);
	put(t, 0, 2);
	put(t, machine->hpet, 8);
	put(t, 0, 1);
	put(t, 0, 2);
	put(t, 0, 1);
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

static gpa_t build_list(struct tables *t, const char *signature, uint8_t bytes, const gpa_t *tables, unsigned count)
{
	table_begin(t, signature, 1);
	for (unsigned i = 0; i < count; i++)
		put_pointer(t, tables[i], bytes);
	return table_end(t);
}

static void fill_rsdp(struct tables *t, uint8_t *rsdp, gpa_t rsdt, gpa_t xsdt)
{
	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, "RUSE  ", 6);
	rsdp[15] = 2;
	t->table = 0;
	if (rsdt)
		set_pointer(t, 16, rsdt, 4);
	set(t, 20, RSDP_SIZE, 4);
	set_pointer(t, 24, xsdt, 8);
	if (t->links)
		return;
	checksum(rsdp, 20, 8);
	checksum(rsdp, RSDP_SIZE, 32);
}

static int build(struct tables *t, const struct acpi_machine *machine, size_t *len)
{
	uint8_t *rsdp = reserve(t, ACPI_TABLES_OFFSET);
	gpa_t listed[6], dsdt, xsdt, rsdt = 0, facs = 0;
	unsigned count = 0;

	if (machine->fixed)
		facs = build_facs(t);
	dsdt = build_dsdt(t, machine);
	listed[count++] = build_fadt(t, machine, dsdt, facs);
	listed[count++] = build_madt(t, machine);
	if (machine->ecam)
		listed[count++] = build_mcfg(t, machine->ecam);
	if (machine->hpet)
		listed[count++] = build_hpet(t, machine);
	if (machine->serial_port)
		listed[count++] = build_spcr(t, machine);
	/* For what is older than 64 bits. */
	if (machine->fixed)
		rsdt = build_list(t, "RSDT", 4, listed, count);
	xsdt = build_list(t, "XSDT", 8, listed, count);
	if (t->failed)
		return -ENOSPC;
	fill_rsdp(t, rsdp, rsdt, xsdt);
	*len = t->len;
	return t->failed ? -ENOSPC : 0;
}

int acpi_build(const struct acpi_machine *machine, gpa_t gpa, uint8_t *buf, size_t size, size_t *len)
{
	struct tables t = {.gpa = gpa, .buf = buf, .size = size};

	return build(&t, machine, len);
}

int acpi_build_relative(const struct acpi_machine *machine, uint8_t *buf, size_t size, size_t *len,
			struct acpi_links *links)
{
	struct tables t = {.gpa = 0 - (gpa_t)ACPI_TABLES_OFFSET, .buf = buf, .size = size, .links = links};

	*links = (struct acpi_links){0};
	return build(&t, machine, len);
}
