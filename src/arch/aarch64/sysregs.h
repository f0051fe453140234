/* What the tables of system registers say: looked up by how MRS and MSR name a register.
 *
 * Example: `const struct a64_sysreg *reg = a64_sysreg_find(A64_SYSREG_KEY(3, 0, 1, 0, 0));   // SCTLR_EL1`
 */
#ifndef ARCH_AARCH64_SYSREGS_H
#define ARCH_AARCH64_SYSREGS_H

#include "arch/aarch64/state.h"
#include "arch/aarch64/names.h"

/* Arm's code for "software", part 0x0d1: no errata workaround of any real processor applies. */
#define A64_MIDR 0x000f0d10u

enum a64_access { A64_R0 = 1, A64_W0 = 2, A64_R1 = 4, A64_W1 = 8 };

/* SCTLR_EL1 (D19.2.120). */
#define A64_SCTLR_M    (1ull << 0)
#define A64_SCTLR_A    (1ull << 1)
#define A64_SCTLR_C    (1ull << 2)
#define A64_SCTLR_SA   (1ull << 3)
#define A64_SCTLR_SA0  (1ull << 4)
#define A64_SCTLR_UMA  (1ull << 9)
#define A64_SCTLR_I    (1ull << 12)
#define A64_SCTLR_DZE  (1ull << 14)
#define A64_SCTLR_UCT  (1ull << 15)
#define A64_SCTLR_NTWI (1ull << 16)
#define A64_SCTLR_NTWE (1ull << 18)
#define A64_SCTLR_WXN  (1ull << 19)
#define A64_SCTLR_SPAN (1ull << 23)
#define A64_SCTLR_UCI  (1ull << 26)

struct a64_sysreg {
	const char *name;
	uint32_t key; /* A64_SYSREG_KEY */
	uint8_t access;
	uint8_t index; /* enum a64_sys */
	uint64_t reset, writable;
};

/* A row of sysregs.def, or NULL. */
const struct a64_sysreg *a64_sysreg_find(uint32_t key);
/* The row of an index. */
const struct a64_sysreg *a64_sysreg_at(enum a64_sys index);

/* Is it in the space of identification registers (D19: op0 3, op1 0, CRn 0, CRm 1 to 7)? Gives the value, zero for those that are not named. */
bool a64_id_register(uint32_t key, uint64_t *value);

#endif
