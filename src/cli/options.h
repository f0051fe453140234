/* The options of `ruse run`: one table, from which parsing, `--help` and the test of the documentation come.
 *
 * Example:
 *     struct run_options options;
 *     run_options_init(&options);
 *     r = run_options_parse(&options, argc, argv, why, sizeof(why));   // -EINVAL: a usage error
 *     ...
 *     run_options_free(&options);
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "board/config.h"
#include <stdio.h>

/* Text that a vm_config points to: freed together. */
struct strings {
	char **items;
	size_t count, capacity;
};

/* A copy of len bytes of text; aborts the process when there is no memory. */
char *strings_copy(struct strings *strings, const char *text, size_t len);
void strings_free(struct strings *strings);

struct run_options {
	struct vm_config config;
	bool print_config;
	bool help;
	bool cpu_help; /* --cpu help */
	bool boots_disk; /* `ruse run DISK` */
	bool no_net;     /* --net none */
	struct strings strings;
	const char **command; /* what config.command points to */
};

void run_options_init(struct run_options *options);
/* argv[0] is the first argument after `run`. 0, or -errno and one sentence. */
int run_options_parse(struct run_options *options, int argc, char **argv, char *why, size_t why_size);
/* What must hold whatever the order of the options was. */
int run_options_check(struct run_options *options, char *why, size_t why_size);
void run_options_free(struct run_options *options);
void run_options_help(FILE *out);
/* The processor models and features of --cpu. */
void run_options_cpu_help(FILE *out);

/* ---- pieces that --config shares ---- */

/* "128M" -> bytes. False: not a size. */
bool parse_size(const char *text, uint64_t *bytes);
/* "virtio", "scsi". False: no such thing. */
bool parse_disk_interface(const char *text, size_t len, enum disk_interface *interface);
const char *disk_interface_name(enum disk_interface interface);
/* Decimal digits, len of them, up to max. */
bool parse_number(const char *text, size_t len, unsigned long max, unsigned long *value);
/* "52:54:00:12:34:56" */
bool parse_mac(const char *text, size_t len, uint8_t mac[6]);
/* What --memory, --balloon and --pmem take (options_memory.c). */
int parse_memory(struct run_options *options, const char *text, char *why, size_t why_size);
int parse_balloon(struct run_options *options, const char *text, char *why, size_t why_size);
int parse_pmem(struct run_options *options, const char *text, char *why, size_t why_size);
/* Is the difference to config->memory something that can be plugged? */
int check_memory_max(const struct vm_config *config, char *why, size_t why_size);
/* What --net takes (options_net.c), and "PATH[,ro][,serial=S][,queues=N][,rate=R]" */
int parse_net(struct run_options *options, const char *text, char *why, size_t why_size);
/* "DIR[,tag=T][,ro]" (options_share.c) */
int parse_share(struct run_options *options, const char *text, char *why, size_t why_size);
/* Adds a share that has a directory; without a tag it gets one. 0 or -EINVAL with one sentence in why. */
int add_share(struct run_options *options, struct share_config share, char *why, size_t why_size);
/* "cid=N,uds=PATH" */
int parse_vsock(struct run_options *options, const char *text, char *why, size_t why_size);
/* What must hold of vsock, wherever it was described. 0 or -EINVAL with one sentence in why. */
int check_vsock(const struct vsock_config *vsock, char *why, size_t why_size);
/* "socket=PATH,tag=T" (options_fs.c) */
int parse_fs(struct run_options *options, const char *text, char *why, size_t why_size);
/* What must hold of a shared file system, wherever it was described. 0 or -EINVAL with one sentence in why. */
int check_fs(const struct fs_config *fs, char *why, size_t why_size);
/* What must hold of a network, wherever it was described. 0 or -EINVAL with one sentence in why. */
int check_net(const struct net_config *net, char *why, size_t why_size);
int parse_disk(struct run_options *options, const char *text, char *why, size_t why_size); /* options_disk.c */
int parse_cdrom(struct run_options *options, const char *text, char *why, size_t why_size); /* the same, of an image in a CD drive */
/* What must hold of a disk, wherever it was described. 0 or -EINVAL with one sentence in why. */
int check_disk(const struct disk_config *disk, char *why, size_t why_size);
/* "queues=N", "rate=bytes:N[/BURST],ops:N[/BURST]" of disks and cards, a piece at a time: at the comma of a rate the next begins
 * (options_queue.c). 1: it was one; 0: it is none of these; -EINVAL with one sentence in why. */
int parse_queue_option(unsigned *queues, unsigned max_queues, struct rate_limit *limit, const char *text, size_t len, char *why,
		       size_t why_size);
int check_char_config(const char *option, const char *text, char *why, size_t why_size);
/* Is it what --display takes? */
bool display_valid(const char *text);
/* Is it a name for a VM? 0 or -EINVAL with one sentence in why. */
int check_name(const char *text, char *why, size_t why_size);
int parse_trace(struct run_options *options, const char *text, char *why, size_t why_size);
int set_command(struct run_options *options, size_t count, const char *const *words);

#endif
