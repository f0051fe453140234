/* dev/ata: the AHCI controller with a disk and a CD drive, driven as an operating system would, and as none should: command lists,
 * scatter lists, queued commands and their errors, resets in the middle, interrupts; ATA commands and packets.
 *
 * Example: `meson test -C build ahci`
 */
#include "base/errno.h"
#include "dev/ata/ahci.h"
#include "dev/ata/ata.h"
#include "dev/irq/irqchip.h"
#include "dev/irq/lapic.h"
#include "fake_machine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ABAR      0xfebf0000u
#define DISK      0u /* ports */
#define CD        1u
#define ABSENT    2u
#define DISK_SIZE 0x80000u
#define SECTORS   (DISK_SIZE / 512u)

/* Where the driver has things in RAM. */
#define LIST(port)  (0x1000u + (port) * 0x400u)
#define FISES(port) (0x4000u + (port) * 0x100u)
#define TABLE(slot) (0x10000u + (slot) * 0x2000u)
#define DATA        0x80000u
#define NOWHERE     0xd0000000u

enum { CLB = 0x00, FB = 0x08, PIS = 0x10, PIE = 0x14, CMD = 0x18, TFD = 0x20, SIG = 0x24, SSTS = 0x28, SCTL = 0x2c, SERR = 0x30,
       SACT = 0x34, CI = 0x38 };
enum { DHRS = 0x1, PSS = 0x2, SDBS = 0x8, DPS = 0x20, OFS = 0x1000000, HBDS = 0x10000000, HBFS = 0x20000000, TFES = 0x40000000 };
enum { ST = 0x1, CLO = 0x8, FRE = 0x10, CR = 0x8000 };

struct drive {
	struct block_backend backend;
	uint8_t bytes[DISK_SIZE];
	bool defer;
	int status;
	struct block_request *waiting[64];
	unsigned count;
	char log[512]; /* a letter for each request carried out */
};

struct fixture {
	struct vm *vm;
	struct irqchip *chip;
	struct pci_root root;
	struct drive drives[2];
	bool intx;
};

/* ---- backends ---- */

static void carry_out(struct drive *drive, struct block_request *request)
{
	uint64_t at = request->offset, total = 0;

	if (strlen(drive->log) < sizeof(drive->log) - 1)
		drive->log[strlen(drive->log)] = "rwfdz"[request->op];
	for (unsigned i = 0; i < request->count; i++)
		total += request->bufs[i].len;
	if (request->op == BLOCK_READ || request->op == BLOCK_WRITE)
		assert_int_equal(total, request->length);
	if (request->op != BLOCK_FLUSH)
		assert_true(at % 512 == 0 && at + request->length <= DISK_SIZE);
	for (unsigned i = 0; i < request->count && !drive->status; at += request->bufs[i++].len) {
		if (request->op == BLOCK_READ)
			memcpy(request->bufs[i].base, drive->bytes + at, request->bufs[i].len);
		else
			memcpy(drive->bytes + at, request->bufs[i].base, request->bufs[i].len);
	}
	if (request->op == BLOCK_DISCARD)
		memset(drive->bytes + at, 0, request->length);
	request->done(request, drive->status);
}

static void drive_submit(struct block_backend *backend, struct block_request *request)
{
	struct drive *drive = container_of(backend, struct drive, backend);

	assert_true(drive->count < ARRAY_SIZE(drive->waiting));
	if (drive->defer)
		drive->waiting[drive->count++] = request;
	else
		carry_out(drive, request);
}

/* The last one first: order is nobody's promise. */
static void finish_one(struct drive *drive)
{
	assert_true(drive->count > 0);
	carry_out(drive, drive->waiting[--drive->count]);
}

static void drive_drain(struct block_backend *backend)
{
	struct drive *drive = container_of(backend, struct drive, backend);

	while (drive->count > 0)
		finish_one(drive);
}

static const struct block_backend_ops drive_ops = {.submit = drive_submit, .drain = drive_drain};

/* ---- the machine ---- */

static void intx(void *ctx, unsigned pirq, bool level)
{
	((struct fixture *)ctx)->intx = level;
}

static uint8_t *ram(struct fixture *f, uint32_t gpa)
{
	return f->vm->mem.slots[0].hva + gpa;
}

static uint32_t get32(struct fixture *f, uint32_t gpa)
{
	uint32_t value;

	memcpy(&value, ram(f, gpa), 4);
	return value;
}

static void put32(struct fixture *f, uint32_t gpa, uint32_t value)
{
	memcpy(ram(f, gpa), &value, 4);
}

static uint32_t get_be(struct fixture *f, uint32_t gpa)
{
	return __builtin_bswap32(get32(f, gpa));
}

static uint32_t reg(struct fixture *f, unsigned offset)
{
	return (uint32_t)machine_read(f->vm, 0, ABAR + offset, 4);
}

static void set_reg(struct fixture *f, unsigned offset, uint32_t value)
{
	machine_write(f->vm, 0, ABAR + offset, 4, value);
}

static uint32_t port_reg(struct fixture *f, unsigned port, unsigned offset)
{
	return reg(f, 0x100 + port * 0x80 + offset);
}

static void set_port_reg(struct fixture *f, unsigned port, unsigned offset, uint32_t value)
{
	set_reg(f, 0x100 + port * 0x80 + offset, value);
}

static void start_port(struct fixture *f, unsigned port)
{
	set_port_reg(f, port, CLB, LIST(port));
	set_port_reg(f, port, FB, FISES(port));
	set_port_reg(f, port, CMD, FRE);
	set_port_reg(f, port, SERR, 0xffffffff);
	set_port_reg(f, port, CMD, FRE | ST);
	set_port_reg(f, port, PIS, 0xffffffff);
	set_port_reg(f, port, PIE, 0xffffffff);
	set_reg(f, 0x08, 0xffffffff);
}

static void bring_up(struct fixture *f)
{
	pci_config_write(&f->root, 0, AHCI_DEVFN, 0x24, 4, ABAR);
	pci_config_write(&f->root, 0, AHCI_DEVFN, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	start_port(f, DISK);
	start_port(f, CD);
	set_reg(f, 0x04, 0x80000002);
	fake_run_work();
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->vm = machine_create(1);
	assert_int_equal(irqchip_create(f->vm, &f->chip), 0);
	pci_root_init(&f->root, f->vm, f->chip);
	f->root.pirq = intx;
	f->root.pirq_ctx = f;
	for (unsigned i = 0; i < 2; i++) {
		f->drives[i].backend = (struct block_backend){.ops = &drive_ops, .size = DISK_SIZE, .read_only = i == CD, .can_discard = i == DISK};
		for (unsigned j = 0; j < DISK_SIZE; j++)
			f->drives[i].bytes[j] = (uint8_t)(j * 7 + j / 512 + i);
	}
	strcpy(f->drives[DISK].backend.serial, "serial-of-the-disk");
	const struct ahci_drive drives[] = {{.backend = &f->drives[DISK].backend}, {.backend = &f->drives[CD].backend, .cdrom = true}};
	assert_int_equal(ahci_create(&f->root, drives, 2), 0);
	devices_reset(f->vm);
	bring_up(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pci_root_fini(&f->root);
	machine_destroy(f->vm);
	free(f);
	return 0;
}

/* ---- commands ---- */

/* What a command's registers are. */
struct regs {
	uint8_t command;
	uint64_t lba;
	uint16_t count, feature;
	uint8_t device;
};

static void put_prd(struct fixture *f, unsigned slot, unsigned index, uint64_t gpa, uint32_t len, bool interrupt)
{
	const uint32_t at = TABLE(slot) + 0x80 + 16 * index;

	put32(f, at, (uint32_t)gpa);
	put32(f, at + 4, (uint32_t)(gpa >> 32));
	put32(f, at + 12, (len - 1) | (interrupt ? 1u << 31 : 0));
}

/* Header and FIS; the PRDT is `prds` entries that the caller fills in. */
static void put_command(struct fixture *f, unsigned port, unsigned slot, struct regs regs, unsigned prds)
{
	uint8_t *fis = ram(f, TABLE(slot));

	memset(ram(f, LIST(port) + 32 * slot), 0, 32);
	put32(f, LIST(port) + 32 * slot, 5 | prds << 16);
	put32(f, LIST(port) + 32 * slot + 8, TABLE(slot));
	memset(fis, 0, 0x80);
	fis[0] = 0x27;
	fis[1] = 0x80;
	fis[2] = regs.command;
	fis[3] = (uint8_t)regs.feature;
	fis[7] = regs.device ? regs.device : 0x40;
	fis[11] = (uint8_t)(regs.feature >> 8);
	fis[12] = (uint8_t)regs.count;
	fis[13] = (uint8_t)(regs.count >> 8);
	for (unsigned i = 0; i < 3; i++) {
		fis[4 + i] = (uint8_t)(regs.lba >> 8 * i);
		fis[8 + i] = (uint8_t)(regs.lba >> (24 + 8 * i));
	}
}

static void issue(struct fixture *f, unsigned port, unsigned slot)
{
	set_port_reg(f, port, CI, 1u << slot);
	fake_run_work();
}

/* In slot 0, with one piece of memory at DATA. Returns PxTFD. */
static uint32_t command(struct fixture *f, unsigned port, struct regs regs, uint32_t len)
{
	put_command(f, port, 0, regs, len ? 1 : 0);
	if (len)
		put_prd(f, 0, 0, DATA, len, false);
	issue(f, port, 0);
	return port_reg(f, port, TFD);
}

/* What a driver does after an error. */
static void recover(struct fixture *f, unsigned port)
{
	set_port_reg(f, port, CMD, FRE);
	assert_int_equal(port_reg(f, port, CMD) & CR, 0);
	assert_int_equal(port_reg(f, port, CI) | port_reg(f, port, SACT), 0);
	set_port_reg(f, port, PIS, 0xffffffff);
	set_port_reg(f, port, CMD, FRE | ST);
}

/* A packet with up to len bytes for DATA. Returns PxTFD; sense key 0 means success. */
static uint32_t packet(struct fixture *f, const uint8_t *bytes, size_t size, uint32_t len)
{
	put_command(f, CD, 0, (struct regs){.command = 0xa0, .feature = 1}, len ? 1 : 0);
	if (len)
		put_prd(f, 0, 0, DATA, len, false);
	memcpy(ram(f, TABLE(0) + 0x40), bytes, size);
	memset(ram(f, DATA), 0xee, 4096);
	issue(f, CD, 0);
	uint32_t tfd = port_reg(f, CD, TFD);

	if (tfd & ATA_ERR)
		recover(f, CD);
	else
		assert_int_equal(port_reg(f, CD, CI), 0);
	return tfd;
}

#define PACKET(f, len, ...) packet(f, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), len)

static uint32_t moved(struct fixture *f, unsigned port, unsigned slot)
{
	return get32(f, LIST(port) + 32 * slot + 4);
}

/* Key, code and qualifier of the last error. */
static uint32_t sense(struct fixture *f)
{
	assert_int_equal(PACKET(f, 18, 0x03, 0, 0, 0, 18) & ATA_ERR, 0);
	return (uint32_t)(*ram(f, DATA + 2) << 16 | *ram(f, DATA + 12) << 8 | *ram(f, DATA + 13));
}

static void assert_disk(struct fixture *f, uint32_t at, const void *bytes, size_t len)
{
	assert_memory_equal(f->drives[DISK].bytes + at, bytes, len);
}

/* ---- registers ---- */

static void test_registers(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(pci_config_read(&f->root, 0, AHCI_DEVFN, 0, 4), 0x29228086);
	assert_int_equal(pci_config_read(&f->root, 0, AHCI_DEVFN, 8, 4) >> 8, 0x010601);
	assert_int_equal(reg(f, 0x00) & 0xc0041f1f, 0xc0041f05); /* 64 bits, NCQ, AHCI only, 32 slots, 6 ports */
	assert_int_equal(reg(f, 0x0c), 0x3f);
	assert_int_equal(reg(f, 0x10), 0x00010301);
	assert_int_equal(port_reg(f, DISK, SSTS), 0x133);
	assert_int_equal(port_reg(f, DISK, SIG), 0x00000101);
	assert_int_equal(port_reg(f, DISK, TFD), 0x150);
	assert_int_equal(port_reg(f, CD, SIG), 0xeb140101);
	assert_int_equal(port_reg(f, ABSENT, SSTS), 0);
	assert_int_equal(port_reg(f, ABSENT, SIG), 0xffffffff);
	assert_int_equal(port_reg(f, ABSENT, TFD), 0x7f);
	/* The signature came as a FIS, too. */
	assert_int_equal(*ram(f, FISES(DISK) + 0x40), 0x34);
	assert_int_equal(*ram(f, FISES(CD) + 0x40 + 5), 0x14);
	/* Alignment, and what is read-only. */
	set_port_reg(f, ABSENT, CLB, 0xffffffff);
	set_port_reg(f, ABSENT, FB, 0xffffffff);
	assert_int_equal(port_reg(f, ABSENT, CLB), 0xfffffc00);
	assert_int_equal(port_reg(f, ABSENT, FB), 0xffffff00);
	set_reg(f, 0x00, 0);
	assert_int_not_equal(reg(f, 0x00), 0);
	/* Commands for nobody, beside a port that isn't there. */
	set_port_reg(f, ABSENT, CMD, FRE | ST);
	set_port_reg(f, ABSENT, CI, 0xffffffff);
	set_reg(f, 0x100 + 6 * 0x80 + CI, 1);
	assert_int_equal(reg(f, 0x100 + 6 * 0x80 + CI), 0);
	fake_run_work();
	assert_int_equal(port_reg(f, ABSENT, PIS), 0);
	/* CI and SACT are taken only while the port runs. */
	set_port_reg(f, DISK, CMD, FRE);
	set_port_reg(f, DISK, SACT, 1);
	set_port_reg(f, DISK, CI, 1);
	assert_int_equal(port_reg(f, DISK, CI) | port_reg(f, DISK, SACT), 0);
}

static void test_create(void **state)
{
	struct fixture *f = *state;
	struct ahci_drive drives[7];
	unsigned live = fake_alloc_live();

	for (unsigned i = 0; i < 7; i++)
		drives[i] = (struct ahci_drive){.backend = &f->drives[DISK].backend};
	assert_int_equal(ahci_create(&f->root, drives, 7), -ENOSPC);
	assert_int_equal(ahci_create(&f->root, drives, 1), -EEXIST);
	for (unsigned i = 0; i < 4; i++) {
		fake_alloc_limit(i);
		assert_int_equal(ahci_create(&f->root, drives, 6), -ENOMEM);
		fake_alloc_limit(UINT32_MAX);
	}
	assert_int_equal(fake_alloc_live(), live);
}

/* ---- the disk ---- */

static void test_identify(void **state)
{
	struct fixture *f = *state;
	uint8_t sum = 0;

	assert_int_equal(command(f, DISK, (struct regs){.command = 0xec}, 512), ATA_DRDY | ATA_DSC);
	assert_int_equal(port_reg(f, DISK, CI), 0);
	assert_int_equal(moved(f, DISK, 0), 512);
	/* Data by PIO ends with its setup FIS. */
	assert_int_equal(port_reg(f, DISK, PIS) & (PSS | DHRS), PSS);
	assert_int_equal(*ram(f, FISES(DISK) + 0x20), 0x5f);
	assert_memory_equal(ram(f, DATA + 20), "esirlao--fht-eidks", 18); /* bytes of words are swapped */
	assert_int_equal(get32(f, DATA + 120), SECTORS);
	assert_int_equal(get32(f, DATA + 200), SECTORS);
	assert_int_equal(*ram(f, DATA + 150), 31); /* queue depth */
	for (unsigned i = 0; i < 512; i++)
		sum = (uint8_t)(sum + *ram(f, DATA + i));
	assert_int_equal(sum, 0);
	/* It is no CD drive. */
	assert_int_equal(command(f, DISK, (struct regs){.command = 0xa1}, 512) & ATA_ERR, ATA_ERR);
	recover(f, DISK);
}

static void test_transfers(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint8_t read, write;
		bool pio;
	} pairs[] = {{0x25, 0x35, false}, {0xc8, 0xca, false}, {0x20, 0x30, true}, {0x24, 0x34, true}, {0x29, 0x39, true}, {0xc4, 0xc5, true}};

	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
		memset(ram(f, DATA), 0, 4096);
		set_port_reg(f, DISK, PIS, 0xffffffff);
		assert_int_equal(command(f, DISK, (struct regs){.command = pairs[i].read, .lba = 3 + i, .count = 5}, 5 * 512), 0x50);
		assert_disk(f, (3 + i) * 512, ram(f, DATA), 5 * 512);
		assert_int_equal(moved(f, DISK, 0), 5 * 512);
		assert_int_equal(port_reg(f, DISK, PIS) & (PSS | DHRS), pairs[i].pio ? PSS : DHRS);
		memset(ram(f, DATA), (int)(0xa0 + i), 4096);
		assert_int_equal(command(f, DISK, (struct regs){.command = pairs[i].write, .lba = 100 + 4 * i, .count = 2}, 1024), 0x50);
		assert_disk(f, (100 + 4 * i) * 512, ram(f, DATA), 1024);
		assert_int_equal(f->drives[DISK].bytes[(102 + 4 * i) * 512], (uint8_t)((102 + 4 * i) * 512 * 7 + 102 + 4 * i));
		assert_int_equal(port_reg(f, DISK, CI), 0);
	}
	/* A cylinder, head and sector: 0, 1, 2. */
	assert_int_equal(command(f, DISK, (struct regs){.command = 0x20, .lba = 2, .count = 1, .device = 0x01}, 512), 0x50);
	assert_disk(f, 64 * 512, ram(f, DATA), 512);
	/* A count of 0 means 256 here, and 65536 where there are 16 bits. */
	assert_int_equal(command(f, DISK, (struct regs){.command = 0xc8}, 256 * 512), 0x50);
	assert_int_equal(moved(f, DISK, 0), 256 * 512);
	assert_int_equal(command(f, DISK, (struct regs){.command = 0x25}, 512), 0x1051);
}

static void test_scatter(void **state)
{
	struct fixture *f = *state;
	unsigned at = DATA, total = 0;

	/* Pieces of odd sizes, more than go into one request; the interrupt bit of the last. */
	for (unsigned i = 0; i < 300; i++) {
		const uint32_t len = i == 299 ? 300 * 512 - total : 2 + i % 400 * 2;

		put_prd(f, 0, i, at, len, i == 299);
		at += len;
		total += len;
	}
	put_command(f, DISK, 0, (struct regs){.command = 0x25, .lba = 1, .count = 300}, 300);
	issue(f, DISK, 0);
	assert_int_equal(port_reg(f, DISK, TFD), 0x50);
	assert_int_equal(moved(f, DISK, 0), 300 * 512);
	assert_disk(f, 512, ram(f, DATA), 300 * 512);
	assert_string_equal(f->drives[DISK].log, "rr");
	assert_int_equal(port_reg(f, DISK, PIS) & DPS, DPS);
	memset(ram(f, DATA + 0x100), 0x77, 300 * 256);
	put_command(f, DISK, 0, (struct regs){.command = 0x35, .lba = 301, .count = 300}, 300);
	issue(f, DISK, 0);
	assert_disk(f, 301 * 512, ram(f, DATA), 300 * 512);
}

static void test_flush(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(command(f, DISK, (struct regs){.command = 0x35, .lba = 1, .count = 1}, 512), 0x50);
	assert_int_equal(command(f, DISK, (struct regs){.command = 0xea}, 0), 0x50);
	assert_int_equal(command(f, DISK, (struct regs){.command = 0x3d, .lba = 1, .count = 1}, 512), 0x50); /* FUA */
	assert_int_equal(command(f, DISK, (struct regs){.command = 0xef, .feature = 0x82}, 0), 0x50);        /* no write cache */
	assert_int_equal(command(f, DISK, (struct regs){.command = 0x35, .lba = 1, .count = 1}, 512), 0x50);
	assert_string_equal(f->drives[DISK].log, "wfwffwf");
	/* One that fails is said to have failed. */
	f->drives[DISK].status = -EIO;
	assert_int_equal(command(f, DISK, (struct regs){.command = 0xe7}, 0), 0x0451);
}

static void test_trim(void **state)
{
	struct fixture *f = *state;
	static const uint8_t zeros[8 * 512];

	memset(ram(f, DATA), 0, 512);
	put32(f, DATA, 16);
	put32(f, DATA + 4, 8u << 16);
	put32(f, DATA + 16, 40); /* behind an empty entry */
	put32(f, DATA + 20, 1u << 16);
	assert_int_equal(command(f, DISK, (struct regs){.command = 0x06, .feature = 1, .count = 1}, 512), 0x50);
	assert_string_equal(f->drives[DISK].log, "dd");
	assert_disk(f, 16 * 512, zeros, sizeof(zeros));
	assert_disk(f, 40 * 512, zeros, 512);
	assert_int_not_equal(f->drives[DISK].bytes[24 * 512], 0);
	/* Over the end. */
	put32(f, DATA, SECTORS - 1);
	put32(f, DATA + 4, 2u << 16);
	assert_int_equal(command(f, DISK, (struct regs){.command = 0x06, .feature = 1, .count = 1}, 512), 0x0451);
	assert_string_equal(f->drives[DISK].log, "dd");
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	static const struct {
		struct regs regs;
		uint32_t tfd;
	} bad[] = {
		{{.command = 0x25, .lba = SECTORS - 1, .count = 2}, 0x1051},
		{{.command = 0x25, .lba = 0xffffffffffff, .count = 1}, 0x1051},
		{{.command = 0x35, .lba = SECTORS, .count = 1}, 0x1051},
		{{.command = 0x25, .count = 1, .device = 0x80}, 0x1051},         /* no LBA */
		{{.command = 0x20, .count = 1, .device = 0x80}, 0x1051},         /* sector 0 of a track */
		{{.command = 0x42, .lba = SECTORS - 1, .count = 2}, 0x1051},
		{{.command = 0xc6, .count = 3}, 0x0451},
		{{.command = 0xef, .feature = 0x99}, 0x0451},
		{{.command = 0x2f, .lba = 0x55, .count = 1}, 0x0451},
		{{.command = 0x06, .feature = 1, .count = 9}, 0x0451},
		{{.command = 0xb0}, 0x0451},
		{{.command = 0xa0}, 0x0451},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(command(f, DISK, bad[i].regs, 4096), bad[i].tfd);
		assert_int_equal(port_reg(f, DISK, PIS) & TFES, TFES);
		assert_int_equal(port_reg(f, DISK, CI), 1); /* it stands still, for the driver to see */
		recover(f, DISK);
	}
	assert_string_equal(f->drives[DISK].log, "");
	f->drives[DISK].backend.read_only = true;
	assert_int_equal(command(f, DISK, (struct regs){.command = 0x35, .count = 1}, 512), 0x0451);
	recover(f, DISK);
	f->drives[DISK].status = -EIO;
	assert_int_equal(command(f, DISK, (struct regs){.command = 0x25, .count = 1}, 512), 0x4051);
	recover(f, DISK);
	f->drives[DISK].status = 0;
	assert_int_equal(command(f, DISK, (struct regs){.command = 0x25, .count = 1}, 512), 0x50);
}

/* Command lists, tables and scatter lists that are not where memory is, or too short. */
static void test_bad_memory(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(command(f, DISK, (struct regs){.command = 0x25, .count = 2}, 1022) & ATA_ERR, ATA_ERR);
	assert_int_equal(port_reg(f, DISK, PIS) & OFS, OFS);
	recover(f, DISK);
	f->drives[DISK].log[0] = '\0';
	put_command(f, DISK, 0, (struct regs){.command = 0x25, .count = 2}, 2);
	put_prd(f, 0, 0, DATA, 512, false);
	put_prd(f, 0, 1, NOWHERE, 512, false);
	issue(f, DISK, 0);
	assert_int_equal(port_reg(f, DISK, PIS) & HBDS, HBDS);
	recover(f, DISK);
	put_prd(f, 0, 1, 0xfffffffffffffffe, 512, false);
	issue(f, DISK, 0);
	assert_int_equal(port_reg(f, DISK, PIS) & HBDS, HBDS);
	recover(f, DISK);
	/* Over the end of RAM. */
	put_prd(f, 0, 0, MACHINE_RAM_SIZE - 512, 1024, false);
	issue(f, DISK, 0);
	assert_int_equal(port_reg(f, DISK, PIS) & HBDS, HBDS);
	recover(f, DISK);
	assert_string_equal(f->drives[DISK].log, "");
	/* The table; then the list. */
	put32(f, LIST(DISK) + 8, NOWHERE);
	issue(f, DISK, 0);
	assert_int_equal(port_reg(f, DISK, PIS) & HBFS, HBFS);
	recover(f, DISK);
	set_port_reg(f, DISK, CLB, NOWHERE);
	issue(f, DISK, 0);
	assert_int_equal(port_reg(f, DISK, PIS) & HBFS, HBFS);
	recover(f, DISK);
	set_port_reg(f, DISK, CLB, LIST(DISK));
	/* No FIS of the host; one for behind a port multiplier. */
	put_command(f, DISK, 0, (struct regs){.command = 0xec}, 0);
	*ram(f, TABLE(0)) = 0x34;
	issue(f, DISK, 0);
	assert_int_equal(port_reg(f, DISK, TFD), 0x0451);
	recover(f, DISK);
	put_command(f, DISK, 0, (struct regs){.command = 0xec}, 0);
	*ram(f, TABLE(0) + 1) = 0x83;
	issue(f, DISK, 0);
	assert_int_equal(port_reg(f, DISK, TFD), 0x0451);
	recover(f, DISK);
	/* Received FISes go nowhere. */
	set_port_reg(f, DISK, FB, NOWHERE);
	put_command(f, DISK, 0, (struct regs){.command = 0xe5}, 0);
	issue(f, DISK, 0);
	assert_int_equal(port_reg(f, DISK, PIS) & HBFS, HBFS);
	set_port_reg(f, DISK, FB, FISES(DISK));
	recover(f, DISK);
	assert_int_equal(command(f, DISK, (struct regs){.command = 0x25, .count = 1}, 512), 0x50);
}

/* ---- queued commands ---- */

static void queue(struct fixture *f, unsigned slot, uint8_t opcode, uint64_t lba, uint16_t count)
{
	put_command(f, DISK, slot, (struct regs){.command = opcode, .lba = lba, .feature = count, .count = (uint16_t)(slot << 3)}, 1);
	put_prd(f, slot, 0, DATA + slot * 0x1000, count * 512u, false);
	set_port_reg(f, DISK, SACT, 1u << slot);
	set_port_reg(f, DISK, CI, 1u << slot);
}

static void test_queued(void **state)
{
	struct fixture *f = *state;
	struct drive *drive = &f->drives[DISK];

	drive->defer = true;
	for (unsigned i = 0; i < 32; i++)
		queue(f, i, 0x60, 8 * i, 8);
	fake_run_work();
	assert_int_equal(drive->count, 32);
	assert_int_equal(port_reg(f, DISK, CI), 0); /* the drive has them all */
	assert_int_equal(port_reg(f, DISK, SACT), 0xffffffff);
	/* Another kind must wait for them. */
	set_port_reg(f, DISK, PIS, 0xffffffff);
	finish_one(drive);
	put_command(f, DISK, 31, (struct regs){.command = 0xea}, 0);
	issue(f, DISK, 31);
	assert_int_equal(drive->count, 31);
	assert_int_equal(port_reg(f, DISK, SACT), 0x7fffffff);
	assert_int_equal(port_reg(f, DISK, PIS) & (SDBS | DHRS), SDBS);
	assert_int_equal(get32(f, FISES(DISK) + 0x58 + 4), 0x80000000);
	for (unsigned i = 0; i < 31; i++)
		finish_one(drive);
	assert_int_equal(port_reg(f, DISK, SACT), 0);
	fake_run_work();
	assert_int_equal(drive->count, 1);
	/* And this one for that. */
	queue(f, 3, 0x61, 0, 8);
	fake_run_work();
	assert_int_equal(drive->count, 1);
	finish_one(drive);
	fake_run_work();
	assert_int_equal(drive->count, 1);
	finish_one(drive);
	assert_int_equal(port_reg(f, DISK, CI) | port_reg(f, DISK, SACT), 0);
	for (unsigned i = 4; i < 32; i++)
		assert_disk(f, i * 4096, ram(f, DATA + i * 0x1000), 4096);
	assert_disk(f, 0, ram(f, DATA + 3 * 0x1000), 4096);
}

static void test_queued_error(void **state)
{
	struct fixture *f = *state;

	queue(f, 5, 0x60, SECTORS - 1, 2);
	fake_run_work();
	assert_int_equal(port_reg(f, DISK, TFD) & 0xff01, 0x1001);
	assert_int_equal(port_reg(f, DISK, PIS) & (TFES | SDBS), TFES | SDBS);
	assert_int_equal(port_reg(f, DISK, SACT), 1u << 5);
	recover(f, DISK);
	/* Which one it was. */
	assert_int_equal(command(f, DISK, (struct regs){.command = 0x2f, .lba = 0x10, .count = 1}, 512), 0x50);
	assert_int_equal(*ram(f, DATA), 5);
	assert_int_equal(*ram(f, DATA + 3), ATA_IDNF);
	assert_int_equal(*ram(f, DATA + 4), (uint8_t)(SECTORS - 1));
	assert_int_equal(command(f, DISK, (struct regs){.command = 0x2f, .lba = 0x10, .count = 1}, 512), 0x50);
	assert_int_equal(*ram(f, DATA), 0x80);
	/* A tag that is not the slot's. */
	put_command(f, DISK, 2, (struct regs){.command = 0x60, .feature = 1, .count = 7 << 3}, 1);
	put_prd(f, 2, 0, DATA, 512, false);
	set_port_reg(f, DISK, SACT, 1u << 2);
	issue(f, DISK, 2);
	assert_int_equal(port_reg(f, DISK, TFD) & ATA_ERR, ATA_ERR);
	assert_string_equal(f->drives[DISK].log, "");
	recover(f, DISK);
}

/* ---- stopping in the middle ---- */

static void test_stop(void **state)
{
	struct fixture *f = *state;
	struct drive *drive = &f->drives[DISK];

	drive->defer = true;
	queue(f, 1, 0x60, 0, 1);
	queue(f, 2, 0x60, 1, 1);
	fake_run_work();
	set_port_reg(f, DISK, CMD, FRE);
	/* The backend still has their memory. */
	assert_int_equal(port_reg(f, DISK, CMD) & CR, CR);
	set_port_reg(f, DISK, PIS, 0xffffffff);
	set_port_reg(f, DISK, CMD, FRE | ST);
	queue(f, 1, 0x60, 2, 1);
	fake_run_work();
	assert_int_equal(drive->count, 2);
	drive_drain(&drive->backend);
	assert_int_equal(port_reg(f, DISK, PIS), 0);
	fake_run_work();
	assert_int_equal(drive->count, 1);
	finish_one(drive);
	assert_int_equal(port_reg(f, DISK, PIS) & SDBS, SDBS);
	assert_disk(f, 2 * 512, ram(f, DATA + 0x1000), 512);
}

static void soft_reset(struct fixture *f, unsigned port)
{
	static const uint8_t control[] = {0x04, 0x00}; /* SRST, and not */

	for (unsigned i = 0; i < ARRAY_SIZE(control); i++) {
		put_command(f, port, 0, (struct regs){0}, 0);
		*ram(f, TABLE(0) + 1) = 0;
		*ram(f, TABLE(0) + 15) = control[i];
		issue(f, port, 0);
		assert_int_equal(port_reg(f, port, CI), 0);
	}
}

static void test_resets(void **state)
{
	struct fixture *f = *state;
	struct drive *drive = &f->drives[DISK];

	soft_reset(f, DISK);
	assert_int_equal(port_reg(f, DISK, TFD), 0x150);
	soft_reset(f, CD);
	assert_int_equal(port_reg(f, CD, SIG), 0xeb140101);
	/* COMRESET with a command under way. */
	drive->defer = true;
	queue(f, 1, 0x60, 0, 1);
	fake_run_work();
	set_port_reg(f, DISK, SCTL, 1);
	assert_int_equal(port_reg(f, DISK, SSTS), 0);
	assert_int_equal(port_reg(f, DISK, SACT), 0);
	drive_drain(&drive->backend);
	fake_run_work();
	set_port_reg(f, DISK, SCTL, 0);
	assert_int_equal(port_reg(f, DISK, SSTS), 0x133);
	assert_int_equal(port_reg(f, DISK, TFD), 0x150);
	assert_int_equal(port_reg(f, DISK, SERR), 0x04010000);
	set_port_reg(f, DISK, SERR, 0xffffffff);
	assert_int_equal(port_reg(f, DISK, SERR), 0);
	/* The whole controller, likewise. */
	recover(f, DISK);
	queue(f, 1, 0x60, 0, 1);
	fake_run_work();
	assert_int_equal(drive->count, 1);
	set_reg(f, 0x04, 0x80000001);
	assert_int_equal(reg(f, 0x04) & 1, 1);
	fake_run_work();
	assert_int_equal(drive->count, 0);
	assert_int_equal(reg(f, 0x04), 0x80000000);
	assert_int_equal(port_reg(f, DISK, CMD) & (ST | FRE | CR), 0);
	bring_up(f);
	drive->defer = false;
	assert_int_equal(command(f, DISK, (struct regs){.command = 0x25, .count = 1}, 512), 0x50);
	/* And the machine. */
	drive->defer = true;
	queue(f, 1, 0x60, 0, 1);
	fake_run_work();
	devices_reset(f->vm);
	assert_int_equal(drive->count, 0);
	bring_up(f);
	drive->defer = false;
	assert_int_equal(command(f, DISK, (struct regs){.command = 0x25, .count = 1}, 512), 0x50);
	/* It goes while the backend is busy. */
	drive->defer = true;
	queue(f, 1, 0x60, 0, 1);
	fake_run_work();
	assert_int_equal(drive->count, 1);
}

/* ---- interrupts ---- */

static void test_interrupts(void **state)
{
	struct fixture *f = *state;
	const unsigned msi = pci_config_read(&f->root, 0, AHCI_DEVFN, PCI_CAPABILITIES, 1);

	assert_false(f->intx);
	assert_int_equal(command(f, DISK, (struct regs){.command = 0xe5}, 0), 0x50);
	assert_true(f->intx);
	assert_int_equal(reg(f, 0x08), 1u << DISK);
	/* The port's bit stays until both are cleared, the port's first. */
	set_reg(f, 0x08, 1u << DISK);
	assert_true(f->intx);
	set_port_reg(f, DISK, PIS, 0xffffffff);
	set_reg(f, 0x08, 1u << DISK);
	assert_false(f->intx);
	/* What nobody asked for. */
	set_port_reg(f, DISK, PIE, 0);
	assert_int_equal(command(f, DISK, (struct regs){.command = 0xe5}, 0), 0x50);
	assert_false(f->intx);
	set_reg(f, 0x04, 0x80000000);
	set_port_reg(f, DISK, PIE, DHRS);
	assert_false(f->intx);
	set_reg(f, 0x04, 0x80000002);
	assert_true(f->intx);
	set_port_reg(f, DISK, PIS, 0xffffffff);
	set_reg(f, 0x08, 0xffffffff);
	/* By message. */
	machine_write(f->vm, 0, LAPIC_DEFAULT_BASE + 0xf0, 4, 0x1ff);
	pci_config_write(&f->root, 0, AHCI_DEVFN, msi + 4, 4, 0xfee00000);
	pci_config_write(&f->root, 0, AHCI_DEVFN, msi + 12, 2, 0x51);
	pci_config_write(&f->root, 0, AHCI_DEVFN, msi + 2, 2, 1);
	assert_int_equal(command(f, DISK, (struct regs){.command = 0xe5}, 0), 0x50);
	assert_false(f->intx);
	assert_int_equal(machine_read(f->vm, 0, LAPIC_DEFAULT_BASE + 0x200 + 0x10 * (0x51 / 32), 4) >> 0x51 % 32 & 1, 1);
}

/* Without access to memory nothing is taken; with it, what has waited. */
static void test_bus_master(void **state)
{
	struct fixture *f = *state;

	pci_config_write(&f->root, 0, AHCI_DEVFN, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	memset(ram(f, DATA), 0xee, 512);
	(void)command(f, DISK, (struct regs){.command = 0x25, .count = 1}, 512);
	assert_int_equal(port_reg(f, DISK, CI), 1);
	assert_int_equal(*ram(f, DATA + 1), 0xee);
	pci_config_write(&f->root, 0, AHCI_DEVFN, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	fake_run_work();
	assert_int_equal(port_reg(f, DISK, CI), 0);
	assert_disk(f, 0, ram(f, DATA), 512);
}

/* ---- the CD drive ---- */

static void test_cd(void **state)
{
	struct fixture *f = *state;
	const uint32_t blocks = DISK_SIZE / 2048;

	/* The first command is told of the reset. */
	assert_int_equal(PACKET(f, 0, 0x00), 0x6451);
	assert_int_equal(PACKET(f, 0, 0x00), 0x50);
	assert_int_equal(PACKET(f, 36, 0x12, 0, 0, 0, 36), 0x50);
	assert_int_equal(*ram(f, DATA), 0x05);
	assert_memory_equal(ram(f, DATA + 8), "RUSE    CD-ROM          ", 24);
	assert_int_equal(PACKET(f, 8, 0x25), 0x50);
	assert_int_equal(get_be(f, DATA), blocks - 1);
	assert_int_equal(get_be(f, DATA + 4), 2048);
	assert_int_equal(PACKET(f, 4096, 0x28, 0, 0, 0, 0, 3, 0, 0, 2), 0x50);
	assert_memory_equal(ram(f, DATA), f->drives[CD].bytes + 3 * 2048, 4096);
	assert_int_equal(moved(f, CD, 0), 4096);
	assert_int_equal(PACKET(f, 2048, 0xa8, 0, 0, 0, 0, 9, 0, 0, 0, 1), 0x50);
	assert_memory_equal(ram(f, DATA), f->drives[CD].bytes + 9 * 2048, 2048);
	assert_int_equal(PACKET(f, 2048, 0xbe, 0, 0, 0, 0, 7, 0, 0, 1, 0x10), 0x50);
	assert_memory_equal(ram(f, DATA), f->drives[CD].bytes + 7 * 2048, 2048);
	assert_int_equal(PACKET(f, 64, 0x43, 0, 0, 0, 0, 0, 0, 0, 64), 0x50);
	assert_int_equal(get_be(f, DATA) >> 16, 18);
	assert_int_equal(get_be(f, DATA + 16), blocks); /* the lead-out */
	/* Less room than there is to say. */
	assert_int_equal(PACKET(f, 64, 0x43, 0, 0, 0, 0, 0, 0, 0, 3), 0x50);
	assert_int_equal(moved(f, CD, 0), 3);
	assert_int_equal(*ram(f, DATA + 3), 0xee);
	/* As an ATA device. */
	assert_int_equal(command(f, CD, (struct regs){.command = 0xa1}, 512), 0x50);
	assert_int_equal(get32(f, DATA) & 0xffff, 0x85c0);
	assert_int_equal(command(f, CD, (struct regs){.command = 0xec}, 512) & ATA_ERR, ATA_ERR);
	assert_int_equal(*ram(f, FISES(CD) + 0x40 + 5), 0x14);
	recover(f, CD);
}

static void test_cd_refused(void **state)
{
	struct fixture *f = *state;
	const uint8_t last = DISK_SIZE / 2048 - 1;

	(void)PACKET(f, 0, 0x00);
	assert_int_equal(PACKET(f, 4096, 0x28, 0, 0, 0, 0, last, 0, 0, 2) & 0xff01, 0x5401);
	assert_int_equal(sense(f), 0x052100);
	assert_int_equal(sense(f), 0);
	assert_int_equal(PACKET(f, 4096, 0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) & ATA_ERR, ATA_ERR);
	assert_int_equal(sense(f), 0x052100);
	assert_int_equal(PACKET(f, 2048, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1) & ATA_ERR, ATA_ERR); /* WRITE (10) */
	assert_int_equal(sense(f), 0x052000);
	assert_int_equal(PACKET(f, 2352, 0xbe, 0, 0, 0, 0, 7, 0, 0, 1, 0xf8) & ATA_ERR, ATA_ERR); /* raw blocks */
	assert_int_equal(sense(f), 0x052400);
	f->drives[CD].status = -EIO;
	assert_int_equal(PACKET(f, 2048, 0x28, 0, 0, 0, 0, 0, 0, 0, 1) & 0xff01, 0x3401);
	assert_int_equal(sense(f), 0x031100);
	f->drives[CD].status = 0;
	/* No room for a block at all, and for less than what is asked. */
	assert_int_equal(PACKET(f, 100, 0x28, 0, 0, 0, 0, 0, 0, 0, 1) & ATA_ERR, ATA_ERR);
	assert_int_equal(PACKET(f, 2048, 0x28, 0, 0, 0, 0, 0, 0, 0, 2) & ATA_ERR, ATA_ERR);
	/* Disk commands are none of its. */
	assert_int_equal(command(f, CD, (struct regs){.command = 0x25, .count = 1}, 512), 0x0451);
	recover(f, CD);
	assert_int_equal(command(f, CD, (struct regs){.command = 0x60, .feature = 1}, 512), 0x0451);
	recover(f, CD);
}

static void test_tray(void **state)
{
	struct fixture *f = *state;

	(void)PACKET(f, 0, 0x00);
	assert_int_equal(PACKET(f, 0, 0x1e, 0, 0, 0, 1), 0x50);
	assert_int_equal(PACKET(f, 0, 0x1b, 0, 0, 0, 2) & ATA_ERR, ATA_ERR);
	assert_int_equal(sense(f), 0x055302);
	assert_int_equal(PACKET(f, 0, 0x1e, 0, 0, 0, 0), 0x50);
	assert_int_equal(PACKET(f, 0, 0x1b, 0, 0, 0, 2), 0x50);
	assert_int_equal(PACKET(f, 2048, 0x28, 0, 0, 0, 0, 0, 0, 0, 1) & 0xff01, 0x2401);
	assert_int_equal(sense(f), 0x023a02);
	assert_int_equal(PACKET(f, 8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 0x50);
	assert_int_equal(*ram(f, DATA + 4), 3); /* it was removed */
	assert_int_equal(*ram(f, DATA + 5), 1);
	assert_int_equal(PACKET(f, 0, 0x1b, 0, 0, 0, 3), 0x50);
	assert_int_equal(PACKET(f, 8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 0x50);
	assert_int_equal(*ram(f, DATA + 4), 2);
	assert_int_equal(*ram(f, DATA + 5), 2);
	assert_int_equal(PACKET(f, 2048, 0x28, 0, 0, 0, 0, 0, 0, 0, 1), 0x50);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_registers), TEST(test_create),	TEST(test_identify), TEST(test_transfers),  TEST(test_scatter),
		TEST(test_flush),     TEST(test_trim),		TEST(test_refused),  TEST(test_bad_memory), TEST(test_queued),
		TEST(test_queued_error), TEST(test_stop),	TEST(test_resets),   TEST(test_interrupts), TEST(test_bus_master),
		TEST(test_cd),	      TEST(test_cd_refused),	TEST(test_tray),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
