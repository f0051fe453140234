/* SMBIOS structures; see smbios.h. Numbers and fields are those of DSP0134 3.2.
 *
 * Example: `begin(b, SYSTEM, 27); set_string(b, 4, "ruse"); end(b);` adds a structure with one string.
 */
#include "board/x86_64/smbios.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "base/string.h"

enum structure { BIOS = 0, SYSTEM = 1, CHASSIS = 3, PROCESSOR = 4, MEMORY_ARRAY = 16, MEMORY_DEVICE = 17, MEMORY_MAPPED = 19, BOOT = 32, END = 127 };

#define HANDLE(type, index) ((uint16_t)((type) << 8 | (index)))
#define NO_HANDLE  0xfffe /* none is provided */
#define MAX_LENGTH 0x40

struct builder {
	struct smbios *smbios;
	uint8_t fixed[MAX_LENGTH]; /* the open structure */
	char strings[256];
	unsigned strings_len, string_count;
	unsigned structures, longest;
	bool failed;
};

static void set(struct builder *b, unsigned offset, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		b->fixed[offset + i] = (uint8_t)(value >> (8 * i));
}

static void begin(struct builder *b, enum structure type, uint8_t length, unsigned index)
{
	memset(b->fixed, 0, sizeof(b->fixed));
	b->strings_len = b->string_count = 0;
	set(b, 0, type, 1);
	set(b, 1, length, 1);
	set(b, 2, HANDLE(type, index), 2);
}

static void set_string(struct builder *b, unsigned offset, const char *text)
{
	const size_t room = sizeof(b->strings) - b->strings_len, len = fmt_print(b->strings + b->strings_len, room, "%s", text) + 1;

	if (len > room) {
		b->failed = true;
		return;
	}
	b->strings_len += (unsigned)len;
	set(b, offset, ++b->string_count, 1);
}

static void append(struct builder *b, const void *data, size_t len)
{
	struct smbios *smbios = b->smbios;

	if (len > sizeof(smbios->tables) - smbios->len) {
		b->failed = true;
		return;
	}
	memcpy(smbios->tables + smbios->len, data, len);
	smbios->len += (uint32_t)len;
}

/* Behind the strings, and where there are none twice, is a zero. */
static void end(struct builder *b)
{
	const uint32_t before = b->smbios->len;

	append(b, b->fixed, b->fixed[1]);
	append(b, b->strings, b->strings_len);
	append(b, "\0", b->strings_len ? 1 : 2);
	b->structures++;
	if (b->smbios->len - before > b->longest)
		b->longest = b->smbios->len - before;
}

/* What stands in for firmware where a kernel is started directly. */
static void add_bios(struct builder *b)
{
	begin(b, BIOS, 24, 0);
	set_string(b, 4, "ruse");
	set_string(b, 5, "1");
	set(b, 6, 0xe000, 2); /* the segment at which it would begin */
	set_string(b, 8, "01/01/2026");
	set(b, 10, 1ull << 3, 8);   /* it tells nothing of what it can do, */
	set(b, 19, 1 << 4, 1);      /* but that this is a virtual machine */
	set(b, 20, 1, 1);           /* its release; */
	set(b, 22, 0xff, 1);        /* there is no embedded controller */
	set(b, 23, 0xff, 1);
	end(b);
}

static void add_system(struct builder *b, const char *name)
{
	begin(b, SYSTEM, 27, 0);
	set_string(b, 4, "ruse");
	set_string(b, 5, "pc");
	set_string(b, 6, "1");
	set(b, 24, 6, 1); /* woken by the power switch */
	if (name)
		set_string(b, 26, name);
	end(b);

	begin(b, CHASSIS, 22, 0);
	set_string(b, 4, "ruse");
	set(b, 5, 1, 1); /* other */
	set(b, 9, 3, 1); /* boot-up, power supply, thermal: safe */
	set(b, 10, 3, 1);
	set(b, 11, 3, 1);
	set(b, 12, 2, 1); /* security: unknown */
	end(b);
}

static void add_processor(struct builder *b, unsigned index)
{
	char socket[16];

	fmt_print(socket, sizeof(socket), "CPU %u", index);
	begin(b, PROCESSOR, 42, index);
	set_string(b, 4, socket);
	set(b, 5, 3, 1);  /* central processor */
	set(b, 6, 2, 1);  /* family unknown: there is CPUID */
	set_string(b, 7, "ruse");
	set(b, 24, 0x41, 1); /* socket populated, enabled */
	set(b, 25, 1, 1);    /* upgrade: other */
	set(b, 26, 0xffff, 2); /* no caches described */
	set(b, 28, 0xffff, 2);
	set(b, 30, 0xffff, 2);
	set(b, 35, 1, 1); /* cores, enabled, threads */
	set(b, 36, 1, 1);
	set(b, 37, 1, 1);
	set(b, 38, 4, 2); /* 64-bit */
	end(b);
}

static void add_mapped(struct builder *b, unsigned index, gpa_t first, uint64_t size)
{
	begin(b, MEMORY_MAPPED, 31, index);
	set(b, 4, first >> 10, 4); /* in KiB, both ends */
	set(b, 8, (first + size - 1) >> 10, 4);
	set(b, 12, HANDLE(MEMORY_ARRAY, 0), 2);
	set(b, 14, 1, 1); /* devices side by side */
	end(b);
}

/* A device of more than 32 GiB - 1 MiB says so in its extended field, of megabytes. */
static void add_memory(struct builder *b, uint64_t memory, uint64_t low)
{
	const uint64_t megabytes = memory >> 20;

	begin(b, MEMORY_ARRAY, 23, 0);
	set(b, 4, 1, 1); /* other place, system memory, multi-bit ECC */
	set(b, 5, 3, 1);
	set(b, 6, 6, 1);
	set(b, 7, 0x80000000, 4);
	set(b, 11, NO_HANDLE, 2);
	set(b, 13, 1, 2);
	set(b, 15, memory, 8);
	end(b);

	begin(b, MEMORY_DEVICE, 40, 0);
	set(b, 4, HANDLE(MEMORY_ARRAY, 0), 2);
	set(b, 6, NO_HANDLE, 2);
	set(b, 8, 0xffff, 2); /* widths unknown */
	set(b, 10, 0xffff, 2);
	set(b, 12, megabytes < 0x7fff ? megabytes : 0x7fff, 2);
	set(b, 14, 9, 1); /* a DIMM */
	set_string(b, 16, "DIMM 0");
	set(b, 18, 7, 1); /* RAM */
	set(b, 19, 2, 2);
	set_string(b, 23, "ruse");
	set(b, 28, megabytes < 0x7fff ? 0 : megabytes, 4);
	end(b);

	add_mapped(b, 0, 0, low);
	if (memory > low)
		add_mapped(b, 1, GIB(4), memory - low);
}

static void checksum(uint8_t *at, unsigned len, unsigned where)
{
	unsigned sum = 0;

	at[where] = 0;
	for (unsigned i = 0; i < len; i++)
		sum += at[i];
	at[where] = (uint8_t)-sum;
}

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

/* §5.2.1, the 32-bit entry point. */
static void fill_anchor(const struct builder *b)
{
	uint8_t *anchor = b->smbios->anchor;

	memcpy(anchor, "_SM_", 4);
	anchor[5] = SMBIOS_ANCHOR_SIZE;
	anchor[6] = 2;
	anchor[7] = 8;
	put(anchor + 8, b->longest, 2);
	memcpy(anchor + 16, "_DMI_", 5);
	put(anchor + 22, b->smbios->len, 2);
	put(anchor + 28, b->structures, 2);
	anchor[30] = 0x28;
	smbios_link(b->smbios, 0);
}

void smbios_link(struct smbios *smbios, gpa_t gpa)
{
	put(smbios->anchor + 24, gpa, 4);
	checksum(smbios->anchor + 16, 15, 5);
	checksum(smbios->anchor, SMBIOS_ANCHOR_SIZE, 4);
}

int smbios_build(struct smbios *smbios, const struct smbios_machine *machine)
{
	struct builder b = {.smbios = smbios};

	memset(smbios, 0, sizeof(*smbios));
	if (machine->no_firmware)
		add_bios(&b);
	add_system(&b, machine->name);
	for (unsigned i = 0; i < machine->cpus; i++)
		add_processor(&b, i);
	add_memory(&b, machine->memory, machine->low);
	begin(&b, BOOT, 11, 0);
	end(&b);
	begin(&b, END, 4, 0);
	end(&b);
	fill_anchor(&b);
	return b.failed ? -ENOSPC : 0;
}
