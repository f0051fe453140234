/* Processor state after RESET, INIT and a start-up IPI (SDM 3A table 10-1).
 *
 * Example: `x86_state_reset(&state.x86, vcpu->index == 0);`
 */
#include "arch/x86_64/state.h"
#include "base/string.h"

#define AR_CODE16 (X86_AR_P | X86_AR_S | X86_AR_CODE | X86_AR_WRITABLE | X86_AR_ACCESSED)
#define AR_DATA16 (X86_AR_P | X86_AR_S | X86_AR_WRITABLE | X86_AR_ACCESSED)
#define AR_LDT    (X86_AR_P | 2u)
#define AR_TSS32  (X86_AR_P | 11u)

#define APIC_BASE_DEFAULT 0xfee00000u
#define APIC_BASE_BSP     (1u << 8)
#define APIC_BASE_ENABLE  (1u << 11)

#define PAT_DEFAULT 0x0007040600070406ull

static void reset_segments(struct x86_state *state)
{
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		state->seg[i] = (struct x86_segment){.limit = 0xffff, .ar = AR_DATA16};
	state->seg[X86_CS] = (struct x86_segment){
		.selector = 0xf000, .base = 0xffff0000u, .limit = 0xffff, .ar = AR_CODE16};
	state->ldtr = (struct x86_segment){.limit = 0xffff, .ar = AR_LDT};
	state->tr = (struct x86_segment){.limit = 0xffff, .ar = AR_TSS32};
	state->gdtr = (struct x86_table){.limit = 0xffff};
	state->idtr = (struct x86_table){.limit = 0xffff};
}

/* What RESET and INIT have in common. */
static void reset_common(struct x86_state *state)
{
	memset(state->gpr, 0, sizeof(state->gpr));
	state->gpr[X86_RDX] = 0x600; /* family 6 */
	state->rip = 0xfff0;
	state->rflags = X86_FLAG_FIX;
	reset_segments(state);
	state->cr2 = state->cr3 = state->cr4 = state->cr8 = 0;
	state->efer = 0;
	memset(state->dr, 0, sizeof(state->dr));
	state->dr6 = 0xffff0ff0;
	state->dr7 = 0x400;
	state->interrupt_shadow = state->nmi_blocked = state->nmi_pending = false;
}

void x86_state_reset(struct x86_state *state, bool bsp)
{
	memset(state, 0, sizeof(*state));
	reset_common(state);
	state->cr0 = X86_CR0_CD | X86_CR0_NW | X86_CR0_ET;
	state->xcr0 = 1;
	state->fpu.fcw = 0x40;
	state->fpu.ftw = 0xff; /* RESET tags all registers zero, i.e. not empty */
	state->fpu.mxcsr = 0x1f80;
	state->pat = PAT_DEFAULT;
	state->misc_enable = 1; /* fast strings */
	state->apic_base = APIC_BASE_DEFAULT | APIC_BASE_ENABLE | (bsp ? APIC_BASE_BSP : 0);
	state->activity = bsp ? X86_ACTIVE : X86_ACTIVITY_WAIT_SIPI;
}

void x86_state_init(struct x86_state *state, bool bsp)
{
	uint64_t kept = state->cr0 & (X86_CR0_CD | X86_CR0_NW);

	reset_common(state);
	state->cr0 = kept | X86_CR0_ET;
	state->activity = bsp ? X86_ACTIVE : X86_ACTIVITY_WAIT_SIPI;
}

void x86_state_sipi(struct x86_state *state, uint8_t vector)
{
	state->seg[X86_CS].selector = (uint16_t)(vector << 8);
	state->seg[X86_CS].base = (uint64_t)vector << 12;
	state->rip = 0;
	state->activity = X86_ACTIVE;
}
