/* Between FXSAVE's image (SDM 1 table 10-2) and struct x86_fpu's x87 part. */
#ifndef ENGINE_DBT_X87_IMAGE_H
#define ENGINE_DBT_X87_IMAGE_H

#include "arch/x86_64/state.h"

/* The instruction and data pointers of the image are the host's and are not taken over. */
void x87_image_get(const uint8_t image[512], struct x86_fpu *fpu);
void x87_image_put(uint8_t image[512], const struct x86_fpu *fpu);

#endif
