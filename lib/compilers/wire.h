/* Frames between this process and one that compiles, over a socket: u32 length of the header, u64 length of
   the blob (both little-endian), a JSON object, the blob's bytes. The far end is not trusted: lengths are
   limited, JSON is checked, and nothing waits longer than its wait says. */
#ifndef TR_COMPILERS_WIRE_H
#define TR_COMPILERS_WIRE_H

#include "base/blob.h"
#include "base/error.h"

#include <jansson.h>

#define TR__FRAME_HEADER_LIMIT ((uint32_t)1 << 26)
#define TR__FRAME_BLOB_LIMIT   ((uint64_t)1 << 31)

int64_t tr__clock_ns(void); /* CLOCK_MONOTONIC */

/* How long to wait, and whom to ask meanwhile. All zero waits for ever. */
typedef struct tr__wait {
    int64_t deadline;                                /* by tr__clock_ns(); 0: none */
    tr_status (*tick)(void *user, tr_error **error); /* about every 50 ms; anything but TR_OK ends the wait */
    void *user;
    int64_t next_tick; /* kept by the wait itself */
} tr__wait;

typedef struct tr__frame {
    json_t *header; /* an object */
    tr__blob *blob; /* after a read never NULL; may be empty */
} tr__frame;        /* all zero is none */

/* `fd` is a non-blocking or a blocking socket. TR_E_TIMEOUT: past the deadline; TR_E_COMPILER_CRASHED: the
   far end closed its side, or what came is no frame; or what the tick said. */
tr_status tr__frame_write(int fd, const json_t *header, const void *data, size_t size, tr__wait *wait,
                          tr_error **error);
tr_status tr__frame_read(int fd, tr__wait *wait, tr__frame *out, tr_error **error);
void tr__frame_release(tr__frame *frame);

/* Open files, handed over with one byte on a SOCK_SEQPACKET socket, which the far end makes of what it likes. */
tr_status tr__files_send(int socket, const int *files, size_t count, uint8_t byte, tr__wait *wait,
                         tr_error **error);
/* The far end's side; blocks. Exactly `count` files (≤ 4), close-on-exec; false at end of file or on garbage.
 */
bool tr__files_receive(int socket, int *files, size_t count);

#endif
