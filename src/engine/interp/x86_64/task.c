/* Task switches (SDM 3A 7.3), 16- and 32-bit TSSs; and loading the task register. Not in IA-32e mode, where only
 * LTR remains.
 */
#include "base/string.h"
#include "engine/interp/x86_64/segment.h"

enum tss_type { TSS16 = 1, TSS16_BUSY = 3, TSS32 = 9, TSS32_BUSY = 11 };

/* Where things lie in a TSS: one row a format. */
struct tss_layout {
	uint8_t word;    /* register size */
	uint8_t ip, flags, gpr, segs, seg_stride, ldt, cr3, size, seg_count;
};
static const struct tss_layout layout16 = {2, 14, 16, 18, 34, 2, 42, 0, 44, 4};
static const struct tss_layout layout32 = {4, 32, 36, 40, 72, 4, 96, 28, 104, 6};

struct new_task {
	uint64_t ip, flags, cr3;
	uint64_t gpr[8];
	uint16_t segs[6], ldt;
};

static void set_busy(struct cpu *cpu, const struct descriptor *d, bool busy)
{
	uint64_t byte = d->raw >> 40 & 0xff;

	cpu_store_system(cpu, d->address + 5, 1, busy ? byte | 2 : byte & ~2ull);
}

static void save_old(struct cpu *cpu, const struct tss_layout *layout, uint64_t next_rip, uint64_t flags)
{
	gva_t base = cpu->s.tr.base;

	cpu_store_system(cpu, base + layout->ip, layout->word, next_rip);
	cpu_store_system(cpu, base + layout->flags, layout->word, flags);
	for (unsigned i = 0; i < 8; i++)
		cpu_store_system(cpu, base + layout->gpr + i * layout->word, layout->word, cpu->s.gpr[i]);
	for (unsigned i = 0; i < layout->seg_count; i++)
		cpu_store_system(cpu, base + layout->segs + i * layout->seg_stride, 2, cpu->s.seg[i].selector);
}

static struct new_task read_new(struct cpu *cpu, const struct tss_layout *layout, gva_t base)
{
	struct new_task task = {0};

	task.ip = cpu_load_system(cpu, base + layout->ip, layout->word);
	task.flags = cpu_load_system(cpu, base + layout->flags, layout->word);
	for (unsigned i = 0; i < 8; i++)
		task.gpr[i] = cpu_load_system(cpu, base + layout->gpr + i * layout->word, layout->word);
	for (unsigned i = 0; i < layout->seg_count; i++)
		task.segs[i] = (uint16_t)cpu_load_system(cpu, base + layout->segs + i * layout->seg_stride, 2);
	task.ldt = (uint16_t)cpu_load_system(cpu, base + layout->ldt, 2);
	if (layout->cr3)
		task.cr3 = cpu_load_system(cpu, base + layout->cr3, 4);
	return task;
}

/* In the new task every bad selector is #TS. */
static void load_new_segments(struct cpu *cpu, const struct new_task *task)
{
	static const uint8_t data_segments[] = {X86_ES, X86_DS, X86_FS, X86_GS};
	struct descriptor d;

	if (task->ldt & ~3u) {
		if ((task->ldt & 4) || !descriptor_read(cpu, task->ldt, &d) || (d.ar & 0x1f) != 2 || !(d.ar & X86_AR_P))
			raise_error(cpu, X86_EXC_TS, task->ldt & ~3u);
		cpu->s.ldtr = descriptor_segment(task->ldt, &d);
	}
	if (cpu->s.rflags & X86_FLAG_VM) {
		for (unsigned i = 0; i < X86_SEG_COUNT; i++)
			cpu_set_segment_real(cpu, i, task->segs[i]);
		cpu_update_mode(cpu);
		return;
	}

	uint16_t cs = task->segs[X86_CS];
	unsigned cpl = cs & 3;

	if (selector_is_null(cs) || !descriptor_read(cpu, cs, &d) || !(d.ar & X86_AR_S) || !(d.ar & X86_AR_CODE) ||
	    (d.ar & X86_AR_DOWN ? X86_AR_DPL(d.ar) > cpl : X86_AR_DPL(d.ar) != cpl))
		raise_error(cpu, X86_EXC_TS, cs & ~3u);
	if (!(d.ar & X86_AR_P))
		raise_error(cpu, X86_EXC_NP, cs & ~3u);
	load_cs(cpu, cs, &d, cpl);
	cpu->s.seg[X86_SS].ar = (cpu->s.seg[X86_SS].ar & ~(3u << 5)) | cpl << 5;
	cpu->cpl = (uint8_t)cpl;
	cpu->s.seg[X86_SS] = check_stack_segment(cpu, task->segs[X86_SS], cpl, X86_EXC_TS, &d);
	descriptor_set_accessed(cpu, &d);
	for (unsigned i = 0; i < ARRAY_SIZE(data_segments); i++) {
		unsigned seg = data_segments[i];
		uint16_t selector = task->segs[seg];

		cpu->s.seg[seg] = (struct x86_segment){.selector = selector, .ar = X86_AR_UNUSABLE};
		if (selector_is_null(selector))
			continue;
		if (!descriptor_read(cpu, selector, &d) || !(d.ar & X86_AR_S) ||
		    ((d.ar & X86_AR_CODE) && !(d.ar & X86_AR_WRITABLE)) ||
		    (!((d.ar & X86_AR_CODE) && (d.ar & X86_AR_DOWN)) &&
		     ((selector & 3u) > X86_AR_DPL(d.ar) || cpl > X86_AR_DPL(d.ar))))
			raise_error(cpu, X86_EXC_TS, selector & ~3u);
		if (!(d.ar & X86_AR_P))
			raise_error(cpu, X86_EXC_NP, selector & ~3u);
		descriptor_set_accessed(cpu, &d);
		cpu->s.seg[seg] = descriptor_segment(selector, &d);
	}
	cpu_update_mode(cpu);
}

void cpu_task_switch(struct cpu *cpu, uint16_t selector, enum task_switch reason, uint64_t next_rip, bool has_error,
		     uint32_t error)
{
	unsigned vector = reason == TASK_IRET || reason == TASK_GATE ? X86_EXC_TS : X86_EXC_GP;
	const struct tss_layout *old_layout = X86_AR_TYPE(cpu->s.tr.ar) & 8 ? &layout32 : &layout16, *layout;
	uint64_t flags = cpu_rflags(cpu);
	uint16_t old_tr = cpu->s.tr.selector;
	struct descriptor d, old;
	struct new_task task;
	unsigned type;

	if ((selector & 4) || selector_is_null(selector) || !descriptor_read(cpu, selector, &d))
		raise_error(cpu, vector, selector & ~3u);
	type = d.ar & 0x1f;
	if (reason == TASK_IRET ? type != TSS16_BUSY && type != TSS32_BUSY : type != TSS16 && type != TSS32)
		raise_error(cpu, vector, selector & ~3u);
	if (!(d.ar & X86_AR_P))
		raise_error(cpu, X86_EXC_NP, selector & ~3u);
	layout = type & 8 ? &layout32 : &layout16;

	struct x86_segment tr = descriptor_segment(selector, &d);

	if (tr.limit < layout->size - 1u)
		raise_error(cpu, X86_EXC_TS, selector & ~3u);
	task = read_new(cpu, layout, tr.base);

	if (reason == TASK_IRET)
		flags &= ~(uint64_t)X86_FLAG_NT;
	save_old(cpu, old_layout, next_rip, flags);
	if (reason != TASK_CALL && reason != TASK_GATE && descriptor_read(cpu, old_tr, &old))
		set_busy(cpu, &old, false);
	if (reason != TASK_IRET)
		set_busy(cpu, &d, true);
	if (reason == TASK_CALL || reason == TASK_GATE)
		cpu_store_system(cpu, tr.base, 2, old_tr);

	/* The switch is made; what fails from here fails in the new task. */
	tr.ar |= 2;
	cpu->s.tr = tr;
	cpu->s.cr0 |= X86_CR0_TS;
	if (layout->cr3 && (cpu->s.cr0 & X86_CR0_PG))
		cpu_set_cr3(cpu, task.cr3);
	cpu->s.rip = task.ip;
	cpu_set_rflags(cpu, task.flags | (reason == TASK_CALL || reason == TASK_GATE ? X86_FLAG_NT : 0));
	for (unsigned i = 0; i < 8; i++)
		cpu->s.gpr[i] = layout->word == 2 ? task.gpr[i] | 0xffff0000u : task.gpr[i];
	cpu->s.dr7 &= ~0x155ull; /* local breakpoints */
	cpu->s.ldtr = (struct x86_segment){.selector = task.ldt, .ar = X86_AR_UNUSABLE};
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		cpu->s.seg[i].selector = task.segs[i];
	cpu->fault_rip_valid = false;
	load_new_segments(cpu, &task);
	if (has_error)
		cpu_push(cpu, layout->word, error);
	if (cpu->s.rip > cpu->s.seg[X86_CS].limit)
		raise_error(cpu, X86_EXC_GP, 0);
	if (layout == &layout32 && (cpu_load_system(cpu, tr.base + 100, 2) & 1))
		cpu->db_pending |= 1ull << 15; /* DR6.BT */
	cpu_update_mode(cpu);
}
