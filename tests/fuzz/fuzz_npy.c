/* .npy files: the first byte says what the elements are taken for. An array that was read is written, and read again. */
#include "fuzz.h"
#include "npy.h"

#include <sys/mman.h>
#include <unistd.h>

static int open_file(char path[32]) {
    int fd = memfd_create("npy", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0);
    snprintf(path, 32, "/proc/self/fd/%d", fd);
    return fd;
}

static void check_round_trip(const npy_array *array) {
    char path[32];
    npy_array again;
    int fd = open_file(path);
    FUZZ_CHECK(!npy_write(path, array));
    FUZZ_CHECK(!npy_read(path, array->element, &again));
    FUZZ_CHECK(again.element == array->element && again.rank == array->rank && again.bytes == array->bytes);
    FUZZ_CHECK(!memcmp(again.shape, array->shape, array->rank * sizeof *array->shape));
    FUZZ_CHECK(!memcmp(again.data, array->data, array->bytes));
    free(again.data);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[32];
    npy_array array;
    if (!size) return 0;
    tr_type as = npy_element_size(*data) ? *data : 0;
    int fd = open_file(path);
    FUZZ_CHECK(write(fd, data + 1, size - 1) == (ssize_t)(size - 1));
    char *problem = npy_read(path, as, &array);
    FUZZ_CHECK(problem ? *problem && !array.data : array.data != NULL);
    if (!problem) check_round_trip(&array);
    free(problem);
    free(array.data);
    close(fd);
    return 0;
}
