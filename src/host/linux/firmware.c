/* Firmware's files; see firmware.h.
 *
 * Example: `firmware_make_vars("debian.vars", firmware_find("ovmf").vars, why, sizeof(why))`
 */
#include "host/linux/firmware.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

struct firmware_files firmware_find(const char *name)
{
	if (!strcmp(name, "seabios"))
		return (struct firmware_files){.code = "/usr/share/seabios/bios-256k.bin",
					       .net_rom = "/usr/lib/ipxe/qemu/pxe-virtio.rom"};
	/* It has a driver and a network stack of its own. */
	if (!strcmp(name, "ovmf"))
		return (struct firmware_files){.code = "/usr/share/OVMF/OVMF_CODE_4M.fd", .vars = "/usr/share/OVMF/OVMF_VARS_4M.fd"};
	if (!strcmp(name, "aavmf"))
		return (struct firmware_files){.code = "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd", .vars = "/usr/share/AAVMF/AAVMF_VARS.fd"};
	return (struct firmware_files){.code = name};
}

static int copy_bytes(int from, int to)
{
	struct stat st;

	if (fstat(from, &st) < 0)
		return -errno;
	while (st.st_size > 0) {
		ssize_t n = sendfile(to, from, NULL, (size_t)st.st_size);

		if (n <= 0)
			return n ? -errno : -EIO;
		st.st_size -= n;
	}
	return fsync(to) < 0 ? -errno : 0;
}

/* By a file beside it, which takes the name when it is complete. */
static int copy_file(const char *from_path, const char *path)
{
	char *part;
	int from, to, r;

	if (asprintf(&part, "%s.XXXXXX", path) < 0)
		return -ENOMEM;
	from = open(from_path, O_RDONLY | O_CLOEXEC);
	r = from < 0 ? -errno : 0;
	to = r ? -1 : mkostemp(part, O_CLOEXEC);
	if (!r && to < 0)
		r = -errno;
	if (!r) {
		r = copy_bytes(from, to);
		/* Not rename(): somebody else's file stays. */
		if (!r && (fchmod(to, 0644) < 0 || (link(part, path) < 0 && errno != EEXIST)))
			r = -errno;
		unlink(part);
	}
	if (to >= 0)
		close(to);
	if (from >= 0)
		close(from);
	free(part);
	return r;
}

int firmware_make_vars(const char *path, const char *vars, char *why, size_t why_size)
{
	int r;

	if (access(path, F_OK) == 0)
		return 0;
	if (!vars) {
		snprintf(why, why_size, "%s doesn't exist: copy the file of variables that came with your firmware there", path);
		return -ENOENT;
	}
	r = copy_file(vars, path);
	if (r)
		snprintf(why, why_size, "%s can't be made from %s (%s): check the directory, and that the firmware's package is installed",
			 path, vars, strerror(-r));
	return r;
}
