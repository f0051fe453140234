/* CPUID against what the processor does: an instruction of a feature that is not offered is an invalid opcode, and a
 * control register bit of such a feature can't be set. (`ruse run --cpu v1 ...` offers little.)
 *
 * Left out are instructions that are others without their feature (TZCNT, LZCNT) or do nothing then (PREFETCHW).
 */
#include "guest.h"

const char guest_name[] = "features";

enum { EAX, EBX, ECX, EDX };

static uint8_t memory[4096] __attribute__((aligned(64)));

#define INSTRUCTION(name, text)                                                                    \
	static void name(uint64_t arg)                                                             \
	{                                                                                          \
		uint64_t a = 0, b = 0, c = 0, d = 0;                                               \
                                                                                                   \
		__asm__ volatile(text : "+a"(a), "+b"(b), "+c"(c), "+d"(d) : "D"(memory) : "memory", "cc"); \
	}

INSTRUCTION(sse3, "haddps %%xmm1, %%xmm0")
INSTRUCTION(sse3_x87, "fninit; fldz; fisttpl (%%rdi)")
INSTRUCTION(ssse3, "pshufb %%xmm1, %%xmm0")
INSTRUCTION(sse4_1, "pmulld %%xmm1, %%xmm0")
INSTRUCTION(sse4_2, "crc32b (%%rdi), %%eax")
INSTRUCTION(popcnt, "popcntl (%%rdi), %%eax")
INSTRUCTION(cx16, "cmpxchg16b (%%rdi)")
INSTRUCTION(lahf, "lahf; sahf")
INSTRUCTION(movbe, "movbel (%%rdi), %%eax")
INSTRUCTION(aes, "aesenc %%xmm1, %%xmm0")
INSTRUCTION(pclmulqdq, "pclmulqdq $0, %%xmm1, %%xmm0")
INSTRUCTION(sha, "sha1msg1 %%xmm1, %%xmm0")
INSTRUCTION(adx, "adcxl (%%rdi), %%eax; adoxl (%%rdi), %%eax")
INSTRUCTION(bmi1, "andnl (%%rdi), %%ebx, %%eax")
INSTRUCTION(bmi2, "pextl (%%rdi), %%ebx, %%eax")
INSTRUCTION(rdrand, "rdrand %%eax")
INSTRUCTION(rdseed, "rdseed %%eax")
INSTRUCTION(avx, "vaddps %%xmm2, %%xmm1, %%xmm0; vzeroupper")
INSTRUCTION(avx_aes, "vaesenc %%xmm2, %%xmm1, %%xmm0")
INSTRUCTION(avx2, "vpaddb %%ymm2, %%ymm1, %%ymm0; vzeroupper")
INSTRUCTION(fma, "vfmadd132ps %%xmm2, %%xmm1, %%xmm0")
INSTRUCTION(f16c, "vcvtph2ps (%%rdi), %%xmm0")
INSTRUCTION(xgetbv, "xgetbv")
INSTRUCTION(xsave, "xsave (%%rdi)")
INSTRUCTION(xsaveopt, "xsaveopt (%%rdi)")
INSTRUCTION(xsavec, "xsavec (%%rdi)")
INSTRUCTION(rdpkru, "rdpkru")
INSTRUCTION(fsgsbase, "rdfsbase %%rax")
INSTRUCTION(invpcid, "movl $2, %%eax; invpcid (%%rdi), %%rax")
INSTRUCTION(rdtscp, "rdtscp")
INSTRUCTION(rdpid, "rdpid %%rax")
INSTRUCTION(smap, "clac")
INSTRUCTION(clflushopt, "clflushopt (%%rdi)")

struct feature {
	const char *name;
	uint32_t leaf, subleaf;
	uint8_t reg, bit;
};

static bool offers(const struct feature *feature)
{
	uint32_t r[4];

	cpuid(feature->leaf, feature->subleaf, r);
	return r[feature->reg] >> feature->bit & 1;
}

static const struct {
	struct feature feature;
	void (*run)(uint64_t);
} instructions[] = {
	{{"pni", 1, 0, ECX, 0}, sse3},
	{{"pni (x87)", 1, 0, ECX, 0}, sse3_x87},
	{{"pclmulqdq", 1, 0, ECX, 1}, pclmulqdq},
	{{"ssse3", 1, 0, ECX, 9}, ssse3},
	{{"fma", 1, 0, ECX, 12}, fma},
	{{"cx16", 1, 0, ECX, 13}, cx16},
	{{"sse4_1", 1, 0, ECX, 19}, sse4_1},
	{{"sse4_2", 1, 0, ECX, 20}, sse4_2},
	{{"movbe", 1, 0, ECX, 22}, movbe},
	{{"popcnt", 1, 0, ECX, 23}, popcnt},
	{{"aes", 1, 0, ECX, 25}, aes},
	{{"xsave", 1, 0, ECX, 26}, xgetbv},
	{{"xsave", 1, 0, ECX, 26}, xsave},
	{{"avx", 1, 0, ECX, 28}, avx},
	{{"f16c", 1, 0, ECX, 29}, f16c},
	{{"rdrand", 1, 0, ECX, 30}, rdrand},
	{{"fsgsbase", 7, 0, EBX, 0}, fsgsbase},
	{{"bmi1", 7, 0, EBX, 3}, bmi1},
	{{"avx2", 7, 0, EBX, 5}, avx2},
	{{"bmi2", 7, 0, EBX, 8}, bmi2},
	{{"invpcid", 7, 0, EBX, 10}, invpcid},
	{{"rdseed", 7, 0, EBX, 18}, rdseed},
	{{"adx", 7, 0, EBX, 19}, adx},
	{{"smap", 7, 0, EBX, 20}, smap},
	{{"clflushopt", 7, 0, EBX, 23}, clflushopt},
	{{"sha_ni", 7, 0, EBX, 29}, sha},
	{{"pku", 7, 0, ECX, 3}, rdpkru},
	{{"rdpid", 7, 0, ECX, 22}, rdpid},
	{{"xsaveopt", 0xd, 1, EAX, 0}, xsaveopt},
	{{"xsavec", 0xd, 1, EAX, 1}, xsavec},
	{{"lahf_lm", 0x80000001, 0, ECX, 0}, lahf},
	{{"rdtscp", 0x80000001, 0, EDX, 27}, rdtscp},
};

#define CR4_OSFXSR   (1u << 9)
#define CR4_FSGSBASE (1u << 16)
#define CR4_OSXSAVE  (1u << 18)
#define CR4_PKE	     (1u << 22)

static const struct {
	struct feature feature;
	uint32_t cr4;
} controls[] = {
	{{"umip", 7, 0, ECX, 2}, 1u << 11},	   {{"fsgsbase", 7, 0, EBX, 0}, CR4_FSGSBASE},
	{{"pcid", 1, 0, ECX, 17}, 1u << 17},	   {{"xsave", 1, 0, ECX, 26}, CR4_OSXSAVE},
	{{"smep", 7, 0, EBX, 7}, 1u << 20},	   {{"smap", 7, 0, EBX, 20}, 1u << 21},
	{{"pku", 7, 0, ECX, 3}, CR4_PKE},
};

static void write_cr4(uint64_t value)
{
	WRITE_CR(4, value);
}

static void write_xcr0(uint64_t value)
{
	__asm__ volatile("xsetbv" ::"c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static void set_x2apic(uint64_t arg)
{
	wrmsr(0x1b, rdmsr(0x1b) | 1u << 10);
}

/* `wanted` if the feature is offered, else `otherwise`. */
static void expect(const struct feature *feature, int got, int otherwise)
{
	int wanted = offers(feature) ? -1 : otherwise;

	if (got != wanted)
		print("%s is %s\n", feature->name, offers(feature) ? "offered" : "not offered");
	EQUAL(got, wanted);
}

void guest_main(void)
{
	static const struct feature x2apic = {"x2apic", 1, 0, ECX, 21},
				    avx_feature = {"avx", 1, 0, ECX, 28}, aes_feature = {"aes", 1, 0, ECX, 25};
	uint64_t cr4 = READ_CR(4) & ~0x770000ull;
	uint32_t r[4];

	WRITE_CR(4, cr4);
	for (unsigned i = 0; i < sizeof(controls) / sizeof(controls[0]); i++) {
		expect(&controls[i].feature, fault_of(write_cr4, cr4 | controls[i].cr4), 13);
		WRITE_CR(4, cr4);
	}

	/* All that the instructions need in CR4 and XCR0 */
	cr4 |= CR4_OSFXSR;
	for (unsigned i = 0; i < sizeof(controls) / sizeof(controls[0]); i++)
		if (controls[i].cr4 & (CR4_FSGSBASE | CR4_OSXSAVE | CR4_PKE) && offers(&controls[i].feature))
			cr4 |= controls[i].cr4;
	WRITE_CR(4, cr4);
	cpuid(0xd, 0, r);
	if (cr4 & CR4_OSXSAVE) {
		EQUAL(fault_of(write_xcr0, r[0]), -1);
		EQUAL(fault_of(write_xcr0, r[0] ^ 4), r[0] & 4 ? -1 : 13);
		write_xcr0(r[0]);
	} else {
		EQUAL(r[0] | r[1] | r[2] | r[3], 0);
		EQUAL(fault_of(write_xcr0, 3), 6);
	}
	for (unsigned i = 0; i < sizeof(instructions) / sizeof(instructions[0]); i++)
		expect(&instructions[i].feature, fault_of(instructions[i].run, 0), 6);
	/* The VEX form needs both. */
	expect(offers(&avx_feature) ? &aes_feature : &avx_feature, fault_of(avx_aes, 0), 6);
	expect(&x2apic, fault_of(set_x2apic, 0), 13);
}
