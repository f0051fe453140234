/* backend/char*: specs, flow control in both directions, pipes, files, sockets, pseudo-terminals, the Ctrl-A
 * keys and the terminal's way back from raw mode.
 *
 * Example: `meson test -C build --suite host char`
 */
#include "backend/char.h"
#include "base/types.h"
#include "host/linux/loop.h"
#include "host/linux/terminal.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <cmocka.h>

/* The device's side of a backend. */
struct device_end {
	struct char_backend *backend;
	size_t room;
	char got[70000];
	size_t length;
	unsigned ended, writable, resized;
};

static size_t end_room(void *ctx)
{
	struct device_end *end = ctx;

	return end->room;
}

static void end_receive(void *ctx, const void *buf, size_t len)
{
	struct device_end *end = ctx;

	assert_true(len > 0 && len <= end->room);
	assert_true(end->length + len < sizeof(end->got));
	memcpy(end->got + end->length, buf, len);
	end->length += len;
	end->room -= len;
}

static void end_of_input(void *ctx)
{
	((struct device_end *)ctx)->ended++;
}

static void end_writable(void *ctx)
{
	((struct device_end *)ctx)->writable++;
}

static void end_resized(void *ctx)
{
	((struct device_end *)ctx)->resized++;
}

static struct loop *loop;
static struct char_host host;
static unsigned quits;
static char directory[] = "/tmp/ruse-test-XXXXXX";
static struct device_end end;

static void on_quit(void *ctx)
{
	quits++;
}

static int setup(void **state)
{
	char why[128];

	loop = loop_create(why, sizeof(why));
	host = (struct char_host){.loop = loop, .quit = on_quit};
	quits = 0;
	memset(&end, 0, sizeof(end));
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	if (end.backend)
		end.backend->ops->destroy(end.backend);
	loop_destroy(loop);
	return 0;
}

static void connect_device(size_t room)
{
	end.room = room;
	end.backend->receive = end_receive;
	end.backend->room = end_room;
	end.backend->end_of_input = end_of_input;
	end.backend->writable = end_writable;
	end.backend->resized = end_resized;
	end.backend->ctx = &end;
	end.backend->ops->resume(end.backend);
}

static void stop(void *ctx)
{
	loop_stop(ctx);
}

static void run_for(unsigned ms)
{
	struct timer timer;

	timer_init(&timer, NULL, stop, loop);
	loop_timer_arm(loop, &timer, platform_clock_ns() + ms * 1000000ull);
	assert_int_equal(loop_run(loop), 0);
}

/* Runs the loop until the condition holds; gives up after some seconds. */
#define RUN_UNTIL(condition)                                                                       \
	do {                                                                                       \
		unsigned tries = 0;                                                                \
		while (!(condition)) {                                                             \
			run_for(5);                                                                \
			assert_true(++tries < 1000);                                               \
		}                                                                                  \
	} while (0)

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static size_t send_text(const char *text)
{
	return end.backend->ops->write(end.backend, text, strlen(text));
}

static void test_bad_specs(void **state)
{
	static const char *const bad[] = {"", "stdi", "stdio=", "stdio=x", "file", "file=", "unix=", "null",
					  "file=/no/such/directory/file", "unix=/no/such/directory/socket"};
	char why[256], spec[256];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		why[0] = '\0';
		assert_true(char_open(&host, bad[i], "serial0", &end.backend, why, sizeof(why)) < 0);
		assert_non_null(strstr(why, "serial0"));
		end.backend = NULL;
	}
	snprintf(spec, sizeof(spec), "unix=/tmp/%0200d", 0);
	assert_int_equal(char_open(&host, spec, "serial0", &end.backend, why, sizeof(why)), -ENAMETOOLONG);
	end.backend = NULL;
}

static void test_none(void **state)
{
	char why[256];

	assert_int_equal(char_open(&host, "none", "serial0", &end.backend, why, sizeof(why)), 0);
	connect_device(10);
	assert_int_equal(send_text("hello"), 5);
	char_resize(end.backend);
}

static void test_file(void **state)
{
	char why[256], spec[160], text[32] = "";
	FILE *file;

	snprintf(spec, sizeof(spec), "file=%s", path_of("log"));
	assert_int_equal(char_open(&host, spec, "serial0", &end.backend, why, sizeof(why)), 0);
	connect_device(10);
	assert_int_equal(send_text("hello "), 6);
	assert_int_equal(send_text("file\n"), 5);
	file = fopen(path_of("log"), "r");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	assert_string_equal(text, "hello file\n");
	fclose(file);
}

static void test_pipe_input_waits_for_room(void **state)
{
	static char big[50000];
	char why[256];
	int in[2];

	assert_int_equal(pipe(in), 0);
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)i;
	assert_int_equal(write(in[1], big, sizeof(big)), sizeof(big));
	close(in[1]);
	assert_int_equal(char_open_fds(&host, in[0], -1, "port1", &end.backend, why, sizeof(why)), 0);
	connect_device(3);
	RUN_UNTIL(end.length == 3);
	run_for(20);
	assert_int_equal(end.length, 3);
	assert_int_equal(end.ended, 0);
	while (end.length < sizeof(big)) {
		size_t before = end.length;

		end.room = 7001;
		end.backend->ops->resume(end.backend);
		RUN_UNTIL(end.length == before + 7001 || end.length == sizeof(big));
	}
	assert_memory_equal(end.got, big, sizeof(big));
	end.backend->ops->resume(end.backend);
	RUN_UNTIL(end.ended == 1);
	run_for(20);
	assert_int_equal(end.ended, 1);
	close(in[0]);
}

static void test_input_before_the_device(void **state)
{
	char why[256];
	int in[2];

	assert_int_equal(pipe(in), 0);
	assert_int_equal(write(in[1], "early", 5), 5);
	close(in[1]);
	assert_int_equal(char_open_fds(&host, in[0], -1, "port1", &end.backend, why, sizeof(why)), 0);
	run_for(20);
	connect_device(100);
	RUN_UNTIL(end.ended == 1);
	assert_memory_equal(end.got, "early", 5);
	close(in[0]);
}

static void test_regular_file_as_input(void **state)
{
	static char big[30000];
	char why[256];
	int fd = open(path_of("input"), O_RDWR | O_CREAT | O_TRUNC, 0600);

	memset(big, 'q', sizeof(big));
	assert_int_equal(write(fd, big, sizeof(big)), sizeof(big));
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(char_open_fds(&host, fd, -1, "port1", &end.backend, why, sizeof(why)), 0);
	connect_device(10000);
	RUN_UNTIL(end.length == 10000);
	run_for(10);
	end.room = 60000;
	end.backend->ops->resume(end.backend);
	RUN_UNTIL(end.ended == 1);
	assert_int_equal(end.length, sizeof(big));
	close(fd);
}

/* Both ways of writing to a pipe that is full: our own descriptor, and asking first. */
static void fill_and_drain(int out_write, int out_read)
{
	static char chunk[10000];
	char why[256];
	size_t sent = 0, received = 0, n;

	assert_int_equal(char_open_fds(&host, -1, out_write, "port2", &end.backend, why, sizeof(why)), 0);
	connect_device(0);
	while ((n = end.backend->ops->write(end.backend, chunk, sizeof(chunk))) == sizeof(chunk))
		sent += n;
	sent += n;
	assert_true(sent > 0);
	assert_true(char_blocked(end.backend));
	run_for(10);
	assert_int_equal(end.writable, 0);
	for (;;) {
		struct pollfd ready = {.fd = out_read, .events = POLLIN};
		char buf[4096];

		if (poll(&ready, 1, 0) != 1)
			break;
		received += (size_t)read(out_read, buf, sizeof(buf));
	}
	assert_int_equal(received, sent);
	RUN_UNTIL(end.writable == 1);
	assert_false(char_blocked(end.backend));
	assert_int_equal(send_text("more"), 4);
	/* The reader goes away: the guest is not held up. */
	close(out_read);
	assert_int_equal(send_text("lost"), 4);
	assert_int_equal(send_text("lost"), 4);
}

static void test_pipe_output(void **state)
{
	int out[2];

	assert_int_equal(pipe(out), 0);
	fill_and_drain(out[1], out[0]);
	assert_false(fcntl(out[1], F_GETFL) & O_NONBLOCK);
	close(out[1]);
}

static void test_socket_output(void **state)
{
	int out[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, out), 0);
	fill_and_drain(out[1], out[0]);
	close(out[1]);
}

static int connect_client(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void test_unix(void **state)
{
	char why[256], spec[160], path[128], buf[16];
	struct char_backend *second;
	int client;

	strcpy(path, path_of("sock"));
	snprintf(spec, sizeof(spec), "unix=%s", path);
	assert_int_equal(char_open(&host, spec, "serial0", &end.backend, why, sizeof(why)), 0);
	connect_device(100);
	assert_int_equal(char_open(&host, spec, "serial1", &second, why, sizeof(why)), -EADDRINUSE);
	assert_int_equal(send_text("nobody there"), 12);
	for (unsigned round = 0; round < 3; round++) {
		end.length = 0;
		end.room = 100;
		client = connect_client(path);
		assert_true(client >= 0);
		assert_int_equal(write(client, "in", 2), 2);
		RUN_UNTIL(end.length == 2);
		assert_memory_equal(end.got, "in", 2);
		assert_int_equal(send_text("out"), 3);
		assert_int_equal(read(client, buf, sizeof(buf)), 3);
		assert_memory_equal(buf, "out", 3);
		close(client);
		run_for(20);
		assert_int_equal(end.ended, 0);
	}
	/* What a dead process leaves is replaced, a living one's isn't. */
	end.backend->ops->destroy(end.backend);
	end.backend = NULL;
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(char_open(&host, spec, "serial0", &end.backend, why, sizeof(why)), 0);
}

static void test_unix_spares_other_files(void **state)
{
	char why[256], spec[160];
	int fd = open(path_of("precious"), O_RDWR | O_CREAT, 0600);

	close(fd);
	snprintf(spec, sizeof(spec), "unix=%s", path_of("precious"));
	assert_int_equal(char_open(&host, spec, "serial0", &end.backend, why, sizeof(why)), -EADDRINUSE);
	assert_int_equal(access(path_of("precious"), F_OK), 0);
	end.backend = NULL;
}

static void test_pty(void **state)
{
	char why[256], text[256] = "", *name, buf[16];
	int saved = dup(STDERR_FILENO), messages[2], slave;

	assert_int_equal(pipe(messages), 0);
	dup2(messages[1], STDERR_FILENO);
	assert_int_equal(char_open(&host, "pty", "serial0", &end.backend, why, sizeof(why)), 0);
	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_true(read(messages[0], text, sizeof(text) - 1) > 0);
	close(messages[0]);
	close(messages[1]);
	name = strstr(text, "/dev/pts/");
	assert_non_null(name);
	name[strcspn(name, "\n")] = '\0';
	connect_device(1000);
	assert_int_equal(send_text("nobody there"), 12);
	for (unsigned round = 0; round < 2; round++) {
		end.length = 0;
		slave = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
		assert_true(slave >= 0);
		assert_int_equal(write(slave, "in\r", 3), 3);
		RUN_UNTIL(end.length == 3);
		assert_memory_equal(end.got, "in\r", 3);
		assert_int_equal(send_text("out\n"), 4);
		RUN_UNTIL(read(slave, buf, sizeof(buf)) == 4);
		assert_memory_equal(buf, "out\n", 4);
		close(slave);
		run_for(20);
	}
	assert_int_equal(end.ended, 0);
}

/* ---- the terminal ---- */

static void expect_filter(struct escape *escape, const char *in, const char *out, enum escape_action action,
			  size_t used)
{
	uint8_t buf[32];
	enum escape_action got;
	size_t n, looked_at;

	n = escape_filter(escape, (const uint8_t *)in, strlen(in), buf, &looked_at, &got);
	assert_int_equal(n, strlen(out));
	assert_memory_equal(buf, out, n);
	assert_int_equal(got, action);
	assert_int_equal(looked_at, used);
}

static void test_escape_filter(void **state)
{
	struct escape escape = {0};

	expect_filter(&escape, "plain", "plain", ESCAPE_NONE, 5);
	expect_filter(&escape, "a\001xb", "a", ESCAPE_QUIT, 3);
	expect_filter(&escape, "\001hb", "", ESCAPE_HELP, 2);
	expect_filter(&escape, "\001\001x", "\001x", ESCAPE_NONE, 3);
	expect_filter(&escape, "\001c", "\001c", ESCAPE_NONE, 2);
	expect_filter(&escape, "ab\001", "ab", ESCAPE_NONE, 3);
	expect_filter(&escape, "qx", "\001qx", ESCAPE_NONE, 2);
	expect_filter(&escape, "\001", "", ESCAPE_NONE, 1);
	expect_filter(&escape, "x", "", ESCAPE_QUIT, 1);
}

/* Runs body in a child whose controlling terminal, stdin and stdout is a new pty; returns the master. */
static pid_t in_terminal(void (*body)(void), int *master)
{
	int slave;
	pid_t pid;

	*master = posix_openpt(O_RDWR | O_NOCTTY);
	assert_true(*master >= 0);
	assert_int_equal(grantpt(*master), 0);
	assert_int_equal(unlockpt(*master), 0);
	slave = open(ptsname(*master), O_RDWR | O_NOCTTY);
	assert_true(slave >= 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct winsize size = {.ws_col = 77, .ws_row = 33};

		signal(SIGSEGV, SIG_DFL); /* cmocka's own handler */
		setsid();
		ioctl(slave, TIOCSCTTY, 0);
		ioctl(slave, TIOCSWINSZ, &size);
		dup2(slave, STDIN_FILENO);
		dup2(slave, STDOUT_FILENO);
		body();
		_exit(0);
	}
	close(slave);
	return pid;
}

/* A terminal is cooked when it turns newlines into signals and lines: ICANON is what raw mode takes first. */
static bool is_cooked(int master)
{
	struct termios settings;

	return tcgetattr(master, &settings) == 0 && (settings.c_lflag & ICANON) && (settings.c_lflag & ECHO);
}

static void await_mode(int master, bool cooked)
{
	for (unsigned i = 0; is_cooked(master) != cooked; i++) {
		assert_true(i < 1000);
		usleep(5000);
	}
}

static void raw_then_wait(void)
{
	if (terminal_make_raw(STDIN_FILENO) != 0)
		_exit(99);
	for (;;)
		pause();
}

static void raw_then_exit(void)
{
	if (terminal_make_raw(STDIN_FILENO) != 0 || terminal_make_raw(STDIN_FILENO) != -EBUSY)
		_exit(99);
	exit(5);
}

static void raw_then_segv(void)
{
	if (terminal_make_raw(STDIN_FILENO) != 0)
		_exit(99);
	/* Not by a bad store: UBSan would report that one instead. */
	raise(SIGSEGV);
}

static void raw_then_bug(void)
{
	if (terminal_make_raw(STDIN_FILENO) != 0)
		_exit(99);
	BUG();
}

static void test_terminal_is_restored(void **state)
{
	static const struct {
		void (*body)(void);
		int signal, status;
	} ends[] = {{raw_then_exit, 0, 5}, {raw_then_segv, SIGSEGV, 0}, {raw_then_bug, 0, 1}};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		int master, status, hold;
		pid_t pid = in_terminal(ends[i].body, &master);

		hold = open(ptsname(master), O_RDWR | O_NOCTTY);
		waitpid(pid, &status, 0);
		if (ends[i].signal)
			assert_int_equal(WTERMSIG(status), ends[i].signal);
		else
			assert_int_equal(WEXITSTATUS(status), ends[i].status);
		assert_true(is_cooked(master));
		close(hold);
		close(master);
	}
}

static void test_terminal_stop_and_continue(void **state)
{
	int master, status, hold;
	pid_t pid = in_terminal(raw_then_wait, &master);

	hold = open(ptsname(master), O_RDWR | O_NOCTTY);
	await_mode(master, false);
	kill(pid, SIGTSTP);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	assert_true(is_cooked(master));
	kill(pid, SIGCONT);
	await_mode(master, false);
	kill(pid, SIGSEGV);
	waitpid(pid, &status, 0);
	assert_int_equal(WTERMSIG(status), SIGSEGV);
	assert_true(is_cooked(master));
	close(hold);
	close(master);
}

static void interactive_body(void)
{
	char why[128];

	quits = 0;
	if (char_open(&host, "stdio", "serial0", &end.backend, why, sizeof(why)) < 0)
		_exit(1);
	if (end.backend->columns != 77 || end.backend->rows != 33)
		_exit(2);
	connect_device(4); /* a guest that takes four bytes and then hangs */
	while (!quits) {
		struct timer timer;

		timer_init(&timer, NULL, stop, loop);
		loop_timer_arm(loop, &timer, platform_clock_ns() + 5000000);
		if (loop_run(loop) < 0)
			_exit(3);
	}
	if (end.length != 4 || memcmp(end.got, "abc\001", 4))
		_exit(4);
	send_text("bye\n");
	end.backend->ops->destroy(end.backend);
	_exit(0);
}

static void test_interactive(void **state)
{
	char buf[1024] = "", junk[5000];
	int master, status, hold;
	size_t length = 0;
	pid_t pid = in_terminal(interactive_body, &master);

	hold = open(ptsname(master), O_RDWR | O_NOCTTY);
	await_mode(master, false);
	assert_int_equal(write(master, "abc\001\001def\001h", 10), 10);
	while (!strstr(buf, "quit ruse")) {
		ssize_t n = read(master, buf + length, sizeof(buf) - length - 1);

		assert_true(n > 0);
		length += (size_t)n;
	}
	/* More than anybody takes, and still we can quit. */
	memset(junk, 'j', sizeof(junk));
	for (size_t done = 0; done < 3; done++)
		assert_int_equal(write(master, junk, sizeof(junk) / 3), sizeof(junk) / 3);
	usleep(20000);
	assert_int_equal(write(master, "\001x", 2), 2);
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_true(is_cooked(master));
	close(hold);
	close(master);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bad_specs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipe_input_waits_for_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_input_before_the_device, setup, teardown),
		cmocka_unit_test_setup_teardown(test_regular_file_as_input, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipe_output, setup, teardown),
		cmocka_unit_test_setup_teardown(test_socket_output, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unix, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unix_spares_other_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pty, setup, teardown),
		cmocka_unit_test(test_escape_filter),
		cmocka_unit_test(test_terminal_is_restored),
		cmocka_unit_test(test_terminal_stop_and_continue),
		cmocka_unit_test_setup_teardown(test_interactive, setup, teardown),
	};
	char command[64];
	int failed;

	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(directory))
		return 1;
	failed = cmocka_run_group_tests_name("char", tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command) != 0 ? 1 : failed;
}
