/* Self-modifying code: every kind of store into every place that decoded code may be kept for, and remapped code.
 *
 * Code is made from bytes here. Its answer is the immediate operand of `mov $imm32, %eax; ret`, which the test
 * changes: code that is run from an old copy answers with an old number.
 */
#include "guest.h"

const char guest_name[] = "selfmod";

typedef uint64_t (*code_fn)(uint64_t address, uint64_t value);

#define PAGE 4096u
/* Where pages of code[] are mapped once more. */
#define WINDOW (17ull << 30)

static volatile uint8_t code[8][PAGE] __attribute__((aligned(4096)));

static uint64_t run(volatile const void *at, uint64_t address, uint64_t value)
{
	return ((code_fn)(uintptr_t)at)(address, value);
}

static volatile uint8_t *put(volatile uint8_t *at, const void *bytes, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		at[i] = ((const uint8_t *)bytes)[i];
	return at + len;
}
#define PUT(at, ...) put(at, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* `mov $answer, %eax; ret; nop; nop` as one number: eight bytes. */
static uint64_t answer_code(uint32_t answer)
{
	return 0x9090c300000000b8ull | (uint64_t)answer << 8;
}

static volatile uint8_t *put_answer(volatile uint8_t *at, uint32_t answer)
{
	uint64_t bytes = answer_code(answer);

	return put(at, &bytes, 6);
}

static void clear(void)
{
	for (unsigned i = 0; i < sizeof(code); i++)
		code[i / PAGE][i % PAGE] = 0xcc;
}

/* ---- the next instruction, by every kind of store ---- */

/* What the store needs in rsi to leave `new` where `old` was. */
enum operand { NEW, SUM, XOR };

static const struct store {
	const char *name;
	uint8_t bytes[24], len;
	enum operand operand;
	bool locked; /* not across pages: the host may forbid such locks */
} stores[] = {
	{"mov", {0x48, 0x89, 0x37}, 3, NEW, false},
	{"movnti", {0x48, 0x0f, 0xc3, 0x37}, 4, NEW, false},
	{"add", {0x48, 0x01, 0x37}, 3, SUM, false},
	{"xor", {0x48, 0x31, 0x37}, 3, XOR, false},
	{"lock add", {0xf0, 0x48, 0x01, 0x37}, 4, SUM, true},
	{"lock xor", {0xf0, 0x48, 0x31, 0x37}, 4, XOR, true},
	{"xadd", {0xf0, 0x48, 0x0f, 0xc1, 0x37}, 5, SUM, true},
	{"xchg", {0x48, 0x87, 0x37}, 3, NEW, true},
	{"cmpxchg", {0x48, 0x8b, 0x07, 0xf0, 0x48, 0x0f, 0xb1, 0x37}, 8, NEW, true},
	{"cmpxchg, no lock", {0x48, 0x8b, 0x07, 0x48, 0x0f, 0xb1, 0x37}, 7, NEW, false},
	{"stosq", {0x48, 0x89, 0xf0, 0x48, 0xab}, 5, NEW, false},
	/* push rsi; mov rsi, rsp; mov ecx, 8; rep movsb; pop rsi */
	{"rep movsb", {0x56, 0x48, 0x89, 0xe6, 0xb9, 8, 0, 0, 0, 0xf3, 0xa4, 0x5e}, 12, NEW, false},
	/* push rsi; mov rsi, rsp; mov ecx, 1; rep movsq; pop rsi */
	{"rep movsq", {0x56, 0x48, 0x89, 0xe6, 0xb9, 1, 0, 0, 0, 0xf3, 0x48, 0xa5, 0x5e}, 13, NEW, false},
	/* add rdi, 8; xchg rdi, rsp; push rsi; xchg rdi, rsp */
	{"push", {0x48, 0x83, 0xc7, 8, 0x48, 0x87, 0xfc, 0x56, 0x48, 0x87, 0xfc}, 11, NEW, false},
	/* push rsi; pop [rdi] */
	{"pop", {0x56, 0x8f, 0x07}, 3, NEW, false},
	/* movq xmm0, rsi; movq [rdi], xmm0 */
	{"movq", {0x66, 0x48, 0x0f, 0x6e, 0xc6, 0x66, 0x0f, 0xd6, 0x07}, 9, NEW, false},
	/* movq xmm0, rsi; movups xmm1, [rdi]; movsd xmm1, xmm0; movups [rdi], xmm1 */
	{"movups", {0x66, 0x48, 0x0f, 0x6e, 0xc6, 0x0f, 0x10, 0x0f, 0xf2, 0x0f, 0x10, 0xc8, 0x0f, 0x11, 0x0f}, 15, NEW,
	 false},
	/* movq mm0, rsi; movq [rdi], mm0; emms */
	{"mmx", {0x48, 0x0f, 0x6e, 0xc6, 0x0f, 0x7f, 0x07, 0x0f, 0x77}, 9, NEW, false},
	/* push rsi; fild qword [rsp]; pop rsi; fistp qword [rdi] */
	{"fistp", {0x56, 0xdf, 0x2c, 0x24, 0x5e, 0xdf, 0x3f}, 7, NEW, false},
	/* mov rax, [rdi]; mov rdx, [rdi+8]; mov rcx, rdx; push rbx; mov rbx, rsi; lock cmpxchg16b [rdi]; pop rbx */
	{"cmpxchg16b",
	 {0x48, 0x8b, 0x07, 0x48, 0x8b, 0x57, 8, 0x48, 0x89, 0xd1, 0x53, 0x48, 0x89, 0xf3, 0xf0, 0x48, 0x0f, 0xc7, 0x0f,
	  0x5b},
	 20, NEW, true},
};

/* The store is followed by the code that it replaces, which begins at `target`. */
static void store_before(const struct store *store, volatile uint8_t *target)
{
	uint32_t wrong = 0;
	uint64_t old = answer_code(1);

	clear();
	put(target - store->len, store->bytes, store->len);
	put(target, &old, 8);
	for (uint32_t i = 0; i < 40; i++) {
		uint64_t new = answer_code(0x01020304u * i + 7);
		uint64_t operand = store->operand == NEW ? new : store->operand == SUM ? new - old : new ^ old;

		wrong += (uint32_t)run(target - store->len, (uint64_t)target, operand) != 0x01020304u * i + 7;
		old = new;
	}
	check(!wrong, store->name, __LINE__);
}

static void test_stores(void)
{
	for (unsigned i = 0; i < sizeof(stores) / sizeof(stores[0]); i++) {
		store_before(&stores[i], &code[1][512]);
		store_before(&stores[i], &code[2][0]); /* the store ends with the page */
		store_before(&stores[i], &code[1][PAGE - 16]);
		if (stores[i].locked)
			continue;
		for (unsigned before = 1; before < 8; before++) /* the target crosses pages */
			store_before(&stores[i], &code[2][0] - before);
	}
}

/* One byte at a time of an instruction that crosses pages, from the instruction before it and from elsewhere. */
static void test_halves(void)
{
	uint32_t wrong = 0;

	for (unsigned before = 1; before < 5; before++) {
		volatile uint8_t *target = &code[2][0] - before;
		uint32_t want = 0;

		clear();
		PUT(target - 3, 0x40, 0x88, 0x37); /* mov [rdi], sil */
		put_answer(target, 0);
		put_answer(&code[4][8], 0);
		PUT(&code[4][0], 0x40, 0x88, 0x37, 0xc3);
		for (unsigned i = 0; i < 64; i++) {
			unsigned byte = i % 4;

			want = (want & ~(0xffu << 8 * byte)) | (i + 1) << 8 * byte;
			if (i & 4) {
				run(&code[4][0], (uint64_t)(target + 1 + byte), i + 1);
				/* A store that changes nothing, so that the code may run once more. */
				wrong += (uint32_t)run(target - 3, (uint64_t)(target + 1 + byte), i + 1) != want;
				wrong += (uint32_t)run(target, 0, 0) != want;
			} else {
				wrong += (uint32_t)run(target - 3, (uint64_t)(target + 1 + byte), i + 1) != want;
			}
		}
	}
	EQUAL(wrong, 0);
}

/* ---- blocks that follow each other ---- */

static void test_chained(void)
{
	uint32_t wrong = 0;

	clear();
	/* test edi, edi; jz +1; nop; jmp code[1]; there: jmp back to code[0][64]: the answer */
	PUT(&code[0][0], 0x85, 0xff, 0x74, 0x01, 0x90, 0xe9, 0xf6, 0x0f, 0, 0);
	PUT(&code[1][0], 0xe9, 0x3b, 0xf0, 0xff, 0xff);
	put_answer(&code[0][64], 0);
	for (uint32_t i = 0; i < 3000; i++) {
		*(volatile uint32_t *)&code[0][65] = i;
		for (unsigned n = 0; n < 3; n++)
			wrong += (uint32_t)run(&code[0][0], n & 1, 0) != i;
	}
	/* The jump between them. */
	put_answer(&code[0][128], 0x55);
	PUT(&code[1][0], 0xe9, 0x7b, 0xf0, 0xff, 0xff);
	EQUAL(run(&code[0][0], 0, 0), 0x55);
	EQUAL(wrong, 0);
}

/* A loop that changes its own first instruction in every round; then one that changes another page's. */
static void test_loop(void)
{
	uint32_t sum = 0, want = 0;

	__asm__ volatile("	movl $20000, %%ecx\n"
			 "1:	addl $0x100, %0\n" /* the immediate operand is replaced */
			 "2:	jmp 3f\n"
			 "3:	leal (%%rcx, %%rcx), %%edx\n"
			 "	movl %%edx, 2b-4(%%rip)\n"
			 "	decl %%ecx\n"
			 "	jnz 1b\n"
			 "	movl $0x100, 2b-4(%%rip)\n"
			 : "+r"(sum)::"rcx", "rdx", "memory");
	want = 0x100;
	for (uint32_t i = 20000; i > 1; i--)
		want += 2 * i;
	EQUAL(sum, want);

	/* mov [rdi], esi in one page, the answer in the next: called in turn. */
	clear();
	PUT(&code[3][0], 0x89, 0x37, 0xe9, 0xf9, 0x0f, 0, 0);
	put_answer(&code[4][0], 0);
	sum = want = 0;
	for (uint32_t i = 0; i < 20000; i++) {
		sum += (uint32_t)run(&code[3][0], (uint64_t)&code[4][1], i);
		want += i;
	}
	EQUAL(sum, want);
}

/* Two pages that count in each other's immediate operands, with a jump to the other at the end of each. */
static void test_ping_pong(void)
{
	clear();
	/* A: mov eax, imm; inc dword [B's imm]; dec edi; jnz B; ret     B: the same with A's */
	for (unsigned i = 0; i < 2; i++) {
		volatile uint8_t *own = &code[i][0], *other = &code[1 - i][0];
		volatile uint8_t *at = PUT(own, 0xb8, 0, 0, 0, 0, 0xff, 0x05);
		int32_t to_operand = (int32_t)(other + 1 - (at + 4));

		at = put(at, &to_operand, 4);
		at = PUT(at, 0xff, 0xcf, 0x0f, 0x85);
		int32_t to_code = (int32_t)(other - (at + 4));

		at = put(at, &to_code, 4);
		PUT(at, 0xc3);
	}
	/* Round n (from 1) increments; the last is in B at n = 20000, whose operand A has counted up 10000 times. */
	EQUAL(run(&code[0][0], 20000, 0), 10000);
}

/* ---- string instructions over code that follows them ---- */

static void test_strings(void)
{
	uint32_t wrong = 0;

	for (unsigned page_end = 0; page_end < 2; page_end++) {
		for (unsigned i = 0; i < 50; i++) {
			volatile uint8_t *at = page_end ? &code[2][0] - 12 : &code[1][0];
			volatile uint8_t *over;

			if (!i)
				clear();
			/* mov ecx, 32; mov eax, esi; rep stosb; then 32 times clc or stc; sbb eax, eax; ret */
			over = PUT(at, 0xb9, 32, 0, 0, 0, 0x89, 0xf0, 0xf3, 0xaa);
			for (unsigned n = 0; n < 32; n++)
				over[n] = i & 1 ? 0xf9 : 0xf8;
			PUT(over + 32, 0x19, 0xc0, 0xc3);
			wrong += (uint32_t)run(at, (uint64_t)over, i & 1 ? 0xf8 : 0xf9) != (i & 1 ? 0 : 0xffffffffu);
		}
	}
	EQUAL(wrong, 0);

	/* A copied function, thousands of times over the same place; the pages' ends are copied over too. */
	clear();
	for (uint32_t i = 0; i < 5000; i++) {
		volatile uint8_t *to = &code[2][0] - i % 7;
		const volatile uint8_t *from = &code[6][0];
		uint64_t len = 6;

		put_answer(&code[6][0], i);
		__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len)::"memory");
		wrong += (uint32_t)run(&code[2][0] - i % 7, 0, 0) != i;
	}
	EQUAL(wrong, 0);
}

/* ---- the last byte of a page ---- */

static void test_last_byte(void)
{
	uint32_t wrong = 0;

	clear();
	PUT(&code[0][PAGE - 6], 0xb8, 1, 0, 0, 0, 0xc3);
	put_answer(&code[1][0], 2);
	for (unsigned i = 0; i < 1000; i++) {
		code[0][PAGE - 1] = i & 1 ? 0x90 : 0xc3; /* ret, or a nop and on into the next page */
		wrong += (uint32_t)run(&code[0][PAGE - 6], 0, 0) != 1 + (i & 1);
		if (i & 1)
			code[1][0] = 0xb8; /* nothing changes */
	}
	EQUAL(wrong, 0);
	/* The opcode alone on the first page: its operand grows from imm8 to imm32. */
	code[0][PAGE - 1] = 0xb0;
	PUT(&code[1][0], 0x11, 0xc3);
	EQUAL(run(&code[0][PAGE - 1], 0, 0) & 0xff, 0x11);
	code[0][PAGE - 1] = 0xb8;
	PUT(&code[1][0], 0x22, 0x33, 0x44, 0x55, 0xc3);
	EQUAL(run(&code[0][PAGE - 1], 0, 0), 0x55443322);
}

/* ---- mappings ---- */

static void map(unsigned page, volatile void *to, uint64_t flags)
{
	*pte_of(WINDOW + page * PAGE) = (uint64_t)to | flags;
}

static inline void serialize(void)
{
	uint32_t out[4];

	cpuid(0, 0, out);
}

static void test_alias(void)
{
	volatile uint8_t *alias = (volatile uint8_t *)(uintptr_t)WINDOW;
	uint32_t wrong = 0;

	clear();
	map(0, code[0], PTE_P | PTE_W);
	map(1, code[1], PTE_P | PTE_W);
	invlpg(WINDOW);
	invlpg(WINDOW + PAGE);
	put_answer(&code[0][100], 0);
	put_answer(&code[1][0] - 2, 0);
	for (uint32_t i = 0; i < 1000; i++) {
		*(volatile uint32_t *)(alias + 101) = i; /* written there, run here */
		*(volatile uint32_t *)(alias + PAGE - 1) = i + 1;
		serialize();
		wrong += (uint32_t)run(&code[0][100], 0, 0) != i;
		wrong += (uint32_t)run(&code[1][0] - 2, 0, 0) != i + 1;
		wrong += (uint32_t)run(alias + 100, 0, 0) != i;
		*(volatile uint32_t *)&code[0][101] = ~i; /* and the other way */
		*(volatile uint32_t *)(&code[1][0] - 1) = ~i + 1;
		serialize();
		wrong += (uint32_t)run(alias + 100, 0, 0) != ~i;
		wrong += (uint32_t)run(alias + PAGE - 2, 0, 0) != ~i + 1;
	}
	EQUAL(wrong, 0);

	/* Within one run: mov [rdi], esi; cpuid (ebx is kept in r8); mov eax, imm; ret */
	PUT(&code[0][200], 0x89, 0x37, 0x49, 0x89, 0xd8, 0x31, 0xc0, 0x0f, 0xa2, 0x4c, 0x89, 0xc3);
	put_answer(&code[0][212], 0);
	for (uint32_t i = 0; i < 100; i++) {
		uint64_t got;

		__asm__ volatile("call *%4"
				 : "=a"(got), "+D"((uint64_t){WINDOW + 213}), "+S"((uint64_t){i})
				 : "a"(0), "r"((uint64_t)&code[0][200])
				 : "rcx", "rdx", "r8", "memory");
		wrong += got != i;
	}
	EQUAL(wrong, 0);
}

static void call_window(uint64_t offset)
{
	run((void *)(uintptr_t)(WINDOW + offset), 0, 0);
}

static void test_remap(void)
{
	volatile uint8_t *crossing = (volatile uint8_t *)(uintptr_t)(WINDOW + PAGE - 3);
	uint32_t wrong = 0;

	/* First pages 0 and 1, second pages 2 and 3; mov $imm32, %eax crosses. */
	clear();
	for (unsigned i = 0; i < 2; i++) {
		PUT(&code[i][PAGE - 3], 0xb8, 0x10 + i, 0x20 + i);
		PUT(&code[2 + i][0], 0x30 + i, 0x40 + i, 0xc3);
	}
	for (unsigned i = 0; i < 2000; i++) {
		unsigned first = i >> 1 & 1, second = i & 1;

		map(0, code[first], PTE_P | PTE_W);
		map(1, code[2 + second], PTE_P | PTE_W);
		if (i & 4) {
			WRITE_CR(3, READ_CR(3));
		} else {
			invlpg(WINDOW);
			invlpg(WINDOW + PAGE);
		}
		wrong += run(crossing, 0, 0) !=
			 (0x10 + first) + ((0x20 + first) << 8) + ((0x30 + second) << 16) + ((0x40 + second) << 24);
	}
	EQUAL(wrong, 0);

	/* The second page goes: the fault is its own, the instruction's start is what is saved. */
	map(1, code[2], 0);
	invlpg(WINDOW + PAGE);
	EQUAL(fault_of(call_window, PAGE - 3), 14);
	EQUAL(caught.cr2, WINDOW + PAGE);
	EQUAL(caught.rip, WINDOW + PAGE - 3);
	map(1, code[2], PTE_P | PTE_NX);
	invlpg(WINDOW + PAGE);
	EQUAL(fault_of(call_window, PAGE - 3), 14);
	EQUAL(caught.error, 0x11);
	EQUAL(caught.cr2, WINDOW + PAGE);
	map(1, code[2], PTE_P);
	invlpg(WINDOW + PAGE);
	EQUAL(fault_of(call_window, PAGE - 3), -1);

	/* A whole page of code is exchanged under a block that was run. */
	put_answer(&code[4][0], 4);
	put_answer(&code[5][0], 5);
	for (unsigned i = 0; i < 2000; i++) {
		map(0, code[4 + (i & 1)], PTE_P);
		invlpg(WINDOW);
		wrong += run((void *)(uintptr_t)WINDOW, 0, 0) != 4 + (i & 1);
	}
	EQUAL(wrong, 0);
}

/* ---- code that becomes no instruction, and comes back ---- */

static void call_code(uint64_t offset)
{
	run(&code[0][offset], 0, 0);
}

static void test_undefined(void)
{
	clear();
	for (unsigned i = 0; i < 20; i++) {
		put_answer(&code[0][32], i);
		EQUAL(fault_of(call_code, 32), -1);
		PUT(&code[0][32], 0x0f, 0x0b); /* ud2 */
		EQUAL(fault_of(call_code, 32), 6);
		EQUAL(caught.rip, &code[0][32]);
	}
}

/* ---- data beside code ---- */

extern char vector_stubs[];

static void test_data_beside(void)
{
	volatile uint32_t *counter = (volatile uint32_t *)&code[0][2048];
	uint64_t got;

	clear();
	/* inc dword [rdi]; mov eax, [rdi]; dec esi; jnz; ret: the counter is in the code's page */
	PUT(&code[0][0], 0xff, 0x07, 0x8b, 0x07, 0xff, 0xce, 0x75, 0xf8, 0xc3);
	*counter = 0;
	EQUAL(run(&code[0][0], (uint64_t)counter, 50000), 50000);
	EQUAL(*counter, 50000);

	/* push rdi; call +0; pop rax; pop rax; dec rsi; jnz; ret: its stack is the end of its own page */
	PUT(&code[1][0], 0x57, 0xe8, 0, 0, 0, 0, 0x58, 0x58, 0x48, 0xff, 0xce, 0x75, 0xf3, 0xc3);
	__asm__ volatile("xchgq %%rsp, %%rbx; call *%%rdx; xchgq %%rsp, %%rbx"
			 : "=a"(got)
			 : "b"(&code[2][0]), "d"(&code[1][0]), "D"(0x1234ull), "S"(20000ull)
			 : "memory");
	EQUAL(got, 0x1234);

	/* An exception's frame is pushed there, onto the code that ran last. */
	put_answer(&code[3][PAGE - 16], 9);
	EQUAL(run(&code[3][PAGE - 16], 0, 0), 9);
	set_stack(2, (uint64_t)&code[4][0]);
	set_gate(6, (void (*)(void))(vector_stubs + 16 * 6), 0x8e, 2);
	PUT(&code[0][32], 0x0f, 0x0b);
	EQUAL(fault_of(call_code, 32), 6);
	set_gate(6, (void (*)(void))(vector_stubs + 16 * 6), 0x8e, 0);
	put_answer(&code[3][PAGE - 16], 10);
	EQUAL(run(&code[3][PAGE - 16], 0, 0), 10);
}

void guest_main(void)
{
	test_stores();
	test_halves();
	test_chained();
	test_loop();
	test_ping_pong();
	test_strings();
	test_last_byte();
	test_alias();
	test_remap();
	test_undefined();
	test_data_beside();
}
