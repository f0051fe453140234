/* Parsing of `ruse run`; see options.h. */
#include "cli/options.h"

#include "arch/x86_64/cpu_model.h"
#include "board/board.h"
#include "cli/kernel_kind.h"
#include "cli/config_json.h"
#include "core/trace.h"
#include "host/linux/socket.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_MEMORY   MIB(256)
#define DISK_MEMORY      GIB(1) /* `ruse run DISK`: a whole system, not a kernel of our choice */

/* ---- text ---- */

char *strings_copy(struct strings *strings, const char *text, size_t len)
{
	char *copy = strndup(text, len);

	if (strings->count == strings->capacity) {
		size_t capacity = strings->capacity ? strings->capacity * 2 : 16;
		char **items = realloc(strings->items, capacity * sizeof(*items));

		if (!items)
			abort();
		strings->items = items;
		strings->capacity = capacity;
	}
	if (!copy)
		abort();
	strings->items[strings->count++] = copy;
	return copy;
}

void strings_free(struct strings *strings)
{
	for (size_t i = 0; i < strings->count; i++)
		free(strings->items[i]);
	free(strings->items);
	*strings = (struct strings){0};
}

__attribute__((format(printf, 3, 4))) static int refuse(char *why, size_t why_size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, why_size, format, args);
	va_end(args);
	return -EINVAL;
}

bool parse_size(const char *text, uint64_t *bytes)
{
	char *end;
	unsigned shift = 0;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	if (errno)
		return false;
	switch (*end) {
	case 'k':
	case 'K':
		shift = 10;
		break;
	case 'm':
	case 'M':
		shift = 20;
		break;
	case 'g':
	case 'G':
		shift = 30;
		break;
	default:
		break;
	}
	if (shift)
		end++;
	if (*end || value > UINT64_MAX >> shift)
		return false;
	*bytes = (uint64_t)value << shift;
	return true;
}

bool parse_number(const char *text, size_t len, unsigned long max, unsigned long *value)
{
	*value = 0;
	if (!len)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		*value = *value * 10 + (unsigned long)(text[i] - '0');
		if (*value > max)
			return false;
	}
	return true;
}

/* ---- values that have a structure ---- */

int check_char_config(const char *option, const char *text, char *why, size_t why_size)
{
	if (!strcmp(text, "stdio") || !strcmp(text, "none") || !strcmp(text, "pty") || !strcmp(text, "detached") ||
	    (!strncmp(text, "file=", 5) && text[5]) || (!strncmp(text, "unix=", 5) && text[5]))
		return 0;
	return refuse(why, why_size, "%s %s is unknown; use stdio, none, file=PATH, unix=PATH, pty or detached", option, text);
}

int check_name(const char *text, char *why, size_t why_size)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	size_t len = strlen(text);

	/* Not a number: that is a process. */
	if (len && len <= 64 && strspn(text, allowed) == len && strspn(text, "0123456789") != len && text[0] != '-')
		return 0;
	return refuse(why, why_size, "--name %.80s is no name: up to 64 letters, digits, - _ . and not a number", text);
}

int parse_trace(struct run_options *options, const char *text, char *why, size_t why_size)
{
	while (*text) {
		size_t len = strcspn(text, ",");
		uint32_t bit = trace_topic_find(text, len);

		if (!bit)
			return refuse(why, why_size,
				      "--trace topic '%.*s' is unknown; use exits, io, mmio, msr, irq, virtio, exception, block or insn",
				      (int)len, text);
		options->config.trace |= bit;
		text += len + (text[len] == ',');
	}
	return 0;
}

int set_command(struct run_options *options, size_t count, const char *const *words)
{
	const char **command = calloc(count + 1, sizeof(*command));

	if (!command)
		abort();
	for (size_t i = 0; i < count; i++)
		command[i] = strings_copy(&options->strings, words[i], strlen(words[i]));
	free(options->command);
	options->command = command;
	options->config.command = command;
	return 0;
}

/* ---- the table ---- */

struct option {
	const char *name;     /* without the dashes */
	const char *argument; /* how --help calls it; NULL: takes none */
	const char *help;
	/* text is NULL for an option without argument. */
	int (*apply)(struct run_options *options, const char *text, char *why, size_t why_size);
};

static int copy_text(struct run_options *options, const char **where, const char *text)
{
	*where = strings_copy(&options->strings, text, strlen(text));
	return 0;
}

static int apply_kernel(struct run_options *options, const char *text, char *why, size_t why_size)
{
	return copy_text(options, &options->config.kernel, text);
}

static int apply_firmware(struct run_options *options, const char *text, char *why, size_t why_size)
{
	return copy_text(options, &options->config.firmware, text);
}

static int apply_firmware_vars(struct run_options *options, const char *text, char *why, size_t why_size)
{
	return copy_text(options, &options->config.firmware_vars, text);
}

static int apply_initrd(struct run_options *options, const char *text, char *why, size_t why_size)
{
	return copy_text(options, &options->config.initrd, text);
}

static int apply_append(struct run_options *options, const char *text, char *why, size_t why_size)
{
	return copy_text(options, &options->config.append, text);
}

static int apply_board(struct run_options *options, const char *text, char *why, size_t why_size)
{
	if (!board_find(text))
		return refuse(why, why_size, "--board %s is unknown; use microvm, pc or virt", text);
	return copy_text(options, &options->config.board, text);
}

static int apply_engine(struct run_options *options, const char *text, char *why, size_t why_size)
{
	if (strcmp(text, "auto") && !engine_known(text))
		return refuse(why, why_size, "--engine %s is unknown; `ruse engines` lists those of this build", text);
	return copy_text(options, &options->config.engine, text);
}

static int apply_cpu(struct run_options *options, const char *text, char *why, size_t why_size)
{
	int r;

	if (!strcmp(text, "help")) {
		options->cpu_help = true;
		return 0;
	}
	r = x86_cpu_model_check(text, why, why_size);
	return r ? r : copy_text(options, &options->config.cpu, text);
}

static int apply_cpus(struct run_options *options, const char *text, char *why, size_t why_size)
{
	unsigned long cpus;

	if (!parse_number(text, strlen(text), VM_MAX_VCPUS, &cpus) || !cpus)
		return refuse(why, why_size, "--cpus %s is not a number from 1 to %d", text, VM_MAX_VCPUS);
	options->config.cpus = (unsigned)cpus;
	return 0;
}

static int apply_net(struct run_options *options, const char *text, char *why, size_t why_size)
{
	if (strcmp(text, "none"))
		return parse_net(options, text, why, why_size);
	options->no_net = true;
	return 0;
}

static int apply_input(struct run_options *options, const char *text, char *why, size_t why_size)
{
	if (strcmp(text, "on") && strcmp(text, "off"))
		return refuse(why, why_size, "--input %s is neither on nor off", text);
	options->config.input = !strcmp(text, "on");
	return 0;
}

static int apply_rng(struct run_options *options, const char *text, char *why, size_t why_size)
{
	if (strcmp(text, "on") && strcmp(text, "off"))
		return refuse(why, why_size, "--rng %s is neither on nor off", text);
	options->config.rng = !strcmp(text, "on");
	return 0;
}

static int apply_serial(struct run_options *options, const char *text, char *why, size_t why_size)
{
	int r = check_char_config("--serial", text, why, why_size);

	return r ? r : copy_text(options, &options->config.serial, text);
}

static int apply_console(struct run_options *options, const char *text, char *why, size_t why_size)
{
	int r = check_char_config("--console", text, why, why_size);

	return r ? r : copy_text(options, &options->config.console, text);
}

static int apply_firmware_log(struct run_options *options, const char *text, char *why, size_t why_size)
{
	int r = check_char_config("--firmware-log", text, why, why_size);

	return r ? r : copy_text(options, &options->config.firmware_log, text);
}

static int apply_config(struct run_options *options, const char *text, char *why, size_t why_size)
{
	return config_json_read(options, text, why, why_size);
}

#define APPLY_FLAG(name, field)                                                                                    \
	static int apply_##name(struct run_options *options, const char *text, char *why, size_t why_size)        \
	{                                                                                                          \
		options->field = true;                                                                             \
		return 0;                                                                                          \
	}

static int apply_dump(struct run_options *options, const char *text, char *why, size_t why_size)
{
	if (!strcmp(text, "tb"))
		return copy_text(options, &options->config.dump_tb, "-");
	if (strncmp(text, "tb=", 3) || !text[3])
		return refuse(why, why_size, "--dump %s is unknown; write tb or tb=FILE", text);
	return copy_text(options, &options->config.dump_tb, text + 3);
}

static int apply_profile(struct run_options *options, const char *text, char *why, size_t why_size)
{
	if (!*text)
		return refuse(why, why_size, "--profile names no file; write --profile FILE, or - for stderr");
	return copy_text(options, &options->config.profile, text);
}

static int apply_count_blocks(struct run_options *options, const char *text, char *why, size_t why_size)
{
	if (!*text)
		return refuse(why, why_size, "--count-blocks names no file; write --count-blocks FILE, or - for stderr");
	return copy_text(options, &options->config.count_blocks, text);
}

static int apply_tb_cache(struct run_options *options, const char *text, char *why, size_t why_size)
{
	if (!*text)
		return refuse(why, why_size, "--tb-cache names no directory; write --tb-cache DIR, or none");
	return copy_text(options, &options->config.tb_cache, text);
}

static int apply_check(struct run_options *options, const char *text, char *why, size_t why_size)
{
	if (!strcmp(text, "interp"))
		options->config.check = true;
	else if (!strcmp(text, "tb-cache"))
		options->config.check_tb_cache = true;
	else
		return refuse(why, why_size, "--check %s is unknown; write interp or tb-cache", text);
	return 0;
}

static int apply_name(struct run_options *options, const char *text, char *why, size_t why_size)
{
	int r = check_name(text, why, why_size);

	return r ? r : copy_text(options, &options->config.name, text);
}

static int apply_gdb(struct run_options *options, const char *text, char *why, size_t why_size)
{
	if (!socket_address_valid(text))
		return refuse(why, why_size, "--gdb %s is not understood; write unix=PATH or tcp=[HOST:]PORT", text);
	return copy_text(options, &options->config.gdb, text);
}

bool display_valid(const char *text)
{
	return !strcmp(text, "none") || (!strncmp(text, "vnc=unix:", 9) && text[9]);
}

static int apply_display(struct run_options *options, const char *text, char *why, size_t why_size)
{
	if (!display_valid(text))
		return refuse(why, why_size, "--display %s is not understood; write vnc=unix:PATH or none", text);
	return copy_text(options, &options->config.display, text);
}

APPLY_FLAG(paused, config.paused)
APPLY_FLAG(no_reboot, config.no_reboot)
APPLY_FLAG(test_devices, config.test_devices)
APPLY_FLAG(stats, config.stats)
APPLY_FLAG(perf_map, config.perf_map)
APPLY_FLAG(no_sandbox, config.no_sandbox)
APPLY_FLAG(dry_run, config.dry_run)
APPLY_FLAG(print_config, print_config)
APPLY_FLAG(help, help)

static const struct option option_table[] = {
	{"kernel", "FILE", "bzImage, ELF with PVH note, x86-64 ELF or multiboot-1 kernel", apply_kernel},
	{"initrd", "FILE", "initial RAM disk; the module of a multiboot kernel", apply_initrd},
	{"append", "TEXT", "the kernel's command line", apply_append},
	{"name", "NAME", "what `ruse ps`, `ctl`, `console` and `stop` call it", apply_name},
	{"firmware", "FILE|seabios|ovmf|aavmf|auto", "firmware of the board pc (virt: aavmf), which boots from a disk; auto: what the first disk wants", apply_firmware},
	{"firmware-vars", "FILE", "where UEFI keeps its variables; made when it is missing (default: they end with the run)", apply_firmware_vars},
	{"firmware-log", "stdio|none|file=P|unix=P|pty", "what firmware says at its debug port (default none)", apply_firmware_log},
	{"board", "NAME", "machine: microvm (default), pc; virt (default for AArch64 kernels)", apply_board},
	{"machine", "NAME", "the same", apply_board},
	{"engine", "NAME", "auto (default: the fastest that works), kvm, dbt, interp", apply_engine},
	{"cpu", "MODEL[,+FEATURE|-FEATURE]...", "processor: host (default), v3, v2, v1; help lists them", apply_cpu},
	{"cpus", "N", "virtual processors, 1 to 64 (default 1)", apply_cpus},
	{"memory", "SIZE[,max=SIZE]", "guest memory, K, M or G (default 256M), and what `ruse ctl NAME memory` can make of it", parse_memory},
	{"disk", "PATH[,ro][,serial=S][,if=virtio|scsi|ahci|cdrom][,format=raw|qcow2][,cache=MODE][,backing=DIR][,queues=N][,rate=bytes:N[/BURST],ops:N[/BURST]]", "disk image or block device; repeatable", parse_disk},
	{"cdrom", "PATH", "CD image in a drive of the board pc; repeatable", parse_cdrom},
	{"net", "none|user|passt[=SOCKET]|stream=unix:PATH|vhost-user=PATH|tap=INTERFACE[,mac=ADDRESS][,hostfwd=tcp:HOSTPORT:GUESTPORT][,queues=N][,rate=R]...", "network card, and what is behind it; repeatable; none: not even the one of a booted disk", apply_net},
	{"fs", "socket=PATH,tag=T", "a file system behind a vhost-user socket (virtiofsd); repeatable", parse_fs},
	{"share", "DIR[,tag=T][,ro]", "a directory of the host for the guest, by 9p; repeatable", parse_share},
	{"pmem", "PATH[,ro][,shared]", "a file that is memory of the guest; repeatable", parse_pmem},
	{"vsock", "cid=N,uds=PATH", "sockets between guest and host: PATH, and PATH_PORT for the guest's calls", parse_vsock},
	{"rng", "on|off", "random number device (default on)", apply_rng},
	{"input", "on|off", "virtio keyboard and tablet (default off)", apply_input},
	{"balloon", "on|off|SIZE", "memory balloon, and what is in it from the start (default off)", parse_balloon},
	{"serial", "stdio|none|file=P|unix=P|pty|detached", "serial port ttyS0 (default stdio)", apply_serial},
	{"console", "stdio|none|file=P|unix=P|pty|detached", "virtio console hvc0 (default none)", apply_console},
	{"display", "vnc=unix:PATH|none", "where viewers of VNC find the screen of the board pc (default none)", apply_display},
	{"no-reboot", NULL, "end instead of resetting the machine", apply_no_reboot},
	{"test-devices", NULL, "isa-debug-exit, pc-testdev and fw_cfg", apply_test_devices},
	{"stats", NULL, "report instructions, exits, memory and times at the end", apply_stats},
	{"trace", "TOPIC,...", "exits, io, mmio, msr, irq, virtio, exception, block, insn", parse_trace},
	{"tb-cache", "DIR|none", "where translations are kept for the next run (default ~/.cache/ruse/tb)", apply_tb_cache},
	{"dump", "tb[=FILE]", "each translation: guest code beside host code (default: to stderr)", apply_dump},
	{"perf-map", NULL, "name translated code for perf, in /tmp/perf-PID.map", apply_perf_map},
	{"profile", "FILE", "where the guest's time went: blocks, pages, faults (-: to stderr)", apply_profile},
	{"count-blocks", "FILE", "how often each piece of guest code was executed (-: to stderr)", apply_count_blocks},
	{"check", "interp|tb-cache", "compare each translated block with the interpreter (slow), those of earlier runs with new ones", apply_check},
	{"gdb", "unix=P|tcp=[HOST:]PORT", "where gdb finds the machine (`target remote`)", apply_gdb},
	{"paused", NULL, "do not start the guest: gdb's continue or `ruse ctl` does", apply_paused},
	{"config", "FILE", "read the machine from JSON; later options add to it", apply_config},
	{"print-config", NULL, "print the machine as JSON and end", apply_print_config},
	{"dry-run", NULL, "check everything, start nothing", apply_dry_run},
	{"no-sandbox", NULL, "stay outside of the sandbox, to debug", apply_no_sandbox},
	{"help", NULL, "this text", apply_help},
};

void run_options_help(FILE *out)
{
	fputs("usage: ruse run {DISK | --kernel FILE | --board pc --firmware FILE} [OPTION]... [-- COMMAND [ARG]...]\n\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
		const struct option *option = &option_table[i];
		int width = fprintf(out, "  --%s%s%s", option->name, option->argument ? " " : "",
				    option->argument ? option->argument : "");

		fprintf(out, "%*s%s\n", width < 34 ? 34 - width : 0, width < 34 ? "" : "\n                                  ",
			option->help);
	}
	fputs("\nCOMMAND runs inside the guest with our stdin, stdout and stderr; its exit status becomes ours.\n"
	      "Exit status: 0 guest power-off, 3 guest panic or triple fault, 1 host error, 2 usage error.\n",
	      out);
}

/* The level of the first model that has it: not below that of what it needs. */
static unsigned first_level(unsigned id)
{
	const struct x86_cpu_feature *feature = &x86_cpu_features[id];
	unsigned level = feature->level;

	for (size_t i = 0; i < ARRAY_SIZE(feature->needs); i++)
		if (feature->needs[i] && first_level(feature->needs[i]) > level)
			level = first_level(feature->needs[i]);
	return level;
}

static void print_names(FILE *out, const char *title, unsigned level)
{
	int column = fprintf(out, "  %-6s", title);

	for (unsigned i = X86_CPU_none + 1; i < X86_CPU_FEATURE_COUNT; i++) {
		const struct x86_cpu_feature *feature = &x86_cpu_features[i];

		if (first_level(i) != level)
			continue;
		if (column + 1 + strlen(feature->name) > 100)
			column = fprintf(out, "\n        ") - 1;
		column += fprintf(out, " %s", feature->name);
	}
	fputc('\n', out);
}

void run_options_cpu_help(FILE *out)
{
	fputs("--cpu MODEL[,+FEATURE|-FEATURE]...\n\nModels:\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(x86_cpu_models); i++)
		fprintf(out, "  %-6s %s\n", x86_cpu_models[i].name, x86_cpu_models[i].about);
	fputs("\nFeatures, by the model that has them first:\n", out);
	print_names(out, "v1", X86_CPU_LEVEL_SYSTEM);
	print_names(out, "v2", X86_CPU_LEVEL_V2);
	print_names(out, "v3", X86_CPU_LEVEL_V3);
	print_names(out, "host", X86_CPU_LEVEL_HOST);
	fputs("\nAlways there:\n", out);
	print_names(out, "", X86_CPU_LEVEL_ALWAYS);
	fputs("\nA feature that needs others:\n", out);
	for (unsigned i = X86_CPU_none + 1; i < X86_CPU_FEATURE_COUNT; i++) {
		const struct x86_cpu_feature *feature = &x86_cpu_features[i];

		if (!feature->needs[0] || feature->level == X86_CPU_LEVEL_ABSENT)
			continue;
		fprintf(out, "  %-15s %s", feature->name, x86_cpu_features[feature->needs[0]].name);
		if (feature->needs[1])
			fprintf(out, " and %s", x86_cpu_features[feature->needs[1]].name);
		fputc('\n', out);
	}
	fputs("\n+FEATURE brings along what it needs; -FEATURE takes along what needs it.\n", out);
}

void run_options_init(struct run_options *options)
{
	*options = (struct run_options){
		.config = {.engine = "auto", .cpus = 1, .rng = true},
	};
}

void run_options_free(struct run_options *options)
{
	strings_free(&options->strings);
	free(options->command);
	options->command = NULL;
}

static const struct option *find_option(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_table); i++)
		if (strlen(option_table[i].name) == len && !memcmp(option_table[i].name, name, len))
			return &option_table[i];
	return NULL;
}

/* A kernel where a disk was expected: people of other tools write it so. */
static bool looks_like_kernel(const char *path)
{
	uint8_t start[0x206] = {0};
	FILE *file = fopen(path, "re");
	size_t len = file ? fread(start, 1, sizeof(start), file) : 0;

	if (file)
		fclose(file);
	return (len >= 4 && !memcmp(start, "\x7f" "ELF", 4)) || (len == sizeof(start) && !memcmp(start + 0x202, "HdrS", 4));
}

/* ISO 9660: its first volume descriptor is in sector 16. text may have options behind a comma. */
static bool looks_like_cd(const char *text)
{
	char path[PATH_MAX], start[5];
	const size_t len = strcspn(text, ",");
	FILE *file;
	bool is = false;

	if (len >= sizeof(path) || strstr(text + len, ",if="))
		return false;
	memcpy(path, text, len);
	path[len] = '\0';
	file = fopen(path, "re");
	if (file)
		is = fseek(file, 16 * 2048 + 1, SEEK_SET) == 0 && fread(start, sizeof(start), 1, file) == 1 && !memcmp(start, "CD001", sizeof(start));
	if (file)
		fclose(file);
	return is;
}

static int take_disk(struct run_options *options, const char *text, char *why, size_t why_size)
{
	if (looks_like_kernel(text))
		return refuse(why, why_size, "%s is a kernel, not a disk; write --kernel %s", text, text);
	options->boots_disk = true;
	return looks_like_cd(text) ? parse_cdrom(options, text, why, why_size) : parse_disk(options, text, why, why_size);
}

/* What nobody said. */
static void fill_in(struct run_options *options)
{
	struct vm_config *config = &options->config;

	if (options->boots_disk && !config->kernel) {
		if (!config->board)
			config->board = "pc";
		if (!config->firmware)
			config->firmware = "auto";
		if (!config->net_count && !options->no_net)
			config->nets[config->net_count++].backend = "user";
		if (!config->memory)
			config->memory = DISK_MEMORY;
	}
	if (!config->board)
		config->board = config->kernel && kernel_is_arm64(config->kernel) ? "virt" : "microvm";
	if (!config->memory)
		config->memory = DEFAULT_MEMORY;
}

int run_options_parse(struct run_options *options, int argc, char **argv, char *why, size_t why_size)
{
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i], *text = NULL;

		if (!strcmp(word, "--")) {
			if (i + 1 == argc)
				return refuse(why, why_size, "nothing follows --; write -- COMMAND [ARG]...");
			fill_in(options);
			return set_command(options, (size_t)(argc - i - 1), (const char *const *)argv + i + 1);
		}
		if (!strcmp(word, "-h"))
			word = "--help";
		size_t len = strncmp(word, "--", 2) ? 0 : strcspn(word + 2, "=");
		const struct option *option = len ? find_option(word + 2, len) : NULL;

		if (!option && strncmp(word, "-", 1)) {
			int r = take_disk(options, word, why, why_size);

			if (r)
				return r;
			continue;
		}
		if (!option)
			return refuse(why, why_size, "option %s is unknown; `ruse run --help` lists them", word);
		if (word[2 + len] == '=')
			text = word + 3 + len;
		if (!option->argument && text)
			return refuse(why, why_size, "--%s takes no value", option->name);
		if (option->argument && !text) {
			if (++i == argc)
				return refuse(why, why_size, "--%s needs a value: --%s %s", option->name, option->name,
					      option->argument);
			text = argv[i];
		}
		int r = option->apply(options, text, why, why_size);
		if (r)
			return r;
	}
	fill_in(options);
	return 0;
}

int run_options_check(struct run_options *options, char *why, size_t why_size)
{
	struct vm_config *config = &options->config;

	if (!config->kernel && !config->firmware)
		return refuse(why, why_size, "nothing to start: give a disk image, or --kernel FILE (./run fetches one and gives it), or --board pc --firmware seabios");
	if (config->firmware_vars && !config->firmware)
		return refuse(why, why_size, "--firmware-vars is for firmware; give --board pc --firmware ovmf, or leave it out");
	if (config->command && !config->initrd)
		return refuse(why, why_size,
			      "a command needs an initrd whose init runs it: give --initrd FILE (./run builds one)");
	if (config->memory_max && check_memory_max(config, why, why_size))
		return -EINVAL;
	if (config->balloon_size >= config->memory)
		return refuse(why, why_size, "--balloon can't take all of the guest's memory; give it less than --memory");
	if (config->gdb && config->check)
		return refuse(why, why_size, "--check interp can't be debugged; leave out --gdb");
	if (config->serial && config->console && !strcmp(config->serial, "stdio") && !strcmp(config->console, "stdio"))
		return refuse(why, why_size, "--serial and --console can't both be stdio; give one of them another place");
	if (config->serial && config->console && !strcmp(config->serial, "detached") && !strcmp(config->console, "detached"))
		return refuse(why, why_size, "--serial and --console can't both be detached; give one of them another place");
	return 0;
}
