/* libFuzzer target for the TFTP server of user networking: a guest's frames, whole or as requests behind right headers. An answer fits
 * a frame, and tells nothing but what is in the directory.
 *
 * Example: fuzz_tftp -runs=20000 -max_len=600
 *
 * The input is a list of packets: a byte of length, twice that many bytes. The first bit of the length chooses: a frame as it is, or what
 * is behind the UDP header.
 */
#include "backend/tftp.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADERS 42u

static const uint8_t headers[HEADERS] = {
	0x52, 0x55, 10, 0, 2, 2, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 0, /* Ethernet */
	0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2, /* IPv4, UDP */
	0x10, 0x00, 0, 69, 0, 0, 0, 0, /* from port 4096 to 69 */
};

static char directory[] = "/tmp/fuzz_tftp.XXXXXX";

static void remove_directory(void)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/file", directory);
	unlink(path);
	rmdir(directory);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[64];
	FILE *file;

	if (!mkdtemp(directory))
		abort();
	atexit(remove_directory);
	snprintf(path, sizeof(path), "%s/file", directory);
	file = fopen(path, "w");
	for (unsigned i = 0; file && i < 3000; i++)
		fputc('x', file);
	if (!file || fclose(file))
		abort();
	return 0;
}

static void put16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct tftp *tftp;
	char why[256];

	if (tftp_open(directory, &tftp, why, sizeof(why)))
		abort();
	while (len > 0) {
		const bool whole = bytes[0] & 1;
		size_t part = (size_t)(bytes[0] >> 1) * 2, size = whole ? 0 : HEADERS;
		uint8_t answer[TFTP_ANSWER_MAX], *frame;
		size_t n;

		bytes++, len--;
		part = part < len ? part : len;
		/* In memory of its own: reads behind its end are seen. */
		frame = malloc(size + part + 1);
		if (!frame)
			abort();
		memcpy(frame, headers, size);
		memcpy(frame + size, bytes, part);
		if (!whole) {
			put16(frame + 16, 28 + part);
			put16(frame + 38, 8 + part);
		}
		size += part;
		bytes += part, len -= part;
		if (tftp_wants(frame, size)) {
			n = tftp_answer(tftp, frame, size, answer);
			if (n > TFTP_ANSWER_MAX)
				abort();
		}
		free(frame);
	}
	tftp_close(tftp);
	return 0;
}
