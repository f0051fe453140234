/* The registers of an x86-64 processor as gdb numbers them, and the XML that tells it so.
 *
 * Example:
 *     len = gdb_register_read(5, state, bytes);          // rdi
 *     text = gdb_registers_xml(avx, buf, sizeof(buf));
 */
#ifndef CONTROL_GDB_X86_64_H
#define CONTROL_GDB_X86_64_H

#include "arch/x86_64/state.h"

#define GDB_REGISTER_SIZE_MAX 16
#define GDB_REGISTER_RIP      16

/* How many there are; with avx the upper halves of YMM too. */
unsigned gdb_register_count(bool avx);
/* Bytes in a packet; 0: there is no such register. */
unsigned gdb_register_size(unsigned number);
/* Little-endian; returns the size, 0 if there is no such register. */
unsigned gdb_register_read(unsigned number, const struct x86_state *state, uint8_t bytes[GDB_REGISTER_SIZE_MAX]);
/* bytes: gdb_register_size() of them. False, and nothing is changed: a processor could not have this value in the state that it is in,
 * or (selectors in protected mode, mode bits) would have to do more to have it. */
bool gdb_register_write(unsigned number, struct x86_state *state, const uint8_t bytes[GDB_REGISTER_SIZE_MAX]);

/* The target description. The length it has; if that is size or more it was cut. */
size_t gdb_registers_xml(bool avx, char *out, size_t size);

#endif
