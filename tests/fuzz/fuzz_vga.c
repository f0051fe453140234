/* libFuzzer target for the graphics card: a hostile driver writes its ports, its VBE registers, the window at 0xa0000 and the
 * framebuffer at will, and the screen is looked at meanwhile. Nothing is touched outside of the card's memory, of the picture and of
 * the text; sizes stay within what vga.h promises.
 *
 * Example:
 *     fuzz_vga -max_len=512 -runs=200000
 *
 * The input is a list of operations, a byte each with its operands behind it (enum op).
 */
#include "../unit/fake_platform.h"
#include "core/vm.h"
#include "dev/display/vga.h"
#include "dev/irq/irqchip.h"
#include "dev/pci/msix.h"
#include "loader/image.h"
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                           \
	do {                                                                                                       \
		if (!(condition))                                                                                  \
			abort();                                                                                   \
	} while (0)

#define FRAMEBUFFER 0xe0000000u
#define REGISTERS   0xf0000000u
#define WINDOW      0xa0000u
#define DEVFN       PCI_DEVFN(1, 0)
#define LOOKS       2u /* a look at a large screen takes long */

enum op { PORT_WRITE, PORT_READ, INDEXED, VBE, VBE_READ, MODE, WINDOW_WRITE, WINDOW_READ, MMIO_WRITE, MMIO_READ, MEMORY, LOOK, OP_COUNT };

struct input {
	const uint8_t *bytes;
	size_t len;
};

struct machine {
	struct vm vm;
	struct pci_root root;
	struct vga *vga;
	unsigned looks;
};

/* ---- what the bus has that this machine has not ---- */

void irqchip_msi(struct irqchip *chip, uint64_t address, uint32_t data)
{
}

void msix_reset(struct msix *msix)
{
}

void msix_config_written(struct msix *msix)
{
}

static int rom_read(const struct image *image, uint64_t offset, void *buf, size_t len)
{
	memset(buf, 0x5a, len);
	return 0;
}

/* ---- the input ---- */

static uint32_t take(struct input *in, unsigned bytes)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < bytes && in->len > 0; i++, in->len--)
		value |= (uint32_t)*in->bytes++ << (8 * i);
	return value;
}

/* ---- what the driver does ---- */

static void out(struct machine *machine, uint16_t port, unsigned size, uint32_t value)
{
	bus_write(&machine->vm.pio, port, size, value);
}

static void vbe(struct machine *machine, unsigned index, uint16_t value)
{
	out(machine, 0x1ce, 2, index);
	out(machine, 0x1cf, 2, value);
}

/* In a few bytes what it takes to see something. */
static void set_mode(struct machine *machine, struct input *in)
{
	static const uint8_t depths[] = {4, 8, 15, 16, 24, 32, 0, 255};
	uint64_t value;

	vbe(machine, 4, 0);
	vbe(machine, 1, (uint16_t)take(in, 2));
	vbe(machine, 2, (uint16_t)take(in, 2));
	vbe(machine, 3, depths[take(in, 1) % sizeof(depths)]);
	vbe(machine, 4, (uint16_t)(take(in, 1) | 0x80 | 1)); /* not cleared: that takes long */
	bus_read(&machine->vm.pio, 0x3da, 1);
	out(machine, 0x3c0, 1, 0x20);
}

static void look(struct machine *machine)
{
	uint8_t *text = malloc(VGA_MAX_ROWS * VGA_MAX_COLUMNS);
	uint32_t *pixels;
	unsigned width, height, columns, rows;

	CHECK(text);
	if (vga_text(machine->vga, text, &columns, &rows))
		CHECK(columns <= VGA_MAX_COLUMNS && rows <= VGA_MAX_ROWS);
	free(text);
	vga_size(machine->vga, &width, &height);
	CHECK(width <= VGA_MAX_WIDTH && height <= VGA_MAX_HEIGHT && !width == !height);
	if (!width || ++machine->looks > LOOKS)
		return;
	/* Exactly as large as promised: the sanitizer guards its end. */
	pixels = malloc((size_t)width * height * sizeof(*pixels));
	CHECK(pixels);
	CHECK(vga_draw(machine->vga, pixels, width, height));
	CHECK(!vga_draw(machine->vga, pixels, width + 1, height));
	CHECK(pixels[0] <= 0xffffff && pixels[(size_t)width * height - 1] <= 0xffffff);
	free(pixels);
}

static void act(struct machine *machine, struct input *in)
{
	static const uint16_t indexed[] = {0x3c4, 0x3ce, 0x3d4};
	static const uint8_t sizes[] = {1, 2, 4, 8};
	uint32_t where;
	unsigned size;
	uint64_t value;

	switch (take(in, 1) % OP_COUNT) {
	case PORT_WRITE:
		where = 0x3b0 + take(in, 1) % 0x30;
		out(machine, (uint16_t)where, 1, take(in, 1));
		break;
	case PORT_READ:
		bus_read(&machine->vm.pio, 0x3b0 + take(in, 1) % 0x30, 1);
		break;
	case INDEXED:
		where = indexed[take(in, 1) % 3];
		out(machine, (uint16_t)where, 2, take(in, 2));
		break;
	case VBE:
		where = take(in, 1);
		value = take(in, 2);
		vbe(machine, where, (uint16_t)((where & 15) == 4 ? value | 0x80 : value));
		break;
	case VBE_READ:
		bus_read(&machine->vm.pio, 0x1ce + take(in, 1) % 3, 1);
		break;
	case MODE:
		set_mode(machine, in);
		break;
	case WINDOW_WRITE:
		where = take(in, 3) % 0x20000;
		bus_write(&machine->vm.mmio, WINDOW + where, 1, take(in, 1));
		break;
	case WINDOW_READ:
		bus_read(&machine->vm.mmio, WINDOW + take(in, 3) % 0x20000, 1);
		break;
	case MMIO_WRITE:
		size = sizes[take(in, 1) % 3];
		where = take(in, 2) % 0x1000 & ~(size - 1);
		bus_write(&machine->vm.mmio, REGISTERS + where, size, take(in, 4));
		break;
	case MMIO_READ:
		size = sizes[take(in, 1) % 3];
		bus_read(&machine->vm.mmio, REGISTERS + (take(in, 2) % 0x1000 & ~(size - 1)), size);
		break;
	case MEMORY:
		size = sizes[take(in, 1) % 4];
		where = take(in, 3) % VGA_MEMORY & ~(size - 1);
		bus_write(&machine->vm.mmio, FRAMEBUFFER + where, size, take(in, 4));
		bus_read(&machine->vm.mmio, FRAMEBUFFER + where, size);
		break;
	default:
		look(machine);
		break;
	}
}

/* ---- the machine ---- */

static void build(struct machine *machine, void *memory)
{
	const struct image rom = {.name = "rom", .size = 5000, .read = rom_read};

	fake_reset();
	pci_root_init(&machine->root, &machine->vm, NULL);
	CHECK(vga_create(&machine->root, DEVFN, &rom, memory, &machine->vga) == 0);
	pci_config_write(&machine->root, 0, DEVFN, 0x10, 4, FRAMEBUFFER);
	pci_config_write(&machine->root, 0, DEVFN, 0x18, 4, REGISTERS);
	pci_config_write(&machine->root, 0, DEVFN, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
}

static void take_apart(struct machine *machine)
{
	while (machine->vm.device_count > 0) {
		struct device *dev = machine->vm.devices[--machine->vm.device_count];

		dev->ops->destroy(dev);
	}
	pci_root_fini(&machine->root);
	CHECK(fake_alloc_live() == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine machine;
	static uint8_t *memory; /* kept: to clear it takes longer than all the rest */
	struct input in = {data, size};

	if (!memory)
		memory = malloc(VGA_MEMORY);
	CHECK(memory);
	memset(&machine, 0, sizeof(machine));
	build(&machine, memory);
	while (in.len > 0)
		act(&machine, &in);
	look(&machine);
	take_apart(&machine);
	return 0;
}
