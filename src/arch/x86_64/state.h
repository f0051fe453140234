/* x86-64 processor state: the one structure that engines, loaders, boards and tests exchange.
 * Names are the SDM's. Reset values: x86_state_reset() (SDM 3A, table 10-1).
 */
#ifndef ARCH_X86_64_STATE_H
#define ARCH_X86_64_STATE_H

#include "base/types.h"

enum x86_gpr {
	X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI,
	X86_R8, X86_R9, X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15,
};

enum x86_seg { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS, X86_SEG_COUNT };

/* Segment attributes, as VMX access rights (SDM 3C 25.4.1): type 3:0, S 4, DPL 6:5, P 7, AVL 12,
 * L 13, D/B 14, G 15, unusable (null selector) 16. */
#define X86_AR_TYPE(ar)   ((ar) & 15u)
#define X86_AR_ACCESSED   (1u << 0)
#define X86_AR_WRITABLE   (1u << 1) /* data; code: readable */
#define X86_AR_DOWN       (1u << 2) /* data: expand-down; code: conforming */
#define X86_AR_CODE       (1u << 3)
#define X86_AR_S          (1u << 4)
#define X86_AR_DPL(ar)    (((ar) >> 5) & 3u)
#define X86_AR_P          (1u << 7)
#define X86_AR_AVL        (1u << 12)
#define X86_AR_L          (1u << 13)
#define X86_AR_DB         (1u << 14)
#define X86_AR_G          (1u << 15)
#define X86_AR_UNUSABLE   (1u << 16)

struct x86_segment {
	uint64_t base;
	uint32_t limit; /* in bytes, granularity already applied */
	uint32_t ar;
	uint16_t selector;
};

struct x86_table {
	uint64_t base;
	uint16_t limit;
};

/* An 80-bit x87 register. */
struct x86_float80 {
	uint64_t mantissa; /* with the explicit integer bit */
	uint16_t exponent; /* sign in bit 15 */
};

union x86_vector {
	uint8_t u8[32];
	uint16_t u16[16];
	uint32_t u32[8];
	uint64_t u64[4];
	int8_t s8[32];
	int16_t s16[16];
	int32_t s32[8];
	int64_t s64[4];
};

struct x86_fpu {
	uint16_t fcw, fsw; /* fsw.TOP in bits 13:11 */
	uint8_t ftw;       /* abridged, as FXSAVE: bit n set = physical register n not empty */
	uint16_t fop;
	uint64_t fip, fdp; /* 64-bit offsets; fcs/fds beside them */
	uint16_t fcs, fds;
	struct x86_float80 r[8]; /* physical registers: ST(i) is r[(TOP + i) & 7]; MMn is r[n].mantissa */
	uint32_t mxcsr;
	union x86_vector ymm[16];
};

enum x86_activity { X86_ACTIVE, X86_ACTIVITY_HLT, X86_ACTIVITY_WAIT_SIPI };

#define X86_MTRR_VAR_COUNT 8

struct x86_state {
	uint64_t gpr[16];
	uint64_t rip;
	uint64_t rflags;
	struct x86_segment seg[X86_SEG_COUNT];
	struct x86_segment ldtr, tr;
	struct x86_table gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4, cr8, xcr0;
	uint64_t dr[4], dr6, dr7;
	uint64_t efer;
	uint64_t star, lstar, cstar, fmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t tsc_aux, tsc_adjust, tsc_offset; /* guest TSC = host clock scaled + offset */
	uint64_t pat, misc_enable, spec_ctrl, xss;
	uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_base[X86_MTRR_VAR_COUNT], mtrr_mask[X86_MTRR_VAR_COUNT];
	uint64_t apic_base;
	uint32_t pkru;
	struct x86_fpu fpu;
	/* Between instructions: */
	bool interrupt_shadow; /* after STI, MOV SS, POP SS */
	bool nmi_blocked;
	bool nmi_pending;
	uint8_t activity;      /* enum x86_activity */
};

/* RFLAGS */
#define X86_FLAG_CF   (1u << 0)
#define X86_FLAG_FIX  (1u << 1)
#define X86_FLAG_PF   (1u << 2)
#define X86_FLAG_AF   (1u << 4)
#define X86_FLAG_ZF   (1u << 6)
#define X86_FLAG_SF   (1u << 7)
#define X86_FLAG_TF   (1u << 8)
#define X86_FLAG_IF   (1u << 9)
#define X86_FLAG_DF   (1u << 10)
#define X86_FLAG_OF   (1u << 11)
#define X86_FLAG_IOPL (3u << 12)
#define X86_FLAG_NT   (1u << 14)
#define X86_FLAG_RF   (1u << 16)
#define X86_FLAG_VM   (1u << 17)
#define X86_FLAG_AC   (1u << 18)
#define X86_FLAG_VIF  (1u << 19)
#define X86_FLAG_VIP  (1u << 20)
#define X86_FLAG_ID   (1u << 21)
#define X86_FLAGS_STATUS                                                                           \
	(X86_FLAG_CF | X86_FLAG_PF | X86_FLAG_AF | X86_FLAG_ZF | X86_FLAG_SF | X86_FLAG_OF)

/* Control registers */
#define X86_CR0_PE (1u << 0)
#define X86_CR0_MP (1u << 1)
#define X86_CR0_EM (1u << 2)
#define X86_CR0_TS (1u << 3)
#define X86_CR0_ET (1u << 4)
#define X86_CR0_NE (1u << 5)
#define X86_CR0_WP (1u << 16)
#define X86_CR0_AM (1u << 18)
#define X86_CR0_NW (1u << 29)
#define X86_CR0_CD (1u << 30)
#define X86_CR0_PG (1u << 31)
#define X86_CR4_VME        (1u << 0)
#define X86_CR4_PVI        (1u << 1)
#define X86_CR4_TSD        (1u << 2)
#define X86_CR4_DE         (1u << 3)
#define X86_CR4_PSE        (1u << 4)
#define X86_CR4_PAE        (1u << 5)
#define X86_CR4_MCE        (1u << 6)
#define X86_CR4_PGE        (1u << 7)
#define X86_CR4_PCE        (1u << 8)
#define X86_CR4_OSFXSR     (1u << 9)
#define X86_CR4_OSXMMEXCPT (1u << 10)
#define X86_CR4_UMIP       (1u << 11)
#define X86_CR4_FSGSBASE   (1u << 16)
#define X86_CR4_PCIDE      (1u << 17)
#define X86_CR4_OSXSAVE    (1u << 18)
#define X86_CR4_SMEP       (1u << 20)
#define X86_CR4_SMAP       (1u << 21)
#define X86_CR4_PKE        (1u << 22)
#define X86_CR3_NOFLUSH    (1ull << 63)
#define X86_EFER_SCE   (1u << 0)
#define X86_EFER_LME   (1u << 8)
#define X86_EFER_LMA   (1u << 10)
#define X86_EFER_NXE   (1u << 11)
#define X86_EFER_FFXSR (1u << 14)

/* Exceptions (SDM 3A table 6-1) */
enum x86_exception {
	X86_EXC_DE = 0, X86_EXC_DB = 1, X86_EXC_NMI = 2, X86_EXC_BP = 3, X86_EXC_OF = 4, X86_EXC_BR = 5,
	X86_EXC_UD = 6, X86_EXC_NM = 7, X86_EXC_DF = 8, X86_EXC_TS = 10, X86_EXC_NP = 11,
	X86_EXC_SS = 12, X86_EXC_GP = 13, X86_EXC_PF = 14, X86_EXC_MF = 16, X86_EXC_AC = 17,
	X86_EXC_MC = 18, X86_EXC_XM = 19,
};

/* State after RESET or INIT (SDM 3A 10.1.1). INIT keeps the x87/SSE state, CR0.CD/NW, MTRRs, TSC and
 * most MSRs. apic_id goes to apic_base.BSP: bsp says whether this is the boot processor. */
void x86_state_reset(struct x86_state *state, bool bsp);
void x86_state_init(struct x86_state *state, bool bsp);
/* A start-up IPI: real mode at vector:0000. */
void x86_state_sipi(struct x86_state *state, uint8_t vector);

#endif
