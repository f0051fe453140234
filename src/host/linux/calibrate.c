/* Measuring engines; see calibrate.h.
 *
 *     guest memory: 0x1000  the loop:  add eax, ecx; xor edx, eax; dec ecx; jnz back
 *                           then:      out 0xf4, al     which ends the run
 *                   0x2000  PML4, 0x3000 PDPT, 0x4000 PD: the first 2 MiB, where they are
 *
 * In 64-bit mode, as the guests that matter are: the interpreter's fast forms are those of 64-bit code. For AArch64 guests the same loop
 * ends with a store to where nothing is; its MMU is off.
 */
#include "host/linux/calibrate.h"

#include "arch/state.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/vcpu_hooks.h"
#include "board/aarch64/start.h"
#include "base/fmt.h"
#include "core/tsc.h"
#include "core/vm.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define MEMORY_SIZE  0x10000u
#define CODE         0x1000u
#define PML4         0x2000u
#define PDPT         0x3000u
#define PD           0x4000u
#define LOOP_LENGTH  4       /* instructions a round */
#define FIRST_ROUNDS 1000u
#define MAX_ROUNDS   (1u << 28)
#define MAX_EXITS    1000    /* of other kinds before the end is reached */
/* Hardware is beyond this, interpretation is not: no need to look at the others. */
#define SURELY_HARDWARE 1.5e9
/* Page table entries. */
#define PRESENT_WRITABLE 0x03u
#define LARGE_PAGE       0x80u

static const uint8_t code[] = {
	0x01, 0xc8,       /* add eax, ecx */
	0x31, 0xc2,       /* xor edx, eax */
	0xff, 0xc9,       /* dec ecx */
	0x75, 0xf8,       /* jnz -8 */
	0xe6, 0xf4,       /* out 0xf4, al */
	0xf4,             /* hlt */
};

static const uint32_t a64_code[] = {
	0x0b000021, /* add w1, w1, w0 */
	0x4a010042, /* eor w2, w2, w1 */
	0x71000400, /* subs w0, w0, #1 */
	0x54ffffa1, /* b.ne back */
	0xb9000062, /* str w2, [x3] */
};
#define A64_NOTHING 0x100000u /* an address without memory */

struct bench {
	struct vm *vm;
	void *memory;
	struct x86_cpuid_table cpuid;
	bool vm_made, vcpu_made;
};

static void bench_destroy(struct bench *bench)
{
	if (bench->vcpu_made)
		bench->vm->engine->vcpu_destroy(bench->vm->vcpus[0]);
	if (bench->vm_made)
		bench->vm->engine->vm_destroy(bench->vm);
	vm_destroy(bench->vm);
	if (bench->memory)
		munmap(bench->memory, MEMORY_SIZE);
}

static void put_entry(void *memory, uint32_t table, uint64_t entry)
{
	memcpy((uint8_t *)memory + table, &entry, sizeof(entry));
}

static int bench_create(struct bench *bench, const struct engine_ops *engine, char *why, size_t why_size)
{
	int r;

	*bench = (struct bench){0};
	bench->vm = vm_create(&(struct vm_params){.engine = engine, .cpus = 1});
	if (!bench->vm)
		goto no_memory;
	bench->vm->arch_ops = engine->arch == GUEST_AARCH64 ? a64_board_arch_ops : &x86_vcpu_ops;
	bench->memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (bench->memory == MAP_FAILED) {
		bench->memory = NULL;
		goto no_memory;
	}
	if (mem_add_slot(&bench->vm->mem, 0, MEMORY_SIZE, bench->memory, false) < 0)
		goto no_memory;
	if (engine->arch == GUEST_AARCH64) {
		memcpy((uint8_t *)bench->memory + CODE, a64_code, sizeof(a64_code));
	} else {
		memcpy((uint8_t *)bench->memory + CODE, code, sizeof(code));
		put_entry(bench->memory, PML4, PDPT | PRESENT_WRITABLE);
		put_entry(bench->memory, PDPT, PD | PRESENT_WRITABLE);
		put_entry(bench->memory, PD, LARGE_PAGE | PRESENT_WRITABLE);
	}
	r = engine->vm_init(bench->vm, why, why_size);
	if (r < 0)
		return r;
	bench->vm_made = true;
	x86_cpuid_build(&bench->cpuid, 1, X86_TSC_HZ_DEFAULT);
	bench->vm->cpuid = &bench->cpuid;
	if (engine->cpuid_filter)
		engine->cpuid_filter(bench->vm);
	x86_cpuid_derive(&bench->cpuid);
	r = engine->vcpu_init(bench->vm->vcpus[0], why, why_size);
	if (r < 0)
		return r;
	bench->vcpu_made = true;
	return 0;

no_memory:
	fmt_print(why, why_size, "no memory for the calibration guest; free some on the host");
	return -ENOMEM;
}

/* 64-bit mode at the loop. */
static void start_state(struct x86_state *state, uint32_t rounds)
{
	const struct x86_segment data = {.selector = 0x10,
					 .limit = 0xffffffff,
					 .ar = X86_AR_P | X86_AR_S | X86_AR_WRITABLE | X86_AR_ACCESSED | X86_AR_G |
					       X86_AR_DB};

	x86_state_reset(state, true);
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		state->seg[i] = data;
	state->seg[X86_CS].selector = 0x08;
	state->seg[X86_CS].ar = (state->seg[X86_CS].ar & ~X86_AR_DB) | X86_AR_CODE | X86_AR_L;
	state->cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_NE | X86_CR0_PG;
	state->cr3 = PML4;
	state->cr4 = X86_CR4_PAE;
	state->efer = X86_EFER_LME | X86_EFER_LMA;
	state->rip = CODE;
	state->gpr[X86_RCX] = rounds;
}

static void a64_start(union arch_state *state, uint32_t rounds)
{
	a64_start_state(state, 0, CODE, rounds);
	state->a64.x[3] = A64_NOTHING;
}

static bool is_end(const struct vm_exit *exit)
{
	return exit->kind == VM_EXIT_IO || exit->kind == VM_EXIT_MMIO;
}

/* Runs that many rounds of the loop and says how long it took. */
static int run_rounds(struct bench *bench, uint32_t rounds, uint64_t *ns, char *why, size_t why_size)
{
	const struct engine_ops *engine = bench->vm->engine;
	struct vcpu *vcpu = bench->vm->vcpus[0];
	struct vm_exit exit = {.kind = VM_EXIT_INTERRUPTED};
	union arch_state state;
	uint64_t start;
	int r;

	memset(&state, 0, sizeof(state));
	if (engine->arch == GUEST_AARCH64)
		a64_start(&state, rounds);
	else
		start_state(&state.x86, rounds);
	r = engine->set_state(vcpu, &state);
	start = platform_clock_ns();
	for (unsigned i = 0; r == 0 && i < MAX_EXITS; i++) {
		r = engine->run(vcpu, &exit);
		if (r < 0 || is_end(&exit))
			break;
		if (exit.kind != VM_EXIT_INTERRUPTED)
			r = -EIO;
	}
	*ns = platform_clock_ns() - start;
	if (r == 0 && !is_end(&exit))
		r = -EIO;
	if (r < 0)
		fmt_print(why, why_size, "%s does not run the calibration guest (error %d, exit %s); choose another --engine",
			  engine->name, -r, vm_exit_name(exit.kind));
	return r;
}

int engine_measure(const struct engine_ops *engine, uint64_t budget_ns, double *per_second, char *why,
		   size_t why_size)
{
	struct bench bench;
	uint32_t rounds = FIRST_ROUNDS;
	uint64_t spent = 0, ns = 0;
	int r = engine->probe(why, why_size);

	if (r < 0)
		return r;
	r = bench_create(&bench, engine, why, why_size);
	*per_second = 0;
	/* An engine's first run fills its caches, which takes a translator as long as a million instructions. */
	if (r == 0)
		r = run_rounds(&bench, 1, &ns, why, why_size);
	while (r == 0) {
		r = run_rounds(&bench, rounds, &ns, why, why_size);
		if (r < 0)
			break;
		double rate = (double)rounds * LOOP_LENGTH * 1e9 / (double)(ns ? ns : 1);
		if (rate > *per_second)
			*per_second = rate;
		spent += ns;
		if (rounds >= MAX_ROUNDS || spent * 2 >= budget_ns)
			break;
		/* Twice as long each time; the last and longest run is the one that counts most. */
		rounds *= 2;
	}
	bench_destroy(&bench);
	return r;
}

const struct engine_ops *engine_choose(enum guest_arch arch, char *why, size_t why_size)
{
	const struct engine_ops *best = NULL;
	char reason[256] = "";
	double best_rate = 0;
	unsigned working = 0;

	for (unsigned i = 0; engines[i]; i++) {
		if (engines[i]->arch == arch && engines[i]->probe(reason, sizeof(reason)) == 0) {
			best = engines[i];
			working++;
		}
	}
	if (working < 2) {
		if (!best)
			fmt_print(why, why_size, "no engine of this build runs here: %s", reason);
		return best;
	}
	best = NULL;
	for (unsigned i = 0; engines[i]; i++) {
		double rate;

		if (engines[i]->arch != arch || engine_measure(engines[i], 2000000, &rate, reason, sizeof(reason)) < 0)
			continue;
		if (rate > best_rate) {
			best_rate = rate;
			best = engines[i];
		}
		if (rate > SURELY_HARDWARE)
			break;
	}
	if (!best)
		fmt_print(why, why_size, "no engine of this build runs here: %s", reason);
	return best;
}
