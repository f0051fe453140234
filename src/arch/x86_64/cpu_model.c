/* Processor models: text to a set of features, the set to a table; see cpu_model.h. */
#include "arch/x86_64/cpu_model.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "base/string.h"

#define NAME_MAX_LENGTH 24 /* of what is worth comparing with our names */
#define NEAREST         3

const struct x86_cpu_model x86_cpu_models[4] = {
	{"host", "all that the engine and the host can do (default)", X86_CPU_LEVEL_HOST},
	{"v3", "x86-64-v3", X86_CPU_LEVEL_V3},
	{"v2", "x86-64-v2", X86_CPU_LEVEL_V2},
	{"v1", "x86-64-v1", X86_CPU_LEVEL_SYSTEM},
};

/* What a text asks for. `asked` are features whose absence is an error, `wanted` all that may stay. */
struct selection {
	bool wanted[X86_CPU_FEATURE_COUNT], asked[X86_CPU_FEATURE_COUNT];
};

static size_t length_of(const char *text)
{
	size_t len = 0;

	while (text[len])
		len++;
	return len;
}

static bool is_name(const char *name, const char *text, size_t len)
{
	return length_of(name) == len && !memcmp(name, text, len);
}

/* ---- which name was meant ---- */

/* Names of the manuals, and of compilers, that Linux calls otherwise. */
static const struct {
	const char *other;
	enum x86_cpu_feature_id id;
} others[] = {
	{"sse3", X86_CPU_pni},
	{"sse4", X86_CPU_sse4_2},
	{"lzcnt", X86_CPU_abm},
	{"pclmul", X86_CPU_pclmulqdq},
	{"cmpxchg16b", X86_CPU_cx16},
	{"prefetchw", X86_CPU_3dnowprefetch},
	{"prfchw", X86_CPU_3dnowprefetch},
	{"sha", X86_CPU_sha_ni},
	{"ibpb", X86_CPU_ibrs},
	{"spec_ctrl", X86_CPU_ibrs},
	{"sahf", X86_CPU_lahf_lm},
	{"osxsave", X86_CPU_xsave},
	{"cmpxchg8b", X86_CPU_cx8},
	{"sysenter", X86_CPU_sep},
	{"1gpages", X86_CPU_pdpe1gb},
	{"xd", X86_CPU_nx},
};

/* The number of letters to change, add or drop between the two (Levenshtein). */
static unsigned distance(const char *name, const char *text, size_t len)
{
	unsigned row[NAME_MAX_LENGTH + 1];

	for (unsigned i = 0; i <= len; i++)
		row[i] = i;
	for (unsigned y = 1; *name; y++, name++) {
		unsigned diagonal = row[0];

		row[0] = y;
		for (unsigned x = 1; x <= len; x++) {
			unsigned best = diagonal + (text[x - 1] != *name);

			if (row[x] + 1 < best)
				best = row[x] + 1;
			if (row[x - 1] + 1 < best)
				best = row[x - 1] + 1;
			diagonal = row[x];
			row[x] = best;
		}
	}
	return row[len];
}

/* The names that are as near as the nearest, best NEAREST of them; how many. */
static unsigned find_nearest(const char *text, size_t len, const char *nearest[NEAREST])
{
	unsigned count = 0, best = len < 4 ? 1 : len < 8 ? 2 : 3;

	for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
		if (is_name(others[i].other, text, len)) {
			nearest[0] = x86_cpu_features[others[i].id].name;
			return 1;
		}
	for (unsigned i = X86_CPU_none + 1; i < X86_CPU_FEATURE_COUNT && len <= NAME_MAX_LENGTH; i++) {
		unsigned d = distance(x86_cpu_features[i].name, text, len);

		if (d > best || (d == best && count == NEAREST) || x86_cpu_features[i].level == X86_CPU_LEVEL_ABSENT)
			continue;
		if (d < best)
			count = 0;
		best = d;
		nearest[count++] = x86_cpu_features[i].name;
	}
	return count;
}

static int refuse_feature(const char *text, size_t len, char *why, size_t why_size)
{
	const char *nearest[NEAREST] = {"", "", ""};
	unsigned count = find_nearest(text, len, nearest);

	if (count)
		fmt_print(why, why_size, "--cpu: there is no feature '%.*s'; is it %s%s%s%s%s? `--cpu help` lists all", (int)len,
			  text, nearest[0], count == 3 ? ", " : count == 2 ? " or " : "", nearest[1],
			  count == 3 ? " or " : "", nearest[2]);
	else
		fmt_print(why, why_size, "--cpu: there is no feature '%.*s'; `--cpu help` lists all", (int)len, text);
	return -EINVAL;
}

/* ---- reading ---- */

static void add(struct selection *selection, unsigned id)
{
	selection->wanted[id] = selection->asked[id] = true;
	for (; id > X86_CPU_none; id--) /* needs stand above */
		for (unsigned i = 0; i < 2 && selection->asked[id]; i++)
			selection->wanted[x86_cpu_features[id].needs[i]] =
				selection->asked[x86_cpu_features[id].needs[i]] = true;
}

/* Takes away what needs what is not wanted. */
static void drop_dependents(struct selection *selection)
{
	selection->wanted[X86_CPU_none] = true;
	for (unsigned i = X86_CPU_none + 1; i < X86_CPU_FEATURE_COUNT; i++) {
		const uint8_t *needs = x86_cpu_features[i].needs;

		selection->wanted[i] &= selection->wanted[needs[0]] && selection->wanted[needs[1]];
		selection->asked[i] &= selection->wanted[i];
	}
}

static int read_model(struct selection *selection, const char *text, size_t len, char *why, size_t why_size)
{
	const struct x86_cpu_model *model = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(x86_cpu_models); i++)
		if (is_name(x86_cpu_models[i].name, text, len))
			model = &x86_cpu_models[i];
	if (!model && (*text == '+' || *text == '-')) {
		fmt_print(why, why_size, "--cpu %s begins without a model; write --cpu host,%s", text, text);
		return -EINVAL;
	}
	if (!model) {
		fmt_print(why, why_size, "--cpu: there is no model '%.*s'; use v1, v2, v3 or host", (int)len, text);
		return -EINVAL;
	}
	for (unsigned i = X86_CPU_none + 1; i < X86_CPU_FEATURE_COUNT; i++) {
		unsigned level = x86_cpu_features[i].level;

		selection->wanted[i] = level <= model->level;
		selection->asked[i] = (level == X86_CPU_LEVEL_V2 || level == X86_CPU_LEVEL_V3) &&
				      level <= model->level && model->level != X86_CPU_LEVEL_HOST;
	}
	drop_dependents(selection);
	return 0;
}

static int read_feature(struct selection *selection, const char *text, size_t len, char *why, size_t why_size)
{
	unsigned id;

	if (*text != '+' && *text != '-') {
		fmt_print(why, why_size, "--cpu: '%.*s' is neither +FEATURE nor -FEATURE", (int)len, text);
		return -EINVAL;
	}
	for (id = X86_CPU_none + 1; id < X86_CPU_FEATURE_COUNT; id++)
		if (is_name(x86_cpu_features[id].name, text + 1, len - 1))
			break;
	if (id == X86_CPU_FEATURE_COUNT)
		return refuse_feature(text + 1, len - 1, why, why_size);
	if (*text == '+' && x86_cpu_features[id].level == X86_CPU_LEVEL_ABSENT) {
		fmt_print(why, why_size, "--cpu: no engine can give the guest %s; leave it out", x86_cpu_features[id].name);
		return -EINVAL;
	}
	if (*text == '-' && x86_cpu_features[id].level == X86_CPU_LEVEL_ALWAYS) {
		fmt_print(why, why_size, "--cpu: %s can't be taken away: every x86-64 guest has it; leave it out",
			  x86_cpu_features[id].name);
		return -EINVAL;
	}
	if (*text == '+') {
		add(selection, id);
	} else {
		selection->wanted[id] = selection->asked[id] = false;
		drop_dependents(selection);
	}
	return 0;
}

static int read_text(struct selection *selection, const char *text, char *why, size_t why_size)
{
	bool model = true;
	int r;

	for (;; text++, model = false) {
		size_t len = 0;

		while (text[len] && text[len] != ',')
			len++;
		r = model ? read_model(selection, text, len, why, why_size) :
			    read_feature(selection, text, len, why, why_size);
		if (r)
			return r;
		text += len;
		if (!*text)
			return 0;
	}
}

int x86_cpu_model_check(const char *text, char *why, size_t why_size)
{
	struct selection selection;

	return read_text(&selection, text, why, why_size);
}

/* ---- applying ---- */

int x86_cpu_model_apply(struct x86_cpuid_table *table, const char *text, char *why, size_t why_size)
{
	struct selection selection;
	char missing[200];
	size_t len = 0;
	int r;

	if (!text)
		return 0;
	r = read_text(&selection, text, why, why_size);
	if (r)
		return r;
	for (unsigned i = X86_CPU_none + 1; i < X86_CPU_FEATURE_COUNT; i++)
		if (selection.asked[i] && !x86_cpuid_offers(table, i) && len < sizeof(missing))
			len += fmt_print(missing + len, sizeof(missing) - len, "%s%s", len ? ", " : "",
					 x86_cpu_features[i].name);
	if (len) {
		fmt_print(why, why_size,
			  "--cpu %s: the engine can't give the guest %s on this host; ask for less, or use another --engine", text,
			  missing);
		return -EOPNOTSUPP;
	}
	for (unsigned i = X86_CPU_none + 1; i < X86_CPU_FEATURE_COUNT; i++)
		if (!selection.wanted[i] && x86_cpu_features[i].level != X86_CPU_LEVEL_ALWAYS)
			x86_cpuid_remove(table, i);
	x86_cpuid_derive(table);
	return 0;
}
