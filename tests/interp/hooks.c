/* What an engine hears through cpu_mmu_hooks while the interpreter runs system instructions and stores for it.
 *
 * Example: `meson test -C build interp-hooks`
 */
#include "core/engine.h"
#include "engine/interp/interp.h"
#include "engine/interp/x86_64/cpu.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RAM_SIZE (64 * PAGE_SIZE)
#define CODE     0x1000u
#define PLAIN    0x5000u

struct machine {
	struct vm vm;
	struct vcpu vcpu;
	struct x86_cpuid_table cpuid;
	struct vm_exit exit;
	struct cpu *cpu;
	uint8_t *ram;
	char heard[1000];
};

__attribute__((format(printf, 2, 3))) static void hear(void *ctx, const char *format, ...)
{
	struct machine *m = ctx;
	size_t used = strlen(m->heard);
	va_list args;

	va_start(args, format);
	vsnprintf(m->heard + used, sizeof(m->heard) - used, format, args);
	va_end(args);
}

static void write_cr3(void *ctx, uint64_t cr3, bool no_flush)
{
	hear(ctx, "cr3 %lx %d; ", (unsigned long)cr3, no_flush);
}
static void flush(void *ctx)
{
	hear(ctx, "flush; ");
}
static void flush_page(void *ctx, gva_t gva)
{
	hear(ctx, "page %lx; ", (unsigned long)gva);
}
static void invpcid(void *ctx, unsigned type, unsigned pcid, gva_t gva)
{
	hear(ctx, "invpcid %u %u %lx; ", type, pcid, (unsigned long)gva);
}
static void flush_writes(void *ctx)
{
	hear(ctx, "writes; ");
}
static void code_page_marked(void *ctx, gpa_t gpa)
{
	struct machine *m = ctx;

	assert_true(atomic_load(mem_page_word(&m->vm.mem, gpa)) & 1);
	hear(ctx, "marked %lx; ", (unsigned long)gpa);
}
static void code_page_written(void *ctx, gpa_t gpa, unsigned len)
{
	hear(ctx, "written %lx %u; ", (unsigned long)gpa, len);
}

static const struct cpu_mmu_hooks hooks = {
	.write_cr3 = write_cr3,
	.flush = flush,
	.flush_page = flush_page,
	.invpcid = invpcid,
	.flush_writes = flush_writes,
	.code_page_marked = code_page_marked,
	.code_page_written = code_page_written,
};

static int setup(void **state)
{
	struct machine *m = calloc(1, sizeof(*m));
	char why[200];

	m->ram = aligned_alloc(PAGE_SIZE, RAM_SIZE);
	memset(m->ram, 0, RAM_SIZE);
	assert_int_equal(mem_add_slot(&m->vm.mem, 0, RAM_SIZE, m->ram, false), 0);
	x86_cpuid_build(&m->cpuid, 1, 2000000000);
	m->vm.cpuid = &m->cpuid;
	m->vm.engine = &interp_engine;
	m->vm.vcpu_count = 1;
	m->vm.vcpus[0] = &m->vcpu;
	m->vcpu.vm = &m->vm;
	assert_int_equal(interp_engine.vm_init(&m->vm, why, sizeof(why)), 0);
	assert_int_equal(interp_engine.vcpu_init(&m->vcpu, why, sizeof(why)), 0);
	m->cpu = m->vcpu.engine_vcpu;
	m->cpu->mmu_hooks = &hooks;
	m->cpu->mmu_hooks_ctx = m;
	m->cpu->exit = &m->exit;
	m->cpu->s.seg[X86_CS].base = 0;
	m->cpu->s.seg[X86_CS].selector = 0;
	m->cpu->s.rip = CODE;
	cpu_update_mode(m->cpu);
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct machine *m = *state;

	interp_engine.vcpu_destroy(&m->vcpu);
	interp_engine.vm_destroy(&m->vm);
	mem_destroy(&m->vm.mem);
	free(m->ram);
	free(m);
	return 0;
}

#define assert_heard(m, text)                                                                      \
	do {                                                                                       \
		assert_string_equal((m)->heard, text);                                             \
		(m)->heard[0] = 0;                                                                 \
	} while (0)

static void run(struct machine *m, const uint8_t *code, size_t len)
{
	memcpy(m->ram + CODE, code, len);
	assert_int_equal(interp_engine.run(&m->vcpu, &m->exit), 0);
	assert_int_equal(m->exit.kind, VM_EXIT_HALT);
}

static void test_instructions(void **state)
{
	struct machine *m = *state;
	static const uint8_t code[] = {
		0x66, 0xb8, 0x00, 0x70, 0x00, 0x00,       /* mov eax, 7000h */
		0x0f, 0x22, 0xd8,                         /* mov cr3, eax */
		0x0f, 0x01, 0x3e, 0x34, 0x12,             /* invlpg [1234h] */
		0x0f, 0x20, 0xc0,                         /* mov eax, cr0 */
		0x66, 0x35, 0x00, 0x00, 0x01, 0x00,       /* xor eax, WP */
		0x0f, 0x22, 0xc0,                         /* mov cr0, eax */
		0x66, 0x83, 0xe0, 0xff,                   /* and eax, -1 */
		0x0f, 0x22, 0xc0,                         /* mov cr0, eax: nothing changes */
		0xf4,                                     /* hlt */
	};

	run(m, code, sizeof(code));
	assert_heard(m, "marked 1000; cr3 7000 0; page 1234; flush; ");
}

static void test_operations(void **state)
{
	struct machine *m = *state;

	m->cpu->s.cr4 |= X86_CR4_PCIDE;
	cpu_set_cr3(m->cpu, 0x7005 | X86_CR3_NOFLUSH);
	assert_int_equal(m->cpu->s.cr3, 0x7005);
	cpu_set_cr3(m->cpu, 0x7005);
	m->cpu->s.cr4 &= ~(uint64_t)X86_CR4_PCIDE;
	cpu_set_cr3(m->cpu, 0x7005 | X86_CR3_NOFLUSH);
	cpu_invpcid(m->cpu, 0, 5, 0x1000);
	cpu_invpcid(m->cpu, 3, 0, 0);
	assert_heard(m, "cr3 7005 1; cr3 7005 0; cr3 7005 0; invpcid 0 5 1000; invpcid 3 0 0; ");
	cpu_set_pkru(m->cpu, 4);
	cpu_set_pkru(m->cpu, 4);
	tlb_flush_writes(m->cpu);
	assert_heard(m, "flush; writes; ");
}

/* A page that becomes code between two stores: the second one is noticed without a word to this vcpu. */
static void test_stores_look_at_the_page(void **state)
{
	struct machine *m = *state;
	_Atomic uint32_t *word = mem_page_word(&m->vm.mem, PLAIN);
	uint64_t value = 1, expected = 1, zero = 0;

	for (unsigned i = 0; i < 3; i++)
		cpu_store_linear(m->cpu, PLAIN + 8, &value, 8, TLB_SUPERVISOR_AC, X86_DS);
	assert_heard(m, "");
	for (unsigned index = 0; index < TLB_COUNT; index++) {
		for (unsigned i = 0; i < TLB_SIZE; i++)
			assert_int_equal(m->cpu->tlb[index][i].write_tag, TLB_NONE);
	}
	atomic_fetch_or(word, 1);
	cpu_store_linear(m->cpu, PLAIN + 8, &value, 8, TLB_SUPERVISOR_AC, X86_DS);
	assert_heard(m, "written 5008 8; ");
	assert_int_equal(atomic_load(word), 3); /* the bit stays */
	assert_true(cpu_cas_slow(m->cpu, PLAIN + 8, 8, &expected, &zero, X86_DS));
	assert_heard(m, "written 5008 8; ");
	assert_int_equal(m->ram[PLAIN + 8], 0);
	/* Across pages: each for itself. */
	cpu_store_linear(m->cpu, PLAIN - 3, &value, 8, TLB_SUPERVISOR_AC, X86_DS);
	assert_heard(m, "written 5000 5; ");
	code_page_mark(m->cpu, PLAIN + 77);
	assert_heard(m, "");
	code_page_mark(m->cpu, PLAIN + PAGE_SIZE + 77);
	assert_heard(m, "marked 6000; ");
}

static void test_rep_stores(void **state)
{
	struct machine *m = *state;
	static const uint8_t code[] = {
		0xbf, 0xfe, 0x5f, /* mov di, 5ffeh */
		0xb9, 0x04, 0x00, /* mov cx, 4 */
		0xf3, 0xaa,       /* rep stosb */
		0xf4,             /* hlt */
	};

	atomic_fetch_or(mem_page_word(&m->vm.mem, PLAIN + PAGE_SIZE), 1);
	run(m, code, sizeof(code));
	assert_heard(m, "marked 1000; written 6000 1; written 6001 1; ");

	/* The page becomes code while a span of it is written. */
	uint64_t available;

	assert_non_null(cpu_span(m->cpu, X86_ES, 0x7010, 16, true, &available));
	cpu_span_written(m->cpu, X86_ES, 0x7010, available);
	assert_heard(m, "");
	atomic_fetch_or(mem_page_word(&m->vm.mem, 0x7000), 1);
	cpu_span_written(m->cpu, X86_ES, 0x7010, available);
	assert_heard(m, "written 7010 16; ");
	assert_null(cpu_span(m->cpu, X86_ES, 0x7010, 16, true, &available));
}

/* More fills than the log of a flush holds, then fewer: none of them survives. */
static void test_flush_forgets_everything(void **state)
{
	struct machine *m = *state;
	static const unsigned counts[] = {TLB_LOG + 10, 5, TLB_LOG, 1};
	uint8_t byte;

	for (unsigned k = 0; k < 2 * ARRAY_SIZE(counts); k++) {
		m->cpu->mmu_hooks = k & 1 ? &hooks : NULL;
		for (unsigned i = 0; i < counts[k / 2]; i++)
			cpu_load_linear(m->cpu, i % 64 * PAGE_SIZE + i / 64, &byte, 1, i / 64 ? TLB_USER : TLB_SUPERVISOR,
					X86_DS);
		if (k & 1)
			cpu_flush(m->cpu);
		else
			cpu_set_cr3(m->cpu, k * PAGE_SIZE);
		for (unsigned index = 0; index < TLB_COUNT; index++) {
			for (unsigned i = 0; i < TLB_SIZE; i++)
				assert_int_equal(m->cpu->tlb[index][i].read_tag, TLB_NONE);
		}
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_instructions),
		TEST(test_operations),
		TEST(test_stores_look_at_the_page),
		TEST(test_rep_stores),
		TEST(test_flush_forgets_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
