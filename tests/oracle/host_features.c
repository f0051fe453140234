/* CPUID bits of instruction groups (SDM 2A CPUID). See host_features.h. */
#include "tests/oracle/host_features.h"
#include <cpuid.h>

enum { EAX, EBX, ECX, EDX };

static const struct {
	uint32_t leaf, subleaf;
	uint8_t reg, bit;
} bits[X86_FEATURE_COUNT] = {
    [X86_FEATURE_SSE3] = {1, 0, ECX, 0},
    [X86_FEATURE_PCLMULQDQ] = {1, 0, ECX, 1},
    [X86_FEATURE_MONITOR] = {1, 0, ECX, 3},
    [X86_FEATURE_SSSE3] = {1, 0, ECX, 9},
    [X86_FEATURE_FMA] = {1, 0, ECX, 12},
    [X86_FEATURE_CX16] = {1, 0, ECX, 13},
    [X86_FEATURE_SSE4_1] = {1, 0, ECX, 19},
    [X86_FEATURE_SSE4_2] = {1, 0, ECX, 20},
    [X86_FEATURE_MOVBE] = {1, 0, ECX, 22},
    [X86_FEATURE_POPCNT] = {1, 0, ECX, 23},
    [X86_FEATURE_AES] = {1, 0, ECX, 25},
    [X86_FEATURE_XSAVE] = {1, 0, ECX, 27},
    [X86_FEATURE_AVX] = {1, 0, ECX, 28},
    [X86_FEATURE_F16C] = {1, 0, ECX, 29},
    [X86_FEATURE_RDRAND] = {1, 0, ECX, 30},
    [X86_FEATURE_FSGSBASE] = {7, 0, EBX, 0},
    [X86_FEATURE_BMI1] = {7, 0, EBX, 3},
    [X86_FEATURE_AVX2] = {7, 0, EBX, 5},
    [X86_FEATURE_BMI2] = {7, 0, EBX, 8},
    [X86_FEATURE_INVPCID] = {7, 0, EBX, 10},
    [X86_FEATURE_RDSEED] = {7, 0, EBX, 18},
    [X86_FEATURE_ADX] = {7, 0, EBX, 19},
    [X86_FEATURE_SMAP] = {7, 0, EBX, 20},
    [X86_FEATURE_CLFLUSHOPT] = {7, 0, EBX, 23},
    [X86_FEATURE_CLWB] = {7, 0, EBX, 24},
    [X86_FEATURE_SHA] = {7, 0, EBX, 29},
    [X86_FEATURE_PKU] = {7, 0, ECX, 3},
    [X86_FEATURE_GFNI] = {7, 0, ECX, 8},
    [X86_FEATURE_VAES] = {7, 0, ECX, 9},
    [X86_FEATURE_VPCLMULQDQ] = {7, 0, ECX, 10},
    [X86_FEATURE_RDPID] = {7, 0, ECX, 22},
    [X86_FEATURE_SERIALIZE] = {7, 0, EDX, 14},
    [X86_FEATURE_XSAVEOPT] = {0xd, 1, EAX, 0},
    [X86_FEATURE_XSAVEC] = {0xd, 1, EAX, 1},
    [X86_FEATURE_XSAVES] = {0xd, 1, EAX, 3},
    [X86_FEATURE_LAHF64] = {0x80000001, 0, ECX, 0},
    [X86_FEATURE_LZCNT] = {0x80000001, 0, ECX, 5},
    [X86_FEATURE_SSE4A] = {0x80000001, 0, ECX, 6},
    [X86_FEATURE_PREFETCHW] = {0x80000001, 0, ECX, 8},
    [X86_FEATURE_RDTSCP] = {0x80000001, 0, EDX, 27},
};

bool host_has_feature(enum x86_feature feature)
{
	uint32_t regs[4] = {0};

	if (feature == X86_FEATURE_BASE)
		return true;
	if (!__get_cpuid_count(bits[feature].leaf, bits[feature].subleaf, &regs[EAX], &regs[EBX],
			       &regs[ECX], &regs[EDX]))
		return false;
	return regs[bits[feature].reg] >> bits[feature].bit & 1;
}
