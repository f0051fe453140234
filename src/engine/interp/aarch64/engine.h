/* What engines that are built around the AArch64 interpreter share: hooks of engine_ops (core/engine.h) for a vcpu that begins with a
 * struct a64_cpu.
 *
 * Example: `const struct engine_ops engine = {.run = a64_engine_run, .get_state = a64_get_state, ...};`
 */
#ifndef ENGINE_INTERP_AARCH64_ENGINE_H
#define ENGINE_INTERP_AARCH64_ENGINE_H

#include "engine/interp/aarch64/cpu.h"

/* A zeroed struct a64_cpu becomes vcpu's at power-on; vm->engine_vm is a64_vm_init()'s. -ENOMEM; then, too, a64_cpu_destroy() is due. */
int a64_cpu_init(struct a64_cpu *cpu, struct vcpu *vcpu) must_check;
void a64_cpu_destroy(struct a64_cpu *cpu);

int a64_vm_init(struct vm *vm, char *why, size_t why_size) must_check;
void a64_vm_destroy(struct vm *vm);
int a64_engine_run(struct vcpu *vcpu, struct vm_exit *exit) must_check;
int a64_get_state(struct vcpu *vcpu, union arch_state *state) must_check;
int a64_set_state(struct vcpu *vcpu, const union arch_state *state) must_check;
void a64_invalidate(struct vm *vm, gpa_t gpa, uint64_t len);
int a64_dirty_sync(struct vm *vm) must_check;

#endif
