/* run_case(before, after): executes the word at CODE_ADDRESS with all registers as `before` has them, and puts what they are then into
 * `after`. Returns whether it went on two words further. case.h has the layout.
 *
 * TPIDR_EL0 keeps x0 on the way back, and gets its own value again.
 */
#define SP_AT   (31 * 8)
#define NZCV_AT (32 * 8)
#define FPCR_AT (33 * 8)
#define FPSR_AT (34 * 8)
#define V_AT    (36 * 8)

	.text
	.global	run_case
	.type	run_case, %function
run_case:
	stp	x29, x30, [sp, #-176]!
	stp	x19, x20, [sp, #16]
	stp	x21, x22, [sp, #32]
	stp	x23, x24, [sp, #48]
	stp	x25, x26, [sp, #64]
	stp	x27, x28, [sp, #80]
	stp	d8, d9, [sp, #96]
	stp	d10, d11, [sp, #112]
	stp	d12, d13, [sp, #128]
	stp	d14, d15, [sp, #144]
	adrp	x9, saved
	add	x9, x9, :lo12:saved
	mov	x10, sp
	mrs	x11, tpidr_el0
	stp	x10, x11, [x9]
	str	x1, [x9, #16]

	clrex
	ldr	x9, [x0, #NZCV_AT]
	msr	nzcv, x9
	ldr	x9, [x0, #FPCR_AT]
	msr	fpcr, x9
	ldr	x9, [x0, #FPSR_AT]
	msr	fpsr, x9
	add	x9, x0, #V_AT
	.irp	n, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28
	ldr	q\n, [x9, #16 * \n]
	.endr
	.irp	n, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 30, 31
	ldr	q\n, [x9, #16 * \n]
	.endr
	ldr	x9, [x0, #SP_AT]
	mov	sp, x9
	.irp	n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
	ldr	x\n, [x0, #8 * \n]
	.endr
	ldr	x0, [x0]
	b	case_code

	/* x0 is the one register to begin with; x1 says where it came from. */
	.macro	come_back, taken
	msr	tpidr_el0, x0
	adrp	x0, saved
	ldr	x0, [x0, #:lo12:saved + 16]
	str	x1, [x0, #8]
	mov	x1, #\taken
	b	store_all
	.endm
case_back:
	come_back 0
case_back_taken:
	come_back 1

store_all:
	.irp	n, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
	str	x\n, [x0, #8 * \n]
	.endr
	mrs	x2, tpidr_el0
	str	x2, [x0]
	mov	x2, sp
	str	x2, [x0, #SP_AT]
	mrs	x2, nzcv
	str	x2, [x0, #NZCV_AT]
	mrs	x2, fpcr
	str	x2, [x0, #FPCR_AT]
	mrs	x2, fpsr
	str	x2, [x0, #FPSR_AT]
	add	x2, x0, #V_AT
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	str	q\n, [x2, #16 * \n]
	.endr
	mov	x0, x1
	.global	leave_case
	.type	leave_case, %function
	/* With x0 as the result of run_case(): signal handlers come here, too. */
leave_case:
	adrp	x9, saved
	add	x9, x9, :lo12:saved
	ldp	x10, x11, [x9]
	mov	sp, x10
	msr	tpidr_el0, x11
	msr	fpcr, xzr
	ldp	x19, x20, [sp, #16]
	ldp	x21, x22, [sp, #32]
	ldp	x23, x24, [sp, #48]
	ldp	x25, x26, [sp, #64]
	ldp	x27, x28, [sp, #80]
	ldp	d8, d9, [sp, #96]
	ldp	d10, d11, [sp, #112]
	ldp	d12, d13, [sp, #128]
	ldp	d14, d15, [sp, #144]
	ldp	x29, x30, [sp], #176
	ret
	.size	run_case, . - run_case

	/* At CODE_ADDRESS: where the linker is told to put it. */
	.section .case, "awx", %progbits
	.balign	4096
	.global	case_code
case_code:
	nop
	b	case_back
	b	case_back_taken
	.fill	1021, 4, 0

	.data
	.balign	8
saved:	.quad	0, 0, 0
