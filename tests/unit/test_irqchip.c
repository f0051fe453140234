/* I/O APIC, the two 8259s, and the wiring between them, the local APICs and the lines. */
#include "dev/irq/irqchip.h"
#include "fake_machine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define LAPIC(reg) (0xfee00000u + (reg))
#define IOREGSEL   0xfec00000u
#define IOWIN      0xfec00010u
#define IOEOI      0xfec00040u

#define MASKED     (1u << 16)
#define LEVEL      (1u << 15)
#define REMOTE_IRR (1u << 14)

struct context {
	struct vm *vm;
	struct irqchip *chip;
};

static int setup(void **state)
{
	static struct context context;

	context.vm = machine_create(2);
	assert_int_equal(irqchip_create(context.vm, &context.chip), 0);
	for (unsigned i = 0; i < 2; i++)
		machine_write(context.vm, i, LAPIC(0xf0), 4, 0x1ff);
	*state = &context;
	return 0;
}

static int teardown(void **state)
{
	struct context *c = *state;

	machine_destroy(c->vm);
	assert_int_equal(fake_alloc_live(), 0);
	return 0;
}

static int pending(struct context *c, unsigned cpu)
{
	return c->vm->irq_ops->pending(c->vm->vcpus[cpu]);
}

static int ack(struct context *c, unsigned cpu)
{
	return c->vm->irq_ops->ack(c->vm->vcpus[cpu]);
}

static void set_line(struct context *c, unsigned gsi, int level)
{
	struct irq_line line = irqchip_line(c->chip, gsi);

	irq_set(&line, level);
}

static void eoi(struct context *c, unsigned cpu)
{
	machine_write(c->vm, cpu, LAPIC(0xb0), 4, 0);
}

/* ---- I/O APIC ---- */
static uint32_t io_read(struct context *c, uint8_t reg)
{
	machine_write(c->vm, 0, IOREGSEL, 4, reg);
	return (uint32_t)machine_read(c->vm, 0, IOWIN, 4);
}

static void io_write(struct context *c, uint8_t reg, uint32_t value)
{
	machine_write(c->vm, 0, IOREGSEL, 4, reg);
	machine_write(c->vm, 0, IOWIN, 4, value);
}

static void entry(struct context *c, unsigned pin, unsigned cpu, uint32_t low)
{
	io_write(c, (uint8_t)(0x11 + 2 * pin), cpu << 24);
	io_write(c, (uint8_t)(0x10 + 2 * pin), low);
}

static void ioapic_registers(void **state)
{
	struct context *c = *state;

	assert_int_equal(io_read(c, 1), 0x170020);
	assert_int_equal(io_read(c, 0x10), MASKED);
	io_write(c, 0, 0x5f000000);
	assert_int_equal(io_read(c, 0), 0x0f000000);
	io_write(c, 0x3e, 0xffffffff);
	assert_int_equal(io_read(c, 0x3e), 0x1afff); /* status and remote IRR are read-only */
	io_write(c, 0x40, 0xffffffff);               /* beyond the last pin */
	assert_int_equal(io_read(c, 0x40), 0);
}

static void edges(void **state)
{
	struct context *c = *state;

	entry(c, 20, 1, 0x41);
	set_line(c, 20, 1);
	assert_int_equal(pending(c, 0), -1);
	assert_int_equal(ack(c, 1), 0x41);
	eoi(c, 1);
	set_line(c, 20, 1); /* no edge */
	assert_int_equal(pending(c, 1), -1);
	set_line(c, 20, 0);
	set_line(c, 20, 1);
	assert_int_equal(ack(c, 1), 0x41);
	eoi(c, 1);
	/* an edge on a masked pin is lost */
	set_line(c, 20, 0);
	entry(c, 20, 1, 0x41 | MASKED);
	set_line(c, 20, 1);
	entry(c, 20, 1, 0x41);
	assert_int_equal(pending(c, 1), -1);
}

static void levels(void **state)
{
	struct context *c = *state;

	entry(c, 9, 0, 0x51 | LEVEL);
	set_line(c, 9, 1);
	assert_int_equal(io_read(c, 0x22), 0x51 | LEVEL | REMOTE_IRR);
	assert_int_equal(ack(c, 0), 0x51);
	set_line(c, 9, 0);
	set_line(c, 9, 1); /* remote IRR holds it back */
	assert_int_equal(pending(c, 0), -1);
	eoi(c, 0);         /* still up: again */
	assert_int_equal(ack(c, 0), 0x51);
	set_line(c, 9, 0);
	eoi(c, 0);
	assert_int_equal(pending(c, 0), -1);
	assert_int_equal(io_read(c, 0x22), 0x51 | LEVEL);
	/* a level on a masked pin waits */
	entry(c, 9, 0, 0x51 | LEVEL | MASKED);
	set_line(c, 9, 1);
	assert_int_equal(pending(c, 0), -1);
	entry(c, 9, 0, 0x51 | LEVEL);
	assert_int_equal(ack(c, 0), 0x51);
	/* the EOI register ends it too */
	set_line(c, 9, 0);
	machine_write(c->vm, 0, IOEOI, 4, 0x51);
	assert_int_equal(io_read(c, 0x22), 0x51 | LEVEL);
}

static void edge_mode_clears_remote_irr(void **state)
{
	struct context *c = *state;

	entry(c, 9, 0, 0x51 | LEVEL);
	set_line(c, 9, 1);
	entry(c, 9, 0, 0x51 | MASKED);
	assert_int_equal(io_read(c, 0x22), 0x51 | MASKED);
	entry(c, 9, 0, 0x51 | LEVEL);
	assert_int_equal(io_read(c, 0x22), 0x51 | LEVEL | REMOTE_IRR);
}

static void wiring(void **state)
{
	struct context *c = *state;

	entry(c, 2, 0, 0x42);
	entry(c, 4, 0, 0x54);
	set_line(c, 0, 1); /* the PIT: pin 2 */
	assert_int_equal(ack(c, 0), 0x42);
	set_line(c, 4, 1);
	assert_int_equal(ack(c, 0), 0x54);
	set_line(c, 24, 1); /* not connected */
	assert_null(irqchip_line(c->chip, 24).set);
	irqchip_msi(c->chip, 0xfee01000, 0x61);
	assert_int_equal(pending(c, 1), 0x61);
}

/* ---- 8259 ---- */
static void pic_init(struct context *c)
{
	static const uint8_t words[2][4] = {{0x11, 0x30, 0x04, 0x01}, {0x11, 0x38, 0x02, 0x01}};

	for (unsigned i = 0; i < 2; i++) {
		uint16_t port = i ? 0xa0 : 0x20;

		machine_out(c->vm, port, 1, words[i][0]);
		for (unsigned word = 1; word < 4; word++)
			machine_out(c->vm, port + 1, 1, words[i][word]);
		machine_out(c->vm, port + 1, 1, 0);
	}
}

static void pic_delivers_by_virtual_wire(void **state)
{
	struct context *c = *state;

	set_line(c, 3, 1); /* masked until it is programmed */
	assert_int_equal(pending(c, 0), -1);
	set_line(c, 3, 0);
	pic_init(c);
	vcpu_take_request(c->vm->vcpus[0], ~0u);
	set_line(c, 3, 1);
	assert_true(vcpu_take_request(c->vm->vcpus[0], ~0u) & VCPU_REQ_IRQ);
	assert_int_equal(pending(c, 0), 0x33);
	assert_int_equal(pending(c, 1), -1);
	assert_int_equal(ack(c, 0), 0x33);
	assert_int_equal(pending(c, 0), -1);
	machine_out(c->vm, 0x20, 1, 0x0b); /* read ISR */
	assert_int_equal(machine_in(c->vm, 0x20, 1), 0x08);
	set_line(c, 5, 1); /* lower priority: waits */
	assert_int_equal(pending(c, 0), -1);
	set_line(c, 1, 1); /* higher: nests */
	assert_int_equal(ack(c, 0), 0x31);
	machine_out(c->vm, 0x20, 1, 0x20);
	machine_out(c->vm, 0x20, 1, 0x20);
	assert_int_equal(ack(c, 0), 0x35);
	machine_out(c->vm, 0x20, 1, 0x65); /* specific EOI */
	assert_int_equal(machine_in(c->vm, 0x20, 1), 0);
	/* LINT0 masked: nothing gets through */
	set_line(c, 3, 0);
	set_line(c, 3, 1);
	assert_int_equal(pending(c, 0), 0x33);
	machine_write(c->vm, 0, LAPIC(0x350), 4, 0x10700);
	assert_int_equal(pending(c, 0), -1);
	/* local APIC off: INTR goes to the processor */
	assert_true(machine_wrmsr(c->vm, 0, 0x1b, 0xfee00100));
	assert_int_equal(pending(c, 0), 0x33);
}

static void pic_cascade(void **state)
{
	struct context *c = *state;

	pic_init(c);
	set_line(c, 12, 1);
	assert_int_equal(ack(c, 0), 0x3c);
	set_line(c, 8, 1); /* higher on the slave, but the cascade is in service */
	assert_int_equal(pending(c, 0), -1);
	machine_out(c->vm, 0xa0, 1, 0x20);
	machine_out(c->vm, 0x20, 1, 0x20);
	assert_int_equal(ack(c, 0), 0x38);
	machine_out(c->vm, 0xa0, 1, 0x20);
	machine_out(c->vm, 0x20, 1, 0x20);
	assert_int_equal(pending(c, 0), -1);
}

static void pic_level_and_spurious(void **state)
{
	struct context *c = *state;

	pic_init(c);
	machine_out(c->vm, 0x4d0, 1, 0xff);
	assert_int_equal(machine_in(c->vm, 0x4d0, 1), 0xf8);
	machine_out(c->vm, 0x4d1, 1, 0xff);
	assert_int_equal(machine_in(c->vm, 0x4d1, 1), 0xde);
	set_line(c, 5, 1);
	assert_int_equal(ack(c, 0), 0x35);
	machine_out(c->vm, 0x20, 1, 0x20);
	assert_int_equal(ack(c, 0), 0x35); /* still up */
	set_line(c, 5, 0);
	machine_out(c->vm, 0x20, 1, 0x20);
	assert_int_equal(pending(c, 0), -1);
}

static void pic_masks_and_rotates(void **state)
{
	struct context *c = *state;

	pic_init(c);
	machine_out(c->vm, 0x21, 1, 0x08);
	assert_int_equal(machine_in(c->vm, 0x21, 1), 0x08);
	set_line(c, 3, 1);
	assert_int_equal(pending(c, 0), -1);
	machine_out(c->vm, 0x21, 1, 0);
	assert_int_equal(ack(c, 0), 0x33);
	machine_out(c->vm, 0x20, 1, 0xa0); /* rotate on EOI: 3 is lowest now, 4 highest */
	set_line(c, 4, 1);
	set_line(c, 1, 1);
	assert_int_equal(ack(c, 0), 0x34);
	machine_out(c->vm, 0x20, 1, 0x20);
	assert_int_equal(ack(c, 0), 0x31);
	machine_out(c->vm, 0x20, 1, 0x20);
	/* poll */
	set_line(c, 6, 1);
	machine_out(c->vm, 0x20, 1, 0x0c);
	assert_int_equal(machine_in(c->vm, 0x20, 1), 0x86);
	assert_int_equal(pending(c, 0), -1);
	/* automatic EOI: another request follows at once, and the vcpu is told */
	set_line(c, 6, 0);
	set_line(c, 4, 0);
	set_line(c, 1, 0);
	machine_out(c->vm, 0x20, 1, 0x11);
	machine_out(c->vm, 0x21, 1, 0x30);
	machine_out(c->vm, 0x21, 1, 0x04);
	machine_out(c->vm, 0x21, 1, 0x03);
	set_line(c, 4, 1);
	set_line(c, 1, 1);
	vcpu_take_request(c->vm->vcpus[0], ~0u);
	assert_int_equal(ack(c, 0), 0x31);
	assert_true(vcpu_take_request(c->vm->vcpus[0], ~0u) & VCPU_REQ_IRQ);
	assert_int_equal(ack(c, 0), 0x34);
	assert_int_equal(ack(c, 0), -1);
}

static void extint_through_the_ioapic(void **state)
{
	struct context *c = *state;

	pic_init(c);
	entry(c, 0, 1, 0x700); /* pin 0, ExtINT, to cpu 1 */
	machine_write(c->vm, 0, LAPIC(0x350), 4, 0x10700);
	set_line(c, 7, 1);
	assert_int_equal(pending(c, 0), -1);
	assert_int_equal(ack(c, 1), 0x37);
}

static void reset_returns_to_power_on(void **state)
{
	struct context *c = *state;

	pic_init(c);
	entry(c, 4, 0, 0x54);
	irqchip_msi(c->chip, 0xfee00000, 0x61);
	devices_reset(c->vm);
	assert_int_equal(pending(c, 0), -1);
	assert_int_equal(io_read(c, 0x18), MASKED);
	set_line(c, 3, 1);
	assert_int_equal(pending(c, 0), -1);
}

/* ---- an engine with controllers of its own ---- */
static unsigned engine_gsi, engine_level;
static uint64_t engine_msi;

static void engine_irq_set(struct vm *vm, unsigned gsi, int level)
{
	engine_gsi = gsi;
	engine_level = (unsigned)level;
}

static void engine_msi_send(struct vm *vm, uint64_t address, uint32_t data)
{
	engine_msi = address + data;
}

static void engine_with_controllers(void **state)
{
	static const struct engine_ops engine = {.name = "own", .irq_set = engine_irq_set, .msi_send = engine_msi_send};
	struct vm *vm = machine_create(1);
	struct irqchip *chip;
	struct irq_line line;

	vm->engine = &engine;
	assert_int_equal(irqchip_create(vm, &chip), 0);
	assert_null(vm->irq_ops);
	assert_int_equal(vm->mmio.count, 0);
	line = irqchip_line(chip, 5);
	irq_set(&line, 1);
	assert_int_equal(engine_gsi, 5);
	assert_int_equal(engine_level, 1);
	irqchip_msi(chip, 0xfee00000, 0x31);
	assert_int_equal(engine_msi, 0xfee00031);
	machine_destroy(vm);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(ioapic_registers),
		CASE(edges),
		CASE(levels),
		CASE(edge_mode_clears_remote_irr),
		CASE(wiring),
		CASE(pic_delivers_by_virtual_wire),
		CASE(pic_cascade),
		CASE(pic_level_and_spurious),
		CASE(pic_masks_and_rotates),
		CASE(extint_through_the_ioapic),
		CASE(reset_returns_to_power_on),
		cmocka_unit_test(engine_with_controllers),
	};

	return cmocka_run_group_tests_name("irqchip", tests, NULL, NULL);
}
