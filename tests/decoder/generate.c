/* Byte strings in four distributions: uniform; prefixes and opcode maps drawn so that all of the table is
 * met; valid instructions with one mutation; code of real programs, which is also read in the other modes.
 *
 * Example:
 *     struct generator *generator = generator_new(1, (char *[]){ "/bin/busybox" }, 1);
 *     generator_next(generator, bytes);
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare.h"

#define KEPT 4096

struct text {
	uint8_t *bytes;
	size_t size, position;
};

struct generator {
	uint64_t state;
	uint8_t kept[KEPT][BYTES_MAX];
	unsigned kept_count, kept_next;
	struct text texts[8];
	unsigned text_count;
};

/* xorshift64* */
static uint64_t random_u64(struct generator *g)
{
	g->state ^= g->state >> 12;
	g->state ^= g->state << 25;
	g->state ^= g->state >> 27;
	return g->state * 0x2545f4914f6cdd1dull;
}

static unsigned random_below(struct generator *g, unsigned n)
{
	return (unsigned)((random_u64(g) >> 32) * n >> 32);
}

/* Takes the .text sections out of an ELF64 file; one that can't be read is left out. */
static void load_text(struct generator *g, const char *path)
{
	FILE *file = fopen(path, "rb");
	Elf64_Ehdr header;

	if (!file)
		return;
	if (fread(&header, sizeof(header), 1, file) == 1 && !memcmp(header.e_ident, ELFMAG, SELFMAG)) {
		for (unsigned i = 0; i < header.e_shnum && g->text_count < 8; i++) {
			Elf64_Shdr section;
			struct text text = { NULL };

			if (fseek(file, (long)(header.e_shoff + i * sizeof(section)), SEEK_SET) ||
			    fread(&section, sizeof(section), 1, file) != 1)
				break;
			if (section.sh_type != SHT_PROGBITS || !(section.sh_flags & SHF_EXECINSTR) ||
			    section.sh_size < 4096)
				continue;
			text.size = section.sh_size;
			text.bytes = malloc(text.size);
			if (text.bytes && !fseek(file, (long)section.sh_offset, SEEK_SET) &&
			    fread(text.bytes, text.size, 1, file) == 1)
				g->texts[g->text_count++] = text;
			else
				free(text.bytes);
		}
	}
	fclose(file);
}

struct generator *generator_new(uint64_t seed, char *const *files, int file_count)
{
	struct generator *g = calloc(1, sizeof(*g));

	if (!g)
		abort();
	g->state = seed * 0x9e3779b97f4a7c15ull + 0x1234567;
	for (int i = 0; i < file_count; i++)
		load_text(g, files[i]);
	return g;
}

void generator_free(struct generator *g)
{
	for (unsigned i = 0; i < g->text_count; i++)
		free(g->texts[i].bytes);
	free(g);
}

static void fill_random(struct generator *g, uint8_t *bytes, unsigned from)
{
	for (unsigned i = from; i < BYTES_MAX; i++)
		bytes[i] = (uint8_t)random_u64(g);
}

static void generate_structured(struct generator *g, uint8_t *bytes)
{
	static const uint8_t prefixes[] = { 0x66, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65 };
	unsigned n = 0, count = random_below(g, 4);

	fill_random(g, bytes, 0);
	/* Rarely so many that the instruction gets too long. */
	if (random_below(g, 64) == 0)
		count = random_below(g, 15);
	while (n < count)
		bytes[n++] = prefixes[random_below(g, sizeof(prefixes))];
	if (random_below(g, 3) == 0)
		bytes[n++] = (uint8_t)(0x40 | random_below(g, 16));
	switch (random_below(g, 8)) {
	case 0: break;
	case 1:
	case 2: bytes[n++] = 0x0f; break;
	case 3:
		bytes[n++] = 0x0f;
		if (n < BYTES_MAX)
			bytes[n++] = 0x38;
		break;
	case 4:
		bytes[n++] = 0x0f;
		if (n < BYTES_MAX)
			bytes[n++] = 0x3a;
		break;
	case 5: /* VEX, two bytes; with vvvv unused half of the time */
		n = random_below(g, 8) ? 0 : n;
		bytes[n++] = 0xc5;
		if (random_below(g, 2) && n < BYTES_MAX)
			bytes[n++] |= 0xf8;
		else
			n++;
		break;
	default: /* VEX, three bytes, in a map that exists */
		n = random_below(g, 8) ? 0 : n;
		bytes[n++] = 0xc4;
		if (n < BYTES_MAX) {
			bytes[n] = (uint8_t)((bytes[n] & 0xe0) | (1 + random_below(g, 3)));
			n++;
		}
		if (random_below(g, 2) && n < BYTES_MAX)
			bytes[n] |= 0x78;
		break;
	}
}

static void generate_mutated(struct generator *g, uint8_t *bytes)
{
	const unsigned at = random_below(g, 8);

	memcpy(bytes, g->kept[random_below(g, g->kept_count)], BYTES_MAX);
	switch (random_below(g, 4)) {
	case 0: bytes[at] ^= (uint8_t)(1 << random_below(g, 8)); break;
	case 1: bytes[at] = (uint8_t)random_u64(g); break;
	case 2: /* a byte more, often a prefix in front */
		memmove(bytes + 1, bytes, BYTES_MAX - 1);
		bytes[0] = (uint8_t)random_u64(g);
		break;
	default: memmove(bytes, bytes + 1, BYTES_MAX - 1); break;
	}
}

static void generate_real(struct generator *g, uint8_t *bytes)
{
	struct text *text = &g->texts[random_below(g, g->text_count)];

	if (text->position + BYTES_MAX > text->size)
		text->position = 0;
	memcpy(bytes, text->bytes + text->position, BYTES_MAX);
	text->position += 1 + random_below(g, 8);
}

void generator_next(struct generator *g, uint8_t bytes[BYTES_MAX])
{
	const unsigned pick = random_below(g, 8);

	if (pick == 0)
		fill_random(g, bytes, 0);
	else if (pick <= 4)
		generate_structured(g, bytes);
	else if (pick <= 6 && g->kept_count)
		generate_mutated(g, bytes);
	else if (g->text_count)
		generate_real(g, bytes);
	else
		generate_structured(g, bytes);
}

void generator_keep(struct generator *g, const uint8_t bytes[BYTES_MAX])
{
	memcpy(g->kept[g->kept_next], bytes, BYTES_MAX);
	g->kept_next = (g->kept_next + 1) % KEPT;
	if (g->kept_count < KEPT)
		g->kept_count++;
}
