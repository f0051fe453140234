/* See boot_disk.h. Formats: UEFI specification 2.10, 5.2 (the legacy MBR) and 5.3 (GPT); the El Torito specification 1.0.
 *
 * Example: a GPT's header begins with "EFI PART" in sector 1; each entry with its type's GUID.
 */
#include "host/linux/boot_disk.h"
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR          512u
#define CODE_SIZE       440u
#define PARTITIONS_AT   446u
#define SIGNATURE_AT    510u
#define TYPE_EFI_SYSTEM 0xefu
#define MAX_ENTRIES     128u
#define ENTRY_SIZE      128u

#define CD_SECTOR     2048u
#define CATALOG_ENTRY 32u
#define PLATFORM_X86  0x00u
#define PLATFORM_EFI  0xefu

static const uint8_t efi_system_guid[16] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};

struct read_state {
	int status;
	bool done;
};

static void on_read(struct block_request *request, int status)
{
	struct read_state *state = request->ctx;

	*state = (struct read_state){status, true};
}

static bool read_disk(struct block_backend *disk, uint64_t offset, void *buf, size_t len)
{
	struct iobuf iobuf = {buf, len};
	struct read_state state = {0};
	struct block_request request = {
		.op = BLOCK_READ, .offset = offset, .length = len, .bufs = &iobuf, .count = 1, .done = on_read, .ctx = &state};

	if (offset > disk->size || len > disk->size - offset)
		return false;
	disk->ops->submit(disk, &request);
	if (disk->ops->drain)
		disk->ops->drain(disk);
	return state.done && state.status == 0;
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

static bool gpt_has_efi_system(struct block_backend *disk)
{
	uint8_t header[SECTOR];
	uint8_t *entries;
	bool found = false;

	if (!read_disk(disk, SECTOR, header, sizeof(header)) || memcmp(header, "EFI PART", 8))
		return false;
	const uint64_t first = get64(header + 72);
	uint32_t count = get32(header + 80);
	if (first > UINT64_MAX / SECTOR || get32(header + 84) != ENTRY_SIZE)
		return false;
	if (count > MAX_ENTRIES)
		count = MAX_ENTRIES;
	count &= ~3u; /* whole sectors */
	entries = count ? malloc(count * ENTRY_SIZE) : NULL;
	if (entries && read_disk(disk, first * SECTOR, entries, count * ENTRY_SIZE))
		for (uint32_t i = 0; i < count; i++)
			found |= !memcmp(entries + i * ENTRY_SIZE, efi_system_guid, sizeof(efi_system_guid));
	free(entries);
	return found;
}

static bool mbr_has_efi_system(const uint8_t *mbr)
{
	for (unsigned i = 0; i < 4; i++)
		if (mbr[PARTITIONS_AT + i * 16 + 4] == TYPE_EFI_SYSTEM)
			return true;
	return false;
}

/* El Torito: the boot record in sector 17 says where the catalog is, whose entries say for which platform they are. */
static const char *cd_firmware(struct block_backend *disk)
{
	uint8_t record[CD_SECTOR], catalog[CD_SECTOR];
	bool efi = false;

	if (!read_disk(disk, 17 * CD_SECTOR, record, sizeof(record)) || memcmp(record + 1, "CD001\1EL TORITO SPECIFICATION", 30) ||
	    !read_disk(disk, (uint64_t)get32(record + 0x47) * CD_SECTOR, catalog, sizeof(catalog)) || catalog[0] != 1)
		return NULL;
	if (catalog[1] == PLATFORM_X86)
		return "seabios";
	efi = catalog[1] == PLATFORM_EFI;
	for (unsigned at = 2 * CATALOG_ENTRY; at < CD_SECTOR; at += CATALOG_ENTRY) {
		if (catalog[at] != 0x90 && catalog[at] != 0x91) /* a section's header */
			continue;
		if (catalog[at + 1] == PLATFORM_X86)
			return "seabios";
		efi |= catalog[at + 1] == PLATFORM_EFI;
	}
	return efi ? "ovmf" : NULL;
}

const char *boot_disk_firmware(struct block_backend *disk)
{
	const char *cd = cd_firmware(disk);
	uint8_t mbr[SECTOR];
	bool code = false;

	if (cd)
		return cd;
	if (!read_disk(disk, 0, mbr, sizeof(mbr)))
		return NULL;
	const bool signature = mbr[SIGNATURE_AT] == 0x55 && mbr[SIGNATURE_AT + 1] == 0xaa;
	for (unsigned i = 0; i < CODE_SIZE; i++)
		code |= mbr[i] != 0;
	if (signature && code)
		return "seabios";
	return gpt_has_efi_system(disk) || (signature && mbr_has_efi_system(mbr)) ? "ovmf" : NULL;
}
