/* The 8254 interval timer; see pit.h. Names are the data sheet's.
 *
 * A counter is not counted: its value and its output are computed from the platform clock when somebody looks. Only
 * channel 0 has a timer, for its interrupts.
 *
 * Example: control word 0x34 to port 0x43, then 0xa9, 0x04 to port 0x40: 1000 interrupts a second.
 */
#include "dev/timer/pit.h"
#include "base/errno.h"
#include "core/platform.h"
#include "core/tsc.h"
#include "core/vm.h"

/* An interrupt no more often than this, lest a guest keep the I/O thread busy for nothing. */
#define MIN_PERIOD_NS 20000u
#define REFRESH_NS    15085u /* the DRAM refresh that port 0x61 bit 4 shows */

enum region { REGION_PIT, REGION_PORT61 };
enum access { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };

#define STATUS_OUT  0x80
#define STATUS_NULL 0x40 /* a new count is not loaded yet */

#define PORT61_GATE    0x01
#define PORT61_SPEAKER 0x02
#define PORT61_REFRESH 0x10
#define PORT61_OUT     0x20

struct channel {
	uint8_t control;  /* access, mode, BCD: as written */
	uint8_t mode;     /* 0..5 */
	enum access access;
	uint8_t low;      /* first byte of a two-byte count */
	bool second_write, second_read;
	uint32_t reload;  /* 1..65536 ticks (10000 in BCD); 0: none was written since the control word */
	bool running;     /* counting since start_ns; else it stands at `stopped_at` */
	uint64_t start_ns;
	uint64_t stopped_at; /* ticks */
	bool gate;
	bool count_latched, status_latched;
	uint16_t latched_count;
	uint8_t latched_status;
};

struct pit {
	struct device dev;
	struct irq_line irq;
	struct timer timer;
	struct channel channels[3];
	uint64_t due_ns; /* of channel 0's interrupt; UINT64_MAX: none */
	bool speaker;
};

/* ---- a channel as a function of time ---- */
static uint64_t elapsed(const struct channel *channel, uint64_t now)
{
	return channel->running ? tsc_from_ns(now - channel->start_ns, PIT_HZ) : channel->stopped_at;
}

static bool is_periodic(const struct channel *channel)
{
	return channel->mode == 2 || channel->mode == 3;
}

static bool output(const struct channel *channel, uint64_t now)
{
	uint64_t ticks = elapsed(channel, now);

	if (channel->reload == 0)
		return channel->mode != 0;
	switch (channel->mode) {
	case 0:
		return ticks >= channel->reload;
	case 1: /* high until it is triggered */
		return !channel->running || ticks >= channel->reload;
	case 2: /* low for the last tick of each period */
		return !channel->gate || ticks % channel->reload != channel->reload - 1;
	case 3:
		return !channel->gate || ticks % channel->reload < (channel->reload + 1) / 2;
	default: /* a strobe of one tick */
		return ticks != channel->reload;
	}
}

static uint16_t to_bcd(uint32_t value)
{
	return (uint16_t)(value % 10 | value / 10 % 10 << 4 | value / 100 % 10 << 8 | value / 1000 % 10 << 12);
}

static uint32_t from_bcd(uint16_t value)
{
	return (value & 15u) + (value >> 4 & 15u) * 10 + (value >> 8 & 15u) * 100 + (value >> 12) * 1000u;
}

static uint16_t count(const struct channel *channel, uint64_t now)
{
	uint64_t ticks = elapsed(channel, now);
	bool bcd = channel->control & 1;
	uint32_t modulus = bcd ? 10000 : 0x10000, value;

	if (channel->reload == 0)
		return 0;
	if (channel->mode == 2)
		value = channel->reload - (uint32_t)(ticks % channel->reload);
	else if (channel->mode == 3) /* counts down by two, twice a period */
		value = (channel->reload - (uint32_t)(2 * ticks % channel->reload)) & ~1u;
	else /* goes on from the top after zero */
		value = (uint32_t)((channel->reload + modulus - ticks % modulus) % modulus);
	return bcd ? to_bcd(value % modulus) : (uint16_t)value;
}

/* ---- channel 0's interrupts ---- */
static uint64_t ticks_to_ns(uint64_t ticks)
{
	return tsc_to_ns(ticks, PIT_HZ) + 1;
}

/* When channel 0's output rises next after `now`. */
static uint64_t next_rise(const struct channel *channel, uint64_t now)
{
	uint64_t period_ns, at;

	if (channel->reload == 0 || !channel->running)
		return UINT64_MAX;
	if (!is_periodic(channel)) {
		at = channel->start_ns + ticks_to_ns(channel->reload + (channel->mode >= 4));
		return at > now ? at : UINT64_MAX;
	}
	period_ns = ticks_to_ns(channel->reload);
	if (period_ns < MIN_PERIOD_NS)
		return now + MIN_PERIOD_NS;
	return channel->start_ns + ticks_to_ns((elapsed(channel, now) / channel->reload + 1) * channel->reload);
}

static void schedule(struct pit *pit, uint64_t now)
{
	pit->due_ns = next_rise(&pit->channels[0], now);
	if (pit->due_ns == UINT64_MAX)
		timer_cancel(&pit->timer);
	else
		timer_arm(&pit->timer, pit->due_ns);
}

static void fire(void *ctx)
{
	struct pit *pit = ctx;
	uint64_t now = platform_clock_ns();

	lock_take(&pit->dev.lock);
	if (now >= pit->due_ns) {
		irq_pulse(&pit->irq);
		schedule(pit, now);
	} else if (pit->due_ns != UINT64_MAX) {
		timer_arm(&pit->timer, pit->due_ns);
	}
	lock_release(&pit->dev.lock);
}

/* ---- programming ---- */
static void load(struct pit *pit, struct channel *channel, uint16_t value)
{
	bool bcd = channel->control & 1;
	uint64_t now = platform_clock_ns();

	channel->reload = bcd ? from_bcd(value) : value;
	if (channel->reload == 0)
		channel->reload = bcd ? 10000 : 0x10000;
	channel->stopped_at = 0;
	/* Modes 1 and 5 wait for the gate to rise. */
	channel->running = channel->gate && channel->mode != 1 && channel->mode != 5;
	channel->start_ns = now;
	if (channel == &pit->channels[0])
		schedule(pit, now);
}

static void write_count(struct pit *pit, struct channel *channel, uint8_t value)
{
	switch (channel->access) {
	case ACCESS_LOW:
		load(pit, channel, value);
		break;
	case ACCESS_HIGH:
		load(pit, channel, (uint16_t)(value << 8));
		break;
	default:
		if (channel->second_write)
			load(pit, channel, (uint16_t)(value << 8 | channel->low));
		else
			channel->low = value;
		channel->second_write = !channel->second_write;
		break;
	}
}

static void latch_count(struct channel *channel)
{
	if (channel->count_latched)
		return;
	channel->latched_count = count(channel, platform_clock_ns());
	channel->count_latched = true;
}

static void latch_status(struct channel *channel)
{
	if (channel->status_latched)
		return;
	channel->latched_status = channel->control;
	if (output(channel, platform_clock_ns()))
		channel->latched_status |= STATUS_OUT;
	if (channel->reload == 0)
		channel->latched_status |= STATUS_NULL;
	channel->status_latched = true;
}

static void write_control(struct pit *pit, uint8_t value)
{
	struct channel *channel;

	if (value >> 6 == 3) { /* read-back: bits 5 and 4 say what not to latch */
		for (unsigned i = 0; i < 3; i++) {
			if (!(value >> (i + 1) & 1))
				continue;
			if (!(value & 0x20))
				latch_count(&pit->channels[i]);
			if (!(value & 0x10))
				latch_status(&pit->channels[i]);
		}
		return;
	}
	channel = &pit->channels[value >> 6];
	if ((value >> 4 & 3) == ACCESS_LATCH) {
		latch_count(channel);
		return;
	}
	*channel = (struct channel){
		.control = value & 0x3f,
		.mode = (value >> 1 & 7) > 5 ? value >> 1 & 3 : value >> 1 & 7,
		.access = value >> 4 & 3,
		.gate = channel->gate,
	};
	if (channel == &pit->channels[0])
		schedule(pit, platform_clock_ns());
}

static uint8_t read_count(struct channel *channel)
{
	uint16_t value;

	if (channel->status_latched) {
		channel->status_latched = false;
		return channel->latched_status;
	}
	value = channel->count_latched ? channel->latched_count : count(channel, platform_clock_ns());
	if (channel->access == ACCESS_BOTH) {
		channel->second_read = !channel->second_read;
		if (channel->second_read)
			return (uint8_t)value;
		channel->count_latched = false;
		return (uint8_t)(value >> 8);
	}
	channel->count_latched = false;
	return (uint8_t)(channel->access == ACCESS_HIGH ? value >> 8 : value);
}

static void set_gate(struct channel *channel, bool gate)
{
	uint64_t now = platform_clock_ns();
	bool rising = gate && !channel->gate;

	if (gate == channel->gate)
		return;
	if (channel->reload == 0) {
		channel->gate = gate;
		return;
	}
	if (rising && (channel->mode == 0 || channel->mode == 4)) {
		/* goes on where it stopped */
		channel->start_ns = now - tsc_to_ns(channel->stopped_at, PIT_HZ);
		channel->running = true;
	} else if (rising) {
		/* triggers (1, 5) or starts a new period (2, 3) */
		channel->start_ns = now;
		channel->running = true;
	} else if (channel->mode != 1 && channel->mode != 5) {
		channel->stopped_at = is_periodic(channel) ? 0 : elapsed(channel, now);
		channel->running = false;
	}
	channel->gate = gate;
}

static uint8_t read_port61(struct pit *pit)
{
	const struct channel *channel = &pit->channels[2];
	uint64_t now = platform_clock_ns();
	uint8_t value = 0;

	if (channel->gate)
		value |= PORT61_GATE;
	if (pit->speaker)
		value |= PORT61_SPEAKER;
	if (now / REFRESH_NS & 1)
		value |= PORT61_REFRESH;
	if (output(channel, now))
		value |= PORT61_OUT;
	return value;
}

static uint64_t pit_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct pit *pit = container_of(dev, struct pit, dev);

	if (region == REGION_PORT61)
		return read_port61(pit);
	return offset < 3 ? read_count(&pit->channels[offset]) : 0;
}

static void pit_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct pit *pit = container_of(dev, struct pit, dev);

	if (region == REGION_PORT61) {
		pit->speaker = value & PORT61_SPEAKER;
		set_gate(&pit->channels[2], value & PORT61_GATE);
	} else if (offset < 3) {
		write_count(pit, &pit->channels[offset], (uint8_t)value);
	} else {
		write_control(pit, (uint8_t)value);
	}
}

static void pit_reset(struct device *dev)
{
	struct pit *pit = container_of(dev, struct pit, dev);

	for (unsigned i = 0; i < 3; i++)
		pit->channels[i] = (struct channel){.mode = 3, .control = 0x36, .access = ACCESS_BOTH, .gate = i != 2};
	pit->speaker = false;
	schedule(pit, platform_clock_ns());
}

static void pit_destroy(struct device *dev)
{
	struct pit *pit = container_of(dev, struct pit, dev);

	timer_cancel(&pit->timer);
	platform_free(pit);
}

static const struct device_ops ops = {
	.name = "pit",
	.reset = pit_reset,
	.read = pit_read,
	.write = pit_write,
	.destroy = pit_destroy,
};

int pit_create(struct vm *vm, struct irq_line irq)
{
	struct pit *pit = platform_alloc(sizeof(*pit));
	int r;

	if (!pit)
		return -ENOMEM;
	pit->irq = irq;
	timer_init(&pit->timer, vm, fire, pit);
	pit_reset(&pit->dev);
	r = device_register(vm, &pit->dev, &ops, "pit");
	if (r) {
		platform_free(pit);
		return r;
	}
	r = bus_attach_sized(&vm->pio, 0x40, 4, &pit->dev, REGION_PIT, 1, 1);
	return r ? r : bus_attach_sized(&vm->pio, 0x61, 1, &pit->dev, REGION_PORT61, 1, 1);
}
