/* Synchronous exceptions from EL1 and EL0: which vector, syndrome, return address and saved state each has (DDI 0487 D1.10, D1.13).
 */
#include "guest.h"

const char guest_name[] = "exceptions";

#define CLASS(esr) ((esr) >> 26)
#define ISS(esr)   ((esr) & 0x1ffffff)

/* ---- EL1 ---- */

static void check_el1(const char *what, uint64_t class, uint64_t iss)
{
	check(what, caught.count, 1);
	check(what, caught.vector, 4);
	check(what, CLASS(caught.esr), class);
	check(what, ISS(caught.esr), iss);
	check(what, caught.esr >> 25 & 1, 1);
	check(what, caught.spsr & 0x1f, 5);
}

static void from_el1(void)
{
	TRY("svc #0x1234");
	check_el1("SVC", 0x15, 0x1234);
	TRY("brk #0x4321");
	check_el1("BRK", 0x3c, 0x4321);
	check("BRK's address is its own", *(uint32_t *)caught.elr, 0xd4200000 | 0x4321 << 5);
	TRY("udf #0");
	check_el1("UDF", 0, 0);
	check("UDF's address is its own", *(uint32_t *)caught.elr, 0);
	TRY(".word 0xffffffff");
	check_el1("unallocated", 0, 0);
	TRY("msr spsel, #0\n brk #1");
	WRITE(spsel, 1);
	check("of SP_EL0: vector", caught.vector, 0);
	check("of SP_EL0: mode", caught.spsr & 0x1f, 4);
	TRY_WITH("mrs x0, s3_4_c1_c1_0", 0, 0); /* HCR_EL2 */
	check_el1("a register of EL2", 0, 0);
	TRY("smc #0");
	check_el1("SMC without EL3", 0, 0);
}

static void flags_and_masks(void)
{
	TRY_WITH("msr nzcv, x0\n msr daifset, #15\n svc #0", 0xa0000000, 0);
	check("flags are saved", caught.spsr >> 28, 0xa);
	check("masks are saved", caught.spsr >> 6 & 15, 15);
	TRY_WITH("msr nzcv, x0\n msr daifclr, #13\n svc #0\n", 0x50000000, 0);
	check("other flags are saved", caught.spsr >> 28, 0x5);
	check("other masks are saved", caught.spsr >> 6 & 15, 2);
	WRITE(daif, 0x3c0);
}

/* ---- alignment ---- */

static void stack_alignment(void)
{
	const uint64_t sctlr = READ(sctlr_el1);

	WRITE(sctlr_el1, sctlr | 1 << 3);
	TRY_WITH("mov x10, sp\n add x1, x10, #8\n msr spsel, #0\n mov sp, x1\n ldr x0, [sp]\n", 0, 0);
	WRITE(spsel, 1);
	check("misaligned SP: class", CLASS(caught.esr), 0x26);
	WRITE(sp_el0, user_stack + sizeof(user_stack));
	WRITE(sctlr_el1, sctlr & ~(1ull << 3));
	check("misaligned SP may be used if it isn't checked",
	      (TRY_WITH("mov x10, sp\n msr spsel, #0\n mov sp, x1\n ldr x0, [sp]\n mov x0, #7\n msr spsel, #1", 0, user_stack + 8)), 7);
	WRITE(sp_el0, user_stack + sizeof(user_stack));
	WRITE(sctlr_el1, sctlr);
}

static void pc_alignment(void)
{
	TRY_WITH("adr x0, 1f\n add x0, x0, #2\n br x0", 0, 0);
	check("misaligned PC: class", CLASS(caught.esr), 0x22);
	check("misaligned PC: FAR", caught.far & 3, 2);
	check("misaligned PC: ELR", caught.elr, caught.far);
}

static uint64_t words[4] = {0x0123456789abcdef, 2, 3, 4};

static void data_alignment(void)
{
	const uint64_t sctlr = READ(sctlr_el1), at = (uint64_t)words;

	check("misaligned loads of memory", TRY_WITH("ldr x0, [x1]", 0, at + 1), 2ull << 56 | 0x0123456789abcdef >> 8);
	WRITE(sctlr_el1, sctlr | 2);
	TRY_WITH("ldr x0, [x1]", 0, at + 1);
	check("SCTLR.A: class", CLASS(caught.esr), 0x25);
	check("SCTLR.A: status", caught.esr & 0x3f, 0x21);
	check("SCTLR.A: FAR", caught.far, at + 1);
	TRY_WITH("str w0, [x1]", 0, at + 2);
	check("SCTLR.A: a store", caught.esr & 0x7f, 0x61);
	TRY_WITH("ldrh w0, [x1]", 0, at + 2);
	check("SCTLR.A: aligned", caught.count, 0);
	WRITE(sctlr_el1, sctlr);
	TRY_WITH("ldxr x0, [x1]", 0, at + 4);
	check("misaligned LDXR", caught.esr & 0x3f, 0x21);
	TRY_WITH("ldadd x0, x0, [x1]", 0, at + 4);
	check("misaligned LDADD", caught.esr & 0x3f, 0x21);
	TRY_WITH("ldar x0, [x1]", 0, at + 4);
	check("misaligned LDAR", caught.esr & 0x3f, 0x21);
	TRY_WITH("ldr w0, [x1]", 0, UART + 1);
	check("misaligned access of a device", caught.esr & 0x3f, 0x21);
}

/* ---- EL0: code of its own on a page that it may execute ---- */

static uint32_t user_page[1024] __attribute__((aligned(4096)));
static uint64_t level2[512] __attribute__((aligned(4096))), level3[512] __attribute__((aligned(4096)));
#define USER 0x80000000ull

static void map_user(void)
{
	level3[0] = (uint64_t)user_page | 0x7c3 | 1ull << 53; /* AP: both, read-only; AF */
	level3[1] = (uint64_t)user_stack | 0x743 | 1ull << 53 | 1ull << 54;
	level2[0] = (uint64_t)level3 | 3;
	level1[2] = (uint64_t)level2 | 3;
	tlb_flush();
	WRITE(sp_el0, USER + 0x2000);
}

/* One instruction at EL0, behind which is SVC #1. */
static uint64_t user_one(uint32_t word, uint64_t x0)
{
	user_page[0] = word;
	user_page[1] = 0xd4000021;
	__asm__ volatile("dc cvau, %0\n dsb ish\n ic ivau, %0\n dsb ish\n isb" ::"r"(user_page) : "memory");
	__asm__ volatile("ic ialluis\n dsb ish\n isb" ::: "memory");
	caught.count = 0;
	return user(USER, x0);
}

static void check_el0(const char *what, uint64_t class, uint64_t iss)
{
	check(what, caught.vector, 8);
	check(what, CLASS(caught.esr), class);
	check(what, ISS(caught.esr), iss);
	check(what, caught.spsr & 0x1f, 0);
}

static void from_el0(void)
{
	map_user();
	user_one(0xd4000001 | 77 << 5, 0);
	check_el0("SVC from EL0", 0x15, 77);
	check("SVC's return address", caught.elr, USER + 4);
	user_one(0xd4200000 | 5 << 5, 0);
	check_el0("BRK from EL0", 0x3c, 5);
	check("BRK's address", caught.elr, USER);
	user_one(0, 0);
	check_el0("UDF from EL0", 0, 0);
	user_one(0xd4000002, 0);
	check_el0("HVC from EL0", 0, 0);
	user_one(0xd4000003, 0);
	check_el0("SMC from EL0", 0, 0);
	user_one(0xd69f03e0, 0);
	check_el0("ERET from EL0", 0, 0);
	user_one(0xd5381000, 0); /* mrs x0, sctlr_el1 */
	check_el0("SCTLR_EL1 from EL0", 0, 0);
	user_one(0xd50342df, 0); /* msr daifset, #2 */
	check_el0("DAIFSet from EL0", 0x18, 6 << 17 | 3 << 14 | 4 << 10 | 31 << 5 | 2 << 1);
	user_one(0xd53bd040, 0); /* mrs x0, tpidr_el0 */
	check_el0("TPIDR_EL0 from EL0", 0x15, 1);
	WRITE(sctlr_el1, READ(sctlr_el1) & ~(1ull << 15));
	user_one(0xd53b0020, 0); /* mrs x0, ctr_el0 */
	check("CTR_EL0 trapped: class", CLASS(caught.esr), 0x18);
	check("CTR_EL0 trapped: which", ISS(caught.esr), 3ull << 20 | 1 << 17 | 3 << 14 | 0 << 10 | 0 << 5 | 0 << 1 | 1);
	WRITE(sctlr_el1, READ(sctlr_el1) | 1ull << 15);
	user_one(0xd53b0020, 0);
	check_el0("CTR_EL0 allowed", 0x15, 1);
	WRITE(cpacr_el1, 0);
	user_one(0x1e604000, 0); /* fmov d0, d0 */
	check_el0("floating point off", 0x07, 0x1e00000);
	WRITE(cpacr_el1, 1 << 20);
	user_one(0x1e604000, 0);
	check_el0("floating point for EL1 alone", 0x07, 0x1e00000);
	WRITE(cpacr_el1, 3 << 20);
	user_one(0x1e604000, 0);
	check_el0("floating point on", 0x15, 1);
}

static void illegal_return(void)
{
	/* To EL3 by its mode: PSTATE.IL, and the next instruction has the exception. */
	TRY_WITH("adr x10, 1f\n msr elr_el1, x10\n msr spsr_el1, x0\n eret", 0xd, 0);
	check("illegal return: class", CLASS(caught.esr), 0x0e);
	check("illegal return: PSTATE.IL", caught.spsr >> 20 & 1, 1);
	check("illegal return: mode stays", caught.spsr & 0x1f, 5);
}

void guest_main(void)
{
	from_el1();
	flags_and_masks();
	stack_alignment();
	pc_alignment();
	data_alignment();
	from_el0();
	illegal_return();
}
