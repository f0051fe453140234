/* Private to sandbox*.c: the system calls that each role may make, as data.
 *
 * Example: `for (const struct sandbox_rule *rule = sandbox_rules; rule->name; rule++) ...`
 */
#ifndef HOST_LINUX_SANDBOX_RULES_H
#define HOST_LINUX_SANDBOX_RULES_H

#include "base/types.h"

/* Columns of the table. */
enum {
	ROLE_IO = 1u << 0,
	ROLE_VCPU = 1u << 1,
	ROLE_BLOCK = 1u << 2,
	ROLE_NET = 1u << 3, /* the I/O thread of a guest with a network */
	ROLE_KEEPER = 1u << 4, /* a process of its own: keeper.h */
	ROLE_ALL = ROLE_IO | ROLE_VCPU | ROLE_BLOCK,
	ROLE_EVERY = ROLE_ALL | ROLE_KEEPER,
};

enum sandbox_check {
	CHECK_NONE,
	CHECK_MASKED, /* (args[arg] & mask) == value */
	CHECK_SELF,   /* (pid_t)args[arg] is this process */
	CHECK_ERRNO,  /* not done: fails with errno `value` */
};

struct sandbox_rule {
	const char *name; /* NULL ends the table; unknown on an architecture: no rule there */
	uint8_t roles;
	uint8_t check; /* several rules for one call: any of them admits it */
	uint8_t arg;
	uint64_t mask, value;
};

extern const struct sandbox_rule sandbox_rules[];

#endif
