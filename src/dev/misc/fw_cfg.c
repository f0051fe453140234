/* fw_cfg; see fw_cfg.h, and QEMU's docs/specs/fw_cfg.
 *
 * In memory the selector is big-endian, and data may be read up to eight bytes at a time.
 *
 * Example: a guest writes 0x0005 (FW_CFG_NB_CPUS) to port 0x510 and reads two bytes from port 0x511.
 */
#include "dev/misc/fw_cfg.h"
#include "base/errno.h"
#include "base/string.h"
#include "core/platform.h"

#define PORT_SELECTOR FW_CFG_PORT
#define PORT_DMA      0x514

enum region { REGION_DATA, REGION_DMA, REGION_MMIO_DATA, REGION_MMIO_SELECTOR };
#define MMIO_SELECTOR 8u
#define MMIO_DMA      16u

#define MAX_ITEMS 64
#define MAX_FILES 40
#define NAME_SIZE 56

#define ID_TRADITIONAL (1u << 0)
#define ID_DMA         (1u << 1)

#define DMA_ERROR  (1u << 0)
#define DMA_READ   (1u << 1)
#define DMA_SKIP   (1u << 2)
#define DMA_SELECT (1u << 3)
#define DMA_WRITE  (1u << 4)

#define DMA_SIGNATURE 0x51454d5520434647ull /* "QEMU CFG" */

struct item {
	uint16_t key;
	uint32_t size;
	uint8_t *data;
};

/* The directory as the guest reads it, big-endian. */
struct file {
	uint32_t size;
	uint16_t select;
	uint16_t reserved;
	char name[NAME_SIZE];
};
_Static_assert(sizeof(struct file) == 64, "fw_cfg ABI");

struct directory {
	uint32_t count;
	struct file files[MAX_FILES];
};

struct dma_access {
	uint32_t control, length;
	uint64_t address;
};

struct fw_cfg {
	struct device dev;
	struct item items[MAX_ITEMS];
	unsigned item_count;
	struct directory directory;
	unsigned file_count;
	uint16_t selector;
	uint32_t offset;    /* in the selected item */
	uint32_t dma_high;  /* upper half of the DMA address */
	void (*select)(void *ctx);
	void *select_ctx;
};

static uint32_t be32(uint32_t value)
{
	return __builtin_bswap32(value);
}

static const struct item *selected(const struct fw_cfg *fw_cfg)
{
	for (unsigned i = 0; i < fw_cfg->item_count; i++)
		if (fw_cfg->items[i].key == fw_cfg->selector)
			return &fw_cfg->items[i];
	return NULL;
}

static void select_item(struct fw_cfg *fw_cfg, uint16_t key)
{
	fw_cfg->selector = key;
	fw_cfg->offset = 0;
	if (fw_cfg->select && key >= FW_CFG_FILE_FIRST && key < FW_CFG_FILE_FIRST + fw_cfg->file_count)
		fw_cfg->select(fw_cfg->select_ctx);
}

/* What is left of the selected item. */
static uint32_t remaining(const struct fw_cfg *fw_cfg, const struct item *item)
{
	return item && item->size > fw_cfg->offset ? item->size - fw_cfg->offset : 0;
}

static uint8_t read_byte(struct fw_cfg *fw_cfg)
{
	const struct item *item = selected(fw_cfg);

	return remaining(fw_cfg, item) ? item->data[fw_cfg->offset++] : 0;
}

/* Past the end of the item one reads zeros. */
static int dma_read(struct fw_cfg *fw_cfg, gpa_t gpa, uint32_t length)
{
	struct mem *mem = &fw_cfg->dev.vm->mem;
	const struct item *item = selected(fw_cfg);
	uint32_t size = remaining(fw_cfg, item);
	int r = 0;

	if (size > length)
		size = length;
	if (size)
		r = mem_write(mem, gpa, item->data + fw_cfg->offset, size);
	if (!r && length > size)
		r = mem_fill(mem, gpa + size, 0, length - size);
	fw_cfg->offset += size;
	return r;
}

static void dma(struct fw_cfg *fw_cfg, gpa_t gpa)
{
	struct mem *mem = &fw_cfg->dev.vm->mem;
	struct dma_access access;
	uint32_t control, length, result = 0;
	int r = mem_read(mem, gpa, &access, sizeof(access));

	if (r) {
		log_guest("fw_cfg", "DMA structure at 0x%llx is not in memory", (unsigned long long)gpa);
		return;
	}
	control = be32(access.control);
	length = be32(access.length);
	if (control & DMA_SELECT)
		select_item(fw_cfg, (uint16_t)(control >> 16));
	if (control & DMA_READ) {
		r = dma_read(fw_cfg, __builtin_bswap64(access.address), length);
	} else if (control & DMA_WRITE) {
		r = -EPERM; /* there are no writable items */
	} else if (control & DMA_SKIP) {
		uint32_t left = remaining(fw_cfg, selected(fw_cfg));

		fw_cfg->offset += length < left ? length : left;
	}
	if (r)
		result = be32(DMA_ERROR);
	r = mem_write(mem, gpa, &result, sizeof(result));
	if (r)
		log_guest("fw_cfg", "DMA structure at 0x%llx is read-only", (unsigned long long)gpa);
}

/* The bytes that come next, in the order in which the guest stores what it has read. */
static uint64_t read_string(struct fw_cfg *fw_cfg, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)read_byte(fw_cfg) << 8 * i;
	return value;
}

static uint64_t fw_cfg_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct fw_cfg *fw_cfg = container_of(dev, struct fw_cfg, dev);

	if (region == REGION_DATA)
		return size == 1 ? read_byte(fw_cfg) : 0;
	if (region == REGION_MMIO_DATA)
		return read_string(fw_cfg, size);
	if (region == REGION_MMIO_SELECTOR)
		return 0;
	/* big-endian: the upper half is at the lower port, its bytes reversed */
	return be32((uint32_t)(offset == 0 ? DMA_SIGNATURE >> 32 : DMA_SIGNATURE));
}

static void fw_cfg_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct fw_cfg *fw_cfg = container_of(dev, struct fw_cfg, dev);

	if (region == REGION_DATA) {
		if (size == 2)
			select_item(fw_cfg, (uint16_t)value);
	} else if (region == REGION_MMIO_SELECTOR) {
		select_item(fw_cfg, __builtin_bswap16((uint16_t)value));
	} else if (region == REGION_MMIO_DATA) {
		return; /* there are no writable items */
	} else if (offset == 0) {
		fw_cfg->dma_high = be32((uint32_t)value);
	} else {
		gpa_t gpa = (uint64_t)fw_cfg->dma_high << 32 | be32((uint32_t)value);

		fw_cfg->dma_high = 0;
		dma(fw_cfg, gpa);
	}
}

static void fw_cfg_reset(struct device *dev)
{
	struct fw_cfg *fw_cfg = container_of(dev, struct fw_cfg, dev);

	select_item(fw_cfg, FW_CFG_SIGNATURE);
	fw_cfg->dma_high = 0;
}

static void fw_cfg_destroy(struct device *dev)
{
	struct fw_cfg *fw_cfg = container_of(dev, struct fw_cfg, dev);

	for (unsigned i = 0; i < fw_cfg->item_count; i++)
		platform_free(fw_cfg->items[i].data);
	platform_free(fw_cfg);
}

static const struct device_ops ops = {
	.name = "fw_cfg",
	.reset = fw_cfg_reset,
	.read = fw_cfg_read,
	.write = fw_cfg_write,
	.destroy = fw_cfg_destroy,
};

/* ---- items ---- */
int fw_cfg_add(struct fw_cfg *fw_cfg, uint16_t key, const void *data, uint32_t size)
{
	struct item *item;

	for (unsigned i = 0; i < fw_cfg->item_count; i++)
		if (fw_cfg->items[i].key == key)
			return -EEXIST;
	if (fw_cfg->item_count == MAX_ITEMS)
		return -ENOSPC;
	item = &fw_cfg->items[fw_cfg->item_count];
	item->data = platform_alloc(size ? size : 1);
	if (!item->data)
		return -ENOMEM;
	memcpy(item->data, data, size);
	item->key = key;
	item->size = size;
	fw_cfg->item_count++;
	return 0;
}

/* Numbers are little-endian, as this code's machine. */
int fw_cfg_add_u16(struct fw_cfg *fw_cfg, uint16_t key, uint16_t value)
{
	return fw_cfg_add(fw_cfg, key, &value, sizeof(value));
}

int fw_cfg_add_u32(struct fw_cfg *fw_cfg, uint16_t key, uint32_t value)
{
	return fw_cfg_add(fw_cfg, key, &value, sizeof(value));
}

int fw_cfg_add_u64(struct fw_cfg *fw_cfg, uint16_t key, uint64_t value)
{
	return fw_cfg_add(fw_cfg, key, &value, sizeof(value));
}

/* Negative, zero, positive as a sorts before, with, after b. */
static int compare_names(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (uint8_t)*a - (uint8_t)*b;
}

/* The directory item is a copy too: renewed whenever a file is added. */
static int publish_directory(struct fw_cfg *fw_cfg)
{
	for (unsigned i = 0; i < fw_cfg->item_count; i++)
		if (fw_cfg->items[i].key == FW_CFG_FILE_DIR) {
			memcpy(fw_cfg->items[i].data, &fw_cfg->directory, sizeof(fw_cfg->directory));
			return 0;
		}
	return fw_cfg_add(fw_cfg, FW_CFG_FILE_DIR, &fw_cfg->directory, sizeof(fw_cfg->directory));
}

int fw_cfg_add_file(struct fw_cfg *fw_cfg, const char *name, const void *data, uint32_t size)
{
	struct file file = {.size = be32(size)}, *files = fw_cfg->directory.files;
	uint16_t key = (uint16_t)(FW_CFG_FILE_FIRST + fw_cfg->file_count);
	unsigned at = 0, length = 0;
	int r;

	while (name[length] && length < NAME_SIZE) {
		file.name[length] = name[length];
		length++;
	}
	if (length == NAME_SIZE)
		return -EINVAL;
	if (fw_cfg->file_count == MAX_FILES)
		return -ENOSPC;
	while (at < fw_cfg->file_count && compare_names(files[at].name, name) < 0)
		at++;
	if (at < fw_cfg->file_count && compare_names(files[at].name, name) == 0)
		return -EEXIST;
	r = fw_cfg_add(fw_cfg, key, data, size);
	if (r)
		return r;
	file.select = __builtin_bswap16(key);
	memmove(&files[at + 1], &files[at], (fw_cfg->file_count - at) * sizeof(file));
	files[at] = file;
	fw_cfg->directory.count = be32(++fw_cfg->file_count);
	return publish_directory(fw_cfg);
}

void fw_cfg_on_select(struct fw_cfg *fw_cfg, void (*select)(void *ctx), void *ctx)
{
	fw_cfg->select = select;
	fw_cfg->select_ctx = ctx;
}

int fw_cfg_refresh_file(struct fw_cfg *fw_cfg, const char *name, const void *data, uint32_t size)
{
	const struct file *files = fw_cfg->directory.files;

	for (unsigned i = 0; i < fw_cfg->file_count; i++) {
		if (compare_names(files[i].name, name) != 0)
			continue;
		for (unsigned j = 0; j < fw_cfg->item_count; j++)
			if (fw_cfg->items[j].key == __builtin_bswap16(files[i].select) && fw_cfg->items[j].size == size) {
				memcpy(fw_cfg->items[j].data, data, size);
				return 0;
			}
		return -EINVAL;
	}
	return -EINVAL;
}

static int add_standard_items(struct fw_cfg *fw_cfg, struct vm *vm)
{
	int r = fw_cfg_add(fw_cfg, FW_CFG_SIGNATURE, "QEMU", 4);

	if (!r)
		r = fw_cfg_add_u32(fw_cfg, FW_CFG_ID, ID_TRADITIONAL | ID_DMA);
	if (!r)
		r = fw_cfg_add_u64(fw_cfg, FW_CFG_RAM_SIZE, mem_told_size(&vm->mem));
	if (!r)
		r = fw_cfg_add_u16(fw_cfg, FW_CFG_NB_CPUS, (uint16_t)vm->vcpu_count);
	if (!r)
		r = fw_cfg_add_u16(fw_cfg, FW_CFG_MAX_CPUS, (uint16_t)vm->vcpu_count);
	if (!r)
		r = fw_cfg_add_u16(fw_cfg, FW_CFG_NOGRAPHIC, 1);
	if (!r)
		r = publish_directory(fw_cfg);
	return r;
}

/* On no bus yet. */
static int create(struct vm *vm, struct fw_cfg **out)
{
	struct fw_cfg *fw_cfg = platform_alloc(sizeof(*fw_cfg));
	int r;

	if (!fw_cfg)
		return -ENOMEM;
	r = device_register(vm, &fw_cfg->dev, &ops, "fw_cfg");
	if (r) {
		platform_free(fw_cfg);
		return r;
	}
	*out = fw_cfg;
	return add_standard_items(fw_cfg, vm);
}

int fw_cfg_create(struct vm *vm, struct fw_cfg **out)
{
	int r = create(vm, out);

	if (!r)
		r = bus_attach_sized(&vm->pio, PORT_SELECTOR, 2, &(*out)->dev, REGION_DATA, 1, 2);
	return r ? r : bus_attach_sized(&vm->pio, PORT_DMA, 8, &(*out)->dev, REGION_DMA, 4, 4);
}

int fw_cfg_create_mmio(struct vm *vm, gpa_t base, struct fw_cfg **out)
{
	int r = create(vm, out);

	if (!r)
		r = bus_attach_sized(&vm->mmio, base, 8, &(*out)->dev, REGION_MMIO_DATA, 1, 8);
	if (!r)
		r = bus_attach_sized(&vm->mmio, base + MMIO_SELECTOR, 2, &(*out)->dev, REGION_MMIO_SELECTOR, 2, 2);
	/* An 8-byte access is two of 4. */
	return r ? r : bus_attach_sized(&vm->mmio, base + MMIO_DMA, 8, &(*out)->dev, REGION_DMA, 4, 4);
}
