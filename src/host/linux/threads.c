/* The vcpu threads; see threads.h.
 *
 * Example: `r = threads_create(vm, NULL, NULL, &threads, why, sizeof(why)); threads_run(threads);`
 *
 * A gate of one word holds the threads back after vcpu_init: CLOSED, then OPEN for the guest to start, or
 * ABANDONED when some other vcpu could not be made. Once the guest has ended it holds them back before vcpu_destroy, until
 * it is LEFT.
 */
#include "host/linux/threads.h"
#include "base/fmt.h"
#include "core/platform.h"
#include "core/vm.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define STACK_SIZE MIB(1)

enum { GATE_CLOSED, GATE_OPEN, GATE_ABANDONED, GATE_LEFT };

struct vcpu_thread {
	struct vcpu_threads *all;
	struct vcpu *vcpu;
	pthread_t handle;
	int init_result;
	char why[256];
};

struct vcpu_threads {
	struct vm *vm;
	int (*enter)(void *ctx);
	void *enter_ctx;
	_Atomic uint32_t gate;
	_Atomic uint32_t initialised; /* threads that are past vcpu_init */
	_Atomic uint32_t ended;       /* threads that are past vcpu_loop and have reported */
	unsigned count;               /* threads that were started */
	struct vcpu_thread threads[];
};

static void run_vcpu(struct vcpu_threads *all, struct vcpu *vcpu)
{
	int r;

	/* Not a single guest instruction then: another thread may have stopped the VM, and this vcpu not know it yet. */
	if (all->enter && all->enter(all->enter_ctx) != 0) {
		vm_stop(all->vm, VM_STOP_HOST_ERROR, 0);
		return;
	}
	r = vcpu_loop(vcpu);
	(void)r; /* it has stopped the VM and said why */
}

static void *vcpu_main(void *arg)
{
	struct vcpu_thread *thread = arg;
	struct vcpu_threads *all = thread->all;
	const struct engine_ops *engine = all->vm->engine;
	char name[16];

	fmt_print(name, sizeof(name), "ruse-cpu%u", thread->vcpu->index);
	pthread_setname_np(pthread_self(), name);

	thread->init_result = engine->vcpu_init(thread->vcpu, thread->why, sizeof(thread->why));
	atomic_fetch_add(&all->initialised, 1);
	platform_wake(&all->initialised, true);
	if (thread->init_result < 0)
		return NULL;

	while (atomic_load(&all->gate) == GATE_CLOSED)
		platform_wait(&all->gate, GATE_CLOSED, UINT64_MAX);
	if (atomic_load(&all->gate) == GATE_OPEN)
		run_vcpu(all, thread->vcpu);
	if (engine->instructions)
		thread->vcpu->stats.instructions = engine->instructions(thread->vcpu);
	if (engine->report && all->vm->stats)
		engine->report(thread->vcpu, all->vm->stats);
	if (engine->profile && all->vm->profile)
		engine->profile(thread->vcpu, all->vm->profile);
	if (engine->count_blocks && all->vm->block_counts)
		engine->count_blocks(thread->vcpu);
	atomic_fetch_add(&all->ended, 1);
	platform_wake(&all->ended, true);
	while (atomic_load(&all->gate) == GATE_OPEN)
		platform_wait(&all->gate, GATE_OPEN, UINT64_MAX);
	engine->vcpu_destroy(thread->vcpu);
	return NULL;
}

static void open_gate(struct vcpu_threads *all, uint32_t how)
{
	atomic_store(&all->gate, how);
	platform_wake(&all->gate, true);
}

/* Starts one thread with the process's signals blocked; it inherits the mask. */
static int start_thread(struct vcpu_thread *thread)
{
	static const int process_signals[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGWINCH,
					      SIGTSTP, SIGCONT, SIGCHLD, SIGALRM};
	pthread_attr_t attr;
	sigset_t blocked, before;
	int error;

	error = pthread_attr_init(&attr);
	if (error)
		return -error;
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	sigemptyset(&blocked);
	for (size_t i = 0; i < ARRAY_SIZE(process_signals); i++)
		sigaddset(&blocked, process_signals[i]);
	pthread_sigmask(SIG_BLOCK, &blocked, &before);
	error = pthread_create(&thread->handle, &attr, vcpu_main, thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return -error;
}

/* 0 when every vcpu was made. */
static int wait_for_init(struct vcpu_threads *all, char *why, size_t why_size)
{
	uint32_t done;

	while ((done = atomic_load(&all->initialised)) < all->count)
		platform_wait(&all->initialised, done, UINT64_MAX);
	for (unsigned i = 0; i < all->count; i++) {
		if (all->threads[i].init_result < 0) {
			fmt_print(why, why_size, "%s", all->threads[i].why);
			return all->threads[i].init_result;
		}
	}
	return 0;
}

int threads_create(struct vm *vm, int (*enter)(void *ctx), void *enter_ctx, struct vcpu_threads **out, char *why,
		   size_t why_size)
{
	struct vcpu_threads *all;
	int r = 0, init_result;

	all = calloc(1, sizeof(*all) + vm->vcpu_count * sizeof(all->threads[0]));
	if (!all) {
		fmt_print(why, why_size, "out of memory for %u vcpu threads", vm->vcpu_count);
		return -ENOMEM;
	}
	all->vm = vm;
	all->enter = enter;
	all->enter_ctx = enter_ctx;
	for (; all->count < vm->vcpu_count; all->count++) {
		struct vcpu_thread *thread = &all->threads[all->count];

		thread->all = all;
		thread->vcpu = vm->vcpus[all->count];
		r = start_thread(thread);
		if (r < 0) {
			fmt_print(why, why_size, "cannot start the thread of cpu%u: %s; raise the limit of processes "
						 "(ulimit -u) or use fewer cpus", all->count, strerror(-r));
			break;
		}
	}
	init_result = wait_for_init(all, r < 0 ? NULL : why, r < 0 ? 0 : why_size);
	if (r == 0)
		r = init_result;
	if (r < 0) {
		threads_join(all);
		return r;
	}
	*out = all;
	return 0;
}

void threads_run(struct vcpu_threads *threads)
{
	open_gate(threads, GATE_OPEN);
}

void threads_wait(struct vcpu_threads *threads)
{
	uint32_t ended;

	while ((ended = atomic_load(&threads->ended)) < threads->count)
		platform_wait(&threads->ended, ended, UINT64_MAX);
}

void threads_join(struct vcpu_threads *threads)
{
	if (!threads)
		return;
	open_gate(threads, atomic_load(&threads->gate) == GATE_CLOSED ? GATE_ABANDONED : GATE_LEFT);
	for (unsigned i = 0; i < threads->count; i++)
		pthread_join(threads->threads[i].handle, NULL);
	free(threads);
}
