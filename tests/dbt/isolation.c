/* The isolation fuzz: random guest programs aimed at the boundaries of the translator's tables, run by the interpreter and
 * by the translator. Compared are every fault, the state at each and at the end, and all of guest RAM, page tables with
 * their A and D bits among it; areas of host memory around the guest's are watched for changes.
 *
 *     isolation [--programs N|endless] [--seed S] [--only 64|32] [--verbose]
 *
 * Program n of seed S is program 0 of seed S + n. Exit status 0: all agree; 1: not; 77: no translator here.
 */
#include "engine/dbt/dbt.h"
#include "engine/dbt/dbt_engine.h"
#include "engine/interp/interp.h"
#include "tests/dbt/program.h"
#include "tests/dbt/subject.h"
#include "tests/oracle/host_features.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define FAULTS_MAX 100
#define PTE_A      0x20u
#define CANARY     MIB(1)

/* ---- canaries: memory that is no guest's, mapped before, between and after what the engines map ---- */

static struct {
	uint64_t *at[8];
	unsigned count;
} canaries;

static void canary_add(void)
{
	uint64_t *at = mmap(NULL, CANARY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return;
	for (unsigned i = 0; i < CANARY / 8; i++)
		at[i] = (uintptr_t)&at[i] * 0x9e3779b97f4a7c15ull;
	canaries.at[canaries.count++] = at;
}

static bool canaries_live(void)
{
	for (unsigned n = 0; n < canaries.count; n++) {
		for (unsigned i = 0; i < CANARY / 8; i++) {
			if (canaries.at[n][i] != (uintptr_t)&canaries.at[n][i] * 0x9e3779b97f4a7c15ull) {
				printf("FAIL: host memory was written at %p\n", (void *)&canaries.at[n][i]);
				return false;
			}
		}
	}
	return true;
}

/* ---- one program ---- */

struct record {
	struct fault fault;
	uint64_t rip, rflags, gpr[16];
};

struct outcome {
	struct record records[FAULTS_MAX];
	unsigned count;
	struct x86_state state;
};

#define FLAGS_COMPARED (X86_FLAGS_STATUS | X86_FLAG_DF | X86_FLAG_AC)
#define FSW_CONDITION  0x4700u /* undefined after many instructions */

static void run(struct subject *subject, const struct program *program, struct outcome *outcome)
{
	struct cpu *cpu = subject->cpu;

	memset(outcome, 0, sizeof(*outcome));
	memcpy(subject->ram, program->ram, SUBJECT_RAM);
	subject_reset(subject, &program->state);
	while (outcome->count < FAULTS_MAX) {
		struct record *record = &outcome->records[outcome->count];

		if (subject_run(subject, program->end, &record->fault))
			break;
		subject_collect(subject);
		record->rip = cpu->s.rip;
		record->rflags = cpu->s.rflags & FLAGS_COMPARED;
		memcpy(record->gpr, cpu->s.gpr, sizeof(record->gpr));
		outcome->count++;
		cpu->s.rip = program_next(program, cpu->s.rip);
	}
	subject_collect(subject);
	outcome->state = cpu->s;
	outcome->state.rflags &= FLAGS_COMPARED;
	outcome->state.fpu.fsw &= (uint16_t)~FSW_CONDITION;
	outcome->state.fpu.fip = outcome->state.fpu.fdp = outcome->state.fpu.fop = 0;
	outcome->state.fpu.fcs = outcome->state.fpu.fds = 0;
}

/* Half of the instructions in the forms that they would get by faulting often. */
static void choose_forms(struct dbt *d, const struct program *program, struct random *random)
{
	d->absent_count = 0;
	for (unsigned i = 0; i < program->count; i++) {
		gpa_t gpa = PROGRAM_CODE_GPA + program->insn[i] - program->code_gva;
		enum dbt_site kind = random_below(random, 2 * SITE_STEP);

		dbt_site_set(d, gpa, kind < SITE_STEP && kind != SITE_ABSENT ? kind : SITE_PLAIN);
		while (kind == SITE_ABSENT && !dbt_site_count(d, gpa, SITE_ABSENT)) {
		}
	}
}

static void print_record(const char *name, const struct record *r)
{
	printf("    %s: vector %u error %x cr2 %lx rip %lx flags %lx", name, r->fault.vector, r->fault.error,
	       (unsigned long)r->fault.cr2, (unsigned long)r->rip, (unsigned long)r->rflags);
	for (unsigned i = 0; i < 16; i++)
		printf("%s%lx", i ? " " : "\n      ", (unsigned long)r->gpr[i]);
	printf("\n");
}

static unsigned differ(const char *what, unsigned index, const void *a, const void *b, size_t size)
{
	if (!memcmp(a, b, size))
		return 0;
	printf("    %s %u: interp", what, index);
	for (size_t i = size; i-- > 0;)
		printf("%s%02x", i + 1 == size ? " " : "", ((const uint8_t *)a)[i]);
	printf(" dbt");
	for (size_t i = size; i-- > 0;)
		printf("%s%02x", i + 1 == size ? " " : "", ((const uint8_t *)b)[i]);
	printf("\n");
	return 1;
}

static unsigned compare_states(const struct x86_state *a, const struct x86_state *b)
{
	unsigned count = differ("rip", 0, &a->rip, &b->rip, 8) + differ("rflags", 0, &a->rflags, &b->rflags, 8);

	for (unsigned i = 0; i < 16; i++) {
		count += differ("gpr", i, &a->gpr[i], &b->gpr[i], 8);
		count += differ("ymm", i, &a->fpu.ymm[i], &b->fpu.ymm[i], 32);
	}
	for (unsigned i = 0; i < 8; i++) {
		count += differ("x87", i, &a->fpu.r[i].mantissa, &b->fpu.r[i].mantissa, 8);
		count += differ("x87 exponent", i, &a->fpu.r[i].exponent, &b->fpu.r[i].exponent, 2);
	}
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		count += differ("segment base", i, &a->seg[i].base, &b->seg[i].base, 8);
	return count + differ("fcw", 0, &a->fpu.fcw, &b->fpu.fcw, 2) + differ("fsw", 0, &a->fpu.fsw, &b->fpu.fsw, 2) +
	       differ("ftw", 0, &a->fpu.ftw, &b->fpu.ftw, 1) + differ("mxcsr", 0, &a->fpu.mxcsr, &b->fpu.mxcsr, 4) +
	       differ("cr2", 0, &a->cr2, &b->cr2, 8);
}

/* Prints the differences and returns how many. */
static unsigned compare(const struct subject *interp, const struct outcome *a, const struct subject *dbt,
			const struct outcome *b)
{
	unsigned count = 0;

	for (unsigned i = 0; i < a->count || i < b->count; i++) {
		if (!memcmp(&a->records[i], &b->records[i], sizeof(a->records[i])))
			continue;
		printf("  fault %u\n", i);
		print_record("interp", &a->records[i]);
		print_record("dbt   ", &b->records[i]);
		count++;
		break;
	}
	count += compare_states(&a->state, &b->state);
	/* An access that goes on to fault for another reason may have set A: a processor may do so too. D is exact. */
	for (unsigned i = 0; i < PROGRAM_TABLES; i += 8) {
		interp->ram[i] |= PTE_A;
		dbt->ram[i] |= PTE_A;
	}
	if (!memcmp(interp->ram, dbt->ram, SUBJECT_RAM))
		return count;
	for (unsigned i = 0, shown = 0; i < SUBJECT_RAM && shown < 8; i += 8)
		shown += differ("ram", i, interp->ram + i, dbt->ram + i, 8);
	return count + 1;
}

/* ---- the program ---- */

static uint32_t *usable_forms(const struct forms *forms, const struct subject *subject, unsigned *count)
{
	uint32_t *usable = calloc(forms->count, sizeof(*usable));

	*count = 0;
	for (unsigned i = 0; usable && i < forms->count; i++) {
		const struct form *form = &forms->form[i];

		if (program_usable(form) && subject->cpuid.features[form->feature] && host_has_feature(form->feature) &&
		    subject->cpu->shared->functions[form->key.op])
			usable[(*count)++] = i;
	}
	return usable;
}

struct options {
	unsigned long programs, seed, only;
	bool endless, verbose;
};

static bool run_programs(const struct options *options, enum x86_mode mode, struct subject *interp, struct subject *dbt)
{
	static struct program program;
	static struct outcome expected, got;
	unsigned usable_count;
	struct forms forms;
	uint32_t *usable;
	unsigned long n, faults = 0;
	bool good = true;

	forms_enumerate(&forms, mode);
	usable = usable_forms(&forms, interp, &usable_count);
	for (n = 0; good && usable_count && (options->endless || n < options->programs); n++) {
		struct random random = {(options->seed + n) * 0x2545f4914f6cdd1dull + 1};

		program_make(&program, &forms, usable, usable_count, &random);
		if (options->verbose)
			program_print(&program);
		run(interp, &program, &expected);
		choose_forms(dbt_of(dbt->cpu), &program, &random);
		run(dbt, &program, &got);
		faults += expected.count;
		good = compare(interp, &expected, dbt, &got) == 0;
		if (!good) {
			printf("FAIL: the program of seed %lu\n", options->seed + n);
			program_print(&program);
		}
		if (n % 512 == 0)
			good &= canaries_live();
	}
	good &= canaries_live();
	printf("%s: %lu programs of %u forms, %lu faults: %s\n", mode == X86_MODE_64 ? "64-bit code" : "32-bit code", n, usable_count, faults, good ? "all agree" : "they differ");
	free(usable);
	forms_free(&forms);
	return good;
}

static int parse(struct options *options, int argc, char **argv)
{
	static const struct option table[] = {
		{"programs", required_argument, NULL, 'p'},
		{"seed", required_argument, NULL, 's'},
		{"only", required_argument, NULL, 'o'},
		{"verbose", no_argument, NULL, 'v'},
		{0},
	};
	int choice;

	while ((choice = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (choice) {
		case 'p':
			options->endless = !strcmp(optarg, "endless");
			options->programs = strtoul(optarg, NULL, 0);
			break;
		case 's':
			options->seed = strtoul(optarg, NULL, 0);
			break;
		case 'o':
			options->only = strtoul(optarg, NULL, 0);
			break;
		case 'v':
			options->verbose = true;
			break;
		default:
			return 2;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options options = {.programs = 15000, .seed = 1};
	static struct subject interp, dbt;
	bool good;

	if (parse(&options, argc, argv))
		return 2;
	canary_add();
	canary_add();
	if (!subject_create(&interp, &interp_engine))
		return 1;
	canary_add();
	if (!subject_create(&dbt, &dbt_engine))
		return 77;
	canary_add();
	good = options.only == 32 || run_programs(&options, X86_MODE_64, &interp, &dbt);
	good = good && (options.only == 64 || run_programs(&options, X86_MODE_32, &interp, &dbt));
	subject_destroy(&dbt);
	subject_destroy(&interp);
	return !good;
}
