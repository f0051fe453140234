/* A running VM's screen as a PNG file.
 *
 * Example: `status = screenshot_save(&link, "screen.png");`
 */
#ifndef CLI_SCREENSHOT_H
#define CLI_SCREENSHOT_H

#include "cli/vms.h"

/* path "-": stdout. An exit status; it has said on stderr what is wrong. */
int screenshot_save(struct vm_link *link, const char *path);

#endif
