/* User networking: libslirp's NAT, DHCP and DNS, driven by the event loop; needs no privilege.
 *
 * Example:
 *     struct net_user_options options = {.forward = {{2222, 22}}, .forward_count = 1};
 *     err = net_user_open(&options, loop, &backend, why, sizeof(why));
 *
 * The guest is 10.0.2.15, the host 10.0.2.2, the name server 10.0.2.3.
 */
#ifndef BACKEND_NET_USER_H
#define BACKEND_NET_USER_H

#include "core/backend.h"

struct loop;

struct net_user_options {
	uint8_t mac[6];            /* all zero: 52:52:75:73:65:01 */
	struct {
		uint16_t host, guest;  /* TCP; the host side listens on 127.0.0.1 */
	} forward[16];
	unsigned forward_count;
	const char *tftp;          /* a directory of files that the guest can fetch by TFTP (tftp.h); NULL: there are none */
	const char *bootfile;      /* what DHCP tells a guest to boot: a file there, or for iPXE a URL; or NULL */
};

int net_user_open(const struct net_user_options *options, struct loop *loop, struct net_backend **out,
		  char *why, size_t why_size) must_check;

#endif
