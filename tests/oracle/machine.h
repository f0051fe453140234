/* The user-visible state of a processor as both sides of the oracle exchange it, and the address
 * space that they share.
 *
 *     low data    0x10234000  3 pages: writable, writable, read-only; nothing around them
 *     high data   code + 1 MiB: the same memory again, within reach of RIP-relative operands
 *     code        2 pages, not writable; nothing around them. For 32-bit code they are at
 * 0x20356000
 *
 * Everything else is unmapped for the interpreter, and for the native processor as far as random
 * addresses are concerned.
 */
#ifndef TESTS_ORACLE_MACHINE_H
#define TESTS_ORACLE_MACHINE_H

#define MACHINE_GPR    0
#define MACHINE_RIP    128
#define MACHINE_RFLAGS 136
#define MACHINE_FS     144
#define MACHINE_GS     152
#define MACHINE_XSAVE  192
#define MACHINE_SIZE   1088

/* Offsets into struct native_context, for native_entry.S. */
#define CONTEXT_IN	 0
#define CONTEXT_OUT	 MACHINE_SIZE
#define CONTEXT_HOST_RSP (2 * MACHINE_SIZE)
#define CONTEXT_HOST_FS	 (CONTEXT_HOST_RSP + 8)
#define CONTEXT_MASK	 (CONTEXT_HOST_RSP + 16)
#define CONTEXT_MXCSR	 (CONTEXT_HOST_RSP + 20)
#define CONTEXT_LANDED	 (CONTEXT_HOST_RSP + 24)
#define CONTEXT_LEAP	 (CONTEXT_HOST_RSP + 32)
#define CONTEXT_FAR	 (CONTEXT_HOST_RSP + 40)

#ifndef __ASSEMBLER__

#include "base/types.h"

/* No powers of two, which random registers like to hold. */
#define LOW_DATA	0x10234000ull
#define DATA_PAGES	3
#define DATA_SIZE	(DATA_PAGES * 4096ull)
#define DATA_WRITABLE	(2 * 4096ull)
#define HIGH_DATA_DELTA MIB(1)
#define CODE_SIZE	(2 * 4096ull)
#define LOW_CODE	0x20356000ull
#define LOW_RETURN	0x30567000ull /* native side only: the way back to 64-bit code */

#define XSAVE_SIZE 832

/* The standard-format XSAVE image of x87, SSE and AVX (SDM 1 13.4). */
struct xsave_image {
	uint16_t fcw, fsw;
	uint8_t ftw, reserved1;
	uint16_t fop;
	uint64_t fip, fdp;
	uint32_t mxcsr, mxcsr_mask;
	uint8_t st[8][16]; /* by ST(i) */
	uint8_t xmm[16][16];
	uint8_t reserved2[96];
	uint64_t xstate_bv, xcomp_bv, reserved3[6];
	uint8_t ymmh[16][16];
};

struct machine {
	uint64_t gpr[16];
	uint64_t rip, rflags, fs_base, gs_base;
	_Alignas(64) struct xsave_image x;
	uint8_t pad[64];
};

/* How an instruction ended. */
struct outcome {
	bool fault;
	unsigned vector;
	uint64_t error; /* as delivered; 0 for vectors without one */
	uint64_t cr2;	/* vector 14 only */
};

#endif
#endif
