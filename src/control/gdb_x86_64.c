/* Registers for gdb; see gdb_x86_64.h. Order and names are those of gdb's features org.gnu.gdb.i386.core, .sse, .avx and .segments; the
 * system registers have the names that QEMU gives them.
 *
 * Example: `(gdb) print $cr3`
 */
#include "control/gdb_x86_64.h"
#include "base/fmt.h"
#include "base/string.h"

enum kind {
	KIND_WORD,     /* 8 bytes at offset, whatever they are */
	KIND_ADDRESS,  /* the same, canonical */
	KIND_FLAGS,
	KIND_SELECTOR, /* index: enum x86_seg */
	KIND_CR0,
	KIND_CR3,
	KIND_CR4,
	KIND_CR8,
	KIND_EFER,
	KIND_ST,       /* index: from the top of the stack */
	KIND_X87,      /* index: enum x87_word */
	KIND_XMM,
	KIND_MXCSR,
	KIND_YMMH,
};

enum x87_word { FCTRL, FSTAT, FTAG, FISEG, FIOFF, FOSEG, FOOFF, FOP };

struct text {
	char *out;
	size_t size, len;
};

/* gdb's name for a set of registers, and the types that they need. */
struct feature {
	const char *name;
	void (*add_types)(struct text *text); /* or NULL */
};

static void add_core_types(struct text *text);
static void add_sse_types(struct text *text);
static void add_system_types(struct text *text);

static const struct feature core = {"org.gnu.gdb.i386.core", add_core_types};
static const struct feature sse = {"org.gnu.gdb.i386.sse", add_sse_types};
static const struct feature segments = {"org.gnu.gdb.i386.segments", NULL};
static const struct feature system_registers = {"org.ruse.gdb.i386.system", add_system_types};
static const struct feature avx_halves = {"org.gnu.gdb.i386.avx", NULL};

struct reg {
	const char *name, *type;
	enum kind kind;
	uint16_t offset; /* in struct x86_state */
	uint8_t index;
	const struct feature *feature; /* a new one begins here */
};

#define STATE(field) .offset = offsetof(struct x86_state, field)
#define GPR(name_, index_) {.name = name_, .type = "int64", .kind = KIND_WORD, STATE(gpr[index_])}
#define SELECTOR(name_, index_) {.name = name_, .type = "int32", .kind = KIND_SELECTOR, .index = index_}
#define ST(n) {.name = "st" #n, .type = "i387_ext", .kind = KIND_ST, .index = n}
#define X87(name_, index_) {.name = name_, .type = "int", .kind = KIND_X87, .index = index_}
#define XMM(n) {.name = "xmm" #n, .type = "vec128", .kind = KIND_XMM, .index = n}
#define YMMH(n) {.name = "ymm" #n "h", .type = "uint128", .kind = KIND_YMMH, .index = n}

static const struct reg regs[] = {
	{.name = "rax", .type = "int64", .kind = KIND_WORD, STATE(gpr[X86_RAX]), .feature = &core},
	GPR("rbx", X86_RBX), GPR("rcx", X86_RCX), GPR("rdx", X86_RDX), GPR("rsi", X86_RSI), GPR("rdi", X86_RDI),
	{.name = "rbp", .type = "data_ptr", .kind = KIND_WORD, STATE(gpr[X86_RBP])},
	{.name = "rsp", .type = "data_ptr", .kind = KIND_WORD, STATE(gpr[X86_RSP])},
	GPR("r8", X86_R8), GPR("r9", X86_R9), GPR("r10", X86_R10), GPR("r11", X86_R11),
	GPR("r12", X86_R12), GPR("r13", X86_R13), GPR("r14", X86_R14), GPR("r15", X86_R15),
	{.name = "rip", .type = "code_ptr", .kind = KIND_ADDRESS, STATE(rip)},
	{.name = "eflags", .type = "eflags", .kind = KIND_FLAGS},
	SELECTOR("cs", X86_CS), SELECTOR("ss", X86_SS), SELECTOR("ds", X86_DS), SELECTOR("es", X86_ES),
	SELECTOR("fs", X86_FS), SELECTOR("gs", X86_GS),
	ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
	X87("fctrl", FCTRL), X87("fstat", FSTAT), X87("ftag", FTAG), X87("fiseg", FISEG), X87("fioff", FIOFF),
	X87("foseg", FOSEG), X87("fooff", FOOFF), X87("fop", FOP),
	{.name = "xmm0", .type = "vec128", .kind = KIND_XMM, .index = 0, .feature = &sse},
	XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7), XMM(8), XMM(9), XMM(10), XMM(11), XMM(12), XMM(13), XMM(14), XMM(15),
	{.name = "mxcsr", .type = "mxcsr", .kind = KIND_MXCSR},
	{.name = "fs_base", .type = "int64", .kind = KIND_ADDRESS, STATE(seg[X86_FS].base), .feature = &segments},
	{.name = "gs_base", .type = "int64", .kind = KIND_ADDRESS, STATE(seg[X86_GS].base)},
	{.name = "k_gs_base", .type = "int64", .kind = KIND_ADDRESS, STATE(kernel_gs_base), .feature = &system_registers},
	{.name = "cr0", .type = "cr0", .kind = KIND_CR0},
	{.name = "cr2", .type = "int64", .kind = KIND_WORD, STATE(cr2)},
	{.name = "cr3", .type = "int64", .kind = KIND_CR3},
	{.name = "cr4", .type = "cr4", .kind = KIND_CR4},
	{.name = "cr8", .type = "int64", .kind = KIND_CR8},
	{.name = "efer", .type = "efer", .kind = KIND_EFER},
	/* Last, as not every processor has them. */
	{.name = "ymm0h", .type = "uint128", .kind = KIND_YMMH, .index = 0, .feature = &avx_halves},
	YMMH(1), YMMH(2), YMMH(3), YMMH(4), YMMH(5), YMMH(6), YMMH(7), YMMH(8), YMMH(9), YMMH(10), YMMH(11), YMMH(12), YMMH(13),
	YMMH(14), YMMH(15),
};
_Static_assert(ARRAY_SIZE(regs) <= 128, "gdb numbers them in hexadecimal of any length, but there are not that many");

unsigned gdb_register_count(bool avx)
{
	return (unsigned)ARRAY_SIZE(regs) - (avx ? 0 : 16);
}

unsigned gdb_register_size(unsigned number)
{
	if (number >= ARRAY_SIZE(regs))
		return 0;
	switch (regs[number].kind) {
	case KIND_FLAGS:
	case KIND_SELECTOR:
	case KIND_X87:
	case KIND_MXCSR:
		return 4;
	case KIND_ST:
		return 10;
	case KIND_XMM:
	case KIND_YMMH:
		return 16;
	default:
		return 8;
	}
}

/* ---- x87 ---- */

static unsigned physical(const struct x86_fpu *fpu, unsigned index)
{
	return (index + (fpu->fsw >> 11 & 7)) & 7;
}

/* What FSTENV writes (SDM 1 8.1.7): 0 valid, 1 zero, 2 special, 3 empty. */
static unsigned tag_of(const struct x86_fpu *fpu, unsigned n)
{
	const struct x86_float80 *r = &fpu->r[n];
	unsigned exponent = r->exponent & 0x7fff;

	if (!(fpu->ftw >> n & 1))
		return 3;
	if (!exponent && !r->mantissa)
		return 1;
	return exponent == 0x7fff || !(r->mantissa >> 63) ? 2 : 0;
}

static uint32_t x87_read(const struct x86_fpu *fpu, enum x87_word word)
{
	uint32_t tags = 0;

	switch (word) {
	case FCTRL: return fpu->fcw;
	case FSTAT: return fpu->fsw;
	case FTAG:
		for (unsigned n = 0; n < 8; n++)
			tags |= tag_of(fpu, n) << (2 * n);
		return tags;
	case FISEG: return fpu->fcs;
	case FIOFF: return (uint32_t)fpu->fip;
	case FOSEG: return fpu->fds;
	case FOOFF: return (uint32_t)fpu->fdp;
	case FOP: return fpu->fop;
	}
	return 0;
}

static void x87_write(struct x86_fpu *fpu, enum x87_word word, uint32_t value)
{
	switch (word) {
	case FCTRL:
		fpu->fcw = (value & 0x1f3f) | 0x40;
		break;
	case FSTAT: {
		/* ES and B follow from the exceptions that are not masked. */
		bool summary = value & ~(uint32_t)fpu->fcw & 0x3f;

		fpu->fsw = (uint16_t)((value & 0x7f7f) | (summary ? 0x8080 : 0));
		break;
	}
	case FTAG:
		fpu->ftw = 0;
		for (unsigned n = 0; n < 8; n++)
			fpu->ftw = (uint8_t)(fpu->ftw | (unsigned)((value >> (2 * n) & 3) != 3) << n);
		break;
	case FISEG: fpu->fcs = (uint16_t)value; break;
	case FIOFF: fpu->fip = value; break;
	case FOSEG: fpu->fds = (uint16_t)value; break;
	case FOOFF: fpu->fdp = value; break;
	case FOP: fpu->fop = value & 0x7ff; break;
	}
}

/* ---- reading ---- */

static uint64_t word_of(const struct reg *reg, const struct x86_state *s)
{
	uint64_t value;

	switch (reg->kind) {
	case KIND_FLAGS: return s->rflags;
	case KIND_SELECTOR: return s->seg[reg->index].selector;
	case KIND_CR0: return s->cr0;
	case KIND_CR3: return s->cr3;
	case KIND_CR4: return s->cr4;
	case KIND_CR8: return s->cr8;
	case KIND_EFER: return s->efer;
	case KIND_X87: return x87_read(&s->fpu, reg->index);
	case KIND_MXCSR: return s->fpu.mxcsr;
	default:
		memcpy(&value, (const uint8_t *)s + reg->offset, sizeof(value));
		return value;
	}
}

unsigned gdb_register_read(unsigned number, const struct x86_state *state, uint8_t bytes[GDB_REGISTER_SIZE_MAX])
{
	unsigned size = gdb_register_size(number);
	const struct reg *reg = &regs[number];
	const struct x86_float80 *st;
	uint64_t word;

	if (!size)
		return 0;
	switch (reg->kind) {
	case KIND_ST:
		st = &state->fpu.r[physical(&state->fpu, reg->index)];
		memcpy(bytes, &st->mantissa, 8);
		memcpy(bytes + 8, &st->exponent, 2);
		return size;
	case KIND_XMM:
	case KIND_YMMH:
		memcpy(bytes, state->fpu.ymm[reg->index].u8 + (reg->kind == KIND_YMMH ? 16 : 0), 16);
		return size;
	default:
		word = word_of(reg, state);
		memcpy(bytes, &word, size);
		return size;
	}
}

/* ---- writing ---- */

static bool is_canonical(uint64_t address)
{
	return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

/* Bits that may be changed without the mode becoming another one. */
#define CR0_FREE (X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM)
#define CR4_FREE                                                                                                          \
	(X86_CR4_TSD | X86_CR4_DE | X86_CR4_PGE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT)
#define EFER_FREE (X86_EFER_SCE)
#define CR3_BITS 0x000ffffffffff000ull
#define FLAGS_FREE (0x3f7fd5u & ~X86_FLAG_VM)
#define MXCSR_BITS 0xffffu

static bool change(uint64_t *where, uint64_t value, uint64_t free)
{
	if ((*where ^ value) & ~free)
		return false;
	*where = value;
	return true;
}

/* In real mode a selector is all that there is. */
static bool write_selector(struct x86_state *s, unsigned seg, uint16_t selector)
{
	if (s->seg[seg].selector == selector)
		return true;
	if ((s->cr0 & X86_CR0_PE) && !(s->rflags & X86_FLAG_VM))
		return false;
	s->seg[seg].selector = selector;
	s->seg[seg].base = (uint64_t)selector << 4;
	return true;
}

static bool write_word(const struct reg *reg, struct x86_state *s, uint64_t value)
{
	switch (reg->kind) {
	case KIND_FLAGS:
		s->rflags = (s->rflags & ~(uint64_t)FLAGS_FREE) | (value & FLAGS_FREE) | X86_FLAG_FIX;
		return true;
	case KIND_SELECTOR:
		return value <= 0xffff && write_selector(s, reg->index, (uint16_t)value);
	case KIND_CR0: return change(&s->cr0, value, CR0_FREE);
	case KIND_CR3: return change(&s->cr3, value, CR3_BITS & ((1ull << 46) - 1));
	case KIND_CR4: return change(&s->cr4, value, CR4_FREE);
	case KIND_CR8: return change(&s->cr8, value, 0);
	case KIND_EFER: return change(&s->efer, value, EFER_FREE);
	case KIND_X87:
		x87_write(&s->fpu, reg->index, (uint32_t)value);
		return true;
	case KIND_MXCSR:
		s->fpu.mxcsr = (uint32_t)value & MXCSR_BITS;
		return true;
	case KIND_ADDRESS:
		if (!is_canonical(value))
			return false;
		break;
	default:
		break;
	}
	memcpy((uint8_t *)s + reg->offset, &value, sizeof(value));
	return true;
}

bool gdb_register_write(unsigned number, struct x86_state *state, const uint8_t bytes[GDB_REGISTER_SIZE_MAX])
{
	unsigned size = gdb_register_size(number);
	const struct reg *reg = &regs[number];
	struct x86_float80 *st;
	uint64_t word = 0;

	if (!size)
		return false;
	switch (reg->kind) {
	case KIND_ST:
		st = &state->fpu.r[physical(&state->fpu, reg->index)];
		memcpy(&st->mantissa, bytes, 8);
		memcpy(&st->exponent, bytes + 8, 2);
		return true;
	case KIND_XMM:
	case KIND_YMMH:
		memcpy(state->fpu.ymm[reg->index].u8 + (reg->kind == KIND_YMMH ? 16 : 0), bytes, 16);
		return true;
	default:
		memcpy(&word, bytes, size);
		return write_word(reg, state, word);
	}
}

/* ---- the description ---- */

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
	size_t at = text->len < text->size ? text->len : text->size;
	va_list args;

	va_start(args, format);
	text->len += fmt_vprint(text->out + at, text->size - at, format, args);
	va_end(args);
}

struct bit {
	const char *name;
	uint8_t start, end;
};

static void add_flags(struct text *text, const char *id, unsigned size, const struct bit *bits, unsigned count)
{
	add(text, "<flags id=\"%s\" size=\"%u\">", id, size);
	for (unsigned i = 0; i < count; i++)
		add(text, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>", bits[i].name, bits[i].start, bits[i].end);
	add(text, "</flags>\n");
}

static const struct bit eflags_bits[] = {
	{"CF", 0, 0},   {"", 1, 1},	{"PF", 2, 2},	  {"AF", 4, 4},	  {"ZF", 6, 6},	  {"SF", 7, 7},	  {"TF", 8, 8},	  {"IF", 9, 9},
	{"DF", 10, 10}, {"OF", 11, 11}, {"NT", 14, 14}, {"RF", 16, 16}, {"VM", 17, 17}, {"AC", 18, 18}, {"VIF", 19, 19},
	{"VIP", 20, 20}, {"ID", 21, 21},
};
static const struct bit mxcsr_bits[] = {
	{"IE", 0, 0}, {"DE", 1, 1}, {"ZE", 2, 2}, {"OE", 3, 3},	  {"UE", 4, 4},	  {"PE", 5, 5},	  {"DAZ", 6, 6},
	{"IM", 7, 7}, {"DM", 8, 8}, {"ZM", 9, 9}, {"OM", 10, 10}, {"UM", 11, 11}, {"PM", 12, 12}, {"FZ", 15, 15},
};
static const struct bit cr0_bits[] = {
	{"PE", 0, 0}, {"MP", 1, 1}, {"EM", 2, 2}, {"TS", 3, 3}, {"ET", 4, 4}, {"NE", 5, 5}, {"WP", 16, 16}, {"AM", 18, 18},
	{"NW", 29, 29}, {"CD", 30, 30}, {"PG", 31, 31},
};
static const struct bit cr4_bits[] = {
	{"VME", 0, 0}, {"PVI", 1, 1}, {"TSD", 2, 2}, {"DE", 3, 3}, {"PSE", 4, 4}, {"PAE", 5, 5}, {"MCE", 6, 6}, {"PGE", 7, 7},
	{"PCE", 8, 8}, {"OSFXSR", 9, 9}, {"OSXMMEXCPT", 10, 10}, {"UMIP", 11, 11}, {"FSGSBASE", 16, 16}, {"PCIDE", 17, 17},
	{"OSXSAVE", 18, 18}, {"SMEP", 20, 20}, {"SMAP", 21, 21}, {"PKE", 22, 22},
};
static const struct bit efer_bits[] = {{"SCE", 0, 0}, {"LME", 8, 8}, {"LMA", 10, 10}, {"NXE", 11, 11}, {"FFXSR", 14, 14}};

static void add_core_types(struct text *text)
{
	add_flags(text, "eflags", 4, eflags_bits, ARRAY_SIZE(eflags_bits));
}

static void add_sse_types(struct text *text)
{
	add(text, "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
		  "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
		  "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>\n"
		  "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
		  "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
		  "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
		  "<field name=\"uint128\" type=\"uint128\"/></union>\n");
	add_flags(text, "mxcsr", 4, mxcsr_bits, ARRAY_SIZE(mxcsr_bits));
}

static void add_system_types(struct text *text)
{
	add_flags(text, "cr0", 8, cr0_bits, ARRAY_SIZE(cr0_bits));
	add_flags(text, "cr4", 8, cr4_bits, ARRAY_SIZE(cr4_bits));
	add_flags(text, "efer", 8, efer_bits, ARRAY_SIZE(efer_bits));
}

static void begin_feature(struct text *text, const struct reg *reg)
{
	add(text, "%s<feature name=\"%s\">\n", reg == regs ? "" : "</feature>\n", reg->feature->name);
	if (reg->feature->add_types)
		reg->feature->add_types(text);
}

size_t gdb_registers_xml(bool avx, char *out, size_t size)
{
	struct text text = {.out = out, .size = size};

	add(&text, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
		   "<target version=\"1.0\"><architecture>i386:x86-64</architecture>\n");
	for (unsigned i = 0; i < gdb_register_count(avx); i++) {
		if (regs[i].feature)
			begin_feature(&text, &regs[i]);
		add(&text, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"%s/>\n", regs[i].name, 8 * gdb_register_size(i), regs[i].type,
		    regs[i].kind == KIND_X87 ? " group=\"float\"" : "");
	}
	add(&text, "</feature></target>\n");
	return text.len;
}
