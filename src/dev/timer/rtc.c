/* The MC146818 real-time clock; see rtc.h. Register names are the data sheet's.
 *
 * Nothing ticks: time is the platform's wall clock plus an offset that the guest sets by writing the time registers, and
 * flags that nobody waits for are worked out when register C is read. A timer runs only while an interrupt is enabled.
 *
 * Example: index 0x0b to port 0x70, 0x12 to port 0x71: update-ended interrupts, 24-hour BCD.
 */
#include "dev/timer/rtc.h"
#include "base/errno.h"
#include "base/string.h"
#include "core/platform.h"
#include "core/vm.h"

#define NS_PER_S      1000000000ull
#define SECONDS_A_DAY 86400
#define UIP_NS        244141u /* update in progress is announced 244 us ahead */
#define OSCILLATOR_HZ 32768u

enum cmos_index {
	CMOS_SECONDS = 0x00,
	CMOS_SECONDS_ALARM = 0x01,
	CMOS_MINUTES = 0x02,
	CMOS_MINUTES_ALARM = 0x03,
	CMOS_HOURS = 0x04,
	CMOS_HOURS_ALARM = 0x05,
	CMOS_WEEKDAY = 0x06,
	CMOS_DAY = 0x07,
	CMOS_MONTH = 0x08,
	CMOS_YEAR = 0x09,
	CMOS_A = 0x0a,
	CMOS_B = 0x0b,
	CMOS_C = 0x0c,
	CMOS_D = 0x0d,
	CMOS_CENTURY = 0x32,
	CMOS_SIZE = 0x80,
};

#define A_UIP      0x80
#define A_DIVIDER  0x70
#define A_RUNNING  0x20
#define A_RATE     0x0f
#define B_SET      0x80
#define B_PIE      0x40
#define B_AIE      0x20
#define B_UIE      0x10
#define B_BINARY   0x04
#define B_24_HOURS 0x02
#define C_IRQF     0x80
#define C_PF       0x40
#define C_AF       0x20
#define C_UF       0x10
#define D_VALID    0x80
#define HOURS_PM   0x80
#define ALARM_ANY  0xc0

struct rtc {
	struct device dev;
	struct irq_line irq;
	struct timer timer;
	uint8_t index;
	uint8_t cmos[CMOS_SIZE]; /* the time registers hold the time only while B.SET is on */
	int64_t offset_ns;       /* guest time - platform wall clock */
	uint64_t period_start_ns; /* platform clock */
	uint64_t periods_seen;   /* since period_start_ns: PF is up to date until there */
	int64_t second_seen;     /* guest time: UF and AF are up to date until there */
};

struct date {
	unsigned second, minute, hour, weekday /* 0: Sunday */, day, month, year;
};

/* ---- the calendar ---- */
static int64_t days_of(unsigned year, unsigned month, unsigned day)
{
	/* Years begin in March here, so that the leap day is the last one. */
	int64_t y = (int64_t)year - (month <= 2);
	int64_t m = month > 2 ? month - 3 : month + 9;

	return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + (int64_t)day - 1 - 719468;
}

static struct date date_of(int64_t seconds)
{
	int64_t days = seconds / SECONDS_A_DAY, rest = seconds % SECONDS_A_DAY;
	int64_t year, month;
	struct date date;

	date.hour = (unsigned)(rest / 3600);
	date.minute = (unsigned)(rest / 60 % 60);
	date.second = (unsigned)(rest % 60);
	date.weekday = (unsigned)((days + 4) % 7); /* 1970-01-01 was a Thursday */

	/* An estimate that is never too late, corrected by at most a step or two. */
	year = 1970 + days / 366;
	while (days >= days_of((unsigned)year + 1, 1, 1))
		year++;
	month = 1;
	while (month < 12 && days >= days_of((unsigned)year, (unsigned)month + 1, 1))
		month++;
	date.year = (unsigned)year;
	date.month = (unsigned)month;
	date.day = (unsigned)(days - days_of((unsigned)year, (unsigned)month, 1)) + 1;
	return date;
}

/* ---- registers' number formats ---- */
static uint8_t encode(const struct rtc *rtc, unsigned value)
{
	return (uint8_t)(rtc->cmos[CMOS_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static unsigned decode(const struct rtc *rtc, uint8_t value)
{
	return rtc->cmos[CMOS_B] & B_BINARY ? value : (value >> 4) * 10u + (value & 15u);
}

static uint8_t encode_hours(const struct rtc *rtc, unsigned hour)
{
	if (rtc->cmos[CMOS_B] & B_24_HOURS)
		return encode(rtc, hour);
	return (uint8_t)(encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOURS_PM : 0));
}

static unsigned decode_hours(const struct rtc *rtc, uint8_t value)
{
	if (rtc->cmos[CMOS_B] & B_24_HOURS)
		return decode(rtc, value);
	return decode(rtc, value & (uint8_t)~HOURS_PM) % 12 + (value & HOURS_PM ? 12 : 0);
}

/* ---- time ---- */
/* Guest time in ns since 1970; never negative, and within what four digits of year can show. */
static uint64_t guest_ns(const struct rtc *rtc)
{
	int64_t ns = (int64_t)platform_wall_ns() + rtc->offset_ns;

	return ns < 0 ? 0 : (uint64_t)ns;
}

static int64_t guest_seconds(const struct rtc *rtc)
{
	return (int64_t)(guest_ns(rtc) / NS_PER_S);
}

static bool is_ticking(const struct rtc *rtc)
{
	return !(rtc->cmos[CMOS_B] & B_SET) && (rtc->cmos[CMOS_A] & A_DIVIDER) == A_RUNNING;
}

/* The time registers get the time. */
static void freeze(struct rtc *rtc)
{
	struct date date = date_of(guest_seconds(rtc));

	rtc->cmos[CMOS_SECONDS] = encode(rtc, date.second);
	rtc->cmos[CMOS_MINUTES] = encode(rtc, date.minute);
	rtc->cmos[CMOS_HOURS] = encode_hours(rtc, date.hour);
	rtc->cmos[CMOS_WEEKDAY] = encode(rtc, date.weekday + 1);
	rtc->cmos[CMOS_DAY] = encode(rtc, date.day);
	rtc->cmos[CMOS_MONTH] = encode(rtc, date.month);
	rtc->cmos[CMOS_YEAR] = encode(rtc, date.year % 100);
	rtc->cmos[CMOS_CENTURY] = encode(rtc, date.year / 100);
}

/* The time becomes what the registers say; nonsense in them (the guest's) gives some time or other. */
static void thaw(struct rtc *rtc)
{
	unsigned year = decode(rtc, rtc->cmos[CMOS_CENTURY]) * 100 + decode(rtc, rtc->cmos[CMOS_YEAR]);
	unsigned month = decode(rtc, rtc->cmos[CMOS_MONTH]), day = decode(rtc, rtc->cmos[CMOS_DAY]);
	int64_t seconds;

	if (month < 1 || month > 12)
		month = 1;
	if (year < 1970)
		year = 1970;
	if (year > 2199)
		year = 2199;
	seconds = days_of(year, month, day ? day : 1) * SECONDS_A_DAY +
		  (int64_t)decode_hours(rtc, rtc->cmos[CMOS_HOURS]) * 3600 +
		  (int64_t)decode(rtc, rtc->cmos[CMOS_MINUTES]) * 60 + (int64_t)decode(rtc, rtc->cmos[CMOS_SECONDS]);
	rtc->offset_ns = seconds * (int64_t)NS_PER_S - (int64_t)platform_wall_ns();
	rtc->second_seen = guest_seconds(rtc);
}

/* ---- flags and interrupts ---- */
static uint64_t period_ns(const struct rtc *rtc)
{
	unsigned rate = rtc->cmos[CMOS_A] & A_RATE;

	if (rate == 0 || (rtc->cmos[CMOS_A] & A_DIVIDER) != A_RUNNING)
		return 0;
	if (rate <= 2) /* 256 Hz and 128 Hz: rates 8 and 9 */
		rate += 7;
	return (NS_PER_S << (rate - 1)) / OSCILLATOR_HZ;
}

static bool alarm_field_matches(unsigned now, uint8_t alarm, unsigned decoded)
{
	return (alarm & ALARM_ANY) == ALARM_ANY || now == decoded;
}

static bool alarm_matches(const struct rtc *rtc, int64_t second)
{
	unsigned rest = (unsigned)(second % SECONDS_A_DAY);
	uint8_t s = rtc->cmos[CMOS_SECONDS_ALARM], m = rtc->cmos[CMOS_MINUTES_ALARM], h = rtc->cmos[CMOS_HOURS_ALARM];

	return alarm_field_matches(rest % 60, s, decode(rtc, s)) &&
	       alarm_field_matches(rest / 60 % 60, m, decode(rtc, m)) &&
	       alarm_field_matches(rest / 3600, h, decode_hours(rtc, h));
}

/* Sets the flags of all that happened until now, and the line. */
static void catch_up(struct rtc *rtc)
{
	uint64_t period = period_ns(rtc);
	uint8_t *c = &rtc->cmos[CMOS_C];

	if (period) {
		uint64_t periods = (platform_clock_ns() - rtc->period_start_ns) / period;

		if (periods > rtc->periods_seen)
			*c |= C_PF;
		rtc->periods_seen = periods;
	}
	if (is_ticking(rtc)) {
		int64_t now = guest_seconds(rtc), second = rtc->second_seen;

		if (now != second)
			*c |= C_UF;
		/* The host's clock may have been set; a day shows every alarm there is. */
		if (now - second > SECONDS_A_DAY || now < second)
			second = now - SECONDS_A_DAY;
		while (!(*c & C_AF) && ++second <= now)
			if (alarm_matches(rtc, second))
				*c |= C_AF;
		rtc->second_seen = now;
	}
	if (*c & rtc->cmos[CMOS_B] & (C_PF | C_AF | C_UF))
		*c |= C_IRQF;
	irq_set(&rtc->irq, *c & C_IRQF ? 1 : 0);
}

static void schedule(struct rtc *rtc)
{
	uint64_t now = platform_clock_ns(), next = UINT64_MAX, period = period_ns(rtc);

	if ((rtc->cmos[CMOS_B] & B_PIE) && period)
		next = rtc->period_start_ns + (rtc->periods_seen + 1) * period;
	if ((rtc->cmos[CMOS_B] & (B_AIE | B_UIE)) && is_ticking(rtc)) {
		uint64_t second = now + NS_PER_S - guest_ns(rtc) % NS_PER_S;

		next = second < next ? second : next;
	}
	if (next == UINT64_MAX)
		timer_cancel(&rtc->timer);
	else
		timer_arm(&rtc->timer, next);
}

static void fire(void *ctx)
{
	struct rtc *rtc = ctx;

	lock_take(&rtc->dev.lock);
	catch_up(rtc);
	schedule(rtc);
	lock_release(&rtc->dev.lock);
}

/* ---- access ---- */
static bool is_time_register(uint8_t index)
{
	return index == CMOS_CENTURY || index == CMOS_SECONDS || index == CMOS_MINUTES || index == CMOS_HOURS ||
	       (index >= CMOS_WEEKDAY && index <= CMOS_YEAR);
}

static uint8_t read_cmos(struct rtc *rtc)
{
	uint8_t value;

	if (is_time_register(rtc->index) && is_ticking(rtc))
		freeze(rtc);
	switch (rtc->index) {
	case CMOS_A:
		value = rtc->cmos[CMOS_A];
		if (is_ticking(rtc) && guest_ns(rtc) % NS_PER_S >= NS_PER_S - UIP_NS)
			value |= A_UIP;
		return value;
	case CMOS_C: /* reading acknowledges */
		catch_up(rtc);
		value = rtc->cmos[CMOS_C];
		rtc->cmos[CMOS_C] = 0;
		irq_set(&rtc->irq, 0);
		return value;
	case CMOS_D:
		return D_VALID;
	default:
		return rtc->cmos[rtc->index];
	}
}

static void write_control(struct rtc *rtc, uint8_t value)
{
	bool was_ticking = is_ticking(rtc);

	catch_up(rtc);
	if (was_ticking)
		freeze(rtc);
	if (rtc->index == CMOS_A) {
		rtc->cmos[CMOS_A] = value & (uint8_t)~A_UIP;
		rtc->period_start_ns = platform_clock_ns();
		rtc->periods_seen = 0;
	} else {
		if (value & B_SET)
			value &= (uint8_t)~B_UIE;
		rtc->cmos[CMOS_B] = value;
	}
	if (!was_ticking && is_ticking(rtc))
		thaw(rtc);
	catch_up(rtc);
	schedule(rtc);
}

static void write_cmos(struct rtc *rtc, uint8_t value)
{
	bool time = is_time_register(rtc->index);

	switch (rtc->index) {
	case CMOS_A:
	case CMOS_B:
		write_control(rtc, value);
		return;
	case CMOS_C:
	case CMOS_D:
		return;
	default:
		if (time && is_ticking(rtc))
			freeze(rtc);
		rtc->cmos[rtc->index] = value;
		if (time && is_ticking(rtc))
			thaw(rtc);
		return;
	}
}

static uint64_t rtc_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct rtc *rtc = container_of(dev, struct rtc, dev);

	return offset == 0 ? 0xff : read_cmos(rtc);
}

static void rtc_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct rtc *rtc = container_of(dev, struct rtc, dev);

	if (offset == 0)
		rtc->index = value & (CMOS_SIZE - 1); /* bit 7 masks NMIs on a PC */
	else
		write_cmos(rtc, (uint8_t)value);
}

/* The battery keeps time and memory; RESET clears the enables and flags. */
static void rtc_reset(struct device *dev)
{
	struct rtc *rtc = container_of(dev, struct rtc, dev);

	rtc->index = 0;
	rtc->cmos[CMOS_B] &= (uint8_t)~(B_PIE | B_AIE | B_UIE);
	rtc->cmos[CMOS_C] = 0;
	irq_set(&rtc->irq, 0);
	schedule(rtc);
}

static void rtc_destroy(struct device *dev)
{
	struct rtc *rtc = container_of(dev, struct rtc, dev);

	timer_cancel(&rtc->timer);
	platform_free(rtc);
}

static const struct device_ops ops = {
	.name = "rtc",
	.reset = rtc_reset,
	.read = rtc_read,
	.write = rtc_write,
	.destroy = rtc_destroy,
};

static void put16(uint8_t *cmos, unsigned index, uint64_t value)
{
	cmos[index] = (uint8_t)value;
	cmos[index + 1] = (uint8_t)(value >> 8);
}

static uint64_t at_most(uint64_t value, uint64_t limit)
{
	return value < limit ? value : limit;
}

/* Memory sizes where firmware leaves them: 640 KiB base, KiB above 1 MiB (twice), 64 KiB units above 16 MiB, and
 * 64 KiB units above 4 GiB. */
static void set_memory_size(struct rtc *rtc, const struct mem *mem)
{
	uint64_t below = 0, above = 0;

	for (unsigned i = 0; i < mem->count; i++) {
		const struct mem_slot *slot = &mem->slots[i];

		if (slot->read_only)
			continue;
		if (slot->gpa >= GIB(4))
			above += slot->size;
		else if (slot->gpa + slot->size > below)
			below = slot->gpa + slot->size;
	}
	put16(rtc->cmos, 0x15, 640);
	put16(rtc->cmos, 0x17, at_most(below > MIB(1) ? (below - MIB(1)) >> 10 : 0, 0xffff));
	put16(rtc->cmos, 0x30, at_most(below > MIB(1) ? (below - MIB(1)) >> 10 : 0, 0xffff));
	put16(rtc->cmos, 0x34, at_most(below > MIB(16) ? (below - MIB(16)) >> 16 : 0, 0xffff));
	put16(rtc->cmos, 0x5b, above >> 16);
	rtc->cmos[0x5d] = (uint8_t)(above >> 32);
}

void rtc_set_cmos(struct rtc *rtc, uint8_t index, uint8_t value)
{
	if (index > CMOS_D && index < CMOS_SIZE)
		rtc->cmos[index] = value;
}

int rtc_create(struct vm *vm, struct irq_line irq, struct rtc **out)
{
	struct rtc *rtc = platform_alloc(sizeof(*rtc));
	int r;

	if (!rtc)
		return -ENOMEM;
	rtc->irq = irq;
	rtc->cmos[CMOS_A] = A_RUNNING | 6; /* 1024 Hz */
	rtc->cmos[CMOS_B] = B_24_HOURS;
	rtc->period_start_ns = platform_clock_ns();
	rtc->second_seen = guest_seconds(rtc);
	set_memory_size(rtc, &vm->mem);
	timer_init(&rtc->timer, vm, fire, rtc);
	r = device_register(vm, &rtc->dev, &ops, "rtc");
	if (r) {
		platform_free(rtc);
		return r;
	}
	if (out)
		*out = rtc;
	return bus_attach_sized(&vm->pio, 0x70, 2, &rtc->dev, 0, 1, 1);
}
