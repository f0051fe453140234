/* Which engines this build has. See core/engine.h. */
#include "engine/interp/interp.h"
#include "engine/kvm/kvm.h"

const struct engine_ops *const engines[] = {
	&kvm_engine,
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
