/* The card: PCI function, VBE registers, where everything answers. See vga.h.
 *
 *     BAR 0   the framebuffer
 *     BAR 2   0x400  ports 0x3c0 to 0x3df
 *             0x500  VBE registers, a word each
 *             0x600  QEMU's: size of this block, byte order
 *     ROM     vgabios
 *     ports   0x1ce index, 0x1cf data of the VBE registers; 0x3b0 to 0x3df
 *     memory  0xa0000 to 0xbffff
 *
 * Example: `outw(0, 0x1ce); inw(0x1cf)` gives 0xb0c5.
 */
#include "dev/display/vga_private.h"
#include "base/errno.h"
#include "base/string.h"
#include "core/platform.h"
#include "loader/image.h"

/* Behind the numbers of base address registers. */
enum region { REGION_MEMORY = 0, REGION_MMIO = 2, REGION_VBE = 16, REGION_PORTS, REGION_WINDOW };

#define MMIO_SIZE    0x1000u
#define MMIO_PORTS   0x400u
#define MMIO_VBE     0x500u
#define MMIO_QEXT    0x600u

#define VBE_ID5      0xb0c5
#define VBE_ID_MASK  0xfff0

#define PORTS        0x3b0u
#define PORTS_END    0x3e0u
#define VBE_PORT     0x1ceu
#define WINDOW       0xa0000u
#define WINDOW_SIZE  0x20000u
#define ROM_MAX      KIB(64)

#define LITTLE_ENDIAN_FB 0x1e1e1e1eu

/* ---- VBE ---- */

static unsigned bytes_of(unsigned bpp, unsigned pixels)
{
	return bpp == 4 ? (pixels + 7) / 8 * 4 : (bpp + 7) / 8 * pixels;
}

uint32_t vga_vbe_pitch(const struct vga_state *s)
{
	return bytes_of(s->vbe[VBE_BPP], s->vbe[VBE_VIRT_WIDTH]);
}

static uint16_t at_most(unsigned value, unsigned most)
{
	return (uint16_t)(value < most ? value : most);
}

/* What the guest wrote becomes a mode that there is: all of it lies inside of memory. */
static void make_mode(struct vga_state *s)
{
	static const uint8_t depths[] = {4, 8, 15, 16, 24, 32};
	uint16_t *vbe = s->vbe;
	uint32_t pitch;
	bool known = false;

	for (unsigned i = 0; i < ARRAY_SIZE(depths); i++)
		known = known || vbe[VBE_BPP] == depths[i];
	if (!known)
		vbe[VBE_BPP] = 8;
	vbe[VBE_XRES] = at_most(vbe[VBE_XRES] & ~7u, VGA_MAX_WIDTH);
	if (!vbe[VBE_XRES])
		vbe[VBE_XRES] = 8;
	vbe[VBE_YRES] = at_most(vbe[VBE_YRES], VGA_MAX_HEIGHT);
	if (!vbe[VBE_YRES])
		vbe[VBE_YRES] = 1;
	if (vbe[VBE_VIRT_WIDTH] < vbe[VBE_XRES] || bytes_of(vbe[VBE_BPP], vbe[VBE_VIRT_WIDTH]) > VGA_MEMORY / vbe[VBE_YRES])
		vbe[VBE_VIRT_WIDTH] = vbe[VBE_XRES];
	pitch = vga_vbe_pitch(s);
	if ((uint64_t)pitch * vbe[VBE_YRES] > VGA_MEMORY)
		vbe[VBE_YRES] = (uint16_t)(VGA_MEMORY / pitch);
	vbe[VBE_VIRT_HEIGHT] = at_most((unsigned)(VGA_MEMORY / pitch), UINT16_MAX);
	vbe[VBE_X_OFFSET] = at_most(vbe[VBE_X_OFFSET], vbe[VBE_VIRT_WIDTH] - vbe[VBE_XRES]);
	vbe[VBE_Y_OFFSET] = at_most(vbe[VBE_Y_OFFSET], vbe[VBE_VIRT_HEIGHT] - vbe[VBE_YRES]);
}

uint16_t vga_vbe_read(const struct vga *vga, unsigned index)
{
	const uint16_t *vbe = vga->s.vbe;

	if (index >= VBE_COUNT)
		return 0;
	if (vbe[VBE_ENABLE] & VBE_GETCAPS) {
		switch (index) {
		case VBE_XRES: return VGA_MAX_WIDTH;
		case VBE_YRES: return VGA_MAX_HEIGHT;
		case VBE_BPP: return 32;
		default: break;
		}
	}
	return vbe[index];
}

static void write_enable(struct vga *vga, uint16_t value)
{
	struct vga_state *s = &vga->s;
	bool starts = (value & VBE_ENABLED) && !vga_vbe_on(s);

	s->vbe[VBE_ENABLE] = value & (VBE_ENABLED | VBE_GETCAPS | VBE_8BIT_DAC | VBE_LFB | VBE_NO_CLEAR);
	if (!starts) {
		if (!(value & VBE_ENABLED))
			s->vbe[VBE_BANK] = 0;
		return;
	}
	s->vbe[VBE_VIRT_WIDTH] = s->vbe[VBE_X_OFFSET] = s->vbe[VBE_Y_OFFSET] = 0;
	make_mode(s);
	if (!(value & VBE_NO_CLEAR))
		memset(vga->memory, 0, (size_t)vga_vbe_pitch(s) * s->vbe[VBE_YRES]);
}

void vga_vbe_write(struct vga *vga, unsigned index, uint16_t value)
{
	struct vga_state *s = &vga->s;

	switch (index) {
	case VBE_ID:
		if ((value & VBE_ID_MASK) == (VBE_ID5 & VBE_ID_MASK))
			s->vbe[VBE_ID] = value;
		return;
	case VBE_ENABLE: write_enable(vga, value); return;
	case VBE_BANK: s->vbe[VBE_BANK] = value & (uint16_t)(VGA_MEMORY / KIB(64) - 1); return;
	case VBE_XRES: case VBE_YRES: case VBE_BPP: case VBE_VIRT_WIDTH: case VBE_X_OFFSET: case VBE_Y_OFFSET:
		s->vbe[index] = value;
		if (vga_vbe_on(s))
			make_mode(s);
		return;
	default: return;
	}
}

/* ---- the memory-mapped registers ---- */

static uint64_t mmio_read(struct vga *vga, uint64_t offset, unsigned size)
{
	if (offset >= MMIO_PORTS && offset < MMIO_PORTS + 0x20 && size == 1)
		return vga_port_read(vga, 0x3c0 + (unsigned)(offset - MMIO_PORTS));
	if (offset >= MMIO_VBE && offset < MMIO_VBE + 2 * VBE_COUNT && size == 2)
		return vga_vbe_read(vga, (unsigned)(offset - MMIO_VBE) / 2);
	if (offset == MMIO_QEXT && size == 4)
		return 8;
	if (offset == MMIO_QEXT + 4 && size == 4)
		return LITTLE_ENDIAN_FB;
	return 0;
}

static void mmio_write(struct vga *vga, uint64_t offset, unsigned size, uint64_t value)
{
	if (offset >= MMIO_PORTS && offset < MMIO_PORTS + 0x20) {
		for (unsigned i = 0; i < size; i++)
			vga_port_write(vga, 0x3c0 + (unsigned)(offset - MMIO_PORTS) + i, (uint8_t)(value >> (8 * i)));
	} else if (offset >= MMIO_VBE && offset < MMIO_VBE + 2 * VBE_COUNT && size == 2) {
		vga_vbe_write(vga, (unsigned)(offset - MMIO_VBE) / 2, (uint16_t)value);
	}
}

/* ---- ports ---- */

/* 0x1ce is a word; 0x1cf is another one, of which the bus makes bytes since it lies across. */
static uint64_t vbe_port_read(struct vga *vga, uint64_t offset, unsigned size)
{
	uint16_t value = offset ? vga_vbe_read(vga, vga->vbe_index) : vga->vbe_index;

	return offset == 2 ? value >> 8 : value;
}

static void vbe_port_write(struct vga *vga, uint64_t offset, unsigned size, uint64_t value)
{
	if (offset == 0)
		vga->vbe_index = (uint16_t)value;
	else if (offset == 1)
		vga->vbe_low = (uint8_t)value;
	else
		vga_vbe_write(vga, vga->vbe_index, (uint16_t)(vga->vbe_low | value << 8));
}

/* ---- the device ---- */

static uint64_t bytes_read(const uint8_t *at, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, at, size);
	return value;
}

static uint64_t vga_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct vga *vga = container_of(dev, struct vga, pci.dev);

	switch (region) {
	case REGION_MEMORY: return bytes_read(vga->memory + offset, size);
	case REGION_MMIO: return mmio_read(vga, offset, size);
	case PCI_BAR_ROM: return bytes_read(vga->rom + offset, size);
	case REGION_VBE: return vbe_port_read(vga, offset, size);
	case REGION_PORTS: return vga_port_read(vga, PORTS + (unsigned)offset);
	case REGION_WINDOW: return vga_window_read(vga, (uint32_t)offset);
	default: return UINT64_MAX;
	}
}

static void vga_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct vga *vga = container_of(dev, struct vga, pci.dev);

	switch (region) {
	case REGION_MEMORY: memcpy(vga->memory + offset, &value, size); break;
	case REGION_MMIO: mmio_write(vga, offset, size, value); break;
	case REGION_VBE: vbe_port_write(vga, offset, size, value); break;
	case REGION_PORTS: vga_port_write(vga, PORTS + (unsigned)offset, (uint8_t)value); break;
	case REGION_WINDOW: vga_window_write(vga, (uint32_t)offset, (uint8_t)value); break;
	default: break;
	}
}

static void registers_reset(struct vga *vga)
{
	vga_ports_reset(vga);
	memset(vga->s.vbe, 0, sizeof(vga->s.vbe));
	vga->s.vbe[VBE_ID] = VBE_ID5;
	vga->s.vbe[VBE_MEMORY_64K] = VGA_MEMORY / KIB(64);
	vga->vbe_index = 0;
	vga->vbe_low = 0;
}

static void vga_reset(struct device *dev)
{
	struct vga *vga = container_of(dev, struct vga, pci.dev);

	pci_function_reset(&vga->pci);
	registers_reset(vga);
	memset(vga->memory, 0, VGA_MEMORY);
}

static void vga_destroy(struct device *dev)
{
	struct vga *vga = container_of(dev, struct vga, pci.dev);

	if (vga->own_memory)
		platform_free(vga->memory);
	platform_free(vga->rom);
	platform_free(vga);
}

static const struct device_ops ops = {
	.name = "vga",
	.reset = vga_reset,
	.read = vga_read,
	.write = vga_write,
	.destroy = vga_destroy,
};

/* ---- made ---- */

static int read_rom(struct vga *vga, const struct image *image)
{
	uint32_t size = PAGE_SIZE;

	if (!image)
		return 0;
	if (!image->size || image->size > ROM_MAX)
		return -EINVAL;
	while (size < image->size)
		size *= 2;
	vga->rom = platform_alloc(size);
	if (!vga->rom)
		return -ENOMEM;
	vga->rom_size = size;
	return image_read(image, 0, vga->rom, image->size);
}

static void make_function(struct vga *vga)
{
	pci_function_init(&vga->pci, NULL,
			  &(struct pci_ids){.vendor = 0x1234,
					    .device = 0x1111,
					    .revision = 2,
					    .subsystem_vendor = 0x1af4,
					    .subsystem = 0x1100,
					    .class_code = 0x030000});
	pci_add_bar(&vga->pci, REGION_MEMORY, PCI_BAR_MEM32, VGA_MEMORY, 1, 8);
	pci_set_prefetchable(&vga->pci, REGION_MEMORY);
	pci_add_bar(&vga->pci, REGION_MMIO, PCI_BAR_MEM32, MMIO_SIZE, 1, 4);
	if (vga->rom)
		pci_add_bar(&vga->pci, PCI_BAR_ROM, PCI_BAR_MEM32, vga->rom_size, 1, 8);
}

static int attach(struct vga *vga, struct vm *vm)
{
	struct device *dev = &vga->pci.dev;
	int r = bus_attach_sized(&vm->pio, VBE_PORT, 3, dev, REGION_VBE, 1, 2);

	if (!r)
		r = bus_attach_sized(&vm->pio, PORTS, PORTS_END - PORTS, dev, REGION_PORTS, 1, 1);
	return r ? r : bus_attach_sized(&vm->mmio, WINDOW, WINDOW_SIZE, dev, REGION_WINDOW, 1, 1);
}

int vga_create(struct pci_root *root, uint8_t devfn, const struct image *rom, void *memory, struct vga **out)
{
	struct vga *vga = platform_alloc(sizeof(*vga));
	int r;

	if (!vga)
		return -ENOMEM;
	vga->memory = memory ? memory : platform_alloc(VGA_MEMORY);
	vga->own_memory = !memory;
	r = vga->memory ? read_rom(vga, rom) : -ENOMEM;
	if (r)
		goto fail;
	make_function(vga);
	registers_reset(vga);
	r = pci_attach(root, NULL, devfn, &vga->pci, &ops, "vga");
	if (r)
		goto fail;
	*out = vga;
	return attach(vga, root->vm);
fail:
	vga_destroy(&vga->pci.dev);
	return r;
}
