/* Signatures: what the arguments of a Python kernel are, in the order of its parameters. Triton's ahead-of-time syntax,
   extended:

     signature  = item { "," item }
     item       = type [":" number]     an argument the caller passes; ":16" promises that it is a multiple of 16,
                                        ":1" that it equals 1 (checked at launch, folded into the code)
                | literal               a tl.constexpr; the caller does not pass it
                | "(" signature ")"     a tuple of such; its leaves are the caller's arguments
     type       = scalar | "*" [scalar] | "*k" scalar
                | "tensordesc<" scalar "[" number { "," number } "]" [ "," anything ] ">"
     scalar     = i1 i8 i16 i32 i64 u1 u8 u16 u32 u64 fp16 bf16 fp32 fp64 fp8e4nv fp8e5 … (f16, f32, f64 too)
     literal    = None | True | False | number | 'text' | "text" | tl.<dtype> */
#ifndef TR_METADATA_SIGNATURE_H
#define TR_METADATA_SIGNATURE_H

#include "metadata/record.h"

typedef struct tr__signature {
    tr__param *params; /* what the caller passes, tuples flattened; names are NULL */
    uint32_t *items;   /* for each of them the top-level item it belongs to */
    size_t param_count;
    size_t item_count; /* top-level items, as many as the Python function has parameters */
    char *text;        /* the same signature in one spelling: a cache key */
} tr__signature;

/* TR_E_PARSE says "signature:1:14: …". */
tr_status tr__signature_parse(const char *text, tr__signature *out, tr_error **error);
void tr__signature_release(tr__signature *signature);

/* One type alone, as it stands in a record; *end is behind it. False when it is none. */
bool tr__type_parse(const char *text, const char **end, tr__param *out);
void tr__type_write(const tr__param *param, tr__buffer *out);
const char *tr__scalar_name(tr_type type); /* "fp32"; NULL when it has none */

#endif
