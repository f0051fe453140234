/* Data processing on general registers (DDI 0487 C4.1.65, C4.1.67, C6.2).
 */
#include "arch/aarch64/bitmask.h"
#include "engine/interp/aarch64/cpu.h"

#define SEM(name) void a64_sem_##name(struct a64_cpu *cpu, uint32_t insn)

static bool is_64(uint32_t insn)
{
	return insn >> 31;
}

static uint64_t width(uint32_t insn, uint64_t value)
{
	return is_64(insn) ? value : (uint32_t)value;
}

/* ---- addition and subtraction ---- */

/* AddWithCarry, at the width of the form. */
static uint64_t add_with_carry(struct a64_state *s, uint32_t insn, uint64_t a, uint64_t b, bool carry)
{
	if (is_64(insn)) {
		uint64_t sum, total;
		const bool c1 = __builtin_add_overflow(a, b, &sum), c2 = __builtin_add_overflow(sum, (uint64_t)carry, &total);

		a64_set_nzcv(s, total >> 63, !total, c1 || c2, ~(a ^ b) & (a ^ total) & 1ull << 63);
		return total;
	}
	const uint64_t wide = (uint64_t)(uint32_t)a + (uint32_t)b + carry;
	const uint32_t total = (uint32_t)wide;

	a64_set_nzcv(s, total >> 31, !total, wide >> 32, ~((uint32_t)a ^ (uint32_t)b) & ((uint32_t)a ^ total) & 1u << 31);
	return total;
}

static uint64_t immediate12(uint32_t insn)
{
	return (uint64_t)a64_bits(insn, 10, 12) << (a64_bits(insn, 22, 1) * 12);
}

SEM(add_imm)
{
	a64_set_xsp(&cpu->s, a64_rd(insn), width(insn, a64_xsp(&cpu->s, a64_rn(insn)) + immediate12(insn)));
}

SEM(sub_imm)
{
	a64_set_xsp(&cpu->s, a64_rd(insn), width(insn, a64_xsp(&cpu->s, a64_rn(insn)) - immediate12(insn)));
}

SEM(adds_imm)
{
	a64_set_x(&cpu->s, a64_rd(insn), add_with_carry(&cpu->s, insn, a64_xsp(&cpu->s, a64_rn(insn)), immediate12(insn), false));
}

SEM(subs_imm)
{
	a64_set_x(&cpu->s, a64_rd(insn), add_with_carry(&cpu->s, insn, a64_xsp(&cpu->s, a64_rn(insn)), ~immediate12(insn), true));
}

static uint64_t shift_value(uint32_t insn, uint64_t value, unsigned type, unsigned amount)
{
	if (is_64(insn)) {
		switch (type) {
		case 0: return value << amount;
		case 1: return value >> amount;
		case 2: return (uint64_t)((int64_t)value >> amount);
		default: return amount ? value >> amount | value << (64 - amount) : value;
		}
	}
	const uint32_t word = (uint32_t)value;

	switch (type) {
	case 0: return word << amount;
	case 1: return word >> amount;
	case 2: return (uint32_t)((int32_t)word >> amount);
	default: return amount ? word >> amount | word << (32 - amount) : word;
	}
}

/* Rm, shifted; 32-bit forms have amounts below 32. */
static uint64_t shifted(struct a64_cpu *cpu, uint32_t insn)
{
	const unsigned amount = a64_bits(insn, 10, 6);

	if (!is_64(insn) && amount > 31)
		a64_undefined(cpu);
	return shift_value(insn, a64_x(&cpu->s, a64_rm(insn)), a64_bits(insn, 22, 2), amount);
}

SEM(add_shift)
{
	a64_set_x(&cpu->s, a64_rd(insn), width(insn, a64_x(&cpu->s, a64_rn(insn)) + shifted(cpu, insn)));
}

SEM(sub_shift)
{
	a64_set_x(&cpu->s, a64_rd(insn), width(insn, a64_x(&cpu->s, a64_rn(insn)) - shifted(cpu, insn)));
}

SEM(adds_shift)
{
	a64_set_x(&cpu->s, a64_rd(insn), add_with_carry(&cpu->s, insn, a64_x(&cpu->s, a64_rn(insn)), shifted(cpu, insn), false));
}

SEM(subs_shift)
{
	a64_set_x(&cpu->s, a64_rd(insn), add_with_carry(&cpu->s, insn, a64_x(&cpu->s, a64_rn(insn)), ~shifted(cpu, insn), true));
}

/* ExtendReg. */
static uint64_t extended(struct a64_cpu *cpu, uint32_t insn)
{
	const unsigned amount = a64_bits(insn, 10, 3);

	if (amount > 4)
		a64_undefined(cpu);
	return a64_extend(a64_x(&cpu->s, a64_rm(insn)), a64_bits(insn, 13, 3)) << amount;
}

SEM(add_ext)
{
	a64_set_xsp(&cpu->s, a64_rd(insn), width(insn, a64_xsp(&cpu->s, a64_rn(insn)) + extended(cpu, insn)));
}

SEM(sub_ext)
{
	a64_set_xsp(&cpu->s, a64_rd(insn), width(insn, a64_xsp(&cpu->s, a64_rn(insn)) - extended(cpu, insn)));
}

SEM(adds_ext)
{
	a64_set_x(&cpu->s, a64_rd(insn), add_with_carry(&cpu->s, insn, a64_xsp(&cpu->s, a64_rn(insn)), extended(cpu, insn), false));
}

SEM(subs_ext)
{
	a64_set_x(&cpu->s, a64_rd(insn), add_with_carry(&cpu->s, insn, a64_xsp(&cpu->s, a64_rn(insn)), ~extended(cpu, insn), true));
}

/* ADC, ADCS, SBC, SBCS: bit 30 subtracts, bit 29 sets flags. */
static void add_carry(struct a64_cpu *cpu, uint32_t insn, bool subtract, bool flags)
{
	struct a64_state *s = &cpu->s;
	const uint64_t old = s->pstate, b = a64_x(s, a64_rm(insn));
	const uint64_t result = add_with_carry(s, insn, a64_x(s, a64_rn(insn)), subtract ? ~b : b, old & A64_PSTATE_C);

	if (!flags)
		s->pstate = old;
	a64_set_x(s, a64_rd(insn), result);
}

SEM(adc) { add_carry(cpu, insn, false, false); }
SEM(adcs) { add_carry(cpu, insn, false, true); }
SEM(sbc) { add_carry(cpu, insn, true, false); }
SEM(sbcs) { add_carry(cpu, insn, true, true); }

/* ---- conditional compare ---- */

static void compare_if(struct a64_cpu *cpu, uint32_t insn, uint64_t b, bool negate)
{
	struct a64_state *s = &cpu->s;

	if (a64_condition(s->pstate, a64_bits(insn, 12, 4)))
		add_with_carry(s, insn, a64_x(s, a64_rn(insn)), negate ? ~b : b, negate);
	else
		s->pstate = (s->pstate & ~A64_PSTATE_NZCV) | (uint64_t)(insn & 15) << 28;
}

SEM(ccmn_reg) { compare_if(cpu, insn, a64_x(&cpu->s, a64_rm(insn)), false); }
SEM(ccmn_imm) { compare_if(cpu, insn, a64_rm(insn), false); }
SEM(ccmp_reg) { compare_if(cpu, insn, a64_x(&cpu->s, a64_rm(insn)), true); }
SEM(ccmp_imm) { compare_if(cpu, insn, a64_rm(insn), true); }

/* ---- logic ---- */

static uint64_t bitmask(struct a64_cpu *cpu, uint32_t insn)
{
	uint64_t mask;

	if (!a64_bitmask(a64_bits(insn, 22, 1), a64_bits(insn, 10, 6), a64_bits(insn, 16, 6), &mask))
		a64_undefined(cpu);
	return width(insn, mask);
}

SEM(and_imm) { a64_set_xsp(&cpu->s, a64_rd(insn), a64_x(&cpu->s, a64_rn(insn)) & bitmask(cpu, insn)); }
SEM(orr_imm) { a64_set_xsp(&cpu->s, a64_rd(insn), width(insn, a64_x(&cpu->s, a64_rn(insn)) | bitmask(cpu, insn))); }
SEM(eor_imm) { a64_set_xsp(&cpu->s, a64_rd(insn), width(insn, a64_x(&cpu->s, a64_rn(insn)) ^ bitmask(cpu, insn))); }

static void set_logic_flags(struct a64_state *s, uint32_t insn, uint64_t result)
{
	a64_set_nzcv(s, result >> (is_64(insn) ? 63 : 31) & 1, !result, false, false);
}

SEM(ands_imm)
{
	const uint64_t result = a64_x(&cpu->s, a64_rn(insn)) & bitmask(cpu, insn);

	set_logic_flags(&cpu->s, insn, result);
	a64_set_x(&cpu->s, a64_rd(insn), result);
}

#define LOGIC_SHIFT(name, expression)                                                                                                          \
	SEM(name)                                                                                                                              \
	{                                                                                                                                      \
		const uint64_t a = a64_x(&cpu->s, a64_rn(insn)), b = shifted(cpu, insn);                                                       \
                                                                                                                                               \
		a64_set_x(&cpu->s, a64_rd(insn), width(insn, expression));                                                                     \
	}
LOGIC_SHIFT(and_shift, a & b)
LOGIC_SHIFT(bic_shift, a & ~b)
LOGIC_SHIFT(orr_shift, a | b)
LOGIC_SHIFT(orn_shift, a | ~b)
LOGIC_SHIFT(eor_shift, a ^ b)
LOGIC_SHIFT(eon_shift, a ^ ~b)

static void and_flags(struct a64_cpu *cpu, uint32_t insn, uint64_t b)
{
	const uint64_t result = width(insn, a64_x(&cpu->s, a64_rn(insn)) & b);

	set_logic_flags(&cpu->s, insn, result);
	a64_set_x(&cpu->s, a64_rd(insn), result);
}

SEM(ands_shift) { and_flags(cpu, insn, shifted(cpu, insn)); }
SEM(bics_shift) { and_flags(cpu, insn, ~shifted(cpu, insn)); }

/* ---- moves of immediates, addresses ---- */

static uint64_t immediate16(uint32_t insn)
{
	return (uint64_t)a64_bits(insn, 5, 16) << 16 * a64_bits(insn, 21, 2);
}

SEM(movn) { a64_set_x(&cpu->s, a64_rd(insn), width(insn, ~immediate16(insn))); }
SEM(movz) { a64_set_x(&cpu->s, a64_rd(insn), immediate16(insn)); }

SEM(movk)
{
	const uint64_t hole = 0xffffull << 16 * a64_bits(insn, 21, 2);

	a64_set_x(&cpu->s, a64_rd(insn), width(insn, (a64_x(&cpu->s, a64_rd(insn)) & ~hole) | immediate16(insn)));
}

static int64_t immediate21(uint32_t insn)
{
	return a64_sbits(insn, 5, 19) * 4 + a64_bits(insn, 29, 2);
}

SEM(adr) { a64_set_x(&cpu->s, a64_rd(insn), cpu->s.pc + (uint64_t)immediate21(insn)); }
SEM(adrp) { a64_set_x(&cpu->s, a64_rd(insn), (cpu->s.pc & ~0xfffull) + (uint64_t)immediate21(insn) * 4096); }

/* ---- bit fields ---- */

/* The masks of SBFM, BFM, UBFM: r and s are below the width. */
static void bitfield(uint32_t insn, uint64_t source, uint64_t *rotated, uint64_t *wmask, uint64_t *tmask)
{
	const unsigned r = a64_bits(insn, 16, 6), s = a64_bits(insn, 10, 6), size = is_64(insn) ? 64 : 32;
	const uint64_t all = is_64(insn) ? ~0ull : 0xffffffffull, ones = s == 63 ? ~0ull : (1ull << (s + 1)) - 1;
	const unsigned d = (s - r) & (size - 1);

	*rotated = shift_value(insn, source, 3, r);
	*wmask = width(insn, shift_value(insn, ones, 3, r));
	*tmask = (d == 63 ? ~0ull : (1ull << (d + 1)) - 1) & all;
}

SEM(sbfm)
{
	const uint64_t source = width(insn, a64_x(&cpu->s, a64_rn(insn)));
	uint64_t rotated, wmask, tmask;

	bitfield(insn, source, &rotated, &wmask, &tmask);
	a64_set_x(&cpu->s, a64_rd(insn),
		  width(insn, (source >> a64_bits(insn, 10, 6) & 1 ? ~tmask : 0) | (rotated & wmask & tmask)));
}

SEM(bfm)
{
	const uint64_t old = width(insn, a64_x(&cpu->s, a64_rd(insn)));
	uint64_t rotated, wmask, tmask;

	bitfield(insn, width(insn, a64_x(&cpu->s, a64_rn(insn))), &rotated, &wmask, &tmask);
	a64_set_x(&cpu->s, a64_rd(insn), (old & ~(wmask & tmask)) | (rotated & wmask & tmask));
}

SEM(ubfm)
{
	uint64_t rotated, wmask, tmask;

	bitfield(insn, width(insn, a64_x(&cpu->s, a64_rn(insn))), &rotated, &wmask, &tmask);
	a64_set_x(&cpu->s, a64_rd(insn), rotated & wmask & tmask);
}

SEM(extr)
{
	const uint64_t high = a64_x(&cpu->s, a64_rn(insn)), low = a64_x(&cpu->s, a64_rm(insn));
	const unsigned at = a64_bits(insn, 10, 6);
	uint64_t result;

	if (is_64(insn))
		result = at ? low >> at | high << (64 - at) : low;
	else
		result = (uint32_t)((high << 32 | (uint32_t)low) >> at);
	a64_set_x(&cpu->s, a64_rd(insn), result);
}

/* ---- conditional select ---- */

#define SELECT(name, otherwise)                                                                                                                \
	SEM(name)                                                                                                                              \
	{                                                                                                                                      \
		const bool holds = a64_condition(cpu->s.pstate, a64_bits(insn, 12, 4));                                                        \
		const uint64_t b = a64_x(&cpu->s, a64_rm(insn));                                                                               \
                                                                                                                                               \
		a64_set_x(&cpu->s, a64_rd(insn), width(insn, holds ? a64_x(&cpu->s, a64_rn(insn)) : (otherwise)));                             \
	}
SELECT(csel, b)
SELECT(csinc, b + 1)
SELECT(csinv, ~b)
SELECT(csneg, 0 - b)

/* ---- one source ---- */

static uint64_t reverse_bits(uint64_t v)
{
	v = (v >> 1 & 0x5555555555555555) | (v & 0x5555555555555555) << 1;
	v = (v >> 2 & 0x3333333333333333) | (v & 0x3333333333333333) << 2;
	v = (v >> 4 & 0x0f0f0f0f0f0f0f0f) | (v & 0x0f0f0f0f0f0f0f0f) << 4;
	return __builtin_bswap64(v);
}

SEM(rbit)
{
	const uint64_t reversed = reverse_bits(a64_x(&cpu->s, a64_rn(insn)));

	a64_set_x(&cpu->s, a64_rd(insn), is_64(insn) ? reversed : reversed >> 32);
}

SEM(rev16)
{
	const uint64_t v = a64_x(&cpu->s, a64_rn(insn));

	a64_set_x(&cpu->s, a64_rd(insn), width(insn, (v >> 8 & 0x00ff00ff00ff00ff) | (v & 0x00ff00ff00ff00ff) << 8));
}

SEM(rev32)
{
	const uint64_t v = __builtin_bswap64(a64_x(&cpu->s, a64_rn(insn)));

	a64_set_x(&cpu->s, a64_rd(insn), v >> 32 | v << 32);
}

SEM(rev)
{
	const uint64_t v = __builtin_bswap64(a64_x(&cpu->s, a64_rn(insn)));

	a64_set_x(&cpu->s, a64_rd(insn), is_64(insn) ? v : v >> 32);
}

static unsigned leading_zeros(uint32_t insn, uint64_t v)
{
	v = width(insn, v);
	return (v ? (unsigned)__builtin_clzll(v) : 64) - (is_64(insn) ? 0 : 32);
}

SEM(clz) { a64_set_x(&cpu->s, a64_rd(insn), leading_zeros(insn, a64_x(&cpu->s, a64_rn(insn)))); }

SEM(cls)
{
	const uint64_t v = a64_x(&cpu->s, a64_rn(insn));
	const uint64_t sign = is_64(insn) ? (uint64_t)((int64_t)v >> 63) : (uint64_t)((int32_t)v >> 31);

	a64_set_x(&cpu->s, a64_rd(insn), leading_zeros(insn, v ^ sign) - 1);
}

/* ---- two and three sources ---- */

SEM(udiv)
{
	const uint64_t a = width(insn, a64_x(&cpu->s, a64_rn(insn))), b = width(insn, a64_x(&cpu->s, a64_rm(insn)));

	a64_set_x(&cpu->s, a64_rd(insn), b ? a / b : 0);
}

static int64_t divide(int64_t a, int64_t b)
{
	if (!b)
		return 0;
	return b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
}

SEM(sdiv)
{
	const uint64_t a = a64_x(&cpu->s, a64_rn(insn)), b = a64_x(&cpu->s, a64_rm(insn));

	a64_set_x(&cpu->s, a64_rd(insn),
		  is_64(insn) ? (uint64_t)divide((int64_t)a, (int64_t)b) : (uint32_t)divide((int32_t)a, (int32_t)b));
}

static void shift_by_register(struct a64_cpu *cpu, uint32_t insn, unsigned type)
{
	const unsigned amount = (unsigned)a64_x(&cpu->s, a64_rm(insn)) & (is_64(insn) ? 63 : 31);

	a64_set_x(&cpu->s, a64_rd(insn), shift_value(insn, a64_x(&cpu->s, a64_rn(insn)), type, amount));
}

SEM(lslv) { shift_by_register(cpu, insn, 0); }
SEM(lsrv) { shift_by_register(cpu, insn, 1); }
SEM(asrv) { shift_by_register(cpu, insn, 2); }
SEM(rorv) { shift_by_register(cpu, insn, 3); }

/* The polynomial is reversed, as the instructions reverse operand and result. */
static void crc(struct a64_cpu *cpu, uint32_t insn, uint32_t polynomial)
{
	const unsigned bytes = 1u << a64_bits(insn, 10, 2);
	const uint64_t value = a64_x(&cpu->s, a64_rm(insn));
	uint32_t sum = a64_w(&cpu->s, a64_rn(insn));

	for (unsigned i = 0; i < bytes; i++) {
		sum ^= (uint8_t)(value >> 8 * i);
		for (unsigned bit = 0; bit < 8; bit++)
			sum = sum >> 1 ^ (sum & 1 ? polynomial : 0);
	}
	a64_set_x(&cpu->s, a64_rd(insn), sum);
}

SEM(crc32) { crc(cpu, insn, 0xedb88320); }
SEM(crc32c) { crc(cpu, insn, 0x82f63b78); }

static void multiply_add(struct a64_cpu *cpu, uint32_t insn, uint64_t product, bool subtract)
{
	const uint64_t a = a64_x(&cpu->s, a64_ra(insn));

	a64_set_x(&cpu->s, a64_rd(insn), width(insn, subtract ? a - product : a + product));
}

static uint64_t product(struct a64_cpu *cpu, uint32_t insn)
{
	return a64_x(&cpu->s, a64_rn(insn)) * a64_x(&cpu->s, a64_rm(insn));
}

static uint64_t signed_product(struct a64_cpu *cpu, uint32_t insn)
{
	return (uint64_t)((int64_t)(int32_t)a64_w(&cpu->s, a64_rn(insn)) * (int32_t)a64_w(&cpu->s, a64_rm(insn)));
}

static uint64_t unsigned_product(struct a64_cpu *cpu, uint32_t insn)
{
	return (uint64_t)a64_w(&cpu->s, a64_rn(insn)) * a64_w(&cpu->s, a64_rm(insn));
}

SEM(madd) { multiply_add(cpu, insn, product(cpu, insn), false); }
SEM(msub) { multiply_add(cpu, insn, product(cpu, insn), true); }
SEM(smaddl) { multiply_add(cpu, insn, signed_product(cpu, insn), false); }
SEM(smsubl) { multiply_add(cpu, insn, signed_product(cpu, insn), true); }
SEM(umaddl) { multiply_add(cpu, insn, unsigned_product(cpu, insn), false); }
SEM(umsubl) { multiply_add(cpu, insn, unsigned_product(cpu, insn), true); }

SEM(smulh)
{
	const __int128 wide = (__int128)(int64_t)a64_x(&cpu->s, a64_rn(insn)) * (int64_t)a64_x(&cpu->s, a64_rm(insn));

	a64_set_x(&cpu->s, a64_rd(insn), (uint64_t)(wide >> 64));
}

SEM(umulh)
{
	const unsigned __int128 wide = (unsigned __int128)a64_x(&cpu->s, a64_rn(insn)) * a64_x(&cpu->s, a64_rm(insn));

	a64_set_x(&cpu->s, a64_rd(insn), (uint64_t)(wide >> 64));
}
