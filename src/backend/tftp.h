/* A TFTP server (RFC 1350, with RFC 2347's options blksize and tsize) for the files of a directory, from which a guest on user
 * networking boots. It reads and writes whole Ethernet frames, as the guest's card sees them.
 *
 * Example:
 *     err = tftp_open("/srv/boot", &tftp, why, sizeof(why));
 *     n = tftp_answer(tftp, frame, len, answer);               // 0: not for us, or nothing to say
 *
 * All files are opened by tftp_open(): later, in the sandbox, none can be. So what is put into the directory afterwards, or takes a
 * name by rename, is not seen.
 */
#ifndef BACKEND_TFTP_H
#define BACKEND_TFTP_H

#include "base/types.h"

#define TFTP_ANSWER_MAX 1514u /* bytes of a frame */
#define TFTP_MAX_FILES  1024u
#define TFTP_MAX_DEPTH  8u

struct tftp;

/* Links are followed where they stay in the directory. What can't be read is left out. 0, or -errno with one sentence in why. */
int tftp_open(const char *directory, struct tftp **out, char *why, size_t why_size) must_check;
/* A frame from the guest: the answer's length, 0 if there is none. One whose file or session breaks gets an error packet. */
size_t tftp_answer(struct tftp *tftp, const void *frame, size_t len, uint8_t answer[TFTP_ANSWER_MAX]);
/* Is the frame for the server? Others are somebody else's. */
bool tftp_wants(const void *frame, size_t len);
void tftp_close(struct tftp *tftp); /* NULL is allowed */

#endif
