/* The smallest guests, entered by PVH (an ELF note) in 32-bit protected mode. Built as one of
 *
 *     -DEXIT    leaves through isa-debug-exit at once: how long does it take to get here?
 *     -DSPIN    does nothing for ever: how much memory does a machine take that has done nothing?
 *     -DLOOP=N  goes N times through a loop of four instructions, in 64-bit mode, and leaves: how fast is that?
 */
	.section .note.GNU-stack, "", @progbits
	.section .note.Xen, "a", @note
	.long 4, 4, 18			/* name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long pvh_entry

	.section .text, "ax"
	.code32
	.globl pvh_entry
pvh_entry:
#ifdef SPIN
1:	pause
	jmp	1b
#endif
#ifdef LOOP
	lgdt	gdt_pointer
	movl	$pdpt + 3, pml4
	movl	$0x83, pdpt		/* present, writable, 1 GiB */
	movl	%cr4, %eax
	orl	$0x20, %eax		/* PAE */
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx
	rdmsr
	orl	$0x100, %eax		/* LME */
	wrmsr
	movl	%cr0, %eax
	orl	$0x80000000, %eax	/* PG */
	movl	%eax, %cr0
	ljmp	$0x08, $long_mode
	.code64
long_mode:
	movl	$LOOP, %ecx
2:	addl	%ecx, %eax
	xorl	%eax, %edx
	decl	%ecx
	jnz	2b
#endif
	movl	$32, %eax		/* exit status 65, which is no failure's */
	movw	$0xf4, %dx
	outl	%eax, %dx
3:	hlt
	jmp	3b

	.section .data
	.balign 8
gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* 08: 64-bit code */
gdt_pointer:
	.word	15
	.long	gdt

	.section .bss
	.balign 4096
pml4:	.skip 4096
pdpt:	.skip 4096
