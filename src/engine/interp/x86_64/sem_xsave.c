/* FXSAVE, XSAVE and their relatives (SDM 1 chapters 10 and 13). Components: 0 x87, 1 SSE, 2 AVX, 9 PKRU.
 */
#include "base/string.h"
#include "engine/interp/x86_64/cpu.h"
#include "engine/interp/x86_64/sem.h"

#define XSTATE_X87  (1u << 0)
#define XSTATE_SSE  (1u << 1)
#define XSTATE_AVX  (1u << 2)
#define XSTATE_PKRU (1u << 9)

#define LEGACY_SIZE  512
#define HEADER_SIZE  64
#define AVX_OFFSET   X86_XSAVE_AVX_OFFSET
#define AVX_SIZE     X86_XSAVE_AVX_SIZE
#define PKRU_OFFSET  X86_XSAVE_PKRU_OFFSET
#define PKRU_SIZE    X86_XSAVE_PKRU_SIZE
#define AREA_MAX     (PKRU_OFFSET + PKRU_SIZE)
#define MXCSR_MASK   0xffffu
#define COMPACTED    (1ull << 63)

/* ---- the area in guest memory: checked as a whole before anything is stored ---- */

static void area_load(struct cpu *cpu, const struct x86_insn *insn, uint64_t offset, void *buf, unsigned len)
{
	for (unsigned done = 0; done < len; done += 64) {
		unsigned part = len - done < 64 ? len - done : 64;

		sem_load(cpu, insn->mem.seg, offset + done, (uint8_t *)buf + done, part);
	}
}

static void area_store(struct cpu *cpu, const struct x86_insn *insn, uint64_t offset, const void *buf, unsigned len)
{
	for (unsigned done = 0; done < len; done += 64) {
		unsigned part = len - done < 64 ? len - done : 64;

		sem_store(cpu, insn->mem.seg, offset + done, (const uint8_t *)buf + done, part);
	}
}

static void area_probe(struct cpu *cpu, const struct x86_insn *insn, uint64_t offset, unsigned len)
{
	for (unsigned done = 0, part; done < len; done += part) {
		part = PAGE_SIZE - (unsigned)((offset + done) & ~PAGE_MASK);
		if (part > len - done)
			part = len - done;
		sem_probe_store(cpu, insn->mem.seg, offset + done, part);
	}
}

/* ---- the legacy region ---- */

static void put(uint8_t *at, uint64_t value, unsigned size)
{
	memcpy(at, &value, size);
}

static uint64_t get(const uint8_t *at, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, at, size);
	return value;
}

/* wide: REX.W, pointers are 64-bit offsets instead of selector:offset. */
static void x87_to_area(const struct cpu *cpu, uint8_t *area, bool wide)
{
	const struct x86_fpu *fpu = &cpu->s.fpu;
	unsigned top = fpu->fsw >> 11 & 7;

	put(area + 0, fpu->fcw, 2);
	put(area + 2, fpu->fsw, 2);
	put(area + 4, fpu->ftw, 1);
	area[5] = 0;
	put(area + 6, fpu->fop, 2);
	put(area + 8, fpu->fip, wide ? 8 : 4);
	put(area + 16, fpu->fdp, wide ? 8 : 4);
	if (!wide) {
		put(area + 12, fpu->fcs, 4);
		put(area + 20, fpu->fds, 4);
	}
	for (unsigned i = 0; i < 8; i++) {
		const struct x86_float80 *r = &fpu->r[(top + i) & 7];

		put(area + 32 + 16 * i, r->mantissa, 8);
		put(area + 40 + 16 * i, r->exponent, 8);
	}
}

static void x87_from_area(struct cpu *cpu, const uint8_t *area, bool wide)
{
	struct x86_fpu *fpu = &cpu->s.fpu;
	unsigned top, unmasked;

	fpu->fcw = (uint16_t)((get(area, 2) & 0x1f3f) | 0x40);
	fpu->fsw = (uint16_t)get(area + 2, 2);
	fpu->ftw = area[4];
	fpu->fop = get(area + 6, 2) & 0x7ff;
	fpu->fip = get(area + 8, wide ? 8 : 4);
	fpu->fdp = get(area + 16, wide ? 8 : 4);
	fpu->fcs = wide ? 0 : (uint16_t)get(area + 12, 2);
	fpu->fds = wide ? 0 : (uint16_t)get(area + 20, 2);
	top = fpu->fsw >> 11 & 7;
	for (unsigned i = 0; i < 8; i++) {
		fpu->r[(top + i) & 7].mantissa = get(area + 32 + 16 * i, 8);
		fpu->r[(top + i) & 7].exponent = (uint16_t)get(area + 40 + 16 * i, 2);
	}
	/* ES and B summarise what is pending. */
	unmasked = fpu->fsw & ~fpu->fcw & 0x3f;
	fpu->fsw = (uint16_t)((fpu->fsw & 0x7f7f) | (unmasked ? 0x8080 : 0));
}

static unsigned xmm_count(const struct cpu *cpu)
{
	return cpu->mode == X86_MODE_64 ? 16 : 8;
}

static void check_fx(struct cpu *cpu)
{
	if (cpu->s.cr0 & X86_CR0_EM)
		raise_exception(cpu, X86_EXC_UD);
	if (cpu->s.cr0 & X86_CR0_TS)
		raise_exception(cpu, X86_EXC_NM);
}

static void sem_fxsave(struct cpu *cpu, const struct x86_insn *insn)
{
	bool wide = insn->prefixes & X86_PFX_REX_W;
	uint64_t offset = sem_offset(cpu, insn);
	uint8_t area[416] = {0};
	unsigned length = 160;

	check_fx(cpu);
	sem_check_alignment(cpu, insn, offset, 16);
	x87_to_area(cpu, area, wide);
	put(area + 24, cpu->s.fpu.mxcsr, 4);
	put(area + 28, MXCSR_MASK, 4);
	for (unsigned i = 0; i < xmm_count(cpu); i++)
		memcpy(area + 160 + 16 * i, &cpu->s.fpu.ymm[i], 16);
	length += 16 * xmm_count(cpu);
	area_probe(cpu, insn, offset, LEGACY_SIZE);
	area_store(cpu, insn, offset, area, length);
}

static void sem_fxrstor(struct cpu *cpu, const struct x86_insn *insn)
{
	bool wide = insn->prefixes & X86_PFX_REX_W;
	uint64_t offset = sem_offset(cpu, insn);
	uint8_t area[LEGACY_SIZE];

	check_fx(cpu);
	sem_check_alignment(cpu, insn, offset, 16);
	area_load(cpu, insn, offset, area, LEGACY_SIZE);
	if (get(area + 24, 4) & ~(uint64_t)MXCSR_MASK)
		raise_error(cpu, X86_EXC_GP, 0);
	x87_from_area(cpu, area, wide);
	cpu->s.fpu.mxcsr = (uint32_t)get(area + 24, 4);
	for (unsigned i = 0; i < xmm_count(cpu); i++)
		memcpy(&cpu->s.fpu.ymm[i], area + 160 + 16 * i, 16);
}

/* ---- XSAVE ---- */

/* Which components are not in their initial configuration (SDM 1 13.6): XINUSE. */
static uint64_t in_use(const struct cpu *cpu)
{
	const struct x86_fpu *fpu = &cpu->s.fpu;
	uint64_t used = 0, low = 0, high = 0;

	if (fpu->fcw != 0x37f || fpu->fsw || fpu->ftw || fpu->fop || fpu->fip || fpu->fdp || fpu->fcs || fpu->fds)
		used |= XSTATE_X87;
	for (unsigned i = 0; i < 8; i++)
		used |= fpu->r[i].mantissa || fpu->r[i].exponent ? XSTATE_X87 : 0;
	for (unsigned i = 0; i < 16; i++) {
		low |= fpu->ymm[i].u64[0] | fpu->ymm[i].u64[1];
		high |= fpu->ymm[i].u64[2] | fpu->ymm[i].u64[3];
	}
	used |= (low ? XSTATE_SSE : 0) | (high ? XSTATE_AVX : 0);
	return used | (cpu->s.pkru ? XSTATE_PKRU : 0);
}

static unsigned component_offset(uint64_t components, bool compacted, uint64_t component)
{
	if (component == XSTATE_AVX)
		return AVX_OFFSET;
	if (!compacted)
		return PKRU_OFFSET;
	return AVX_OFFSET + (components & XSTATE_AVX ? AVX_SIZE : 0);
}

static unsigned area_length(uint64_t components, bool compacted)
{
	unsigned length = LEGACY_SIZE + HEADER_SIZE;

	if (components & XSTATE_AVX)
		length = component_offset(components, compacted, XSTATE_AVX) + AVX_SIZE;
	if (components & XSTATE_PKRU)
		length = component_offset(components, compacted, XSTATE_PKRU) + PKRU_SIZE;
	return length;
}

static uint64_t requested(struct cpu *cpu)
{
	uint64_t mask = cpu->s.gpr[X86_RDX] << 32 | (cpu->s.gpr[X86_RAX] & 0xffffffff);

	return mask & cpu->s.xcr0;
}

static void check_xsave(struct cpu *cpu)
{
	if (!(cpu->s.cr4 & X86_CR4_OSXSAVE))
		raise_exception(cpu, X86_EXC_UD);
	if (cpu->s.cr0 & X86_CR0_TS)
		raise_exception(cpu, X86_EXC_NM);
}

static void store_component(struct cpu *cpu, const struct x86_insn *insn, uint64_t offset, uint64_t components,
			    bool compacted, uint64_t component)
{
	uint8_t high[AVX_SIZE] = {0};
	uint64_t pkru = cpu->s.pkru;
	unsigned at = component_offset(components, compacted, component);

	if (component == XSTATE_PKRU) {
		area_store(cpu, insn, offset + at, &pkru, PKRU_SIZE);
		return;
	}
	for (unsigned i = 0; i < xmm_count(cpu); i++)
		memcpy(high + 16 * i, &cpu->s.fpu.ymm[i].u8[16], 16);
	area_store(cpu, insn, offset + at, high, 16 * xmm_count(cpu));
}

/* optimise: components in their initial configuration are not written (XSAVEOPT, XSAVEC, XSAVES). */
static void xsave(struct cpu *cpu, const struct x86_insn *insn, bool compacted, bool optimise)
{
	bool wide = insn->prefixes & X86_PFX_REX_W;
	uint64_t offset = sem_offset(cpu, insn), used, components, write, header[8] = {0};
	uint8_t legacy[160] = {0};

	check_xsave(cpu);
	sem_check_alignment(cpu, insn, offset, 64);
	components = requested(cpu);
	used = in_use(cpu);
	write = optimise ? components & used : components;
	/* MXCSR in use keeps SSE: SDM 1 13.9 treats XINUSE[1] as set for XSAVEC then. */
	if (compacted && (components & XSTATE_SSE) && cpu->s.fpu.mxcsr != 0x1f80)
		write |= XSTATE_SSE;

	area_probe(cpu, insn, offset, area_length(components, compacted));
	if (write & XSTATE_X87) {
		x87_to_area(cpu, legacy, wide);
		area_store(cpu, insn, offset, legacy, 24);
		area_store(cpu, insn, offset + 32, legacy + 32, 128);
	}
	if ((components & (XSTATE_SSE | XSTATE_AVX)) && (!compacted || (write & XSTATE_SSE))) {
		uint32_t mxcsr[2] = {cpu->s.fpu.mxcsr, MXCSR_MASK};

		area_store(cpu, insn, offset + 24, mxcsr, 8);
	}
	if (write & XSTATE_SSE) {
		uint8_t xmm[256];

		for (unsigned i = 0; i < xmm_count(cpu); i++)
			memcpy(xmm + 16 * i, &cpu->s.fpu.ymm[i], 16);
		area_store(cpu, insn, offset + 160, xmm, 16 * xmm_count(cpu));
	}
	if (write & XSTATE_AVX)
		store_component(cpu, insn, offset, components, compacted, XSTATE_AVX);
	if (write & XSTATE_PKRU)
		store_component(cpu, insn, offset, components, compacted, XSTATE_PKRU);

	if (compacted) {
		header[0] = write;
		header[1] = components | COMPACTED;
		area_store(cpu, insn, offset + LEGACY_SIZE, header, 16);
	} else {
		/* XSTATE_BV of components that were not asked for stays. */
		area_load(cpu, insn, offset + LEGACY_SIZE, header, 8);
		header[0] = (header[0] & ~components) | (components & used);
		area_store(cpu, insn, offset + LEGACY_SIZE, header, 8);
	}
}

static void sem_xsave_standard(struct cpu *cpu, const struct x86_insn *insn)
{
	xsave(cpu, insn, false, false);
}
static void sem_xsaveopt(struct cpu *cpu, const struct x86_insn *insn)
{
	xsave(cpu, insn, false, true);
}
static void sem_xsavec(struct cpu *cpu, const struct x86_insn *insn)
{
	xsave(cpu, insn, true, true);
}
static void sem_xsave_supervisor(struct cpu *cpu, const struct x86_insn *insn)
{
	if (cpu->cpl != 0)
		raise_error(cpu, X86_EXC_GP, 0);
	xsave(cpu, insn, true, true);
}

static bool header_valid(const struct cpu *cpu, const uint64_t header[8], bool *compacted)
{
	*compacted = header[1] & COMPACTED;
	for (unsigned i = 2; i < 8; i++) {
		if (header[i])
			return false;
	}
	if (!*compacted)
		return header[1] == 0 && !(header[0] & ~cpu->s.xcr0);
	return !((header[1] & ~COMPACTED) & ~cpu->s.xcr0) && !(header[0] & ~header[1]);
}

static void restore_x87(struct cpu *cpu, const uint8_t *area, bool load, bool wide)
{
	struct x86_fpu *fpu = &cpu->s.fpu;

	if (load) {
		x87_from_area(cpu, area, wide);
		return;
	}
	fpu->fcw = 0x37f;
	fpu->fsw = fpu->ftw = 0;
	fpu->fop = fpu->fcs = fpu->fds = 0;
	fpu->fip = fpu->fdp = 0;
	memset(fpu->r, 0, sizeof(fpu->r));
}

static void xrstor(struct cpu *cpu, const struct x86_insn *insn, bool only_compacted)
{
	bool wide = insn->prefixes & X86_PFX_REX_W, compacted;
	uint64_t offset = sem_offset(cpu, insn), asked, load, layout, header[8];
	uint8_t area[AREA_MAX] = {0};
	uint32_t mxcsr = cpu->s.fpu.mxcsr;
	unsigned length;

	check_xsave(cpu);
	sem_check_alignment(cpu, insn, offset, 64);
	asked = requested(cpu);
	area_load(cpu, insn, offset + LEGACY_SIZE, header, HEADER_SIZE);
	if (!header_valid(cpu, header, &compacted) || (only_compacted && !compacted))
		raise_error(cpu, X86_EXC_GP, 0);
	load = asked & header[0];
	layout = compacted ? header[1] & ~COMPACTED : asked;
	length = area_length(load, false);
	if (compacted && (load & XSTATE_PKRU))
		length = component_offset(layout, true, XSTATE_PKRU) + PKRU_SIZE;
	area_load(cpu, insn, offset, area, length);
	/* MXCSR: loaded with SSE or AVX in the standard form even if their state is initial; in the compacted form
	 * with SSE only, else initialised (SDM 1 13.8, 13.12). */
	if (asked & (XSTATE_SSE | (compacted ? 0 : XSTATE_AVX))) {
		mxcsr = !compacted || (load & XSTATE_SSE) ? (uint32_t)get(area + 24, 4) : 0x1f80;
		if (mxcsr & ~MXCSR_MASK)
			raise_error(cpu, X86_EXC_GP, 0);
	}
	cpu->s.fpu.mxcsr = mxcsr;
	if (asked & XSTATE_X87)
		restore_x87(cpu, area, load & XSTATE_X87, wide);
	for (unsigned i = 0; i < xmm_count(cpu); i++) {
		uint8_t *reg = cpu->s.fpu.ymm[i].u8;

		if ((asked & XSTATE_SSE) && (load & XSTATE_SSE))
			memcpy(reg, area + 160 + 16 * i, 16);
		else if (asked & XSTATE_SSE)
			memset(reg, 0, 16);
		if ((asked & XSTATE_AVX) && (load & XSTATE_AVX))
			memcpy(reg + 16, area + AVX_OFFSET + 16 * i, 16);
		else if (asked & XSTATE_AVX)
			memset(reg + 16, 0, 16);
	}
	if (asked & XSTATE_PKRU) {
		unsigned at = component_offset(layout, compacted, XSTATE_PKRU);

		cpu_set_pkru(cpu, load & XSTATE_PKRU ? (uint32_t)get(area + at, 4) : 0);
	}
}

static void sem_xrstor(struct cpu *cpu, const struct x86_insn *insn)
{
	xrstor(cpu, insn, false);
}
static void sem_xrstors(struct cpu *cpu, const struct x86_insn *insn)
{
	if (cpu->cpl != 0)
		raise_error(cpu, X86_EXC_GP, 0);
	xrstor(cpu, insn, true);
}

/* ---- XCR0 ---- */

static void sem_xgetbv(struct cpu *cpu, const struct x86_insn *insn)
{
	uint32_t index = (uint32_t)cpu->s.gpr[X86_RCX];
	uint64_t value;

	if (!(cpu->s.cr4 & X86_CR4_OSXSAVE))
		raise_exception(cpu, X86_EXC_UD);
	if (index == 0)
		value = cpu->s.xcr0;
	else if (index == 1 && cpu->cpuid->features[X86_FEATURE_XSAVEC])
		value = cpu->s.xcr0 & in_use(cpu);
	else
		raise_error(cpu, X86_EXC_GP, 0);
	cpu->s.gpr[X86_RAX] = value & 0xffffffff;
	cpu->s.gpr[X86_RDX] = value >> 32;
}

static void sem_xsetbv(struct cpu *cpu, const struct x86_insn *insn)
{
	uint64_t value = cpu->s.gpr[X86_RDX] << 32 | (cpu->s.gpr[X86_RAX] & 0xffffffff);

	if (!(cpu->s.cr4 & X86_CR4_OSXSAVE))
		raise_exception(cpu, X86_EXC_UD);
	if (cpu->cpl != 0 || (uint32_t)cpu->s.gpr[X86_RCX] != 0 || !(value & XSTATE_X87) ||
	    (value & ~cpu->cpuid->xcr0_valid) || ((value & XSTATE_AVX) && !(value & XSTATE_SSE)))
		raise_error(cpu, X86_EXC_GP, 0);
	cpu->s.xcr0 = value;
}

const struct sem_entry sem_xsave[] = {
	{X86_FXSAVE, sem_fxsave},
	{X86_FXRSTOR, sem_fxrstor},
	{X86_XSAVE, sem_xsave_standard},
	{X86_XSAVEOPT, sem_xsaveopt},
	{X86_XSAVEC, sem_xsavec},
	{X86_XSAVES, sem_xsave_supervisor},
	{X86_XRSTOR, sem_xrstor},
	{X86_XRSTORS, sem_xrstors},
	{X86_XGETBV, sem_xgetbv},
	{X86_XSETBV, sem_xsetbv},
	{0, NULL},
};
