/* The interpreter's side of the oracle. See guest.h.
 *
 * Guest-physical memory:
 *     0x0000  page tables         0x20000  code (2 pages)         0x30000  data (3 pages)
 */
#include "tests/oracle/guest_state.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PTE_P  (1ull << 0)
#define PTE_W  (1ull << 1)
#define PTE_U  (1ull << 2)
#define PTE_NX (1ull << 63)

/* ---- page tables ---- */

static uint64_t *table_at(struct guest *guest, uint64_t gpa)
{
	return (uint64_t *)(guest->ram + gpa);
}

uint64_t *guest_pte(struct guest *guest, uint64_t gva)
{
	uint64_t table = 0;

	for (int level = 3; level > 0; level--) {
		uint64_t *entry = &table_at(guest, table)[gva >> (12 + 9 * level) & 511];

		if (!*entry) {
			*entry = guest->next_table | PTE_P | PTE_W | PTE_U;
			guest->next_table += PAGE_SIZE;
		}
		table = *entry & PAGE_MASK;
	}
	return &table_at(guest, table)[gva >> 12 & 511];
}

static void map_page(struct guest *guest, uint64_t gva, uint64_t gpa, uint64_t flags)
{
	*guest_pte(guest, gva) = gpa | flags | PTE_P | PTE_U;
}

static void map_data(struct guest *guest, uint64_t gva)
{
	for (uint64_t at = 0; at < DATA_SIZE; at += PAGE_SIZE)
		map_page(guest, gva + at, DATA_GPA + at, PTE_NX | (at < DATA_WRITABLE ? PTE_W : 0));
}

static void map_all(struct guest *guest)
{
	guest->next_table = PAGE_SIZE;
	for (uint64_t at = 0; at < CODE_SIZE; at += PAGE_SIZE) {
		map_page(guest, guest->code_base + at, CODE_GPA + at, 0);
		map_page(guest, LOW_CODE + at, CODE_GPA + at, 0);
	}
	map_data(guest, guest->code_base + HIGH_DATA_DELTA);
	map_data(guest, LOW_DATA);
}

/* ---- the processor ---- */

static struct x86_segment flat(uint16_t selector, uint32_t ar)
{
	return (struct x86_segment){.limit = 0xffffffff, .ar = ar, .selector = selector};
}

/* As Linux has its processes. */
static void user_mode(struct x86_state *s)
{
	const uint32_t null = X86_AR_UNUSABLE;

	s->cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM |
		 X86_CR0_PG;
	s->cr3 = 0;
	s->cr4 = X86_CR4_PAE | X86_CR4_PGE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE |
		 X86_CR4_FSGSBASE | X86_CR4_UMIP;
	s->efer = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
	s->xcr0 = 7;
	s->tr.limit = 0x66; /* no I/O permission bitmap */
	s->seg[X86_SS] = s->seg[X86_DS] = s->seg[X86_ES] = flat(0x2b, 0xc0f3);
	s->seg[X86_FS] = s->seg[X86_GS] = flat(0, null);
}

void guest_set_mode(struct guest *guest, bool wide)
{
	guest->cpu->s.seg[X86_CS] = wide ? flat(0x33, 0xa0fb) : flat(0x23, 0xc0fb);
	cpu_update_mode(guest->cpu);
}

struct guest *guest_create(uint64_t code_base, const struct engine_ops *engine)
{
	struct guest *guest = aligned_alloc(64, (sizeof(*guest) + 63) & ~63ul);
	char why[200] = "no memory";

	if (!guest)
		return NULL;
	memset(guest, 0, sizeof(*guest));
	guest->code_base = code_base;
	/* Shared: an engine may map it again. */
	guest->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (guest->ram == MAP_FAILED) {
		guest->ram = NULL;
		goto fail;
	}
	map_all(guest);
	if (mem_add_slot(&guest->vm.mem, 0, RAM_SIZE, guest->ram, false) < 0)
		goto fail;
	x86_cpuid_build(&guest->cpuid, 1, 2000000000);
	guest->vm.cpuid = &guest->cpuid;
	guest->vm.engine = engine;
	if (engine->cpuid_filter)
		engine->cpuid_filter(&guest->vm);
	guest->vm.vcpu_count = 1;
	guest->vm.vcpus[0] = &guest->vcpu;
	guest->vcpu.vm = &guest->vm;
	if (engine->vm_init(&guest->vm, why, sizeof(why)) < 0 ||
	    engine->vcpu_init(&guest->vcpu, why, sizeof(why)) < 0)
		goto fail;
	guest->cpu = guest->vcpu.engine_vcpu;
	guest->cpu->exit = &guest->exit;
	user_mode(&guest->cpu->s);
	guest_set_mode(guest, true);
	cpu_flush(guest->cpu);
	return guest;

fail:
	fprintf(stderr, "oracle: %s\n", why);
	guest_destroy(guest);
	return NULL;
}

void guest_destroy(struct guest *guest)
{
	if (!guest)
		return;
	if (guest->vcpu.engine_vcpu)
		guest->vm.engine->vcpu_destroy(&guest->vcpu);
	if (guest->vm.engine_vm)
		guest->vm.engine->vm_destroy(&guest->vm);
	mem_destroy(&guest->vm.mem);
	if (guest->ram)
		munmap(guest->ram, RAM_SIZE);
	free(guest);
}

uint8_t *guest_data(struct guest *guest)
{
	return guest->ram + DATA_GPA;
}

bool guest_offers(const struct guest *guest, unsigned feature)
{
	return guest->cpuid.features[feature];
}

bool guest_knows(const struct guest *guest, unsigned op)
{
	return guest->cpu->shared->functions[op];
}

void guest_place(struct guest *guest, const uint8_t *bytes, unsigned length, unsigned offset)
{
	memcpy(guest->ram + CODE_GPA + offset, bytes, length);
	mem_mark_written(&guest->vm.mem, CODE_GPA + offset, length);
}

/* ---- state in and out ---- */

static void load_fpu(struct x86_fpu *fpu, const struct xsave_image *x)
{
	unsigned top = x->fsw >> 11 & 7;

	fpu->fcw = x->fcw;
	fpu->fsw = x->fsw;
	fpu->ftw = x->ftw;
	fpu->fop = x->fop;
	fpu->fip = x->fip;
	fpu->fdp = x->fdp;
	fpu->fcs = fpu->fds = 0;
	fpu->mxcsr = x->mxcsr;
	for (unsigned i = 0; i < 8; i++) {
		struct x86_float80 *r = &fpu->r[(top + i) & 7];

		memcpy(&r->mantissa, x->st[i], 8);
		memcpy(&r->exponent, x->st[i] + 8, 2);
	}
	for (unsigned i = 0; i < 16; i++) {
		memcpy(fpu->ymm[i].u8, x->xmm[i], 16);
		memcpy(fpu->ymm[i].u8 + 16, x->ymmh[i], 16);
	}
}

static void save_fpu(const struct x86_fpu *fpu, struct xsave_image *x)
{
	unsigned top = fpu->fsw >> 11 & 7;

	x->fcw = fpu->fcw;
	x->fsw = fpu->fsw;
	x->ftw = fpu->ftw;
	x->fop = fpu->fop;
	x->fip = fpu->fip;
	x->fdp = fpu->fdp;
	x->mxcsr = fpu->mxcsr;
	for (unsigned i = 0; i < 8; i++) {
		const struct x86_float80 *r = &fpu->r[(top + i) & 7];

		memcpy(x->st[i], &r->mantissa, 8);
		memcpy(x->st[i] + 8, &r->exponent, 2);
	}
	for (unsigned i = 0; i < 16; i++) {
		memcpy(x->xmm[i], fpu->ymm[i].u8, 16);
		memcpy(x->ymmh[i], fpu->ymm[i].u8 + 16, 16);
	}
}

void guest_load(struct cpu *cpu, const struct machine *in)
{
	memcpy(cpu->s.gpr, in->gpr, sizeof(in->gpr));
	cpu->s.rip = in->rip;
	cpu->s.seg[X86_FS].base = in->fs_base;
	cpu->s.seg[X86_GS].base = in->gs_base;
	load_fpu(&cpu->s.fpu, &in->x);
	cpu_set_rflags(cpu, in->rflags);
	cpu->leave = LEAVE_NONE;
	cpu->delivering = -1;
	cpu->shadow_rip = ~0ull;
	cpu->replay_count = cpu->replay_pos = 0;
	cpu->smc = false;
}

void guest_save(struct cpu *cpu, struct machine *out)
{
	memcpy(out->gpr, cpu->s.gpr, sizeof(out->gpr));
	out->rip = cpu->s.rip;
	out->rflags = cpu_rflags(cpu);
	out->fs_base = cpu->s.seg[X86_FS].base;
	out->gs_base = cpu->s.seg[X86_GS].base;
	save_fpu(&cpu->s.fpu, &out->x);
}

/* ---- one instruction ---- */

static void execute_generic(struct cpu *cpu)
{
	uint8_t bytes[15];
	struct x86_insn insn;
	sem_fn *fn;
	uint64_t rip = cpu->s.rip;
	uint8_t *page;
	int length = 0;

	for (unsigned have = 0; have < sizeof(bytes) && length <= 0;) {
		(void)cpu_code_page(cpu, rip + have, &page);
		if (!page)
			raise_exception(cpu, X86_EXC_UD);
		do
			bytes[have] = page[(rip + have) & 4095], have++;
		while (have < sizeof(bytes) && (rip + have) & 4095);
		length = x86_decode(&insn, bytes, have, cpu->mode);
		if (length == X86_DECODE_UD)
			raise_exception(cpu, X86_EXC_UD);
	}
	if (length <= 0)
		raise_error(cpu, X86_EXC_GP, 0);
	fn = cpu->shared->functions[insn.op];
	if (!fn)
		raise_exception(cpu, X86_EXC_UD);
	cpu->jumped = false;
	fn(cpu, &insn);
	if (!cpu->jumped)
		cpu->s.rip = rip + insn.length;
}

void guest_fault(const struct cpu *cpu, struct outcome *outcome)
{
	outcome->fault = true;
	outcome->vector = cpu->event.vector;
	outcome->error = cpu->event.has_error ? cpu->event.error : 0;
	outcome->cr2 = cpu->event.vector == X86_EXC_PF ? cpu->s.cr2 : 0;
}

void guest_run(struct guest *guest, enum guest_way way, const struct machine *in,
	       struct machine *out, struct outcome *outcome)
{
	struct cpu *cpu = guest->cpu;

	memcpy(out, in, sizeof(*out));
	memset(outcome, 0, sizeof(*outcome));
	guest_load(cpu, in);
	if (!setjmp(cpu->jump)) {
		if (way == GUEST_GENERIC)
			execute_generic(cpu);
		else
			fast_run_once(cpu, block_find(cpu, cpu->s.rip, true));
	} else if (cpu->leave == LEAVE_EXCEPTION) {
		guest_fault(cpu, outcome);
	}
	cpu->leave = LEAVE_NONE;
	guest_save(cpu, out);
}
