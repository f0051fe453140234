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
	ROLE_VSOCK = 1u << 5,  /* the I/O thread of a guest with vsock */
	ROLE_BROKER = 1u << 6, /* a process of its own: broker.h */
	ROLE_VHOST = 1u << 7,  /* the I/O thread of a guest with devices behind vhost-user */
	ROLE_TAP = 1u << 8,    /* the I/O thread of a guest with a tap */
	ROLE_SHARE = 1u << 9,  /* the thread of a shared directory */
	ROLE_PLUG = 1u << 10,  /* the I/O thread of a guest into which devices can be plugged */
	ROLE_NBD = 1u << 11,   /* the I/O thread of a guest with disks at NBD servers */
	ROLE_VNC = 1u << 12,   /* the thread of the viewers' clients: vnc.h */
	ROLE_ALL = ROLE_IO | ROLE_VCPU | ROLE_BLOCK | ROLE_SHARE | ROLE_VNC,
	ROLE_EVERY = ROLE_ALL | ROLE_KEEPER | ROLE_BROKER,
};

enum sandbox_check {
	CHECK_NONE,
	CHECK_MASKED, /* (args[arg] & mask) == value */
	CHECK_SELF,   /* (pid_t)args[arg] is this process */
	CHECK_ERRNO,  /* not done: fails with errno `value` */
};

struct sandbox_rule {
	const char *name; /* NULL ends the table; unknown on an architecture: no rule there */
	uint16_t roles;
	uint8_t check; /* several rules for one call: any of them admits it */
	uint8_t arg;
	uint64_t mask, value;
};

extern const struct sandbox_rule sandbox_rules[];

#endif
