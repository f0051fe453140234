/* struct x86_state to and from KVM's register ioctls.
 */
#include "arch/state.h"
#include "arch/x86_64/msr.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "base/string.h"
#include "core/platform.h"
#include "engine/kvm/kvm.h"
#include <sys/ioctl.h>

/* The MSRs that are fields of struct x86_state. */
static const struct {
	uint32_t index;
	uint16_t offset;
} msr_fields[] = {
	{X86_MSR_STAR, offsetof(struct x86_state, star)},
	{X86_MSR_LSTAR, offsetof(struct x86_state, lstar)},
	{X86_MSR_CSTAR, offsetof(struct x86_state, cstar)},
	{X86_MSR_FMASK, offsetof(struct x86_state, fmask)},
	{X86_MSR_KERNEL_GS_BASE, offsetof(struct x86_state, kernel_gs_base)},
	{X86_MSR_SYSENTER_CS, offsetof(struct x86_state, sysenter_cs)},
	{X86_MSR_SYSENTER_ESP, offsetof(struct x86_state, sysenter_esp)},
	{X86_MSR_SYSENTER_EIP, offsetof(struct x86_state, sysenter_eip)},
	{X86_MSR_TSC_AUX, offsetof(struct x86_state, tsc_aux)},
	{X86_MSR_PAT, offsetof(struct x86_state, pat)},
	{X86_MSR_MISC_ENABLE, offsetof(struct x86_state, misc_enable)},
#define MTRR_VARIABLE(n)                                                                                                        \
	{X86_MSR_MTRR_PHYSBASE##n, offsetof(struct x86_state, mtrr_base[n])}, {X86_MSR_MTRR_PHYSMASK##n, offsetof(struct x86_state, mtrr_mask[n])}
	MTRR_VARIABLE(0), MTRR_VARIABLE(1), MTRR_VARIABLE(2), MTRR_VARIABLE(3),
	MTRR_VARIABLE(4), MTRR_VARIABLE(5), MTRR_VARIABLE(6), MTRR_VARIABLE(7),
#undef MTRR_VARIABLE
	{X86_MSR_MTRR_FIX64K_00000, offsetof(struct x86_state, mtrr_fixed[0])},
	{X86_MSR_MTRR_FIX16K_80000, offsetof(struct x86_state, mtrr_fixed[1])},
	{X86_MSR_MTRR_FIX16K_A0000, offsetof(struct x86_state, mtrr_fixed[2])},
	{X86_MSR_MTRR_FIX4K_C0000, offsetof(struct x86_state, mtrr_fixed[3])},
	{X86_MSR_MTRR_FIX4K_C8000, offsetof(struct x86_state, mtrr_fixed[4])},
	{X86_MSR_MTRR_FIX4K_D0000, offsetof(struct x86_state, mtrr_fixed[5])},
	{X86_MSR_MTRR_FIX4K_D8000, offsetof(struct x86_state, mtrr_fixed[6])},
	{X86_MSR_MTRR_FIX4K_E0000, offsetof(struct x86_state, mtrr_fixed[7])},
	{X86_MSR_MTRR_FIX4K_E8000, offsetof(struct x86_state, mtrr_fixed[8])},
	{X86_MSR_MTRR_FIX4K_F0000, offsetof(struct x86_state, mtrr_fixed[9])},
	{X86_MSR_MTRR_FIX4K_F8000, offsetof(struct x86_state, mtrr_fixed[10])},
	{X86_MSR_MTRR_DEF_TYPE, offsetof(struct x86_state, mtrr_def_type)},
};

static struct kvm_segment to_kvm_segment(const struct x86_segment *segment)
{
	uint32_t ar = segment->ar;

	return (struct kvm_segment){
		.base = segment->base,
		.limit = segment->limit,
		.selector = segment->selector,
		.type = X86_AR_TYPE(ar),
		.present = !!(ar & X86_AR_P),
		.dpl = X86_AR_DPL(ar),
		.db = !!(ar & X86_AR_DB),
		.s = !!(ar & X86_AR_S),
		.l = !!(ar & X86_AR_L),
		.g = !!(ar & X86_AR_G),
		.avl = !!(ar & X86_AR_AVL),
		.unusable = !!(ar & X86_AR_UNUSABLE),
	};
}

static struct x86_segment from_kvm_segment(const struct kvm_segment *segment)
{
	uint32_t ar = segment->type | (uint32_t)segment->dpl << 5;

	ar |= segment->s ? X86_AR_S : 0;
	ar |= segment->present ? X86_AR_P : 0;
	ar |= segment->avl ? X86_AR_AVL : 0;
	ar |= segment->l ? X86_AR_L : 0;
	ar |= segment->db ? X86_AR_DB : 0;
	ar |= segment->g ? X86_AR_G : 0;
	ar |= segment->unusable ? X86_AR_UNUSABLE : 0;
	return (struct x86_segment){
		.base = segment->base, .limit = segment->limit, .selector = segment->selector, .ar = ar};
}

/* KVM's struct kvm_regs has the registers in an order of its own. */
static void gpr_to_kvm(const uint64_t *gpr, struct kvm_regs *regs)
{
	regs->rax = gpr[X86_RAX];
	regs->rbx = gpr[X86_RBX];
	regs->rcx = gpr[X86_RCX];
	regs->rdx = gpr[X86_RDX];
	regs->rsi = gpr[X86_RSI];
	regs->rdi = gpr[X86_RDI];
	regs->rsp = gpr[X86_RSP];
	regs->rbp = gpr[X86_RBP];
	memcpy(&regs->r8, &gpr[X86_R8], 8 * sizeof(*gpr));
}

static void gpr_from_kvm(uint64_t *gpr, const struct kvm_regs *regs)
{
	gpr[X86_RAX] = regs->rax;
	gpr[X86_RBX] = regs->rbx;
	gpr[X86_RCX] = regs->rcx;
	gpr[X86_RDX] = regs->rdx;
	gpr[X86_RSI] = regs->rsi;
	gpr[X86_RDI] = regs->rdi;
	gpr[X86_RSP] = regs->rsp;
	gpr[X86_RBP] = regs->rbp;
	memcpy(&gpr[X86_R8], &regs->r8, 8 * sizeof(*gpr));
}

static void sregs_to_kvm(const struct x86_state *s, struct kvm_sregs *sregs)
{
	struct kvm_segment *const segments[X86_SEG_COUNT] = {
		[X86_ES] = &sregs->es, [X86_CS] = &sregs->cs, [X86_SS] = &sregs->ss,
		[X86_DS] = &sregs->ds, [X86_FS] = &sregs->fs, [X86_GS] = &sregs->gs,
	};

	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		*segments[i] = to_kvm_segment(&s->seg[i]);
	sregs->tr = to_kvm_segment(&s->tr);
	sregs->ldt = to_kvm_segment(&s->ldtr);
	sregs->gdt.base = s->gdtr.base;
	sregs->gdt.limit = s->gdtr.limit;
	sregs->idt.base = s->idtr.base;
	sregs->idt.limit = s->idtr.limit;
	sregs->cr0 = s->cr0;
	sregs->cr2 = s->cr2;
	sregs->cr3 = s->cr3;
	sregs->cr4 = s->cr4;
	sregs->cr8 = s->cr8;
	sregs->efer = s->efer;
	sregs->apic_base = s->apic_base;
	memset(sregs->interrupt_bitmap, 0, sizeof(sregs->interrupt_bitmap));
}

static void sregs_from_kvm(struct x86_state *s, const struct kvm_sregs *sregs)
{
	const struct kvm_segment *const segments[X86_SEG_COUNT] = {
		[X86_ES] = &sregs->es, [X86_CS] = &sregs->cs, [X86_SS] = &sregs->ss,
		[X86_DS] = &sregs->ds, [X86_FS] = &sregs->fs, [X86_GS] = &sregs->gs,
	};

	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		s->seg[i] = from_kvm_segment(segments[i]);
	s->tr = from_kvm_segment(&sregs->tr);
	s->ldtr = from_kvm_segment(&sregs->ldt);
	s->gdtr = (struct x86_table){.base = sregs->gdt.base, .limit = sregs->gdt.limit};
	s->idtr = (struct x86_table){.base = sregs->idt.base, .limit = sregs->idt.limit};
	s->cr0 = sregs->cr0;
	s->cr2 = sregs->cr2;
	s->cr3 = sregs->cr3;
	s->cr4 = sregs->cr4;
	s->cr8 = sregs->cr8;
	s->efer = sregs->efer;
	s->apic_base = sregs->apic_base;
}

/* struct kvm_fpu is FXSAVE's content, unpacked; registers in ST order. */
static void fpu_to_kvm(const struct x86_fpu *fpu, struct kvm_fpu *out)
{
	unsigned top = fpu->fsw >> 11 & 7;

	*out = (struct kvm_fpu){.fcw = fpu->fcw,
				.fsw = fpu->fsw,
				.ftwx = fpu->ftw,
				.last_opcode = fpu->fop,
				.last_ip = fpu->fip,
				.last_dp = fpu->fdp,
				.mxcsr = fpu->mxcsr};
	for (unsigned i = 0; i < 8; i++) {
		memcpy(out->fpr[i], &fpu->r[(top + i) & 7].mantissa, 8);
		memcpy(out->fpr[i] + 8, &fpu->r[(top + i) & 7].exponent, 2);
	}
	for (unsigned i = 0; i < 16; i++)
		memcpy(out->xmm[i], &fpu->ymm[i], 16);
}

static void fpu_from_kvm(struct x86_fpu *fpu, const struct kvm_fpu *in)
{
	unsigned top = in->fsw >> 11 & 7;

	fpu->fcw = in->fcw;
	fpu->fsw = in->fsw;
	fpu->ftw = in->ftwx;
	fpu->fop = in->last_opcode;
	fpu->fip = in->last_ip;
	fpu->fdp = in->last_dp;
	fpu->mxcsr = in->mxcsr;
	for (unsigned i = 0; i < 8; i++) {
		memcpy(&fpu->r[(top + i) & 7].mantissa, in->fpr[i], 8);
		memcpy(&fpu->r[(top + i) & 7].exponent, in->fpr[i] + 8, 2);
	}
	for (unsigned i = 0; i < 16; i++)
		memcpy(&fpu->ymm[i], in->xmm[i], 16);
}

/* struct kvm_msrs with its array, which as a member would have to come last. */
struct msr_list {
	struct {
		uint32_t nmsrs, pad;
	} head;
	struct kvm_msr_entry entries[ARRAY_SIZE(msr_fields)];
};

/* Where the upper halves of YMM lie in the XSAVE area. */
#define XSAVE_BV_OFFSET 512

static int set_vectors(const struct kvm_vcpu *kv, const struct x86_fpu *fpu)
{
	struct kvm_xsave area;
	uint8_t *bytes = (uint8_t *)area.region;
	uint64_t bv;

	if (ioctl(kv->fd, KVM_GET_XSAVE, &area) < 0)
		return -errno;
	for (unsigned i = 0; i < 16; i++)
		memcpy(bytes + X86_XSAVE_AVX_OFFSET + 16 * i, fpu->ymm[i].u8 + 16, 16);
	memcpy(&bv, bytes + XSAVE_BV_OFFSET, 8);
	bv |= 4;
	memcpy(bytes + XSAVE_BV_OFFSET, &bv, 8);
	return ioctl(kv->fd, KVM_SET_XSAVE, &area) < 0 ? -errno : 0;
}

static int get_vectors(const struct kvm_vcpu *kv, struct x86_fpu *fpu)
{
	struct kvm_xsave area;
	const uint8_t *bytes = (const uint8_t *)area.region;

	if (ioctl(kv->fd, KVM_GET_XSAVE, &area) < 0)
		return -errno;
	for (unsigned i = 0; i < 16; i++)
		memcpy(fpu->ymm[i].u8 + 16, bytes + X86_XSAVE_AVX_OFFSET + 16 * i, 16);
	return 0;
}

static int set_activity(const struct kvm_vcpu *kv, uint8_t activity)
{
	static const uint32_t states[] = {[X86_ACTIVE] = KVM_MP_STATE_RUNNABLE,
					  [X86_ACTIVITY_HLT] = KVM_MP_STATE_HALTED,
					  [X86_ACTIVITY_WAIT_SIPI] = KVM_MP_STATE_UNINITIALIZED};
	struct kvm_mp_state state = {.mp_state = states[activity]};

	return ioctl(kv->fd, KVM_SET_MP_STATE, &state) < 0 ? -errno : 0;
}

int kvm_arch_set_state(struct vcpu *vcpu, const union arch_state *state)
{
	const struct kvm_vcpu *kv = vcpu->engine_vcpu;
	const struct x86_state *s = &state->x86;
	struct kvm_regs regs = {.rip = s->rip, .rflags = s->rflags};
	struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs[0] = {.xcr = 0, .value = s->xcr0}};
	struct kvm_debugregs debug = {.dr6 = s->dr6, .dr7 = s->dr7};
	struct msr_list msrs = {.head.nmsrs = ARRAY_SIZE(msr_fields)};
	struct kvm_vcpu_events events = {0};
	struct kvm_sregs sregs = {0};
	struct kvm_fpu fpu;

	gpr_to_kvm(s->gpr, &regs);
	sregs_to_kvm(s, &sregs);
	fpu_to_kvm(&s->fpu, &fpu);
	memcpy(debug.db, s->dr, sizeof(debug.db));
	for (unsigned i = 0; i < ARRAY_SIZE(msr_fields); i++) {
		msrs.entries[i].index = msr_fields[i].index;
		memcpy(&msrs.entries[i].data, (const uint8_t *)s + msr_fields[i].offset, 8);
	}
	/* What KVM is about to deliver is no state of ours: it stays. */
	if (ioctl(kv->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
		return -errno;
	events.interrupt.shadow = s->interrupt_shadow;
	events.nmi.pending = s->nmi_pending;
	events.nmi.masked = s->nmi_blocked;
	events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	if (ioctl(kv->fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(kv->fd, KVM_SET_REGS, &regs) < 0 ||
	    ioctl(kv->fd, KVM_SET_FPU, &fpu) < 0 || ioctl(kv->fd, KVM_SET_DEBUGREGS, &debug) < 0 ||
	    ioctl(kv->fd, KVM_SET_VCPU_EVENTS, &events) < 0)
		return -errno;
	/* Some MSRs may be unknown to this KVM: it stops at the first it refuses, so each goes alone. */
	for (unsigned i = 0; i < ARRAY_SIZE(msr_fields); i++) {
		struct msr_list one = {.head.nmsrs = 1, .entries[0] = msrs.entries[i]};

		if (ioctl(kv->fd, KVM_SET_MSRS, &one) < 0)
			return -errno;
	}
	if (s->xcr0 > 1 || (s->cr4 & X86_CR4_OSXSAVE)) {
		if (ioctl(kv->fd, KVM_SET_XCRS, &xcrs) < 0)
			return -errno;
		if (s->xcr0 & 4) {
			int r = set_vectors(kv, &s->fpu);

			if (r < 0)
				return r;
		}
	}
	return set_activity(kv, s->activity);
}

int kvm_arch_get_state(struct vcpu *vcpu, union arch_state *state)
{
	const struct kvm_vcpu *kv = vcpu->engine_vcpu;
	struct x86_state *s = &state->x86;
	struct kvm_mp_state activity;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_fpu fpu;
	struct kvm_xcrs xcrs = {0};
	struct kvm_debugregs debug;
	struct kvm_vcpu_events events;

	memset(state, 0, sizeof(*state));
	if (ioctl(kv->fd, KVM_GET_REGS, &regs) < 0 || ioctl(kv->fd, KVM_GET_SREGS, &sregs) < 0 ||
	    ioctl(kv->fd, KVM_GET_FPU, &fpu) < 0 || ioctl(kv->fd, KVM_GET_DEBUGREGS, &debug) < 0 ||
	    ioctl(kv->fd, KVM_GET_VCPU_EVENTS, &events) < 0 || ioctl(kv->fd, KVM_GET_MP_STATE, &activity) < 0)
		return -errno;
	gpr_from_kvm(s->gpr, &regs);
	s->rip = regs.rip;
	s->rflags = regs.rflags;
	sregs_from_kvm(s, &sregs);
	fpu_from_kvm(&s->fpu, &fpu);
	memcpy(s->dr, debug.db, sizeof(s->dr));
	s->dr6 = debug.dr6;
	s->dr7 = debug.dr7;
	s->interrupt_shadow = events.interrupt.shadow;
	s->nmi_pending = events.nmi.pending;
	s->nmi_blocked = events.nmi.masked;
	s->activity = activity.mp_state == KVM_MP_STATE_HALTED		? X86_ACTIVITY_HLT
		      : activity.mp_state == KVM_MP_STATE_UNINITIALIZED ? X86_ACTIVITY_WAIT_SIPI
									 : X86_ACTIVE;
	s->xcr0 = 1;
	if (ioctl(kv->fd, KVM_GET_XCRS, &xcrs) == 0 && xcrs.nr_xcrs)
		s->xcr0 = xcrs.xcrs[0].value;
	for (unsigned i = 0; i < ARRAY_SIZE(msr_fields); i++) {
		struct msr_list one = {.head.nmsrs = 1, .entries[0].index = msr_fields[i].index};

		if (ioctl(kv->fd, KVM_GET_MSRS, &one) == 1)
			memcpy((uint8_t *)s + msr_fields[i].offset, &one.entries[0].data, 8);
	}
	return s->xcr0 & 4 ? get_vectors(kv, &s->fpu) : 0;
}
