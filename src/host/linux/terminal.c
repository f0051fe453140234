/* Raw mode and the many ways back out of it; see terminal.h.
 *
 * Example: `if (terminal_make_raw(0) == 0) ...; terminal_restore();`
 */
#include "host/linux/terminal.h"
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* Written once, before `raw` is set; handlers only read them. */
static int terminal_fd = -1;
static struct termios saved, wanted;
static _Atomic bool raw;
static _Atomic bool handlers_installed;

const char escape_help[] = "\r\n"
			   "Ctrl-A x       quit ruse\r\n"
			   "Ctrl-A h       this help\r\n"
			   "Ctrl-A Ctrl-A  send Ctrl-A to the guest\r\n";

void terminal_restore(void)
{
	int error = errno;

	if (atomic_exchange(&raw, false))
		tcsetattr(terminal_fd, TCSANOW, &saved);
	errno = error;
}

bool terminal_is_raw(void)
{
	return atomic_load_explicit(&raw, memory_order_relaxed);
}

static void enter_raw(void)
{
	/* In the background the terminal is the shell's. */
	if (tcgetpgrp(terminal_fd) == getpgrp() && tcsetattr(terminal_fd, TCSANOW, &wanted) == 0)
		atomic_store(&raw, true);
}

/* The handler is reset by now. A fault repeats itself when we return; a signal that was sent does not. */
static void on_crash(int signal, siginfo_t *info, void *context)
{
	terminal_restore();
	if (info->si_code <= 0)
		raise(signal);
}

static void on_stop(int signal)
{
	int error = errno;

	terminal_restore();
	kill(getpid(), SIGSTOP);
	errno = error;
}

static void on_continue(int signal)
{
	int error = errno;

	if (terminal_fd >= 0 && !atomic_load(&raw))
		enter_raw();
	errno = error;
}

/* Leaves a handler alone that somebody else has installed: an engine may have its own idea of SIGSEGV. */
static void handle(int signal, struct sigaction action)
{
	struct sigaction old;

	if (sigaction(signal, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
		sigaction(signal, &action, NULL);
}

static void install_handlers(void)
{
	static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};

	if (atomic_exchange(&handlers_installed, true))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(crashes); i++)
		handle(crashes[i], (struct sigaction){
			.sa_sigaction = on_crash,
			.sa_flags = (int)SA_RESETHAND | SA_ONSTACK | SA_SIGINFO});
	/* In the background tcsetattr() would stop us; all it does there is to give the settings back. */
	handle(SIGTTOU, (struct sigaction){.sa_handler = SIG_IGN});
	handle(SIGTSTP, (struct sigaction){.sa_handler = on_stop, .sa_flags = SA_RESTART});
	handle(SIGCONT, (struct sigaction){.sa_handler = on_continue, .sa_flags = SA_RESTART});
	atexit(terminal_restore);
}

int terminal_make_raw(int fd)
{
	if (atomic_load(&raw))
		return -EBUSY;
	if (tcgetattr(fd, &saved) < 0)
		return -errno;
	wanted = saved;
	cfmakeraw(&wanted);
	wanted.c_cc[VMIN] = 1;
	wanted.c_cc[VTIME] = 0;
	terminal_fd = fd;
	install_handlers();
	enter_raw();
	return 0;
}

int terminal_size(int fd, uint16_t *columns, uint16_t *rows)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) < 0)
		return -errno;
	*columns = size.ws_col;
	*rows = size.ws_row;
	return 0;
}
