/* Descriptors, stacks and frames: what far transfers, event delivery and task switches share.
 */
#ifndef ENGINE_INTERP_X86_64_SEGMENT_H
#define ENGINE_INTERP_X86_64_SEGMENT_H

#include "engine/interp/x86_64/cpu.h"

struct descriptor {
	gva_t address;
	uint64_t raw;
	uint32_t ar; /* as struct x86_segment.ar */
};

bool selector_is_null(uint16_t selector);
/* False when the selector lies outside its table. */
bool descriptor_read(struct cpu *cpu, uint16_t selector, struct descriptor *out);
/* The second half of a 16-byte system descriptor. */
bool descriptor_read_high(struct cpu *cpu, uint16_t selector, const struct descriptor *low, uint64_t *high);
struct x86_segment descriptor_segment(uint16_t selector, const struct descriptor *d);
void descriptor_set_accessed(struct cpu *cpu, struct descriptor *d);

uint64_t stack_peek(struct cpu *cpu, unsigned depth, unsigned size);
void stack_drop(struct cpu *cpu, uint64_t bytes);

/* A flat 4 GiB segment, as SYSCALL and SYSENTER load. */
struct x86_segment flat_segment(uint16_t selector, uint32_t ar);

enum code_check { CODE_JUMP, CODE_RETURN, CODE_GATE };
void check_code_descriptor(struct cpu *cpu, uint16_t selector, struct descriptor *d, enum code_check check);
void check_target(struct cpu *cpu, const struct descriptor *d, uint64_t target);
void load_cs(struct cpu *cpu, uint16_t selector, struct descriptor *d, unsigned cpl);
void drop_inner_segments(struct cpu *cpu, unsigned cpl);

/* The stack for an inner level, from the TSS. */
void tss_stack(struct cpu *cpu, unsigned level, uint16_t *ss, uint64_t *sp);
uint64_t tss_stack64(struct cpu *cpu, unsigned offset);
struct x86_segment check_stack_segment(struct cpu *cpu, uint16_t ss, unsigned cpl, unsigned vector,
				       struct descriptor *d);

/* A stack frame under construction: pushed values are stored in one go, so that a fault leaves nothing. */
struct frame {
	struct x86_segment ss; /* the stack it goes to */
	uint64_t sp, mask;
	unsigned size;         /* bytes a slot: 2, 4, 8 */
	bool long_mode;        /* 64-bit: no segmentation */
	bool new_stack;
	enum tlb_index index;
	uint64_t values[16];
	unsigned count;
};
void frame_push(struct cpu *cpu, struct frame *frame, uint64_t value);
void frame_store(struct cpu *cpu, struct frame *frame); /* frame->sp is then the new stack pointer */

#endif
