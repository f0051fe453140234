/* What makes a processor leave its engine: ports, strings of ports, device memory, HLT until a timer. Nothing else, so
 * that it runs on any KVM.
 */
#include "guest.h"

const char guest_name[] = "devices";

#define VIRTIO 0xfeb00000ul /* the microvm's first virtio-mmio device: there always is one (the rng) */

static volatile uint32_t ticks;

static void on_timer(struct frame *frame)
{
	ticks++;
	*apic(0xb0) = 0;
}

static void test_ports(void)
{
	static const char text[] = "devices: a string of bytes by rep outsb\n";
	const char *from = text;
	uint64_t count = sizeof(text) - 1;
	uint8_t scratch[4] = {0, 0, 0, 0}, *to = scratch;

	__asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(0x3f8) : "memory");
	EQUAL(count, 0);
	EQUAL(from, text + sizeof(text) - 1);
	/* The UART's scratch register. */
	outb(0x3ff, 0x5a);
	count = 3;
	__asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(0x3ff) : "memory");
	EQUAL(scratch[0], 0x5a);
	EQUAL(scratch[2], 0x5a);
	EQUAL(scratch[3], 0);
	/* Nobody there. */
	EQUAL(inb(0x2f5), 0xff);
}

static void test_mmio(void)
{
	volatile uint32_t *virtio = (volatile uint32_t *)VIRTIO;

	EQUAL(virtio[0], 0x74726976); /* "virt" */
	EQUAL(virtio[1], 2);
	virtio[0x70 / 4] = 1; /* status: ACKNOWLEDGE */
	EQUAL(virtio[0x70 / 4], 1);
	virtio[0x70 / 4] = 0;
	EQUAL(virtio[0x70 / 4], 0);
}

static void test_timer(void)
{
	on_vector(0x40, on_timer);
	*apic(0x3e0) = 0xb;
	*apic(0x320) = 0x40;
	for (uint32_t i = 1; i <= 3; i++) {
		*apic(0x380) = 1000000;
		while (ticks < i)
			__asm__ volatile("sti; hlt; cli" ::: "memory");
		EQUAL(ticks, i);
	}
}

void guest_main(void)
{
	apic_enable();
	test_ports();
	test_mmio();
	test_timer();
}
