/* From the loader to guest_start(), and what exceptions are saved by. Processors besides the first come in at secondary_entry.
 */
	.section .head, "ax"
	.global	image_header
image_header:
	b	start
	.word	0
	.quad	0x200000		/* text_offset */
	.quad	image_size
	.quad	2			/* little endian, 4 KiB pages */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.word	0

	.text
start:
	/* R_AARCH64_RELATIVE alone: what has an address gets where we are added. */
	adrp	x1, image_begin
	adrp	x2, rela_begin
	add	x2, x2, :lo12:rela_begin
	adrp	x3, rela_end
	add	x3, x3, :lo12:rela_end
1:	cmp	x2, x3
	b.hs	2f
	ldp	x4, x5, [x2], #16
	ldr	x6, [x2], #8
	add	x6, x6, x1
	str	x6, [x1, x4]
	b	1b
2:	adrp	x2, bss_begin
	add	x2, x2, :lo12:bss_begin
	adrp	x3, bss_end
	add	x3, x3, :lo12:bss_end
3:	cmp	x2, x3
	b.hs	4f
	stp	xzr, xzr, [x2], #16
	b	3b
4:	adrp	x2, stacks
	add	x2, x2, :lo12:stacks
	add	x2, x2, #0x4000
	mov	sp, x2
	mov	x0, #0
	bl	prepare
	bl	guest_start
	b	.

/* By PSCI's CPU_ON: x0 is the processor's number. */
	.global	secondary_entry
secondary_entry:
	adrp	x2, stacks
	add	x2, x2, :lo12:stacks
	add	x3, x0, #1
	add	x2, x2, x3, lsl #14
	mov	sp, x2
	mov	x19, x0
	bl	prepare
	mov	x0, x19
	bl	secondary_start
	b	.

prepare:
	mov	x1, #3 << 20
	msr	cpacr_el1, x1
	msr	tpidr_el1, x0
	adr	x1, vectors
	msr	vbar_el1, x1
	isb
	ret

	.macro	vector, number
	.balign	128
	sub	sp, sp, #288
	stp	x0, x1, [sp]
	mov	x1, #\number
	b	save
	.endm

	.balign	2048
vectors:
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	vector	\n
	.endr

/* struct frame of guest.h */
save:
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	stp	x18, x19, [sp, #144]
	stp	x20, x21, [sp, #160]
	stp	x22, x23, [sp, #176]
	stp	x24, x25, [sp, #192]
	stp	x26, x27, [sp, #208]
	stp	x28, x29, [sp, #224]
	mrs	x2, elr_el1
	mrs	x3, spsr_el1
	stp	x30, x2, [sp, #240]
	mrs	x4, sp_el0
	stp	x3, x4, [sp, #256]
	mov	x0, sp
	bl	exception
	ldp	x3, x4, [sp, #256]
	ldp	x30, x2, [sp, #240]
	msr	elr_el1, x2
	msr	spsr_el1, x3
	msr	sp_el0, x4
	ldp	x28, x29, [sp, #224]
	ldp	x26, x27, [sp, #208]
	ldp	x24, x25, [sp, #192]
	ldp	x22, x23, [sp, #176]
	ldp	x20, x21, [sp, #160]
	ldp	x18, x19, [sp, #144]
	ldp	x16, x17, [sp, #128]
	ldp	x14, x15, [sp, #112]
	ldp	x12, x13, [sp, #96]
	ldp	x10, x11, [sp, #80]
	ldp	x8, x9, [sp, #64]
	ldp	x6, x7, [sp, #48]
	ldp	x4, x5, [sp, #32]
	ldp	x2, x3, [sp, #16]
	ldp	x0, x1, [sp]
	add	sp, sp, #288
	eret

/* uint64_t user(uint64_t pc, uint64_t x0): at EL0 until there is an exception that nobody handles; x0 then. */
	.global	user
user:
	stp	x29, x30, [sp, #-96]!
	stp	x19, x20, [sp, #16]
	stp	x21, x22, [sp, #32]
	stp	x23, x24, [sp, #48]
	stp	x25, x26, [sp, #64]
	stp	x27, x28, [sp, #80]
	adrp	x2, user_stack_pointer
	mov	x3, sp
	str	x3, [x2, #:lo12:user_stack_pointer]
	msr	elr_el1, x0
	mov	x2, #0x3c0
	msr	spsr_el1, x2
	mov	x0, x1
	eret

/* exception() returns here with a frame of EL0 that is not to go on. */
	.global	user_return
user_return:
	adrp	x2, user_stack_pointer
	ldr	x3, [x2, #:lo12:user_stack_pointer]
	mov	sp, x3
	ldp	x27, x28, [sp, #80]
	ldp	x25, x26, [sp, #64]
	ldp	x23, x24, [sp, #48]
	ldp	x21, x22, [sp, #32]
	ldp	x19, x20, [sp, #16]
	ldp	x29, x30, [sp], #96
	ret

	.bss
	.balign	16
	.global	stacks
stacks:	.skip	8 * 0x4000
	.global	user_stack
user_stack:
	.skip	0x1000
	.balign	8
user_stack_pointer:
	.quad	0
