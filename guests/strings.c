/* String instructions and bit tests against a model in C: every element size, prefix and direction, at page ends, across
 * pages, overlapping, from and to pages that are aliases, read-only, not present, the supervisor's or a device's, with RCX, RSI
 * and RDI of the fault's frame; repetitions that write code, and that an interrupt comes into.
 *
 * The instructions are made from bytes once and executed in turn with many operands, so that what an engine keeps of them is
 * used for all.
 */
#include "guest.h"

const char guest_name[] = "strings";

#define PAGE   4096u
#define WINDOW 0x40000000ull /* 1 GiB; the pages before and behind it are never present */
#define PAGES  6u
#define HOLE   0x10000000ull /* neither RAM nor a device: reads as ones, writes are lost */
#define STATUS 0x8d5u
#define DF     0x400u

enum state { RAM, READ_ONLY, ABSENT, DEVICE, SUPERVISOR, STATES };

struct regs {
	uint64_t rax, rcx, rdx, rsi, rdi, rflags;
};

/* rdi: struct regs, rsi: code that ends with a RET and leaves RBX, R12 and the stack alone. A fault's handler goes on at
 * op_return. */
void op_call(struct regs *regs, const volatile void *code);
extern char op_return[];
__asm__(".text\n"
	"op_call: pushq %rbx; pushq %r12; movq %rdi, %rbx; movq %rsi, %r12\n"
	"	movq (%rbx), %rax; movq 8(%rbx), %rcx; movq 16(%rbx), %rdx; movq 24(%rbx), %rsi; movq 32(%rbx), %rdi\n"
	"	pushq 40(%rbx); popfq; call *%r12; pushfq; popq 40(%rbx); cld\n"
	"	movq %rax, (%rbx); movq %rcx, 8(%rbx); movq %rdx, 16(%rbx); movq %rsi, 24(%rbx); movq %rdi, 32(%rbx)\n"
	"	popq %r12; popq %rbx\n"
	"op_return: ret\n");

/* ---- the instructions ---- */

enum kind { MOVS, STOS, LODS, CMPS, SCAS, INS, OUTS, BT, BTS, BTR, BTC };

struct op {
	enum kind kind;
	unsigned size, rep, address, seg; /* rep: 0, 0xf3, 0xf2; address: 4, 8; seg: 0, 0x64, 0x65 */
	bool lock;
	volatile uint8_t *code;
};

static struct op ops[512];
static unsigned string_ops, op_count;
static volatile uint8_t text[4][PAGE] __attribute__((aligned(4096)));
static uint64_t fs_base, gs_base;

static void add_op(struct op op)
{
	static const uint8_t opcode[] = {0xa4, 0xaa, 0xac, 0xa6, 0xae, 0x6c, 0x6e, 0xa3, 0xab, 0xb3, 0xbb};
	static unsigned used;
	volatile uint8_t *at = op.code = &text[0][used];

	if (op.lock)
		*at++ = 0xf0;
	if (op.seg)
		*at++ = (uint8_t)op.seg;
	if (op.address == 4)
		*at++ = 0x67;
	if (op.size == 2)
		*at++ = 0x66;
	if (op.rep)
		*at++ = (uint8_t)op.rep;
	if (op.size == 8)
		*at++ = 0x48;
	if (op.kind >= BT) {
		*at++ = 0x0f;
		*at++ = opcode[op.kind];
		*at++ = 0x0f; /* [rdi], rcx */
	} else {
		*at++ = (uint8_t)(opcode[op.kind] | (op.size > 1));
	}
	*at++ = 0xc3;
	used = (unsigned)(at - &text[0][0]);
	ops[op_count++] = op;
}

static void make_ops(void)
{
	static const unsigned reps[] = {0, 0xf3, 0xf2}, segs[] = {0, 0x64, 0x65};

	for (enum kind kind = MOVS; kind <= SCAS; kind++) {
		for (unsigned i = 0; i < 3 * 3 * 2 * 4; i++) {
			unsigned seg = segs[i % 3], rep = reps[i / 3 % 3], size = 1u << i / 18, address = i / 9 % 2 ? 4 : 8;

			add_op((struct op){.kind = kind, .size = size, .rep = rep, .address = address, .seg = seg});
		}
	}
	string_ops = op_count;
	for (enum kind kind = BT; kind <= BTC; kind++) {
		for (unsigned i = 0; i < 3 * 2 * 2 * 2; i++)
			add_op((struct op){.kind = kind, .size = 2u << i % 3, .seg = i / 3 % 2 ? 0x64 : 0,
					   .lock = i / 6 % 2, .address = i / 12 % 2 ? 4 : 8});
	}
}

/* ---- memory, and its model ---- */

static uint8_t *ram[PAGES];
static uint8_t model[PAGES][PAGE];
static enum state states[PAGES];
static unsigned frames[PAGES]; /* which page of RAM the page of the window is */
static bool user;

static uint64_t seed = 1;

static unsigned random(unsigned below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % below;
}

static void map_window(void)
{
	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t entry = (uint64_t)ram[frames[i]] | PTE_P | PTE_W | PTE_U | PTE_A;

		if (states[i] == READ_ONLY)
			entry &= ~PTE_W;
		if (states[i] == ABSENT)
			entry = 0;
		if (states[i] == DEVICE)
			entry = (entry & 0xfff) + HOLE + i * PAGE;
		if (states[i] == SUPERVISOR)
			entry &= ~PTE_U;
		if (*pte_of(WINDOW + i * PAGE) == entry)
			continue;
		*pte_of(WINDOW + i * PAGE) = entry;
		invlpg(WINDOW + i * PAGE);
	}
}

static void fill_ram(void)
{
	for (unsigned i = 0; i < PAGES; i++) {
		for (unsigned n = 0; n < PAGE; n += 8) {
			uint64_t word = (uint64_t)random(0x40000000) * 0x100000001ull;

			*(uint64_t *)&ram[i][n] = *(uint64_t *)&model[i][n] = word;
		}
	}
}

static unsigned wrong_words(void)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < PAGES; i++) {
		for (unsigned n = 0; n < PAGE; n += 32) {
			const uint64_t *a = (const uint64_t *)&ram[i][n], *b = (const uint64_t *)&model[i][n];

			wrong += ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3])) != 0;
		}
	}
	return wrong;
}

struct fault {
	uint64_t vector, error, cr2;
	bool flags_unknown;
	struct regs regs;
};

/* The page of the byte, or the fault of it. */
static bool page_ok(uint64_t at, bool write, struct fault *fault)
{
	uint64_t n = at / PAGE - WINDOW / PAGE;
	enum state state = n < PAGES ? states[n] : ABSENT;

	if (state == RAM || state == DEVICE || (state == READ_ONLY && !write) || (state == SUPERVISOR && !user))
		return true;
	fault->vector = 14;
	fault->error = (state != ABSENT) | write << 1 | user << 2;
	fault->cr2 = at;
	return false;
}

static bool accessible(uint64_t at, unsigned size, bool write, struct fault *fault)
{
	return page_ok(at, write, fault) && (at % PAGE + size <= PAGE || page_ok((at + size - 1) & ~(uint64_t)(PAGE - 1), write, fault));
}

static uint64_t model_load(uint64_t at, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++) {
		uint64_t offset = at + i - WINDOW;
		uint8_t byte = states[offset / PAGE] == DEVICE ? 0xff : model[frames[offset / PAGE]][offset % PAGE];

		value |= (uint64_t)byte << 8 * i;
	}
	return value;
}

static void model_store(uint64_t at, unsigned size, uint64_t value)
{
	for (unsigned i = 0; i < size; i++) {
		uint64_t offset = at + i - WINDOW;

		if (states[offset / PAGE] != DEVICE)
			model[frames[offset / PAGE]][offset % PAGE] = (uint8_t)(value >> 8 * i);
	}
}

static uint64_t mask_of(unsigned size)
{
	return size == 8 ? ~0ull : (1ull << 8 * size) - 1;
}

static uint64_t flags_of_compare(uint64_t a, uint64_t b, unsigned size)
{
	uint64_t mask = mask_of(size), result = (a - b) & mask, flags = 0, sign = 1ull << (8 * size - 1);

	flags |= (a & mask) < (b & mask);
	flags |= !(__builtin_popcount(result & 0xff) & 1) << 2;
	flags |= ((a ^ b ^ result) & 0x10);
	flags |= (uint64_t)(result == 0) << 6;
	flags |= (uint64_t)((result & sign) != 0) << 7;
	flags |= (uint64_t)(((a ^ b) & (a ^ result) & sign) != 0) << 11;
	return flags;
}

/* One element. True: it is done; else the fault is set. */
static bool model_element(const struct op *op, struct regs *r, struct fault *fault)
{
	uint64_t mask = mask_of(op->address), base = op->seg == 0x64 ? fs_base : op->seg == 0x65 ? gs_base : 0;
	uint64_t from = base + (r->rsi & mask), to = r->rdi & mask, a = r->rax & mask_of(op->size), b;
	uint64_t step = r->rflags & DF ? -(uint64_t)op->size : op->size;
	bool source = op->kind == MOVS || op->kind == LODS || op->kind == CMPS || op->kind == OUTS;

	if (source && !accessible(from, op->size, false, fault))
		return false;
	if (op->kind != LODS && op->kind != OUTS &&
	    !accessible(to, op->size, op->kind == MOVS || op->kind == STOS || op->kind == INS, fault))
		return false;
	if (source)
		a = model_load(from, op->size);
	switch (op->kind) {
	case MOVS:
	case STOS:
		model_store(to, op->size, a);
		break;
	case INS:
		model_store(to, op->size, 0x5a);
		break;
	case LODS:
		r->rax = op->size >= 4 ? a : (r->rax & ~mask_of(op->size)) | a;
		break;
	case CMPS:
	case SCAS:
		b = model_load(to, op->size);
		r->rflags = (r->rflags & ~(uint64_t)STATUS) | flags_of_compare(a, b, op->size);
		break;
	default:
		break;
	}
	if (source)
		r->rsi = (r->rsi + step) & mask;
	if (op->kind != LODS && op->kind != OUTS)
		r->rdi = (r->rdi + step) & mask;
	return true;
}

static void model_string(const struct op *op, struct regs *r, struct fault *fault)
{
	uint64_t flags = r->rflags & STATUS;

	fault->vector = ~0ull;
	fault->flags_unknown = false;
	if (!op->rep) {
		model_element(op, r, fault);
		return;
	}
	for (unsigned done = 0; r->rcx & mask_of(op->address); done++) {
		bool zero;

		if (!model_element(op, r, fault)) {
			/* Of CMPS and SCAS none of the elements so far, unless there was an interrupt after some, perhaps
			 * the host's. */
			r->rflags = (r->rflags & ~(uint64_t)STATUS) | flags;
			fault->flags_unknown = done > 1000;
			return;
		}
		r->rcx--;
		zero = r->rflags & 0x40;
		if ((op->kind == CMPS || op->kind == SCAS) && zero == (op->rep == 0xf2))
			return;
	}
}

static void model_bits(const struct op *op, struct regs *r, struct fault *fault)
{
	unsigned bits = 8 * op->size, shift = op->size == 2 ? 4 : op->size == 4 ? 5 : 6;
	int64_t index = op->size == 2 ? (int16_t)r->rcx : op->size == 4 ? (int32_t)r->rcx : (int64_t)r->rcx;
	/* The address as a whole has the address size. */
	uint64_t at = ((r->rdi + (uint64_t)(index >> shift) * op->size) & mask_of(op->address)) + (op->seg ? fs_base : 0);
	uint64_t bit = 1ull << (r->rcx & (bits - 1)), value;

	fault->vector = ~0ull;
	fault->flags_unknown = false;
	if (op->lock && op->kind == BT) {
		fault->vector = 6;
		return;
	}
	if (!accessible(at, op->size, op->kind != BT, fault))
		return;
	value = model_load(at, op->size);
	r->rflags = (r->rflags & ~1ull) | ((value & bit) != 0);
	if (op->kind != BT)
		model_store(at, op->size, op->kind == BTS ? value | bit : op->kind == BTR ? value & ~bit : value ^ bit);
}

/* ---- a case: both, compared ---- */

static volatile struct fault got;

static void on_fault(struct frame *frame)
{
	got.vector = frame->vector;
	got.error = frame->error;
	got.cr2 = READ_CR(2);
	got.regs = (struct regs){frame->rax, frame->rcx, frame->rdx, frame->rsi, frame->rdi, frame->rflags};
	frame->rip = (uint64_t)op_return + (frame->cs & 3 ? USER(0) : 0);
}

static struct regs call_regs;
static const volatile void *call_code;

static void user_call(uint64_t arg)
{
	op_call(&call_regs, (const volatile void *)USER(call_code));
}

static void execute(const struct op *op, struct regs regs)
{
	call_regs = regs;
	call_code = op->code;
	got.vector = ~0ull;
	if (user) {
		if (run_user(user_call, 0) != 0x80)
			got.vector = 99;
	} else {
		op_call(&call_regs, op->code);
	}
	if (got.vector == ~0ull)
		got.regs = call_regs;
}

static unsigned reported;

static void same(const char *what, const struct op *op, const struct regs *first, uint64_t is, uint64_t wanted)
{
	if (is == wanted)
		return;
	check(false, what, __LINE__);
	if (reported++ < 20)
		print("  %x instead of %x: kind %u size %u rep %x address %u seg %x lock %u rax %x rcx %x rsi %x rdi %x flags %x\n",
		      is, wanted, op->kind, op->size, op->rep, op->address, op->seg, op->lock, first->rax, first->rcx, first->rsi,
		      first->rdi, first->rflags);
}

static void one_case(const struct op *op, struct regs regs)
{
	struct regs wanted = regs;
	struct fault fault;

	if (op->kind >= BT)
		model_bits(op, &wanted, &fault);
	else
		model_string(op, &wanted, &fault);
	execute(op, regs);
	same("vector", op, &regs, got.vector, fault.vector);
	if (fault.vector == 14 && got.vector == 14) {
		same("error code", op, &regs, got.error, fault.error);
		same("CR2", op, &regs, got.cr2, fault.cr2);
	}
	same("RAX", op, &regs, got.regs.rax, wanted.rax);
	same("RCX", op, &regs, got.regs.rcx, wanted.rcx);
	same("RSI", op, &regs, got.regs.rsi, wanted.rsi);
	same("RDI", op, &regs, got.regs.rdi, wanted.rdi);
	/* What a bit test leaves but CF is undefined. */
	if (fault.vector != 14 || !fault.flags_unknown || op->kind < CMPS || op->kind > SCAS)
		same("flags", op, &regs, got.regs.rflags & (op->kind >= BT ? DF | 1 : DF | STATUS),
		     wanted.rflags & (op->kind >= BT ? DF | 1 : DF | STATUS));
	same("memory", op, &regs, wrong_words(), 0);
}

/* An offset into the window that is likely to be near a page's end. */
static uint64_t random_offset(void)
{
	if (random(4))
		return (uint64_t)(random(PAGES - 1) + 1) * PAGE + random(40) - 20;
	return random(PAGES * PAGE);
}

static void random_states(bool all_ram)
{
	for (unsigned i = 0; i < PAGES; i++) {
		unsigned n = random(12);

		states[i] = !all_ram && n < STATES ? (enum state)n : RAM;
		frames[i] = random(8) ? i : random(PAGES);
	}
	map_window();
}

static struct regs random_regs(const struct op *op)
{
	uint64_t base = op->seg == 0x64 ? fs_base : op->seg == 0x65 ? gs_base : 0;
	struct regs regs = {
		.rax = (uint64_t)random(~0u) << 32 | random(~0u),
		.rcx = random(8) ? random(100) : random(PAGE * 3 / 2 / op->size),
		.rdx = 0x3ff, /* COM1's scratch register: of no other use */
		.rsi = (WINDOW + random_offset() - base) & mask_of(op->address),
		.rdi = WINDOW + random_offset(),
		.rflags = 2 | (random(~0u) & STATUS) | (random(3) ? 0 : DF),
	};

	switch (random(24)) {
	case 0 ... 2: /* a little ahead or behind: overlapping */
		regs.rdi = regs.rsi + base + random(20) - 10;
		break;
	case 3:
	case 4:
		regs.rcx = 0;
		break;
	case 5:
		/* Until a fault ends it. */
		regs.rcx = op->address == 8 ? ~0ull - random(2) : ~0u;
		break;
	default:
		break;
	}
	return regs;
}

static void random_strings(unsigned rounds)
{
	for (unsigned round = 0; round < rounds; round++) {
		random_states(round % 3 == 0);
		if (round % 16 == 0)
			fill_ram();
		for (unsigned i = 0; i < 6; i++) {
			const struct op *op = &ops[random(string_ops)];
			struct regs regs = random_regs(op);

			/* Equal memory, so that comparisons go on. */
			if (random(3) == 0) {
				unsigned page = random(PAGES);

				for (unsigned n = 0; n < PAGE; n++)
					ram[page][n] = model[page][n] = (uint8_t)(n == PAGE - 1 ? random(3) : 0);
				regs.rax &= ~0xffull;
			}
			one_case(op, regs);
		}
	}
}

/* Copies onto themselves, a little ahead or behind, upwards and downwards: the elements' order is to be seen. */
static void overlaps(void)
{
	random_states(true);
	for (unsigned i = 0; i < string_ops; i++) {
		const struct op *op = &ops[i];

		if (op->kind != MOVS || !op->rep || op->address != 8 || op->seg)
			continue;
		for (unsigned down = 0; down < 2; down++) {
			for (unsigned distance = 0; distance < 20; distance += 3) {
				struct regs regs = {.rcx = 300, .rsi = WINDOW + 2 * PAGE + random(PAGE),
						    .rflags = 2 | (down ? DF : 0)};

				if (distance == 0)
					fill_ram();
				regs.rdi = regs.rsi + distance - 10;
				one_case(op, regs);
			}
		}
	}
}

static void random_bits(unsigned rounds)
{
	for (unsigned round = 0; round < rounds; round++) {
		random_states(round % 3 == 0);
		for (unsigned i = 0; i < PAGES; i++) {
			if (states[i] == DEVICE)
				states[i] = RAM;
		}
		map_window();
		for (unsigned i = 0; i < 6; i++) {
			const struct op *op = &ops[string_ops + random(op_count - string_ops)];
			uint64_t at = WINDOW + random_offset(), target = WINDOW + random_offset();
			struct regs regs = {.rdi = at, .rflags = 2 | (random(~0u) & STATUS)};

			/* Locked accesses that are not aligned are split locks, which a host may forbid. */
			if (op->lock) {
				at &= ~7ull;
				target &= ~7ull;
				regs.rdi = at;
			}
			if (op->seg)
				regs.rdi -= fs_base;
			regs.rdi &= mask_of(op->address);
			regs.rcx = (target - at) * 8 + random(64);
			if (op->size == 2)
				regs.rcx = random(0x10000) | 0x123450000ull;
			if (op->size == 4)
				regs.rcx = (uint32_t)regs.rcx | 0xabcd00000000ull;
			/* The other registers must not matter. */
			regs.rsi = regs.rax = random(~0u);
			one_case(op, regs);
		}
	}
}

/* ---- ports ---- */

static void test_ports(void)
{
	static const unsigned reps[] = {0, 0xf3};
	unsigned first = op_count;

	for (unsigned i = 0; i < 2; i++) {
		add_op((struct op){.kind = INS, .size = 1, .rep = reps[i], .address = 8});
		add_op((struct op){.kind = OUTS, .size = 1, .rep = reps[i], .address = 8});
	}
	for (unsigned round = 0; round < 60; round++) {
		const struct op *op = &ops[first + round % 4];
		struct regs regs;

		random_states(round & 8);
		regs = random_regs(op);
		regs.rcx &= 31;
		outb(0x3ff, 0x5a);
		one_case(op, regs);
	}
}

/* ---- code ---- */

static volatile uint8_t code[4][PAGE] __attribute__((aligned(4096)));

static uint64_t run(volatile uint8_t *at, uint64_t rcx, uint64_t rsi, uint64_t rdi, uint64_t rax)
{
	struct regs regs = {.rax = rax, .rcx = rcx, .rsi = rsi, .rdi = rdi, .rflags = 2};

	got.vector = ~0ull;
	op_call(&regs, at);
	return got.vector != ~0ull ? got.vector << 32 : regs.rax;
}

static void put(volatile uint8_t *at, const uint8_t *bytes, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		at[i] = bytes[i];
}
#define PUT(at, ...) put(at, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void test_code(void)
{
	static uint8_t image[3][PAGE];
	unsigned wrong = 0;

	for (unsigned i = 0; i < 3; i++) {
		for (unsigned n = 0; n < PAGE; n++)
			image[i][n] = 0xc3;
	}
	for (unsigned i = 0; i < 40; i++) {
		/* Code in each of three pages that a copy over all of them replaces in turn. */
		for (unsigned p = 0; p < 3; p++)
			PUT(&image[p][100 * p + 8], 0xb8, (uint8_t)(i + p), 0, 0, 0, 0xc3);
		PUT(&code[3][0], 0xf3, 0x48, 0xa5, 0xc3); /* rep movsq; ret */
		run(&code[3][0], 3 * PAGE / 8, (uint64_t)image, (uint64_t)code, 0);
		for (unsigned p = 0; p < 3; p++)
			wrong += run(&code[p][100 * p + 8], 0, 0, 0, 0) != i + p;
	}
	EQUAL(wrong, 0);

	/* It writes what follows it, in its own page and the next; then into the page before and its own. */
	for (unsigned i = 0; i < 40; i++) {
		uint64_t end;

		PUT(&code[0][64], 0xf3, 0xaa, 0x0f, 0x0b); /* rep stosb; ud2 */
		wrong += run(&code[0][64], PAGE + 100, 0, (uint64_t)&code[0][66], 0xc3) != 0xc3;
		end = (uint64_t)&code[1][0] + 66 + 100;
		wrong += *(uint8_t *)(end - 1) != 0xc3;
		PUT(&code[1][32], 0xf3, 0xaa, 0xc3);
		wrong += run(&code[1][32], PAGE, 0, (uint64_t)&code[0][32], 0xcc) != 0xcc;
		wrong += code[0][32] != 0xcc || code[1][31] != 0xcc || code[1][32] != 0xf3;
		/* Backwards. */
		PUT(&code[1][PAGE - 8], 0xfd, 0xf3, 0xaa, 0xfc, 0xc3); /* std; rep stosb; cld; ret */
		wrong += run(&code[1][PAGE - 8], PAGE, 0, (uint64_t)&code[1][PAGE - 9], 0x90) != 0x90;
		wrong += code[0][PAGE - 8] != 0x90 || code[0][PAGE - 9] != 0xcc;
	}
	EQUAL(wrong, 0);
}

/* ---- interrupts ---- */

static volatile uint64_t ticks, inside, crooked;
static uint64_t area, area_end;
static uint64_t at_rep, element;
static uint32_t period;

static void eoi(void)
{
	*apic(0xb0) = 0;
}

static void on_timer(struct frame *frame)
{
	ticks++;
	if (frame->rip == at_rep) {
		inside += frame->rdi != area;
		/* RDI and RCX belong together at every moment. */
		crooked += frame->rdi + frame->rcx * element != area_end || (frame->rflags & STATUS) != STATUS;
	}
	/* Ever more seldom, so that a slow engine gets on. */
	*apic(0x380) = period;
	period = period < 1u << 30 ? period * 2 : period;
	eoi();
}

static void on_self(struct frame *frame)
{
	ticks++;
	eoi();
}

static void test_interrupts(void)
{
	/* sti; rep stosX; cli; ret */
	static const uint8_t codes[4][6] = {
		{0xfb, 0xf3, 0xaa, 0xfa, 0xc3}, {0xfb, 0xf3, 0xab, 0xfa, 0xc3}, {0xfb, 0xf3, 0x48, 0xab, 0xfa, 0xc3},
		{0xfb, 0xf3, 0xa4, 0xfa, 0xc3}};
	static const unsigned sizes[] = {1, 4, 8, 1};

	apic_enable();
	on_vector(0x40, on_timer);
	on_vector(0x61, on_self);
	area = 24ull << 20;
	for (unsigned kind = 0; kind < 4; kind++) {
		unsigned length = 8u << 20;
		/* nop before, so that REP is not always in STI's shadow. */
		volatile uint8_t *at = &code[kind][256];

		inside = 0;
		element = sizes[kind];
		area_end = area + length;
		*apic(0x3e0) = 0xb;
		*apic(0x320) = 0x40; /* one-shot */
		for (unsigned round = 0; round < 300 && inside < 5; round++) {
			struct regs regs = {.rax = 0x5a5a5a5a5a5a5a5aull + round, .rcx = length / element, .rdi = area,
					    .rsi = area + length, .rflags = 2 | STATUS};

			/* With and without something between STI and REP. */
			PUT(at, codes[kind][0], 0x90);
			put(at + 1 + (round & 1), &codes[kind][1], 5);
			at_rep = (uint64_t)(at + 1 + (round & 1));
			period = 20000;
			*apic(0x380) = 10000 + 10000 * (round % 8);
			op_call(&regs, at);
			crooked += regs.rcx != 0 || regs.rdi != area_end || (regs.rflags & STATUS) != STATUS;
			if (kind < 3)
				crooked += *(uint8_t *)(area_end - 1) != (element == 1 ? (uint8_t)regs.rax : 0x5a) &&
					   *(uint8_t *)(area_end - element) != (uint8_t)regs.rax;
		}
		*apic(0x320) = 0x10040;
		*apic(0x380) = 0;
		__asm__ volatile("sti; nop; nop; cli" ::: "memory");
		CHECK(inside > 0);
	}
	EQUAL(crooked, 0);

	/* One that is pending when STI comes: REP behind it must end. */
	for (unsigned i = 0; i < 50; i++) {
		struct regs regs = {.rax = i, .rcx = 20000, .rdi = area + i, .rflags = 2};

		ticks = 0;
		PUT(&code[0][512], 0xfb, 0xf3, 0xaa, 0x90, 0xfa, 0xc3);
		*apic(0x300) = 0x40061;
		op_call(&regs, &code[0][512]);
		crooked += ticks != 1 || regs.rcx != 0 || regs.rdi != area + i + 20000;
	}
	EQUAL(crooked, 0);
}

void guest_main(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		ram[i] = alloc_page();
	*pte_of(WINDOW - PAGE) = 0;
	*pte_of(WINDOW + PAGES * PAGE) = 0;
	WRITE_CR(3, READ_CR(3));
	WRITE_CR(0, READ_CR(0) | 1 << 16);
	on_vector(14, on_fault);
	on_vector(6, on_fault);
	fs_base = 0x123456;
	gs_base = 0x20000000;
	wrmsr(0xc0000100, fs_base);
	wrmsr(0xc0000101, gs_base);
	make_ops();
	for (unsigned i = 0; i < 2; i++) {
		user = i;
		fill_ram();
		random_strings(60);
		overlaps();
		random_bits(40);
	}
	user = false;
	test_ports();
	test_code();
	test_interrupts();
	check(reported == 0, "all cases", __LINE__);
}
