/* libFuzzer target for the GICv3 with its ITS: a guest writes registers, system registers, tables and commands as it likes, while devices
 * pull their lines and send messages. Whatever happens, what a processor is signalled is an interrupt that there is, what it acknowledges
 * is what it was signalled, and commands come to an end.
 *
 * Example:
 *     fuzz_gicv3 -max_len=1024 -runs=200000
 *
 * The input is a list of operations of eight bytes.
 */
#include "../unit/fake_platform.h"
#include "arch/aarch64/names.h"
#include "core/vm.h"
#include "dev/irq/gicv3.h"
#include "dev/irq/gicv3_its.h"
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                           \
	do {                                                                                                       \
		if (!(condition))                                                                                  \
			abort();                                                                                   \
	} while (0)

#define CPUS  3u
#define SPIS  64u
#define GICD  0x8000000u
#define ITS   0x8080000u
#define GICR  0x80a0000u
#define RAM   0x40000u
#define QUEUE 0x8000u

#define PMR     A64_SYSREG_KEY(3u, 0, 4, 6, 0)
#define IAR0    A64_SYSREG_KEY(3u, 0, 12, 8, 0)
#define IAR1    A64_SYSREG_KEY(3u, 0, 12, 12, 0)
#define IGRPEN1 A64_SYSREG_KEY(3u, 0, 12, 12, 7)

static struct vm vm;
static struct vcpu vcpus[CPUS];

/* What of core/ the controller stands on. */
void vcpu_request(struct vcpu *vcpu, uint32_t bits)
{
	CHECK(bits == VCPU_REQ_IRQ);
}

int msr_handler_register(struct vm *machine, const struct msr_handler *handler)
{
	machine->msr_handlers[machine->msr_handler_count++] = *handler;
	return 0;
}

static void sysreg(unsigned cpu, uint32_t key, bool write, uint64_t *value)
{
	for (unsigned i = 0; i < vm.msr_handler_count; i++) {
		const struct msr_handler *h = &vm.msr_handlers[i];

		if (key < h->first || key > h->last)
			continue;
		if (write)
			(void)h->write(&vcpus[cpu], h->ctx, key, *value);
		else
			(void)h->read(&vcpus[cpu], h->ctx, key, value);
	}
}

/* As an operating system leaves it. */
static void set_up(void)
{
	bus_write(&vm.mmio, GICD, 4, 3);
	for (unsigned cpu = 0; cpu < CPUS; cpu++) {
		const gpa_t rd = GICR + cpu * 0x20000;
		uint64_t all = 0xff, on = 1;

		bus_write(&vm.mmio, rd + 0x14, 4, 0);
		bus_write(&vm.mmio, rd + 0x70, 8, 0x20000 | 15);
		bus_write(&vm.mmio, rd + 0x78, 8, 0x30000);
		bus_write(&vm.mmio, rd, 4, 1);
		bus_write(&vm.mmio, rd + 0x10080, 4, 0xffff);
		bus_write(&vm.mmio, rd + 0x10100, 4, 0xffffffff);
		sysreg(cpu, PMR, true, &all);
		sysreg(cpu, IGRPEN1, true, &on);
	}
	bus_write(&vm.mmio, ITS + 0x100, 8, 1ull << 63 | 0x1000);
	bus_write(&vm.mmio, ITS + 0x108, 8, 1ull << 63 | 0x2000);
	bus_write(&vm.mmio, ITS + 0x80, 8, 1ull << 63 | QUEUE);
	bus_write(&vm.mmio, ITS, 4, 1);
}

/* Sixteen small numbers make a command, so that devices, events and collections meet. */
static void command(uint64_t op, uint64_t *at)
{
	const uint64_t valid = op & 1ull << 40 ? 1ull << 63 : 0;
	const uint64_t words[4] = {
		(op >> 8 & 15) | (op >> 12 & 7) << 32,
		(op >> 16 & 15) | (8192 + (op >> 20 & 15)) << 32,
		valid | (op >> 24 & 3) | (op >> 26 & 3) << 16 | (op >> 28 & 7) << 12,
		(op >> 32 & 3) << 16,
	};

	CHECK(mem_write(&vm.mem, QUEUE + *at, words, sizeof(words)) == 0);
	*at = (*at + 32) % 4096;
	bus_write(&vm.mmio, ITS + 0x88, 8, *at);
}

static void acknowledge(struct gicv3 *gic, unsigned cpu)
{
	const int signalled = vm.irq_ops->pending(&vcpus[cpu]);
	uint64_t value = 0;

	CHECK(signalled < (int)(32 + SPIS) || (signalled >= 8192 && signalled < 65536));
	CHECK(signalled < 0 || gicv3_fiq(&vcpus[cpu]) < 0); /* not both */
	sysreg(cpu, IAR1, false, &value);
	CHECK(value == (signalled < 0 ? 1023 : (uint64_t)signalled));
}

static void run(struct gicv3 *gic, struct gicv3_its *its, uint64_t op, uint64_t *at)
{
	const unsigned cpu = (op >> 4 & 15) % CPUS;
	uint64_t value = op >> 32;
	struct irq_line line;

	switch (op & 15) {
	case 0:
	case 1:
		bus_write(&vm.mmio, GICD + (op >> 8 & 0xfffc), 4, value);
		break;
	case 2:
		bus_write(&vm.mmio, GICR + cpu * 0x20000 + (op >> 8 & 0x1fff8), 8, value);
		break;
	case 3:
		bus_write(&vm.mmio, ITS + (op >> 8 & 0x1ff8), 8, value << (op >> 58));
		break;
	case 4:
		(void)bus_read(&vm.mmio, GICD + (op >> 8 & 0x1ffff8), 1u << (op >> 30 & 3));
		break;
	case 5:
		bus_write(&vm.mmio, GICD + (op >> 8 & 0x1fffff), 1, value);
		break;
	case 6:
		line = op >> 8 & 1 ? gicv3_ppi(gic, cpu, op >> 16 & 31) : gicv3_spi(gic, op >> 16 & 127);
		irq_set(&line, value & 1);
		break;
	case 7:
	case 8:
		gicv3_its_message(its, op >> 8 & 7, op >> 16 & 15);
		break;
	case 9:
	case 10:
	case 11:
		command(op, at);
		break;
	case 12:
		sysreg(cpu, IAR0 + (op >> 8 & 0x7f), true, &value);
		break;
	case 13:
		sysreg(cpu, IAR0 + (op >> 8 & 0x7f), false, &value);
		break;
	case 14:
		acknowledge(gic, cpu);
		break;
	default:
		CHECK(mem_write(&vm.mem, (op >> 8 & 0x3fff8), &value, sizeof(value)) == 0);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t *ram;
	struct gicv3_its *its;
	struct gicv3 *gic;
	uint64_t at = 0;

	fake_reset();
	memset(&vm, 0, sizeof(vm));
	memset(vcpus, 0, sizeof(vcpus));
	if (!ram)
		ram = aligned_alloc(PAGE_SIZE, RAM);
	memset(ram, 0xa1, RAM); /* LPIs enabled */
	memset(ram, 0, 0x10000);
	memset(ram + 0x30000, 0, 0x10000);
	CHECK(mem_add_slot(&vm.mem, 0, RAM, ram, false) == 0);
	for (unsigned i = 0; i < CPUS; i++) {
		vcpus[i] = (struct vcpu){.vm = &vm, .index = i};
		vm.vcpus[vm.vcpu_count++] = &vcpus[i];
	}
	CHECK(gicv3_create(&vm, &(struct gicv3_config){.distributor = GICD, .redistributors = GICR, .lpis = true, .spis = SPIS}, &gic) == 0);
	CHECK(gicv3_its_create(&vm, gic, ITS, &its) == 0);
	set_up();
	for (; size >= 8; size -= 8, data += 8) {
		uint64_t op;

		memcpy(&op, data, sizeof(op));
		run(gic, its, op, &at);
	}
	for (unsigned i = 0; i < CPUS; i++)
		acknowledge(gic, i);
	while (vm.device_count)
		vm.devices[--vm.device_count]->ops->destroy(vm.devices[vm.device_count]);
	mem_destroy(&vm.mem);
	CHECK(fake_alloc_live() == 0);
	return 0;
}
