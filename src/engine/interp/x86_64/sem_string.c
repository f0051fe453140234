/* String instructions, and IN and OUT.
 *
 * A repeated instruction commits its registers after every element or run of elements, so that it
 * can be interrupted, fault or leave for a device anywhere and be started again. It runs a bounded
 * number of elements at a time and then has the run loop look for interrupts. Where both sides are
 * plain RAM, whole spans of a page are done at once (`bulk`).
 */
#include "engine/interp/x86_64/flags.h"
#include "engine/interp/x86_64/gpr.h"
#include <string.h>

#define STRING_BUDGET 4096 /* elements between two looks at the run loop */

struct string {
	unsigned size; /* of an element; 0: the operand size */
	unsigned addrsize;
	bool down;	   /* DF */
	bool source, dest; /* uses rSI, rDI */
	unsigned stop_on;  /* 0, or the prefix: REP: stop when ZF is 0; REPNE: when ZF is 1 */
	bool compared;	   /* flags below are due */
	uint32_t flags;
};

typedef void element_fn(struct cpu *cpu, const struct x86_insn *insn, struct string *string);
/* Does up to `count` elements in RAM, in the direction of DF; returns how many, 0 to have one done by element_fn.
 */
typedef uint64_t bulk_fn(struct cpu *cpu, const struct x86_insn *insn, struct string *string,
			 uint64_t count);

static uint64_t source_offset(const struct cpu *cpu, const struct string *string)
{
	return gpr_read(cpu, X86_RSI, string->addrsize);
}

static uint64_t dest_offset(const struct cpu *cpu, const struct string *string)
{
	return gpr_read(cpu, X86_RDI, string->addrsize);
}

static void advance(struct cpu *cpu, const struct string *string, uint64_t count)
{
	uint64_t bytes = count * string->size;

	if (string->down)
		bytes = -bytes;
	if (string->source)
		gpr_write(cpu, X86_RSI, string->addrsize, cpu->s.gpr[X86_RSI] + bytes);
	if (string->dest)
		gpr_write(cpu, X86_RDI, string->addrsize, cpu->s.gpr[X86_RDI] + bytes);
}

/* Whether the elements so far end the repetition. */
static bool stopped(const struct string *string)
{
	bool zero = string->flags & X86_FLAG_ZF;

	return string->compared && string->stop_on && zero == (string->stop_on == X86_PFX_REPNE);
}

static void set_compare_flags(struct cpu *cpu, const struct string *string)
{
	if (string->compared)
		sem_set_flags(cpu, X86_FLAGS_STATUS, string->flags);
}

static void repeat(struct cpu *cpu, const struct x86_insn *insn, struct string *string,
		   element_fn *element, bulk_fn *bulk)
{
	uint64_t left = gpr_read(cpu, X86_RCX, string->addrsize);
	/* Under single-step every iteration is a step. */
	uint64_t budget = cpu->step || cpu->debug_alone ? 1 : STRING_BUDGET;

	while (left) {
		uint64_t done = 0;

		if (bulk)
			done = bulk(cpu, insn, string, left < budget ? left : budget);
		if (!done) {
			element(cpu, insn, string);
			done = 1;
		}
		advance(cpu, string, done);
		left -= done;
		budget -= done;
		gpr_write(cpu, X86_RCX, string->addrsize, left);
		cpu_commit_iteration(cpu);
		if (stopped(string))
			break;
		if (budget == 0 && left) {
			cpu_repeat(cpu);
			/* Until it is done the flags are what they were before it (SDM 2B REP); between single steps those of
			 * the last element are seen. */
			if (!cpu->step)
				return;
			break;
		}
	}
	set_compare_flags(cpu, string);
}

static void string_run(struct cpu *cpu, const struct x86_insn *insn, struct string string,
		       element_fn *element, bulk_fn *bulk)
{
	if (!string.size)
		string.size = insn->opsize;
	string.addrsize = insn->addrsize;
	string.down = cpu->s.rflags & X86_FLAG_DF;
	if (insn->prefixes & (X86_PFX_REP | X86_PFX_REPNE)) {
		repeat(cpu, insn, &string, element, bulk);
		return;
	}
	element(cpu, insn, &string);
	advance(cpu, &string, 1);
	set_compare_flags(cpu, &string);
}

/* Downwards, where linear addresses are offsets: the elements from the one at offset to the first of its page, at most `count`. The
 * host address of the lowest; a fault is that of the first one done. */
static void *span_down(struct cpu *cpu, const struct string *string, unsigned seg, uint64_t offset,
		       bool write, uint64_t *count)
{
	uint64_t at = offset & ~PAGE_MASK, room = at / string->size + 1, bytes;
	uint8_t *hva;

	if (cpu->mode != X86_MODE_64 || string->addrsize != 8 || seg >= X86_FS || at + string->size > PAGE_SIZE)
		return NULL;
	hva = cpu_span(cpu, seg, offset, string->size, write, &bytes);
	if (!hva)
		return NULL;
	if (*count > room)
		*count = room;
	return hva - (*count - 1) * string->size;
}

/* The host address of up to `count` elements at seg:offset, and how many there are; NULL if not
 * one. Never beyond the offset's wrap. */
static void *span(struct cpu *cpu, const struct string *string, unsigned seg, uint64_t offset,
		  bool write, uint64_t *count)
{
	uint64_t bytes = *count * string->size, room = size_mask(string->addrsize) - offset;
	void *hva;

	if (string->down)
		return span_down(cpu, string, seg, offset, write, count);
	if (bytes - 1 > room)
		bytes = room;
	/* One page at most, so that a later page's fault comes when its element does. */
	if (bytes > PAGE_SIZE)
		bytes = PAGE_SIZE;
	if (bytes < string->size)
		return NULL;
	hva = cpu_span(cpu, seg, offset, bytes, write, &bytes);
	*count = bytes / string->size;
	return *count ? hva : NULL;
}

/* ---- MOVS ---- */

static void element_movs(struct cpu *cpu, const struct x86_insn *insn, struct string *string)
{
	uint64_t value = sem_load_int(cpu, insn->mem.seg, source_offset(cpu, string), string->size);

	sem_store_int(cpu, X86_ES, dest_offset(cpu, string), string->size, value);
}

/* Forward copy by elements: where the destination starts inside the source, the pattern repeats. */
static void copy_forward(uint8_t *to, const uint8_t *from, uint64_t bytes, unsigned size)
{
	if (to <= from || to >= from + bytes) {
		memmove(to, from, bytes);
		return;
	}
	for (uint64_t i = 0; i < bytes; i += size) {
		uint64_t element = 0;

		memcpy(&element, from + i, size);
		memcpy(to + i, &element, size);
	}
}

/* The same by elements from the last to the first. */
static void copy_backward(uint8_t *to, const uint8_t *from, uint64_t bytes, unsigned size)
{
	if (to >= from || to + bytes <= from) {
		memmove(to, from, bytes);
		return;
	}
	for (uint64_t i = bytes; i > 0; i -= size) {
		uint64_t element = 0;

		memcpy(&element, from + i - size, size);
		memcpy(to + i - size, &element, size);
	}
}

static uint64_t bulk_movs(struct cpu *cpu, const struct x86_insn *insn, struct string *string,
			  uint64_t count)
{
	uint64_t readable, bytes, lowest = 0;
	uint8_t *from, *to;

	from = span(cpu, string, insn->mem.seg, source_offset(cpu, string), false, &count);
	if (!from)
		return 0;
	readable = count;
	to = span(cpu, string, X86_ES, dest_offset(cpu, string), true, &count);
	if (!to)
		return 0;
	bytes = count * string->size;
	if (string->down) {
		/* The upper ones of what there is to be read. */
		from += (readable - count) * string->size;
		copy_backward(to, from, bytes, string->size);
		lowest = bytes - string->size;
	} else {
		copy_forward(to, from, bytes, string->size);
	}
	cpu_span_written(cpu, X86_ES, dest_offset(cpu, string) - lowest, bytes);
	return count;
}

static void sem_movs(struct cpu *cpu, const struct x86_insn *insn)
{
	string_run(cpu, insn, (struct string){.source = true, .dest = true}, element_movs,
		   bulk_movs);
}

/* ---- STOS, LODS ---- */

static void element_stos(struct cpu *cpu, const struct x86_insn *insn, struct string *string)
{
	sem_store_int(cpu, X86_ES, dest_offset(cpu, string), string->size,
		      gpr_read(cpu, X86_RAX, string->size));
}

static uint64_t bulk_stos(struct cpu *cpu, const struct x86_insn *insn, struct string *string,
			  uint64_t count)
{
	uint64_t value = gpr_read(cpu, X86_RAX, string->size);
	uint8_t *to = span(cpu, string, X86_ES, dest_offset(cpu, string), true, &count);
	uint64_t lowest;

	if (!to)
		return 0;
	lowest = string->down ? (count - 1) * string->size : 0;
	if (value == 0 || string->size == 1) {
		memset(to, (int)(value & 0xff), count * string->size);
	} else {
		for (uint64_t i = 0; i < count; i++)
			memcpy(to + i * string->size, &value, string->size);
	}
	cpu_span_written(cpu, X86_ES, dest_offset(cpu, string) - lowest, count * string->size);
	return count;
}

static void sem_stos(struct cpu *cpu, const struct x86_insn *insn)
{
	string_run(cpu, insn, (struct string){.dest = true}, element_stos, bulk_stos);
}

static void element_lods(struct cpu *cpu, const struct x86_insn *insn, struct string *string)
{
	gpr_write(cpu, X86_RAX, string->size,
		  sem_load_int(cpu, insn->mem.seg, source_offset(cpu, string), string->size));
}

static void sem_lods(struct cpu *cpu, const struct x86_insn *insn)
{
	string_run(cpu, insn, (struct string){.source = true}, element_lods, NULL);
}

/* ---- CMPS, SCAS ---- */

static void compare(struct string *string, uint64_t a, uint64_t b)
{
	string->flags = flags_sub(string->size, a, b, 0);
	string->compared = true;
}

/* Compares elements until one ends the repetition. `from` NULL: the same value each time. */
static uint64_t compare_span(struct string *string, uint64_t value, const uint8_t *from,
			     const uint8_t *with, uint64_t count)
{
	uint64_t other = 0;
	uint64_t i;

	for (i = 0; i < count; i++) {
		if (from)
			memcpy(&value, from + i * string->size, string->size);
		memcpy(&other, with + i * string->size, string->size);
		if ((value == other) == (string->stop_on == X86_PFX_REPNE)) {
			i++;
			break;
		}
	}
	compare(string, value, other);
	return i;
}

static void element_cmps(struct cpu *cpu, const struct x86_insn *insn, struct string *string)
{
	uint64_t a = sem_load_int(cpu, insn->mem.seg, source_offset(cpu, string), string->size);
	uint64_t b = sem_load_int(cpu, X86_ES, dest_offset(cpu, string), string->size);

	compare(string, a, b);
}

static uint64_t bulk_cmps(struct cpu *cpu, const struct x86_insn *insn, struct string *string,
			  uint64_t count)
{
	void *from, *with;

	if (string->down)
		return 0;
	from = span(cpu, string, insn->mem.seg, source_offset(cpu, string), false, &count);
	if (!from)
		return 0;
	with = span(cpu, string, X86_ES, dest_offset(cpu, string), false, &count);
	if (!with)
		return 0;
	return compare_span(string, 0, from, with, count);
}

static void sem_cmps(struct cpu *cpu, const struct x86_insn *insn)
{
	struct string string = {
	    .source = true,
	    .dest = true,
	    .stop_on = insn->prefixes & (X86_PFX_REP | X86_PFX_REPNE),
	};

	string_run(cpu, insn, string, element_cmps, bulk_cmps);
}

static void element_scas(struct cpu *cpu, const struct x86_insn *insn, struct string *string)
{
	uint64_t b = sem_load_int(cpu, X86_ES, dest_offset(cpu, string), string->size);

	compare(string, gpr_read(cpu, X86_RAX, string->size), b);
}

static uint64_t bulk_scas(struct cpu *cpu, const struct x86_insn *insn, struct string *string,
			  uint64_t count)
{
	void *with = string->down ? NULL : span(cpu, string, X86_ES, dest_offset(cpu, string), false, &count);

	if (!with)
		return 0;
	return compare_span(string, gpr_read(cpu, X86_RAX, string->size), NULL, with, count);
}

static void sem_scas(struct cpu *cpu, const struct x86_insn *insn)
{
	struct string string = {
	    .dest = true,
	    .stop_on = insn->prefixes & (X86_PFX_REP | X86_PFX_REPNE),
	};

	string_run(cpu, insn, string, element_scas, bulk_scas);
}

/* ---- ports ---- */

/* Ports are at most 4 bytes wide, whatever REX.W says. */
static unsigned port_size(const struct x86_insn *insn)
{
	return insn->opsize > 4 ? 4 : insn->opsize;
}

static uint16_t port_dx(const struct cpu *cpu)
{
	return (uint16_t)cpu->s.gpr[X86_RDX];
}

/* The port is read once the store can't fault any more. */
static void element_ins(struct cpu *cpu, const struct x86_insn *insn, struct string *string)
{
	uint64_t offset = dest_offset(cpu, string);
	uint32_t value;

	sem_probe_store(cpu, X86_ES, offset, string->size);
	value = cpu_io(cpu, port_dx(cpu), string->size, false, 0);
	sem_store_int(cpu, X86_ES, offset, string->size, value);
}

/* Permission for the port comes before any fault of memory, and also if there is nothing to
 * transfer. */
static void sem_ins(struct cpu *cpu, const struct x86_insn *insn)
{
	cpu_check_port(cpu, port_dx(cpu), port_size(insn));
	string_run(cpu, insn, (struct string){.size = port_size(insn), .dest = true}, element_ins,
		   NULL);
}

static void element_outs(struct cpu *cpu, const struct x86_insn *insn, struct string *string)
{
	uint64_t value = sem_load_int(cpu, insn->mem.seg, source_offset(cpu, string), string->size);

	(void)cpu_io(cpu, port_dx(cpu), string->size, true, (uint32_t)value);
}

static void sem_outs(struct cpu *cpu, const struct x86_insn *insn)
{
	cpu_check_port(cpu, port_dx(cpu), port_size(insn));
	string_run(cpu, insn, (struct string){.size = port_size(insn), .source = true},
		   element_outs, NULL);
}

static uint16_t port_number(const struct cpu *cpu, const struct x86_insn *insn, unsigned opn)
{
	return insn->operand[opn].kind == X86_OPND_IMM ? (uint16_t)(insn->imm & 0xff)
						       : port_dx(cpu);
}

static void sem_in(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = port_size(insn);

	gpr_write(cpu, X86_RAX, size, cpu_io(cpu, port_number(cpu, insn, 1), size, false, 0));
}

static void sem_out(struct cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = port_size(insn);

	(void)cpu_io(cpu, port_number(cpu, insn, 0), size, true,
		     (uint32_t)gpr_read(cpu, X86_RAX, size));
}

/* clang-format off */
const struct sem_entry sem_string[] = {
	{ X86_MOVS, sem_movs },
	{ X86_STOS, sem_stos },
	{ X86_LODS, sem_lods },
	{ X86_CMPS, sem_cmps },
	{ X86_SCAS, sem_scas },
	{ X86_INS, sem_ins },
	{ X86_OUTS, sem_outs },
	{ X86_IN, sem_in },
	{ X86_OUT, sem_out },
	{ 0, NULL },
};
/* clang-format on */
