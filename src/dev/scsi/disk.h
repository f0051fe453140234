/* A direct-access SCSI device (SBC-4) in front of a block backend: what a host bus adapter gives its commands to.
 *
 * Blocks have 512 bytes. The medium is thin if the backend can discard; its write cache is on, SYNCHRONIZE CACHE and FUA flush it.
 *
 * Example (the adapter; task->disk, cdb, bufs, count, out_len or in_len are set):
 *     if (scsi_disk_begin(task))
 *             do backend->ops->submit(backend, &task->io); wait for its end; while (scsi_disk_continue(task, status));
 *     ... task->status, task->sense, task->transferred ...
 */
#ifndef DEV_SCSI_DISK_H
#define DEV_SCSI_DISK_H

#include "base/types.h"
#include "core/backend.h"

#define SCSI_CDB_SIZE    32
#define SCSI_SENSE_SIZE  18 /* fixed format, SPC-4 4.5.3 */
#define SCSI_BLOCK_SIZE  512u
#define SCSI_LUNS_MAX    16u
#define SCSI_SEGS_MAX    256u
#define SCSI_RANGES_MAX  16u /* of an UNMAP */

/* SAM-5 5.3.1 */
enum scsi_status { SCSI_GOOD = 0x00, SCSI_CHECK_CONDITION = 0x02 };

struct scsi_disk {
	struct block_backend *backend;
	unsigned lun;
	uint32_t luns;            /* one bit for each logical unit beside this one, its own included: REPORT LUNS */
	bool unit_attention;      /* the next command is told that there was a reset */
};

struct scsi_range {
	uint64_t offset, length; /* bytes */
};

/* One command. The adapter owns it until it has ended. */
struct scsi_task {
	/* Set by the adapter. Data goes one way: at most one of out_len and in_len is not 0. */
	struct scsi_disk *disk;   /* NULL: there is no such logical unit */
	uint32_t luns;            /* as above, for a unit that isn't there */
	uint8_t cdb[SCSI_CDB_SIZE];
	struct iobuf bufs[SCSI_SEGS_MAX];
	unsigned count;
	uint64_t out_len, in_len; /* bytes: from the initiator, to it */

	/* Results. */
	enum scsi_status status;
	uint8_t sense[SCSI_SENSE_SIZE]; /* with CHECK CONDITION */
	uint64_t transferred;     /* bytes, a prefix of the data */
	bool overrun;             /* the command moves more data than there are buffers: nothing was done */

	/* What is to be submitted; done and ctx are the adapter's. */
	struct block_request io;

	/* Private: what follows io. */
	bool flush_after;
	struct scsi_range ranges[SCSI_RANGES_MAX];
	unsigned range_count, range_next;
	uint8_t pattern[SCSI_BLOCK_SIZE]; /* of a WRITE SAME */
	uint64_t same_offset, same_left;
};

/* Looks at the command. True: io is to be submitted to the disk's backend; false: it has ended. */
bool scsi_disk_begin(struct scsi_task *task) must_check;
/* io has ended with status. True: io is another one, to be submitted; false: the command has ended. */
bool scsi_disk_continue(struct scsi_task *task, int status) must_check;

#endif
