/* Facts about operations, from ops.def: name, CPUID feature, status flags. Example of use: decode.h. */
#include "arch/x86_64/decode.h"
#include "arch/x86_64/state.h"

#define CF X86_FLAG_CF
#define PF X86_FLAG_PF
#define AF X86_FLAG_AF
#define ZF X86_FLAG_ZF
#define SF X86_FLAG_SF
#define OF X86_FLAG_OF
#define ALL X86_FLAGS_STATUS

/* The classes of ops.def's third column: written, undefined, read (SDM 1 appendix A). Where flags may
 * stay as they were (a shift by 0, REP with count 0) they are counted as read. */
#define FLAGS_NONE         { 0, 0, 0 }
#define FLAGS_ALL          { ALL, 0, 0 }
#define FLAGS_ARITH        { ALL, 0, 0 }
#define FLAGS_ARITH_CARRY  { ALL, 0, CF }
#define FLAGS_ARITH_REP    { ALL, 0, ALL }
#define FLAGS_LOGIC        { ALL & ~AF, AF, 0 }
#define FLAGS_INC          { ALL & ~CF, 0, 0 }
#define FLAGS_SHIFT        { ALL & ~AF, AF, ALL } /* OF is undefined too when the count is not 1 */
#define FLAGS_ROTATE       { CF | OF, 0, CF | OF }  /* likewise */
#define FLAGS_ROTATE_CARRY { CF | OF, 0, CF | OF }  /* likewise */
#define FLAGS_MUL          { CF | OF, SF | ZF | AF | PF, 0 }
#define FLAGS_DIV          { 0, ALL, 0 }
#define FLAGS_SCAN         { ZF, ALL & ~ZF, 0 }
#define FLAGS_BIT          { CF, OF | SF | AF | PF, 0 }
#define FLAGS_COUNT        { CF | ZF, OF | SF | PF | AF, 0 }
#define FLAGS_AAA          { AF | CF, OF | SF | ZF | PF, AF }
#define FLAGS_DAA          { ALL & ~OF, OF, AF | CF }
#define FLAGS_AAM          { SF | ZF | PF, OF | AF | CF, 0 }
#define FLAGS_CF           { CF, 0, 0 }
#define FLAGS_CF_CARRY     { CF, 0, CF }
#define FLAGS_READ_CF      { 0, 0, CF }
#define FLAGS_OF_CARRY     { OF, 0, OF }
#define FLAGS_SAHF         { ALL & ~OF, 0, 0 }
#define FLAGS_LAHF         { 0, 0, ALL & ~OF }
#define FLAGS_PUSHF        { 0, 0, ALL }
#define FLAGS_READ_CC      { 0, 0, ALL & ~AF }
#define FLAGS_INTO         { 0, 0, ALL }
#define FLAGS_READ_ZF      { 0, 0, ZF }
#define FLAGS_ZF           { ZF, 0, 0 }
#define FLAGS_FCOMI        { ALL, 0, 0 }
#define FLAGS_FCMOV        { 0, 0, CF | PF | ZF }
#define FLAGS_ANDN         { SF | ZF | OF | CF, AF | PF, 0 }
#define FLAGS_BEXTR        { ZF | OF | CF, AF | SF | PF, 0 }

struct op_info {
	const char *name;
	struct x86_op_flags flags;
	uint8_t feature;
};

static const struct op_info op_infos[X86_OP_COUNT] = {
	[X86_INVALID] = { "INVALID", FLAGS_NONE, X86_FEATURE_BASE },
#define INSN_OP(name, feature, flags) [X86_##name] = { #name, FLAGS_##flags, X86_FEATURE_##feature },
#include "arch/x86_64/ops.def"
#undef INSN_OP
};

static const struct op_info *op_info(unsigned op)
{
	return &op_infos[op < X86_OP_COUNT ? op : X86_INVALID];
}

const char *x86_op_name(unsigned op)
{
	return op_info(op)->name;
}

enum x86_feature x86_op_feature(unsigned op)
{
	return (enum x86_feature)op_info(op)->feature;
}

struct x86_op_flags x86_op_flags(unsigned op)
{
	return op_info(op)->flags;
}
