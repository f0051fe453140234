/* A machine for the isolation fuzz: an engine, guest RAM, page tables that the fuzz writes.
 *
 * Two of them, one of the interpreter and one of the translator, are given the same RAM and state, and run until they
 * arrive at `end` or fault.
 *
 * Example:
 *     subject_create(&subject, &dbt_engine);
 *     memcpy(subject.ram, image, SUBJECT_RAM);
 *     subject_reset(&subject, &state, supervisor);
 *     while (!subject_run(&subject, end, &fault)) ...
 */
#ifndef TESTS_DBT_SUBJECT_H
#define TESTS_DBT_SUBJECT_H

#include "arch/x86_64/cpuid.h"
#include "core/vm.h"
#include "engine/interp/x86_64/cpu.h"

#define SUBJECT_RAM KIB(512)

struct subject {
	struct vm vm;
	struct vcpu vcpu;
	struct x86_cpuid_table cpuid;
	struct vm_exit exit;
	struct cpu *cpu;
	uint8_t *ram;
};

struct fault {
	unsigned vector;
	uint32_t error;
	uint64_t cr2;
};

/* False with a message. */
bool subject_create(struct subject *subject, const struct engine_ops *engine);
void subject_destroy(struct subject *subject);
/* RAM and page tables have been written anew: the processor with this state, in 64-bit mode. */
void subject_reset(struct subject *subject, const struct x86_state *state);
/* True: arrived at `end`. False: a fault, not delivered; s.rip is the instruction's. */
bool subject_run(struct subject *subject, uint64_t end, struct fault *fault);
/* All of the state is in cpu->s from here to the next run. */
void subject_collect(struct subject *subject);

#endif
