/* The commands of gdb's remote serial protocol; see gdb.h. A table of what a packet begins with, and one function for each.
 *
 * Whatever a peer sends, each packet is bounded (gdb_packet.h), read through a cursor that knows its end, and answered by one packet.
 * While the machine runs only Ctrl-C is served: nothing else can be answered then.
 */
#include "control/gdb.h"
#include "arch/state.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "base/string.h"
#include "control/gdb_packet.h"
#include "control/gdb_x86_64.h"
#include "core/platform.h"

#define XML_MAX 16384
#define SIGNAL_TRAP 5
#define SIGNAL_INT  2
#define SIGNAL_NONE 0

/* What Z0 to Z4 ask for. */
enum point_type { POINT_SOFTWARE, POINT_HARDWARE, POINT_WRITE, POINT_READ, POINT_ACCESS };
struct point {
	enum point_type type;
	uint64_t address, len;
};

struct gdb {
	const struct gdb_target *target;
	void *ctx;
	void (*send)(void *ctx, const void *bytes, size_t len);
	void *send_ctx;
	bool avx;
	bool connected, over;
	bool running;
	bool no_ack, no_ack_next;
	bool physical;                /* qemu.PhyMemMode */
	bool tells_software, tells_hardware; /* the peer understands these reasons of a stop */
	bool step_interrupts;
	unsigned cpu;                 /* Hg, or where it stopped: registers and memory are this one's */
	unsigned step_cpu;            /* Hc; for c and s */
	unsigned listed;              /* qsThreadInfo */
	unsigned stop_cpu;
	uint8_t stop_signal;
	bool stop_known;              /* stop_event is there */
	struct debug_event stop_event;
	unsigned point_count;
	struct point points[DEBUG_POINTS_MAX];
	struct gdb_packet in;
	struct gdb_reply reply;
	size_t xml_len;
	char xml[XML_MAX];
	uint8_t bytes[GDB_PACKET_MAX / 2];
};

/* ---- reading a packet ---- */

struct cursor {
	const char *at, *end;
};

static bool take(struct cursor *in, char c)
{
	if (in->at == in->end || *in->at != c)
		return false;
	in->at++;
	return true;
}

static bool take_text(struct cursor *in, const char *text)
{
	struct cursor copy = *in;

	while (*text) {
		if (!take(&copy, *text++))
			return false;
	}
	*in = copy;
	return true;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Hexadecimal, at least one digit, at most 16 that count. */
static bool take_number(struct cursor *in, uint64_t *value)
{
	const char *start = in->at;

	for (*value = 0; in->at < in->end && digit_of(*in->at) >= 0; in->at++) {
		if (*value >> 60)
			return false;
		*value = *value << 4 | (unsigned)digit_of(*in->at);
	}
	return in->at > start;
}

/* Two digits a byte; all `len` of them. */
static bool take_bytes(struct cursor *in, uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (in->end - in->at < 2 || digit_of(in->at[0]) < 0 || digit_of(in->at[1]) < 0)
			return false;
		bytes[i] = (uint8_t)(digit_of(in->at[0]) << 4 | digit_of(in->at[1]));
		in->at += 2;
	}
	return true;
}

static bool at_end(const struct cursor *in)
{
	return in->at == in->end;
}

/* A thread: its processor's index. ANY for 0, ALL for -1. */
#define CPU_ANY (~0u - 1)
#define CPU_ALL (~0u)
static bool take_thread(struct gdb *gdb, struct cursor *in, unsigned *cpu)
{
	uint64_t number;

	if (take_text(in, "-1")) {
		*cpu = CPU_ALL;
		return true;
	}
	if (!take_number(in, &number) || number > gdb->target->cpus(gdb->ctx))
		return false;
	*cpu = number ? (unsigned)number - 1 : CPU_ANY;
	return true;
}

/* ---- answering ---- */

static void say(struct gdb *gdb, const char *text)
{
	gdb_reply_text(&gdb->reply, text);
}

static void say_ok(struct gdb *gdb)
{
	say(gdb, "OK");
}

static void say_error(struct gdb *gdb, int error)
{
	uint8_t number = (uint8_t)error;

	say(gdb, "E");
	gdb_reply_hex(&gdb->reply, &number, 1);
}

static void send_reply(struct gdb *gdb)
{
	if (gdb->reply.full) {
		gdb_reply_begin(&gdb->reply);
		say_error(gdb, ENOSPC);
	}
	gdb_reply_end(&gdb->reply);
	gdb->send(gdb->send_ctx, gdb->reply.bytes, gdb->reply.len);
}

static struct x86_state *state_of(struct gdb *gdb, unsigned cpu)
{
	return &gdb->target->state(gdb->ctx, cpu)->x86;
}

/* ---- stops ---- */

static const struct point *point_hit(const struct gdb *gdb, const struct debug_point *hit)
{
	for (unsigned i = 0; i < gdb->point_count; i++) {
		const struct point *point = &gdb->points[i];
		enum debug_kind kind = point->type <= POINT_HARDWARE ? DEBUG_BREAK
				       : point->type == POINT_WRITE  ? DEBUG_WATCH_WRITE
				       : point->type == POINT_READ   ? DEBUG_WATCH_READ
								     : DEBUG_WATCH_ACCESS;

		if (kind == hit->kind && point->address == hit->gva && (kind == DEBUG_BREAK || point->len == hit->len))
			return point;
	}
	return NULL;
}

static void say_reason(struct gdb *gdb, const struct point *point)
{
	static const char *const names[] = {[POINT_WRITE] = "watch:", [POINT_READ] = "rwatch:", [POINT_ACCESS] = "awatch:"};

	switch (point->type) {
	case POINT_SOFTWARE:
		if (gdb->tells_software)
			say(gdb, "swbreak:;");
		return;
	case POINT_HARDWARE:
		if (gdb->tells_hardware)
			say(gdb, "hwbreak:;");
		return;
	default:
		say(gdb, names[point->type]);
		gdb_reply_number(&gdb->reply, point->address);
		say(gdb, ";");
	}
}

static void say_stop(struct gdb *gdb)
{
	const struct point *point = NULL;

	say(gdb, "T");
	gdb_reply_hex(&gdb->reply, &gdb->stop_signal, 1);
	say(gdb, "thread:");
	gdb_reply_number(&gdb->reply, gdb->stop_cpu + 1);
	say(gdb, ";");
	if (gdb->stop_known && gdb->stop_event.cause == DEBUG_HIT)
		point = point_hit(gdb, &gdb->stop_event.point);
	if (point)
		say_reason(gdb, point);
}

static void note_stop(struct gdb *gdb, unsigned cpu, uint8_t signal, const struct debug_event *event)
{
	gdb->running = false;
	gdb->stop_cpu = gdb->cpu = gdb->step_cpu = cpu;
	gdb->stop_signal = event ? SIGNAL_TRAP : signal;
	gdb->stop_known = event != NULL;
	if (event)
		gdb->stop_event = *event;
}

static void stop(struct gdb *gdb, uint8_t signal)
{
	struct debug_event event;
	unsigned cpu = 0;
	bool known = gdb->target->stop(gdb->ctx, &cpu, &event);

	note_stop(gdb, known ? cpu : gdb->cpu, signal, known ? &event : NULL);
}

void gdb_on_stop(struct gdb *gdb, unsigned cpu, const struct debug_event *event)
{
	if (!gdb->connected || gdb->over) {
		gdb->target->resume(gdb->ctx, ~0ull, 0);
		return;
	}
	note_stop(gdb, cpu, SIGNAL_TRAP, event);
	gdb_reply_begin(&gdb->reply);
	say_stop(gdb);
	send_reply(gdb);
}

void gdb_on_end(struct gdb *gdb, uint8_t status)
{
	if (!gdb->connected || gdb->over)
		return;
	gdb->over = true;
	gdb_reply_begin(&gdb->reply);
	say(gdb, "W");
	gdb_reply_hex(&gdb->reply, &status, 1);
	send_reply(gdb);
}

/* No answer: that is the next stop. */
enum answer { ANSWERED, SILENT };

static enum answer resume(struct gdb *gdb, uint64_t run, uint64_t step)
{
	gdb->running = true;
	gdb->target->resume(gdb->ctx, run, step);
	return SILENT;
}

/* ---- the commands; a packet's first bytes are read already ---- */

static enum answer cmd_why(struct gdb *gdb, struct cursor *in)
{
	say_stop(gdb);
	return ANSWERED;
}

static enum answer cmd_read_registers(struct gdb *gdb, struct cursor *in)
{
	const struct x86_state *state = state_of(gdb, gdb->cpu);
	uint8_t bytes[GDB_REGISTER_SIZE_MAX];

	for (unsigned i = 0; i < gdb_register_count(gdb->avx); i++)
		gdb_reply_hex(&gdb->reply, bytes, gdb_register_read(i, state, bytes));
	return ANSWERED;
}

/* What can't be written keeps its value: gdb sends all to change one. */
static enum answer cmd_write_registers(struct gdb *gdb, struct cursor *in)
{
	struct x86_state *state = state_of(gdb, gdb->cpu);
	uint8_t bytes[GDB_REGISTER_SIZE_MAX];

	for (unsigned i = 0; i < gdb_register_count(gdb->avx) && !at_end(in); i++) {
		if (!take_bytes(in, bytes, gdb_register_size(i))) {
			say_error(gdb, EINVAL);
			return ANSWERED;
		}
		(void)gdb_register_write(i, state, bytes);
		gdb->target->state_changed(gdb->ctx, gdb->cpu);
	}
	say_ok(gdb);
	return ANSWERED;
}

static enum answer cmd_read_register(struct gdb *gdb, struct cursor *in)
{
	uint8_t bytes[GDB_REGISTER_SIZE_MAX];
	uint64_t number;

	if (take_number(in, &number) && at_end(in) && number < gdb_register_count(gdb->avx))
		gdb_reply_hex(&gdb->reply, bytes, gdb_register_read((unsigned)number, state_of(gdb, gdb->cpu), bytes));
	else
		say_error(gdb, EINVAL);
	return ANSWERED;
}

static enum answer cmd_write_register(struct gdb *gdb, struct cursor *in)
{
	uint8_t bytes[GDB_REGISTER_SIZE_MAX];
	uint64_t number;

	if (!take_number(in, &number) || !take(in, '=') || number >= gdb_register_count(gdb->avx) ||
	    !take_bytes(in, bytes, gdb_register_size((unsigned)number)) ||
	    !gdb_register_write((unsigned)number, state_of(gdb, gdb->cpu), bytes)) {
		say_error(gdb, EINVAL);
		return ANSWERED;
	}
	gdb->target->state_changed(gdb->ctx, gdb->cpu);
	say_ok(gdb);
	return ANSWERED;
}

static bool take_range(struct cursor *in, uint64_t *address, uint64_t *len)
{
	return take_number(in, address) && take(in, ',') && take_number(in, len);
}

static bool read_memory(struct gdb *gdb, struct cursor *in, size_t *got)
{
	uint64_t address, len;

	if (!take_range(in, &address, &len) || !at_end(in)) {
		say_error(gdb, EINVAL);
		return false;
	}
	if (len > sizeof(gdb->bytes))
		len = sizeof(gdb->bytes); /* less is an answer too */
	*got = gdb->target->read(gdb->ctx, gdb->cpu, gdb->physical, address, gdb->bytes, (size_t)len);
	if (!*got && len) {
		say_error(gdb, EFAULT);
		return false;
	}
	return true;
}

static enum answer cmd_read_memory(struct gdb *gdb, struct cursor *in)
{
	size_t got;

	if (read_memory(gdb, in, &got))
		gdb_reply_hex(&gdb->reply, gdb->bytes, got);
	return ANSWERED;
}

static enum answer cmd_read_memory_binary(struct gdb *gdb, struct cursor *in)
{
	size_t got;

	if (read_memory(gdb, in, &got)) {
		say(gdb, "b");
		gdb_reply_binary(&gdb->reply, gdb->bytes, got);
	}
	return ANSWERED;
}

static void write_memory(struct gdb *gdb, uint64_t address, const void *bytes, uint64_t len)
{
	if (len && gdb->target->write(gdb->ctx, gdb->cpu, gdb->physical, address, bytes, (size_t)len) < 0)
		say_error(gdb, EFAULT);
	else
		say_ok(gdb);
}

static enum answer cmd_write_memory(struct gdb *gdb, struct cursor *in)
{
	uint64_t address, len;

	if (!take_range(in, &address, &len) || !take(in, ':') || len > sizeof(gdb->bytes) ||
	    !take_bytes(in, gdb->bytes, (size_t)len))
		say_error(gdb, EINVAL);
	else
		write_memory(gdb, address, gdb->bytes, len);
	return ANSWERED;
}

static enum answer cmd_write_memory_binary(struct gdb *gdb, struct cursor *in)
{
	uint64_t address, len;

	if (!take_range(in, &address, &len) || !take(in, ':') || len != (uint64_t)(in->end - in->at))
		say_error(gdb, EINVAL);
	else
		write_memory(gdb, address, in->at, len);
	return ANSWERED;
}

/* c and s may begin elsewhere. */
static enum answer go(struct gdb *gdb, struct cursor *in, bool step)
{
	uint64_t address;

	if (!at_end(in)) {
		uint8_t bytes[GDB_REGISTER_SIZE_MAX];

		if (!take_number(in, &address)) {
			say_error(gdb, EINVAL);
			return ANSWERED;
		}
		memcpy(bytes, &address, sizeof(address));
		if (!gdb_register_write(GDB_REGISTER_RIP, state_of(gdb, gdb->step_cpu), bytes)) {
			say_error(gdb, EINVAL);
			return ANSWERED;
		}
		gdb->target->state_changed(gdb->ctx, gdb->step_cpu);
	}
	return resume(gdb, ~0ull, step ? 1ull << gdb->step_cpu : 0);
}

static enum answer cmd_continue(struct gdb *gdb, struct cursor *in)
{
	return go(gdb, in, false);
}

static enum answer cmd_step(struct gdb *gdb, struct cursor *in)
{
	return go(gdb, in, true);
}

/* C and S: a signal, which a processor has no use for; ADDRESS. */
static enum answer go_signal(struct gdb *gdb, struct cursor *in, bool step)
{
	uint64_t signal;

	if (!take_number(in, &signal) || (!at_end(in) && !take(in, ';'))) {
		say_error(gdb, EINVAL);
		return ANSWERED;
	}
	return go(gdb, in, step);
}

static enum answer cmd_continue_signal(struct gdb *gdb, struct cursor *in)
{
	return go_signal(gdb, in, false);
}

static enum answer cmd_step_signal(struct gdb *gdb, struct cursor *in)
{
	return go_signal(gdb, in, true);
}

/* One action of vCont for the threads that have none yet. */
static bool take_action(struct gdb *gdb, struct cursor *in, uint64_t *run, uint64_t *step)
{
	uint64_t all = gdb->target->cpus(gdb->ctx) >= 64 ? ~0ull : (1ull << gdb->target->cpus(gdb->ctx)) - 1, mask, signal;
	char action = at_end(in) ? 0 : *in->at++;
	unsigned cpu = CPU_ALL;

	if ((action == 'C' || action == 'S') && !take_number(in, &signal))
		return false;
	if (action != 'c' && action != 'C' && action != 's' && action != 'S')
		return false;
	if (take(in, ':') && !take_thread(gdb, in, &cpu))
		return false;
	mask = cpu == CPU_ALL ? all : 1ull << (cpu == CPU_ANY ? gdb->step_cpu : cpu);
	mask &= ~(*run | *step);
	*(action == 's' || action == 'S' ? step : run) |= mask;
	return true;
}

static enum answer cmd_vcont(struct gdb *gdb, struct cursor *in)
{
	uint64_t run = 0, step = 0;

	while (!at_end(in)) {
		if (!take(in, ';') || !take_action(gdb, in, &run, &step)) {
			say_error(gdb, EINVAL);
			return ANSWERED;
		}
	}
	if (!run && !step) {
		say_error(gdb, EINVAL);
		return ANSWERED;
	}
	return resume(gdb, run, step);
}

static enum answer cmd_vcont_what(struct gdb *gdb, struct cursor *in)
{
	say(gdb, "vCont;c;C;s;S");
	return ANSWERED;
}

static enum answer cmd_thread(struct gdb *gdb, struct cursor *in)
{
	bool general = take(in, 'g');
	unsigned cpu;

	if ((!general && !take(in, 'c')) || !take_thread(gdb, in, &cpu)) {
		say_error(gdb, EINVAL);
		return ANSWERED;
	}
	if (cpu != CPU_ALL && cpu != CPU_ANY)
		*(general ? &gdb->cpu : &gdb->step_cpu) = cpu;
	say_ok(gdb);
	return ANSWERED;
}

static enum answer cmd_is_alive(struct gdb *gdb, struct cursor *in)
{
	unsigned cpu;

	if (take_thread(gdb, in, &cpu) && cpu != CPU_ALL && cpu != CPU_ANY)
		say_ok(gdb);
	else
		say_error(gdb, EINVAL);
	return ANSWERED;
}

/* ---- breakpoints and watchpoints ---- */

static struct debug_point point_for_target(const struct point *point)
{
	static const enum debug_kind kinds[] = {[POINT_SOFTWARE] = DEBUG_BREAK, [POINT_HARDWARE] = DEBUG_BREAK,
						[POINT_WRITE] = DEBUG_WATCH_WRITE, [POINT_READ] = DEBUG_WATCH_READ,
						[POINT_ACCESS] = DEBUG_WATCH_ACCESS};

	return (struct debug_point){
		.kind = kinds[point->type], .gva = point->address, .len = point->type <= POINT_HARDWARE ? 1 : point->len};
}

static bool same_for_target(const struct point *a, const struct point *b)
{
	struct debug_point x = point_for_target(a), y = point_for_target(b);

	return x.kind == y.kind && x.gva == y.gva && x.len == y.len;
}

static struct point *find_point(struct gdb *gdb, const struct point *point)
{
	for (unsigned i = 0; i < gdb->point_count; i++) {
		if (gdb->points[i].type == point->type && same_for_target(&gdb->points[i], point))
			return &gdb->points[i];
	}
	return NULL;
}

/* Z0 and Z1 at one address are one breakpoint of the machine. */
static bool shared(struct gdb *gdb, const struct point *point)
{
	unsigned count = 0;

	for (unsigned i = 0; i < gdb->point_count; i++)
		count += same_for_target(&gdb->points[i], point) && gdb->points[i].type != point->type;
	return count > 0;
}

static int insert_point(struct gdb *gdb, const struct point *point)
{
	struct debug_point wanted = point_for_target(point);
	int r = 0;

	if (find_point(gdb, point))
		return 0;
	if (gdb->point_count == DEBUG_POINTS_MAX)
		return -ENOSPC;
	if (!shared(gdb, point))
		r = gdb->target->point(gdb->ctx, &wanted, true);
	if (r == 0)
		gdb->points[gdb->point_count++] = *point;
	return r;
}

static int remove_point(struct gdb *gdb, const struct point *point)
{
	struct debug_point wanted = point_for_target(point);
	struct point *known = find_point(gdb, point);

	if (!known)
		return -ENOENT;
	*known = gdb->points[--gdb->point_count];
	return shared(gdb, point) ? 0 : gdb->target->point(gdb->ctx, &wanted, false);
}

static enum answer change_point(struct gdb *gdb, struct cursor *in, bool insert)
{
	struct point point = {0};
	uint64_t type;
	int r;

	if (!take_number(in, &type) || !take(in, ',') || !take_range(in, &point.address, &point.len)) {
		say_error(gdb, EINVAL);
		return ANSWERED;
	}
	if (type > POINT_ACCESS)
		return ANSWERED; /* empty: there is no such kind */
	point.type = (enum point_type)type;
	r = insert ? insert_point(gdb, &point) : remove_point(gdb, &point);
	if (r < 0)
		say_error(gdb, -r);
	else
		say_ok(gdb);
	return ANSWERED;
}

static enum answer cmd_insert(struct gdb *gdb, struct cursor *in)
{
	return change_point(gdb, in, true);
}

static enum answer cmd_remove(struct gdb *gdb, struct cursor *in)
{
	return change_point(gdb, in, false);
}

/* ---- the end ---- */

static void clear_points(struct gdb *gdb)
{
	gdb->point_count = 0;
	gdb->target->clear_points(gdb->ctx);
}

static void let_go(struct gdb *gdb)
{
	gdb->over = true;
	clear_points(gdb);
	gdb->target->step_interrupts(gdb->ctx, false);
	gdb->target->resume(gdb->ctx, ~0ull, 0);
}

static enum answer cmd_detach(struct gdb *gdb, struct cursor *in)
{
	let_go(gdb);
	say_ok(gdb);
	return ANSWERED;
}

static enum answer cmd_kill(struct gdb *gdb, struct cursor *in)
{
	gdb->over = true;
	gdb->target->quit(gdb->ctx);
	return SILENT;
}

static enum answer cmd_vkill(struct gdb *gdb, struct cursor *in)
{
	say_ok(gdb);
	(void)cmd_kill(gdb, in);
	return ANSWERED;
}

/* ---- questions ---- */

/* The peer's features, separated by semicolons: those that change what we say. */
static void note_features(struct gdb *gdb, struct cursor in)
{
	gdb->tells_software = gdb->tells_hardware = false;
	for (; in.at < in.end; in.at++) {
		gdb->tells_software |= take_text(&in, "swbreak+");
		gdb->tells_hardware |= take_text(&in, "hwbreak+");
		if (in.at == in.end)
			break;
	}
}

static enum answer cmd_supported(struct gdb *gdb, struct cursor *in)
{
	char text[32];

	note_features(gdb, *in);
	fmt_print(text, sizeof(text), "PacketSize=%x", GDB_PACKET_MAX);
	say(gdb, text);
	say(gdb, ";QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+;binary-upload+");
	return ANSWERED;
}

static enum answer cmd_no_ack(struct gdb *gdb, struct cursor *in)
{
	gdb->no_ack_next = true;
	say_ok(gdb);
	return ANSWERED;
}

static enum answer cmd_features(struct gdb *gdb, struct cursor *in)
{
	uint64_t offset, len, left;

	if (!take_text(in, "target.xml:") || !take_range(in, &offset, &len) || offset > gdb->xml_len) {
		say_error(gdb, 0);
		return ANSWERED;
	}
	left = gdb->xml_len - offset;
	if (len > GDB_PACKET_MAX / 2)
		len = GDB_PACKET_MAX / 2;
	say(gdb, len < left ? "m" : "l");
	gdb_reply_binary(&gdb->reply, gdb->xml + offset, (size_t)(len < left ? len : left));
	return ANSWERED;
}

static enum answer list_threads(struct gdb *gdb)
{
	if (gdb->listed >= gdb->target->cpus(gdb->ctx)) {
		say(gdb, "l");
		return ANSWERED;
	}
	say(gdb, "m");
	for (unsigned i = 0; i < 32 && gdb->listed < gdb->target->cpus(gdb->ctx); i++) {
		if (i)
			say(gdb, ",");
		gdb_reply_number(&gdb->reply, ++gdb->listed);
	}
	return ANSWERED;
}

static enum answer cmd_first_threads(struct gdb *gdb, struct cursor *in)
{
	gdb->listed = 0;
	return list_threads(gdb);
}

static enum answer cmd_next_threads(struct gdb *gdb, struct cursor *in)
{
	return list_threads(gdb);
}

static enum answer cmd_thread_extra(struct gdb *gdb, struct cursor *in)
{
	unsigned cpu;
	char text[64];

	if (!take_thread(gdb, in, &cpu) || cpu == CPU_ALL || cpu == CPU_ANY) {
		say_error(gdb, EINVAL);
		return ANSWERED;
	}
	fmt_print(text, sizeof(text), "CPU#%u [%s]", cpu, gdb->target->activity(gdb->ctx, cpu));
	for (const char *c = text; *c; c++)
		gdb_reply_hex(&gdb->reply, c, 1);
	return ANSWERED;
}

static enum answer cmd_current(struct gdb *gdb, struct cursor *in)
{
	say(gdb, "QC");
	gdb_reply_number(&gdb->reply, gdb->cpu + 1);
	return ANSWERED;
}

static enum answer cmd_attached(struct gdb *gdb, struct cursor *in)
{
	say(gdb, "1"); /* to leave is to detach */
	return ANSWERED;
}

static enum answer cmd_get_physical(struct gdb *gdb, struct cursor *in)
{
	say(gdb, gdb->physical ? "1" : "0");
	return ANSWERED;
}

static enum answer cmd_set_physical(struct gdb *gdb, struct cursor *in)
{
	uint64_t on;

	if (!take_number(in, &on)) {
		say_error(gdb, EINVAL);
		return ANSWERED;
	}
	gdb->physical = on != 0;
	say_ok(gdb);
	return ANSWERED;
}

/* As QEMU names them. */
#define STEP_ENABLE 1u
#define STEP_NOIRQ  2u

static enum answer cmd_step_bits(struct gdb *gdb, struct cursor *in)
{
	say(gdb, "ENABLE=1,NOIRQ=2");
	return ANSWERED;
}

static enum answer cmd_get_step(struct gdb *gdb, struct cursor *in)
{
	say(gdb, gdb->step_interrupts ? "0x1" : "0x3");
	return ANSWERED;
}

static enum answer cmd_set_step(struct gdb *gdb, struct cursor *in)
{
	uint64_t bits;

	(void)take_text(in, "0x");
	if (!take_number(in, &bits) || !(bits & STEP_ENABLE)) {
		say_error(gdb, EINVAL);
		return ANSWERED;
	}
	gdb->step_interrupts = !(bits & STEP_NOIRQ);
	gdb->target->step_interrupts(gdb->ctx, gdb->step_interrupts);
	say_ok(gdb);
	return ANSWERED;
}

/* ---- monitor ---- */

static void print(struct gdb *gdb, const char *text)
{
	size_t len = 0;

	while (text[len])
		len++;
	gdb_reply_hex(&gdb->reply, text, len);
}

static void monitor_cpus(struct gdb *gdb)
{
	char line[128];

	for (unsigned i = 0; i < gdb->target->cpus(gdb->ctx); i++) {
		const struct x86_state *state = state_of(gdb, i);

		fmt_print(line, sizeof(line), "%c CPU#%u: rip=0x%llx cr3=0x%llx (%s)\n", i == gdb->cpu ? '*' : ' ', i,
			  (unsigned long long)state->rip, (unsigned long long)state->cr3, gdb->target->activity(gdb->ctx, i));
		print(gdb, line);
	}
}

static bool text_is(const uint8_t *bytes, size_t len, const char *text)
{
	for (; *text; text++, bytes++, len--) {
		if (!len || *bytes != (uint8_t)*text)
			return false;
	}
	return !len;
}

static enum answer cmd_monitor(struct gdb *gdb, struct cursor *in)
{
	size_t len = (size_t)(in->end - in->at) / 2;

	if (len > sizeof(gdb->bytes) || !take_bytes(in, gdb->bytes, len)) {
		say_error(gdb, EINVAL);
	} else if (text_is(gdb->bytes, len, "reset")) {
		gdb->target->reset(gdb->ctx);
		say_ok(gdb);
	} else if (text_is(gdb->bytes, len, "quit")) {
		say_ok(gdb);
		gdb->over = true;
		gdb->target->quit(gdb->ctx);
	} else if (text_is(gdb->bytes, len, "cpus")) {
		monitor_cpus(gdb);
	} else {
		print(gdb, text_is(gdb->bytes, len, "help") ? "" : "ruse does not know this command.\n");
		print(gdb, "cpus   where each processor is\nhelp   this text\nquit   end the machine\n"
			   "reset  reset the machine; it starts anew with the next continue\n");
	}
	return ANSWERED;
}

/* ---- which is which ---- */

/* The first that fits counts. What is not here gets an empty answer, as the protocol wants it. */
static const struct {
	const char *begins;
	bool whole; /* and nothing follows */
	enum answer (*run)(struct gdb *gdb, struct cursor *in);
} commands[] = {
	{"?", true, cmd_why},
	{"g", true, cmd_read_registers},
	{"G", false, cmd_write_registers},
	{"p", false, cmd_read_register},
	{"P", false, cmd_write_register},
	{"m", false, cmd_read_memory},
	{"M", false, cmd_write_memory},
	{"x", false, cmd_read_memory_binary},
	{"X", false, cmd_write_memory_binary},
	{"c", false, cmd_continue},
	{"C", false, cmd_continue_signal},
	{"s", false, cmd_step},
	{"S", false, cmd_step_signal},
	{"vCont?", true, cmd_vcont_what},
	{"vCont", false, cmd_vcont},
	{"vKill", false, cmd_vkill},
	{"H", false, cmd_thread},
	{"T", false, cmd_is_alive},
	{"Z", false, cmd_insert},
	{"z", false, cmd_remove},
	{"D", false, cmd_detach},
	{"k", true, cmd_kill},
	{"qSupported", false, cmd_supported},
	{"QStartNoAckMode", true, cmd_no_ack},
	{"qXfer:features:read:", false, cmd_features},
	{"qfThreadInfo", true, cmd_first_threads},
	{"qsThreadInfo", true, cmd_next_threads},
	{"qThreadExtraInfo,", false, cmd_thread_extra},
	{"qC", true, cmd_current},
	{"qAttached", false, cmd_attached},
	{"qRcmd,", false, cmd_monitor},
	{"qqemu.PhyMemMode", true, cmd_get_physical},
	{"Qqemu.PhyMemMode:", false, cmd_set_physical},
	{"qqemu.sstepbits", true, cmd_step_bits},
	{"qqemu.sstep", true, cmd_get_step},
	{"Qqemu.sstep=", false, cmd_set_step},
};

static enum answer run_command(struct gdb *gdb)
{
	struct cursor in = {(const char *)gdb->in.data, (const char *)gdb->in.data + gdb->in.len};

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		struct cursor rest = in;

		if (take_text(&rest, commands[i].begins) && (!commands[i].whole || at_end(&rest)))
			return commands[i].run(gdb, &rest);
	}
	return ANSWERED;
}

static void on_packet(struct gdb *gdb)
{
	enum answer answer = ANSWERED;

	gdb_reply_begin(&gdb->reply);
	if (gdb->running)
		say_error(gdb, EBUSY);
	else
		answer = run_command(gdb);
	if (answer == ANSWERED)
		send_reply(gdb);
	gdb->no_ack |= gdb->no_ack_next;
}

static void on_interrupt(struct gdb *gdb)
{
	if (!gdb->running)
		return;
	stop(gdb, SIGNAL_INT);
	gdb_reply_begin(&gdb->reply);
	say_stop(gdb);
	send_reply(gdb);
}

static void acknowledge(struct gdb *gdb, char how)
{
	if (!gdb->no_ack)
		gdb->send(gdb->send_ctx, &how, 1);
}

size_t gdb_receive(struct gdb *gdb, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < len; i++) {
		if (gdb->over)
			return len;
		switch (gdb_packet_byte(&gdb->in, at[i], !gdb->no_ack)) {
		case GDB_NOTHING:
		case GDB_ACK:
			continue;
		case GDB_NACK:
			if (!gdb->no_ack && gdb->reply.len > 1)
				gdb->send(gdb->send_ctx, gdb->reply.bytes, gdb->reply.len);
			return i + 1;
		case GDB_BAD:
			acknowledge(gdb, '-');
			return i + 1;
		case GDB_PACKET:
			acknowledge(gdb, '+');
			on_packet(gdb);
			return i + 1;
		case GDB_INTERRUPT:
			on_interrupt(gdb);
			return i + 1;
		}
	}
	return len;
}

/* ---- life ---- */

struct gdb *gdb_create(const struct gdb_target *target, void *ctx, void (*send)(void *ctx, const void *bytes, size_t len),
		       void *send_ctx)
{
	struct gdb *gdb = platform_alloc(sizeof(*gdb));

	if (!gdb)
		return NULL;
	gdb->target = target;
	gdb->ctx = ctx;
	gdb->send = send;
	gdb->send_ctx = send_ctx;
	return gdb;
}

void gdb_destroy(struct gdb *gdb)
{
	platform_free(gdb);
}

void gdb_connect(struct gdb *gdb)
{
	gdb->connected = true;
	gdb->over = gdb->running = gdb->physical = gdb->no_ack = gdb->no_ack_next = gdb->step_interrupts = false;
	gdb->tells_software = gdb->tells_hardware = false;
	gdb->cpu = gdb->step_cpu = 0;
	gdb->in.at = GDB_BETWEEN;
	gdb->reply.len = 0;
	gdb->avx = gdb->target->has_avx(gdb->ctx);
	gdb->xml_len = gdb_registers_xml(gdb->avx, gdb->xml, sizeof(gdb->xml));
	BUG_ON(gdb->xml_len >= sizeof(gdb->xml));
	stop(gdb, SIGNAL_TRAP);
}

void gdb_disconnect(struct gdb *gdb)
{
	if (gdb->connected && !gdb->over) {
		/* Points change while nobody runs. */
		if (gdb->running)
			stop(gdb, SIGNAL_NONE);
		let_go(gdb);
	}
	gdb->connected = false;
}

bool gdb_is_over(const struct gdb *gdb)
{
	return gdb->over;
}
