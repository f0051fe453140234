/* Giving up rights; see sandbox.h. The rules themselves are in sandbox_rules.c.
 *
 * Example: `r = sandbox_enter(sandbox, SANDBOX_VCPU, why, sizeof(why));`
 *
 * libseccomp makes the filters once; the programs are kept, so that a thread which enters needs two system calls
 * and no memory.
 */
#include "host/linux/sandbox.h"
#include "base/fmt.h"
#include "core/platform.h"
#include "host/linux/sandbox_rules.h"
#include "host/linux/terminal.h"
#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct sandbox {
	struct sock_fprog programs[SANDBOX_ROLE_COUNT];
};

/* ---- making the filters ---- */

static int add_rule(scmp_filter_ctx filter, const struct sandbox_rule *rule)
{
	int number = seccomp_syscall_resolve_name(rule->name);
	struct scmp_arg_cmp compare = {.arg = rule->arg, .op = SCMP_CMP_MASKED_EQ};

	if (number == __NR_SCMP_ERROR)
		return 0;
	switch (rule->check) {
	case CHECK_ERRNO:
		return seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)rule->value), number, 0);
	case CHECK_MASKED:
		compare.datum_a = rule->mask;
		compare.datum_b = rule->value;
		return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, 1, &compare);
	case CHECK_SELF:
		compare.datum_a = 0xffffffffu;
		compare.datum_b = (uint32_t)getpid();
		return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, 1, &compare);
	default:
		return seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
	}
}

static int add_ioctls(scmp_filter_ctx filter, const unsigned long *requests)
{
	int r = 0;

	for (; *requests && r == 0; requests++)
		r = add_rule(filter, &(struct sandbox_rule){"ioctl", 0, CHECK_MASKED, 1, 0xffffffffu, *requests});
	return r;
}

static int add_rules(scmp_filter_ctx filter, unsigned columns)
{
	int r = 0;

	for (const struct sandbox_rule *rule = sandbox_rules; rule->name && r == 0; rule++)
		if (rule->roles & columns)
			r = add_rule(filter, rule);
	if (r == 0 && (columns & ROLE_VCPU))
		r = add_ioctls(filter, sandbox_kvm_vcpu);
	if (r == 0 && (columns & ROLE_IO))
		r = add_ioctls(filter, sandbox_kvm_io);
	return r;
}

/* The filter as a program in memory of our own. */
static int export_program(scmp_filter_ctx filter, struct sock_fprog *program)
{
	int fd = memfd_create("ruse-filter", MFD_CLOEXEC), r;
	struct stat st;

	if (fd < 0)
		return -errno;
	r = seccomp_export_bpf(filter, fd);
	if (r < 0)
		goto out;
	r = -EIO;
	if (fstat(fd, &st) < 0 || st.st_size <= 0 ||
	    (size_t)st.st_size > BPF_MAXINSNS * sizeof(struct sock_filter))
		goto out;
	program->len = (unsigned short)((size_t)st.st_size / sizeof(struct sock_filter));
	program->filter = malloc((size_t)st.st_size);
	if (!program->filter)
		r = -ENOMEM;
	else if (pread(fd, program->filter, (size_t)st.st_size, 0) == st.st_size)
		r = 0;
out:
	close(fd);
	return r;
}

static int make_program(unsigned columns, struct sock_fprog *program)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
	int r;

	if (!filter)
		return -ENOMEM;
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	/* A search tree instead of a list: KVM_RUN passes here on every entry. Old libraries lack it. */
	if (r == 0)
		(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = add_rules(filter, columns);
	if (r == 0)
		r = export_program(filter, program);
	seccomp_release(filter);
	return r;
}

/* ---- reporting ---- */

static void on_violation(int number, siginfo_t *info, void *context)
{
	unsigned call = (unsigned)info->si_syscall;
	const char *name = call < sandbox_syscall_count ? sandbox_syscall_names[call] : NULL;
	char text[280];

	terminal_restore();
	fmt_print(text, sizeof(text),
		  "the sandbox stopped system call %s (%u), made at %p, so the machine is stopped; if this is a bug of "
		  "ruse, --no-sandbox goes round it", name ? name : "unknown", call, info->si_call_addr);
	platform_log(LOG_ERROR, "sandbox", text);
	_exit(1);
}

static int install_reporter(void)
{
	struct sigaction action = {.sa_sigaction = on_violation, .sa_flags = SA_SIGINFO};

	return sigaction(SIGSYS, &action, NULL) < 0 ? -errno : 0;
}

struct sandbox *sandbox_prepare(const struct sandbox_options *options, char *why, size_t why_size)
{
	static const unsigned columns[SANDBOX_ROLE_COUNT] = {
		[SANDBOX_IO] = ROLE_IO, [SANDBOX_VCPU] = ROLE_VCPU, [SANDBOX_BLOCK] = ROLE_BLOCK,
		[SANDBOX_SHARE] = ROLE_SHARE, [SANDBOX_VNC] = ROLE_VNC};
	struct sandbox *sandbox = calloc(1, sizeof(*sandbox));
	int r = sandbox ? install_reporter() : -ENOMEM;

	for (unsigned role = 0; role < SANDBOX_ROLE_COUNT && r == 0; role++) {
		unsigned more = (options->network ? ROLE_NET : 0u) | (options->vsock ? ROLE_VSOCK : 0u) |
				(options->vhost ? ROLE_VHOST : 0u) | (options->tap ? ROLE_TAP : 0u) | (options->nbd ? ROLE_NBD : 0u) |
				(options->plug ? ROLE_PLUG : 0u);

		if (role == SANDBOX_VNC && !options->vnc)
			continue;
		r = make_program(columns[role] | (role == SANDBOX_IO ? more : 0u), &sandbox->programs[role]);
	}
	if (r == 0)
		return sandbox;
	fmt_print(why, why_size, "cannot make the sandbox's filters: %s; --no-sandbox runs without", strerror(-r));
	sandbox_free(sandbox);
	return NULL;
}

void sandbox_free(struct sandbox *sandbox)
{
	if (!sandbox)
		return;
	for (unsigned role = 0; role < SANDBOX_ROLE_COUNT; role++)
		free(sandbox->programs[role].filter);
	free(sandbox);
}

/* ---- entering ---- */

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	/* These two need rights that we may not have; then there is nothing in them that we could get back,
	 * since no_new_privs holds. */
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

static int install(const struct sock_fprog *program)
{
	/* Without SPEC_ALLOW, kernels before 5.16 slow every store of the guest down (SSBD), for a defence
	 * between parts of one address space that we do not rely on. */
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, program) == 0)
		return 0;
	if (errno == EINVAL && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) == 0)
		return 0;
	return -errno;
}

static int enter(const struct sock_fprog *program, char *why, size_t why_size)
{
	int r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;

	if (r == 0)
		r = drop_capabilities();
	if (r == 0)
		r = install(program);
	if (r < 0)
		fmt_print(why, why_size, "cannot enter the sandbox: %s; --no-sandbox runs without", strerror(-r));
	return r;
}

int sandbox_enter(const struct sandbox *sandbox, enum sandbox_role role, char *why, size_t why_size)
{
	return enter(&sandbox->programs[role], why, why_size);
}

/* A process of its own, which makes the filter for itself. */
static int enter_process(unsigned columns, char *why, size_t why_size)
{
	struct sock_fprog program;
	int r = make_program(columns, &program);

	if (r < 0)
		return r;
	r = enter(&program, why, why_size);
	free(program.filter);
	return r;
}

int sandbox_enter_keeper(char *why, size_t why_size)
{
	return enter_process(ROLE_KEEPER, why, why_size);
}

int sandbox_enter_broker(char *why, size_t why_size)
{
	return enter_process(ROLE_BROKER, why, why_size);
}
