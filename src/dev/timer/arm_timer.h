/* The generic timer of each AArch64 processor at EL1 (DDI 0487 D11): physical and virtual timer, each an interrupt whose level is
 * enabled && !masked && counter >= CVAL. Registers are in the table of msr_handlers under their A64_SYSREG_KEY (CNTP_*_EL0, CNTV_*_EL0);
 * the counters themselves engines read by arm_counter().
 *
 * Example:
 *     struct arm_timer_lines lines[VM_MAX_VCPUS];
 *     for (unsigned i = 0; i < vm->vcpu_count; i++)
 *         lines[i] = (struct arm_timer_lines){.physical = gicv3_ppi(gic, i, 30), .virtual = gicv3_ppi(gic, i, 27)};
 *     r = arm_timer_create(vm, lines, &timer);
 */
#ifndef DEV_TIMER_ARM_TIMER_H
#define DEV_TIMER_ARM_TIMER_H

#include "base/types.h"
#include "core/irq.h"

#define ARM_TIMER_HZ 62500000u /* CNTFRQ_EL0: a tick is 16 ns */

struct arm_timer;

struct arm_timer_lines {
	struct irq_line physical, virtual;
};

/* CNTPCT_EL0: ticks of the house's clock since the VM began. Any thread. */
uint64_t arm_counter(const struct vm *vm);

/* One of lines for each of vm->vcpus. A device of the vm. -ENOMEM, or what the registries say. */
int arm_timer_create(struct vm *vm, const struct arm_timer_lines *lines, struct arm_timer **timer) must_check;

/* CNTVOFF_EL2: the virtual counter is the physical one minus this. 0 at reset. The vcpu's own thread. */
void arm_timer_set_virtual_offset(struct arm_timer *timer, struct vcpu *vcpu, uint64_t offset);

#endif
