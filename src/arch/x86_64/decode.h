/* The x86 instruction decoder: bytes in, struct x86_insn out. Table-driven: insns.def is the one table
 * of encodings that the interpreter, the translator and the exit handlers of svm/vmx share.
 *
 * Example:
 *     struct x86_insn insn;
 *     int n = x86_decode(&insn, bytes, sizeof(bytes), X86_MODE_64);
 *     if (n == X86_DECODE_UD) ...
 *
 * Knows all encodings of 16-, 32- and 64-bit modes up to AVX2/FMA/BMI/F16C/SHA/AES/ADX/XSAVE (no EVEX,
 * XOP, 3DNow, MVEX: those are #UD). It does not look at CPUID or at control registers: whether the
 * guest is offered the extension is the engine's check by x86_op_feature(op).
 *
 * Naming: X86_<SDM mnemonic>. VEX forms have their own mnemonics (X86_VADDPS). One op for
 *   - the condition families: X86_JCC, X86_SETCC, X86_CMOVCC with insn.cc;
 *   - string instructions: X86_MOVS STOS LODS CMPS SCAS INS OUTS, element size in opsize; the SSE
 *     instructions of like name are X86_MOVSD and X86_CMPSD;
 *   - near X86_JMP CALL RET (REL or r/m operand), far X86_JMP_FAR CALL_FAR RET_FAR;
 *   - moves to and from special registers X86_MOV_CR MOV_DR MOV_SEG (operands say which way);
 *   - width families by opsize: X86_CBW (CWDE, CDQE), X86_CWD (CDQ, CQO), X86_PUSHA, POPA, PUSHF, POPF,
 *     IRET, ENTER, LEAVE;
 *   - no-operations: X86_NOP (incl. hint space 0f 18..1f, endbr), X86_PAUSE;
 *   - the SDM's spelling decides where size is part of the name: X86_MOVD/MOVQ, PEXTRD/PEXTRQ,
 *     CMPXCHG8B/CMPXCHG16B; but X86_FXSAVE, XSAVE... also for FXSAVE64 (opsize 8).
 * Operands are the explicit ones in the SDM's order, destination first. Implicit ones are not listed:
 *   - string instructions and XLAT have none, mem.seg is the segment of the rSI (XLAT: rBX) side; so it
 *     is for MASKMOVQ, MASKMOVDQU and MONITOR, and addrsize says which of SI, ESI, RSI;
 *   - x87: FADD m32 has the memory operand alone, FADD ST(0),ST(i) both, FXCH and FCOM the ST(i);
 *   - shifts by one have an immediate 1, by CL the register CL; IN and OUT have AL/AX/EAX and DX;
 *     BLENDVPS, PBLENDVB, SHA256RNDS2 have XMM0 as operand 2.
 * Sizes of vector registers: the bytes read or written. ADDSS xmm, xmm has 4 and 4; VADDSS 16, 16 and 4;
 * MOVSS xmm, m32 16 (it clears the rest) and 4. Sizes below 16 are XMM registers, 32 is YMM.
 * Immediates are extended to operand.size bytes, the bits above are 0.
 * What depends on the guest's features or mode is the engine's: TZCNT, LZCNT without the feature are BSF
 * and BSR; VEX is #UD in real and virtual-8086 mode; MOV to CR8; SYSCALL and SYSENTER by vendor and mode.
 */
#ifndef ARCH_X86_64_DECODE_H
#define ARCH_X86_64_DECODE_H

#include "base/types.h"

enum x86_op {
	X86_INVALID,
#define INSN_OP(name, feature, flags) X86_##name,
#include "arch/x86_64/ops.def"
#undef INSN_OP
	X86_OP_COUNT
};

enum x86_mode { X86_MODE_16, X86_MODE_32, X86_MODE_64 };

enum x86_operand_kind {
	X86_OPND_NONE,
	X86_OPND_GPR, /* reg 0..15; size 1: reg 16..19 are AH, CH, DH, BH */
	X86_OPND_MEM, /* the one memory operand: x86_insn.mem; size in bytes, 0 when nothing is accessed (LEA) */
	X86_OPND_IMM, /* x86_insn.imm, sign- or zero-extended as the instruction asks */
	X86_OPND_IMM2, /* x86_insn.imm2: ENTER's level, EXTRQ-like second immediates */
	X86_OPND_REL, /* branch displacement in imm, sign-extended, relative to the next instruction */
	X86_OPND_FAR, /* imm = offset, imm2 = selector */
	X86_OPND_SEG, /* enum x86_seg */
	X86_OPND_CR,
	X86_OPND_DR,
	X86_OPND_ST,  /* ST(reg) */
	X86_OPND_MMX,
	X86_OPND_XMM,
	X86_OPND_YMM,
};

enum { X86_ACCESS_READ = 1, X86_ACCESS_WRITE = 2 };

/* Where an operand is encoded. */
enum x86_field {
	X86_FIELD_NONE,   /* nowhere: fixed by the opcode */
	X86_FIELD_REG,    /* ModRM.reg */
	X86_FIELD_RM,     /* ModRM.rm: register or memory */
	X86_FIELD_VVVV,   /* VEX.vvvv */
	X86_FIELD_OPCODE, /* the low three bits of the opcode */
	X86_FIELD_IMM,    /* behind ModRM and displacement; IS4 registers too */
	X86_FIELD_MOFFS,
};

struct x86_operand {
	uint8_t kind;   /* enum x86_operand_kind */
	uint8_t reg;
	uint16_t size;  /* bytes; FXSAVE 512; XSAVE 0 (varies) */
	uint8_t access;
	uint8_t field;  /* enum x86_field */
};

#define X86_REG_NONE 0xff
#define X86_REG_RIP  16 /* as mem.base: disp is relative to the next instruction */
#define X86_REG_AH   16 /* as a GPR operand of size 1 */

struct x86_mem {
	uint8_t seg;   /* enum x86_seg, override and defaults applied */
	uint8_t base;  /* X86_REG_NONE, 0..15, X86_REG_RIP */
	uint8_t index; /* X86_REG_NONE, 0..15; for VSIB a vector register */
	uint8_t scale; /* 1, 2, 4, 8 */
	int64_t disp;  /* sign-extended; moffs: the address, zero-extended */
};

enum x86_prefix {
	X86_PFX_LOCK = 1u << 0,
	X86_PFX_REP = 1u << 1,   /* F3 as a prefix (not as part of the opcode) */
	X86_PFX_REPNE = 1u << 2, /* F2 likewise */
	X86_PFX_OPSIZE = 1u << 3,
	X86_PFX_ADDRSIZE = 1u << 4,
	X86_PFX_SEG = 1u << 5,
	X86_PFX_REX = 1u << 6,
	X86_PFX_REX_W = 1u << 7,
	X86_PFX_VEX = 1u << 8,
	X86_PFX_VSIB = 1u << 9,
};

struct x86_insn {
	uint16_t op;       /* enum x86_op */
	uint8_t length;    /* 1..15 */
	uint8_t mode;      /* enum x86_mode */
	uint16_t prefixes; /* enum x86_prefix */
	uint8_t opsize;    /* effective operand size: 1, 2, 4, 8 */
	uint8_t addrsize;  /* 2, 4, 8 */
	uint8_t cc;        /* condition 0..15 of JCC, SETCC, CMOVCC */
	uint8_t vl;        /* vector length in bytes of VEX instructions: 16, 32; else 0 */
	uint8_t operand_count;
	uint8_t opcode;    /* last opcode byte, for x87's FOP and traces */
	uint8_t modrm;     /* 0 when there is none */
	uint8_t feature;   /* enum x86_feature of this form, e.g. AVX2 for a YMM VPADDB; see x86_op_feature() */
	/* Where the encoding's parts are, in bytes from its start; for whoever encodes the instruction anew. */
	uint8_t map;           /* 0: one-byte opcodes, 1: 0F, 2: 0F38, 3: 0F3A */
	uint8_t opcode_offset; /* of the last opcode byte */
	uint8_t modrm_offset;  /* 0: there is none */
	uint8_t vex_bytes;     /* of a VEX prefix: 2 or 3, else 0 */
	uint8_t imm_offset;    /* of immediates and branch displacements; the length when there are none */
	struct x86_operand operand[4];
	uint32_t imm2;
	struct x86_mem mem;
	uint64_t imm;
};

/* Decodes one instruction from at most `available` bytes (more than 15 are never looked at).
 * Returns its length, or:
 *   X86_DECODE_UD    no such instruction in this mode, or LOCK where it is not allowed;
 *   X86_DECODE_MORE  the bytes ended before the instruction did (fetch more: page end);
 *   X86_DECODE_LONG  longer than 15 bytes (#GP(0)).
 * On X86_DECODE_UD insn->length is the number of bytes looked at. */
enum { X86_DECODE_UD = -1, X86_DECODE_MORE = -2, X86_DECODE_LONG = -3 };
int x86_decode(struct x86_insn *insn, const uint8_t *bytes, size_t available, enum x86_mode mode);

/* "ADDPS" */
const char *x86_op_name(unsigned op);

/* The CPUID feature an operation belongs to: of VEX instructions the 128-bit form's. x86_insn.feature is
 * more exact (256-bit integer forms are AVX2, VAES, VPCLMULQDQ; LAHF of 64-bit mode), so check that one. VEX forms of AES,
 * PCLMULQDQ, GFNI, F16C, FMA and AVX2 need AVX as well: the gate for VEX instructions. */
enum x86_feature {
	X86_FEATURE_BASE, /* always there on x86-64 incl. x87, MMX, SSE, SSE2, FXSR, SYSCALL */
	X86_FEATURE_SSE3, X86_FEATURE_SSSE3, X86_FEATURE_SSE4_1, X86_FEATURE_SSE4_2, X86_FEATURE_SSE4A,
	X86_FEATURE_POPCNT, X86_FEATURE_LZCNT, X86_FEATURE_MOVBE, X86_FEATURE_AES, X86_FEATURE_PCLMULQDQ,
	X86_FEATURE_SHA, X86_FEATURE_BMI1, X86_FEATURE_BMI2, X86_FEATURE_ADX, X86_FEATURE_RDRAND,
	X86_FEATURE_RDSEED, X86_FEATURE_XSAVE, X86_FEATURE_XSAVEOPT, X86_FEATURE_XSAVEC,
	X86_FEATURE_XSAVES, X86_FEATURE_AVX, X86_FEATURE_AVX2, X86_FEATURE_FMA, X86_FEATURE_F16C,
	X86_FEATURE_VAES, X86_FEATURE_VPCLMULQDQ, X86_FEATURE_GFNI, X86_FEATURE_FSGSBASE,
	X86_FEATURE_INVPCID, X86_FEATURE_RDTSCP, X86_FEATURE_RDPID, X86_FEATURE_SMAP, X86_FEATURE_PKU,
	X86_FEATURE_CLFLUSHOPT, X86_FEATURE_CLWB, X86_FEATURE_PREFETCHW, X86_FEATURE_CX16,
	X86_FEATURE_MONITOR, X86_FEATURE_SERIALIZE, X86_FEATURE_LAHF64, /* LAHF and SAHF in 64-bit mode */
	X86_FEATURE_COUNT
};
enum x86_feature x86_op_feature(unsigned op);

/* What an instruction does to the status flags, as X86_FLAG_* masks, for lock-step, the translator's
 * lookahead and the oracle tests: written (defined), undefined, read. */
struct x86_op_flags {
	uint32_t written, undefined, read;
};
struct x86_op_flags x86_op_flags(unsigned op);

#endif
