/* Parsing of what has to do with the guest's memory: --memory, --balloon, --pmem.
 *
 * Example: `--memory 512M,max=4G --balloon on --pmem root.img,ro`
 */
#include "cli/options.h"

#include "dev/virtio/memory.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>

__attribute__((format(printf, 3, 4))) static int refuse(char *why, size_t why_size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, why_size, format, args);
	va_end(args);
	return -EINVAL;
}

/* A part of an option's text, as a size of whole pages. */
static bool parse_pages(const char *text, size_t len, uint64_t *bytes)
{
	char copy[32];

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = 0;
	return parse_size(copy, bytes) && *bytes && *bytes % PAGE_SIZE == 0;
}

int parse_memory(struct run_options *options, const char *text, char *why, size_t why_size)
{
	struct vm_config *config = &options->config;
	const size_t len = strcspn(text, ",");

	config->memory_max = 0;
	if (!parse_pages(text, len, &config->memory))
		return refuse(why, why_size, "--memory %s is not a size in whole pages; write for example 256M or 2G", text);
	if (text[len] && (strncmp(text + len, ",max=", 5) || !parse_pages(text + len + 5, strlen(text + len + 5), &config->memory_max)))
		return refuse(why, why_size, "--memory %s is not understood; write SIZE[,max=SIZE]", text);
	return 0;
}

int check_memory_max(const struct vm_config *config, char *why, size_t why_size)
{
	if (config->memory_max < config->memory)
		return refuse(why, why_size, "--memory can grow to no less than it is; make max larger");
	if ((config->memory_max - config->memory) % VIRTIO_MEMORY_BLOCK)
		return refuse(why, why_size, "--memory grows in steps of 2 MiB; change max");
	return 0;
}

int parse_balloon(struct run_options *options, const char *text, char *why, size_t why_size)
{
	struct vm_config *config = &options->config;

	config->balloon = strcmp(text, "off") != 0;
	config->balloon_size = 0;
	if (strcmp(text, "on") && strcmp(text, "off") &&
	    (!parse_size(text, &config->balloon_size) || config->balloon_size % PAGE_SIZE))
		return refuse(why, why_size, "--balloon %s is neither on nor off nor a size in whole pages", text);
	return 0;
}

int parse_pmem(struct run_options *options, const char *text, char *why, size_t why_size)
{
	struct vm_config *config = &options->config;
	const size_t path_len = strcspn(text, ",");
	struct pmem_config pmem = {0};

	if (!path_len)
		return refuse(why, why_size, "--pmem %s names no file; write --pmem PATH[,ro][,shared]", text);
	if (config->pmem_count == CONFIG_MAX_PMEMS)
		return refuse(why, why_size, "more than %d files as memory; leave some --pmem out", CONFIG_MAX_PMEMS);
	pmem.path = strings_copy(&options->strings, text, path_len);
	for (const char *p = text + path_len; *p == ',';) {
		size_t len = strcspn(++p, ",");

		if (len == 2 && !memcmp(p, "ro", 2))
			pmem.read_only = true;
		else if (len == 6 && !memcmp(p, "shared", 6))
			pmem.shared = true;
		else
			return refuse(why, why_size, "--pmem option '%.*s' is unknown; use ro or shared", (int)len, p);
		p += len;
	}
	config->pmems[config->pmem_count++] = pmem;
	return 0;
}
