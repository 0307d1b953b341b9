#include "compilers/wire.h"

#include "base/json.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PREFIX = 12, FILES_MAX = 4 };
static const int64_t tick_ns = 50 * 1000000;

int64_t tr__clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Until `fd` can be read or written, or has an end to tell of; the next call on it says which. */
static tr_status wait_ready(int fd, short events, tr__wait *wait, tr_error **error) {
    for (;;) {
        int64_t now = tr__clock_ns(), until = INT64_MAX;
        if (wait->deadline && now >= wait->deadline) return tr__fail(error, TR_E_TIMEOUT, "out of time");
        if (wait->tick && now >= wait->next_tick) {
            wait->next_tick = now + tick_ns;
            tr_status status = wait->tick(wait->user, error);
            if (status) return status;
        }
        if (wait->tick) until = wait->next_tick;
        if (wait->deadline && wait->deadline < until) until = wait->deadline;
        int milliseconds = until == INT64_MAX ? -1 : (int)((until - now) / 1000000 + 1);
        struct pollfd polled = {fd, events, 0};
        int ready = poll(&polled, 1, milliseconds);
        if (ready > 0) return TR_OK;
        if (ready < 0 && errno != EINTR) return tr__fail(error, TR_E_IO, "poll: %s", strerror(errno));
    }
}

static bool must_wait(int number) {
    return number == EAGAIN || number == EWOULDBLOCK || number == EINTR;
}

static tr_status write_all(int fd, const void *data, size_t size, tr__wait *wait, tr_error **error) {
    const char *at = data;
    while (size) {
        tr_status status = wait_ready(fd, POLLOUT, wait, error);
        if (status) return status;
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && must_wait(errno)) continue;
        if (sent < 0) return tr__fail(error, TR_E_COMPILER_CRASHED, "took no request: %s", strerror(errno));
        at += sent;
        size -= (size_t)sent;
    }
    return TR_OK;
}

static tr_status read_all(int fd, void *data, size_t size, tr__wait *wait, tr_error **error) {
    char *at = data;
    while (size) {
        tr_status status = wait_ready(fd, POLLIN, wait, error);
        if (status) return status;
        ssize_t got = recv(fd, at, size, MSG_DONTWAIT);
        if (got < 0 && must_wait(errno)) continue;
        if (got < 0) return tr__fail(error, TR_E_COMPILER_CRASHED, "broke off: %s", strerror(errno));
        if (!got) return tr__fail(error, TR_E_COMPILER_CRASHED, "ended without an answer");
        at += got;
        size -= (size_t)got;
    }
    return TR_OK;
}

static void put_little(unsigned char *at, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) at[i] = (unsigned char)(value >> 8 * i);
}

static uint64_t get_little(const unsigned char *at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)at[i] << 8 * i;
    return value;
}

tr_status tr__frame_write(int fd, const json_t *header, const void *data, size_t size, tr__wait *wait,
                          tr_error **error) {
    char *text = tr__json_write(header);
    if (!text) return tr__fail_out_of_memory(error);
    size_t length = strlen(text);
    if (length > TR__FRAME_HEADER_LIMIT || size > TR__FRAME_BLOB_LIMIT) {
        free(text);
        return tr__fail(error, TR_E_UNSUPPORTED, "a request of %zu + %zu bytes is more than a compiler takes",
                        length, size);
    }
    unsigned char prefix[PREFIX];
    put_little(prefix, length, 4);
    put_little(prefix + 4, size, 8);
    tr_status status = write_all(fd, prefix, sizeof prefix, wait, error);
    if (!status) status = write_all(fd, text, length, wait, error);
    if (!status) status = write_all(fd, data, size, wait, error);
    free(text);
    return status;
}

static tr_status read_header(int fd, size_t length, tr__wait *wait, json_t **out, tr_error **error) {
    char *text = malloc(length + 1);
    if (!text) return tr__fail_out_of_memory(error);
    tr_status status = read_all(fd, text, length, wait, error);
    if (!status) {
        status = tr__json_read(text, length, "its answer", TR_E_COMPILER_CRASHED, out, error);
        if (status == TR_E_COMPILER_CRASHED || (!status && !json_is_object(*out)))
            status = tr__fail(error, TR_E_COMPILER_CRASHED, "answered with garbage");
    }
    free(text);
    return status;
}

static tr_status read_blob(int fd, size_t size, tr__wait *wait, tr__blob **out, tr_error **error) {
    tr__blob *blob = *out = tr__blob_allocate(size);
    if (!blob) return tr__fail_out_of_memory(error);
    tr_status status = read_all(fd, blob->data, size, wait, error);
    if (!status) tr__blob_seal(blob);
    return status;
}

tr_status tr__frame_read(int fd, tr__wait *wait, tr__frame *out, tr_error **error) {
    *out = (tr__frame){0};
    unsigned char prefix[PREFIX];
    tr_status status = read_all(fd, prefix, sizeof prefix, wait, error);
    if (status) return status;
    uint64_t length = get_little(prefix, 4), size = get_little(prefix + 4, 8);
    if (length > TR__FRAME_HEADER_LIMIT || size > TR__FRAME_BLOB_LIMIT)
        return tr__fail(error, TR_E_COMPILER_CRASHED, "answered with garbage");
    status = read_header(fd, (size_t)length, wait, &out->header, error);
    if (!status) status = read_blob(fd, (size_t)size, wait, &out->blob, error);
    if (status) tr__frame_release(out);
    return status;
}

void tr__frame_release(tr__frame *frame) {
    json_decref(frame->header);
    tr__blob_release(frame->blob);
    *frame = (tr__frame){0};
}

typedef union control {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int) * FILES_MAX)];
} control;

tr_status tr__files_send(int socket, const int *files, size_t count, uint8_t byte, tr__wait *wait,
                         tr_error **error) {
    control control = {0};
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(rights), files, sizeof(int) * count);
    for (;;) {
        tr_status status = wait_ready(socket, POLLOUT, wait, error);
        if (status) return status;
        if (sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return TR_OK;
        if (!must_wait(errno))
            return tr__fail(error, TR_E_COMPILER_CRASHED, "took no request: %s", strerror(errno));
    }
}

bool tr__files_receive(int socket, int *files, size_t count) {
    control control = {0};
    char byte;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got;
    do got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got != 1) return false;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    if (!rights || rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS) return false;
    int received[FILES_MAX];
    size_t number = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(received, CMSG_DATA(rights), number * sizeof(int));
    if (number == count) {
        memcpy(files, received, count * sizeof(int));
        return true;
    }
    for (size_t i = 0; i < number; i++) close(received[i]);
    return false;
}
