/* Expansion ROMs; see rom.h.
 *
 * Layout of each image in one (PCI Firmware 3.0 §5.1.1, §5.1.2):
 *     0  0x55 0xaa   2  size in 512 bytes   6  (PC) by convention, what makes the sum 0   0x18  offset of the data structure
 *     data structure:  0  "PCIR"   4  vendor   6  device   0x14  kind of code: 0 PC
 *
 * Example: see rom.h.
 */
#include "dev/pci/rom.h"
#include "base/errno.h"
#include "base/string.h"
#include "core/platform.h"

#define BLOCK     512u
#define MIN_SIZE  2048u /* of a register; smaller ones can't be */
#define DATA_SIZE 0x18u

#define ROM_CHECKSUM 6u
#define ROM_DATA     0x18u
#define DATA_VENDOR  4u
#define DATA_DEVICE  6u
#define DATA_CODE    0x14u

struct pci_rom {
	uint64_t size; /* of the register, a power of two */
	uint8_t bytes[];
};

int pci_rom_check(const struct image *image)
{
	uint8_t start[2];
	int r;

	if (image->size < BLOCK || image->size > PCI_ROM_MAX_SIZE)
		return -EINVAL;
	r = image_read(image, 0, start, sizeof(start));
	if (r)
		return r;
	return start[0] == 0x55 && start[1] == 0xaa ? 0 : -EINVAL;
}

static unsigned get16(const uint8_t *bytes)
{
	return bytes[0] | (unsigned)bytes[1] << 8;
}

/* The first image; the sum of its bytes stays what it was. */
static void adopt(struct pci_rom *rom, const struct pci_function *function)
{
	const unsigned at = get16(rom->bytes + ROM_DATA), device = pci_get16(function, PCI_DEVICE_ID);
	uint8_t *data = rom->bytes + at;

	if (at + DATA_SIZE > rom->size || memcmp(data, "PCIR", 4) || data[DATA_CODE] != 0 ||
	    get16(data + DATA_VENDOR) != pci_get16(function, PCI_VENDOR_ID))
		return;
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t byte = (uint8_t)(device >> (8 * i));

		rom->bytes[ROM_CHECKSUM] = (uint8_t)(rom->bytes[ROM_CHECKSUM] + data[DATA_DEVICE + i] - byte);
		data[DATA_DEVICE + i] = byte;
	}
}

int pci_rom_create(struct pci_function *function, const struct image *image, struct pci_rom **out)
{
	struct pci_rom *rom;
	uint64_t size = MIN_SIZE;
	int r = pci_rom_check(image);

	if (r)
		return r;
	while (size < image->size)
		size *= 2;
	rom = platform_alloc(sizeof(*rom) + size);
	if (!rom)
		return -ENOMEM;
	rom->size = size;
	r = image_read(image, 0, rom->bytes, image->size);
	if (r) {
		platform_free(rom);
		return r;
	}
	adopt(rom, function);
	pci_add_bar(function, PCI_BAR_ROM, PCI_BAR_MEM32, size, 1, 8);
	*out = rom;
	return 0;
}

uint64_t pci_rom_read(const struct pci_rom *rom, uint64_t offset, unsigned size)
{
	uint64_t value = 0;

	if (offset < rom->size && size <= rom->size - offset)
		memcpy(&value, rom->bytes + offset, size);
	return value;
}

void pci_rom_destroy(struct pci_rom *rom)
{
	platform_free(rom);
}
