/* Between the files of the portable x87 arithmetic.
 *
 * Example: struct softfp fp = x87_environment(fcw); ...; return x87_status(&fp);
 */
#ifndef ENGINE_INTERP_X86_64_X87_PORTABLE_H
#define ENGINE_INTERP_X86_64_X87_PORTABLE_H

#include "arch/softfp/softfp.h"
#include "engine/interp/x86_64/x87_arith.h"

struct softfp x87_environment(uint16_t fcw);
uint16_t x87_status(const struct softfp *fp); /* the exceptions raised, and C1 */

#endif
