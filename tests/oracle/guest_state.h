/* Private to the oracle's guests: guest.c and translated.c. */
#ifndef TESTS_ORACLE_GUEST_STATE_H
#define TESTS_ORACLE_GUEST_STATE_H

#include "tests/oracle/guest.h"
#include "arch/x86_64/cpuid.h"
#include "core/vm.h"
#include "engine/interp/x86_64/cpu.h"

#define RAM_SIZE MIB(1)
#define CODE_GPA 0x20000u
#define DATA_GPA 0x30000u

struct guest {
	uint8_t *ram;
	uint64_t next_table;
	uint64_t code_base;
	struct vm vm;
	struct vcpu vcpu;
	struct x86_cpuid_table cpuid;
	struct vm_exit exit;
	struct cpu *cpu;
};

void guest_load(struct cpu *cpu, const struct machine *in);
void guest_save(struct cpu *cpu, struct machine *out);
/* cpu->event as an outcome. */
void guest_fault(const struct cpu *cpu, struct outcome *outcome);
uint64_t *guest_pte(struct guest *guest, uint64_t gva);

#endif
