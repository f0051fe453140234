/* The signals of translated code: faults that fill tables, faults that the interpreter must see, and kicks.
 *
 * A fault at a memory access: the guest address is computed from the guest instruction and the registers; if its page can be
 * accessed the table gets the entry, `u` the addend, and the access is made again. Everything else (a guest's page fault, a
 * device, an access across pages, a write to translated code, #GP, #DE, #XM) leaves to the interpreter with the
 * instruction not begun: it raises or does what there is to raise or do.
 *
 * A kick stops translated code at a boundary between guest instructions: where it is, by taking back an instruction that
 * has not changed anything yet, or by letting the host step on to the next boundary.
 */
#include "engine/dbt/dbt.h"
#include "engine/dbt/profile.h"
#include "engine/dbt/translate.h"
#include "base/errno.h"
#include "base/string.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define SIGNAL_STACK 65536
#define HOST_TF (1u << 8)

/* The handler must find its vcpu: signals have no other argument. */
static __thread struct dbt *current;

/* The handlers are the process's, shared by its VMs: who had the signals before, while there is any. */
static struct lock installing;
static unsigned users;
static struct sigaction previous[NSIG];

static const uint8_t greg_of_host[16] = {
	[HOST_RAX] = REG_RAX, [HOST_RCX] = REG_RCX, [HOST_RDX] = REG_RDX, [HOST_RBX] = REG_RBX,
	[HOST_RSP] = REG_RSP, [HOST_RBP] = REG_RBP, [HOST_RSI] = REG_RSI, [HOST_RDI] = REG_RDI,
	[HOST_R8] = REG_R8,   [HOST_R9] = REG_R9,   [HOST_R10] = REG_R10, [HOST_R11] = REG_R11,
	[HOST_R12] = REG_R12, [HOST_R13] = REG_R13, [HOST_R14] = REG_R14, [HOST_R15] = REG_R15,
};

static uint64_t guest_register(struct dbt *d, ucontext_t *context, unsigned guest)
{
	if (guest_to_host[guest] == HOST_NONE)
		return d->cpu.s.gpr[guest];
	return (uint64_t)context->uc_mcontext.gregs[greg_of_host[guest_to_host[guest]]];
}

static void set_host(ucontext_t *context, unsigned host, uint64_t value)
{
	context->uc_mcontext.gregs[greg_of_host[host]] = (greg_t)value;
}

static uint64_t host_pc(ucontext_t *context)
{
	return (uint64_t)context->uc_mcontext.gregs[REG_RIP];
}

static void set_pc(ucontext_t *context, const uint8_t *pc)
{
	context->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)pc;
}

/* The instruction whose host code holds offset `at` of the block. */
static struct tb_insn *insn_at(struct tb *tb, uint32_t at)
{
	unsigned low = 0, high = tb->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (tb->insns[middle].host <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &tb->insns[low - 1] : NULL;
}

static void leave_for(struct dbt *d, ucontext_t *context, const struct tb *tb, const struct tb_insn *insn,
		      const uint8_t *exit)
{
	set_host(context, HOST_U, tb->rip + insn->guest);
	set_pc(context, exit);
}

/* ---- memory ---- */

struct access {
	gva_t gva;
	unsigned size;
	bool write;
	uint64_t sum; /* the address with all 64 bits of what is added up */
};

static uint64_t effective_address(struct dbt *d, ucontext_t *context, const struct x86_insn *insn, uint64_t next, uint64_t *sum)
{
	const struct x86_mem *mem = &insn->mem;
	uint64_t address = (uint64_t)mem->disp;

	if (mem->base == X86_REG_RIP)
		address += next;
	else if (mem->base != X86_REG_NONE)
		address += guest_register(d, context, mem->base);
	if (mem->index != X86_REG_NONE)
		address += guest_register(d, context, mem->index) * mem->scale;
	*sum = address;
	if (insn->addrsize == 4)
		address = (uint32_t)address;
	if (mem->seg >= X86_FS)
		address += d->cpu.s.seg[mem->seg].base;
	return insn->mode == X86_MODE_64 ? address : (uint32_t)address;
}

/* At an address in a register. */
static struct access at_register(const struct x86_insn *insn, uint64_t address, unsigned size, bool write)
{
	return (struct access){
		.gva = insn->mode == X86_MODE_64 ? address : (uint32_t)address, .size = size, .write = write, .sum = address,
	};
}

/* The accesses that translated code makes for the instruction. */
static unsigned accesses_of(struct dbt *d, ucontext_t *context, const struct x86_insn *insn, uint64_t next,
			    struct access *accesses)
{
	uint64_t rsp = guest_register(d, context, X86_RSP), rsi = guest_register(d, context, X86_RSI);
	uint64_t rdi = guest_register(d, context, X86_RDI);
	unsigned count = 0, word = insn->mode == X86_MODE_64 ? 8 : 4;

	for (unsigned i = 0; i < insn->operand_count; i++) {
		const struct x86_operand *operand = &insn->operand[i];
		struct access *a = &accesses[count];

		if (operand->kind != X86_OPND_MEM || !operand->size)
			continue;
		*a = (struct access){.size = operand->size, .write = (operand->access & X86_ACCESS_WRITE) != 0};
		a->gva = effective_address(d, context, insn, next, &a->sum);
		count++;
	}
	if ((insn->op == X86_BT || insn->op == X86_BTS || insn->op == X86_BTR || insn->op == X86_BTC) && count &&
	    insn->operand[1].kind == X86_OPND_GPR) {
		uint64_t bit = guest_register(d, context, insn->operand[1].reg);

		/* The element that holds the bit; lower_bits.c has them of 4 and 8 bytes. */
		accesses[0].gva += insn->opsize == 8 ? (uint64_t)((int64_t)bit >> 6) * 8 : (uint64_t)((int32_t)bit >> 5) * 4;
		if (word == 4)
			accesses[0].gva = accesses[0].sum = (uint32_t)accesses[0].gva;
	}
	switch (insn->op) {
	case X86_MOVS:
		accesses[count++] = at_register(insn, rsi, insn->opsize, false);
		accesses[count++] = at_register(insn, rdi, insn->opsize, true);
		break;
	case X86_CMPS:
		accesses[count++] = at_register(insn, rsi, insn->opsize, false);
		accesses[count++] = at_register(insn, rdi, insn->opsize, false);
		break;
	case X86_SCAS:
		accesses[count++] = at_register(insn, rdi, insn->opsize, false);
		break;
	case X86_STOS:
		accesses[count++] = at_register(insn, rdi, insn->opsize, true);
		break;
	case X86_LODS:
		accesses[count++] = at_register(insn, rsi, insn->opsize, false);
		break;
	case X86_PUSH:
	case X86_PUSHF:
	case X86_CALL:
		accesses[count++] = at_register(insn, rsp - word, word, true);
		break;
	case X86_POP:
	case X86_POPF:
	case X86_RET:
		accesses[count++] = at_register(insn, rsp, word, false);
		break;
	case X86_LEAVE:
		accesses[count++] = at_register(insn, guest_register(d, context, X86_RBP), word, false);
		break;
	default:
		break;
	}
	return count;
}

/* Of an access that no entry can be had for. */
static enum dbt_fault_cause why_not_filled(struct dbt *d, const struct access *access)
{
	bool user = d->cpu.cpl == 3, any = !(d->cpu.s.cr0 & X86_CR0_PG) || (!user && !(d->cpu.s.cr0 & X86_CR0_WP));
	const struct mem_slot *slot;
	struct x86_walk walk;

	if (x86_walk(&d->cpu.vm->mem, &d->cpu.s, d->cpu.cpuid->physical_bits, access->gva,
		     X86_WALK_PROBE | X86_WALK_SMAP_AC | (user ? X86_WALK_USER : 0), &walk) != 0)
		return DBT_FAULT_GUEST;
	slot = mem_find(&d->cpu.vm->mem, walk.gpa);
	if (!slot)
		return DBT_FAULT_DEVICE;
	if (access->write && (walk.writable || any) && (slot->read_only || dbt_ram_protected(d->shared->ram, walk.gpa)))
		return DBT_FAULT_CODE;
	return DBT_FAULT_GUEST;
}

/* Up to DBT_FAULT_WRITTEN: an entry is another one now; DBT_FAULT_ADDEND: all are as they were; else there can be none. *addend: of the
 * last access. *site: what to make of the instruction if it happens often. */
static enum dbt_fault_cause fill(struct dbt *d, const struct access *accesses, unsigned count, uint64_t *addend, enum dbt_site *site)
{
	enum dbt_fault_cause cause = count ? DBT_FAULT_ADDEND : DBT_FAULT_OTHER;

	*site = SITE_PLAIN;
	for (unsigned i = 0; i < count; i++) {
		const struct access *a = &accesses[i];
		uint64_t before = 0;
		bool had;

		if (!canonical(a->gva) || !canonical(a->gva + a->size - 1))
			return DBT_FAULT_GENERAL;
		if ((a->gva & ~PAGE_MASK) + a->size > PAGE_SIZE) {
			*site = SITE_CROSSES;
			dbt_profile_fault(d, DBT_FAULT_CROSSES, a->gva);
			return DBT_FAULT_CROSSES;
		}
		had = dbt_mmu_peek(&d->mmu, a->gva, dbt_table_index(d), &before);
		if (dbt_mmu_fill(&d->mmu, a->gva, a->write, dbt_table_index(d), addend) != DBT_FILLED) {
			cause = why_not_filled(d, a);
			/* A write to code that happens often may as well look first. */
			*site = cause == DBT_FAULT_DEVICE ? SITE_STEP : SITE_ABSENT;
			dbt_profile_fault(d, cause, a->gva);
			d->missed_gva = a->gva;
			return cause;
		}
		if (!had)
			cause = DBT_FAULT_FILLED;
		else if (before != *addend && cause == DBT_FAULT_ADDEND)
			cause = DBT_FAULT_WRITTEN;
	}
	if (count)
		dbt_profile_fault(d, cause, accesses[count - 1].gva);
	return cause;
}

/* An instruction that faults often gets another form, when its block can be replaced: not while the signal returns, to
 * `at`, among the bytes that the redirection writes. */
static void count_site(struct dbt *d, struct tb *tb, const struct tb_insn *insn, uint32_t at, enum dbt_site kind)
{
	if (kind != SITE_PLAIN && tb->state == TB_LIVE && at >= TB_REDIRECT && dbt_site_count(d, tb->gpa + insn->guest, kind))
		dbt_tb_drop(d, tb);
}

/* A store that must be aligned: as it is not, it writes nothing and must not set D. (Processors report the page first if it is not
 * present, as a table's entry is at first.) */
static bool must_be_aligned(unsigned op)
{
	switch (op) {
	case X86_MOVAPS: case X86_MOVAPD: case X86_MOVDQA: case X86_MOVNTPS: case X86_MOVNTPD: case X86_MOVNTDQ:
	case X86_VMOVAPS: case X86_VMOVAPD: case X86_VMOVDQA: case X86_VMOVNTPS: case X86_VMOVNTPD: case X86_VMOVNTDQ:
	case X86_CMPXCHG16B:
		return true;
	default:
		return false;
	}
}

static bool misaligned(const struct x86_insn *insn, const struct access *access)
{
	return must_be_aligned(insn->op) && access->write && access->gva & (access->size - 1);
}

bool dbt_looks_first(const struct x86_insn *insn)
{
	if (insn->mode != X86_MODE_64 || must_be_aligned(insn->op))
		return false;
	switch (insn->op) {
	case X86_STOS: case X86_MOVS: case X86_LODS: case X86_CMPS: case X86_SCAS:
		return true;
	case X86_BT: case X86_BTS: case X86_BTR: case X86_BTC: /* accesses another element than its operand */
	case X86_POP:                                          /* reads the stack before */
		return false;
	default:
		break;
	}
	for (unsigned i = 0; i < insn->operand_count; i++) {
		if (insn->operand[i].kind == X86_OPND_MEM)
			return insn->operand[i].size != 0 && insn->operand[i].size <= 64;
	}
	return false;
}

/* Would an address of 32-bit code have to wrap, which is not truncated? */
static bool wrapping(const struct x86_insn *insn, const struct tb_insn *info, const struct access *accesses, unsigned count)
{
	if (insn->mode == X86_MODE_64 || (info->flags & TB_INSN_TRUNCATED))
		return false;
	for (unsigned i = 0; i < count; i++) {
		if (accesses[i].sum != accesses[i].gva)
			return true;
	}
	return false;
}

/* The register of a simple operand (operands.c). */
static unsigned base_of(const struct x86_insn *insn)
{
	switch (insn->op) {
	case X86_PUSH: case X86_PUSHF: case X86_CALL: case X86_POP: case X86_POPF: case X86_RET:
		return X86_RSP;
	case X86_LEAVE:
		return X86_RBP;
	case X86_STOS: case X86_MOVS: case X86_CMPS: case X86_SCAS:
		return X86_RDI;
	case X86_LODS:
		return X86_RSI;
	default:
		return insn->mem.base & 15;
	}
}

/* True if the access is to be made again. */
static bool memory_fault(struct dbt *d, ucontext_t *context, struct tb *tb, struct tb_insn *insn, uint32_t at, enum dbt_fault_cause *cause)
{
	struct access accesses[3];
	struct x86_insn decoded;
	uint64_t rip = tb->rip + insn->guest, addend = 0;
	enum dbt_site site;
	unsigned count;
	bool changed, wraps;
	int length;

	*cause = DBT_FAULT_OTHER;
	length = x86_decode(&decoded, tb->bytes + insn->guest, tb->length - insn->guest, (enum x86_mode)(tb->key & 3));
	if (length <= 0)
		return false;
	count = accesses_of(d, context, &decoded, rip + (unsigned)length, accesses);
	if (count && misaligned(&decoded, &accesses[0])) {
		*cause = DBT_FAULT_ALIGNED;
		return false;
	}
	/* Where the sum is accessed, the addend of the page that it wraps to would lead 4 GiB away from that. */
	wraps = wrapping(&decoded, insn, accesses, count);
	if (wraps && (insn->flags & TB_INSN_U_LIVE)) {
		*cause = DBT_FAULT_WRAPS;
		count_site(d, tb, insn, TB_REDIRECT, SITE_WRAPS);
		return false;
	}
	*cause = fill(d, accesses, count, &addend, &site);
	if (*cause > DBT_FAULT_ADDEND) {
		d->missed_rip = rip;
		if (site != SITE_ABSENT || dbt_looks_first(&decoded))
			count_site(d, tb, insn, TB_REDIRECT, site);
		return false;
	}
	changed = *cause != DBT_FAULT_ADDEND;
	if (at == insn->commit && (insn->flags & TB_INSN_U_LIVE)) {
		/* The addend may be that of another page near by, or older than the entry. */
		if ((uint64_t)context->uc_mcontext.gregs[REG_R11] == addend)
			return false;
		if (!changed || dbt_looks_first(&decoded))
			count_site(d, tb, insn, at, changed ? SITE_ABSENT : SITE_FRESH);
		set_host(context, HOST_U, addend);
		if (insn->flags & TB_INSN_ASIDE)
			d->addends[base_of(&decoded)] = addend;
		return true;
	}
	if (!changed) {
		/* An address wraps, or the look-up was that of a register whose page is none. */
		if (wraps)
			*cause = DBT_FAULT_WRAPS;
		count_site(d, tb, insn, TB_REDIRECT, wraps ? SITE_WRAPS : SITE_FRESH);
		return false;
	}
	set_pc(context, d->code_run + tb->host + insn->host);
	return true;
}

/* Of a fault that is no access to memory, which tables could help. */
static enum dbt_fault_cause other_cause(greg_t trap)
{
	switch (trap) {
	case X86_EXC_GP:
	case X86_EXC_SS:
		return DBT_FAULT_GENERAL;
	case X86_EXC_DE:
	case X86_EXC_MF:
	case X86_EXC_XM:
		return DBT_FAULT_ARITHMETIC;
	default:
		return DBT_FAULT_OTHER;
	}
}

/* ---- handlers ---- */

static bool in_cache(const struct dbt *d, uint64_t pc)
{
	return pc >= (uintptr_t)d->code_run && pc < (uintptr_t)d->code_run + d->code_size;
}

static struct tb *locate(struct dbt *d, ucontext_t *context, struct tb_insn **insn, uint32_t *at)
{
	struct tb *tb = dbt_tb_find_host(d, (const uint8_t *)host_pc(context));

	if (!tb)
		return NULL;
	*at = (uint32_t)(host_pc(context) - (uintptr_t)d->code_run - tb->host);
	*insn = insn_at(tb, *at);
	/* Behind the last instruction's code are the exits. */
	return *insn ? tb : NULL;
}

/* A fault of our own. Whoever handled it before is told; if that did not end the process, the same fault does, since the
 * kernel does not deliver a fault that is blocked: that needs no system call, and is shown where it happened. */
static void not_ours(int signal, siginfo_t *info, void *raw)
{
	struct sigaction *before = &previous[signal];
	ucontext_t *context = raw;

	/* Sent by somebody: it would not repeat itself. */
	if (info->si_code <= 0)
		abort();
	if (before->sa_flags & SA_SIGINFO)
		before->sa_sigaction(signal, info, raw);
	else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN)
		before->sa_handler(signal);
	sigaddset(&context->uc_sigmask, signal);
}

/* A call nested too deep for the side stack: it begins anew. */
static bool side_overflow(struct dbt *d, siginfo_t *info, ucontext_t *context)
{
	uintptr_t guard = ((uintptr_t)info->si_addr & PAGE_MASK) - (uintptr_t)d->side_stack;

	if (guard == 0)
		set_host(context, HOST_RSP, d->side_user_base);
	else if (guard == PAGE_SIZE + DBT_SIDE_STACK / 2)
		set_host(context, HOST_RSP, d->side_base);
	else
		return false;
	return true;
}

/* In the host's REP: the guest's registers are made what they are after the iterations so far, and its flags what they were before
 * the first. */
static bool rep_registers(struct dbt *d, ucontext_t *context, const struct tb *tb, const struct tb_insn *insn, uint32_t at)
{
	greg_t *gregs = context->uc_mcontext.gregs;
	const uint8_t *code = d->code_run + tb->host + at;
	bool compares, source;
	uint8_t opcode;

	if (!(insn->flags & TB_INSN_REP) || at <= insn->commit || (code[0] != 0xf3 && code[0] != 0xf2))
		return false;
	opcode = (code[1] == 0x66 || code[1] == 0x48 ? code[2] : code[1]) & 0xfe;
	compares = opcode == 0xa6 || opcode == 0xae;
	source = opcode == 0xa4 || opcode == 0xa6;
	gregs[REG_RDI] -= (greg_t)d->rep_dst;
	if (source)
		gregs[REG_RSI] -= (greg_t)d->rep_src;
	gregs[REG_R9] -= (greg_t)d->rep_count - gregs[REG_RCX];
	if (compares)
		gregs[REG_EFL] = (gregs[REG_EFL] & ~(greg_t)X86_FLAGS_STATUS) | (greg_t)(d->saved_flags >> 8 & 0xd5) |
				 (d->saved_flags & 1 ? X86_FLAG_OF : 0);
	set_pc(context, d->code_run + tb->host + insn->host);
	return true;
}

static void on_fault(int signal, siginfo_t *info, void *raw)
{
	struct dbt *d = current;
	ucontext_t *context = raw;
	greg_t trap = context->uc_mcontext.gregs[REG_TRAPNO];
	enum dbt_fault_cause cause;
	struct tb_insn *insn;
	struct tb *tb;
	uint32_t at;
	bool memory;

	if (!d || !in_cache(d, host_pc(context))) {
		not_ours(signal, info, raw);
		return;
	}
	if (signal == SIGSEGV && side_overflow(d, info, context))
		return;
	tb = locate(d, context, &insn, &at);
	/* Then it stands where the instruction begins. */
	if (tb && rep_registers(d, context, tb, insn, at))
		at = insn->host;
	if (!tb || at > insn->commit) {
		not_ours(signal, info, raw);
		return;
	}
	d->stats.faults++;
	dbt_time(d, DBT_TIME_FAULTS);
	/* #GP, of an address that is not canonical or not aligned as the instruction wants it, is no matter of tables. */
	memory = signal == SIGSEGV && trap == X86_EXC_PF;
	if (memory && memory_fault(d, context, tb, insn, at, &cause)) {
		d->stats.fault_fills++;
	} else {
		if (!memory) {
			cause = other_cause(trap);
			dbt_profile_fault(d, cause, tb->rip + insn->guest);
		}
		d->stats.interpreted_causes[cause]++;
		d->stats.fault_steps++;
		context->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)HOST_TF;
		leave_for(d, context, tb, insn, d->exit_step);
	}
	d->stats.fault_causes[cause]++;
	dbt_time(d, DBT_TIME_TRANSLATED);
}

/* Stops at a boundary, or goes on by host steps until one comes. */
static void stop_at_boundary(struct dbt *d, ucontext_t *context)
{
	greg_t *flags = &context->uc_mcontext.gregs[REG_EFL];
	uint64_t pc = host_pc(context);
	struct tb_insn *insn;
	struct tb *tb;
	uint32_t at;

	*flags &= ~(greg_t)HOST_TF;
	if (!in_cache(d, pc))
		return;
	tb = locate(d, context, &insn, &at);
	if (tb && rep_registers(d, context, tb, insn, at))
		at = insn->host;
	if (tb && at <= insn->commit && !(insn->flags & TB_INSN_SHADOW)) {
		d->rf = d->rf && (tb->key & DBT_KEY_RF);
		leave_for(d, context, tb, insn, d->exit_kick);
		return;
	}
	/* On the way in before the look at `kicked`, or on the way out. */
	if (pc < (uintptr_t)d->stubs_end && (pc < (uintptr_t)d->enter_window || pc >= (uintptr_t)d->enter_window_end) &&
	    pc < (uintptr_t)d->return_underflow)
		return;
	*flags |= HOST_TF;
}

static void on_kick(int signal, siginfo_t *info, void *raw)
{
	struct dbt *d = current;

	if (!d)
		return;
	d->kicked = 1;
	d->stats.fault_kicks++;
	stop_at_boundary(d, raw);
}

static void on_sample(int signal, siginfo_t *info, void *raw)
{
	struct dbt *d = current;
	ucontext_t *context = raw;
	uint64_t pc = host_pc(context), rip;
	struct tb *tb = NULL;

	if (!d || !d->profile)
		return;
	rip = d->cpu.s.rip;
	if (in_cache(d, pc)) {
		tb = dbt_tb_find_host(d, (const uint8_t *)pc);
		/* On the way out, and where returns meet, u is the guest's. */
		if (tb)
			rip = tb->rip;
		else if (pc >= (uintptr_t)d->enter_window_end)
			rip = (uint64_t)context->uc_mcontext.gregs[REG_R11];
	}
	dbt_profile_sample(d, tb != NULL, rip);
}

static void on_trap(int signal, siginfo_t *info, void *raw)
{
	struct dbt *d = current;

	if (!d || info->si_code != TRAP_TRACE) {
		not_ours(signal, info, raw);
		return;
	}
	stop_at_boundary(d, raw);
}

int dbt_kick_signal(void)
{
	return SIGRTMIN + 3;
}

static const struct {
	int signal;
	void (*handler)(int, siginfo_t *, void *);
} handlers[] = {
	{SIGSEGV, on_fault}, {SIGBUS, on_fault}, {SIGFPE, on_fault}, {SIGILL, on_fault}, {SIGTRAP, on_trap},
};

static int install(void)
{
	struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};

	sigfillset(&action.sa_mask);
	sigdelset(&action.sa_mask, SIGSYS); /* the sandbox reports a call that it stops */
	for (unsigned i = 0; i < ARRAY_SIZE(handlers); i++) {
		action.sa_sigaction = handlers[i].handler;
		if (sigaction(handlers[i].signal, &action, &previous[handlers[i].signal]) < 0)
			return -errno;
	}
	action.sa_sigaction = on_kick;
	action.sa_flags |= SA_RESTART;
	return sigaction(dbt_kick_signal(), &action, NULL) < 0 ? -errno : dbt_profile_signal_init(on_sample);
}

int dbt_signals_init(void)
{
	int r = 0;

	lock_take(&installing);
	if (users == 0)
		r = install();
	if (r == 0)
		users++;
	lock_release(&installing);
	return r;
}

/* The kick stays ours: one may still be on its way. */
void dbt_signals_exit(void)
{
	lock_take(&installing);
	if (--users == 0) {
		for (unsigned i = 0; i < ARRAY_SIZE(handlers); i++)
			sigaction(handlers[i].signal, &previous[handlers[i].signal], NULL);
	}
	lock_release(&installing);
}

int dbt_thread_init(struct dbt *d)
{
	stack_t stack = {.ss_size = SIGNAL_STACK};

	stack.ss_sp = mmap(NULL, SIGNAL_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, NULL) < 0)
		return -errno;
	d->signal_stack = stack.ss_sp;
	/* ARCH_SET_GS */
	if (syscall(SYS_arch_prctl, 0x1001, d) < 0)
		return -errno;
	current = d;
	d->thread_id = (int)syscall(SYS_gettid);
	atomic_store(&d->thread_known, true);
	return 0;
}

void dbt_thread_exit(struct dbt *d)
{
	stack_t off = {.ss_flags = SS_DISABLE};

	atomic_store(&d->thread_known, false);
	current = NULL;
	sigaltstack(&off, NULL);
	if (d->signal_stack)
		munmap(d->signal_stack, SIGNAL_STACK);
}
