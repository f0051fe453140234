/* A running VM's figures for whoever asks: `ruse top`.
 *
 * A socket, $XDG_RUNTIME_DIR/ruse-PID.sock, whose clients get the figures at once and then every second: `name: value` lines as
 * of --stats, and an empty line behind them. While nobody is connected nothing is counted or timed for it.
 *
 * Example:
 *     monitor = monitor_open(loop);        // before the sandbox closes; NULL: there is no place for the socket
 *     monitor_start(monitor, vm);          // all vcpus are made
 *     loop_run(loop);
 *     monitor_stop(monitor);               // before the vcpus are destroyed
 *     monitor_close(monitor);
 */
#ifndef HOST_LINUX_MONITOR_H
#define HOST_LINUX_MONITOR_H

#include "host/linux/loop.h"

struct monitor;
struct vm;

/* The directory of the sockets: false if there is none ($XDG_RUNTIME_DIR is not set, or too long). */
bool monitor_directory(char *path, size_t size);

struct monitor *monitor_open(struct loop *loop);
/* NULL is allowed, here and below. */
void monitor_start(struct monitor *monitor, struct vm *vm);
void monitor_stop(struct monitor *monitor);
void monitor_close(struct monitor *monitor);

#endif
