/* NOR flash; see pflash.h. Commands are those of Intel's StrataFlash (28F128J3 datasheet, "Command Definitions"), the query table that
 * of JESD68.01.
 *
 * Programming only clears bits, erasing sets all of a block; both are done at once, and the status is "ready" then. Unlike a chip's,
 * this bit is cleared with the others: by that OVMF tells QEMU's flash from memory.
 *
 * Example of a guest's erase: `*p = 0x20; *p = 0xd0; while (!(*p & 0x80)); *p = 0xff;`
 */
#include "dev/misc/pflash.h"
#include "base/errno.h"
#include "base/string.h"
#include "core/platform.h"

enum command {
	CMD_READ_ARRAY = 0xff,
	CMD_READ_ARRAY_TOO = 0x00,
	CMD_PROGRAM = 0x40,
	CMD_PROGRAM_TOO = 0x10,
	CMD_ERASE = 0x20,
	CMD_CLEAR_STATUS = 0x50,
	CMD_LOCK = 0x60,
	CMD_READ_STATUS = 0x70,
	CMD_READ_ID = 0x90,
	CMD_QUERY = 0x98,
	CMD_CONFIRM = 0xd0,
	CMD_WRITE_BUFFER = 0xe8,
};

#define STATUS_READY         0x80u
#define STATUS_ERASE_ERROR   0x20u
#define STATUS_PROGRAM_ERROR 0x10u
#define STATUS_SEQUENCE      (STATUS_ERASE_ERROR | STATUS_PROGRAM_ERROR)

#define MANUFACTURER 0x89u /* Intel */
#define DEVICE_ID    0x18u

/* Of 8 bits; and of each chip of a pair. */
#define BUFFER_SHIFT      5
#define PAIR_BUFFER_SHIFT 6
#define BUFFER_MAX        (2u << PAIR_BUFFER_SHIFT)
#define QUERY_FIRST  0x10u
#define QUERY_SIZE   0x26u /* 0x10 to 0x35 */

/* What the next write is. */
enum expect { EXPECT_COMMAND, EXPECT_DATA, EXPECT_ERASE_CONFIRM, EXPECT_LOCK, EXPECT_COUNT, EXPECT_BUFFER, EXPECT_WRITE_CONFIRM };
/* What a read gives. */
enum show { SHOW_ARRAY, SHOW_STATUS, SHOW_ID, SHOW_QUERY };

struct pflash {
	struct device dev;
	uint8_t *array;
	uint64_t size;
	bool pair;
	uint64_t *dirty; /* a bit a block: not in the store yet */

	enum expect expect;
	enum show show;
	uint8_t status;
	unsigned buffer_left; /* bytes that the guest still owes */
	uint64_t buffer_at;   /* of the first one; size: none yet */
	uint8_t buffer[BUFFER_MAX];
	bool buffer_set[BUFFER_MAX]; /* the byte was given */
	bool buffer_bad;      /* bytes of more than one line */

	struct block_backend *store;
	struct work work;
	struct block_request request; /* the I/O thread's */
	struct iobuf iobuf;
	bool busy;                    /* a request is under way */
	bool unflushed;               /* written to the store since the last flush */
	uint8_t copy[PFLASH_BLOCK];
};

static struct pflash *pflash_of(struct device *dev)
{
	return container_of(dev, struct pflash, dev);
}

/* ---- the store: the I/O thread, no lock held ---- */

static void write_back(void *ctx);

static void on_stored(struct block_request *request, int status)
{
	struct pflash *flash = request->ctx;

	if (status)
		log_error("pflash", "the firmware's variables can't be stored (error %d); check the file and the space around it", -status);
	lock_take(&flash->dev.lock);
	flash->busy = false;
	lock_release(&flash->dev.lock);
	work_post(&flash->work);
}

/* Takes a block that waits into flash->copy. Lock held. */
static bool take_dirty(struct pflash *flash, uint64_t *block)
{
	for (*block = 0; *block < flash->size / PFLASH_BLOCK; ++*block) {
		uint64_t *word = &flash->dirty[*block / 64], bit = 1ull << *block % 64;

		if (!(*word & bit))
			continue;
		*word &= ~bit;
		memcpy(flash->copy, flash->array + *block * PFLASH_BLOCK, PFLASH_BLOCK);
		return true;
	}
	return false;
}

/* One request at a time: a block, and when there is none any more, a flush. */
static void write_back(void *ctx)
{
	struct pflash *flash = ctx;
	uint64_t block = 0;
	bool write, submit = false;

	lock_take(&flash->dev.lock);
	if (!flash->busy) {
		write = take_dirty(flash, &block);
		submit = write || flash->unflushed;
		flash->busy = submit;
		flash->unflushed = write;
		flash->iobuf = (struct iobuf){flash->copy, PFLASH_BLOCK};
		flash->request = (struct block_request){.op = write ? BLOCK_WRITE : BLOCK_FLUSH,
							.offset = block * PFLASH_BLOCK,
							.length = write ? PFLASH_BLOCK : 0,
							.bufs = &flash->iobuf,
							.count = write ? 1 : 0,
							.done = on_stored,
							.ctx = flash};
	}
	lock_release(&flash->dev.lock);
	if (submit)
		flash->store->ops->submit(flash->store, &flash->request);
}

static void drain(struct pflash *flash)
{
	if (flash->store->ops->drain)
		flash->store->ops->drain(flash->store);
}

/* What is left when the machine ends: at most every block and a flush. */
static void finish_store(struct pflash *flash)
{
	for (uint64_t i = 0; i < flash->size / PFLASH_BLOCK + 2; i++) {
		drain(flash);
		write_back(flash);
	}
	drain(flash);
}

static void changed(struct pflash *flash, uint64_t offset)
{
	if (!flash->store)
		return;
	flash->dirty[offset / PFLASH_BLOCK / 64] |= 1ull << offset / PFLASH_BLOCK % 64;
	work_post(&flash->work);
}

/* ---- programming and erasing ---- */

static void program(struct pflash *flash, uint64_t offset, uint8_t byte)
{
	if ((flash->array[offset] & byte) == flash->array[offset])
		return;
	flash->array[offset] &= byte;
	changed(flash, offset);
}

static void erase(struct pflash *flash, uint64_t offset)
{
	const uint64_t size = flash->pair ? PFLASH_PAIR_BLOCK : PFLASH_BLOCK, first = offset & ~(size - 1);

	memset(flash->array + first, 0xff, size);
	for (uint64_t at = first; at < first + size; at += PFLASH_BLOCK)
		changed(flash, at);
}

static unsigned buffer_size(const struct pflash *flash)
{
	return flash->pair ? BUFFER_MAX : 1u << BUFFER_SHIFT;
}

/* The buffer is an aligned one around the first byte given. */
static void take_buffered(struct pflash *flash, uint64_t offset, uint8_t byte)
{
	const uint64_t line = offset & ~(uint64_t)(buffer_size(flash) - 1);

	if (flash->buffer_at == flash->size)
		flash->buffer_at = line;
	flash->buffer_bad |= line != flash->buffer_at;
	flash->buffer[offset - line] = byte;
	flash->buffer_set[offset - line] = true;
	if (!--flash->buffer_left)
		flash->expect = EXPECT_WRITE_CONFIRM;
}

static void write_buffer(struct pflash *flash)
{
	if (flash->buffer_bad)
		flash->status |= STATUS_SEQUENCE;
	for (unsigned i = 0; i < buffer_size(flash) && !flash->buffer_bad; i++)
		if (flash->buffer_set[i])
			program(flash, flash->buffer_at + i, flash->buffer[i]);
}

/* ---- commands ---- */

static void take_command(struct pflash *flash, uint8_t command)
{
	flash->show = SHOW_STATUS;
	switch (command) {
	case CMD_READ_ARRAY:
	case CMD_READ_ARRAY_TOO:
		flash->show = SHOW_ARRAY;
		break;
	case CMD_PROGRAM:
	case CMD_PROGRAM_TOO:
		flash->expect = EXPECT_DATA;
		break;
	case CMD_ERASE:
		flash->expect = EXPECT_ERASE_CONFIRM;
		break;
	case CMD_CLEAR_STATUS:
		flash->status = 0;
		flash->show = SHOW_ARRAY;
		break;
	case CMD_LOCK:
		flash->expect = EXPECT_LOCK;
		break;
	case CMD_READ_STATUS:
		break;
	case CMD_READ_ID:
		flash->show = SHOW_ID;
		break;
	case CMD_QUERY:
		flash->show = SHOW_QUERY;
		break;
	case CMD_WRITE_BUFFER:
		flash->expect = EXPECT_COUNT;
		flash->status |= STATUS_READY; /* the buffer is there */
		break;
	default:
		flash->status |= STATUS_SEQUENCE;
		break;
	}
}

static void begin_buffer(struct pflash *flash, uint8_t count)
{
	flash->expect = EXPECT_BUFFER;
	flash->buffer_left = (count + 1u) * (flash->pair ? 4 : 1); /* told in what the bus is wide */
	flash->buffer_at = flash->size;
	memset(flash->buffer_set, 0, sizeof(flash->buffer_set));
	flash->buffer_bad = false;
	if (flash->buffer_left > buffer_size(flash)) {
		flash->expect = EXPECT_COMMAND;
		flash->status |= STATUS_SEQUENCE;
	}
}

static void pflash_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct pflash *flash = pflash_of(dev);
	const enum expect expect = flash->expect;
	const uint8_t low = (uint8_t)value;

	flash->expect = EXPECT_COMMAND;
	flash->status |= expect == EXPECT_COMMAND ? 0 : STATUS_READY;
	switch (expect) {
	case EXPECT_COMMAND:
		take_command(flash, low);
		break;
	case EXPECT_DATA:
		for (unsigned i = 0; i < size; i++)
			program(flash, offset + i, (uint8_t)(value >> 8 * i));
		break;
	case EXPECT_ERASE_CONFIRM:
		if (low == CMD_CONFIRM)
			erase(flash, offset);
		else
			flash->status |= STATUS_SEQUENCE;
		break;
	case EXPECT_LOCK: /* 0x01 locks, 0xd0 unlocks: blocks stay writable, as after power-on */
		if (low != 0x01 && low != CMD_CONFIRM)
			flash->status |= STATUS_SEQUENCE;
		break;
	case EXPECT_COUNT:
		begin_buffer(flash, low);
		break;
	case EXPECT_BUFFER:
		flash->expect = EXPECT_BUFFER;
		for (unsigned i = 0; i < size && flash->expect == EXPECT_BUFFER; i++)
			take_buffered(flash, offset + i, (uint8_t)(value >> 8 * i));
		break;
	case EXPECT_WRITE_CONFIRM:
		if (low == CMD_CONFIRM)
			write_buffer(flash);
		else
			flash->status |= STATUS_SEQUENCE;
		break;
	}
}

/* ---- reading ---- */

static uint8_t log2_of(uint64_t size)
{
	uint8_t bits = 0;

	while ((1ull << bits) < size)
		bits++;
	return bits;
}

static uint8_t query(const struct pflash *flash, uint64_t offset)
{
	/* Of one chip. */
	const uint64_t size = flash->pair ? flash->size / 2 : flash->size, block = flash->pair ? PFLASH_PAIR_BLOCK / 2 : PFLASH_BLOCK;
	const uint64_t blocks = size / block - 1;
	const uint8_t table[QUERY_SIZE] = {
		[0x00] = 'Q', 'R', 'Y', 0x01, 0x00, 0x31, 0x00, /* command set 0001, its own table at 0x31 */
		[0x0b] = 0x45, 0x55,                            /* 4.5 V to 5.5 V */
		[0x0f] = 0x07, 0x07, 0x0a,                      /* 128 us a byte or a buffer, 1 s an erase */
		[0x13] = 0x04, 0x04, 0x04,                      /* and at most 16 times as long */
		[0x17] = log2_of(size), flash->pair, 0x00,      /* 8 or 16 bits wide */
		[0x1a] = flash->pair ? PAIR_BUFFER_SHIFT : BUFFER_SHIFT, 0x00, 0x01, /* one kind of blocks */
		[0x1d] = (uint8_t)blocks, (uint8_t)(blocks >> 8), (uint8_t)(block >> 8), (uint8_t)(block >> 16),
		[0x21] = 'P', 'R', 'I', '1', '0',
	};

	return offset >= QUERY_FIRST && offset < QUERY_FIRST + QUERY_SIZE ? table[offset - QUERY_FIRST] : 0;
}

/* What chips say of themselves is a byte a word of the bus: for a pair, the lower one of each half. */
static uint8_t read_byte(const struct pflash *flash, uint64_t offset)
{
	if (flash->show == SHOW_ARRAY)
		return flash->array[offset];
	if (flash->pair && offset & 1)
		return 0;
	if (flash->pair)
		offset /= 4;
	switch (flash->show) {
	case SHOW_ARRAY:
		break;
	case SHOW_STATUS:
		return flash->status;
	case SHOW_ID:
		return (offset & 0xff) == 0 ? MANUFACTURER : (offset & 0xff) == 1 ? DEVICE_ID : 0;
	case SHOW_QUERY:
		break;
	}
	return query(flash, offset);
}

static uint64_t pflash_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	const struct pflash *flash = pflash_of(dev);
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)read_byte(flash, offset + i) << 8 * i;
	return value;
}

/* ---- the rest of a device ---- */

static void pflash_reset(struct device *dev)
{
	struct pflash *flash = pflash_of(dev);

	flash->expect = EXPECT_COMMAND;
	flash->show = SHOW_ARRAY;
	flash->status = STATUS_READY;
}

static void free_flash(struct pflash *flash)
{
	platform_free(flash->dirty);
	platform_free(flash->array);
	platform_free(flash);
}

static void pflash_destroy(struct device *dev)
{
	struct pflash *flash = pflash_of(dev);

	if (flash->store)
		finish_store(flash);
	free_flash(flash);
}

static const struct device_ops ops = {
	.name = "pflash",
	.reset = pflash_reset,
	.read = pflash_read,
	.write = pflash_write,
	.destroy = pflash_destroy,
};

static int fill(struct pflash *flash, const struct pflash_params *params)
{
	const uint64_t words = (flash->size / PFLASH_BLOCK + 63) / 64;

	flash->array = platform_alloc(flash->size);
	flash->dirty = platform_alloc(words * sizeof(flash->dirty[0]));
	if (!flash->array || !flash->dirty)
		return -ENOMEM;
	return image_read(params->content, 0, flash->array, flash->size);
}

int pflash_create(struct vm *vm, const struct pflash_params *params)
{
	const uint64_t size = params->content->size;
	struct pflash *flash;
	int r;

	if (!size || size % (params->pair ? PFLASH_PAIR_BLOCK : PFLASH_BLOCK) || size > PFLASH_MAX_SIZE || (params->store && params->store->size != size))
		return -EINVAL;
	flash = platform_alloc(sizeof(*flash));
	if (!flash)
		return -ENOMEM;
	flash->size = size;
	flash->pair = params->pair;
	flash->store = params->store;
	work_init(&flash->work, vm, write_back, flash);
	r = fill(flash, params);
	if (!r)
		r = device_register(vm, &flash->dev, &ops, "pflash");
	if (r) {
		free_flash(flash);
		return r;
	}
	return bus_attach(&vm->mmio, params->base, size, &flash->dev, 0);
}
