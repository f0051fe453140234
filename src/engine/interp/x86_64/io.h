/* Accesses that leave the engine, beside those that cpu.h declares.
 */
#ifndef ENGINE_INTERP_X86_64_IO_H
#define ENGINE_INTERP_X86_64_IO_H

#include "engine/interp/x86_64/cpu.h"

/* An MSR that a device or pv/ owns; #GP(0) if its owner refuses. Returns what was read. */
uint64_t cpu_device_msr(struct cpu *cpu, uint32_t index, bool write, uint64_t value);
/* VMCALL/VMMCALL by KVM's convention: number in RAX, arguments in RBX, RCX, RDX, RSI. */
uint64_t cpu_hypercall(struct cpu *cpu);

#endif
