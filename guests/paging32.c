/* Out of long mode and back: 32-bit paging with 4 MiB pages, and PAE paging with NX, each with its accessed and dirty
 * bits, error codes and write protection. Accesses are made by the supervisor alone.
 * QEMU's TCG (7.2) reports reserved bits without the present bit (8, not 9), wrongly.
 */
#include "guest.h"

const char guest_name[] = "paging32";

enum { READ, WRITE, EXECUTE };
#define NONE    0xffffffffu
#define CR4_PSE 0x10u
#define CR4_PAE 0x20u
#define NXE     0x800u

/* One access in legacy mode. */
extern struct probe {
	uint32_t cr3, cr4, nxe, operation, address; /* in */
	uint32_t error, cr2, value;		    /* out; error is NONE where nothing faulted */
} probe;
extern uint64_t idt32[16];
extern char legacy_fault[];
void legacy_probe(void);

__asm__(".pushsection .text\n"
	"legacy_probe:\n"
	"	pushq %rbx; pushq %rbp; pushq %r12; pushq %r13; pushq %r14; pushq %r15\n"
	"	sidt saved_idt\n"
	"	movq %cr3, %rax\n"
	"	movl %eax, saved_cr3\n"
	"	movq %cr4, %rax\n"
	"	movl %eax, saved_cr4\n"
	"	ljmp *compatible_pointer\n"
	".code32\n"
	"compatible:\n"
	"	movl $0x20, %eax\n"
	"	movl %eax, %ds; movl %eax, %es; movl %eax, %ss\n"
	"	movl %esp, saved_esp\n"
	"	movl %cr0, %eax\n"
	"	andl $0x7fffffff, %eax\n"
	"	movl %eax, %cr0\n"
	"	movl $0xc0000080, %ecx\n"
	"	rdmsr\n"
	"	movl %eax, saved_efer\n"
	"	andl $~0x900, %eax\n"
	"	orl probe+8, %eax\n"
	"	wrmsr\n"
	"	movl probe+4, %eax\n"
	"	movl %eax, %cr4\n"
	"	movl probe, %eax\n"
	"	movl %eax, %cr3\n"
	"	lidt idt32_pointer\n"
	"	movl %cr0, %eax\n"
	"	orl $0x80010000, %eax\n" /* PG, WP */
	"	movl %eax, %cr0\n"
	"	movl $-1, probe+20\n"
	"	movl probe+16, %edx\n"
	"	cmpl $1, probe+12\n"
	"	je 1f\n"
	"	ja 2f\n"
	"	movl (%edx), %eax\n"
	"	movl %eax, probe+28\n"
	"	jmp 3f\n"
	"1:	movl $0x600df00d, (%edx)\n"
	"	jmp 3f\n"
	"2:	call *%edx\n"
	"3:	movl %cr0, %eax\n"
	"	andl $0x7ffeffff, %eax\n"
	"	movl %eax, %cr0\n"
	"	movl saved_cr4, %eax\n"
	"	movl %eax, %cr4\n"
	"	movl saved_cr3, %eax\n"
	"	movl %eax, %cr3\n"
	"	movl $0xc0000080, %ecx\n"
	"	rdmsr\n"
	"	movl saved_efer, %eax\n"
	"	orl $0x100, %eax\n"
	"	wrmsr\n"
	"	movl %cr0, %eax\n"
	"	orl $0x80000000, %eax\n"
	"	movl %eax, %cr0\n"
	"	ljmp $8, $4f\n"
	".code64\n"
	"4:	lidt saved_idt\n"
	"	xorl %eax, %eax\n"
	"	movl %eax, %ds; movl %eax, %es; movl %eax, %ss\n"
	"	movl saved_esp, %esp\n"
	"	popq %r15; popq %r14; popq %r13; popq %r12; popq %rbp; popq %rbx\n"
	"	ret\n"
	".code32\n"
	"legacy_fault:\n"
	"	popl probe+20\n"
	"	movl %cr2, %eax\n"
	"	movl %eax, probe+24\n"
	"	movl saved_esp, %esp\n"
	"	jmp 3b\n"
	".code64\n"
	".popsection\n"
	".pushsection .data\n"
	".balign 8\n"
	"saved_idt: .quad 0, 0\n"
	"saved_cr3: .long 0\n"
	"saved_cr4: .long 0\n"
	"saved_esp: .long 0\n"
	"saved_efer: .long 0\n"
	"compatible_pointer: .long compatible, 0x18\n"
	"idt32_pointer: .word 127\n"
	"	.long idt32\n"
	".popsection\n");

struct probe probe;
uint64_t idt32[16];

static uint32_t access(unsigned operation, uint32_t address)
{
	probe.operation = operation;
	probe.address = address;
	probe.cr2 = 0;
	legacy_probe();
	__asm__ volatile("" ::: "memory");
	if (probe.error != NONE)
		EQUAL(probe.cr2, address);
	return probe.error;
}

/* The page at which the tests look: a `ret`, and a value to read. */
static uint8_t page[4096] __attribute__((aligned(4096)));
#define PAGE ((uint32_t)(uint64_t)page)

static void test_32bit(void)
{
	volatile uint32_t *directory = alloc_page(), *table = alloc_page();

	probe.cr3 = (uint32_t)(uint64_t)directory;
	probe.cr4 = CR4_PSE;
	probe.nxe = 0;
	directory[0] = 0x83; /* 4 MiB: the guest itself */
	directory[1] = (uint32_t)(uint64_t)table | 3;
	directory[2] = 0x83;
	directory[3] = 0x81;		  /* read-only */
	directory[4] = 0x83 | 1u << 21;	  /* reserved */
	directory[1023] = 0x83;
	table[0] = PAGE | 3;
	table[1] = PAGE | 1;
	table[1023] = PAGE | 3;
	*(uint32_t *)page = 0xc3;

	EQUAL(access(READ, 0x400000), NONE);
	EQUAL(probe.value, 0xc3);
	EQUAL(table[0], PAGE | 0x23);
	EQUAL(directory[1] & 0x20, 0x20);
	EQUAL(access(EXECUTE, 0x400000), NONE);
	EQUAL(access(READ, 0x7ff000), NONE);
	EQUAL(access(WRITE, 0x401000), 3);
	EQUAL(table[1] & 0x40, 0);
	EQUAL(access(READ, 0x401000), NONE);
	EQUAL(access(READ, 0x402000), 0);
	EQUAL(access(WRITE, 0x402004), 2);
	EQUAL(access(READ, 0x2000000), 0);
	EQUAL(access(WRITE, 0x400000), NONE);
	EQUAL(table[0], PAGE | 0x63);
	EQUAL(*(uint32_t *)page, 0x600df00d);

	EQUAL(access(READ, 0x800000 + PAGE), NONE);
	EQUAL(probe.value, 0x600df00d);
	EQUAL(directory[2], 0xa3);
	EQUAL(access(WRITE, 0x800000 + PAGE + 8), NONE);
	EQUAL(directory[2], 0xe3);
	EQUAL(access(WRITE, 0xc00000 + PAGE), 3);
	EQUAL(access(READ, 0xc00000 + PAGE), NONE);
	EQUAL(directory[3], 0xa1);
	EQUAL(access(READ, 0x1000000 + PAGE), 9);
	EQUAL(access(READ, 0xffc00000 + PAGE), NONE);
	EQUAL(probe.value, 0x600df00d);
}

static void test_pae(void)
{
	volatile uint64_t *pointers = alloc_page(), *directory = alloc_page(), *table = alloc_page(), *high = alloc_page();

	probe.cr3 = (uint32_t)(uint64_t)pointers;
	probe.cr4 = CR4_PAE;
	probe.nxe = NXE;
	pointers[0] = (uint64_t)directory | 1;
	pointers[3] = (uint64_t)high | 1;
	directory[0] = 0x83; /* 2 MiB: the guest itself */
	directory[1] = 0x200083;
	directory[2] = (uint64_t)table | 3;
	directory[3] = 0x83 | 1u << 13; /* reserved */
	directory[4] = (uint64_t)table | 3 | PTE_NX;
	directory[5] = (uint64_t)table | 1;
	high[511] = (PAGE & ~0x1fffffu) | 0x83;
	table[0] = PAGE | 3;
	table[1] = PAGE | 3 | PTE_NX;
	table[2] = PAGE | 1;
	*(uint32_t *)page = 0xc3;

	EQUAL(access(READ, 0x400000), NONE);
	EQUAL(probe.value, 0xc3);
	EQUAL(table[0], PAGE | 0x23);
	EQUAL(access(EXECUTE, 0x400000), NONE);
	EQUAL(access(EXECUTE, 0x401000), 0x11);
	EQUAL(access(EXECUTE, 0x800000), 0x11);
	EQUAL(access(EXECUTE, 0x403000), 0x10);
	EQUAL(access(READ, 0x401000), NONE);
	EQUAL(access(READ, 0x600000), 9);
	EQUAL(access(WRITE, 0x402000), 3);
	EQUAL(access(WRITE, 0xa00000), 3);
	EQUAL(access(READ, 0x403000), 0);
	EQUAL(access(WRITE, 0x403000), 2);
	EQUAL(access(READ, 0x40000000), 0); /* no such pointer */
	EQUAL(access(READ, 0xffe00000 + (PAGE & 0x1fffff)), NONE);
	EQUAL(probe.value, 0xc3);
	EQUAL(high[511] & 0x60, 0x20);
	EQUAL(access(WRITE, 0x800000), NONE);
	EQUAL(table[0], PAGE | 0x63);

	/* Without NXE, NX is a reserved bit, and fetches are not told apart. */
	probe.nxe = 0;
	EQUAL(access(READ, 0x401000), 9);
	EQUAL(access(READ, 0x800000), 9);
	EQUAL(access(EXECUTE, 0x403000), 0);
}

void guest_main(void)
{
	uint64_t entry = (uint64_t)legacy_fault;

	idt32[14] = (entry & 0xffff) | 0x18ull << 16 | 0x8eull << 40 | (entry >> 16) << 48;
	test_32bit();
	test_pae();
	EQUAL(rdmsr(0xc0000080) & 0xd00, 0xd00); /* long mode again */
}
