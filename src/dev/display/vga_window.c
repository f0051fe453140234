/* What the processor sees at 0xa0000: four planes, by the rules of the sequencer and the graphics controller.
 *
 * Example: in text modes byte n is a character if n is even (plane 0), else its attribute (plane 1).
 */
#include "dev/display/vga_private.h"

#define WINDOW_BANK 0x10000u

/* Bit p of the low four: all of byte p. */
static uint32_t spread(unsigned planes)
{
	return (planes & 1 ? 0xffu : 0) | (planes & 2 ? 0xff00u : 0) | (planes & 4 ? 0xff0000u : 0) | (planes & 8 ? 0xff000000u : 0);
}

static uint32_t load(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void store(uint8_t *at, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

/* Of 0xa0000 to the byte's number. False: the window is elsewhere. */
static bool locate(const struct vga *vga, uint32_t *offset)
{
	switch (vga->s.gc[GC_MISC] >> 2 & 3) {
	case 0: return true;
	case 1:
		if (*offset >= WINDOW_BANK)
			return false;
		*offset += (uint32_t)vga->s.vbe[VBE_BANK] * WINDOW_BANK;
		return true;
	case 2:
		*offset -= 0x10000;
		return *offset < 0x8000;
	default:
		*offset -= 0x18000;
		return *offset < 0x8000;
	}
}

/* The four bytes at plane offset `offset`. In a VBE mode of 4 bits there are banks of them. */
static uint8_t *planes_at(struct vga *vga, uint32_t offset)
{
	return &vga->memory[((uint64_t)offset * 4) & (VGA_MEMORY - 1) & ~3u];
}

uint8_t vga_window_read(struct vga *vga, uint32_t offset)
{
	const uint8_t *gc = vga->s.gc;
	uint32_t different;

	if (!locate(vga, &offset))
		return 0xff;
	if (vga->s.seq[SEQ_MEMORY] & SEQ_CHAIN4)
		return vga->memory[offset & (VGA_MEMORY - 1)];
	if (gc[GC_MODE] & GC_ODD_EVEN)
		return vga->memory[(((offset & ~1u) << 1) | (gc[GC_READ_MAP] & 2u) | (offset & 1)) & (VGA_MEMORY - 1)];
	vga->latch = load(planes_at(vga, offset));
	if (!(gc[GC_MODE] & 8))
		return (uint8_t)(vga->latch >> (8 * gc[GC_READ_MAP]));
	different = (vga->latch ^ spread(gc[GC_COMPARE])) & spread(gc[GC_DONT_CARE]);
	different |= different >> 16;
	different |= different >> 8;
	return (uint8_t)~different;
}

static uint8_t rotate(const struct vga *vga, uint8_t value)
{
	unsigned by = vga->s.gc[GC_ROTATE] & 7;

	return (uint8_t)(value >> by | value << (8 - by));
}

static uint32_t combine(const struct vga *vga, uint32_t value)
{
	switch (vga->s.gc[GC_ROTATE] >> 3 & 3) {
	case 1: return value & vga->latch;
	case 2: return value | vga->latch;
	case 3: return value ^ vga->latch;
	default: return value;
	}
}

/* Write modes 0 to 3: what becomes of the four planes. */
static uint32_t written(const struct vga *vga, uint8_t value)
{
	const uint8_t *gc = vga->s.gc;
	uint32_t bits = gc[GC_BIT_MASK] * 0x01010101u, set, out;

	switch (gc[GC_MODE] & 3) {
	case 0:
		set = spread(gc[GC_SET_RESET_ENABLE]);
		out = rotate(vga, value) * 0x01010101u;
		out = (out & ~set) | (spread(gc[GC_SET_RESET]) & set);
		break;
	case 1: return vga->latch;
	case 2: out = spread(value); break;
	default:
		bits &= rotate(vga, value) * 0x01010101u;
		out = spread(gc[GC_SET_RESET]);
		break;
	}
	return (combine(vga, out) & bits) | (vga->latch & ~bits);
}

void vga_window_write(struct vga *vga, uint32_t offset, uint8_t value)
{
	const uint8_t map = vga->s.seq[SEQ_MAP_MASK];
	uint32_t mask;
	uint8_t *at;

	if (!locate(vga, &offset))
		return;
	if (vga->s.seq[SEQ_MEMORY] & SEQ_CHAIN4) {
		if (map >> (offset & 3) & 1)
			vga->memory[offset & (VGA_MEMORY - 1)] = value;
		return;
	}
	if (vga->s.gc[GC_MODE] & GC_ODD_EVEN) {
		if (map >> (offset & 1) & 1)
			vga->memory[(((offset & ~1u) << 1) | (offset & 1)) & (VGA_MEMORY - 1)] = value;
		return;
	}
	mask = spread(map);
	at = planes_at(vga, offset);
	store(at, (load(at) & ~mask) | (written(vga, value) & mask));
}
