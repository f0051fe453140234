/* `ruse top`: what a running VM does, second by second. The VM's side is host/linux/monitor.c.
 *
 * Example: `ruse top 4711`, or `ruse top --count 1 | grep faults`
 */
#include "cli/commands.h"
#include "host/linux/monitor.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FIGURES_MAX 512
#define NAME_SIZE  64
#define VMS_MAX     64

struct figure {
	char name[NAME_SIZE];
	double value;
	bool time; /* milliseconds */
};

struct figures {
	struct figure of[FIGURES_MAX];
	unsigned count;
	unsigned processors;
	double seconds;
	char engine[16];
};

static int connect_to(const char *directory, unsigned long pid)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int len = snprintf(address.sun_path, sizeof(address.sun_path), "%s/ruse-%lu.sock", directory, pid);
	int fd, error;

	if (len < 0 || (size_t)len >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	error = errno;
	close(fd);
	/* A VM that has ended leaves its socket behind. */
	if (error == ECONNREFUSED)
		unlink(address.sun_path);
	return -error;
}

/* The VMs that answer. */
static unsigned find_vms(const char *directory, unsigned long pids[VMS_MAX])
{
	DIR *dir = opendir(directory);
	struct dirent *entry;
	unsigned count = 0;

	while (dir && (entry = readdir(dir)) && count < VMS_MAX) {
		char *end;
		unsigned long pid;
		int fd;

		if (strncmp(entry->d_name, "ruse-", 5))
			continue;
		pid = strtoul(entry->d_name + 5, &end, 10);
		if (end == entry->d_name + 5 || strcmp(end, ".sock"))
			continue;
		fd = connect_to(directory, pid);
		if (fd >= 0) {
			pids[count++] = pid;
			close(fd);
		}
	}
	if (dir)
		closedir(dir);
	return count;
}

/* One block of figures, up to an empty line. False: the VM has ended. */
static bool read_figures(FILE *in, struct figures *figures)
{
	char line[256];

	*figures = (struct figures){0};
	while (fgets(line, sizeof(line), in)) {
		struct figure *figure = &figures->of[figures->count];
		char *colon = strstr(line, ": "), *end;

		if (line[0] == '\n')
			return true;
		if (!colon)
			continue;
		*colon = 0;
		colon += 2;
		if (!strcmp(line, "engine"))
			snprintf(figures->engine, sizeof(figures->engine), "%.*s", (int)strcspn(colon, "\n"), colon);
		else if (!strcmp(line, "processors"))
			figures->processors = (unsigned)strtoul(colon, NULL, 10);
		else if (!strcmp(line, "run time"))
			figures->seconds = strtod(colon, NULL);
		else if (figures->count < FIGURES_MAX && strlen(line) < sizeof(figure->name)) {
			strcpy(figure->name, line);
			figure->value = strtod(colon, &end);
			figure->time = !strncmp(end, " ms", 3);
			figures->count++;
		}
	}
	return false;
}

static double value_of(const struct figures *figures, const char *name)
{
	for (unsigned i = 0; i < figures->count; i++)
		if (!strcmp(figures->of[i].name, name))
			return figures->of[i].value;
	return 0;
}

static void show(unsigned long pid, const struct figures *before, const struct figures *now)
{
	double seconds = now->seconds - before->seconds, processors = now->processors ? now->processors : 1;

	if (seconds <= 0)
		return;
	if (isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout);
	printf("VM %lu, engine %s, %u processor%s, running for %.0f s\n\n", pid, now->engine, now->processors,
	       now->processors == 1 ? "" : "s", now->seconds);
	printf("%-44s %14s %16s\n", "", "a second", "in all");
	for (unsigned i = 0; i < now->count; i++) {
		const struct figure *figure = &now->of[i];
		double rate = (figure->value - value_of(before, figure->name)) / seconds;

		if (figure->time)
			printf("%-44s %13.1f%% %13.1f ms\n", figure->name, rate / 10 / processors, figure->value);
		else if (figure->value > 0)
			printf("%-44s %14.0f %16.0f\n", figure->name, rate, figure->value);
	}
	putchar('\n');
	fflush(stdout);
}

static int watch_vm(const char *directory, unsigned long pid, unsigned long count)
{
	static struct figures figures[2];
	int fd = connect_to(directory, pid);
	FILE *in;

	if (fd < 0) {
		fprintf(stderr, "ruse: no VM %lu answers: %s; `ruse top` without a number lists those that do\n", pid, strerror(-fd));
		return 1;
	}
	in = fdopen(fd, "r");
	if (!in || !read_figures(in, &figures[0])) {
		fprintf(stderr, "ruse: VM %lu has ended\n", pid);
		if (in)
			fclose(in);
		else
			close(fd);
		return 1;
	}
	for (unsigned long i = 1; read_figures(in, &figures[i & 1]); i++) {
		show(pid, &figures[~i & 1], &figures[i & 1]);
		if (i == count)
			break;
	}
	fclose(in);
	return 0;
}

static int usage(const char *word)
{
	fprintf(stderr, "ruse: top does not know '%s'; it takes --count N and the process number of a VM\n", word);
	return EXIT_USAGE;
}

int cmd_top(int argc, char **argv, uint64_t start_ns)
{
	unsigned long pids[VMS_MAX], count = 0, pid = 0;
	char directory[256], *end;
	unsigned found;

	for (int i = 0; i < argc; i++) {
		bool counts = !strcmp(argv[i], "--count");

		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			puts("usage: ruse top [--count N] [PID]\n\nShows each second what a running VM does. Without PID: the only one there "
			     "is, or a list.\n--count N: ends after N seconds.");
			return 0;
		}
		if (counts && ++i == argc)
			return usage("--count");
		unsigned long number = strtoul(argv[i], &end, 10);
		if (argv[i][0] < '1' || argv[i][0] > '9' || *end)
			return usage(argv[i]);
		*(counts ? &count : &pid) = number;
	}
	if (!monitor_directory(directory, sizeof(directory))) {
		fprintf(stderr, "ruse: XDG_RUNTIME_DIR is not set, so VMs can't be found; set it for `ruse run` and `ruse top` alike\n");
		return 1;
	}
	if (pid)
		return watch_vm(directory, pid, count);
	found = find_vms(directory, pids);
	if (found == 1)
		return watch_vm(directory, pids[0], count);
	if (!found)
		fprintf(stderr, "ruse: no VM of yours is running\n");
	for (unsigned i = 0; i < found; i++)
		printf("%lu\n", pids[i]);
	return found ? 0 : 1;
}
