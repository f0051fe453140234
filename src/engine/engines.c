/* Which engines this build has. See core/engine.h. */
#ifdef HAVE_DBT
#include "engine/dbt/dbt_engine.h"
#endif
#include "engine/interp/interp.h"
#include "engine/kvm/kvm.h"

const struct engine_ops *const engines[] = {
	&kvm_engine,
#ifdef HAVE_DBT
	&dbt_engine,
	&dbt_a64_engine,
#endif
	&interp_engine,
	&interp_a64_engine,
	NULL,
};

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

const struct engine_ops *engine_find(const char *name, enum guest_arch arch)
{
	for (unsigned i = 0; engines[i]; i++) {
		if (engines[i]->arch == arch && same(engines[i]->name, name))
			return engines[i];
	}
	return NULL;
}

bool engine_known(const char *name)
{
	return engine_find(name, GUEST_X86_64) || engine_find(name, GUEST_AARCH64);
}

const char *guest_arch_name(enum guest_arch arch)
{
	return arch == GUEST_AARCH64 ? "aarch64" : "x86_64";
}
