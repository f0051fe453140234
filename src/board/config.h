/* The VM description: one structure, filled from the command line, from JSON (`--config`), later from the
 * API and, on bare metal, from a device tree. Plain data: the host opens what the paths name.
 */
#ifndef BOARD_CONFIG_H
#define BOARD_CONFIG_H

#include "base/types.h"
#include "dev/virtio/limiter.h"

#define CONFIG_MAX_DISKS 16
#define CONFIG_MAX_NETS  8
#define CONFIG_MAX_SHARES 4
#define CONFIG_MAX_PORTS 16
#define CONFIG_MAX_FS    4
#define CONFIG_MAX_PMEMS 4

/* What the guest sees it through. */
enum disk_interface { DISK_VIRTIO, DISK_SCSI, DISK_AHCI, DISK_CDROM };

struct disk_config {
	enum disk_interface interface;
	const char *path;
	const char *serial;  /* or NULL */
	bool read_only;
	const char *format;  /* "raw", "qcow2"; NULL: by its name */
	const char *cache;   /* "writeback", "writethrough", "none", "unsafe"; NULL: writeback */
	const char *backing; /* a directory where backing files may lie besides the image's own; or NULL */
	unsigned queues;    /* 0: as many as there are processors */
	struct rate_limit rate;
};

/* A file of the host that is memory of the guest. */
struct pmem_config {
	const char *path;
	bool read_only;
	bool shared; /* other machines may have it at the same time */
};

struct net_config {
	const char *backend;  /* "user", "passt", "stream", "vhost-user", "tap" */
	const char *target;   /* passt, stream, vhost-user: a Unix socket's path; tap: an interface's name; or NULL */
	const char *rom;      /* a file for firmware to run; "none"; NULL: the one that goes with the firmware, if any */
	uint8_t mac[6];       /* all zero: 52:52:75:73:65:01 for the first card, and so on */
	struct {
		uint16_t host, guest;
	} forward[16];        /* TCP, host side bound to 127.0.0.1 */
	unsigned forward_count;
	unsigned queues;         /* pairs of them; 0: as many as there are processors, at most VIRTIO_NET_MAX_PAIRS */
	struct rate_limit rate;  /* for each direction */
	const char *tftp;     /* user: a directory whose files the guest can fetch; or NULL */
	const char *bootfile; /* user: what DHCP names as the file to boot; or NULL */
};

struct fs_config {
	const char *socket; /* path of the Unix socket at which virtiofsd, or another vhost-user back end, listens */
	const char *tag;    /* by which the guest mounts it: 1 to 36 bytes */
};

struct share_config {
	const char *directory;
	const char *tag; /* what the guest mounts, up to 32 bytes */
	bool read_only;
};

struct vsock_config {
	uint32_t cid;     /* the guest's address, 3 to 2^32 - 2; 0: there is no vsock */
	const char *path; /* of the Unix sockets: backend/vsock_unix.h */
};

/* "stdio", "none", "file=P", "unix=P", "pty", "detached"; NULL: the default of the device. */
typedef const char *char_config;

struct vm_config {
	const char *board;      /* "microvm", "pc", "virt" */
	const char *engine;     /* "auto", "kvm", "dbt", "interp" */
	const char *cpu;        /* "v2,+aes" (arch/x86_64/cpu_model.h), or NULL: all that engine and host can do */
	const char *kernel;     /* or NULL, with firmware */
	const char *firmware;   /* a file, "seabios", "ovmf", "aavmf", or NULL: the kernel is started without */
	const char *firmware_vars; /* file for UEFI variables, made when it is missing, or NULL: they end with the run */
	const char *initrd;     /* or NULL */
	const char *append;     /* or NULL */
	unsigned cpus;          /* 1..64 */
	uint64_t memory;        /* bytes, page-aligned */
	uint64_t memory_max;    /* bytes, with what can be plugged while it runs; 0: the same */
	struct disk_config disks[CONFIG_MAX_DISKS];
	unsigned disk_count;
	struct pmem_config pmems[CONFIG_MAX_PMEMS];
	unsigned pmem_count;
	struct net_config nets[CONFIG_MAX_NETS];
	unsigned net_count;
	struct fs_config fs[CONFIG_MAX_FS];
	unsigned fs_count;
	struct vsock_config vsock;
	struct share_config shares[CONFIG_MAX_SHARES];
	unsigned share_count;
	bool rng;
	bool input;             /* a keyboard and a tablet */
	bool balloon;
	uint64_t balloon_size;  /* bytes that are in it from the start */
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
	const char *display;    /* "vnc=unix:P", "none", or NULL: the same */
	bool paused;            /* the guest does not start by itself */
	bool perf_map;          /* /tmp/perf-PID.map */
	uint32_t trace;         /* enum trace_topic bits */
	const char *const *command; /* what follows `--`: NULL-terminated argv for the guest's agent, or NULL */
};

#endif
