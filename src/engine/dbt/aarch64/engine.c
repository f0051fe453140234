/* The `dbt` engine for AArch64 guests: engine_ops over the interpreter's vcpu with translated code.
 */
#include "arch/state.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "core/stats.h"
#include "engine/dbt/aarch64/dbt64.h"
#include "engine/dbt/dbt_engine.h"
#include "engine/dbt/host_cpu.h"
#include "engine/interp/aarch64/engine.h"

static int dbt_probe(char *why, size_t why_size)
{
	if (!dbt_host_has(X86_FEATURE_BMI2) || !dbt_host_has(X86_FEATURE_LZCNT)) {
		fmt_print(why, why_size, "the dbt engine needs a host processor with BMI2 and LZCNT; use the interp engine");
		return -ENOTSUP;
	}
	return dbt64_code_probe(why, why_size);
}

static void dbt_vcpu_destroy(struct vcpu *vcpu)
{
	struct dbt64 *d = vcpu->engine_vcpu;

	vcpu->engine_vcpu = NULL;
	if (!d)
		return;
	dbt64_code_destroy(d);
	a64_cpu_destroy(&d->cpu);
	platform_free(d);
}

static int dbt_vcpu_init(struct vcpu *vcpu, char *why, size_t why_size)
{
	struct dbt64 *d = platform_alloc(sizeof(*d));

	if (d && !a64_cpu_init(&d->cpu, vcpu) && !dbt64_code_create(d)) {
		d->cpu.run_translated = dbt64_run;
		d->has_fma = dbt_host_has(X86_FEATURE_FMA);
		d->has_aes = dbt_host_has(X86_FEATURE_AES) && dbt_host_has(X86_FEATURE_PCLMULQDQ);
		d->mxcsr_clear = 0x1f80;
		for (unsigned i = 0; i < 2; i++) {
			d->smallest[0][i] = 0x0100000001000000;
			d->smallest[1][i] = 0x0020000000000000;
		}
		vcpu->engine_vcpu = d;
		return 0;
	}
	if (d) {
		dbt64_code_destroy(d);
		a64_cpu_destroy(&d->cpu);
	}
	platform_free(d);
	fmt_print(why, why_size, "no memory for the translations of processor %u: free some, use fewer --cpus, or --engine interp", vcpu->index);
	return -ENOMEM;
}

static void dbt_kick(struct vcpu *vcpu)
{
	struct dbt64 *d = vcpu->engine_vcpu;

	atomic_store(&d->stop, 1);
}

static void dbt_report(struct vcpu *vcpu, struct stats_sink *sink)
{
	const struct dbt64 *d = vcpu->engine_vcpu;

	if (!d)
		return;
	stats_add(sink, NULL, "translated blocks", d->translations);
	stats_add(sink, NULL, "flushes of the code cache", d->flushes);
}

const struct engine_ops dbt_a64_engine = {
	.name = "dbt",
	.about = "binary translation: guest code as host code, with what is rare interpreted",
	.arch = GUEST_AARCH64,
	.probe = dbt_probe,
	.vm_init = a64_vm_init,
	.vm_destroy = a64_vm_destroy,
	.vcpu_init = dbt_vcpu_init,
	.vcpu_destroy = dbt_vcpu_destroy,
	.run = a64_engine_run,
	.get_state = a64_get_state,
	.set_state = a64_set_state,
	.kick = dbt_kick,
	.invalidate = a64_invalidate,
	.dirty_sync = a64_dirty_sync,
	.report = dbt_report,
};
