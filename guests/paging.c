/* 4-level paging: rights of every kind, A and D bits, NX, WP, SMEP, SMAP, large and global pages, INVLPG, PCID,
 * page-crossing accesses, reserved bits. */
#include "guest.h"

const char guest_name[] = "paging";

#define AT   0x40000000ull /* 1 GiB: not touched by anything else */
#define NEXT (AT + 4096)

static uint8_t *page_a, *page_b;

static void map(uint64_t address, void *page, uint64_t flags)
{
	*pte_of(address) = (uint64_t)page | flags;
	invlpg(address);
}

static void load8(uint64_t address)
{
	__asm__ volatile("movq (%0), %%rax" ::"r"(address) : "rax");
}
static void store8(uint64_t address)
{
	__asm__ volatile("movq $-1, (%0)" ::"r"(address) : "memory");
}
static void call(uint64_t address)
{
	((void (*)(void))address)();
}
static void locked_add(uint64_t address)
{
	__asm__ volatile("lock addq $1, (%0)" ::"r"(address) : "memory");
}
static void smap_load(uint64_t address)
{
	__asm__ volatile(".byte 0x0f, 0x01, 0xcb; movq (%0), %%rax; .byte 0x0f, 0x01, 0xca" ::"r"(address) : "rax");
}

static void test_rights(void)
{
	map(AT, page_a, PTE_P | PTE_W);
	EQUAL(fault_of(load8, AT), -1);
	CHECK(*pte_of(AT) & PTE_A);
	CHECK(!(*pte_of(AT) & PTE_D));
	EQUAL(fault_of(store8, AT), -1);
	CHECK(*pte_of(AT) & PTE_D);
	EQUAL(*(uint64_t *)page_a, ~0ull);

	map(AT, page_a, 0);
	EQUAL(fault_of(load8, AT + 16), 14);
	EQUAL(caught.error, 0);
	EQUAL(caught.cr2, AT + 16);
	EQUAL(fault_of(store8, AT), 14);
	EQUAL(caught.error, 2);
	CHECK(!(*pte_of(AT) & (PTE_A | PTE_D)));

	map(AT, page_a, PTE_P); /* read-only */
	EQUAL(fault_of(store8, AT), -1); /* CR0.WP is off */
	WRITE_CR(0, READ_CR(0) | 1 << 16);
	map(AT, page_a, PTE_P);
	EQUAL(fault_of(load8, AT), -1);
	EQUAL(fault_of(store8, AT), 14);
	EQUAL(caught.error, 3);
	EQUAL(fault_of(locked_add, AT), 14);
	EQUAL(caught.error, 3);

	EQUAL(run_user(load8, AT), 14); /* supervisor page */
	EQUAL(caught.error, 5);
	map(AT, page_a, PTE_P | PTE_U);
	EQUAL(run_user(load8, AT), 0x80);
	EQUAL(run_user(store8, AT), 14);
	EQUAL(caught.error, 7);

	map(AT, page_a, PTE_P | 1ull << 51); /* reserved: above MAXPHYADDR */
	EQUAL(fault_of(load8, AT), 14);
	EQUAL(caught.error, 9);
}

static void test_fetch(void)
{
	page_a[0] = 0xc3; /* ret */
	map(AT, page_a, PTE_P | PTE_W);
	EQUAL(fault_of(call, AT), -1);
	map(AT, page_a, PTE_P | PTE_W | PTE_NX);
	EQUAL(fault_of(call, AT), 14);
	EQUAL(caught.error, 0x11);
	EQUAL(caught.rip, AT);
	EQUAL(caught.cr2, AT);
	EQUAL(fault_of(load8, AT), -1);
	map(AT, page_a, 0);
	EQUAL(fault_of(call, AT), 14);
	EQUAL(caught.error, 0x10);

	/* An instruction that goes on into a page that is not there: the fault is at the second page. */
	page_a[4095] = 0xb8; /* mov $imm32, %eax */
	map(AT, page_a, PTE_P | PTE_W);
	map(NEXT, page_b, 0);
	EQUAL(fault_of(call, AT + 4095), 14);
	EQUAL(caught.cr2, NEXT);
	EQUAL(caught.rip, AT + 4095);
	for (unsigned i = 0; i < 4; i++)
		page_b[i] = 0;
	page_b[4] = 0xc3;
	map(NEXT, page_b, PTE_P | PTE_W);
	EQUAL(fault_of(call, AT + 4095), -1);
}

static void test_crossing(void)
{
	uint64_t *last = (uint64_t *)(page_a + 4088);

	*last = 0x1111111111111111;
	map(AT, page_a, PTE_P | PTE_W);
	map(NEXT, page_b, 0);
	EQUAL(fault_of(store8, NEXT - 4), 14);
	EQUAL(caught.cr2, NEXT);
	EQUAL(*last, 0x1111111111111111); /* not a byte was stored */
	map(NEXT, page_b, PTE_P | PTE_W);
	EQUAL(fault_of(store8, NEXT - 4), -1);
	EQUAL(*last, 0xffffffff11111111);
	EQUAL(*(uint32_t *)page_b, 0xffffffff);
	EQUAL(fault_of(locked_add, NEXT - 4), -1);
	EQUAL(*last, 0x0000000011111111);
	EQUAL(*(uint32_t *)page_b, 0);
}

static void test_smep_smap(void)
{
	uint32_t r[4];

	cpuid(7, 0, r);
	page_a[0] = 0xc3;
	map(AT, page_a, PTE_P | PTE_W | PTE_U);
	if (r[1] & 1 << 7) {
		WRITE_CR(4, READ_CR(4) | 1 << 20);
		EQUAL(fault_of(call, AT), 14);
		EQUAL(caught.error, 0x11);
		EQUAL(fault_of(load8, AT), -1);
		WRITE_CR(4, READ_CR(4) & ~(1ull << 20));
		EQUAL(fault_of(call, AT), -1);
	}
	if (r[1] & 1 << 20) {
		WRITE_CR(4, READ_CR(4) | 1 << 21);
		EQUAL(fault_of(load8, AT), 14);
		EQUAL(caught.error, 1);
		EQUAL(fault_of(store8, AT), 14);
		EQUAL(caught.error, 3);
		EQUAL(fault_of(smap_load, AT), -1);
		EQUAL(fault_of(load8, AT), 14);
		EQUAL(run_user(load8, AT), 0x80);
		WRITE_CR(4, READ_CR(4) & ~(1ull << 21));
		EQUAL(fault_of(load8, AT), -1);
	}
}

static void test_stale(void)
{
	/* A changed entry is seen after INVLPG, and after a write of CR3. */
	page_a[8] = 1;
	page_b[8] = 2;
	map(AT, page_a, PTE_P | PTE_W);
	EQUAL(*(volatile uint8_t *)(AT + 8), 1);
	*pte_of(AT) = (uint64_t)page_b | PTE_P | PTE_W;
	invlpg(AT);
	EQUAL(*(volatile uint8_t *)(AT + 8), 2);
	*pte_of(AT) = (uint64_t)page_a | PTE_P | PTE_W;
	WRITE_CR(3, READ_CR(3));
	EQUAL(*(volatile uint8_t *)(AT + 8), 1);

	/* A global page survives a write of CR3 or not, but not a change of CR4.PGE. */
	WRITE_CR(4, READ_CR(4) | 0x80);
	map(AT, page_a, PTE_P | PTE_W | PTE_G);
	EQUAL(*(volatile uint8_t *)(AT + 8), 1);
	*pte_of(AT) = (uint64_t)page_b | PTE_P | PTE_W | PTE_G;
	WRITE_CR(4, READ_CR(4) & ~0x80ull);
	EQUAL(*(volatile uint8_t *)(AT + 8), 2);

	/* The same for code: two pages take turns at one address. */
	page_a[16] = 0xb8, page_a[17] = 1, page_a[21] = 0xc3;
	page_b[16] = 0xb8, page_b[17] = 2, page_b[21] = 0xc3;
	page_a[18] = page_a[19] = page_a[20] = page_b[18] = page_b[19] = page_b[20] = 0;
	for (unsigned i = 0; i < 4; i++) {
		map(AT, i & 1 ? page_b : page_a, PTE_P | PTE_W);
		EQUAL(((int (*)(void))(AT + 16))(), 1 + (i & 1));
	}
}

static void put_branch(uint8_t *at, uint8_t opcode, uint64_t from, uint64_t to)
{
	uint32_t relative = (uint32_t)(to - (from + 5));

	at[0] = opcode;
	for (unsigned i = 0; i < 4; i++)
		at[1 + i] = (uint8_t)(relative >> 8 * i);
}

/* Branches from a page that stays to one that does not, whatever was translated on the way. */
static void test_stale_branches(void)
{
	uint8_t *page_c = alloc_page();
	uint64_t cr3 = READ_CR(3);

	put_branch(page_c, 0xe9, NEXT, AT + 16);
	put_branch(page_c + 32, 0xe8, NEXT + 32, AT + 16);
	page_c[37] = 0xc3;
	page_c[64] = 0x90; /* and from a block of its own page */
	put_branch(page_c + 65, 0xe9, NEXT + 65, NEXT);
	map(NEXT, page_c, PTE_P | PTE_W);
	for (unsigned i = 0; i < 12; i++) {
		uint8_t *page = i & 1 ? page_b : page_a;

		*pte_of(AT) = (uint64_t)page | PTE_P | PTE_W;
		if (i & 2)
			WRITE_CR(3, cr3);
		else
			invlpg(AT);
		EQUAL(((int (*)(void))NEXT)(), 1 + (i & 1));
		EQUAL(((int (*)(void))(NEXT + 32))(), 1 + (i & 1));
		EQUAL(((int (*)(void))(NEXT + 64))(), 1 + (i & 1));
	}
	*pte_of(AT) = 0;
	invlpg(AT);
	EQUAL(fault_of(call, NEXT), 14);
	EQUAL(caught.cr2, AT + 16);
	EQUAL(caught.rip, AT + 16);

	/* An instruction on two pages, of which the second is one or the other: mov eax, 1 or 0x201; ret */
	page_c[4094] = 0xb8;
	page_c[4095] = 1;
	put_branch(page_c + 96, 0xe9, AT + 96, AT + 4094);
	for (unsigned i = 0; i < 3; i++)
		page_a[i] = page_b[i] = 0;
	page_b[0] = 2;
	page_a[3] = page_b[3] = 0xc3;
	map(AT, page_c, PTE_P | PTE_W);
	for (unsigned i = 0; i < 6; i++) {
		map(NEXT, i & 1 ? page_b : page_a, PTE_P | PTE_W);
		EQUAL(((int (*)(void))(AT + 96))(), i & 1 ? 0x201 : 1);
		EQUAL(((int (*)(void))(AT + 4094))(), i & 1 ? 0x201 : 1);
	}
}

static void test_large(void)
{
	extern uint64_t pds[];
	uint64_t *entry = &pds[0x60000000 >> 21], old = *entry;

	EQUAL(fault_of(load8, 0x60001000), -1);
	CHECK(*entry & PTE_A);
	CHECK(!(*entry & PTE_D));
	/* INVLPG anywhere in a large page drops all of it. */
	*entry = 0;
	invlpg(0x601ff000);
	EQUAL(fault_of(load8, 0x60001000), 14);
	EQUAL(caught.error, 0);
	*entry = old | 1 << 13; /* a reserved bit of a 2 MiB page */
	invlpg(0x60000000);
	EQUAL(fault_of(load8, 0x60001000), 14);
	EQUAL(caught.error, 9);
	*entry = old;
	invlpg(0x60000000);
}

static void invpcid(uint64_t type, uint64_t pcid, uint64_t address)
{
	uint64_t descriptor[2] = {pcid, address};

	__asm__ volatile("invpcid %0, %1" ::"m"(descriptor), "r"(type) : "memory");
}

static void test_pcid(void)
{
	uint64_t cr3 = READ_CR(3);
	uint32_t r[4];

	cpuid(1, 0, r);
	if (!(r[2] & 1 << 17))
		return;
	WRITE_CR(4, READ_CR(4) | 1 << 17);
	page_a[8] = 1;
	page_b[8] = 2;
	map(AT, page_a, PTE_P | PTE_W);
	WRITE_CR(3, cr3 | 1);
	EQUAL(*(volatile uint8_t *)(AT + 8), 1);
	*pte_of(AT) = (uint64_t)page_b | PTE_P | PTE_W;
	cpuid(7, 0, r);
	if (r[1] & 1 << 10)
		invpcid(0, 1, AT);
	else
		invlpg(AT);
	EQUAL(*(volatile uint8_t *)(AT + 8), 2);
	WRITE_CR(3, cr3 | 2 | 1ull << 63);
	EQUAL(*(volatile uint8_t *)(AT + 8), 2);
	WRITE_CR(3, cr3);
	WRITE_CR(4, READ_CR(4) & ~(1ull << 17));
}

void guest_main(void)
{
	page_a = alloc_page();
	page_b = alloc_page();
	test_rights();
	test_fetch();
	test_crossing();
	test_smep_smap();
	test_stale();
	test_stale_branches();
	test_large();
	test_pcid();
}
