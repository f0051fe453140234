/* Code that changes: it is executed as it is after DC CVAU, IC IVAU, DSB and ISB (DDI 0487 B2.7.4), wherever it was executed before.
 */
#include "guest.h"

const char guest_name[] = "selfmod";

static uint32_t code[2048] __attribute__((aligned(4096)));

static void flush(const void *at)
{
	__asm__ volatile("dc cvau, %0\n dsb ish\n ic ivau, %0\n dsb ish\n isb" ::"r"(at) : "memory");
}

/* movz x0, #n; ret */
static void write(unsigned index, unsigned n)
{
	code[index] = 0xd2800000 | n << 5;
	code[index + 1] = 0xd65f03c0;
	flush(&code[index]);
	flush(&code[index + 1]);
}

static uint64_t call(const void *at)
{
	uint64_t (*function)(void) = (uint64_t(*)(void))(uintptr_t)at;

	return function();
}

static void changes(void)
{
	for (unsigned i = 0; i < 2000; i++) {
		write(0, i & 0xffff);
		check("changed", call(code), i);
	}
	for (unsigned i = 0; i < 200; i++)
		write(i * 8, i);
	for (unsigned i = 0; i < 200; i++)
		check("many on a page", call(&code[i * 8]), i);
}

/* One instruction is changed by another of the same page, just before it comes. */
static void next_one(void)
{
	static const uint32_t template[] = {
		0xb9000001, /* str w1, [x0] */
		0xd50b7b20, /* dc cvau, x0 */
		0xd5033b9f, /* dsb ish */
		0xd50b7520, /* ic ivau, x0 */
		0xd5033b9f, /* dsb ish */
		0xd5033fdf, /* isb */
		0xd2800020, /* mov x0, #1: is changed */
		0xd65f03c0, /* ret */
	};
	uint64_t (*const function)(uint32_t *, uint32_t) = (uint64_t(*)(uint32_t *, uint32_t))(uintptr_t)(code + 1024);

	for (unsigned i = 0; i < 8; i++) {
		code[1024 + i] = template[i];
		flush(&code[1024 + i]);
	}
	for (unsigned n = 0; n < 100; n++)
		check("the next instruction", function(&code[1024 + 6], 0xd2800000 | n << 5), n);
}

static uint64_t level2[512] __attribute__((aligned(4096))), level3[512] __attribute__((aligned(4096)));
#define ALIAS 0x80000000ull

/* Changed by another address of the same page. */
static void by_alias(void)
{
	level3[0] = (uint64_t)code | 0x703;
	level2[0] = (uint64_t)level3 | 3;
	level1[2] = (uint64_t)level2 | 3;
	tlb_flush();
	for (unsigned i = 0; i < 200; i++) {
		write(0, i);
		check("by another address", call((void *)ALIAS), i);
	}
	/* Another page comes to the address. */
	code[1024] = 0xd2800000 | 4321 << 5;
	code[1025] = 0xd65f03c0;
	flush(&code[1024]);
	level3[0] = (uint64_t)(code + 1024) | 0x703;
	__asm__ volatile("dsb ishst\n tlbi vaae1is, %0\n dsb ish\n isb" ::"r"(ALIAS >> 12) : "memory");
	check("another page at the address", call((void *)ALIAS), 4321);
}

void guest_main(void)
{
	changes();
	next_one();
	by_alias();
}
