/* The four libc functions that freestanding code may call (a hosted libc or hyp/ provides them).
 *
 * Example: `memcpy(dst, src, len);`
 */
#ifndef BASE_STRING_H
#define BASE_STRING_H

#include "base/types.h"

void *memcpy(void *restrict to, const void *restrict from, size_t len);
void *memmove(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);
int memcmp(const void *a, const void *b, size_t len);

#endif
