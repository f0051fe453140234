/* What the oracle leaves out, and what it compares only roughly: named, with reasons. */
#ifndef TESTS_ORACLE_EXCLUDED_H
#define TESTS_ORACLE_EXCLUDED_H

#include "arch/x86_64/decode.h"

/* The reason why an operation can't be compared natively, or NULL. */
const char *excluded_reason(unsigned op);

/* Where the manuals leave it to the processor. */
bool alignment_differs(const struct x86_insn *insn); /* AMD lets SHA operands lie anywhere */
bool masks_elements(unsigned op); /* some of the operand's bytes are not accessed */
uint64_t fault_address_slack(const struct x86_insn *insn); /* bits of the address that #PF names */
/* Which of two faults comes first. */
bool fault_order_differs(const struct x86_insn *insn, unsigned a, unsigned b);
bool fault_registers_differ(const struct x86_insn *insn); /* whether it pops those that it can */
bool fault_flags_differ(
    const struct x86_insn *insn); /* whether a fault half-way restores the flags */

enum approximate { APPROXIMATE_NOT, APPROXIMATE_SINGLE, APPROXIMATE_X87 };
/* Whether processors differ in the last bits of the result. */
enum approximate approximate(unsigned op);

#endif
