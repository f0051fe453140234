/* Which numbers stand for the code mappings in force: cpu.h, struct a64_epochs.
 *
 * An address space is what TTBR0_EL1 and TTBR1_EL1 (with the ASID) say. Software that changes its tables invalidates the TLB (D8.14), and
 * that ends all numbers that the change may concern.
 */
#include "base/string.h"
#include "engine/interp/aarch64/cpu.h"

static uint64_t next(struct a64_epochs *epochs)
{
	return ++epochs->last;
}

static void forget_spaces(struct a64_epochs *epochs)
{
	memset(epochs->spaces, 0, sizeof(epochs->spaces));
	epochs->unknown = true;
}

static bool is_upper(uint64_t address)
{
	return address >> 63;
}

static void look_up(struct a64_cpu *cpu)
{
	struct a64_epochs *epochs = &cpu->epochs;
	const uint64_t ttbr0 = cpu->s.sys[A64_SYS_TTBR0_EL1], ttbr1 = cpu->s.sys[A64_SYS_TTBR1_EL1];

	epochs->unknown = false;
	for (unsigned i = 0; i < A64_SPACES; i++) {
		if (epochs->spaces[i].lower && epochs->spaces[i].ttbr0 == ttbr0 && epochs->spaces[i].ttbr1 == ttbr1) {
			epochs->lower = epochs->spaces[i].lower;
			return;
		}
	}
	epochs->lower = next(epochs);
	epochs->spaces[epochs->oldest].ttbr0 = ttbr0;
	epochs->spaces[epochs->oldest].ttbr1 = ttbr1;
	epochs->spaces[epochs->oldest].lower = epochs->lower;
	epochs->oldest = (epochs->oldest + 1) % A64_SPACES;
}

uint64_t a64_epoch(struct a64_cpu *cpu, uint64_t pc)
{
	if (is_upper(pc) && !cpu->epochs.split)
		return cpu->epochs.upper;
	if (unlikely(cpu->epochs.unknown))
		look_up(cpu);
	return cpu->epochs.lower;
}

void a64_epochs_end(struct a64_cpu *cpu)
{
	struct a64_epochs *epochs = &cpu->epochs;

	forget_spaces(epochs);
	epochs->upper = next(epochs);
	epochs->split = false;
	memset(epochs->pages, 0, sizeof(epochs->pages));
}

void a64_epochs_end_private(struct a64_cpu *cpu)
{
	forget_spaces(&cpu->epochs);
}

static unsigned bit_of(uint64_t address)
{
	return (unsigned)(((address >> PAGE_SHIFT) * 0x9e3779b97f4a7c15ull) >> 52);
}

void a64_epochs_end_page(struct a64_cpu *cpu, uint64_t address)
{
	struct a64_epochs *epochs = &cpu->epochs;
	const unsigned bit = bit_of(address);

	if (!(epochs->pages[bit >> 6] >> (bit & 63) & 1))
		return;
	if (is_upper(address) && !epochs->split)
		epochs->upper = next(epochs);
	else
		forget_spaces(epochs);
}

void a64_epochs_switch(struct a64_cpu *cpu)
{
	cpu->epochs.unknown = true;
}

void a64_epochs_fill(struct a64_cpu *cpu, uint64_t address, bool global)
{
	const unsigned bit = bit_of(address);

	cpu->epochs.pages[bit >> 6] |= 1ull << (bit & 63);
	if (is_upper(address) && !global)
		cpu->epochs.split = true;
}
