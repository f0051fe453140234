/* Translations as text; see translations.h.
 *
 *     block kernel ffffffff81000040, physical 1000040, 2 instructions, 5 bytes, 61 bytes of host code at 7f5cd2a04000
 *     ffffffff81000040: 48 8b 07                       mov rax, qword ptr [rdi]
 *         7f5cd2a04000: c4 63 fb f0 df 30              rorx r11, rdi, 0x30
 *         ...
 *
 * A line of a perf map is "address size name", the numbers hexadecimal.
 */
#include "host/linux/translations.h"
#include "base/fmt.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef HAVE_ZYDIS
#include <Zydis/Zydis.h>
#endif

#define BYTES_SHOWN 10 /* in a line */

/* ---- disassembly ---- */

#ifdef HAVE_ZYDIS
/* One instruction as text; its length, at least 1. */
static size_t disassemble(uint64_t address, bool narrow, const uint8_t *code, size_t size, char *text, size_t text_size)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	ZydisFormatter formatter;
	ZydisDecoder decoder;

	if (narrow)
		ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
	else
		ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, size, &insn, operands)) ||
	    !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &insn, operands, insn.operand_count_visible, text, text_size,
							  address, NULL))) {
		snprintf(text, text_size, "(not an instruction, or not all of one)");
		return 1;
	}
	return insn.length;
}
#else
static size_t disassemble(uint64_t address, bool narrow, const uint8_t *code, size_t size, char *text, size_t text_size)
{
	*text = 0;
	return size;
}
#endif

static void dump_line(FILE *out, const char *indent, uint64_t address, const uint8_t *code, size_t size, const char *text)
{
	fprintf(out, "%s%llx:", indent, (unsigned long long)address);
	for (size_t i = 0; i < BYTES_SHOWN || i < size; i++) {
		if (i < size)
			fprintf(out, " %02x", code[i]);
		else
			fputs("   ", out);
	}
	fprintf(out, "  %s\n", text);
}

static void dump_code(FILE *out, const char *indent, uint64_t address, bool narrow, const uint8_t *code, size_t size)
{
	char text[160];

	for (size_t at = 0; at < size;) {
		size_t length = disassemble(address + at, narrow, code + at, size - at, text, sizeof(text));

		dump_line(out, indent, address + at, code + at, length, text);
		at += length;
	}
}

static void dump(FILE *out, const struct translation *t)
{
	if (t->name)
		fprintf(out, "code %s, %zu bytes at %llx\n", t->name, t->host_size, (unsigned long long)t->host_address);
	else
		fprintf(out, "block %s %llx, physical %llx, %u instructions, %zu bytes, %zu bytes of host code at %llx\n",
			t->user ? "user" : "kernel", (unsigned long long)t->rip, (unsigned long long)t->gpa, t->count, t->guest_size,
			t->host_size, (unsigned long long)t->host_address);
	for (unsigned i = 0; i < t->count; i++) {
		const struct translation_insn *insn = &t->insns[i], *next = insn + 1;
		size_t guest_end = i + 1 < t->count ? next->guest : t->guest_size;
		size_t host_end = i + 1 < t->count ? next->host : t->host_size;

		dump_code(out, "", t->rip + insn->guest, t->narrow, t->guest + insn->guest, guest_end - insn->guest);
		dump_code(out, "    ", t->host_address + insn->host, false, t->host + insn->host, host_end - insn->host);
	}
	if (t->count == 0)
		dump_code(out, "    ", t->host_address, false, t->host, t->host_size);
	fputc('\n', out);
	fflush(out); /* it is for looking into what goes wrong next */
}

static void map(FILE *out, const struct translation *t)
{
	fprintf(out, "%llx %zx ", (unsigned long long)t->host_address, t->host_size);
	if (t->name)
		fprintf(out, "ruse:%s\n", t->name);
	else
		fprintf(out, "guest-%s:%llx\n", t->user ? "user" : "kernel", (unsigned long long)t->rip);
}

static void add(struct translation_log *log, const struct translation *translation)
{
	struct translations *translations = container_of(log, struct translations, log);

	lock_take(&translations->lock);
	if (translations->dump)
		dump(translations->dump, translation);
	if (translations->map)
		map(translations->map, translation);
	lock_release(&translations->lock);
}

/* ---- files ---- */

static int fail(struct translations *translations, const char *path, const char *option, char *why, size_t why_size)
{
	int r = -errno;

	fmt_print(why, why_size, "%s can't be written: %s; check %s", path, strerror(-r), option);
	translations_close(translations);
	return r;
}

/* With a buffer of ours: for one of its own the C library would ask, inside the sandbox, what kind of file it is. */
static FILE *open_text(int fd, char *buffer)
{
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

	if (file)
		setvbuf(file, buffer, _IOFBF, TRANSLATIONS_BUFFER);
	return file;
}

static int open_dump(struct translations *translations, const char *path)
{
	int fd = strcmp(path, "-") ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : dup(STDERR_FILENO);

	translations->dump = open_text(fd, translations->dump_buffer);
	return translations->dump ? 0 : -errno;
}

int translations_open(struct translations *translations, const char *dump, bool perf_map, char *why, size_t why_size)
{
	char path[64];

	memset(translations, 0, sizeof(*translations));
	translations->log.add = add;
#ifndef HAVE_ZYDIS
	if (dump) {
		fmt_print(why, why_size, "--dump tb needs a disassembler, which this build has not: install libzydis-dev and build again");
		return -ENOSYS;
	}
#endif
	if (dump && open_dump(translations, dump) < 0)
		return fail(translations, dump, "--dump", why, why_size);
	if (!perf_map)
		return 0;
	fmt_print(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	/* Others may write to /tmp: only a file that nobody has put there. */
	unlink(path);
	translations->map = open_text(open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644),
				      translations->map_buffer);
	return translations->map ? 0 : fail(translations, path, "/tmp", why, why_size);
}

static void close_text(FILE **file)
{
	if (*file)
		fclose(*file);
	*file = NULL;
}

void translations_close(struct translations *translations)
{
	close_text(&translations->dump);
	close_text(&translations->map);
}
