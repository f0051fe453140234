/* Formatted text without libc: the printf subset that log.h describes.
 *
 * Example: `fmt_print(name, sizeof(name), "virtio%u", index);`
 */
#ifndef BASE_FMT_H
#define BASE_FMT_H

#include "base/types.h"
#include <stdarg.h>

/* Writes at most size bytes including the final NUL; returns the length that the whole text has
 * (>= size means it was cut), as snprintf does. */
__attribute__((format(printf, 3, 4))) size_t fmt_print(char *out, size_t size, const char *format, ...);
size_t fmt_vprint(char *out, size_t size, const char *format, va_list args);

#endif
