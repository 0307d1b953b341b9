/* compilers/llvm_literals.c, against numbers rounded by other means. */
#include "compilers/llvm_literals.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static char *rewrite(const char *text) {
    tr__buffer out = {0};
    tr__llvm_position where;
    assert_true(tr__llvm_rewrite_literals(text, strlen(text), &out, &where));
    char *made = tr__buffer_take(&out);
    assert_non_null(made);
    return made;
}

static void check(const char *text, const char *expected) {
    char *made = rewrite(text);
    assert_string_equal(made, expected);
    free(made);
}

static void writes_what_earlier_llvms_read(void **state) {
    check("fadd float %1, f0x3FB8AA3B\n", "fadd float %1, 0x3FF7154760000000\n");
    check("fadd float f0x00000001, f0x80000000\n", "fadd float 0x36A0000000000000, 0x8000000000000000\n");
    check("float f0x7FC00001", "float 0x7FF8000020000000"); /* a NaN keeps its payload */
    check("double f0x3FF8000000000000, half f0x3C00, bfloat f0x3F80",
          "double 0x3FF8000000000000, half 0xH3C00, "
          "bfloat 0xR3F80");
    check("float 2.885390e+00", "float 0x4007154760000000");
    check("double 2.885390e+00", "double 2.885390e+00");
    check("float +inf, float -inf, half +inf, bfloat -inf, double -inf",
          "float 0x7FF0000000000000, float 0xFFF0000000000000, half 0xH7C00, bfloat 0xRFF80, double "
          "0xFFF0000000000000");
    check("float +qnan, half -qnan, double +nan(0x1), float +snan(0x5)",
          "float 0x7FF8000000000000, half 0xHFE00, double 0x7FF8000000000001, float 0x7FF00000A0000000");
    check("<2 x half> <half 1.5, half -0.0>", "<2 x half> <half 0xH3E00, half 0xH8000>");
}

static void rounds_to_nearest_even(void **state) {
    check("half 65504.0, half 65519.9, half 65520.0, half 1.0e9",
          "half 0xH7BFF, half 0xH7BFF, half 0xH7C00, half 0xH7C00");
    check("half 2049.0, half 2051.0", "half 0xH6800, half 0xH6802");
    check("half 5.960464477539063e-08, half 2.980232238769531e-08, half 2.99e-08, half 8.940696716308594e-08",
          "half 0xH0001, half 0xH0000, half 0xH0001, half 0xH0002");
    check("half 6.097555160522461e-05, half 6.1035e-05, half -1.0e-300",
          "half 0xH03FF, half 0xH0400, half 0xH8000");
    check("bfloat 1.00390625, bfloat 1.01171875, bfloat 3.4e38",
          "bfloat 0xR3F80, bfloat 0xR3F82, bfloat 0xR7F80");
    /* every float by way of bfloat's neighbour: the upper half of the float, rounded by adding half a unit */
    for (uint32_t bits = 0x00010001; bits < 0x7f000000; bits += 0x00f0f0f1) {
        float value;
        memcpy(&value, &bits, sizeof value);
        char text[64], expected[64];
        snprintf(text, sizeof text, "bfloat %.17e", (double)value);
        snprintf(expected, sizeof expected, "bfloat 0xR%04X", (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
        check(text, expected);
    }
}

static void leaves_the_rest_alone(void **state) {
    static const char *const texts[] = {
        "; float f0x3FB8AA3B 1.0\n",
        "call void asm sideeffect \"mov.f32 $0, 0f3F800000; // +inf 1.5\", \"r\"(float %x)\n",
        "%float.1 = add i32 %f0x10, -1\n@half.2.0 = global i32 7 ; +inf\n!1.5 = !{i32 2}\n",
        "float 0x3FF0000000000000, half 0xH3C00, i64 0x10",
        "1.5 +inf f0x00 on a line that names no type",
        "float\n1.5",
        "metadata !\"float 1.5\"",
        "attributes #0 = { \"target-features\"=\"+ptx87\" }",
        "@s = constant [4 x i8] c\"+inf\"",
        "getelementptr inbounds i8, ptr addrspace(3) @global_smem, i32 +16",
        ""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check(texts[i], texts[i]);
    check("float f0x",
          "float 0x0000000000000000"); /* malformed stays so or becomes zero, and never reads on */
    check("float +nan(", "float 0x7FF8000000000000");
    check("float \"1.5", "float \"1.5");
}

static void finds_what_nests_too_deep(void **state) {
    char text[1200] = "ab\n";
    memset(text + 3, '{', 1100);
    tr__buffer out = {0};
    tr__llvm_position where;
    assert_false(tr__llvm_rewrite_literals(text, strlen(text), &out, &where));
    assert_int_equal(where.line, 2);
    assert_int_equal(where.column, MAX_NESTING + 1);
    tr__buffer_release(&out);
    text[3 + MAX_NESTING] = '\0';
    assert_true(tr__llvm_rewrite_literals(text, strlen(text), &out, &where));
    tr__buffer_release(&out);
}

static void ignores_the_locale(void **state) {
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8") && !setlocale(LC_NUMERIC, "fr_FR.UTF-8")) skip();
    check("float 1.5", "float 0x3FF8000000000000");
    setlocale(LC_NUMERIC, "C");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_earlier_llvms_read),
        cmocka_unit_test(rounds_to_nearest_even),
        cmocka_unit_test(leaves_the_rest_alone),
        cmocka_unit_test(finds_what_nests_too_deep),
        cmocka_unit_test(ignores_the_locale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
