/* Descriptors that our parent left open; see sandbox.h.
 *
 * Example: `descriptors_note(&inherited); ...; descriptors_close(&inherited);`
 */
#include "host/linux/sandbox.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void open_standard(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return; /* no /dev/null: then there is nothing to put there */
}

static void note(struct descriptors *descriptors, int fd)
{
	if (descriptors->count < DESCRIPTORS_MAX)
		descriptors->fd[descriptors->count++] = fd;
	else
		close(fd);
}

void descriptors_note(struct descriptors *descriptors)
{
	struct dirent *entry;
	DIR *dir;

	descriptors->count = 0;
	open_standard();
	dir = opendir("/proc/self/fd");
	if (!dir) {
		/* No /proc: then nothing can be named through it either. */
		close_range(3, ~0u, 0);
		return;
	}
	while ((entry = readdir(dir))) {
		int fd = atoi(entry->d_name);

		if (fd > 2 && fd != dirfd(dir))
			note(descriptors, fd);
	}
	closedir(dir);
}

void descriptors_close(struct descriptors *descriptors)
{
	while (descriptors->count > 0)
		close(descriptors->fd[--descriptors->count]);
}
