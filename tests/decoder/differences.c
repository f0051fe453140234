/* Where the two decoders differ on purpose. Every entry says what decides: SDM is Intel's Software
 * Developer's Manual (volume 2 unless said), APM AMD's Architecture Programmer's Manual.
 */
#include "compare.h"

struct difference {
	const char *name;
	const char *reason;
	uint32_t explains; /* enum mismatch */
	bool (*applies)(const struct comparison *c);
};

/* Extensions of Zydis that x86_decode() does not have: #UD on the processors ruse models. */
static bool unsupported_extension(const struct comparison *c)
{
	if (c->length != X86_DECODE_UD || !ZYAN_SUCCESS(c->status))
		return false;
	switch (c->zydis.meta.isa_ext) {
	case ZYDIS_ISA_EXT_AMD3DNOW:
	case ZYDIS_ISA_EXT_AMD_INVLPGB:
	case ZYDIS_ISA_EXT_AMX_BF16:
	case ZYDIS_ISA_EXT_AMX_INT8:
	case ZYDIS_ISA_EXT_AMX_TILE:
	case ZYDIS_ISA_EXT_AVX512EVEX:
	case ZYDIS_ISA_EXT_AVX512VEX:
	case ZYDIS_ISA_EXT_AVX_VNNI:
	case ZYDIS_ISA_EXT_CET:
	case ZYDIS_ISA_EXT_CLZERO:
	case ZYDIS_ISA_EXT_ENQCMD:
	case ZYDIS_ISA_EXT_FMA4:
	case ZYDIS_ISA_EXT_HRESET:
	case ZYDIS_ISA_EXT_KEYLOCKER:
	case ZYDIS_ISA_EXT_KEYLOCKER_WIDE:
	case ZYDIS_ISA_EXT_KNC:
	case ZYDIS_ISA_EXT_KNCE:
	case ZYDIS_ISA_EXT_KNCV:
	case ZYDIS_ISA_EXT_MCOMMIT:
	case ZYDIS_ISA_EXT_MONITORX:
	case ZYDIS_ISA_EXT_MOVDIR:
	case ZYDIS_ISA_EXT_MPX:
	case ZYDIS_ISA_EXT_PADLOCK:
	case ZYDIS_ISA_EXT_PCONFIG:
	case ZYDIS_ISA_EXT_PT:
	case ZYDIS_ISA_EXT_RDPRU:
	case ZYDIS_ISA_EXT_RTM:
	case ZYDIS_ISA_EXT_SERIALIZE:
	case ZYDIS_ISA_EXT_SGX:
	case ZYDIS_ISA_EXT_SGX_ENCLV:
	case ZYDIS_ISA_EXT_SMX:
	case ZYDIS_ISA_EXT_SNP:
	case ZYDIS_ISA_EXT_TBM:
	case ZYDIS_ISA_EXT_TDX:
	case ZYDIS_ISA_EXT_TSX_LDTRK:
	case ZYDIS_ISA_EXT_UINTR:
	case ZYDIS_ISA_EXT_VMFUNC:
	case ZYDIS_ISA_EXT_WAITPKG:
	case ZYDIS_ISA_EXT_XOP: return true;
	/* Of the virtual machine instructions only VMCALL and VMMCALL. */
	case ZYDIS_ISA_EXT_VTX: return c->zydis.mnemonic != ZYDIS_MNEMONIC_VMCALL;
	case ZYDIS_ISA_EXT_SVM: return c->zydis.mnemonic != ZYDIS_MNEMONIC_VMMCALL;
	default: return false;
	}
}

/* Both refuse. Which of #UD and #GP(0) (too long) depends on how many bytes a decoder looks at. */
static bool both_refuse(const struct comparison *c)
{
	return c->length < 0 && !ZYAN_SUCCESS(c->status);
}

static bool valid_both(const struct comparison *c)
{
	return c->length > 0 && ZYAN_SUCCESS(c->status) && c->length == c->zydis.length;
}

static bool conditional_move(const struct comparison *c)
{
	if (!valid_both(c))
		return false;
	switch (c->insn.op) {
	case X86_CMOVCC:
	case X86_FCMOVB: case X86_FCMOVBE: case X86_FCMOVE: case X86_FCMOVNB: case X86_FCMOVNBE:
	case X86_FCMOVNE: case X86_FCMOVU: case X86_FCMOVNU: return true;
	default: return false;
	}
}

static bool sbb_af(const struct comparison *c)
{
	return valid_both(c) && c->insn.op == X86_SBB;
}

static bool sib_base_rex_b(const struct comparison *c)
{
	const ZyanU8 sib_base = c->zydis.raw.sib.base;

	return valid_both(c) && c->mode == X86_MODE_64 && c->insn.addrsize == 4 && c->zydis.raw.rex.B &&
	       c->zydis.raw.modrm.mod == 0 && c->zydis.raw.modrm.rm == 4 && sib_base == 5 &&
	       c->insn.mem.base == X86_REG_NONE;
}

static bool movsxd_16(const struct comparison *c)
{
	return valid_both(c) && c->insn.op == X86_MOVSXD && c->insn.opsize == 2;
}

static bool ptest_flags(const struct comparison *c)
{
	return valid_both(c) && (c->insn.op == X86_VPTEST || c->insn.op == X86_VTESTPS || c->insn.op == X86_VTESTPD);
}

static bool bextr_flags(const struct comparison *c)
{
	return valid_both(c) && c->insn.op == X86_BEXTR;
}

static bool vmcall_flags(const struct comparison *c)
{
	return valid_both(c) && c->insn.op == X86_VMCALL;
}

static bool element_register_size(const struct comparison *c)
{
	if (valid_both(c) && c->zydis.raw.modrm.mod == 3 &&
	    (c->insn.op == X86_VBROADCASTSS || c->insn.op == X86_VBROADCASTSD))
		return true;
	return valid_both(c) && (c->insn.op == X86_VUCOMISS || c->insn.op == X86_VUCOMISD ||
				 c->insn.op == X86_VCOMISS || c->insn.op == X86_VCOMISD);
}

static bool pause_rex_b(const struct comparison *c)
{
	return valid_both(c) && c->zydis.mnemonic == ZYDIS_MNEMONIC_PAUSE && c->insn.op == X86_XCHG &&
	       c->zydis.raw.rex.B;
}

static bool cvtsi2s_access(const struct comparison *c)
{
	return valid_both(c) && (c->insn.op == X86_CVTSI2SS || c->insn.op == X86_CVTSI2SD);
}

static bool sse4a_access(const struct comparison *c)
{
	return valid_both(c) && (c->insn.op == X86_EXTRQ || c->insn.op == X86_INSERTQ);
}

static bool lar_operands(const struct comparison *c)
{
	return valid_both(c) && (c->insn.op == X86_LAR || c->insn.op == X86_LSL);
}

static bool far_pointer(const struct comparison *c)
{
	return valid_both(c) && c->insn.operand[0].kind == X86_OPND_FAR;
}

static bool bit_scan(const struct comparison *c)
{
	return valid_both(c) && (c->insn.op == X86_BSF || c->insn.op == X86_BSR);
}

static bool string_pointers(const struct comparison *c)
{
	return valid_both(c) && (c->insn.op == X86_CMPS || c->insn.op == X86_SCAS || c->insn.op == X86_INS ||
				 c->insn.op == X86_OUTS);
}

static bool interrupt_pushes(const struct comparison *c)
{
	return valid_both(c) && (c->insn.op == X86_INT || c->insn.op == X86_INT1 || c->insn.op == X86_INT3 ||
				 c->insn.op == X86_INTO);
}

static bool leave_rsp(const struct comparison *c)
{
	return valid_both(c) && c->insn.op == X86_LEAVE;
}

static bool xlat_al(const struct comparison *c)
{
	return valid_both(c) && c->insn.op == X86_XLAT;
}

static bool rsm_registers(const struct comparison *c)
{
	return valid_both(c) && c->insn.op == X86_RSM;
}

static const struct difference differences[] = {
	{
		.name = "unsupported extension",
		.reason = "no such CPUID feature: see the list above",
		.explains = MISMATCH_REFUSED_HERE,
		.applies = unsupported_extension,
	},
	{
		.name = "CMOVcc, FCMOVcc access",
		.reason = "SDM CMOVcc: the destination is kept when the condition is false, so it is read too",
		.explains = MISMATCH_ACCESS | MISMATCH_REGS_READ,
		.applies = conditional_move,
	},
	{
		.name = "SBB AF",
		.reason = "SDM SBB: AF is set according to the result; Zydis has it undefined",
		.explains = MISMATCH_FLAGS_UNDEFINED,
		.applies = sbb_af,
	},
	{
		.name = "SIB base 5 with REX.B",
		.reason = "SDM 2 table 2-5: mod 0 with base 101b is disp32 without base, REX.B is not decoded; Zydis "
		  "shows R13D without displacement when the address size is 32",
		.explains = MISMATCH_BASE | MISMATCH_DISPLACEMENT | MISMATCH_REGS_READ,
		.applies = sib_base_rex_b,
	},
	{
		.name = "MOVSXD with 66",
		.reason = "SDM MOVSXD: r16, r/m16; Zydis reads 32 bits",
		.explains = MISMATCH_GPR_SIZE | MISMATCH_MEMORY_SIZE,
		.applies = movsxd_16,
	},
	{
		.name = "VPTEST, VTESTPS flags",
		.reason = "SDM VPTEST, VTESTPS: OF, SF, AF, PF are cleared; Zydis leaves them out",
		.explains = MISMATCH_FLAGS_CHANGED,
		.applies = ptest_flags,
	},
	{
		.name = "BEXTR CF, OF",
		.reason = "SDM BEXTR: CF and OF are cleared; Zydis has them undefined",
		.explains = MISMATCH_FLAGS_UNDEFINED,
		.applies = bextr_flags,
	},
	{
		.name = "VMCALL flags",
		.reason = "SDM 3C 31.2: VMfail sets flags outside of a guest only; a hypercall leaves them",
		.explains = MISMATCH_FLAGS_CHANGED,
		.applies = vmcall_flags,
	},
	{
		.name = "VCOMISS, VBROADCASTSS register size",
		.reason = "SDM VCOMISS: the low element is used; Zydis gives the whole register",
		.explains = MISMATCH_VECTOR_SIZE,
		.applies = element_register_size,
	},
	{
		.name = "F3 41 90",
		.reason = "SDM XCHG, NOP: 90 is NOP (with F3 PAUSE) for rAX only; with REX.B it is XCHG r8, rAX, and "
		  "processors do that; Zydis: PAUSE",
		.explains = MISMATCH_OPERATION,
		.applies = pause_rex_b,
	},
	{
		.name = "CVTSI2SS access",
		.reason = "decode.h: the operand is the bytes written; Zydis counts the kept rest as read",
		.explains = MISMATCH_ACCESS,
		.applies = cvtsi2s_access,
	},
	{
		.name = "EXTRQ, INSERTQ access",
		.reason = "APM 4 EXTRQ: the field is taken from the destination register; Zydis: written only",
		.explains = MISMATCH_ACCESS | MISMATCH_VECTOR_SIZE,
		.applies = sse4a_access,
	},
	{
		.name = "LAR, LSL operands",
		.reason = "SDM LAR, LSL: r32, r32/m16, the destination is kept when ZF is cleared; Zydis: the source has the "
		  "operand size, LAR's destination is written only",
		.explains = MISMATCH_GPR_SIZE | MISMATCH_ACCESS | MISMATCH_REGS_READ,
		.applies = lar_operands,
	},
	{
		.name = "far pointer's field",
		.reason = "decode.h: offset and selector are where immediates are; Zydis says nothing of where they are",
		.explains = MISMATCH_FIELD,
		.applies = far_pointer,
	},
	{
		.name = "BSF, BSR destination",
		.reason = "APM 3 BSF: the destination is kept when the source is 0, so its old value matters",
		.explains = MISMATCH_REGS_READ,
		.applies = bit_scan,
	},
	{
		.name = "CMPS, SCAS, INS, OUTS pointers",
		.reason = "SDM CMPS, SCAS, INS, OUTS: rSI and rDI advance; Zydis has them as read only",
		.explains = MISMATCH_REGS_WRITTEN,
		.applies = string_pointers,
	},
	{
		.name = "INT n, INT1, INT3, INTO RSP",
		.reason = "SDM INT n: flags, CS and rIP are pushed; Zydis leaves the stack out",
		.explains = MISMATCH_REGS_READ | MISMATCH_REGS_WRITTEN,
		.applies = interrupt_pushes,
	},
	{
		.name = "LEAVE RSP",
		.reason = "SDM LEAVE: rSP is set from rBP before the pop, what it was does not matter; Zydis has it read",
		.explains = MISMATCH_REGS_READ,
		.applies = leave_rsp,
	},
	{
		.name = "XLAT AL",
		.reason = "SDM XLAT: AL is the index into the table; Zydis shows rBX only",
		.explains = MISMATCH_REGS_READ,
		.applies = xlat_al,
	},
	{
		.name = "RSM registers",
		.reason = "SDM RSM: the state is taken from the save area; Zydis lists none of it",
		.explains = MISMATCH_REGS_WRITTEN,
		.applies = rsm_registers,
	},
	{
		.name = "both refuse",
		.reason = "#UD or #GP(0): SDM 3A table 6-2 has both in the class of decoding faults",
		.explains = MISMATCH_ERROR,
		.applies = both_refuse,
	},
};

const char *explain_mismatches(const struct comparison *c, uint32_t *mismatches)
{
	const char *name = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(differences); i++)
		if (*mismatches & differences[i].explains && differences[i].applies(c)) {
			*mismatches &= ~differences[i].explains;
			name = differences[i].name;
		}
	return name;
}
