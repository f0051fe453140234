/* From a description to an exit status; see launch.h.
 *
 * The order matters: everything that can be refused is refused before anything is started; every descriptor and
 * thread is made before the sandbox closes; the first guest instruction comes last.
 *
 * Example: `status = launch_run(&options.config, start_ns);`
 */
#include "host/linux/launch.h"

#include "arch/state.h"
#include "backend/block_image.h"
#include "backend/char.h"
#include "backend/char_memory.h"
#include "backend/share_dir.h"
#include "backend/vsock_unix.h"
#include "board/board.h"
#include "core/vm.h"
#include "disk/nbd_client.h"
#include "host/linux/block_counts.h"
#include "host/linux/boot_disk.h"
#include "host/linux/calibrate.h"
#include "host/linux/command.h"
#include "host/linux/control_server.h"
#include "host/linux/disks.h"
#include "host/linux/firmware.h"
#include "host/linux/gdb_server.h"
#include "host/linux/image_file.h"
#include "host/linux/loop.h"
#include "host/linux/memory.h"
#include "host/linux/nets.h"
#include "host/linux/plugs.h"
#include "host/linux/pmems.h"
#include "host/linux/keeper.h"
#include "host/linux/sandbox.h"
#include "host/linux/signals.h"
#include "host/linux/profile.h"
#include "host/linux/registry.h"
#include "host/linux/stats.h"
#include "host/linux/threads.h"
#include "host/linux/translations.h"
#include "host/linux/vhosts.h"
#include "host/linux/vnc.h"
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONSOLE_LOG_SIZE KIB(64)
#define STATUS_SIZE      16
#define DRAIN_NS         2000000000u /* how long a reader of our output is waited for at the end */
#define DRAIN_STEP_NS    5000000u

/* Everything that a run holds; what is zero is not there. */
struct launch {
	const struct vm_config *config;
	const struct board_ops *board;
	const struct engine_ops *engine;
	struct image kernel, initrd, firmware, firmware_vars, vga_rom, net_roms[CONFIG_MAX_NETS];
	struct command *command;
	struct board_inputs inputs;
	struct loop *loop;
	struct char_host char_host;
	struct char_memory *log, *status; /* command mode: the serial port's text, the command's status */
	struct signals signals;
	bool signals_open;
	struct vm *vm;
	bool engine_ready;
	struct guest_memory memory;
	struct vcpu_threads *threads;
	struct descriptors inherited; /* from our parent; closed with the sandbox */
	struct stats stats;
	struct profile profile;
	struct block_counts block_counts;
	struct control *control;
	char console_path[REGISTRY_PATH_MAX];
	struct gdb_server *gdb;
	struct vnc *vnc;     /* NULL: nobody looks at the screen */
	struct plugs *plugs; /* NULL: nothing can be plugged in while it runs */
	struct translations *translations; /* --dump tb, --perf-map */
	struct keeper *keeper;        /* of translations; NULL: none are kept */
	struct sandbox *sandbox;      /* NULL with --no-sandbox */
	char why[512];
};

/* ---- what the description names ---- */

static int open_image(struct launch *launch, struct image *image, const char *path, const char *what,
		      const struct image **input)
{
	int r = path ? image_file_open(image, path, what, launch->why, sizeof(launch->why)) : 0;

	if (path && !r)
		*input = image;
	return r;
}

static bool firmware_by_disk(const struct vm_config *config)
{
	return config->firmware && !strcmp(config->firmware, "auto");
}

/* What the description says, or by_default, if that is installed. */
static int open_net_roms(struct launch *launch, const char *by_default)
{
	int r = 0;

	for (unsigned i = 0; i < launch->config->net_count && !r; i++) {
		const char *path = launch->config->nets[i].rom;

		if (!path)
			path = by_default && access(by_default, R_OK) == 0 ? by_default : "none";
		if (strcmp(path, "none"))
			r = open_image(launch, &launch->net_roms[i], path, "card's ROM", &launch->inputs.net_roms[i]);
	}
	return r;
}

/* name: as firmware_find() takes it. */
static int open_firmware(struct launch *launch, const char *name)
{
	const struct firmware_files files = firmware_find(name);
	const char *vars = launch->config->firmware_vars;
	int r = open_image(launch, &launch->firmware, files.code, "firmware", &launch->inputs.firmware);

	if (!r && vars && !launch->config->dry_run)
		r = firmware_make_vars(vars, files.vars, launch->why, sizeof(launch->why));
	if (!r)
		r = open_net_roms(launch, files.net_rom);
	if (r)
		return r;
	if (!vars || (launch->config->dry_run && access(vars, F_OK) < 0))
		vars = files.vars;
	/* Firmware that brings drivers of its own does without. */
	if (access(FIRMWARE_VGA_ROM, R_OK) == 0)
		r = open_image(launch, &launch->vga_rom, FIRMWARE_VGA_ROM, "graphics ROM", &launch->inputs.vga_rom);
	if (r)
		return r;
	return open_image(launch, &launch->firmware_vars, vars, "variables of the firmware", &launch->inputs.firmware_vars);
}

static int open_images(struct launch *launch)
{
	const struct vm_config *config = launch->config;
	int r = open_image(launch, &launch->kernel, config->kernel, "kernel", &launch->inputs.kernel);

	if (!r && config->firmware && !firmware_by_disk(config))
		r = open_firmware(launch, config->firmware);
	if (!r && !config->firmware)
		r = open_net_roms(launch, NULL);
	if (r)
		return r;
	if (!config->initrd)
		return 0;
	r = image_file_open(&launch->initrd, config->initrd, "initrd", launch->why, sizeof(launch->why));
	if (r)
		return r;
	launch->inputs.initrd = &launch->initrd;
	if (!config->command)
		return 0;
	r = command_create(config->command, &launch->initrd, &launch->command, launch->why, sizeof(launch->why));
	if (!r)
		launch->inputs.initrd = command_initrd(launch->command);
	return r;
}

/* For --dry-run: would the disks open? Nothing is locked. */
static int check_disks(struct launch *launch)
{
	for (unsigned i = 0; i < launch->config->disk_count; i++) {
		const struct disk_config *disk = &launch->config->disks[i];

		if (nbd_client_is_uri(disk->path))
			continue; /* its server may start later */
		if (access(disk->path, disk->read_only ? R_OK : R_OK | W_OK) < 0) {
			snprintf(launch->why, sizeof(launch->why), "disk %s can't be opened%s: %s; check --disk", disk->path,
				 disk->read_only ? "" : " for writing", strerror(errno));
			return -errno;
		}
	}
	for (unsigned i = 0; i < launch->config->pmem_count; i++) {
		const struct pmem_config *pmem = &launch->config->pmems[i];

		if (access(pmem->path, pmem->read_only ? R_OK : R_OK | W_OK) < 0) {
			snprintf(launch->why, sizeof(launch->why), "%s can't be opened%s: %s; check --pmem", pmem->path,
				 pmem->read_only ? "" : " for writing", strerror(errno));
			return -errno;
		}
	}
	return 0;
}

static void on_quit(void *ctx)
{
	struct launch *launch = ctx;

	vm_stop(launch->vm, VM_STOP_QUIT, 0);
}

static int no_memory(struct launch *launch)
{
	snprintf(launch->why, sizeof(launch->why), "out of memory; free some on the host");
	return -ENOMEM;
}

static int open_char(struct launch *launch, const char *spec, const char *id, struct char_backend **out)
{
	return char_open(&launch->char_host, spec, id, out, launch->why, sizeof(launch->why));
}

static int add_port(struct launch *launch, const char *name, struct char_backend *backend)
{
	struct board_inputs *inputs = &launch->inputs;

	inputs->ports[inputs->port_count].name = name;
	inputs->ports[inputs->port_count++].backend = backend;
	return 0;
}

static int add_descriptor_port(struct launch *launch, const char *name, int in, int out)
{
	struct char_backend *backend;
	int r = char_open_fds(&launch->char_host, in, out, name, &backend, launch->why, sizeof(launch->why));

	return r ? r : add_port(launch, name, backend);
}

/* The command's stdin, stdout, stderr and status (command.h). */
static int open_command_ports(struct launch *launch)
{
	int r = add_descriptor_port(launch, "ruse.stdin", STDIN_FILENO, -1);

	if (!r)
		r = add_descriptor_port(launch, "ruse.stdout", -1, STDOUT_FILENO);
	if (!r)
		r = add_descriptor_port(launch, "ruse.stderr", -1, STDERR_FILENO);
	if (r)
		return r;
	launch->status = char_memory_create(STATUS_SIZE);
	return launch->status ? add_port(launch, "ruse.status", char_memory_backend(launch->status))
			      : no_memory(launch);
}

/* Serial port and virtio console. With a command, what the kernel says is kept for the case that it fails. */
static int open_consoles(struct launch *launch)
{
	const struct vm_config *config = launch->config;
	const bool console_on_stdio = config->console && !strcmp(config->console, "stdio");
	int r = 0;

	if (config->serial) {
		r = open_char(launch, config->serial, "serial0", &launch->inputs.serial);
	} else if (config->command) {
		launch->log = char_memory_create(CONSOLE_LOG_SIZE);
		if (!launch->log)
			return no_memory(launch);
		launch->inputs.serial = char_memory_backend(launch->log);
	} else {
		r = open_char(launch, console_on_stdio ? "none" : "stdio", "serial0", &launch->inputs.serial);
	}
	if (!r && config->firmware_log)
		r = open_char(launch, config->firmware_log, "firmware-log", &launch->inputs.firmware_log);
	if (r || (!config->console && !config->command))
		return r;
	struct char_backend *console = NULL;
	if (config->console)
		r = open_char(launch, config->console, "console", &console);
	if (!r)
		r = add_port(launch, "", console);
	return !r && config->command ? open_command_ports(launch) : r;
}

/* ---- the sandbox: each thread enters for itself ---- */

static int enter_sandbox(struct launch *launch, enum sandbox_role role)
{
	char why[256];
	int r = launch->sandbox ? sandbox_enter(launch->sandbox, role, why, sizeof(why)) : 0;

	if (r)
		log_error("run", "%s", why);
	return r;
}

static int enter_vnc(void *ctx)
{
	return enter_sandbox(ctx, SANDBOX_VNC);
}

static int enter_vcpu(void *ctx)
{
	return enter_sandbox(ctx, SANDBOX_VCPU);
}

/* A disk's thread may have something to do before there is a sandbox: reading what firmware a disk wants. */
static int enter_worker(void *ctx)
{
	struct launch *launch = ctx;

	if (!launch->sandbox)
		return launch->config->no_sandbox ? 1 : 0;
	return enter_sandbox(launch, SANDBOX_BLOCK) == 0 ? 1 : -EPERM;
}

/* What is the process's own, and what becomes of the vcpu threads later. */
static int prepare_sandbox(struct launch *launch)
{
	const struct sandbox_options options = {.network = nets_need_sockets(launch->config),
						.vsock = launch->inputs.vsock != NULL,
						.plug = launch->plugs != NULL,
						.vnc = launch->vnc != NULL,
						.tap = nets_need_tap(launch->config),
						.vhost = vhosts_wanted(launch->config),
						.nbd = disks_need_nbd(launch->config)};

	descriptors_close(&launch->inherited);
	if (launch->config->no_sandbox)
		return 0;
	launch->sandbox = sandbox_prepare(&options, launch->why, sizeof(launch->why));
	return launch->sandbox ? 0 : -EPERM;
}

static int open_disk(struct launch *launch, const struct disk_config *disk, struct block_backend **out)
{
	const struct disks_context context = {.loop = launch->loop, .enter_worker = enter_worker, .enter_ctx = launch};

	return disk_open(disk, &context, out, launch->why, sizeof(launch->why));
}

static int open_disks(struct launch *launch)
{
	for (unsigned i = 0; i < launch->config->disk_count; i++) {
		int r = open_disk(launch, &launch->config->disks[i], &launch->inputs.disks[i]);

		if (r)
			return r;
	}
	return 0;
}

static bool enter_share(void *ctx)
{
	return enter_sandbox(ctx, SANDBOX_SHARE) == 0;
}

static int open_shares(struct launch *launch)
{
	const struct vm_config *config = launch->config;

	for (unsigned i = 0; i < config->share_count; i++) {
		const struct share_dir_options options = {
			.directory = config->shares[i].directory,
			.read_only = config->shares[i].read_only,
			.confine = !config->no_sandbox,
			.enter_worker = enter_share,
			.enter_ctx = launch};
		int r = share_dir_open(&options, launch->loop, &launch->inputs.shares[i], launch->why, sizeof(launch->why));

		if (r)
			return r;
	}
	return 0;
}

static int open_vsock(struct launch *launch)
{
	const struct vm_config *config = launch->config;

	if (!config->vsock.cid)
		return 0;
	return vsock_unix_open(config->vsock.path, !config->no_sandbox, launch->loop, &launch->inputs.vsock, launch->why,
			       sizeof(launch->why));
}

/* The firmware that the first disk wants, and the place of its variables. Disks are open. */
static int settle_firmware(struct launch *launch)
{
	const struct vm_config *config = launch->config;
	int r = 0;

	if (firmware_by_disk(config)) {
		const char *name = config->disk_count ? boot_disk_firmware(launch->inputs.disks[0]) : NULL;

		if (!name) {
			snprintf(launch->why, sizeof(launch->why),
				 "disk %s can't be booted: it has neither boot code nor an EFI system partition; give another one, or --firmware or --kernel",
				 config->disk_count ? config->disks[0].path : "(none)");
			return -EINVAL;
		}
		r = open_firmware(launch, name);
		if (!r)
			r = launch->board->check(config, &launch->inputs, launch->why, sizeof(launch->why));
	}
	if (!r && config->firmware_vars)
		r = open_disk(launch, &(struct disk_config){.path = config->firmware_vars, .format = "raw"}, &launch->inputs.firmware_vars_store);
	return r;
}

/* ---- the machine ---- */

static void on_signal(void *ctx, int number)
{
	struct launch *launch = ctx;

	if (number != SIGWINCH) {
		vm_stop(launch->vm, VM_STOP_QUIT, 128 + number);
		return;
	}
	if (launch->inputs.serial)
		char_resize(launch->inputs.serial);
	if (launch->inputs.port_count && launch->inputs.ports[0].backend)
		char_resize(launch->inputs.ports[0].backend);
}

static int choose_engine(struct launch *launch)
{
	const char *name = launch->config->engine;

	if (!strcmp(name, "auto")) {
		launch->engine = engine_choose(launch->board->arch, launch->why, sizeof(launch->why));
		return launch->engine ? 0 : -ENODEV;
	}
	launch->engine = engine_find(name, launch->board->arch);
	if (!launch->engine) {
		snprintf(launch->why, sizeof(launch->why), "engine %s is not there for %s guests; `ruse engines` lists those of this build", name,
			 guest_arch_name(launch->board->arch));
		return -EINVAL;
	}
	return launch->engine->probe(launch->why, sizeof(launch->why));
}

static int open_translations(struct launch *launch)
{
	const struct vm_config *config = launch->config;

	if (!config->dump_tb && !config->perf_map && !config->check && !config->profile && !config->count_blocks)
		return 0;
	if (!launch->engine->translates) {
		snprintf(launch->why, sizeof(launch->why),
			 launch->engine->arch == GUEST_X86_64 ? "the %s engine translates nothing for %s to show; choose --engine dbt"
							      : "the %s engine has no %s for AArch64 guests; leave it out",
			 launch->engine->name, config->dump_tb ? "--dump tb" : config->perf_map ? "--perf-map" : config->check ? "--check" : config->profile ? "--profile" : "--count-blocks");
		return -EINVAL;
	}
	if (config->check && config->cpus > 1) {
		snprintf(launch->why, sizeof(launch->why),
			 "--check can't tell what another processor writes from a difference; choose --cpus 1");
		return -EINVAL;
	}
	if (config->profile) {
		int r = profile_open(&launch->profile, config->profile, launch->why, sizeof(launch->why));

		if (r)
			return r;
	}
	if (config->count_blocks) {
		int r = block_counts_open(&launch->block_counts, config->count_blocks, launch->why, sizeof(launch->why));

		if (r)
			return r;
	}
	if (!config->dump_tb && !config->perf_map)
		return 0;
	launch->translations = malloc(sizeof(*launch->translations));
	if (!launch->translations)
		return no_memory(launch);
	return translations_open(launch->translations, config->dump_tb, config->perf_map, launch->why, sizeof(launch->why));
}

static int add_range(struct launch *launch, const struct board_ram *ram, unsigned flags)
{
	struct mem *mem = &launch->vm->mem;

	if (!ram->is_pmem)
		return guest_memory_add(&launch->memory, mem, ram->gpa, ram->size, flags, launch->why, sizeof(launch->why));
	return guest_memory_add_file(&launch->memory, mem, ram->gpa, ram->size, block_image_descriptor(launch->inputs.pmems[ram->pmem].backend),
				     flags, launch->why, sizeof(launch->why));
}

static int add_memory(struct launch *launch)
{
	struct board_ram ram[MEM_MAX_SLOTS];
	unsigned count = launch->board->memory_map(launch->config, &launch->inputs, ram, ARRAY_SIZE(ram));
	unsigned common = GUEST_MEMORY_HUGE | (launch->engine->shared_memory ? GUEST_MEMORY_SHARED : 0) |
			  (vhosts_wanted(launch->config) ? GUEST_MEMORY_FILE : 0);

	for (unsigned i = 0; i < count; i++) {
		unsigned flags = common | (ram[i].read_only ? GUEST_MEMORY_ROM : 0);
		int r = add_range(launch, &ram[i], flags);

		if (r)
			return r;
		mem_find(&launch->vm->mem, ram[i].gpa)->apart = ram[i].apart;
	}
	return 0;
}

static int load(struct launch *launch)
{
	union arch_state boot;
	int r = launch->board->load(launch->vm, &launch->inputs, &boot, launch->why, sizeof(launch->why));

	if (!r)
		launch->board->reset(launch->vm);
	return r;
}

/* A machine reset: I/O thread, every vcpu is parked. */
static int reset_machine(void *ctx)
{
	struct launch *launch = ctx;
	int r;

	devices_reset(launch->vm);
	r = load(launch);
	if (r)
		log_error("run", "the machine can't be reset: %s", launch->why);
	return r;
}

static int start_gdb(struct launch *launch)
{
	int r = gdb_server_start(launch->gdb, launch->vm);

	if (r == -EOPNOTSUPP)
		snprintf(launch->why, sizeof(launch->why), "the %s engine can't be debugged; choose another --engine",
			 launch->engine->name);
	else if (r)
		return no_memory(launch);
	return r;
}

static int create_machine(struct launch *launch)
{
	const struct vm_config *config = launch->config;
	int r;

	launch->vm = vm_create(&(struct vm_params){.config = config,
						   .engine = launch->engine,
						   .cpus = config->cpus,
						   .no_reboot = config->no_reboot,
						   .trace = config->trace,
						   .platform = launch->loop});
	if (!launch->vm)
		return no_memory(launch);
	launch->vm->board = launch->board;
	launch->vm->check = config->check;
	launch->vm->translations = launch->translations ? &launch->translations->log : NULL;
	r = add_memory(launch);
	if (!r)
		r = vhosts_share(&launch->inputs, &launch->memory, launch->why, sizeof(launch->why));
	if (!r)
		r = launch->engine->vm_init(launch->vm, launch->why, sizeof(launch->why));
	if (r)
		return r;
	launch->engine_ready = true;
	r = launch->board->create(launch->vm, &launch->inputs, launch->why, sizeof(launch->why));
	if (r)
		return r;
	/* With a debugger or counters translations are others: not for other runs, nor theirs for this one. */
	if (launch->engine->keeper && !config->gdb && !config->count_blocks)
		r = keeper_open(launch->vm, config->tb_cache, !config->no_sandbox, &launch->keeper, launch->why, sizeof(launch->why));
	if (r)
		return r;
	if (launch->gdb)
		r = start_gdb(launch);
	if (r)
		return r;
	vm_set_reset(launch->vm, reset_machine, launch);
	devices_reset(launch->vm);
	return load(launch);
}

/* ---- the run ---- */

static void print_log(struct launch *launch)
{
	char *text = launch->log ? malloc(CONSOLE_LOG_SIZE) : NULL;
	size_t len = text ? char_memory_copy(launch->log, text, CONSOLE_LOG_SIZE) : 0;

	if (len) {
		fputs("ruse: the guest's serial console said last:\n", stderr);
		fwrite(text, 1, len, stderr);
		if (text[len - 1] != '\n')
			fputc('\n', stderr);
	}
	free(text);
}

static const char *stop_sentence(enum vm_stop_reason reason)
{
	switch (reason) {
	case VM_STOP_POWEROFF:
		return "the guest powered off";
	case VM_STOP_RESET:
		return "the guest asked for a reset";
	case VM_STOP_PANIC:
		return "the guest's kernel panicked";
	case VM_STOP_TRIPLE_FAULT:
		return "the guest's processor shut down (triple fault)";
	case VM_STOP_DEBUG_EXIT:
		return "the guest wrote to the debug-exit port";
	default:
		return "the run ended";
	}
}

static int stop_status(const struct vm *vm)
{
	switch ((enum vm_stop_reason)atomic_load(&vm->stop_reason)) {
	case VM_STOP_POWEROFF:
	case VM_STOP_RESET:
		return LAUNCH_OK;
	case VM_STOP_PANIC:
	case VM_STOP_TRIPLE_FAULT:
		return LAUNCH_GUEST_FAILED;
	case VM_STOP_DEBUG_EXIT:
	case VM_STOP_QUIT:
		return vm->stop_code;
	case VM_STOP_NONE:
	case VM_STOP_HOST_ERROR:
		break;
	}
	return LAUNCH_HOST_ERROR;
}

/* The command's own status, if it got that far. */
static int final_status(struct launch *launch)
{
	enum vm_stop_reason reason = atomic_load(&launch->vm->stop_reason);
	int status = stop_status(launch->vm);
	char text[STATUS_SIZE];

	if (status == LAUNCH_GUEST_FAILED)
		fprintf(stderr, "ruse: %s\n", stop_sentence(reason));
	if (!launch->command || reason == VM_STOP_QUIT || reason == VM_STOP_HOST_ERROR)
		return status;
	size_t len = char_memory_copy(launch->status, text, sizeof(text));
	if (command_status(text, len, &status))
		return status;
	print_log(launch);
	fprintf(stderr, "ruse: %s before the command's exit status was known\n", stop_sentence(reason));
	return LAUNCH_GUEST_FAILED;
}

/* A guest may power off with its last words still on their way into a pipe that is full. */
static bool output_waits(const struct launch *launch)
{
	if (char_blocked(launch->inputs.serial) || (launch->inputs.firmware_log && char_blocked(launch->inputs.firmware_log)))
		return true;
	for (unsigned i = 0; i < launch->inputs.port_count; i++)
		if (char_blocked(launch->inputs.ports[i].backend))
			return true;
	return false;
}

static void stop_loop(void *ctx)
{
	loop_stop(ctx);
}

static void drain_output(struct launch *launch)
{
	uint64_t deadline = platform_clock_ns() + DRAIN_NS;
	struct timer pause;

	if (atomic_load(&launch->vm->stop_reason) == VM_STOP_QUIT)
		return;
	timer_init(&pause, launch->vm, stop_loop, launch->loop);
	while (output_waits(launch) && platform_clock_ns() < deadline) {
		timer_arm(&pause, platform_clock_ns() + DRAIN_STEP_NS);
		if (loop_run(launch->loop) < 0)
			break;
	}
	timer_cancel(&pause);
}

static int run_machine(struct launch *launch, uint64_t start_ns)
{
	struct stats *stats = &launch->stats;
	int r = prepare_sandbox(launch);

	if (launch->config->stats)
		stats_collect(stats, launch->vm);
	if (launch->config->profile)
		launch->vm->profile = &launch->profile.sink;
	if (launch->config->count_blocks)
		launch->vm->block_counts = &launch->block_counts.sink;
	if (!r)
		r = threads_create(launch->vm, enter_vcpu, launch, &launch->threads, launch->why, sizeof(launch->why));
	if (!r && launch->vnc)
		r = vnc_start(launch->vnc, launch->vm, launch->config->name, enter_vnc, launch, launch->why, sizeof(launch->why));
	if (!r && launch->sandbox)
		r = sandbox_enter(launch->sandbox, SANDBOX_IO, launch->why, sizeof(launch->why));
	if (r)
		return r;
	stats_begin(stats, launch->vm, start_ns);
	if (launch->plugs)
		plugs_start(launch->plugs, launch->vm);
	control_start(launch->control, launch->vm);
	for (unsigned i = 0; launch->config->paused && i < launch->vm->vcpu_count; i++)
		vcpu_request(launch->vm->vcpus[i], VCPU_REQ_PAUSE);
	threads_run(launch->threads);
	r = loop_run(launch->loop);
	control_stop(launch->control);
	gdb_server_end(launch->gdb, stop_status(launch->vm));
	if (r)
		vm_stop(launch->vm, VM_STOP_HOST_ERROR, 0);
	threads_wait(launch->threads);
	if (launch->config->stats)
		stats_end(stats, launch->vm);
	threads_join(launch->threads);
	launch->threads = NULL;
	drain_output(launch);
	if (launch->config->profile)
		profile_print(&launch->profile);
	if (launch->config->count_blocks)
		block_counts_print(&launch->block_counts);
	if (launch->config->stats)
		stats_print(stats, launch->vm, stderr);
	return 0;
}

static int open_gdb(struct launch *launch)
{
	const struct vm_config *config = launch->config;

	if (!config->gdb)
		return 0;
	return gdb_server_open(launch->loop, config->gdb, &launch->gdb, launch->why, sizeof(launch->why));
}

static int open_display(struct launch *launch)
{
	const char *display = launch->config->display;

	if (!display || !strcmp(display, "none"))
		return 0;
	return vnc_open(display, &launch->vnc, launch->why, sizeof(launch->why));
}

static bool is_detached(const char *place)
{
	return place && !strcmp(place, "detached");
}

/* A VM can do without, unless somebody counts on it. */
static int open_control(struct launch *launch)
{
	const struct vm_config *config = launch->config;
	bool detached = is_detached(config->serial) || is_detached(config->console);
	char why[sizeof(launch->why)];
	int r = 0;

	if (!registry_path(launch->console_path, sizeof(launch->console_path), (long)getpid(), "console"))
		launch->console_path[0] = 0;
	r = control_open(&(struct control_options){.loop = launch->loop,
						   .name = config->name,
						   .console = detached ? launch->console_path : NULL,
						   .gdb = launch->gdb,
						   .plugs = &launch->plugs},
			 &launch->control, why, sizeof(why));
	if (r == 0 && launch->console_path[0])
		launch->char_host.detached = launch->console_path;
	if (r == 0 || (!config->name && !detached))
		return 0;
	memcpy(launch->why, why, sizeof(why));
	return r;
}

/* For what `ruse ctl NAME attach` brings. */
static int open_plugs(struct launch *launch)
{
	const struct plugs_options options = {.loop = launch->loop, .enter_worker = enter_worker, .enter_ctx = launch};

	if (!launch->control || !launch->board->attach)
		return 0;
	return plugs_create(&options, &launch->plugs, launch->why, sizeof(launch->why));
}

static int start(struct launch *launch)
{
	char *why = launch->why;
	const size_t why_size = sizeof(launch->why);
	int r = choose_engine(launch);

	if (!r)
		r = open_translations(launch);
	if (r)
		return r;
	launch->loop = loop_create(why, why_size);
	if (!launch->loop)
		return -ENOMEM;
	launch->char_host = (struct char_host){.loop = launch->loop, .quit = on_quit, .quit_ctx = launch};
	r = open_display(launch);
	if (!r)
		r = open_gdb(launch);
	if (!r)
		r = open_control(launch);
	if (r)
		return r;
	r = open_disks(launch);
	if (!r)
		r = pmems_open(launch->config, launch->loop, &launch->inputs, enter_worker, launch, why, why_size);
	if (!r)
		r = settle_firmware(launch);
	if (!r)
		r = nets_open(launch->config, launch->loop, &launch->inputs, why, why_size);
	if (!r)
		r = vhosts_open(launch->config, launch->loop, &launch->inputs, why, why_size);
	if (!r)
		r = open_vsock(launch);
	if (!r)
		r = open_shares(launch);
	if (!r)
		r = open_consoles(launch);
	if (!r)
		r = open_plugs(launch);
	if (!r)
		r = create_machine(launch);
	if (!r)
		r = signals_open(&launch->signals, launch->loop, on_signal, launch, why, why_size);
	launch->signals_open = r == 0;
	return r;
}

/* Undoes start(), whatever of it was done. Devices go before the backends that they use. */
static void finish(struct launch *launch)
{
	struct board_inputs *inputs = &launch->inputs;

	threads_join(launch->threads);
	vnc_close(launch->vnc);
	keeper_end(launch->keeper);
	gdb_server_close(launch->gdb);
	if (launch->signals_open)
		signals_close(&launch->signals);
	if (launch->vm && launch->vm->board_data)
		launch->board->destroy(launch->vm);
	if (launch->engine_ready)
		launch->engine->vm_destroy(launch->vm);
	if (launch->vm)
		loop_forget_vm(launch->loop, launch->vm);
	vm_destroy(launch->vm);
	plugs_close(launch->plugs);
	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++)
		if (inputs->disks[i])
			inputs->disks[i]->ops->destroy(inputs->disks[i]);
	pmems_close(inputs);
	if (inputs->firmware_vars_store)
		inputs->firmware_vars_store->ops->destroy(inputs->firmware_vars_store);
	for (unsigned i = 0; i < CONFIG_MAX_NETS; i++)
		if (inputs->nets[i])
			inputs->nets[i]->ops->destroy(inputs->nets[i]);
	vhosts_close(inputs);
	if (inputs->vsock)
		inputs->vsock->ops->destroy(inputs->vsock);
	for (unsigned i = 0; i < CONFIG_MAX_SHARES; i++)
		if (inputs->shares[i])
			inputs->shares[i]->ops->destroy(inputs->shares[i]);
	if (inputs->serial)
		inputs->serial->ops->destroy(inputs->serial);
	if (inputs->firmware_log)
		inputs->firmware_log->ops->destroy(inputs->firmware_log);
	for (unsigned i = 0; i < inputs->port_count; i++)
		if (inputs->ports[i].backend)
			inputs->ports[i].backend->ops->destroy(inputs->ports[i].backend);
	profile_close(&launch->profile);
	block_counts_close(&launch->block_counts);
	control_close(launch->control);
	if (launch->translations)
		translations_close(launch->translations);
	free(launch->translations);
	guest_memory_destroy(&launch->memory);
	loop_destroy(launch->loop);
	sandbox_free(launch->sandbox);
	keeper_wait(launch->keeper);
}

static int check(struct launch *launch)
{
	const struct vm_config *config = launch->config;
	int r;

	launch->board = board_find(config->board);
	if (!launch->board) {
		snprintf(launch->why, sizeof(launch->why), "board %s is unknown; use microvm, pc or virt", config->board);
		return -EINVAL;
	}
	r = open_images(launch);
	if (!r && !firmware_by_disk(config))
		r = launch->board->check(config, &launch->inputs, launch->why, sizeof(launch->why));
	return !r && config->dry_run ? check_disks(launch) : r;
}

int launch_run(const struct vm_config *config, uint64_t start_ns)
{
	struct launch launch = {.config = config};
	int status = LAUNCH_OK;
	int r;

	descriptors_note(&launch.inherited);
	r = check(&launch);

	if (!r && !config->dry_run) {
		r = start(&launch);
		if (!r)
			r = run_machine(&launch, start_ns);
		if (!r)
			status = final_status(&launch);
		finish(&launch);
	}
	if (r) {
		fprintf(stderr, "ruse: %s\n", launch.why);
		status = LAUNCH_HOST_ERROR;
	}
	command_destroy(launch.command);
	image_file_close(&launch.vga_rom);
	image_file_close(&launch.initrd);
	image_file_close(&launch.firmware_vars);
	image_file_close(&launch.firmware);
	for (unsigned i = 0; i < CONFIG_MAX_NETS; i++)
		image_file_close(&launch.net_roms[i]);
	image_file_close(&launch.kernel);
	return status;
}
