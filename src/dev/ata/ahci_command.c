/* The AHCI controller's command lists: taking commands, their memory, their ends; see ahci_private.h. AHCI 1.3.1 sections 4 to 6,
 * FISes as of Serial ATA 3.0, 10.3.
 *
 * Guest memory is read once where that matters: header, FIS and packet are copied, and each entry of the PRDT is read when its turn
 * comes; what is given to a backend are host addresses of RAM, at most AHCI_SEGS pieces in one request. A longer command is
 * several requests, one after the other.
 *
 * Example: see ahci_private.h.
 */
#include "base/checked.h"
#include "base/errno.h"
#include "base/string.h"
#include "dev/ata/ahci_private.h"
#include "mem/mem.h"

#define HEADER_SIZE  32u
#define HEADER_PRDBC 4u
#define TABLE_ACMD   0x40u
#define TABLE_PRDT   0x80u
#define PRD_SIZE     16u
#define PRD_COUNT    0x003fffffu
#define PRD_I        0x80000000u

#define FIS_H2D       0x27u
#define FIS_D2H       0x34u
#define FIS_SDB       0xa1u
#define FIS_PIO_SETUP 0x5fu
#define FIS_SIZE      20u
#define FIS_SDB_SIZE  8u
#define FIS_C         0x80u /* H2D: a command, not the control register */
#define FIS_I         0x40u /* D2H: an interrupt */
#define FIS_D         0x20u /* PIO Setup: to the host */
#define CONTROL_SRST  0x04u

/* Where FISes are received, 4.2.1 */
#define RECEIVED_PIO_SETUP 0x20u
#define RECEIVED_D2H       0x40u
#define RECEIVED_SDB       0x58u

#define REASON_DONE 3u /* interrupt reason: the end of a packet command */

static struct mem *mem_of(const struct ahci_port *port)
{
	return &port->ahci->pci.dev.vm->mem;
}

static uint32_t get32(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t get64(const uint8_t *at)
{
	return get32(at) | (uint64_t)get32(at + 4) << 32;
}

/* ---- FISes to the host ---- */

static void halt(struct ahci_port *port, uint32_t why)
{
	port->is |= why;
	port->halted = true;
}

static void receive(struct ahci_port *port, unsigned where, const uint8_t *fis, size_t size)
{
	if ((port->cmd & CMD_FRE) && mem_write(mem_of(port), port->fb + where, fis, size) < 0)
		halt(port, PORT_HBFS);
}

static void put_registers(const struct ahci_port *port, const struct ata_command *command, uint8_t *fis)
{
	const uint64_t lba = !command->signature ? command->lba : port->cdrom ? 0xeb1401 : 0x000001;

	fis[2] = command->status;
	fis[3] = command->error;
	for (unsigned i = 0; i < 3; i++) {
		fis[4 + i] = (uint8_t)(lba >> (8 * i));
		fis[8 + i] = (uint8_t)(lba >> (24 + 8 * i));
	}
	fis[7] = command->signature ? 0 : command->device;
	fis[12] = command->signature ? 1 : (uint8_t)command->count;
	fis[13] = command->signature ? 0 : (uint8_t)(command->count >> 8);
}

void ahci_port_post_registers(struct ahci_port *port, const struct ata_command *command, bool interrupt)
{
	uint8_t fis[FIS_SIZE] = {FIS_D2H, interrupt ? FIS_I : 0};

	put_registers(port, command, fis);
	port->tfd = (uint32_t)command->error << 8 | command->status;
	receive(port, RECEIVED_D2H, fis, sizeof(fis));
	if (interrupt)
		port->is |= PORT_DHRS;
	if (command->status & ATA_ERR)
		halt(port, PORT_TFES);
}

/* Data by the PIO protocol has gone to the host, or is about to come from it. */
static void post_pio_setup(struct ahci_port *port, const struct ata_command *command, uint64_t len, bool in)
{
	uint8_t fis[FIS_SIZE] = {FIS_PIO_SETUP, (uint8_t)(in ? FIS_D | FIS_I : 0)};

	put_registers(port, command, fis);
	fis[2] = (uint8_t)(command->status | ATA_DRQ);
	fis[15] = command->status;
	fis[16] = (uint8_t)len;
	fis[17] = (uint8_t)(len >> 8);
	port->tfd = (uint32_t)command->error << 8 | command->status;
	receive(port, RECEIVED_PIO_SETUP, fis, sizeof(fis));
	if (in)
		port->is |= PORT_PSS;
	else
		port->tfd |= ATA_BSY;
}

/* A queued command has ended. */
static void post_device_bits(struct ahci_port *port, const struct ata_command *command, uint32_t bits)
{
	const uint8_t status = command->status & 0x77;
	const uint8_t fis[FIS_SDB_SIZE] = {FIS_SDB,		FIS_I,		       status,		      command->error,
					   (uint8_t)bits,       (uint8_t)(bits >> 8), (uint8_t)(bits >> 16), (uint8_t)(bits >> 24)};

	port->tfd = (uint32_t)command->error << 8 | (port->tfd & 0x88) | status;
	receive(port, RECEIVED_SDB, fis, sizeof(fis));
	port->sact &= ~bits;
	port->is |= PORT_SDBS;
	if (command->status & ATA_ERR)
		halt(port, PORT_TFES);
}

/* ---- the ends of a command ---- */

static uint32_t bit_of(const struct ahci_slot *slot)
{
	return 1u << slot->index;
}

static void release(struct ahci_slot *slot)
{
	slot->state = SLOT_IDLE;
	slot->port->taken &= ~bit_of(slot);
	ahci_update_interrupt(slot->port->ahci);
}

static void put_packet_end(struct ahci_slot *slot)
{
	const uint8_t key = slot->packet.sense_key;

	slot->ata.status = (uint8_t)(ATA_DRDY | ATA_DSC | (key ? ATA_ERR : 0));
	slot->ata.error = (uint8_t)(key << 4 | (key ? ATA_ABRT : 0));
	slot->ata.count = REASON_DONE;
	slot->ata.lba = (uint64_t)(slot->moved & 0xffff) << 8;
}

static void write_moved(struct ahci_slot *slot)
{
	const uint32_t moved = slot->moved;

	if (mem_write(mem_of(slot->port), slot->header + HEADER_PRDBC, &moved, sizeof(moved)) < 0)
		halt(slot->port, PORT_HBFS);
}

static void finish(struct ahci_slot *slot)
{
	struct ahci_port *port = slot->port;
	struct ata_command *ata = &slot->ata;

	if (slot->is_packet)
		put_packet_end(slot);
	const bool good = !(ata->status & ATA_ERR);

	if (slot->prd_interrupt)
		port->is |= PORT_DPS;
	if (ata->queued) {
		post_device_bits(port, ata, good ? bit_of(slot) : 0);
	} else {
		const bool data_in = good && ata->pio && slot->moved && ata->kind != ATA_WRITE;

		write_moved(slot);
		if (good)
			port->ci &= ~bit_of(slot);
		if (data_in)
			post_pio_setup(port, ata, slot->moved, true);
		if (!data_in || slot->is_packet)
			ahci_port_post_registers(port, ata, true);
	}
	release(slot);
}

/* The command can't go on: its memory is none. The port stands still until the driver has looked. */
static void break_off(struct ahci_slot *slot, uint32_t why)
{
	halt(slot->port, why);
	release(slot);
}

/* Its data does not fit. */
static void overflow(struct ahci_slot *slot)
{
	slot->port->is |= PORT_OFS;
	if (slot->is_packet)
		cdrom_failed(&slot->port->drive, &slot->packet);
	else
		ata_disk_refuse(&slot->port->disk, &slot->ata);
	finish(slot);
}

static void memory_failed(struct ahci_slot *slot, int err)
{
	if (err == -ENOSPC)
		overflow(slot);
	else
		break_off(slot, PORT_HBDS);
}

/* ---- the PRDT ---- */

/* The piece of memory that comes next, at most `want` bytes. 1: there it is; 0: there is no more; -EFAULT. */
static int next_piece(struct ahci_slot *slot, uint64_t want, bool writable, struct ahci_seg *seg, struct iobuf *buf)
{
	struct mem *mem = mem_of(slot->port);

	for (; slot->entry < slot->prdt_length; slot->entry++, slot->offset = 0) {
		uint8_t prd[PRD_SIZE];
		uint64_t len, gpa;
		struct mem_slot *ram;

		if (mem_read(mem, slot->table + TABLE_PRDT + (uint64_t)slot->entry * PRD_SIZE, prd, sizeof(prd)) < 0)
			return -EFAULT;
		len = (uint64_t)(get32(prd + 12) & PRD_COUNT) + 1;
		slot->prd_interrupt |= (get32(prd + 12) & PRD_I) != 0;
		if (slot->offset >= len)
			continue;
		len -= slot->offset;
		if (add_overflow(get64(prd) & ~1ull, (uint64_t)slot->offset, &gpa))
			return -EFAULT;
		ram = mem_find(mem, gpa);
		if (!ram)
			return -EFAULT;
		if (len > ram->gpa + ram->size - gpa)
			len = ram->gpa + ram->size - gpa;
		if (len > want)
			len = want;
		buf->base = writable ? mem_hva_writable(mem, gpa, len) : mem_hva(mem, gpa, len);
		if (!buf->base)
			return -EFAULT;
		buf->len = (size_t)len;
		*seg = (struct ahci_seg){.gpa = gpa, .entry = slot->entry, .offset = slot->offset};
		slot->offset += (uint32_t)len;
		return 1;
	}
	return 0;
}

/* Takes `excess` bytes off the end of what was collected. */
static void give_back(struct ahci_slot *slot, uint64_t excess)
{
	while (excess > 0) {
		struct iobuf *buf = &slot->bufs[slot->seg_count - 1];
		const struct ahci_seg *seg = &slot->segs[slot->seg_count - 1];
		const uint64_t part = excess < buf->len ? excess : buf->len;

		buf->len -= (size_t)part;
		excess -= part;
		slot->entry = seg->entry;
		slot->offset = seg->offset + (uint32_t)buf->len;
		if (!buf->len)
			slot->seg_count--;
	}
}

/* The memory of the next request: up to `want` bytes, whole sectors, at least one. -EFAULT; -ENOSPC: the table has no more. */
static int collect(struct ahci_slot *slot, uint64_t want, bool writable, uint64_t *length)
{
	uint64_t total = 0;
	int r = 1;

	slot->seg_count = 0;
	while (slot->seg_count < AHCI_SEGS && total < want) {
		r = next_piece(slot, want - total, writable, &slot->segs[slot->seg_count], &slot->bufs[slot->seg_count]);
		if (r <= 0)
			break;
		total += slot->bufs[slot->seg_count++].len;
	}
	if (r < 0)
		return r;
	give_back(slot, total % ATA_SECTOR);
	*length = total - total % ATA_SECTOR;
	return *length ? 0 : -ENOSPC;
}

/* Copies to or from the host's memory, as much as there is of it. Returns how many bytes; -EFAULT. */
static int64_t copy(struct ahci_slot *slot, uint8_t *bytes, size_t len, bool to_host)
{
	size_t done = 0;

	while (done < len) {
		struct ahci_seg seg;
		struct iobuf buf;
		const int r = next_piece(slot, len - done, to_host, &seg, &buf);

		if (r < 0)
			return r;
		if (!r)
			break;
		if (to_host) {
			memcpy(buf.base, bytes + done, buf.len);
			mem_mark_written(mem_of(slot->port), seg.gpa, buf.len);
		} else {
			memcpy(bytes + done, buf.base, buf.len);
		}
		done += buf.len;
	}
	return (int64_t)done;
}

/* ---- what a command does ---- */

static void io_done(struct block_request *io, int status);

static void prepare(struct ahci_slot *slot, enum block_op op, uint64_t offset, uint64_t length)
{
	const bool data = op == BLOCK_READ || op == BLOCK_WRITE;

	slot->io = (struct block_request){.op = op,
					  .offset = offset,
					  .length = length,
					  .bufs = slot->bufs,
					  .count = data ? slot->seg_count : 0,
					  .done = io_done,
					  .ctx = slot};
	if (!data)
		slot->seg_count = 0;
	slot->state = SLOT_READY;
}

static void transfer_part(struct ahci_slot *slot)
{
	const bool read = slot->is_packet || slot->ata.kind == ATA_READ;
	const uint64_t offset = slot->is_packet ? slot->packet.offset : slot->ata.offset;
	uint64_t length;
	const int r = collect(slot, slot->left, read, &length);

	if (r)
		memory_failed(slot, r);
	else
		prepare(slot, read ? BLOCK_READ : BLOCK_WRITE, offset, length);
}

static void reply(struct ahci_slot *slot, uint64_t len)
{
	const int64_t done = copy(slot, slot->port->reply, (size_t)len, true);

	if (done < 0) {
		memory_failed(slot, (int)done);
		return;
	}
	slot->moved = (uint32_t)done;
	finish(slot);
}

/* The next of the ranges that the host has sent. */
static void trim_part(struct ahci_slot *slot)
{
	uint64_t offset, length;
	uint8_t entry[8];

	while (slot->left >= sizeof(entry)) {
		const int64_t done = copy(slot, entry, sizeof(entry), false);

		if (done != sizeof(entry)) {
			memory_failed(slot, done < 0 ? (int)done : -ENOSPC);
			return;
		}
		slot->left -= sizeof(entry);
		slot->moved += (uint32_t)sizeof(entry);
		if (!ata_trim_range(&slot->port->disk, entry, &offset, &length)) {
			ata_abort(&slot->ata);
			break;
		}
		if (length) {
			prepare(slot, BLOCK_DISCARD, offset, length);
			return;
		}
	}
	finish(slot);
}

static void begin_packet(struct ahci_slot *slot)
{
	struct ahci_port *port = slot->port;
	struct cdrom_command *packet = &slot->packet;

	slot->is_packet = true;
	if (mem_read(mem_of(port), slot->table + TABLE_ACMD, packet->packet, sizeof(packet->packet)) < 0) {
		break_off(slot, PORT_HBFS);
		return;
	}
	cdrom_begin(&port->drive, packet, port->reply);
	slot->left = packet->length;
	if (packet->kind == ATA_REPLY)
		reply(slot, packet->length);
	else if (packet->kind == ATA_READ)
		transfer_part(slot);
	else
		finish(slot);
}

static void begin(struct ahci_slot *slot)
{
	switch (slot->ata.kind) {
	case ATA_DONE:
		finish(slot);
		break;
	case ATA_REPLY:
		reply(slot, slot->ata.length);
		break;
	case ATA_READ:
	case ATA_WRITE:
		if (slot->ata.pio && slot->ata.kind == ATA_WRITE)
			post_pio_setup(slot->port, &slot->ata, ATA_SECTOR, false);
		transfer_part(slot);
		break;
	case ATA_FLUSH:
		prepare(slot, BLOCK_FLUSH, 0, 0);
		break;
	case ATA_TRIM:
		trim_part(slot);
		break;
	case ATA_PACKET:
		begin_packet(slot);
		break;
	}
}

/* The backend has done what it was given. */
static void advance(struct ahci_slot *slot, int status)
{
	struct ata_command *ata = &slot->ata;
	const enum block_op op = slot->io.op;

	if (status < 0) {
		if (slot->is_packet)
			cdrom_failed(&slot->port->drive, &slot->packet);
		else
			ata_disk_failed(&slot->port->disk, ata);
		finish(slot);
		return;
	}
	if (op == BLOCK_DISCARD) {
		trim_part(slot);
		return;
	}
	if (op != BLOCK_FLUSH) {
		slot->moved += (uint32_t)slot->io.length;
		slot->left -= slot->io.length;
		if (slot->is_packet)
			slot->packet.offset += slot->io.length;
		else
			ata->offset += slot->io.length;
		if (slot->left) {
			transfer_part(slot);
			return;
		}
		if (ata->flush_after) {
			ata->flush_after = false;
			prepare(slot, BLOCK_FLUSH, 0, 0);
			return;
		}
	}
	finish(slot);
}

static void io_done(struct block_request *io, int status)
{
	struct ahci_slot *slot = io->ctx;
	struct ahci_port *port = slot->port;
	struct ahci *ahci = port->ahci;

	lock_take(&ahci->lock);
	if (io->op == BLOCK_READ)
		for (unsigned i = 0; i < slot->seg_count; i++)
			mem_mark_written(mem_of(port), slot->segs[i].gpa, slot->bufs[i].len);
	if (slot->stale) {
		slot->stale = false;
		slot->state = SLOT_IDLE;
		port->stale--;
	} else {
		advance(slot, status);
	}
	if (!ahci->gone)
		work_post(&ahci->work);
	lock_release(&ahci->lock);
}

/* ---- taking commands ---- */

/* The control register: SRST going to 1 and back resets the drive. */
static void write_control(struct ahci_slot *slot, uint8_t control)
{
	struct ahci_port *port = slot->port;
	const bool reset = control & CONTROL_SRST;

	port->ci &= ~bit_of(slot);
	if (port->soft_reset && !reset) {
		if (port->cdrom)
			cdrom_reset(&port->drive);
		else
			ata_disk_reset(&port->disk);
		ahci_port_signature(port);
	}
	port->soft_reset = reset;
	release(slot);
}

static void take_registers(struct ata_command *command, const uint8_t *fis)
{
	*command = (struct ata_command){
		.command = fis[2],
		.device = fis[7],
		.feature = (uint16_t)(fis[3] | fis[11] << 8),
		.count = (uint16_t)(fis[12] | fis[13] << 8),
	};
	for (unsigned i = 0; i < 3; i++)
		command->lba |= (uint64_t)fis[4 + i] << (8 * i) | (uint64_t)fis[8 + i] << (24 + 8 * i);
}

static void start_command(struct ahci_slot *slot)
{
	struct ahci_port *port = slot->port;
	struct ata_command *ata = &slot->ata;

	if (port->cdrom)
		cdrom_begin_ata(&port->drive, ata, port->reply);
	else
		ata_disk_begin(&port->disk, ata, port->reply);
	slot->left = ata->length;
	if (ata->queued) {
		/* The drive takes it, and is free for the next one. */
		const struct ata_command taken = {.status = ATA_DRDY, .device = ata->device};

		port->ci &= ~bit_of(slot);
		if (ata->tag != slot->index)
			ata_disk_refuse(&port->disk, ata);
		ahci_port_post_registers(port, &taken, false);
	} else {
		port->tfd = (port->tfd | ATA_BSY) & ~(uint32_t)ATA_ERR;
	}
	begin(slot);
}

/* Queued commands run side by side, all others alone. */
static bool must_wait(const struct ahci_port *port, const uint8_t *fis)
{
	const bool queued = !port->cdrom && (fis[1] & FIS_C) && (fis[2] == 0x60 || fis[2] == 0x61);

	if (!port->taken)
		return false;
	if (!queued)
		return true;
	for (unsigned i = 0; i < AHCI_SLOTS; i++)
		if ((port->taken >> i & 1) && !port->slots[i].ata.queued)
			return true;
	return false;
}

/* False: it must wait. */
static bool take_command(struct ahci_slot *slot)
{
	struct ahci_port *port = slot->port;
	uint8_t header[HEADER_SIZE], fis[FIS_SIZE] = {0};

	slot->header = port->clb + (uint64_t)slot->index * HEADER_SIZE;
	slot->is_packet = slot->prd_interrupt = false;
	slot->entry = slot->offset = slot->moved = 0;
	slot->seg_count = 0;
	if (mem_read(mem_of(port), slot->header, header, sizeof(header)) < 0) {
		halt(port, PORT_HBFS);
		return false;
	}
	slot->prdt_length = get32(header) >> 16;
	slot->table = get64(header + 8) & ~0x7full;
	if (mem_read(mem_of(port), slot->table, fis, sizeof(fis)) < 0) {
		halt(port, PORT_HBFS);
		return false;
	}
	if (must_wait(port, fis))
		return false;
	port->taken |= bit_of(slot);
	port->last = slot->index;
	take_registers(&slot->ata, fis);
	if (fis[0] != FIS_H2D || (fis[1] & 15)) {
		/* No FIS that a drive understands, or one for behind a port multiplier. */
		ata_abort(&slot->ata);
		finish(slot);
	} else if (fis[1] & FIS_C) {
		start_command(slot);
	} else {
		write_control(slot, fis[15]);
	}
	return true;
}

static bool runs(const struct ahci_port *port)
{
	const unsigned detection = port->sctl & 15;

	return (port->cmd & CMD_ST) && !port->halted && !port->stale && port->ahci->master && !port->ahci->resetting &&
	       detection != 1 && detection != 4;
}

/* The one after the last that was taken, in turn. */
static struct ahci_slot *next_slot(struct ahci_port *port)
{
	const uint32_t waiting = port->ci & ~port->taken;

	for (unsigned i = 1; i <= AHCI_SLOTS; i++) {
		const unsigned index = (port->last + i) % AHCI_SLOTS;

		if (waiting >> index & 1)
			return &port->slots[index];
	}
	return NULL;
}

bool ahci_port_work(struct ahci_port *port)
{
	for (unsigned i = 0; i < AHCI_SLOTS; i++) {
		struct ahci_slot *slot = runs(port) ? next_slot(port) : NULL;

		if (!slot)
			return false;
		if (!take_command(slot)) {
			ahci_update_interrupt(port->ahci);
			return false;
		}
	}
	return true;
}

void ahci_port_stop(struct ahci_port *port)
{
	for (unsigned i = 0; port->slots && i < AHCI_SLOTS; i++) {
		struct ahci_slot *slot = &port->slots[i];

		if (slot->state == SLOT_READY)
			slot->state = SLOT_IDLE;
		if (slot->state != SLOT_BUSY || slot->stale)
			continue;
		slot->stale = true;
		port->stale++;
	}
	port->ci = port->sact = port->taken = 0;
	port->halted = false;
	port->last = 0;
}
