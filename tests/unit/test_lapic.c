/* The local APIC: priorities, EOI, interrupt commands in all destination modes, timer, modes, MSR rules. */
#include "arch/x86_64/msr.h"
#include "core/tsc.h"
#include "dev/irq/lapic.h"
#include "fake_machine.h"
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define APIC(reg) (0xfee00000u + (reg))
#define X2(reg)   (0x800u + ((reg) >> 4))
#define CPUS      3

static unsigned eoi_count, eoi_vector;

static void note_eoi(void *ctx, uint8_t vector)
{
	eoi_count++;
	eoi_vector = vector;
}

static int setup(void **state)
{
	struct vm *vm = machine_create(CPUS);

	eoi_count = 0;
	assert_int_equal(lapics_create(vm, note_eoi, NULL, NULL), 0);
	for (unsigned i = 0; i < CPUS; i++)
		machine_write(vm, i, APIC(0xf0), 4, 0x1ff);
	*state = vm;
	return 0;
}

static int teardown(void **state)
{
	struct vm *vm = *state;

	lapics_destroy(vm);
	machine_destroy(vm);
	assert_int_equal(fake_alloc_live(), 0);
	return 0;
}

static int pending(struct vm *vm, unsigned cpu)
{
	return vm->irq_ops->pending(vm->vcpus[cpu]);
}

static int ack(struct vm *vm, unsigned cpu)
{
	return vm->irq_ops->ack(vm->vcpus[cpu]);
}

static uint32_t requests(struct vm *vm, unsigned cpu)
{
	return vcpu_take_request(vm->vcpus[cpu], ~0u);
}

static void send(struct vm *vm, unsigned cpu, uint32_t destination, uint32_t low)
{
	machine_write(vm, cpu, APIC(0x310), 4, destination << 24);
	machine_write(vm, cpu, APIC(0x300), 4, low);
}

static void self(struct vm *vm, uint8_t vector)
{
	send(vm, 0, 0, 0x40000u | vector);
}

static void eoi(struct vm *vm)
{
	machine_write(vm, 0, APIC(0xb0), 4, 0);
}

static void identifies(void **state)
{
	struct vm *vm = *state;

	assert_int_equal(machine_read(vm, 2, APIC(0x20), 4), 2u << 24);
	assert_int_equal(machine_read(vm, 0, APIC(0x30), 4), 0x50014);
	assert_int_equal(machine_read(vm, 0, APIC(0x350), 4), 0x700); /* virtual wire */
	assert_int_equal(machine_read(vm, 1, APIC(0x350), 4), 0x10000);
}

static void higher_class_first_then_nests(void **state)
{
	struct vm *vm = *state;

	self(vm, 0x41);
	assert_true(requests(vm, 0) & VCPU_REQ_IRQ);
	self(vm, 0x45);
	self(vm, 0x61);
	assert_int_equal(pending(vm, 0), 0x61);
	assert_int_equal(ack(vm, 0), 0x61);
	assert_int_equal(machine_read(vm, 0, APIC(0xa0), 4), 0x60);
	assert_int_equal(pending(vm, 0), -1);
	self(vm, 0x6f); /* same class: waits */
	assert_int_equal(pending(vm, 0), -1);
	self(vm, 0x71); /* higher class: nests */
	assert_int_equal(ack(vm, 0), 0x71);
	requests(vm, 0);
	eoi(vm); /* ends 0x71 */
	assert_int_equal(pending(vm, 0), -1);
	eoi(vm); /* ends 0x61 */
	assert_true(requests(vm, 0) & VCPU_REQ_IRQ);
	assert_int_equal(ack(vm, 0), 0x6f);
	eoi(vm);
	assert_int_equal(ack(vm, 0), 0x45);
	assert_int_equal(pending(vm, 0), -1); /* 0x41 is of the same class */
	eoi(vm);
	assert_int_equal(ack(vm, 0), 0x41);
	eoi(vm);
	assert_int_equal(pending(vm, 0), -1);
	assert_int_equal(eoi_count, 0);
}

static void task_priority_holds_back(void **state)
{
	struct vm *vm = *state;

	vm->irq_ops->set_tpr(vm->vcpus[0], 5);
	assert_int_equal(machine_read(vm, 0, APIC(0x80), 4), 0x50);
	self(vm, 0x5f);
	assert_int_equal(pending(vm, 0), -1);
	requests(vm, 0);
	vm->irq_ops->set_tpr(vm->vcpus[0], 4);
	assert_true(requests(vm, 0) & VCPU_REQ_IRQ);
	assert_int_equal(pending(vm, 0), 0x5f);
	machine_write(vm, 0, APIC(0x80), 4, 0x63);
	assert_int_equal(vm->irq_ops->get_tpr(vm->vcpus[0]), 6);
	assert_int_equal(machine_read(vm, 0, APIC(0xa0), 4), 0x63);
}

static void level_interrupts_broadcast_their_eoi(void **state)
{
	struct vm *vm = *state;
	struct lapic_message message = {.destination = 0, .level = true, .vector = 0x51};

	assert_true(lapic_deliver(vm, &message));
	assert_int_equal(machine_read(vm, 0, APIC(0x180 + 0x20), 4), 1u << 17);
	assert_int_equal(ack(vm, 0), 0x51);
	eoi(vm);
	assert_int_equal(eoi_count, 1);
	assert_int_equal(eoi_vector, 0x51);
	message.level = false;
	lapic_deliver(vm, &message);
	ack(vm, 0);
	eoi(vm);
	assert_int_equal(eoi_count, 1);
}

static void commands_reach_their_destinations(void **state)
{
	struct vm *vm = *state;

	send(vm, 0, 1, 0x4041);
	assert_int_equal(pending(vm, 0), -1);
	assert_int_equal(pending(vm, 1), 0x41);
	assert_int_equal(pending(vm, 2), -1);
	send(vm, 1, 0, 0x4042 | 2u << 18); /* all */
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(ack(vm, i), 0x42);
	send(vm, 1, 0, 0x4063 | 3u << 18); /* all but self */
	assert_int_equal(pending(vm, 0), 0x63);
	assert_int_equal(pending(vm, 1), -1);
	assert_int_equal(pending(vm, 2), 0x63);
	send(vm, 1, 0xff, 0x4074); /* physical broadcast */
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(ack(vm, i), 0x74);
	send(vm, 0, 7, 0x4085); /* nobody */
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_not_equal(pending(vm, i), 0x85);
}

static void logical_destinations(void **state)
{
	struct vm *vm = *state;

	for (unsigned i = 0; i < CPUS; i++)
		machine_write(vm, i, APIC(0xd0), 4, 0x01000000u << i);
	send(vm, 0, 6, 0x4841); /* flat: cpus 1, 2 */
	assert_int_equal(pending(vm, 0), -1);
	assert_int_equal(pending(vm, 1), 0x41);
	assert_int_equal(pending(vm, 2), 0x41);
	/* cluster 1: cpus 0, 1; cluster 2: cpu 2 */
	for (unsigned i = 0; i < CPUS; i++) {
		machine_write(vm, i, APIC(0xe0), 4, 0x0fffffff);
		machine_write(vm, i, APIC(0xd0), 4, i == 2 ? 0x21000000 : i == 1 ? 0x12000000 : 0x11000000);
	}
	send(vm, 0, 0x12, 0x4852);
	assert_int_equal(pending(vm, 0), -1);
	assert_int_equal(pending(vm, 1), 0x52);
	assert_int_equal(pending(vm, 2), 0x41);
	send(vm, 0, 0x21, 0x4853);
	assert_int_equal(pending(vm, 2), 0x53);
}

static void lowest_priority_goes_to_one(void **state)
{
	struct vm *vm = *state;
	unsigned count = 0;

	machine_write(vm, 0, APIC(0x80), 4, 0x80);
	machine_write(vm, 2, APIC(0x80), 4, 0x90);
	send(vm, 0, 0xff, 0x4141);
	assert_int_equal(pending(vm, 1), 0x41);
	machine_write(vm, 0, APIC(0x80), 4, 0);
	machine_write(vm, 2, APIC(0x80), 4, 0);
	for (unsigned i = 0; i < CPUS; i++)
		count += pending(vm, i) >= 0;
	assert_int_equal(count, 1);
}

static void other_modes_are_requests(void **state)
{
	struct vm *vm = *state;

	requests(vm, 1);
	send(vm, 0, 1, 0x4400);
	assert_int_equal(requests(vm, 1), VCPU_REQ_NMI);
	send(vm, 0, 1, 0xc500); /* INIT, asserted */
	assert_int_equal(requests(vm, 1), VCPU_REQ_INIT);
	send(vm, 0, 1, 0x8500); /* INIT level de-assert: nothing */
	assert_int_equal(requests(vm, 1), 0);
	send(vm, 0, 1, 0x4699);
	assert_int_equal(requests(vm, 1), VCPU_REQ_SIPI);
	assert_int_equal(vm->vcpus[1]->sipi_vector, 0x99);
	assert_int_equal(requests(vm, 2), 0);
}

static void init_resets_registers(void **state)
{
	struct vm *vm = *state;

	machine_write(vm, 1, APIC(0x80), 4, 0x30);
	send(vm, 0, 1, 0x4041);
	vm->irq_ops->init(vm->vcpus[1]);
	assert_int_equal(machine_read(vm, 1, APIC(0x80), 4), 0);
	assert_int_equal(machine_read(vm, 1, APIC(0xf0), 4), 0xff);
	assert_int_equal(pending(vm, 1), -1);
	send(vm, 0, 1, 0x4041); /* software-disabled: not accepted */
	assert_int_equal(pending(vm, 1), -1);
}

static void errors_are_told(void **state)
{
	struct vm *vm = *state;

	machine_write(vm, 0, APIC(0x370), 4, 0xfe);
	send(vm, 0, 1, 0x4005); /* vectors below 16 are illegal */
	assert_int_equal(pending(vm, 0), 0xfe);
	assert_int_equal(machine_read(vm, 0, APIC(0x280), 4), 0);
	machine_write(vm, 0, APIC(0x280), 4, 0);
	assert_int_equal(machine_read(vm, 0, APIC(0x280), 4), 0x20);
	machine_write(vm, 0, APIC(0x280), 4, 0);
	assert_int_equal(machine_read(vm, 0, APIC(0x280), 4), 0);
	lapic_msi(vm, 0xfee00000, 0x0003);
	machine_read(vm, 0, APIC(0x40), 4); /* no such register */
	machine_write(vm, 0, APIC(0x280), 4, 0);
	assert_int_equal(machine_read(vm, 0, APIC(0x280), 4), 0xc0);
}

/* An illegal vector in the error entry itself: told once, no endless loop. */
static void error_vector_may_be_illegal(void **state)
{
	struct vm *vm = *state;

	machine_write(vm, 0, APIC(0x370), 4, 0x03);
	send(vm, 0, 1, 0x4005);
	assert_int_equal(pending(vm, 0), -1);
}

static void msis(void **state)
{
	struct vm *vm = *state;

	lapic_msi(vm, 0xfee02000, 0x0041);
	assert_int_equal(pending(vm, 2), 0x41);
	lapic_msi(vm, 0xfed02000, 0x0051); /* not an interrupt address */
	assert_int_equal(pending(vm, 2), 0x41);
	machine_write(vm, 1, APIC(0xd0), 4, 0x02000000);
	lapic_msi(vm, 0xfee0200c, 0x0042); /* logical, redirection hint */
	assert_int_equal(pending(vm, 1), 0x42);
}

/* ---- timer ---- */
static void timer_one_shot(void **state)
{
	struct vm *vm = *state;

	machine_write(vm, 0, APIC(0x320), 4, 0xec);
	machine_write(vm, 0, APIC(0x3e0), 4, 0xb); /* by 1: nanoseconds */
	machine_write(vm, 0, APIC(0x380), 4, 1000);
	fake_advance(400);
	assert_int_equal(machine_read(vm, 0, APIC(0x390), 4), 600);
	assert_int_equal(pending(vm, 0), -1);
	fake_advance(600);
	assert_int_equal(ack(vm, 0), 0xec);
	assert_int_equal(machine_read(vm, 0, APIC(0x390), 4), 0);
	eoi(vm);
	fake_advance(10000);
	assert_int_equal(pending(vm, 0), -1);

	machine_write(vm, 0, APIC(0x3e0), 4, 0x3); /* by 16 */
	machine_write(vm, 0, APIC(0x380), 4, 1000);
	fake_advance(8000);
	assert_int_equal(machine_read(vm, 0, APIC(0x390), 4), 500);
	machine_write(vm, 0, APIC(0x3e0), 4, 0xb); /* goes on from 500, by 1 */
	fake_advance(499);
	assert_int_equal(pending(vm, 0), -1);
	fake_advance(1);
	assert_int_equal(pending(vm, 0), 0xec);
}

static void timer_periodic(void **state)
{
	struct vm *vm = *state;
	unsigned ticks = 0;

	machine_write(vm, 0, APIC(0x3e0), 4, 0xb);
	machine_write(vm, 0, APIC(0x320), 4, 0x200ec);
	machine_write(vm, 0, APIC(0x380), 4, 1000000);
	for (unsigned i = 0; i < 100; i++) {
		fake_advance(100000);
		if (ack(vm, 0) == 0xec) {
			ticks++;
			eoi(vm);
		}
	}
	assert_int_equal(ticks, 10);
	machine_write(vm, 0, APIC(0x320), 4, 0x300ec & ~0x20000u); /* masked, one-shot */
	fake_advance(5000000);
	assert_int_equal(pending(vm, 0), -1);
	/* A hostile period is held to a bearable one. */
	machine_write(vm, 0, APIC(0x320), 4, 0x200ec);
	machine_write(vm, 0, APIC(0x380), 4, 1);
	fake_advance(1000000);
	assert_int_equal(pending(vm, 0), 0xec);
	machine_write(vm, 0, APIC(0x380), 4, 0);
}

static void timer_deadline(void **state)
{
	struct vm *vm = *state;
	uint64_t value;

	/* Not in deadline mode: ignored. */
	assert_true(machine_wrmsr(vm, 0, X86_MSR_TSC_DEADLINE, 500));
	assert_true(machine_rdmsr(vm, 0, X86_MSR_TSC_DEADLINE, &value));
	assert_int_equal(value, 0);

	machine_write(vm, 0, APIC(0x320), 4, 0x400ec);
	assert_true(machine_wrmsr(vm, 0, X86_MSR_TSC_DEADLINE, vm_tsc(vm, 0) + 5000));
	fake_advance(4999);
	assert_int_equal(pending(vm, 0), -1);
	assert_true(machine_rdmsr(vm, 0, X86_MSR_TSC_DEADLINE, &value));
	assert_int_equal(value, 5000);
	fake_advance(1);
	assert_int_equal(ack(vm, 0), 0xec);
	assert_true(machine_rdmsr(vm, 0, X86_MSR_TSC_DEADLINE, &value));
	assert_int_equal(value, 0);
	eoi(vm);
	/* in the past: at once */
	assert_true(machine_wrmsr(vm, 0, X86_MSR_TSC_DEADLINE, 1));
	assert_int_equal(ack(vm, 0), 0xec);
	eoi(vm);
	/* disarmed */
	assert_true(machine_wrmsr(vm, 0, X86_MSR_TSC_DEADLINE, vm_tsc(vm, 0) + 5000));
	assert_true(machine_wrmsr(vm, 0, X86_MSR_TSC_DEADLINE, 0));
	fake_advance(10000);
	assert_int_equal(pending(vm, 0), -1);
	/* the TSC jumps ahead of the deadline */
	assert_true(machine_wrmsr(vm, 0, X86_MSR_TSC_DEADLINE, vm_tsc(vm, 0) + 5000));
	vcpu_set_tsc_offset(vm->vcpus[0], 6000);
	assert_int_equal(ack(vm, 0), 0xec);
	eoi(vm);
	/* leaving deadline mode disarms */
	assert_true(machine_wrmsr(vm, 0, X86_MSR_TSC_DEADLINE, vm_tsc(vm, 6000) + 5000));
	machine_write(vm, 0, APIC(0x320), 4, 0xec);
	fake_advance(10000);
	assert_int_equal(pending(vm, 0), -1);
}

/* What CPUID doesn't offer can't be entered. */
static void modes_not_offered(void **state)
{
	struct vm *vm = *state;

	x86_cpuid_remove(vm->cpuid, X86_CPU_tsc_deadline_timer);
	x86_cpuid_remove(vm->cpuid, X86_CPU_x2apic);
	machine_write(vm, 0, APIC(0x320), 4, 0x400ec);
	assert_int_equal(machine_read(vm, 0, APIC(0x320), 4), 0xec); /* one-shot: the bit is reserved */
	assert_false(machine_wrmsr(vm, 0, X86_MSR_APIC_BASE, 0xfee00d00));
	assert_true(machine_wrmsr(vm, 0, X86_MSR_APIC_BASE, 0xfee00900));
}

static void software_disable_masks_the_timer(void **state)
{
	struct vm *vm = *state;

	machine_write(vm, 0, APIC(0x320), 4, 0xec);
	machine_write(vm, 0, APIC(0xf0), 4, 0xff);
	assert_int_equal(machine_read(vm, 0, APIC(0x320), 4), 0x100ec);
	machine_write(vm, 0, APIC(0x320), 4, 0xec); /* can't be unmasked now */
	assert_int_equal(machine_read(vm, 0, APIC(0x320), 4), 0x100ec);
}

/* ---- modes ---- */
static void base_state_machine(void **state)
{
	struct vm *vm = *state;
	uint64_t value;

	assert_true(machine_rdmsr(vm, 0, X86_MSR_APIC_BASE, &value));
	assert_int_equal(value, 0xfee00900);
	assert_true(machine_rdmsr(vm, 1, X86_MSR_APIC_BASE, &value));
	assert_int_equal(value, 0xfee00800);
	assert_false(machine_rdmsr(vm, 0, X2(0x20), &value)); /* xAPIC mode: no MSRs */

	assert_false(machine_wrmsr(vm, 1, X86_MSR_APIC_BASE, 0xfee00400)); /* EXTD without EN */
	assert_false(machine_wrmsr(vm, 1, X86_MSR_APIC_BASE, 0xfee00801)); /* reserved */
	assert_false(machine_wrmsr(vm, 1, X86_MSR_APIC_BASE, 1ull << 46 | 0xfee00800));
	assert_true(machine_wrmsr(vm, 1, X86_MSR_APIC_BASE, 0xfee00c00));
	assert_false(machine_wrmsr(vm, 1, X86_MSR_APIC_BASE, 0xfee00800)); /* x2APIC to xAPIC */
	assert_int_equal(machine_read(vm, 1, APIC(0x20), 4), 0xffffffff);  /* the page is gone */
	assert_true(machine_wrmsr(vm, 1, X86_MSR_APIC_BASE, 0xfee00000));
	assert_false(machine_wrmsr(vm, 1, X86_MSR_APIC_BASE, 0xfee00c00)); /* disabled to x2APIC */
	send(vm, 0, 1, 0x4041);
	assert_int_equal(pending(vm, 1), -1);
	assert_true(machine_wrmsr(vm, 1, X86_MSR_APIC_BASE, 0xfee00800));
	assert_int_equal(machine_read(vm, 1, APIC(0xf0), 4), 0xff);
	/* the page can be moved */
	assert_true(machine_wrmsr(vm, 1, X86_MSR_APIC_BASE, 0xe0000800));
	assert_int_equal(machine_read(vm, 1, 0xe0000020, 4), 1u << 24);
	assert_int_equal(machine_read(vm, 1, APIC(0x20), 4), 0xffffffff);
}

static void x2apic(void **state)
{
	struct vm *vm = *state;
	uint64_t value;

	for (unsigned i = 0; i < CPUS; i++)
		assert_true(machine_wrmsr(vm, i, X86_MSR_APIC_BASE, 0xfee00c00 | (i == 0 ? 0x100 : 0)));
	assert_true(machine_rdmsr(vm, 2, X2(0x20), &value));
	assert_int_equal(value, 2);
	assert_true(machine_rdmsr(vm, 2, X2(0xd0), &value));
	assert_int_equal(value, 4);
	assert_false(machine_wrmsr(vm, 0, X2(0xd0), 4));
	assert_false(machine_rdmsr(vm, 0, X2(0xe0), &value)); /* no DFR, no ICR2, EOI is write-only */
	assert_false(machine_rdmsr(vm, 0, X2(0x310), &value));
	assert_false(machine_rdmsr(vm, 0, X2(0xb0), &value));
	assert_false(machine_wrmsr(vm, 0, X2(0xb0), 1));
	assert_false(machine_wrmsr(vm, 0, X2(0x80), 0x100));
	assert_false(machine_wrmsr(vm, 0, X2(0x20), 0));
	assert_false(machine_wrmsr(vm, 0, X2(0x3f0), 0x141));
	assert_false(machine_wrmsr(vm, 0, 0x8ff, 0));

	assert_true(machine_wrmsr(vm, 0, X2(0x300), 2ull << 32 | 0x4041));
	assert_int_equal(pending(vm, 2), 0x41);
	assert_true(machine_wrmsr(vm, 0, X2(0x300), 0xffffffffull << 32 | 0x4052));
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(pending(vm, i), 0x52);
	assert_true(machine_wrmsr(vm, 0, X2(0x300), 6ull << 32 | 0x4863)); /* logical: cpus 1, 2 of cluster 0 */
	assert_int_equal(pending(vm, 0), 0x52);
	assert_int_equal(pending(vm, 1), 0x63);
	assert_int_equal(pending(vm, 2), 0x63);
	assert_true(machine_wrmsr(vm, 0, X2(0x3f0), 0x91));
	assert_int_equal(ack(vm, 0), 0x91);
	assert_true(machine_wrmsr(vm, 0, X2(0xb0), 0));
	assert_true(machine_rdmsr(vm, 0, X2(0x300), &value));
	assert_int_equal(value, 6ull << 32 | 0x4863);
	/* an 8-bit destination from an MSI */
	lapic_msi(vm, 0xfee01000, 0x00a1);
	assert_int_equal(pending(vm, 1), 0xa1);
	/* INIT keeps the mode and the logical id */
	vm->irq_ops->init(vm->vcpus[2]);
	assert_true(machine_rdmsr(vm, 2, X2(0xd0), &value));
	assert_int_equal(value, 4);
}

static void odd_accesses_are_harmless(void **state)
{
	struct vm *vm = *state;

	machine_write(vm, 0, APIC(0x80), 1, 0xff);
	machine_write(vm, 0, APIC(0x84), 4, 0xff);
	assert_int_equal(machine_read(vm, 0, APIC(0x80), 4), 0);
	assert_int_equal(machine_read(vm, 0, APIC(0x84), 4), 0);
	assert_int_equal(machine_read(vm, 1, APIC(0x23), 1), 1);
	for (unsigned offset = 0; offset < 0x1000; offset += 16)
		machine_read(vm, 0, APIC(offset), 4);
}

/* Others deliver while the vcpu acknowledges: each message arrives, and none without a request. */
#define SENDERS  3
#define MESSAGES 20000u

struct sender {
	struct vm *vm;
	uint8_t vector;
	_Atomic unsigned sent, taken;
};

static void *send_messages(void *arg)
{
	struct sender *sender = arg;

	for (unsigned i = 0; i < MESSAGES; i++) {
		while (sender->taken != i)
			sched_yield();
		lapic_msi(sender->vm, 0xfee00000, sender->vector);
		sender->sent++;
	}
	return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
	struct vm *vm = *state;
	struct sender senders[SENDERS];
	pthread_t threads[SENDERS];
	unsigned total = 0;

	for (unsigned i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){.vm = vm, .vector = (uint8_t)(0x41 + 0x10 * i)};
		assert_int_equal(pthread_create(&threads[i], NULL, send_messages, &senders[i]), 0);
	}
	while (total < SENDERS * MESSAGES) {
		int vector;

		if (!vcpu_take_request(vm->vcpus[0], VCPU_REQ_IRQ)) {
			sched_yield();
			continue;
		}
		while ((vector = ack(vm, 0)) >= 0) {
			eoi(vm);
			senders[(vector - 0x41) / 0x10].taken++;
			total++;
		}
	}
	for (unsigned i = 0; i < SENDERS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(senders[i].sent, MESSAGES);
	}
}

static void allocation_failure_leaves_nothing(void **state)
{
	for (unsigned i = 0; i <= CPUS; i++) {
		struct vm *vm = machine_create(CPUS);
		unsigned live = fake_alloc_live();

		fake_alloc_limit(i);
		assert_int_not_equal(lapics_create(vm, NULL, NULL, NULL), 0);
		fake_alloc_limit(UINT32_MAX);
		assert_int_equal(fake_alloc_live(), live);
		assert_null(vm->irq_ops);
		machine_destroy(vm);
	}
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(identifies),
		CASE(higher_class_first_then_nests),
		CASE(task_priority_holds_back),
		CASE(level_interrupts_broadcast_their_eoi),
		CASE(commands_reach_their_destinations),
		CASE(logical_destinations),
		CASE(lowest_priority_goes_to_one),
		CASE(other_modes_are_requests),
		CASE(init_resets_registers),
		CASE(errors_are_told),
		CASE(error_vector_may_be_illegal),
		CASE(msis),
		CASE(timer_one_shot),
		CASE(timer_periodic),
		CASE(timer_deadline),
		CASE(modes_not_offered),
		CASE(software_disable_masks_the_timer),
		CASE(base_state_machine),
		CASE(x2apic),
		CASE(odd_accesses_are_harmless),
		CASE(nothing_is_lost_between_threads),
		cmocka_unit_test(allocation_failure_leaves_nothing),
	};

	return cmocka_run_group_tests_name("lapic", tests, NULL, NULL);
}
