/* The VM description: one structure, filled from the command line, from JSON (`--config`), later from the
 * API and, on bare metal, from a device tree. Plain data: the host opens what the paths name.
 */
#ifndef BOARD_CONFIG_H
#define BOARD_CONFIG_H

#include "base/types.h"

#define CONFIG_MAX_DISKS 16
#define CONFIG_MAX_NETS  8
#define CONFIG_MAX_PORTS 16

struct disk_config {
	const char *path;
	const char *serial; /* or NULL */
	bool read_only;
};

struct net_config {
	const char *backend;  /* "user", "passt", "stream" */
	const char *target;   /* passt, stream: a Unix socket's path; or NULL */
	uint8_t mac[6];       /* all zero: 52:52:75:73:65:01 for the first card, and so on */
	struct {
		uint16_t host, guest;
	} forward[16];        /* TCP, host side bound to 127.0.0.1 */
	unsigned forward_count;
};

/* "stdio", "none", "file=P", "unix=P", "pty", "detached"; NULL: the default of the device. */
typedef const char *char_config;

struct vm_config {
	const char *board;      /* "microvm", "pc" */
	const char *engine;     /* "auto", "kvm", "dbt", "interp" */
	const char *cpu;        /* "v2,+aes" (arch/x86_64/cpu_model.h), or NULL: all that engine and host can do */
	const char *kernel;     /* or NULL, with firmware */
	const char *firmware;   /* a file, "seabios", "ovmf", or NULL: the kernel is started without */
	const char *initrd;     /* or NULL */
	const char *append;     /* or NULL */
	unsigned cpus;          /* 1..64 */
	uint64_t memory;        /* bytes, page-aligned */
	struct disk_config disks[CONFIG_MAX_DISKS];
	unsigned disk_count;
	struct net_config nets[CONFIG_MAX_NETS];
	unsigned net_count;
	bool rng;
	char_config serial;
	char_config console;
	char_config firmware_log; /* what firmware says at its debug port; NULL: nowhere */
	bool no_reboot;
	bool test_devices;
	bool stats;
	bool no_sandbox;
	bool dry_run;
	const char *dump_tb;    /* file for translations, "-": stderr, NULL: not wanted */
	bool check_tb_cache;    /* compare translations of earlier runs with new ones */
	bool check;             /* compare translated code with the interpreter */
	const char *profile;    /* file for where the time went, "-": stderr, NULL: not wanted */
	const char *count_blocks; /* file for how often guest code was executed, "-": stderr, NULL: not wanted */
	const char *tb_cache;   /* directory for translations that outlive the VM, "none", NULL: the default one */
	const char *name;       /* for `ruse ps` and those that follow; or NULL */
	const char *gdb;        /* "unix=P", "tcp=[HOST:]PORT", or NULL */
	bool paused;            /* the guest does not start by itself */
	bool perf_map;          /* /tmp/perf-PID.map */
	uint32_t trace;         /* enum trace_topic bits */
	const char *const *command; /* what follows `--`: NULL-terminated argv for the guest's agent, or NULL */
};

#endif
