/* A graphics card: VGA as the PC has it, with Bochs' VBE registers and a linear framebuffer (QEMU's "VGA", PCI 1234:1111).
 * SeaBIOS's vgabios-stdvga, OVMF's QemuVideo and Linux's bochs-drm drive it.
 *
 * Example: `r = vga_create(root, PCI_DEVFN(1, 0), rom, &vga);` and, to look at the screen, from any thread:
 *     vga_size(vga, &width, &height);
 *     if (vga_draw(vga, pixels, width, height)) show(pixels);
 */
#ifndef DEV_DISPLAY_VGA_H
#define DEV_DISPLAY_VGA_H

#include "dev/pci/pci.h"

#define VGA_MEMORY     MIB(16)
#define VGA_MAX_WIDTH  2560u
#define VGA_MAX_HEIGHT 1600u
#define VGA_MAX_COLUMNS 256u
#define VGA_MAX_ROWS    100u

struct image;
struct vga;

/* rom: the expansion ROM, at most 64 KiB, or NULL; it is read now. memory: VGA_MEMORY bytes, the caller's, at least as long as the
 * VM's; or NULL: the card's own. -EINVAL: the ROM is larger; -ENOMEM, what reading the ROM says, what pci_attach() says. */
int vga_create(struct pci_root *root, uint8_t devfn, const struct image *rom, void *memory, struct vga **vga) must_check;

/* Of the picture, in pixels; 0 if the guest has switched the screen off. */
void vga_size(struct vga *vga, unsigned *width, unsigned *height);
/* The picture, 0x00RRGGBB by line. False: its size is another one by now. Guest memory is read while the guest writes it:
 * a picture may be half the old and half the new one, as on a screen. */
bool vga_draw(struct vga *vga, uint32_t *pixels, unsigned width, unsigned height);
/* The characters of a text mode, by line, in the guest's code page. False: it isn't one. */
bool vga_text(struct vga *vga, uint8_t text[VGA_MAX_ROWS * VGA_MAX_COLUMNS], unsigned *columns, unsigned *rows);

#endif
