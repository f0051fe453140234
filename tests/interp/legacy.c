/* What the native oracle can't run: integer instructions in real and virtual-8086 mode, with 16-bit
 * stacks and addresses, and port strings. Each test runs a few bytes of code on a bare interpreter
 * vcpu.
 */
#include "arch/x86_64/cpuid.h"
#include "core/vm.h"
#include "engine/interp/interp.h"
#include "engine/interp/x86_64/cpu.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define RAM_SIZE MIB(1)
#define CODE	 0x8000u

struct fixture {
	uint8_t *ram;
	struct vm vm;
	struct vcpu vcpu;
	struct x86_cpuid_table cpuid;
	struct vm_exit exit;
	struct cpu *cpu;
};

/* Real mode, all segments at 0, SP 0x7000, IF clear. */
static int setup(void **state)
{
	struct fixture *f = aligned_alloc(64, (sizeof(*f) + 63) & ~63ul);
	char why[200];

	assert_non_null(f);
	memset(f, 0, sizeof(*f));
	f->ram = calloc(1, RAM_SIZE);
	assert_non_null(f->ram);
	assert_int_equal(mem_add_slot(&f->vm.mem, 0, RAM_SIZE, f->ram, false), 0);
	x86_cpuid_build(&f->cpuid, 1, 2000000000);
	f->vm.cpuid = &f->cpuid;
	f->vm.engine = &interp_engine;
	f->vm.vcpu_count = 1;
	f->vm.vcpus[0] = &f->vcpu;
	f->vcpu.vm = &f->vm;
	assert_int_equal(interp_engine.vm_init(&f->vm, why, sizeof(why)), 0);
	assert_int_equal(interp_engine.vcpu_init(&f->vcpu, why, sizeof(why)), 0);
	f->cpu = f->vcpu.engine_vcpu;
	f->cpu->exit = &f->exit;
	x86_state_sipi(&f->cpu->s, 0);
	f->cpu->s.activity = X86_ACTIVE;
	f->cpu->s.gpr[X86_RSP] = 0x7000;
	cpu_set_rflags(f->cpu, X86_FLAG_FIX);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	interp_engine.vcpu_destroy(&f->vcpu);
	interp_engine.vm_destroy(&f->vm);
	mem_destroy(&f->vm.mem);
	free(f->ram);
	free(f);
	return 0;
}

/* Virtual-8086 mode at privilege level 3, no paging. */
static void enter_vm86(struct fixture *f, unsigned iopl, uint64_t cr4, uint64_t flags)
{
	struct x86_state *s = &f->cpu->s;

	s->cr0 |= X86_CR0_PE;
	s->cr4 = cr4;
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		s->seg[i] = (struct x86_segment){.limit = 0xffff, .ar = 0xf3};
	cpu_set_rflags(f->cpu, X86_FLAG_FIX | X86_FLAG_VM | (uint64_t)iopl << 12 | flags);
}

/* Executes one instruction; returns the vector of the fault, or -1. */
static int step(struct fixture *f, const void *bytes, size_t length)
{
	struct cpu *cpu = f->cpu;

	memcpy(f->ram + CODE, bytes, length);
	mem_mark_written(&f->vm.mem, CODE, length);
	cpu->s.rip = CODE;
	cpu->leave = LEAVE_NONE;
	if (!setjmp(cpu->jump)) {
		fast_run_once(cpu, block_find(cpu, cpu->s.rip, true));
		return -1;
	}
	return cpu->leave == LEAVE_EXCEPTION ? cpu->event.vector : -2;
}

#define STEP(f, ...) step(f, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static uint16_t word_at(const struct fixture *f, unsigned address)
{
	uint16_t value;

	memcpy(&value, f->ram + address, 2);
	return value;
}

static void put_word(struct fixture *f, unsigned address, uint16_t value)
{
	memcpy(f->ram + address, &value, 2);
}

/* ---- stack ---- */

static void test_push_wraps_sp(void **state)
{
	struct fixture *f = *state;
	uint64_t *gpr = f->cpu->s.gpr;

	gpr[X86_RSP] = 0xabcd0000;
	gpr[X86_RAX] = 0x1234;
	assert_int_equal(STEP(f, 0x50), -1); /* push ax */
	assert_int_equal(gpr[X86_RSP], 0xabcdfffe);
	assert_int_equal(word_at(f, 0xfffe), 0x1234);
}

static void test_pusha_popa(void **state)
{
	struct fixture *f = *state;
	uint64_t *gpr = f->cpu->s.gpr;

	for (unsigned i = 0; i < 8; i++)
		gpr[i] = 0x11110000u | (0x100 + i);
	gpr[X86_RSP] = 0x7000;
	assert_int_equal(STEP(f, 0x60), -1);
	assert_int_equal(gpr[X86_RSP], 0x6ff0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(word_at(f, 0x6ffe - 2 * i), i == X86_RSP ? 0x7000 : 0x100 + i);
	for (unsigned i = 0; i < 8; i++)
		gpr[i] = i == X86_RSP ? 0x6ff0 : 0x22220000;
	assert_int_equal(STEP(f, 0x61), -1);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(gpr[i], i == X86_RSP ? 0x7000 : 0x22220100 + i);
}

static void test_enter_leave(void **state)
{
	struct fixture *f = *state;
	uint64_t *gpr = f->cpu->s.gpr;

	gpr[X86_RBP] = 0x6000;
	put_word(f, 0x5ffe, 0xbeef);
	assert_int_equal(STEP(f, 0xc8, 0x10, 0x00, 0x02), -1); /* enter 16, 2 */
	assert_int_equal(gpr[X86_RBP], 0x6ffe);
	assert_int_equal(gpr[X86_RSP], 0x6ffe - 4 - 16);
	assert_int_equal(word_at(f, 0x6ffe), 0x6000);
	assert_int_equal(word_at(f, 0x6ffc), 0xbeef);
	assert_int_equal(word_at(f, 0x6ffa), 0x6ffe);
	assert_int_equal(STEP(f, 0xc9), -1);
	assert_int_equal(gpr[X86_RBP], 0x6000);
	assert_int_equal(gpr[X86_RSP], 0x7000);
}

static void test_pop_segment(void **state)
{
	struct fixture *f = *state;

	put_word(f, 0x7000, 0x1234);
	assert_int_equal(STEP(f, 0x17), -1); /* pop ss */
	assert_int_equal(f->cpu->s.seg[X86_SS].selector, 0x1234);
	assert_int_equal(f->cpu->s.seg[X86_SS].base, 0x12340);
	assert_int_equal(f->cpu->s.gpr[X86_RSP], 0x7002);
	assert_int_equal(f->cpu->shadow_rip, CODE + 1);
}

/* ---- flags ---- */

static void test_popf_real_mode(void **state)
{
	struct fixture *f = *state;

	put_word(f, 0x7000, 0xffff & ~X86_FLAG_TF);
	assert_int_equal(STEP(f, 0x9d), -1);
	assert_int_equal(cpu_rflags(f->cpu) & 0xffff,
			 0x7ed7); /* IOPL and IF too; bits 15, 5, 3 stay clear */
}

static void test_vm86_needs_iopl(void **state)
{
	struct fixture *f = *state;

	enter_vm86(f, 0, 0, 0);
	assert_int_equal(STEP(f, 0x9c), X86_EXC_GP);
	assert_int_equal(STEP(f, 0x9d), X86_EXC_GP);
	enter_vm86(f, 3, 0, X86_FLAG_IF);
	assert_int_equal(STEP(f, 0x9c), -1);
	assert_int_equal(word_at(f, 0x6ffe), 0x3202);
	put_word(f, 0x6ffe, 0x0003);
	assert_int_equal(STEP(f, 0x9d), -1);
	/* IF changes, IOPL and VM do not */
	assert_int_equal(cpu_rflags(f->cpu), X86_FLAG_VM | 0x3003);
}

static void test_vme_virtual_interrupt_flag(void **state)
{
	struct fixture *f = *state;

	enter_vm86(f, 0, X86_CR4_VME, X86_FLAG_VIF);
	assert_int_equal(STEP(f, 0x9c), -1);
	assert_int_equal(word_at(f, 0x6ffe), 0x3202); /* VIF as IF, IOPL as 3 */
	put_word(f, 0x6ffe, 0x0002);
	assert_int_equal(STEP(f, 0x9d), -1);
	assert_int_equal(cpu_rflags(f->cpu), X86_FLAG_VM | X86_FLAG_FIX);
	/* A pending virtual interrupt that would be enabled faults. */
	enter_vm86(f, 0, X86_CR4_VME, X86_FLAG_VIP);
	f->cpu->s.gpr[X86_RSP] = 0x7000;
	put_word(f, 0x7000, 0x0202);
	assert_int_equal(STEP(f, 0x9d), X86_EXC_GP);
	assert_int_equal(f->cpu->s.gpr[X86_RSP], 0x7000);
	/* The 32-bit forms never have it. */
	assert_int_equal(STEP(f, 0x66, 0x9c), X86_EXC_GP);
}

/* ---- strings ---- */

static void test_movs_wraps_16_bit_offsets(void **state)
{
	struct fixture *f = *state;
	uint64_t *gpr = f->cpu->s.gpr;

	memcpy(f->ram + 0xfffe, "ab", 2);
	memcpy(f->ram, "cd", 2);
	gpr[X86_RSI] = 0x5555fffe;
	gpr[X86_RDI] = 0x66664000;
	gpr[X86_RCX] = 0x77770004;
	assert_int_equal(STEP(f, 0xf3, 0xa4), -1);
	assert_memory_equal(f->ram + 0x4000, "abcd", 4);
	assert_int_equal(gpr[X86_RSI], 0x55550002);
	assert_int_equal(gpr[X86_RDI], 0x66664004);
	assert_int_equal(gpr[X86_RCX], 0x77770000);
}

static void test_long_rep_goes_in_pieces(void **state)
{
	struct fixture *f = *state;
	uint64_t *gpr = f->cpu->s.gpr;
	unsigned pieces = 0;

	gpr[X86_RAX] = 0x5a;
	gpr[X86_RDI] = 0x1000;
	gpr[X86_RCX] = 0x5000;
	do {
		assert_int_equal(STEP(f, 0xf3, 0xaa), -1);
		pieces++;
	} while (f->cpu->s.rip == CODE);
	assert_int_equal(gpr[X86_RCX], 0);
	assert_int_equal(gpr[X86_RDI], 0x6000);
	assert_true(pieces > 2);
	for (unsigned i = 0; i < 0x5000; i++)
		assert_int_equal(f->ram[0x1000 + i], 0x5a);
	assert_int_equal(f->ram[0x6000], 0);
}

/* Runs until the engine leaves. */
static void run(struct fixture *f)
{
	assert_int_equal(interp_engine.run(&f->vcpu, &f->exit), 0);
}

static void start(struct fixture *f, const void *bytes, size_t length)
{
	memcpy(f->ram + CODE, bytes, length);
	mem_mark_written(&f->vm.mem, CODE, length);
	f->cpu->s.rip = CODE;
	f->exit.kind = VM_EXIT_INTERRUPTED;
}

static void test_rep_insw_reads_each_word_once(void **state)
{
	struct fixture *f = *state;
	static const uint8_t code[] = {0xf3, 0x6d, 0xf4}; /* rep insw; hlt */

	f->cpu->s.gpr[X86_RDX] = 0x1f0;
	f->cpu->s.gpr[X86_RDI] = 0x4000;
	f->cpu->s.gpr[X86_RCX] = 3;
	start(f, code, sizeof(code));
	for (unsigned i = 0; i < 3; i++) {
		run(f);
		assert_int_equal(f->exit.kind, VM_EXIT_IO);
		assert_int_equal(f->exit.io.port, 0x1f0);
		assert_int_equal(f->exit.io.size, 2);
		assert_false(f->exit.io.write);
		assert_int_equal(f->cpu->s.gpr[X86_RCX], 3 - i);
		f->exit.io.value = 0x1000 + i;
	}
	run(f);
	assert_int_equal(f->exit.kind, VM_EXIT_HALT);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(word_at(f, 0x4000 + 2 * i), 0x1000 + i);
	assert_int_equal(f->cpu->s.gpr[X86_RDI], 0x4006);
}

static void test_outsb_backwards(void **state)
{
	struct fixture *f = *state;
	static const uint8_t code[] = {0xfd, 0xf3, 0x6e, 0xf4}; /* std; rep outsb; hlt */

	memcpy(f->ram + 0x4000, "xyz", 3);
	f->cpu->s.gpr[X86_RDX] = 0xe9;
	f->cpu->s.gpr[X86_RSI] = 0x4002;
	f->cpu->s.gpr[X86_RCX] = 3;
	start(f, code, sizeof(code));
	for (unsigned i = 0; i < 3; i++) {
		run(f);
		assert_int_equal(f->exit.kind, VM_EXIT_IO);
		assert_true(f->exit.io.write);
		assert_int_equal(f->exit.io.value, "zyx"[i]);
	}
	run(f);
	assert_int_equal(f->exit.kind, VM_EXIT_HALT);
	assert_int_equal(f->cpu->s.gpr[X86_RSI], 0x3fff);
}

static void test_in_out_widths(void **state)
{
	struct fixture *f = *state;
	static const uint8_t code[] = {0xe4, 0x60, 0x66, 0xed,
				       0xf4}; /* in al, 0x60; in eax, dx; hlt */

	f->cpu->s.gpr[X86_RAX] = 0x1122334455667788;
	f->cpu->s.gpr[X86_RDX] = 0xcf8;
	start(f, code, sizeof(code));
	run(f);
	assert_int_equal(f->exit.io.port, 0x60);
	assert_int_equal(f->exit.io.size, 1);
	f->exit.io.value = 0xaa;
	run(f);
	assert_int_equal(f->cpu->s.gpr[X86_RAX], 0x11223344556677aa);
	assert_int_equal(f->exit.io.port, 0xcf8);
	assert_int_equal(f->exit.io.size, 4);
	f->exit.io.value = 0x80000000;
	run(f);
	assert_int_equal(f->exit.kind, VM_EXIT_HALT);
	assert_int_equal(f->cpu->s.gpr[X86_RAX], 0x80000000);
}

/* ---- control ---- */

static void test_branch_truncates_ip(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(STEP(f, 0xe9, 0x00, 0x80), -1); /* jmp +0x8000: wraps */
	assert_int_equal(f->cpu->s.rip, 0x0003);
	f->cpu->s.gpr[X86_RAX] = 0x12345678;
	assert_int_equal(STEP(f, 0xff, 0xe0), -1); /* jmp ax */
	assert_int_equal(f->cpu->s.rip, 0x5678);
	assert_int_equal(STEP(f, 0x66, 0xff, 0xe0), X86_EXC_GP); /* jmp eax: beyond the limit */
}

static void test_loop_uses_address_size(void **state)
{
	struct fixture *f = *state;

	f->cpu->s.gpr[X86_RCX] = 0x10001;
	assert_int_equal(STEP(f, 0xe2, 0x10), -1); /* loop: CX is 1 */
	assert_int_equal(f->cpu->s.rip, CODE + 2);
	assert_int_equal(f->cpu->s.gpr[X86_RCX], 0x10000);
	assert_int_equal(STEP(f, 0x67, 0xe2, 0x10), -1); /* ECX */
	assert_int_equal(f->cpu->s.rip, CODE + 3 + 0x10);
	assert_int_equal(f->cpu->s.gpr[X86_RCX], 0xffff);
}

/* ---- what is not offered ---- */

static void test_vex_needs_protected_mode(void **state)
{
	struct fixture *f = *state;
	const uint8_t andn[] = {0xc4, 0xe2, 0x70, 0xf2, 0xc3}; /* andn eax, ecx, ebx */

	f->cpu->s.gpr[X86_RCX] = 0xf0;
	f->cpu->s.gpr[X86_RBX] = 0xff;
	assert_int_equal(step(f, andn, sizeof(andn)), X86_EXC_UD);
	/* The same bytes in 16-bit protected mode: not the block of real mode. */
	f->cpu->s.cr0 |= X86_CR0_PE;
	cpu_set_rflags(f->cpu, X86_FLAG_FIX);
	assert_int_equal(step(f, andn, sizeof(andn)), -1);
	assert_int_equal(f->cpu->s.gpr[X86_RAX], 0x0f);
	enter_vm86(f, 3, 0, 0);
	assert_int_equal(step(f, andn, sizeof(andn)), X86_EXC_UD);
}

static void test_counts_fall_back_to_scans(void **state)
{
	struct fixture *f = *state;

	f->cpu->s.gpr[X86_RCX] = 0x0100;
	assert_int_equal(STEP(f, 0xf3, 0x0f, 0xbd, 0xc1), -1); /* lzcnt ax, cx */
	assert_int_equal(f->cpu->s.gpr[X86_RAX] & 0xffff, 7);
	f->cpuid.features[X86_FEATURE_LZCNT] = f->cpuid.features[X86_FEATURE_BMI1] = false;
	block_cache_flush(f->cpu);
	assert_int_equal(STEP(f, 0xf3, 0x0f, 0xbd, 0xc1), -1); /* bsr */
	assert_int_equal(f->cpu->s.gpr[X86_RAX] & 0xffff, 8);
	f->cpu->s.gpr[X86_RCX] = 0;
	assert_int_equal(STEP(f, 0xf3, 0x0f, 0xbc, 0xc1), -1); /* bsf of zero keeps the destination */
	assert_int_equal(f->cpu->s.gpr[X86_RAX] & 0xffff, 8);
}

/* RF lets an instruction past its own breakpoint also when a device answers in the middle of it. */
static void test_breakpoint_passed_once(void **state)
{
	struct fixture *f = *state;
	const uint8_t code[] = {0xe4, 0x10, 0xf4}; /* in al, 0x10; hlt */

	memcpy(f->ram + CODE, code, sizeof(code));
	mem_mark_written(&f->vm.mem, CODE, sizeof(code));
	f->cpu->s.rip = CODE;
	f->cpu->s.dr[0] = CODE;
	f->cpu->s.dr7 = 0x401;
	cpu_set_rflags(f->cpu, X86_FLAG_FIX | X86_FLAG_RF);
	assert_int_equal(interp_engine.run(&f->vcpu, &f->exit), 0);
	assert_int_equal(f->exit.kind, VM_EXIT_IO);
	f->exit.io.value = 0x5a;
	assert_int_equal(interp_engine.run(&f->vcpu, &f->exit), 0);
	assert_int_equal(f->exit.kind, VM_EXIT_HALT);
	assert_int_equal(f->cpu->s.gpr[X86_RAX] & 0xff, 0x5a);
	assert_int_equal(f->cpu->s.rip, CODE + sizeof(code));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_push_wraps_sp),
	    TEST(test_pusha_popa),
	    TEST(test_enter_leave),
	    TEST(test_pop_segment),
	    TEST(test_popf_real_mode),
	    TEST(test_vm86_needs_iopl),
	    TEST(test_vme_virtual_interrupt_flag),
	    TEST(test_movs_wraps_16_bit_offsets),
	    TEST(test_long_rep_goes_in_pieces),
	    TEST(test_rep_insw_reads_each_word_once),
	    TEST(test_outsb_backwards),
	    TEST(test_in_out_widths),
	    TEST(test_branch_truncates_ip),
	    TEST(test_loop_uses_address_size),
	    TEST(test_vex_needs_protected_mode),
	    TEST(test_counts_fall_back_to_scans),
	    TEST(test_breakpoint_passed_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
