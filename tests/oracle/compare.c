/* Comparison of results. See compare.h. */
#include "tests/oracle/compare.h"
#include "tests/oracle/excluded.h"
#include "arch/x86_64/state.h"
#include <math.h>
#include <string.h>

#define USER_SPACE_END 0x7ffffffff000ull

struct report {
	const char *name; /* of the second side */
	FILE *out;
	unsigned count;
};

static void differ(struct report *report, const char *what, uint64_t native, uint64_t guest,
		   uint64_t before)
{
	report->count++;
	if (report->out)
		fprintf(report->out, "    %-8s native %016lx  %s %016lx  before %016lx\n", what,
			(unsigned long)native, report->name, (unsigned long)guest,
			(unsigned long)before);
}

static void check(struct report *report, const char *what, uint64_t native, uint64_t guest,
		  uint64_t before)
{
	if (native != guest)
		differ(report, what, native, guest, before);
}

static void check_bytes(struct report *report, const char *what, unsigned index,
			const uint8_t *native, const uint8_t *guest, const uint8_t *before,
			unsigned size)
{
	report->count++;
	if (!report->out)
		return;
	fprintf(report->out, "    %s%u", what, index);
	for (unsigned side = 0; side < 3; side++) {
		const uint8_t *bytes = side == 0 ? native : side == 1 ? guest : before;

		fprintf(report->out, " %s ",
			side == 0   ? "native"
			: side == 1 ? report->name
				    : "before");
		for (unsigned i = size; i-- > 0;)
			fprintf(report->out, "%02x", bytes[i]);
	}
	fprintf(report->out, "\n");
}

/* ---- approximations ---- */

/* RCPPS and RSQRTPS: relative error at most 1.5 * 2^-12 on either side. */
static bool near_singles(const uint8_t *a, const uint8_t *b, unsigned size)
{
	for (unsigned i = 0; i < size; i += 4) {
		float x, y;

		if (!memcmp(a + i, b + i, 4))
			continue;
		memcpy(&x, a + i, 4);
		memcpy(&y, b + i, 4);
		if (isnan(x) && isnan(y))
			continue;
		if (!(fabsf(x - y) <= fabsf(y) * 0x1.8p-11f))
			return false;
	}
	return true;
}

/* x87 transcendentals: neighbouring mantissas. */
static bool near_extended(const uint8_t *a, const uint8_t *b)
{
	long double x, y;

	if (!memcmp(a, b, 10))
		return true;
	memcpy(&x, a, 10);
	memcpy(&y, b, 10);
	if (isnan(x) || isnan(y))
		return isnan(x) && isnan(y);
	return fabsl(x - y) <= fabsl(y) * 0x1p-60L;
}

/* ---- state ---- */

static void compare_x87(struct report *report, const struct x86_insn *insn,
			const struct xsave_image *before, const struct xsave_image *native,
			const struct xsave_image *guest)
{
	bool rough = approximate(insn->op) == APPROXIMATE_X87;
	uint16_t status = (uint16_t)~undefined_status(insn->op, native);

	check(report, "fcw", native->fcw, guest->fcw, before->fcw);
	check(report, "fsw", native->fsw & status, guest->fsw & status, before->fsw);
	check(report, "ftw", native->ftw, guest->ftw, before->ftw);
	for (unsigned i = 0; i < 8; i++) {
		if (!memcmp(native->st[i], guest->st[i], 10))
			continue;
		if (!rough || !near_extended(native->st[i], guest->st[i]))
			check_bytes(report, "st", i, native->st[i], guest->st[i], before->st[i],
				    10);
	}
}

static void compare_vectors(struct report *report, const struct x86_insn *insn,
			    const struct xsave_image *before, const struct xsave_image *native,
			    const struct xsave_image *guest)
{
	bool rough = approximate(insn->op) == APPROXIMATE_SINGLE;

	check(report, "mxcsr", native->mxcsr, guest->mxcsr, before->mxcsr);
	for (unsigned i = 0; i < 16; i++) {
		if (memcmp(native->xmm[i], guest->xmm[i], 16) &&
		    !(rough && near_singles(native->xmm[i], guest->xmm[i], 16)))
			check_bytes(report, "xmm", i, native->xmm[i], guest->xmm[i], before->xmm[i],
				    16);
		if (memcmp(native->ymmh[i], guest->ymmh[i], 16) &&
		    !(rough && near_singles(native->ymmh[i], guest->ymmh[i], 16)))
			check_bytes(report, "ymmh", i, native->ymmh[i], guest->ymmh[i],
				    before->ymmh[i], 16);
	}
}

static void compare_outcome(struct report *report, const struct x86_insn *insn,
			    const struct outcome *native, const struct outcome *guest)
{
	uint64_t precision = ~fault_address_slack(insn);
	uint64_t hidden;

	if (native->fault && guest->fault &&
	    fault_order_differs(insn, native->vector, guest->vector))
		return;
	check(report, "fault", native->fault ? native->vector : ~0ull,
	      guest->fault ? guest->vector : ~0ull, ~0ull);
	if (!native->fault || !guest->fault || native->vector != guest->vector)
		return;
	/* Linux reports every fault outside of user space as one of protection. */
	hidden = native->vector == X86_EXC_PF && native->cr2 >= USER_SPACE_END ? 1 : 0;
	check(report, "error", native->error | hidden, guest->error | hidden, 0);
	check(report, "cr2", native->cr2 & precision, guest->cr2 & precision, 0);
}

unsigned compare_results(const struct x86_insn *insn, const struct machine *in,
			 const struct result *native, const struct result *guest, uint64_t flags,
			 const char *name, FILE *out)
{
	static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
					      "rsi", "rdi", "r8",  "r9",  "r10", "r11",
					      "r12", "r13", "r14", "r15"};
	const struct machine *n = &native->machine, *g = &guest->machine;
	struct report report = {.name = name, .out = out};

	compare_outcome(&report, insn, &native->outcome, &guest->outcome);
	for (unsigned i = 0; i < 16; i++)
		if (!native->outcome.fault || !fault_registers_differ(insn))
			check(&report, names[i], n->gpr[i], g->gpr[i], in->gpr[i]);
	check(&report, "rip", n->rip, g->rip, in->rip);
	if (status_flags_differ(insn, &n->x, native->outcome.fault))
		flags &= ~(uint64_t)X86_FLAGS_STATUS;
	check(&report, "rflags", n->rflags & flags, g->rflags & flags, in->rflags);
	check(&report, "fs", n->fs_base, g->fs_base, in->fs_base);
	check(&report, "gs", n->gs_base, g->gs_base, in->gs_base);
	if (!native->outcome.fault || !fault_transition_differs(insn))
		compare_x87(&report, insn, &in->x, &n->x, &g->x);
	compare_vectors(&report, insn, &in->x, &n->x, &g->x);
	return report.count;
}

unsigned compare_data(const uint8_t *native, const uint8_t *guest, const char *name, FILE *out)
{
	struct report report = {.name = name, .out = out};

	if (!memcmp(native, guest, DATA_SIZE))
		return 0;
	for (unsigned i = 0; i < DATA_SIZE && report.count < 6; i += 8) {
		uint64_t a, b;
		char what[16];

		memcpy(&a, native + i, 8);
		memcpy(&b, guest + i, 8);
		snprintf(what, sizeof(what), "+%04x", i);
		check(&report, what, a, b, 0);
	}
	return report.count;
}
