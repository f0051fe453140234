/* The controlling terminal of an interactive guest: raw while the guest has it, and always given back.
 *
 * Example:
 *     r = terminal_make_raw(STDIN_FILENO);   // 0, or -ENOTTY: nothing to do
 *     ...
 *     terminal_restore();                    // also at exit, at a crash, before SIGTSTP stops us
 *
 * There is one terminal to a process, and signal handlers must find it: its saved settings are the one
 * piece of state here.
 */
#ifndef HOST_LINUX_TERMINAL_H
#define HOST_LINUX_TERMINAL_H

#include "base/types.h"

/* Saves the settings, switches to raw, and sees to it that every way out restores them: exit(), SIGSEGV and
 * its kin, SIGTSTP (and raw again at SIGCONT). 0, -ENOTTY, -EBUSY when a terminal is raw already, -errno. */
int terminal_make_raw(int fd) must_check;
/* Back to what it was; nothing when it isn't raw. Async-signal-safe, any thread. */
void terminal_restore(void);
bool terminal_is_raw(void);
/* The window of terminal fd. 0 or -errno. */
int terminal_size(int fd, uint16_t *columns, uint16_t *rows) must_check;

/* ---- what the person at the keyboard says to us, not to the guest ---- */

enum escape_action { ESCAPE_NONE, ESCAPE_QUIT, ESCAPE_HELP };

/* Zeroed at the start. */
struct escape {
	bool pending; /* the last byte was Ctrl-A */
};

/* Copies len bytes of keyboard input from in to out (which is another buffer) without the
 * sequences that are ours: Ctrl-A x quits, Ctrl-A h helps, Ctrl-A Ctrl-A is one Ctrl-A; Ctrl-A and
 * anything else goes through as it is. A Ctrl-A held back from the last call makes the output up to len+1
 * bytes long: out has room for that. Stops after an action; *used says how much of in was looked at.
 * Returns the length of the output. */
size_t escape_filter(struct escape *escape, const uint8_t *in, size_t len, uint8_t *out, size_t *used,
		     enum escape_action *action);

/* The text of Ctrl-A h. */
extern const char escape_help[];

#endif
