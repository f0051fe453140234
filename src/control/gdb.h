/* gdb's remote serial protocol, the stub's side: bytes in, bytes out, a machine behind it. Knows no sockets and no VM: the machine is a
 * table of functions (that of a VM: gdb_vm.h), so that tests and a fuzzer can be one.
 *
 * All-stop mode. Threads are processors, numbered from 1. What it answers to is listed in gdb.c's tables.
 *
 * Example:
 *     gdb = gdb_create(&target, target_ctx, send, send_ctx);
 *     gdb_connect(gdb);                                         // somebody is there; the machine stops
 *     while (done < len) done += gdb_receive(gdb, bytes + done, len - done);
 *     gdb_on_stop(gdb, cpu, &event);                            // the machine came to a stop by itself
 *     gdb_disconnect(gdb);                                      // the machine goes on
 */
#ifndef CONTROL_GDB_H
#define CONTROL_GDB_H

#include "core/debug.h"

/* All calls come from gdb_*(), so on the thread of those. Of state, memory, point: only while the machine is stopped. */
struct gdb_target {
	unsigned (*cpus)(void *ctx);
	bool (*has_avx)(void *ctx);
	/* Takes the processors out of execution. True: one of them had an event. */
	bool (*stop)(void *ctx, unsigned *cpu, struct debug_event *event);
	/* Those of the masks go on; step: for one instruction. */
	void (*resume)(void *ctx, uint64_t run, uint64_t step);
	union arch_state *(*state)(void *ctx, unsigned cpu);
	void (*state_changed)(void *ctx, unsigned cpu);
	/* Copies up to len bytes of memory, as the cpu's page tables have it or physical; how many could be. */
	size_t (*read)(void *ctx, unsigned cpu, bool physical, uint64_t address, void *buf, size_t len);
	/* All or nothing; 0 or -EFAULT. */
	int (*write)(void *ctx, unsigned cpu, bool physical, uint64_t address, const void *buf, size_t len);
	/* As debug_point_add() and debug_point_remove(). */
	int (*point)(void *ctx, const struct debug_point *point, bool insert);
	void (*clear_points)(void *ctx);
	void (*step_interrupts)(void *ctx, bool on);
	const char *(*activity)(void *ctx, unsigned cpu); /* "running", "halted": static */
	void (*reset)(void *ctx);
	void (*quit)(void *ctx);
};

struct gdb;

/* send: takes all of it. NULL: no memory. */
struct gdb *gdb_create(const struct gdb_target *target, void *ctx, void (*send)(void *ctx, const void *bytes, size_t len),
		       void *send_ctx);
void gdb_destroy(struct gdb *gdb); /* NULL is allowed */

void gdb_connect(struct gdb *gdb);
/* Also when the peer has detached already. */
void gdb_disconnect(struct gdb *gdb);
/* Takes bytes up to the end of one packet, and answers it; returns how many it took (at least one). What is sent for them is not more than
 * GDB_SEND_MAX. */
size_t gdb_receive(struct gdb *gdb, const void *bytes, size_t len);
#define GDB_SEND_MAX 65536
/* The peer has detached or killed the machine: the connection is to be closed. */
bool gdb_is_over(const struct gdb *gdb);

void gdb_on_stop(struct gdb *gdb, unsigned cpu, const struct debug_event *event);
/* The machine has come to its end. */
void gdb_on_end(struct gdb *gdb, uint8_t status);

#endif
