/* Scratch memory: per stream, reused, grown, kept by graphs, never shared by launches that may overlap. */
#include "launch/scratch.h"
#include "stub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CUDA_FUNCTION(name, symbol, since, params) CUresult symbol params;
#include "driver/cuda_symbols.inc"

typedef struct fixture {
    tr__driver *driver;
    tr__scratches *scratches;
    tr__scope scope;
    CUstream streams[2];
} fixture;

static int begin(void **state) {
    static fixture made;
    stub_reset();
    assert_int_equal(tr__driver_open("cuda", "", &made.driver, NULL), TR_OK);
    assert_int_equal(tr__scratches_create(made.driver, &made.scratches, NULL), TR_OK);
    assert_int_equal(tr__driver_enter(made.driver, &made.scope, NULL), TR_OK);
    for (int i = 0; i < 2; i++) assert_int_equal(cuStreamCreate(&made.streams[i], 0), 0);
    *state = &made;
    return 0;
}

static int end(void **state) {
    fixture *f = *state;
    for (int i = 0; i < 2; i++) cuStreamDestroy_v2(f->streams[i]);
    tr__scratches_close(f->scratches);
    tr__settle();
    tr__driver_leave(f->driver, &f->scope);
    tr__driver_close(f->driver);
    assert_int_equal(stub_alive(STUB_MEMORY), 0);
    assert_int_equal(stub_alive(STUB_USER_OBJECT), 0);
    return 0;
}

typedef enum how { PLAIN = 0, CAPTURED = 1, OVERLAPPING = 2 } how;

static tr__lent lend(fixture *f, CUstream stream, how how, uint64_t bytes, uint32_t alignment) {
    tr__lent lent;
    assert_int_equal(tr__scratches_lend(f->scratches, f->scope.context, stream, how & CAPTURED,
                                        how & OVERLAPPING, bytes, alignment, &lent, NULL),
                     TR_OK);
    assert_true(lent.address && lent.address % alignment == 0);
    return lent;
}

static void test_reuse_and_growth(void **state) {
    fixture *f = *state;
    tr__lent first = lend(f, f->streams[0], PLAIN, 1000, 128);
    unsigned long allocations = stub_calls("cuMemAlloc");
    for (int i = 0; i < 100; i++)
        assert_true(lend(f, f->streams[0], PLAIN, 1000 + i, 128).address == first.address);
    assert_int_equal(stub_calls("cuMemAlloc"), allocations); /* warm */
    assert_true(lend(f, f->streams[1], PLAIN, 8, 1).address != first.address);
    assert_true(lend(f, NULL, PLAIN, 8, 1).address != first.address);
    tr__lent large = lend(f, f->streams[0], PLAIN, 10 << 20, 128);
    assert_true(large.address != first.address);
    assert_true(lend(f, f->streams[0], PLAIN, 1000, 128).address == large.address);
    for (uint32_t alignment = 1; alignment <= 4096; alignment *= 2)
        lend(f, f->streams[0], PLAIN, 5000, alignment);
}

static void test_streams_of_one_handle(void **state) {
    fixture *f = *state;
    tr__lent first = lend(f, f->streams[0], PLAIN, 8, 1);
    for (int i = 0; i < 50;
         i++) { /* a new stream, perhaps at the old address: its work may overlap the old one's */
        cuStreamDestroy_v2(f->streams[0]);
        assert_int_equal(cuStreamCreate(&f->streams[0], 0), 0);
        assert_true(lend(f, f->streams[0], PLAIN, 8, 1).address != first.address);
    }
}

static void test_many_streams(void **state) {
    fixture *f = *state;
    for (int i = 0; i < 300; i++) { /* of streams long gone only so much is kept */
        cuStreamDestroy_v2(f->streams[0]);
        assert_int_equal(cuStreamCreate(&f->streams[0], 0), 0);
        tr__lent lent = lend(f, f->streams[0], PLAIN, 8, 1);
        assert_int_equal(lent.temporary, i >= 256);
        if (lent.temporary) tr__scratches_return(f->scratches, f->streams[0], &lent);
    }
    assert_int_equal(stub_alive(STUB_MEMORY), 256);
}

static void test_overlapping(void **state) {
    fixture *f = *state;
    tr__lent a = lend(f, f->streams[0], OVERLAPPING, 1000, 512),
             b = lend(f, f->streams[0], OVERLAPPING, 1000, 1);
    assert_true(a.temporary && b.temporary && a.ptr != b.ptr);
    tr__scratches_return(f->scratches, f->streams[0], &a);
    tr__scratches_return(f->scratches, f->streams[0], &b);
    assert_int_equal(stub_calls("cuMemFreeAsync"), 2);
}

static void test_capture(void **state) {
    fixture *f = *state;
    CUgraph graphs[2];
    CUdeviceptr addresses[2];
    tr__lent plain = lend(f, f->streams[0], PLAIN, 1000, 128);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(cuStreamBeginCapture_v2(f->streams[0], CU_STREAM_CAPTURE_MODE_GLOBAL), 0);
        tr__lent a = lend(f, f->streams[0], CAPTURED, 1000, 128),
                 b = lend(f, f->streams[0], CAPTURED, 500, 128);
        tr__lent c = lend(f, f->streams[0], CAPTURED, 2000, 128),
                 d = lend(f, f->streams[0], CAPTURED | OVERLAPPING, 1, 1);
        assert_true(a.address == b.address && a.address != c.address && a.address != plain.address);
        assert_true(d.address != a.address && d.address != c.address && !d.temporary);
        addresses[i] = a.address;
        assert_int_equal(cuStreamEndCapture(f->streams[0], &graphs[i]), 0);
    }
    assert_true(addresses[0] != addresses[1]);
    assert_int_equal(stub_alive(STUB_MEMORY), 1 + 2 * 3);
    cuGraphDestroy(graphs[0]);
    assert_int_equal(stub_alive(STUB_MEMORY),
                     1 + 2 * 3); /* no driver call from where the graph's end is told */
    tr__settle();
    assert_int_equal(stub_alive(STUB_MEMORY), 1 + 3);
    /* The other graph outlives the pool. */
    tr__scratches_close(f->scratches);
    assert_int_equal(stub_alive(STUB_MEMORY), 3);
    cuGraphDestroy(graphs[1]);
    tr__settle();
    assert_int_equal(stub_alive(STUB_MEMORY), 0);
    assert_int_equal(tr__scratches_create(f->driver, &f->scratches, NULL), TR_OK);
}

static void test_failures(void **state) {
    static const struct {
        const char *call;
        how how;
    } cases[] = {
        {"cuMemAlloc", PLAIN},
        {"cuMemAllocAsync", OVERLAPPING},
        {"cuMemAlloc", CAPTURED},
        {"cuStreamGetCaptureInfo", CAPTURED},
        {"cuUserObjectCreate", CAPTURED},
        {"cuGraphRetainUserObject", CAPTURED},
    };
    fixture *f = *state;
    CUgraph graph;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tr__lent lent;
        tr_error *error = NULL;
        long alive = stub_alive(STUB_MEMORY);
        if (cases[i].how & CAPTURED) assert_int_equal(cuStreamBeginCapture_v2(f->streams[0], 0), 0);
        stub_fail(cases[i].call, 1, CUDA_ERROR_OUT_OF_MEMORY, false);
        assert_int_equal(tr__scratches_lend(f->scratches, f->scope.context, f->streams[0],
                                            cases[i].how & CAPTURED, cases[i].how & OVERLAPPING, 1000, 128,
                                            &lent, &error),
                         TR_E_OUT_OF_MEMORY);
        assert_non_null(strstr(tr_error_message(error), cases[i].call));
        tr_error_destroy(error);
        tr__settle();
        assert_int_equal(stub_alive(STUB_MEMORY), alive);
        lent = lend(f, f->streams[0], cases[i].how, 1000, 128); /* and then it works */
        if (lent.temporary) tr__scratches_return(f->scratches, f->streams[0], &lent);
        if (cases[i].how & CAPTURED) {
            assert_int_equal(cuStreamEndCapture(f->streams[0], &graph), 0);
            cuGraphDestroy(graph);
            tr__settle();
        }
    }
}

static void test_old_driver(void **state) {
    fixture *f = *state;
    tr__lent lent;
    f->driver->cuMemAllocAsync = NULL;
    assert_int_equal(tr__scratches_lend(f->scratches, f->scope.context, NULL, false, true, 8, 1, &lent, NULL),
                     TR_E_UNSUPPORTED);
    f->driver->cuStreamGetId = NULL;
    assert_true(lend(f, f->streams[0], PLAIN, 8, 1).address != lend(f, f->streams[1], PLAIN, 8, 1).address);
}

typedef struct user {
    fixture *f;
    CUstream stream;
    CUdeviceptr last;
} user;

static void *use(void *argument) {
    user *u = argument;
    tr__scope scope;
    tr__driver_enter_context(u->f->driver, u->f->scope.context, &scope);
    for (uint64_t bytes = 1; bytes < 1 << 22; bytes += 4099)
        u->last = lend(u->f, u->stream, PLAIN, bytes, 16).address;
    tr__driver_leave(u->f->driver, &scope);
    return NULL;
}

static void test_threads(void **state) {
    enum { THREADS = 8 };
    fixture *f = *state;
    pthread_t threads[THREADS];
    user users[THREADS];
    for (int i = 0; i < THREADS; i++) {
        users[i] = (user){f, f->streams[i % 2], 0};
        assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 2; i < THREADS; i++) assert_true(users[i].last == users[i % 2].last);
    assert_true(users[0].last != users[1].last);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reuse_and_growth, begin, end),
        cmocka_unit_test_setup_teardown(test_streams_of_one_handle, begin, end),
        cmocka_unit_test_setup_teardown(test_many_streams, begin, end),
        cmocka_unit_test_setup_teardown(test_overlapping, begin, end),
        cmocka_unit_test_setup_teardown(test_capture, begin, end),
        cmocka_unit_test_setup_teardown(test_failures, begin, end),
        cmocka_unit_test_setup_teardown(test_old_driver, begin, end),
        cmocka_unit_test_setup_teardown(test_threads, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
