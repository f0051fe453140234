/* The native oracle: every user-mode instruction form, executed by the host's processor and by the
 * interpreter (or the translator) on the same random state; registers, defined flags, memory,
 * x87/SSE/AVX state and faults are compared.
 *
 *     oracle [--dbt] [--cases N] [--seed S] [--form TEXT] [--strict] [--generic] [--list] [--only 64|32]
 *            [--verbose] [--tick MICROSECONDS]
 *
 * --dbt compares the translator with the processor, the instruction in the middle of a block;
 * --form TEXT takes only forms whose name contains TEXT; --strict compares the flags that the
 * manuals leave undefined as well (they differ between makers); --generic bypasses the fast paths;
 * --list prints the forms, and why one is left out; --tick sets how often the watchdog's signal
 * interrupts the native side. Exit status 0: all agree, up to a few cases whose native result isn't
 * reproducible; 1: not; 77: this host can't tell.
 */
#include "tests/oracle/compare.h"
#include "tests/oracle/excluded.h"
#include "tests/oracle/generate.h"
#include "tests/oracle/guest.h"
#include "tests/oracle/host_features.h"
#include "tests/oracle/native.h"
#include "tests/oracle/translated.h"
#include "arch/x86_64/state.h"
#include "engine/interp/interp.h"
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <unistd.h>

struct options {
	unsigned long cases, seed;
	const char *form;
	bool dbt, strict, generic, list, verbose;
	unsigned only; /* 64, 32, or 0: both */
	unsigned tick; /* microseconds */
};

/* A case that differs is run natively so many times more. When the processor contradicts itself,
 * that is no statement about the interpreter, but a few such cases are all that's borne. */
#define NATIVE_REPEATS	 16
#define UNSTABLE_ALLOWED 3

struct oracle {
	struct options options;
	enum x86_mode mode;
	struct guest *guest;
	struct guest *translated; /* with --dbt: whose results stand for the guest's */
	struct placed placed;
	struct random around; /* what is placed around a case's instruction */
	struct data data;
	uint64_t fs_base;
	unsigned long cases_run, cases_unstable, forms_run, forms_failed, forms_skipped;
};

static const char *subject(const struct oracle *oracle)
{
	return oracle->translated ? "dbt   " : "interp";
}

/* ---- one case ---- */

static uint64_t compared_flags(const struct oracle *oracle, const struct x86_insn *insn)
{
	uint64_t flags = X86_FLAGS_STATUS | X86_FLAG_DF | X86_FLAG_NT | X86_FLAG_AC | X86_FLAG_ID;

	return oracle->options.strict ? flags : flags & ~(uint64_t)x86_op_flags(insn->op).undefined;
}

static void print_case(const struct oracle *oracle, const struct test_case *test, unsigned long number, bool registers)
{
	printf("  case %lu:", number);
	for (unsigned i = 0; i < test->instance.insn.length; i++)
		printf(" %02x", test->instance.bytes[i]);
	printf("  at %lx rflags %lx mxcsr %x fcw %x fsw %x\n", (unsigned long)test->in.rip,
	       (unsigned long)test->in.rflags, test->in.x.mxcsr, test->in.x.fcw, test->in.x.fsw);
	if (oracle->translated) {
		printf("    in the block");
		for (unsigned i = 0; i < oracle->placed.length; i++)
			printf(" %02x", oracle->placed.bytes[i]);
		printf("  from %lx\n", (unsigned long)oracle->placed.first);
	}
	if (!registers)
		return;
	printf("    ftw %02x", test->in.x.ftw);
	for (unsigned i = 0; i < 8; i++)
		printf(" %02x%02x:%016lx", test->in.x.st[i][9], test->in.x.st[i][8],
		       *(const unsigned long *)test->in.x.st[i]);
	printf("\n");
	for (unsigned i = 0; i < 16; i++)
		printf("%s%016lx%s", i % 8 ? " " : "    gpr ", (unsigned long)test->in.gpr[i],
		       i % 8 == 7 ? "\n" : "");
}

/* A target of a branch that can't be caught is one where the next fetch faults. */
static void expect_fetch_fault(const struct oracle *oracle, struct result *guest)
{
	bool present = data_offset(&oracle->data, guest->machine.rip) >= 0;
	bool canonical =
	    (uint64_t)((int64_t)(guest->machine.rip << 16) >> 16) == guest->machine.rip;

	guest->outcome = (struct outcome){
	    .fault = true,
	    .vector = canonical ? X86_EXC_PF : X86_EXC_GP,
	    .error = canonical ? 0x14 | present : 0,
	    .cr2 = canonical ? guest->machine.rip : 0,
	};
}

static bool in_code(const struct oracle *oracle, uint64_t address)
{
	return address - oracle->data.code_base < CODE_SIZE;
}

/* FXSAVE and XSAVE store which MXCSR bits the processor has: AMD has one more (misaligned
 * operands). */
static void equalise_mxcsr_mask(struct oracle *oracle, const struct test_case *test)
{
	int64_t offset = data_offset(&oracle->data, operand_address(test)) + 28;

	switch (test->instance.insn.op) {
	case X86_FXSAVE:
	case X86_XSAVE:
	case X86_XSAVEC:
	case X86_XSAVEOPT:
		if (offset >= 28 && offset + 4 <= (int64_t)DATA_SIZE)
			memcpy(oracle->data.native + offset, oracle->data.guest + offset, 4);
	}
}

/* Both sides' results of one case; the data that the guest's left is in oracle->data.guest. */
struct results {
	struct result native, guest;
	uint8_t native_data[DATA_SIZE];
	/* How the native processor contradicted itself. */
	struct result again;
	uint8_t again_data[DATA_SIZE];
};

static void run_native(struct oracle *oracle, const struct test_case *test, struct result *result)
{
	native_run(&test->in, &result->machine, &result->outcome);
	equalise_mxcsr_mask(oracle, test);
}

/* The translator's result instead of the interpreter's. */
static void run_translated(struct oracle *oracle, struct result *result)
{
	translated_run(oracle->translated, &oracle->placed, &result->machine, &result->outcome);
	memcpy(oracle->data.guest, guest_data(oracle->translated), DATA_SIZE);
}

/* False: the case can't be run. */
static bool run_case(struct oracle *oracle, const struct test_case *test, struct results *results)
{
	const struct x86_insn *insn = &test->instance.insn;
	enum guest_way way = oracle->options.generic ? GUEST_GENERIC : GUEST_FAST;
	struct result *guest = &results->guest;
	bool caught;

	if (alignment_differs(insn) && operand_address(test) & 15)
		return false;
	if (oracle->translated) {
		memcpy(guest_data(oracle->translated), oracle->data.guest, DATA_SIZE);
		translated_place(&oracle->placed, oracle->translated, &oracle->around, test, &oracle->data);
	}
	guest_place(oracle->guest, test->instance.bytes, insn->length, test->code_offset);
	guest_run(oracle->guest, way, &test->in, &guest->machine, &guest->outcome);
	/* The interpreter has told where a branch leads. */
	if (oracle->translated && !guest->outcome.fault && !translated_usable(&oracle->placed, guest->machine.rip))
		return false;
	caught =
	    native_place(test->instance.bytes, insn->length, test->code_offset, guest->machine.rip);
	if (!guest->outcome.fault && !caught) {
		if (in_code(oracle, guest->machine.rip)) {
			/* A branch into itself or to the last bytes: run on, unseen. Both memories
			 * are put right by the caller. */
			return false;
		}
		expect_fetch_fault(oracle, guest);
	}
	if (oracle->translated)
		run_translated(oracle, guest);
	run_native(oracle, test, &results->native);
	return !oracle->translated || !branch_faults_late(insn, guest->machine.rip, &results->native.outcome, &guest->outcome);
}

static unsigned compare(const struct oracle *oracle, const struct test_case *test,
			const struct result *native, const uint8_t *native_data,
			const struct result *other, const uint8_t *other_data, const char *name,
			FILE *out)
{
	const struct x86_insn *insn = &test->instance.insn;

	return compare_results(insn, &test->in, native, other, compared_flags(oracle, insn), name,
			       out) +
	       compare_data(native_data, other_data, name, out);
}

/* After a difference: whether the native processor gives its result again, and never the guest's.
 * If not, results->again is the other one. */
static bool native_reproduces(struct oracle *oracle, const struct test_case *test,
			      struct results *results, const uint8_t *before)
{
	memcpy(results->native_data, oracle->data.native, DATA_SIZE);
	for (unsigned i = 0; i < NATIVE_REPEATS; i++) {
		memcpy(oracle->data.native, before, DATA_SIZE);
		run_native(oracle, test, &results->again);
		memcpy(results->again_data, oracle->data.native, DATA_SIZE);
		if (compare(oracle, test, &results->native, results->native_data, &results->again,
			    results->again_data, "again ", NULL) ||
		    !compare(oracle, test, &results->again, results->again_data, &results->guest,
			     oracle->data.guest, subject(oracle), NULL))
			return false;
	}
	return true;
}

static void print_difference(const struct oracle *oracle, const struct test_case *test,
			     const struct results *results, bool reproduced)
{
	(void)compare(oracle, test, &results->native, results->native_data, &results->guest,
		      oracle->data.guest, subject(oracle), stdout);
	if (reproduced)
		return;
	printf("    native result not reproducible; the same case again:\n");
	(void)compare(oracle, test, &results->native, results->native_data, &results->again,
		      results->again_data, "again ", stdout);
}

/* ---- one form ---- */

static void restore_data(struct oracle *oracle, const uint8_t *bytes)
{
	memcpy(oracle->data.native, bytes, DATA_SIZE);
	memcpy(oracle->data.guest, bytes, DATA_SIZE);
}

static unsigned long form_seed(const struct oracle *oracle, const char *name)
{
	unsigned long hash = oracle->options.seed;

	while (*name)
		hash = (hash ^ (unsigned char)*name++) * 0x100000001b3ul;
	return hash;
}

static void run_form(struct oracle *oracle, const struct form *form, const char *name)
{
	struct random random = {form_seed(oracle, name)};
	struct test_case test;
	static uint8_t before[DATA_SIZE];
	static struct results results;
	unsigned long failed = 0, unstable = 0, shown = oracle->options.verbose ? 10 : 1;

	oracle->around = (struct random){form_seed(oracle, name) + 1};
	memset(&test, 0, sizeof(test));
	test.in.fs_base = oracle->fs_base;
	for (unsigned long i = 0; i < oracle->options.cases; i++) {
		bool reproduced;

		if (i % 64 == 0)
			generate_data(&random, &oracle->data);
		generate_case(form, &random, &oracle->data, &test);
		memcpy(before, oracle->data.native, DATA_SIZE);
		oracle->cases_run++;
		if (!run_case(oracle, &test, &results)) {
			restore_data(oracle, before);
			continue;
		}
		if (compare(oracle, &test, &results.native, oracle->data.native, &results.guest,
			    oracle->data.guest, subject(oracle), NULL) == 0)
			continue;
		reproduced = native_reproduces(oracle, &test, &results, before);
		if (++*(reproduced ? &failed : &unstable) <= shown) {
			printf("%s %s\n", reproduced ? "FAIL" : "UNSTABLE", name);
			print_case(oracle, &test, i, oracle->options.verbose);
			print_difference(oracle, &test, &results, reproduced);
		}
		restore_data(oracle, before);
	}
	oracle->forms_run++;
	oracle->cases_unstable += unstable;
	if (failed) {
		oracle->forms_failed++;
		printf("  %lu of %lu cases of %s differ\n", failed, oracle->options.cases, name);
	}
	if (unstable)
		printf("  %lu of %lu cases of %s not reproducible natively\n", unstable,
		       oracle->options.cases, name);
}

static bool touches_selectors(const struct form *form)
{
	return form->key.op == X86_POP && form->key.operand[0].kind == X86_OPND_SEG;
}

/* Why a form is not run, or NULL. */
static const char *skip_reason(const struct oracle *oracle, const struct form *form)
{
	enum x86_feature feature = form->feature;

	if (touches_selectors(form))
		return "loads selectors of the host's own descriptor tables";
	if (excluded_reason(form->key.op))
		return excluded_reason(form->key.op);
	if (!guest_offers(oracle->guest, feature))
		return "not offered to guests";
	if (!host_has_feature(feature))
		return "the host's processor lacks it";
	return NULL;
}

static void visit_form(struct oracle *oracle, const struct form *form)
{
	char name[128];
	const char *reason;

	size_t prefix =
	    (size_t)snprintf(name, sizeof(name), "%s", form->mode == X86_MODE_64 ? "" : "32: ");

	form_name(&form->key, name + prefix, sizeof(name) - prefix);
	if (oracle->options.form && !strstr(name, oracle->options.form))
		return;
	reason = skip_reason(oracle, form);
	if (oracle->options.list)
		printf("%s%s%s\n", name, reason ? ": skipped, " : "", reason ? reason : "");
	if (reason) {
		oracle->forms_skipped++;
		return;
	}
	if (!oracle->options.list)
		run_form(oracle, form, name);
}

static void run_mode(struct oracle *oracle, enum x86_mode mode)
{
	struct forms forms;
	bool wide = mode == X86_MODE_64;

	oracle->mode = mode;
	native_set_mode(wide);
	guest_set_mode(oracle->guest, wide);
	if (oracle->translated)
		guest_set_mode(oracle->translated, wide);
	oracle->placed.length = 0;
	oracle->data = (struct data){
	    .native = native_data(),
	    .guest = guest_data(oracle->guest),
	    .code_base = native_code(wide),
	    .wide = wide,
	    .edges = oracle->translated,
	};
	forms_enumerate(&forms, mode);
	for (unsigned i = 0; i < forms.count; i++)
		visit_form(oracle, &forms.form[i]);
	forms_free(&forms);
}

/* ---- the program ---- */

/* Addresses depend on where this program is loaded: the same seed is the same run only at one
 * place. */
static void fix_addresses(char **argv)
{
	int persona = personality(0xffffffff);

	if (persona < 0 || persona & ADDR_NO_RANDOMIZE ||
	    personality((unsigned long)persona | ADDR_NO_RANDOMIZE) < 0)
		return;
	execv("/proc/self/exe", argv);
}

static int parse(struct options *options, int argc, char **argv)
{
	static const struct option table[] = {
	    {"dbt", no_argument, NULL, 'd'},
	    {"cases", required_argument, NULL, 'c'}, {"seed", required_argument, NULL, 's'},
	    {"form", required_argument, NULL, 'f'},  {"strict", no_argument, NULL, 'S'},
	    {"generic", no_argument, NULL, 'g'},     {"list", no_argument, NULL, 'l'},
	    {"verbose", no_argument, NULL, 'v'},     {"only", required_argument, NULL, 'o'},
	    {"tick", required_argument, NULL, 't'},  {0},
	};
	int choice;

	while ((choice = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (choice) {
		case 'd':
			options->dbt = true;
			break;
		case 'c':
			options->cases = strtoul(optarg, NULL, 0);
			break;
		case 's':
			options->seed = strtoul(optarg, NULL, 0);
			break;
		case 'f':
			options->form = optarg;
			break;
		case 'S':
			options->strict = true;
			break;
		case 'g':
			options->generic = true;
			break;
		case 'l':
			options->list = true;
			break;
		case 'o':
			options->only = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 't':
			options->tick = (unsigned)strtoul(optarg, NULL, 0);
			if (options->tick < 1 || options->tick > 1000000)
				return 2;
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
	struct oracle oracle = {.options = {.cases = 2000, .seed = 1, .tick = 1000000}};

	fix_addresses(argv);
	if (parse(&oracle.options, argc, argv))
		return 2;
	if (!native_init())
		return 77;
	oracle.guest = guest_create(native_code(true), &interp_engine);
	if (!oracle.guest)
		return 1;
	if (oracle.options.dbt) {
		const struct engine_ops *engine = translated_engine();

		if (!engine)
			return 77;
		oracle.translated = guest_create(native_code(true), engine);
		if (!oracle.translated)
			return 1;
	}
	if (!native_install_handlers(oracle.options.tick))
		return 77;
	oracle.fs_base = native_fs_base();
	if (oracle.options.only != 32)
		run_mode(&oracle, X86_MODE_64);
	if (oracle.options.only != 64) {
		if (native_has_32())
			run_mode(&oracle, X86_MODE_32);
		else
			printf("32-bit code: skipped, the host's kernel does not allow it\n");
	}
	printf("%lu forms, %lu cases, %lu forms differ, %lu cases not reproducible natively, "
	       "%lu forms skipped (--list says why)\n",
	       oracle.forms_run, oracle.cases_run, oracle.forms_failed, oracle.cases_unstable,
	       oracle.forms_skipped);
	guest_destroy(oracle.translated);
	guest_destroy(oracle.guest);
	return oracle.forms_failed || oracle.cases_unstable > UNSTABLE_ALLOWED;
}
