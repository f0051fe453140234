/* `ruse run ... -- COMMAND`: the command travels into the guest in a second archive behind the initrd, as
 *
 *     /etc/ruse/command     a shell line: set -- 'COMMAND' 'ARG'...
 *
 * and comes back through four ports of the virtio console, found by name in the guest:
 *
 *     ruse.stdin  ruse.stdout  ruse.stderr    the command's
 *     ruse.status                             its exit status, in decimal, with a newline
 *
 * guests/initramfs/init is the other end.
 *
 * Example:
 *     r = command_create(config->command, &initrd, &command, why, sizeof(why));
 *     inputs.initrd = command_initrd(command);
 *     ...
 *     if (command_status(command, text, len, &status)) return status;
 */
#ifndef HOST_LINUX_COMMAND_H
#define HOST_LINUX_COMMAND_H

#include "loader/image.h"

struct command;

/* argv is NULL-terminated; initrd is borrowed and outlives the command. 0, or -errno and a sentence. */
int command_create(const char *const *argv, const struct image *initrd, struct command **out, char *why,
		   size_t why_size) must_check;
void command_destroy(struct command *command);

/* The initrd with the command's archive behind it. */
const struct image *command_initrd(const struct command *command);

/* What came on ruse.status: true and 0..255 if it is a whole exit status. */
bool command_status(const char *text, size_t len, int *status);

#endif
