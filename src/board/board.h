/* A board: which devices sit where, and how a kernel is handed the machine. Data first.
 *
 * The host opens images and backends; the board gets them as `struct board_inputs` and knows no paths.
 */
#ifndef BOARD_BOARD_H
#define BOARD_BOARD_H

#include "core/backend.h"
#include "core/vm.h"
#include "board/config.h"
#include "loader/image.h"

/* A range that wants host memory. */
struct board_ram {
	gpa_t gpa;
	uint64_t size;
	bool read_only; /* ROM: load() fills it */
	bool apart;     /* not told of as RAM: pluggable memory, files */
	bool is_pmem;   /* the file inputs->pmems[pmem] */
	unsigned pmem;
};

struct board_inputs {
	const struct image *kernel;   /* or NULL: firmware looks for one */
	const struct image *firmware; /* or NULL */
	const struct image *firmware_vars;      /* UEFI variables: flash below the firmware; or NULL */
	struct block_backend *firmware_vars_store; /* the same bytes, to be kept; or NULL: each run has its own */
	const struct image *initrd; /* or NULL */
	const struct image *vga_rom; /* the graphics card's; or NULL */
	struct block_backend *disks[CONFIG_MAX_DISKS];
	struct net_backend *nets[CONFIG_MAX_NETS];
	/* Cards and file systems whose other half is elsewhere (core/vhost.h). A card is either here or in nets. NULL: not there. */
	struct {
		struct vhost_backend *backend;
		uint8_t mac[6];
	} vhost_nets[CONFIG_MAX_NETS];
	const struct image *net_roms[CONFIG_MAX_NETS]; /* for a card that firmware is to boot from; or NULL */
	struct vhost_backend *fs[CONFIG_MAX_FS];
	/* Files to be mapped; their backends flush them. NULL: not there. */
	struct {
		struct block_backend *backend;
		uint64_t size; /* a multiple of 2 MiB */
		bool read_only;
	} pmems[CONFIG_MAX_PMEMS];
	struct vsock_backend *vsock; /* or NULL */
	struct share_backend *shares[CONFIG_MAX_SHARES];
	struct char_backend *serial;
	struct char_backend *firmware_log; /* what firmware says at the debug port; or NULL */
	/* virtio-console: port 0 is the console; further ports are named. NULL backend: not there. */
	struct {
		const char *name;
		struct char_backend *backend;
	} ports[CONFIG_MAX_PORTS];
	unsigned port_count;
};

/* What is plugged in while the guest runs. The host's, until gone() was called or the VM is destroyed. */
struct board_plug {
	char id[16];
	struct block_backend *disk; /* this, or */
	struct net_backend *net;    /* this */
	unsigned queues;            /* 0: as many as there are processors */
	struct rate_limit rate;     /* of a card: for each direction */
	/* The guest has let go of it, and its device is no more. */
	void (*gone)(struct board_plug *plug);
	void *ctx;
};

struct board_ops {
	const char *name;
	enum guest_arch arch;
	/* Checks without starting anything (--dry-run, and before memory is reserved): kernel recognised,
	 * everything fits. -errno and one sentence naming the thing and the remedy in why. */
	int (*check)(const struct vm_config *config, const struct board_inputs *inputs, char *why, size_t why_size);
	/* The guest-physical ranges that want host memory, lowest first; returns how many. */
	unsigned (*memory_map)(const struct vm_config *config, const struct board_inputs *inputs, struct board_ram *ram,
			       unsigned max);
	/* Makes the devices; memory slots are there, the engine's vm_init has run. */
	int (*create)(struct vm *vm, const struct board_inputs *inputs, char *why, size_t why_size);
	/* Loads kernel, initrd and tables, and sets the boot processor's first state. Also on every reset. */
	int (*load)(struct vm *vm, const struct board_inputs *inputs, union arch_state *boot, char *why, size_t why_size);
	/* Puts every vcpu into its power-on state, given the boot state from load(). */
	void (*reset)(struct vm *vm);
	void (*destroy)(struct vm *vm);
	/* Optional: somebody presses the power button; the guest does what it likes. I/O thread. */
	void (*power_button)(struct vm *vm);
	/* Optional, both on the I/O thread: plugs something in; -errno and one sentence in why. Takes it out: when the guest has let go
	 * of it, which it is asked to, or at once (`now`). */
	int (*attach)(struct vm *vm, struct board_plug *plug, char *why, size_t why_size);
	void (*detach)(struct vm *vm, struct board_plug *plug, bool now);
};

extern const struct board_ops *const boards[]; /* NULL at the end */
const struct board_ops *board_find(const char *name);

#endif
