/* Arithmetic that says when it wrapped. Each returns true on overflow, as the builtins do.
 *
 * Example: `if (add_overflow(gpa, len, &end)) return -EINVAL;`
 */
#ifndef BASE_CHECKED_H
#define BASE_CHECKED_H

#define add_overflow(a, b, result) __builtin_add_overflow(a, b, result)
#define sub_overflow(a, b, result) __builtin_sub_overflow(a, b, result)
#define mul_overflow(a, b, result) __builtin_mul_overflow(a, b, result)

#endif
