/* Firmware by name, and the file that its variables live in.
 *
 * Example: firmware_find("ovmf") has .code "/usr/share/OVMF/OVMF_CODE_4M.fd" and .vars "/usr/share/OVMF/OVMF_VARS_4M.fd".
 */
#ifndef HOST_LINUX_FIRMWARE_H
#define HOST_LINUX_FIRMWARE_H

#include "base/types.h"

/* What BIOSes show text through: the graphics card's expansion ROM, of Debian's package seabios. */
#define FIRMWARE_VGA_ROM "/usr/share/seabios/vgabios-stdvga.bin"

struct firmware_files {
	const char *code;
	const char *net_rom; /* for network cards, to boot from; or NULL */
	const char *vars; /* what variables are before the first start; or NULL: it has none */
};

/* name: "seabios", "ovmf" (Debian's packages), or a file's path. */
struct firmware_files firmware_find(const char *name);

/* Makes path a copy of `vars`, unless it is there. Nothing half-done stays behind. vars may be NULL: then path must be there.
 * 0, or -errno with one sentence in why. */
int firmware_make_vars(const char *path, const char *vars, char *why, size_t why_size) must_check;

#endif
