/* libFuzzer target for the AHCI controller with its disk and its CD drive: a hostile driver writes registers, command lists and
 * scatter lists at will, with backends in memory that answer at once, later, or with errors. Whatever it does, nothing is touched
 * outside of its RAM, its ROM and a read-only medium stay as they were, every turn of the I/O thread ends, and all memory comes back.
 *
 * Example:
 *     fuzz_ahci -seed_inputs=seeds/ahci_disk,seeds/ahci_cd -max_len=512 -runs=200000
 *
 * The input is a list of operations, a byte each with its operands behind it (enum op). COMMAND and PACKET do in a few bytes what
 * a driver does for a command, so that the fuzzer starts where it gets interesting.
 */
#include "../unit/fake_platform.h"
#include "core/backend.h"
#include "core/vm.h"
#include "dev/ata/ahci.h"
#include "dev/irq/irqchip.h"
#include "dev/pci/msix.h"
#include "mem/mem.h"
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                           \
	do {                                                                                                       \
		if (!(condition))                                                                                  \
			abort();                                                                                   \
	} while (0)

#define RAM_SIZE  0x10000u
#define ROM_BASE  0x10000u /* right behind the RAM: what crosses the seam is seen */
#define ROM_SIZE  0x1000u
#define ABAR      0xfebf0000u
#define DISK_SIZE 0x10000u
#define DRIVES    3u /* a disk, a CD drive, a read-only disk */
#define SLOTS     32u

/* Where SETUP and COMMAND have their things. A table has room for its FIS, its packet and 8 entries. */
#define LIST(port)  ((port) * 0x400u)
#define FISES(port) (0x1800u + (port) * 0x100u)
#define TABLE(slot) (0x2000u + (slot) * 0x100u)
#define PRDS        8u

enum op { REG_WRITE, REG_READ, RAM_WRITE, SETUP, COMMAND, PACKET, ISSUE, RUN, BACKEND, CONFIG, RESET, OP_COUNT };

struct input {
	const uint8_t *bytes;
	size_t len;
};

struct drive {
	struct block_backend backend;
	uint8_t bytes[DISK_SIZE];
	bool defer;
	int status;
	struct block_request *waiting[SLOTS];
	unsigned count;
};

struct machine {
	struct vm vm;
	struct pci_root root;
	uint8_t *ram, *rom;
	struct drive drives[DRIVES];
	bool level;
};

/* ---- what the bus has that this machine has not ---- */

void irqchip_msi(struct irqchip *chip, uint64_t address, uint32_t data)
{
}

void msix_reset(struct msix *msix)
{
}

void msix_config_written(struct msix *msix)
{
}

static void pirq(void *ctx, unsigned line, bool level)
{
	((struct machine *)ctx)->level = level;
}

/* ---- the input ---- */

static uint32_t take(struct input *in, unsigned bytes)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < bytes && in->len > 0; i++, in->len--)
		value |= (uint32_t)*in->bytes++ << (8 * i);
	return value;
}

/* ---- backends ---- */

static void carry_out(struct drive *drive, struct block_request *request)
{
	uint64_t at = request->offset, total = 0;
	const bool data = request->op == BLOCK_READ || request->op == BLOCK_WRITE;

	CHECK(request->op == BLOCK_READ || request->op == BLOCK_FLUSH || !drive->backend.read_only);
	CHECK(request->op != BLOCK_DISCARD || drive->backend.can_discard);
	CHECK(request->offset % 512 == 0 && request->length % 512 == 0);
	if (request->op != BLOCK_FLUSH)
		CHECK(request->length && request->offset <= drive->backend.size && request->length <= drive->backend.size - request->offset);
	CHECK(data || !request->count);
	for (unsigned i = 0; i < request->count; i++) {
		const struct iobuf *buf = &request->bufs[i];

		total += buf->len;
		CHECK(total <= request->length);
		if (request->op == BLOCK_READ)
			memcpy(buf->base, drive->bytes + at, buf->len);
		else
			memcpy(drive->bytes + at, buf->base, buf->len);
		at += buf->len;
	}
	CHECK(!data || total == request->length);
	request->done(request, drive->status);
}

static void drive_submit(struct block_backend *backend, struct block_request *request)
{
	struct drive *drive = container_of(backend, struct drive, backend);

	if (!drive->defer) {
		carry_out(drive, request);
		return;
	}
	CHECK(drive->count < SLOTS); /* one a command */
	drive->waiting[drive->count++] = request;
}

static void finish_one(struct drive *drive, unsigned which)
{
	struct block_request *request = drive->waiting[which % drive->count];

	drive->waiting[which % drive->count] = drive->waiting[drive->count - 1];
	drive->count--;
	carry_out(drive, request);
}

static void drive_drain(struct block_backend *backend)
{
	struct drive *drive = container_of(backend, struct drive, backend);

	while (drive->count > 0)
		finish_one(drive, 0);
}

static const struct block_backend_ops drive_ops = {.submit = drive_submit, .drain = drive_drain};

/* ---- the machine ---- */

static void set_reg(struct machine *machine, unsigned offset, uint32_t value)
{
	bus_write(&machine->vm.mmio, ABAR + offset, 4, value);
}

static void set_port_reg(struct machine *machine, unsigned port, unsigned offset, uint32_t value)
{
	set_reg(machine, 0x100 + port * 0x80 + offset, value);
}

/* What firmware and a driver do first. */
static void set_up(struct machine *machine)
{
	pci_config_write(&machine->root, 0, AHCI_DEVFN, 0x24, 4, ABAR);
	pci_config_write(&machine->root, 0, AHCI_DEVFN, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	set_reg(machine, 0x04, 0x80000002);
	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		set_port_reg(machine, i, 0x18, 0);
		set_port_reg(machine, i, 0x00, LIST(i));
		set_port_reg(machine, i, 0x04, 0);
		set_port_reg(machine, i, 0x08, FISES(i));
		set_port_reg(machine, i, 0x0c, 0);
		set_port_reg(machine, i, 0x14, 0xffffffff);
		set_port_reg(machine, i, 0x2c, 0);
		set_port_reg(machine, i, 0x18, 0x11);
	}
}

static void build(struct machine *machine, bool discard, bool small)
{
	struct ahci_drive drives[DRIVES];

	fake_reset();
	/* Apart, so that the sanitizer guards the ends of both. */
	machine->ram = calloc(1, RAM_SIZE);
	machine->rom = malloc(ROM_SIZE);
	CHECK(machine->ram && machine->rom);
	memset(machine->rom, 0x5a, ROM_SIZE);
	CHECK(mem_add_slot(&machine->vm.mem, 0, RAM_SIZE, machine->ram, false) == 0);
	CHECK(mem_add_slot(&machine->vm.mem, ROM_BASE, ROM_SIZE, machine->rom, true) == 0);
	for (unsigned i = 0; i < DRIVES; i++) {
		struct drive *drive = &machine->drives[i];

		memset(drive->bytes, (int)(0x30 + i), DISK_SIZE);
		/* A CD that ends in the middle of a block, and one with none. */
		drive->backend = (struct block_backend){.ops = &drive_ops,
							.size = i == 1 ? (small ? 512 : DISK_SIZE - 512) : DISK_SIZE,
							.read_only = i > 0,
							.can_discard = discard,
							.serial = "fuzz"};
		drives[i] = (struct ahci_drive){.backend = &drive->backend, .cdrom = i == 1};
	}
	pci_root_init(&machine->root, &machine->vm, NULL);
	machine->root.pirq = pirq;
	machine->root.pirq_ctx = machine;
	CHECK(ahci_create(&machine->root, drives, DRIVES) == 0);
	devices_reset(&machine->vm);
	set_up(machine);
}

static void take_apart(struct machine *machine)
{
	while (machine->vm.device_count > 0) {
		struct device *dev = machine->vm.devices[--machine->vm.device_count];

		dev->ops->destroy(dev);
	}
	for (unsigned i = 0; i < DRIVES; i++)
		CHECK(machine->drives[i].count == 0);
	pci_root_fini(&machine->root);
	mem_destroy(&machine->vm.mem);
	for (unsigned i = 0; i < ROM_SIZE; i++)
		CHECK(machine->rom[i] == 0x5a);
	for (unsigned i = 1; i < DRIVES; i++)
		for (unsigned j = 0; j < DISK_SIZE; j++)
			CHECK(machine->drives[i].bytes[j] == 0x30 + i);
	CHECK(fake_alloc_live() == 0);
	free(machine->ram);
	free(machine->rom);
}

/* ---- the driver ---- */

static void put32(struct machine *machine, uint32_t at, uint32_t value)
{
	memcpy(machine->ram + at, &value, 4);
}

/* A command's header and its PRDT: addresses around the RAM's end among them. */
static void put_table(struct machine *machine, unsigned port, unsigned slot, struct input *in)
{
	const uint32_t header = LIST(port) + 32 * slot, shape = take(in, 1);
	const unsigned entries = shape % (PRDS + 1);

	put32(machine, header, 5 | (shape & 0x80 ? 0xffffu : entries) << 16);
	put32(machine, header + 8, TABLE(slot));
	put32(machine, header + 12, 0);
	for (unsigned i = 0; i < entries; i++) {
		const uint32_t at = TABLE(slot) + 0x80 + 16 * i, where = take(in, 1), len = take(in, 2);

		put32(machine, at, where << 8 | (where & 0x0f));
		put32(machine, at + 4, where == 0xff ? 0xffffffff : 0);
		put32(machine, at + 12, (len & 0x8000) << 16 | (len & 0x7fff) | (where == 0xfe ? 0x3f0000 : 0));
	}
}

/* port, slot and shape in a byte each; opcode, device, feature, count, lba as they come. */
static void put_command(struct machine *machine, struct input *in, bool packet)
{
	const unsigned port = packet ? 1 : take(in, 1) % AHCI_PORTS, slot = take(in, 1) % SLOTS;
	uint8_t *fis = machine->ram + TABLE(slot);

	memset(fis, 0, 0x80);
	put_table(machine, port, slot, in);
	fis[0] = 0x27;
	fis[1] = 0x80;
	if (packet) {
		fis[2] = 0xa0;
		fis[3] = (uint8_t)take(in, 1);
		for (unsigned i = 0; i < 12; i++)
			fis[0x40 + i] = (uint8_t)take(in, 1);
	} else {
		fis[2] = (uint8_t)take(in, 1);
		fis[7] = (uint8_t)take(in, 1);
		for (unsigned i = 3; i < 6; i++) /* feature, and the low bytes of the address */
			fis[i] = (uint8_t)take(in, 1);
		fis[12] = (uint8_t)take(in, 1);
		if (fis[2] == 0) /* not a command: the control register */
			fis[1] = 0;
		fis[15] = fis[12];
	}
	if (fis[2] == 0x60 || fis[2] == 0x61)
		set_port_reg(machine, port, 0x34, 1u << slot);
	set_port_reg(machine, port, 0x38, 1u << slot);
}

static void stir_backends(struct machine *machine, struct input *in)
{
	struct drive *drive = &machine->drives[take(in, 1) % DRIVES];
	const uint32_t what = take(in, 1);

	switch (what % 4) {
	case 0:
		drive->defer = what & 4;
		break;
	case 1:
		drive->status = what & 4 ? -5 : 0;
		break;
	case 2:
		if (drive->count)
			finish_one(drive, what >> 2);
		break;
	case 3:
		drive_drain(&drive->backend);
		break;
	}
}

static void ram_write(struct machine *machine, struct input *in)
{
	uint32_t at = take(in, 2), len = take(in, 1) % 64;

	for (uint32_t i = 0; i < len && at + i < RAM_SIZE; i++)
		machine->ram[at + i] = (uint8_t)take(in, 1);
}

static void step(struct machine *machine, struct input *in)
{
	enum op op = take(in, 1) % OP_COUNT;
	uint32_t offset;

	switch (op) {
	case REG_WRITE:
		offset = take(in, 1) * 4;
		if (offset >= 0x80) /* the ports, and one that isn't there */
			offset += 0x80 + take(in, 1) % 7 * 0x80;
		set_reg(machine, offset, take(in, 4));
		break;
	case REG_READ:
		(void)bus_read(&machine->vm.mmio, ABAR + take(in, 2) % 0x400 * 4, 4);
		break;
	case RAM_WRITE:
		ram_write(machine, in);
		break;
	case SETUP:
		set_up(machine);
		break;
	case COMMAND:
	case PACKET:
		put_command(machine, in, op == PACKET);
		break;
	case ISSUE:
		offset = take(in, 1) % AHCI_PORTS;
		set_port_reg(machine, offset, 0x38, take(in, 4));
		break;
	case RUN:
		fake_run_work();
		break;
	case BACKEND:
		stir_backends(machine, in);
		break;
	case CONFIG:
		offset = take(in, 1) & ~3u;
		(void)pci_config_read(&machine->root, 0, AHCI_DEVFN, offset, 4);
		pci_config_write(&machine->root, 0, AHCI_DEVFN, offset, 4, take(in, 4));
		break;
	case RESET:
		devices_reset(&machine->vm);
		break;
	case OP_COUNT:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	struct input in = {bytes, len};
	uint32_t options = take(&in, 1);

	CHECK(machine);
	build(machine, options & 1, options & 2);
	while (in.len > 0)
		step(machine, &in);
	fake_run_work();
	take_apart(machine);
	free(machine);
	return 0;
}
