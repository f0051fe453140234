/* What the oracle leaves out, and what it compares only roughly: named, with reasons. */
#ifndef TESTS_ORACLE_EXCLUDED_H
#define TESTS_ORACLE_EXCLUDED_H

#include "arch/x86_64/decode.h"
#include "tests/oracle/machine.h"

/* The reason why an operation can't be compared natively, or NULL. */
const char *excluded_reason(unsigned op);

enum approximate { APPROXIMATE_NOT, APPROXIMATE_SINGLE, APPROXIMATE_X87 };
/* Whether processors differ in the last bits of the result. */
enum approximate approximate(unsigned op);

/* ---- kinds of operations ---- */
/* Some of the operand's bytes are not accessed. */
bool masks_elements(unsigned op);
/* FXSAVE, XSAVE, FNSAVE and their like. */
bool is_save_area(unsigned op);

/* ---- what the manuals leave to the processor, or makers do differently ---- */
/* AMD lets SHA operands lie anywhere. */
bool alignment_differs(const struct x86_insn *insn);
/* Which of two faults comes first. */
bool fault_order_differs(const struct x86_insn *insn, unsigned a, unsigned b);
/* The translator finds out that the target of an indirect branch is not canonical when it goes there: #GP is that of the
 * fetch at the target, with the branch done, where processors report the branch. An earlier look would cost every
 * indirect branch. */
bool branch_faults_late(const struct x86_insn *insn, uint64_t rip, const struct outcome *native,
			const struct outcome *translated);
/* Bits of the address that #PF names. */
uint64_t fault_address_slack(const struct x86_insn *insn);
/* POPA that faults may have popped those that it could. */
bool fault_registers_differ(const struct x86_insn *insn);
/* Whether a fault of the operand leaves the registers in MMX state. */
bool fault_transition_differs(const struct x86_insn *insn);
/* Status flags; x is the state afterwards. */
bool status_flags_differ(const struct x86_insn *insn, const struct xsave_image *x, bool fault);
/* Bits of the x87 status word; x is the state afterwards. */
uint16_t undefined_status(unsigned op, const struct xsave_image *x);

#endif
