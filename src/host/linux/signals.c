/* Signals through a signalfd; see signals.h.
 *
 * Example: `r = signals_open(&signals, loop, on_signal, vm, why, sizeof(why));`
 */
#include "host/linux/signals.h"
#include "base/fmt.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const int taken[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH};

static void on_ready(void *ctx, uint32_t events)
{
	struct signals *signals = ctx;
	struct signalfd_siginfo info;

	while (read(signals->watch.fd, &info, sizeof(info)) == sizeof(info))
		signals->received(signals->ctx, (int)info.ssi_signo);
}

static void fill_set(sigset_t *set)
{
	struct sigaction old;

	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		if (sigaction(taken[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaddset(set, taken[i]);
}

int signals_open(struct signals *signals, struct loop *loop, void (*received)(void *ctx, int number), void *ctx,
		 char *why, size_t why_size)
{
	sigset_t set;
	int fd, r;

	*signals = (struct signals){.loop = loop, .received = received, .ctx = ctx};
	signals->watch.fd = -1;
	signal(SIGPIPE, SIG_IGN);
	fill_set(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0) {
		r = -errno;
		goto fail;
	}
	watch_init(&signals->watch, fd, on_ready, signals);
	r = loop_watch(loop, &signals->watch, EPOLLIN);
	if (r == 0)
		return 0;
fail:
	fmt_print(why, why_size, "cannot receive signals: %s", strerror(-r));
	signals_close(signals);
	return r;
}

void signals_close(struct signals *signals)
{
	sigset_t set;

	if (signals->watch.fd >= 0) {
		loop_unwatch(signals->loop, &signals->watch);
		close(signals->watch.fd);
		signals->watch.fd = -1;
	}
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		sigaddset(&set, taken[i]);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
