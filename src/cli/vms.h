/* The VMs that run, from outside: found by name or process number, asked over their control sockets (control/control.h).
 *
 * Example:
 *     struct vm_link link;
 *     if (vms_find("web", &link) == 0) { json_t *status = vms_ask(&link, "status"); ... vms_close(&link); }
 */
#ifndef CLI_VMS_H
#define CLI_VMS_H

#include "base/types.h"
#include <jansson.h>

#define VMS_MAX 256

struct vm_link {
	int fd;
	long pid;
	size_t len;
	char *line; /* what was read beyond the last answer */
};

/* All that answer, in order of their numbers; returns how many. statuses[i]: a new reference, an object with at least name and pid. */
unsigned vms_list(json_t *statuses[VMS_MAX]);
/* Connects to the one VM with this name or process number. 0, or 1 (an exit status) after it has said on stderr why not. */
int vms_find(const char *name, struct vm_link *link) must_check;
/* Sends a command and waits some seconds for its answer: what it returned (a new reference), or NULL after it has said why on stderr. */
json_t *vms_ask(struct vm_link *link, const char *command);
/* The same with arguments: an object, borrowed. */
json_t *vms_ask_with(struct vm_link *link, const char *command, json_t *arguments);
/* The same with open files (unix(7), SCM_RIGHTS), which stay ours. */
json_t *vms_ask_files(struct vm_link *link, const char *command, json_t *arguments, const int *files, unsigned count);
/* The next line that comes by itself: an object, or NULL at the end. */
json_t *vms_next(struct vm_link *link);
/* Waits until the VM has gone, or until some milliseconds have passed: false then. */
bool vms_wait_end(struct vm_link *link, long milliseconds);
void vms_close(struct vm_link *link);

#endif
