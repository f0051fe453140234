/* What a KVM VM and vcpu need on x86: the kernel's interrupt controllers and PIT, CPUID, the TSC's frequency.
 */
#include "arch/x86_64/cpuid.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "base/string.h"
#include "core/platform.h"
#include "engine/kvm/kvm.h"
#include <sys/ioctl.h>

/* Below the APICs' pages, outside of any board's RAM: three pages for KVM's own use on old Intel processors, and
 * its identity map. */
#define TSS_ADDRESS          0xfffbd000u
#define IDENTITY_MAP_ADDRESS 0xfffbc000ull

#define CPUID_ENTRIES 256

static int read_supported(struct kvm_vm *kvm)
{
	size_t size = sizeof(struct kvm_cpuid2) + CPUID_ENTRIES * sizeof(struct kvm_cpuid_entry2);

	kvm->supported = platform_alloc(size);
	if (!kvm->supported)
		return -ENOMEM;
	kvm->supported->nent = CPUID_ENTRIES;
	return ioctl(kvm->kvm_fd, KVM_GET_SUPPORTED_CPUID, kvm->supported) < 0 ? -errno : 0;
}

/* Pin n of the 8259s and of the IOAPIC for GSI n, but for the PIT: its GSI 0 is PIC 0 and IOAPIC pin 2, as the MADT's
 * override says (dev/irq/irqchip.h draws it). */
static int set_routes(struct kvm_vm *kvm)
{
	struct kvm_irq_routing_entry entries[16 + KVM_GSI_COUNT];
	struct kvm_irq_routing *routing;
	unsigned count = 0;
	int r;

	memset(entries, 0, sizeof(entries));
	for (unsigned gsi = 0; gsi < 16; gsi++) {
		if (gsi == 2) /* the cascade */
			continue;
		entries[count++] = (struct kvm_irq_routing_entry){
			.gsi = gsi,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = {.irqchip = gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, .pin = gsi & 7},
		};
	}
	for (unsigned gsi = 0; gsi < KVM_GSI_COUNT; gsi++) {
		/* A pin has one GSI: KVM looks for it when the guest acknowledges, and the PIT waits for that. */
		if (gsi == 2)
			continue;
		entries[count++] = (struct kvm_irq_routing_entry){
			.gsi = gsi,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = {.irqchip = KVM_IRQCHIP_IOAPIC, .pin = gsi ? gsi : 2},
		};
	}
	routing = platform_alloc(sizeof(*routing) + count * sizeof(entries[0]));
	if (!routing)
		return -ENOMEM;
	routing->nr = count;
	memcpy(routing->entries, entries, count * sizeof(entries[0]));
	r = ioctl(kvm->vm_fd, KVM_SET_GSI_ROUTING, routing) < 0 ? -errno : 0;
	platform_free(routing);
	return r;
}

int kvm_arch_vm_init(struct vm *vm, char *why, size_t why_size)
{
	struct kvm_vm *kvm = vm->engine_vm;
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
	uint64_t identity = IDENTITY_MAP_ADDRESS;
	int r;

	if (ioctl(kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 ||
	    ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDRESS) < 0) {
		r = -errno;
		fmt_print(why, why_size, "KVM refuses its own pages at 0x%lx (error %d): check the kernel's log",
			  (unsigned long)IDENTITY_MAP_ADDRESS, -r);
		return r;
	}
	if (ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0 || ioctl(kvm->vm_fd, KVM_CREATE_PIT2, &pit) < 0) {
		r = -errno;
		fmt_print(why, why_size,
			  "KVM has no in-kernel interrupt controllers (error %d): its kernel was built without them", -r);
		return r;
	}
	r = set_routes(kvm);
	if (r < 0) {
		fmt_print(why, why_size, "KVM refuses the interrupt routing (error %d): use a newer host kernel", -r);
		return r;
	}
	r = read_supported(kvm);
	if (r < 0)
		fmt_print(why, why_size, "KVM does not tell which CPUID it supports (error %d)", -r);
	return r;
}

static const struct kvm_cpuid_entry2 *find_supported(const struct kvm_vm *kvm, uint32_t leaf, uint32_t subleaf)
{
	for (unsigned i = 0; i < kvm->supported->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &kvm->supported->entries[i];

		if (entry->function == leaf &&
		    (!(entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || entry->index == subleaf))
			return entry;
	}
	return NULL;
}

/* How a leaf comes about: which registers are our offer narrowed by KVM's, and which are the host's own. The rest
 * stays as the table has it. */
enum leaf_rule { AND_EAX = 1, AND_EBX = 2, AND_ECX = 4, AND_EDX = 8, HOST_EAX = 16, HOST_EBX_ECX_EDX = 32 };

static const struct {
	uint32_t leaf, subleaf;
	unsigned rule;
} rules[] = {
	{0x0, 0, HOST_EBX_ECX_EDX},		/* vendor: the instructions behave as this one's */
	{0x1, 0, HOST_EAX | AND_ECX | AND_EDX}, /* family and model go with the vendor */
	{0x7, 0, AND_EBX | AND_ECX | AND_EDX},
	{0x7, 1, AND_EAX},
	{0xd, 1, AND_EAX},
	{0x40000001, 0, AND_EAX},
	{0x80000001, 0, AND_ECX | AND_EDX},
	{0x80000007, 0, AND_EDX},
	{0x80000008, 0, HOST_EAX},
};

/* What KVM does not report as supported though it is there with in-kernel controllers. */
#define LEAF1_ECX_KEEP (1u << 24 /* TSC deadline */ | 1u << 31 /* hypervisor */ | 1u << 27 /* OSXSAVE: dynamic */)

/* (The area's size in leaf 0xd, at these offsets, is x86_cpuid_derive()'s.) */
void kvm_arch_cpuid_filter(struct vm *vm)
{
	const struct kvm_vm *kvm = vm->engine_vm;

	for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
		struct x86_cpuid_entry *entry = x86_cpuid_find(vm->cpuid, rules[i].leaf, rules[i].subleaf);
		const struct kvm_cpuid_entry2 *host = find_supported(kvm, rules[i].leaf, rules[i].subleaf);
		struct kvm_cpuid_entry2 none = {0};
		unsigned rule = rules[i].rule;

		if (!entry)
			continue;
		if (!host)
			host = &none;
		if (rule & HOST_EAX)
			entry->eax = host->eax;
		if (rule & HOST_EBX_ECX_EDX) {
			entry->ebx = host->ebx;
			entry->ecx = host->ecx;
			entry->edx = host->edx;
		}
		entry->eax &= rule & AND_EAX ? host->eax : ~0u;
		entry->ebx &= rule & AND_EBX ? host->ebx : ~0u;
		entry->ecx &= rule & AND_ECX ? host->ecx | (rules[i].leaf == 1 ? LEAF1_ECX_KEEP : 0) : ~0u;
		entry->edx &= rule & AND_EDX ? host->edx : ~0u;
	}
	for (unsigned subleaf = 0; subleaf < 10; subleaf++) {
		/* The XSAVE layout is the host's: KVM saves with the host's instruction. */
		struct x86_cpuid_entry *entry = x86_cpuid_find(vm->cpuid, 0xd, subleaf);
		const struct kvm_cpuid_entry2 *host = find_supported(kvm, 0xd, subleaf);

		if (!entry || subleaf == 1 || !host)
			continue;
		if (subleaf == 0) {
			entry->eax &= host->eax;
			entry->edx &= host->edx;
		} else {
			entry->eax = host->eax;
			entry->ebx = host->ebx;
			entry->ecx = host->ecx;
		}
	}
}

uint64_t kvm_arch_tsc_hz(struct vm *vm)
{
	const struct kvm_vm *kvm = vm->engine_vm;
	int fd = kvm->vm_fd, khz = ioctl(fd, KVM_GET_TSC_KHZ, 0);

	return khz > 0 ? (uint64_t)khz * 1000 : 0;
}

int kvm_arch_vcpu_init(struct vcpu *vcpu, char *why, size_t why_size)
{
	const struct kvm_vcpu *kv = vcpu->engine_vcpu;
	const struct x86_cpuid_table *table = vcpu->vm->cpuid;
	size_t size = sizeof(struct kvm_cpuid2) + X86_CPUID_MAX * sizeof(struct kvm_cpuid_entry2);
	struct kvm_cpuid2 *cpuid = platform_alloc(size);
	int r = 0;

	if (!cpuid) {
		fmt_print(why, why_size, "no host memory for CPUID: free some");
		return -ENOMEM;
	}
	for (unsigned i = 0; i < table->count; i++) {
		const struct x86_cpuid_entry *entry = &table->entries[i];
		struct x86_cpuid_result leaf =
			x86_cpuid_read(table, vcpu->index, NULL, entry->leaf, entry->subleaf);

		cpuid->entries[cpuid->nent++] = (struct kvm_cpuid_entry2){
			.function = entry->leaf,
			.index = entry->subleaf,
			.flags = entry->has_subleaf ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = leaf.eax,
			.ebx = leaf.ebx,
			.ecx = leaf.ecx,
			.edx = leaf.edx,
		};
	}
	if (ioctl(kv->fd, KVM_SET_CPUID2, cpuid) < 0) {
		r = -errno;
		fmt_print(why, why_size, "KVM refuses the CPUID of processor %u (error %d)", vcpu->index, -r);
	}
	platform_free(cpuid);
	return r;
}
