/* RDMSR and WRMSR against the architectural state, by the table of msrs.def.
 *
 * Example:
 *     switch (x86_msr_write(&cpu->s, cpu->cpuid, ecx, value)) {
 *     case X86_MSR_GP: raise_error(cpu, X86_EXC_GP, 0);
 *     ...
 */
#include "arch/x86_64/msr.h"

enum kind { FIELD, CANONICAL, CONST, IGNORE, COMMAND, SPECIAL, DEVICE, TSC };
enum need { ALWAYS, TSC_ADJUST, SPEC_CTRL, ARCH_CAPABILITIES, MTRR, TSC_DEADLINE, XSAVES, RDTSCP };

/* IA32_ARCH_CAPABILITIES (SDM 4 table 2-2): what this processor is not vulnerable to. See cpuid.c for why. */
#define ARCH_CAPABILITIES_VALUE                                                                    \
	(1ull << 0 /* RDCL_NO */ | 1ull << 1 /* IBRS_ALL */ | 1ull << 3 /* SKIP_L1DFL_VMENTRY */ | \
	 1ull << 4 /* SSB_NO */ | 1ull << 5 /* MDS_NO */ | 1ull << 6 /* IF_PSCHANGE_MC_NO */ |     \
	 1ull << 8 /* TAA_NO */ | 1ull << 13 /* SBDR_SSDP_NO */ | 1ull << 14 /* FBSDP_NO */ |      \
	 1ull << 15 /* PSDP_NO */ | 1ull << 20 /* BHI_NO */ | 1ull << 24 /* PBRSB_NO */ |          \
	 1ull << 26 /* GDS_NO */ | 1ull << 27 /* RFDS_NO */ | 1ull << 62 /* ITS_NO */)

struct row {
	uint32_t index;
	uint8_t kind, need;
	uint16_t offset; /* in struct x86_state */
	uint64_t writable, fixed;
	const char *name;
};

#define NONE rip /* the field of rows that have none: never looked at */

static const struct row rows[] = {
#define X86_MSR_ROW(number, name, need, kind, field, writable, fixed)                              \
	{number, kind, need, offsetof(struct x86_state, field), writable, fixed, #name},
#include "arch/x86_64/msrs.def"
#undef X86_MSR_ROW
};

#define X86_MSR_ROW(number, name, need, kind, field, ...)                                          \
	_Static_assert(sizeof(((struct x86_state *)0)->field) == 8, #name ": load() and store() move 8 bytes");
#include "arch/x86_64/msrs.def"
#undef X86_MSR_ROW

enum row_number {
#define X86_MSR_ROW(number, name, ...) ROW_##name,
#include "arch/x86_64/msrs.def"
#undef X86_MSR_ROW
};

static const struct row *find(uint32_t index)
{
	switch (index) {
#define X86_MSR_ROW(number, name, ...)                                                             \
	case number:                                                                               \
		return &rows[ROW_##name];
#include "arch/x86_64/msrs.def"
#undef X86_MSR_ROW
	default:
		return NULL;
	}
}

const char *x86_msr_name(uint32_t index)
{
	const struct row *row = find(index);

	return row ? row->name : NULL;
}

static bool is_x2apic(uint32_t index)
{
	return index >= X86_MSR_X2APIC_FIRST && index <= X86_MSR_X2APIC_LAST;
}

static bool exists(const struct row *row, const struct x86_cpuid_table *cpuid)
{
	const struct x86_cpuid_entry *leaf;

	if (row->need == ALWAYS)
		return true;
	if (row->need == XSAVES)
		return cpuid->features[X86_FEATURE_XSAVES];
	if (row->need == RDTSCP)
		return cpuid->features[X86_FEATURE_RDTSCP] || cpuid->features[X86_FEATURE_RDPID];
	if (row->need == TSC_DEADLINE || row->need == MTRR) {
		leaf = x86_cpuid_lookup(cpuid, 1, 0);
		return leaf && (row->need == MTRR ? leaf->edx >> 12 & 1 : leaf->ecx >> 24 & 1);
	}
	leaf = x86_cpuid_lookup(cpuid, 7, 0);
	if (!leaf)
		return false;
	if (row->need == TSC_ADJUST)
		return leaf->ebx >> 1 & 1;
	return row->need == SPEC_CTRL ? leaf->edx >> 26 & 1 : leaf->edx >> 29 & 1;
}

static uint64_t load(const struct x86_state *state, const struct row *row)
{
	return *(const uint64_t *)((const char *)state + row->offset);
}

static void store(struct x86_state *state, const struct row *row, uint64_t value)
{
	*(uint64_t *)((char *)state + row->offset) = value;
}

static bool is_canonical(uint64_t address)
{
	return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

/* ---- memory types (SDM 3A 11.11, 11.12) ---- */
static bool is_mtrr_type(uint64_t type)
{
	return type <= 6 && type != 2 && type != 3;
}

static bool is_pat_type(uint64_t type)
{
	return type <= 7 && type != 2 && type != 3;
}

static bool all_bytes(uint64_t value, bool (*is_valid)(uint64_t byte))
{
	for (unsigned i = 0; i < 8; i++)
		if (!is_valid(value >> 8 * i & 0xff))
			return false;
	return true;
}

static bool is_valid_mtrr(const struct x86_cpuid_table *cpuid, uint32_t index, uint64_t value)
{
	uint64_t address = ((1ull << cpuid->physical_bits) - 1) & PAGE_MASK;

	if (index == X86_MSR_MTRR_DEF_TYPE)
		return (value & ~0xcffull) == 0 && is_mtrr_type(value & 0xff);
	if (index >= X86_MSR_MTRR_FIX64K_00000)
		return all_bytes(value, is_mtrr_type);
	if (index & 1)
		return (value & ~(address | 1u << 11)) == 0;
	return (value & ~(address | 0xff)) == 0 && is_mtrr_type(value & 0xff);
}

static enum x86_msr_result write_efer(struct x86_state *state, const struct x86_cpuid_table *cpuid, uint64_t value)
{
	if (value & ~cpuid->efer_valid)
		return X86_MSR_GP;
	if ((state->cr0 & X86_CR0_PG) && ((value ^ state->efer) & X86_EFER_LME))
		return X86_MSR_GP;
	/* LMA is the processor's to change: what is written there doesn't matter. */
	state->efer = (value & ~(uint64_t)X86_EFER_LMA) | (state->efer & X86_EFER_LMA);
	return X86_MSR_OK;
}

static enum x86_msr_result write_special(struct x86_state *state, const struct x86_cpuid_table *cpuid,
					 const struct row *row, uint64_t value)
{
	switch (row->index) {
	case X86_MSR_EFER:
		return write_efer(state, cpuid, value);
	case X86_MSR_TSC_ADJUST:
		/* SDM 3B 18.17.3: a write moves the TSC by the same amount. */
		state->tsc_offset += value - state->tsc_adjust;
		break;
	case X86_MSR_PAT:
		if (!all_bytes(value, is_pat_type))
			return X86_MSR_GP;
		break;
	case X86_MSR_PLATFORM_INFO:
		return X86_MSR_GP;
	default:
		if (!is_valid_mtrr(cpuid, row->index, value))
			return X86_MSR_GP;
		break;
	}
	store(state, row, value);
	return X86_MSR_OK;
}

enum x86_msr_result x86_msr_read(const struct x86_state *state, const struct x86_cpuid_table *cpuid, uint32_t index,
				 uint64_t *value)
{
	const struct row *row = find(index);

	if (is_x2apic(index))
		return X86_MSR_DEVICE;
	if (!row || !exists(row, cpuid))
		return X86_MSR_GP;

	switch ((enum kind)row->kind) {
	case FIELD:
	case CANONICAL:
		*value = load(state, row) | row->fixed;
		return X86_MSR_OK;
	case CONST:
	case IGNORE:
		*value = row->fixed;
		return X86_MSR_OK;
	case COMMAND:
		return X86_MSR_GP;
	case SPECIAL:
		/* Bits 15:8: the ratio of the TSC to 100 MHz. */
		*value = index == X86_MSR_PLATFORM_INFO ? (cpuid->tsc_hz / 100000000 & 0xff) << 8 : load(state, row);
		return X86_MSR_OK;
	case DEVICE:
		return X86_MSR_DEVICE;
	case TSC:
		return X86_MSR_TSC;
	}
	return X86_MSR_GP;
}

enum x86_msr_result x86_msr_write(struct x86_state *state, const struct x86_cpuid_table *cpuid, uint32_t index,
				  uint64_t value)
{
	const struct row *row = find(index);

	if (is_x2apic(index))
		return X86_MSR_DEVICE;
	if (!row || !exists(row, cpuid))
		return X86_MSR_GP;

	switch ((enum kind)row->kind) {
	case FIELD:
	case CANONICAL:
		if (value & ~row->writable & ~row->fixed)
			return X86_MSR_GP;
		if (row->kind == CANONICAL && !is_canonical(value))
			return X86_MSR_GP;
		store(state, row, value & row->writable);
		return X86_MSR_OK;
	case CONST:
		return X86_MSR_GP;
	case IGNORE:
	case COMMAND:
		return value & ~row->writable ? X86_MSR_GP : X86_MSR_OK;
	case SPECIAL:
		return write_special(state, cpuid, row, value);
	case DEVICE:
		return X86_MSR_DEVICE;
	case TSC:
		return X86_MSR_TSC;
	}
	return X86_MSR_GP;
}
