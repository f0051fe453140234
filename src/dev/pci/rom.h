/* A function's expansion ROM: code of its own for firmware to run, such as a network card's boot loader (PCI Firmware 3.0 §5).
 *
 * Example:
 *     r = pci_rom_create(&card->pci, image, &card->rom);   // before pci_attach()
 *     ...
 *     value = pci_rom_read(card->rom, offset, size);        // the device's read, region PCI_BAR_ROM
 *     pci_rom_destroy(card->rom);
 */
#ifndef DEV_PCI_ROM_H
#define DEV_PCI_ROM_H

#include "dev/pci/pci.h"
#include "loader/image.h"

#define PCI_ROM_MAX_SIZE MIB(1)

struct pci_rom;

/* Is it a ROM's image, by size and signature? 0, -EINVAL, or what reading says. */
int pci_rom_check(const struct image *image) must_check;
/* Reads the image, and adds the register by which it is seen. An image for PCs that was made for another device of the same vendor
 * is made this device's: firmware runs no other. -ENOMEM, or as pci_rom_check(). */
int pci_rom_create(struct pci_function *function, const struct image *image, struct pci_rom **out) must_check;
/* Behind the image it reads as zeros. */
uint64_t pci_rom_read(const struct pci_rom *rom, uint64_t offset, unsigned size);
void pci_rom_destroy(struct pci_rom *rom); /* NULL is allowed */

#endif
