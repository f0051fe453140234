/* Segmentation in long mode: loads from the GDT and an LDT, LAR, LSL, VERR and VERW, call gates, conforming code, far
 * returns to ring 3, and 32-bit code with the limits that only it has.
 *
 * QEMU's TCG (7.2) differs, wrongly: it checks no limits, loads SS with the null selector of another level and TR with
 * any, reads from an LDT that was never loaded, lets LAR and LSL see a 16-bit TSS, and takes a call gate to conforming
 * code for one to the inner level.
 */
#include "guest.h"

const char guest_name[] = "segments";

/* Access rights, bits 8 to 15 and 20 to 23 of a descriptor's high half. */
#define DPL3       0x6000u
#define DATA_RO    0x9000u
#define DATA       0x9200u
#define DATA_DOWN  0x9600u
#define CODE_X     0x9800u
#define CODE       0x9a00u
#define CONFORMING 0x9e00u
#define LDT        0x8200u
#define TSS16      0x8100u
#define GATE       0x8c00u
#define ABSENT     0x8000u /* xor: not present */
#define LONG       0x200000u
#define BIG        0x400000u
#define PAGES      0x800000u

enum { SLOTS = 64, FREE = 0x60 };
static uint64_t table[SLOTS] __attribute__((aligned(16)));
static uint64_t local[2] __attribute__((aligned(16)));
extern uint64_t gdt[];
extern char vector_stubs[];

static void set(unsigned selector, uint32_t base, uint32_t limit, uint32_t rights)
{
	table[selector / 8] = (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)rights << 32 |
			      (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)(base >> 24) << 56;
}

static void set_call_gate(unsigned selector, uint16_t target, uint64_t offset, uint32_t rights)
{
	table[selector / 8] = (offset & 0xffff) | (uint64_t)target << 16 | (uint64_t)rights << 32 |
			      (offset >> 16 & 0xffff) << 48;
	table[selector / 8 + 1] = offset >> 32;
}

static void load_gdt(unsigned limit)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = {(uint16_t)limit, (uint64_t)table};

	__asm__ volatile("lgdt %0" ::"m"(pointer));
}

/* ---- loads ---- */

static void load_ds(uint64_t selector)
{
	__asm__ volatile("movw %w0, %%ds" ::"r"(selector));
}
static void load_ss(uint64_t selector)
{
	__asm__ volatile("movw %w0, %%ss" ::"r"(selector));
}
static void load_ldt(uint64_t selector)
{
	__asm__ volatile("lldt %w0" ::"r"(selector));
}
static void load_tr(uint64_t selector)
{
	__asm__ volatile("ltr %w0" ::"r"(selector));
}

static void fails(void (*load)(uint64_t), uint64_t selector, uint64_t vector, uint64_t error, int line)
{
	check_equal((uint64_t)fault_of(load, selector), vector, "vector", line);
	check_equal(caught.error, error, "error", line);
}
#define FAILS(load, selector, vector, error) fails(load, selector, vector, error, __LINE__)

static void test_loads(void)
{
	set(0x60, 0, 0xfffff, DATA | PAGES | BIG);
	EQUAL(fault_of(load_ds, 0x60), -1);
	EQUAL(table[0x60 / 8] >> 40 & 1, 1); /* accessed */
	FAILS(load_ds, 0x63, 13, 0x60);      /* RPL 3, DPL 0 */
	set(0x60, 0, 0xfffff, (DATA ^ ABSENT) | PAGES | BIG);
	FAILS(load_ds, 0x60, 11, 0x60);
	FAILS(load_ss, 0x60, 12, 0x60);
	EQUAL(table[0x60 / 8] >> 40 & 1, 0);
	set(0x60, 0, 0xfffff, DATA_RO | PAGES | BIG);
	EQUAL(fault_of(load_ds, 0x60), -1);
	FAILS(load_ss, 0x60, 13, 0x60);
	set(0x60, 0, 0xfffff, CODE_X | LONG);
	FAILS(load_ds, 0x60, 13, 0x60);
	set(0x60, 0, 0xfffff, CODE | LONG);
	EQUAL(fault_of(load_ds, 0x60), -1);
	set(0x60, 0, 0xfffff, CONFORMING | LONG);
	EQUAL(fault_of(load_ds, 0x63), -1); /* conforming: at any level */
	set(0x60, 0, 0xfffff, DATA | DPL3 | PAGES | BIG);
	FAILS(load_ss, 0x60, 13, 0x60);
	FAILS(load_ss, 0x63, 13, 0x60);
	EQUAL(fault_of(load_ds, 0x63), -1);
	FAILS(load_ds, 0x40, 13, 0x40); /* a TSS */
	FAILS(load_ds, SLOTS * 8, 13, SLOTS * 8);
	EQUAL(fault_of(load_ss, 0), -1);
	FAILS(load_ss, 3, 13, 0);
	EQUAL(fault_of(load_ds, 3), -1);
	FAILS(load_tr, 0x40, 13, 0x40); /* busy */
}

static void test_ldt(void)
{
	uint16_t selector;

	local[1] = 0x00cf92000000ffff;
	set(0x60, (uint32_t)(uint64_t)local, sizeof(local) - 1, LDT);
	table[0x68 / 8] = 0;
	FAILS(load_ds, 0x0c, 13, 0x0c); /* no LDT yet */
	EQUAL(fault_of(load_ldt, 0x60), -1);
	__asm__ volatile("sldt %w0" : "=r"(selector));
	EQUAL(selector, 0x60);
	EQUAL(fault_of(load_ds, 0x0c), -1);
	EQUAL(local[1], 0x00cf93000000ffff);
	FAILS(load_ds, 0x14, 13, 0x14); /* beyond its limit */
	FAILS(load_ldt, 0x64, 13, 0x64);
	FAILS(load_ldt, 0x40, 13, 0x40);
	set(0x70, 0, 15, LDT ^ ABSENT);
	table[0x78 / 8] = 0;
	FAILS(load_ldt, 0x70, 11, 0x70);
	EQUAL(fault_of(load_ldt, 0), -1);
	FAILS(load_ds, 0x0c, 13, 0x0c);
	EQUAL(fault_of(load_ds, 0), -1);
}

/* ---- LAR, LSL, VERR, VERW ---- */

#define QUERY(name, text)                                                                                              \
	static bool name(uint16_t selector, uint32_t *value)                                                           \
	{                                                                                                              \
		bool ok;                                                                                               \
		uint32_t out = 0x5a5a5a5a;                                                                             \
		__asm__ volatile(text : "=@ccz"(ok), "+r"(out) : "r"((uint32_t)selector));                             \
		*value = out;                                                                                          \
		return ok;                                                                                             \
	}
QUERY(lar, "lar %2, %1")
QUERY(lsl, "lsl %2, %1")
QUERY(verr, "verr %w2")
QUERY(verw, "verw %w2")

/* The four as bits: LAR 1, LSL 2, VERR 4, VERW 8. */
static unsigned query(uint16_t selector)
{
	uint32_t value;

	return (unsigned)lar(selector, &value) | (unsigned)lsl(selector, &value) << 1 |
	       (unsigned)verr(selector, &value) << 2 | (unsigned)verw(selector, &value) << 3;
}

static volatile unsigned user_answer;
static void user_query(uint64_t selector)
{
	user_answer = query((uint16_t)selector);
}

static void test_queries(void)
{
	uint32_t value;

	CHECK(lar(0x08, &value));
	EQUAL(value & 0xf0ff00, 0xa09b00);
	CHECK(lsl(0x18, &value));
	EQUAL(value, 0xffffffff);
	set(0x60, 0, 0x12345, DATA | BIG);
	CHECK(lsl(0x60, &value));
	EQUAL(value, 0x12345);
	set(0x60, 0, 0x12345, DATA | BIG | PAGES);
	CHECK(lsl(0x60, &value));
	EQUAL(value, 0x12345fff);
	CHECK(!lsl(0, &value));
	EQUAL(value, 0x5a5a5a5a);

	EQUAL(query(0), 0);
	EQUAL(query(SLOTS * 8), 0);
	EQUAL(query(0x60), 15);
	EQUAL(query(0x63), 0);
	EQUAL(query(0x08), 7);
	set(0x60, 0, 0xffff, DATA_RO);
	EQUAL(query(0x60), 7);
	set(0x60, 0, 0xffff, CODE_X | LONG);
	EQUAL(query(0x60), 3);
	set(0x60, 0, 0xffff, CONFORMING | LONG);
	EQUAL(query(0x63), 7);
	EQUAL(table[0x60 / 8] >> 40 & 1, 0); /* none of them sets the accessed bit */
	set(0x60, 0, 0xffff, TSS16);
	EQUAL(query(0x60), 0);
	EQUAL(query(0x40), 3);
	set_call_gate(0x60, 8, 0, GATE);
	EQUAL(query(0x60), 1);
	set_call_gate(0x60, 8, 0, 0x8e00); /* an interrupt gate */
	EQUAL(query(0x60), 0);

	EQUAL(run_user(user_query, 0x10), 0x80);
	EQUAL(user_answer, 0);
	run_user(user_query, 0x33);
	EQUAL(user_answer, 15);
	set(0x60, 0, 0xffff, CONFORMING | LONG);
	table[0x68 / 8] = 0;
	run_user(user_query, 0x60);
	EQUAL(user_answer, 7);
}

/* ---- call gates ---- */

struct noted {
	uint64_t cs, ss, rsp, frame[4];
};
extern struct noted noted, noted_user;
extern char gate_entry[], after_far_call[], compatible_read_code[], far_user[];
void far_call(uint64_t selector), far_call_low(uint64_t selector), far_return(uint64_t selector);
void compatible_read(uint64_t selector_offset), long_read(uint64_t selector_offset);
void compatible_push(uint64_t selector_rsp), long_read(uint64_t selector_offset);
void far_jump(uint64_t selector_offset);

#define NOTE(into)                                                                                                     \
	"	movq %cs, %rax\n"                                                                                      \
	"	movq %rax, " #into "(%rip)\n"                                                                          \
	"	movq %ss, %rax\n"                                                                                      \
	"	movq %rax, " #into "+8(%rip)\n"                                                                        \
	"	movq %rsp, " #into "+16(%rip)\n"

__asm__(".pushsection .text\n"
	/* lcall through the selector in %edi, at any level. The offset is not used. */
	"far_call:\n"
	"	movl %edi, -4(%rsp)\n"
	"	lcall *-8(%rsp)\n"
	"after_far_call:\n" NOTE(noted_user) "	ret\n"
	"gate_entry:\n" NOTE(noted) "	movq (%rsp), %rax\n"
	"	movq %rax, noted+24(%rip)\n"
	"	movq 8(%rsp), %rax\n"
	"	movq %rax, noted+32(%rip)\n"
	"	movq 16(%rsp), %rax\n"
	"	movq %rax, noted+40(%rip)\n"
	"	movq 24(%rsp), %rax\n"
	"	movq %rax, noted+48(%rip)\n"
	"	lretq\n"
	/* A direct lcall of 32-bit operand size, from ring 0. */
	"far_call_low:\n"
	"	movl $1f, -8(%rsp)\n"
	"	movl %edi, -4(%rsp)\n"
	"	lcall *-8(%rsp)\n"
	"	ret\n"
	"1:\n" NOTE(noted) "	lretl\n"
	/* lretq to the code selector in the low 16 bits and stack selector above them. */
	"far_return:\n"
	"	movq %rdi, %rax\n"
	"	shrq $16, %rax\n"
	"	pushq %rax\n"
	"	movl $1, %edx\n"
	"	shlq $32, %rdx\n"
	"	leaq far_user(%rdx), %rcx\n"
	"	pushq %rcx\n" /* any stack pointer */
	"	movzwl %di, %edi\n"
	"	pushq %rdi\n"
	"	pushq %rcx\n"
	"	lretq\n"
	"far_user:\n"
	"	movl %ds, %ebx\n"
	"	movl %es, %ecx\n"
	"	shll $16, %ecx\n"
	"	orl %ecx, %ebx\n"
	"	movl %ebx, noted_user(%rip)\n"
	"	int $0x80\n"
	/* Reads four bytes at the offset in the high half of %rdi by FS, in 64-bit and in 32-bit code. */
	"long_read:\n"
	"	movl %edi, %fs\n"
	"	shrq $32, %rdi\n"
	"	movl %fs:(%rdi), %eax\n"
	"	ret\n"
	"compatible_read:\n"
	"	movl %edi, %fs\n"
	"	shrq $32, %rdi\n"
	"	ljmp *compatible_read_pointer\n"
	".code32\n"
	"compatible_read_code:\n"
	"	movl %fs:(%edi), %eax\n"
	"	ljmp $8, $2f\n"
	".code64\n"
	"2:	ret\n"
	/* Pushes in 32-bit code with this stack segment and pointer. */
	"compatible_push:\n"
	"	movq %rsp, %r8\n"
	"	movq %rdi, %rcx\n"
	"	shrq $32, %rcx\n"
	"	ljmp *compatible_push_pointer\n"
	".code32\n"
	"compatible_push_code:\n"
	"	movl %edi, %ss\n"
	"	movl %ecx, %esp\n"
	"	pushl $0x12345678\n"
	"	movl %esp, %eax\n"
	"	ljmp $8, $3f\n"
	".code64\n"
	"3:	xorl %ecx, %ecx\n"
	"	movl %ecx, %ss\n"
	"	movq %r8, %rsp\n"
	"	movq %rax, noted_user(%rip)\n"
	"	ret\n"
	"far_jump:\n"
	"	rolq $32, %rdi\n"
	"	movq %rdi, -8(%rsp)\n"
	"	ljmp *-8(%rsp)\n"
	".popsection\n"
	".pushsection .data\n"
	"compatible_read_pointer: .long compatible_read_code, 0x18\n"
	"compatible_push_pointer: .long compatible_push_code, 0x18\n"
	".popsection\n");

struct noted noted, noted_user;

static void user_gate(uint64_t selector, uint64_t vector, uint64_t error, int line)
{
	check_equal((uint64_t)run_user(far_call, selector), vector, "vector", line);
	check_equal(caught.error, error, "error", line);
}
#define USER_GATE(selector, vector, error) user_gate(selector, vector, error, __LINE__)

static uint8_t gate_stack[4096] __attribute__((aligned(16)));

static void test_call_gates(void)
{
	uint64_t top = (uint64_t)(gate_stack + sizeof(gate_stack));

	/* The exception that ends run_user would find RSP0 where it left it. */
	set_stack(0, top);
	set_call_gate(0x60, 8, (uint64_t)gate_entry, GATE | DPL3);
	EQUAL(run_user(far_call, 0x63), 0x80);
	EQUAL(noted.cs, 8);
	EQUAL(noted.ss, 0);
	EQUAL(noted.rsp, top - 32);
	EQUAL(noted.frame[0], USER(after_far_call));
	EQUAL(noted.frame[1], 0x3b);
	EQUAL(noted.frame[2], noted_user.rsp);
	EQUAL(noted.frame[3], 0x33);
	EQUAL(noted_user.cs, 0x3b);
	EQUAL(noted_user.ss, 0x33);
	/* From ring 0 there is no other stack. */
	EQUAL(fault_of(far_call, 0x60), -1);
	EQUAL(noted.cs, 8);
	EQUAL(noted.frame[0], after_far_call);
	EQUAL(noted.frame[1], 8);
	EQUAL(noted.rsp, noted_user.rsp - 16);

	set_call_gate(0x60, 8, (uint64_t)gate_entry, GATE);
	USER_GATE(0x60, 13, 0x60);
	set_call_gate(0x60, 8, (uint64_t)gate_entry, (GATE | DPL3) ^ ABSENT);
	USER_GATE(0x60, 11, 0x60);
	set_call_gate(0x60, 0x18, (uint64_t)gate_entry, GATE | DPL3); /* 32-bit code */
	USER_GATE(0x60, 13, 0x18);
	set_call_gate(0x60, 0x10, (uint64_t)gate_entry, GATE | DPL3); /* data */
	USER_GATE(0x60, 13, 0x10);
	set_call_gate(0x60, 0, (uint64_t)gate_entry, GATE | DPL3);
	USER_GATE(0x60, 13, 0);
	set_call_gate(0x60, 8, 0x0000800000000000, GATE | DPL3);
	USER_GATE(0x60, 13, 0);
	set_call_gate(0x60, 8, (uint64_t)gate_entry, GATE | DPL3);
	table[0x68 / 8] |= 1ull << 40; /* the second half's type is not 0 */
	USER_GATE(0x60, 13, 0x60);
	table[0x68 / 8] = 0;
	load_gdt(0x67); /* without its second half */
	USER_GATE(0x60, 13, 0x60);
	load_gdt(sizeof(table) - 1);
	USER_GATE(0x10, 13, 0x10);
	USER_GATE(0x40, 13, 0x40);
	USER_GATE(0x08, 13, 0x08);
	/* Through a gate to conforming code: the level stays. */
	set(0x70, 0, 0xfffff, CONFORMING | LONG);
	table[0x78 / 8] = 0;
	set_call_gate(0x60, 0x70, USER(gate_entry), GATE | DPL3);
	EQUAL(run_user(far_call, 0x63), 0x80);
	EQUAL(noted.cs, 0x73);
	EQUAL(noted.ss, 0x33);
	EQUAL(noted.rsp, noted_user.rsp - 16);
	EQUAL(noted.frame[1], 0x3b);
	/* Directly, and to a level that is not its own. */
	EQUAL(fault_of(far_call_low, 0x70), -1);
	EQUAL(noted.cs, 0x70);
	set(0x70, 0, 0xfffff, CONFORMING | DPL3 | LONG);
	FAILS(far_call_low, 0x70, 13, 0x70);
	FAILS(far_call_low, 0x38, 13, 0x38);
	set(0x70, 0, 0xfffff, CODE | LONG | BIG); /* L and D */
	FAILS(far_call_low, 0x70, 13, 0x70);
}

static void test_far_return(void)
{
	load_ds(0x10);
	__asm__ volatile("movw %w0, %%es" ::"r"(0x33));
	EQUAL(fault_of(far_return, 0x33003b), 0x80);
	EQUAL(caught.cs, 0x3b);
	EQUAL(noted_user.cs, 0x330000); /* DS was ring 0's and is null now, ES stays */
	FAILS(far_return, 0x330038, 13, 0x38);
	FAILS(far_return, 0x10003b, 13, 0x10);
	FAILS(far_return, 0x3b, 13, 0);
	FAILS(far_return, 0x100013, 13, 0x10);
	__asm__ volatile("movw %w0, %%es" ::"r"(0));
}

/* ---- limits in 32-bit code ---- */

static uint64_t at(uint64_t selector, uint64_t offset)
{
	return selector | offset << 32;
}

static void test_limits(void)
{
	static uint8_t bytes[0x10000] __attribute__((aligned(4096)));
	uint32_t base = (uint32_t)(uint64_t)bytes;

	set(0x60, base, 0xfff, DATA | BIG);
	EQUAL(fault_of(compatible_read, at(0x60, 0xffc)), -1);
	FAILS(compatible_read, at(0x60, 0xffd), 13, 0);
	FAILS(compatible_read, at(0x60, 0x1000), 13, 0);
	FAILS(compatible_read, at(0x60, 0xfffffffe), 13, 0); /* across the end of the offsets */
	FAILS(compatible_read, 0, 13, 0);                    /* null */
	EQUAL(fault_of(long_read, at(0x60, 0x1000)), -1);
	set(0x60, base, 0, DATA | BIG | PAGES);
	EQUAL(fault_of(compatible_read, at(0x60, 0xffc)), -1);
	FAILS(compatible_read, at(0x60, 0xffd), 13, 0);
	/* Expand-down: what is above the limit. */
	set(0x60, base, 0xfff, DATA_DOWN | BIG);
	EQUAL(fault_of(compatible_read, at(0x60, 0x1000)), -1);
	FAILS(compatible_read, at(0x60, 0xfff), 13, 0);
	FAILS(compatible_read, at(0x60, 0), 13, 0);
	set(0x60, base, 0xfff, DATA_DOWN);
	EQUAL(fault_of(compatible_read, at(0x60, 0x2ffc)), -1);
	EQUAL(fault_of(compatible_read, at(0x60, 0xfffc)), -1);
	FAILS(compatible_read, at(0x60, 0xfffd), 13, 0);
	FAILS(compatible_read, at(0x60, 0x10000), 13, 0);
	set(0x60, 0, 0xfffff, CODE_X | BIG | PAGES);
	FAILS(compatible_read, at(0x60, 0x1000), 13, 0x60);

	/* The stack's. Its fault needs a stack of its own. */
	set_stack(1, (uint64_t)(gate_stack + sizeof(gate_stack)));
	set_gate(12, (void (*)(void))(vector_stubs + 16 * 12), 0x8e, 1);
	set(0x60, base, 0xfff, DATA | BIG);
	EQUAL(fault_of(compatible_push, at(0x60, 0x1000)), -1);
	EQUAL(noted_user.cs, 0xffc);
	EQUAL(*(uint32_t *)(bytes + 0xffc), 0x12345678);
	FAILS(compatible_push, at(0x60, 0x1004), 12, 0);
	FAILS(compatible_push, at(0x60, 2), 12, 0);
	/* With B clear, SP wraps at 16 bits and ESP's high half stays. */
	set(0x60, base, 0xffff, DATA);
	EQUAL(fault_of(compatible_push, at(0x60, 0x55551000)), -1);
	EQUAL(noted_user.cs, 0x55550ffc);
	EQUAL(fault_of(compatible_push, at(0x60, 0x77770000)), -1);
	EQUAL(noted_user.cs, 0x7777fffc);

	/* A jump beyond the limit of 32-bit code is refused before it is made. */
	set(0x60, 0, 0xffff, CODE | BIG);
	FAILS(far_jump, at(0x60, 0x10000), 13, 0);
	EQUAL(caught.cs, 8);
	set(0x60, 0, 0xffff, (CODE | BIG) ^ ABSENT);
	FAILS(far_jump, at(0x60, 0x1000), 11, 0x60);
	FAILS(far_jump, at(0, 0x1000), 13, 0);
}

void guest_main(void)
{
	for (unsigned i = 0; i < FREE / 8; i++)
		table[i] = gdt[i];
	load_gdt(sizeof(table) - 1);
	test_loads();
	test_ldt();
	test_queries();
	test_call_gates();
	test_far_return();
	test_limits();
}
