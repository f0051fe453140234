/* The native side of the oracle. See native.h, native_entry.S. */
#include "tests/oracle/native.h"
#include "arch/x86_64/state.h"
#include <cpuid.h>
#include <immintrin.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

struct native_context {
	struct machine in, out;
	uint64_t host_rsp, host_fs;
	uint32_t mask, mxcsr, landed;
	void *leap; /* native_leap_64 or native_leap_32 */
	struct __attribute__((packed)) {
		uint32_t offset;
		uint16_t selector;
	} far;
	/* What the signal handler found. */
	struct outcome outcome;
	volatile sig_atomic_t running;
	/* For the watchdog. */
	volatile unsigned long runs, runs_at_tick;
	volatile unsigned ticks_left, ticks_allowed;
};

_Alignas(64) struct native_context native_context;

_Static_assert(sizeof(struct xsave_image) == XSAVE_SIZE, "XSAVE layout");
_Static_assert(sizeof(struct machine) == MACHINE_SIZE, "machine.h");
_Static_assert(offsetof(struct machine, rip) == MACHINE_RIP, "machine.h");
_Static_assert(offsetof(struct machine, rflags) == MACHINE_RFLAGS, "machine.h");
_Static_assert(offsetof(struct machine, fs_base) == MACHINE_FS, "machine.h");
_Static_assert(offsetof(struct machine, gs_base) == MACHINE_GS, "machine.h");
_Static_assert(offsetof(struct machine, x) == MACHINE_XSAVE, "machine.h");
_Static_assert(offsetof(struct native_context, out) == CONTEXT_OUT, "machine.h");
_Static_assert(offsetof(struct native_context, host_rsp) == CONTEXT_HOST_RSP, "machine.h");
_Static_assert(offsetof(struct native_context, host_fs) == CONTEXT_HOST_FS, "machine.h");
_Static_assert(offsetof(struct native_context, mask) == CONTEXT_MASK, "machine.h");
_Static_assert(offsetof(struct native_context, mxcsr) == CONTEXT_MXCSR, "machine.h");
_Static_assert(offsetof(struct native_context, leap) == CONTEXT_LEAP, "machine.h");
_Static_assert(offsetof(struct native_context, far) == CONTEXT_FAR, "machine.h");
_Static_assert(offsetof(struct native_context, landed) == CONTEXT_LANDED, "machine.h");

int native_enter(void);
extern char native_return[], native_return_taken[], native_fault_return[], native_leap_64[],
    native_leap_32[];

#define JUMP_SIZE 5u
#define FAR_SIZE  7u

/* Linux's code and data segments of user mode. */
#define SELECTOR_CODE_64 0x33
#define SELECTOR_CODE_32 0x23
#define SELECTOR_DATA	 0x2b

static bool wide = true;
static uint64_t code_base, wide_base;
static uint8_t *code_alias, *data_alias;
static uint64_t return_at, taken_at;	  /* where the two returns stand */
static uint64_t placed_at, placed_length; /* what stands in the code pages: offset, bytes */

uint64_t native_code(bool of_wide)
{
	return of_wide ? wide_base : LOW_CODE;
}

void native_set_mode(bool to_wide)
{
	wide = to_wide;
	code_base = native_code(wide);
	native_context.leap = wide ? native_leap_64 : native_leap_32;
}

uint8_t *native_data(void)
{
	return data_alias;
}

uint8_t *native_code_alias(void)
{
	return code_alias;
}

__attribute__((target("fsgsbase"))) uint64_t native_fs_base(void)
{
	return _readfsbase_u64();
}

/* ---- the address space ---- */

/* Populated: an access to a page that is there but not yet mapped faults another way. */
static bool map_fixed(uint64_t address, uint64_t size, int protection, int fd, uint64_t offset)
{
	void *wanted = (void *)(uintptr_t)address;
	void *got = mmap(wanted, size, protection, MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE,
			 fd, (off_t)offset);

	if (got == wanted)
		return true;
	perror("oracle: mmap");
	return false;
}

static bool map_data(uint64_t address, int fd)
{
	return map_fixed(address, DATA_WRITABLE, PROT_READ | PROT_WRITE, fd, CODE_SIZE) &&
	       map_fixed(address + DATA_WRITABLE, DATA_SIZE - DATA_WRITABLE, PROT_READ, fd,
			 CODE_SIZE + DATA_WRITABLE);
}

/* `jmp *2(%rip)` and the address, for each of the two returns: where 32-bit code leaves to. */
static bool map_low_return(void)
{
	static const uint8_t jump[8] = {0xff, 0x25, 2, 0, 0, 0}; /* aligned, in case AC is set */
	char *const targets[] = {native_return, native_return_taken};
	uint8_t *page = mmap((void *)LOW_RETURN, PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (page != (void *)LOW_RETURN) {
		perror("oracle: mmap");
		return false;
	}
	for (unsigned i = 0; i < 2; i++) {
		memcpy(page + 16 * i, jump, sizeof(jump));
		memcpy(page + 16 * i + sizeof(jump), &targets[i], 8);
	}
	return mprotect(page, PAGE_SIZE, PROT_READ | PROT_EXEC) == 0;
}

static bool map_memory(void)
{
	int fd = memfd_create("oracle", 0);
	uint8_t *alias;

	if (fd < 0 || ftruncate(fd, CODE_SIZE + DATA_SIZE) < 0) {
		perror("oracle: memfd");
		return false;
	}
	alias = mmap(NULL, CODE_SIZE + DATA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (alias == MAP_FAILED) {
		perror("oracle: mmap");
		return false;
	}
	code_alias = alias;
	data_alias = alias + CODE_SIZE;
	/* Within reach of a 32-bit displacement from this program, whose base is random. */
	wide_base = ((uintptr_t)&native_context & ~(MIB(256) - 1)) - MIB(256) + LOW_CODE % MIB(16);
	return map_fixed(wide_base, CODE_SIZE, PROT_READ | PROT_EXEC, fd, 0) &&
	       map_fixed(LOW_CODE, CODE_SIZE, PROT_READ | PROT_EXEC, fd, 0) &&
	       map_data(wide_base + HIGH_DATA_DELTA, fd) && map_data(LOW_DATA, fd) &&
	       map_low_return();
}

/* ---- faults ---- */

/* State components that the processor had in their initial configuration are not in the image. */
static void complete_xsave(struct xsave_image *x)
{
	static const uint8_t zero[16];

	if (!(x->xstate_bv & 1)) {
		x->fcw = 0x37f;
		x->fsw = x->fop = 0;
		x->ftw = 0;
		x->fip = x->fdp = 0;
		memset(x->st, 0, sizeof(x->st));
	}
	for (unsigned i = 0; i < 16; i++) {
		if (!(x->xstate_bv & 2))
			memcpy(x->xmm[i], zero, 16);
		if (!(x->xstate_bv & 4))
			memcpy(x->ymmh[i], zero, 16);
	}
}

static bool has_error_code(unsigned vector)
{
	return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

/* A tick of the watchdog: whether the run has seen so many that it must hang. */
static bool run_hangs(void)
{
	if (native_context.runs != native_context.runs_at_tick) {
		native_context.runs_at_tick = native_context.runs;
		native_context.ticks_left = native_context.ticks_allowed;
	}
	return native_context.ticks_left-- == 0;
}

/* Who handled the signals before: the translator, whose code takes them as part of its work. */
static struct sigaction previous[NSIG];

static void not_ours(int signal_number, siginfo_t *info, void *raw)
{
	const struct sigaction *before = &previous[signal_number];

	if (before->sa_flags & SA_SIGINFO)
		before->sa_sigaction(signal_number, info, raw);
	else
		signal(signal_number, SIG_DFL);
}

/* Runs with the instruction's FS base and AC flag until it has put them right.
 *
 * A tick may come in the middle of a run, which then goes on. Its ID and NT flags must stay as they
 * are in here: sigreturn restores the others from the frame, but leaves these as the handler has
 * them (Linux: FIX_EFLAGS). */
__attribute__((target("fsgsbase"), no_stack_protector)) static void
on_fault(int signal_number, siginfo_t *info, void *raw)
{
	static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
				      REG_RSI, REG_RDI, REG_R8,	 REG_R9,  REG_R10, REG_R11,
				      REG_R12, REG_R13, REG_R14, REG_R15};
	ucontext_t *context = raw;
	greg_t *gregs = context->uc_mcontext.gregs;
	struct machine *out = &native_context.out;
	struct outcome *outcome = &native_context.outcome;

	__asm__ volatile("pushfq; andq %0, (%%rsp); popfq" ::"i"(~X86_FLAG_AC) : "cc", "memory");
	if (!native_context.running) {
		if (signal_number != SIGALRM)
			not_ours(signal_number, info, raw);
		return;
	}
	if (signal_number == SIGALRM && !run_hangs())
		return;
	out->fs_base = _readfsbase_u64();
	out->gs_base = _readgsbase_u64();
	_writefsbase_u64(native_context.host_fs);
	for (unsigned i = 0; i < 16; i++)
		out->gpr[i] = (uint64_t)gregs[order[i]];
	out->rip = (uint64_t)gregs[REG_RIP];
	out->rflags = (uint64_t)gregs[REG_EFL];
	memcpy(&out->x, context->uc_mcontext.fpregs, sizeof(out->x));
	complete_xsave(&out->x);
	outcome->fault = true;
	outcome->vector = signal_number == SIGALRM ? NATIVE_HANG : (unsigned)gregs[REG_TRAPNO];
	outcome->error = has_error_code(outcome->vector) ? (uint64_t)gregs[REG_ERR] : 0;
	outcome->cr2 = outcome->vector == 14 ? (uint64_t)gregs[REG_CR2] : 0;
	gregs[REG_RIP] = (greg_t)(uintptr_t)native_fault_return;
	gregs[REG_RSP] = (greg_t)native_context.host_rsp;
	gregs[REG_EFL] = 0x202;
	gregs[REG_CSGSFS] = (gregs[REG_CSGSFS] & ~0xffffll) | SELECTOR_CODE_64;
}

bool native_install_handlers(unsigned tick)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGALRM};
	const size_t stack_size = KIB(256);
	stack_t stack = {.ss_sp = malloc(stack_size), .ss_size = stack_size};
	const struct timeval period = {tick / 1000000, tick % 1000000};
	const struct itimerval watchdog = {period, period};
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	native_context.ticks_allowed = 1000000 / tick;
	if (!stack.ss_sp || sigaltstack(&stack, NULL) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (sigaction(signals[i], &action, &previous[signals[i]]) < 0)
			return false;
	return setitimer(ITIMER_REAL, &watchdog, NULL) == 0;
}

static bool has_fsgsbase(void)
{
	return getauxval(AT_HWCAP2) & 2;
}

static uint32_t xsave_mask(void)
{
	uint32_t eax, ebx, ecx, edx;

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
	return eax & 7;
}

bool native_init(void)
{
	native_context.mask = xsave_mask();
	native_context.mxcsr = 0x1f80;
	if (!has_fsgsbase() || !native_context.mask) {
		fprintf(stderr, "oracle: this host lacks FSGSBASE or XSAVE\n");
		return false;
	}
	/* 32-bit code needs them; 64-bit code doesn't look. */
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" ::"r"(SELECTOR_DATA));
	if (!map_memory())
		return false;
	native_set_mode(true);
	return true;
}

/* ---- code ---- */

static unsigned return_size(void)
{
	return wide ? JUMP_SIZE : FAR_SIZE;
}

static void put_return(uint64_t at, bool taken)
{
	uint8_t *to = code_alias + (at - code_base);

	if (wide) {
		char *target = taken ? native_return_taken : native_return;
		int32_t distance = (int32_t)((uint64_t)(uintptr_t)target - (at + JUMP_SIZE));

		to[0] = 0xe9;
		memcpy(to + 1, &distance, sizeof(distance));
	} else {
		uint32_t target = (uint32_t)LOW_RETURN + 16 * taken;
		uint16_t selector = SELECTOR_CODE_64;

		to[0] = 0xea;
		memcpy(to + 1, &target, sizeof(target));
		memcpy(to + 5, &selector, sizeof(selector));
	}
}

static bool fits(uint64_t at, uint64_t size)
{
	return at >= code_base && at <= code_base + CODE_SIZE - size;
}

#define BREAKPOINT 0xcc

static void clear_code(uint64_t offset, uint64_t length)
{
	if (offset + length > CODE_SIZE)
		length = CODE_SIZE - offset;
	memset(code_alias + offset, BREAKPOINT, length);
}

/* Nothing is left for a wild jump to run. */
static void forget_placed(void)
{
	if (!placed_length)
		clear_code(0, CODE_SIZE);
	else
		clear_code(placed_at, placed_length);
	if (taken_at)
		clear_code(taken_at & (CODE_SIZE - 1), FAR_SIZE);
}

bool native_place(const uint8_t *bytes, unsigned length, unsigned offset, uint64_t taken)
{
	uint64_t start = code_base + offset, end = start + length;
	unsigned size = return_size();

	forget_placed();
	placed_at = offset;
	placed_length = length + FAR_SIZE;
	return_at = taken_at = 0;
	memcpy(code_alias + offset, bytes, length);
	if (fits(end, size)) {
		put_return(end, false);
		return_at = end;
	}
	if (taken == end)
		return return_at != 0;
	if (!fits(taken, size) || (taken + size > start && taken < end + size))
		return false;
	put_return(taken, true);
	taken_at = taken;
	return true;
}

void native_run(const struct machine *in, struct machine *out, struct outcome *outcome)
{
	struct native_context *context = &native_context;

	memcpy(&context->in, in, sizeof(*in));
	context->far.offset = (uint32_t)in->rip;
	context->far.selector = SELECTOR_CODE_32;
	context->in.x.xstate_bv = context->mask;
	memset(&context->out.x.xstate_bv, 0, 64);
	memset(&context->outcome, 0, sizeof(context->outcome));
	context->landed = 0;
	context->runs++;
	context->running = 1;
	if (!native_enter())
		context->out.rip = context->landed ? taken_at : return_at;
	context->running = 0;
	memcpy(out, &context->out, sizeof(*out));
	complete_xsave(&out->x);
	*outcome = context->outcome;
}

bool native_has_32(void)
{
	static const uint8_t increment[] = {0x40}; /* INC EAX; in 64-bit mode a prefix */
	struct machine in, out;
	struct outcome outcome;

	memset(&in, 0, sizeof(in));
	in.rflags = 0x202;
	in.fs_base = native_fs_base();
	in.x.fcw = 0x37f;
	in.x.mxcsr = 0x1f80;
	native_set_mode(false);
	in.rip = native_code(false);
	(void)native_place(increment, sizeof(increment), 0, in.rip + 1);
	native_run(&in, &out, &outcome);
	native_set_mode(true);
	return !outcome.fault && out.gpr[0] == 1;
}
