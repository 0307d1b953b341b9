/* Modules: one load per image and context, however many ask; bytes decide, not hashes. */
#include "cache/modules.h"
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
    tr__modules *modules;
    tr__scope scope;
    tr__blob *image;
} fixture;

static int begin(void **state) {
    static fixture made;
    stub_reset();
    assert_int_equal(tr__driver_open("cuda", "", &made.driver, NULL), TR_OK);
    assert_int_equal(tr__modules_create(made.driver, &made.modules, NULL), TR_OK);
    assert_int_equal(tr__driver_enter(made.driver, &made.scope, NULL), TR_OK);
    made.image = tr__blob_create("image", 5);
    *state = &made;
    return 0;
}

static int end(void **state) {
    fixture *f = *state;
    tr__blob_release(f->image);
    tr__modules_close(f->modules);
    tr__driver_leave(f->driver, &f->scope);
    tr__driver_close(f->driver);
    assert_int_equal(stub_alive(STUB_MODULE), 0);
    assert_int_equal(stub_alive(STUB_PRIMARY), 0);
    return 0;
}

static tr__module *get(fixture *f, tr__blob *image) {
    tr__module *module;
    assert_int_equal(tr__modules_get(f->modules, image, f->scope.context, true, "k", &module, NULL), TR_OK);
    assert_non_null(tr__module_handle(module));
    return module;
}

static void test_shared(void **state) {
    fixture *f = *state;
    tr__blob *same = tr__blob_create("image", 5), *other = tr__blob_create("imagf", 5);
    tr__module *a = get(f, f->image), *b = get(f, same), *c = get(f, other);
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, c);
    assert_int_equal(stub_alive(STUB_MODULE), 2);
    tr__module_put(a);
    tr__module_put(c);
    assert_int_equal(stub_alive(STUB_MODULE), 1);
    tr__module_put(b);
    assert_int_equal(stub_alive(STUB_MODULE), 0);
    tr__modules_count count = tr__modules_counted(f->modules);
    assert_true(count.loaded == 0 && count.loads == 2 && count.hits == 1 && count.unloads == 2);
    tr__module_put(get(f, f->image)); /* and again */
    tr__blob_release(same);
    tr__blob_release(other);
}

static void test_collision(void **state) {
    fixture *f = *state;
    tr__blob *twin = tr__blob_create("twins", 5), *third = tr__blob_create("third", 5);
    twin->hash = third->hash = f->image->hash;
    tr__module *a = get(f, f->image), *b = get(f, twin), *c = get(f, third);
    assert_true(a != b && b != c && a != c);
    assert_ptr_equal(get(f, twin), b);
    tr__module_put(a); /* leaves a gap in front of the others */
    tr__module *d = get(f, f->image);
    assert_true(d != b && d != c);
    tr__module_put(b);
    tr__module_put(b);
    tr__module_put(c);
    tr__module_put(d);
    tr__blob_release(twin);
    tr__blob_release(third);
}

static void test_contexts(void **state) {
    fixture *f = *state;
    tr__scope here = f->scope, there;
    CUcontext other, popped;
    tr__module *a = get(f, f->image), *b, *c;
    assert_int_equal(cuCtxCreate_v2(&other, 0, 1), 0);
    assert_int_equal(tr__driver_enter(f->driver, &there, NULL), TR_OK);
    assert_true(there.context.id != here.context.id);
    assert_int_equal(tr__modules_get(f->modules, f->image, there.context, true, "k", &b, NULL), TR_OK);
    assert_ptr_not_equal(a, b);
    assert_int_equal(tr__modules_get(f->modules, f->image, there.context, false, "k", &c, NULL), TR_OK);
    assert_ptr_equal(b, c);
    tr__module_put(c);
    assert_int_equal(cuCtxPopCurrent_v2(&popped), 0);
    unsigned long unloads = stub_calls("cuModuleUnload");
    tr__module_put(b); /* its context is not current, and could be gone: later */
    assert_int_equal(stub_calls("cuModuleUnload"), unloads);
    assert_int_equal(cuCtxPushCurrent_v2(other), 0);
    assert_int_equal(tr__driver_enter(f->driver, &there, NULL), TR_OK);
    assert_int_equal(stub_calls("cuModuleUnload"), unloads + 1);
    assert_int_equal(cuCtxPopCurrent_v2(&popped), 0);
    assert_int_equal(tr__driver_current(f->driver), here.context.id);
    assert_int_equal(cuCtxDestroy_v2(other), 0);
    tr__module_put(a);
}

/* Another device's primary context can be held while it is entered, so that this need not wait. */
static void test_other_primary(void **state) {
    fixture *f = *state;
    tr__scope there;
    CUcontext other, popped;
    tr__module *module;
    assert_int_equal(cuDevicePrimaryCtxRetain(&other, 1), 0);
    assert_int_equal(cuCtxPushCurrent_v2(other), 0);
    assert_int_equal(tr__driver_enter(f->driver, &there, NULL), TR_OK);
    assert_int_equal(tr__modules_get(f->modules, f->image, there.context, true, "k", &module, NULL), TR_OK);
    assert_int_equal(cuCtxPopCurrent_v2(&popped), 0);
    unsigned long unloads = stub_calls("cuModuleUnload");
    long retains = stub_alive(STUB_PRIMARY);
    tr__module_put(module);
    assert_int_equal(stub_calls("cuModuleUnload"), unloads + 1);
    assert_int_equal(stub_alive(STUB_PRIMARY), retains);
    assert_int_equal(cuDevicePrimaryCtxRelease_v2(1), 0);
}

static void test_context_gone(void **state) {
    fixture *f = *state;
    tr__module *module;
    tr__context gone = f->scope.context;
    gone.id += 1000; /* as if the context were destroyed, and another made at its address */
    assert_int_equal(tr__modules_get(f->modules, f->image, gone, true, "k", &module, NULL), TR_OK);
    unsigned long unloads = stub_calls("cuModuleUnload");
    CUmodule handle = tr__module_handle(module);
    tr__module_put(module);
    assert_int_equal(stub_calls("cuModuleUnload"), unloads); /* it went with its context */
    cuModuleUnload(handle);
}

static void test_sealed(void **state) {
    fixture *f = *state;
    tr__module *module;
    tr_error *error = NULL;
    assert_int_equal(tr__modules_get(f->modules, f->image, f->scope.context, false, "add", &module, &error),
                     TR_E_SEALED);
    assert_null(module);
    assert_non_null(strstr(tr_error_message(error), "kernel 'add' is not loaded in the current context; call "
                                                    "tr_kernel_load"));
    tr_error_destroy(error);
}

static void test_failures(void **state) {
    fixture *f = *state;
    tr__module *module;
    tr_error *error = NULL;
    stub_fail("cuModuleLoadDataEx", 1, CUDA_ERROR_UNSUPPORTED_PTX_VERSION, false);
    assert_int_equal(tr__modules_get(f->modules, f->image, f->scope.context, true, "k", &module, &error),
                     TR_E_UNSUPPORTED);
    assert_null(module);
    assert_non_null(strstr(tr_error_message(error), "the PTX is newer than the driver"));
    tr_error_destroy(error);
    tr__module_put(get(f, f->image)); /* the next try may be luckier */
}

typedef struct asker {
    fixture *f;
    pthread_barrier_t *together;
    tr__module *module;
} asker;

static void *ask(void *user) {
    asker *a = user;
    tr__scope scope;
    for (int i = 0; i < 200; i++) {
        pthread_barrier_wait(a->together);
        tr__driver_enter_context(a->f->driver, a->f->scope.context, &scope);
        tr_status status =
            tr__modules_get(a->f->modules, a->f->image, scope.context, true, "k", &a->module, NULL);
        tr__driver_leave(a->f->driver, &scope);
        pthread_barrier_wait(a->together);
        if (!status) tr__module_put(a->module);
    }
    return NULL;
}

static void test_threads(void **state) {
    enum { THREADS = 8 };
    fixture *f = *state;
    pthread_barrier_t together;
    pthread_t threads[THREADS];
    asker askers[THREADS];
    unsigned long loads = stub_calls("cuModuleLoadDataEx");
    pthread_barrier_init(&together, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        askers[i] = (asker){f, &together, NULL};
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &askers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&together);
    assert_int_equal(stub_calls("cuModuleLoadDataEx") - loads,
                     200); /* all ask, then all let go: one load a round */
    assert_int_equal(stub_alive(STUB_MODULE), 0);
}

static void test_outlives_its_owner(void **state) {
    fixture *f = *state;
    tr__module *module = get(f, f->image);
    tr__modules_close(f->modules);
    tr__module_put(module);
    assert_int_equal(tr__modules_create(f->driver, &f->modules, NULL), TR_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shared, begin, end),
        cmocka_unit_test_setup_teardown(test_collision, begin, end),
        cmocka_unit_test_setup_teardown(test_contexts, begin, end),
        cmocka_unit_test_setup_teardown(test_other_primary, begin, end),
        cmocka_unit_test_setup_teardown(test_context_gone, begin, end),
        cmocka_unit_test_setup_teardown(test_sealed, begin, end),
        cmocka_unit_test_setup_teardown(test_failures, begin, end),
        cmocka_unit_test_setup_teardown(test_threads, begin, end),
        cmocka_unit_test_setup_teardown(test_outlives_its_owner, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
