/* Delivery of interrupts and exceptions through the IVT, the IDT's gates and task gates (SDM 3A chapter 6),
 * and software interrupts in virtual-8086 mode (SDM 3A 20.3).
 */
#include "base/string.h"
#include "engine/interp/x86_64/lazy.h"
#include "engine/interp/x86_64/segment.h"

enum gate_type { GATE_TASK = 5, GATE_INT16 = 6, GATE_TRAP16 = 7, GATE_INT32 = 14, GATE_TRAP32 = 15 };

struct gate {
	uint16_t selector;
	uint64_t offset;
	uint8_t type, dpl, ist;
	bool present;
};

/* Error codes that name an IDT entry. */
static uint32_t idt_error(unsigned vector)
{
	return vector << 3 | 2;
}

static bool is_software(const struct cpu_event *event)
{
	return event->kind == EVENT_SOFTWARE;
}

/* Faults save RF so that the restarted instruction is not stopped by its breakpoint again (SDM 3B 17.3.1.1). */
static uint64_t saved_flags(struct cpu *cpu, const struct cpu_event *event)
{
	uint64_t flags = cpu_rflags(cpu);

	if (event->kind == EVENT_EXCEPTION && event->vector != X86_EXC_DF)
		flags |= X86_FLAG_RF;
	return flags;
}

static void deliver_real(struct cpu *cpu, const struct cpu_event *event)
{
	struct frame frame = {.ss = cpu->s.seg[X86_SS], .sp = cpu->s.gpr[X86_RSP], .mask = 0xffff, .size = 2};
	unsigned at = event->vector * 4u;
	uint64_t vector;

	if (at + 3 > cpu->s.idtr.limit)
		raise_error(cpu, X86_EXC_GP, idt_error(event->vector));
	vector = cpu_load_system(cpu, cpu->s.idtr.base + at, 4);
	frame.index = cpu->rights;
	frame_push(cpu, &frame, cpu_rflags(cpu) & 0xffff);
	frame_push(cpu, &frame, cpu->s.seg[X86_CS].selector);
	frame_push(cpu, &frame, cpu->s.rip & 0xffff);
	frame_store(cpu, &frame);
	cpu->s.gpr[X86_RSP] = frame.sp;
	cpu->s.rflags &= ~(uint64_t)(X86_FLAG_IF | X86_FLAG_TF | X86_FLAG_AC | X86_FLAG_RF);
	cpu_set_segment_real(cpu, X86_CS, (uint16_t)(vector >> 16));
	cpu->s.rip = vector & 0xffff;
	cpu_update_mode(cpu);
}

static struct gate read_gate(struct cpu *cpu, const struct cpu_event *event)
{
	unsigned size = cpu->long_mode ? 16 : 8;
	gva_t at = cpu->s.idtr.base + event->vector * size;
	struct gate gate;
	uint64_t low;

	if (event->vector * size + size - 1 > cpu->s.idtr.limit)
		raise_error(cpu, X86_EXC_GP, idt_error(event->vector));
	low = cpu_load_system(cpu, at, 8);
	gate = (struct gate){
		.selector = (uint16_t)(low >> 16),
		.offset = (low & 0xffff) | (low >> 32 & 0xffff0000),
		.type = low >> 40 & 31,
		.dpl = low >> 45 & 3,
		.present = low >> 47 & 1,
	};
	if (cpu->long_mode) {
		gate.ist = low >> 32 & 7;
		gate.offset |= (cpu_load_system(cpu, at + 8, 4) & 0xffffffff) << 32;
		if (gate.type != GATE_INT32 && gate.type != GATE_TRAP32)
			raise_error(cpu, X86_EXC_GP, idt_error(event->vector));
	} else if (gate.type == GATE_INT16 || gate.type == GATE_TRAP16) {
		gate.offset &= 0xffff;
	} else if (gate.type != GATE_TASK && gate.type != GATE_INT32 && gate.type != GATE_TRAP32) {
		raise_error(cpu, X86_EXC_GP, idt_error(event->vector));
	}
	if (is_software(event) && gate.dpl < cpu->cpl)
		raise_error(cpu, X86_EXC_GP, idt_error(event->vector));
	if (!gate.present)
		raise_error(cpu, X86_EXC_NP, idt_error(event->vector));
	return gate;
}

static void check_handler(struct cpu *cpu, const struct gate *gate, struct descriptor *code)
{
	if (selector_is_null(gate->selector))
		raise_error(cpu, X86_EXC_GP, 0);
	if (!descriptor_read(cpu, gate->selector, code) || !(code->ar & X86_AR_S) || !(code->ar & X86_AR_CODE) ||
	    X86_AR_DPL(code->ar) > cpu->cpl)
		raise_error(cpu, X86_EXC_GP, gate->selector & ~3u);
	if (cpu->long_mode && (!(code->ar & X86_AR_L) || (code->ar & X86_AR_DB)))
		raise_error(cpu, X86_EXC_GP, gate->selector & ~3u);
	if (!(code->ar & X86_AR_P))
		raise_error(cpu, X86_EXC_NP, gate->selector & ~3u);
}

/* The index for pushes at the new privilege level. */
static enum tlb_index frame_rights(const struct cpu *cpu, unsigned cpl)
{
	if (cpl == 3)
		return TLB_USER;
	return (cpu->s.cr4 & X86_CR4_SMAP) && !(cpu->s.rflags & X86_FLAG_AC) ? TLB_SUPERVISOR : TLB_SUPERVISOR_AC;
}

static void enter_handler(struct cpu *cpu, const struct cpu_event *event, const struct gate *gate,
			  struct descriptor *code, unsigned cpl)
{
	uint64_t clear = X86_FLAG_TF | X86_FLAG_NT | X86_FLAG_RF | X86_FLAG_VM;

	if (gate->type == GATE_INT16 || gate->type == GATE_INT32)
		clear |= X86_FLAG_IF;
	load_cs(cpu, gate->selector, code, cpl);
	cpu->s.rip = gate->offset;
	cpu->s.rflags &= ~clear;
	cpu_update_mode(cpu);
}

static void deliver_long(struct cpu *cpu, const struct cpu_event *event)
{
	struct gate gate = read_gate(cpu, event);
	struct frame frame = {.mask = ~0ull, .size = 8, .long_mode = true};
	struct descriptor code;
	unsigned cpl;
	uint64_t sp;

	check_handler(cpu, &gate, &code);
	cpl = code.ar & X86_AR_DOWN ? cpu->cpl : X86_AR_DPL(code.ar);
	if (gate.ist)
		sp = tss_stack64(cpu, 36 + 8 * (gate.ist - 1u));
	else if (cpl < cpu->cpl)
		sp = tss_stack64(cpu, 4 + 8 * cpl);
	else
		sp = cpu->s.gpr[X86_RSP];
	check_target(cpu, &code, gate.offset);

	frame.sp = sp & ~15ull;
	frame.index = frame_rights(cpu, cpl);
	frame_push(cpu, &frame, cpu->s.seg[X86_SS].selector);
	frame_push(cpu, &frame, cpu->s.gpr[X86_RSP]);
	frame_push(cpu, &frame, saved_flags(cpu, event));
	frame_push(cpu, &frame, cpu->s.seg[X86_CS].selector);
	frame_push(cpu, &frame, cpu->s.rip);
	if (event->has_error)
		frame_push(cpu, &frame, event->error);
	frame_store(cpu, &frame);

	if (cpl < cpu->cpl)
		cpu->s.seg[X86_SS] = (struct x86_segment){.selector = (uint16_t)cpl, .ar = X86_AR_UNUSABLE | cpl << 5};
	cpu->s.gpr[X86_RSP] = frame.sp;
	enter_handler(cpu, event, &gate, &code, cpl);
}

/* From virtual-8086 mode: the data segments go on the inner stack and become null. */
static void push_vm86_segments(struct cpu *cpu, struct frame *frame)
{
	frame_push(cpu, frame, cpu->s.seg[X86_GS].selector);
	frame_push(cpu, frame, cpu->s.seg[X86_FS].selector);
	frame_push(cpu, frame, cpu->s.seg[X86_DS].selector);
	frame_push(cpu, frame, cpu->s.seg[X86_ES].selector);
}

static void deliver_protected(struct cpu *cpu, const struct cpu_event *event)
{
	struct gate gate = read_gate(cpu, event);
	bool vm86 = cpu->s.rflags & X86_FLAG_VM;
	struct frame frame = {0};
	struct descriptor code, stack = {0};
	bool inner;
	unsigned cpl;

	if (gate.type == GATE_TASK) {
		cpu_task_switch(cpu, gate.selector, TASK_GATE, cpu->s.rip, event->has_error, event->error);
		return;
	}
	check_handler(cpu, &gate, &code);
	cpl = code.ar & X86_AR_DOWN ? cpu->cpl : X86_AR_DPL(code.ar);
	inner = cpl < cpu->cpl;
	if (vm86 && cpl != 0)
		raise_error(cpu, X86_EXC_GP, gate.selector & ~3u);
	if (inner) {
		uint16_t ss;

		tss_stack(cpu, cpl, &ss, &frame.sp);
		frame.ss = check_stack_segment(cpu, ss, cpl, X86_EXC_TS, &stack);
		frame.new_stack = true;
	} else {
		frame.ss = cpu->s.seg[X86_SS];
		frame.sp = cpu->s.gpr[X86_RSP];
	}
	check_target(cpu, &code, gate.offset);

	frame.mask = frame.ss.ar & X86_AR_DB ? 0xffffffffull : 0xffff;
	frame.size = gate.type == GATE_INT32 || gate.type == GATE_TRAP32 ? 4 : 2;
	frame.index = frame_rights(cpu, cpl);
	if (vm86)
		push_vm86_segments(cpu, &frame);
	if (inner) {
		frame_push(cpu, &frame, cpu->s.seg[X86_SS].selector);
		frame_push(cpu, &frame, cpu->s.gpr[X86_RSP]);
	}
	frame_push(cpu, &frame, saved_flags(cpu, event));
	frame_push(cpu, &frame, cpu->s.seg[X86_CS].selector);
	frame_push(cpu, &frame, cpu->s.rip);
	if (event->has_error)
		frame_push(cpu, &frame, event->error);
	frame_store(cpu, &frame);

	if (inner) {
		descriptor_set_accessed(cpu, &stack);
		frame.ss.ar |= X86_AR_ACCESSED;
		cpu->s.seg[X86_SS] = frame.ss;
		cpu->s.gpr[X86_RSP] = frame.sp & frame.mask;
	} else {
		cpu->s.gpr[X86_RSP] = frame.sp;
	}
	if (vm86) {
		static const uint8_t data_segments[] = {X86_ES, X86_DS, X86_FS, X86_GS};

		for (unsigned i = 0; i < ARRAY_SIZE(data_segments); i++)
			cpu->s.seg[data_segments[i]] = (struct x86_segment){.ar = X86_AR_UNUSABLE};
	}
	enter_handler(cpu, event, &gate, &code, cpl);
}

void cpu_deliver_event(struct cpu *cpu, const struct cpu_event *event)
{
	if (event->vector == X86_EXC_DB && event->kind != EVENT_SOFTWARE)
		cpu->s.dr7 &= ~(1ull << 13); /* GD */
	if (!(cpu->s.cr0 & X86_CR0_PE))
		deliver_real(cpu, event);
	else if (cpu->long_mode)
		deliver_long(cpu, event);
	else
		deliver_protected(cpu, event);
}

/* ---- INT n ---- */

/* SDM 3A table 20-2: INT n in virtual-8086 mode with VME may go to the 8086 program's own handler. */
static bool vm86_redirected(struct cpu *cpu, unsigned vector)
{
	const struct x86_segment *tr = &cpu->s.tr;
	uint64_t map, byte;

	if (!(cpu->s.cr4 & X86_CR4_VME) || tr->limit < 103)
		return false;
	map = cpu_load_system(cpu, tr->base + 102, 2);
	byte = map - 32 + vector / 8;
	if (map < 32 || byte > tr->limit)
		return false;
	return !(cpu_load_system(cpu, tr->base + byte, 1) >> (vector & 7) & 1);
}

static void vm86_deliver(struct cpu *cpu, unsigned vector, uint64_t next)
{
	struct frame frame = {.ss = cpu->s.seg[X86_SS],
			      .sp = cpu->s.gpr[X86_RSP],
			      .mask = 0xffff,
			      .size = 2,
			      .index = TLB_USER};
	bool virtual_if = (cpu->s.rflags & X86_FLAG_IOPL) != X86_FLAG_IOPL;
	uint64_t flags = cpu_rflags(cpu);
	uint64_t target;

	cpu_load_linear(cpu, vector * 4, &target, 4, TLB_USER, X86_DS);
	target &= 0xffffffffull;
	if (virtual_if)
		flags = (flags & ~(uint64_t)X86_FLAG_IF) | X86_FLAG_IOPL |
			(flags & X86_FLAG_VIF ? X86_FLAG_IF : 0);
	frame_push(cpu, &frame, flags & 0xffff);
	frame_push(cpu, &frame, cpu->s.seg[X86_CS].selector);
	frame_push(cpu, &frame, next & 0xffff);
	frame_store(cpu, &frame);
	cpu->s.gpr[X86_RSP] = frame.sp;
	cpu->s.rflags &= ~(uint64_t)(X86_FLAG_TF | X86_FLAG_NT | X86_FLAG_AC | X86_FLAG_RF |
				     (virtual_if ? X86_FLAG_VIF : X86_FLAG_IF));
	cpu_set_segment_real(cpu, X86_CS, (uint16_t)(target >> 16));
	cpu->s.rip = target & 0xffff;
	cpu_update_mode(cpu);
}

void cpu_interrupt(struct cpu *cpu, const struct x86_insn *insn, unsigned vector, enum cpu_event_kind kind)
{
	uint64_t next = sem_next_rip(cpu, insn), rip = cpu->s.rip;

	if ((cpu->s.rflags & X86_FLAG_VM) && insn->op == X86_INT) {
		if (vm86_redirected(cpu, vector)) {
			vm86_deliver(cpu, vector, next);
			cpu_restart(cpu);
		}
		if ((cpu->s.rflags & X86_FLAG_IOPL) != X86_FLAG_IOPL)
			raise_error(cpu, X86_EXC_GP, 0);
	}

	/* Checks first, with rip at the instruction: a fault of the delivery belongs to it. The frame needs the next
	 * rip; every check that can fault precedes the frame's store, which is probed inside frame_store as a
	 * whole, so rip is put back if it does. */
	cpu->event = (struct cpu_event){.kind = kind, .vector = (uint8_t)vector};
	cpu->delivering = (int)vector;
	cpu->delivering_exception = false;
	cpu->fault_rip = rip;
	cpu->fault_rip_valid = true;
	cpu->s.rip = next;
	cpu_deliver_event(cpu, &cpu->event);
	cpu->fault_rip_valid = false;
	cpu->delivering = -1;
	cpu_restart(cpu);
}
