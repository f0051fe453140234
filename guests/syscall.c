/* SYSCALL, SYSRET, SYSENTER, SYSEXIT and SWAPGS: registers, flags, selectors, and what they refuse (Intel's rules).
 *
 * AMD's processors have no SYSENTER in long mode, have SYSCALL in 32-bit code, and SYSRET faults after it has left for
 * user mode; where KVM shows the guest such a host, those checks are counted but not made.
 * QEMU's TCG (7.2, -cpu max,vendor=GenuineIntel) differs, wrongly: SYSCALL loses CF, SYSRET loses VIF and VIP and
 * takes the non-canonical RCX to user mode, SYSEXIT does the same, 32-bit SYSEXIT keeps RDX's high
 * half, WRMSR takes non-canonical addresses, and SYSCALL in 32-bit code is not undefined.
 */
#include "guest.h"

const char guest_name[] = "syscall";

/* Made on Intel's processors (and ruse's interpreter, which is one); passed elsewhere. */
#define EQUAL_INTEL(a, b) check_equal(intel ? (uint64_t)(a) : (uint64_t)(b), (uint64_t)(b), #a, __LINE__)

#define EFER           0xc0000080u
#define STAR           0xc0000081u
#define LSTAR          0xc0000082u
#define CSTAR          0xc0000083u
#define FMASK          0xc0000084u
#define FS_BASE        0xc0000100u
#define GS_BASE        0xc0000101u
#define KERNEL_GS_BASE 0xc0000102u
#define SYSENTER_CS    0x174u
#define SYSENTER_ESP   0x175u
#define SYSENTER_EIP   0x176u

#define FLAG_C  1ull
#define FLAG_IF 0x200ull
#define FLAG_D  0x400ull
#define FLAG_AC 0x40000ull
#define FLAG_ID 0x200000ull

#define NON_CANONICAL 0x0000800000000000ull
#define LOW_PAGE      0x70000000ull /* user rights below 4 GiB, for 32-bit code */

/* What the entry found, and what user mode found after the return. */
struct seen {
	uint64_t rcx, r11, rsp, cs, ss, flags;
};
extern struct seen at_entry, after;
extern uint64_t user_flags, return_flags;
extern char syscall_entry[], syscall_entry_end[], sysenter_entry[], syscall_here[], sysenter_here[];
extern char compatible_code[], compatible_syscall[], compatible_sysenter[], compatible_swapgs[], compatible_end[];
void do_syscall(uint64_t arg);
void do_sysenter(uint64_t arg);

#define NOTE(into)                                                                                                     \
	"	movq %rcx, " #into "(%rip)\n"                                                                          \
	"	movq %r11, " #into "+8(%rip)\n"                                                                        \
	"	movq %rsp, " #into "+16(%rip)\n"                                                                       \
	"	pushfq\n"                                                                                              \
	"	popq " #into "+40(%rip)\n"                                                                             \
	"	movq %cs, %rdx\n"                                                                                      \
	"	movq %rdx, " #into "+24(%rip)\n"                                                                       \
	"	movq %ss, %rdx\n"                                                                                      \
	"	movq %rdx, " #into "+32(%rip)\n"

__asm__(".pushsection .text\n"
	/* User mode: the flags of user_flags, the call, then a note of what is there after it. */
	"do_syscall:\n"
	"	pushq user_flags(%rip)\n"
	"	popfq\n"
	"	syscall\n"
	"syscall_here:\n" NOTE(after) "	pushq $0x2\n"
	"	popfq\n"
	"	ret\n"
	"do_sysenter:\n"
	"	movq %rsp, %r8\n"
	"	leaq sysenter_here(%rip), %r9\n"
	"	pushq user_flags(%rip)\n"
	"	popfq\n"
	"	sysenter\n"
	"sysenter_here:\n" NOTE(after) "	ret\n"
	/* The kernel's entries. return_flags other than zero replace r11. */
	"syscall_entry:\n" NOTE(at_entry) "	movq return_flags(%rip), %rdx\n"
	"	testq %rdx, %rdx\n"
	"	cmovnz %rdx, %r11\n"
	"	sysretq\n"
	"syscall_entry_end:\n" NOTE(at_entry) "	int $0x80\n"
	"sysenter_entry:\n" NOTE(at_entry) "	movq %r9, %rdx\n"
	"	movq %r8, %rcx\n"
	"	rex.w sysexit\n"
	/* 32-bit code that is copied to LOW_PAGE. */
	"compatible_code:\n"
	"	int $0x80\n"
	"compatible_syscall:\n"
	"	syscall\n"
	"compatible_swapgs:\n"
	"	swapgs\n"
	"compatible_sysenter:\n"
	"	sysenter\n"
	"compatible_end:\n"
	".popsection\n");

struct seen at_entry, after;
static bool intel;
uint64_t user_flags, return_flags;

static uint8_t sysenter_stack[4096] __attribute__((aligned(16)));

/* ---- SYSCALL ---- */

static void test_syscall(void)
{
	wrmsr(STAR, 0x0028ull << 48 | 0x0008ull << 32);
	wrmsr(LSTAR, (uint64_t)syscall_entry);
	wrmsr(FMASK, FLAG_IF | FLAG_D | FLAG_AC);
	EQUAL(rdmsr(STAR), 0x0028ull << 48 | 0x0008ull << 32);
	EQUAL(rdmsr(LSTAR), syscall_entry);
	EQUAL(rdmsr(FMASK), FLAG_IF | FLAG_D | FLAG_AC);

	user_flags = 0x2 | FLAG_C | FLAG_IF | FLAG_D | FLAG_ID;
	return_flags = 0;
	EQUAL(run_user(do_syscall, 0), 0x80);
	EQUAL(at_entry.rcx, USER(syscall_here));
	EQUAL(at_entry.r11, user_flags);
	EQUAL(at_entry.cs, 0x08);
	EQUAL(at_entry.ss, 0x10);
	EQUAL(at_entry.flags, 0x2 | FLAG_C | FLAG_ID);
	EQUAL(after.rsp, at_entry.rsp);
	EQUAL(after.cs, 0x3b);
	EQUAL_INTEL(after.ss, 0x33);
	EQUAL(after.flags, user_flags);
	EQUAL(caught.cs, 0x3b);

	/* SYSRET takes RF, VM and the reserved flags from nowhere. */
	user_flags = 0x2;
	return_flags = ~0ull & ~(0x100ull | 0x4000 | FLAG_AC);
	EQUAL(run_user(do_syscall, 0), 0x80);
	EQUAL(at_entry.flags, 0x2);
	EQUAL_INTEL(after.flags, 0x3c7fd7 & ~(0x100ull | 0x4000 | FLAG_AC));
	return_flags = 0;

	/* The low bits of STAR's selectors: RPL is 0 at the entry, 3 after the return. */
	wrmsr(STAR, 0x002bull << 48 | 0x000bull << 32);
	EQUAL(run_user(do_syscall, 0), 0x80);
	EQUAL(at_entry.cs, 0x08);
	EQUAL(after.cs, 0x3b);
	EQUAL_INTEL(after.ss, 0x33);
	/* The descriptors are not read: selectors beyond the GDT do. */
	wrmsr(STAR, 0x7000ull << 48 | 0x6000ull << 32);
	EQUAL(run_user(do_syscall, 0), 0x80);
	EQUAL(at_entry.cs, 0x6000);
	EQUAL(at_entry.ss, 0x6008);
	EQUAL(after.cs, 0x7013);
	EQUAL_INTEL(after.ss, 0x700b);
	wrmsr(STAR, 0x0028ull << 48 | 0x0008ull << 32);
}

static void sysret_to(uint64_t rip)
{
	__asm__ volatile("movq $2, %%r11; sysretq" ::"c"(rip) : "r11", "memory");
}
static void sysret32_to(uint64_t rip)
{
	__asm__ volatile("movq $2, %%r11; sysretl" ::"c"(rip) : "r11", "memory");
}
static void write_msr(uint64_t index)
{
	wrmsr((uint32_t)index, NON_CANONICAL);
}
static void write_fmask(uint64_t value)
{
	wrmsr(FMASK, value);
}

static void test_refusals(void)
{
	EQUAL(fault_of(sysret_to, NON_CANONICAL), 13);
	EQUAL(caught.error, 0);
	EQUAL_INTEL(caught.cs, 8); /* still the kernel's */
	EQUAL(run_user(sysret_to, USER(syscall_here)), 13);
	EQUAL(caught.error, 0);
	EQUAL(caught.cs, 0x3b);

	EQUAL(fault_of(write_msr, LSTAR), 13);
	EQUAL(fault_of(write_msr, CSTAR), 13);
	EQUAL_INTEL(fault_of(write_msr, SYSENTER_ESP), 13);
	EQUAL_INTEL(fault_of(write_msr, SYSENTER_EIP), 13);
	EQUAL(fault_of(write_msr, FS_BASE), 13);
	EQUAL(fault_of(write_msr, GS_BASE), 13);
	EQUAL(fault_of(write_msr, KERNEL_GS_BASE), 13);
	EQUAL_INTEL(fault_of(write_fmask, 1ull << 32), 13);

	wrmsr(EFER, rdmsr(EFER) & ~1ull); /* SCE */
	EQUAL(run_user(do_syscall, 0), 6);
	EQUAL(caught.rip, USER(syscall_here) - 2);
	EQUAL(fault_of(sysret_to, USER(syscall_here)), 6);
	wrmsr(EFER, rdmsr(EFER) | 1);
}

/* ---- 32-bit user code ---- */

static void test_compatible(void)
{
	uint8_t *page = alloc_page();

	for (size_t i = 0; i < (size_t)(compatible_end - compatible_code); i++)
		page[i] = (uint8_t)compatible_code[i];
	*pte_of(LOW_PAGE) = (uint64_t)page | PTE_P | PTE_W | PTE_U;
	invlpg(LOW_PAGE);
	/* Without REX.W, SYSRET returns to 32-bit code at ECX. */
	EQUAL(fault_of(sysret32_to, LOW_PAGE | 0xabcdull << 32), 0x80);
	EQUAL(caught.cs, 0x2b);
	EQUAL(caught.rip, LOW_PAGE + 2);
	/* There, SYSCALL and SWAPGS are undefined. */
	EQUAL_INTEL(fault_of(sysret32_to, LOW_PAGE + (uint64_t)(compatible_syscall - compatible_code)), 6);
	EQUAL_INTEL(caught.cs, 0x2b);
	EQUAL_INTEL(fault_of(sysret32_to, LOW_PAGE + (uint64_t)(compatible_swapgs - compatible_code)), 6);
	/* SYSENTER works, and enters 64-bit code. */
	wrmsr(SYSENTER_EIP, (uint64_t)syscall_entry_end);
	EQUAL_INTEL(fault_of(sysret32_to, LOW_PAGE + (uint64_t)(compatible_sysenter - compatible_code)), 0x80);
	EQUAL_INTEL(at_entry.cs, 0x08);
	EQUAL_INTEL(at_entry.ss, 0x10);
	EQUAL_INTEL(at_entry.rsp, sysenter_stack + sizeof(sysenter_stack));
}

/* ---- SYSENTER ---- */

static void sysexit_to(uint64_t rip)
{
	__asm__ volatile("rex.w sysexit" ::"d"(rip), "c"(USER(sysenter_stack)) : "memory");
}
static void sysexit_stack(uint64_t rsp)
{
	__asm__ volatile("rex.w sysexit" ::"d"(USER(syscall_here)), "c"(rsp) : "memory");
}
static void sysexit32_to(uint64_t rip)
{
	__asm__ volatile("sysexit" ::"d"(rip), "c"(0x1000ull) : "memory");
}

static void test_sysenter(void)
{
	wrmsr(SYSENTER_CS, 8);
	wrmsr(SYSENTER_ESP, (uint64_t)(sysenter_stack + sizeof(sysenter_stack)));
	wrmsr(SYSENTER_EIP, (uint64_t)sysenter_entry);
	user_flags = 0x2 | FLAG_C | FLAG_IF | FLAG_ID;
	EQUAL_INTEL(run_user(do_sysenter, 0), 0x80);
	EQUAL_INTEL(at_entry.rsp, sysenter_stack + sizeof(sysenter_stack));
	EQUAL_INTEL(at_entry.cs, 0x08);
	EQUAL_INTEL(at_entry.ss, 0x10);
	EQUAL_INTEL(at_entry.flags, 0x2 | FLAG_C | FLAG_ID);
	EQUAL_INTEL(after.cs, 0x2b);
	EQUAL_INTEL(after.ss, 0x33);

	EQUAL_INTEL(fault_of(sysexit_to, NON_CANONICAL), 13);
	EQUAL_INTEL(caught.cs, 8);
	EQUAL_INTEL(fault_of(sysexit_stack, NON_CANONICAL), 13);
	EQUAL_INTEL(run_user(sysexit_to, USER(sysenter_here)), 13);
	wrmsr(SYSENTER_CS, 0);
	EQUAL_INTEL(run_user(do_sysenter, 0), 13);
	EQUAL_INTEL(caught.error, 0);
	EQUAL_INTEL(fault_of(sysexit_to, USER(sysenter_here)), 13);
	wrmsr(SYSENTER_CS, 8);
}

static void test_sysexit32(void)
{
	EQUAL_INTEL(fault_of(sysexit32_to, LOW_PAGE | 1ull << 32), 0x80);
	EQUAL_INTEL(caught.cs, 0x1b);
	EQUAL_INTEL(caught.rip, LOW_PAGE + 2);
	EQUAL_INTEL(caught.rsp, 0x1000);
}

/* ---- SWAPGS ---- */

static void swapgs(uint64_t arg)
{
	__asm__ volatile("swapgs" ::: "memory");
}

static void test_swapgs(void)
{
	static volatile uint64_t one = 1, two = 2;
	uint64_t value;

	wrmsr(GS_BASE, (uint64_t)&one);
	wrmsr(KERNEL_GS_BASE, (uint64_t)&two);
	__asm__ volatile("movq %%gs:0, %0" : "=r"(value));
	EQUAL(value, 1);
	swapgs(0);
	EQUAL(rdmsr(GS_BASE), &two);
	EQUAL(rdmsr(KERNEL_GS_BASE), &one);
	__asm__ volatile("movq %%gs:0, %0" : "=r"(value));
	EQUAL(value, 2);
	EQUAL(run_user(swapgs, 0), 13);
	EQUAL(caught.error, 0);
	EQUAL(rdmsr(GS_BASE), &two);
}

void guest_main(void)
{
	uint32_t leaf[4];

	cpuid(0, 0, leaf);
	intel = leaf[1] == 0x756e6547; /* "Genu" */
	test_syscall();
	test_refusals();
	test_sysenter();
	test_compatible();
	test_sysexit32();
	test_swapgs();
}
