/* Executes cases (case.h) where it runs: under qemu-aarch64, or on a processor. AArch64.
 *
 * usage: subject FILE
 *
 * FILE is a struct batch that is shared. For each byte that it reads, its cases are executed, and a byte is written.
 */
#include "case.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

uint64_t run_case(const struct registers *before, struct registers *after);
void leave_case(void);

static uint32_t ended_by;

/* The state of the case is not wanted then; on with its caller. Results of leave_case() are x0. */
static void on_signal(int number, siginfo_t *info, void *context)
{
	ucontext_t *c = context;

	ended_by = (uint32_t)number;
	c->uc_mcontext.pc = (uint64_t)(uintptr_t)leave_case;
	c->uc_mcontext.regs[0] = 0;
}

static void execute(struct oracle_case *one)
{
	uint64_t *const data = (uint64_t *)DATA_ADDRESS;
	volatile uint32_t *const code = (uint32_t *)CODE_ADDRESS;

	memset(data, 0, DATA_SIZE);
	memcpy((uint8_t *)data + WINDOW_OFFSET, one->window, WINDOW_SIZE);
	*code = one->word;
	__builtin___clear_cache((char *)CODE_ADDRESS, (char *)CODE_ADDRESS + 4);
	ended_by = 0;
	one->taken = (uint32_t)run_case(&one->before, &one->after);
	one->signal = ended_by;
	one->data_sum = data_sum(data);
	memcpy(one->window, (uint8_t *)data + WINDOW_OFFSET, WINDOW_SIZE);
}

int main(int argc, char **argv)
{
	static const int numbers[] = {SIGILL, SIGSEGV, SIGBUS, SIGTRAP, SIGFPE};
	static uint8_t stack[65536];
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	int fd = argc == 2 ? open(argv[1], O_RDWR) : -1;
	struct batch *batch = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*batch), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	void *data = mmap((void *)DATA_ADDRESS, DATA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	char byte;

	if (batch == MAP_FAILED || data == MAP_FAILED) {
		perror("subject");
		return 1;
	}
	sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof(stack)}, NULL);
	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaction(numbers[i], &action, NULL);
	while (read(0, &byte, 1) == 1) {
		for (uint32_t i = 0; i < batch->count; i++)
			execute(&batch->cases[i]);
		if (write(1, &byte, 1) != 1)
			return 1;
	}
	return 0;
}
