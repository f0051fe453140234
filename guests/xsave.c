/* CPUID leaf 0xd against XCR0 (SDM volume 1, 13.2): kernels compute the size of the XSAVE area themselves and distrust a
 * processor that says otherwise.
 */
#include "guest.h"

const char guest_name[] = "xsave";

static void xsetbv(uint64_t value)
{
	__asm__ volatile("xsetbv" ::"c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

/* What the components of mask take in the standard format. */
static uint32_t area_size(uint64_t mask)
{
	uint32_t size = 576, r[4];

	for (uint32_t i = 2; i < 63; i++) {
		if (!(mask >> i & 1))
			continue;
		cpuid(0xd, i, r);
		CHECK(r[0] != 0);
		CHECK(r[1] >= 576);
		CHECK(!(r[2] & 1)); /* of XCR0, not of IA32_XSS */
		if (r[0] + r[1] > size)
			size = r[0] + r[1];
	}
	return size;
}

void guest_main(void)
{
	uint32_t r[4], features[4];
	uint64_t all;

	cpuid(1, 0, r);
	if (!(r[2] & 1 << 26))
		return;
	CHECK(!(r[2] & 1 << 27));
	WRITE_CR(4, READ_CR(4) | 1 << 18);
	cpuid(1, 0, r);
	CHECK(r[2] & 1 << 27);

	cpuid(0xd, 0, r);
	all = (uint64_t)r[3] << 32 | r[0];
	EQUAL(all & 3, 3);
	EQUAL(r[2], area_size(all));
	xsetbv(3);
	cpuid(0xd, 0, r);
	EQUAL(r[1], 576);
	xsetbv(all);
	cpuid(0xd, 0, r);
	EQUAL(r[1], area_size(all));
	/* Component and feature come together. */
	cpuid(1, 0, features);
	EQUAL(features[2] >> 28 & 1, all >> 2 & 1);
	cpuid(7, 0, features);
	EQUAL(features[2] >> 3 & 1, all >> 9 & 1);
	if (all & 4) {
		xsetbv(7);
		cpuid(0xd, 0, r);
		EQUAL(r[1], area_size(7));
	}
}
