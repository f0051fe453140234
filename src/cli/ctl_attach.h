/* `ruse ctl NAME attach disk FILE` and `attach net user|stream=unix:PATH|tap=INTERFACE`: opens here what the VM, in its sandbox, can't, and
 * hands it over; `detach ID`, which waits until the guest has let go.
 *
 * Example: `status = ctl_attach("web", words, 2, false);`
 */
#ifndef CLI_CTL_ATTACH_H
#define CLI_CTL_ATTACH_H

#include "base/types.h"

/* What follows NAME attach, and NAME detach. The exit status. */
int ctl_attach(const char *name, const char *const *words, unsigned count, bool json);
int ctl_detach(const char *name, const char *const *words, unsigned count);

#endif
