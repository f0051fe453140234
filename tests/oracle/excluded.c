/* Operations that can't be compared natively. See excluded.h. */
#include "tests/oracle/excluded.h"
#include "arch/x86_64/decode.h"
#include "arch/x86_64/state.h"

#define SELECTORS "loads selectors of the host's own descriptor tables"
#define KERNEL	  "enters the host's kernel"
#define IDENTITY  "tells which processor this is, or the time"
#define EMULATED  "emulated by the host's kernel (UMIP)"

static const struct {
	uint16_t op;
	const char *reason;
} excluded[] = {
    {X86_SYSCALL, KERNEL},
    {X86_SYSENTER, KERNEL},
    {X86_INT, KERNEL},
    {X86_INT1, KERNEL},
    {X86_INT3, KERNEL},
    {X86_INTO, KERNEL},
    {X86_IRET, SELECTORS},
    {X86_JMP_FAR, SELECTORS},
    {X86_CALL_FAR, SELECTORS},
    {X86_RET_FAR, SELECTORS},
    {X86_MOV_SEG, SELECTORS},
    {X86_LDS, SELECTORS},
    {X86_LES, SELECTORS},
    {X86_LSS, SELECTORS},
    {X86_LFS, SELECTORS},
    {X86_LGS, SELECTORS},
    {X86_LAR, SELECTORS},
    {X86_LSL, SELECTORS},
    {X86_VERR, SELECTORS},
    {X86_VERW, SELECTORS},
    {X86_SGDT, EMULATED},
    {X86_SIDT, EMULATED},
    {X86_SLDT, EMULATED},
    {X86_SMSW, EMULATED},
    {X86_STR, EMULATED},
    {X86_CPUID, IDENTITY},
    {X86_RDTSC, IDENTITY},
    {X86_RDTSCP, IDENTITY},
    {X86_RDPMC, IDENTITY},
    {X86_RDPID, IDENTITY},
    {X86_RDRAND, "random"},
    {X86_RDSEED, "random"},
    {X86_XGETBV, "the host has more state components enabled"},
    {X86_RDPKRU, "depends on CR4.PKE"},
    {X86_WRPKRU, "depends on CR4.PKE"},
    {X86_VMCALL, "leaves for the hypervisor"},
    {X86_VMMCALL, "leaves for the hypervisor"},
    {X86_MONITOR, "privilege depends on the host's MSRs"},
    {X86_MWAIT, "privilege depends on the host's MSRs"},
};

const char *excluded_reason(unsigned op)
{
	for (size_t i = 0; i < ARRAY_SIZE(excluded); i++)
		if (excluded[i].op == op)
			return excluded[i].reason;
	return NULL;
}

bool alignment_differs(const struct x86_insn *insn)
{
	switch (insn->op) {
	case X86_SHA1MSG1:
	case X86_SHA1MSG2:
	case X86_SHA1NEXTE:
	case X86_SHA1RNDS4:
	case X86_SHA256MSG1:
	case X86_SHA256MSG2:
	case X86_SHA256RNDS2:
		return insn->operand[1].kind == X86_OPND_MEM;
	}
	return false;
}

bool masks_elements(unsigned op)
{
	switch (op) {
	case X86_MASKMOVQ:
	case X86_MASKMOVDQU:
	case X86_VMASKMOVDQU:
	case X86_VMASKMOVPS:
	case X86_VMASKMOVPD:
	case X86_VPMASKMOVD:
	case X86_VPMASKMOVQ:
		return true;
	}
	return false;
}

static bool is_memory_fault(unsigned vector)
{
	return vector == X86_EXC_SS || vector == X86_EXC_GP || vector == X86_EXC_PF ||
	       vector == X86_EXC_AC;
}

bool is_save_area(unsigned op)
{
	switch (op) {
	case X86_FXSAVE:
	case X86_FXRSTOR:
	case X86_XSAVE:
	case X86_XSAVEOPT:
	case X86_XSAVEC:
	case X86_XRSTOR:
	case X86_FNSAVE:
	case X86_FRSTOR:
	case X86_FNSTENV:
	case X86_FLDENV:
		return true;
	}
	return false;
}

uint64_t fault_address_slack(const struct x86_insn *insn)
{
	if (is_save_area(insn->op))
		return ~0ull; /* its pages are touched in any order */
	return masks_elements(insn->op) ? ~PAGE_MASK : 0;
}

bool fault_order_differs(const struct x86_insn *insn, unsigned a, unsigned b)
{
	switch (insn->op) {
	case X86_CMPS: /* which operand is read first depends on the maker, and on REP */
	case X86_CALL: /* the push or the target */
	case X86_PUSH: /* the source or the push */
	case X86_BT:   /* far outside of the operand: what of the address is checked */
	case X86_BTS:
	case X86_BTR:
	case X86_BTC:
		break;
	default:
		if (!is_save_area(insn->op))
			return false;
	}
	return is_memory_fault(a) && is_memory_fault(b);
}

bool branch_faults_late(const struct x86_insn *insn, uint64_t rip, const struct outcome *native,
			const struct outcome *translated)
{
	if (insn->op != X86_JMP && insn->op != X86_CALL && insn->op != X86_RET)
		return false;
	return native->fault && native->vector == X86_EXC_GP && translated->fault &&
	       translated->vector == X86_EXC_GP && (uint64_t)((int64_t)(rip << 16) >> 16) != rip;
}

bool fault_registers_differ(const struct x86_insn *insn)
{
	return insn->op == X86_POPA;
}

bool fault_transition_differs(const struct x86_insn *insn)
{
	switch (insn->op) {
	case X86_MASKMOVQ:
	case X86_CVTPI2PS:
	case X86_CVTPI2PD:
	case X86_CVTPS2PI:
	case X86_CVTPD2PI:
	case X86_CVTTPS2PI:
	case X86_CVTTPD2PI:
		return true;
	}
	return false;
}

#define FSW_ES 0x0080u

bool status_flags_differ(const struct x86_insn *insn, const struct xsave_image *x, bool fault)
{
	switch (insn->op) {
	case X86_CMPS: /* Intel restores them when a repetition faults */
	case X86_SCAS:
		return fault && insn->prefixes & (X86_PFX_REP | X86_PFX_REPNE);
	case X86_FCOMI: /* AMD sets them in spite of an unmasked exception */
	case X86_FCOMIP:
	case X86_FUCOMI:
	case X86_FUCOMIP:
		return x->fsw & FSW_ES;
	}
	return false;
}

enum approximate approximate(unsigned op)
{
	switch (op) {
	case X86_RCPPS:
	case X86_RCPSS:
	case X86_RSQRTPS:
	case X86_RSQRTSS:
	case X86_VRCPPS:
	case X86_VRCPSS:
	case X86_VRSQRTPS:
	case X86_VRSQRTSS:
		return APPROXIMATE_SINGLE;
	case X86_F2XM1:
	case X86_FYL2X:
	case X86_FYL2XP1:
	case X86_FPTAN:
	case X86_FPATAN:
	case X86_FSIN:
	case X86_FCOS:
	case X86_FSINCOS:
		return APPROXIMATE_X87;
	default:
		return APPROXIMATE_NOT;
	}
}

#define FSW_IE 0x0001u
#define FSW_PE 0x0020u
#define FSW_C0 0x0100u
#define FSW_C1 0x0200u
#define FSW_C3 0x4000u

/* ST(0) is a NaN: an invalid operation, or one on a NaN. */
static bool result_is_nan(const struct xsave_image *x)
{
	return (x->st[0][9] & 0x7f) == 0x7f && x->st[0][8] == 0xff;
}

uint16_t undefined_status(unsigned op, const struct xsave_image *x)
{
	switch (op) {
	case X86_FCMOVB:
	case X86_FCMOVE:
	case X86_FCMOVBE:
	case X86_FCMOVU:
	case X86_FCMOVNB:
	case X86_FCMOVNE:
	case X86_FCMOVNBE:
	case X86_FCMOVNU:
	case X86_FCOMI:
	case X86_FCOMIP:
	case X86_FUCOMI:
	case X86_FUCOMIP:
	case X86_FFREE:
	case X86_FFREEP:
		return FSW_C1;
	case X86_FPREM:
	case X86_FPREM1: /* the quotient where there is none */
		return x->fsw & (FSW_IE | FSW_ES) || result_is_nan(x) ? FSW_C0 | FSW_C1 | FSW_C3
								      : 0;
	default:
		return approximate(op) == APPROXIMATE_X87 ? FSW_C1 | FSW_PE : 0;
	}
}
