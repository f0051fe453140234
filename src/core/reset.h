/* Private to core: how the vcpu loop tells the machine reset that a processor has parked.
 *
 * Example: `if (request & VCPU_REQ_RESET) vm_reset_arrive(vcpu);`
 */
#ifndef CORE_RESET_H
#define CORE_RESET_H

struct vm;
struct vcpu;

/* Asks for a machine reset; more asking while one is under way does nothing. Any thread. */
void vm_reset_request(struct vm *vm);
/* The vcpu has VCPU_REQ_RESET and is out of its engine; it now stays so until VCPU_REQ_HELD is gone. The
 * last one to arrive starts the reset. */
void vm_reset_arrive(struct vcpu *vcpu);
/* The I/O thread's part; runs as vm->reset_work. */
void vm_reset_run(void *vm);

#endif
