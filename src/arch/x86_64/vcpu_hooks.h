/* What the vcpu loop of core/ asks of x86: INIT, start-up IPI, the activity state.
 *
 * Example, in a board: `vm->arch_ops = &x86_vcpu_ops;`
 */
#ifndef ARCH_X86_64_VCPU_HOOKS_H
#define ARCH_X86_64_VCPU_HOOKS_H

#include "core/vcpu.h"

extern const struct vcpu_arch_ops x86_vcpu_ops;

#endif
