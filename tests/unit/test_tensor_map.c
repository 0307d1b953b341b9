/* Descriptors: what cuTensorMapEncodeTiled is asked for, what the kernel then gets, by Triton's version. */
#include "launch.h"
#include "stub.h"

#include "launch/tensor_map.h"

static tr_runner *runner;
static struct {
    const char *version;
    tr__descriptor descriptor;
    tr_type element;
} wanted;

static void as_wanted(tr__record *record) {
    record->params[0].descriptor = wanted.descriptor;
    record->params[0].element = wanted.element;
    assert_true(tr__record_set_text(&record->triton_version, wanted.version));
}

static tr_kernel *make_wanted(const char *version, tr_type element, tr__descriptor descriptor) {
    wanted.version = version, wanted.element = element, wanted.descriptor = descriptor;
    return make_kernel(runner, "described", "tensordesc<fp16[64, 32]>", as_wanted);
}

static tr__descriptor encoded(uint32_t rank, int32_t size, int32_t type, int32_t swizzle, bool fp4) {
    return (tr__descriptor){.encoded = true,
                            .rank = rank,
                            .block = {16, 32, 64, 8, 4},
                            .element_size = size,
                            .element_type = type,
                            .swizzle = swizzle,
                            .fp4_padded = fp4};
}

static tr_tensor tensor_of(tr_type element, uint32_t rank, uint32_t flags) {
    tr_tensor tensor = TR_TENSOR_INIT;
    tensor.ptr = 0x4000, tensor.element = element, tensor.rank = rank, tensor.flags = flags;
    int64_t stride = 1;
    for (uint32_t i = rank; i-- > 0;) {
        tensor.shape[i] = 10 + i;
        tensor.strides[i] = stride;
        stride *= 64;
    }
    return tensor;
}

/* Encodes, launches, and compares with what Triton's launcher of that version would have done. */
static void check(const char *version, tr_type element, tr__descriptor d, uint32_t flags, uint32_t type,
                  uint32_t fill, bool padded_shape) {
    tr_kernel *kernel = make_wanted(version, element, d);
    tr_tensor tensor = tensor_of(element, d.rank, flags);
    tr_tensor_map map;
    tr_error *error;
    if (tr_tensor_map_encode(kernel, 0, &tensor, &map, &error))
        fail_msg("%s: %s", version, tr_error_message(error));
    const uint64_t *words = map.opaque;
    assert_int_equal(words[0], 0x4000);
    assert_int_equal(words[1], type | d.rank << 8 | (uint64_t)d.swizzle << 16 |
                                   (uint64_t)CU_TENSOR_MAP_L2_PROMOTION_L2_128B << 32 | (uint64_t)fill << 40);
    for (uint32_t i = 0; i < d.rank; i++) {
        uint32_t from = d.rank - 1 - i;
        assert_int_equal(words[2 + i], tensor.shape[from] << (d.fp4_padded && i == 0));
        assert_int_equal(words[7 + i], (uint64_t)d.block[from] | 1ull << 32);
        if (i) assert_int_equal(words[11 + i], tensor.strides[from] * d.element_size);
    }
    tr_arg arg = tr_arg_map(&map);
    if (tr_launch(kernel, NULL, &arg, 1, &error)) fail_msg("%s", tr_error_message(error));
    const unsigned char *buffer = stub_last_launch()->buffer + 48; /* sm_90: the first place for a map */
    assert_memory_equal(buffer, words, 128);
    for (uint32_t i = 0; i < d.rank; i++) {
        int32_t shape;
        int64_t stride;
        memcpy(&shape, buffer + 128 + 4 * i, 4);
        memcpy(&stride, buffer + 128 + (4 * d.rank + 7) / 8 * 8 + 8 * i, 8);
        assert_int_equal(shape, tensor.shape[i] << (padded_shape && i == d.rank - 1));
        assert_int_equal(stride, tensor.strides[i]);
    }
    tr_kernel_destroy(kernel);
}

static void test_encoded(void **state) {
    for (uint32_t rank = 1; rank <= 5; rank++)
        check("3.4.0", TR_TYPE_F16, encoded(rank, 2, 6, 3, false), 0, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 0,
              false);
    /* Triton's numbers of element types, and cuda.h's. */
    check("3.4.0", TR_TYPE_U8, encoded(2, 1, 0, 1, false), 0, CU_TENSOR_MAP_DATA_TYPE_UINT8, 0, false);
    check("3.4.0", TR_TYPE_I32, encoded(2, 4, 3, 1, false), 0, CU_TENSOR_MAP_DATA_TYPE_INT32, 0, false);
    check("3.4.0", TR_TYPE_F32, encoded(2, 4, 7, 2, false), 0, CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 0, false);
    check("3.4.0", TR_TYPE_F32, encoded(2, 4, 8, 2, false), 0, CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ, 0, false);
    check("3.4.0", TR_TYPE_F64, encoded(2, 8, 9, 2, false), 0, CU_TENSOR_MAP_DATA_TYPE_FLOAT64, 0, false);
    check("3.4.0", TR_TYPE_BF16, encoded(2, 2, 10, 3, false), 0, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 0, false);
    check("3.5.1", TR_TYPE_BF16, encoded(2, 2, 10, 3, false), TR_TENSOR_PAD_NAN,
          CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 1, false);
    check("3.7.1", TR_TYPE_F32, encoded(2, 4, 7, 3, false), TR_TENSOR_ROUND_TF32,
          CU_TENSOR_MAP_DATA_TYPE_TFLOAT32, 0, false);
    check("3.9.0", TR_TYPE_F32, encoded(2, 4, 7, 3, false), TR_TENSOR_ROUND_TF32 | TR_TENSOR_PAD_NAN,
          CU_TENSOR_MAP_DATA_TYPE_TFLOAT32, 1, false);
}

/* Packed fp4: the encoded last dimension is doubled; what the kernel gets beside it, in 3.5 and 3.6 too. */
static void test_fp4(void **state) {
    static const struct {
        const char *version;
        bool padded;
    } cases[] = {{"3.4.0", false}, {"3.5.1", true},  {"3.6.0", true},
                 {"3.7.1", false}, {"3.8.0", false}, {"3.9.0", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(cases[i].version, TR_TYPE_U8, encoded(2, 1, 14, 3, true), 0, 14, 0, cases[i].padded);
}

/* Drivers up to 13.1 set a bit wrongly for tensors below 128 KiB. The stub's words let a swizzle of 32 stand for it. */
static void test_correction(void **state) {
    static const struct {
        int driver;
        int64_t rows;
        bool cleared;
    } cases[] = {
        {12040, 10, true}, {13010, 10, true}, {13020, 10, false}, {13010, 1024, true}, {13010, 1025, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tr__driver *driver;
        assert_int_equal(tr__runner_driver(runner, &driver, NULL), TR_OK);
        driver->version = cases[i].driver;
        tr_kernel *kernel = make_wanted("3.4.0", TR_TYPE_F16, encoded(2, 2, 6, 32, false));
        tr_tensor tensor = tensor_of(TR_TYPE_F16, 2, 0);
        tr_tensor_map map;
        tensor.shape[0] = cases[i].rows, tensor.shape[1] = 64; /* of 128 bytes each */
        assert_int_equal(tr_tensor_map_encode(kernel, 0, &tensor, &map, NULL), TR_OK);
        assert_int_equal(!(map.opaque[1] >> 21 & 1), cases[i].cleared);
        tr_kernel_destroy(kernel);
    }
}

/* Below sm_90: pointer, shape and strides, and as many flags as the version has. */
static void test_plain(void **state) {
    static const struct {
        const char *version;
        uint32_t flags, given;
    } cases[] = {{"3.4.0", 0, 0},
                 {"3.5.1", 1, TR_TENSOR_PAD_NAN},
                 {"3.6.0", 1, 0},
                 {"3.7.1", 2, TR_TENSOR_ROUND_TF32},
                 {"3.9.0", 2, TR_TENSOR_ROUND_TF32 | TR_TENSOR_PAD_NAN}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tr__descriptor d = {.rank = 2, .flags = cases[i].flags, .block = {64, 32}};
        tr_kernel *kernel = make_wanted(cases[i].version, TR_TYPE_F32, d);
        tr_tensor tensor = tensor_of(TR_TYPE_F32, 2, cases[i].given);
        tr_tensor_map map;
        assert_int_equal(tr_tensor_map_encode(kernel, 0, &tensor, &map, NULL), TR_OK);
        tr_arg arg = tr_arg_map(&map);
        assert_int_equal(tr_launch(kernel, NULL, &arg, 1, NULL), TR_OK);
        struct {
            uint64_t ptr;
            int64_t shape[2], strides[2];
        } first;
        const unsigned char *buffer = stub_last_launch()->buffer, *flags = buffer + sizeof first;
        memcpy(&first, buffer, sizeof first);
        assert_true(first.ptr == tensor.ptr && !memcmp(first.shape, tensor.shape, 16) &&
                    !memcmp(first.strides, tensor.strides, 16));
        if (cases[i].flags > 0) assert_int_equal(flags[0], (cases[i].given & TR_TENSOR_PAD_NAN) != 0);
        if (cases[i].flags > 1) assert_int_equal(flags[1], (cases[i].given & TR_TENSOR_ROUND_TF32) != 0);
        const unsigned char *again = flags + (cases[i].flags + 3) / 4 * 4;
        const int32_t shape[2] = {(int32_t)tensor.shape[0], (int32_t)tensor.shape[1]};
        assert_memory_equal(again, shape, 8);
        again = buffer + ((size_t)(again - buffer) + 8 + 7) / 8 * 8;
        assert_memory_equal(again, tensor.strides, 16);
        tr_kernel_destroy(kernel);
    }
}

/* What a version cannot do is refused, and one map serves equal parameters only. */
static void test_refused(void **state) {
    static const struct {
        const char *version;
        tr_type element;
        uint32_t flags;
        tr_status status;
    } cases[] = {
        {"3.4.0", TR_TYPE_F16, TR_TENSOR_PAD_NAN, TR_E_UNSUPPORTED},
        {"3.6.0", TR_TYPE_F32, TR_TENSOR_ROUND_TF32, TR_E_UNSUPPORTED},
        {"3.9.0", TR_TYPE_F16, TR_TENSOR_ROUND_TF32, TR_E_SIGNATURE},
        {"3.9.0", TR_TYPE_I32, TR_TENSOR_PAD_NAN, TR_E_SIGNATURE},
    };
    tr_tensor_map map;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tr_kernel *kernel = make_wanted(cases[i].version, cases[i].element, encoded(2, 4, 7, 3, false));
        tr_tensor tensor = tensor_of(cases[i].element, 2, cases[i].flags);
        assert_int_equal(tr_tensor_map_encode(kernel, 0, &tensor, &map, NULL), cases[i].status);
        tr_kernel_destroy(kernel);
    }
    tr_tensor tensor = tensor_of(TR_TYPE_F16, 2, 0);
    tr_kernel *one = make_wanted("3.4.0", TR_TYPE_F16, encoded(2, 2, 6, 3, false));
    tr_kernel *same = make_wanted("3.4.0", TR_TYPE_F16, encoded(2, 2, 6, 3, false));
    tr_kernel *other = make_wanted("3.4.0", TR_TYPE_F16, encoded(2, 2, 6, 2, false));
    assert_int_equal(tr_tensor_map_encode(one, 0, &tensor, &map, NULL), TR_OK);
    tr_arg arg = tr_arg_map(&map);
    assert_int_equal(tr_launch(same, NULL, &arg, 1, NULL), TR_OK);
    assert_int_equal(tr_launch(other, NULL, &arg, 1, NULL), TR_E_SIGNATURE);
    stub_fail("cuTensorMapEncodeTiled", 1, CUDA_ERROR_INVALID_VALUE, false);
    tr_error *error;
    assert_int_equal(tr_tensor_map_encode(one, 0, &tensor, &map, &error), TR_E_DRIVER);
    assert_non_null(
        strstr(tr_error_message(error), "a box of 16 x 32 with swizzle 3: cuTensorMapEncodeTiled failed"));
    tr_error_destroy(error);
    tr_kernel_destroy(one);
    tr_kernel_destroy(same);
    tr_kernel_destroy(other);
}

static int begin(void **state) {
    tr__driver *driver;
    stub_reset();
    stub_record(true);
    assert_int_equal(tr_runner_create(NULL, &runner, NULL), TR_OK);
    assert_int_equal(tr__runner_driver(runner, &driver, NULL), TR_OK);
    driver->cuFuncGetParamInfo = NULL; /* the images know nothing of what the record is changed to */
    return 0;
}

static int end(void **state) {
    tr_runner_destroy(runner);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encoded), cmocka_unit_test(test_fp4),     cmocka_unit_test(test_correction),
        cmocka_unit_test(test_plain),   cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
