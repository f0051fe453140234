/* Direct threaded dispatch: each decoded instruction carries the address of the code that executes it, and that
 * code jumps on to the next one's. The frequent forms of 64-bit code are here; every other instruction goes
 * through L_call to its semantic function, which is also what the forms here must agree with.
 *
 * Between instructions cpu->s.rip is the address of the block's first byte (`base`): RIP-relative operands add to
 * it. Before anything that can fault SYNC() makes it the instruction's own.
 */
#include "engine/interp/x86_64/cpu.h"
#include "base/string.h"
#include "core/debug.h"
#include "engine/interp/x86_64/lazy.h"

/* ---- the list of labels ---- */

#define FAST_ALU_FORMS(X, op)                                                                      \
	X(op##_b_rr) X(op##_b_ri) X(op##_b_rm) X(op##_b_mr) X(op##_b_mi)                           \
	X(op##_l_rr) X(op##_l_ri) X(op##_l_rm) X(op##_l_mr) X(op##_l_mi)                           \
	X(op##_q_rr) X(op##_q_ri) X(op##_q_rm) X(op##_q_mr) X(op##_q_mi)
#define FAST_MOV_FORMS(X, s) X(mov_##s##_rr) X(mov_##s##_ri) X(mov_##s##_rm) X(mov_##s##_mr) X(mov_##s##_mi)
#define FAST_SHIFT_FORMS(X, op) X(op##_l_i) X(op##_q_i) X(op##_l_c) X(op##_q_c)
#define FAST_UNARY_FORMS(X, op) X(op##_l) X(op##_q)
#define FAST_EXTEND_FORMS(X, op) X(op##_l_r) X(op##_l_m) X(op##_q_r) X(op##_q_m)

#define FAST_LABELS(X)                                                                             \
	X(call) X(call_end) X(end) X(nop) X(cross)                                                       \
	FAST_ALU_FORMS(X, add) FAST_ALU_FORMS(X, or) FAST_ALU_FORMS(X, adc) FAST_ALU_FORMS(X, sbb) \
	FAST_ALU_FORMS(X, and) FAST_ALU_FORMS(X, sub) FAST_ALU_FORMS(X, xor)                       \
	FAST_ALU_FORMS(X, cmp) FAST_ALU_FORMS(X, test)                                             \
	FAST_MOV_FORMS(X, b) FAST_MOV_FORMS(X, w) FAST_MOV_FORMS(X, l) FAST_MOV_FORMS(X, q)        \
	FAST_EXTEND_FORMS(X, movzxb) FAST_EXTEND_FORMS(X, movzxw) FAST_EXTEND_FORMS(X, movsxb)     \
	FAST_EXTEND_FORMS(X, movsxw) X(movsxd_q_r) X(movsxd_q_m)                                   \
	X(lea_l) X(lea_q) X(push_r) X(push_i) X(push_m) X(pop_r)                                   \
	X(jmp) X(jmp_r) X(jmp_m) X(call_rel) X(call_r) X(call_m) X(ret) X(jcc)                     \
	X(setcc_r) X(cmovcc_l_r) X(cmovcc_q_r) X(cmovcc_l_m) X(cmovcc_q_m)                         \
	FAST_SHIFT_FORMS(X, shl) FAST_SHIFT_FORMS(X, shr) FAST_SHIFT_FORMS(X, sar)                 \
	FAST_UNARY_FORMS(X, inc) FAST_UNARY_FORMS(X, dec) FAST_UNARY_FORMS(X, neg)                 \
	FAST_UNARY_FORMS(X, not) X(imul_l_rr) X(imul_q_rr) X(imul_l_rri) X(imul_q_rri)             \
	X(imul_l_rm) X(imul_q_rm) X(cdqe) X(cwde) X(cdq) X(cqo)

enum fast_label {
#define LABEL_ENUM(name) FAST_##name,
	FAST_LABELS(LABEL_ENUM)
#undef LABEL_ENUM
	FAST_COUNT
};

/* ---- execution ---- */

#define REG(offset, type) (*(type *)((char *)cpu + (offset)))
#define EA()                                                                                       \
	(REG(u->base, uint64_t) + (REG(u->index, uint64_t) << u->scale) + (uint64_t)u->disp +      \
	 REG(u->segment, uint64_t))

/* A macro of its own: the macros below have a parameter named s. */
#define RCX cpu->s.gpr[X86_RCX]
#define SYNC()   (cpu->s.rip = base + u->offset, cpu->uop = u)
#define UNSYNC() (cpu->s.rip = base)
#define NEXT                                                                                       \
	do {                                                                                       \
		u++;                                                                               \
		goto *u->go;                                                                       \
	} while (0)

#define TLB_AT(gva) (&cpu->tlb[cpu->data_tlb][((gva) >> PAGE_SHIFT) & (TLB_SIZE - 1)])

#define LOAD(type, into, gva)                                                                      \
	do {                                                                                       \
		uint64_t at_ = (gva);                                                              \
		struct tlb_entry *e_ = TLB_AT(at_);                                                \
		if (likely(e_->read_tag == ((at_ + sizeof(type) - 1) & PAGE_MASK))) {              \
			into = *(volatile type *)(at_ + e_->addend);                               \
		} else {                                                                           \
			type slow_;                                                                \
			SYNC();                                                                    \
			cpu_load_linear(cpu, at_, &slow_, sizeof(type), cpu->rights, u->seg);      \
			UNSYNC();                                                                  \
			into = slow_;                                                              \
		}                                                                                  \
	} while (0)

/* The store itself; SMC_CHECK() follows when all of the instruction's effects are done. */
#define STORE(type, value, gva)                                                                    \
	do {                                                                                       \
		uint64_t at_ = (gva);                                                              \
		struct tlb_entry *e_ = TLB_AT(at_);                                                \
		if (likely(e_->write_tag == ((at_ + sizeof(type) - 1) & PAGE_MASK))) {             \
			*(volatile type *)(at_ + e_->addend) = (type)(value);                      \
		} else {                                                                           \
			type slow_ = (type)(value);                                                \
			SYNC();                                                                    \
			cpu_store_linear(cpu, at_, &slow_, sizeof(type), cpu->rights, u->seg);     \
			UNSYNC();                                                                  \
		}                                                                                  \
	} while (0)

#define SMC_CHECK()                                                                                \
	do {                                                                                       \
		if (unlikely(cpu->smc))                                                            \
			goto smc;                                                                  \
	} while (0)

/* Register writes: 32-bit ones clear the upper half. */
#define PUT_b(offset, value) (REG(offset, uint8_t) = (uint8_t)(value))
#define PUT_w(offset, value) (REG(offset, uint16_t) = (uint16_t)(value))
#define PUT_l(offset, value) (REG(offset, uint64_t) = (uint32_t)(value))
#define PUT_q(offset, value) (REG(offset, uint64_t) = (uint64_t)(value))

#define TYPE_b uint8_t
#define TYPE_w uint16_t
#define TYPE_l uint32_t
#define TYPE_q uint64_t
#define STYPE_b int8_t
#define STYPE_w int16_t
#define STYPE_l int32_t
#define STYPE_q int64_t

/* compute(a, b) sets r and the flags, from the operands a and b of TYPE. */
#define COMPUTE_add(s) r = (TYPE_##s)(a + b), lf_add(&cpu->lf, a, b, r, sizeof(r), (STYPE_##s)r)
#define COMPUTE_sub(s) r = (TYPE_##s)(a - b), lf_sub(&cpu->lf, a, b, r, sizeof(r), (STYPE_##s)r)
#define COMPUTE_cmp(s) COMPUTE_sub(s)
#define COMPUTE_adc(s)                                                                             \
	r = (TYPE_##s)(a + b + lf_cf(&cpu->lf)), lf_add(&cpu->lf, a, b, r, sizeof(r), (STYPE_##s)r)
#define COMPUTE_sbb(s)                                                                             \
	r = (TYPE_##s)(a - b - lf_cf(&cpu->lf)), lf_sub(&cpu->lf, a, b, r, sizeof(r), (STYPE_##s)r)
#define COMPUTE_and(s)  r = (TYPE_##s)(a & b), lf_logic(&cpu->lf, (STYPE_##s)r)
#define COMPUTE_test(s) COMPUTE_and(s)
#define COMPUTE_or(s)   r = (TYPE_##s)(a | b), lf_logic(&cpu->lf, (STYPE_##s)r)
#define COMPUTE_xor(s)  r = (TYPE_##s)(a ^ b), lf_logic(&cpu->lf, (STYPE_##s)r)

/* A read-modify-write of memory: what can't be written faults as a write, before it is read; and the flags
 * change last, because the store may leave for a device. */
#define MODIFY(op, s, gva)                                                                         \
	do {                                                                                       \
		uint64_t at_ = (gva);                                                              \
		struct tlb_entry *e_ = TLB_AT(at_);                                                \
		if (likely(e_->write_tag == ((at_ + sizeof(a) - 1) & PAGE_MASK))) {                \
			volatile TYPE_##s *host_ = (volatile TYPE_##s *)(at_ + e_->addend);        \
			a = *host_;                                                                \
			COMPUTE_##op(s);                                                           \
			*host_ = r;                                                                \
		} else {                                                                           \
			struct lazy_flags before_ = cpu->lf, after_;                               \
			SYNC();                                                                    \
			cpu_probe_linear(cpu, at_, sizeof(a), cpu->rights, u->seg);                \
			cpu_load_linear(cpu, at_, &a, sizeof(a), cpu->rights, u->seg);             \
			COMPUTE_##op(s);                                                           \
			after_ = cpu->lf;                                                          \
			cpu->lf = before_;                                                         \
			cpu_store_linear(cpu, at_, &r, sizeof(a), cpu->rights, u->seg);            \
			cpu->lf = after_;                                                          \
			UNSYNC();                                                                  \
		}                                                                                  \
	} while (0)

#define ALU(op, s)                                                                                 \
	L_##op##_##s##_rr : {                                                                      \
		TYPE_##s a = REG(u->dst, TYPE_##s), b = REG(u->src, TYPE_##s), r;                  \
		COMPUTE_##op(s);                                                                   \
		PUT_##s(u->dst, r);                                                                \
		NEXT;                                                                              \
	}                                                                                          \
	L_##op##_##s##_ri : {                                                                      \
		TYPE_##s a = REG(u->dst, TYPE_##s), b = (TYPE_##s)u->imm, r;                       \
		COMPUTE_##op(s);                                                                   \
		PUT_##s(u->dst, r);                                                                \
		NEXT;                                                                              \
	}                                                                                          \
	L_##op##_##s##_rm : {                                                                      \
		TYPE_##s a, b, r;                                                                  \
		LOAD(TYPE_##s, b, EA());                                                           \
		a = REG(u->dst, TYPE_##s);                                                         \
		COMPUTE_##op(s);                                                                   \
		PUT_##s(u->dst, r);                                                                \
		NEXT;                                                                              \
	}                                                                                          \
	L_##op##_##s##_mr : {                                                                      \
		TYPE_##s a, b = REG(u->src, TYPE_##s), r;                                          \
		MODIFY(op, s, EA());                                                               \
		SMC_CHECK();                                                                       \
		NEXT;                                                                              \
	}                                                                                          \
	L_##op##_##s##_mi : {                                                                      \
		TYPE_##s a, b = (TYPE_##s)u->imm, r;                                               \
		MODIFY(op, s, EA());                                                               \
		SMC_CHECK();                                                                       \
		NEXT;                                                                              \
	}

/* CMP and TEST write nothing. */
#define ALU_FLAGS(op, s)                                                                           \
	L_##op##_##s##_rr : {                                                                      \
		TYPE_##s a = REG(u->dst, TYPE_##s), b = REG(u->src, TYPE_##s), r;                  \
		COMPUTE_##op(s);                                                                   \
		NEXT;                                                                              \
	}                                                                                          \
	L_##op##_##s##_ri : {                                                                      \
		TYPE_##s a = REG(u->dst, TYPE_##s), b = (TYPE_##s)u->imm, r;                       \
		COMPUTE_##op(s);                                                                   \
		NEXT;                                                                              \
	}                                                                                          \
	L_##op##_##s##_rm : {                                                                      \
		TYPE_##s a, b, r;                                                                  \
		LOAD(TYPE_##s, b, EA());                                                           \
		a = REG(u->dst, TYPE_##s);                                                         \
		COMPUTE_##op(s);                                                                   \
		NEXT;                                                                              \
	}                                                                                          \
	L_##op##_##s##_mr : {                                                                      \
		TYPE_##s a, b = REG(u->src, TYPE_##s), r;                                          \
		LOAD(TYPE_##s, a, EA());                                                           \
		COMPUTE_##op(s);                                                                   \
		NEXT;                                                                              \
	}                                                                                          \
	L_##op##_##s##_mi : {                                                                      \
		TYPE_##s a, b = (TYPE_##s)u->imm, r;                                               \
		LOAD(TYPE_##s, a, EA());                                                           \
		COMPUTE_##op(s);                                                                   \
		NEXT;                                                                              \
	}

#define ALU_SIZES(op)       ALU(op, b) ALU(op, l) ALU(op, q)
#define ALU_FLAGS_SIZES(op) ALU_FLAGS(op, b) ALU_FLAGS(op, l) ALU_FLAGS(op, q)

#define MOV(s)                                                                                     \
	L_mov_##s##_rr : PUT_##s(u->dst, REG(u->src, TYPE_##s));                                   \
	NEXT;                                                                                      \
	L_mov_##s##_ri : PUT_##s(u->dst, u->imm);                                                  \
	NEXT;                                                                                      \
	L_mov_##s##_rm : {                                                                         \
		TYPE_##s value;                                                                    \
		LOAD(TYPE_##s, value, EA());                                                       \
		PUT_##s(u->dst, value);                                                            \
		NEXT;                                                                              \
	}                                                                                          \
	L_mov_##s##_mr : {                                                                         \
		TYPE_##s value = REG(u->src, TYPE_##s);                                            \
		STORE(TYPE_##s, value, EA());                                                      \
		SMC_CHECK();                                                                       \
		NEXT;                                                                              \
	}                                                                                          \
	L_mov_##s##_mi : {                                                                         \
		TYPE_##s value = (TYPE_##s)u->imm;                                                 \
		STORE(TYPE_##s, value, EA());                                                      \
		SMC_CHECK();                                                                       \
		NEXT;                                                                              \
	}

#define EXTEND(op, from, s, to)                                                                    \
	L_##op##_##s##_r : PUT_##s(u->dst, (to)REG(u->src, from));                                 \
	NEXT;                                                                                      \
	L_##op##_##s##_m : {                                                                       \
		from value;                                                                        \
		LOAD(from, value, EA());                                                           \
		PUT_##s(u->dst, (to)value);                                                        \
		NEXT;                                                                              \
	}

/* A shift by n in 1..bits-1; n = 0 changes nothing, flags neither (but clears the upper half). */
#define SHIFT(op, s)                                                                               \
	L_##op##_##s##_i : {                                                                       \
		TYPE_##s a = REG(u->dst, TYPE_##s), r;                                             \
		unsigned n = (unsigned)u->imm;                                                     \
		r = lf_##op##_##s(&cpu->lf, a, n);                                                 \
		PUT_##s(u->dst, r);                                                                \
		NEXT;                                                                              \
	}                                                                                          \
	L_##op##_##s##_c : {                                                                       \
		TYPE_##s a = REG(u->dst, TYPE_##s), r = a;                                         \
		unsigned n = (unsigned)RCX & (sizeof(a) * 8 - 1);                                   \
		if (n)                                                                             \
			r = lf_##op##_##s(&cpu->lf, a, n);                                         \
		PUT_##s(u->dst, r);                                                                \
		NEXT;                                                                              \
	}

#define IMUL(s, wide)                                                                              \
	L_imul_##s##_rr : {                                                                        \
		wide product = (wide)REG(u->dst, STYPE_##s) * REG(u->src, STYPE_##s);              \
		lf_mul(&cpu->lf, product != (STYPE_##s)product, (STYPE_##s)product);               \
		PUT_##s(u->dst, product);                                                          \
		NEXT;                                                                              \
	}                                                                                          \
	L_imul_##s##_rri : {                                                                       \
		wide product = (wide)REG(u->src, STYPE_##s) * (STYPE_##s)u->imm;                   \
		lf_mul(&cpu->lf, product != (STYPE_##s)product, (STYPE_##s)product);               \
		PUT_##s(u->dst, product);                                                          \
		NEXT;                                                                              \
	}                                                                                          \
	L_imul_##s##_rm : {                                                                        \
		STYPE_##s b;                                                                       \
		LOAD(STYPE_##s, b, EA());                                                          \
		wide product = (wide)REG(u->dst, STYPE_##s) * b;                                   \
		lf_mul(&cpu->lf, product != (STYPE_##s)product, (STYPE_##s)product);               \
		PUT_##s(u->dst, product);                                                          \
		NEXT;                                                                              \
	}

#define UNARY(s)                                                                                   \
	L_inc_##s : {                                                                              \
		TYPE_##s a = REG(u->dst, TYPE_##s), b = 1, r = (TYPE_##s)(a + 1);                  \
		uint32_t cf = lf_cf(&cpu->lf);                                                     \
		lf_add(&cpu->lf, a, b, r, sizeof(r), (STYPE_##s)r);                                \
		lf_keep_cf(&cpu->lf, cf);                                                          \
		PUT_##s(u->dst, r);                                                                \
		NEXT;                                                                              \
	}                                                                                          \
	L_dec_##s : {                                                                              \
		TYPE_##s a = REG(u->dst, TYPE_##s), b = 1, r = (TYPE_##s)(a - 1);                  \
		uint32_t cf = lf_cf(&cpu->lf);                                                     \
		lf_sub(&cpu->lf, a, b, r, sizeof(r), (STYPE_##s)r);                                \
		lf_keep_cf(&cpu->lf, cf);                                                          \
		PUT_##s(u->dst, r);                                                                \
		NEXT;                                                                              \
	}                                                                                          \
	L_neg_##s : {                                                                              \
		TYPE_##s a = 0, b = REG(u->dst, TYPE_##s), r;                                      \
		COMPUTE_sub(s);                                                                    \
		PUT_##s(u->dst, r);                                                                \
		NEXT;                                                                              \
	}                                                                                          \
	L_not_##s : PUT_##s(u->dst, ~REG(u->dst, TYPE_##s));                                       \
	NEXT;

#define PUSH(value)                                                                                \
	do {                                                                                       \
		uint64_t sp_ = cpu->s.gpr[X86_RSP] - 8, pushed_ = (value);                         \
		STORE(uint64_t, pushed_, sp_);                                                     \
		cpu->s.gpr[X86_RSP] = sp_;                                                         \
	} while (0)

#define BRANCH(slot_, target_)                                                                     \
	do {                                                                                       \
		slot = slot_;                                                                      \
		rip = target_;                                                                     \
		goto next_block;                                                                   \
	} while (0)
#define INDIRECT 2u

/* A near branch that is taken faults at the branch, with nothing changed, if its target is not canonical (SDM 2A CALL, JMP). */
#define CHECK_TARGET(target)                                                                       \
	do {                                                                                       \
		if (unlikely((uint64_t)((int64_t)((target) << 16) >> 16) != (target))) {           \
			SYNC();                                                                    \
			raise_error(cpu, X86_EXC_GP, 0);                                           \
		}                                                                                  \
	} while (0)

/* cpu == NULL: returns the label table. once: leaves after the given block. */
static const void *const *execute(struct cpu *cpu, struct block *block, bool once)
{
	static const void *const labels[FAST_COUNT] = {
#define LABEL_ADDRESS(name) [FAST_##name] = &&L_##name,
		FAST_LABELS(LABEL_ADDRESS)
#undef LABEL_ADDRESS
	};
	const struct uop *u;
	uint64_t base = 0, rip;
	unsigned slot = INDIRECT;

	if (!cpu)
		return labels;
	rip = cpu->s.rip;
	if (block)
		goto enter;
	goto lookup;

next_block:
	cpu->instructions += block->count;
	if (unlikely(once || atomic_load_explicit(&cpu->vcpu->request, memory_order_relaxed))) {
		cpu->s.rip = rip;
		return NULL;
	}
	if (slot != INDIRECT && block->chain_epoch == cpu->epoch && block->chain_base == base + cpu->code_base) {
		struct block *next = block->chain[slot];

		if (next && next->generation == atomic_load_explicit(next->page_word, memory_order_acquire)) {
			block = next;
			goto enter;
		}
	}
lookup: {
	/* Only here another segment is entered: far transfers and interrupts are not chained. */
	cpu->code_base = cpu->mode == X86_MODE_64 ? 0 : cpu->s.seg[X86_CS].base;

	const uint64_t linear = rip + cpu->code_base;
	struct jump_cache_entry *entry =
		&cpu->jump_cache[(linear ^ linear >> 12) & (JUMP_CACHE_SIZE - 1)];
	struct block *from = block, *next;

	cpu->s.rip = rip;
	if (entry->linear == linear && entry->rip == rip && entry->epoch == cpu->epoch && entry->key == cpu->key &&
	    entry->block->generation == atomic_load_explicit(entry->block->page_word, memory_order_acquire)) {
		next = entry->block;
	} else {
		uint64_t flushes = cpu->blocks.flushes;

		next = block_find(cpu, rip, false);
		if (cpu->blocks.flushes != flushes)
			from = NULL; /* it is gone */
		if (next == cpu->scratch) {
			slot = INDIRECT;
			if (unlikely(cpu->debug != NULL) && debug_break_at(cpu->debug, cpu_linear_rip(cpu)))
				return NULL;
		} else {
			*entry = (struct jump_cache_entry){linear, rip, next, cpu->epoch, cpu->key};
		}
	}
	if (from && slot != INDIRECT && from != cpu->scratch) {
		if (from->chain_epoch != cpu->epoch || from->chain_base != base + cpu->code_base) {
			from->chain_epoch = cpu->epoch;
			from->chain_base = base + cpu->code_base;
			from->chain[0] = from->chain[1] = NULL;
		}
		from->chain[slot] = next;
	}
	block = next;
}
enter:
	base = rip;
	cpu->s.rip = base;
	cpu->block = block;
	u = block->uops;
	goto *u->go;

smc:
	cpu->smc = false;
	rip = base + u->offset + u->length;
	cpu->instructions -= (uint64_t)(block->count - (u - block->uops) - 1);
	slot = INDIRECT;
	goto next_block;

L_call:
	SYNC();
	u->fn(cpu, u->insn);
	UNSYNC();
	SMC_CHECK();
	NEXT;
L_call_end:
	SYNC();
	cpu->jumped = false;
	u->fn(cpu, u->insn);
	cpu->smc = false;
	slot = INDIRECT;
	rip = cpu->jumped ? cpu->s.rip : cpu->s.rip + u->length;
	if (cpu->mode != X86_MODE_64 && !cpu->jumped)
		rip &= 0xffffffffull;
	/* A mode change (the code may be somebody else's to run), or a shadow to be honoured: the loop decides how to
	 * go on. */
	if (unlikely(cpu->step || cpu->shadow_rip != ~0ull ||
		     (cpu->run_translated && (cpu->mode == X86_MODE_64 || cpu_narrow(cpu))))) {
		cpu->instructions += block->count;
		cpu->s.rip = rip;
		return NULL;
	}
	goto next_block;
L_end:
	/* Not an instruction: the block was cut here. */
	BRANCH(0, base + block->length);
L_nop:
	NEXT;
L_cross: {
	/* Before an instruction that goes on into the next page: is that still the page it was decoded from? */
	uint8_t *hva;
	gpa_t page;

	SYNC();
	page = cpu_code_page(cpu, (base & PAGE_MASK) + PAGE_SIZE, &hva);
	UNSYNC();
	if (unlikely(page != u->imm || atomic_load(mem_page_word(&cpu->vm->mem, page)) != (uint32_t)u->disp)) {
		block->generation = 0; /* no page's: it is decoded anew */
		slot = INDIRECT;
		goto lookup;
	}
	NEXT;
}

	ALU_SIZES(add)
	ALU_SIZES(or)
	ALU_SIZES(adc)
	ALU_SIZES(sbb)
	ALU_SIZES(and)
	ALU_SIZES(sub)
	ALU_SIZES(xor)
	ALU_FLAGS_SIZES(cmp)
	ALU_FLAGS_SIZES(test)
	MOV(b)
	MOV(w)
	MOV(l)
	MOV(q)
	EXTEND(movzxb, uint8_t, l, uint32_t)
	EXTEND(movzxb, uint8_t, q, uint64_t)
	EXTEND(movzxw, uint16_t, l, uint32_t)
	EXTEND(movzxw, uint16_t, q, uint64_t)
	EXTEND(movsxb, int8_t, l, int32_t)
	EXTEND(movsxb, int8_t, q, int64_t)
	EXTEND(movsxw, int16_t, l, int32_t)
	EXTEND(movsxw, int16_t, q, int64_t)
	EXTEND(movsxd, int32_t, q, int64_t)
	SHIFT(shl, l)
	SHIFT(shl, q)
	SHIFT(shr, l)
	SHIFT(shr, q)
	SHIFT(sar, l)
	SHIFT(sar, q)
	IMUL(l, int64_t)
	IMUL(q, __int128)
	UNARY(l)
	UNARY(q)

L_lea_l:
	PUT_l(u->dst, EA());
	NEXT;
L_lea_q:
	PUT_q(u->dst, EA());
	NEXT;
L_push_r:
	PUSH(REG(u->src, uint64_t));
	SMC_CHECK();
	NEXT;
L_push_i:
	PUSH(u->imm);
	SMC_CHECK();
	NEXT;
L_push_m: {
	uint64_t value;
	LOAD(uint64_t, value, EA());
	PUSH(value);
	SMC_CHECK();
	NEXT;
}
L_pop_r: {
	uint64_t value;
	LOAD(uint64_t, value, cpu->s.gpr[X86_RSP]);
	cpu->s.gpr[X86_RSP] += 8;
	REG(u->dst, uint64_t) = value;
	NEXT;
}
L_jmp: {
	uint64_t target = base + (uint64_t)u->disp;
	CHECK_TARGET(target);
	BRANCH(1, target);
}
L_jmp_r: {
	uint64_t target = REG(u->src, uint64_t);
	CHECK_TARGET(target);
	BRANCH(INDIRECT, target);
}
L_jmp_m: {
	uint64_t target;
	LOAD(uint64_t, target, EA());
	CHECK_TARGET(target);
	BRANCH(INDIRECT, target);
}
L_call_rel: {
	uint64_t target = base + (uint64_t)u->disp;
	CHECK_TARGET(target);
	PUSH(base + u->offset + u->length);
	cpu->smc = false;
	BRANCH(1, target);
}
L_call_r: {
	uint64_t target = REG(u->src, uint64_t);
	CHECK_TARGET(target);
	PUSH(base + u->offset + u->length);
	cpu->smc = false;
	BRANCH(INDIRECT, target);
}
L_call_m: {
	uint64_t target;
	LOAD(uint64_t, target, EA());
	CHECK_TARGET(target);
	PUSH(base + u->offset + u->length);
	cpu->smc = false;
	BRANCH(INDIRECT, target);
}
L_ret: {
	uint64_t target;
	LOAD(uint64_t, target, cpu->s.gpr[X86_RSP]);
	CHECK_TARGET(target);
	cpu->s.gpr[X86_RSP] += 8 + u->imm;
	BRANCH(INDIRECT, target);
}
L_jcc:
	if (lf_condition(&cpu->lf, u->cc)) {
		uint64_t target = base + (uint64_t)u->disp;
		CHECK_TARGET(target);
		BRANCH(1, target);
	}
	BRANCH(0, base + u->offset + u->length);
L_setcc_r:
	PUT_b(u->dst, lf_condition(&cpu->lf, u->cc));
	NEXT;
L_cmovcc_l_r: {
	uint32_t value = REG(u->src, uint32_t);
	PUT_l(u->dst, lf_condition(&cpu->lf, u->cc) ? value : REG(u->dst, uint32_t));
	NEXT;
}
L_cmovcc_q_r: {
	uint64_t value = REG(u->src, uint64_t);
	if (lf_condition(&cpu->lf, u->cc))
		REG(u->dst, uint64_t) = value;
	NEXT;
}
L_cmovcc_l_m: {
	uint32_t value;
	LOAD(uint32_t, value, EA());
	PUT_l(u->dst, lf_condition(&cpu->lf, u->cc) ? value : REG(u->dst, uint32_t));
	NEXT;
}
L_cmovcc_q_m: {
	uint64_t value;
	LOAD(uint64_t, value, EA());
	if (lf_condition(&cpu->lf, u->cc))
		REG(u->dst, uint64_t) = value;
	NEXT;
}
L_cwde:
	PUT_l(offsetof(struct cpu, s.gpr[X86_RAX]), (int16_t)cpu->s.gpr[X86_RAX]);
	NEXT;
L_cdqe:
	cpu->s.gpr[X86_RAX] = (uint64_t)(int32_t)cpu->s.gpr[X86_RAX];
	NEXT;
L_cdq:
	PUT_l(offsetof(struct cpu, s.gpr[X86_RDX]), (int32_t)cpu->s.gpr[X86_RAX] < 0 ? ~0u : 0);
	NEXT;
L_cqo:
	cpu->s.gpr[X86_RDX] = (int64_t)cpu->s.gpr[X86_RAX] < 0 ? ~0ull : 0;
	NEXT;
}

void fast_run(struct cpu *cpu)
{
	execute(cpu, NULL, false);
}

void fast_run_once(struct cpu *cpu, struct block *block)
{
	execute(cpu, block, true);
}

const void *fast_call_label(bool ends_block)
{
	return execute(NULL, NULL, false)[ends_block ? FAST_call_end : FAST_call];
}

const void *fast_cross_label(void)
{
	return execute(NULL, NULL, false)[FAST_cross];
}

const void *fast_end_label(void)
{
	return execute(NULL, NULL, false)[FAST_end];
}

/* ---- selection ---- */

static uint16_t gpr_offset(unsigned reg, unsigned size)
{
	if (size == 1 && reg >= X86_REG_AH)
		return (uint16_t)(offsetof(struct cpu, s.gpr) + 8 * (reg - X86_REG_AH) + 1);
	return (uint16_t)(offsetof(struct cpu, s.gpr) + 8 * reg);
}

static bool select_memory(const struct x86_insn *insn, struct uop *uop)
{
	const struct x86_mem *mem = &insn->mem;

	if (insn->addrsize != 8)
		return false;
	uop->base = uop->index = uop->segment = offsetof(struct cpu, zero);
	uop->disp = mem->disp;
	uop->seg = mem->seg;
	if (mem->base == X86_REG_RIP) {
		uop->base = offsetof(struct cpu, s.rip);
		uop->disp += uop->offset + insn->length;
	} else if (mem->base != X86_REG_NONE) {
		uop->base = gpr_offset(mem->base, 8);
	}
	if (mem->index != X86_REG_NONE) {
		uop->index = gpr_offset(mem->index, 8);
		uop->scale = (uint8_t)__builtin_ctz(mem->scale);
	}
	if (mem->seg >= X86_FS)
		uop->segment = (uint16_t)offsetof(struct cpu, s.seg[mem->seg].base);
	return true;
}

/* The operand pattern of two-operand instructions: 0 rr, 1 ri, 2 rm, 3 mr, 4 mi, -1 none of them. */
static int select_pattern(const struct x86_insn *insn, struct uop *uop)
{
	const struct x86_operand *dst = &insn->operand[0], *src = &insn->operand[1];

	if (insn->operand_count != 2)
		return -1;
	if (dst->kind == X86_OPND_GPR) {
		uop->dst = gpr_offset(dst->reg, dst->size);
		if (src->kind == X86_OPND_GPR) {
			uop->src = gpr_offset(src->reg, src->size);
			return 0;
		}
		if (src->kind == X86_OPND_IMM) {
			uop->imm = insn->imm;
			return 1;
		}
		return src->kind == X86_OPND_MEM && select_memory(insn, uop) ? 2 : -1;
	}
	if (dst->kind != X86_OPND_MEM || !select_memory(insn, uop))
		return -1;
	if (src->kind == X86_OPND_GPR) {
		uop->src = gpr_offset(src->reg, src->size);
		return 3;
	}
	uop->imm = insn->imm;
	return src->kind == X86_OPND_IMM ? 4 : -1;
}

static int select_alu(const struct x86_insn *insn, struct uop *uop, int first)
{
	int pattern = select_pattern(insn, uop);
	unsigned size = insn->operand[0].size;

	if (pattern < 0 || size == 2 || (insn->operand[1].kind == X86_OPND_GPR && insn->operand[1].size != size))
		return -1;
	return first + (size == 1 ? 0 : size == 4 ? 5 : 10) + pattern;
}

static int select_mov(const struct x86_insn *insn, struct uop *uop)
{
	int pattern = select_pattern(insn, uop);
	unsigned size = insn->operand[0].size;

	return pattern < 0 ? -1 : FAST_mov_b_rr + 5 * __builtin_ctz(size) + pattern;
}

static int select_extend(const struct x86_insn *insn, struct uop *uop, int from_byte, int from_word)
{
	int pattern = select_pattern(insn, uop);
	unsigned size = insn->operand[0].size, from = insn->operand[1].size;

	if ((pattern != 0 && pattern != 2) || size < 4 || from > 2)
		return -1;
	return (from == 1 ? from_byte : from_word) + (size == 8 ? 2 : 0) + (pattern == 2);
}

static int select_shift(const struct x86_insn *insn, struct uop *uop, int first)
{
	const struct x86_operand *dst = &insn->operand[0], *count = &insn->operand[1];

	if (dst->kind != X86_OPND_GPR || dst->size < 4 || insn->operand_count != 2)
		return -1;
	uop->dst = gpr_offset(dst->reg, dst->size);
	if (count->kind == X86_OPND_GPR)
		return first + 2 + (dst->size == 8);
	uop->imm = insn->imm & (dst->size * 8u - 1);
	return uop->imm ? first + (dst->size == 8) : -1;
}

static int select_unary(const struct x86_insn *insn, struct uop *uop, int first)
{
	const struct x86_operand *dst = &insn->operand[0];

	if (dst->kind != X86_OPND_GPR || dst->size < 4)
		return -1;
	uop->dst = gpr_offset(dst->reg, dst->size);
	return first + (dst->size == 8);
}

static int select_imul(const struct x86_insn *insn, struct uop *uop)
{
	unsigned size = insn->operand[0].size;
	bool wide = size == 8;

	if (size < 4)
		return -1;
	if (insn->operand_count == 3 && insn->operand[1].kind == X86_OPND_GPR) {
		uop->dst = gpr_offset(insn->operand[0].reg, size);
		uop->src = gpr_offset(insn->operand[1].reg, size);
		uop->imm = insn->imm;
		return FAST_imul_l_rri + wide;
	}
	switch (select_pattern(insn, uop)) {
	case 0:
		return FAST_imul_l_rr + wide;
	case 2:
		return FAST_imul_l_rm + wide;
	default:
		return -1;
	}
}

static int select_cmov(const struct x86_insn *insn, struct uop *uop)
{
	unsigned size = insn->operand[0].size;
	int pattern = select_pattern(insn, uop);

	if (size < 4 || (pattern != 0 && pattern != 2))
		return -1;
	return (pattern ? FAST_cmovcc_l_m : FAST_cmovcc_l_r) + (size == 8);
}

static int select_stack(const struct x86_insn *insn, struct uop *uop)
{
	const struct x86_operand *operand = &insn->operand[0];

	if (insn->opsize != 8)
		return -1;
	uop->seg = X86_SS;
	if (insn->op == X86_POP) {
		uop->dst = gpr_offset(operand->reg, 8);
		return operand->kind == X86_OPND_GPR ? FAST_pop_r : -1;
	}
	switch (operand->kind) {
	case X86_OPND_GPR:
		uop->src = gpr_offset(operand->reg, 8);
		return FAST_push_r;
	case X86_OPND_IMM:
		uop->imm = insn->imm;
		return FAST_push_i;
	case X86_OPND_MEM:
		return select_memory(insn, uop) ? FAST_push_m : -1;
	default:
		return -1;
	}
}

static int select_branch(const struct x86_insn *insn, struct uop *uop, int relative)
{
	const struct x86_operand *target = &insn->operand[0];

	if (insn->opsize != 8)
		return -1;
	uop->seg = X86_SS;
	switch (target->kind) {
	case X86_OPND_REL:
		uop->disp = (int64_t)insn->imm + uop->offset + insn->length;
		return relative;
	case X86_OPND_GPR:
		uop->src = gpr_offset(target->reg, 8);
		return relative + 1;
	case X86_OPND_MEM:
		return target->size == 8 && select_memory(insn, uop) ? relative + 2 : -1;
	default:
		return -1;
	}
}

static int select_label(const struct x86_insn *insn, struct uop *uop, bool *ends_block)
{
	switch (insn->op) {
	case X86_ADD:
		return select_alu(insn, uop, FAST_add_b_rr);
	case X86_OR:
		return select_alu(insn, uop, FAST_or_b_rr);
	case X86_ADC:
		return select_alu(insn, uop, FAST_adc_b_rr);
	case X86_SBB:
		return select_alu(insn, uop, FAST_sbb_b_rr);
	case X86_AND:
		return select_alu(insn, uop, FAST_and_b_rr);
	case X86_SUB:
		return select_alu(insn, uop, FAST_sub_b_rr);
	case X86_XOR:
		return select_alu(insn, uop, FAST_xor_b_rr);
	case X86_CMP:
		return select_alu(insn, uop, FAST_cmp_b_rr);
	case X86_TEST:
		return select_alu(insn, uop, FAST_test_b_rr);
	case X86_MOV:
		return select_mov(insn, uop);
	case X86_MOVZX:
		return select_extend(insn, uop, FAST_movzxb_l_r, FAST_movzxw_l_r);
	case X86_MOVSX:
		return select_extend(insn, uop, FAST_movsxb_l_r, FAST_movsxw_l_r);
	case X86_MOVSXD:
		switch (insn->opsize == 8 ? select_pattern(insn, uop) : -1) {
		case 0:
			return FAST_movsxd_q_r;
		case 2:
			return FAST_movsxd_q_m;
		default:
			return -1;
		}
	case X86_LEA:
		if (insn->opsize < 4 || !select_memory(insn, uop))
			return -1;
		uop->segment = offsetof(struct cpu, zero);
		uop->dst = gpr_offset(insn->operand[0].reg, 8);
		return insn->opsize == 8 ? FAST_lea_q : FAST_lea_l;
	case X86_PUSH:
	case X86_POP:
		return select_stack(insn, uop);
	case X86_NOP:
		return FAST_nop;
	case X86_SHL:
		return select_shift(insn, uop, FAST_shl_l_i);
	case X86_SHR:
		return select_shift(insn, uop, FAST_shr_l_i);
	case X86_SAR:
		return select_shift(insn, uop, FAST_sar_l_i);
	case X86_INC:
		return select_unary(insn, uop, FAST_inc_l);
	case X86_DEC:
		return select_unary(insn, uop, FAST_dec_l);
	case X86_NEG:
		return select_unary(insn, uop, FAST_neg_l);
	case X86_NOT:
		return select_unary(insn, uop, FAST_not_l);
	case X86_IMUL:
		return select_imul(insn, uop);
	case X86_CMOVCC:
		return select_cmov(insn, uop);
	case X86_SETCC:
		uop->dst = gpr_offset(insn->operand[0].reg, 1);
		return insn->operand[0].kind == X86_OPND_GPR ? FAST_setcc_r : -1;
	case X86_CBW:
		return insn->opsize == 8 ? FAST_cdqe : insn->opsize == 4 ? FAST_cwde : -1;
	case X86_CWD:
		return insn->opsize == 8 ? FAST_cqo : insn->opsize == 4 ? FAST_cdq : -1;
	case X86_JMP:
		*ends_block = true;
		return select_branch(insn, uop, FAST_jmp);
	case X86_CALL:
		*ends_block = true;
		return select_branch(insn, uop, FAST_call_rel);
	case X86_JCC:
		*ends_block = true;
		uop->disp = (int64_t)insn->imm + uop->offset + insn->length;
		return FAST_jcc;
	case X86_RET:
		*ends_block = true;
		uop->seg = X86_SS;
		uop->imm = insn->operand_count ? insn->imm : 0;
		return insn->opsize == 8 ? FAST_ret : -1;
	default:
		return -1;
	}
}

bool fast_select(const struct x86_insn *insn, struct uop *uop, bool *ends_block)
{
	int label;

	*ends_block = false;
	if (insn->mode != X86_MODE_64 || (insn->prefixes & X86_PFX_LOCK))
		return false;
	uop->cc = insn->cc;
	label = select_label(insn, uop, ends_block);
	if (label < 0)
		return false;
	uop->go = execute(NULL, NULL, false)[label];
	return true;
}
