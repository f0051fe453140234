/* From the card's registers and memory to pixels, and to characters.
 *
 * The registers are copied under the lock, what they name is checked against the copy, and memory is read without a lock: the
 * guest writes it at any time anyway.
 *
 * Example: see vga.h.
 */
#include "base/string.h"
#include "dev/display/vga_private.h"

#define FONT_STRIDE 32u /* bytes of plane 2 a glyph */

#define AC_LINE_GRAPHICS 0x04 /* of AC_MODE: the ninth column repeats the eighth */
#define AC_BLINK         0x08
#define AC_P54           0x80 /* bits 5:4 of colors are AC_COLOR's */

enum kind { KIND_OFF, KIND_LINEAR, KIND_TEXT, KIND_PLANES, KIND_BYTES };

/* What is on the screen, by the registers. */
struct picture {
	enum kind kind;
	unsigned width, height; /* pixels */
	unsigned bpp;           /* KIND_LINEAR */
	uint32_t start, pitch;  /* bytes of memory */
	unsigned columns, rows, glyph_width, glyph_height; /* KIND_TEXT */
	unsigned double_lines;  /* each line is there so many times */
};

/* ---- colors ---- */

static uint32_t eight_bits(const struct vga_state *s, uint8_t part)
{
	if (s->vbe[VBE_ENABLE] & VBE_8BIT_DAC)
		return part;
	part &= 0x3f;
	return (uint32_t)(part << 2 | part >> 4);
}

static uint32_t dac_color(const struct vga_state *s, uint8_t index)
{
	const uint8_t *color = &s->palette[(index & s->dac_mask) * 3];

	return eight_bits(s, color[0]) << 16 | eight_bits(s, color[1]) << 8 | eight_bits(s, color[2]);
}

/* Of the attribute controller's 16. */
static uint32_t attribute_color(const struct vga_state *s, unsigned index)
{
	unsigned color = s->ac[index & s->ac[AC_PLANES] & 15] & 0x3f;

	if (s->ac[AC_MODE] & AC_P54)
		color = (color & 0xf) | (s->ac[AC_COLOR] & 3u) << 4;
	return dac_color(s, (uint8_t)(color | (s->ac[AC_COLOR] & 0xcu) << 4));
}

static void make_palette(const struct vga_state *s, bool linear, uint32_t palette[256])
{
	for (unsigned i = 0; i < 256; i++)
		palette[i] = linear ? dac_color(s, (uint8_t)i) : attribute_color(s, i & 15);
}

/* ---- what there is to see ---- */

static uint32_t start_address(const struct vga_state *s)
{
	return (uint32_t)(s->crtc[0x0c] << 8 | s->crtc[0x0d]);
}

static void look_at_linear(const struct vga_state *s, struct picture *picture)
{
	const uint16_t *vbe = s->vbe;
	const unsigned bpp = vbe[VBE_BPP];

	picture->kind = bpp == 4 ? KIND_PLANES : KIND_LINEAR;
	picture->bpp = bpp;
	picture->width = vbe[VBE_XRES];
	picture->height = vbe[VBE_YRES];
	picture->pitch = vga_vbe_pitch(s);
	picture->start = vbe[VBE_Y_OFFSET] * picture->pitch +
			 (bpp == 4 ? vbe[VBE_X_OFFSET] / 8u * 4 : (bpp + 7) / 8 * vbe[VBE_X_OFFSET]);
	picture->double_lines = 1;
}

static void look_at_text(const struct vga_state *s, struct picture *picture, unsigned lines)
{
	picture->kind = KIND_TEXT;
	picture->glyph_width = s->seq[SEQ_CLOCKING] & 1 ? 8 : 9;
	picture->glyph_height = (s->crtc[9] & 0x1fu) + 1;
	picture->columns = s->crtc[1] + 1u;
	picture->rows = lines / picture->glyph_height;
	if (picture->rows > VGA_MAX_ROWS)
		picture->rows = VGA_MAX_ROWS;
	picture->width = picture->columns * picture->glyph_width;
	picture->height = picture->rows * picture->glyph_height;
}

/* Lines that the CRT controller shows twice count once: they are as guests think of them. */
static void look_at_graphics(const struct vga_state *s, struct picture *picture, unsigned lines)
{
	const bool bytes = s->gc[GC_MODE] & 0x40;

	picture->kind = bytes ? KIND_BYTES : KIND_PLANES;
	picture->width = (s->crtc[1] + 1u) * (bytes ? 4 : 8);
	picture->double_lines = (s->crtc[9] & 0x1fu) + 1;
	if (s->crtc[9] & 0x80)
		picture->double_lines *= 2;
	picture->height = lines / picture->double_lines;
}

static struct picture look(const struct vga_state *s)
{
	const uint8_t *crtc = s->crtc;
	const unsigned lines = (crtc[0x12] | (crtc[7] & 0x02u) << 7 | (crtc[7] & 0x40u) << 3) + 1;
	struct picture picture = {.kind = KIND_OFF};

	if (vga_vbe_on(s)) {
		look_at_linear(s, &picture);
		return picture;
	}
	/* Nobody has set a mode yet. */
	if (!crtc[1] || !crtc[0x13])
		return picture;
	picture.start = start_address(s) * 4;
	picture.pitch = crtc[0x13] * 8u;
	if (s->gc[GC_MISC] & GC_GRAPHICS)
		look_at_graphics(s, &picture, lines);
	else
		look_at_text(s, &picture, lines);
	if (!picture.width || !picture.height)
		picture = (struct picture){.kind = KIND_OFF};
	return picture;
}

static const uint8_t *at(const struct vga *vga, uint32_t offset)
{
	return &vga->memory[offset & (VGA_MEMORY - 1)];
}

/* ---- linear modes ---- */

static uint32_t scale5(uint32_t value)
{
	return value << 3 | value >> 2;
}

static void draw_linear_line(const struct vga *vga, const struct picture *p, const uint32_t *palette, uint32_t line, uint32_t *out)
{
	for (unsigned x = 0; x < p->width; x++) {
		/* (A VBE mode lies inside of memory: vga.c.) */
		const uint8_t *in = at(vga, line + x * ((p->bpp + 7) / 8));
		uint32_t value;

		switch (p->bpp) {
		case 8: out[x] = palette[*in]; break;
		case 15:
			value = in[0] | (uint32_t)in[1] << 8;
			out[x] = scale5(value >> 10 & 31) << 16 | scale5(value >> 5 & 31) << 8 | scale5(value & 31);
			break;
		case 16:
			value = in[0] | (uint32_t)in[1] << 8;
			out[x] = scale5(value >> 11) << 16 | (value >> 5 & 63) << 10 | (value >> 9 & 3) << 8 | scale5(value & 31);
			break;
		default: out[x] = in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16; break;
		}
	}
}

/* Eight pixels in four bytes, one bit of each plane a pixel. */
static void draw_planes_line(const struct vga *vga, const struct picture *p, const uint32_t *palette, uint32_t line, uint32_t *out)
{
	for (unsigned x = 0; x < p->width; x++) {
		const uint8_t *in = at(vga, (line + x / 8 * 4) & ~3u);
		unsigned shift = 7 - x % 8;

		out[x] = palette[(in[0] >> shift & 1) | (in[1] >> shift & 1) << 1 | (in[2] >> shift & 1) << 2 | (in[3] >> shift & 1) << 3];
	}
}

static void draw_bytes_line(const struct vga *vga, const struct picture *p, const uint32_t *palette, uint32_t line, uint32_t *out)
{
	for (unsigned x = 0; x < p->width; x++)
		out[x] = palette[*at(vga, line + x)];
}

static void draw_lines(const struct vga *vga, const struct vga_state *s, const struct picture *p, uint32_t *pixels)
{
	uint32_t palette[256];

	make_palette(s, p->kind != KIND_PLANES, palette);
	for (unsigned y = 0; y < p->height; y++) {
		uint32_t line = p->start + y * p->pitch, *out = pixels + (size_t)y * p->width;

		if (p->kind == KIND_LINEAR)
			draw_linear_line(vga, p, palette, line, out);
		else if (p->kind == KIND_PLANES)
			draw_planes_line(vga, p, palette, line, out);
		else
			draw_bytes_line(vga, p, palette, line, out);
	}
}

/* ---- text ---- */

/* Byte offset in plane 2 of the font that characters have whose attribute's bit 3 is `second`. */
static uint32_t font_offset(const struct vga_state *s, bool second)
{
	unsigned map = s->seq[SEQ_FONT];
	unsigned bank = second ? (map >> 5 & 1) | (map >> 1 & 6) : (map >> 4 & 1) | (map << 1 & 6);

	return bank * 8192;
}

static void draw_glyph(const struct vga *vga, const struct picture *p, uint32_t font, uint8_t character, bool repeat_last,
		       const uint32_t colors[2], uint32_t *out)
{
	for (unsigned y = 0; y < p->glyph_height; y++, out += p->width) {
		uint8_t bits = *at(vga, (font + character * FONT_STRIDE + y) * 4 + 2);

		for (unsigned x = 0; x < 8; x++)
			out[x] = colors[bits >> (7 - x) & 1];
		if (p->glyph_width == 9)
			out[8] = colors[repeat_last && (character & 0xe0) == 0xc0 ? bits & 1 : 0];
	}
}

static void draw_cursor(const struct vga_state *s, const struct picture *p, uint32_t color, uint32_t *out)
{
	unsigned first = s->crtc[0x0a] & 0x1f, last = s->crtc[0x0b] & 0x1f;

	if (last >= p->glyph_height)
		last = p->glyph_height - 1;
	for (unsigned y = first; y <= last; y++)
		for (unsigned x = 0; x < p->glyph_width; x++)
			out[y * p->width + x] = color;
}

static void draw_text(const struct vga *vga, const struct vga_state *s, const struct picture *p, uint32_t *pixels)
{
	const uint32_t fonts[2] = {font_offset(s, false), font_offset(s, true)};
	const uint32_t cursor = (uint32_t)(s->crtc[0x0e] << 8 | s->crtc[0x0f]) * 4;
	const bool blink = s->ac[AC_MODE] & AC_BLINK, repeat = s->ac[AC_MODE] & AC_LINE_GRAPHICS;
	uint32_t palette[256];

	make_palette(s, false, palette);
	for (unsigned row = 0; row < p->rows; row++) {
		for (unsigned column = 0; column < p->columns; column++) {
			uint32_t offset = p->start + row * p->pitch + column * 4;
			uint8_t attribute = at(vga, offset)[1];
			uint32_t *out = pixels + (size_t)row * p->glyph_height * p->width + column * p->glyph_width;
			uint32_t colors[2] = {palette[attribute >> 4 & (blink ? 7 : 15)], palette[attribute & 15]};

			draw_glyph(vga, p, fonts[attribute >> 3 & 1], *at(vga, offset), repeat, colors, out);
			if (offset == cursor && !(s->crtc[0x0a] & 0x20))
				draw_cursor(s, p, colors[1], out);
		}
	}
}

/* ---- for those who look ---- */

static struct picture look_now(struct vga *vga, struct vga_state *s)
{
	lock_take(&vga->pci.dev.lock);
	*s = vga->s;
	lock_release(&vga->pci.dev.lock);
	return look(s);
}

void vga_size(struct vga *vga, unsigned *width, unsigned *height)
{
	struct vga_state s;
	struct picture picture = look_now(vga, &s);

	*width = picture.width;
	*height = picture.height;
}

bool vga_draw(struct vga *vga, uint32_t *pixels, unsigned width, unsigned height)
{
	struct vga_state s;
	struct picture picture = look_now(vga, &s);

	if (picture.kind == KIND_OFF || picture.width != width || picture.height != height)
		return false;
	if (!s.shows || (!vga_vbe_on(&s) && (s.seq[SEQ_CLOCKING] & SEQ_SCREEN_OFF)))
		memset(pixels, 0, (size_t)width * height * sizeof(*pixels));
	else if (picture.kind == KIND_TEXT)
		draw_text(vga, &s, &picture, pixels);
	else
		draw_lines(vga, &s, &picture, pixels);
	return true;
}

bool vga_text(struct vga *vga, uint8_t text[VGA_MAX_ROWS * VGA_MAX_COLUMNS], unsigned *columns, unsigned *rows)
{
	struct vga_state s;
	struct picture picture = look_now(vga, &s);

	if (picture.kind != KIND_TEXT)
		return false;
	*columns = picture.columns;
	*rows = picture.rows;
	for (unsigned row = 0; row < picture.rows; row++)
		for (unsigned column = 0; column < picture.columns; column++)
			text[row * picture.columns + column] = *at(vga, picture.start + row * picture.pitch + column * 4);
	return true;
}
