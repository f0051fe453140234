/* Translation (DDI 0487 D8): faults of every level and kind, permissions, sizes of pages, ASIDs, access flag and dirty state by hardware, AT.
 */
#include "guest.h"

const char guest_name[] = "paging";

#define CLASS(esr)  ((esr) >> 26)
#define STATUS(esr) ((esr) & 0x3f)
#define WNR(esr)    ((esr) >> 6 & 1)
enum { TRANSLATION = 4, ACCESS_FLAG = 8, PERMISSION = 12, ADDRESS_SIZE = 0 };

#define VALID     1ull
#define TABLE     3ull
#define PAGE      3ull
#define AF        (1ull << 10)
#define NG        (1ull << 11)
#define SHARED    (3ull << 8)
#define USER      (1ull << 6)
#define READ_ONLY (1ull << 7)
#define DBM       (1ull << 51)
#define PXN       (1ull << 53)
#define UXN       (1ull << 54)

static uint64_t level2[512] __attribute__((aligned(4096))), level3[512] __attribute__((aligned(4096)));
static uint64_t data[2][512] __attribute__((aligned(4096)));

/* What is tried is mapped here, in the third GiB. */
#define AT 0x80000000ull

static void map(uint64_t descriptor)
{
	level3[0] = descriptor;
	level2[0] = (uint64_t)level3 | TABLE;
	level1[2] = (uint64_t)level2 | TABLE;
	tlb_flush();
}

static uint64_t page(unsigned n)
{
	return (uint64_t)data[n];
}

static void check_fault(const char *what, uint64_t status)
{
	check(what, caught.count, 1);
	check(what, CLASS(caught.esr), 0x25);
	check(what, STATUS(caught.esr), status);
	check(what, caught.far, AT + 8);
}

static uint64_t load(uint64_t at) { return TRY_WITH("ldr x0, [x1]", 0, at); }
static void store(uint64_t value, uint64_t at) { TRY_WITH("str x0, [x1]", value, at); }
static void jump(uint64_t at) { TRY_WITH("adr x30, 1f\n br x1", 0, at); }

/* ---- every level, every kind ---- */

static void levels(void)
{
	level1[2] = 0;
	tlb_flush();
	load(AT + 8);
	check_fault("no entry of level 1", TRANSLATION + 1);
	level1[2] = (uint64_t)level2 | TABLE;
	level2[0] = 0;
	tlb_flush();
	load(AT + 8);
	check_fault("no entry of level 2", TRANSLATION + 2);
	map(0);
	load(AT + 8);
	check_fault("no entry of level 3", TRANSLATION + 3);
	map(page(0) | AF | VALID); /* without bit 1: reserved at level 3 */
	load(AT + 8);
	check_fault("a reserved entry of level 3", TRANSLATION + 3);
	store(1, AT + 8);
	check_fault("a store to it", TRANSLATION + 3);
	check("which is a write", WNR(caught.esr), 1);

	map(page(0) | SHARED | PAGE);
	load(AT + 8);
	check_fault("no access flag at level 3", ACCESS_FLAG + 3);
	level2[0] = MEMORY | SHARED | VALID;
	tlb_flush();
	load(AT + 8);
	check_fault("no access flag at level 2", ACCESS_FLAG + 2);
	level1[2] = MEMORY | SHARED | VALID;
	tlb_flush();
	load(AT + 8);
	check_fault("no access flag at level 1", ACCESS_FLAG + 1);

	level1[2] = MEMORY | SHARED | AF | READ_ONLY | VALID;
	tlb_flush();
	store(1, AT + 8);
	check_fault("read-only at level 1", PERMISSION + 1);
	map(0);
	level2[0] = MEMORY | SHARED | AF | READ_ONLY | VALID;
	tlb_flush();
	store(1, AT + 8);
	check_fault("read-only at level 2", PERMISSION + 2);
	map(page(0) | SHARED | AF | READ_ONLY | PAGE);
	store(1, AT + 8);
	check_fault("read-only at level 3", PERMISSION + 3);
	check("read-only: loads", (data[0][1] = 77, load(AT + 8)), 77);

	map(1ull << 46 | page(0) | SHARED | AF | PAGE); /* beyond TCR_EL1.IPS */
	load(AT + 8);
	check_fault("too large an address at level 3", ADDRESS_SIZE + 3);
	level2[0] = 1ull << 46 | TABLE;
	tlb_flush();
	load(AT + 8);
	check_fault("too large an address at level 2", ADDRESS_SIZE + 2);

	map(page(0) | SHARED | AF | PAGE);
	level2[0] |= 1ull << 62; /* APTable: read-only */
	tlb_flush();
	store(1, AT + 8);
	check_fault("read-only by a table", PERMISSION + 3);
}

static void addresses(void)
{
	load(1ull << 39);
	check("an address that TTBR0 hasn't", STATUS(caught.esr), TRANSLATION + 0);
	check("its FAR", caught.far, 1ull << 39);
	load(0xffffff8000000000);
	check("an address of TTBR1, which is off", STATUS(caught.esr), TRANSLATION + 0);
	load(0x1234000080000000);
	check("an address with a tag that is none", STATUS(caught.esr), TRANSLATION + 0);
	map(page(0) | SHARED | AF | PAGE);
	data[0][2] = 99;
	WRITE(tcr_el1, READ(tcr_el1) | 1ull << 37);
	check("a tag", load(0x1200000000000000 | (AT + 16)), 99);
	WRITE(tcr_el1, READ(tcr_el1) & ~(1ull << 37));
}

/* ---- rights ---- */

/* ldr x0, [x0] and str x0, [x0], each before svc #1 */
static const uint32_t user_load[2] = {0xf9400000, 0xd4000021}, user_store[2] = {0xf9000000, 0xd4000021};

static void user_rights(void)
{
	uint32_t *const code = (uint32_t *)data[1];

	map(page(0) | SHARED | AF | USER | UXN | PXN | PAGE);
	level3[1] = page(1) | SHARED | AF | USER | READ_ONLY | PXN | PAGE;
	tlb_flush();
	code[0] = user_load[0];
	code[1] = user_load[1];
	code[2] = user_store[0];
	code[3] = user_store[1];
	__asm__ volatile("dsb ish\n ic ialluis\n dsb ish\n isb" ::: "memory");
	data[0][1] = 55;
	check("EL0 loads", user(AT + 0x1000, AT + 8), 55);
	check("by SVC", CLASS(caught.esr), 0x15);
	user(AT + 0x1008, AT + 8);
	check("EL0 stores", CLASS(caught.esr), 0x15);
	map(page(0) | SHARED | AF | UXN | PXN | PAGE);
	user(AT + 0x1000, AT + 8);
	check("EL0 loads EL1's: class", CLASS(caught.esr), 0x24);
	check("EL0 loads EL1's", STATUS(caught.esr), PERMISSION + 3);
	map(page(0) | SHARED | AF | USER | READ_ONLY | UXN | PXN | PAGE);
	user(AT + 0x1008, AT + 8);
	check("EL0 stores to what is read-only", caught.esr & 0x7f, 0x40 | (PERMISSION + 3));
	user(AT, AT);
	check("EL0 executes UXN: class", CLASS(caught.esr), 0x20);
	check("EL0 executes UXN", STATUS(caught.esr), PERMISSION + 3);
	user(0x123456789000, 0);
	check("EL0 executes nothing", STATUS(caught.esr), TRANSLATION + 0);
}

static void privileged_rights(void)
{
	data[0][0] = 0xd65f03c0; /* ret */
	__asm__ volatile("dsb ish\n ic ialluis\n dsb ish\n isb" ::: "memory");
	map(page(0) | SHARED | AF | READ_ONLY | UXN | PAGE);
	jump(AT);
	check("EL1 executes", caught.count, 0);
	map(page(0) | SHARED | AF | UXN | PXN | PAGE);
	jump(AT);
	check("EL1 executes PXN: class", CLASS(caught.esr), 0x21);
	check("EL1 executes PXN", STATUS(caught.esr), PERMISSION + 3);
	map(page(0) | SHARED | AF | USER | PAGE);
	jump(AT);
	check("EL1 executes what EL0 writes", STATUS(caught.esr), PERMISSION + 3);
	map(page(0) | SHARED | AF | USER | PAGE | UXN | PXN);
	check("EL1 loads EL0's", load(AT), 0xd65f03c0);
	__asm__ volatile(".arch armv8.2-a+pan\n msr pan, #1");
	load(AT + 8);
	check_fault("EL1 with PAN", PERMISSION + 3);
	check("LDTR with PAN", TRY_WITH("ldtr x0, [x1]", 0, AT), 0xd65f03c0);
	__asm__ volatile("msr pan, #0");
	map(page(0) | SHARED | AF | PAGE | UXN | PXN);
	TRY_WITH("ldtr x0, [x1]", 0, AT + 8);
	check_fault("LDTR of EL1's", PERMISSION + 3);
	__asm__ volatile("msr uao, #1");
	TRY_WITH("ldtr x0, [x1]", 0, AT + 8);
	check("LDTR with UAO", caught.count, 0);
	__asm__ volatile("msr uao, #0");
}

/* ---- blocks and hints ---- */

static void blocks(void)
{
	map(0);
	level2[0] = MEMORY | SHARED | AF | VALID;
	tlb_flush();
	data[0][3] = 33;
	check("2 MiB", load(AT + (page(0) & 0x1fffff) + 24), *(uint64_t *)(MEMORY + (page(0) & 0x1fffff) + 24));
	for (unsigned i = 0; i < 16; i++)
		level3[16 + i] = ((page(0) & ~0xffffull) + 4096 * i) | SHARED | AF | 1ull << 52 | PAGE; /* contiguous */
	level2[0] = (uint64_t)level3 | TABLE;
	tlb_flush();
	data[0][4] = 44;
	check("64 KiB that are said to be contiguous", load(AT + 0x10000 + (page(0) & 0xffff) + 32), 44);
}

/* ---- changes need the TLB to be told, and are seen then ---- */

static void invalidation(void)
{
	map(page(0) | SHARED | AF | PAGE);
	data[0][1] = 1;
	data[1][1] = 2;
	check("before", load(AT + 8), 1);
	level3[0] = page(1) | SHARED | AF | PAGE;
	__asm__ volatile("dsb ishst\n tlbi vaae1is, %0\n dsb ish\n isb" ::"r"(AT >> 12) : "memory");
	check("after TLBI of the address", load(AT + 8), 2);
	level3[0] = 0;
	__asm__ volatile("dsb ishst\n tlbi vale1, %0\n dsb ish\n isb" ::"r"(AT >> 12) : "memory");
	load(AT + 8);
	check_fault("after TLBI of the last level", TRANSLATION + 3);
	level3[0] = page(0) | SHARED | AF | PAGE;
	__asm__ volatile("dsb ishst\n isb" ::: "memory");
	check("what was invalid needs none", load(AT + 8), 1);
}

static uint64_t other1[512] __attribute__((aligned(4096))), other2[512] __attribute__((aligned(4096))), other3[512] __attribute__((aligned(4096)));

/* Two address spaces, to and fro. */
static void address_spaces(void)
{
	map(page(0) | SHARED | AF | NG | PAGE);
	other1[0] = level1[0];
	other1[1] = level1[1];
	other1[2] = (uint64_t)other2 | TABLE;
	other2[0] = (uint64_t)other3 | TABLE;
	other3[0] = page(1) | SHARED | AF | NG | PAGE;
	data[0][1] = 10;
	data[1][1] = 20;
	for (unsigned i = 0; i < 100; i++) {
		WRITE(ttbr0_el1, (uint64_t)other1 | 5ull << 48);
		check("ASID 5", load(AT + 8), 20 + i);
		WRITE(ttbr0_el1, (uint64_t)level1 | 4ull << 48);
		check("ASID 4", load(AT + 8), 10 + i);
		store(11 + i, AT + 8);
		WRITE(ttbr0_el1, (uint64_t)other1 | 5ull << 48);
		store(21 + i, AT + 8);
	}
	/* Code at one address, another in each. */
	for (unsigned n = 0; n < 2; n++)
		data[n][16] = (0xd2800000ull | (n + 1) << 5) | 0xd65f03c0ull << 32; /* mov x0, #n + 1; ret */
	__asm__ volatile("dsb ish\n ic ialluis\n dsb ish\n isb" ::: "memory");
	for (unsigned i = 0; i < 100; i++) {
		WRITE(ttbr0_el1, (uint64_t)other1 | 5ull << 48);
		check("code of ASID 5", TRY_WITH("adr x30, 1f\n br x1", 0, AT + 128), 2);
		WRITE(ttbr0_el1, (uint64_t)level1 | 4ull << 48);
		check("code of ASID 4", TRY_WITH("adr x30, 1f\n br x1", 0, AT + 128), 1);
	}
	WRITE(ttbr0_el1, (uint64_t)other1 | 5ull << 48);
	other3[0] = 0;
	__asm__ volatile("dsb ishst\n tlbi aside1is, %0\n dsb ish\n isb" ::"r"(5ull << 48) : "memory");
	load(AT + 8);
	check_fault("after TLBI of the ASID", TRANSLATION + 3);
	WRITE(ttbr0_el1, level1);
	tlb_flush();
}

/* ---- access flag and dirty state by hardware (D8.4) ---- */

static void by_hardware(void)
{
	const uint64_t tcr = READ(tcr_el1);

	if (!(READ(s3_0_c0_c7_1) & 15)) /* ID_AA64MMFR1_EL1.HAFDBS */
		return;
	WRITE(tcr_el1, tcr | 3ull << 39);
	map(page(0) | SHARED | READ_ONLY | DBM | PAGE);
	data[0][1] = 5;
	check("a page without access flag", load(AT + 8), 5);
	check("gets it", level3[0] & AF, AF);
	check("and stays clean", level3[0] & READ_ONLY, READ_ONLY);
	store(6, AT + 8);
	check("a store to a clean page", caught.count, 0);
	check("makes it dirty", level3[0] & READ_ONLY, 0);
	check("and stores", data[0][1], 6);
	map(page(0) | SHARED | AF | READ_ONLY | PAGE);
	store(7, AT + 8);
	check_fault("without DBM it is read-only", PERMISSION + 3);
	WRITE(tcr_el1, tcr);
	tlb_flush();
}

/* ---- AT ---- */

#define ADDRESS_TRANSLATE(op, at)                                                                                                              \
	({                                                                                                                                     \
		__asm__ volatile("at " op ", %0\n isb" ::"r"(at) : "memory");                                                                  \
		READ(par_el1);                                                                                                                 \
	})

static void at(void)
{
	map(page(0) | SHARED | AF | READ_ONLY | PAGE);
	check("AT S1E1R", ADDRESS_TRANSLATE("s1e1r", AT + 8) & 0xfffffffff001, page(0));
	check("AT S1E1W fails", ADDRESS_TRANSLATE("s1e1w", AT + 8) & 0x7f, 1 | (PERMISSION + 3) << 1);
	check("AT S1E0R fails", ADDRESS_TRANSLATE("s1e0r", AT + 8) & 0x7f, 1 | (PERMISSION + 3) << 1);
	map(page(0) | SHARED | AF | USER | PAGE);
	check("AT S1E0W", ADDRESS_TRANSLATE("s1e0w", AT + 8) & 0xfffffffff001, page(0));
	map(0);
	check("AT of nothing", ADDRESS_TRANSLATE("s1e1r", AT + 8) & 0x7f, 1 | (TRANSLATION + 3) << 1);
	check("AT of nothing is no exception", caught.count, 1);
}

/* ---- granules: the identity map again, of 64 and 16 KiB ---- */

static uint64_t large[2 * 8192] __attribute__((aligned(65536)));
static uint64_t pages64[8192] __attribute__((aligned(65536)));

static void with_tables(uint64_t tcr, uint64_t ttbr)
{
	const uint64_t sctlr = READ(sctlr_el1);

	WRITE(sctlr_el1, sctlr & ~5ull);
	WRITE(tcr_el1, tcr);
	WRITE(ttbr0_el1, ttbr);
	tlb_flush();
	WRITE(sctlr_el1, sctlr);
}

static void granules(void)
{
	const uint64_t tcr = READ(tcr_el1);
	/* 64 KiB, 39 bits: level 2 (29 to 38, blocks of 512 MiB) and 3. */
	const uint64_t attributes = SHARED | AF;

	for (unsigned i = 0; i < 1024; i++)
		large[i] = 0;
	large[0] = 1ull << 2 | UXN | PXN | AF | VALID;
	large[2] = MEMORY | attributes | VALID;
	large[3] = (MEMORY + (512ull << 20)) | attributes | VALID;
	large[4] = (uint64_t)pages64 | TABLE;
	pages64[0] = (page(0) & ~0xffffull) | attributes | PAGE;
	data[0][5] = 66;
	with_tables((tcr & ~(3ull << 14)) | 1ull << 14, (uint64_t)large);
	check("64 KiB pages", load(AT + (page(0) & 0xffff) + 40), 66);
	load(AT + 0x10000 + 8);
	check("64 KiB pages: fault", STATUS(caught.esr), TRANSLATION + 3);
	load(AT + (512ull << 20));
	check("64 KiB pages: fault of level 2", STATUS(caught.esr), TRANSLATION + 2);
	with_tables(tcr, (uint64_t)level1);
	/* 16 KiB, 39 bits: level 1 has 8 entries of 64 GiB, level 2 blocks of 32 MiB. */
	uint64_t *const level2_16 = large + 2048, *const level3_16 = large + 4096;

	for (unsigned i = 0; i < 2048; i++)
		large[i] = level2_16[i] = level3_16[i] = 0;
	large[0] = (uint64_t)level2_16 | TABLE;
	for (unsigned i = 0; i < 32; i++) {
		level2_16[i] = ((uint64_t)i << 25) | 1ull << 2 | UXN | PXN | AF | VALID;
		level2_16[32 + i] = (MEMORY + ((uint64_t)i << 25)) | attributes | VALID;
	}
	level2_16[64] = (uint64_t)level3_16 | TABLE;
	level3_16[1] = (page(0) & ~0x3fffull) | attributes | PAGE;
	with_tables((tcr & ~(3ull << 14)) | 2ull << 14, (uint64_t)large);
	check("16 KiB pages", load(AT + 0x4000 + (page(0) & 0x3fff) + 40), 66);
	load(AT + 8);
	check("16 KiB pages: fault", STATUS(caught.esr), TRANSLATION + 3);
	with_tables(tcr, (uint64_t)level1);
}

void guest_main(void)
{
	levels();
	addresses();
	user_rights();
	privileged_rights();
	blocks();
	invalidation();
	address_spaces();
	by_hardware();
	at();
	granules();
}
