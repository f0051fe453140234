/* The boot processor's first state: flat 32-bit protected mode, or 64-bit mode on identity-mapped page tables.
 *
 * Example: `r = loader_start_64(mem, boot, entry);`
 */
#include "arch/x86_64/state.h"
#include "base/string.h"
#include "loader/format.h"
#include "mem/mem.h"

/* Selectors as Linux's boot protocol asks for: code 0x10, data 0x18. 0x08 is 32-bit code. */
#define GDT_CODE32 0x00cf9b000000ffffull
#define GDT_CODE64 0x00af9b000000ffffull
#define GDT_DATA   0x00cf93000000ffffull
#define GDT_TSS    0x00008b0000000067ull

#define PTE_P  (1u << 0)
#define PTE_RW (1u << 1)
#define PTE_A  (1u << 5)
#define PTE_D  (1u << 6)
#define PTE_PS (1u << 7)

#define AR_CODE (X86_AR_P | X86_AR_S | X86_AR_CODE | X86_AR_WRITABLE | X86_AR_ACCESSED | X86_AR_G)
#define AR_DATA (X86_AR_P | X86_AR_S | X86_AR_WRITABLE | X86_AR_ACCESSED | X86_AR_G | X86_AR_DB)

static int write_gdt(struct mem *mem, struct x86_state *boot, uint64_t code)
{
	const uint64_t gdt[] = {0, GDT_CODE32, code, GDT_DATA, GDT_TSS, 0};

	boot->gdtr = (struct x86_table){.base = LOADER_GDT, .limit = sizeof(gdt) - 1};
	boot->idtr = (struct x86_table){.base = 0, .limit = 0};
	return mem_write(mem, LOADER_GDT, gdt, sizeof(gdt));
}

static void set_segments(struct x86_state *boot, uint32_t code_mode)
{
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		boot->seg[i] = (struct x86_segment){.selector = 0x18, .limit = 0xffffffff, .ar = AR_DATA};
	boot->seg[X86_CS] = (struct x86_segment){.selector = 0x10, .limit = 0xffffffff, .ar = AR_CODE | code_mode};
	boot->tr = (struct x86_segment){.selector = 0x20, .limit = 0x67, .ar = X86_AR_P | 11u};
}

int loader_start_32(struct mem *mem, struct x86_state *boot, gpa_t entry)
{
	x86_state_reset(boot, true);
	set_segments(boot, X86_AR_DB);
	boot->cr0 = X86_CR0_PE | X86_CR0_ET;
	boot->rip = entry;
	boot->gpr[X86_RSP] = LOADER_STACK_TOP;
	return write_gdt(mem, boot, GDT_CODE32);
}

/* PML4, PDPT and four page directories: 4 GiB in 2 MiB pages. */
static int write_page_tables(struct mem *mem)
{
	const gpa_t pml4 = LOADER_PAGE_TABLES, pdpt = pml4 + PAGE_SIZE, pd = pdpt + PAGE_SIZE;
	uint64_t table[512] = {pdpt | PTE_P | PTE_RW | PTE_A};
	int r = mem_write(mem, pml4, table, sizeof(table));

	memset(table, 0, sizeof(table));
	for (unsigned i = 0; i < 4; i++)
		table[i] = (pd + (uint64_t)i * PAGE_SIZE) | PTE_P | PTE_RW | PTE_A;
	if (!r)
		r = mem_write(mem, pdpt, table, sizeof(table));
	for (unsigned i = 0; i < 4 && !r; i++) {
		for (unsigned j = 0; j < 512; j++)
			table[j] = GIB(i) + MIB(2) * j + (PTE_P | PTE_RW | PTE_A | PTE_D | PTE_PS);
		r = mem_write(mem, pd + (uint64_t)i * PAGE_SIZE, table, sizeof(table));
	}
	return r;
}

int loader_start_64(struct mem *mem, struct x86_state *boot, gpa_t entry)
{
	int r = write_page_tables(mem);

	if (r)
		return r;
	x86_state_reset(boot, true);
	set_segments(boot, X86_AR_L);
	boot->cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_NE | X86_CR0_PG;
	boot->cr3 = LOADER_PAGE_TABLES;
	boot->cr4 = X86_CR4_PAE;
	boot->efer = X86_EFER_LME | X86_EFER_LMA;
	boot->rip = entry;
	boot->gpr[X86_RSP] = LOADER_STACK_TOP;
	return write_gdt(mem, boot, GDT_CODE64);
}
