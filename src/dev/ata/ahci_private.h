/* The two halves of the AHCI controller: ahci.c has the registers and resets, ahci_command.c the command lists.
 *
 * All state of ports and slots is under ahci->lock, which nests inside the function's device lock and the root's. Commands are
 * taken, and given to backends, on the I/O thread.
 *
 * Example: `port->ci |= 1; work_post(&ahci->work);`
 */
#ifndef DEV_ATA_AHCI_PRIVATE_H
#define DEV_ATA_AHCI_PRIVATE_H

#include "core/platform.h"
#include "dev/ata/ahci.h"
#include "dev/ata/ata.h"
#include "dev/ata/cdrom.h"

#define AHCI_SLOTS 32u
#define AHCI_SEGS  256u /* pieces of memory in one request to a backend */

/* PxIS and PxIE */
#define PORT_DHRS 0x00000001u /* Register FIS, device to host */
#define PORT_PSS  0x00000002u /* PIO Setup FIS */
#define PORT_SDBS 0x00000008u /* Set Device Bits FIS */
#define PORT_DPS  0x00000020u /* a PRD with its interrupt bit is done */
#define PORT_PCS  0x00000040u /* SERR.DIAG.X */
#define PORT_PRCS 0x00400000u /* SERR.DIAG.N */
#define PORT_OFS  0x01000000u /* more data than the PRDT has room for */
#define PORT_HBDS 0x10000000u /* data that is not in RAM */
#define PORT_HBFS 0x20000000u /* a command or received FISes that are not in RAM */
#define PORT_TFES 0x40000000u /* the drive said ERR */

/* PxCMD */
#define CMD_ST    0x00000001u
#define CMD_SUD   0x00000002u
#define CMD_POD   0x00000004u
#define CMD_CLO   0x00000008u
#define CMD_FRE   0x00000010u
#define CMD_FR    0x00004000u
#define CMD_CR    0x00008000u
#define CMD_ATAPI 0x01000000u
#define CMD_DLAE  0x02000000u
#define CMD_ICC   0xf0000000u

struct ahci;
struct ahci_port;

/* A piece of a request's memory: where it is, and where in the PRDT it begins. */
struct ahci_seg {
	gpa_t gpa;
	uint32_t entry, offset;
};

enum slot_state {
	SLOT_IDLE,
	SLOT_READY,   /* io is to be submitted */
	SLOT_BUSY,    /* the backend has it */
};

/* A command, from when it is taken until its end. */
struct ahci_slot {
	struct ahci_port *port;
	unsigned index;
	enum slot_state state;
	bool stale;         /* the port was stopped meanwhile: nobody wants to hear of it */
	gpa_t header, table;
	uint32_t prdt_length; /* entries */
	uint32_t entry, offset; /* where in the PRDT it goes on */
	bool prd_interrupt; /* a PRD with its interrupt bit was used */
	uint64_t left;      /* bytes, of ATA_READ, ATA_WRITE and ATA_TRIM */
	uint32_t moved;     /* bytes, for PRDBC */
	struct ata_command ata;
	struct cdrom_command packet;
	bool is_packet;
	struct block_request io;
	unsigned seg_count;
	struct iobuf bufs[AHCI_SEGS];
	struct ahci_seg segs[AHCI_SEGS];
};

struct ahci_port {
	struct ahci *ahci;
	unsigned index;
	bool present, cdrom;
	struct ata_disk disk;
	struct cdrom drive;
	uint64_t clb, fb;
	uint32_t is, ie, cmd, tfd, sig, sctl, serr, sact, ci;
	uint32_t taken;         /* slots whose commands are under way */
	unsigned last;          /* slot */
	bool halted;            /* by an error, until ST is cleared */
	bool soft_reset;        /* SRST was set */
	bool signature_waits;   /* the drive's first FIS, for FRE */
	unsigned stale;         /* commands of before the port was stopped, that have not ended */
	struct ahci_slot *slots; /* AHCI_SLOTS, if there is a drive */
	uint8_t reply[CDROM_REPLY_SIZE];
};

struct ahci {
	struct pci_function pci;
	struct lock lock;
	struct work work;
	bool master;   /* the guest lets it access memory */
	bool resetting; /* GHC.HR */
	bool gone;
	uint32_t ghc, is;
	struct ahci_port ports[AHCI_PORTS];
};

/* ---- ahci.c; lock held ---- */

/* Something in interrupt registers has changed. */
void ahci_update_interrupt(struct ahci *ahci);
/* The drive's registers as a reset leaves them go to the host, as soon as it takes FISes. */
void ahci_port_signature(struct ahci_port *port);

/* ---- ahci_command.c; lock held ---- */

/* Takes what commands there are. Those in state SLOT_READY are to be submitted. True: there may be more. */
bool ahci_port_work(struct ahci_port *port) must_check;
/* ST is cleared, or there is a reset: forgets all commands. */
void ahci_port_stop(struct ahci_port *port);
/* A Register FIS from the drive, with what command has in its registers. */
void ahci_port_post_registers(struct ahci_port *port, const struct ata_command *command, bool interrupt);

#endif
