/* Privileged instructions in line.
 *
 * While translated code runs, cpu.s.rflags in memory holds only what EFLAGS of the host does not: IF, AC and the fixed bit
 * (a vcpu with TF, NT, RF, ID, VM or IOPL set is interpreted); the status flags and DF there are zero.
 *
 * What a translation takes for granted of control registers and MSRs (SMAP, FSGSBASE, FMASK, STAR...) is in
 * dbt_assumptions(): when that changes, all translations go.
 */
#include "engine/dbt/translate.h"

#define FIELD(f)   mem_gs(DBT_OFFSET(f))
#define RFLAGS_IF  mem_gs(DBT_OFFSET(cpu.s.rflags) + 1) /* the byte of IF: 2 or 0 */
#define RFLAGS_AC  mem_gs(DBT_OFFSET(cpu.s.rflags) + 2) /* the byte of AC: 4 or 0 */
#define SEG_FIELD(n, f) mem_gs(DBT_OFFSET(cpu.s) + offsetof(struct x86_state, seg) + sizeof(struct x86_segment) * (n) + \
			       offsetof(struct x86_segment, f))

struct dbt_assumptions dbt_assumptions(const struct cpu *cpu)
{
	const struct x86_state *s = &cpu->s;

	return (struct dbt_assumptions){
		.cr0 = s->cr0 & (X86_CR0_TS | X86_CR0_EM),
		.cr4 = s->cr4 & (X86_CR4_OSFXSR | X86_CR4_OSXSAVE | X86_CR4_SMAP | X86_CR4_FSGSBASE | X86_CR4_PKE),
		.efer = s->efer & X86_EFER_SCE,
		.star = s->star,
		.fmask = s->fmask,
		.xcr0 = s->xcr0 & 6,
	};
}

/* Leaves to the interpreter with the instruction not begun, when t (looked at without flags) is not zero. */
void tr_step_unless_t_zero(struct tr *tr)
{
	uint8_t *zero = emit_jrcxz(&tr->e);

	emit_mov_meaning(&tr->e, HOST_U, tr->at, EMIT_ADDRESS);
	emit_jmp_stub(&tr->e, tr->d->exit_step);
	emit_patch_short(&tr->e, zero);
	tr_forget_u(tr);
}

static void load_byte(struct tr *tr, unsigned reg, struct host_mem mem)
{
	emit_op_mem(&tr->e, 0x0fb6, reg, mem, 4); /* MOVZX */
}

static bool lower_cli(struct tr *tr)
{
	if (tr->user)
		return false;
	tr_commit(tr);
	emit_store_imm(&tr->e, RFLAGS_IF, 0, 1);
	return true;
}

static bool lower_sti(struct tr *tr)
{
	/* The next instruction must be of this block: no interrupt comes before it. */
	if (tr->user || tr->d->rf || (tr->next & ~PAGE_MASK) == 0 || tr->count >= TB_MAX_INSNS - 2)
		return false;
	load_byte(tr, HOST_T, FIELD(cpu.irq_blocked));
	tr_step_unless_t_zero(tr);
	tr_commit(tr);
	emit_store_imm(&tr->e, RFLAGS_IF, X86_FLAG_IF >> 8, 1);
	tr->shadow = true;
	return true;
}

/* t = RFLAGS as PUSHF stores them. Keeps the flags. */
static void flags_to_t(struct tr *tr)
{
	struct emitter *e = &tr->e;

	emit_store(e, FIELD(saved_rax), HOST_RAX, 8);
	emit_u8(e, 0x9f);                            /* LAHF */
	emit_op_reg(e, 0x0f90, 0, HOST_RAX, 1);      /* SETO AL */
	emit_u8(e, 0x0f), emit_u8(e, 0xb6), emit_u8(e, 0xcc); /* MOVZX ECX, AH */
	emit_op_reg(e, 0x0fb6, HOST_RAX, HOST_RAX, 4);        /* MOVZX EAX, AL */
	emit_rorx32(e, HOST_RAX, HOST_RAX, 32 - 11);
	/* Bit 1 is one in both. */
	emit_lea(e, HOST_T, (struct host_mem){.base = HOST_T, .index = HOST_RAX, .scale = 1, .disp = -(int32_t)X86_FLAG_FIX}, 8);
	emit_load(e, HOST_RAX, FIELD(guest_df), 4);
	emit_rorx32(e, HOST_RAX, HOST_RAX, 32 - 10);
	emit_lea(e, HOST_T, (struct host_mem){.base = HOST_T, .index = HOST_RAX, .scale = 1}, 8);
	emit_load(e, HOST_RAX, FIELD(cpu.s.rflags), 4);
	emit_lea(e, HOST_T, (struct host_mem){.base = HOST_T, .index = HOST_RAX, .scale = 1}, 8);
	emit_load(e, HOST_RAX, FIELD(saved_rax), 8);
}

static bool lower_pushf(struct tr *tr)
{
	struct host_mem top;

	if (tr->insn.opsize != tr->word)
		return false;
	flags_to_t(tr);
	top = tr_stack(tr, -(int32_t)tr->word, tr->word);
	tr_commit(tr);
	emit_store(&tr->e, top, HOST_T, tr->word);
	tr_adjust_rsp(tr, -(int32_t)tr->word);
	return true;
}

/* ---- flags from t ---- */

static void alu_imm32(struct emitter *e, unsigned op, unsigned reg, uint32_t imm)
{
	emit_op_reg(e, 0x81, op, reg, 4);
	emit_u32(e, imm);
}
enum { ALU_OR = 1, ALU_AND = 4, ALU_XOR = 6, ALU_CMP = 7 };

/* Saves the flags and RAX, which are then free. */
void tr_free_flags(struct tr *tr)
{
	struct emitter *e = &tr->e;

	emit_store(e, FIELD(saved_rax), HOST_RAX, 8);
	emit_u8(e, 0x9f);                       /* LAHF */
	emit_op_reg(e, 0x0f90, 0, HOST_RAX, 1); /* SETO AL */
	emit_store(e, FIELD(saved_flags), HOST_RAX, 2);
}

/* RAX: AL is OF, AH the other flags. */
void tr_flags_from_rax(struct tr *tr)
{
	emit_u16(&tr->e, 0x7f04); /* ADD AL, 0x7f */
	emit_u8(&tr->e, 0x9e);    /* SAHF */
}

/* A jump in `slow` comes here: the interpreter does it, with all as it was. */
void tr_slow_path(struct tr *tr, uint8_t **slow, unsigned count)
{
	struct emitter *e = &tr->e;
	uint8_t *over = emit_jmp_short(e);

	for (unsigned i = 0; i < count; i++)
		emit_patch_short(e, slow[i]);
	emit_op_mem(e, 0x0fb7, HOST_RAX, FIELD(saved_flags), 4);
	tr_flags_from_rax(tr);
	emit_load(e, HOST_RAX, FIELD(saved_rax), 8);
	emit_mov_meaning(e, HOST_U, tr->at, EMIT_ADDRESS);
	emit_jmp_stub(e, tr->d->exit_step);
	emit_patch_short(e, over);
}

static uint8_t *jne(struct emitter *e)
{
	emit_u16(e, 0x0075);
	return e->at - 1;
}

/* After free_flags(): are the flags in `source` (t) such that only status flags and IF can change? Jumps collected in slow.
 * Leaves 1 or 0 for IF in EAX when the privilege lets IF change. */
static unsigned check_flags(struct tr *tr, bool keep_if, bool ac_changes, uint8_t **slow)
{
	struct emitter *e = &tr->e;
	uint32_t ignored = X86_FLAGS_STATUS | X86_FLAG_FIX | X86_FLAG_IF;
	unsigned count = 0;

	/* AC, and all that must be zero: as in RFLAGS now, or (a return to user mode) zero. */
	emit_mov_reg(e, HOST_RAX, HOST_T, 4);
	alu_imm32(e, ALU_AND, HOST_RAX, 0x3fffffu & ~ignored);
	if (!ac_changes) {
		emit_load(e, HOST_U, FIELD(cpu.s.rflags), 4);
		alu_imm32(e, ALU_AND, HOST_U, 0x3fffffu & ~ignored);
		emit_op_reg(e, 0x39, HOST_U, HOST_RAX, 4); /* CMP */
	}
	slow[count++] = jne(e);
	/* DF must not be on. */
	emit_op_mem(e, 0x83, ALU_CMP, FIELD(guest_df), 8);
	emit_u8(e, 0);
	slow[count++] = jne(e);
	if (keep_if)
		return count;
	emit_mov_reg(e, HOST_RAX, HOST_T, 4);
	emit_op_reg(e, 0xc1, 5, HOST_RAX, 4); /* SHR EAX, 9 */
	emit_u8(e, 9);
	alu_imm32(e, ALU_AND, HOST_RAX, 1);
	emit_op_mem(e, 0x84, HOST_RAX, FIELD(cpu.irq_blocked), 1); /* TEST */
	slow[count++] = jne(e);
	return count;
}

/* The status flags of t become the host's; RAX is restored. */
static void status_from_t(struct tr *tr)
{
	struct emitter *e = &tr->e;

	emit_op_reg(e, 0x0fba, 4, HOST_T, 4); /* BT ECX, 11 */
	emit_u8(e, 11);
	emit_op_reg(e, 0x0f92, 0, HOST_RAX, 1); /* SETC AL */
	emit_u16(e, 0xcc88);                    /* MOV AH, CL */
	tr_flags_from_rax(tr);
	emit_load(e, HOST_RAX, FIELD(saved_rax), 8);
}

static bool lower_popf(struct tr *tr)
{
	struct emitter *e = &tr->e;
	struct host_mem top;
	uint8_t *slow[4];
	unsigned count;

	if (tr->insn.opsize != tr->word)
		return false;
	top = tr_stack(tr, 0, tr->word);
	tr_commit(tr);
	emit_load(e, HOST_T, top, tr->word);
	tr_forget_addends(tr);
	tr_free_flags(tr);
	count = check_flags(tr, tr->user, false, slow);
	tr_slow_path(tr, slow, count);
	if (!tr->user) {
		emit_op_reg(e, 0x01, HOST_RAX, HOST_RAX, 4); /* ADD EAX, EAX: IF in its byte */
		emit_store(e, RFLAGS_IF, HOST_RAX, 1);
	}
	emit_lea(e, HOST_R15, mem_base(HOST_R15, (int32_t)tr->word), 8);
	tr_register_written(tr, X86_RSP);
	status_from_t(tr);
	return true;
}

/* ---- SMAP's window ---- */

static bool lower_ac(struct tr *tr, bool on)
{
	struct emitter *e = &tr->e;
	enum tlb_index rights = on ? TLB_SUPERVISOR_AC : TLB_SUPERVISOR;

	if (tr->user)
		return false;
	tr_commit(tr);
	emit_store_imm(e, RFLAGS_AC, on ? X86_FLAG_AC >> 16 : 0, 1);
	if (!(tr->cpu->s.cr4 & X86_CR4_SMAP))
		return true;
	emit_store_imm(e, FIELD(cpu.rights), rights, 1);
	emit_store_imm(e, FIELD(cpu.data_tlb), rights, 1);
	emit_load(e, HOST_TABLE, mem_gs(DBT_OFFSET(table) + 8 * rights), 8);
	emit_store(e, FIELD(table_now), HOST_TABLE, 8);
	tr_forget_addends(tr);
	return true;
}

static bool lower_swapgs(struct tr *tr)
{
	struct emitter *e = &tr->e;

	if (tr->user)
		return false;
	emit_load(e, HOST_T, SEG_FIELD(X86_GS, base), 8);
	emit_load(e, HOST_U, FIELD(cpu.s.kernel_gs_base), 8);
	tr_forget_u(tr);
	tr_commit(tr);
	emit_store(e, FIELD(cpu.s.kernel_gs_base), HOST_T, 8);
	emit_store(e, SEG_FIELD(X86_GS, base), HOST_U, 8);
	return true;
}

/* MOV from CR0, CR2, CR3, CR4. */
static bool lower_read_cr(struct tr *tr)
{
	static const uint16_t offsets[] = {
		[0] = DBT_OFFSET(cpu.s.cr0), [2] = DBT_OFFSET(cpu.s.cr2), [3] = DBT_OFFSET(cpu.s.cr3), [4] = DBT_OFFSET(cpu.s.cr4),
	};
	const struct x86_operand *operand = tr->insn.operand;

	if (tr->user || operand[0].kind != X86_OPND_GPR || operand[1].reg > 4 || operand[1].reg == 1)
		return false;
	emit_load(&tr->e, HOST_T, mem_gs(offsets[operand[1].reg]), 8);
	tr_commit(tr);
	tr_set(tr, operand[0].reg, HOST_T);
	return true;
}

/* MOV from a segment register to a general one. */
static bool lower_read_segment(struct tr *tr)
{
	const struct x86_operand *operand = tr->insn.operand;

	if (operand[0].kind != X86_OPND_GPR || operand[1].kind != X86_OPND_SEG || tr->insn.opsize == 2)
		return false;
	emit_op_mem(&tr->e, 0x0fb7, HOST_T, SEG_FIELD(operand[1].reg, selector), 4);
	tr_commit(tr);
	tr_set(tr, operand[0].reg, HOST_T);
	return true;
}

static bool lower_read_base(struct tr *tr, unsigned seg)
{
	if (tr->narrow || !(tr->cpu->s.cr4 & X86_CR4_FSGSBASE))
		return false;
	emit_load(&tr->e, HOST_T, SEG_FIELD(seg, base), tr->insn.opsize == 8 ? 8 : 4);
	tr_commit(tr);
	tr_set(tr, tr->insn.operand[0].reg, HOST_T);
	return true;
}

/* ECX must be zero. */
static bool lower_rdpkru(struct tr *tr)
{
	struct emitter *e = &tr->e;

	if (!(tr->cpu->s.cr4 & X86_CR4_PKE))
		return false;
	emit_mov_reg(e, HOST_T, HOST_R9, 4);
	tr_step_unless_t_zero(tr);
	tr_commit(tr);
	emit_load(e, HOST_RAX, FIELD(cpu.s.pkru), 4);
	emit_mov_imm(e, HOST_RDX, 0);
	tr_register_written(tr, X86_RAX);
	tr_register_written(tr, X86_RDX);
	return true;
}

/* ---- SYSCALL and SYSRET ---- */

#define SEG_CODE64 (X86_AR_CODE | X86_AR_WRITABLE | X86_AR_ACCESSED | X86_AR_S | X86_AR_P | X86_AR_L | X86_AR_G)
#define SEG_DATA   (X86_AR_WRITABLE | X86_AR_ACCESSED | X86_AR_S | X86_AR_P | X86_AR_DB | X86_AR_G)

static void set_segment(struct tr *tr, unsigned seg, unsigned selector, uint32_t ar)
{
	struct emitter *e = &tr->e;

	_Static_assert(offsetof(struct x86_segment, ar) == offsetof(struct x86_segment, limit) + 4, "stored together");
	emit_mov_imm(e, HOST_U, (uint64_t)ar << 32 | 0xffffffffu);
	emit_store(e, SEG_FIELD(seg, limit), HOST_U, 8);
	emit_store_imm(e, SEG_FIELD(seg, base), 0, 8);
	emit_store_imm(e, SEG_FIELD(seg, selector), (int32_t)selector, 2);
}

/* The derived state of 64-bit code at this privilege level, and what goes with it: table, targets, side stack. */
static void set_privilege(struct tr *tr, bool user, enum tlb_index rights)
{
	struct emitter *e = &tr->e;
	uint32_t key = (tr->cpu->key & ~4u) | (user ? 4 : 0);

	emit_store_imm(e, FIELD(cpu.cpl), user ? 3 : 0, 1);
	emit_store_imm(e, FIELD(cpu.key), (int32_t)key, 4);
	emit_store_imm(e, FIELD(cpu.rights), rights, 1);
	emit_store_imm(e, FIELD(cpu.data_tlb), rights, 1);
	emit_store_imm(e, FIELD(cpu.stack32), 1, 1);
	emit_load(e, HOST_TABLE, mem_gs(DBT_OFFSET(table) + 8 * rights), 8);
	emit_store(e, FIELD(table_now), HOST_TABLE, 8);
	emit_load(e, HOST_U, mem_gs(DBT_OFFSET(slots_of) + 8 * user), 8);
	emit_store(e, FIELD(slots_now), HOST_U, 8);
	emit_load(e, HOST_U, mem_gs(DBT_OFFSET(jumps_of) + 8 * user), 8);
	emit_store(e, FIELD(jumps_now), HOST_U, 8);
	emit_store_imm(e, FIELD(side_user), user, 1);
	if (user) {
		emit_load(e, HOST_RSP, FIELD(side_user_sp), 8);
	} else {
		emit_store(e, FIELD(side_user_sp), HOST_RSP, 8);
		emit_load(e, HOST_RSP, FIELD(side_base), 8);
	}
}

static bool lower_syscall(struct tr *tr)
{
	const struct x86_state *s = &tr->cpu->s;
	struct emitter *e = &tr->e;
	unsigned selector = s->star >> 32 & 0xfffc;
	uint64_t cleared = X86_FLAGS_STATUS | X86_FLAG_DF | X86_FLAG_IF | X86_FLAG_AC;

	if (!tr->user || tr->narrow || !(s->efer & X86_EFER_SCE) || (s->fmask & cleared) != cleared)
		return false;
	flags_to_t(tr);
	tr_forget_u(tr);
	tr_commit(tr);
	emit_store(e, mem_gs(DBT_OFFSET(cpu.s.gpr) + 8 * X86_R11), HOST_T, 8);
	emit_mov_meaning(e, HOST_R9, tr->next, EMIT_ADDRESS);
	emit_store_imm(e, FIELD(cpu.s.rflags), X86_FLAG_FIX, 4);
	emit_store_imm(e, FIELD(guest_df), 0, 8);
	emit_u8(e, 0xfc); /* CLD */
	set_segment(tr, X86_CS, selector, SEG_CODE64);
	set_segment(tr, X86_SS, selector + 8, SEG_DATA);
	set_privilege(tr, false, s->cr4 & X86_CR4_SMAP ? TLB_SUPERVISOR : TLB_SUPERVISOR_AC);
	/* All status flags zero. */
	emit_store(e, FIELD(saved_rax), HOST_RAX, 8);
	emit_mov_imm(e, HOST_RAX, 0x0200);
	tr_flags_from_rax(tr);
	emit_load(e, HOST_RAX, FIELD(saved_rax), 8);
	emit_load(e, HOST_U, FIELD(cpu.s.lstar), 8);
	emit_indirect_jump(e);
	tr->ended = true;
	return true;
}

static bool lower_sysret(struct tr *tr)
{
	const struct x86_state *s = &tr->cpu->s;
	struct emitter *e = &tr->e;
	unsigned selector = (unsigned)(s->star >> 48), count;
	uint8_t *slow[5];

	if (tr->user || !(s->efer & X86_EFER_SCE) || tr->insn.opsize != 8)
		return false;
	emit_load(e, HOST_T, mem_gs(DBT_OFFSET(cpu.s.gpr) + 8 * X86_R11), 8);
	tr_forget_u(tr);
	/* Until the end of the checks nothing is changed that the slow path does not put back. */
	tr->info->flags |= TB_INSN_RESTART;
	tr_commit(tr);
	tr_free_flags(tr);
	count = check_flags(tr, false, true, slow);
	/* RCX must be a canonical user address: bits 63:47 zero. */
	emit_mov_reg(e, HOST_U, HOST_R9, 8);
	emit_op_reg(e, 0xc1, 5, HOST_U, 8); /* SHR u, 47 */
	emit_u8(e, 47);
	slow[count++] = jne(e);
	tr_slow_path(tr, slow, count);
	emit_op_reg(e, 0x01, HOST_RAX, HOST_RAX, 4); /* ADD EAX, EAX */
	emit_store_imm(e, FIELD(cpu.s.rflags), X86_FLAG_FIX, 4);
	emit_store(e, RFLAGS_IF, HOST_RAX, 1);
	set_segment(tr, X86_CS, ((selector + 16) & 0xffff) | 3, SEG_CODE64 | 3u << 5);
	set_segment(tr, X86_SS, ((selector + 8) & 0xffff) | 3, SEG_DATA | 3u << 5);
	set_privilege(tr, true, TLB_USER);
	status_from_t(tr);
	emit_mov_reg(e, HOST_U, HOST_R9, 8);
	emit_indirect_jump(e);
	tr->ended = true;
	return true;
}

/* Other processors' writes to code are known once they are done, by a request: C looks at it, as it does at what a kick tells,
 * but a kick may be a little late. */
static bool lower_serialize(struct tr *tr)
{
	struct emitter *e = &tr->e;
	uint8_t *none;

	tr_commit(tr);
	emit_u16(e, 0xae0f), emit_u8(e, 0xf0); /* MFENCE */
	emit_load(e, HOST_T, FIELD(cpu.vcpu), 8);
	emit_load(e, HOST_T, mem_base(HOST_T, (int32_t)offsetof(struct vcpu, request)), 4);
	none = emit_jrcxz(e);
	emit_mov_meaning(e, HOST_U, tr->next, EMIT_ADDRESS);
	emit_jmp_stub(e, tr->d->exit_lookup);
	emit_patch_short(e, none);
	return true;
}

bool tr_lower_system(struct tr *tr)
{
	switch (tr->insn.op) {
	case X86_CLI:
		return lower_cli(tr);
	case X86_STI:
		return lower_sti(tr);
	case X86_PUSHF:
		return lower_pushf(tr);
	case X86_POPF:
		return lower_popf(tr);
	case X86_SERIALIZE:
		return lower_serialize(tr);
	case X86_STAC:
		return lower_ac(tr, true);
	case X86_CLAC:
		return lower_ac(tr, false);
	case X86_SWAPGS:
		return lower_swapgs(tr);
	case X86_MOV_CR:
		return lower_read_cr(tr);
	case X86_MOV_SEG:
		return lower_read_segment(tr);
	case X86_RDFSBASE:
		return lower_read_base(tr, X86_FS);
	case X86_RDGSBASE:
		return lower_read_base(tr, X86_GS);
	case X86_RDPKRU:
		return lower_rdpkru(tr);
	case X86_SYSCALL:
		return lower_syscall(tr);
	case X86_SYSRET:
		return lower_sysret(tr);
	default:
		return false;
	}
}
