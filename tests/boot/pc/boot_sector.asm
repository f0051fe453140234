; A boot sector that uses the BIOS: prints a line through the text screen (which firmware mirrors on the serial port), reads
; its second sector with INT 13h (extended read), asks for the memory map with INT 15h, waits with INT 1Ah's clock, and
; powers off through ACPI's registers.
;
; Example: nasm -f bin -o disk.img boot_sector.asm && ruse run --board pc --firmware seabios --disk disk.img
bits 16
org 0x7c00

start:
	cli
	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, 0x7c00
	sti
	mov [drive], dl
	mov si, hello
	call print
	mov si, packet
	mov ah, 0x42
	mov dl, [drive]
	int 0x13
	jc fail
	mov si, 0x7e00
	call print
	call memory
	call clock
	mov si, ticks
	call print
	mov si, bye
	call print
	call clock		; firmware writes the last characters when the clock ticks
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
fail:
	mov si, failed
	call print
	jmp $

; si: text that ends with 0
print:
	lodsb
	test al, al
	jz .end
	mov ah, 0x0e
	mov bx, 7
	int 0x10
	jmp print
.end:
	ret

; The first range of the memory map, which must be RAM from 0.
memory:
	xor ebx, ebx
	mov di, 0x6000
	mov eax, 0xe820
	mov edx, 0x534d4150
	mov ecx, 24
	int 0x15
	jc fail
	cmp eax, 0x534d4150
	jne fail
	cmp dword [0x6000], 0
	jne fail
	cmp dword [0x6010], 1
	jne fail
	mov si, map
	jmp print

; Until the timer's interrupt has come twice.
clock:
	mov ah, 0
	int 0x1a
	mov bx, dx
.wait:
	hlt
	mov ah, 0
	int 0x1a
	sub dx, bx
	cmp dx, 2
	jb .wait
	ret

hello	db "boot sector: running", 13, 10, 0
map	db "boot sector: memory map", 13, 10, 0
ticks	db "boot sector: timer ticks", 13, 10, 0
bye	db "boot sector: power off", 13, 10, 0
failed	db "boot sector: FAILED", 13, 10, 0
drive	db 0
align 4
packet	db 16, 0
	dw 1
	dw 0x7e00, 0
	dq 1

	times 510 - ($ - $$) db 0
	dw 0xaa55
	db "boot sector: second sector", 13, 10, 0
	times 1048576 - ($ - $$) db 0
