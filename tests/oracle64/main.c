/* Each A64 instruction that a user program has, by random operands, on ruse's interpreter and under qemu-aarch64: registers, flags, memory, and
 * what it ends by must be the same. differences.c says where they may differ, and why.
 *
 * usage: oracle64 [--cases N] [--seed N] [--form NAME] [--dbt] -- EMULATOR... SUBJECT
 *
 *     oracle64 --form fmadd --cases 10000 -- qemu-aarch64-static -cpu max,pauth=off subject
 */
#include "arch/aarch64/decode.h"
#include "tests/oracle64/case.h"
#include "tests/oracle64/differences.h"
#include "tests/oracle64/generate.h"
#include "tests/oracle64/interpret.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the subject ---- */

struct subject {
	pid_t pid;
	int to, from;
	struct batch *batch;
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void subject_start(struct subject *s, char **argv, int argc)
{
	char path[64], *child[16];
	int to[2], from[2], fd = memfd_create("oracle64", 0);

	if (fd < 0 || ftruncate(fd, sizeof(*s->batch)) < 0 || pipe(to) < 0 || pipe(from) < 0)
		fail("oracle64");
	s->batch = mmap(NULL, sizeof(*s->batch), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s->batch == MAP_FAILED || argc > 14)
		fail("oracle64");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	memcpy(child, argv, sizeof(argv[0]) * (size_t)argc);
	child[argc] = path;
	child[argc + 1] = NULL;
	s->pid = fork();
	if (s->pid < 0)
		fail("fork");
	if (!s->pid) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		close(to[1]);
		close(from[0]);
		execvp(child[0], child);
		perror(child[0]);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	s->to = to[1];
	s->from = from[0];
}

static void subject_run(struct subject *s)
{
	char byte = 0;

	if (write(s->to, &byte, 1) != 1 || read(s->from, &byte, 1) != 1) {
		fprintf(stderr, "the subject ended: is qemu-user-static installed?\n");
		exit(1);
	}
}

/* ---- cases ---- */

struct run {
	struct a64_generator generator;
	struct interpreted *interpreted;
	struct subject subject;
	const char *form;
	unsigned long cases;
	unsigned *done; /* a form: how many cases have been compared */
};

static bool is_wanted(const struct run *run, uint32_t word)
{
	const enum a64_op op = a64_decode(word);

	return op != A64_UNALLOCATED && !oracle_excludes(word, op) && (!run->form || !strcmp(run->form, a64_op_name(op)));
}

/* A literal's address is made to be in the data. */
static uint32_t with_literal(struct run *run, uint32_t word)
{
	const uint64_t to = DATA_ADDRESS + WINDOW_OFFSET + a64_generate_below(&run->generator, WINDOW_SIZE - 16);

	if ((word & 0x3b000000) != 0x18000000)
		return word;
	return (word & 0xff00001f) | (uint32_t)((to - CODE_ADDRESS) / 4 & 0x7ffff) << 5;
}

static void make_case(struct run *run, struct oracle_case *one, uint32_t word)
{
	struct a64_state s = {.pc = 0};

	a64_generate_registers(&run->generator, &s, &one->before.sp);
	s.x[29] = CODE_ADDRESS + 8;
	memcpy(one->before.x, s.x, sizeof(s.x));
	memcpy(one->before.v, s.v, sizeof(s.v));
	one->before.nzcv = s.pstate & A64_PSTATE_NZCV;
	one->before.fpcr = s.fpcr;
	one->before.fpsr = s.fpsr;
	one->word = with_literal(run, word);
	for (unsigned i = 0; i < WINDOW_SIZE / 8; i++)
		one->window[i] = random_next(&run->generator.rng);
}

/* ---- comparison ---- */

static void tell(const char *what, unsigned n, uint64_t before, uint64_t ours, uint64_t theirs)
{
	if (ours != theirs)
		printf("  %s%u: before %016llx ruse %016llx qemu %016llx\n", what, n, (unsigned long long)before, (unsigned long long)ours,
		       (unsigned long long)theirs);
}

static void report(const struct oracle_case *ours, const struct oracle_case *theirs, const uint64_t *window)
{
	const struct registers *before = &ours->before, *a = &ours->after, *b = &theirs->after;

	printf("%08x %s differs: FPCR %llx FPSR %llx NZCV %llx\n", ours->word, a64_op_name(a64_decode(ours->word)), (unsigned long long)before->fpcr,
	       (unsigned long long)before->fpsr, (unsigned long long)before->nzcv >> 28);
	tell("signal", 0, 0, ours->signal, theirs->signal);
	tell("taken", 0, 0, ours->taken, theirs->taken);
	if (ours->signal || theirs->signal)
		return;
	for (unsigned i = 0; i < 31; i++)
		tell("x", i, before->x[i], a->x[i], b->x[i]);
	tell("sp", 0, before->sp, a->sp, b->sp);
	tell("nzcv", 0, before->nzcv, a->nzcv, b->nzcv);
	tell("fpcr", 0, before->fpcr, a->fpcr, b->fpcr);
	tell("fpsr", 0, before->fpsr, a->fpsr, b->fpsr);
	for (unsigned i = 0; i < 32; i++) {
		tell("low v", i, before->v[i][0], a->v[i][0], b->v[i][0]);
		tell("high v", i, before->v[i][1], a->v[i][1], b->v[i][1]);
	}
	for (unsigned i = 0; i < WINDOW_SIZE / 8; i++)
		tell("window+8*", i, window[i], ours->window[i], theirs->window[i]);
	tell("data", 0, 0, ours->data_sum, theirs->data_sum);
	const unsigned n = ours->word >> 5 & 31, m = ours->word >> 16 & 31, d = ours->word & 31;
	printf("  operands: n %016llx %016llx m %016llx %016llx d %016llx %016llx\n", (unsigned long long)before->v[n][0],
	       (unsigned long long)before->v[n][1], (unsigned long long)before->v[m][0], (unsigned long long)before->v[m][1],
	       (unsigned long long)before->v[d][0], (unsigned long long)before->v[d][1]);
}

static bool is_same(const struct oracle_case *ours, const struct oracle_case *theirs)
{
	if (ours->signal || theirs->signal)
		return ours->signal == theirs->signal && ours->data_sum == theirs->data_sum;
	return ours->taken == theirs->taken && ours->data_sum == theirs->data_sum && !memcmp(&ours->after, &theirs->after, sizeof(ours->after));
}

/* How many differ in a way that is not known. */
static unsigned run_batch(struct run *run)
{
	static struct batch before;
	struct batch *batch = run->subject.batch;
	unsigned differ = 0;

	before = *batch;
	subject_run(&run->subject);
	for (uint32_t i = 0; i < batch->count; i++) {
		struct oracle_case ours = before.cases[i];

		interpreted_run(run->interpreted, &ours);
		if (!is_same(&ours, &batch->cases[i]) && !oracle_difference(&ours, &batch->cases[i]) && differ++ < 5)
			report(&ours, &batch->cases[i], before.cases[i].window);
	}
	batch->count = 0;
	return differ;
}

/* Every form in turn. */
static unsigned run_all(struct run *run)
{
	const unsigned forms = a64_generate_form_count();
	struct batch *batch = run->subject.batch;
	unsigned differ = 0;

	for (unsigned form = 0; form < forms && differ < 20; form++) {
		/* Some forms are mostly something else, which their words are excluded for. */
		for (unsigned long left = run->cases, tries = 20 * run->cases; left && tries; tries--) {
			const uint32_t word = a64_generate_word(&run->generator, form);

			if (!is_wanted(run, word))
				continue;
			make_case(run, &batch->cases[batch->count++], word);
			run->done[a64_decode(word)]++;
			left--;
			if (batch->count == BATCH_CASES)
				differ += run_batch(run);
		}
	}
	return differ + run_batch(run);
}

/* Is there a form that nothing was tried of? */
static bool all_were_tried(const struct run *run)
{
	bool all = true;

	for (unsigned op = A64_UNALLOCATED + 1; op < A64_OP_COUNT && !run->form; op++) {
		if (!run->done[op] && !oracle_excludes(0, op)) {
			printf("%s was not tried\n", a64_op_name(op));
			all = false;
		}
	}
	return all;
}

int main(int argc, char **argv)
{
	struct run run = {
		.generator = {.branch_words = 1, .data = DATA_ADDRESS + WINDOW_OFFSET, .data_size = WINDOW_SIZE, .index_size = 0x200},
		.cases = 20,
	};
	unsigned long seed = 1, total = 0;
	int i, translated = 0;

	for (i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		if (!strcmp(argv[i], "--dbt"))
			translated = 1;
		else if (i + 1 < argc && !strcmp(argv[i], "--cases"))
			run.cases = strtoul(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--seed"))
			seed = strtoul(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--form"))
			run.form = argv[++i];
	}
	if (i >= argc - 1) {
		fprintf(stderr, "oracle64: what executes the subject is missing: -- qemu-aarch64-static -cpu max,pauth=off SUBJECT\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	run.generator.rng = (struct random){seed};
	run.done = calloc(A64_OP_COUNT, sizeof(run.done[0]));
	run.interpreted = interpreted_create(translated);
	subject_start(&run.subject, argv + i + 1, argc - i - 1);

	const unsigned differ = run_all(&run);
	const bool complete = all_were_tried(&run);

	for (unsigned op = 0; op < A64_OP_COUNT; op++)
		total += run.done[op];
	printf("%lu cases of seed %lu, %u differ\n", total, seed, differ);
	close(run.subject.to);
	waitpid(run.subject.pid, NULL, 0);
	return differ || !complete;
}
