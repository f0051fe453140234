/* The interpreter's entry, for engine.c. */
#ifndef ENGINE_INTERP_X86_64_RUN_H
#define ENGINE_INTERP_X86_64_RUN_H

struct vcpu;
struct vm_exit;

/* engine_ops.run */
int interp_x86_run(struct vcpu *vcpu, struct vm_exit *exit);

#endif
