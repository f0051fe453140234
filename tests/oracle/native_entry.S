/* Enters one instruction with all of a machine's state loaded, and comes back with all of it saved.
 *
 * int native_enter(void): loads native_context.in, jumps to its rip. The instruction is followed by a jump
 * to native_return, or reaches native_return_taken by a branch, or faults: the signal handler then
 * resumes at native_fault_return.
 */
#include "tests/oracle/machine.h"

#define IN(field)  native_context + CONTEXT_IN + field(%rip)
#define OUT(field) native_context + CONTEXT_OUT + field(%rip)
#define CTX(field) native_context + field(%rip)
#define IN_GPR(n)  native_context + CONTEXT_IN + MACHINE_GPR + 8 * (n)(%rip)
#define OUT_GPR(n) native_context + CONTEXT_OUT + MACHINE_GPR + 8 * (n)(%rip)

	.text
	.globl native_enter
	.type native_enter, @function
native_enter:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	sub $8, %rsp
	mov %rsp, CTX(CONTEXT_HOST_RSP)
	rdfsbase %rax
	mov %rax, CTX(CONTEXT_HOST_FS)
	mov IN(MACHINE_GS), %rax
	wrgsbase %rax
	mov CTX(CONTEXT_MASK), %eax
	xor %edx, %edx
	xrstor64 IN(MACHINE_XSAVE)
	push IN(MACHINE_RFLAGS)
	popfq
	mov IN_GPR(0), %rax
	mov IN_GPR(1), %rcx
	mov IN_GPR(2), %rdx
	mov IN_GPR(3), %rbx
	mov IN_GPR(4), %rsp
	mov IN_GPR(5), %rbp
	mov IN_GPR(6), %rsi
	mov IN_GPR(7), %rdi
	mov IN_GPR(8), %r8
	mov IN_GPR(9), %r9
	mov IN_GPR(10), %r10
	mov IN_GPR(11), %r11
	mov IN_GPR(12), %r12
	mov IN_GPR(13), %r13
	mov IN_GPR(14), %r14
	mov IN_GPR(15), %r15
	jmp *CTX(CONTEXT_LEAP)

	.globl native_leap_64
native_leap_64:
	jmp *IN(MACHINE_RIP)
	.globl native_leap_32
native_leap_32:
	ljmp *CTX(CONTEXT_FAR)

	.globl native_return_taken
native_return_taken:
	movl $1, CTX(CONTEXT_LANDED)
	.globl native_return
native_return:
	mov %rax, OUT_GPR(0)
	mov %rcx, OUT_GPR(1)
	mov %rdx, OUT_GPR(2)
	mov %rbx, OUT_GPR(3)
	mov %rsp, OUT_GPR(4)
	mov %rbp, OUT_GPR(5)
	mov %rsi, OUT_GPR(6)
	mov %rdi, OUT_GPR(7)
	mov %r8, OUT_GPR(8)
	mov %r9, OUT_GPR(9)
	mov %r10, OUT_GPR(10)
	mov %r11, OUT_GPR(11)
	mov %r12, OUT_GPR(12)
	mov %r13, OUT_GPR(13)
	mov %r14, OUT_GPR(14)
	mov %r15, OUT_GPR(15)
	mov CTX(CONTEXT_HOST_RSP), %rsp
	pushfq
	pop OUT(MACHINE_RFLAGS)
	pushq $0x202
	popfq
	mov CTX(CONTEXT_MASK), %eax
	xor %edx, %edx
	xsave64 OUT(MACHINE_XSAVE)
	rdfsbase %rax
	mov %rax, OUT(MACHINE_FS)
	rdgsbase %rax
	mov %rax, OUT(MACHINE_GS)
	mov CTX(CONTEXT_HOST_FS), %rax
	wrfsbase %rax
	xor %eax, %eax

leave:
	fninit
	ldmxcsr CTX(CONTEXT_MXCSR)
	add $8, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

	.globl native_fault_return
native_fault_return:
	pushq $0x202 /* the signal's return has left ID and NT as they were */
	popfq
	mov $1, %eax
	jmp leave
	.size native_enter, . - native_enter

	.section .note.GNU-stack, "", @progbits
