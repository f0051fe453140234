/* Two cascaded 8259A interrupt controllers at ports 0x20, 0xa0, with the ELCR at 0x4d0 (Intel 8259A data sheet).
 *
 * Example: `r = pic_create(vm, output, chip, &pic);`   `pic_set(pic, 4, 1);`   `vector = pic_acknowledge(pic);`
 */
#ifndef DEV_IRQ_PIC_H
#define DEV_IRQ_PIC_H

#include "base/types.h"

struct vm;
struct pic;

/* output: the INTR pin of the first controller changed; called with the PIC's lock held. */
int pic_create(struct vm *vm, void (*output)(void *ctx, bool level), void *ctx, struct pic **pic) must_check;
/* irq 0..15; any thread. */
void pic_set(struct pic *pic, unsigned irq, int level);
/* The INTR pin now. Cheap; any thread. */
bool pic_output(const struct pic *pic);
/* The vector that acknowledging would give now; changes nothing. */
uint8_t pic_peek(struct pic *pic);
/* The INTA cycle: the vector (of IRQ 7 when the request has gone: a spurious interrupt). */
uint8_t pic_acknowledge(struct pic *pic);

#endif
