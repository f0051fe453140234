/* libFuzzer target for gdb's protocol: a peer that says anything, a machine that is only memory and registers.
 *
 * Example:
 *     fuzz_gdb -seed_inputs=seeds/gdb_session -max_len=2048 -runs=200000
 *
 * The input is lines. `P...`: a packet with this content, framed rightly; `R...`: these bytes as they are; `S`: the machine hits
 * something. Invariants:
 *   - the machine is looked at and changed only while it is stopped, and let go only then;
 *   - what is sent is packets with the right checksum and acknowledgements, and for one packet received at most GDB_SEND_MAX bytes;
 *   - the points that the machine has are no more than there can be, and none is left when the peer has gone;
 *   - registers keep what the engines take for granted (mode bits, reserved bits).
 */
#include "../unit/fake_platform.h"
#include "arch/state.h"
#include "base/errno.h"
#include "control/gdb.h"
#include "control/gdb_x86_64.h"
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                           \
	do {                                                                                                       \
		if (!(condition))                                                                                  \
			abort();                                                                                   \
	} while (0)

#define CPUS     2
#define RAM_SIZE 8192u

struct machine {
	bool stopped, quit;
	union arch_state state[CPUS];
	uint8_t *ram; /* a buffer of exactly this size: ASan sees what is beyond */
	unsigned points;
	size_t sent;
	/* of what is sent */
	enum { OUTSIDE, INSIDE, SUM1, SUM2 } at;
	uint8_t sum;
};

static unsigned cpus(void *ctx)
{
	return CPUS;
}

static bool has_avx(void *ctx)
{
	return true;
}

static bool stop(void *ctx, unsigned *cpu, struct debug_event *event)
{
	struct machine *machine = ctx;

	machine->stopped = true;
	return false;
}

static void resume(void *ctx, uint64_t run, uint64_t step)
{
	struct machine *machine = ctx;

	CHECK(machine->stopped && (run | step) && !(step & ~3ull));
	machine->stopped = false;
}

static union arch_state *state_of(void *ctx, unsigned cpu)
{
	struct machine *machine = ctx;

	CHECK(machine->stopped && cpu < CPUS);
	return &machine->state[cpu];
}

static void state_changed(void *ctx, unsigned cpu)
{
	const struct x86_state *s = &state_of(ctx, cpu)->x86;

	CHECK((s->cr0 & (X86_CR0_PE | X86_CR0_PG)) == (X86_CR0_PE | X86_CR0_PG) && (s->efer & X86_EFER_LMA));
	CHECK(!(s->rflags & X86_FLAG_VM) && (s->rflags & X86_FLAG_FIX) && !(s->rflags >> 22));
	CHECK(!(s->fpu.mxcsr >> 16) && !(s->cr3 >> 52) && s->seg[X86_CS].selector == 8);
	CHECK((uint64_t)((int64_t)(s->rip << 16) >> 16) == s->rip);
}

static size_t machine_read(void *ctx, unsigned cpu, bool physical, uint64_t address, void *buf, size_t len)
{
	struct machine *machine = ctx;

	CHECK(machine->stopped && cpu < CPUS);
	if (address >= RAM_SIZE)
		return 0;
	if (len > RAM_SIZE - address)
		len = RAM_SIZE - address;
	memcpy(buf, machine->ram + address, len);
	return len;
}

static int machine_write(void *ctx, unsigned cpu, bool physical, uint64_t address, const void *buf, size_t len)
{
	struct machine *machine = ctx;

	CHECK(machine->stopped && cpu < CPUS);
	if (address >= RAM_SIZE || len > RAM_SIZE - address)
		return -EFAULT;
	memcpy(machine->ram + address, buf, len);
	return 0;
}

static int point(void *ctx, const struct debug_point *wanted, bool insert)
{
	struct machine *machine = ctx;

	CHECK(machine->stopped);
	if (insert && !wanted->len)
		return -EINVAL;
	machine->points += insert ? 1u : -1u;
	CHECK(machine->points <= DEBUG_POINTS_MAX);
	return 0;
}

static void clear_points(void *ctx)
{
	struct machine *machine = ctx;

	machine->points = 0;
}

static void step_interrupts(void *ctx, bool on)
{
}

static const char *activity(void *ctx, unsigned cpu)
{
	CHECK(cpu < CPUS);
	return "running";
}

static void reset(void *ctx)
{
}

static void quit(void *ctx)
{
	struct machine *machine = ctx;

	machine->quit = true;
}

static const struct gdb_target target = {
	.cpus = cpus,
	.has_avx = has_avx,
	.stop = stop,
	.resume = resume,
	.state = state_of,
	.state_changed = state_changed,
	.read = machine_read,
	.write = machine_write,
	.point = point,
	.clear_points = clear_points,
	.step_interrupts = step_interrupts,
	.activity = activity,
	.reset = reset,
	.quit = quit,
};

static int hex(uint8_t byte)
{
	const char *digits = "0123456789abcdef", *at = strchr(digits, byte);

	CHECK(byte && at);
	return (int)(at - digits);
}

static void sent(void *ctx, const void *bytes, size_t len)
{
	struct machine *machine = ctx;
	const uint8_t *at = bytes;

	machine->sent += len;
	for (size_t i = 0; i < len; i++) {
		switch (machine->at) {
		case OUTSIDE:
			CHECK(at[i] == '$' || at[i] == '+' || at[i] == '-');
			machine->sum = 0;
			if (at[i] == '$')
				machine->at = INSIDE;
			break;
		case INSIDE:
			CHECK(at[i] != '$');
			if (at[i] == '#')
				machine->at = SUM1;
			else
				machine->sum = (uint8_t)(machine->sum + at[i]);
			break;
		case SUM1:
			CHECK(hex(at[i]) == machine->sum >> 4);
			machine->at = SUM2;
			break;
		case SUM2:
			CHECK(hex(at[i]) == (machine->sum & 15));
			machine->at = OUTSIDE;
			break;
		}
	}
}

static void feed(struct machine *machine, struct gdb *gdb, const uint8_t *bytes, size_t len)
{
	for (size_t done = 0; done < len;) {
		size_t taken;

		machine->sent = 0;
		taken = gdb_receive(gdb, bytes + done, len - done);
		CHECK(taken > 0 && taken <= len - done && machine->sent <= GDB_SEND_MAX && machine->at == OUTSIDE);
		done += taken;
	}
}

static void feed_packet(struct machine *machine, struct gdb *gdb, const uint8_t *bytes, size_t len)
{
	uint8_t *framed = malloc(2 * len + 4);
	uint8_t sum = 0;
	size_t at = 0;
	char tail[3];

	CHECK(framed);
	framed[at++] = '$';
	for (size_t i = 0; i < len; i++) {
		bool escape = bytes[i] == '$' || bytes[i] == '#';

		if (escape)
			framed[at++] = '}';
		framed[at++] = (uint8_t)(bytes[i] ^ (escape ? 0x20 : 0));
	}
	for (size_t i = 1; i < at; i++)
		sum = (uint8_t)(sum + framed[i]);
	tail[0] = '#';
	tail[1] = "0123456789abcdef"[sum >> 4];
	tail[2] = "0123456789abcdef"[sum & 15];
	memcpy(framed + at, tail, 3);
	feed(machine, gdb, framed, at + 3);
	free(framed);
}

static void machine_stops(struct machine *machine, struct gdb *gdb, uint8_t how)
{
	const struct debug_event event = {.cause = how & 1 ? DEBUG_HIT : DEBUG_STEPPED,
					  .point = {.kind = (enum debug_kind)(how >> 1 & 3), .gva = how >> 3, .len = 1}};

	if (machine->stopped)
		return;
	machine->stopped = true;
	gdb_on_stop(gdb, how & 1, &event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine machine = {.ram = calloc(1, RAM_SIZE)};
	struct gdb *gdb = gdb_create(&target, &machine, sent, &machine);
	const bool ends = size & 1;

	CHECK(machine.ram && gdb);
	for (unsigned i = 0; i < CPUS; i++) {
		struct x86_state *s = &machine.state[i].x86;

		x86_state_reset(s, i == 0);
		s->cr0 |= X86_CR0_PE | X86_CR0_PG;
		s->efer |= X86_EFER_LMA | X86_EFER_LME;
		s->seg[X86_CS].selector = 8;
	}
	gdb_connect(gdb);
	while (size) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;

		if (len && data[0] == 'P')
			feed_packet(&machine, gdb, data + 1, len - 1);
		else if (len && data[0] == 'R')
			feed(&machine, gdb, data + 1, len - 1);
		else if (len && data[0] == 'S')
			machine_stops(&machine, gdb, len > 1 ? data[1] : 0);
		data += len + (end != NULL);
		size -= len + (end != NULL);
	}
	if (ends)
		gdb_on_end(gdb, 1);
	gdb_disconnect(gdb);
	CHECK(ends || machine.quit || (!machine.points && !machine.stopped));
	gdb_destroy(gdb);
	free(machine.ram);
	return 0;
}
