/* `ruse console`: our terminal becomes the console of a VM that was started with `--serial detached` or `--console detached`.
 *
 * Example: `ruse console web`, and Ctrl-A x to leave it.
 */
#include "cli/commands.h"
#include "cli/vms.h"
#include "host/linux/registry.h"
#include "host/linux/socket.h"
#include "host/linux/terminal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char help[] = "\r\nCtrl-A x  leave the console (the VM goes on)\r\nCtrl-A h  this help\r\nCtrl-A Ctrl-A  send Ctrl-A\r\n";

static bool write_all(int fd, const void *buf, size_t len)
{
	const char *from = buf;

	while (len > 0) {
		ssize_t n = write(fd, from, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		from += n;
		len -= (size_t)n;
	}
	return true;
}

/* What the keyboard says goes to the VM. False: the person leaves. */
static bool take_keys(struct escape *escape, int fd, const uint8_t *keys, size_t len)
{
	uint8_t out[512 + 1];

	for (size_t at = 0, used; at < len; at += used) {
		enum escape_action action;
		size_t length = escape_filter(escape, keys + at, len - at, out, &used, &action);

		if (length && send(fd, out, length, MSG_NOSIGNAL) != (ssize_t)length)
			return false;
		if (action == ESCAPE_QUIT)
			return false;
		if (action == ESCAPE_HELP)
			(void)write_all(STDOUT_FILENO, help, sizeof(help) - 1);
	}
	return true;
}

/* Until either side ends. Our input's end is not the end: the guest may have something to say. */
static void talk(int fd, bool terminal)
{
	struct pollfd ready[2] = {{.fd = fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
	struct escape escape = {0};
	uint8_t buf[512];

	for (;;) {
		ssize_t n;

		if (poll(ready, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return;
		}
		if (ready[0].revents) {
			n = read(fd, buf, sizeof(buf));
			if (n <= 0 || !write_all(STDOUT_FILENO, buf, (size_t)n))
				return;
		}
		if (!ready[1].revents)
			continue;
		n = read(STDIN_FILENO, buf, sizeof(buf));
		if (n <= 0)
			ready[1].fd = -1;
		else if (terminal ? !take_keys(&escape, fd, buf, (size_t)n)
				  : send(fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
			return;
	}
}

/* The path of the VM's console; false: it has none. */
static bool find_console(struct vm_link *link, char path[REGISTRY_PATH_MAX])
{
	json_t *status = vms_ask(link, "status");
	const char *console = json_string_value(json_object_get(status, "console"));

	if (console)
		snprintf(path, REGISTRY_PATH_MAX, "%s", console);
	else if (status)
		fputs("ruse: this VM has no detached console; start it with --serial detached\n", stderr);
	json_decref(status);
	return console;
}

static int attach(const char *name)
{
	bool terminal = isatty(STDIN_FILENO), found;
	char path[REGISTRY_PATH_MAX];
	struct vm_link link;
	int fd, status = vms_find(name, &link);

	if (status)
		return status;
	found = find_console(&link, path);
	vms_close(&link);
	if (!found)
		return 1;
	fd = socket_connect_unix(path);
	if (fd < 0) {
		fprintf(stderr, "ruse: the console at %s does not answer: %s\n", path, strerror(-fd));
		return 1;
	}
	if (terminal)
		fputs("ruse: Ctrl-A x leaves the console\n", stderr);
	if (terminal && terminal_make_raw(STDIN_FILENO) < 0)
		terminal = false;
	talk(fd, terminal);
	terminal_restore();
	close(fd);
	return 0;
}

int cmd_console(int argc, char **argv, uint64_t start_ns)
{
	if (argc == 1 && (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h"))) {
		puts("usage: ruse console NAME|PID\n\nAttaches this terminal to a VM that was started with --serial detached or --console detached. "
		     "Ctrl-A x leaves it.");
		return 0;
	}
	if (argc != 1 || argv[0][0] == '-') {
		fprintf(stderr, "ruse: console takes the name of a VM%s%s%s\n", argc ? ", not '" : "", argc ? argv[argc - 1] : "", argc ? "'" : "");
		return EXIT_USAGE;
	}
	return attach(argv[0]);
}
