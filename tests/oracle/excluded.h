/* What the oracle leaves out, and what it compares only roughly: named, with reasons. */
#ifndef TESTS_ORACLE_EXCLUDED_H
#define TESTS_ORACLE_EXCLUDED_H

#include "base/types.h"

/* The reason why an operation can't be compared natively, or NULL. */
const char *excluded_reason(unsigned op);
/* Likewise for a MOV, PUSH or POP that only some operands exclude. */

enum approximate { APPROXIMATE_NOT, APPROXIMATE_SINGLE, APPROXIMATE_X87 };
/* Whether processors differ in the last bits of the result. */
enum approximate approximate(unsigned op);

#endif
