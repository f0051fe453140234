/* A socket at which gdb finds the VM (`--gdb`): one client at a time, served on the I/O thread. The protocol is control/gdb.h.
 *
 * Example:
 *     r = gdb_server_open(loop, "tcp=1234", &server, why, sizeof(why));   // before the sandbox closes
 *     r = gdb_server_start(server, vm);                                   // before the vcpu threads are made
 *     loop_run(loop);
 *     gdb_server_end(server, status);                                     // the client is told, and the socket closed
 *     gdb_server_close(server);                                           // the vcpu threads are gone
 */
#ifndef HOST_LINUX_GDB_SERVER_H
#define HOST_LINUX_GDB_SERVER_H

#include "host/linux/loop.h"

struct gdb_server;
struct vm;

int gdb_server_open(struct loop *loop, const char *address, struct gdb_server **out, char *why, size_t why_size) must_check;
/* -EOPNOTSUPP: the engine can't be debugged. */
int gdb_server_start(struct gdb_server *server, struct vm *vm) must_check;
/* NULL is allowed, here and below. */
void gdb_server_end(struct gdb_server *server, int status);
void gdb_server_close(struct gdb_server *server);
/* Is somebody there, and has stopped the VM? */
bool gdb_server_holds(const struct gdb_server *server);

#endif
