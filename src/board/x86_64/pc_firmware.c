/* What the pc tells firmware by fw_cfg: the memory map, SMBIOS, and ACPI tables with a script that places and links them. The
 * interface is that of QEMU's firmware (docs/specs/fw_cfg, and what is called the BIOS linker/loader there).
 *
 * Example of a script: ALLOCATE etc/acpi/tables; ALLOCATE etc/acpi/rsdp; ADD_POINTER ...; ADD_CHECKSUM ...
 */
#include "base/errno.h"
#include "base/fmt.h"
#include "board/config.h"
#include "board/x86_64/pc.h"
#include "board/x86_64/pc_tables.h"
#include "board/x86_64/smbios.h"
#include "core/platform.h"
#include "dev/misc/fw_cfg.h"
#include "dev/pci/host.h"
#include "loader/acpi.h"
#include "loader/loader.h"

#define IRQ0_OVERRIDE 0x8002u /* an item: ISA interrupt 0 is the IOAPIC's input 2 */

#define TABLES_FILE "etc/acpi/tables"
#define RSDP_FILE   "etc/acpi/rsdp"
#define LOADER_FILE "etc/table-loader"

/* Twice as much as 64 processors need. */
#define TABLES_SIZE KIB(32)

/* ---- the memory map ---- */

/* An entry of etc/e820, as the BIOS function types it. */
struct e820 {
	uint64_t address, size;
	uint32_t type;
} __attribute__((packed));

static int add_memory_map(struct vm *vm, struct fw_cfg *fw_cfg)
{
	const uint64_t size = vm->config->memory, low = pc_low_ram(vm->config);
	const struct e820 map[] = {{0, low, LOADER_RAM}, {PC_HIGH_RAM, size - low, LOADER_RAM}};

	return fw_cfg_add_file(fw_cfg, "etc/e820", map, size > low ? sizeof(map) : sizeof(map[0]));
}

/* ---- the script ---- */

enum command_kind { ALLOCATE = 1, ADD_POINTER = 2, ADD_CHECKSUM = 3 };
enum zone { ZONE_HIGH = 1, ZONE_FSEG = 2 };

struct command {
	uint32_t kind;
	union {
		struct {
			char file[56];
			uint32_t alignment;
			uint8_t zone;
		} __attribute__((packed)) allocate;
		struct {
			char file[56], to[56];
			uint32_t offset;
			uint8_t size;
		} __attribute__((packed)) pointer;
		struct {
			char file[56];
			uint32_t offset, start, len;
		} __attribute__((packed)) checksum;
		uint8_t room[124];
	};
} __attribute__((packed));

_Static_assert(sizeof(struct command) == 128, "the interface says so");

struct script {
	struct command commands[4 + ACPI_MAX_POINTERS + ACPI_MAX_TABLES];
	unsigned count;
};

static void name_file(char to[static 56], const char *name)
{
	fmt_print(to, 56, "%s", name);
}

static void add_allocate(struct script *script, const char *file, uint32_t alignment, enum zone zone)
{
	struct command *command = &script->commands[script->count++];

	command->kind = ALLOCATE;
	name_file(command->allocate.file, file);
	command->allocate.alignment = alignment;
	command->allocate.zone = (uint8_t)zone;
}

static void add_checksum(struct script *script, const char *file, uint32_t offset, uint32_t start, uint32_t len)
{
	struct command *command = &script->commands[script->count++];

	command->kind = ADD_CHECKSUM;
	name_file(command->checksum.file, file);
	command->checksum.offset = offset;
	command->checksum.start = start;
	command->checksum.len = len;
}

static void add_pointer(struct script *script, uint32_t at, uint8_t size)
{
	struct command *command = &script->commands[script->count++];
	bool in_tables = at >= ACPI_TABLES_OFFSET;

	command->kind = ADD_POINTER;
	name_file(command->pointer.file, in_tables ? TABLES_FILE : RSDP_FILE);
	name_file(command->pointer.to, TABLES_FILE);
	command->pointer.offset = in_tables ? at - ACPI_TABLES_OFFSET : at;
	command->pointer.size = size;
}

/* Pointers first: checksums count them. */
static void write_script(struct script *script, const struct acpi_links *links)
{
	add_allocate(script, TABLES_FILE, 64, ZONE_HIGH);
	add_allocate(script, RSDP_FILE, 16, ZONE_FSEG);
	for (unsigned i = 0; i < links->pointer_count; i++)
		add_pointer(script, links->pointers[i].at, links->pointers[i].size);
	for (unsigned i = 0; i < links->checksum_count; i++) {
		uint32_t start = links->checksums[i].start - ACPI_TABLES_OFFSET;

		add_checksum(script, TABLES_FILE, start + 9, start, links->checksums[i].len);
	}
	add_checksum(script, RSDP_FILE, 8, 0, 20);
	add_checksum(script, RSDP_FILE, 32, 0, ACPI_RSDP_SIZE);
}

/* ---- tables ---- */

struct pc_firmware {
	struct pci_host *host;
	struct fw_cfg *fw_cfg;
	struct pc_tables tables;
	struct acpi_links links;
	struct script script;
	uint8_t buf[TABLES_SIZE];
};

/* Where firmware has put what is above 4 GiB, with room for what may be put there later. */
static void find_high_window(struct pci_root *root, struct pc_tables *tables)
{
	const uint64_t room = tables->high_last - tables->high_first;
	uint64_t first, last;

	if (!pci_mapped_above(root, GIB(4), &first, &last))
		return;
	tables->high_first = first & ~(GIB(1) - 1);
	tables->high_last = tables->high_first + room;
	if (tables->high_last < last)
		tables->high_last = last;
}

/* fw_cfg's lock is held. Tables of the same size, unless they can't be: then they stay as they were. */
static void refresh(void *ctx)
{
	struct pc_firmware *firmware = ctx;
	struct pc_tables tables = firmware->tables;
	gpa_t ecam = pci_host_ecam(firmware->host);
	size_t len;

	if (ecam > PC_PCI_HOLE_END - PC_ECAM_SIZE)
		return;
	if (ecam)
		tables.ecam = ecam;
	find_high_window(pci_host_root(firmware->host), &tables);
	if (pc_build_acpi_relative(&tables, firmware->buf, sizeof(firmware->buf), &len, &firmware->links))
		return;
	(void)!fw_cfg_refresh_file(firmware->fw_cfg, TABLES_FILE, firmware->buf + ACPI_TABLES_OFFSET,
				   (uint32_t)(len - ACPI_TABLES_OFFSET));
}

static int add_acpi(struct pc_firmware *firmware)
{
	struct fw_cfg *fw_cfg = firmware->fw_cfg;
	size_t len;
	int r = pc_build_acpi_relative(&firmware->tables, firmware->buf, sizeof(firmware->buf), &len, &firmware->links);

	if (r)
		return r;
	write_script(&firmware->script, &firmware->links);
	r = fw_cfg_add_file(fw_cfg, TABLES_FILE, firmware->buf + ACPI_TABLES_OFFSET, (uint32_t)(len - ACPI_TABLES_OFFSET));
	if (!r)
		r = fw_cfg_add_file(fw_cfg, RSDP_FILE, firmware->buf, ACPI_RSDP_SIZE);
	if (!r)
		r = fw_cfg_add_file(fw_cfg, LOADER_FILE, firmware->script.commands,
				    firmware->script.count * (uint32_t)sizeof(struct command));
	if (!r)
		fw_cfg_on_select(fw_cfg, refresh, firmware);
	return r;
}

static int add_smbios(struct vm *vm, struct fw_cfg *fw_cfg)
{
	struct smbios smbios;
	int r = smbios_build(&smbios, &(struct smbios_machine){.cpus = vm->vcpu_count,
							      .memory = vm->config->memory,
							      .low = pc_low_ram(vm->config),
							      .name = vm->config->name});

	if (!r)
		r = fw_cfg_add_file(fw_cfg, "etc/smbios/smbios-tables", smbios.tables, smbios.len);
	return r ? r : fw_cfg_add_file(fw_cfg, "etc/smbios/smbios-anchor", smbios.anchor, sizeof(smbios.anchor));
}

/* A CD that comes first is started first, whatever the disks hold; otherwise firmware has its own order. The name is Open Firmware's
 * for the drive at the AHCI controller's first port; UEFI firmware wants the text to end with 0. */
static int add_boot_order(struct vm *vm, struct fw_cfg *fw_cfg)
{
	static const char first_drive[] = "/pci@i0cf8/pci8086,2922@1f,2/drive@0/disk@0\n";

	if (!vm->config->disk_count || vm->config->disks[0].interface != DISK_CDROM)
		return 0;
	return fw_cfg_add_file(fw_cfg, "bootorder", first_drive, sizeof(first_drive));
}

static int add_all(struct vm *vm, struct pc_firmware *firmware)
{
	const uint16_t serial = PC_SERIAL0_PORT;
	struct fw_cfg *fw_cfg = firmware->fw_cfg;
	int r = fw_cfg_add_u32(fw_cfg, IRQ0_OVERRIDE, 1);

	if (!r)
		r = add_memory_map(vm, fw_cfg);
	if (!r)
		r = fw_cfg_add_file(fw_cfg, "etc/reserved-memory-end", &firmware->tables.regions_end, sizeof(firmware->tables.regions_end));
	/* Firmware mirrors its text screen on this port. */
	if (!r)
		r = fw_cfg_add_file(fw_cfg, "etc/sercon-port", &serial, sizeof(serial));
	if (!r)
		r = add_boot_order(vm, fw_cfg);
	if (!r)
		r = add_smbios(vm, fw_cfg);
	return r ? r : add_acpi(firmware);
}

int pc_create_firmware(struct vm *vm, struct pci_host *host, const struct pc_tables *tables, struct pc_firmware **out)
{
	struct pc_firmware *firmware = platform_alloc(sizeof(*firmware));
	int r;

	if (!firmware)
		return -ENOMEM;
	*out = firmware;
	firmware->host = host;
	firmware->tables = *tables;
	r = fw_cfg_create(vm, &firmware->fw_cfg);
	return r ? r : add_all(vm, firmware);
}
