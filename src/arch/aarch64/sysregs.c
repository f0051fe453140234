/* The tables of system registers, and the state after a reset. See sysregs.h. */
#include "arch/aarch64/sysregs.h"

static const struct a64_sysreg rows[A64_SYS_COUNT] = {
#define SYSREG(name_, op0, op1, crn, crm, op2, access_, reset_, writable_)                                                         \
	[A64_SYS_##name_] = {.name = #name_, .key = A64_SYSREG_KEY(op0, op1, crn, crm, op2), .access = access_, .index = A64_SYS_##name_, \
			     .reset = reset_, .writable = writable_},
#include "arch/aarch64/sysregs.def"
#undef SYSREG
};

static const struct {
	uint32_t key;
	uint64_t value;
} id_registers[] = {
#define ID_REG(name, crm, op2, value) {A64_SYSREG_KEY(3, 0, 0, crm, op2), value},
#include "arch/aarch64/features.def"
#undef ID_REG
};

const struct a64_sysreg *a64_sysreg_find(uint32_t key)
{
	for (unsigned i = 0; i < A64_SYS_COUNT; i++) {
		if (rows[i].key == key)
			return &rows[i];
	}
	return NULL;
}

const struct a64_sysreg *a64_sysreg_at(enum a64_sys index)
{
	return &rows[index];
}

bool a64_id_register(uint32_t key, uint64_t *value)
{
	if (key < A64_SYSREG_KEY(3, 0, 0, 1, 0) || key > A64_SYSREG_KEY(3, 0, 0, 7, 7))
		return false;
	*value = 0;
	for (unsigned i = 0; i < sizeof(id_registers) / sizeof(id_registers[0]); i++) {
		if (id_registers[i].key == key)
			*value = id_registers[i].value;
	}
	return true;
}

void a64_state_reset(struct a64_state *state, unsigned index)
{
	*state = (struct a64_state){.pstate = A64_PSTATE_EL1 | A64_PSTATE_SP | A64_PSTATE_DAIF};
	for (unsigned i = 0; i < A64_SYS_COUNT; i++)
		state->sys[i] = rows[i].reset;
	state->sys[A64_SYS_MPIDR_EL1] |= a64_cpu_affinity(index);
}
