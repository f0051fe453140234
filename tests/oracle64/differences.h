/* What is not compared with qemu-aarch64, and where it is known to differ.
 */
#ifndef TESTS_ORACLE64_DIFFERENCES_H
#define TESTS_ORACLE64_DIFFERENCES_H

#include "arch/aarch64/decode.h"
#include "base/types.h"
#include "tests/oracle64/case.h"

/* Is this form, or this word of it (0: the form), left alone? */
bool oracle_excludes(uint32_t word, enum a64_op op);
/* Is this a difference that is known? */
bool oracle_difference(const struct oracle_case *ours, const struct oracle_case *theirs);

#endif
