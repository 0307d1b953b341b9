/* The packed buffer: offsets as a C compiler has them, values as a float64 reference has them, promises kept. */
#include "launch/pack.h"
#include "launch/tensor_map.h"
#include "metadata/signature.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct fixture {
    tr__record *record;
    tr__pack *pack;
} fixture;

/* A kernel 'k' of these parameters. */
static fixture make(const char *signature, uint32_t hidden) {
    fixture made = {.record = tr__record_create()};
    tr__signature parsed;
    assert_int_equal(tr__signature_parse(signature, &parsed, NULL), TR_OK);
    assert_true(tr__record_set_text(&made.record->kernel, "k"));
    assert_int_equal(tr__record_set_params(made.record, parsed.params, parsed.param_count, NULL), TR_OK);
    parsed.params = NULL, parsed.param_count = 0;
    tr__signature_release(&parsed);
    made.record->hidden_count = hidden;
    made.record->hidden[0] = TR__HIDDEN_GLOBAL_SCRATCH;
    made.record->hidden[1] = TR__HIDDEN_PROFILE_SCRATCH;
    assert_int_equal(tr__pack_create(made.record, (tr__layout){64, 0}, &made.pack, NULL), TR_OK);
    return made;
}

static void discard(fixture *made) {
    tr__pack_destroy(made->pack);
    tr__record_release(made->record);
}

static tr_arg whole(tr_type type, int64_t value) {
    return (tr_arg){.type = type, .value.i = value};
}

static tr_arg real(tr_type type, double value) {
    return (tr_arg){.type = type, .value.f = value};
}

static void test_layout(void **state) {
    struct all {
        void *p;
        int8_t a;
        int16_t b;
        int8_t c;
        int64_t d;
        int32_t e;
        uint16_t half;
        uint8_t flag;
        double f;
        float g;
        void *hidden[2];
    };
    fixture made = make("*fp32:16, i8, i16, u8, i64, i32, fp16, i1, fp64, fp32", 2);
    const size_t expected[] = {offsetof(struct all, p),    offsetof(struct all, a),
                               offsetof(struct all, b),    offsetof(struct all, c),
                               offsetof(struct all, d),    offsetof(struct all, e),
                               offsetof(struct all, half), offsetof(struct all, flag),
                               offsetof(struct all, f),    offsetof(struct all, g)};
    assert_int_equal(made.pack->count, 10);
    for (size_t i = 0; i < 10; i++) assert_int_equal(made.pack->places[i].offset, expected[i]);
    assert_int_equal(made.pack->hidden_offset[0], offsetof(struct all, hidden[0]));
    assert_int_equal(made.pack->hidden_offset[1], offsetof(struct all, hidden[1]));
    assert_int_equal(made.pack->size, sizeof(struct all));

    _Alignas(8) char buffer[sizeof(struct all)];
    memset(buffer, 0x55, sizeof buffer);
    tr_arg args[] = {tr_arg_ptr(0x7f0010),    whole(TR_TYPE_I8, -3), whole(TR_TYPE_I16, -300),
                     whole(TR_TYPE_U8, 200),  tr_arg_i64(-5),        tr_arg_i32(1 << 30),
                     real(TR_TYPE_F16, -2.0), whole(TR_TYPE_I1, 1),  real(TR_TYPE_F64, 0.1),
                     tr_arg_f32(1.5f)};
    assert_null(tr__pack_store(made.pack, args, buffer));
    struct all *stored = (struct all *)buffer;
    assert_true(stored->p == (void *)0x7f0010 && stored->a == -3 && stored->b == -300 &&
                (uint8_t)stored->c == 200);
    assert_true(stored->d == -5 && stored->e == 1 << 30 && stored->half == 0xc000 && stored->flag == 1);
    assert_true(stored->f == 0.1 && stored->g == 1.5f && !stored->hidden[0] && !stored->hidden[1]);
    discard(&made);
}

static void test_nothing_to_pass(void **state) {
    fixture made = make("", 0);
    assert_int_equal(made.pack->size, 0);
    assert_null(tr__pack_store(made.pack, NULL, NULL));
    discard(&made);
    made = make("i32:1", 1);
    char buffer[8] = "garbage";
    tr_arg one = tr_arg_i32(1);
    assert_int_equal(made.pack->size, 8);
    assert_null(tr__pack_store(made.pack, &one, buffer));
    assert_memory_equal(buffer, "\0\0\0\0\0\0\0\0", 8);
    discard(&made);
}

/* One parameter, one argument: stored as these bits, or refused. */
static void check(const char *type, tr_arg argument, bool fits, uint64_t bits) {
    fixture made = make(type, 0);
    uint64_t stored = 0;
    const tr_arg *wrong = tr__pack_store(made.pack, &argument, (char *)&stored);
    if (!wrong != fits || (fits && stored != bits))
        fail_msg("%s given type %d value %lld / %g: %s 0x%llx", type, argument.type,
                 (long long)argument.value.i, argument.value.f, wrong ? "refused" : "stored",
                 (unsigned long long)stored);
    if (wrong) {
        tr_error *error = NULL;
        assert_int_equal(tr__pack_refuse(made.pack, 0, &argument, &error), TR_E_SIGNATURE);
        assert_non_null(strstr(tr_error_message(error), "argument 0 of 'k'"));
        tr_error_destroy(error);
    }
    discard(&made);
}

static void test_integers(void **state) {
    static const struct {
        const char *name;
        tr_type type;
        int64_t least;
        uint64_t most;
        uint64_t mask;
    } types[] = {
        {"i1", TR_TYPE_I1, 0, 1, 0xff},
        {"i8", TR_TYPE_I8, INT8_MIN, INT8_MAX, 0xff},
        {"i16", TR_TYPE_I16, INT16_MIN, INT16_MAX, 0xffff},
        {"i32", TR_TYPE_I32, INT32_MIN, INT32_MAX, 0xffffffff},
        {"i64", TR_TYPE_I64, INT64_MIN, INT64_MAX, UINT64_MAX},
        {"u8", TR_TYPE_U8, 0, UINT8_MAX, 0xff},
        {"u16", TR_TYPE_U16, 0, UINT16_MAX, 0xffff},
        {"u32", TR_TYPE_U32, 0, UINT32_MAX, 0xffffffff},
        {"u64", TR_TYPE_U64, 0, UINT64_MAX, UINT64_MAX},
    };
    enum { COUNT = sizeof types / sizeof *types };
    for (int to = 0; to < COUNT; to++) {
        for (int from = 0; from < COUNT; from++) {
            bool is_signed = types[from].least < 0;
            for (int bit = 0; bit < 64; bit++) {
                for (int step = -1; step <= 1; step++) {
                    uint64_t up = (UINT64_C(1) << bit) + (uint64_t)(int64_t)step, down = 0 - up;
                    const uint64_t values[] = {up, down};
                    for (int k = 0; k < 2; k++) {
                        bool negative = is_signed && (int64_t)values[k] < 0;
                        bool fits =
                            negative ? types[to].least <= (int64_t)values[k] : values[k] <= types[to].most;
                        check(types[to].name, (tr_arg){.type = types[from].type, .value.u = values[k]}, fits,
                              values[k] & types[to].mask);
                    }
                }
            }
        }
        check(types[to].name, real(TR_TYPE_F32, 1), false, 0);
        check(types[to].name, tr_arg_ptr(1), false, 0);
    }
    check("i32", (tr_arg){TR_TYPE_I32, 1, {0}}, false, 0);
    check("*fp32", tr_arg_i64(16), false, 0);
    check("*fp32", tr_arg_ptr(3), true, 3);
    check("fp32", tr_arg_i32(1), false, 0);
}

static void test_promises(void **state) {
    check("i32:16", tr_arg_i32(48), true, 48);
    check("i32:16", tr_arg_i32(-48), true, 0xffffffd0);
    check("i32:16", tr_arg_i32(40), false, 0);
    check("i32:16", tr_arg_i64(40), false, 0);
    check("i32:16", tr_arg_i64(-64), true, 0xffffffc0);
    check("i64:8", tr_arg_i64(4), false, 0);
    check("i64:8", tr_arg_i64(INT64_MIN), true, 1ull << 63);
    check("u8:2", whole(TR_TYPE_U8, 7), false, 0);
    check("*fp16:16", tr_arg_ptr(0x1008), false, 0);
    check("*fp16:16", tr_arg_ptr(0), true, 0);
    check("i32:1", tr_arg_i32(1), true, 0);
    check("i32:1", tr_arg_i32(2), false, 0);
    check("i32:1", whole(TR_TYPE_U64, 1), true, 0);
}

/* The value of a 16-bit float, by the definition of its format. */
static double value_of(uint16_t bits, int mantissa) {
    int exponent_bits = 15 - mantissa, bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = bits >> mantissa & ((1 << exponent_bits) - 1), fraction = bits & ((1 << mantissa) - 1);
    double magnitude = exponent ? ldexp(1 + ldexp(fraction, -mantissa), exponent - bias)
                                : ldexp(fraction, 1 - bias - mantissa);
    return bits >> 15 ? -magnitude : magnitude;
}

/* Between each two neighbours: at them, just around the middle, and the middle itself, which goes to the even one. */
static void check_halves(const char *name, tr_type type, int mantissa) {
    uint16_t infinity = (uint16_t)(0x7fff >> mantissa << mantissa);
    fixture made = make(name, 0);
    for (uint32_t bits = 0; bits + 1 < infinity; bits++) {
        double low = value_of((uint16_t)bits, mantissa), high = value_of((uint16_t)(bits + 1), mantissa);
        double middle = (low + high) / 2;
        const double values[] = {low, nextafter(middle, 0), middle, nextafter(middle, INFINITY), high};
        const uint32_t expected[] = {bits, bits, bits + (bits & 1), bits + 1, bits + 1};
        for (int i = 0; i < 5; i++) {
            for (int sign = 0; sign < 2; sign++) {
                uint16_t stored = 0;
                tr_arg argument = real(i % 2 ? TR_TYPE_F64 : type, sign ? -values[i] : values[i]);
                assert_null(tr__pack_store(made.pack, &argument, (char *)&stored));
                if (stored != (expected[i] | (uint32_t)sign << 15))
                    fail_msg("%s of %a is 0x%x, not 0x%x", name, values[i], stored, expected[i]);
            }
        }
    }
    double most = value_of((uint16_t)(infinity - 1), mantissa);
    double limit = most + (most - value_of((uint16_t)(infinity - 2), mantissa)) / 2;
    discard(&made);
    check(name, real(type, nextafter(limit, 0)), true, infinity - 1u);
    check(name, real(type, limit), false, 0);
    check(name, real(type, -1e300), false, 0);
    check(name, real(type, INFINITY), true, infinity);
    check(name, real(type, -INFINITY), true, infinity | 0x8000u);
    check(name, real(type, NAN), true, infinity | 1u << (mantissa - 1));
}

static void test_floats(void **state) {
    check_halves("fp16", TR_TYPE_F16, 10);
    check_halves("bf16", TR_TYPE_BF16, 7);
    srand(1);
    for (int i = 0; i < 100000; i++) {
        double value = ldexp((double)rand() / RAND_MAX - 0.5, rand() % 300 - 160);
        float single = (float)value;
        uint32_t bits;
        uint64_t bits64;
        memcpy(&bits, &single, 4);
        memcpy(&bits64, &value, 8);
        check("fp32", real(TR_TYPE_F64, value), isfinite(single), bits);
        check("fp32", real(TR_TYPE_F32, value), isfinite(single), bits);
        check("fp64", real(TR_TYPE_F32, value), true, bits64);
    }
    check("fp64", real(TR_TYPE_F64, 5e-324), true, 1);
    check("fp64", real(TR_TYPE_F64, -2.2250738585072014e-308), true, 0x8010000000000000);
    check("fp32", real(TR_TYPE_F32, INFINITY), true, 0x7f800000);
    check("fp32", real(TR_TYPE_F32, NAN), true, 0x7fc00000);
    check("fp32", real(TR_TYPE_F32, 3.4e39), false, 0);
}

static fixture make_descriptor(bool encoded, uint32_t flags, tr__layout layout) {
    fixture made = make("i32, tensordesc<fp16[64, 32]>, i8", 1);
    tr__pack_destroy(made.pack);
    made.record->params[1].descriptor.encoded = encoded;
    made.record->params[1].descriptor.flags = flags;
    assert_int_equal(tr__pack_create(made.record, layout, &made.pack, NULL), TR_OK);
    return made;
}

static void test_descriptors(void **state) {
    struct encoded {
        int32_t n;
        _Alignas(64) uint64_t map[16];
        int32_t shape[2];
        int64_t strides[2];
        int8_t last;
        void *hidden;
    };
    struct plain {
        int32_t n;
        void *p;
        int64_t shape[2], strides[2];
        int8_t flags[2];
        int32_t shape32[2];
        int64_t strides2[2];
        int8_t last;
        void *hidden;
    };
    _Alignas(64) char buffer[512];
    tr_tensor_map public;
    tr__tensor_map *map = (tr__tensor_map *)&public;
    memset(&public, 0, sizeof public);
    for (int i = 0; i < 16; i++) map->encoded[i] = 0x1000u + (uint64_t)i;
    map->ptr = 0xabc0;
    map->shape[0] = 7, map->shape[1] = 9, map->strides[0] = 128, map->strides[1] = 1, map->flags[1] = 1;
    tr_arg args[] = {tr_arg_i32(5), tr_arg_map(&public), whole(TR_TYPE_I8, 3)};

    fixture made = make_descriptor(true, 0, (tr__layout){64, 0});
    assert_int_equal(made.pack->places[1].offset, 64);
    assert_int_equal(made.pack->places[1].alignment, 64);
    assert_int_equal(made.pack->size, offsetof(struct encoded, hidden) + 8);
    assert_ptr_equal(tr__pack_store(made.pack, args, buffer), &args[1]); /* never encoded */
    map->made_for = tr__descriptor_print(&made.record->params[1]);
    assert_null(tr__pack_store(made.pack, args, buffer));
    struct encoded *encoded = (struct encoded *)buffer;
    assert_memory_equal(encoded->map, map->encoded, 128);
    assert_true(encoded->n == 5 && encoded->shape[0] == 7 && encoded->shape[1] == 9 && encoded->last == 3);
    assert_true(encoded->strides[0] == 128 && encoded->strides[1] == 1 && !encoded->hidden);
    discard(&made);

    made = make_descriptor(true, 0, (tr__layout){128, 0});
    assert_int_equal(made.pack->places[1].offset, 128);
    discard(&made);

    /* As ptxas lays them out for sm_90, where the parameters begin at 0x210 of the constant bank. */
    made = make_descriptor(true, 0, (tr__layout){64, TR__LEAD_SM90});
    assert_int_equal(made.pack->places[0].offset, 0);
    assert_int_equal(made.pack->places[1].offset, 48);
    assert_int_equal(made.pack->places[2].offset, 48 + 128 + 8 + 16);
    discard(&made);
    made = make_descriptor(true, 0, (tr__layout){128, TR__LEAD_SM90});
    assert_int_equal(made.pack->places[1].offset, 112);
    discard(&made);

    made = make_descriptor(false, 2, (tr__layout){64, 0});
    assert_int_equal(made.pack->size, sizeof(struct plain));
    assert_ptr_equal(tr__pack_store(made.pack, args, buffer), &args[1]); /* encoded for another */
    map->made_for = tr__descriptor_print(&made.record->params[1]);
    assert_null(tr__pack_store(made.pack, args, buffer));
    struct plain *plain = (struct plain *)buffer;
    assert_true(plain->p == (void *)0xabc0 && plain->shape[0] == 7 && plain->shape[1] == 9 &&
                plain->last == 3);
    assert_true(plain->strides[0] == 128 && plain->strides[1] == 1 && !plain->flags[0] &&
                plain->flags[1] == 1);
    assert_true(plain->shape32[0] == 7 && plain->shape32[1] == 9 && plain->strides2[0] == 128 &&
                plain->strides2[1] == 1);
    tr_arg none = {.type = TR_TYPE_TENSOR_MAP};
    args[1] = none;
    assert_ptr_equal(tr__pack_store(made.pack, args, buffer), &args[1]);
    discard(&made);
}

static void test_words(void **state) {
    fixture made = make("*fp16:16, i32, fp16", 0);
    assert_true(tr__record_set_text(&made.record->params[1].name, "n_elements"));
    static const struct {
        size_t index;
        tr_arg argument;
        const char *message;
    } cases[] = {
        {0,
         {TR_TYPE_PTR, 0, {.ptr = 0x1008}},
         "argument 0 of 'k' was promised to be a multiple of 16 when the kernel was compiled, but pointer "
         "0x1008 was "
         "given; compile it without that promise for such values"},
        {1,
         {TR_TYPE_I64, 0, {.i = 1ll << 40}},
         "argument 1 'n_elements' of 'k' takes i32, -2147483648 to 2147483647, but i64 1099511627776 was "
         "given"},
        {1, {TR_TYPE_F32, 0, {.f = 0.5}}, "argument 1 'n_elements' of 'k' takes i32, but fp32 0.5 was given"},
        {2,
         {TR_TYPE_F64, 0, {.f = 65520}},
         "argument 2 of 'k' takes fp16, a finite value of magnitude up to 65504, but fp64 65520 was given"},
        {2, {99, 0, {.i = 0}}, "argument 2 of 'k' takes fp16, but type number 99 was given"},
        {1, {TR_TYPE_I32, 7, {.i = 0}}, "argument 1 'n_elements' of 'k': tr_arg.reserved is 7; it must be 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tr_error *error = NULL;
        assert_int_equal(tr__pack_refuse(made.pack, cases[i].index, &cases[i].argument, &error),
                         TR_E_SIGNATURE);
        assert_string_equal(tr_error_message(error), cases[i].message);
        tr_error_destroy(error);
    }
    tr_error *error = NULL;
    assert_int_equal(tr__pack_refuse_count(made.pack, 1, &error), TR_E_SIGNATURE);
    assert_string_equal(tr_error_message(error),
                        "'k' takes 3 arguments (pointer, n_elements: i32, fp16), but 1 was given");
    tr_error_destroy(error);
    discard(&made);
}

static void test_verify(void **state) {
    fixture made = make("*fp16:16, i32:16, i32", 0);
    int32_t words[5] = {0x100, 0, -32, 5};
    tr_error *error = NULL;
    assert_int_equal(tr__pack_verify(made.pack, (char *)words, &error), TR_OK);
    words[2] = -31;
    assert_int_equal(tr__pack_verify(made.pack, (char *)words, &error), TR_E_SIGNATURE);
    assert_non_null(strstr(tr_error_message(error), "argument 1 of 'k' was promised to be a multiple of 16"));
    tr_error_destroy(error);
    discard(&made);
}

static void test_too_large(void **state) {
    tr__record *record = tr__record_create();
    tr__param *params = calloc(4096, sizeof *params);
    for (int i = 0; i < 4096; i++) params[i].type = TR_TYPE_I64, params[i].divisibility = 1;
    tr__record_set_text(&record->kernel, "k");
    assert_int_equal(tr__record_set_params(record, params, 4096, NULL), TR_OK);
    tr__pack *pack;
    assert_int_equal(tr__pack_create(record, (tr__layout){64, 0}, &pack, NULL), TR_E_RESOURCE);
    assert_null(pack);
    tr__record_release(record);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),    cmocka_unit_test(test_nothing_to_pass),
        cmocka_unit_test(test_integers),  cmocka_unit_test(test_promises),
        cmocka_unit_test(test_floats),    cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_words),     cmocka_unit_test(test_verify),
        cmocka_unit_test(test_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
