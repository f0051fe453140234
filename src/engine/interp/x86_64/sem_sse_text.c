/* SSE4.2's text instructions (PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM, SDM 1 chapter 12.10 and SDM 2B 4.1) with
 * their VEX forms, and CRC32.
 *
 * Example: `pcmpistri xmm1, xmm2, 0x0c` finds the string xmm1 in xmm2 and puts the position into ECX.
 */
#include "engine/interp/x86_64/vec.h"

/* imm8 */
#define TEXT_WORDS       0x01 /* elements of 16 bits */
#define TEXT_SIGNED      0x02
#define TEXT_AGGREGATION 0x0c
#define TEXT_EQUAL_ANY     0x00
#define TEXT_RANGES        0x04
#define TEXT_EQUAL_EACH    0x08
#define TEXT_EQUAL_ORDERED 0x0c
#define TEXT_NEGATIVE    0x10
#define TEXT_MASKED      0x20 /* negate only valid elements of the second string */
#define TEXT_MOST        0x40 /* index: most significant; mask: expand to elements */

static int element(const union vec *v, unsigned i, unsigned imm)
{
	switch (imm & (TEXT_WORDS | TEXT_SIGNED)) {
	case 0:
		return v->u8[i];
	case TEXT_WORDS:
		return v->u16[i];
	case TEXT_SIGNED:
		return v->s8[i];
	default:
		return v->s16[i];
	}
}

static unsigned element_count(unsigned imm)
{
	return imm & TEXT_WORDS ? 8 : 16;
}

/* Elements before the first zero. */
static unsigned implicit_length(const union vec *v, unsigned imm)
{
	unsigned n = 0;

	while (n < element_count(imm) && element(v, n, imm) != 0)
		n++;
	return n;
}

/* |EAX| or |RAX|, at most the number of elements. */
static unsigned explicit_length(uint64_t gpr, bool wide, unsigned imm)
{
	const uint64_t value = wide ? gpr : (uint64_t)(int32_t)gpr;
	const uint64_t size = value >> 63 ? 0 - value : value;

	return size > element_count(imm) ? element_count(imm) : (unsigned)size;
}

/* Whether element j of b matches, by the aggregation of imm (SDM 2B 4.1.3, with table 4-7 for what lies beyond
 * the strings' ends). */
static bool matches(const union vec *a, unsigned a_length, const union vec *b, unsigned b_length, unsigned j,
		    unsigned imm)
{
	const unsigned count = element_count(imm);

	switch (imm & TEXT_AGGREGATION) {
	case TEXT_EQUAL_ANY:
		for (unsigned i = 0; i < a_length && j < b_length; i++)
			if (element(a, i, imm) == element(b, j, imm))
				return true;
		return false;
	case TEXT_RANGES:
		for (unsigned i = 0; i + 1 < a_length && j < b_length; i += 2)
			if (element(a, i, imm) <= element(b, j, imm) && element(b, j, imm) <= element(a, i + 1, imm))
				return true;
		return false;
	case TEXT_EQUAL_EACH:
		if (j >= a_length || j >= b_length)
			return j >= a_length && j >= b_length;
		return element(a, j, imm) == element(b, j, imm);
	default: /* TEXT_EQUAL_ORDERED; a string cut off by the register's end still matches */
		for (unsigned i = 0; i < a_length && i + j < count; i++)
			if (i + j >= b_length || element(a, i, imm) != element(b, i + j, imm))
				return false;
		return true;
	}
}

static uint32_t compare(const union vec *a, unsigned a_length, const union vec *b, unsigned b_length, unsigned imm)
{
	const unsigned count = element_count(imm);
	uint32_t result = 0;

	for (unsigned j = 0; j < count; j++)
		result |= (uint32_t)matches(a, a_length, b, b_length, j, imm) << j;
	if (imm & TEXT_NEGATIVE)
		result ^= imm & TEXT_MASKED ? (1u << b_length) - 1 : (1u << count) - 1;
	return result;
}

static void write_index(struct cpu *cpu, uint32_t result, unsigned imm)
{
	uint32_t index = element_count(imm);

	if (result)
		index = (uint32_t)(imm & TEXT_MOST ? 31 - __builtin_clz(result) : __builtin_ctz(result));
	cpu_state(cpu)->gpr[X86_RCX] = index;
}

static void write_mask(struct cpu *cpu, const struct x86_insn *insn, uint32_t result, unsigned imm)
{
	union vec *d = vec_register(cpu, 0);

	d[0] = (union vec){ .u64 = { imm & TEXT_MOST ? 0 : result } };
	for (unsigned i = 0; i < element_count(imm) && (imm & TEXT_MOST); i++) {
		if (imm & TEXT_WORDS)
			d->u16[i] = result >> i & 1 ? 0xffff : 0;
		else
			d->u8[i] = result >> i & 1 ? 0xff : 0;
	}
	if (vec_is_vex(insn))
		d[1] = (union vec){ 0 };
}

static void text(struct cpu *cpu, const struct x86_insn *insn, bool explicit, bool mask)
{
	struct vec_pair buf;
	const unsigned imm = (uint8_t)insn->imm;
	const bool wide = (insn->prefixes & X86_PFX_REX_W) != 0;
	const uint64_t *gpr = cpu_state(cpu)->gpr;

	vec_gate(cpu, insn);
	const union vec *b = vec_read_as(cpu, insn, 1, &buf, SEM_UNALIGNED);
	const union vec *a = vec_register(cpu, insn->operand[0].reg);
	const unsigned a_length = explicit ? explicit_length(gpr[X86_RAX], wide, imm) : implicit_length(a, imm);
	const unsigned b_length = explicit ? explicit_length(gpr[X86_RDX], wide, imm) : implicit_length(b, imm);
	const uint32_t result = compare(a, a_length, b, b_length, imm);

	if (mask)
		write_mask(cpu, insn, result, imm);
	else
		write_index(cpu, result, imm);
	sem_set_flags(cpu, X86_FLAGS_STATUS,
		      (result ? X86_FLAG_CF : 0) | (b_length < element_count(imm) ? X86_FLAG_ZF : 0) |
			      (a_length < element_count(imm) ? X86_FLAG_SF : 0) | (result & 1 ? X86_FLAG_OF : 0));
}
VEC_SEM(PCMPESTRI, text, true, false)
VEC_SEM(PCMPESTRM, text, true, true)
VEC_SEM(PCMPISTRI, text, false, false)
VEC_SEM(PCMPISTRM, text, false, true)

/* CRC32: polynomial 0x11edc6f41, bits reflected. On general registers: no gate. */
static const uint32_t crc32c_nibble[16] = { /* what four bits that fall out add to the rest */
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
	0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

static void sem_CRC32(struct cpu *cpu, const struct x86_insn *insn)
{
	const unsigned size = insn->operand[1].size;
	uint64_t data = sem_read(cpu, insn, 1);
	uint64_t *d = &cpu_state(cpu)->gpr[insn->operand[0].reg];
	uint32_t crc = (uint32_t)*d;

	for (unsigned i = 0; i < size; i++, data >>= 8) {
		crc ^= (uint8_t)data;
		crc = crc >> 4 ^ crc32c_nibble[crc & 15];
		crc = crc >> 4 ^ crc32c_nibble[crc & 15];
	}
	*d = crc;
}

const struct sem_entry sem_sse_text[] = {
	VEC_ENTRIES(PCMPESTRI)
	VEC_ENTRIES(PCMPESTRM)
	VEC_ENTRIES(PCMPISTRI)
	VEC_ENTRIES(PCMPISTRM)
	{ X86_CRC32, sem_CRC32 },
	{ 0, NULL },
};
