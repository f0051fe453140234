#include "engine/dbt/x87_image.h"
#include "base/string.h"

#define MXCSR_DEFAULT 0x1f80u

void x87_image_get(const uint8_t image[512], struct x86_fpu *fpu)
{
	unsigned top;

	memcpy(&fpu->fcw, image, 2);
	memcpy(&fpu->fsw, image + 2, 2);
	fpu->ftw = image[4];
	memcpy(&fpu->fop, image + 6, 2);
	fpu->fop &= 0x7ff;
	top = fpu->fsw >> 11 & 7;
	for (unsigned i = 0; i < 8; i++) {
		struct x86_float80 *r = &fpu->r[(top + i) & 7];

		memcpy(&r->mantissa, image + 32 + 16 * i, 8);
		memcpy(&r->exponent, image + 40 + 16 * i, 2);
	}
}

void x87_image_put(uint8_t image[512], const struct x86_fpu *fpu)
{
	unsigned top = fpu->fsw >> 11 & 7;
	uint32_t mxcsr = MXCSR_DEFAULT;

	memset(image, 0, 512);
	memcpy(image, &fpu->fcw, 2);
	memcpy(image + 2, &fpu->fsw, 2);
	image[4] = fpu->ftw;
	memcpy(image + 6, &fpu->fop, 2);
	memcpy(image + 24, &mxcsr, 4);
	for (unsigned i = 0; i < 8; i++) {
		const struct x86_float80 *r = &fpu->r[(top + i) & 7];

		memcpy(image + 32 + 16 * i, &r->mantissa, 8);
		memcpy(image + 40 + 16 * i, &r->exponent, 2);
	}
}
