/* An interpreter, as those of scripting languages are made: each instruction ends in an indirect
 * branch of its own to the next (GCC's labels as values).
 *
 * Example: for (const struct test *test = bytecode_tests; test->name; test++) ...
 */
#include "suite.h"

enum op { PUSH, LOAD, STORE, ADD, MULTIPLY, HALVE, ODD, LESS, JUMP, ZERO, END };

struct instruction {
	enum op op;
	unsigned operand; /* constant, variable or target */
};

enum { N, X, STEPS, LIMIT, VARIABLES };
enum { OUTER = 2, INNER = 8, EVEN = 26, NEXT = 30, DONE = 35 };

#define STACK_SIZE 8

/* The lengths of the Collatz sequences of all numbers below LIMIT, added up. */
static const struct instruction program[] = {
    {PUSH, 1},		{STORE, N},    [OUTER] = {LOAD, N},
    {LOAD, LIMIT},	{LESS, 0},     {ZERO, DONE},
    {LOAD, N},		{STORE, X},    [INNER] = {PUSH, 1},
    {LOAD, X},		{LESS, 0},     {ZERO, NEXT},
    {LOAD, STEPS},	{PUSH, 1},     {ADD, 0},
    {STORE, STEPS},	{LOAD, X},     {ODD, 0},
    {ZERO, EVEN},	{LOAD, X},     {PUSH, 3},
    {MULTIPLY, 0},	{PUSH, 1},     {ADD, 0},
    {STORE, X},		{JUMP, INNER}, [EVEN] = {LOAD, X},
    {HALVE, 0},		{STORE, X},    {JUMP, INNER},
    [NEXT] = {LOAD, N}, {PUSH, 1},     {ADD, 0},
    {STORE, N},		{JUMP, OUTER}, [DONE] = {END, 0},
};

#define NEXT_INSTRUCTION goto *labels[(++at)->op]

static __attribute__((noinline)) uint64_t interpret(const struct instruction *code, uint64_t limit)
{
	static const void *const labels[] = {
	    [PUSH] = &&push,	     [LOAD] = &&load,	[STORE] = &&store, [ADD] = &&add,
	    [MULTIPLY] = &&multiply, [HALVE] = &&halve, [ODD] = &&odd,	   [LESS] = &&less,
	    [JUMP] = &&jump,	     [ZERO] = &&zero,	[END] = &&end,
	};
	uint64_t variables[VARIABLES] = {[LIMIT] = limit}, stack[STACK_SIZE], *top = stack;
	const struct instruction *at = code;

	goto *labels[at->op];
push:
	*top++ = at->operand;
	NEXT_INSTRUCTION;
load:
	*top++ = variables[at->operand];
	NEXT_INSTRUCTION;
store:
	variables[at->operand] = *--top;
	NEXT_INSTRUCTION;
add:
	top--;
	top[-1] += *top;
	NEXT_INSTRUCTION;
multiply:
	top--;
	top[-1] *= *top;
	NEXT_INSTRUCTION;
halve:
	top[-1] >>= 1;
	NEXT_INSTRUCTION;
odd:
	top[-1] &= 1;
	NEXT_INSTRUCTION;
less:
	top--;
	top[-1] = top[-1] < *top;
	NEXT_INSTRUCTION;
jump:
	at = code + at->operand;
	goto *labels[at->op];
zero:
	if (*--top == 0) {
		at = code + at->operand;
		goto *labels[at->op];
	}
	NEXT_INSTRUCTION;
end:
	return variables[STEPS];
}

/* One operation: some 12,000 instructions. */
static uint64_t bytecode(uint64_t count)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < count; i++)
		sum += interpret(program, 40 + (i & 1));
	return sum;
}

const struct test bytecode_tests[] = {
    {"bytecode", "a bytecode program of some 12,000 instructions", bytecode},
    {0},
};
