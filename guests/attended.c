/* A guest that waits to be attended to, for tests/cli/control.py: it says on its serial port that it is there, sends every letter that
 * it gets back as a capital, counts in memory, and powers off when somebody presses the power button.
 */
#include "guest.h"

const char guest_name[] = "attended";

volatile uint64_t count;

static void say(uint8_t c)
{
	while (!(inb(0x3fd) & 0x20)) {
	}
	outb(0x3f8, c);
}

static void echo(void)
{
	uint8_t c;

	if (!(inb(0x3fd) & 1))
		return;
	c = inb(0x3f8);
	say(c >= 'a' && c <= 'z' ? (uint8_t)(c - 32) : c);
}

static uint32_t events(void)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"((uint16_t)0x604));
	return value;
}

void guest_main(void)
{
	for (const char *c = "attended\n"; *c; c++)
		say((uint8_t)*c);
	for (;;) {
		count++;
		echo();
		if (events() & 1)
			outb(0x600, 5 << 2 | 0x20); /* S5 */
	}
}
