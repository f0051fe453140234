/* VGA's ports: sequencer, CRT controller, graphics controller, attribute controller and palette.
 *
 * Example: `outb(2, 0x3c4); outb(4, 0x3c5)`: writes go to plane 2, where fonts are.
 */
#include "dev/display/vga_private.h"
#include "base/string.h"

#define MISC_COLOR  0x01 /* the CRT controller is at 0x3d4, not 0x3b4 */

#define AC_SHOW     0x20 /* of its index */

#define CRTC_OVERFLOW   0x07
#define CRTC_LINE_COMPARE 0x10 /* of CRTC_OVERFLOW: not protected */
#define CRTC_VSYNC_END  0x11
#define CRTC_PROTECT    0x80 /* of CRTC_VSYNC_END: registers 0 to 7 */

#define STATUS1_BLANK   0x01
#define STATUS1_RETRACE 0x08

static const uint8_t seq_bits[8] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
static const uint8_t gc_bits[16] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};

void vga_ports_reset(struct vga *vga)
{
	struct vga_state *s = &vga->s;

	s->misc = MISC_COLOR;
	s->dac_mask = 0xff;
	s->shows = false;
	memset(s->seq, 0, sizeof(s->seq));
	memset(s->gc, 0, sizeof(s->gc));
	memset(s->crtc, 0, sizeof(s->crtc));
	memset(s->ac, 0, sizeof(s->ac));
	memset(s->palette, 0, sizeof(s->palette));
	vga->seq_index = vga->gc_index = vga->crtc_index = vga->ac_index = 0;
	vga->ac_data = vga->dac_reading = false;
	vga->status1 = vga->feature = 0;
	vga->dac_read = vga->dac_write = vga->dac_part = 0;
	vga->latch = 0;
}

/* Ports 0x3b4, 0x3b5 and 0x3ba are those of 0x3d4, of a monochrome adapter. ~0u: nobody's now. */
static unsigned color_port(const struct vga *vga, unsigned port)
{
	bool color = port >= 0x3d0;

	if (port >= 0x3c0 && !color)
		return port;
	if (color != (bool)(vga->s.misc & MISC_COLOR))
		return ~0u;
	return color ? port : port + 0x20;
}

/* ---- palette ---- */

static uint8_t dac_read(struct vga *vga)
{
	uint8_t value = vga->s.palette[vga->dac_read * 3 + vga->dac_part];

	if (++vga->dac_part == 3) {
		vga->dac_part = 0;
		vga->dac_read++;
	}
	return value;
}

/* All three together, so that nobody sees a color half changed. */
static void dac_write(struct vga *vga, uint8_t value)
{
	uint8_t *color = &vga->s.palette[vga->dac_write * 3];

	if (vga->dac_part < 2) {
		vga->dac_latch[vga->dac_part++] = value;
		return;
	}
	color[0] = vga->dac_latch[0];
	color[1] = vga->dac_latch[1];
	color[2] = value;
	vga->dac_part = 0;
	vga->dac_write++;
}

/* ---- attribute controller ---- */

static void ac_write(struct vga *vga, uint8_t value)
{
	if (!vga->ac_data) {
		vga->ac_index = value & 0x1f;
		vga->s.shows = value & AC_SHOW;
	} else if (vga->ac_index > AC_COLOR) {
		/* There are no more. */
	} else if (vga->ac_index >= AC_MODE || !vga->s.shows) {
		static const uint8_t bits[] = {0xef, 0xff, 0x3f, 0x0f, 0x0f};

		vga->s.ac[vga->ac_index] = vga->ac_index < AC_MODE ? value & 0x3f : value & bits[vga->ac_index - AC_MODE];
	}
	vga->ac_data = !vga->ac_data;
}

/* ---- CRT controller ---- */

static void crtc_write(struct vga *vga, uint8_t value)
{
	uint8_t *crtc = vga->s.crtc;
	unsigned index = vga->crtc_index;

	if (index <= CRTC_OVERFLOW && (crtc[CRTC_VSYNC_END] & CRTC_PROTECT)) {
		if (index == CRTC_OVERFLOW)
			crtc[index] = (uint8_t)((crtc[index] & ~CRTC_LINE_COMPARE) | (value & CRTC_LINE_COMPARE));
		return;
	}
	if (index < 0x19)
		crtc[index] = value;
}

/* ---- ports ---- */

/* Nobody watches a beam: each look sees it somewhere else. */
static uint8_t status1_read(struct vga *vga)
{
	vga->ac_data = false;
	vga->status1 ^= STATUS1_BLANK | STATUS1_RETRACE;
	return vga->status1;
}

uint8_t vga_port_read(struct vga *vga, unsigned port)
{
	switch (color_port(vga, port)) {
	case 0x3c0: return vga->ac_data ? 0 : (uint8_t)(vga->ac_index | (vga->s.shows ? AC_SHOW : 0));
	case 0x3c1: return vga->s.ac[vga->ac_index];
	case 0x3c2: return 0x10; /* the monitor is there */
	case 0x3c4: return vga->seq_index;
	case 0x3c5: return vga->s.seq[vga->seq_index];
	case 0x3c6: return vga->s.dac_mask;
	case 0x3c7: return vga->dac_reading ? 3 : 0;
	case 0x3c8: return vga->dac_write;
	case 0x3c9: return dac_read(vga);
	case 0x3ca: return vga->feature;
	case 0x3cc: return vga->s.misc;
	case 0x3ce: return vga->gc_index;
	case 0x3cf: return vga->s.gc[vga->gc_index];
	case 0x3d4: return vga->crtc_index;
	case 0x3d5: return vga->s.crtc[vga->crtc_index];
	case 0x3da: return status1_read(vga);
	default: return 0xff;
	}
}

void vga_port_write(struct vga *vga, unsigned port, uint8_t value)
{
	switch (color_port(vga, port)) {
	case 0x3c0: ac_write(vga, value); break;
	case 0x3c2: vga->s.misc = value & 0xef; break;
	case 0x3c4: vga->seq_index = value & 7; break;
	case 0x3c5: vga->s.seq[vga->seq_index] = value & seq_bits[vga->seq_index]; break;
	case 0x3c6: vga->s.dac_mask = value; break;
	case 0x3c7:
		vga->dac_read = value;
		vga->dac_part = 0;
		vga->dac_reading = true;
		break;
	case 0x3c8:
		vga->dac_write = value;
		vga->dac_part = 0;
		vga->dac_reading = false;
		break;
	case 0x3c9: dac_write(vga, value); break;
	case 0x3ce: vga->gc_index = value & 0xf; break;
	case 0x3cf: vga->s.gc[vga->gc_index] = value & gc_bits[vga->gc_index]; break;
	case 0x3d4: vga->crtc_index = value & 0x1f; break;
	case 0x3d5: crtc_write(vga, value); break;
	case 0x3da: vga->feature = value & 0x10; break;
	default: break;
	}
}
