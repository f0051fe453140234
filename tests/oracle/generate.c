/* Random cases that do something. See generate.h. */
#include "tests/oracle/generate.h"
#include "arch/x86_64/state.h"
#include "tests/oracle/excluded.h"
#include <string.h>

struct generator {
	struct random *random;
	struct data *data;
	struct test_case *test;
	uint64_t target; /* address of the memory operand, 0: none chosen */
};

/* ---- memory ---- */

/* Offset in the data pages, or -1. */
int64_t data_offset(const struct data *data, uint64_t address)
{
	uint64_t high = data->wide ? data->code_base + HIGH_DATA_DELTA : LOW_DATA;

	if (address >= LOW_DATA && address < LOW_DATA + DATA_SIZE)
		return (int64_t)(address - LOW_DATA);
	if (address >= high && address < high + DATA_SIZE)
		return (int64_t)(address - high);
	return -1;
}

/* Writes what fits of size bytes to both copies. */
static void poke(struct data *data, uint64_t address, const void *bytes, unsigned size)
{
	int64_t offset = data_offset(data, address);

	if (offset < 0)
		return;
	if ((uint64_t)offset + size > DATA_SIZE)
		size = (unsigned)(DATA_SIZE - (uint64_t)offset);
	memcpy(data->native + offset, bytes, size);
	memcpy(data->guest + offset, bytes, size);
}

static uint64_t peek(const struct data *data, uint64_t address, unsigned size)
{
	int64_t offset = data_offset(data, address);
	uint64_t value = 0;

	if (offset >= 0 && (uint64_t)offset + size <= DATA_SIZE)
		memcpy(&value, data->guest + offset, size);
	return value;
}

void generate_data(struct random *random, struct data *data)
{
	for (unsigned i = 0; i < DATA_SIZE; i += 64)
		random_fill(random, data->native + i, 64);
	memcpy(data->guest, data->native, DATA_SIZE);
}

/* Where an operand of `size` bytes is to lie: mostly well inside and aligned, sometimes across
 * pages, at the end of what may be written or read, or nowhere. */
static uint64_t pick_offset(struct random *random, unsigned size, bool edges)
{
	uint64_t within = random_below(random, 64);

	if (size == 0)
		size = 1;
	if (edges && size < 64 && random_chance(random, 2))
		within = random_chance(random, 2) ? size : random_below(random, 2 * size + 1);
	switch (random_below(random, edges ? 12 : 32)) {
	case 0:
		return PAGE_SIZE - within; /* across the first boundary */
	case 1:
		return DATA_WRITABLE - within; /* into the read-only page */
	case 2:
		return DATA_WRITABLE + random_below(random, PAGE_SIZE - 64);
	case 3:
		return DATA_SIZE - within; /* off the end */
	case 4:
		return 0 - within; /* before the start */
	case 5:
	case 6:
	case 7:
		return 1024 + random_below(random, 4096);
	default:
		return 1024 + (random_below(random, 4096) & ~63ull) +
		       (size < 64 ? (within & ~(uint64_t)((1u << (31 - __builtin_clz(size))) - 1))
				  : 0);
	}
}

static uint64_t pick_address(struct generator *g, unsigned size, bool low)
{
	uint64_t offset = pick_offset(g->random, size, g->data->edges);

	low |= !g->data->wide;
	if (!low && random_chance(g->random, 200))
		return 1ull << 62 | offset; /* not canonical */
	if (low || random_chance(g->random, 2))
		return LOW_DATA + offset;
	return g->data->code_base + HIGH_DATA_DELTA + offset;
}

static uint64_t pick_code_address(struct generator *g)
{
	return g->data->code_base + random_below(g->random, CODE_SIZE - 8);
}

/* ---- registers ---- */

static void fill_registers(struct generator *g)
{
	struct machine *in = &g->test->in;

	for (unsigned i = 0; i < 16; i++)
		in->gpr[i] = random_integer(g->random);
	in->gpr[X86_RSP] = LOW_DATA + 1024 + (random_below(g->random, 6144) & ~15ull);
	if (random_chance(g->random, 4))
		in->gpr[X86_RSP] = pick_address(g, 8, false);
	in->rflags = X86_FLAG_FIX | X86_FLAG_IF | (random_next(g->random) & X86_FLAGS_STATUS);
	if (random_chance(g->random, 8))
		in->rflags |= X86_FLAG_DF;
	if (random_chance(g->random, 16))
		in->rflags |= X86_FLAG_ID;
	if (random_chance(g->random, 64))
		in->rflags |= X86_FLAG_AC;
	in->gs_base = LOW_DATA + (random_next(g->random) & 0xff0);
}

#define FSW_EXCEPTIONS 0x3fu
#define FSW_ERROR      0x8080u /* ES and B */

/* x87 state: mostly all exceptions masked, in any rounding and precision. */
static void fill_x87(struct generator *g)
{
	struct xsave_image *x = &g->test->in.x;
	struct random *random = g->random;
	unsigned noise = (unsigned)random_next(random);

	x->fcw = (uint16_t)(0x40 | 0x3f | (noise & 0x0c00) | (noise & 0x0300));
	if (random_chance(random, 2))
		x->fcw |= 0x0300;
	if (random_chance(random, 32))
		x->fcw &= (uint16_t)(random_next(random) | ~0x3full);
	x->fsw = (uint16_t)(random_next(random) & 0x7f7f);
	if (x->fsw & ~x->fcw & FSW_EXCEPTIONS) {
		if (random_chance(random, 4))
			x->fsw |= FSW_ERROR;
		else
			x->fsw &= (uint16_t)~FSW_EXCEPTIONS;
	}
	x->ftw = random_chance(random, 2) ? 0xff : (uint8_t)random_next(random);
	x->fop = 0;
	x->fip = x->fdp = 0;
	for (unsigned i = 0; i < 8; i++)
		random_float80(random, x->st[i]);
}

static void fill_vectors(struct generator *g)
{
	struct xsave_image *x = &g->test->in.x;
	struct random *random = g->random;
	unsigned noise = (unsigned)random_next(random);

	x->mxcsr = 0x1f80 | (noise & 0x6000);
	if (random_chance(random, 4))
		x->mxcsr |= noise & 0x8040;
	if (random_chance(random, 4))
		x->mxcsr |= noise & 0x3f;
	if (random_chance(random, 32))
		x->mxcsr &= (uint32_t)random_next(random) | ~0x1f80u;
	for (unsigned i = 0; i < 16; i++) {
		random_fill(random, x->xmm[i], 16);
		random_fill(random, x->ymmh[i], 16);
	}
}

/* ---- the explicit memory operand ---- */

static unsigned memory_size(const struct x86_insn *insn)
{
	for (unsigned i = 0; i < insn->operand_count; i++)
		if (insn->operand[i].kind == X86_OPND_MEM)
			return insn->operand[i].size;
	return 0;
}

static uint64_t segment_base(const struct machine *in, const struct x86_insn *insn)
{
	if (insn->mode != X86_MODE_64)
		return 0;
	return insn->mem.seg == X86_FS ? in->fs_base : insn->mem.seg == X86_GS ? in->gs_base : 0;
}

uint64_t operand_address(const struct test_case *test)
{
	const struct x86_insn *insn = &test->instance.insn;
	const struct x86_mem *mem = &insn->mem;
	uint64_t offset = (uint64_t)mem->disp;

	if (mem->base == X86_REG_RIP)
		offset += test->in.rip + insn->length;
	else if (mem->base != X86_REG_NONE)
		offset += test->in.gpr[mem->base];
	if (mem->index != X86_REG_NONE && !(insn->prefixes & X86_PFX_VSIB))
		offset += test->in.gpr[mem->index] * mem->scale;
	if (insn->addrsize < 8)
		offset &= (1ull << insn->addrsize * 8) - 1;
	return offset + segment_base(&test->in, insn);
}

static bool has_memory(const struct x86_insn *insn)
{
	for (unsigned i = 0; i < insn->operand_count; i++)
		if (insn->operand[i].kind == X86_OPND_MEM)
			return true;
	return false;
}

/* Gathers: small indices of both widths around the base. */
static void small_indices(struct generator *g, unsigned reg)
{
	struct xsave_image *x = &g->test->in.x;
	bool wide = random_chance(g->random, 2);

	for (unsigned i = 0; i < 8; i++) {
		int64_t value = (int64_t)random_below(g->random, 64) - 32;
		uint8_t *half = i < 4 ? x->xmm[reg] : x->ymmh[reg];

		memcpy(half + (i & 3) * 4, &value, 4);
		if (wide && (i & 1)) {
			value >>= 63;
			memcpy(half + (i & 3) * 4, &value, 4);
		}
	}
}

/* Makes the operand's address `target` by way of a register or the displacement. Where that can't
 * be done (RSP as the only register, ...) the address stays what it is. */
static void aim(struct generator *g, uint64_t target)
{
	struct instance *instance = &g->test->instance;
	const struct x86_insn *insn = &instance->insn;
	const struct x86_mem *mem = &insn->mem;
	uint64_t *gpr = g->test->in.gpr;
	uint64_t offset = target - segment_base(&g->test->in, insn);
	bool index = mem->index != X86_REG_NONE && !(instance->insn.prefixes & X86_PFX_VSIB);
	uint64_t rest = index ? gpr[mem->index] * mem->scale : 0;

	if (mem->base == X86_REG_RIP) {
		uint64_t next = g->data->code_base + g->test->code_offset + instance->insn.length;

		encode_set_disp(instance, (int32_t)(offset - next));
	} else if (mem->base != X86_REG_NONE && index && mem->base == mem->index) {
		gpr[mem->base] = (offset - (uint64_t)mem->disp) / (mem->scale + 1u);
	} else if (mem->base != X86_REG_NONE) {
		gpr[mem->base] = offset - (uint64_t)mem->disp - rest;
	} else if (index) {
		gpr[mem->index] = (offset - (uint64_t)mem->disp) / mem->scale;
	} else if (instance->disp_size == 4 && instance->insn.modrm) {
		encode_set_disp(instance, (int32_t)offset);
	} else if (instance->disp_size == 4) {
		encode_set_disp(instance, (int32_t)offset);
	}
}

static bool is_moffs(const struct instance *instance)
{
	return instance->insn.op == X86_MOV && (instance->insn.opcode & 0xfc) == 0xa0 &&
	       !(instance->insn.prefixes & X86_PFX_VEX);
}

static void place_memory_operand(struct generator *g)
{
	struct instance *instance = &g->test->instance;
	const struct x86_insn *insn = &instance->insn;
	bool low = insn->addrsize < 8 || insn->mem.base == X86_REG_NONE;
	unsigned size = memory_size(insn);

	if (!has_memory(insn))
		return;
	/* Small offsets from FS and from here are this program's own memory. */
	if (insn->mem.seg != X86_FS && insn->mem.base != X86_REG_RIP &&
	    random_chance(g->random, 100))
		return;
	if (insn->mem.base == X86_REG_RIP) {
		g->target = g->data->code_base + HIGH_DATA_DELTA + pick_offset(g->random, size, g->data->edges);
	} else {
		g->target = pick_address(g, size, low);
	}
	if (alignment_differs(insn))
		g->target &= ~15ull;
	if (is_moffs(instance)) {
		if (insn->addrsize == (g->data->wide ? 8 : 4))
			encode_set_moffs(instance, g->target - segment_base(&g->test->in, insn));
	} else {
		aim(g, g->target);
	}
	if (insn->prefixes & X86_PFX_VSIB)
		small_indices(g, insn->mem.index);
	if (random_chance(g->random, 2)) {
		uint8_t bytes[64];

		random_fill(g->random, bytes, 64);
		poke(g->data, g->target, bytes, size && size < 64 ? size : 64);
	}
}

/* ---- what single operations need ---- */

static void set_low_bits(uint64_t *value, unsigned size, uint64_t bits)
{
	uint64_t mask = ~0ull >> (64 - 8 * size);

	*value = (*value & ~mask) | (bits & mask);
}

static uint64_t *register_operand(struct generator *g, unsigned opn)
{
	const struct x86_operand *operand = &g->test->instance.insn.operand[opn];

	return operand->kind == X86_OPND_GPR && operand->reg < 16 ? &g->test->in.gpr[operand->reg]
								  : NULL;
}

/* The value of operand opn, if it is one. */
static uint64_t operand_value(struct generator *g, unsigned opn)
{
	const struct x86_operand *operand = &g->test->instance.insn.operand[opn];
	uint64_t *reg = register_operand(g, opn);

	if (reg)
		return *reg;
	return operand->kind == X86_OPND_MEM ? peek(g->data, g->target, operand->size & 15) : 0;
}

static bool addresses_by(const struct x86_insn *insn, unsigned reg)
{
	return has_memory(insn) && (insn->mem.base == reg || insn->mem.index == reg);
}

static void prepare_divide(struct generator *g, bool is_signed)
{
	unsigned size = g->test->instance.insn.operand[0].size;
	uint64_t *rax = &g->test->in.gpr[X86_RAX], *rdx = &g->test->in.gpr[X86_RDX];

	if (random_chance(g->random, 4) || addresses_by(&g->test->instance.insn, X86_RDX) ||
	    addresses_by(&g->test->instance.insn, X86_RAX))
		return;
	if (size == 1) {
		*rax = random_chance(g->random, 2) ? *rax & ~0xff00ull : *rax & ~0xf000ull;
		return;
	}
	set_low_bits(rdx, size, random_below(g->random, 4));
	if (is_signed)
		set_low_bits(rdx, size, *rax >> (8 * size - 1) & 1 ? ~0ull : 0);
}

static bool has_long_displacement(const struct x86_insn *insn)
{
	if (insn->operand[0].kind != X86_OPND_REL)
		return false;
	return insn->op == X86_JCC ? insn->opcode >= 0x80
				   : insn->opcode == 0xe8 || insn->opcode == 0xe9;
}

static void prepare_branch(struct generator *g)
{
	struct instance *instance = &g->test->instance;
	uint64_t target = pick_code_address(g);
	uint64_t next = g->data->code_base + g->test->code_offset + instance->insn.length;
	uint64_t *reg = register_operand(g, 0);

	if (random_chance(g->random, 8))
		return;
	if (reg)
		*reg = target;
	else if (instance->insn.operand[0].kind == X86_OPND_MEM)
		poke(g->data, g->target, &target, 8);
	else if (has_long_displacement(&instance->insn))
		encode_set_last(instance, instance->insn.opsize == 2 ? 2 : 4, target - next);
	if (instance->insn.op == X86_RET)
		poke(g->data, g->test->in.gpr[X86_RSP], &target, 8);
}

static void prepare_string(struct generator *g)
{
	const struct x86_insn *insn = &g->test->instance.insn;
	uint64_t *gpr = g->test->in.gpr;
	bool low = g->data->wide && insn->addrsize < 8; /* upper halves don't count */

	gpr[X86_RSI] = pick_address(g, insn->opsize, low) - segment_base(&g->test->in, insn);
	gpr[X86_RDI] = pick_address(g, insn->opsize, low);
	if (low && random_chance(g->random, 2)) {
		gpr[X86_RSI] |= random_next(g->random) << 32;
		gpr[X86_RDI] |= random_next(g->random) << 32;
	}
	if (random_chance(g->random, 4)) /* overlap */
		gpr[X86_RDI] = gpr[X86_RSI] + random_below(g->random, 32) - 16;
	gpr[X86_RCX] = random_below(g->random, 40);
	if (random_chance(g->random, 16))
		gpr[X86_RCX] = random_below(g->random, 2000);
	if (low && random_chance(g->random, 2))
		gpr[X86_RCX] |= random_next(g->random) << 32;
	if (random_chance(g->random, 2)) { /* something for the comparisons to find equal */
		uint8_t same[64];

		memset(same, (int)(gpr[X86_RAX] & 0xff), sizeof(same));
		poke(g->data, gpr[X86_RDI] - 8, same, sizeof(same));
		poke(g->data, gpr[X86_RSI] - 8, same, sizeof(same));
	}
}

static void prepare_compare_exchange(struct generator *g)
{
	uint64_t *gpr = g->test->in.gpr;
	const struct x86_insn *insn = &g->test->instance.insn;
	unsigned size = g->test->instance.insn.op == X86_CMPXCHG8B ? 4 : 8;

	if (random_chance(g->random, 2) || addresses_by(insn, X86_RAX) ||
	    addresses_by(insn, X86_RDX))
		return;
	if (insn->op == X86_CMPXCHG) {
		gpr[X86_RAX] = operand_value(g, 0);
		return;
	}
	gpr[X86_RAX] = peek(g->data, g->target, size);
	gpr[X86_RDX] = peek(g->data, g->target + size, size);
}

#define MXCSR_MM (1u << 17) /* AMD only */

/* A valid image more often than not. */
static void prepare_restore(struct generator *g)
{
	const struct x86_insn *insn = &g->test->instance.insn;
	struct xsave_image image;
	uint64_t *gpr = g->test->in.gpr;

	if (addresses_by(insn, X86_RAX) || addresses_by(insn, X86_RDX)) {
		g->target = 0;
	} else if (g->target) {
		/* Whether parts in their initial state are accessed differs: all there or nothing.
		 */
		g->target = LOW_DATA + 1024 + (random_below(g->random, 8192) & ~63ull);
		if (random_chance(g->random, 8))
			g->target += 1 + random_below(g->random, 63);
		aim(g, g->target);
	}
	/* Only what the guest has too. */
	set_low_bits(&gpr[X86_RAX], 4, gpr[X86_RAX] & 7);
	set_low_bits(&gpr[X86_RDX], 4, 0);
	g->test->in.rflags &= ~(uint64_t)X86_FLAG_AC; /* AMD: #AC instead of #GP */
	memcpy(&image, &g->test->in.x, sizeof(image));
	random_fill(g->random, image.xmm, sizeof(image.xmm));
	random_fill(g->random, image.ymmh, sizeof(image.ymmh));
	random_fill(g->random, image.st, sizeof(image.st));
	for (unsigned i = 0; i < 8; i++)
		memset(image.st[i] + 10, 0, 6);
	memset(&image.xstate_bv, 0, 64);
	image.xstate_bv = random_next(g->random) & 7;
	image.mxcsr &= 0xffff;
	if (random_chance(g->random, 16))
		image.mxcsr |= 1u << random_below(g->random, 32) & ~MXCSR_MM;
	if (random_chance(g->random, 16))
		image.xstate_bv |= 1ull << (20 + random_below(g->random, 44)); /* nobody's */
	if (random_chance(g->random, 16))
		image.xcomp_bv = 1ull << random_below(g->random, 62);
	poke(g->data, g->target, &image, sizeof(image));
}

static void prepare_enter(struct generator *g)
{
	struct instance *instance = &g->test->instance;
	uint64_t imm = random_below(g->random, 1024) | random_below(g->random, 64) << 16;

	g->test->in.gpr[X86_RBP] = pick_address(g, 8, false);
	if (!random_chance(g->random, 4))
		imm &= 0x03ffff; /* levels 0 to 3 */
	encode_set_last(instance, 3, imm);
}

/* TF would trap behind the instruction. */
static void prepare_popf(struct generator *g)
{
	uint64_t address = g->test->in.gpr[X86_RSP], value = peek(g->data, address, 8);

	value &= ~(uint64_t)(X86_FLAG_TF | X86_FLAG_NT);
	poke(g->data, address, &value, 8);
	if (data_offset(g->data, address) > (int64_t)DATA_SIZE - 8)
		g->test->in.gpr[X86_RSP] = LOW_DATA + DATA_SIZE + 64;
}

static void prepare(struct generator *g)
{
	const struct x86_insn *insn = &g->test->instance.insn;
	uint64_t *gpr = g->test->in.gpr;
	uint32_t mxcsr;
	uint64_t *bit;

	switch (insn->op) {
	case X86_DIV:
	case X86_IDIV:
		prepare_divide(g, insn->op == X86_IDIV);
		break;
	case X86_JMP:
	case X86_CALL:
	case X86_RET:
	case X86_JCC:
		prepare_branch(g);
		break;
	case X86_LOOP:
	case X86_LOOPE:
	case X86_LOOPNE:
	case X86_JCXZ:
		if (random_chance(g->random, 2))
			gpr[X86_RCX] = random_below(g->random, 3);
		break;
	case X86_MOVS:
	case X86_STOS:
	case X86_LODS:
	case X86_CMPS:
	case X86_SCAS:
		prepare_string(g);
		break;
	case X86_XLAT:
		gpr[X86_RBX] = pick_address(g, 1, insn->addrsize < 8) -
			       segment_base(&g->test->in, insn) - (gpr[X86_RAX] & 0xff);
		break;
	case X86_MASKMOVQ:
	case X86_MASKMOVDQU:
	case X86_VMASKMOVDQU:
		/* Whether bytes that are masked off fault is the processor's choice. */
		gpr[X86_RDI] = LOW_DATA + 1024 + random_below(g->random, 4096) -
			       segment_base(&g->test->in, insn);
		break;
	case X86_BT:
	case X86_BTS:
	case X86_BTR:
	case X86_BTC:
		bit = register_operand(g, 1);
		if (bit && !random_chance(g->random, 8) &&
		    !addresses_by(&g->test->instance.insn, insn->operand[1].reg))
			set_low_bits(bit, insn->operand[1].size,
				     random_below(g->random, 2048) - 1024);
		break;
	case X86_CMPXCHG:
	case X86_CMPXCHG8B:
	case X86_CMPXCHG16B:
		prepare_compare_exchange(g);
		break;
	case X86_ENTER:
		prepare_enter(g);
		break;
	case X86_LEAVE:
		gpr[X86_RBP] = pick_address(g, 8, false);
		break;
	case X86_POPF:
		prepare_popf(g);
		break;
	case X86_LDMXCSR:
	case X86_VLDMXCSR:
		mxcsr = (uint32_t)random_next(g->random) &
			(random_chance(g->random, 8) ? ~MXCSR_MM : 0xffffu);
		poke(g->data, operand_address(g->test), &mxcsr, 4);
		break;
	case X86_XSAVE:
	case X86_XSAVEOPT:
	case X86_XSAVEC:
	case X86_XRSTOR:
	case X86_FXSAVE:
	case X86_FXRSTOR:
		prepare_restore(g);
		break;
	}
}

/* Mostly in the middle; sometimes across the two code pages or up against their end. */
static unsigned pick_code_offset(struct random *random, unsigned length, bool edges)
{
	switch (random_below(random, edges ? 6 : 16)) {
	case 0:
		return PAGE_SIZE - 1 - (unsigned)random_below(random, 15);
	case 1:
		return CODE_SIZE - length;
	default:
		return 256 + (unsigned)random_below(random, CODE_SIZE - 512);
	}
}

/* 32-bit code sees half of eight registers. */
static void narrow_registers(struct machine *in)
{
	for (unsigned i = 0; i < 16; i++)
		in->gpr[i] = i < 8 ? in->gpr[i] & 0xffffffff : 0;
	memset(in->x.xmm[8], 0, 8 * 16);
	memset(in->x.ymmh[8], 0, 8 * 16);
}

/* Nothing of this program is mapped below, but what machine.h lists. */
#define SAFE_BELOW 0x500000000000ull

/* Whether the memory operand keeps clear of this program's own memory. */
static bool is_safe(const struct data *data, const struct test_case *test)
{
	uint64_t address = operand_address(test);

	return !has_memory(&test->instance.insn) || address < SAFE_BELOW || address >> 47 ||
	       data_offset(data, address + 64) >= 0 || data_offset(data, address - 64) >= 0;
}

static void generate_once(const struct form *form, struct random *random, struct data *data,
			  struct test_case *test)
{
	struct generator g = {.random = random, .data = data, .test = test};
	uint64_t fs_base = test->in.fs_base;

	encode_random(form, random, &test->instance);
	test->code_offset = pick_code_offset(random, test->instance.insn.length, data->edges);
	test->in.rip = data->code_base + test->code_offset;
	fill_registers(&g);
	test->in.fs_base = fs_base;
	fill_x87(&g);
	fill_vectors(&g);
	place_memory_operand(&g);
	prepare(&g);
	if (masks_elements(test->instance.insn.op) || is_save_area(test->instance.insn.op))
		test->in.rflags &= ~(uint64_t)X86_FLAG_AC; /* differs as well */
	if (!data->wide)
		narrow_registers(&test->in);
}

void generate_case(const struct form *form, struct random *random, struct data *data,
		   struct test_case *test)
{
	do
		generate_once(form, random, data, test);
	while (!is_safe(data, test));
}
