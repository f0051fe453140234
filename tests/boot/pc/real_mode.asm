; What a boot CD finds that stays in real mode: the BIOS's services (screen, equipment, memory, disks and CD, serial port, system,
; keyboard, clock, PCI) and 16-bit code: far calls, interrupt vectors, decimal arithmetic, faults, a trip to protected mode.
; Each check says its name at the serial port, and whether it holds. The host has written each sector's number into its first
; four bytes on disk 80h, and looks at what is written there.
;
; Example: nasm -f bin -o boot.bin real_mode.asm && xorriso -as mkisofs -b boot.bin -no-emul-boot -boot-load-size 16 -o x.iso DIR
bits 16
org 0x7c00

DISK	equ 0x80
BUFFER	equ 0x6000		; 2 KiB
LARGE	equ 0x2000		; a segment, for data
FLAT	equ 8			; of the GDT
CODE16	equ 16
DATA16	equ 24

start:
	jmp 0:.here
.here:
	cli
	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, 0x7000
	sti
	cld
	mov [cd], dl
	mov bx, checks
.next:
	mov si, [bx]
	call say
	push bx
	mov ax, [bx + 2]
	call ax
	pushf
	xor ax, ax
	mov ds, ax
	mov es, ax
	cld
	sti
	popf
	mov si, holds
	jnc .told
	mov si, fails
.told:
	call say
	pop bx
	add bx, 4
	cmp word [bx], 0
	jne .next
	mov si, all
	call say
	call tick
	call tick
	mov eax, 0x8000f840	; PMBASE of the LPC bridge at 0:1f.0
	mov dx, 0xcf8
	out dx, eax
	mov dx, 0xcfc
	in ax, dx
	and ax, 0xff80
	add ax, 4
	mov dx, ax
	mov ax, 0x2000		; PM1_CNT: SLP_EN, SLP_TYP of S5
	out dx, ax
	hlt

; si: text that ends with 0, to the serial port.
say:
	pusha
.char:
	lodsb
	test al, al
	jz .end
	mov ah, 1
	xor dx, dx
	int 0x14
	jmp .char
.end:
	popa
	ret

; ---- the checks: carry means that one fails ----

bad:
	stc
	ret
good:
	clc
	ret

serial_port:			; INT 14h: its line status
	mov ah, 3
	xor dx, dx
	int 0x14
	and ah, 0xe0		; no timeout; transmitter empty
	cmp ah, 0x60
	jne bad
	jmp good

equipment:
	int 0x11
	and ax, 0x0e30		; colour display of 80 columns, two serial ports
	cmp ax, 0x0420
	jne bad
	int 0x12
	cmp ax, 600
	jb bad
	cmp ax, 640
	ja bad
	jmp good

screen:
	mov ax, 3
	int 0x10
	mov ah, 0x0f
	int 0x10
	cmp ax, 80 << 8 | 3
	jne bad
	mov ah, 2		; the cursor to column 10 of line 5
	mov bh, 0
	mov dx, 0x050a
	int 0x10
	mov ax, 0x0900 | 'X'
	mov bx, 0x1e
	mov cx, 3
	int 0x10
	mov ah, 8
	mov bh, 0
	int 0x10
	cmp ax, 0x1e00 | 'X'
	jne bad
	mov ah, 3
	mov bh, 0
	int 0x10
	cmp dx, 0x050a
	jne bad
	push 0xb800
	pop es
	cmp word [es:(5 * 80 + 12) * 2], 0x1e00 | 'X'
	jne bad
	mov ax, 0x0601		; lines 4 to 6 go up by one
	mov bh, 7
	mov cx, 0x0400
	mov dx, 0x064f
	int 0x10
	cmp word [es:(4 * 80 + 12) * 2], 0x1e00 | 'X'
	jne bad
	cmp word [es:(6 * 80) * 2], 0x0700 | ' '
	jne bad
	push ds
	pop es
	mov ax, 0x1301
	mov bx, 0x07
	mov cx, shown.end - shown
	mov dx, 0x0800
	mov bp, shown
	int 0x10
	push 0xb800
	pop es
	cmp word [es:8 * 80 * 2], 0x0700 | 'w'
	jne bad
	mov si, shown		; once more like a terminal, which firmware shows at the serial port
.char:
	lodsb
	mov ah, 0x0e
	mov bx, 7
	int 0x10
	cmp si, shown.end
	jb .char
	call tick
	call tick
	jmp good

vbe:
	mov di, BUFFER
	mov dword [di], 'VBE2'
	mov ax, 0x4f00
	int 0x10
	cmp ax, 0x004f
	jne bad
	cmp dword [BUFFER], 'VESA'
	jne bad
	cmp word [BUFFER + 4], 0x0200
	jb bad
	jmp good

e820:
	xor ebx, ebx
	xor ebp, ebp		; bytes of RAM
	mov word [count], 0
.next:
	mov di, BUFFER
	mov eax, 0xe820
	mov edx, 0x534d4150
	mov ecx, 20
	int 0x15
	jc bad
	cmp eax, 0x534d4150
	jne bad
	cmp ecx, 20
	jne bad
	cmp word [count], 0
	jne .notfirst
	cmp dword [BUFFER], 0
	jne bad
.notfirst:
	inc word [count]
	cmp word [count], 32
	ja bad
	cmp dword [BUFFER + 16], 1
	jne .other
	add ebp, [BUFFER + 8]
.other:
	test ebx, ebx
	jnz .next
	cmp ebp, 255 << 20	; of 256 MiB
	jb bad
	cmp ebp, 256 << 20
	jae bad
	jmp good

more_memory:
	mov ax, 0xe801
	int 0x15
	jc bad
	cmp ax, 15 << 10	; KiB up to 16 MiB
	jne bad
	cmp bx, (239 << 4)	; 64 KiB each above it
	jb bad
	cmp bx, 240 << 4
	ja bad
	mov ah, 0x88
	int 0x15
	jc bad
	cmp ax, 15 << 10
	jb bad
	jmp good

a20:
	mov ax, 0x2401
	int 0x15
	jc bad
	mov ax, 0x2402
	int 0x15
	jc bad
	cmp al, 1
	jne bad
	push 0xffff
	pop es
	mov word [0x0500], 0x1234
	mov word [es:0x0510], 0x4321
	cmp word [0x0500], 0x1234
	jne bad
	jmp good

; To 2 MiB, where real mode has no address.
block_move:
	mov di, BUFFER
	mov cx, 256
	mov ax, 0xa55a
.fill:
	stosw
	add ax, 0x1357
	loop .fill
	mov si, move_out
	mov cx, 256
	mov ah, 0x87
	int 0x15
	jc bad
	mov di, BUFFER
	mov cx, 256
	xor ax, ax
	rep stosw
	mov si, move_in
	mov cx, 256
	mov ah, 0x87
	int 0x15
	jc bad
	cmp word [BUFFER], 0xa55a
	jne bad
	cmp word [BUFFER + 510], (0xa55a + 255 * 0x1357) & 0xffff
	jne bad
	jmp good

wait_a_while:
	mov ah, 0x86
	xor cx, cx
	mov dx, 20000
	int 0x15
	jc bad
	jmp good

; Until the timer's count moves.
tick:
	pusha
	mov ah, 0
	int 0x1a
	mov bx, dx
.wait:
	hlt
	mov ah, 0
	int 0x1a
	cmp dx, bx
	je .wait
	popa
	ret

clock:
	call tick
	mov ah, 4
	int 0x1a
	jc bad
	cmp ch, 0x20		; century
	jne bad
	cmp dh, 0x12		; month, decimal
	ja bad
	mov ah, 2
	int 0x1a
	jc bad
	cmp ch, 0x23
	ja bad
	cmp cl, 0x59
	ja bad
	jmp good

pci:
	mov ax, 0xb101
	int 0x1a
	jc bad
	cmp edx, 'PCI '
	jne bad
	mov ax, 0xb103
	mov ecx, 0x010601	; AHCI
	xor si, si
	int 0x1a
	jc bad
	cmp bx, 0x1f << 3 | 2
	jne bad
	mov ax, 0xb10a
	xor di, di
	int 0x1a
	jc bad
	cmp ecx, 0x29228086
	jne bad
	jmp good

disk_kind:
	mov ah, 0x41
	mov bx, 0x55aa
	mov dl, DISK
	int 0x13
	jc bad
	cmp bx, 0xaa55
	jne bad
	mov si, BUFFER
	mov word [si], 30
	mov ah, 0x48
	mov dl, DISK
	int 0x13
	jc bad
	cmp dword [BUFFER + 16], 8192
	jne bad
	cmp word [BUFFER + 24], 512
	jne bad
	mov ah, 8
	mov dl, DISK
	xor di, di
	int 0x13
	jc bad
	cmp dl, 1
	jne bad
	and cx, 0x3f
	mov [sectors], cx
	movzx dx, dh
	inc dx
	mov [heads], dx
	push ds
	pop es
	jmp good

disk_read:
	mov ax, 0x0201		; by cylinder, head and sector: 0, 0, 1
	mov cx, 1
	mov dx, DISK
	mov bx, BUFFER
	int 0x13
	jc bad
	cmp dword [BUFFER], 0
	jne bad
	mov ax, 0x0202		; 1, 1, 2
	mov cx, 0x0102
	mov dx, 0x0100 | DISK
	mov bx, BUFFER
	int 0x13
	jc bad
	mov ax, [heads]
	inc ax
	mul word [sectors]
	inc ax
	cmp [BUFFER], ax
	jne bad
	inc ax
	cmp [BUFFER + 512], ax
	jne bad
	mov dword [packet.at], 1000 ; as a number, 64 of them
	mov word [packet.count], 64
	mov word [packet.to], 0
	mov word [packet.to + 2], LARGE
	mov dl, DISK
	call extended_read
	jc bad
	push LARGE
	pop es
	cmp dword [es:0], 1000
	jne bad
	cmp dword [es:63 * 512], 1063
	jne bad
	jmp good

extended_read:
	mov ah, 0x42
	mov si, packet
	int 0x13
	ret

disk_write:
	mov di, BUFFER
	mov cx, 512
	mov ax, 0x5757
	rep stosw
	mov ax, 0x0301		; the fifth sector
	mov cx, 5
	mov dx, DISK
	mov bx, BUFFER
	int 0x13
	jc bad
	mov dword [packet.at], 2000
	mov word [packet.count], 2
	mov word [packet.to], BUFFER
	mov word [packet.to + 2], 0
	mov ax, 0x4300
	mov dl, DISK
	mov si, packet
	int 0x13
	jc bad
	jmp good

disk_end:
	mov dword [packet.at], 8191
	mov word [packet.count], 2
	mov word [packet.to], 0
	mov word [packet.to + 2], LARGE
	mov dl, DISK
	call extended_read
	jnc bad
	test ah, ah
	jz bad
	mov word [packet.count], 1
	mov dl, DISK
	call extended_read
	jc bad
	push LARGE
	pop es
	cmp dword [es:0], 8191
	jne bad
	jmp good

el_torito:
	mov ax, 0x4b01
	mov dl, [cd]
	mov si, BUFFER
	mov byte [si], 0x13
	int 0x13
	jc bad
	test byte [BUFFER + 1], 0x0f ; no emulation
	jnz bad
	mov al, [cd]
	cmp [BUFFER + 2], al
	jne bad
	jmp good

cd_read:
	mov dword [packet.at], 16
	mov word [packet.count], 1
	mov word [packet.to], BUFFER
	mov word [packet.to + 2], 0
	mov dl, [cd]
	call extended_read
	jc bad
	cmp dword [BUFFER + 1], 'CD00'
	jne bad
	cmp byte [BUFFER + 5], '1'
	jne bad
	mov ax, 0x4300		; nobody writes it
	mov dl, [cd]
	mov si, packet
	int 0x13
	jnc bad
	jmp good

keyboard:
	mov ah, 1
	int 0x16
	jnz bad			; there was none yet
	mov si, press
	call say
.wait:
	hlt
	mov ah, 1
	int 0x16
	jz .wait
	mov dx, ax
	mov ah, 0
	int 0x16
	cmp ax, dx
	jne bad
	cmp al, 'k'
	jne bad
	jmp good

; ---- 16-bit code ----

far_calls:
	mov bp, sp
	push word 0x1111
	push word 0x2222
	call 0:.far
	cmp sp, bp		; it has taken them
	jne bad
	cmp ax, 0x3333
	jne bad
	push cs
	push word .back
	retf
.far:
	push bp
	mov bp, sp
	mov ax, [bp + 6]
	add ax, [bp + 8]
	pop bp
	retf 4
.back:
	mov si, holds - 3
	mov bx, 3
	cs lodsb
	cmp al, [holds - 3]
	jne bad
	cmp byte [bx + si - 1], ' '
	jne bad
	enter 6, 1
	leave
	jmp good

decimal:
	mov al, 0x38
	add al, 0x45
	daa
	cmp al, 0x83
	jne bad
	sub al, 0x47
	das
	cmp al, 0x36
	jne bad
	mov al, 97
	aam
	cmp ax, 0x0907
	jne bad
	aad
	cmp ax, 97
	jne bad
	mov ax, 0x000c
	aaa
	cmp ax, 0x0102
	jne bad
	mov eax, 0x12345678
	mov edx, 0x9abcdef0
	shld eax, edx, 12
	cmp eax, 0x456789ab
	jne bad
	jmp good

; si: handler, di: offset of its vector; the old one is kept there.
exchange_vector:
	cli
	mov eax, [di]
	push eax
	mov [di], si
	mov word [di + 2], 0
	pop dword [old]
	sti
	ret

restore_vector:
	mov eax, [old]
	mov [di], eax
	ret

faults:
	mov word [count], 0
	xor di, di
	mov si, .divide
	call exchange_vector
	mov ax, 1
	cwd
	xor cx, cx
.at:
	div cx
	call restore_vector
	cmp word [count], 1
	jne bad
	mov di, 6 * 4		; an invalid opcode
	mov si, .opcode
	call exchange_vector
	ud2
	call restore_vector
	cmp word [count], 2
	jne bad
	mov di, 13 * 4		; a word over the end of its segment
	mov si, .limit
	call exchange_vector
	mov bx, 0xffff
.word:
	mov ax, [bx]
	call restore_vector
	cmp word [count], 3
	jne bad
	jmp good
.divide:
	push bp
	mov bp, sp
	cmp word [bp + 2], .at	; a fault: the instruction itself
	jne .leave
.skip:
	inc word [count]
	add word [bp + 2], 2
.leave:
	pop bp
	iret
.opcode:
	push bp
	mov bp, sp
	jmp .skip
.limit:
	push bp
	mov bp, sp
	cmp word [bp + 2], .word
	jne .leave
	jmp .skip

timer_vector:
	mov word [count], 0
	mov di, 0x1c * 4
	mov si, .handler
	call exchange_vector
.wait:
	hlt
	cmp word [count], 3
	jb .wait
	call restore_vector
	jmp good
.handler:
	inc word [cs:count]
	iret

; A segment of 4 GiB that real mode keeps (and DS with 64 KiB, as the next check needs it: the BIOS leaves more); what block_move left at 2 MiB.
protected_mode:
	cli
	lgdt [gdtr]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp CODE16:.inside
.inside:
	mov ax, DATA16
	mov ds, ax
	mov ss, ax
	mov ax, FLAT
	mov es, ax
	mov ebx, 0x200000
	mov si, [es:ebx]
	mov eax, cr0
	and al, 0xfe
	mov cr0, eax
	jmp 0:.outside
.outside:
	xor ax, ax
	mov ds, ax
	mov ss, ax
	sti
	cmp si, 0xa55a
	jne bad
	xor ax, ax
	mov es, ax
	mov si, [es:ebx + 2]	; its limit is still there
	cmp si, (0xa55a + 0x1357) & 0xffff
	jne bad
	jmp good

; ---- data ----

%macro check 2
%%name	db %1, 0
[section .table]
	dw %%name, %2
__?SECT?__
%endmacro

[section .table follows=.text]
checks:
__?SECT?__
	check "serial port (INT 14h)", serial_port
	check "equipment (INT 11h, 12h)", equipment
	check "screen (INT 10h)", screen
	check "VBE", vbe
	check "memory map (INT 15h)", e820
	check "memory sizes", more_memory
	check "A20", a20
	check "block move", block_move
	check "wait", wait_a_while
	check "clock (INT 1Ah)", clock
	check "PCI", pci
	check "disk (INT 13h)", disk_kind
	check "disk read", disk_read
	check "disk write", disk_write
	check "end of the disk", disk_end
	check "El Torito", el_torito
	check "CD read", cd_read
	check "keyboard (INT 16h)", keyboard
	check "far calls", far_calls
	check "decimal arithmetic", decimal
	check "timer's vector", timer_vector
	check "protected mode", protected_mode
	check "faults", faults
[section .table]
	dw 0
__?SECT?__

	db " / "
holds	db " holds", 13, 10, 0
fails	db " FAILS", 13, 10, 0
all	db "all said", 13, 10, 0
press	db ": press a key", 0
shown	db "written on the screen", 13, 10
.end:

align 8
gdt	dq 0
	dq 0x00cf92000000ffff
	dq 0x00009a000000ffff
	dq 0x000092000000ffff
gdtr	dw gdtr - gdt - 1
	dd gdt

; INT 15h AH=87h: two descriptors of ours, two of the BIOS before, two after.
%macro move 2
	dq 0, 0
	dw 0xffff, %1 & 0xffff
	db %1 >> 16, 0x93, 0, 0
	dw 0xffff, %2 & 0xffff
	db %2 >> 16, 0x93, 0, 0
	dq 0, 0
%endmacro
move_out: move BUFFER, 0x200000
move_in: move 0x200000, BUFFER

packet	db 16, 0
.count	dw 0
.to	dw 0, 0
.at	dd 0, 0
old	dd 0
count	dw 0
heads	dw 0
sectors	dw 0
cd	db 0
