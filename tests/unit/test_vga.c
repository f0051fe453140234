/* dev/display: VBE modes and what they show, text with the guest's font, planar writes, the ROM, and bad values.
 *
 * Example: `meson test -C build vga`
 */
#include "dev/display/vga.h"
#include "base/errno.h"
#include "dev/irq/irqchip.h"
#include "dev/pci/host.h"
#include "fake_machine.h"
#include "loader/image.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define FRAMEBUFFER 0xe0000000u
#define REGISTERS   0xf0000000u
#define ROM         0xf1000000u
#define ROM_SIZE    5000u

static struct vm *vm;
static struct pci_host *host;
static struct vga *vga;

static int rom_read(const struct image *image, uint64_t offset, void *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)((offset + i) * 7);
	return 0;
}

static void config(unsigned offset, uint32_t value)
{
	machine_out(vm, 0xcf8, 4, 0x80000000u | PCI_DEVFN(1, 0) << 8 | offset);
	machine_out(vm, 0xcfc, 4, value);
}

static int setup(void **state)
{
	const struct image rom = {.name = "rom", .size = ROM_SIZE, .read = rom_read};
	struct irqchip *chip;

	vm = machine_create(1);
	assert_int_equal(irqchip_create(vm, &chip), 0);
	assert_int_equal(pci_host_create(vm, chip, &host), 0);
	assert_int_equal(vga_create(pci_host_root(host), PCI_DEVFN(1, 0), &rom, NULL, &vga), 0);
	devices_reset(vm);
	config(0x10, FRAMEBUFFER);
	config(0x18, REGISTERS);
	config(0x30, ROM | 1);
	config(0x04, 3);
	return 0;
}

static int teardown(void **state)
{
	machine_destroy(vm);
	assert_int_equal(fake_alloc_live(), 0);
	return 0;
}

static void out8(uint16_t port, unsigned index, unsigned value)
{
	machine_out(vm, port, 2, index | value << 8);
}

static void attribute(unsigned index, unsigned value)
{
	machine_in(vm, 0x3da, 1);
	machine_out(vm, 0x3c0, 1, index);
	machine_out(vm, 0x3c0, 1, value);
}

static void show(void)
{
	machine_in(vm, 0x3da, 1);
	machine_out(vm, 0x3c0, 1, 0x20);
}

static void color(unsigned index, unsigned red, unsigned green, unsigned blue)
{
	machine_out(vm, 0x3c8, 1, index);
	machine_out(vm, 0x3c9, 1, red);
	machine_out(vm, 0x3c9, 1, green);
	machine_out(vm, 0x3c9, 1, blue);
}

static void vbe(unsigned index, unsigned value)
{
	machine_out(vm, 0x1ce, 2, index);
	machine_out(vm, 0x1cf, 2, value);
}

static unsigned vbe_now(unsigned index)
{
	machine_out(vm, 0x1ce, 2, index);
	return machine_in(vm, 0x1cf, 2);
}

static void mode(unsigned width, unsigned height, unsigned bpp)
{
	vbe(4, 0);
	vbe(1, width);
	vbe(2, height);
	vbe(3, bpp);
	vbe(4, 0x41);
	show();
}

/* Of the picture, which has this size. */
static uint32_t pixel(unsigned width, unsigned height, unsigned x, unsigned y)
{
	uint32_t *pixels = malloc((size_t)width * height * 4), value;
	unsigned w, h;

	vga_size(vga, &w, &h);
	assert_int_equal(w, width);
	assert_int_equal(h, height);
	assert_true(vga_draw(vga, pixels, width, height));
	value = pixels[y * width + x];
	free(pixels);
	return value;
}

static void put(uint64_t offset, unsigned size, uint64_t value)
{
	machine_write(vm, 0, FRAMEBUFFER + offset, size, value);
}

static void linear_modes(void **state)
{
	assert_int_equal(vbe_now(0), 0xb0c5);
	assert_int_equal(vbe_now(10), VGA_MEMORY >> 16);
	mode(640, 480, 32);
	put(640 * 4 * 3 + 5 * 4, 4, 0xff123456);
	assert_int_equal(pixel(640, 480, 5, 3), 0x123456);
	assert_int_equal(machine_read(vm, 0, FRAMEBUFFER + 640 * 4 * 3 + 5 * 4, 4), 0xff123456);
	mode(640, 480, 24);
	assert_int_equal(pixel(640, 480, 5, 3), 0); /* setting a mode clears */
	put(640 * 3 * 2 + 3, 1, 0x11);
	put(640 * 3 * 2 + 5, 1, 0x22);
	assert_int_equal(pixel(640, 480, 1, 2), 0x220011);
	mode(640, 480, 16);
	put(2, 2, 0xf81f);
	put(4, 2, 0x07e0);
	assert_int_equal(pixel(640, 480, 1, 0), 0xff00ff);
	assert_int_equal(pixel(640, 480, 2, 0), 0x00ff00);
	mode(640, 480, 15);
	put(2, 2, 0x7c1f);
	assert_int_equal(pixel(640, 480, 1, 0), 0xff00ff);
	mode(640, 480, 8);
	color(7, 0x3f, 0, 0x15);
	put(1, 1, 7);
	assert_int_equal(pixel(640, 480, 1, 0), 0xff0055);
}

static void registers_in_memory(void **state)
{
	assert_int_equal(machine_read(vm, 0, REGISTERS + 0x500, 2), 0xb0c5);
	machine_write(vm, 0, REGISTERS + 0x502, 2, 800);
	assert_int_equal(vbe_now(1), 800);
	assert_int_equal(machine_read(vm, 0, REGISTERS + 0x600, 4), 8);
	assert_int_equal(machine_read(vm, 0, REGISTERS + 0x604, 4), 0x1e1e1e1e);
	machine_write(vm, 0, REGISTERS + 0x402, 1, 0x67); /* port 0x3c2 */
	assert_int_equal(machine_in(vm, 0x3cc, 1), 0x67);
	assert_int_equal(machine_read(vm, 0, REGISTERS + 0xffc, 4), 0);
}

static void scrolling(void **state)
{
	mode(640, 480, 32);
	vbe(6, 1024);
	vbe(8, 16);
	vbe(9, 100);
	put(1024 * 4 * 100 + 16 * 4, 4, 0xabcdef);
	assert_int_equal(pixel(640, 480, 0, 0), 0xabcdef);
	vbe(9, 0xffff); /* as far as memory goes */
	assert_int_equal(vbe_now(9), VGA_MEMORY / 4096 - 480);
	put(VGA_MEMORY - 4096 + 16 * 4, 4, 0x13579b);
	assert_int_equal(pixel(640, 480, 0, 479), 0x13579b);
}

/* Whatever is asked for, what becomes of it lies inside of memory (ASan looks). */
static void impossible_modes(void **state)
{
	static const unsigned values[] = {0, 1, 7, 9, 640, 2559, 2561, 0x7fff, 0xffff};
	static const unsigned depths[] = {0, 4, 8, 15, 16, 24, 32, 33, 0xffff};

	for (unsigned i = 0; i < ARRAY_SIZE(values) * ARRAY_SIZE(values) * ARRAY_SIZE(depths); i++) {
		unsigned a = values[i % 9], b = values[i / 9 % 9], width, height;
		uint32_t *pixels;

		mode(a, b, depths[i / 81]);
		vbe(6, b);
		vbe(8, a);
		vbe(9, 0xffff);
		vga_size(vga, &width, &height);
		assert_in_range(width, 8, VGA_MAX_WIDTH);
		assert_in_range(height, 1, VGA_MAX_HEIGHT);
		if (i % 27)
			continue;
		pixels = malloc((size_t)width * height * 4);
		assert_true(vga_draw(vga, pixels, width, height));
		assert_false(vga_draw(vga, pixels, width + 8, height));
		free(pixels);
	}
}

/* As vgabios sets mode 3, with a font of one glyph. */
static void text_mode(void)
{
	machine_out(vm, 0x3c2, 1, 0x67);
	out8(0x3c4, 1, 0);
	out8(0x3c4, 2, 4);
	out8(0x3c4, 4, 6);
	out8(0x3ce, 5, 0);
	out8(0x3ce, 6, 4);
	out8(0x3ce, 8, 0xff);
	for (unsigned i = 0; i < 16; i++)
		machine_write(vm, 0, 0xa0000 + 'A' * 32 + i, 1, i == 2 ? 0x81 : 0);
	machine_write(vm, 0, 0xa0000 + 0xc4 * 32 + 2, 1, 0xff);
	out8(0x3c4, 2, 3);
	out8(0x3c4, 4, 2);
	out8(0x3ce, 5, 0x10);
	out8(0x3ce, 6, 0x0e);
	out8(0x3d4, 0x11, 0);
	out8(0x3d4, 1, 79);
	out8(0x3d4, 7, 0x1f);
	out8(0x3d4, 9, 0x4f);
	out8(0x3d4, 0x12, 0x8f);
	out8(0x3d4, 0x13, 0x28);
	out8(0x3d4, 0x0a, 0x20);
	for (unsigned i = 0; i < 16; i++)
		attribute(i, i);
	attribute(0x10, 0x0c);
	attribute(0x12, 0x0f);
	color(1, 0, 0, 0x2a);
	color(7, 0x2a, 0x2a, 0x2a);
	color(14, 0x3f, 0x3f, 0x15);
	show();
}

static void text(void **state)
{
	uint8_t characters[VGA_MAX_ROWS * VGA_MAX_COLUMNS];
	unsigned columns, rows;

	assert_false(vga_text(vga, characters, &columns, &rows)); /* nobody has set a mode */
	text_mode();
	for (unsigned i = 0; i < 80 * 25; i++)
		machine_write(vm, 0, 0xb8000 + 2 * i, 2, 0x0720);
	machine_write(vm, 0, 0xb8000 + 2 * 81, 2, 0x1e41);
	machine_write(vm, 0, 0xb8000 + 2 * 82, 2, 0x07c4);
	assert_int_equal(machine_read(vm, 0, 0xb8000 + 2 * 81, 2), 0x1e41);
	assert_true(vga_text(vga, characters, &columns, &rows));
	assert_int_equal(columns, 80);
	assert_int_equal(rows, 25);
	assert_int_equal(characters[81], 'A');
	assert_int_equal(pixel(720, 400, 9, 16), 0x0000aa);
	assert_int_equal(pixel(720, 400, 9, 18), 0xffff55);
	assert_int_equal(pixel(720, 400, 10, 18), 0x0000aa);
	assert_int_equal(pixel(720, 400, 16, 18), 0xffff55);
	assert_int_equal(pixel(720, 400, 17, 18), 0x0000aa); /* the ninth column */
	assert_int_equal(pixel(720, 400, 26, 18), 0xaaaaaa); /* which lines go through */
	/* The cursor, and the screen that starts elsewhere. */
	out8(0x3d4, 0x0a, 13);
	out8(0x3d4, 0x0b, 14);
	out8(0x3d4, 0x0f, 80);
	assert_int_equal(pixel(720, 400, 0, 16 + 13), 0xaaaaaa);
	assert_int_equal(pixel(720, 400, 0, 16 + 15), 0);
	out8(0x3d4, 0x0d, 80);
	assert_true(vga_text(vga, characters, &columns, &rows));
	assert_int_equal(characters[1], 'A');
	out8(0x3c4, 1, 0x20);
	assert_int_equal(pixel(720, 400, 9, 2), 0);
}

static void planar(void **state)
{
	text_mode();
	out8(0x3c4, 4, 6);
	out8(0x3c4, 2, 0xf);
	out8(0x3ce, 6, 5);
	out8(0x3d4, 9, 0x40);
	/* Mode 0 with set/reset: color 5 where the mask has bits. */
	out8(0x3ce, 5, 0);
	out8(0x3ce, 0, 7);
	out8(0x3ce, 1, 0xf);
	out8(0x3ce, 8, 0x80);
	machine_read(vm, 0, 0xa0001, 1);
	machine_write(vm, 0, 0xa0001, 1, 0xff);
	assert_int_equal(pixel(640, 400, 8, 0), 0xaaaaaa);
	assert_int_equal(pixel(640, 400, 9, 0), 0);
	/* Mode 2: the byte is a color; XOR with what is there. */
	out8(0x3ce, 5, 2);
	out8(0x3ce, 3, 0x18);
	out8(0x3ce, 8, 0xff);
	machine_read(vm, 0, 0xa0001, 1);
	machine_write(vm, 0, 0xa0001, 1, 6);
	assert_int_equal(pixel(640, 400, 8, 0), 0x0000aa);
	/* Mode 1: the latch goes elsewhere. Reading by color. */
	machine_read(vm, 0, 0xa0001, 1);
	out8(0x3ce, 5, 1);
	machine_write(vm, 0, 0xa0003, 1, 0);
	assert_int_equal(pixel(640, 400, 24, 0), 0x0000aa);
	out8(0x3ce, 5, 8);
	out8(0x3ce, 2, 1);
	out8(0x3ce, 7, 0xf);
	assert_int_equal(machine_read(vm, 0, 0xa0003, 1), 0x80);
	/* Mode 3: set/reset where rotated byte and mask have bits. */
	out8(0x3ce, 3, 0);
	out8(0x3ce, 5, 3);
	out8(0x3ce, 8, 0xf0);
	machine_read(vm, 0, 0xa0005, 1);
	machine_write(vm, 0, 0xa0005, 1, 0x3c);
	out8(0x3ce, 5, 0);
	out8(0x3ce, 4, 1);
	assert_int_equal(machine_read(vm, 0, 0xa0005, 1), 0x30);
}

static void rom(void **state)
{
	assert_int_equal(machine_read(vm, 0, ROM + 100, 1), 700 & 0xff);
	assert_int_equal(machine_read(vm, 0, ROM + 8191, 1), 0);
	config(0x30, 0xffffffff);
	machine_out(vm, 0xcf8, 4, 0x80000000u | PCI_DEVFN(1, 0) << 8 | 0x30);
	assert_int_equal(machine_in(vm, 0xcfc, 4), 0xffffe001);
}

static void machine_reset(void **state)
{
	unsigned width, height;

	mode(640, 480, 32);
	put(0, 4, 0xffffff);
	devices_reset(vm);
	vga_size(vga, &width, &height);
	assert_int_equal(width, 0);
	config(0x10, FRAMEBUFFER);
	config(0x04, 3);
	assert_int_equal(machine_read(vm, 0, FRAMEBUFFER, 4), 0);
}

static void rom_too_large(void **state)
{
	const struct image large = {.name = "rom", .size = KIB(65), .read = rom_read};
	struct vga *other;

	assert_int_equal(vga_create(pci_host_root(host), PCI_DEVFN(2, 0), &large, NULL, &other), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(linear_modes, setup, teardown),
		cmocka_unit_test_setup_teardown(registers_in_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(scrolling, setup, teardown),
		cmocka_unit_test_setup_teardown(impossible_modes, setup, teardown),
		cmocka_unit_test_setup_teardown(text, setup, teardown),
		cmocka_unit_test_setup_teardown(planar, setup, teardown),
		cmocka_unit_test_setup_teardown(rom, setup, teardown),
		cmocka_unit_test_setup_teardown(machine_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(rom_too_large, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
