/* The MC146818 real-time clock and its CMOS memory at ports 0x70 and 0x71: time of day from the platform's wall
 * clock, periodic, alarm and update-ended interrupts.
 *
 * Example: `r = rtc_create(vm, irqchip_line(chip, 8), &rtc);`   `rtc_set_cmos(rtc, 0x5f, cpus - 1);`
 */
#ifndef DEV_TIMER_RTC_H
#define DEV_TIMER_RTC_H

#include "core/irq.h"

struct rtc;

/* rtc may be NULL. Memory sizes are put where a PC's firmware leaves them (0x15..0x18, 0x30, 0x31, 0x34, 0x35,
 * 0x5b..0x5d) from vm->mem. */
int rtc_create(struct vm *vm, struct irq_line irq, struct rtc **rtc) must_check;
/* A byte of CMOS memory, index 0x0e..0x7f; survives reset. */
void rtc_set_cmos(struct rtc *rtc, uint8_t index, uint8_t value);

#endif
