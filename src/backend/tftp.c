/* The TFTP server of user networking; see tftp.h.
 *
 * It has no timers: a client that misses a packet repeats its own, and gets the answer again.
 */
#include "backend/tftp.h"
#include "base/log.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_SESSIONS 8u
#define NAME_MAX_LEN 512u /* in a request */

#define ETHERNET 14u
#define IPV4     20u
#define UDP      8u
#define HEADERS  (ETHERNET + IPV4 + UDP)
#define PORT     69u

#define BLOCK_DEFAULT 512u
#define BLOCK_MIN     8u
#define BLOCK_MAX     (TFTP_ANSWER_MAX - HEADERS - 4u)

static const uint8_t server_ip[4] = {10, 0, 2, 2};
static const uint8_t server_mac[6] = {0x52, 0x55, 10, 0, 2, 2};

enum opcode { RRQ = 1, WRQ, DATA, ACK, ERROR, OACK };
enum error { NOT_DEFINED = 0, NOT_FOUND = 1, ACCESS_VIOLATION = 2, ILLEGAL = 4, UNKNOWN_ID = 5, BAD_OPTION = 8 };

struct file {
	char *name; /* below the directory, without a slash in front */
	int fd;
};

struct session {
	bool used;
	uint16_t port;          /* the client's */
	const struct file *file;
	unsigned block_size;
	uint64_t acknowledged;  /* blocks: the next one is under way */
	uint64_t last_used;
};

struct tftp {
	struct file files[TFTP_MAX_FILES];
	unsigned file_count;
	struct session sessions[MAX_SESSIONS];
	uint64_t now; /* requests so far */
};

/* ---- files ---- */

static int open_below(int directory, const char *path, uint64_t flags)
{
	const struct open_how how = {.flags = flags | O_RDONLY | O_CLOEXEC | O_NONBLOCK,
				     .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};

	return (int)syscall(SYS_openat2, directory, path, &how, sizeof(how));
}

static int add_file(struct tftp *tftp, int fd, const char *path)
{
	char *name;

	if (tftp->file_count == TFTP_MAX_FILES)
		return -EMFILE;
	name = strdup(path);
	if (!name)
		return -ENOMEM;
	tftp->files[tftp->file_count++] = (struct file){.name = name, .fd = fd};
	return 0;
}

static int add_directory(struct tftp *tftp, int root, const char *path, unsigned depth);

/* Takes what it can; fails only where there are too many. */
static int add_path(struct tftp *tftp, int root, const char *path, unsigned depth)
{
	int fd = open_below(root, path, 0), r = 0;
	struct stat st = {0};

	if (fd < 0)
		return errno == EMFILE || errno == ENFILE ? -errno : 0;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		r = add_file(tftp, fd, path);
		if (!r)
			return 0;
	} else if (S_ISDIR(st.st_mode) && depth < TFTP_MAX_DEPTH) {
		r = add_directory(tftp, root, path, depth + 1);
	}
	close(fd);
	return r;
}

static int add_directory(struct tftp *tftp, int root, const char *path, unsigned depth)
{
	int fd = open_below(root, path, O_DIRECTORY), r = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!dir) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r == -EMFILE || r == -ENFILE || r == -ENOMEM || depth == 0 ? r : 0;
	}
	while (!r && (entry = readdir(dir))) {
		char name[PATH_MAX];
		int n;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		n = strcmp(path, ".") ? snprintf(name, sizeof(name), "%s/%s", path, entry->d_name)
				      : snprintf(name, sizeof(name), "%s", entry->d_name);
		if (n > 0 && (size_t)n < NAME_MAX_LEN)
			r = add_path(tftp, root, name, depth);
	}
	closedir(dir);
	return r;
}

int tftp_open(const char *directory, struct tftp **out, char *why, size_t why_size)
{
	struct tftp *tftp = calloc(1, sizeof(*tftp));
	int root = tftp ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int r = !tftp ? -ENOMEM : root < 0 ? -errno : 0;

	if (!r)
		r = add_directory(tftp, root, ".", 0);
	if (root >= 0)
		close(root);
	if (!r) {
		*out = tftp;
		return 0;
	}
	if (r == -EMFILE)
		snprintf(why, why_size, "%s has more files than can be held open, %u at most: give tftp= a smaller directory", directory,
			 TFTP_MAX_FILES);
	else
		snprintf(why, why_size, "the directory %s can't be served by TFTP: %s; check tftp=", directory, strerror(-r));
	tftp_close(tftp);
	return r;
}

void tftp_close(struct tftp *tftp)
{
	if (!tftp)
		return;
	for (unsigned i = 0; i < tftp->file_count; i++) {
		close(tftp->files[i].fd);
		free(tftp->files[i].name);
	}
	free(tftp);
}

static const struct file *find_file(const struct tftp *tftp, const char *name)
{
	while (*name == '/')
		name++;
	for (unsigned i = 0; i < tftp->file_count; i++)
		if (!strcmp(tftp->files[i].name, name))
			return &tftp->files[i];
	return NULL;
}

/* ---- packets: what is behind the UDP header ---- */

struct packet {
	uint8_t *bytes;
	size_t len;
};

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static unsigned get16(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static void start_packet(struct packet *packet, enum opcode opcode)
{
	put16(packet->bytes, opcode);
	packet->len = 2;
}

static void put_number(struct packet *packet, unsigned value)
{
	put16(packet->bytes + packet->len, value);
	packet->len += 2;
}

/* With its NUL; the texts are ours, and short. */
static void put_text(struct packet *packet, const char *text)
{
	const size_t len = strlen(text) + 1;

	memcpy(packet->bytes + packet->len, text, len);
	packet->len += len;
}

static void put_error(struct packet *packet, enum error error, const char *text)
{
	start_packet(packet, ERROR);
	put_number(packet, error);
	put_text(packet, text);
}

/* ---- sessions ---- */

static struct session *find_session(struct tftp *tftp, uint16_t port)
{
	for (unsigned i = 0; i < MAX_SESSIONS; i++)
		if (tftp->sessions[i].used && tftp->sessions[i].port == port)
			return &tftp->sessions[i];
	return NULL;
}

/* The client's, or a free one, or the one that was used longest ago. */
static struct session *take_session(struct tftp *tftp, uint16_t port)
{
	struct session *session = find_session(tftp, port);

	for (unsigned i = 0; i < MAX_SESSIONS && !session; i++)
		if (!tftp->sessions[i].used)
			session = &tftp->sessions[i];
	if (!session) {
		session = &tftp->sessions[0];
		for (unsigned i = 1; i < MAX_SESSIONS; i++)
			if (tftp->sessions[i].last_used < session->last_used)
				session = &tftp->sessions[i];
	}
	*session = (struct session){.used = true, .port = port, .last_used = tftp->now};
	return session;
}

/* The block behind those that are acknowledged. A short one is the last. */
static void put_block(struct session *session, struct packet *packet)
{
	ssize_t n;

	start_packet(packet, DATA);
	put_number(packet, (uint16_t)(session->acknowledged + 1));
	do
		n = pread(session->file->fd, packet->bytes + packet->len, session->block_size,
			  (off_t)(session->acknowledged * session->block_size));
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		put_error(packet, NOT_DEFINED, "the file can't be read");
		session->used = false;
		return;
	}
	packet->len += (size_t)n;
}

static void acknowledge(struct tftp *tftp, uint16_t port, const uint8_t *request, size_t len, struct packet *packet)
{
	struct session *session = find_session(tftp, port);
	struct stat st;
	unsigned number;

	if (!session) {
		put_error(packet, UNKNOWN_ID, "there is no such transfer");
		return;
	}
	if (len < 4)
		return;
	session->last_used = tftp->now;
	number = get16(request + 2);
	if (number == (uint16_t)(session->acknowledged + 1)) {
		/* It was the last one if it was short. */
		session->acknowledged++;
		if (fstat(session->file->fd, &st) < 0 || session->acknowledged * session->block_size > (uint64_t)st.st_size) {
			session->used = false;
			return;
		}
	} else if (number != (uint16_t)session->acknowledged) {
		return;
	}
	put_block(session, packet);
}

/* ---- requests ---- */

/* The next text of a request; NULL: there is no whole one. */
static const char *next_text(const uint8_t *request, size_t len, size_t *at)
{
	const char *text = (const char *)request + *at;
	const uint8_t *end = *at < len ? memchr(request + *at, 0, len - *at) : NULL;

	if (!end)
		return NULL;
	*at = (size_t)(end - request) + 1;
	return text;
}

static bool read_decimal(const char *text, unsigned *value)
{
	*value = 0;
	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || *value > 100000)
			return false;
		*value = *value * 10 + (unsigned)(*text - '0');
	}
	return true;
}

/* RFC 2347: what is not understood is left out of the answer. False: there is nothing to answer. */
static bool read_options(struct session *session, const uint8_t *request, size_t len, size_t at, struct packet *packet)
{
	const char *name, *text;
	bool block_size = false, size = false;
	char number[24];
	struct stat st;
	unsigned value;

	start_packet(packet, OACK);
	while ((name = next_text(request, len, &at)) && (text = next_text(request, len, &at))) {
		if (!strcasecmp(name, "blksize") && !block_size && read_decimal(text, &value) && value >= BLOCK_MIN) {
			block_size = true;
			session->block_size = value < BLOCK_MAX ? value : BLOCK_MAX;
			snprintf(number, sizeof(number), "%u", session->block_size);
		} else if (!strcasecmp(name, "tsize") && !size && fstat(session->file->fd, &st) == 0) {
			size = true;
			snprintf(number, sizeof(number), "%llu", (unsigned long long)st.st_size);
		} else {
			continue;
		}
		put_text(packet, name[0] == 'b' || name[0] == 'B' ? "blksize" : "tsize");
		put_text(packet, number);
	}
	return block_size || size;
}

static void read_request(struct tftp *tftp, uint16_t port, const uint8_t *request, size_t len, struct packet *packet)
{
	size_t at = 2;
	const char *name = next_text(request, len, &at), *mode = next_text(request, len, &at);
	const struct file *file;
	struct session *session;

	if (!name || !mode || strlen(name) >= NAME_MAX_LEN) {
		put_error(packet, ILLEGAL, "the request is malformed");
		return;
	}
	if (strcasecmp(mode, "octet")) {
		put_error(packet, ILLEGAL, "only the mode octet is served");
		return;
	}
	file = find_file(tftp, name);
	if (!file) {
		log_guest("net", "the guest asks for a file that tftp= does not have");
		put_error(packet, NOT_FOUND, "there is no such file");
		return;
	}
	session = take_session(tftp, port);
	session->file = file;
	session->block_size = BLOCK_DEFAULT;
	if (!read_options(session, request, len, at, packet))
		put_block(session, packet);
}

static void answer_packet(struct tftp *tftp, uint16_t port, const uint8_t *request, size_t len, struct packet *packet)
{
	struct session *session;

	tftp->now++;
	switch (len < 2 ? 0 : get16(request)) {
	case RRQ:
		read_request(tftp, port, request, len, packet);
		break;
	case WRQ:
		put_error(packet, ACCESS_VIOLATION, "nothing can be written here");
		break;
	case ACK:
		acknowledge(tftp, port, request, len, packet);
		break;
	case ERROR:
		session = find_session(tftp, port);
		if (session)
			session->used = false;
		break;
	default:
		put_error(packet, ILLEGAL, "that is no request");
		break;
	}
}

/* ---- frames ---- */

/* Where the packet begins in a frame for us, and where it ends; false: it isn't for us, or not whole. */
static bool find_packet(const uint8_t *frame, size_t len, size_t *begin, size_t *end)
{
	size_t header, total, udp;

	if (len < HEADERS || frame[12] != 0x08 || frame[13] != 0x00 || frame[14] >> 4 != 4)
		return false;
	header = (frame[14] & 15u) * 4u;
	total = get16(frame + 16);
	if (header < IPV4 || total < header + UDP || total > len - ETHERNET)
		return false;
	/* UDP, not a fragment, to us. */
	if (frame[23] != 17 || (get16(frame + 20) & 0x3fff) || memcmp(frame + 30, server_ip, 4) ||
	    get16(frame + ETHERNET + header + 2) != PORT)
		return false;
	udp = get16(frame + ETHERNET + header + 4);
	if (udp < UDP || udp > total - header)
		return false;
	*begin = ETHERNET + header + UDP;
	*end = ETHERNET + header + udp;
	return true;
}

bool tftp_wants(const void *frame, size_t len)
{
	size_t begin, end;

	return find_packet(frame, len, &begin, &end);
}

static uint16_t header_checksum(const uint8_t *header)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < IPV4; i += 2)
		sum += get16(header + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* In front of a packet of len bytes, back to where the frame came from. UDP's checksum is left out, as it may be. */
static void write_headers(uint8_t *answer, const uint8_t *frame, uint16_t port, size_t len)
{
	uint8_t *ip = answer + ETHERNET, *udp = ip + IPV4;

	memset(answer, 0, HEADERS);
	memcpy(answer, frame + 6, 6);
	memcpy(answer + 6, server_mac, 6);
	answer[12] = 0x08;
	ip[0] = 0x45;
	put16(ip + 2, (unsigned)(IPV4 + UDP + len));
	ip[8] = 64;
	ip[9] = 17;
	memcpy(ip + 12, server_ip, 4);
	memcpy(ip + 16, frame + 26, 4);
	put16(ip + 10, header_checksum(ip));
	put16(udp, PORT);
	put16(udp + 2, port);
	put16(udp + 4, (unsigned)(UDP + len));
}

size_t tftp_answer(struct tftp *tftp, const void *frame, size_t len, uint8_t answer[TFTP_ANSWER_MAX])
{
	const uint8_t *bytes = frame;
	struct packet packet = {.bytes = answer + HEADERS};
	size_t begin, end;
	uint16_t port;

	if (!find_packet(bytes, len, &begin, &end))
		return 0;
	port = (uint16_t)get16(bytes + begin - UDP);
	answer_packet(tftp, port, bytes + begin, end - begin, &packet);
	if (packet.len == 0)
		return 0;
	write_headers(answer, bytes, port, packet.len);
	return HEADERS + packet.len;
}
