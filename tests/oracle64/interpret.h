/* Cases (case.h) by the interpreter: a machine whose user programs have the same addresses.
 *
 * Example:
 *     struct interpreted *m = interpreted_create();
 *     interpreted_run(m, &one);                        // fills after, signal, taken, data_sum, window
 */
#ifndef TESTS_ORACLE64_INTERPRET_H
#define TESTS_ORACLE64_INTERPRET_H

#include "tests/oracle64/case.h"

struct interpreted;

/* Ends the process if it can't be made. translated: by dbt instead. */
struct interpreted *interpreted_create(int translated);
void interpreted_run(struct interpreted *m, struct oracle_case *one);

#endif
