/* Segment registers, far transfers, IRET, and the fast system calls.
 *
 * Vendor differences follow the processor that arch/x86_64/cpuid.c presents; see intel_processor().
 */
#include "engine/interp/x86_64/sem.h"
#include "engine/interp/x86_64/lazy.h"
#include "engine/interp/x86_64/segment.h"

static bool protected_mode(const struct cpu *cpu)
{
	return (cpu->s.cr0 & X86_CR0_PE) && !(cpu->s.rflags & X86_FLAG_VM);
}

static void jumped(struct cpu *cpu, uint64_t rip)
{
	cpu->s.rip = rip;
	cpu->jumped = true;
	cpu_update_mode(cpu);
}

/* ---- MOV Sreg, LDS ... LSS ---- */

static void shadow_next(struct cpu *cpu, const struct x86_insn *insn)
{
	cpu->shadow_rip = sem_next_rip(cpu, insn);
}

static void sem_mov_seg(struct cpu *cpu, const struct x86_insn *insn)
{
	if (insn->operand[0].kind != X86_OPND_SEG) {
		sem_write(cpu, insn, 0, cpu->s.seg[insn->operand[1].reg].selector);
		return;
	}
	unsigned seg = insn->operand[0].reg;

	if (seg == X86_CS)
		raise_exception(cpu, X86_EXC_UD);
	cpu_load_segment(cpu, seg, (uint16_t)sem_read(cpu, insn, 1));
	if (seg == X86_SS)
		shadow_next(cpu, insn);
}

static void load_far_pointer(struct cpu *cpu, const struct x86_insn *insn, unsigned seg)
{
	uint64_t offset = sem_offset(cpu, insn);
	uint64_t value = sem_load_int(cpu, insn->mem.seg, offset, insn->opsize);
	uint16_t selector = (uint16_t)sem_load_int(cpu, insn->mem.seg, offset + insn->opsize, 2);

	cpu_load_segment(cpu, seg, selector);
	sem_write(cpu, insn, 0, value);
	if (seg == X86_SS)
		shadow_next(cpu, insn);
}

static void sem_les(struct cpu *cpu, const struct x86_insn *insn)
{
	load_far_pointer(cpu, insn, X86_ES);
}
static void sem_lds(struct cpu *cpu, const struct x86_insn *insn)
{
	load_far_pointer(cpu, insn, X86_DS);
}
static void sem_lss(struct cpu *cpu, const struct x86_insn *insn)
{
	load_far_pointer(cpu, insn, X86_SS);
}
static void sem_lfs(struct cpu *cpu, const struct x86_insn *insn)
{
	load_far_pointer(cpu, insn, X86_FS);
}
static void sem_lgs(struct cpu *cpu, const struct x86_insn *insn)
{
	load_far_pointer(cpu, insn, X86_GS);
}

/* ---- descriptor table registers that hold selectors ---- */

static void check_system(struct cpu *cpu)
{
	if (!protected_mode(cpu))
		raise_exception(cpu, X86_EXC_UD);
	if (cpu->cpl != 0)
		raise_error(cpu, X86_EXC_GP, 0);
}

static struct x86_segment read_system_segment(struct cpu *cpu, uint16_t selector, struct descriptor *d)
{
	struct x86_segment segment;
	uint64_t high = 0;

	if ((selector & 4) || !descriptor_read(cpu, selector, d) || (d->ar & X86_AR_S))
		raise_error(cpu, X86_EXC_GP, selector & ~3u);
	segment = descriptor_segment(selector, d);
	if (cpu->long_mode) {
		if (!descriptor_read_high(cpu, selector, d, &high) || (high >> 40 & 31))
			raise_error(cpu, X86_EXC_GP, selector & ~3u);
		segment.base |= high << 32;
	}
	return segment;
}

static void sem_lldt(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_segment segment;
	struct descriptor d;
	uint16_t selector;

	check_system(cpu);
	selector = (uint16_t)sem_read(cpu, insn, 0);
	if (selector_is_null(selector)) {
		cpu->s.ldtr = (struct x86_segment){.selector = selector, .ar = X86_AR_UNUSABLE};
		return;
	}
	segment = read_system_segment(cpu, selector, &d);
	if (X86_AR_TYPE(d.ar) != 2)
		raise_error(cpu, X86_EXC_GP, selector & ~3u);
	if (!(d.ar & X86_AR_P))
		raise_error(cpu, X86_EXC_NP, selector & ~3u);
	cpu->s.ldtr = segment;
}

static void sem_ltr(struct cpu *cpu, const struct x86_insn *insn)
{
	struct x86_segment segment;
	struct descriptor d;
	uint16_t selector;

	check_system(cpu);
	selector = (uint16_t)sem_read(cpu, insn, 0);
	if (selector_is_null(selector))
		raise_error(cpu, X86_EXC_GP, 0);
	segment = read_system_segment(cpu, selector, &d);
	if (X86_AR_TYPE(d.ar) != 9 && (cpu->long_mode || X86_AR_TYPE(d.ar) != 1))
		raise_error(cpu, X86_EXC_GP, selector & ~3u);
	if (!(d.ar & X86_AR_P))
		raise_error(cpu, X86_EXC_NP, selector & ~3u);
	cpu_store_system(cpu, d.address + 5, 1, (d.raw >> 40 & 0xff) | 2);
	segment.ar |= 2;
	cpu->s.tr = segment;
}

static void check_umip(struct cpu *cpu)
{
	if ((cpu->s.cr4 & X86_CR4_UMIP) && cpu->cpl != 0)
		raise_error(cpu, X86_EXC_GP, 0);
}

static void store_selector(struct cpu *cpu, const struct x86_insn *insn, uint16_t selector)
{
	if (!protected_mode(cpu))
		raise_exception(cpu, X86_EXC_UD);
	check_umip(cpu);
	sem_write(cpu, insn, 0, selector);
}
static void sem_sldt(struct cpu *cpu, const struct x86_insn *insn)
{
	store_selector(cpu, insn, cpu->s.ldtr.selector);
}
static void sem_str(struct cpu *cpu, const struct x86_insn *insn)
{
	store_selector(cpu, insn, cpu->s.tr.selector);
}

/* ---- LAR, LSL, VERR, VERW, ARPL ---- */

/* Which system types LAR and LSL accept (SDM 2A tables 3-53 and 3-54). */
static bool visible_type(const struct cpu *cpu, unsigned type, bool for_limit)
{
	static const uint16_t lar_legacy = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 9 | 1u << 11 | 1u << 12;
	static const uint16_t lar_long = 1u << 2 | 1u << 9 | 1u << 11 | 1u << 12;
	static const uint16_t limit_legacy = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 9 | 1u << 11;
	static const uint16_t limit_long = 1u << 2 | 1u << 9 | 1u << 11;

	if (for_limit)
		return (cpu->long_mode ? limit_long : limit_legacy) >> type & 1;
	return (cpu->long_mode ? lar_long : lar_legacy) >> type & 1;
}

static bool visible_descriptor(struct cpu *cpu, uint16_t selector, bool for_limit, struct descriptor *d)
{
	unsigned rpl = selector & 3u, dpl;

	if (selector_is_null(selector) || !descriptor_read(cpu, selector, d))
		return false;
	dpl = X86_AR_DPL(d->ar);
	if (!(d->ar & X86_AR_S)) {
		uint64_t high;

		if (!visible_type(cpu, X86_AR_TYPE(d->ar), for_limit))
			return false;
		if (cpu->long_mode && (!descriptor_read_high(cpu, selector, d, &high) || (high >> 40 & 31)))
			return false;
	} else if ((d->ar & X86_AR_CODE) && (d->ar & X86_AR_DOWN)) {
		return true; /* conforming: any privilege */
	}
	return rpl <= dpl && cpu->cpl <= dpl;
}

static void set_zf(struct cpu *cpu, bool zf)
{
	sem_set_flags(cpu, X86_FLAG_ZF, zf ? X86_FLAG_ZF : 0);
}

static void sem_lar(struct cpu *cpu, const struct x86_insn *insn)
{
	struct descriptor d;
	bool visible;

	if (!protected_mode(cpu))
		raise_exception(cpu, X86_EXC_UD);
	visible = visible_descriptor(cpu, (uint16_t)sem_read(cpu, insn, 1), false, &d);
	if (visible)
		sem_write(cpu, insn, 0, d.raw >> 32 & 0x00f0ff00);
	set_zf(cpu, visible);
}

static void sem_lsl(struct cpu *cpu, const struct x86_insn *insn)
{
	struct descriptor d;
	bool visible;

	if (!protected_mode(cpu))
		raise_exception(cpu, X86_EXC_UD);
	visible = visible_descriptor(cpu, (uint16_t)sem_read(cpu, insn, 1), true, &d);
	if (visible)
		sem_write(cpu, insn, 0, descriptor_segment(0, &d).limit);
	set_zf(cpu, visible);
}

static void verify(struct cpu *cpu, const struct x86_insn *insn, bool write)
{
	struct descriptor d;
	uint16_t selector;
	bool ok;

	if (!protected_mode(cpu))
		raise_exception(cpu, X86_EXC_UD);
	selector = (uint16_t)sem_read(cpu, insn, 0);
	ok = !selector_is_null(selector) && descriptor_read(cpu, selector, &d) && (d.ar & X86_AR_S);
	if (ok && (d.ar & X86_AR_CODE))
		ok = !write && (d.ar & X86_AR_WRITABLE);
	else if (ok && write)
		ok = d.ar & X86_AR_WRITABLE;
	if (ok && !((d.ar & X86_AR_CODE) && (d.ar & X86_AR_DOWN)))
		ok = (selector & 3u) <= X86_AR_DPL(d.ar) && cpu->cpl <= X86_AR_DPL(d.ar);
	set_zf(cpu, ok);
}
static void sem_verr(struct cpu *cpu, const struct x86_insn *insn)
{
	verify(cpu, insn, false);
}
static void sem_verw(struct cpu *cpu, const struct x86_insn *insn)
{
	verify(cpu, insn, true);
}

static void sem_arpl(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t dst, src;

	if (!protected_mode(cpu))
		raise_exception(cpu, X86_EXC_UD);
	/* A destination that needs no change need not be writable. */
	dst = sem_read(cpu, insn, 0);
	src = sem_read(cpu, insn, 1);
	if ((dst & 3) < (src & 3)) {
		sem_write(cpu, insn, 0, (dst & ~3ull) | (src & 3));
		set_zf(cpu, true);
	} else {
		set_zf(cpu, false);
	}
}

/* ---- far JMP and CALL ---- */

static void far_real(struct cpu *cpu, const struct x86_insn *insn, uint16_t selector, uint64_t offset, bool call)
{
	if (insn->opsize == 2)
		offset &= 0xffff;
	if (offset > cpu->s.seg[X86_CS].limit)
		raise_error(cpu, X86_EXC_GP, 0);
	if (call) {
		struct frame frame = {.ss = cpu->s.seg[X86_SS],
				      .sp = cpu->s.gpr[X86_RSP],
				      .mask = cpu_stack_mask(cpu),
				      .size = insn->opsize,
				      .index = cpu->rights};

		frame_push(cpu, &frame, cpu->s.seg[X86_CS].selector);
		frame_push(cpu, &frame, sem_next_rip(cpu, insn));
		frame_store(cpu, &frame);
		cpu->s.gpr[X86_RSP] = frame.sp;
	}
	cpu->s.seg[X86_CS].selector = selector;
	cpu->s.seg[X86_CS].base = (uint64_t)selector << 4;
	jumped(cpu, offset);
}

static void push_return(struct cpu *cpu, const struct x86_insn *insn, unsigned size, bool to_long)
{
	struct frame frame = {.ss = cpu->s.seg[X86_SS],
			      .sp = cpu->s.gpr[X86_RSP],
			      .mask = cpu_stack_mask(cpu),
			      .size = size,
			      .long_mode = cpu->mode == X86_MODE_64,
			      .index = cpu->rights};

	frame_push(cpu, &frame, cpu->s.seg[X86_CS].selector);
	frame_push(cpu, &frame, sem_next_rip(cpu, insn));
	frame_store(cpu, &frame);
	cpu->s.gpr[X86_RSP] = frame.sp;
}

struct call_gate {
	uint16_t selector;
	uint64_t offset;
	unsigned count, size;
};

static struct call_gate read_call_gate(struct cpu *cpu, uint16_t selector, const struct descriptor *d)
{
	struct call_gate gate = {
		.selector = (uint16_t)(d->raw >> 16),
		.offset = (d->raw & 0xffff) | (d->raw >> 32 & 0xffff0000),
		.count = d->raw >> 32 & 31,
		.size = X86_AR_TYPE(d->ar) == 12 ? 4 : 2,
	};
	uint64_t high;

	if (X86_AR_DPL(d->ar) < cpu->cpl || X86_AR_DPL(d->ar) < (selector & 3u))
		raise_error(cpu, X86_EXC_GP, selector & ~3u);
	if (!(d->ar & X86_AR_P))
		raise_error(cpu, X86_EXC_NP, selector & ~3u);
	if (cpu->long_mode) {
		if (!descriptor_read_high(cpu, selector, d, &high) || (high >> 40 & 31))
			raise_error(cpu, X86_EXC_GP, selector & ~3u);
		gate.offset |= high << 32;
		gate.count = 0;
		gate.size = 8;
	} else if (gate.size == 2) {
		gate.offset &= 0xffff;
	}
	return gate;
}

/* SDM 3A 5.8.5: through a call gate to an inner level, with a stack of its own. */
static void call_inner(struct cpu *cpu, const struct x86_insn *insn, const struct call_gate *gate, struct descriptor *code)
{
	unsigned cpl = X86_AR_DPL(code->ar);
	struct frame frame = {.size = gate->size, .new_stack = true};
	struct descriptor stack = {0};
	uint64_t old_sp = cpu->s.gpr[X86_RSP];
	uint16_t old_ss = cpu->s.seg[X86_SS].selector;

	frame.index = cpl == 3 ? TLB_USER : cpu->s.cr4 & X86_CR4_SMAP && !(cpu->s.rflags & X86_FLAG_AC)
						    ? TLB_SUPERVISOR
						    : TLB_SUPERVISOR_AC;
	if (cpu->long_mode) {
		frame.sp = tss_stack64(cpu, 4 + 8 * cpl);
		frame.mask = ~0ull;
		frame.long_mode = true;
		frame.ss = (struct x86_segment){.selector = (uint16_t)cpl, .ar = X86_AR_UNUSABLE | cpl << 5};
	} else {
		uint16_t ss;

		tss_stack(cpu, cpl, &ss, &frame.sp);
		frame.ss = check_stack_segment(cpu, ss, cpl, X86_EXC_TS, &stack);
		frame.mask = frame.ss.ar & X86_AR_DB ? 0xffffffffull : 0xffff;
	}
	check_target(cpu, code, gate->offset);
	frame_push(cpu, &frame, old_ss);
	frame_push(cpu, &frame, old_sp);
	/* Up to 31 parameters; the frame holds 16 values, so they are stored as a frame of their own below it. */
	uint64_t parameters[31];

	for (unsigned i = 0; i < gate->count; i++)
		parameters[i] = stack_peek(cpu, i * gate->size, gate->size);
	struct frame first = frame;

	frame_store(cpu, &first);
	for (unsigned i = gate->count; i > 0;) {
		struct frame part = first;

		part.count = 0;
		while (i > 0 && part.count < 16)
			frame_push(cpu, &part, parameters[--i]);
		frame_store(cpu, &part);
		first.sp = part.sp;
	}
	first.count = 0;
	frame_push(cpu, &first, cpu->s.seg[X86_CS].selector);
	frame_push(cpu, &first, sem_next_rip(cpu, insn));
	frame_store(cpu, &first);

	if (!cpu->long_mode)
		descriptor_set_accessed(cpu, &stack);
	cpu->s.seg[X86_SS] = frame.ss;
	cpu->s.gpr[X86_RSP] = cpu->long_mode ? first.sp : first.sp & frame.mask;
	load_cs(cpu, gate->selector, code, cpl);
	jumped(cpu, gate->offset);
}

static void through_call_gate(struct cpu *cpu, const struct x86_insn *insn, uint16_t selector, const struct descriptor *d,
			      bool call)
{
	struct call_gate gate = read_call_gate(cpu, selector, d);
	struct descriptor code;

	check_code_descriptor(cpu, gate.selector, &code, CODE_GATE);
	if (cpu->long_mode && !(code.ar & X86_AR_L))
		raise_error(cpu, X86_EXC_GP, gate.selector & ~3u);
	if (!(code.ar & X86_AR_DOWN) && X86_AR_DPL(code.ar) < cpu->cpl) {
		if (!call)
			raise_error(cpu, X86_EXC_GP, gate.selector & ~3u);
		call_inner(cpu, insn, &gate, &code);
		return;
	}
	check_target(cpu, &code, gate.offset);
	if (call)
		push_return(cpu, insn, gate.size, true);
	load_cs(cpu, gate.selector, &code, cpu->cpl);
	jumped(cpu, gate.offset);
}

static void far_protected(struct cpu *cpu, const struct x86_insn *insn, uint16_t selector, uint64_t offset, bool call)
{
	struct descriptor d;

	if (selector_is_null(selector))
		raise_error(cpu, X86_EXC_GP, 0);
	if (!descriptor_read(cpu, selector, &d))
		raise_error(cpu, X86_EXC_GP, selector & ~3u);
	if (!(d.ar & X86_AR_S)) {
		switch (X86_AR_TYPE(d.ar)) {
		case 4:
		case 12:
			if (cpu->long_mode && X86_AR_TYPE(d.ar) == 4)
				break;
			through_call_gate(cpu, insn, selector, &d, call);
			return;
		case 5: /* task gate */
			if (cpu->long_mode)
				break;
			if (X86_AR_DPL(d.ar) < cpu->cpl || X86_AR_DPL(d.ar) < (selector & 3u))
				break;
			if (!(d.ar & X86_AR_P))
				raise_error(cpu, X86_EXC_NP, selector & ~3u);
			cpu_task_switch(cpu, (uint16_t)(d.raw >> 16), call ? TASK_CALL : TASK_JMP,
					sem_next_rip(cpu, insn), false, 0);
			cpu->jumped = true;
			return;
		case 1:
		case 9:
			if (cpu->long_mode || X86_AR_DPL(d.ar) < cpu->cpl || X86_AR_DPL(d.ar) < (selector & 3u))
				break;
			cpu_task_switch(cpu, selector, call ? TASK_CALL : TASK_JMP, sem_next_rip(cpu, insn), false, 0);
			cpu->jumped = true;
			return;
		default:
			break;
		}
		raise_error(cpu, X86_EXC_GP, selector & ~3u);
	}
	check_code_descriptor(cpu, selector, &d, CODE_JUMP);
	if (insn->opsize == 2)
		offset &= 0xffff;
	check_target(cpu, &d, offset);
	if (call)
		push_return(cpu, insn, insn->opsize, d.ar & X86_AR_L);
	load_cs(cpu, selector, &d, cpu->cpl);
	jumped(cpu, cpu->long_mode && (d.ar & X86_AR_L) ? offset : offset & 0xffffffffull);
}

static void far_transfer(struct cpu *cpu, const struct x86_insn *insn, bool call)
{
	uint16_t selector;
	uint64_t offset;

	if (insn->operand[0].kind == X86_OPND_MEM) {
		uint64_t at = sem_offset(cpu, insn);

		offset = sem_load_int(cpu, insn->mem.seg, at, insn->opsize);
		selector = (uint16_t)sem_load_int(cpu, insn->mem.seg, at + insn->opsize, 2);
	} else {
		offset = insn->imm;
		selector = (uint16_t)insn->imm2;
	}
	if (protected_mode(cpu))
		far_protected(cpu, insn, selector, offset, call);
	else
		far_real(cpu, insn, selector, offset, call);
}
static void sem_jmp_far(struct cpu *cpu, const struct x86_insn *insn)
{
	far_transfer(cpu, insn, false);
}
static void sem_call_far(struct cpu *cpu, const struct x86_insn *insn)
{
	far_transfer(cpu, insn, true);
}

/* ---- far RET and IRET ---- */

/* The outer stack of a return: SS checked against the level returned to. Null SS is allowed into 64-bit rings
 * 0 to 2. */
static struct x86_segment return_stack(struct cpu *cpu, uint16_t ss, unsigned cpl, bool to_long, struct descriptor *d)
{
	if (selector_is_null(ss) && to_long && cpl != 3 && (ss & 3u) == cpl) {
		d->ar = X86_AR_ACCESSED;
		return (struct x86_segment){.selector = ss, .ar = X86_AR_UNUSABLE | cpl << 5};
	}
	return check_stack_segment(cpu, ss, cpl, X86_EXC_GP, d);
}

static void sem_ret_far(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize, release = insn->operand_count ? (unsigned)insn->imm & 0xffff : 0;
	uint64_t rip = stack_peek(cpu, 0, size);
	uint16_t cs = (uint16_t)stack_peek(cpu, size, size);
	struct descriptor code, stack;
	unsigned rpl = cs & 3u;
	bool to_long;

	if (!protected_mode(cpu)) {
		if (rip > cpu->s.seg[X86_CS].limit)
			raise_error(cpu, X86_EXC_GP, 0);
		stack_drop(cpu, 2ull * size + release);
		cpu->s.seg[X86_CS].selector = cs;
		cpu->s.seg[X86_CS].base = (uint64_t)cs << 4;
		jumped(cpu, rip);
		return;
	}
	check_code_descriptor(cpu, cs, &code, CODE_RETURN);
	check_target(cpu, &code, rip);
	to_long = cpu->long_mode && (code.ar & X86_AR_L);
	if (rpl == cpu->cpl) {
		stack_drop(cpu, 2ull * size + release);
		load_cs(cpu, cs, &code, rpl);
		jumped(cpu, rip);
		return;
	}
	uint64_t sp = stack_peek(cpu, 2 * size + release, size);
	uint16_t ss = (uint16_t)stack_peek(cpu, 3 * size + release, size);
	struct x86_segment segment = return_stack(cpu, ss, rpl, to_long, &stack);

	if (!(segment.ar & X86_AR_UNUSABLE)) {
		descriptor_set_accessed(cpu, &stack);
		segment.ar |= X86_AR_ACCESSED;
	}
	load_cs(cpu, cs, &code, rpl);
	cpu->s.seg[X86_SS] = segment;
	cpu->s.gpr[X86_RSP] = to_long		       ? sp + release
			      : segment.ar & X86_AR_DB ? (sp + release) & 0xffffffffull
						       : (cpu->s.gpr[X86_RSP] & ~0xffffull) | ((sp + release) & 0xffff);
	drop_inner_segments(cpu, rpl);
	jumped(cpu, rip);
}

/* Which RFLAGS bits IRET and POPF may change at this privilege. */
static uint64_t iret_mask(const struct cpu *cpu, unsigned size)
{
	uint64_t mask = X86_FLAGS_STATUS | X86_FLAG_TF | X86_FLAG_DF | X86_FLAG_NT;

	if (size > 2)
		mask |= X86_FLAG_RF | X86_FLAG_AC | X86_FLAG_ID;
	if (cpu->cpl <= (cpu->s.rflags >> 12 & 3))
		mask |= X86_FLAG_IF;
	if (cpu->cpl == 0)
		mask |= X86_FLAG_IOPL | (size > 2 ? X86_FLAG_VIF | X86_FLAG_VIP : 0);
	return mask;
}

static void set_flags_masked(struct cpu *cpu, uint64_t flags, uint64_t mask)
{
	uint64_t before = cpu_rflags(cpu);

	cpu_set_rflags(cpu, (before & ~mask) | (flags & mask));
	if (!(before & X86_FLAG_IF) && (cpu->s.rflags & X86_FLAG_IF))
		cpu_irq_enabled(cpu);
}

static void iret_real(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize;
	uint64_t rip = stack_peek(cpu, 0, size);
	uint16_t cs = (uint16_t)stack_peek(cpu, size, size);
	uint64_t flags = stack_peek(cpu, 2 * size, size);
	uint64_t mask = iret_mask(cpu, size);

	if (cpu->s.rflags & X86_FLAG_VM) {
		bool iopl3 = (cpu->s.rflags & X86_FLAG_IOPL) == X86_FLAG_IOPL;

		mask &= ~(uint64_t)(X86_FLAG_IOPL | X86_FLAG_VIF | X86_FLAG_VIP);
		if (!iopl3) {
			/* With VME a 16-bit IRET works on VIF instead (SDM 2A IRET, RETURN-FROM-VIRTUAL-8086). */
			if (!(cpu->s.cr4 & X86_CR4_VME) || size != 2 || (flags & X86_FLAG_TF) ||
			    ((flags & X86_FLAG_IF) && (cpu->s.rflags & X86_FLAG_VIP)))
				raise_error(cpu, X86_EXC_GP, 0);
			mask = (mask & ~(uint64_t)X86_FLAG_IF) | X86_FLAG_VIF;
			flags = (flags & ~(uint64_t)X86_FLAG_VIF) | (flags & X86_FLAG_IF ? X86_FLAG_VIF : 0);
		}
	}
	if (rip > cpu->s.seg[X86_CS].limit)
		raise_error(cpu, X86_EXC_GP, 0);
	stack_drop(cpu, 3ull * size);
	cpu->s.seg[X86_CS].selector = cs;
	cpu->s.seg[X86_CS].base = (uint64_t)cs << 4;
	set_flags_masked(cpu, flags, mask);
	jumped(cpu, rip);
}

static void iret_to_vm86(struct cpu *cpu, uint64_t rip, uint16_t cs, uint64_t flags)
{
	uint64_t sp = stack_peek(cpu, 12, 4);
	uint16_t selectors[X86_SEG_COUNT] = {
		[X86_SS] = (uint16_t)stack_peek(cpu, 16, 4), [X86_ES] = (uint16_t)stack_peek(cpu, 20, 4),
		[X86_DS] = (uint16_t)stack_peek(cpu, 24, 4), [X86_FS] = (uint16_t)stack_peek(cpu, 28, 4),
		[X86_GS] = (uint16_t)stack_peek(cpu, 32, 4), [X86_CS] = cs,
	};

	cpu_set_rflags(cpu, flags);
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		cpu_set_segment_real(cpu, i, selectors[i]);
	cpu->s.gpr[X86_RSP] = sp & 0xffffffffull;
	cpu_irq_enabled(cpu);
	jumped(cpu, rip & 0xffff);
}

static void sem_iret(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize;
	struct descriptor code, stack = {0};
	struct x86_segment segment = {0};
	uint64_t rip, flags, sp = 0;
	bool to_long, outer;
	unsigned rpl;
	uint16_t cs;

	cpu->s.nmi_blocked = false;
	if (cpu->s.nmi_pending)
		atomic_fetch_or(&cpu->vcpu->request, VCPU_REQ_NMI);
	if (!protected_mode(cpu)) {
		iret_real(cpu, insn);
		return;
	}
	if (cpu->s.rflags & X86_FLAG_NT) {
		if (cpu->long_mode)
			raise_error(cpu, X86_EXC_GP, 0);
		cpu_task_switch(cpu, (uint16_t)cpu_load_system(cpu, cpu->s.tr.base, 2), TASK_IRET,
				sem_next_rip(cpu, insn), false, 0);
		cpu->jumped = true;
		return;
	}
	rip = stack_peek(cpu, 0, size);
	cs = (uint16_t)stack_peek(cpu, size, size);
	flags = stack_peek(cpu, 2 * size, size);
	if (!cpu->long_mode && size == 4 && (flags & X86_FLAG_VM) && cpu->cpl == 0) {
		iret_to_vm86(cpu, rip, cs, flags);
		return;
	}
	check_code_descriptor(cpu, cs, &code, CODE_RETURN);
	to_long = cpu->long_mode && (code.ar & X86_AR_L);
	rpl = cs & 3u;
	outer = rpl != cpu->cpl;
	/* In 64-bit mode SS:RSP are always popped. */
	if (outer || cpu->mode == X86_MODE_64) {
		uint16_t ss = (uint16_t)stack_peek(cpu, 4 * size, size);

		sp = stack_peek(cpu, 3 * size, size);
		segment = return_stack(cpu, ss, rpl, to_long, &stack);
	}
	check_target(cpu, &code, rip);

	uint64_t mask = iret_mask(cpu, size);

	if (outer || cpu->mode == X86_MODE_64) {
		if (!(segment.ar & X86_AR_UNUSABLE)) {
			descriptor_set_accessed(cpu, &stack);
			segment.ar |= X86_AR_ACCESSED;
		}
		cpu->s.seg[X86_SS] = segment;
		if (to_long || (segment.ar & (X86_AR_DB | X86_AR_UNUSABLE)))
			cpu->s.gpr[X86_RSP] = to_long ? sp : sp & 0xffffffffull;
		else
			cpu->s.gpr[X86_RSP] = (cpu->s.gpr[X86_RSP] & ~0xffffull) | (sp & 0xffff);
	} else {
		stack_drop(cpu, 3ull * size);
	}
	load_cs(cpu, cs, &code, rpl);
	if (outer)
		drop_inner_segments(cpu, rpl);
	set_flags_masked(cpu, flags, mask);
	jumped(cpu, to_long ? rip : rip & 0xffffffffull);
}

/* ---- SYSCALL, SYSRET, SYSENTER, SYSEXIT ---- */

/* Intel: SYSCALL only in 64-bit code, SYSENTER also in IA-32e mode. AMD: SYSCALL in compatibility mode too,
 * SYSENTER not in long mode. */
static bool intel_processor(const struct cpu *cpu)
{
	for (unsigned i = 0; i < cpu->cpuid->count; i++) {
		if (cpu->cpuid->entries[i].leaf == 0)
			return cpu->cpuid->entries[i].ebx == 0x756e6547; /* "Genu" */
	}
	return true;
}

#define SEG_CODE64 (X86_AR_CODE | X86_AR_WRITABLE | X86_AR_L)
#define SEG_CODE32 (X86_AR_CODE | X86_AR_WRITABLE | X86_AR_DB)
#define SEG_DATA   (X86_AR_WRITABLE | X86_AR_DB)
#define SEG_RING3  (3u << 5)

static void sem_syscall(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t next = sem_next_rip(cpu, insn);
	uint16_t selector = (uint16_t)(cpu->s.star >> 32);

	if (!(cpu->s.efer & X86_EFER_SCE) || !protected_mode(cpu) ||
	    (cpu->mode != X86_MODE_64 && intel_processor(cpu)))
		raise_exception(cpu, X86_EXC_UD);
	cpu->s.gpr[X86_RCX] = next;
	if (cpu->long_mode) {
		bool long_code = cpu->mode == X86_MODE_64;

		cpu->s.gpr[X86_R11] = cpu_rflags(cpu) & ~(uint64_t)X86_FLAG_RF;
		cpu->s.rip = long_code ? cpu->s.lstar : cpu->s.cstar;
		cpu_set_rflags(cpu, cpu->s.gpr[X86_R11] & ~cpu->s.fmask);
		cpu->s.seg[X86_CS] = flat_segment(selector & 0xfffcu, SEG_CODE64);
	} else {
		cpu->s.rip = cpu->s.star & 0xffffffff;
		cpu_set_rflags(cpu, cpu_rflags(cpu) & ~(uint64_t)(X86_FLAG_IF | X86_FLAG_VM | X86_FLAG_RF));
		cpu->s.seg[X86_CS] = flat_segment(selector & 0xfffcu, SEG_CODE32);
	}
	cpu->s.seg[X86_SS] = flat_segment((uint16_t)((selector & 0xfffcu) + 8), SEG_DATA);
	jumped(cpu, cpu->s.rip);
}

static void sem_sysret(struct cpu *cpu, const struct x86_insn *insn)
{
	uint16_t selector = (uint16_t)(cpu->s.star >> 48);
	bool to_long = insn->opsize == 8;

	if (!(cpu->s.efer & X86_EFER_SCE) || !protected_mode(cpu) ||
	    (cpu->mode != X86_MODE_64 && intel_processor(cpu)))
		raise_exception(cpu, X86_EXC_UD);
	if (cpu->cpl != 0)
		raise_error(cpu, X86_EXC_GP, 0);
	if (to_long && intel_processor(cpu) &&
	    !canonical(cpu->s.gpr[X86_RCX]))
		raise_error(cpu, X86_EXC_GP, 0);
	if (to_long)
		cpu->s.seg[X86_CS] = flat_segment((uint16_t)((selector + 16) | 3), SEG_CODE64 | SEG_RING3);
	else
		cpu->s.seg[X86_CS] = flat_segment(selector | 3, SEG_CODE32 | SEG_RING3);
	cpu->s.seg[X86_SS] = flat_segment((uint16_t)((selector + 8) | 3), SEG_DATA | SEG_RING3);
	if (cpu->long_mode)
		set_flags_masked(cpu, cpu->s.gpr[X86_R11], 0x3c7fd7 & ~(uint64_t)X86_FLAG_FIX);
	else
		set_flags_masked(cpu, X86_FLAG_IF, X86_FLAG_IF);
	jumped(cpu, to_long ? cpu->s.gpr[X86_RCX] : cpu->s.gpr[X86_RCX] & 0xffffffffull);
}

static void sem_sysenter(struct cpu *cpu, const struct x86_insn *insn)
{
	uint16_t selector = (uint16_t)(cpu->s.sysenter_cs & 0xfffc);

	if (cpu->long_mode && !intel_processor(cpu))
		raise_exception(cpu, X86_EXC_UD);
	if (!(cpu->s.cr0 & X86_CR0_PE) || !selector)
		raise_error(cpu, X86_EXC_GP, 0);
	cpu_set_rflags(cpu, cpu_rflags(cpu) & ~(uint64_t)(X86_FLAG_VM | X86_FLAG_IF | X86_FLAG_RF));
	cpu->s.gpr[X86_RSP] = cpu->long_mode ? cpu->s.sysenter_esp : cpu->s.sysenter_esp & 0xffffffffull;
	cpu->s.seg[X86_CS] = flat_segment(selector, cpu->long_mode ? SEG_CODE64 : SEG_CODE32);
	cpu->s.seg[X86_SS] = flat_segment((uint16_t)(selector + 8), SEG_DATA);
	jumped(cpu, cpu->long_mode ? cpu->s.sysenter_eip : cpu->s.sysenter_eip & 0xffffffffull);
}

static void sem_sysexit(struct cpu *cpu, const struct x86_insn *insn)
{
	uint16_t selector = (uint16_t)(cpu->s.sysenter_cs & 0xfffc);
	bool to_long = insn->opsize == 8;
	uint64_t rip = cpu->s.gpr[X86_RDX], rsp = cpu->s.gpr[X86_RCX];

	if (cpu->long_mode && !intel_processor(cpu))
		raise_exception(cpu, X86_EXC_UD);
	if (!protected_mode(cpu) || !selector || cpu->cpl != 0)
		raise_error(cpu, X86_EXC_GP, 0);
	if (to_long && (!canonical(rip) || !canonical(rsp)))
		raise_error(cpu, X86_EXC_GP, 0);
	if (!to_long) {
		rip &= 0xffffffffull;
		rsp &= 0xffffffffull;
	}
	cpu->s.gpr[X86_RSP] = rsp;
	cpu->s.seg[X86_CS] = flat_segment((uint16_t)((selector + (to_long ? 32 : 16)) | 3),
					  (to_long ? SEG_CODE64 : SEG_CODE32) | SEG_RING3);
	cpu->s.seg[X86_SS] = flat_segment((uint16_t)((selector + (to_long ? 40 : 24)) | 3), SEG_DATA | SEG_RING3);
	jumped(cpu, rip);
}

const struct sem_entry sem_segment[] = {
	{X86_MOV_SEG, sem_mov_seg},
	{X86_LES, sem_les},
	{X86_LDS, sem_lds},
	{X86_LSS, sem_lss},
	{X86_LFS, sem_lfs},
	{X86_LGS, sem_lgs},
	{X86_LLDT, sem_lldt},
	{X86_LTR, sem_ltr},
	{X86_SLDT, sem_sldt},
	{X86_STR, sem_str},
	{X86_LAR, sem_lar},
	{X86_LSL, sem_lsl},
	{X86_VERR, sem_verr},
	{X86_VERW, sem_verw},
	{X86_ARPL, sem_arpl},
	{X86_JMP_FAR, sem_jmp_far},
	{X86_CALL_FAR, sem_call_far},
	{X86_RET_FAR, sem_ret_far},
	{X86_IRET, sem_iret},
	{X86_SYSCALL, sem_syscall},
	{X86_SYSRET, sem_sysret},
	{X86_SYSENTER, sem_sysenter},
	{X86_SYSEXIT, sem_sysexit},
	{0, NULL},
};
