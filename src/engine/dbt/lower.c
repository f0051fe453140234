/* Instructions that become something else than themselves: control flow and the stack.
 *
 * A call pushes the guest's return address on the guest's stack and, by a host CALL, its own on the side stack. A
 * return loads the guest's address into u and does a host RET: that leads to the return site, which goes on if u is the
 * address that it stands for, and to the jump cache if not. So the host predicts the guest's returns.
 */
#include "engine/dbt/translate.h"
#include "base/string.h"

#define PAGE_OF(address) ((address) >> PAGE_SHIFT)

/* u holds the target: through the jump cache, whose entry checks that it is meant (or leaves to fill it). */
static void indirect(struct emitter *e, bool call)
{
	struct host_mem entry = {.base = HOST_NONE, .index = HOST_T, .scale = 8};

	emit_load(e, HOST_T, mem_gs(DBT_OFFSET(jumps_now)), 8);
	emit_mov_reg(e, HOST_T, HOST_U, 2);
	if (call)
		emit_call_mem(e, entry);
	else
		emit_jmp_mem(e, entry);
}

void emit_indirect_jump(struct emitter *e)
{
	indirect(e, false);
}

/* A rel32 jump that the end of the block will lead somewhere. opcode: e8, e9 or 0f8x. */
static void jump_out(struct tr *tr, unsigned opcode, uint64_t target, bool step)
{
	struct tr_exit *out;

	if (tr->exit_count == TB_MAX_EXITS) {
		tr->failed = true;
		return;
	}
	if (opcode > 0xff)
		emit_u8(&tr->e, opcode >> 8);
	emit_u8(&tr->e, opcode);
	out = &tr->exits[tr->exit_count++];
	*out = (struct tr_exit){.jump = tr->e.at, .target = target, .step = step};
	emit_u32(&tr->e, 0);
}

void tr_jump_to(struct tr *tr, uint64_t target)
{
	jump_out(tr, 0xe9, target, false);
	tr->ended = true;
}

void tr_step(struct tr *tr)
{
	tr_commit(tr);
	tr->info->flags |= TB_INSN_STEP;
	jump_out(tr, 0xe9, tr->at, true);
	tr->ended = true;
}

uint32_t tr_help_new(struct tr *tr)
{
	struct x86_insn insn = tr->insn;

	/* That of 32-bit code may have been given a longer encoding. */
	insn.length = (uint8_t)(tr->next - tr->at);
	return dbt_help_new(tr->d, &insn);
}

bool tr_help(struct tr *tr)
{
	uint32_t number;

	if (!dbt_helped(&tr->insn))
		return false;
	number = tr_help_new(tr);
	if (number == ~0u)
		return false;
	tr_step(tr);
	tr->exits[tr->exit_count - 1].help = number + 1;
	return true;
}

/* Behind a host CALL: u is where the guest returned to. */
static void return_site(struct tr *tr)
{
	struct emitter *e = &tr->e;
	uint8_t *ok;

	emit_mov_meaning(e, HOST_T, 0 - tr->next, EMIT_MINUS_ADDRESS);
	emit_lea(e, HOST_T, (struct host_mem){.base = HOST_T, .index = HOST_U, .scale = 1}, 8);
	ok = emit_jrcxz(e);
	emit_jmp_stub(e, tr->d->return_miss);
	emit_patch_short(e, ok);
	/* Other code has run, C perhaps. */
	tr->uses_x87 = false;
	tr_forget_addends(tr);
}

uint64_t tr_target(const struct tr *tr)
{
	uint64_t target = tr->next + tr->insn.imm;

	return tr->narrow ? (uint32_t)target : target;
}

static void push_next(struct tr *tr)
{
	struct emitter *e = &tr->e;
	bool small = tr->narrow || (int64_t)tr->next == (int32_t)tr->next;
	int32_t word = (int32_t)tr->word;
	struct host_mem top;

	if (!small)
		emit_mov_meaning(e, HOST_T, tr->next, EMIT_ADDRESS);
	top = tr_stack(tr, -word, tr->word);
	tr_commit(tr);
	if (small) {
		emit_store_imm(e, top, (int32_t)tr->next, tr->word);
		emit_note(e, EMIT_SIGN32, EMIT_ADDRESS);
	} else {
		emit_store(e, top, HOST_T, 8);
	}
	tr_adjust_rsp(tr, -word);
}

/* ---- calls that do not return ---- */

/* What a retpoline's capture loop may take. */
#define CAPTURE_MAX 32

/* A call over the few bytes that catch wrong predictions: the guest's bytes from behind it up to `more` of its target's; NULL:
 * it is another call. They are a copy, as another processor may write them. */
static const uint8_t *capture(const struct tr *tr, unsigned more, uint8_t bytes[CAPTURE_MAX + 8], unsigned *gap)
{
	uint64_t target = tr->next + tr->insn.imm;

	if (target < tr->next || target - tr->next > CAPTURE_MAX || tr->second || PAGE_OF(tr->at) != PAGE_OF(target + more - 1))
		return NULL;
	*gap = (unsigned)(target - tr->next);
	memcpy(bytes, tr->page + (tr->next & ~PAGE_MASK), *gap + more);
	/* INT3; or PAUSE, LFENCE and a jump back */
	return *gap == 0 || bytes[0] == 0xcc || (bytes[0] == 0xf3 && bytes[1] == 0x90) ? bytes : NULL;
}

/* A retpoline, `call 1f; ...; 1: mov [rsp], reg; ret`, is a jump to reg that leaves reg below the stack. It is done as one
 * instruction: if the push faults, the interpreter executes the call alone, and what is behind it is translated as it
 * stands. The return address that is overwritten at once need not be written: as if nobody had looked in between. */
static bool lower_retpoline(struct tr *tr)
{
	uint8_t copy[CAPTURE_MAX + 8];
	unsigned gap, reg, value;
	const uint8_t *bytes = capture(tr, 5, copy, &gap), *mov;
	struct emitter *e = &tr->e;
	struct host_mem top;

	if (tr->narrow || !bytes || tr->next + gap + 5 - tr->rip > sizeof(tr->guest))
		return false;
	mov = bytes + gap;
	/* REX.W 89 /r with a SIB byte: [rsp] */
	if ((mov[0] & 0xfb) != 0x48 || mov[1] != 0x89 || (mov[2] & 0xc7) != 0x04 || mov[3] != 0x24 || mov[4] != 0xc3)
		return false;
	reg = (unsigned)(mov[2] >> 3 & 7) | (mov[0] & 4 ? 8 : 0);
	if (reg == X86_RSP)
		return false;
	value = tr_value(tr, reg, HOST_T);
	top = tr_stack(tr, -8, 8);
	tr_commit(tr);
	emit_store(e, top, value, 8);
	emit_mov_reg(e, HOST_U, value, 8);
	tr_forget_u(tr);
	emit_indirect_jump(e);
	/* The block depends on all of it. */
	memcpy(tr->guest + (tr->next - tr->rip), bytes, gap + 5);
	tr->next += gap + 5;
	tr->info->flags |= TB_INSN_FOLDED;
	tr->ended = true;
	return true;
}

/* Does the call only fill the processor's stack of return addresses, or ask where it is? Its target drops the return address:
 * ADD or LEA to RSP, POP, or after another such call. Then the side stack has no entry for it. That is a guess; if it is
 * wrong the return is not predicted. */
static bool never_returns(const struct tr *tr)
{
	uint8_t copy[CAPTURE_MAX + 8];
	unsigned gap;
	const uint8_t *bytes = capture(tr, 4, copy, &gap);

	if (!bytes)
		return false;
	bytes += gap;
	if (tr->narrow)
		return (bytes[0] == 0x83 && bytes[1] == 0xc4) || (bytes[0] == 0x8d && bytes[1] == 0x64 && bytes[2] == 0x24) ||
		       (bytes[0] & 0xf8) == 0x58;
	return (bytes[0] == 0x48 && bytes[1] == 0x83 && bytes[2] == 0xc4) ||
	       (bytes[0] == 0x48 && bytes[1] == 0x8d && bytes[2] == 0x64 && bytes[3] == 0x24) ||
	       (bytes[0] & 0xf8) == 0x58 || (bytes[0] == 0x41 && (bytes[1] & 0xf8) == 0x58) ||
	       (bytes[0] == 0xe8 && gap == 1);
}

static bool lower_call(struct tr *tr)
{
	const struct x86_operand *operand = &tr->insn.operand[0];
	struct emitter *e = &tr->e;

	if (operand->kind == X86_OPND_REL) {
		/* (A debugger may want to stop in it.) */
		if (!tr->cpu->vm->debug && lower_retpoline(tr))
			return true;
		push_next(tr);
		if (never_returns(tr)) {
			tr_jump_to(tr, tr_target(tr));
			return true;
		}
		jump_out(tr, 0xe8, tr_target(tr), false);
	} else if (operand->kind == X86_OPND_GPR && operand->size == tr->word) {
		/* The target may be RSP or a register in memory: neither changes but by the push. */
		if (operand->reg == X86_RSP)
			return false;
		push_next(tr);
		tr_forget_u(tr);
		if (tr_value(tr, operand->reg, HOST_U) != HOST_U)
			emit_mov_reg(e, HOST_U, guest_to_host[operand->reg], tr->word);
		indirect(e, true);
	} else if (operand->kind == X86_OPND_MEM && operand->size == tr->word) {
		tr_forget_u(tr);
		emit_load(e, HOST_U, tr_memory(tr, &tr->insn.mem, tr->word), tr->word);
		emit_store(e, mem_gs(DBT_OFFSET(branch_target)), HOST_U, 8);
		tr_forget_u(tr);
		push_next(tr);
		tr->info->flags = TB_INSN_RESTART;
		tr_forget_u(tr);
		emit_load(e, HOST_U, mem_gs(DBT_OFFSET(branch_target)), 8);
		indirect(e, true);
	} else {
		return false;
	}
	return_site(tr);
	return true;
}

static bool lower_ret(struct tr *tr)
{
	int32_t parameters = tr->insn.operand_count ? (int32_t)(tr->insn.imm & 0xffff) : 0;
	struct host_mem top;

	if (tr->insn.opsize != tr->word)
		return false;
	top = tr_stack(tr, 0, tr->word);
	tr_commit(tr);
	emit_load(&tr->e, HOST_U, top, tr->word);
	tr_forget_u(tr);
	tr_adjust_rsp(tr, (int32_t)tr->word + parameters);
	emit_ret(&tr->e);
	tr->ended = true;
	return true;
}

static bool lower_jmp(struct tr *tr)
{
	const struct x86_operand *operand = &tr->insn.operand[0];
	struct emitter *e = &tr->e;

	if (operand->kind == X86_OPND_REL) {
		tr_commit(tr);
		tr_jump_to(tr, tr_target(tr));
		return true;
	}
	if (operand->size != tr->word)
		return false;
	if (operand->kind == X86_OPND_GPR) {
		tr_forget_u(tr);
		tr_commit(tr);
		if (tr_value(tr, operand->reg, HOST_U) != HOST_U)
			emit_mov_reg(e, HOST_U, guest_to_host[operand->reg], tr->word);
	} else {
		struct host_mem mem = tr_memory(tr, &tr->insn.mem, tr->word);

		tr_commit(tr);
		emit_load(e, HOST_U, mem, tr->word);
	}
	emit_indirect_jump(e);
	tr->ended = true;
	return true;
}

/* JRCXZ, JECXZ, LOOP: RCX is looked at in t, and jrcxz reaches no further than the next instructions. */
static bool lower_count_branch(struct tr *tr)
{
	uint64_t target = tr_target(tr);
	struct emitter *e = &tr->e;
	uint8_t *zero, *over;

	if (tr->insn.op == X86_LOOP) {
		if (tr->insn.addrsize != tr->word)
			return false;
		tr_commit(tr);
		emit_lea(e, HOST_R9, mem_base(HOST_R9, -1), tr->word);
		emit_mov_reg(e, HOST_T, HOST_R9, 8);
		zero = emit_jrcxz(e);
		jump_out(tr, 0xe9, target, false);
		emit_patch_short(e, zero);
		tr_register_written(tr, X86_RCX);
		return true;
	}
	tr_commit(tr);
	emit_mov_reg(e, HOST_T, HOST_R9, tr->insn.addrsize);
	zero = emit_jrcxz(e);
	over = emit_jmp_short(e);
	emit_patch_short(e, zero);
	jump_out(tr, 0xe9, target, false);
	emit_patch_short(e, over);
	return true;
}

static bool lower_push(struct tr *tr)
{
	int32_t word = (int32_t)tr->word;
	const struct x86_operand *operand = &tr->insn.operand[0];
	struct emitter *e = &tr->e;
	struct host_mem top;
	unsigned value;

	if (tr->insn.opsize != tr->word)
		return false;
	switch (operand->kind) {
	case X86_OPND_GPR:
		value = tr_value(tr, operand->reg, HOST_T);
		top = tr_stack(tr, -word, tr->word);
		tr_commit(tr);
		emit_store(e, top, value, tr->word);
		break;
	case X86_OPND_IMM:
		top = tr_stack(tr, -word, tr->word);
		tr_commit(tr);
		emit_store_imm(e, top, (int32_t)tr->insn.imm, tr->word);
		if (tr->image_imm)
			emit_note(e, EMIT_SIGN32, EMIT_ADDRESS);
		break;
	case X86_OPND_MEM:
		tr_forget_u(tr);
		emit_load(e, HOST_T, tr_memory(tr, &tr->insn.mem, tr->word), tr->word);
		tr_forget_u(tr);
		top = tr_stack(tr, -word, tr->word);
		tr->info->flags = TB_INSN_RESTART;
		tr_commit(tr);
		emit_store(e, top, HOST_T, tr->word);
		break;
	default:
		return false;
	}
	tr_adjust_rsp(tr, -word);
	return true;
}

static bool lower_pop(struct tr *tr)
{
	const struct x86_operand *operand = &tr->insn.operand[0];
	struct emitter *e = &tr->e;
	struct host_mem top;
	unsigned host;

	if (tr->insn.opsize != tr->word || operand->kind != X86_OPND_GPR)
		return false;
	top = tr_stack(tr, 0, tr->word);
	host = guest_to_host[operand->reg];
	tr_commit(tr);
	if (host == HOST_NONE) {
		emit_load(e, HOST_T, top, 8);
		tr_set(tr, operand->reg, HOST_T);
	} else {
		emit_load(e, host, top, tr->word);
		tr_register_written(tr, operand->reg);
	}
	if (operand->reg != X86_RSP)
		tr_adjust_rsp(tr, (int32_t)tr->word);
	return true;
}

static bool lower_leave(struct tr *tr)
{
	struct emitter *e = &tr->e;
	struct x86_mem frame = {.seg = X86_SS, .base = X86_RBP, .index = X86_REG_NONE, .scale = 1};
	struct host_mem mem;

	if (tr->insn.opsize != tr->word)
		return false;
	/* An address size prefix says nothing of the stack. */
	tr->insn.addrsize = (uint8_t)tr->word;
	mem = tr_memory(tr, &frame, tr->word);
	tr_commit(tr);
	emit_load(e, HOST_T, mem, tr->word);
	emit_lea(e, HOST_R15, mem_base(HOST_RBP, (int32_t)tr->word), tr->word);
	emit_mov_reg(e, HOST_RBP, HOST_T, 8);
	tr_register_written(tr, X86_RBP);
	tr_register_written(tr, X86_RSP);
	return true;
}

static bool lower_lea(struct tr *tr)
{
	struct x86_mem mem = tr->insn.mem;
	unsigned dst = tr->insn.operand[0].reg, size = tr->insn.opsize;
	unsigned host = guest_to_host[dst];
	struct emitter *e = &tr->e;

	if (size < 4)
		return false;
	mem.seg = X86_DS;
	if (dst == X86_RSP && mem.base == X86_RSP && mem.index == X86_REG_NONE && size == tr->word && tr->insn.addrsize == tr->word) {
		tr_commit(tr);
		tr_adjust_rsp(tr, (int32_t)mem.disp);
		return true;
	}
	if (host != HOST_NONE && tr->insn.addrsize == tr->word && mem.base < 16 && guest_to_host[mem.base] != HOST_NONE &&
	    (mem.index == X86_REG_NONE || guest_to_host[mem.index] != HOST_NONE)) {
		struct host_mem ea = {.base = guest_to_host[mem.base],
				      .index = mem.index == X86_REG_NONE ? HOST_NONE : guest_to_host[mem.index],
				      .scale = mem.scale,
				      .meaning = (uint8_t)tr_disp_meaning(tr, mem.disp),
				      .disp = (int32_t)mem.disp};

		tr_commit(tr);
		emit_lea(e, host, ea, size);
		if (dst == mem.base && mem.index == X86_REG_NONE && size == 8)
			tr_register_moved(tr, dst, mem.disp);
		else
			tr_register_written(tr, dst);
		return true;
	}
	tr_address(tr, &mem, HOST_T);
	tr_commit(tr);
	if (size == 4)
		emit_mov_reg(e, HOST_T, HOST_T, 4);
	tr_set(tr, dst, HOST_T);
	return true;
}

static bool lower_direction(struct tr *tr, bool down)
{
	tr_commit(tr);
	emit_u8(&tr->e, down ? 0xfd : 0xfc);
	emit_store_imm(&tr->e, mem_gs(DBT_OFFSET(guest_df)), down, 8);
	return true;
}

/* AMD's processors have one bit more than the guest's, 17, which lets operands lie anywhere: the guest gets #GP for it. */
static bool lower_ldmxcsr(struct tr *tr)
{
	struct host_mem mem = tr_memory(tr, &tr->insn.mem, 4);
	struct emitter *e = &tr->e;
	uint8_t *good;

	tr_commit(tr);
	emit_load(e, HOST_T, mem, 4);
	tr_forget_u(tr);
	emit_store(e, mem_gs(DBT_OFFSET(branch_target)), HOST_T, 4);
	emit_rorx32(e, HOST_T, HOST_T, 16);
	emit_op_reg(e, 0x0fb7, HOST_T, HOST_T, 4); /* MOVZX: what were bits 31:16 */
	good = emit_jrcxz(e);
	emit_mov_meaning(e, HOST_U, tr->at, EMIT_ADDRESS);
	emit_jmp_stub(e, tr->d->exit_step);
	emit_patch_short(e, good);
	emit_op_mem(e, 0x0fae, 2, mem_gs(DBT_OFFSET(branch_target)), 4); /* LDMXCSR */
	return true;
}

/* A direct branch that leads out of the canonical addresses faults when it is taken. */
static bool leads_nowhere(const struct tr *tr)
{
	return tr->insn.operand_count && tr->insn.operand[0].kind == X86_OPND_REL && !canonical(tr_target(tr));
}

bool tr_lower(struct tr *tr)
{
	if (unlikely(leads_nowhere(tr)))
		return false;
	switch (tr->insn.op) {
	case X86_NOP:
	case X86_PREFETCHW:
		tr_commit(tr);
		return true;
	case X86_PAUSE:
		tr_commit(tr);
		emit_u16(&tr->e, 0x90f3);
		return true;
	case X86_JMP:
		return lower_jmp(tr);
	case X86_JCC:
		tr_commit(tr);
		jump_out(tr, 0x0f80u | tr->insn.cc, tr_target(tr), false);
		return true;
	case X86_JCXZ:
	case X86_LOOP:
		return lower_count_branch(tr);
	case X86_CALL:
		return lower_call(tr);
	case X86_RET:
		return lower_ret(tr);
	case X86_PUSH:
		return lower_push(tr);
	case X86_POP:
		return lower_pop(tr);
	case X86_LEAVE:
		return lower_leave(tr);
	case X86_LDMXCSR:
	case X86_VLDMXCSR:
		return lower_ldmxcsr(tr);
	case X86_LEA:
		return lower_lea(tr);
	case X86_CLD:
		return lower_direction(tr, false);
	case X86_STD:
		return lower_direction(tr, true);
	default:
		return tr_lower_string(tr) || tr_lower_bits(tr) || tr_lower_system(tr) || tr_help(tr);
	}
}
