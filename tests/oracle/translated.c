/* The translator's side of the oracle. See translated.h.
 *
 * All of the code pages that is not placed is HLT: at privilege level 3 the translator leaves it to the interpreter, so a
 * run ends wherever it arrives.
 */
#include "tests/oracle/translated.h"
#include "arch/state.h"
#include "engine/dbt/dbt_engine.h"
#include "tests/oracle/guest_state.h"
#include <immintrin.h>
#include <stdio.h>
#include <string.h>

#define PTE_A      (1ull << 5)
#define PTE_D      (1ull << 6)
#define SENTINEL   0xf4
#define BEFORE_MAX 64
#define ROUNDS_MAX 20000

const struct engine_ops *translated_engine(void)
{
	char why[200];

	if (dbt_engine.probe(why, sizeof(why)) == 0)
		return &dbt_engine;
	fprintf(stderr, "oracle: %s\n", why);
	return NULL;
}

/* ---- instructions around it ---- */

struct builder {
	struct random *random;
	const struct data *data;
	const struct x86_insn *insn;
	struct machine *in;
	uint8_t *bytes; /* the first byte; they are put in front of each other */
	unsigned room;
};

static bool prepend(struct builder *b, const uint8_t *bytes, unsigned length)
{
	if (length > b->room)
		return false;
	b->bytes -= length;
	b->room -= length;
	memcpy(b->bytes, bytes, length);
	return true;
}

/* The first byte is a REX prefix, which 32-bit code does without. */
static bool prepend_rex(struct builder *b, const uint8_t *bytes, unsigned length)
{
	return b->data->wide ? prepend(b, bytes, length) : prepend(b, bytes + 1, length - 1);
}

static unsigned any_register(struct builder *b)
{
	return (unsigned)random_below(b->random, b->data->wide ? 16 : 8);
}

static uint64_t as_wide(const struct builder *b, uint64_t value)
{
	return b->data->wide ? value : (uint32_t)value;
}

static uint8_t rex_w(unsigned reg, unsigned rm)
{
	return (uint8_t)(0x48 | reg >> 3 << 2 | rm >> 3);
}

static uint8_t mod(unsigned mode, unsigned reg, unsigned rm)
{
	return (uint8_t)(mode << 6 | (reg & 7) << 3 | (rm & 7));
}

static void before_not(struct builder *b)
{
	unsigned reg = any_register(b);

	if (prepend_rex(b, (uint8_t[]){rex_w(0, reg), 0xf7, mod(3, 2, reg)}, 3))
		b->in->gpr[reg] = as_wide(b, ~b->in->gpr[reg]);
}

static void before_bswap(struct builder *b)
{
	unsigned reg = any_register(b);
	uint64_t value = b->in->gpr[reg];

	if (prepend_rex(b, (uint8_t[]){rex_w(0, reg), 0x0f, (uint8_t)(0xc8 | (reg & 7))}, 3))
		b->in->gpr[reg] = b->data->wide ? __builtin_bswap64(value) : __builtin_bswap32((uint32_t)value);
}

static void before_xchg(struct builder *b)
{
	unsigned one = any_register(b), other = any_register(b);
	uint64_t value = b->in->gpr[one];

	if (!prepend_rex(b, (uint8_t[]){rex_w(one, other), 0x87, mod(3, one, other)}, 3))
		return;
	b->in->gpr[one] = b->in->gpr[other];
	b->in->gpr[other] = value;
}

static unsigned address_register(struct builder *b)
{
	const struct x86_mem *mem = &b->insn->mem;

	switch (random_below(b->random, 4)) {
	case 0:
		return X86_RSP;
	case 1:
		return any_register(b);
	default:
		return mem->base < 16 ? mem->base : mem->index < 16 ? mem->index : X86_RSI;
	}
}

/* [reg + disp32] with the bytes of ModRM, SIB, displacement. */
static unsigned put_address(uint8_t *to, unsigned reg_field, unsigned base, int32_t disp)
{
	unsigned length = 0;

	to[length++] = mod(2, reg_field, base);
	if ((base & 7) == 4)
		to[length++] = 0x24;
	memcpy(to + length, &disp, 4);
	return length + 4;
}

/* lea reg, [reg+disp] */
static void before_lea(struct builder *b)
{
	unsigned reg = address_register(b);
	int32_t disp = (int32_t)random_below(b->random, 8192) - 4096;
	uint8_t bytes[16] = {rex_w(reg, reg), 0x8d};

	if (prepend_rex(b, bytes, 2 + put_address(bytes + 2, reg, reg, disp)))
		b->in->gpr[reg] = as_wide(b, b->in->gpr[reg] - (uint64_t)(int64_t)disp);
}

static bool readable(const struct data *data, uint64_t address)
{
	int64_t offset = data_offset(data, address);

	return offset >= 0 && offset + 8 <= (int64_t)DATA_SIZE;
}

/* mov other, [reg+disp]; mov other, its value: the translator has looked up a page near by. */
static void before_load(struct builder *b)
{
	unsigned reg = address_register(b), other = any_register(b);
	int32_t disp = (int32_t)b->insn->mem.disp + (int32_t)random_below(b->random, 256) - 128;
	uint8_t load[16] = {rex_w(other, reg), 0x8b}, set[10] = {rex_w(0, other), (uint8_t)(0xb8 | (other & 7))};
	/* REX, opcode, immediate */
	unsigned set_length = b->data->wide ? sizeof(set) : 6;
	unsigned load_length = 2 + put_address(load + 2, other, reg, disp);

	if (other == reg || (b->in->rflags & X86_FLAG_AC) || !readable(b->data, as_wide(b, b->in->gpr[reg] + (uint64_t)(int64_t)disp)) ||
	    b->room < set_length + load_length)
		return;
	memcpy(set + 2, &b->in->gpr[other], 8);
	(void)prepend_rex(b, set, set_length);
	(void)prepend_rex(b, load, load_length);
	b->in->gpr[other] = as_wide(b, random_next(b->random));
}

static void before_nop(struct builder *b)
{
	(void)prepend(b, (uint8_t[]){0x0f, 0x1f, 0x44, 0x00, 0x00}, 5);
}

static unsigned put_after(bool wide, struct random *random, uint8_t *to, unsigned room)
{
	static const struct {
		uint8_t bytes[8], length;
	} harmless[] = {
		{{0x90}, 1},
		{{0x66, 0x90}, 2},
		{{0x0f, 0x1f, 0x40, 0x00}, 4},
		{{0x48, 0x89, 0xc0}, 3},             /* mov rax, rax */
		{{0x48, 0x8d, 0x64, 0x24, 0x00}, 5}, /* lea rsp, [rsp] */
		{{0x48, 0x87, 0xdb}, 3},             /* xchg rbx, rbx */
		{{0x4d, 0x89, 0xc9}, 3},             /* mov r9, r9 */
	};
	unsigned length = 0;

	for (unsigned i = (unsigned)random_below(random, 4); i-- > 0;) {
		unsigned n = (unsigned)random_below(random, ARRAY_SIZE(harmless) - !wide);
		/* The same with 32 bits. */
		unsigned skip = !wide && harmless[n].bytes[0] == 0x48, size = harmless[n].length - skip;

		if (size > room - length)
			break;
		memcpy(to + length, harmless[n].bytes + skip, size);
		length += size;
	}
	return length;
}

/* ---- what the tables know ---- */

static void forget(struct guest *guest, const struct test_case *test, const struct data *data, struct random *random)
{
	const uint64_t bases[] = {LOW_DATA, data->code_base + HIGH_DATA_DELTA};

	switch (random_below(random, 8)) {
	case 0: /* all, and the pages were not accessed yet */
		for (unsigned i = 0; i < DATA_PAGES; i++) {
			for (unsigned n = 0; n < ARRAY_SIZE(bases); n++)
				*guest_pte(guest, bases[n] + i * PAGE_SIZE) &= ~(PTE_A | PTE_D);
		}
		cpu_flush(guest->cpu);
		break;
	case 1:
		cpu_flush(guest->cpu);
		break;
	case 2:
		cpu_flush_page(guest->cpu, operand_address(test));
		break;
	case 3:
		cpu_flush_page(guest->cpu, test->in.gpr[X86_RSP]);
		break;
	default:
		break;
	}
}

/* ---- a case ---- */

void translated_place(struct placed *placed, struct guest *guest, struct random *random, const struct test_case *test,
		      const struct data *data)
{
	static void (*const before[])(struct builder *) = {before_not,	before_bswap, before_xchg, before_lea,
							   before_load, before_load,  before_nop};
	const unsigned length = test->instance.insn.length;
	unsigned offset = test->code_offset, before_length, after, room;
	uint8_t *code = guest->ram + CODE_GPA;
	struct builder b = {
		.random = random, .data = data, .insn = &test->instance.insn, .in = &placed->in,
		.bytes = placed->bytes + BEFORE_MAX, .room = offset < BEFORE_MAX ? offset : BEFORE_MAX,
	};

	/* Over the last one. */
	if (placed->length)
		memset(code + (placed->first - guest->code_base) % CODE_SIZE, SENTINEL, placed->length);
	else
		memset(code, SENTINEL, CODE_SIZE);
	mem_mark_written(&guest->vm.mem, CODE_GPA, CODE_SIZE);

	memcpy(&placed->in, &test->in, sizeof(placed->in));
	memcpy(placed->bytes + BEFORE_MAX, test->instance.bytes, length);
	for (unsigned i = (unsigned)random_below(random, 5); i-- > 0;)
		before[random_below(random, ARRAY_SIZE(before))](&b);
	before_length = (unsigned)(placed->bytes + BEFORE_MAX - b.bytes);
	room = (unsigned)CODE_SIZE - (offset + length);
	after = put_after(data->wide, random, placed->bytes + BEFORE_MAX + length, room < 16 ? room : 16);
	memmove(placed->bytes, b.bytes, before_length + length + after);
	placed->length = before_length + length + after;
	placed->at = test->in.rip;
	placed->end = placed->at + length;
	placed->first = placed->in.rip = placed->at - before_length;
	placed->last = placed->end + after;
	memcpy(code + offset - before_length, placed->bytes, placed->length);
	mem_mark_written(&guest->vm.mem, CODE_GPA + offset - before_length, placed->length);
	forget(guest, test, data, random);
}

bool translated_usable(const struct placed *placed, uint64_t target)
{
	return target == placed->end || target < placed->first || target > placed->last;
}

static bool arrived(const struct guest *guest, const struct placed *placed)
{
	uint64_t rip = guest->cpu->s.rip;
	if (rip >= placed->first && rip < placed->last)
		return false;
	if (rip - guest->code_base < CODE_SIZE)
		return guest->ram[CODE_GPA + (rip - guest->code_base)] == SENTINEL;
	return rip - LOW_CODE < CODE_SIZE && guest->ram[CODE_GPA + (rip - LOW_CODE)] == SENTINEL;
}

static void step(struct cpu *cpu)
{
	cpu->s.rflags &= ~(uint64_t)X86_FLAG_RF;
	fast_run_once(cpu, block_find(cpu, cpu->s.rip, true));
	cpu->smc = false;
	cpu_update_mode(cpu);
}

/* Until it arrives, or faults: then false. */
static bool run(struct guest *guest, const struct placed *placed)
{
	struct cpu *volatile cpu = guest->cpu;
	volatile unsigned rounds = 0;

	for (;;) {
		if (arrived(guest, placed))
			return true;
		if (++rounds > ROUNDS_MAX) {
			cpu->event = (struct cpu_event){.vector = 254};
			return false;
		}
		cpu->leave = LEAVE_NONE;
		if (setjmp(cpu->jump)) {
			if (cpu->leave == LEAVE_EXCEPTION)
				return arrived(guest, placed);
			continue;
		}
		cpu->replay_count = cpu->replay_pos = 0;
		if (cpu->run_translated(cpu)) {
			if (!arrived(guest, placed))
				step(cpu);
		} else if (vcpu_take_request(&guest->vcpu, VCPU_REQ_FLUSH)) {
			tlb_flush_writes(cpu);
		}
	}
}

__attribute__((target("fsgsbase"))) void translated_run(struct guest *guest, const struct placed *placed,
							struct machine *out, struct outcome *outcome)
{
	struct cpu *cpu = guest->cpu;
	union arch_state state;

	_writegsbase_u64((uintptr_t)cpu);
	memcpy(out, &placed->in, sizeof(*out));
	memset(outcome, 0, sizeof(*outcome));
	guest_load(cpu, &placed->in);
	if (!run(guest, placed))
		guest_fault(cpu, outcome);
	cpu->leave = LEAVE_NONE;
	/* This has the x87 state brought home. */
	(void)guest->vm.engine->get_state(&guest->vcpu, &state);
	guest_save(cpu, out);
	if (!outcome->fault && out->rip == placed->last)
		out->rip = placed->end;
}
