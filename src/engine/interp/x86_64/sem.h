/* What an instruction's semantics are written against.
 *
 * A semantic function gets the processor and the decoded instruction, and either commits all of its
 * effects or none: everything that can fault comes before the first write to a register. A fault does
 * not return (it jumps back to the run loop, which delivers it with rip at this instruction).
 *
 *     static void sem_paddb(struct cpu *cpu, const struct x86_insn *insn)
 *     {
 *             union x86_vector b;
 *             sem_read_vector(cpu, insn, 1, &b, SEM_ALIGNED);
 *             ...
 *     }
 *     const struct sem_entry sem_sse_int[] = { { X86_PADDB, sem_paddb }, ..., { 0, NULL } };
 *
 * Before a function is called the run loop has checked the CPUID feature, and has advanced nothing:
 * rip is still this instruction's; sem_next_rip() is the next one's. Unless the function writes rip
 * through sem_jump(), the loop moves on to the next instruction.
 */
#ifndef ENGINE_INTERP_X86_64_SEM_H
#define ENGINE_INTERP_X86_64_SEM_H

#include "arch/x86_64/decode.h"
#include "arch/x86_64/state.h"

struct cpu; /* cpu.h: the interpreter's vcpu; cpu_state() below reaches the architectural part */

typedef void sem_fn(struct cpu *cpu, const struct x86_insn *insn);

struct sem_entry {
	uint16_t op; /* enum x86_op; 0 ends a table */
	sem_fn *fn;
};

/* One table a subject; sem.c joins them into one array indexed by op. */
extern const struct sem_entry sem_integer[], sem_bits[], sem_control[], sem_string[], sem_system[],
	sem_segment[], sem_x87[], sem_x87_move[], sem_x87_control[], sem_mmx[],
	sem_sse_fp[], sem_sse_int[], sem_crypto[], sem_avx[], sem_xsave[], sem_sse_move[], sem_sse_shuffle[], sem_sse_convert[], sem_sse_text[], sem_avx_memory[],
	sem_avx_fma[];

struct x86_state *cpu_state(struct cpu *cpu);

/* ---- faults: do not return ---- */
__attribute__((noreturn)) void raise_exception(struct cpu *cpu, unsigned vector); /* without error code */
__attribute__((noreturn)) void raise_error(struct cpu *cpu, unsigned vector, uint32_t error_code);

/* ---- integer operands: values are zero-extended; opn is the operand's index ---- */
uint64_t sem_read(struct cpu *cpu, const struct x86_insn *insn, unsigned opn);
/* 32-bit GPR writes clear the upper half; 8- and 16-bit ones keep it. */
void sem_write(struct cpu *cpu, const struct x86_insn *insn, unsigned opn, uint64_t value);
/* For read-modify-write: checks that the memory operand (if it is one) is writable before the flags or
 * any register change. sem_write of the same operand then can't fault. */
uint64_t sem_read_for_write(struct cpu *cpu, const struct x86_insn *insn, unsigned opn);

/* ---- memory ---- */
/* Offset of the memory operand within its segment, truncated to addrsize. */
uint64_t sem_offset(struct cpu *cpu, const struct x86_insn *insn);
/* seg:offset, with all segment, canonical, paging and (if CR0.AM applies) alignment checks. len 1..64 is
 * checked as a whole, across pages too, before any byte is stored. Up to 8 bytes that do not cross a
 * page are accessed atomically if aligned. */
void sem_load(struct cpu *cpu, unsigned seg, uint64_t offset, void *buf, unsigned len);
void sem_store(struct cpu *cpu, unsigned seg, uint64_t offset, const void *buf, unsigned len);
/* Faults as a store of that range would; stores nothing. */
void sem_probe_store(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned len);
uint64_t sem_load_int(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned size);
void sem_store_int(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned size, uint64_t value);
/* Atomic compare-and-swap of size 1, 2, 4, 8 or 16 bytes. Returns whether *expected matched; if not
 * *expected gets what was there (and the location is written back with it, as the SDM says). */
bool sem_cas(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned size, void *expected, const void *desired);

/* ---- vector operands ---- */
enum sem_alignment { SEM_UNALIGNED, SEM_ALIGNED }; /* ALIGNED: #GP(0) when the memory operand is not naturally aligned */
/* #GP(0) unless the memory operand at offset of its segment is aligned to `alignment`, a power of two. */
void sem_check_alignment(struct cpu *cpu, const struct x86_insn *insn, uint64_t offset, unsigned alignment);
/* Reads operand.size bytes (register or memory) into *out; the rest is zero. */
void sem_read_vector(struct cpu *cpu, const struct x86_insn *insn, unsigned opn, union x86_vector *out,
		     enum sem_alignment alignment);
/* Writes operand.size bytes. An XMM destination of a VEX instruction clears bits 255:128; of a legacy
 * SSE instruction keeps them. */
void sem_write_vector(struct cpu *cpu, const struct x86_insn *insn, unsigned opn, const union x86_vector *value,
		      enum sem_alignment alignment);

/* The gates that an instruction class passes first, in the order of SDM 2A table 2-16 ff.:
 * #UD for CR0.EM, CR4.OSFXSR or OSXSAVE/XCR0, then #NM for CR0.TS. */
void sem_check_x87(struct cpu *cpu);  /* also delivers a pending unmasked x87 exception (#MF) */
void sem_check_x87_no_wait(struct cpu *cpu);
void sem_check_mmx(struct cpu *cpu);  /* only checks; sem_mmx.c moves TOP to 0, tags to valid (SDM 1 9.5) */
void sem_check_sse(struct cpu *cpu);
void sem_check_avx(struct cpu *cpu);
/* After an SSE/AVX floating-point instruction computed `flags` (MXCSR bits 5:0): sets them in MXCSR and, if
 * one is unmasked, raises #XM (or #UD without CR4.OSXMMEXCPT). Call before writing the result. */
void sem_mxcsr_flags(struct cpu *cpu, uint32_t flags);

/* ---- flags: RFLAGS status bits; the interpreter keeps them lazily ---- */
uint32_t sem_flags(struct cpu *cpu);                              /* all six status flags now */
void sem_set_flags(struct cpu *cpu, uint32_t mask, uint32_t value); /* status bits only */
bool sem_condition(struct cpu *cpu, unsigned cc);

/* ---- control flow ---- */
uint64_t sem_next_rip(struct cpu *cpu, const struct x86_insn *insn);
/* Near branch: truncates to operand size, checks the CS limit or canonicality (#GP(0)). */
void sem_jump(struct cpu *cpu, const struct x86_insn *insn, uint64_t target);
/* The current privilege level, and whether the processor is in IA-32e mode with CS.L (64-bit code). */
unsigned sem_cpl(struct cpu *cpu);
bool sem_long_code(struct cpu *cpu);

#endif
