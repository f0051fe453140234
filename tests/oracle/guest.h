/* The guest's side: the same address space under paging, one instruction at privilege level 3 in 64-bit mode, by the
 * interpreter, or (translated.h) by the translator.
 *
 * Example: `guest = guest_create(code_base, &interp_engine); guest_run(guest, GUEST_FAST, &in, &out, &outcome);`
 */
#ifndef TESTS_ORACLE_GUEST_H
#define TESTS_ORACLE_GUEST_H

#include "tests/oracle/machine.h"

struct guest;
struct engine_ops;

/* Through the block cache and the fast paths, or by the semantic function alone. */
enum guest_way { GUEST_FAST, GUEST_GENERIC };

/* NULL with a message if it can't be made. */
struct guest *guest_create(uint64_t code_base, const struct engine_ops *engine);
void guest_destroy(struct guest *guest);
uint8_t *guest_data(struct guest *guest);
/* The guest is offered this feature (enum x86_feature). */
bool guest_offers(const struct guest *guest, unsigned feature);
/* The interpreter knows this operation. */
bool guest_knows(const struct guest *guest, unsigned op);

void guest_place(struct guest *guest, const uint8_t *bytes, unsigned length, unsigned offset);
void guest_run(struct guest *guest, enum guest_way way, const struct machine *in,
	       struct machine *out, struct outcome *outcome);
/* From now on the processor is in 64-bit mode, or in compatibility mode with flat 32-bit segments.
 */
void guest_set_mode(struct guest *guest, bool wide);

#endif
