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
};

struct board_inputs {
	const struct image *kernel;   /* or NULL: firmware looks for one */
	const struct image *firmware; /* or NULL */
	const struct image *initrd; /* or NULL */
	struct block_backend *disks[CONFIG_MAX_DISKS];
	struct net_backend *nets[CONFIG_MAX_NETS];
	struct char_backend *serial;
	struct char_backend *firmware_log; /* what firmware says at the debug port; or NULL */
	/* virtio-console: port 0 is the console; further ports are named. NULL backend: not there. */
	struct {
		const char *name;
		struct char_backend *backend;
	} ports[CONFIG_MAX_PORTS];
	unsigned port_count;
};

struct board_ops {
	const char *name;
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
};

extern const struct board_ops *const boards[]; /* NULL at the end */
const struct board_ops *board_find(const char *name);

#endif
