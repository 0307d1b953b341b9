/* What the tests of launches on the no-op driver begin and end with. */
#ifndef TEST_LAUNCH_FIXTURE_H
#define TEST_LAUNCH_FIXTURE_H

#include "launch.h"

typedef struct fixture {
    tr_runner *runner;
    CUstream stream;
} fixture;

static inline int begin(void **state) {
    static fixture made;
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    stub_reset();
    options.cache_dir = "";
    assert_int_equal(tr_runner_create(&options, &made.runner, NULL), TR_OK);
    stub_record(true);
    *state = &made;
    return 0;
}

/* The end of each test: nothing is left. */
static inline void end(fixture *f) {
    tr_runner_destroy(f->runner);
    tr__settle();
    assert_int_equal(stub_alive(STUB_MODULE), 0);
    assert_int_equal(stub_alive(STUB_MEMORY), 0);
    assert_int_equal(stub_alive(STUB_PRIMARY), 0);
    assert_int_equal(stub_alive(STUB_USER_OBJECT), 0);
    CUcontext current;
    assert_int_equal(cuCtxGetCurrent(&current), 0);
    assert_null(current);
}

#define ok(call, error)                                                                                      \
    do {                                                                                                     \
        tr_status got = call;                                                                                \
        if (got) fail_msg("%s: %s", tr_status_name(got), tr_error_message(error));                           \
        assert_null(error);                                                                                  \
    } while (0)

static inline tr_launch_config grid(uint32_t x, uint32_t y, uint32_t z) {
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = x, config.grid[1] = y, config.grid[2] = z;
    return config;
}

#endif
