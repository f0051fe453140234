/* What the parts of the card know of each other: vga.c (PCI, VBE), vga_regs.c (ports), vga_window.c (0xa0000), vga_draw.c.
 *
 * Memory is laid out as the planes lie side by side: byte `a` of plane `p` is memory[4 * a + p]. So characters are at 4n, their
 * attributes at 4n + 1, and linear modes count bytes.
 *
 * Example: `vga_port_write(vga, 0x3c4, 2);`
 */
#ifndef DEV_DISPLAY_VGA_PRIVATE_H
#define DEV_DISPLAY_VGA_PRIVATE_H

#include "dev/display/vga.h"

enum vbe_register {
	VBE_ID, VBE_XRES, VBE_YRES, VBE_BPP, VBE_ENABLE, VBE_BANK, VBE_VIRT_WIDTH, VBE_VIRT_HEIGHT, VBE_X_OFFSET, VBE_Y_OFFSET,
	VBE_MEMORY_64K, VBE_COUNT
};

#define VBE_ENABLED   0x01
#define VBE_GETCAPS   0x02
#define VBE_8BIT_DAC  0x20
#define VBE_LFB       0x40
#define VBE_NO_CLEAR  0x80

#define SEQ_CLOCKING  1
#define SEQ_MAP_MASK  2
#define SEQ_FONT      3
#define SEQ_MEMORY    4
#define SEQ_SCREEN_OFF 0x20 /* of SEQ_CLOCKING */
#define SEQ_CHAIN4    0x08 /* of SEQ_MEMORY */
#define GC_SET_RESET  0
#define GC_SET_RESET_ENABLE 1
#define GC_COMPARE    2
#define GC_ROTATE     3
#define GC_READ_MAP   4
#define GC_MODE       5
#define GC_MISC       6
#define GC_DONT_CARE  7
#define GC_BIT_MASK   8
#define GC_ODD_EVEN   0x10 /* of GC_MODE */
#define GC_GRAPHICS   0x01 /* of GC_MISC */
#define AC_MODE       0x10
#define AC_OVERSCAN   0x11
#define AC_PLANES     0x12
#define AC_PANNING    0x13
#define AC_COLOR      0x14

/* The registers that say what is to be seen; copied as a whole to draw. */
struct vga_state {
	uint16_t vbe[VBE_COUNT];
	uint8_t misc;
	bool shows; /* bit 5 of the attribute controller's index: the palette is on; else the screen is black */
	uint8_t dac_mask;
	uint8_t seq[8], gc[16], crtc[32], ac[32];
	uint8_t palette[256 * 3];
};

struct vga {
	struct pci_function pci;
	struct vga_state s;
	uint8_t seq_index, gc_index, crtc_index, ac_index;
	bool ac_data;         /* the next write to 0x3c0 is data */
	uint8_t status1, feature;
	uint8_t dac_read, dac_write, dac_part; /* dac_part: red, green or blue is next */
	bool dac_reading;
	uint8_t dac_latch[2];
	uint32_t latch;       /* of the planes, by the last read */
	uint16_t vbe_index;
	uint8_t vbe_low;      /* of a word that comes by bytes */
	uint8_t *memory;      /* VGA_MEMORY */
	bool own_memory;
	uint8_t *rom;
	uint32_t rom_size;    /* a power of two */
};

static inline bool vga_vbe_on(const struct vga_state *s)
{
	return s->vbe[VBE_ENABLE] & VBE_ENABLED;
}

/* Of a line of a VBE mode, bytes. */
uint32_t vga_vbe_pitch(const struct vga_state *s);

uint16_t vga_vbe_read(const struct vga *vga, unsigned index);
void vga_vbe_write(struct vga *vga, unsigned index, uint16_t value);

/* Ports 0x3b0 to 0x3df, a byte each. */
void vga_ports_reset(struct vga *vga);
uint8_t vga_port_read(struct vga *vga, unsigned port);
void vga_port_write(struct vga *vga, unsigned port, uint8_t value);

/* Of 0xa0000. */
uint8_t vga_window_read(struct vga *vga, uint32_t offset);
void vga_window_write(struct vga *vga, uint32_t offset, uint8_t value);

#endif
