/* Entry of every test guest: PVH (ELF note), 32-bit protected mode, to 64-bit C with the first 4 GiB mapped.
 * Also the start-up code of the other processors (SMP guests copy it below 1 MiB).
 */
	.section .note.Xen, "a", @note
	.long 4, 4, 18			/* name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long pvh_entry

	.section .text.start, "ax"
	.code32
	.globl pvh_entry
pvh_entry:
	cli
	cld
	movl	%ebx, start_info
	movl	$boot_stack_top, %esp
	lgdt	gdt_pointer
	/* Page tables: 4 GiB by 2 MiB pages. */
	movl	$pml4, %edi
	movl	$pdpt + 7, (%edi)
	movl	$pdpt, %edi
	movl	$pds + 7, %eax
	movl	$4, %ecx
1:	movl	%eax, (%edi)
	addl	$8, %edi
	addl	$4096, %eax
	loop	1b
	movl	$pds, %edi
	movl	$0x83, %eax		/* present, writable, 2 MiB */
	movl	$2048, %ecx
2:	movl	%eax, (%edi)
	addl	$8, %edi
	addl	$0x200000, %eax
	loop	2b
	/* The first GiB again for user mode, 4 GiB higher (guest.h: USER). */
	movl	$pds_user + 7, pdpt + 4 * 8
	movl	$pds_user, %edi
	movl	$0x87, %eax
	movl	$512, %ecx
3:	movl	%eax, (%edi)
	addl	$8, %edi
	addl	$0x200000, %eax
	loop	3b
	call	enter_long
	ljmp	$0x08, $long_entry

enter_long:
	movl	%cr4, %eax
	orl	$0x620, %eax		/* PAE, OSFXSR, OSXMMEXCPT */
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx
	rdmsr
	orl	$0x901, %eax		/* SCE, LME, NXE */
	wrmsr
	movl	%cr0, %eax
	andl	$~0x6000000c, %eax	/* CD, NW, EM, TS off */
	orl	$0x80000022, %eax	/* PG, NE, MP */
	movl	%eax, %cr0
	ret

	.code64
long_entry:
	xorl	%eax, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	%eax, %fs
	movl	%eax, %gs
	movq	$boot_stack_top, %rsp
	call	guest_start
3:	hlt
	jmp	3b

/* ---- start of another processor, copied to 0x8000 ---- */
	.code16
	.globl ap_start, ap_start_end
ap_start:
	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	lgdtl	ap_gdt_pointer - ap_start + 0x8000
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$0x18, $ap_protected - ap_start + 0x8000
	.code32
ap_protected:
	movw	$0x20, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	/* A stack each, handed out by an atomic counter. */
	movl	$1, %eax
	lock xaddl %eax, ap_count
	shll	$14, %eax
	leal	ap_stacks + 0x4000(%eax), %esp
	movl	$enter_long, %eax
	call	*%eax
	ljmp	$0x08, $ap_long
	.balign 8
ap_gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
ap_start_end:
	.code64
ap_long:
	xorl	%eax, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	call	guest_ap_start
4:	cli
	hlt
	jmp	4b

/* ---- exceptions: 256 stubs of 16 bytes ---- */
	.balign 16
	.globl vector_stubs
vector_stubs:
	.set vector, 0
	.rept 256
	.balign 16
	.if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
	pushq	$0
	.endif
	pushq	$vector
	jmp	vector_common
	.set vector, vector + 1
	.endr
	.balign 16
vector_common:
	pushq	%rax; pushq %rcx; pushq %rdx; pushq %rbx; pushq %rbp; pushq %rsi; pushq %rdi
	pushq	%r8; pushq %r9; pushq %r10; pushq %r11; pushq %r12; pushq %r13; pushq %r14; pushq %r15
	movq	%rsp, %rdi
	cld
	call	handle_vector
	popq	%r15; popq %r14; popq %r13; popq %r12; popq %r11; popq %r10; popq %r9; popq %r8
	popq	%rdi; popq %rsi; popq %rbp; popq %rbx; popq %rdx; popq %rcx; popq %rax
	addq	$16, %rsp
	iretq

/* uint64_t catch_call(void (*fn)(uint64_t), uint64_t arg): 0, or 1 after an exception (caught by handle_vector). */
	.globl catch_call, catch_resume
catch_call:
	pushq	%rbx; pushq %rbp; pushq %r12; pushq %r13; pushq %r14; pushq %r15
	movq	%rsp, catch_rsp
	movq	%rdi, %rax
	movq	%rsi, %rdi
	call	*%rax
	movq	$0, catch_rsp
	xorl	%eax, %eax
	jmp	5f
catch_resume:
	movl	$1, %eax
5:	popq	%r15; popq %r14; popq %r13; popq %r12; popq %rbp; popq %rbx
	ret

	.section .data
	.balign 16
	.globl gdt, gdt_end, start_info, catch_rsp, ap_count
gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* 08: 64-bit code */
	.quad 0x00af93000000ffff	/* 10: data */
	.quad 0x00cf9b000000ffff	/* 18: 32-bit code */
	.quad 0x00cf93000000ffff	/* 20: 32-bit data */
	.quad 0x00cffb000000ffff	/* 28: user 32-bit code */
	.quad 0x00cff3000000ffff	/* 30: user data */
	.quad 0x00affb000000ffff	/* 38: user 64-bit code */
	.quad 0, 0			/* 40: TSS */
	.quad 0x000f9b000000ffff	/* 50: 16-bit code */
	.quad 0x000f93000000ffff	/* 58: 16-bit data */
	.quad 0, 0, 0, 0		/* 60..: free for tests */
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
	.long	0
	.balign 8
start_info:	.quad 0
catch_rsp:	.quad 0
ap_count:	.long 0

	.section .bss
	.balign 4096
	.globl pml4, pdpt, pds, ap_stacks
pml4:	.skip 4096
pdpt:	.skip 4096
pds:	.skip 4 * 4096
pds_user: .skip 4096
boot_stack:
	.skip 65536
boot_stack_top:
ap_stacks:
	.skip 64 * 0x4000
