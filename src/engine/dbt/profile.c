/* Counts for `--profile`: samples of where the vcpu is, by a timer of its thread's processor time; faults, and what is left to the
 * interpreter.
 *
 * The sample's signal finds the block by the host address, as a kick does; outside of translated code the guest's rip is in the
 * state of record. All counts are in one hash table of the vcpu, which never grows: it is written in signal handlers.
 */
#include "core/profile.h"
#include "core/vm.h"
#include "engine/dbt/dbt.h"
#include "engine/dbt/profile.h"
#include "base/errno.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES_BITS 16
#define ENTRIES (1u << ENTRIES_BITS)
#define PROBES  64

struct entry {
	uint64_t address, space;
	const char *what;
	uint32_t count; /* 0: free */
	uint8_t kind, user;
};

struct dbt_profile {
	timer_t timer;
	bool timer_made;
	volatile bool busy; /* the table is being written: a sample then is lost */
	uint64_t lost;
	struct entry entries[ENTRIES];
};

static const char *const doing[DBT_TIME_COUNT] = {
	[DBT_TIME_OUTSIDE] = "outside of the engine", [DBT_TIME_INTERPRETER] = "interpreter", [DBT_TIME_C] = "finding and linking",
	[DBT_TIME_TRANSLATION] = "translation", [DBT_TIME_TRANSLATED] = "translated", [DBT_TIME_FAULTS] = "fault handlers",
};

static int sample_signal(void)
{
	return SIGRTMIN + 4;
}

static void count(struct dbt *d, enum profile_kind kind, const char *what, uint64_t address)
{
	struct dbt_profile *p = d->profile;
	bool user = d->cpu.cpl == 3;
	uint64_t space = user ? d->cpu.s.cr3 & 0x000ffffffffff000ull : 0;
	uint64_t hash = (address ^ space ^ (uintptr_t)what * 31 ^ (uint64_t)kind << 60) * 0x9e3779b97f4a7c15ull;

	if (p->busy) {
		p->lost++;
		return;
	}
	p->busy = true;
	for (unsigned i = 0; i < PROBES; i++) {
		struct entry *entry = &p->entries[((hash >> (64 - ENTRIES_BITS)) + i) % ENTRIES];

		if (!entry->count)
			*entry = (struct entry){.address = address, .space = space, .what = what, .kind = (uint8_t)kind, .user = user};
		else if (entry->address != address || entry->space != space || entry->what != what || entry->kind != kind ||
			 entry->user != user)
			continue;
		entry->count += entry->count != UINT32_MAX;
		p->busy = false;
		return;
	}
	p->lost++;
	p->busy = false;
}

void dbt_profile_sample(struct dbt *d, bool in_block, uint64_t rip)
{
	enum dbt_time now = d->clock.now;

	count(d, PROFILE_TIME, in_block || now != DBT_TIME_TRANSLATED ? doing[now] : "entering and leaving", rip);
}

void dbt_profile_fault(struct dbt *d, enum dbt_fault_cause cause, gva_t gva)
{
	if (unlikely(d->profile != NULL))
		count(d, PROFILE_FAULT, dbt_fault_names[cause], gva & PAGE_MASK);
}

void dbt_profile_step(struct dbt *d, unsigned op)
{
	if (unlikely(d->profile != NULL))
		count(d, PROFILE_INTERPRETED, op == X86_INVALID ? "(not decoded)" : x86_op_name(op), d->cpu.s.rip);
}

/* ---- the timer ---- */

int dbt_profile_signal_init(void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART, .sa_sigaction = handler};

	sigfillset(&action.sa_mask);
	sigdelset(&action.sa_mask, SIGSYS);
	return sigaction(sample_signal(), &action, NULL) < 0 ? -errno : 0;
}

int dbt_profile_begin(struct dbt *d)
{
	const struct profile_sink *sink = d->cpu.vm->profile;
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = sample_signal()};
	struct itimerspec interval = {0};
	void *at;

	if (!sink)
		return 0;
	at = mmap(NULL, sizeof(*d->profile), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return -errno;
	d->profile = at;
	d->measuring = true;
	event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &d->profile->timer) < 0)
		return -errno;
	d->profile->timer_made = true;
	interval.it_interval.tv_nsec = interval.it_value.tv_nsec = (long)sink->interval_us * 1000;
	return timer_settime(d->profile->timer, 0, &interval, NULL) < 0 ? -errno : 0;
}

void dbt_profile_end(struct dbt *d)
{
	struct dbt_profile *p = d->profile;

	if (!p)
		return;
	if (p->timer_made)
		timer_delete(p->timer);
	d->profile = NULL;
	munmap(p, sizeof(*p));
}

void dbt_profile_report(struct vcpu *vcpu, struct profile_sink *sink)
{
	struct dbt *d = vcpu->engine_vcpu;
	struct dbt_profile *p = d->profile;

	p->busy = true;
	for (unsigned i = 0; i < ENTRIES; i++) {
		const struct entry *entry = &p->entries[i];

		if (entry->count)
			sink->add(sink, &(struct profile_entry){.kind = entry->kind, .what = entry->what, .address = entry->address,
								.space = entry->space, .user = entry->user, .count = entry->count});
	}
	if (p->lost)
		sink->add(sink, &(struct profile_entry){.kind = PROFILE_LOST, .what = "", .count = p->lost});
}
