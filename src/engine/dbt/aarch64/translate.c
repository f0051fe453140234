/* One block: its instructions in order, then what is rarely needed.
 */
#include "engine/dbt/aarch64/translate.h"

#include "base/string.h"

/* ---- registers ---- */

uint8_t t_host(unsigned n)
{
	static const uint8_t hosts[32] = {
		[0] = HOST_R8, [1] = HOST_R9, [2] = HOST_R10, [3] = HOST_R11, [4] = HOST_RSI, [5] = HOST_RDI, [6] = HOST_R14,
		[7] = HOST_NONE, [8] = HOST_RBX, [9 ... 18] = HOST_NONE, [19] = HOST_R12, [20] = HOST_R13, [21 ... 31] = HOST_NONE,
	};

	return hosts[n];
}

struct host_mem t_home(unsigned n)
{
	return t_state(offsetof(struct dbt64, cpu.s.x) + 8 * n);
}

unsigned t_source(struct translation *t, unsigned n, unsigned scratch, unsigned size)
{
	if (n == 31) {
		emit_mov_imm(t->e, scratch, 0);
		return scratch;
	}
	if (t_host(n) != HOST_NONE)
		return t_host(n);
	emit_load(t->e, scratch, t_home(n), size);
	return scratch;
}

unsigned t_source_sp(struct translation *t, unsigned n, unsigned scratch, unsigned size)
{
	return n == 31 ? HOST_R15 : t_source(t, n, scratch, size);
}

unsigned t_target(unsigned n, unsigned scratch)
{
	return n != 31 && t_host(n) != HOST_NONE ? t_host(n) : scratch;
}

void t_finish(struct translation *t, unsigned n, unsigned reg)
{
	if (n == 31)
		return;
	if (t_host(n) == HOST_NONE)
		emit_store(t->e, t_home(n), reg, 8);
	else if (t_host(n) != reg)
		emit_mov_reg(t->e, t_host(n), reg, 8);
}

unsigned t_target_sp(unsigned n, unsigned scratch)
{
	return n == 31 ? HOST_R15 : t_target(n, scratch);
}

void t_finish_sp(struct translation *t, unsigned n, unsigned reg)
{
	if (n != 31)
		t_finish(t, n, reg);
	else if (reg != HOST_R15)
		emit_mov_reg(t->e, HOST_R15, reg, 8);
}

void t_op(struct translation *t, unsigned op, unsigned reg, unsigned n, unsigned size)
{
	if (n == 31)
		t_op_imm(t, op, reg, 0, size);
	else if (t_host(n) != HOST_NONE)
		emit_op_reg(t->e, op, t_host(n), reg, size);
	else
		emit_op_mem(t->e, op + 2, reg, t_home(n), size);
}

void t_op_imm_raw(struct emitter *e, unsigned op, unsigned reg, int32_t imm, unsigned size)
{
	const bool is_byte = imm == (int8_t)imm;

	emit_op_reg(e, is_byte ? 0x83 : 0x81, op >> 3, reg, size);
	if (is_byte)
		emit_u8(e, (uint8_t)imm);
	else
		emit_u32(e, (uint32_t)imm);
}

void t_op_imm(struct translation *t, unsigned op, unsigned reg, int32_t imm, unsigned size)
{
	t_op_imm_raw(t->e, op, reg, imm, size);
}

void t_shift_imm(struct translation *t, unsigned shift, unsigned reg, unsigned amount, unsigned size)
{
	if (!amount)
		return;
	emit_op_reg(t->e, 0xc1, shift, reg, size);
	emit_u8(t->e, amount);
}

/* ---- flags ---- */

void t_flags_save(struct translation *t)
{
	emit_u8(t->e, 0x9f); /* lahf */
	emit_op_reg(t->e, 0x0f90, 0, HOST_RAX, 1); /* seto al */
	emit_store(t->e, t_state(offsetof(struct dbt64, flags)), HOST_RAX, 2);
	t->in_host = true;
}

void t_flags_load(struct translation *t)
{
	if (t->in_host)
		return;
	emit_op_mem(t->e, 0x0fb7, HOST_RAX, t_state(offsetof(struct dbt64, flags)), 4); /* movzx */
	emit_u16(t->e, 0x7f04); /* add al, 127: overflows if al is 1 */
	emit_u8(t->e, 0x9e);    /* sahf */
	t->in_host = true;
}

unsigned t_condition(unsigned cond)
{
	static const uint8_t conditions[14] = {4, 5, 3, 2, 8, 9, 0, 1, 7, 6, 13, 12, 15, 14};

	return conditions[cond];
}

/* ---- ways out ---- */

uint8_t *t_jcc(struct translation *t, unsigned cc)
{
	if (cc == HOST_NONE) {
		emit_u8(t->e, 0xe9);
	} else {
		emit_u8(t->e, 0x0f);
		emit_u8(t->e, 0x80 | cc);
	}
	emit_u32(t->e, 0);
	return t->e->at - 4;
}

void t_patch(struct translation *t, uint8_t *displacement, const uint8_t *to)
{
	const int32_t distance = (int32_t)(to - (displacement + 4));

	if (!t->e->overflow)
		memcpy(displacement, &distance, sizeof(distance));
}

static struct cold *add_cold(struct translation *t, uint8_t *from)
{
	struct cold *cold = &t->cold[t->cold_count];

	if (t->cold_count == COLD_MAX - 1)
		t->e->overflow = true; /* the block is made again, shorter */
	else
		t->cold_count++;
	*cold = (struct cold){.from = from, .pc = t->pc, .insn = t->insn};
	return cold;
}

void t_branch(struct translation *t, unsigned cc, uint64_t target)
{
	struct cold *cold = add_cold(t, t_jcc(t, cc));

	cold->kind = COLD_LINK;
	cold->target = target;
}

void t_leave_to_next(struct translation *t, unsigned cc)
{
	struct cold *cold = add_cold(t, t_jcc(t, cc));

	cold->kind = COLD_LEAVE;
	cold->pc = t->pc + 4;
}

unsigned t_slow(struct translation *t, uint8_t *from)
{
	struct cold *cold = add_cold(t, from);

	cold->kind = COLD_HELP;
	return (unsigned)(cold - t->cold);
}

struct host_mem t_vector_home(unsigned n)
{
	return t_state(offsetof(struct dbt64, cpu.s.v) + 16 * n);
}

bool t_fp_begin(struct translation *t, struct fp_slow *slow)
{
	slow->count = 0;
	if (t->d->cpu.s.fpcr)
		return false;
	t->in_host = false;
	if (t->fp_ready)
		return true;
	emit_op_mem(t->e, 0x80, 7, t_state(offsetof(struct dbt64, fp_live)), 1); /* cmp */
	emit_u8(t->e, 0);

	struct cold *cold = add_cold(t, t_jcc(t, 4));

	cold->kind = COLD_FP;
	cold->back = t->e->at;
	t->fp_ready = true;
	return true;
}

void t_fp_leave_if(struct translation *t, struct fp_slow *slow, unsigned cc)
{
	slow->ways[slow->count++] = t_slow(t, t_jcc(t, cc));
}

void t_fp_end(struct translation *t, const struct fp_slow *slow)
{
	for (unsigned i = 0; i < slow->count; i++)
		t->cold[slow->ways[i]].back = t->e->at;
}

static void store_pc(struct translation *t, uint64_t pc)
{
	emit_mov_imm(t->e, HOST_RAX, pc);
	emit_store(t->e, t_state(offsetof(struct dbt64, cpu.s.pc)), HOST_RAX, 8);
}

static a64_sem *function_of(const struct dbt64 *d, uint32_t insn)
{
	return a64_sem_of(&d->cpu, insn);
}

static void load_help(struct translation *t, uint64_t pc, uint32_t insn, a64_sem *fn)
{
	store_pc(t, pc);
	emit_mov_imm(t->e, HOST_RCX, insn);
	emit_mov_imm(t->e, HOST_RDX, (uintptr_t)fn);
}

static void call_help(struct translation *t, uint64_t pc, uint32_t insn)
{
	load_help(t, pc, insn, function_of(t->d, insn));
	emit_call(t->e, t->d->help);
}

void t_go(struct translation *t)
{
	load_help(t, t->pc, t->insn, a64_decode(t->insn) == A64_svc ? dbt64_svc : function_of(t->d, t->insn));
	emit_jmp(t->e, t->d->go);
	t->done = true;
}

/* To a block on another page, at rax. In the upper half, where what code is mapped changes rarely: a jump that is right as long as the tag is
 * the one with which it was linked (dbt64_link_far()). */
static void emit_far_link(struct translation *t, uint64_t target)
{
	uint8_t *unlike, *jump;

	if (!(t->block->pc >> 63) || !(target >> 63)) {
		dbt64_emit_look_up(t->d, t->e);
		return;
	}
	emit_u16(t->e, 0xb948); /* mov rcx, imm64 */
	emit_u64(t->e, ~0ull);
	emit_op_mem(t->e, X86_CMP + 2, HOST_RCX, t_state(offsetof(struct dbt64, jump_tag)), 8);
	unlike = t_jcc(t, 5);
	jump = t_jcc(t, HOST_NONE);
	t_patch(t, unlike, t->e->at);
	t_patch(t, jump, t->e->at);
	emit_mov_imm(t->e, HOST_RCX, (uintptr_t)jump);
	emit_mov_imm(t->e, HOST_RDX, (uintptr_t)t->block);
	emit_jmp(t->e, t->d->link_to);
}

static void emit_cold(struct translation *t, const struct cold *cold)
{
	t_patch(t, cold->from, t->e->at);
	switch (cold->kind) {
	case COLD_HELP:
		if (cold->back) {
			call_help(t, cold->pc, cold->insn);
			emit_jmp(t->e, cold->back + t->e->run_delta);
		} else {
			load_help(t, cold->pc, cold->insn, function_of(t->d, cold->insn));
			emit_jmp(t->e, t->d->go);
		}
		break;
	case COLD_STALE:
		emit_store_imm(t->e, t_state(offsetof(struct dbt64, stale)), 1, 1);
		__attribute__((fallthrough));
	case COLD_LEAVE:
		emit_mov_imm(t->e, HOST_RAX, cold->pc);
		emit_jmp(t->e, t->d->leave_to);
		break;
	case COLD_FP:
		emit_op_mem(t->e, 0x0fae, 2, t_state(offsetof(struct dbt64, mxcsr_clear)), 4); /* ldmxcsr */
		emit_store_imm(t->e, t_state(offsetof(struct dbt64, fp_live)), 1, 1);
		emit_jmp(t->e, cold->back + t->e->run_delta);
		break;
	case COLD_LINK:
		emit_mov_imm(t->e, HOST_RAX, cold->target);
		if ((cold->target ^ t->block->pc) & PAGE_MASK) {
			emit_far_link(t, cold->target);
			break;
		}
		emit_mov_imm(t->e, HOST_RCX, (uintptr_t)cold->from);
		emit_mov_imm(t->e, HOST_RDX, (uintptr_t)t->block);
		emit_jmp(t->e, t->d->link_to);
		break;
	}
}

/* Whoever comes in looks whether the block is still what memory has, and whether somebody wants something. */
static void emit_entry(struct translation *t, struct dbt64_block *block)
{
	const uint8_t *const begin = t->e->at;

	emit_mov_imm(t->e, HOST_RAX, (uintptr_t)t->block->page_word);
	emit_op_mem(t->e, 0x81, 7, mem_base(HOST_RAX, 0), 4);
	emit_u32(t->e, t->block->generation);
	add_cold(t, t_jcc(t, 5))->kind = COLD_STALE;
	block->stop_at = (uint8_t)(t->e->at - begin);
	emit_op_mem(t->e, 0x83, 7, t_state(offsetof(struct dbt64, stop)), 4);
	emit_u8(t->e, 0);
	add_cold(t, t_jcc(t, 5))->kind = COLD_LEAVE;
	block->body_at = (uint8_t)(t->e->at - begin);
}

static bool lower(struct translation *t, enum a64_op op)
{
	if (a64_class_of(op) != A64_CLASS_BASE)
		return t->d->cpu.fp_enabled && (a64_class_of(op) == A64_CLASS_FP ? t_fp(t, op) || t_fp_vector(t, op) : t_simd(t, op));
	return t_alu(t, op) || t_memory(t, op) || t_control(t, op);
}

static void one(struct translation *t, uint32_t insn)
{
	const enum a64_op op = a64_decode(insn);

	t->insn = insn;
	if (lower(t, op))
		return;
	if (a64_ends_block(op)) {
		t_go(t);
		return;
	}
	call_help(t, t->pc, insn);
	t->in_host = false;
}

bool dbt64_translate(struct dbt64 *d, struct emitter *e, struct dbt64_block *block, const uint8_t *guest, unsigned max)
{
	struct translation t = {.d = d, .e = e, .block = block, .pc = block->pc};

	emit_entry(&t, block);
	for (unsigned i = 0; i < max && !t.done; i++) {
		uint32_t insn;

		memcpy(&insn, guest + 4 * i, 4);
		one(&t, insn);
		t.pc += 4;
	}
	if (!t.done)
		t_branch(&t, HOST_NONE, t.pc);
	for (unsigned i = 0; i < t.cold_count; i++)
		emit_cold(&t, &t.cold[i]);
	return !e->overflow;
}
