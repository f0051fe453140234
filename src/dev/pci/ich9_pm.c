/* ICH9's power management; see ich9_pm.h.
 *
 * Example: `outw(0x2000, 0x604)` (SLP_EN, SLP_TYP 0) powers the machine off.
 */
#include "dev/pci/ich9_pm.h"
#include "base/errno.h"
#include "core/platform.h"
#include "core/tsc.h"

#define TIMER_HZ   3579545u
#define TIMER_MASK 0xffffffu
#define TIMER_HALF 0x800000u /* the status bit is set when the counter's top bit changes */

#define TMROF_STS  0x0001u
#define GBL_STS    0x0020u
#define PWRBTN_STS 0x0100u
#define RTC_STS    0x0400u
#define STS_EVENTS (TMROF_STS | GBL_STS | PWRBTN_STS | RTC_STS)
#define WAK_STS    0x8000u

#define SCI_EN       0x0001u
#define CNT_WRITABLE 0x1c07u /* SLP_TYP, GBL_RLS, BM_RLD, SCI_EN */
#define SLP_EN       0x2000u
#define SLP_TYP(v)   ((v) >> 10 & 7)

#define SMI_EN  0x30
#define SMI_STS 0x34

#define GBL_SMI_EN 0x01u
#define APMC_EN    0x20u

enum region { REGION_PM, REGION_APM };

struct ich9_pm {
	struct device dev;
	struct irq_line sci;
	struct timer timer;
	bool mapped; /* the PCI root's lock */
	uint16_t base;
	uint16_t status, enable, control;
	bool rtc; /* the level of its interrupt */
	uint64_t half; /* half periods of the timer that TMROF_STS has told of */
	uint8_t gpe_status[ICH9_PM_GPE0_SIZE / 2], gpe_enable[ICH9_PM_GPE0_SIZE / 2];
	uint32_t smi_enable;
	uint8_t apm[2]; /* ports 0xb2 and 0xb3 */
};

static uint64_t ticks_now(const struct ich9_pm *pm)
{
	return tsc_from_ns(platform_clock_ns() - pm->dev.vm->clock_base_ns, TIMER_HZ);
}

static void notice_overflow(struct ich9_pm *pm)
{
	uint64_t half = ticks_now(pm) / TIMER_HALF;

	if (half != pm->half)
		pm->status |= TMROF_STS;
	pm->half = half;
}

static void update_sci(struct ich9_pm *pm)
{
	bool level = pm->status & pm->enable & STS_EVENTS;

	for (unsigned i = 0; i < sizeof(pm->gpe_status); i++)
		level |= pm->gpe_status[i] & pm->gpe_enable[i];
	/* Without SCI_EN it would be an SMI. */
	irq_set(&pm->sci, level && (pm->control & SCI_EN));
	if ((pm->enable & TMROF_STS) && !(pm->status & TMROF_STS))
		timer_arm(&pm->timer, pm->dev.vm->clock_base_ns + tsc_to_ns((pm->half + 1) * TIMER_HALF, TIMER_HZ) + 1);
	else
		timer_cancel(&pm->timer);
}

static void fire(void *ctx)
{
	struct ich9_pm *pm = ctx;

	lock_take(&pm->dev.lock);
	notice_overflow(pm);
	update_sci(pm);
	lock_release(&pm->dev.lock);
}

static void write_control(struct ich9_pm *pm, uint16_t value)
{
	pm->control = value & CNT_WRITABLE;
	if ((value & SLP_EN) && SLP_TYP(value) == ICH9_SLP_TYP_S5)
		vm_stop(pm->dev.vm, VM_STOP_POWEROFF, 0);
}

/* The registers are of 16 and 32 bits and made of bytes here: any access is one of bytes. */
static uint8_t read_byte(struct ich9_pm *pm, unsigned offset)
{
	switch (offset) {
	case 0x00:
	case 0x01:
		return (uint8_t)(pm->status >> (8 * offset));
	case 0x02:
	case 0x03:
		return (uint8_t)(pm->enable >> (8 * (offset - 2)));
	case 0x04:
	case 0x05:
		return (uint8_t)(pm->control >> (8 * (offset - 4)));
	case ICH9_PM_GPE0 ... ICH9_PM_GPE0 + 7:
		return pm->gpe_status[offset - ICH9_PM_GPE0];
	case ICH9_PM_GPE0 + 8 ... ICH9_PM_GPE0 + 15:
		return pm->gpe_enable[offset - ICH9_PM_GPE0 - 8];
	case SMI_EN ... SMI_EN + 3:
		return (uint8_t)(pm->smi_enable >> (8 * (offset - SMI_EN)));
	default:
		return 0;
	}
}

static uint16_t replace_byte(uint16_t old, unsigned byte, uint8_t value)
{
	return (uint16_t)((old & ~(0xffu << (8 * byte))) | (unsigned)value << (8 * byte));
}

static void write_byte(struct ich9_pm *pm, unsigned offset, uint8_t value)
{
	switch (offset) {
	case 0x00:
	case 0x01:
		pm->status &= (uint16_t)~((unsigned)value << (8 * offset));
		break;
	case 0x02:
	case 0x03:
		pm->enable = replace_byte(pm->enable, offset - 2, value) & STS_EVENTS;
		break;
	case 0x04:
	case 0x05:
		write_control(pm, replace_byte(pm->control, offset - 4, value));
		break;
	case ICH9_PM_GPE0 ... ICH9_PM_GPE0 + 7:
		pm->gpe_status[offset - ICH9_PM_GPE0] &= (uint8_t)~value;
		break;
	case ICH9_PM_GPE0 + 8 ... ICH9_PM_GPE0 + 15:
		pm->gpe_enable[offset - ICH9_PM_GPE0 - 8] = value;
		break;
	default:
		break;
	}
}

static uint64_t pm_read(struct device *dev, unsigned region, uint64_t offset, unsigned size)
{
	struct ich9_pm *pm = container_of(dev, struct ich9_pm, dev);
	uint64_t value = 0;

	if (region == REGION_APM) {
		for (unsigned i = 0; i < size; i++)
			value |= (uint64_t)pm->apm[offset + i] << (8 * i);
		return value;
	}
	if ((offset & ~3u) == ICH9_PM_TMR)
		return (ticks_now(pm) & TIMER_MASK) >> (8 * (offset & 3));
	notice_overflow(pm);
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)read_byte(pm, (unsigned)offset + i) << (8 * i);
	return value;
}

/* What a PC's firmware would do in its SMI handler (the FADT's SMI_CMD). */
static void write_apm(struct ich9_pm *pm, uint64_t offset, unsigned size, uint64_t value)
{
	for (unsigned i = 0; i < size; i++)
		pm->apm[offset + i] = (uint8_t)(value >> (8 * i));
	if (offset)
		return;
	if (pm->apm[0] == ICH9_ACPI_ENABLE)
		pm->control |= SCI_EN;
	else if (pm->apm[0] == ICH9_ACPI_DISABLE)
		pm->control &= (uint16_t)~SCI_EN;
}

static void pm_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct ich9_pm *pm = container_of(dev, struct ich9_pm, dev);

	if (region == REGION_APM) {
		write_apm(pm, offset, size, value);
	} else {
		notice_overflow(pm);
		if (offset == ICH9_PM_CNT && size >= 2) /* both bytes at once: SLP_TYP comes with SLP_EN */
			write_control(pm, (uint16_t)value);
		else
			for (unsigned i = 0; i < size; i++)
				write_byte(pm, (unsigned)offset + i, (uint8_t)(value >> (8 * i)));
	}
	update_sci(pm);
}

static void pm_reset(struct device *dev)
{
	struct ich9_pm *pm = container_of(dev, struct ich9_pm, dev);

	pm->status = pm->enable = pm->control = 0;
	pm->half = ticks_now(pm) / TIMER_HALF;
	for (unsigned i = 0; i < sizeof(pm->gpe_status); i++)
		pm->gpe_status[i] = pm->gpe_enable[i] = 0;
	pm->smi_enable = APMC_EN | GBL_SMI_EN;
	pm->apm[0] = pm->apm[1] = 0;
	update_sci(pm);
}

static void pm_destroy(struct device *dev)
{
	struct ich9_pm *pm = container_of(dev, struct ich9_pm, dev);

	timer_cancel(&pm->timer);
	platform_free(pm);
}

static const struct device_ops ops = {
	.name = "ich9-pm",
	.reset = pm_reset,
	.read = pm_read,
	.write = pm_write,
	.destroy = pm_destroy,
};

void ich9_pm_place(struct ich9_pm *pm, uint16_t base, bool on)
{
	struct bus *bus = &pm->dev.vm->pio;
	const struct bus_region region = {
		.base = base, .size = ICH9_PM_SIZE, .dev = &pm->dev, .index = REGION_PM, .min_size = 1, .max_size = 4};

	if (pm->mapped == (on && base) && pm->base == base)
		return;
	if (pm->mapped)
		bus_unmap(bus, pm->base, &pm->dev);
	pm->base = base;
	pm->mapped = on && base && bus_map(bus, &region) == 0;
}

void ich9_pm_power_button(struct ich9_pm *pm)
{
	lock_take(&pm->dev.lock);
	pm->status |= PWRBTN_STS;
	update_sci(pm);
	lock_release(&pm->dev.lock);
}

void ich9_pm_rtc(struct ich9_pm *pm, bool level)
{
	lock_take(&pm->dev.lock);
	if (level && !pm->rtc)
		pm->status |= RTC_STS;
	pm->rtc = level;
	update_sci(pm);
	lock_release(&pm->dev.lock);
}

int ich9_pm_create(struct vm *vm, struct irq_line sci, struct ich9_pm **out)
{
	struct ich9_pm *pm = platform_alloc(sizeof(*pm));
	int r;

	if (!pm)
		return -ENOMEM;
	pm->sci = sci;
	timer_init(&pm->timer, vm, fire, pm);
	r = device_register(vm, &pm->dev, &ops, "ich9-pm");
	if (r) {
		platform_free(pm);
		return r;
	}
	*out = pm;
	return bus_attach_sized(&vm->pio, ICH9_SMI_PORT, 2, &pm->dev, REGION_APM, 1, 2);
}
