/* Exceptions of 64-bit mode: vectors, error codes, saved rip and flags, IST, user mode, single-step, nesting. */
#include "guest.h"

const char guest_name[] = "exceptions";

static void divide(uint64_t divisor)
{
	__asm__ volatile("xorl %%edx, %%edx; movl $1, %%eax; divl %0" ::"r"((uint32_t)divisor) : "rax", "rdx");
}
static void undefined(uint64_t arg)
{
	__asm__ volatile("ud2");
}
static void breakpoint(uint64_t arg)
{
	__asm__ volatile("int3");
}
static void software(uint64_t arg)
{
	__asm__ volatile("int $0x44");
}
static void load_ds(uint64_t selector)
{
	__asm__ volatile("mov %w0, %%ds" ::"r"(selector));
}
static void load_ss(uint64_t selector)
{
	__asm__ volatile("mov %w0, %%ss" ::"r"(selector));
}
static void read_at(uint64_t address)
{
	(void)*(volatile uint64_t *)address;
}
static void read_stack(uint64_t address)
{
	__asm__ volatile("movq %%rsp, %%rbx; movq %0, %%rsp; popq %%rax; movq %%rbx, %%rsp" ::"r"(address) : "rax", "rbx");
}
static void write_msr(uint64_t index)
{
	wrmsr((uint32_t)index, ~0ull);
}
static void write_cr4(uint64_t value)
{
	WRITE_CR(4, value);
}
static void write_cr0(uint64_t value)
{
	WRITE_CR(0, value);
}
static void fpu_without(uint64_t arg)
{
	__asm__ volatile("fld1; fstp %st(0)");
}
static void sse_op(uint64_t arg)
{
	__asm__ volatile("xorps %xmm0, %xmm0");
}
static void sse_unaligned(uint64_t address)
{
	__asm__ volatile("movaps (%0), %%xmm0" ::"r"(address));
}
static void sse_invalid(uint64_t arg)
{
	uint32_t mxcsr = 0x1f00; /* invalid unmasked */

	__asm__ volatile("ldmxcsr %0; xorps %%xmm0, %%xmm0; divss %%xmm0, %%xmm0" ::"m"(mxcsr));
}
static void lock_register(uint64_t arg)
{
	__asm__ volatile(".byte 0xf0, 0x01, 0xc0"); /* lock add %eax, %eax */
}

extern char vector_stubs[];
static uint8_t fault_stack[4096] __attribute__((aligned(16)));

static void test_vectors(void)
{
	EQUAL(fault_of(divide, 0), 0);
	EQUAL(fault_of(divide, 1), -1);
	EQUAL(fault_of(undefined, 0), 6);
	EQUAL(caught.error, 0);
	EQUAL(fault_of(breakpoint, 0), 3);
	EQUAL(*(uint8_t *)(caught.rip - 1), 0xcc);
	EQUAL(fault_of(software, 0), 0x44);
	EQUAL(fault_of(lock_register, 0), 6);

	EQUAL(fault_of(load_ds, 0x1000), 13);
	EQUAL(caught.error, 0x1000);
	EQUAL(fault_of(load_ds, 0x10), -1);
	EQUAL(fault_of(load_ds, 0), -1);
	EQUAL(fault_of(load_ss, 0x08), 13);
	EQUAL(caught.error, 0x08);

	EQUAL(fault_of(read_at, 0x8000000000000000), 13);
	EQUAL(caught.error, 0);
	EQUAL(fault_of(read_at, 0x0000800000000000), 13);
	/* Its handler needs a stack of its own; #GP too, so that a wrong vector is a failed check and no more. */
	set_stack(1, (uint64_t)(fault_stack + sizeof(fault_stack)));
	set_gate(12, (void (*)(void))(vector_stubs + 16 * 12), 0x8e, 1);
	set_gate(13, (void (*)(void))(vector_stubs + 16 * 13), 0x8e, 1);
	EQUAL(fault_of(read_stack, 0x0000800000000000), 12);
	set_gate(13, (void (*)(void))(vector_stubs + 16 * 13), 0x8e, 0);

	EQUAL(fault_of(write_msr, 0x12345678), 13);
	EQUAL(fault_of(write_msr, 0xc0000082), -1); /* LSTAR: all ones is canonical */
	EQUAL(fault_of(write_cr4, READ_CR(4) | 1u << 31), 13);
	EQUAL(fault_of(write_cr4, READ_CR(4) & ~0x20ull), 13);
	EQUAL(fault_of(write_cr0, READ_CR(0) & ~1ull), 13);
	EQUAL(fault_of(write_cr0, READ_CR(0) | 1ull << 32), 13);
}

static uint64_t aligned[4] __attribute__((aligned(16)));

static void test_fpu(void)
{
	uint64_t cr0 = READ_CR(0), cr4 = READ_CR(4);
	uint32_t mxcsr = 0x1f80;

	WRITE_CR(0, cr0 | 8); /* TS */
	EQUAL(fault_of(fpu_without, 0), 7);
	EQUAL(fault_of(sse_op, 0), 7);
	WRITE_CR(0, (cr0 & ~2ull) | 4); /* EM */
	EQUAL(fault_of(fpu_without, 0), 7);
	EQUAL(fault_of(sse_op, 0), 6);
	WRITE_CR(0, cr0);
	WRITE_CR(4, cr4 & ~0x200ull); /* OSFXSR off */
	EQUAL(fault_of(sse_op, 0), 6);
	WRITE_CR(4, cr4);
	EQUAL(fault_of(sse_op, 0), -1);
	EQUAL(fault_of(sse_unaligned, (uint64_t)aligned), -1);
	EQUAL(fault_of(sse_unaligned, (uint64_t)aligned + 8), 13);
	EQUAL(fault_of(sse_invalid, 0), 19);
	__asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
	WRITE_CR(4, cr4 & ~0x400ull); /* OSXMMEXCPT off */
	EQUAL(fault_of(sse_invalid, 0), 6);
	WRITE_CR(4, cr4);
	__asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
}

static volatile uint64_t ist_rsp, steps, step_flags;
static uint8_t ist_stack[4096] __attribute__((aligned(16)));

static void note_rsp(struct frame *frame)
{
	ist_rsp = (uint64_t)frame;
}

extern char vector_stubs[];

static void test_ist(void)
{
	uint64_t top = (uint64_t)(ist_stack + sizeof(ist_stack));

	set_stack(3, top);
	set_gate(0x45, (void (*)(void))(vector_stubs + 16 * 0x45), 0x8e, 3);
	on_vector(0x45, note_rsp);
	__asm__ volatile("int $0x45");
	CHECK(ist_rsp < top && ist_rsp > top - 512);
}

static void count_step(struct frame *frame)
{
	uint64_t dr6;

	__asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
	step_flags = dr6;
	if (++steps == 5)
		frame->rflags &= ~0x100ull;
}

static void test_single_step(void)
{
	on_vector(1, count_step);
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; nop; nop; nop; nop; nop; nop; nop" ::: "memory");
	EQUAL(steps, 5);
	CHECK(step_flags & 0x4000);
	on_vector(1, NULL);
}

static void hit(uint64_t arg)
{
	__asm__ volatile(".globl hit_here\nhit_here: nop");
}
extern char hit_here[];
static volatile uint64_t watched;

static void touch(uint64_t value)
{
	watched = value;
}

static void test_breakpoints(void)
{
	uint64_t dr6;

	__asm__ volatile("mov %0, %%dr0" ::"r"(hit_here));
	__asm__ volatile("mov %0, %%dr7" ::"r"(0x402ull));
	EQUAL(fault_of(hit, 0), 1);
	EQUAL(caught.rip, hit_here);
	CHECK(caught.rflags & 0x10000); /* RF */
	__asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
	EQUAL(dr6 & 15, 1);
	__asm__ volatile("mov %0, %%dr6" ::"r"(0xffff0ff0ull));
	__asm__ volatile("mov %0, %%dr1" ::"r"(&watched));
	__asm__ volatile("mov %0, %%dr7" ::"r"(0x400ull | 8 | 9ull << 20)); /* G1, write, 8 bytes */
	EQUAL(fault_of(touch, 5), 1);
	EQUAL(watched, 5); /* a trap: the write is done */
	__asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
	EQUAL(dr6 & 15, 2);
	__asm__ volatile("mov %0, %%dr7" ::"r"(0x400ull));
	EQUAL(fault_of(touch, 6), -1);
}

static void user_nothing(uint64_t arg)
{
}
static void user_cli(uint64_t arg)
{
	__asm__ volatile("cli");
}
static void user_hlt(uint64_t arg)
{
	__asm__ volatile("hlt");
}
static void user_in(uint64_t port)
{
	inb((uint16_t)port);
}
static void user_int(uint64_t arg)
{
	__asm__ volatile("int $0x46"); /* DPL 0 gate */
}
static void user_cr(uint64_t arg)
{
	READ_CR(0);
}
static void user_unaligned(uint64_t address)
{
	__asm__ volatile("pushfq; orq $0x40000, (%rsp); popfq");
	(void)*(volatile uint32_t *)address;
	__asm__ volatile("pushfq; andq $~0x40000, (%rsp); popfq");
}

static void test_user(void)
{
	uint64_t cr0 = READ_CR(0);

	EQUAL(run_user(user_nothing, 0), 0x80);
	EQUAL(run_user(user_cli, 0), 13);
	EQUAL(caught.error, 0);
	EQUAL(run_user(user_hlt, 0), 13);
	EQUAL(run_user(user_in, 0x80), 13);
	EQUAL(run_user(user_int, 0), 13);
	EQUAL(caught.error, 0x46 * 8 + 2);
	EQUAL(run_user(user_cr, 0), 13);
	EQUAL(run_user(divide, 0), 0);
	WRITE_CR(0, cr0 | 1ull << 18); /* AM */
	EQUAL(run_user(user_unaligned, USER(aligned)), 0x80);
	EQUAL(run_user(user_unaligned, USER(aligned) + 1), 17);
	EQUAL(caught.error, 0);
	WRITE_CR(0, cr0);
}

void guest_main(void)
{
	test_vectors();
	test_fpu();
	test_ist();
	test_single_step();
	test_breakpoints();
	test_user();
}
