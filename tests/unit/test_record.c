/* metadata/record: Triton's JSON in and out, wrong types named, hostile values refused, copies independent.
 */
#include "metadata/record.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static tr_status read_text(const char *json, tr__record **out, tr_error **error) {
    *out = tr__record_create();
    return tr__record_read(*out, json, strlen(json), "k.json", error);
}

static void reads_what_triton_writes(void **state) {
    static const char json[] =
        "{\"hash\": \"ab\", \"target\": {\"backend\": \"cuda\", \"arch\": 90, \"warp_size\": 32}, "
        "\"num_warps\": 8,"
        " \"num_ctas\": 2, \"cluster_dims\": [2, 1, 1], \"maxnreg\": null, \"launch_pdl\": true, \"shared\": "
        "49176,"
        " \"tmem_size\": 0, \"global_scratch_size\": 384, \"global_scratch_align\": 128, "
        "\"tensordesc_meta\": [],"
        " \"triton_version\": \"3.4.0\", \"name\": \"mm\", \"extern_libs\": [[\"libdevice\", \"x\"]]}";
    tr__record *record;
    assert_int_equal(read_text(json, &record, NULL), TR_OK);
    assert_string_equal(record->kernel, "mm");
    assert_string_equal(record->arch, "sm_90");
    assert_string_equal(record->triton_version, "3.4.0");
    assert_int_equal(record->num_warps, 8);
    assert_int_equal(record->cluster[0], 2);
    assert_int_equal(record->shared, 49176);
    assert_true(record->resources_known && record->programmatic && !record->cooperative);
    assert_int_equal(record->global_scratch.alignment, 128);
    assert_int_equal(record->hidden_count, 1); /* a global scratch, no profile scratch: Triton 3.3 and 3.4 */
    assert_false(record->hidden_known);
    tr__record_release(record);
}

static void writes_what_it_reads(void **state) {
    static const char json[] =
        "{\"name\": \"k\", \"num_warps\": 4, \"shared\": 0, \"num_stages\": 3, \"other\": {\"b\": [1, 2.5], "
        "\"a\": \"\\u00e9\"},"
        " \"tensordesc_meta\": [{\"swizzle\": 3, \"elem_size\": 2, \"elem_type\": 6, \"block_size\": [64, "
        "32]}],"
        " \"triton_runner\": {\"record\": 1, \"parameters\": [{\"name\": \"x\", \"type\": \"*fp32\", "
        "\"divisibility\": 16},"
        " {\"name\": \"n\", \"type\": \"i32\", \"constant\": 1}, {\"name\": \"d\", \"type\": "
        "\"tensordesc<fp16[64, 64]>\"}],"
        " \"hidden\": [\"global_scratch\", \"profile_scratch\"], \"made_by\": {\"ttir\": \"triton 3.6.0\"},"
        " \"options\": {\"num_warps\": 4}, \"registers\": 26, \"arch\": \"sm_80\","
        " \"locations\": [[\"\\\"i\\\"(unknown)\", \"unknown\"], []]}}";
    tr__record *first, *second;
    char *once, *twice;
    assert_int_equal(read_text(json, &first, NULL), TR_OK);
    assert_int_equal(first->param_count, 3);
    assert_int_equal(first->params[0].divisibility, 16);
    assert_int_equal(first->params[0].element, TR_TYPE_F32);
    assert_true(first->params[1].folded && first->params[1].constant == 1);
    assert_true(first->params[2].descriptor.encoded);
    assert_int_equal(first->params[2].descriptor.block[1], 32); /* the metadata's block, not the type's */
    assert_int_equal(first->hidden_count, 2);
    tr__record *copy = tr__record_copy(first);
    assert_int_equal(tr__record_write(copy, &once, NULL), TR_OK);
    tr__record_release(first);
    tr__record_release(copy);
    assert_null(strchr(once, '\n'));
    assert_int_equal(read_text(once, &second, NULL), TR_OK);
    assert_int_equal(tr__record_write(second, &twice, NULL), TR_OK);
    assert_string_equal(once, twice);
    assert_non_null(strstr(once, "\"target\":{\"arch\":80,\"backend\":\"cuda\",\"warp_size\":32}"));
    assert_non_null(strstr(once, "\"locations\":[[\"\\\"i\\\"(unknown)\",\"unknown\"],[]]"));
    assert_non_null(strstr(once, "\"other\":{\"a\":\"\\u00E9\",\"b\":[1,2.5]}"));
    tr__record_release(second);
    free(once);
    free(twice);
}

static void names_what_is_wrong(void **state) {
    static const struct {
        const char *json, *message;
        tr_status status;
    } cases[] = {
        {"", "k.json:1:1: the text ends where a value was expected", TR_E_PARSE},
        {"{\"num_warps\": 4", "k.json:1:16: the text ends inside a value", TR_E_PARSE},
        {"[]", "expected an object of metadata, found a list", TR_E_PARSE},
        {"{\"num_warps\": \"4\"}",
         "k.json: key 'num_warps': expected an integer from 1 to 32, found a string \"4\"", TR_E_PARSE},
        {"{\"num_warps\": 4.0}", "key 'num_warps': expected an integer from 1 to 32, found a real number 4.0",
         TR_E_PARSE},
        {"{\"num_warps\": 0}", "found an integer 0", TR_E_PARSE},
        {"{\"num_warps\": 4, \"num_warps\": 8}", "k.json:1:29: a key that was there before", TR_E_PARSE},
        {"{\"shared\": -1}", "key 'shared': expected an integer from 0 to 2147483647", TR_E_PARSE},
        {"{\"shared\": 99999999999999999999}", "k.json:1:32: an integer beyond 64 bits", TR_E_PARSE},
        {"{\"shared\": {\"a\": 1}}",
         "key 'shared': expected an integer from 0 to 2147483647, found an object {\"a\":1}", TR_E_PARSE},
        {"{\"global_scratch_align\": 96}", "key 'global_scratch_align': expected a power of two", TR_E_PARSE},
        {"{\"launch_pdl\": 1}", "key 'launch_pdl': expected true or false, found an integer 1", TR_E_PARSE},
        {"{\"name\": 7}", "key 'name': expected a string", TR_E_PARSE},
        {"{\"name\": \"\"}", "key 'name': expected a string of 1 to 4096 bytes", TR_E_PARSE},
        {"{\"target\": \"cuda\"}", "key 'target': expected an object", TR_E_PARSE},
        {"{\"target\": {\"backend\": \"hip\", \"arch\": \"gfx942\"}}", "'hip' is not supported",
         TR_E_UNSUPPORTED},
        {"{\"target\": {\"backend\": \"cuda\", \"arch\": \"90\"}}", "key 'target.arch'", TR_E_PARSE},
        {"{\"cluster_dims\": [1, 1]}", "key 'cluster_dims': expected a list of three integers", TR_E_PARSE},
        {"{\"cluster_dims\": [1, 1, 1000]}", "three integers from 1 to 16", TR_E_PARSE},
        {"{\"tensordesc_meta\": {}}", "key 'tensordesc_meta': expected a list", TR_E_PARSE},
        {"{\"triton_runner\": []}", "key 'triton_runner': expected an object", TR_E_PARSE},
        {"{\"triton_runner\": {\"record\": 2}}", "format", TR_E_UNSUPPORTED},
        {"{\"triton_runner\": {\"parameters\": [{\"type\": \"float\"}]}}",
         "key 'parameters[0]': expected a type", TR_E_PARSE},
        {"{\"triton_runner\": {\"parameters\": [{\"type\": \"i32\", \"divisibility\": 3}]}}",
         "a power of two", TR_E_PARSE},
        {"{\"triton_runner\": {\"parameters\": [{\"type\": \"fp32\", \"constant\": 1}]}}",
         "an integer in \"constant\"", TR_E_PARSE},
        {"{\"triton_runner\": {\"hidden\": [\"scratch\"]}}", "key 'hidden'", TR_E_PARSE},
        {"{\"triton_runner\": {\"registers\": \"many\"}}", "key 'registers'", TR_E_PARSE},
        {"{\"triton_runner\": {\"locations\": {}}}", "key 'locations': expected a list of lists", TR_E_PARSE},
        {"{\"triton_runner\": {\"locations\": [\"unknown\"]}}", "key 'locations': expected a list of lists",
         TR_E_PARSE},
        {"{\"triton_runner\": {\"locations\": [[7]]}}", "key 'locations': expected a list of lists",
         TR_E_PARSE},
        {"{\"triton_runner\": {\"arch\": \"sm_05\"}}", "key 'arch': expected an architecture", TR_E_PARSE},
        {"{\"triton_runner\": {\"arch\": \"sm_19\"}}", "key 'arch': expected an architecture", TR_E_PARSE},
        {"{\"tensordesc_meta\": [{\"block_size\": [64]}], \"triton_runner\": {\"parameters\": [{\"type\": "
         "\"tensordesc<fp16[64]>\"}]}}",
         "key 'tensordesc_meta[0].elem_size'", TR_E_PARSE},
        {"{\"tensordesc_meta\": [], \"triton_runner\": {\"parameters\": [{\"type\": "
         "\"tensordesc<fp16[0]>\"}]}}",
         "key 'parameters[0]'", TR_E_PARSE},
        {"{\"tensordesc_meta\": [{}, {}], \"triton_runner\": {\"parameters\": []}}",
         "describes 2 tensor descriptors, but the kernel's parameters have 0", TR_E_PARSE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tr__record *record;
        tr_error *error = NULL;
        assert_int_equal(read_text(cases[i].json, &record, &error), cases[i].status);
        if (!strstr(tr_error_message(error), cases[i].message))
            fail_msg("case %zu: '%s' lacks '%s'", i, tr_error_message(error), cases[i].message);
        tr_error_destroy(error);
        tr__record_release(record);
    }
}

static void refuses_deep_nesting(void **state) {
    enum { DEEP = 100000 };
    char *json = malloc(2 * DEEP + 16);
    strcpy(json, "{\"a\":");
    memset(json + 5, '[', DEEP);
    memset(json + 5 + DEEP, ']', DEEP);
    strcpy(json + 5 + 2 * DEEP, "}");
    tr__record *record;
    assert_int_equal(read_text(json, &record, NULL), TR_E_PARSE);
    tr__record_release(record);
    free(json);
}

static void expands_descriptors(void **state) {
    tr_type types[TR__EXPANSION_MAX];
    tr__param param = {.type = TR_TYPE_TENSOR_MAP, .descriptor = {.encoded = true, .rank = 2}};
    const tr_type encoded[] = {TR_TYPE_TENSOR_MAP, TR_TYPE_I32, TR_TYPE_I32, TR_TYPE_I64, TR_TYPE_I64};
    assert_int_equal(tr__param_expand(&param, types), 5);
    assert_memory_equal(types, encoded, sizeof encoded);
    param.descriptor = (tr__descriptor){.rank = 1, .flags = 2};
    const tr_type plain[] = {TR_TYPE_PTR, TR_TYPE_I64, TR_TYPE_I64, TR_TYPE_I1,
                             TR_TYPE_I1,  TR_TYPE_I32, TR_TYPE_I64};
    assert_int_equal(tr__param_expand(&param, types), 7);
    assert_memory_equal(types, plain, sizeof plain);
    param = (tr__param){.type = TR_TYPE_I32, .folded = true};
    assert_int_equal(tr__param_expand(&param, types), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_triton_writes), cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(names_what_is_wrong),      cmocka_unit_test(refuses_deep_nesting),
        cmocka_unit_test(expands_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
