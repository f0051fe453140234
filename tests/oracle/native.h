/* The native side: one instruction on the host's own processor.
 *
 * Example: `native_place(bytes, length, page_offset, taken); native_run(&in, &out, &outcome);`
 */
#ifndef TESTS_ORACLE_NATIVE_H
#define TESTS_ORACLE_NATIVE_H

#include "tests/oracle/machine.h"

#define NATIVE_HANG 254 /* outcome.vector: the watchdog ended the run */

/* Maps the address space. False with a message if the host can't. */
bool native_init(void);
/* Before the first run, and after all others who handle signals of faults: what is not a native run's is passed on to them.
 * tick: the watchdog looks every so many microseconds (1 to 1000000) whether a run hangs. */
bool native_install_handlers(unsigned tick);

uint64_t native_code(bool wide); /* address of the code pages, of 64- or 32-bit code */
uint8_t *native_data(void);	 /* the data pages, writable all */
uint8_t *native_code_alias(void);
uint64_t native_fs_base(void); /* the value that every run starts with */

/* Whether the host's kernel lets its processes run 32-bit code (x86-64 code segments with L = 0).
 */
bool native_has_32(void);

/* From now on instructions are 64-bit (or 32-bit) code. */
void native_set_mode(bool wide);

/* Puts the instruction's bytes at `offset` of the code pages with a return behind it (as far as it
 * fits), and a second return at `taken` if that is an address in the code pages that the first
 * doesn't cover. Returns whether `taken` got one (or is the end of the instruction). */
bool native_place(const uint8_t *bytes, unsigned length, unsigned offset, uint64_t taken);

/* Runs from in->rip. *out gets the state afterwards; out->rip the address reached: that of the
 * fault, the next instruction's, or `taken`. */
void native_run(const struct machine *in, struct machine *out, struct outcome *outcome);

#endif
