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
#endif
	&interp_engine,
	NULL,
};

const struct engine_ops *engine_find(const char *name)
{
	for (unsigned i = 0; engines[i]; i++) {
		const char *a = engines[i]->name, *b = name;

		while (*a && *a == *b)
			a++, b++;
		if (!*a && !*b)
			return engines[i];
	}
	return NULL;
}
