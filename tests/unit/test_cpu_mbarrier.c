#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "machine/mbarrier.h"

static void arrivals_complete_phases(void **state) {
    (void)state;
    uint64_t barrier = 0;
    assert_null(trcpu_mbarrier_init(&barrier, 3));
    uint64_t token = barrier;
    assert_false(trcpu_mbarrier_passed_parity(barrier, 0));
    assert_true(trcpu_mbarrier_passed_parity(barrier, 1)); /* the phase before the first */
    assert_null(trcpu_mbarrier_arrive(&barrier, 2, 0));
    assert_int_equal(trcpu_mbarrier_pending(barrier), 1);
    assert_false(trcpu_mbarrier_passed(barrier, token));
    assert_null(trcpu_mbarrier_arrive(&barrier, 1, 0));
    assert_true(trcpu_mbarrier_passed(barrier, token));
    assert_true(trcpu_mbarrier_passed_parity(barrier, 0));
    assert_false(trcpu_mbarrier_passed_parity(barrier, 1));
    assert_int_equal(trcpu_mbarrier_pending(barrier), 3);
    assert_null(trcpu_mbarrier_arrive(&barrier, 3, 1)); /* one of them leaves */
    assert_int_equal(trcpu_mbarrier_pending(barrier), 2);
    assert_false(trcpu_mbarrier_passed_parity(barrier, 0));
}

static void bytes_hold_a_phase_open(void **state) {
    (void)state;
    uint64_t barrier = 0;
    assert_null(trcpu_mbarrier_init(&barrier, 1));
    assert_null(trcpu_mbarrier_expect_tx(&barrier, 4096));
    assert_null(trcpu_mbarrier_arrive(&barrier, 1, 0));
    assert_int_equal(trcpu_mbarrier_missing_bytes(barrier), 4096);
    assert_false(trcpu_mbarrier_passed_parity(barrier, 0));
    assert_null(trcpu_mbarrier_complete_tx(&barrier, 4000));
    assert_false(trcpu_mbarrier_passed_parity(barrier, 0));
    assert_null(trcpu_mbarrier_complete_tx(&barrier, 96));
    assert_true(trcpu_mbarrier_passed_parity(barrier, 0));
    assert_null(trcpu_mbarrier_complete_tx(&barrier, 64)); /* before they are expected */
    assert_int_equal(trcpu_mbarrier_missing_bytes(barrier), -64);
    assert_null(trcpu_mbarrier_expect_tx(&barrier, 64));
    assert_false(trcpu_mbarrier_passed_parity(barrier, 1));
    assert_null(trcpu_mbarrier_arrive(&barrier, 1, 0));
    assert_true(trcpu_mbarrier_passed_parity(barrier, 1));
}

static void wrong_uses_are_told(void **state) {
    (void)state;
    uint64_t barrier = 0;
    assert_non_null(trcpu_mbarrier_arrive(&barrier, 1, 0));
    assert_non_null(trcpu_mbarrier_inval(&barrier));
    assert_non_null(trcpu_mbarrier_init(&barrier, 0));
    assert_non_null(trcpu_mbarrier_init(&barrier, 1 << 20));
    assert_null(trcpu_mbarrier_init(&barrier, 2));
    assert_non_null(trcpu_mbarrier_arrive(&barrier, 3, 0));
    assert_non_null(trcpu_mbarrier_expect_tx(&barrier, 1 << 20));
    assert_null(trcpu_mbarrier_inval(&barrier));
    assert_false(trcpu_mbarrier_is_valid(barrier));
    assert_non_null(trcpu_mbarrier_complete_tx(&barrier, 16));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrivals_complete_phases),
        cmocka_unit_test(bytes_hold_a_phase_open),
        cmocka_unit_test(wrong_uses_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
