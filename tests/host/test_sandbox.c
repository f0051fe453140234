/* host/linux/sandbox: what each role may still do, what ends the process and with which words, capabilities,
 * inherited descriptors.
 *
 * Example: `meson test -C build --suite host sandbox`
 */
#include "backend/char.h"
#include "core/vm.h"
#include "host/linux/landlock.h"
#include "host/linux/loop.h"
#include "host/linux/sandbox.h"
#include "host/linux/threads.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <cmocka.h>

#define PASSED 42

struct result {
	int status; /* of waitpid */
	char text[2000];
};

/* Runs body(arg) in a child inside the sandbox; it leaves with _exit(PASSED) when all went well. */
static struct result in_sandbox(enum sandbox_role role, bool network, void (*body)(int arg), int arg)
{
	struct result result = {0};
	size_t length = 0;
	int messages[2];
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(messages), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct sandbox *sandbox;
		char why[256];

		dup2(messages[1], STDERR_FILENO);
		close(messages[0]);
		close(messages[1]);
		sandbox = sandbox_prepare(&(struct sandbox_options){.network = network, .vsock = network, .vnc = true}, why, sizeof(why));
		if (!sandbox || sandbox_enter(sandbox, role, why, sizeof(why)) < 0) {
			fprintf(stderr, "%s\n", why);
			_exit(99);
		}
		body(arg);
		_exit(PASSED);
	}
	close(messages[1]);
	while ((n = read(messages[0], result.text + length, sizeof(result.text) - 1 - length)) > 0)
		length += (size_t)n;
	close(messages[0]);
	waitpid(pid, &result.status, 0);
	return result;
}

static void expect_passed(enum sandbox_role role, bool network, void (*body)(int arg), int arg)
{
	struct result result = in_sandbox(role, network, body, arg);

	assert_string_equal(result.text, "");
	assert_true(WIFEXITED(result.status));
	assert_int_equal(WEXITSTATUS(result.status), PASSED);
}

static void expect_stopped(enum sandbox_role role, bool network, void (*body)(int arg), int arg, const char *name)
{
	struct result result = in_sandbox(role, network, body, arg);
	char expected[64];

	snprintf(expected, sizeof(expected), "stopped system call %s (", name);
	if (!strstr(result.text, expected))
		fail_msg("expected '%s', got '%s'", expected, result.text);
	assert_true(WIFEXITED(result.status));
	assert_int_equal(WEXITSTATUS(result.status), 1);
}

/* ---- what nobody may ---- */

static const struct {
	const char *name;
	long number;
	long args[6];
	bool share; /* but the thread of a shared directory */
} forbidden[] = {
	{"execve", SYS_execve, {0}},
	{"execveat", SYS_execveat, {0}},
	{"clone", SYS_clone, {SIGCHLD}},
	{"ptrace", SYS_ptrace, {PTRACE_TRACEME}},
	{"mmap", SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0}},
	{"mprotect", SYS_mprotect, {0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC}},
	{"pkey_mprotect", SYS_pkey_mprotect, {0, 4096, PROT_READ, -1}},
	{"socket", SYS_socket, {AF_UNIX, SOCK_STREAM, 0}},
	{"socket", SYS_socket, {AF_NETLINK, SOCK_RAW, 0}},
	{"ioctl", SYS_ioctl, {0, TIOCSTI, 0}},
	{"ioctl", SYS_ioctl, {0, KVM_CREATE_VM, 0}},
	{"ioctl", SYS_ioctl, {0, KVM_SET_USER_MEMORY_REGION, 0}},
	{"kill", SYS_kill, {1, 0}},
	{"tgkill", SYS_tgkill, {1, 1, 0}},
	{"prctl", SYS_prctl, {PR_SET_DUMPABLE, 1}},
	{"unlinkat", SYS_unlinkat, {AT_FDCWD, 0, 0}, .share = true},
	{"mknodat", SYS_mknodat, {-1, 0, S_IFCHR, 0}},
	{"mknodat", SYS_mknodat, {-1, 0, S_IFBLK, 0}},
	{"mount", SYS_mount, {0}},
	{"unshare", SYS_unshare, {CLONE_NEWUSER}},
	{"setns", SYS_setns, {-1}},
	{"io_uring_setup", SYS_io_uring_setup, {1, 0}},
	{"io_uring_register", SYS_io_uring_register, {0}},
	{"process_vm_writev", SYS_process_vm_writev, {1}},
	{"bpf", SYS_bpf, {0}},
	{"openat2", SYS_openat2, {0}, .share = true},
	{"memfd_create", SYS_memfd_create, {0}},
	{"pidfd_getfd", SYS_pidfd_getfd, {-1}},
};

static void do_forbidden(int i)
{
	const long *args = forbidden[i].args;

	syscall(forbidden[i].number, args[0], args[1], args[2], args[3], args[4], args[5]);
}

static void test_what_nobody_may(void **state)
{
	for (enum sandbox_role role = 0; role < SANDBOX_ROLE_COUNT; role++)
		for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
			if (role == SANDBOX_SHARE && forbidden[i].share)
				expect_passed(role, true, do_forbidden, (int)i);
			else
				expect_stopped(role, true, do_forbidden, (int)i, forbidden[i].name);
}

/* ---- what only some may ---- */

static void do_open(int arg)
{
	int fd = open("/etc/passwd", O_RDONLY);

	if (fd >= 0 || errno != EACCES)
		_exit(1);
}

static void do_internet_socket(int arg)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0)
		_exit(2);
	close(fd);
}

static void do_read(int arg)
{
	char byte;

	if (read(-1, &byte, 1) != -1 || errno != EBADF)
		_exit(2);
}

static void do_pwrite(int arg)
{
	if (pwrite(-1, "", 1, 0) != -1 || errno != EBADF)
		_exit(2);
}

static void do_epoll(int arg)
{
	struct epoll_event event;

	if (epoll_wait(-1, &event, 1, 0) != -1 || errno != EBADF)
		_exit(2);
}

static void do_kvm_run(int arg)
{
	if (ioctl(-1, KVM_RUN, 0) != -1 || errno != EBADF)
		_exit(2);
}

static void do_kvm_msi(int arg)
{
	if (ioctl(-1, KVM_SIGNAL_MSI, 0) != -1 || errno != EBADF)
		_exit(2);
}

static void do_discard(int arg)
{
	if (ioctl(-1, BLKDISCARD, 0) != -1 || errno != EBADF)
		_exit(2);
}

/* What --stats asks for at the end, of a file that was opened before. */
static FILE *maps;

static void do_statistics(int arg)
{
	char line[256];

	if (!fgets(line, sizeof(line), maps))
		_exit(2);
	rewind(maps);
	if (!fgets(line, sizeof(line), maps))
		_exit(3);
	fprintf(stdout, "%s", "");
}

static void test_what_some_may(void **state)
{
	static const struct {
		void (*body)(int arg);
		const char *name;
		bool io, vcpu, block, vnc;
	} table[] = {
		{do_read, "read", true, false, true, true}, {do_pwrite, "pwrite64", true, false, true},
		{do_discard, "ioctl", true, false, true},   {do_kvm_run, "ioctl", false, true, false},
		{do_kvm_msi, "ioctl", true, true, false},   {do_internet_socket, "socket", true, false, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		bool may[SANDBOX_ROLE_COUNT] = {table[i].io, table[i].vcpu, table[i].block, [SANDBOX_VNC] = table[i].vnc};

		for (enum sandbox_role role = 0; role < SANDBOX_ROLE_COUNT; role++) {
			if (may[role])
				expect_passed(role, true, table[i].body, 0);
			else
				expect_stopped(role, true, table[i].body, 0, table[i].name);
		}
	}
	expect_stopped(SANDBOX_IO, false, do_internet_socket, 0, "socket");
	expect_passed(SANDBOX_IO, false, do_epoll, 0);
	maps = fopen("/proc/self/smaps", "re");
	assert_non_null(maps);
	expect_passed(SANDBOX_IO, false, do_statistics, 0);
	fclose(maps);
}

/* ---- one directory ---- */

static int leads_to(int at, const char *path, int flags)
{
	int fd = openat(at, path, flags, 0600);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* In a child: there is no way back. */
static int in_one_directory(const char *inside, const char *outside, bool read_only)
{
	int directory = open(inside, O_PATH | O_DIRECTORY), other = open(outside, O_PATH | O_DIRECTORY);
	int ruleset = landlock_make(directory, read_only);

	if (ruleset < 0 || landlock_enter(ruleset) < 0)
		return 1;
	if (leads_to(directory, "file", O_RDONLY) || leads_to(directory, "file", O_WRONLY) != (read_only ? -EACCES : 0) ||
	    leads_to(directory, "new", O_WRONLY | O_CREAT) != (read_only ? -EACCES : 0))
		return 2;
	if (leads_to(directory, "..", O_RDONLY) != -EACCES || leads_to(other, "file", O_RDONLY) != -EACCES ||
	    leads_to(other, "new", O_WRONLY | O_CREAT) != -EACCES || leads_to(AT_FDCWD, "/etc/passwd", O_RDONLY) != -EACCES)
		return 3;
	/* What is moved out is out, also by a descriptor of before. */
	if (!read_only && renameat(directory, "file", other, "moved") == 0)
		return 4;
	return mkdirat(other, "d", 0700) < 0 && unlinkat(other, "file", 0) < 0 ? PASSED : 5;
}

static void test_one_directory(void **state)
{
	char base[] = "/tmp/ruse-sandbox-XXXXXX", inside[64], outside[64], command[128];
	int probe = landlock_make(open("/", O_PATH | O_DIRECTORY), true);

	if (probe == -EOPNOTSUPP || probe == -ENOSYS)
		skip();
	assert_non_null(mkdtemp(base));
	snprintf(inside, sizeof(inside), "%s/in", base);
	snprintf(outside, sizeof(outside), "%s/out", base);
	snprintf(command, sizeof(command), "cd %s && mkdir in out && touch in/file out/file", base);
	assert_int_equal(system(command), 0);
	for (unsigned read_only = 0; read_only < 2; read_only++) {
		pid_t pid = fork();
		int status;

		if (pid == 0)
			_exit(in_one_directory(inside, outside, read_only));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(WEXITSTATUS(status), PASSED);
	}
	snprintf(command, sizeof(command), "rm -r %s", base);
	assert_int_equal(system(command), 0);
}

/* ---- what everybody must be able to ---- */

static void do_ordinary_things(int arg)
{
	struct termios settings;
	struct timespec nap = {.tv_nsec = 1000};
	_Atomic uint32_t word = 0;
	uint8_t random[16];
	char *big;

	/* Heap, small, large, growing, given back. */
	for (size_t size = 16; size < MIB(64); size *= 4) {
		big = malloc(size);
		if (!big)
			_exit(1);
		memset(big, 1, size);
		big = realloc(big, size * 2);
		if (!big)
			_exit(2);
		free(big);
	}
	if (platform_random(random, sizeof(random)) < 0)
		_exit(3);
	platform_wait(&word, 0, platform_clock_ns() + 1000000);
	platform_wake(&word, true);
	nanosleep(&nap, NULL);
	(void)platform_wall_ns();
	if (write(-1, "", 1) != -1)
		_exit(4);
	memset(&settings, 0, sizeof(settings));
	if (tcsetattr(-1, TCSANOW, &settings) != -1 || errno != EBADF)
		_exit(5);
	if (raise(SIGCONT) != 0)
		_exit(6);
}

static void do_abort(int arg)
{
	abort();
}

static void do_bug(int arg)
{
	BUG();
}

static void test_what_everybody_may(void **state)
{
	for (enum sandbox_role role = 0; role < SANDBOX_ROLE_COUNT; role++) {
		struct result result;

		expect_passed(role, false, do_ordinary_things, 0);
		expect_passed(role, true, do_open, 0);
		result = in_sandbox(role, false, do_abort, 0);
		assert_true(WIFSIGNALED(result.status));
		assert_int_equal(WTERMSIG(result.status), SIGABRT);
		result = in_sandbox(role, false, do_bug, 0);
		assert_int_equal(WEXITSTATUS(result.status), 1);
		assert_non_null(strstr(result.text, "test_sandbox.c"));
		assert_non_null(strstr(result.text, "bug of ruse"));
	}
}

/* ---- translated code: made executable before, never afterwards ---- */

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif

#if defined(__x86_64__)
static uint8_t *code_run, *code_write, *shared_page;

static void make_code(void)
{
	int fd = memfd_create("code", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, PAGE_SIZE), 0);
	code_run = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	code_write = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	shared_page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(code_run != MAP_FAILED && code_write != MAP_FAILED && shared_page != MAP_FAILED);
	close(fd);
}

static volatile sig_atomic_t kicked;

static void on_kick(int signal)
{
	kicked = 1;
}

static void do_translate(int arg)
{
	static const uint8_t seven[] = {0xb8, 7, 0, 0, 0, 0xc3}; /* mov eax, 7; ret */
	stack_t stack;

	memcpy(code_write, seven, sizeof(seven));
	if (((int (*)(void))(uintptr_t)code_run)() != 7)
		_exit(1);
	if (mprotect(shared_page, PAGE_SIZE, PROT_NONE) < 0 || mprotect(shared_page, PAGE_SIZE, PROT_READ | PROT_WRITE) < 0)
		_exit(2);
	/* Old kernels refuse guards; the sandbox does not. */
	madvise(shared_page, PAGE_SIZE, MADV_GUARD_INSTALL);
	madvise(shared_page, PAGE_SIZE, MADV_GUARD_REMOVE);
	if (madvise(shared_page, PAGE_SIZE, MADV_DONTNEED) < 0)
		_exit(3);
	if (syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGRTMIN + 3) < 0 || !kicked)
		_exit(4);
	if (sigaltstack(NULL, &stack) < 0 || munmap(shared_page, PAGE_SIZE) < 0)
		_exit(5);
}

static void do_code_writable_too(int arg)
{
	mprotect(code_run, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
}

static void do_alias_executable(int arg)
{
	mprotect(code_write, PAGE_SIZE, PROT_READ | PROT_EXEC);
}

static void do_new_handler(int arg)
{
	signal(SIGSEGV, SIG_IGN);
}

static void test_translated_code(void **state)
{
	make_code();
	signal(SIGRTMIN + 3, on_kick);
	expect_passed(SANDBOX_VCPU, false, do_translate, 0);
	for (enum sandbox_role role = 0; role < SANDBOX_ROLE_COUNT; role++) {
		expect_stopped(role, true, do_code_writable_too, 0, "mprotect");
		expect_stopped(role, true, do_alias_executable, 0, "mprotect");
	}
	expect_stopped(SANDBOX_VCPU, false, do_new_handler, 0, "rt_sigaction");
	signal(SIGRTMIN + 3, SIG_DFL);
	munmap(code_run, PAGE_SIZE);
	munmap(code_write, PAGE_SIZE);
	munmap(shared_page, PAGE_SIZE);
}
#else
static void test_translated_code(void **state)
{
}
#endif

/* ---- capabilities ---- */

static void do_wait(int arg)
{
	_Atomic uint32_t word = 0;

	(void)!write(arg, "x", 1);
	for (;;)
		platform_wait(&word, 0, UINT64_MAX);
}

static void test_capabilities_are_gone(void **state)
{
	static const char *const expected[] = {"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000",
					       "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000",
					       "NoNewPrivs:\t1", "Seccomp:\t2"};
	char path[64], text[4096] = "", byte;
	int ready[2];
	FILE *file;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		char why[128];
		struct sandbox *sandbox = sandbox_prepare(&(struct sandbox_options){0}, why, sizeof(why));

		if (sandbox && sandbox_enter(sandbox, SANDBOX_VCPU, why, sizeof(why)) == 0)
			do_wait(ready[1]);
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_non_null(strstr(text, expected[i]));
	if (geteuid() == 0)
		assert_non_null(strstr(text, "CapBnd:\t0000000000000000"));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ready[0]);
	close(ready[1]);
}

/* ---- a small machine, all in its sandbox ---- */

static struct sandbox *shared_sandbox;

static int enter_vcpu(void *ctx)
{
	char why[128];

	return sandbox_enter(shared_sandbox, SANDBOX_VCPU, why, sizeof(why));
}

static int machine_vcpu_init(struct vcpu *vcpu, char *why, size_t why_size)
{
	return 0;
}

static void machine_vcpu_destroy(struct vcpu *vcpu)
{
}

struct machine {
	struct vm *vm;
	struct loop *loop;
	struct char_backend *serial;
	struct timer timer;
	struct work work;
	_Atomic unsigned ticks, works;
};

static struct machine machine;

static void tick(void *ctx)
{
	atomic_fetch_add(&machine.ticks, 1);
	for (unsigned i = 0; i < machine.vm->vcpu_count; i++)
		vcpu_request(machine.vm->vcpus[i], VCPU_REQ_IRQ);
}

static void worked(void *ctx)
{
	machine.serial->ops->write(machine.serial, "w", 1);
	if (atomic_fetch_add(&machine.works, 1) == 50)
		vm_stop(machine.vm, VM_STOP_POWEROFF, 0);
}

/* So much that the C library's heap of this thread grows and, when it is given back, shrinks. */
static void use_heap(void)
{
	void *pieces[20];

	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++)
		pieces[i] = platform_alloc(100000);
	for (size_t i = ARRAY_SIZE(pieces); i-- > 0;)
		platform_free(pieces[i]);
}

static int machine_run(struct vcpu *vcpu, struct vm_exit *exit)
{
	use_heap();
	vcpu_take_request(vcpu, VCPU_REQ_IRQ);
	timer_arm(&machine.timer, platform_clock_ns() + 100000);
	work_post(&machine.work);
	log_guest("test", "from cpu%u", vcpu->index);
	exit->kind = VM_EXIT_HALT;
	return 0;
}

static void machine_kick(struct vcpu *vcpu)
{
}

static const struct engine_ops machine_engine = {
	.name = "machine",
	.vcpu_init = machine_vcpu_init,
	.vcpu_destroy = machine_vcpu_destroy,
	.run = machine_run,
	.kick = machine_kick,
};

static int run_machine(void)
{
	struct vcpu_threads *threads;
	struct char_host host = {0};
	char why[256];

	machine.loop = loop_create(why, sizeof(why));
	host.loop = machine.loop;
	machine.vm = vm_create(&(struct vm_params){
		.engine = &machine_engine, .cpus = 3, .platform = machine.loop});
	timer_init(&machine.timer, machine.vm, tick, NULL);
	work_init(&machine.work, machine.vm, worked, NULL);
	if (char_open(&host, "stdio", "serial0", &machine.serial, why, sizeof(why)) < 0)
		return 2;
	shared_sandbox = sandbox_prepare(&(struct sandbox_options){0}, why, sizeof(why));
	if (!shared_sandbox || threads_create(machine.vm, enter_vcpu, NULL, &threads, why, sizeof(why)) < 0)
		return 3;
	if (sandbox_enter(shared_sandbox, SANDBOX_IO, why, sizeof(why)) < 0)
		return 4;
	threads_run(threads);
	if (loop_run(machine.loop) < 0)
		return 5;
	threads_join(threads);
	vm_destroy(machine.vm);
	machine.serial->ops->destroy(machine.serial);
	loop_destroy(machine.loop);
	sandbox_free(shared_sandbox);
	printf("%u\n", machine.ticks > 0);
	return PASSED;
}

static void test_machine_in_sandbox(void **state)
{
	int out[2], status;
	char text[4096] = "";
	size_t length = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(out), 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		dup2(out[1], STDOUT_FILENO);
		dup2(out[1], STDERR_FILENO);
		close(out[0]);
		close(out[1]);
		exit(run_machine());
	}
	close(out[1]);
	while ((n = read(out[0], text + length, sizeof(text) - 1 - length)) > 0)
		length += (size_t)n;
	close(out[0]);
	waitpid(pid, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != PASSED)
		fail_msg("status %x: %s", (unsigned)status, text);
	assert_non_null(strstr(text, "w"));
	assert_non_null(strstr(text, "from cpu"));
	assert_string_equal(text + length - 2, "1\n");
}

/* ---- descriptors ---- */

static void test_descriptors(void **state)
{
	int pipes[2], status;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		struct descriptors inherited;
		int ours;

		close(STDIN_FILENO);
		descriptors_note(&inherited);
		if (fcntl(STDIN_FILENO, F_GETFD) < 0)
			_exit(1);
		if (inherited.count < 2 || fcntl(pipes[0], F_GETFD) < 0)
			_exit(2);
		ours = open("/dev/null", O_RDONLY);
		descriptors_close(&inherited);
		if (fcntl(pipes[0], F_GETFD) >= 0 || fcntl(pipes[1], F_GETFD) >= 0)
			_exit(3);
		if (fcntl(ours, F_GETFD) < 0 || fcntl(STDERR_FILENO, F_GETFD) < 0)
			_exit(4);
		_exit(PASSED);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(WEXITSTATUS(status), PASSED);
	close(pipes[0]);
	close(pipes[1]);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_nobody_may),
		cmocka_unit_test(test_what_some_may),
		cmocka_unit_test(test_one_directory),
		cmocka_unit_test(test_what_everybody_may),
		cmocka_unit_test(test_translated_code),
		cmocka_unit_test(test_capabilities_are_gone),
		cmocka_unit_test(test_machine_in_sandbox),
		cmocka_unit_test(test_descriptors),
	};

	if (SANITIZED) {
		puts("skipped: a sanitizer's runtime makes system calls that no role has");
		return 77;
	}
	return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
