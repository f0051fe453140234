/* host/linux: guest memory and its guards, image files, vcpu threads, signals.
 *
 * Example: `meson test -C build --suite host host`
 */
#include "arch/state.h"
#include "core/vm.h"
#include "host/linux/image_file.h"
#include "host/linux/loop.h"
#include "host/linux/memory.h"
#include "host/linux/resident.h"
#include "host/linux/signals.h"
#include "host/linux/threads.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- memory ---- */

static bool touch_crashes(volatile uint8_t *byte)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		*byte = 1;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void test_memory(void **state)
{
	struct guest_memory memory = {0};
	struct mem mem = {0};
	char why[256];
	uint8_t *hva;

	assert_int_equal(guest_memory_add(&memory, &mem, 0, MIB(4), GUEST_MEMORY_HUGE, why, sizeof(why)), 0);
	assert_int_equal(guest_memory_add(&memory, &mem, GIB(4), GIB(64), 0, why, sizeof(why)), 0);
	hva = mem_hva(&mem, 0, MIB(4));
	assert_non_null(hva);
	assert_int_equal((uintptr_t)hva % MIB(2), 0);
	assert_int_equal(hva[12345], 0);
	hva[MIB(4) - 1] = 7;
	assert_false(touch_crashes(hva));
	assert_true(touch_crashes(hva - 1));
	assert_true(touch_crashes(hva + MIB(4)));
	assert_true(touch_crashes(hva + MIB(6) - 1));
	assert_int_equal(guest_memory_add(&memory, &mem, 0, MIB(4), 0, why, sizeof(why)), -EINVAL);
	assert_int_equal(guest_memory_add(&memory, &mem, GIB(128), UINT64_MAX & PAGE_MASK, 0, why, sizeof(why)),
			 -EINVAL);
	assert_true(guest_memory_add(&memory, &mem, GIB(128), UINT64_C(1) << 60, 0, why, sizeof(why)) < 0);
	assert_non_null(strstr(why, "--memory"));
	assert_int_equal(memory.count, 2);
	mem_destroy(&mem);
	guest_memory_destroy(&memory);
	assert_true(touch_crashes(hva));
}

static void test_shared_memory(void **state)
{
	struct guest_memory memory = {0};
	struct mem mem = {0};
	char why[256];
	uint8_t *hva, *again;

	assert_int_equal(guest_memory_add(&memory, &mem, 0, MIB(4), GUEST_MEMORY_HUGE | GUEST_MEMORY_SHARED, why,
					  sizeof(why)), 0);
	hva = mem_hva(&mem, 0, MIB(4));
	again = mremap(hva, 0, MIB(4), MREMAP_MAYMOVE);
	assert_true(again != MAP_FAILED);
	hva[MIB(3)] = 7;
	assert_int_equal(again[MIB(3)], 7);
	assert_true(touch_crashes(hva - 1));
	assert_true(touch_crashes(hva + MIB(4)));
	munmap(again, MIB(4));
	mem_destroy(&mem);
	guest_memory_destroy(&memory);
}

/* ---- images ---- */

static void test_image_file(void **state)
{
	char path[] = "/tmp/ruse-image-XXXXXX", why[256], buf[8];
	int fd = mkstemp(path), pipes[2];
	struct image image = {0};

	image_file_close(&image);
	assert_true(fd >= 0);
	assert_int_equal(image_file_open(&image, path, "kernel", why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "kernel '"));
	assert_non_null(strstr(why, "empty"));
	assert_int_equal(write(fd, "0123456789", 10), 10);
	assert_int_equal(image_file_open(&image, path, "kernel", why, sizeof(why)), 0);
	assert_int_equal(image.size, 10);
	assert_int_equal(image.read(&image, 4, buf, 6), 0);
	assert_memory_equal(buf, "456789", 6);
	assert_int_equal(image.read(&image, 4, buf, 7), -EINVAL);
	assert_int_equal(image.read(&image, UINT64_MAX, buf, 2), -EINVAL);
	assert_int_equal(ftruncate(fd, 5), 0);
	assert_int_equal(image.read(&image, 4, buf, 6), -EIO);
	image_file_close(&image);
	close(fd);
	unlink(path);
	assert_int_equal(image_file_open(&image, path, "initrd", why, sizeof(why)), -ENOENT);
	assert_non_null(strstr(why, "No such file"));
	assert_int_equal(image_file_open(&image, "/", "initrd", why, sizeof(why)), -EISDIR);
	/* A pipe, as `--initrd <(...)` gives. */
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(write(pipes[1], "abcdef", 6), 6);
	close(pipes[1]);
	snprintf(path, sizeof(path), "/dev/fd/%d", pipes[0]);
	assert_int_equal(image_file_open(&image, path, "initrd", why, sizeof(why)), 0);
	assert_int_equal(image.size, 6);
	assert_int_equal(image.read(&image, 3, buf, 3), 0);
	assert_memory_equal(buf, "def", 3);
	image_file_close(&image);
	close(pipes[0]);
}

/* ---- resident memory ---- */

/* Guest RAM counts once however often it is mapped; what is beside it, too. */
static void test_resident(void **state)
{
	struct resident resident;
	struct guest_memory memory = {0};
	struct mem mem = {0};
	char why[256];
	uint8_t *ram, *view, *beside, *again;
	uint64_t guest, other;

	resident_open(&resident);
	if (!resident.maps)
		skip();
	assert_int_equal(guest_memory_add(&memory, &mem, 0, MIB(32), GUEST_MEMORY_SHARED, why, sizeof(why)), 0);
	ram = mem_hva(&mem, 0, MIB(32));
	assert_true(resident_measure(&resident, &mem));
	guest = resident.guest_kib;
	other = resident.other_kib;
	view = mremap(ram, 0, MIB(32), MREMAP_MAYMOVE);
	assert_ptr_not_equal(view, MAP_FAILED);
	beside = mmap(NULL, MIB(16), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(beside, MAP_FAILED);
	again = mremap(beside, 0, MIB(16), MREMAP_MAYMOVE);
	assert_ptr_not_equal(again, MAP_FAILED);
	memset(ram, 1, MIB(8));
	memset(view, 1, MIB(8));
	memset(beside, 1, MIB(16));
	memset(again, 1, MIB(16));
	assert_true(resident_measure(&resident, &mem));
	/* Of libraries it has a share, which other processes change while this one runs. */
	assert_in_range(resident.guest_kib - guest, 7 * 1024, 10 * 1024);
	assert_in_range(resident.other_kib - other, 14 * 1024, 18 * 1024);
	munmap(view, MIB(32));
	munmap(beside, MIB(16));
	munmap(again, MIB(16));
	guest_memory_destroy(&memory);
	resident_close(&resident);
	assert_false(resident_measure(&resident, &mem));
	mem_destroy(&mem);
}

/* ---- threads ---- */

static struct {
	_Atomic unsigned inits, destroys, runs, entered, names_right;
	unsigned fail_at;
	bool enter_fails;
} seen;

static int fake_vcpu_init(struct vcpu *vcpu, char *why, size_t why_size)
{
	char name[16], expected[16];

	pthread_getname_np(pthread_self(), name, sizeof(name));
	snprintf(expected, sizeof(expected), "ruse-cpu%u", vcpu->index);
	if (strcmp(name, expected) == 0)
		atomic_fetch_add(&seen.names_right, 1);
	atomic_fetch_add(&seen.inits, 1);
	if (vcpu->index == seen.fail_at) {
		snprintf(why, why_size, "the host has no room for cpu%u", vcpu->index);
		return -ENOSPC;
	}
	return 0;
}

static void fake_vcpu_destroy(struct vcpu *vcpu)
{
	atomic_fetch_add(&seen.destroys, 1);
}

static int fake_run(struct vcpu *vcpu, struct vm_exit *exit)
{
	atomic_fetch_add(&seen.runs, 1);
	exit->kind = VM_EXIT_HALT;
	if (vcpu->index == 0)
		vm_stop(vcpu->vm, VM_STOP_POWEROFF, 0);
	return 0;
}

static void fake_kick(struct vcpu *vcpu)
{
}

static const struct engine_ops fake_engine = {
	.name = "fake",
	.vcpu_init = fake_vcpu_init,
	.vcpu_destroy = fake_vcpu_destroy,
	.run = fake_run,
	.kick = fake_kick,
};

static int enter(void *ctx)
{
	atomic_fetch_add(&seen.entered, 1);
	return seen.enter_fails ? -1 : 0;
}

static struct vm *make_vm(struct loop **loop)
{
	char why[128];

	memset(&seen, 0, sizeof(seen));
	seen.fail_at = 99;
	*loop = loop_create(why, sizeof(why));
	return vm_create(&(struct vm_params){.engine = &fake_engine, .cpus = 4, .platform = *loop});
}

static void test_threads_run_and_join(void **state)
{
	struct vcpu_threads *threads;
	struct loop *loop;
	struct vm *vm = make_vm(&loop);
	char why[256];

	assert_int_equal(threads_create(vm, enter, NULL, &threads, why, sizeof(why)), 0);
	assert_int_equal(seen.inits, 4);
	assert_int_equal(seen.names_right, 4);
	usleep(10000);
	assert_int_equal(seen.runs + seen.entered, 0);
	threads_run(threads);
	assert_int_equal(loop_run(loop), 0);
	threads_wait(threads);
	assert_int_equal(seen.destroys, 0);
	threads_join(threads);
	assert_int_equal(vm->stop_reason, VM_STOP_POWEROFF);
	assert_int_equal(seen.destroys, 4);
	assert_int_equal(seen.entered, 4);
	vm_destroy(vm);
	loop_destroy(loop);
}

static void test_threads_that_fail(void **state)
{
	struct vcpu_threads *threads;
	struct loop *loop;
	struct vm *vm = make_vm(&loop);
	char why[256];

	seen.fail_at = 2;
	assert_int_equal(threads_create(vm, enter, NULL, &threads, why, sizeof(why)), -ENOSPC);
	assert_string_equal(why, "the host has no room for cpu2");
	assert_int_equal(seen.inits, 4);
	assert_int_equal(seen.destroys, 3);
	assert_int_equal(seen.runs, 0);
	vm_destroy(vm);
	loop_destroy(loop);

	/* Made and given up before the start. */
	vm = make_vm(&loop);
	assert_int_equal(threads_create(vm, enter, NULL, &threads, why, sizeof(why)), 0);
	threads_join(threads);
	assert_int_equal(seen.destroys, 4);
	assert_int_equal(seen.runs, 0);
	vm_destroy(vm);
	loop_destroy(loop);

	/* A thread that can't be restricted runs no guest instruction. */
	vm = make_vm(&loop);
	seen.enter_fails = true;
	assert_int_equal(threads_create(vm, enter, NULL, &threads, why, sizeof(why)), 0);
	threads_run(threads);
	assert_int_equal(loop_run(loop), 0);
	threads_join(threads);
	assert_int_equal(vm->stop_reason, VM_STOP_HOST_ERROR);
	assert_int_equal(seen.runs, 0);
	vm_destroy(vm);
	loop_destroy(loop);
}

/* ---- signals ---- */

static int received[8];
static unsigned received_count;

static void on_signal(void *ctx, int number)
{
	received[received_count++] = number;
	loop_stop(ctx);
}

static void test_signals(void **state)
{
	struct signals signals;
	struct loop *loop;
	char why[128];

	loop = loop_create(why, sizeof(why));
	signal(SIGHUP, SIG_IGN);
	assert_int_equal(signals_open(&signals, loop, on_signal, loop, why, sizeof(why)), 0);
	kill(getpid(), SIGHUP); /* ignored, as under nohup */
	kill(getpid(), SIGTERM);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(received_count, 1);
	assert_int_equal(received[0], SIGTERM);
	kill(getpid(), SIGWINCH);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(received[1], SIGWINCH);
	signals_close(&signals);
	loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_shared_memory),
		cmocka_unit_test(test_image_file),
		cmocka_unit_test(test_resident),
		cmocka_unit_test(test_threads_run_and_join),
		cmocka_unit_test(test_threads_that_fail),
		cmocka_unit_test(test_signals),
	};

	return cmocka_run_group_tests_name("host", tests, NULL, NULL);
}
