/* CPUID: the processor that a guest is offered, as data.
 *
 * Example: `x86_cpuid_build(table, 4, 1000000000);`   `r = x86_cpuid_read(table, 0, &state, 7, 0);`
 *
 * Why GenuineIntel, family 6. Linux chooses page-table isolation and speculation mitigations by vendor, model and
 * IA32_ARCH_CAPABILITIES. This processor doesn't speculate beyond what the host's does under an engine that
 * already isolates the guest, and only Intel's interface lets us say all of it in one register (msr.c: RDCL_NO,
 * IBRS_ALL, SSB_NO, MDS_NO, TAA_NO, BHI_NO, ...; BHI_CTRL besides, since Linux 6.1.1xx takes no hypervisor's word for
 * BHI_NO and would clear the branch history by a loop of calls in every system call). Linux 6.1 then picks no PTI, "Enhanced IBRS" (one MSR write at
 * boot, plain indirect branches: no retpolines), no buffer clearing on exit, no SSBD switching. As AuthenticAMD of
 * family 0x19 the same kernel would take retpolines and return thunks, since AutoIBRS came to Linux later and
 * BTC_NO/SRSO_NO don't replace the retpoline. The model is 0x8f (Sapphire Rapids): a server core with all of our
 * extensions that is on none of Linux's lists of models affected by MMIO stale data, SRBDS, GDS, ITS or Retbleed, and
 * for which it expects nothing that CPUID doesn't announce. Vendor Intel is also what makes Linux take
 * the TSC and LAPIC frequencies from leaf 0x15.
 *
 * What the vendor means for an engine's instructions:
 *   - SYSCALL and SYSRET are #UD outside 64-bit mode (compatibility and legacy modes), whatever EFER.SCE says, and
 *     CPUID.80000001H:EDX.SYSCALL reads 0 there;
 *   - SYSENTER and SYSEXIT work in every protected mode, compatibility and 64-bit ones included;
 *   - SYSRET to a non-canonical RCX is #GP(0) at CPL 0;
 *   - loading a null selector keeps nothing of the old base; EFER has no SVME, LMSLE, FFXSR;
 *   - in 64-bit mode near branches ignore the operand-size prefix;
 *   - CR4.VME is not offered: virtual-8086 mode without the interrupt redirection bitmap.
 */
#include "arch/x86_64/cpuid.h"

#define BIT(n) (1u << (n))

enum reg { EAX, EBX, ECX, EDX };

/* ---- the leaves whose contents are the same for every VM ---- */
#define SIGNATURE 0x000806f8u /* family 6, model 0x8f, stepping 8 */
#define MAX_BASIC    0x16u
#define MAX_EXTENDED 0x80000008u
#define HV_BASE      0x40000000u
#define HV_MAX       0x40000010u

/* Bits that vary while the guest runs, or with its number of processors: no rows of cpu_features.def. */
#define LEAF1_ECX_OSXSAVE  BIT(27)
#define LEAF1_EDX_APIC     BIT(9)
#define LEAF1_EDX_HTT      BIT(28)
#define LEAF7_ECX_OSPKE    BIT(4)
#define LEAF81_EDX_SYSCALL BIT(11)

/* Twice what the largest guest needs; firmware makes tables for all that there may be, in memory that small guests don't have. */
#define PHYSICAL_BITS 40u
#define VIRTUAL_BITS  48u

/* CPUID 0xd: the state components */
#define XCR0_X87  BIT(0)
#define XCR0_SSE  BIT(1)
#define XCR0_AVX  BIT(2)
#define XCR0_PKRU BIT(9)
#define XCR0_ALL  (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_PKRU)
#define XSAVE_LEGACY_SIZE 576u

/* CPUID 0x40000001, as Linux's Documentation/virt/kvm/x86/cpuid.rst. Only what pv/ implements, and NOP_IO_DELAY,
 * which keeps Linux from writing to port 0x80 after every port access. */
#define KVM_FEATURE_CLOCKSOURCE        BIT(0)
#define KVM_FEATURE_NOP_IO_DELAY       BIT(1)
#define KVM_FEATURE_CLOCKSOURCE2       BIT(3)
#define KVM_FEATURE_CLOCKSOURCE_STABLE BIT(24)

/* CPUID 4: type, level, sets, ways, line 64 */
#define CACHE_DATA        1u
#define CACHE_INSTRUCTION 2u
#define CACHE_UNIFIED     3u
static const struct cache {
	uint32_t type, level, ways, sets;
	bool shared; /* by all cores of the package */
} caches[] = {
	{CACHE_DATA, 1, 8, 64, false},        /* 32 KiB */
	{CACHE_INSTRUCTION, 1, 8, 64, false}, /* 32 KiB */
	{CACHE_UNIFIED, 2, 16, 1024, false},  /* 1 MiB */
	{CACHE_UNIFIED, 3, 16, 16384, true},  /* 16 MiB */
};

static const char brand[48] = "ruse virtual processor";

/* ---- the features ---- */
const struct x86_cpu_feature x86_cpu_features[X86_CPU_FEATURE_COUNT] = {
#define X86_CPU_FEATURE(name, leaf, subleaf, reg, bit, level, feature, cr4, need1, need2)                          \
	[X86_CPU_##name] = {#name, leaf, subleaf, reg, bit, X86_CPU_LEVEL_##level, X86_FEATURE_##feature, cr4,     \
			    {X86_CPU_##need1, X86_CPU_##need2}},
#include "arch/x86_64/cpu_features.def"
#undef X86_CPU_FEATURE
};

/* What a feature needs stands above it, so one pass in the table's order finds all that lacks something. */
#define X86_CPU_FEATURE(name, leaf, subleaf, reg, bit, level, feature, cr4, need1, need2)                          \
	_Static_assert(X86_CPU_##need1 < X86_CPU_##name && X86_CPU_##need2 < X86_CPU_##name, #name " needs a later row");
#include "arch/x86_64/cpu_features.def"
#undef X86_CPU_FEATURE

/* Each instruction group is announced by one row. */
#define X86_CPU_FEATURE(name, leaf, subleaf, reg, bit, level, feature, ...) +(X86_FEATURE_##feature != X86_FEATURE_BASE)
_Static_assert(0
#include "arch/x86_64/cpu_features.def"
		       == X86_FEATURE_COUNT - 1,
	       "an instruction group without its CPUID bit");
#undef X86_CPU_FEATURE

/* ---- building ---- */
static void add(struct x86_cpuid_table *table, uint32_t leaf, uint32_t eax, uint32_t ebx, uint32_t ecx,
		uint32_t edx)
{
	table->entries[table->count++] =
		(struct x86_cpuid_entry){.leaf = leaf, .eax = eax, .ebx = ebx, .ecx = ecx, .edx = edx};
}

static void add_sub(struct x86_cpuid_table *table, uint32_t leaf, uint32_t subleaf, uint32_t eax, uint32_t ebx,
		    uint32_t ecx, uint32_t edx)
{
	add(table, leaf, eax, ebx, ecx, edx);
	table->entries[table->count - 1].subleaf = subleaf;
	table->entries[table->count - 1].has_subleaf = true;
}

static uint32_t four(const char *text)
{
	return (uint32_t)(uint8_t)text[0] | (uint32_t)(uint8_t)text[1] << 8 |
	       (uint32_t)(uint8_t)text[2] << 16 | (uint32_t)(uint8_t)text[3] << 24;
}

/* Bits that number `count` things. */
static uint32_t bits_for(uint32_t count)
{
	uint32_t bits = 0;

	while ((1u << bits) < count)
		bits++;
	return bits;
}

static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static void add_caches(struct x86_cpuid_table *table)
{
	uint32_t package_ids = (1u << bits_for(table->vcpu_count)) - 1;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(caches); i++) {
		const struct cache *cache = &caches[i];
		uint32_t sharing = cache->shared ? package_ids : 0;

		add_sub(table, 4, i,
			cache->type | cache->level << 5 | BIT(8) /* self-initialising */ | sharing << 14 |
				package_ids << 26,
			63 | (cache->ways - 1) << 22, cache->sets - 1, cache->shared ? BIT(1) /* inclusive */ : 0);
	}
	add_sub(table, 4, i, 0, 0, 0, 0);
}

/* One thread a core, one package. EDX, the x2APIC id, is patched in when read. */
static void add_topology(struct x86_cpuid_table *table)
{
	add_sub(table, 0xb, 0, 0, 1, 0 | 1 << 8 /* SMT */, 0);
	add_sub(table, 0xb, 1, bits_for(table->vcpu_count), table->vcpu_count, 1 | 2 << 8 /* core */, 0);
}

/* Sizes and what is not offered: limit_xsave(). */
static void add_xsave(struct x86_cpuid_table *table)
{
	add_sub(table, 0xd, 0, XCR0_ALL, 0, 0, 0);
	add_sub(table, 0xd, 1, 0, 0, 0, 0);
	add_sub(table, 0xd, 2, X86_XSAVE_AVX_SIZE, X86_XSAVE_AVX_OFFSET, 0, 0);
	add_sub(table, 0xd, 9, X86_XSAVE_PKRU_SIZE, X86_XSAVE_PKRU_OFFSET, 0, 0);
}

/* Leaf 0x15: TSC = crystal * EBX / EAX. Linux multiplies the crystal's kHz by EBX in 32 bits, so a ratio that doesn't
 * fit there is better not told (the guest then takes leaf 0x40000010 or kvmclock). */
static void put_frequencies(struct x86_cpuid_table *table)
{
	struct x86_cpuid_entry *ratio = x86_cpuid_find(table, 0x15, 0), *mhz = x86_cpuid_find(table, 0x16, 0);
	struct x86_cpuid_entry *hypervisor = x86_cpuid_find(table, HV_BASE + 0x10, 0);
	uint32_t tsc_khz = (uint32_t)(table->tsc_hz / 1000);
	uint32_t crystal_khz = (uint32_t)(table->apic_hz / 1000);
	uint32_t divisor = gcd(tsc_khz, crystal_khz), numerator, denominator;

	if (divisor == 0)
		divisor = 1;
	numerator = tsc_khz / divisor;
	denominator = crystal_khz / divisor;
	if ((uint64_t)crystal_khz * numerator > UINT32_MAX || numerator == 0)
		numerator = denominator = 0;
	if (ratio) {
		ratio->eax = denominator;
		ratio->ebx = numerator;
		ratio->ecx = denominator ? (uint32_t)table->apic_hz : 0;
	}
	if (mhz)
		mhz->eax = mhz->ebx = tsc_khz / 1000;
	if (hypervisor) {
		hypervisor->eax = tsc_khz;
		hypervisor->ebx = crystal_khz;
	}
}

void x86_cpuid_set_tsc_hz(struct x86_cpuid_table *table, uint64_t tsc_hz)
{
	table->tsc_hz = tsc_hz;
	put_frequencies(table);
}

static void add_hypervisor(struct x86_cpuid_table *table)
{
	add(table, HV_BASE, HV_MAX, four("KVMK"), four("VMKV"), four("M\0\0\0"));
	add(table, HV_BASE + 1,
	    KVM_FEATURE_CLOCKSOURCE | KVM_FEATURE_NOP_IO_DELAY | KVM_FEATURE_CLOCKSOURCE2 |
		    KVM_FEATURE_CLOCKSOURCE_STABLE,
	    0, 0, 0);
	add(table, HV_BASE + 0x10, 0, 0, 0, 0); /* put_frequencies() */
}

static void add_extended(struct x86_cpuid_table *table)
{
	add(table, 0x80000000, MAX_EXTENDED, 0, 0, 0);
	add(table, 0x80000001, 0, 0, 0, 0);
	for (uint32_t i = 0; i < 3; i++) {
		const char *text = brand + 16 * i;

		add(table, 0x80000002 + i, four(text), four(text + 4), four(text + 8), four(text + 12));
	}
	add(table, 0x80000005, 0, 0, 0, 0);
	add(table, 0x80000006, 0, 0, 64 | 8u << 12 /* 16 ways */ | 1024u << 16 /* KiB */, 0);
	add(table, 0x80000007, 0, 0, 0, BIT(8) /* invariant TSC */);
	add(table, 0x80000008, PHYSICAL_BITS | VIRTUAL_BITS << 8, 0, 0, 0);
}

/* Where a feature's bit is; NULL if the table has no such leaf. */
static uint32_t *feature_register(struct x86_cpuid_table *table, const struct x86_cpu_feature *feature)
{
	struct x86_cpuid_entry *entry = x86_cpuid_find(table, feature->leaf, feature->subleaf);

	if (!entry)
		return NULL;
	switch ((enum reg)feature->reg) {
	case EAX:
		return &entry->eax;
	case EBX:
		return &entry->ebx;
	case ECX:
		return &entry->ecx;
	default:
		return &entry->edx;
	}
}

void x86_cpuid_build(struct x86_cpuid_table *table, unsigned vcpu_count, uint64_t tsc_hz)
{
	*table = (struct x86_cpuid_table){.vcpu_count = vcpu_count, .tsc_hz = tsc_hz, .apic_hz = X86_APIC_HZ};

	add(table, 0, MAX_BASIC, four("Genu"), four("ntel"), four("ineI"));
	add(table, 1, SIGNATURE, 8u << 8 /* CLFLUSH, in quadwords */ | vcpu_count << 16, 0,
	    vcpu_count > 1 ? LEAF1_EDX_HTT : 0);
	add(table, 2, 0x0000ff01 /* see leaf 4 */, 0, 0, 0);
	add(table, 3, 0, 0, 0, 0);
	add_caches(table);
	add(table, 5, 0, 0, 0, 0);
	add(table, 6, BIT(2) /* ARAT */, 0, 0, 0);
	add_sub(table, 7, 0, 2 /* subleaves */, 0, 0, 0);
	add_sub(table, 7, 1, 0, 0, 0, 0);
	add_sub(table, 7, 2, 0, 0, 0, 0);
	add(table, 0xa, 0, 0, 0, 0); /* no performance counters */
	add_topology(table);
	add_xsave(table);
	add(table, 0x15, 0, 0, 0, 0); /* put_frequencies() */
	add(table, 0x16, 0, 0, 100, 0);
	add_hypervisor(table);
	add_extended(table);
	put_frequencies(table);
	for (unsigned i = X86_CPU_none + 1; i < X86_CPU_FEATURE_COUNT; i++)
		if (x86_cpu_features[i].level != X86_CPU_LEVEL_ABSENT)
			*feature_register(table, &x86_cpu_features[i]) |= BIT(x86_cpu_features[i].bit);
	x86_cpuid_derive(table);
}

/* ---- looking up ---- */
const struct x86_cpuid_entry *x86_cpuid_lookup(const struct x86_cpuid_table *table, uint32_t leaf, uint32_t subleaf)
{
	for (unsigned i = 0; i < table->count; i++) {
		const struct x86_cpuid_entry *entry = &table->entries[i];

		if (entry->leaf == leaf && (!entry->has_subleaf || entry->subleaf == subleaf))
			return entry;
	}
	return NULL;
}

struct x86_cpuid_entry *x86_cpuid_find(struct x86_cpuid_table *table, uint32_t leaf, uint32_t subleaf)
{
	return (struct x86_cpuid_entry *)x86_cpuid_lookup(table, leaf, subleaf);
}

bool x86_cpuid_offers(const struct x86_cpuid_table *table, enum x86_cpu_feature_id id)
{
	const struct x86_cpu_feature *feature = &x86_cpu_features[id];
	const uint32_t *reg = feature_register((struct x86_cpuid_table *)table, feature);

	return id == X86_CPU_none || (reg && (*reg & BIT(feature->bit)));
}

void x86_cpuid_remove(struct x86_cpuid_table *table, enum x86_cpu_feature_id id)
{
	uint32_t *reg = feature_register(table, &x86_cpu_features[id]);

	if (id != X86_CPU_none && reg)
		*reg &= ~BIT(x86_cpu_features[id].bit);
}

/* ---- what follows ---- */
static uint32_t xsave_size(const struct x86_cpuid_table *table, uint64_t xcr0)
{
	uint32_t size = XSAVE_LEGACY_SIZE;

	for (uint32_t i = 2; i < 63; i++) {
		const struct x86_cpuid_entry *entry = xcr0 >> i & 1 ? x86_cpuid_lookup(table, 0xd, i) : NULL;

		if (entry && entry->ebx + entry->eax > size)
			size = entry->ebx + entry->eax;
	}
	return size;
}

/* Leaf 0xd: the state components of the features that are offered, and the size of the area for all of them (EBX
 * follows XCR0 when it is read). All zero without XSAVE. */
static void limit_xsave(struct x86_cpuid_table *table)
{
	struct x86_cpuid_entry *main = x86_cpuid_find(table, 0xd, 0);

	if (!main)
		return;
	if (!x86_cpuid_offers(table, X86_CPU_xsave))
		main->eax = main->edx = 0;
	if (!x86_cpuid_offers(table, X86_CPU_avx))
		main->eax &= ~XCR0_AVX;
	if (!x86_cpuid_offers(table, X86_CPU_pku))
		main->eax &= ~XCR0_PKRU;
	for (unsigned i = 0; i < table->count; i++) {
		struct x86_cpuid_entry *entry = &table->entries[i];

		if (entry->leaf == 0xd && entry->subleaf >= 2 && entry->subleaf < 32 &&
		    !(main->eax >> entry->subleaf & 1))
			entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
	}
	main->ebx = main->ecx = main->eax ? xsave_size(table, main->eax | (uint64_t)main->edx << 32) : 0;
}

void x86_cpuid_derive(struct x86_cpuid_table *table)
{
	const struct x86_cpuid_entry *entry;

	for (unsigned i = 0; i < X86_FEATURE_COUNT; i++)
		table->features[i] = false;
	table->cr4_valid = X86_CR4_PCE;
	for (unsigned i = X86_CPU_none + 1; i < X86_CPU_FEATURE_COUNT; i++) {
		const struct x86_cpu_feature *feature = &x86_cpu_features[i];

		if (!x86_cpuid_offers(table, feature->needs[0]) || !x86_cpuid_offers(table, feature->needs[1]))
			x86_cpuid_remove(table, i);
		if (!x86_cpuid_offers(table, i))
			continue;
		table->features[feature->feature] = true;
		table->cr4_valid |= feature->cr4;
	}
	table->features[X86_FEATURE_BASE] = true;
	limit_xsave(table);

	table->efer_valid = 0;
	if (x86_cpuid_offers(table, X86_CPU_syscall))
		table->efer_valid |= X86_EFER_SCE;
	if (x86_cpuid_offers(table, X86_CPU_lm))
		table->efer_valid |= X86_EFER_LME | X86_EFER_LMA;
	if (x86_cpuid_offers(table, X86_CPU_nx))
		table->efer_valid |= X86_EFER_NXE;

	entry = x86_cpuid_lookup(table, 0xd, 0);
	table->xcr0_valid = entry ? entry->eax | (uint64_t)entry->edx << 32 : 0;
	entry = x86_cpuid_lookup(table, 0x80000008, 0);
	table->physical_bits = entry ? entry->eax & 0xff : 36;
}

/* ---- reading ---- */
static bool is_hypervisor_leaf(uint32_t leaf)
{
	return leaf >> 28 == 4;
}

/* SDM 2A CPUID: above the maximum of the basic or extended range one gets the highest basic leaf. Leaves of the
 * hypervisor range below its maximum, and gaps in the others, are zero. */
static const struct x86_cpuid_entry *find_or_last(const struct x86_cpuid_table *table, uint32_t leaf, uint32_t subleaf)
{
	uint32_t base = is_hypervisor_leaf(leaf) ? leaf & 0xffffff00u : leaf & 0x80000000u;
	const struct x86_cpuid_entry *entry = x86_cpuid_lookup(table, leaf, subleaf);
	const struct x86_cpuid_entry *range;

	if (entry)
		return entry;
	range = x86_cpuid_lookup(table, base, 0);
	if (range && leaf <= range->eax)
		return NULL;
	range = x86_cpuid_lookup(table, 0, 0);
	return range ? x86_cpuid_lookup(table, range->eax, subleaf) : NULL;
}

/* Compacted: components follow each other, aligned to 64 where CPUID says so (ECX bit 1). */
static uint32_t xsave_compacted_size(const struct x86_cpuid_table *table, uint64_t components)
{
	uint32_t size = XSAVE_LEGACY_SIZE;

	for (uint32_t i = 2; i < 63; i++) {
		const struct x86_cpuid_entry *entry = components >> i & 1 ? x86_cpuid_lookup(table, 0xd, i) : NULL;

		if (!entry)
			continue;
		if (entry->ecx & BIT(1))
			size = (size + 63) & ~63u;
		size += entry->eax;
	}
	return size;
}

static void patch_dynamic(const struct x86_cpuid_table *table, const struct x86_state *state, uint32_t leaf,
			  uint32_t subleaf, struct x86_cpuid_result *result)
{
	switch (leaf) {
	case 1:
		if (!(state->apic_base & 1u << 11))
			result->edx &= ~LEAF1_EDX_APIC;
		result->ecx &= ~LEAF1_ECX_OSXSAVE;
		if (state->cr4 & X86_CR4_OSXSAVE)
			result->ecx |= LEAF1_ECX_OSXSAVE;
		break;
	case 7:
		if (subleaf != 0)
			break;
		result->ecx &= ~LEAF7_ECX_OSPKE;
		if (state->cr4 & X86_CR4_PKE)
			result->ecx |= LEAF7_ECX_OSPKE;
		break;
	case 0xd:
		if (subleaf == 0)
			result->ebx = table->xcr0_valid ? xsave_size(table, state->xcr0) : 0;
		/* EBX of subleaf 1 is defined by XSAVEC too, for XCR0 | IA32_XSS. */
		if (subleaf == 1 && result->eax & (BIT(1) | BIT(3)))
			result->ebx = xsave_compacted_size(table, state->xcr0 | state->xss);
		break;
	case 0x80000001:
		if (!(state->efer & X86_EFER_LMA) || !(state->seg[X86_CS].ar & X86_AR_L))
			result->edx &= ~LEAF81_EDX_SYSCALL;
		break;
	default:
		break;
	}
}

struct x86_cpuid_result x86_cpuid_read(const struct x86_cpuid_table *table, unsigned vcpu_index,
				       const struct x86_state *state, uint32_t leaf, uint32_t subleaf)
{
	const struct x86_cpuid_entry *entry = find_or_last(table, leaf, subleaf);
	struct x86_cpuid_result result = {0};

	if (entry) {
		result = (struct x86_cpuid_result){entry->eax, entry->ebx, entry->ecx, entry->edx};
		leaf = entry->leaf;
	}
	if (leaf == 1) {
		result.ebx = (result.ebx & 0x00ffffffu) | vcpu_index << 24;
	} else if (leaf == 0xb) {
		/* Past the last level: type 0, but ECX[7:0] and EDX are still told. */
		result.ecx = (result.ecx & ~0xffu) | (subleaf & 0xff);
		result.edx = vcpu_index;
	}
	if (state)
		patch_dynamic(table, state, leaf, subleaf, &result);
	return result;
}
