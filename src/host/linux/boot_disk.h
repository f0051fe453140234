/* What firmware does a disk want? Told from its first sectors: boot code for a BIOS, or an EFI system partition; of a CD from
 * its boot catalog.
 *
 * Example: boot_disk_firmware(backend) is "ovmf" for a disk whose GPT has an EFI system partition and no boot code.
 */
#ifndef HOST_LINUX_BOOT_DISK_H
#define HOST_LINUX_BOOT_DISK_H

#include "core/backend.h"

/* "seabios", "ovmf", or NULL: it holds nothing that either could start, or can't be read. A disk that either could start gets
 * SeaBIOS, which is quicker. Set-up only: waits for the backend. */
const char *boot_disk_firmware(struct block_backend *disk);

#endif
