/* Two 8259A interrupt controllers; see pic.h. Names are the data sheet's.
 *
 * Example: a guest's ICW1..ICW4 to ports 0x20, 0x21, then `pic_set(pic, 3, 1)` raises INTR and pic_acknowledge() is
 * vector ICW2 + 3.
 */
#include "dev/irq/pic.h"
#include "base/errno.h"
#include "core/platform.h"
#include "core/vm.h"

#define CASCADE 2

#define ICW1_ICW4      0x01
#define ICW1_SINGLE    0x02
#define ICW1_LEVEL     0x08
#define ICW1           0x10
#define ICW4_AUTO_EOI  0x02
#define ICW4_NESTED    0x10 /* special fully nested mode */
#define OCW3           0x08
#define OCW3_READ      0x02
#define OCW3_READ_ISR  0x01
#define OCW3_POLL      0x04
#define OCW3_SPECIAL   0x40
#define OCW3_SET_MASK  0x20

enum region { REGION_MASTER, REGION_SLAVE, REGION_ELCR };

struct chip {
	uint8_t irr, isr, imr;
	uint8_t lines;      /* input levels now */
	uint8_t elcr;       /* 1: level-triggered */
	uint8_t lowest;     /* the input of lowest priority, 7 unless rotated */
	uint8_t vector;     /* ICW2 */
	uint8_t icw_next;   /* 0: operational; else which ICW the odd port takes next */
	bool icw4_needed, single, auto_eoi, rotate_on_auto_eoi, special_mask, nested, read_isr, poll;
};

struct pic {
	struct device dev;
	struct chip chip[2];
	_Atomic bool intr;
	void (*output)(void *ctx, bool level);
	void *ctx;
};

/* The inputs that ICW1 can't make level-triggered: timer, keyboard, cascade; RTC and FPU. */
static const uint8_t elcr_writable[2] = {0xf8, 0xde};

/* How far below the highest priority an input is; 8 for none of `bits`. */
static unsigned best_rank(const struct chip *chip, uint8_t bits)
{
	for (unsigned rank = 0; rank < 8; rank++)
		if (bits >> ((chip->lowest + 1 + rank) & 7) & 1)
			return rank;
	return 8;
}

static unsigned input_of(const struct chip *chip, unsigned rank)
{
	return (chip->lowest + 1 + rank) & 7;
}

/* The input that the chip asks for, or -1. */
static int requested(const struct chip *chip, bool master)
{
	unsigned rank = best_rank(chip, chip->irr & (uint8_t)~chip->imr);
	uint8_t in_service = chip->isr;

	if (rank == 8)
		return -1;
	if (chip->special_mask)
		in_service &= (uint8_t)~chip->imr;
	/* In special fully nested mode a slave in service may interrupt again. */
	if (master && chip->nested && input_of(chip, rank) == CASCADE)
		in_service &= (uint8_t)~(1u << CASCADE);
	return rank < best_rank(chip, in_service) ? (int)input_of(chip, rank) : -1;
}

static void set_input(struct chip *chip, unsigned input, bool level)
{
	uint8_t bit = (uint8_t)(1u << input);

	if (level) {
		if (chip->elcr & bit || !(chip->lines & bit))
			chip->irr |= bit;
		chip->lines |= bit;
	} else {
		/* An edge's request also goes when its line falls before it is acknowledged, except that real
		 * devices' pulses are latched by every chipset since: keep it. */
		if (chip->elcr & bit)
			chip->irr &= (uint8_t)~bit;
		chip->lines &= (uint8_t)~bit;
	}
}

/* Recomputes the cascade and the INTR pin. Lock held. */
static void update(struct pic *pic)
{
	bool slave = requested(&pic->chip[1], false) >= 0, intr;

	/* The slave's output is a level, which the master's edge detection sees fall and rise. */
	if (!slave)
		pic->chip[0].irr &= (uint8_t)~(1u << CASCADE);
	else
		pic->chip[0].irr |= 1u << CASCADE;
	intr = requested(&pic->chip[0], true) >= 0;
	if (intr != pic->intr) {
		pic->intr = intr;
		if (pic->output)
			pic->output(pic->ctx, intr);
	}
}

void pic_set(struct pic *pic, unsigned irq, int level)
{
	if (irq >= 16 || irq == CASCADE)
		return;
	lock_take(&pic->dev.lock);
	set_input(&pic->chip[irq >> 3], irq & 7, level);
	update(pic);
	lock_release(&pic->dev.lock);
}

bool pic_output(const struct pic *pic)
{
	return pic->intr;
}

static void acknowledge_input(struct chip *chip, unsigned input)
{
	uint8_t bit = (uint8_t)(1u << input);

	if (!(chip->elcr & bit))
		chip->irr &= (uint8_t)~bit;
	if (!chip->auto_eoi)
		chip->isr |= bit;
	else if (chip->rotate_on_auto_eoi)
		chip->lowest = (uint8_t)input;
}

/* Lock held. A chip without a request gives its input 7: the spurious interrupt. */
static uint8_t interrupt_vector(struct pic *pic, bool acknowledge)
{
	struct chip *master = &pic->chip[0], *slave = &pic->chip[1];
	int input = requested(master, true);
	int slave_input;

	if (input < 0)
		return master->vector + 7;
	if (acknowledge)
		acknowledge_input(master, (unsigned)input);
	if (input != CASCADE)
		return (uint8_t)(master->vector + input);
	slave_input = requested(slave, false);
	if (slave_input < 0)
		return slave->vector + 7;
	if (acknowledge)
		acknowledge_input(slave, (unsigned)slave_input);
	return (uint8_t)(slave->vector + slave_input);
}

uint8_t pic_peek(struct pic *pic)
{
	uint8_t vector;

	lock_take(&pic->dev.lock);
	vector = interrupt_vector(pic, false);
	lock_release(&pic->dev.lock);
	return vector;
}

uint8_t pic_acknowledge(struct pic *pic)
{
	uint8_t vector;

	lock_take(&pic->dev.lock);
	vector = interrupt_vector(pic, true);
	update(pic);
	lock_release(&pic->dev.lock);
	return vector;
}

/* ---- command words ---- */
static void write_icw1(struct chip *chip, uint8_t value)
{
	uint8_t elcr = chip->elcr, lines = chip->lines;

	/* Edge detection starts anew: a level-triggered line that is up asks again. */
	*chip = (struct chip){
		.elcr = elcr,
		.lines = lines,
		.irr = lines & elcr,
		.lowest = 7,
		.icw_next = 2,
		.icw4_needed = value & ICW1_ICW4,
		.single = value & ICW1_SINGLE,
	};
}

static void end_of_interrupt(struct chip *chip, int input, bool rotate)
{
	if (input < 0) {
		uint8_t in_service = chip->isr;
		unsigned rank;

		if (chip->special_mask)
			in_service &= (uint8_t)~chip->imr;
		rank = best_rank(chip, in_service);
		if (rank == 8)
			return;
		input = (int)input_of(chip, rank);
	}
	chip->isr &= (uint8_t)~(1u << input);
	if (rotate)
		chip->lowest = (uint8_t)input;
}

static void write_ocw2(struct chip *chip, uint8_t value)
{
	int input = value & 7;

	switch (value >> 5) {
	case 0:
	case 4:
		chip->rotate_on_auto_eoi = value >> 7;
		break;
	case 1: /* non-specific EOI */
		end_of_interrupt(chip, -1, false);
		break;
	case 3: /* specific EOI */
		end_of_interrupt(chip, input, false);
		break;
	case 5: /* rotate on non-specific EOI */
		end_of_interrupt(chip, -1, true);
		break;
	case 6: /* set priority */
		chip->lowest = (uint8_t)input;
		break;
	case 7: /* rotate on specific EOI */
		end_of_interrupt(chip, input, true);
		break;
	default: /* 2: no operation */
		break;
	}
}

static void write_ocw3(struct chip *chip, uint8_t value)
{
	if (value & OCW3_POLL)
		chip->poll = true;
	if (value & OCW3_READ)
		chip->read_isr = value & OCW3_READ_ISR;
	if (value & OCW3_SPECIAL)
		chip->special_mask = value & OCW3_SET_MASK;
}

static void write_odd_port(struct chip *chip, uint8_t value)
{
	switch (chip->icw_next) {
	case 2:
		chip->vector = value & 0xf8;
		chip->icw_next = chip->single ? (chip->icw4_needed ? 4 : 0) : 3;
		break;
	case 3: /* the wiring of the cascade is fixed */
		chip->icw_next = chip->icw4_needed ? 4 : 0;
		break;
	case 4:
		chip->auto_eoi = value & ICW4_AUTO_EOI;
		chip->nested = value & ICW4_NESTED;
		chip->icw_next = 0;
		break;
	default: /* OCW1 */
		chip->imr = value;
		break;
	}
}

static void pic_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct pic *pic = container_of(dev, struct pic, dev);
	uint8_t byte = (uint8_t)value;

	if (region == REGION_ELCR) {
		pic->chip[offset].elcr = byte & elcr_writable[offset];
	} else if (offset == 1) {
		write_odd_port(&pic->chip[region], byte);
	} else if (byte & ICW1) {
		write_icw1(&pic->chip[region], byte);
	} else if (byte & OCW3) {
		write_ocw3(&pic->chip[region], byte);
	} else {
		write_ocw2(&pic->chip[region], byte);
	}
	update(pic);
}

/* A read after a poll command acknowledges, and gives the input with bit 7. */
static uint8_t poll(struct pic *pic, unsigned number)
{
	struct chip *chip = &pic->chip[number];
	int input = requested(chip, number == 0);

	chip->poll = false;
	if (input < 0)
		return 0;
	acknowledge_input(chip, (unsigned)input);
	update(pic);
	return (uint8_t)(0x80 | input);
}

static uint64_t pic_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct pic *pic = container_of(dev, struct pic, dev);
	const struct chip *chip;

	if (region == REGION_ELCR)
		return pic->chip[offset].elcr;
	chip = &pic->chip[region];
	if (chip->poll)
		return poll(pic, region);
	if (offset == 1)
		return chip->imr;
	return chip->read_isr ? chip->isr : chip->irr;
}

/* The input lines are the devices'. */
static void pic_reset(struct device *dev)
{
	struct pic *pic = container_of(dev, struct pic, dev);

	for (unsigned i = 0; i < 2; i++)
		pic->chip[i] = (struct chip){.lines = pic->chip[i].lines, .lowest = 7, .imr = 0xff};
	update(pic);
}

static void pic_destroy(struct device *dev)
{
	platform_free(container_of(dev, struct pic, dev));
}

static const struct device_ops ops = {
	.name = "pic",
	.reset = pic_reset,
	.read = pic_read,
	.write = pic_write,
	.destroy = pic_destroy,
};

int pic_create(struct vm *vm, void (*output)(void *ctx, bool level), void *ctx, struct pic **out)
{
	struct pic *pic = platform_alloc(sizeof(*pic));
	int r;

	if (!pic)
		return -ENOMEM;
	pic_reset(&pic->dev);
	pic->output = output;
	pic->ctx = ctx;
	r = device_register(vm, &pic->dev, &ops, "pic");
	if (r) {
		platform_free(pic);
		return r;
	}
	*out = pic;
	r = bus_attach_sized(&vm->pio, 0x20, 2, &pic->dev, REGION_MASTER, 1, 1);
	if (!r)
		r = bus_attach_sized(&vm->pio, 0xa0, 2, &pic->dev, REGION_SLAVE, 1, 1);
	if (!r)
		r = bus_attach_sized(&vm->pio, 0x4d0, 2, &pic->dev, REGION_ELCR, 1, 1);
	return r;
}
