/* A small machine for device tests: vcpus that never execute, some RAM, ports and MSRs reached the way an engine's
 * exits reach them.
 *
 * Example:
 *     struct vm *vm = machine_create(2);
 *     assert_int_equal(lapics_create(vm, NULL, NULL, NULL), 0);
 *     machine_write(vm, 0, 0xfee000f0, 4, 0x1ff);
 *     machine_destroy(vm);
 */
#ifndef TESTS_UNIT_FAKE_MACHINE_H
#define TESTS_UNIT_FAKE_MACHINE_H

#include "core/vm.h"
#include "fake_platform.h"

#define MACHINE_RAM_SIZE 0x100000u

struct vm *machine_create(unsigned cpus);
void machine_destroy(struct vm *vm);

void machine_out(struct vm *vm, uint16_t port, unsigned size, uint32_t value);
uint32_t machine_in(struct vm *vm, uint16_t port, unsigned size);
void machine_write(struct vm *vm, unsigned cpu, uint64_t gpa, unsigned size, uint64_t value);
uint64_t machine_read(struct vm *vm, unsigned cpu, uint64_t gpa, unsigned size);
/* False: #GP. */
bool machine_wrmsr(struct vm *vm, unsigned cpu, uint32_t index, uint64_t value);
bool machine_rdmsr(struct vm *vm, unsigned cpu, uint32_t index, uint64_t *value);

/* The far end of an interrupt line. */
struct irq_probe {
	int level;
	unsigned rises;
};
struct irq_line irq_probe_line(struct irq_probe *probe);

#endif
