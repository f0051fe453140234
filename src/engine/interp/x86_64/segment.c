/* Segment registers and descriptors (SDM 3A chapters 3 and 5): loads with all checks, and the helpers that far
 * transfers and event delivery share.
 */
#include "engine/interp/x86_64/segment.h"

#define SELECTOR_RPL(selector) ((selector) & 3u)
#define SELECTOR_TI(selector)  ((selector) & 4u)

bool selector_is_null(uint16_t selector)
{
	return !(selector & ~3u);
}

bool descriptor_read(struct cpu *cpu, uint16_t selector, struct descriptor *out)
{
	uint64_t base = SELECTOR_TI(selector) ? cpu->s.ldtr.base : cpu->s.gdtr.base;
	uint32_t limit = SELECTOR_TI(selector) ? cpu->s.ldtr.limit : cpu->s.gdtr.limit;

	if (SELECTOR_TI(selector) && ((cpu->s.ldtr.ar & X86_AR_UNUSABLE) || selector_is_null(cpu->s.ldtr.selector)))
		return false;
	if ((selector & ~7u) + 7 > limit)
		return false;
	out->address = base + (selector & ~7u);
	out->raw = cpu_load_system(cpu, out->address, 8);
	out->ar = (uint32_t)(out->raw >> 40) & 0xf0ff;
	return true;
}

bool descriptor_read_high(struct cpu *cpu, uint16_t selector, const struct descriptor *low, uint64_t *high)
{
	uint32_t limit = SELECTOR_TI(selector) ? cpu->s.ldtr.limit : cpu->s.gdtr.limit;

	if ((selector & ~7u) + 15 > limit)
		return false;
	*high = cpu_load_system(cpu, low->address + 8, 8);
	return true;
}

struct x86_segment descriptor_segment(uint16_t selector, const struct descriptor *d)
{
	uint32_t limit = (uint32_t)(d->raw & 0xffff) | (uint32_t)(d->raw >> 32 & 0xf0000);

	if (d->ar & X86_AR_G)
		limit = limit << 12 | 0xfff;
	return (struct x86_segment){
		.selector = selector,
		.base = (d->raw >> 16 & 0xffffff) | (d->raw >> 32 & 0xff000000),
		.limit = limit,
		.ar = d->ar,
	};
}

void descriptor_set_accessed(struct cpu *cpu, struct descriptor *d)
{
	if (d->ar & X86_AR_ACCESSED)
		return;
	d->ar |= X86_AR_ACCESSED;
	d->raw |= 1ull << 40;
	cpu_store_system(cpu, d->address + 5, 1, d->raw >> 40 & 0xff);
}

void cpu_set_segment_real(struct cpu *cpu, unsigned seg, uint16_t selector)
{
	struct x86_segment *segment = &cpu->s.seg[seg];

	segment->selector = selector;
	segment->base = (uint64_t)selector << 4;
	if (cpu->s.rflags & X86_FLAG_VM) {
		segment->limit = 0xffff;
		segment->ar = X86_AR_P | X86_AR_S | 3u << 5 | X86_AR_WRITABLE | X86_AR_ACCESSED;
	} else if (segment->ar & X86_AR_UNUSABLE || seg == X86_CS) {
		segment->ar = X86_AR_P | X86_AR_S | X86_AR_WRITABLE | X86_AR_ACCESSED |
			      (seg == X86_CS ? X86_AR_CODE : 0);
		if (segment->limit == 0)
			segment->limit = 0xffff;
	}
}

static void load_null(struct cpu *cpu, unsigned seg, uint16_t selector)
{
	struct x86_segment *segment = &cpu->s.seg[seg];

	segment->selector = selector;
	segment->base = 0;
	segment->limit = 0;
	segment->ar = X86_AR_UNUSABLE;
	if (seg == X86_SS) /* CPL lives in SS.DPL, also when SS is null (64-bit mode) */
		segment->ar |= (uint32_t)cpu->cpl << 5;
}

static void load_ss(struct cpu *cpu, uint16_t selector)
{
	struct descriptor d;

	if (selector_is_null(selector)) {
		if (cpu->mode != X86_MODE_64 || cpu->cpl == 3 || SELECTOR_RPL(selector) != cpu->cpl)
			raise_error(cpu, X86_EXC_GP, 0);
		load_null(cpu, X86_SS, selector);
		return;
	}
	if (!descriptor_read(cpu, selector, &d) || SELECTOR_RPL(selector) != cpu->cpl || !(d.ar & X86_AR_S) ||
	    (d.ar & X86_AR_CODE) || !(d.ar & X86_AR_WRITABLE) || X86_AR_DPL(d.ar) != cpu->cpl)
		raise_error(cpu, X86_EXC_GP, selector & ~3u);
	if (!(d.ar & X86_AR_P))
		raise_error(cpu, X86_EXC_SS, selector & ~3u);
	descriptor_set_accessed(cpu, &d);
	cpu->s.seg[X86_SS] = descriptor_segment(selector, &d);
}

void cpu_load_segment(struct cpu *cpu, unsigned seg, uint16_t selector)
{
	struct descriptor d;

	if (!(cpu->s.cr0 & X86_CR0_PE) || (cpu->s.rflags & X86_FLAG_VM)) {
		cpu_set_segment_real(cpu, seg, selector);
		cpu_update_mode(cpu);
		return;
	}
	if (seg == X86_SS) {
		load_ss(cpu, selector);
		cpu_update_mode(cpu);
		return;
	}
	if (selector_is_null(selector)) {
		load_null(cpu, seg, selector);
		return;
	}
	if (!descriptor_read(cpu, selector, &d) || !(d.ar & X86_AR_S) ||
	    ((d.ar & X86_AR_CODE) && !(d.ar & X86_AR_WRITABLE)))
		raise_error(cpu, X86_EXC_GP, selector & ~3u);
	/* Data and non-conforming code: both RPL and CPL must be allowed. */
	if (!((d.ar & X86_AR_CODE) && (d.ar & X86_AR_DOWN)) &&
	    (SELECTOR_RPL(selector) > X86_AR_DPL(d.ar) || cpu->cpl > X86_AR_DPL(d.ar)))
		raise_error(cpu, X86_EXC_GP, selector & ~3u);
	if (!(d.ar & X86_AR_P))
		raise_error(cpu, X86_EXC_NP, selector & ~3u);
	descriptor_set_accessed(cpu, &d);
	cpu->s.seg[seg] = descriptor_segment(selector, &d);
}

/* ---- stack ---- */

uint64_t cpu_stack_mask(const struct cpu *cpu)
{
	if (cpu->mode == X86_MODE_64)
		return ~0ull;
	return cpu->stack32 ? 0xffffffffull : 0xffff;
}

void cpu_push(struct cpu *cpu, unsigned size, uint64_t value)
{
	uint64_t mask = cpu_stack_mask(cpu);
	uint64_t sp = (cpu->s.gpr[X86_RSP] - size) & mask;

	sem_store_int(cpu, X86_SS, sp, size, value);
	cpu->s.gpr[X86_RSP] = (cpu->s.gpr[X86_RSP] & ~mask) | sp;
}

uint64_t stack_peek(struct cpu *cpu, unsigned depth, unsigned size)
{
	uint64_t sp = (cpu->s.gpr[X86_RSP] + depth) & cpu_stack_mask(cpu);

	return sem_load_int(cpu, X86_SS, sp, size);
}

void stack_drop(struct cpu *cpu, uint64_t bytes)
{
	uint64_t mask = cpu_stack_mask(cpu);

	cpu->s.gpr[X86_RSP] = (cpu->s.gpr[X86_RSP] & ~mask) | ((cpu->s.gpr[X86_RSP] + bytes) & mask);
}

/* ---- what a change of CPL or a far transfer needs ---- */

struct x86_segment flat_segment(uint16_t selector, uint32_t ar)
{
	return (struct x86_segment){.selector = selector,
				    .limit = 0xffffffffu,
				    .ar = ar | X86_AR_P | X86_AR_S | X86_AR_ACCESSED | X86_AR_G};
}

void check_code_descriptor(struct cpu *cpu, uint16_t selector, struct descriptor *d, enum code_check check)
{
	unsigned rpl = SELECTOR_RPL(selector), dpl;

	if (selector_is_null(selector))
		raise_error(cpu, X86_EXC_GP, 0);
	if (!descriptor_read(cpu, selector, d) || !(d->ar & X86_AR_S) || !(d->ar & X86_AR_CODE))
		raise_error(cpu, X86_EXC_GP, selector & ~3u);
	if (cpu->long_mode && (d->ar & X86_AR_L) && (d->ar & X86_AR_DB))
		raise_error(cpu, X86_EXC_GP, selector & ~3u);
	dpl = X86_AR_DPL(d->ar);
	switch (check) {
	case CODE_JUMP: /* same privilege, or conforming and at least as privileged */
		if (d->ar & X86_AR_DOWN ? dpl > cpu->cpl : rpl > cpu->cpl || dpl != cpu->cpl)
			raise_error(cpu, X86_EXC_GP, selector & ~3u);
		break;
	case CODE_RETURN: /* to rpl, never inwards */
		if (rpl < cpu->cpl || (d->ar & X86_AR_DOWN ? dpl > rpl : dpl != rpl))
			raise_error(cpu, X86_EXC_GP, selector & ~3u);
		break;
	case CODE_GATE: /* inwards or level */
		if (dpl > cpu->cpl)
			raise_error(cpu, X86_EXC_GP, selector & ~3u);
		break;
	}
	if (!(d->ar & X86_AR_P))
		raise_error(cpu, X86_EXC_NP, selector & ~3u);
}

void check_target(struct cpu *cpu, const struct descriptor *d, uint64_t target)
{
	struct x86_segment segment = descriptor_segment(0, d);

	if (cpu->long_mode && (d->ar & X86_AR_L)) {
		if (!canonical(target))
			raise_error(cpu, X86_EXC_GP, 0);
	} else if ((target & 0xffffffffull) > segment.limit) {
		raise_error(cpu, X86_EXC_GP, 0);
	}
}

void load_cs(struct cpu *cpu, uint16_t selector, struct descriptor *d, unsigned cpl)
{
	descriptor_set_accessed(cpu, d);
	cpu->s.seg[X86_CS] = descriptor_segment((uint16_t)((selector & ~3u) | cpl), d);
}

/* SDM 2A RET: data segments that the outer level may not use become null. */
void drop_inner_segments(struct cpu *cpu, unsigned cpl)
{
	static const uint8_t data_segments[] = {X86_ES, X86_DS, X86_FS, X86_GS};

	for (unsigned i = 0; i < ARRAY_SIZE(data_segments); i++) {
		struct x86_segment *segment = &cpu->s.seg[data_segments[i]];
		bool conforming = (segment->ar & X86_AR_CODE) && (segment->ar & X86_AR_DOWN);

		if (!(segment->ar & X86_AR_UNUSABLE) && !conforming && X86_AR_DPL(segment->ar) < cpl)
			*segment = (struct x86_segment){.ar = X86_AR_UNUSABLE};
	}
}

void tss_stack(struct cpu *cpu, unsigned level, uint16_t *ss, uint64_t *sp)
{
	const struct x86_segment *tr = &cpu->s.tr;
	bool tss32 = X86_AR_TYPE(tr->ar) & 8;
	unsigned at = tss32 ? 4 + 8 * level : 2 + 4 * level;

	if (at + (tss32 ? 5u : 3u) > tr->limit)
		raise_error(cpu, X86_EXC_TS, tr->selector & ~3u);
	*sp = cpu_load_system(cpu, tr->base + at, tss32 ? 4 : 2);
	*ss = (uint16_t)cpu_load_system(cpu, tr->base + at + (tss32 ? 4 : 2), 2);
}

uint64_t tss_stack64(struct cpu *cpu, unsigned offset)
{
	const struct x86_segment *tr = &cpu->s.tr;
	uint64_t sp;

	if (offset + 7 > tr->limit)
		raise_error(cpu, X86_EXC_TS, tr->selector & ~3u);
	sp = cpu_load_system(cpu, tr->base + offset, 8);
	if (!canonical(sp))
		raise_error(cpu, X86_EXC_SS, 0);
	return sp;
}

struct x86_segment check_stack_segment(struct cpu *cpu, uint16_t ss, unsigned cpl, unsigned vector, struct descriptor *d)
{
	if (selector_is_null(ss))
		raise_error(cpu, vector, 0);
	if (!descriptor_read(cpu, ss, d) || SELECTOR_RPL(ss) != cpl || X86_AR_DPL(d->ar) != cpl || !(d->ar & X86_AR_S) ||
	    (d->ar & X86_AR_CODE) || !(d->ar & X86_AR_WRITABLE))
		raise_error(cpu, vector, ss & ~3u);
	if (!(d->ar & X86_AR_P))
		raise_error(cpu, X86_EXC_SS, ss & ~3u);
	return descriptor_segment(ss, d);
}

void frame_push(struct cpu *cpu, struct frame *frame, uint64_t value)
{
	frame->values[frame->count++] = value;
}

void frame_store(struct cpu *cpu, struct frame *frame)
{
	const struct x86_segment *ss = &frame->ss;
	unsigned total = frame->count * frame->size;
	uint64_t sp = (frame->sp - total) & frame->mask;
	uint8_t bytes[16 * 8];

	for (unsigned i = 0; i < frame->count; i++) {
		uint64_t value = frame->values[frame->count - 1 - i];

		for (unsigned b = 0; b < frame->size; b++)
			bytes[i * frame->size + b] = (uint8_t)(value >> 8 * b);
	}
	if (!frame->long_mode) {
		/* SDM 3A 6.12.1: no room in the new stack is #SS with its selector. */
		bool down = ss->ar & X86_AR_DOWN;
		uint64_t top = ss->ar & X86_AR_DB ? 0xffffffffull : 0xffff;

		if (down ? sp <= ss->limit || sp + total - 1 > top : sp + total - 1 > ss->limit)
			raise_error(cpu, X86_EXC_SS, frame->new_stack ? ss->selector & ~3u : 0);
		cpu_store_linear(cpu, (ss->base + sp) & 0xffffffffull, bytes, total, frame->index, X86_SS);
	} else {
		cpu_store_linear(cpu, sp, bytes, total, frame->index, X86_SS);
	}
	frame->sp = (frame->sp & ~frame->mask) | sp;
}
