/* The semantic functions behind the table sem_integer[], one file a subject. */
#ifndef ENGINE_INTERP_X86_64_SEM_INTEGER_H
#define ENGINE_INTERP_X86_64_SEM_INTEGER_H

#include "engine/interp/x86_64/sem.h"

/* sem_alu.c */
sem_fn sem_add, sem_or, sem_adc, sem_sbb, sem_and, sem_sub, sem_xor, sem_cmp, sem_test, sem_inc,
    sem_dec, sem_neg, sem_not, sem_adcx, sem_adox;
/* sem_shift.c */
sem_fn sem_rol, sem_ror, sem_rcl, sem_rcr, sem_shl, sem_shr, sem_sar, sem_shld, sem_shrd;
/* sem_multiply.c */
sem_fn sem_mul, sem_imul, sem_div, sem_idiv;
/* sem_exchange.c */
sem_fn sem_xchg, sem_xadd, sem_cmpxchg, sem_cmpxchg8b, sem_cmpxchg16b;
/* sem_bcd.c */
sem_fn sem_aaa, sem_aas, sem_aam, sem_aad, sem_daa, sem_das;
/* sem_stack.c */
sem_fn sem_push, sem_pop, sem_pusha, sem_popa, sem_pushf, sem_popf, sem_enter, sem_leave;

#endif
