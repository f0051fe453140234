/* Retpolines: `call 1f; (capture loop); 1: mov [rsp], reg; ret`, and calls that are never returned to. What they do and leave behind
 * is what their instructions do one after another, whatever the stack is and whoever changes them.
 */
#include "guest.h"

const char guest_name[] = "thunks";

#define PAGE 4096u
#define FILL 0x5a5a5a5a5a5a5a5aull

extern char vector_stubs[];

static volatile uint8_t code[2][PAGE] __attribute__((aligned(4096)));
static volatile uint64_t stack[2][PAGE / 8] __attribute__((aligned(4096)));

/* What the target of a thunk found: registers, flags, stack pointer, and what lies below it. */
struct seen {
	uint64_t regs[16], flags, below[2];
};
struct seen seen;
uint64_t values[16], entry, saved_rsp;
void thunk_target(void), thunk_run(void), thunk_other(void);
__asm__(".pushsection .text\n"
	/* All registers of `values`, then to the entry. */
	"thunk_run:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rsp, saved_rsp(%rip)\n"
	"	mov values+8*0(%rip), %rax; mov values+8*1(%rip), %rcx; mov values+8*2(%rip), %rdx; mov values+8*3(%rip), %rbx\n"
	"	mov values+8*4(%rip), %rsp; mov values+8*5(%rip), %rbp; mov values+8*6(%rip), %rsi; mov values+8*7(%rip), %rdi\n"
	"	mov values+8*8(%rip), %r8; mov values+8*9(%rip), %r9; mov values+8*10(%rip), %r10; mov values+8*11(%rip), %r11\n"
	"	mov values+8*12(%rip), %r12; mov values+8*13(%rip), %r13; mov values+8*14(%rip), %r14; mov values+8*15(%rip), %r15\n"
	"	stc\n"
	"	jmp *entry(%rip)\n"
	"thunk_other:\n"
	"	nop\n"
	"thunk_target:\n"
	"	mov %rax, seen+8*0(%rip); mov %rcx, seen+8*1(%rip); mov %rdx, seen+8*2(%rip); mov %rbx, seen+8*3(%rip)\n"
	"	mov %rsp, seen+8*4(%rip); mov %rbp, seen+8*5(%rip); mov %rsi, seen+8*6(%rip); mov %rdi, seen+8*7(%rip)\n"
	"	mov %r8, seen+8*8(%rip); mov %r9, seen+8*9(%rip); mov %r10, seen+8*10(%rip); mov %r11, seen+8*11(%rip)\n"
	"	mov %r12, seen+8*12(%rip); mov %r13, seen+8*13(%rip); mov %r14, seen+8*14(%rip); mov %r15, seen+8*15(%rip)\n"
	"	mov -8(%rsp), %rax; mov %rax, seen+8*17(%rip)\n"
	"	mov -16(%rsp), %rax; mov %rax, seen+8*18(%rip)\n"
	"	mov saved_rsp(%rip), %rsp\n"
	"	pushf; pop seen+8*16(%rip)\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n"
	".popsection\n");

static volatile uint8_t *put(volatile uint8_t *at, const void *bytes, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		at[i] = ((const uint8_t *)bytes)[i];
	return at + len;
}
#define PUT(at, ...) put(at, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

enum capture { PAUSE_LFENCE, INT3, NOTHING, ALIGNED, CAPTURES };

static volatile uint8_t *put_thunk(volatile uint8_t *at, unsigned reg, enum capture capture)
{
	switch (capture) {
	case PAUSE_LFENCE:
		at = PUT(at, 0xe8, 7, 0, 0, 0, 0xf3, 0x90, 0x0f, 0xae, 0xe8, 0xeb, 0xf9);
		break;
	case INT3:
		at = PUT(at, 0xe8, 1, 0, 0, 0, 0xcc);
		break;
	case NOTHING:
		at = PUT(at, 0xe8, 0, 0, 0, 0);
		break;
	default:
		at = PUT(at, 0xe8, 11, 0, 0, 0, 0xf3, 0x90, 0x0f, 0xae, 0xe8, 0xeb, 0xf9, 0x0f, 0x1f, 0x40, 0);
		break;
	}
	return PUT(at, reg < 8 ? 0x48 : 0x4c, 0x89, 0x04 | (reg & 7) << 3, 0x24, 0xc3, 0xcc);
}

static void prepare(volatile uint64_t *top, unsigned reg, void (*target)(void))
{
	for (unsigned i = 0; i < 16; i++)
		values[i] = 0x0101010101010101ull * (i + 1);
	values[4] = (uint64_t)top;
	values[reg] = (uint64_t)target;
	for (unsigned i = 0; i < 2 * PAGE / 8; i++)
		stack[i / (PAGE / 8)][i % (PAGE / 8)] = FILL;
	seen = (struct seen){0};
}

static void run(volatile const uint8_t *at)
{
	entry = (uint64_t)at;
	thunk_run();
}

static void expect_jump(unsigned reg)
{
	for (unsigned i = 0; i < 16; i++)
		EQUAL(seen.regs[i], values[i]);
	EQUAL(seen.flags & 0x8d5, 0x1 | (seen.flags & 0x8d4));
	EQUAL(seen.below[0], values[reg]);
	EQUAL(seen.below[1], FILL);
}

static void test_registers(void)
{
	for (unsigned reg = 0; reg < 16; reg++) {
		if (reg == 4)
			continue;
		for (unsigned capture = 0; capture < CAPTURES; capture++) {
			put_thunk(&code[0][64], reg, capture);
			for (unsigned n = 0; n < 3; n++) {
				prepare(&stack[0][64], reg, n & 1 ? thunk_other : thunk_target);
				run(&code[0][64]);
				expect_jump(reg);
			}
		}
	}
	/* It crosses pages, at every byte. */
	for (unsigned before = 1; before < 18; before++) {
		put_thunk(&code[1][0] - before, 0, PAUSE_LFENCE);
		prepare(&stack[0][64], 0, thunk_target);
		run(&code[1][0] - before);
		expect_jump(0);
	}
	/* The push crosses pages. */
	put_thunk(&code[0][64], 3, INT3);
	for (unsigned n = 0; n < 20; n++) {
		prepare((volatile uint64_t *)((uint64_t)&stack[1][0] + 1 + n % 7), 3, thunk_target);
		run(&code[0][64]);
		expect_jump(3);
	}
}

/* A thunk that is changed: the register, the return, the call. */
static void test_changed(void)
{
	put_thunk(&code[0][64], 0, PAUSE_LFENCE);
	for (unsigned n = 0; n < 30; n++) {
		unsigned reg = n % 3;

		code[0][64 + 14] = (uint8_t)(0x04 | reg << 3);
		prepare(&stack[0][64], reg, thunk_target);
		run(&code[0][64]);
		expect_jump(reg);
	}
	/* `ret` becomes `jmp *reg` with the address left on the stack: rsp is 8 less. */
	PUT(&code[0][64 + 16], 0xff, 0xe0);
	prepare(&stack[0][64], 0, thunk_target);
	run(&code[0][64]);
	EQUAL(seen.regs[4], values[4] - 8);
	/* Another register's ModRM that is not [rsp]: mov [rsp+0], through a jump over it. */
	put_thunk(&code[0][64], 0, PAUSE_LFENCE);
	PUT(&code[0][64], 0xff, 0xe2); /* jmp *rdx */
	prepare(&stack[0][64], 2, thunk_target);
	run(&code[0][64]);
	EQUAL(seen.regs[4], values[4]);
	EQUAL(seen.below[0], FILL);
}

static uint64_t fault_rip, fault_cr2, fault_rsp, fault_below;
static volatile uint64_t *broken_pte;
static unsigned faults;

/* Makes the stack's page accessible again. */
static void mend(struct frame *frame)
{
	uint64_t cr2;

	__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
	faults++;
	fault_rip = frame->rip;
	fault_cr2 = cr2;
	fault_rsp = frame->rsp;
	*broken_pte |= PTE_P | PTE_W;
	fault_below = ((volatile uint64_t *)frame->rsp)[-1];
	invlpg(cr2);
}

/* The push faults: at the call, with nothing changed; then it is done again. */
static void test_fault(void)
{
	void *handler_stack = alloc_page();

	set_stack(1, (uint64_t)handler_stack + PAGE);
	set_gate(14, (void (*)(void))(vector_stubs + 16 * 14), 0x8e, 1);
	on_vector(14, mend);
	WRITE_CR(0, READ_CR(0) | 1u << 16); /* WP */
	put_thunk(&code[0][64], 5, PAUSE_LFENCE);
	broken_pte = pte_of((uint64_t)&stack[0][0]);
	for (unsigned n = 0; n < 6; n++) {
		prepare(&stack[0][64], 5, thunk_target);
		faults = 0;
		*broken_pte &= n & 1 ? ~PTE_W : ~PTE_P;
		invlpg((uint64_t)&stack[0][0]);
		run(&code[0][64]);
		EQUAL(faults, 1);
		EQUAL(fault_rip, &code[0][64]);
		EQUAL(fault_cr2, &stack[0][63]);
		EQUAL(fault_rsp, &stack[0][64]);
		EQUAL(fault_below, FILL);
		expect_jump(5);
	}
	on_vector(14, NULL);
	set_gate(14, (void (*)(void))(vector_stubs + 16 * 14), 0x8e, 0);
}

/* Filling the return stack: calls that nobody returns from, then a return to whom called. */
static void test_filling(void)
{
	volatile uint8_t *at = &code[0][64];

	/* mov ecx, 16; 1: call +1; int3; call +1; int3; add rsp, 16; dec ecx; jnz 1b; jmp *rax */
	at = PUT(at, 0xb9, 16, 0, 0, 0, 0xe8, 1, 0, 0, 0, 0xcc, 0xe8, 1, 0, 0, 0, 0xcc, 0x48, 0x83, 0xc4, 16, 0xff, 0xc9, 0x75, 0xec);
	PUT(at, 0xff, 0xe0);
	prepare(&stack[0][64], 0, thunk_target);
	run(&code[0][64]);
	EQUAL(seen.regs[4], values[4]);
	EQUAL(seen.below[0], &code[0][64 + 10]);
	EQUAL(seen.below[1], &code[0][64 + 16]);
	/* call +0; pop rdx: where am I? */
	at = PUT(&code[0][64], 0xe8, 0, 0, 0, 0, 0x5a);
	PUT(at, 0xff, 0xe0);
	prepare(&stack[0][64], 0, thunk_target);
	run(&code[0][64]);
	EQUAL(seen.regs[2], &code[0][64 + 5]);
	EQUAL(seen.regs[4], values[4]);
	/* Some that are returned to: call 1f; jmp *rax; int3; 1: pop rdx; push rdx; ret */
	PUT(&code[0][64], 0xe8, 3, 0, 0, 0, 0xff, 0xe0, 0xcc, 0x5a, 0x52, 0xc3);
	PUT(&code[0][128], 0xe8, 0, 0, 0, 0, 0x48, 0x83, 0x04, 0x24, 6, 0xc3, 0xff, 0xe0); /* call 1f; 1: add qword [rsp], 6; ret; jmp *rax */
	for (unsigned n = 0; n < 10; n++) {
		prepare(&stack[0][64], 0, thunk_target);
		run(&code[0][64 + 64 * (n & 1)]);
		EQUAL(seen.regs[4], values[4]);
	}
}

void guest_main(void)
{
	for (unsigned i = 0; i < sizeof(code); i++)
		code[i / PAGE][i % PAGE] = 0xcc;
	test_registers();
	test_changed();
	test_fault();
	test_filling();
}
