/* Lock-step (`--check interp`): each block is first run by the interpreter, then as it was translated, from the same state, and
 * what they leave is compared.
 *
 * The interpreter's run must leave nothing behind: its stores go to an overlay that its loads look at (struct cpu_overlay);
 * an access to a device or to a page of code ends it, as does an instruction that must not be executed twice. It goes
 * along the block one instruction after another and keeps the state before each: translated code may stop at any, for a fault
 * or a kick, and is compared with the state there. Branches between blocks are not linked, so translated code returns
 * after each.
 *
 * What a device writes meanwhile can make a difference of its own: a block that differs is run again, once, by both, before it
 * is one. What another processor writes can't be told from a difference: this is for one. Not compared: flags and x87 condition bits that are undefined, and the x87's
 * instruction and operand pointers.
 */
#include "engine/dbt/dbt.h"
#include "base/errno.h"
#include "base/log.h"
#include "base/string.h"
#include "engine/dbt/translate.h"
#include "engine/interp/x86_64/lazy.h"
#include <sys/mman.h>

#define STORES_MAX   8192
#define STORE_MAX    64
#define REPEATS_MAX  8192 /* of a REP instruction */
#define FSW_CONDITION 0x4700u
#define MXCSR_FLAGS   0x3fu
#define RFLAGS_COMPARED (X86_FLAG_IF | X86_FLAG_DF | X86_FLAG_AC | X86_FLAG_TF | X86_FLAG_NT | X86_FLAG_RF)

struct store {
	uint8_t *hva;
	gpa_t gpa;
	uint16_t len, insn;
	uint8_t old[STORE_MAX], new[STORE_MAX];
};

/* The interpreter's state before an instruction of the block. */
struct snapshot {
	uint64_t gpr[16], rip, rflags, kernel_gs_base;
	struct x86_segment seg[X86_SEG_COUNT];
	uint32_t flags, undefined;
	unsigned fpu; /* which of dbt_check.fpu: most instructions leave it as it is */
};

/* What the interpreter's run has stored to sixteen bytes, while `run` is its number. */
#define LINE 16u
struct line {
	uintptr_t address;
	uint64_t run;
	uint16_t written; /* bit n: byte n */
	uint8_t bytes[LINE];
};
/* A store lies on at most STORE_MAX / LINE + 1 lines. */
#define LINES_BITS 17

/* An instruction of a translation, decoded. */
struct decoded {
	const uint8_t *at; /* in tb->bytes */
	uint8_t bytes[15];
	int8_t length;
	bool integer;   /* it does not touch floating-point or vector registers */
	bool not_twice;
	struct x86_insn insn;
};
#define DECODED_BITS 14

struct dbt_check {
	struct decoded decoded[1u << DECODED_BITS];
	struct snapshot snapshots[TB_MAX_INSNS + 1];
	unsigned count;
	struct x86_fpu fpu[TB_MAX_INSNS + 1];
	unsigned fpu_count;
	bool cut; /* the interpreter stopped before an instruction that translated code may execute */
	struct store stores[STORES_MAX];
	unsigned store_count, insn;
	struct line lines[1u << LINES_BITS];
	uint64_t run; /* of the interpreter */
	const struct tb *tb;
	/* Where both begin. */
	struct x86_state s;
	struct lazy_flags lf;
	uint64_t shadow_rip, instructions;
	bool irq_blocked;
};

int dbt_check_init(struct dbt *d)
{
	void *at = mmap(NULL, sizeof(struct dbt_check), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return -ENOMEM;
	d->check = at;
	return 0;
}

void dbt_check_exit(struct dbt *d)
{
	if (d->check)
		munmap(d->check, sizeof(*d->check));
	d->check = NULL;
}

/* ---- memory as the interpreter sees it ---- */

/* The line's entry, or the free one where it belongs. At most half are ever used. */
static struct line *line_of(struct dbt_check *c, uintptr_t address)
{
	uint64_t i = address / LINE * 0x9e3779b97f4a7c15ull >> (64 - LINES_BITS);

	while (c->lines[i].run == c->run && c->lines[i].address != address)
		i = (i + 1) & ((1u << LINES_BITS) - 1);
	return &c->lines[i];
}

static void overlay_load(struct cpu *cpu, const uint8_t *hva, uint8_t *buf, unsigned len)
{
	struct dbt_check *c = dbt_of(cpu)->check;
	uintptr_t at = (uintptr_t)hva, end = at + len;

	if (!hva)
		cpu_restart(cpu);
	for (uintptr_t address = at & ~(uintptr_t)(LINE - 1); address < end && c->store_count; address += LINE) {
		const struct line *line = line_of(c, address);

		for (unsigned n = 0; n < LINE && line->run == c->run; n++) {
			if ((line->written >> n & 1) && address + n >= at && address + n < end)
				buf[address + n - at] = line->bytes[n];
		}
	}
}

static void write_line(struct dbt_check *c, uintptr_t at, uint8_t byte)
{
	struct line *line = line_of(c, at & ~(uintptr_t)(LINE - 1));

	if (line->run != c->run)
		*line = (struct line){.address = at & ~(uintptr_t)(LINE - 1), .run = c->run};
	line->written |= (uint16_t)(1u << (at & (LINE - 1)));
	line->bytes[at & (LINE - 1)] = byte;
}

static void overlay_store(struct cpu *cpu, uint8_t *hva, gpa_t gpa, const uint8_t *buf, unsigned len)
{
	struct dbt_check *c = dbt_of(cpu)->check;
	_Atomic uint32_t *word = mem_page_word(&cpu->vm->mem, gpa);

	if (!hva || len > STORE_MAX || c->store_count == STORES_MAX || (word && (atomic_load(word) & 1)))
		cpu_restart(cpu);

	struct store *store = &c->stores[c->store_count++];

	*store = (struct store){.hva = hva, .gpa = gpa, .len = (uint16_t)len, .insn = (uint16_t)c->insn};
	memcpy(store->old, hva, len);
	memcpy(store->new, buf, len);
	for (unsigned i = 0; i < len; i++)
		write_line(c, (uintptr_t)hva + i, buf[i]);
}

static const struct cpu_overlay overlay = {.load = overlay_load, .store = overlay_store};

/* ---- the interpreter's run ---- */

static bool not_twice(const struct x86_insn *insn)
{
	switch (insn->op) {
	case X86_RDTSC: case X86_RDTSCP: case X86_RDPMC: case X86_RDRAND: case X86_RDSEED: case X86_RDMSR: case X86_WRMSR:
	case X86_IN: case X86_OUT: case X86_INS: case X86_OUTS: case X86_INVLPG: case X86_INVPCID: case X86_HLT:
	case X86_XSETBV: case X86_MONITOR: case X86_MWAIT: case X86_IRET: case X86_INT: case X86_INT3: case X86_LGDT:
	case X86_LIDT: case X86_LLDT: case X86_LTR: case X86_LMSW: case X86_CLTS: case X86_MOV_DR: case X86_VMCALL:
	case X86_VMMCALL: case X86_WBINVD: case X86_INVD:
	/* not the same to the last bit */
	case X86_RCPPS: case X86_RCPSS: case X86_RSQRTPS: case X86_RSQRTSS: case X86_VRCPPS: case X86_VRCPSS:
	case X86_VRSQRTPS: case X86_VRSQRTSS: case X86_F2XM1: case X86_FYL2X: case X86_FYL2XP1: case X86_FPTAN:
	case X86_FPATAN: case X86_FSIN: case X86_FCOS: case X86_FSINCOS:
	/* pointers and condition bits that are not kept */
	case X86_FNSTSW: case X86_FNSTENV: case X86_FNSAVE: case X86_FXSAVE: case X86_XSAVE: case X86_XSAVEC:
	case X86_XSAVEOPT: case X86_XSAVES:
		return true;
	case X86_MOV_CR:
		return insn->operand[0].kind == X86_OPND_CR;
	default:
		return false;
	}
}

/* Instruction number i of the block; NULL: none. */
static const struct decoded *decode(struct dbt *d, const struct tb *tb, unsigned i)
{
	const uint8_t *at = tb->bytes + tb->insns[i].guest;
	struct decoded *entry = &d->check->decoded[(uintptr_t)at * 0x9e3779b97f4a7c15ull >> (64 - DECODED_BITS)];
	size_t available = tb->length - tb->insns[i].guest;

	if (entry->at == at && (size_t)entry->length <= available && !memcmp(entry->bytes, at, (size_t)entry->length))
		return entry;
	entry->at = NULL;
	entry->length = (int8_t)x86_decode(&entry->insn, at, available, (enum x86_mode)(tb->key & 3));
	if (entry->length <= 0)
		return NULL;
	memcpy(entry->bytes, at, (size_t)entry->length);
	entry->at = at;
	entry->integer = entry->insn.map == 0 && !(entry->insn.prefixes & X86_PFX_VEX) &&
			 !(entry->insn.opcode >= 0xd8 && entry->insn.opcode <= 0xdf);
	entry->not_twice = not_twice(&entry->insn);
	return entry;
}

static void snapshot(struct dbt *d, uint32_t undefined, bool same_fpu)
{
	const struct x86_state *s = &d->cpu.s;
	struct dbt_check *c = d->check;
	struct snapshot *to = &c->snapshots[c->count++];

	memcpy(to->gpr, s->gpr, sizeof(to->gpr));
	to->rip = s->rip;
	to->rflags = s->rflags;
	to->kernel_gs_base = s->kernel_gs_base;
	memcpy(to->seg, s->seg, sizeof(to->seg));
	if (!same_fpu && (!c->fpu_count || memcmp(&c->fpu[c->fpu_count - 1], &s->fpu, sizeof(s->fpu))))
		c->fpu[c->fpu_count++] = s->fpu;
	to->fpu = c->fpu_count - 1;
	to->flags = lf_get(&d->cpu.lf);
	to->undefined = undefined;
}

/* The status flags that the instruction looks at. */
static uint32_t flags_read(const struct x86_insn *insn)
{
	static const uint32_t condition[8] = {
		X86_FLAG_OF, X86_FLAG_CF, X86_FLAG_ZF, X86_FLAG_CF | X86_FLAG_ZF, X86_FLAG_SF, X86_FLAG_PF,
		X86_FLAG_SF | X86_FLAG_OF, X86_FLAG_SF | X86_FLAG_OF | X86_FLAG_ZF,
	};

	if (insn->op == X86_JCC || insn->op == X86_SETCC || insn->op == X86_CMOVCC)
		return condition[insn->cc >> 1 & 7];
	if (insn->op == X86_PUSHF || insn->op == X86_SYSCALL)
		return X86_FLAGS_STATUS;
	return x86_op_flags(insn->op).read;
}

static bool is_string(unsigned op)
{
	return op == X86_MOVS || op == X86_STOS || op == X86_LODS || op == X86_CMPS || op == X86_SCAS;
}

/* Executes the instruction at rip (NULL: which is yet to be decoded) to its end. It may leave by longjmp. */
static bool execute(struct cpu *cpu, const struct decoded *decoded)
{
	bool repeats = decoded && is_string(decoded->insn.op);
	uint64_t rip = cpu->s.rip;

	for (unsigned i = 0; i < REPEATS_MAX; i++) {
		/* No data access goes past the overlay. */
		cpu->data_tlb = TLB_CHECKED;
		cpu->s.rflags &= ~(uint64_t)X86_FLAG_RF;
		cpu->replay_count = cpu->replay_pos = 0;
		fast_run_once(cpu, decoded ? block_of(cpu, &decoded->insn, decoded->length) : block_find(cpu, rip, true));
		if (cpu->s.rip != rip || !repeats)
			return true;
	}
	return false;
}

static void interpret(struct dbt *d, const struct tb *tb)
{
	struct cpu *cpu = &d->cpu;
	struct dbt_check *c = d->check;
	volatile uint32_t undefined = 0;

	c->tb = tb;
	c->count = c->store_count = c->fpu_count = 0;
	c->run++;
	c->cut = false;
	snapshot(d, 0, false);
	for (volatile unsigned i = 0; i < tb->count; i++) {
		const struct tb_insn *info = &tb->insns[i];
		const struct decoded *decoded;
		struct x86_op_flags flags;

		if (info->flags & TB_INSN_STEP)
			return;
		c->insn = i;
		c->cut = true;
		decoded = decode(d, tb, i);
		if (!decoded || decoded->not_twice)
			return;
		flags = x86_op_flags(decoded->insn.op);
		if (flags_read(&decoded->insn) & undefined)
			return;
		cpu->leave = LEAVE_NONE;
		if (setjmp(cpu->jump)) {
			/* Of its own stores page walks know nothing. */
			c->cut = cpu->leave != LEAVE_EXCEPTION || (cpu->event.vector == X86_EXC_PF && c->store_count);
			return;
		}
		if (!execute(cpu, decoded))
			return;
		/* What is folded into it lies elsewhere. */
		for (volatile unsigned n = info->flags & TB_INSN_FOLDED ? TB_FOLDED_INSNS - 1 : 0; n > 0; n--) {
			if (!execute(cpu, NULL))
				return;
		}
		c->cut = false;
		undefined = (undefined & ~flags.written) | flags.undefined;
		snapshot(d, undefined, decoded->integer);
		if (decoded->insn.op == X86_CALL || i + 1 == tb->count || cpu->s.rip != tb->rip + tb->insns[i + 1].guest)
			return;
	}
}

/* ---- the two together ---- */

static void begin(struct dbt *d)
{
	struct dbt_check *c = d->check;

	c->s = d->cpu.s;
	c->lf = d->cpu.lf;
	c->shadow_rip = d->cpu.shadow_rip;
	c->instructions = d->cpu.instructions;
	c->irq_blocked = d->cpu.irq_blocked;
}

static void back_to_beginning(struct dbt *d)
{
	const struct dbt_check *c = d->check;
	struct cpu *cpu = &d->cpu;

	cpu->s = c->s;
	cpu->lf = c->lf;
	cpu->shadow_rip = c->shadow_rip;
	cpu->instructions = c->instructions;
	cpu->irq_blocked = c->irq_blocked;
	cpu->leave = LEAVE_NONE;
	cpu->replay_count = cpu->replay_pos = 0;
	cpu->completing = cpu->smc = cpu->trap_due = cpu->fault_rip_valid = false;
	cpu->db_pending = 0;
	cpu->delivering = -1;
	cpu->block = NULL;
	cpu->uop = NULL;
	cpu_update_mode(cpu);
}

/* Is byte n of store `i` written again by one before `end`? */
static bool overwritten(const struct dbt_check *c, unsigned i, unsigned n, unsigned end)
{
	const uint8_t *at = c->stores[i].hva + n;

	for (unsigned later = i + 1; later < end; later++) {
		if (at >= c->stores[later].hva && at < c->stores[later].hva + c->stores[later].len)
			return true;
	}
	return false;
}

static unsigned differ(bool print, const char *what, unsigned index, uint64_t interp, uint64_t translated)
{
	if (interp == translated)
		return 0;
	if (print)
		log_error("check", "  %s%u: interp %lx, translated %lx", what, index, (unsigned long)interp,
			  (unsigned long)translated);
	return 1;
}

static unsigned differ_bytes(bool print, const char *what, unsigned index, const void *interp, const void *translated,
			     unsigned size)
{
	unsigned count = 0;

	for (unsigned i = 0; i < size; i += 8) {
		uint64_t a = 0, b = 0;

		memcpy(&a, (const uint8_t *)interp + i, size - i < 8 ? size - i : 8);
		memcpy(&b, (const uint8_t *)translated + i, size - i < 8 ? size - i : 8);
		count += differ(print, what, index, a, b);
	}
	return count;
}

/* Translated code may stop in the middle of a REP, between iterations: `to` becomes the state after as many as RCX says.
 * Returns the bytes that they stored. */
static uint64_t advance_rep(struct dbt *d, unsigned n, struct snapshot *to)
{
	const struct tb *tb = d->check->tb;
	const struct x86_state *s = &d->cpu.s;
	uint64_t done = to->gpr[X86_RCX] - s->gpr[X86_RCX];
	const struct decoded *decoded;

	if (n >= tb->count || !(tb->insns[n].flags & TB_INSN_REP) || done > to->gpr[X86_RCX] ||
	    d->exit_reason == DBT_EXIT_X87)
		return 0;
	decoded = decode(d, tb, n);
	if (!decoded)
		return 0;
	to->gpr[X86_RCX] -= done;
	to->gpr[X86_RDI] += done * decoded->insn.opsize;
	if (decoded->insn.op == X86_MOVS || decoded->insn.op == X86_CMPS)
		to->gpr[X86_RSI] += done * decoded->insn.opsize;
	return decoded->insn.op == X86_CMPS || decoded->insn.op == X86_SCAS ? 0 : done * decoded->insn.opsize;
}

/* How many of the interpreter's stores come before its instruction number n and, in that, before `bytes` are stored. */
static unsigned stores_before(const struct dbt_check *c, unsigned n, uint64_t bytes)
{
	unsigned i = 0;

	while (i < c->store_count && c->stores[i].insn < n)
		i++;
	while (i < c->store_count && c->stores[i].insn == n && bytes >= c->stores[i].len)
		bytes -= c->stores[i++].len;
	return i;
}

/* What translated code left, compared with the interpreter's state before its instruction number n. */
static unsigned compare(struct dbt *d, unsigned n, bool print)
{
	const struct dbt_check *c = d->check;
	struct snapshot before = c->snapshots[n];
	unsigned store_count = stores_before(c, n, advance_rep(d, n, &before));
	const struct snapshot *expected = &before;
	const struct snapshot *a = expected;
	const struct x86_fpu *fpu = &c->fpu[a->fpu];
	const struct x86_state *b = &d->cpu.s;
	uint32_t defined = X86_FLAGS_STATUS & ~expected->undefined, mxcsr = fpu->mxcsr;
	unsigned count = differ(print, "rip ", 0, a->rip, b->rip);

	for (unsigned i = 0; i < 16; i++)
		count += differ(print, "gpr ", i, a->gpr[i], b->gpr[i]);
	count += differ(print, "status flags ", 0, expected->flags & defined, lf_get(&d->cpu.lf) & defined);
	count += differ(print, "rflags ", 0, a->rflags & RFLAGS_COMPARED, b->rflags & RFLAGS_COMPARED);
	for (unsigned i = 0; i < X86_SEG_COUNT; i++) {
		count += differ(print, "segment base ", i, a->seg[i].base, b->seg[i].base);
		count += differ(print, "segment ", i, (uint64_t)a->seg[i].ar << 32 | a->seg[i].selector,
				(uint64_t)b->seg[i].ar << 32 | b->seg[i].selector);
	}
	count += differ(print, "kernel_gs_base ", 0, a->kernel_gs_base, b->kernel_gs_base);
	for (unsigned i = 0; i < 16 && memcmp(fpu->ymm, b->fpu.ymm, sizeof(fpu->ymm)); i++)
		count += differ_bytes(print, "ymm", i, &fpu->ymm[i], &b->fpu.ymm[i], sizeof(fpu->ymm[i]));
	/* An unmasked exception has left its flag. */
	if (d->exit_reason == DBT_EXIT_STEP)
		mxcsr |= b->fpu.mxcsr & MXCSR_FLAGS;
	count += differ(print, "mxcsr ", 0, mxcsr, b->fpu.mxcsr);
	for (unsigned i = 0; i < 8; i++) {
		count += differ(print, "x87 mantissa ", i, fpu->r[i].mantissa, b->fpu.r[i].mantissa);
		count += differ(print, "x87 exponent ", i, fpu->r[i].exponent, b->fpu.r[i].exponent);
	}
	count += differ(print, "fcw ", 0, fpu->fcw, b->fpu.fcw) + differ(print, "ftw ", 0, fpu->ftw, b->fpu.ftw) +
		 differ(print, "fsw ", 0, fpu->fsw & ~FSW_CONDITION, b->fpu.fsw & ~FSW_CONDITION);
	for (unsigned i = 0; i < store_count; i++) {
		const struct store *store = &c->stores[i];

		for (unsigned k = 0; k < store->len; k++) {
			if (store->hva[k] == store->new[k] || overwritten(c, i, k, store_count))
				continue;
			count++;
			if (print)
				log_error("check", "  memory at %lx: interp %x, translated %x", (unsigned long)(store->gpa + k),
					  store->new[k], store->hva[k]);
		}
	}
	return count;
}

enum verdict { SAME, UNKNOWN, DIFFERENT };

/* *n: the instruction before which translated code stopped. */
static enum verdict judge(struct dbt *d, unsigned *n)
{
	const struct dbt_check *c = d->check;
	bool found = false;

	*n = c->count - 1;
	for (unsigned i = c->count; i-- > 0;) {
		if (c->snapshots[i].rip != d->cpu.s.rip)
			continue;
		if (compare(d, i, false) == 0)
			return SAME;
		if (!found)
			*n = i;
		found = true;
	}
	if (found && (d->exit_reason == DBT_EXIT_STEP || d->exit_reason == DBT_EXIT_HELP ||
		      d->exit_reason == DBT_EXIT_ABSENT || d->exit_reason == DBT_EXIT_KICK || d->exit_reason == DBT_EXIT_X87))
		return DIFFERENT;
	/* It may have gone on to where the interpreter could not follow. */
	return c->cut ? UNKNOWN : DIFFERENT;
}

static void put_back(struct dbt_check *c)
{
	for (unsigned i = c->store_count; i-- > 0;)
		memcpy(c->stores[i].hva, c->stores[i].old, c->stores[i].len);
}

static void log_bytes(const char *what, uint64_t at, const uint8_t *bytes, unsigned length)
{
	static const char digits[] = "0123456789abcdef";
	char line[3 * 32 + 1];

	for (unsigned i = 0; i < length;) {
		unsigned start = i, n = 0;

		for (; i < length && i < start + 32; i++) {
			line[n++] = ' ';
			line[n++] = digits[bytes[i] >> 4];
			line[n++] = digits[bytes[i] & 15];
		}
		line[n] = 0;
		log_error("check", "  %s %lx:%s", what, (unsigned long)(at + start), line);
	}
}

static void report(struct dbt *d, const struct tb *tb, unsigned n)
{
	const struct dbt_check *c = d->check;

	log_error("check", "cpu%u: translated code differs from the interpreter after %u instructions of the block at %lx "
		  "(physical %lx, exit %u)", d->cpu.vcpu->index, n, (unsigned long)tb->rip, (unsigned long)tb->gpa, d->exit_reason);
	for (unsigned i = 0; i < 16; i++)
		log_error("check", "  gpr %u at the beginning %lx", i, (unsigned long)c->s.gpr[i]);
	log_error("check", "  rflags at the beginning %lx", (unsigned long)(c->s.rflags | lf_get(&c->lf)));
	(void)compare(d, n, true);
	for (unsigned i = 0; i < tb->count; i++) {
		unsigned guest = tb->insns[i].guest, host = tb->insns[i].host;
		unsigned guest_end = i + 1 < tb->count ? tb->insns[i + 1].guest : tb->length;
		unsigned host_end = i + 1 < tb->count ? tb->insns[i + 1].host : tb->host_size;

		log_bytes("guest", tb->rip + guest, tb->bytes + guest, guest_end - guest);
		log_bytes("  host", host, d->code_write + tb->host + host, host_end - host);
	}
}

void dbt_check_block(struct dbt *d, struct tb *tb, void (*enter)(struct dbt *d, struct tb *tb))
{
	struct dbt_check *c = d->check;
	struct cpu *cpu = &d->cpu;
	bool loaded = !d->x87_unloaded;
	enum verdict verdict = UNKNOWN;
	jmp_buf jump;
	unsigned n;

	memcpy(&jump, &cpu->jump, sizeof(jump));
	dbt_x87_store(d);
	begin(d);
	for (unsigned attempt = 0; attempt < 2; attempt++) {
		bool now_loaded;

		cpu->overlay = &overlay;
		interpret(d, tb);
		cpu->overlay = NULL;
		memcpy(&cpu->jump, &jump, sizeof(jump));
		back_to_beginning(d);
		if (loaded)
			dbt_x87_load(d);
		/* A return leads to C, and not into the middle of another block. */
		dbt_side_reset(d);
		enter(d, tb);
		now_loaded = !d->x87_unloaded;
		dbt_x87_store(d);
		verdict = judge(d, &n);
		if (verdict != DIFFERENT) {
			if (now_loaded)
				dbt_x87_load(d);
			d->stats.checked += verdict == SAME;
			d->stats.unchecked += verdict == UNKNOWN;
			return;
		}
		if (attempt == 0) {
			put_back(c);
			back_to_beginning(d);
		}
	}
	report(d, tb, n);
	*cpu->exit = (struct vm_exit){.kind = VM_EXIT_FAIL,
				      .reason = "translated code differs from the interpreter (--check): see above"};
	cpu_leave_exit(cpu);
}
