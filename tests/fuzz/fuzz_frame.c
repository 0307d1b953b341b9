/* Frames from a child that compiles: read until the far end's end; a whole one comes through a second time. */
#include "library.h"

#include "compilers/wire.h"

#include <sys/socket.h>
#include <unistd.h>

static void open_pair(int fds[2]) {
    FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
}

static void check_round_trip(const tr__frame *frame) {
    int fds[2];
    tr__wait wait = {0};
    tr__frame again;
    tr_error *error = NULL;
    open_pair(fds);
    FUZZ_CHECK(!tr__frame_write(fds[0], frame->header, frame->blob->data, frame->blob->size, &wait, &error));
    FUZZ_CHECK(!tr__frame_read(fds[1], &wait, &again, &error));
    FUZZ_CHECK(json_equal(frame->header, again.header) && tr__blob_equal(frame->blob, again.blob));
    tr__frame_release(&again);
    close(fds[0]);
    close(fds[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int fds[2];
    tr__wait wait = {0};
    tr__frame frame;
    tr_error *error = NULL;
    if (size > 1 << 15) return 0; /* more than a socket surely holds */
    open_pair(fds);
    FUZZ_CHECK(send(fds[0], data, size, MSG_NOSIGNAL) == (ssize_t)size);
    close(fds[0]);
    while (fuzz_succeeded(tr__frame_read(fds[1], &wait, &frame, &error), &error)) {
        FUZZ_CHECK(json_is_object(frame.header) && frame.blob);
        check_round_trip(&frame);
        tr__frame_release(&frame);
    }
    FUZZ_CHECK(!frame.header && !frame.blob);
    close(fds[1]);
    return 0;
}
