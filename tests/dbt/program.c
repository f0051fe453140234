/* See program.h.
 *
 * The linear space has a handful of places where something ends: the two ends of each half, 4 GiB, tables of every level,
 * chunks of the translator's tables, and the code. Around each some pages are mapped, or not, with any rights.
 */
#include "tests/dbt/program.h"
#include "tests/oracle/encode.h"
#include "tests/oracle/excluded.h"
#include <stdio.h>
#include <string.h>

#define PTE_P  (1ull << 0)
#define PTE_W  (1ull << 1)
#define PTE_U  (1ull << 2)
#define PTE_A  (1ull << 5)
#define PTE_D  (1ull << 6)
#define PTE_G  (1ull << 8)
#define PTE_NX (1ull << 63)

static const uint64_t places[] = {
	0x0000000000000000ull, 0x0000000000200000ull, 0x000000007ffff000ull, 0x0000000080000000ull, 0x00000000fffff000ull,
	0x0000000100000000ull, 0x0000000040000000ull, 0x0000008000000000ull, 0x00007fffffe00000ull, 0x00007ffffffff000ull,
	0xffff800000000000ull, 0xffff800000200000ull, 0xffffff8000000000ull, 0xffffffff80000000ull, 0xffffffffffe00000ull,
	0xfffffffffffff000ull, PROGRAM_CODE_GVA + 0x100000,
};

/* Of 32-bit code. What lies around them modulo 4 GiB is mapped too, and must not be touched. */
static const uint64_t narrow_places[] = {
	0x00000000, 0x00200000, 0x7ffff000, 0x80000000, 0xfffff000, 0x00000000, 0xfffff000, 0x40000000, 0xffe00000,
};

/* ---- page tables ---- */

struct tables {
	uint8_t *ram;
	uint64_t next;
};

static uint64_t *entry_at(struct tables *t, uint64_t table, unsigned index)
{
	return (uint64_t *)(t->ram + table) + index;
}

static void map(struct tables *t, uint64_t gva, uint64_t gpa, uint64_t flags)
{
	uint64_t table = 0;

	for (int level = 3; level > 0; level--) {
		uint64_t *entry = entry_at(t, table, gva >> (12 + 9 * level) & 511);

		if (!*entry) {
			if (t->next == PROGRAM_TABLES)
				return;
			*entry = t->next | PTE_P | PTE_W | PTE_U;
			t->next += PAGE_SIZE;
		}
		table = *entry & PAGE_MASK & ~PTE_NX;
	}
	*entry_at(t, table, gva >> 12 & 511) = gpa | flags;
}

static void map_places(struct tables *t, const uint64_t *at, unsigned count, struct random *random)
{
	for (unsigned i = 0; i < count; i++) {
		for (int n = -1; n <= 1; n++) {
			uint64_t noise = random_next(random), flags = PTE_P | PTE_NX;
			uint64_t gpa = PROGRAM_DATA_GPA + random_below(random, PROGRAM_DATA >> PAGE_SHIFT) * PAGE_SIZE;

			if ((noise & 3) == 0)
				continue;
			flags |= noise & 4 || noise & 8 ? PTE_W : 0;
			flags |= (noise & 0x70) ? PTE_U : 0;
			flags |= noise & 0x80 ? PTE_A : 0;
			flags |= noise & 0x180 ? PTE_A | PTE_D : 0;
			flags |= noise & 0x200 ? PTE_G : 0;
			map(t, at[i] + (uint64_t)n * PAGE_SIZE, gpa, flags);
		}
	}
}

/* ---- addresses ---- */

static uint64_t pick_narrow_address(struct random *random)
{
	uint64_t place = narrow_places[random_below(random, ARRAY_SIZE(narrow_places))];

	switch (random_below(random, 4)) {
	case 0:
		return (uint32_t)(place - random_below(random, 40));
	case 1:
		return (uint32_t)(place + random_below(random, 2 * PAGE_SIZE) - PAGE_SIZE);
	default:
		return (uint32_t)(place + random_below(random, PAGE_SIZE));
	}
}

static uint64_t pick_address(enum x86_mode mode, struct random *random)
{
	if (mode == X86_MODE_32)
		return pick_narrow_address(random);

	uint64_t place = places[random_below(random, ARRAY_SIZE(places))];
	uint64_t page = place + (random_below(random, 4) - 1) * PAGE_SIZE, address;

	switch (random_below(random, 4)) {
	case 0:
		address = page - random_below(random, 40);
		break;
	case 1:
		address = page + (random_below(random, PAGE_SIZE) & ~31ull);
		break;
	default:
		address = page + random_below(random, PAGE_SIZE);
		break;
	}
	/* Every pattern of the top 16 bits, on valid and invalid entries. */
	if (random_chance(random, 12))
		address = (address & 0xffffffffffffull) | random_next(random) << 48;
	else if (random_chance(random, 30))
		address ^= 1ull << (47 + random_below(random, 17));
	return address;
}

static int32_t pick_distance(struct random *random)
{
	switch (random_below(random, 5)) {
	case 0:
		return 0;
	case 1:
		return (int32_t)random_below(random, 128) - 64;
	case 2:
		return (int32_t)random_below(random, 2 * PAGE_SIZE) - (int32_t)PAGE_SIZE;
	case 3:
		return (int32_t)random_next(random);
	default:
		return (int32_t)random_below(random, 5000) - 2500;
	}
}

/* ---- instructions ---- */

static bool is_control(unsigned op)
{
	switch (op) {
	case X86_JMP: case X86_CALL: case X86_RET: case X86_JCC: case X86_JCXZ:
	case X86_LOOP: case X86_LOOPE: case X86_LOOPNE: case X86_UD0: case X86_UD1: case X86_UD2:
	case X86_POPF: case X86_HLT: case X86_CLI: case X86_STI: case X86_IN: case X86_OUT: case X86_INS: case X86_OUTS:
	case X86_MOV_CR: case X86_MOV_DR: case X86_RDMSR: case X86_WRMSR: case X86_LGDT: case X86_LIDT: case X86_LLDT:
	case X86_LTR: case X86_LMSW: case X86_CLTS: case X86_INVD: case X86_WBINVD: case X86_INVLPG: case X86_INVPCID:
	case X86_SWAPGS: case X86_SYSRET: case X86_SYSEXIT: case X86_XSETBV: case X86_RSM: case X86_SMSW:
		return true;
	default:
		return false;
	}
}

bool program_usable(const struct form *form)
{
	unsigned op = form->key.op;

	if (is_control(op) || excluded_reason(op) || is_save_area(op) || approximate(op) != APPROXIMATE_NOT)
		return false;
	/* Bits of the x87 status word are undefined after many. */
	if (op == X86_FNSTSW || op == X86_XRSTORS || op == X86_XSAVES || op == X86_SYSENTER)
		return false;
	/* AMD's let their operands lie anywhere. */
	if (form->feature == X86_FEATURE_SHA)
		return false;
	for (unsigned i = 0; i < form->key.count; i++) {
		if (form->key.operand[i].kind == X86_OPND_SEG || form->key.operand[i].kind == X86_OPND_CR ||
		    form->key.operand[i].kind == X86_OPND_DR)
			return false;
	}
	return true;
}

struct writer {
	struct program *program;
	uint8_t *code;
	uint64_t at; /* offset */
};

static void put(struct writer *w, const uint8_t *bytes, unsigned length)
{
	if (w->program->count == PROGRAM_INSNS || w->at + length > PROGRAM_CODE - 16)
		return;
	memcpy(w->code + w->at, bytes, length);
	w->program->insn[w->program->count++] = w->program->code_gva + w->at;
	w->at += length;
}

static void put_set(struct writer *w, unsigned reg, uint64_t value)
{
	uint8_t bytes[10] = {(uint8_t)(0x48 | reg >> 3), (uint8_t)(0xb8 | (reg & 7))};

	if (w->program->mode == X86_MODE_32) {
		bytes[0] = (uint8_t)(0xb8 | (reg & 7));
		memcpy(bytes + 1, &value, 4);
		put(w, bytes, 5);
		return;
	}
	memcpy(bytes + 2, &value, 8);
	put(w, bytes, sizeof(bytes));
}

static bool has_memory(const struct x86_insn *insn)
{
	for (unsigned i = 0; i < insn->operand_count; i++) {
		if (insn->operand[i].kind == X86_OPND_MEM)
			return true;
	}
	return false;
}

static uint64_t segment_base(const struct program *program, unsigned seg)
{
	return seg == X86_FS || seg == X86_GS ? program->state.seg[seg].base : 0;
}

/* Sets the registers of the operand's address so that it is `target`, give or take. */
static void aim(struct writer *w, struct instance *instance, struct random *random)
{
	const struct x86_mem *mem = &instance->insn.mem;
	uint64_t target = pick_address(w->program->mode, random) - segment_base(w->program, mem->seg), index = 0;
	bool vector = instance->insn.prefixes & X86_PFX_VSIB;

	if (mem->base == X86_REG_RIP) {
		target = 0x100000 + random_below(random, 2 * PAGE_SIZE) - PAGE_SIZE;
		encode_set_disp(instance, (int32_t)(target - (w->at + instance->insn.length)));
		return;
	}
	if (mem->index != X86_REG_NONE && !vector && mem->index != mem->base) {
		index = random_chance(random, 3) ? random_next(random) : random_below(random, 64);
		put_set(w, mem->index, index);
		index *= mem->scale;
	}
	if (mem->base != X86_REG_NONE)
		put_set(w, mem->base, target - (uint64_t)mem->disp - index);
}

/* Base registers that the program has aimed with; few, so that each is used several times, in turn with others. */
struct bases {
	unsigned last;
	uint16_t aimed;
};

static bool wanted_base(const struct bases *bases, unsigned base)
{
	return base == bases->last || (base < 16 && bases->aimed >> base & 1);
}

/* ADD, SUB or LEA of a constant. */
static void put_move(struct writer *w, unsigned reg, int32_t distance, struct random *random)
{
	uint8_t rex = (uint8_t)(0x48 | reg >> 3), modrm = (uint8_t)(0xc0 | (random_chance(random, 2) ? 0 : 5) << 3 | (reg & 7));
	uint8_t bytes[7] = {rex, 0x81, modrm};
	unsigned at = 3;

	if (w->program->mode == X86_MODE_32) {
		bytes[0] = 0x81;
		bytes[1] = modrm;
		at = 2;
	} else if (random_chance(random, 3) && (reg & 7) != 4) {
		bytes[0] = (uint8_t)(0x48 | (reg >> 3) | (reg >> 3) << 2);
		bytes[1] = 0x8d;
		bytes[2] = (uint8_t)(0x80 | (reg & 7) << 3 | (reg & 7));
	}
	memcpy(bytes + at, &distance, 4);
	put(w, bytes, at + 4);
}

static void put_random(struct writer *w, const struct form *form, struct random *random, struct bases *bases)
{
	enum x86_mode mode = w->program->mode;
	struct instance instance;
	const struct x86_insn *insn = &instance.insn;

	for (unsigned i = 0; i < 6; i++) {
		encode_random(form, random, &instance);
		if (!has_memory(insn) || wanted_base(bases, insn->mem.base))
			break;
	}
	if (has_memory(insn)) {
		if (instance.disp_size == 4 && insn->mem.base != X86_REG_RIP)
			encode_set_disp(&instance, pick_distance(random));
		if (!wanted_base(bases, insn->mem.base) || random_chance(random, 6)) {
			aim(w, &instance, random);
			if (insn->mem.base < 16 && __builtin_popcount(bases->aimed) < 3)
				bases->aimed |= (uint16_t)(1u << insn->mem.base);
		} else if (insn->mem.base < 16 && random_chance(random, 4)) {
			put_move(w, insn->mem.base, pick_distance(random), random);
		}
		bases->last = insn->mem.base;
	}
	switch (insn->op) {
	case X86_MOVS: case X86_STOS: case X86_LODS: case X86_CMPS: case X86_SCAS:
		if (random_chance(random, 8))
			put_set(w, X86_RCX, random_next(random));
		else
			put_set(w, X86_RCX, random_below(random, random_chance(random, 3) ? 5000 : 40));
		put_set(w, X86_RSI, pick_address(mode, random));
		put_set(w, X86_RDI, pick_address(mode, random));
		/* Something that is there to be found. */
		if (random_chance(random, 2))
			put_set(w, X86_RAX, 0);
		break;
	case X86_PUSH: case X86_POP: case X86_PUSHF: case X86_ENTER: case X86_PUSHA: case X86_POPA:
		if (random_chance(random, 2))
			put_set(w, X86_RSP, pick_address(mode, random));
		break;
	case X86_LEAVE:
		put_set(w, X86_RBP, pick_address(mode, random));
		break;
	case X86_XLAT:
		put_set(w, X86_RBX, pick_address(mode, random));
		break;
	case X86_MASKMOVQ: case X86_MASKMOVDQU: case X86_VMASKMOVDQU:
		put_set(w, X86_RDI, pick_address(mode, random));
		break;
	default:
		break;
	}
	put(w, instance.bytes, insn->length);
	/* CMP EAX, imm32: all status flags are defined again. */
	if (x86_op_flags(insn->op).undefined)
		put(w, (uint8_t[]){0x3d, 1, 2, 3, 0x84}, 5);
}

/* A branch over the next instruction, or one that pushes its way on. */
static void put_branch(struct writer *w, struct random *random)
{
	switch (random_below(random, 3)) {
	case 0:
		put(w, (uint8_t[]){(uint8_t)(0x70 | random_below(random, 16)), 1}, 2);
		put(w, (uint8_t[]){0x90}, 1);
		break;
	case 1:
		put(w, (uint8_t[]){0xe8, 0, 0, 0, 0}, 5);
		/* And in 32-bit code, back to behind the return. */
		if (w->program->mode == X86_MODE_32 && random_chance(random, 2)) {
			uint32_t target = (uint32_t)(w->program->code_gva + w->at + 6);
			uint8_t push[5] = {0x68};

			memcpy(push + 1, &target, 4);
			put(w, push, 5);
			put(w, (uint8_t[]){0xc3}, 1);
		}
		break;
	default:
		put(w, (uint8_t[]){0xeb, 0}, 2);
		break;
	}
}

/* ---- state ---- */

/* Of 32-bit code: FS and GS as they may be, the others sometimes such that it is not translated. */
static void make_segments(struct x86_state *s, struct random *random)
{
	for (unsigned i = X86_FS; i <= X86_GS; i++) {
		switch (random_below(random, 6)) {
		case 0:
			s->seg[i].ar = X86_AR_UNUSABLE;
			break;
		case 1:
			s->seg[i].limit = (uint32_t)random_next(random) | 0xfff;
			break;
		case 2:
			s->seg[i].ar &= random_chance(random, 2) ? ~X86_AR_WRITABLE : ~X86_AR_DB;
			break;
		default:
			break;
		}
	}
	if (random_chance(random, 20))
		s->seg[random_chance(random, 2) ? X86_DS : X86_ES].base = random_below(random, 1 << 20);
	if (random_chance(random, 20))
		s->seg[X86_SS].limit = 0x7fffffff;
}

static void make_state(struct x86_state *s, enum x86_mode mode, struct random *random)
{
	bool narrow = mode == X86_MODE_32, supervisor = random_chance(random, narrow ? 16 : 3);
	const uint32_t data = X86_AR_P | X86_AR_S | X86_AR_WRITABLE | X86_AR_ACCESSED | X86_AR_G | X86_AR_DB;
	const uint32_t dpl = supervisor ? 0 : 3u << 5;

	x86_state_reset(s, true);
	s->cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_PG | (random_chance(random, 4) ? 0 : X86_CR0_WP);
	s->cr3 = 0;
	s->cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE | X86_CR4_FSGSBASE |
		 (random_chance(random, 2) ? X86_CR4_PGE : 0) | (random_chance(random, 2) ? X86_CR4_SMAP : 0);
	s->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE | X86_EFER_SCE;
	s->xcr0 = 7;
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		s->seg[i] = (struct x86_segment){.selector = supervisor ? 0x10 : 0x2b, .limit = 0xffffffff, .ar = data | dpl};
	s->seg[X86_CS] = (struct x86_segment){.selector = supervisor ? 0x08 : 0x33, .limit = 0xffffffff,
		.ar = X86_AR_P | X86_AR_S | X86_AR_CODE | X86_AR_WRITABLE | X86_AR_ACCESSED | X86_AR_G | (narrow ? X86_AR_DB : X86_AR_L) | dpl};
	s->seg[X86_FS].base = pick_address(mode, random);
	s->seg[X86_GS].base = pick_address(mode, random);
	if (narrow)
		make_segments(s, random);
	/* WRFSBASE takes canonical addresses only. */
	for (unsigned i = X86_FS; i <= X86_GS; i++)
		s->seg[i].base = (uint64_t)((int64_t)(s->seg[i].base << 16) >> 16);
	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = random_chance(random, 2) ? pick_address(mode, random) : random_integer(random);
	for (unsigned i = 0; narrow && i < 8 && !random_chance(random, 64); i++)
		s->gpr[i] = (uint32_t)s->gpr[i];
	for (unsigned i = 0; i < 16; i++)
		random_fill(random, &s->fpu.ymm[i], 32);
	for (unsigned i = 0; i < 8; i++) {
		s->fpu.r[i].mantissa = random_next(random) | 1ull << 63;
		s->fpu.r[i].exponent = (uint16_t)(0x3fff + random_below(random, 32));
	}
	s->fpu.fcw = 0x37f;
	s->fpu.ftw = 0xff;
	s->fpu.mxcsr = 0x1f80;
	s->rflags = X86_FLAG_FIX | (random_next(random) & X86_FLAGS_STATUS) | (random_chance(random, 8) ? X86_FLAG_DF : 0);
	if (supervisor && random_chance(random, 2))
		s->rflags |= X86_FLAG_AC;
}

void program_make(struct program *program, const struct forms *forms, const uint32_t *usable, unsigned usable_count,
		  struct random *random)
{
	struct tables tables = {.ram = program->ram, .next = PAGE_SIZE};
	struct writer w = {.program = program, .code = program->ram + PROGRAM_CODE_GPA};
	unsigned length = 4 + (unsigned)random_below(random, 20);
	struct bases bases = {.last = X86_REG_NONE};

	program->mode = forms->mode;
	program->code_gva = forms->mode == X86_MODE_32 ? PROGRAM_CODE_GVA_32 : PROGRAM_CODE_GVA;

	memset(program->ram, 0, PROGRAM_TABLES);
	memset(w.code, 0xcc, PROGRAM_CODE);
	for (unsigned i = 0; i < PROGRAM_DATA; i += 64)
		random_fill(random, program->ram + PROGRAM_DATA_GPA + i, 64);
	/* For repetitions that end where bytes differ, or are the same. */
	for (unsigned i = 0; i < PROGRAM_DATA; i += PAGE_SIZE) {
		if (random_chance(random, 3))
			memset(program->ram + PROGRAM_DATA_GPA + i + random_below(random, 64), 0, PAGE_SIZE - 64 - random_below(random, 64));
	}
	make_state(&program->state, program->mode, random);
	for (unsigned i = 0; i < PROGRAM_CODE; i += PAGE_SIZE) {
		map(&tables, program->code_gva + i, PROGRAM_CODE_GPA + i,
		    PTE_P | PTE_A | (program->state.gpr[0] & 1 ? PTE_G : 0) | (program->state.seg[X86_CS].selector & 3 ? PTE_U : 0));
	}
	map_places(&tables, places, ARRAY_SIZE(places), random);
	if (program->mode == X86_MODE_32)
		map_places(&tables, narrow_places, ARRAY_SIZE(narrow_places), random);
	program->count = 0;
	w.at = random_chance(random, 3) ? PAGE_SIZE - random_below(random, 300) : random_below(random, PAGE_SIZE);
	program->start = program->code_gva + w.at;
	for (unsigned i = 0; i < length; i++) {
		if (random_chance(random, 10))
			put_branch(&w, random);
		else
			put_random(&w, &forms->form[usable[random_below(random, usable_count)]], random, &bases);
	}
	program->end = program->insn[program->count] = program->code_gva + w.at;
	w.code[w.at] = 0x0f; /* UD2 */
	w.code[w.at + 1] = 0x0b;
	program->state.rip = program->start;
}

uint64_t program_next(const struct program *program, uint64_t rip)
{
	for (unsigned i = 0; i < program->count; i++) {
		if (program->insn[i] == rip)
			return program->insn[i + 1];
	}
	return program->end;
}

void program_print(const struct program *program)
{
	for (unsigned i = 0; i < program->count; i++) {
		const uint8_t *code = program->ram + PROGRAM_CODE_GPA + (program->insn[i] - program->code_gva);
		struct x86_insn insn;
		unsigned length = (unsigned)(program->insn[i + 1] - program->insn[i]);

		printf("  %lx ", (unsigned long)program->insn[i]);
		if (x86_decode(&insn, code, 15, program->mode) > 0)
			printf(" %-12s", x86_op_name(insn.op));
		for (unsigned n = 0; n < length; n++)
			printf(" %02x", code[n]);
		printf("\n");
	}
}
