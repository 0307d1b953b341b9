/* What is known of one kernel: the record that travels with a program through every stage. Immutable once it
   is shared; a change makes a copy. Triton's own JSON keys stay as they were found; what the library itself
   needs is read out of them once, into typed fields, and nowhere else. */
#ifndef TR_METADATA_RECORD_H
#define TR_METADATA_RECORD_H

#include "base/buffer.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

/* A tensor descriptor. From sm_90 on it is `encoded`: a CUtensorMap by value, made as Triton's
   "tensordesc_meta" says; below, it is passed as pointer, shape and strides. */
typedef struct tr__descriptor {
    bool encoded;
    uint32_t rank;
    uint32_t flags; /* not encoded: how many i1 follow the strides (none; padding; padding, round to tf32) */
    int64_t block[5]; /* elements; the metadata's block size where it tells one, else the type's */
    int32_t swizzle, element_size, element_type; /* as Triton writes them; element_size 0: not known */
    bool fp4_padded, im2col;
} tr__descriptor;

/* One argument that the caller passes. */
typedef struct tr__param {
    char *name;            /* NULL when unknown */
    tr_type type, element; /* TR_TYPE_TENSOR_MAP for a descriptor */
    uint32_t divisibility; /* the value is a multiple of it; 1: nothing promised */
    bool folded;           /* "== constant": checked, takes no bytes */
    int64_t constant;
    tr__descriptor descriptor;
} tr__param;

/* What one argument is in the kernel's own parameter list: usually itself; nothing when folded; for a descriptor
     encoded       TENSOR_MAP, rank × i32 shape, rank × i64 strides
     not encoded   PTR, rank × i64 shape, rank × i64 strides, flags × i1, rank × i32 shape, rank × i64 strides
   Returns how many types were written. */
enum { TR__EXPANSION_MAX = 1 + 4 * 5 + 2 };
uint32_t tr__param_expand(const tr__param *param, tr_type types[TR__EXPANSION_MAX]);

/* What Triton passes behind the caller's arguments, in order. */
typedef enum tr__hidden { TR__HIDDEN_GLOBAL_SCRATCH = 1, TR__HIDDEN_PROFILE_SCRATCH = 2 } tr__hidden;
enum { TR__HIDDEN_MAX = 4 };

typedef struct tr__scratch {
    uint64_t size; /* bytes per CTA */
    uint32_t alignment;
} tr__scratch;

typedef struct tr__record {
    uint32_t references;
    char *kernel;         /* the entry's name in the IR */
    char *arch;           /* "sm_90"; NULL when unknown */
    char *triton_version; /* "3.4.0"; NULL when unknown */
    json_t *triton;       /* object: Triton's metadata, every key as found; never NULL */
    json_t *made_by;      /* object: stage name → maker ("triton 3.4.0", "ptxas 12.8.93") */
    json_t *options;      /* object: compile options asked for so far */
    json_t *locations;    /* array: of a ttir or ttgir, what its text cannot say; NULL: nothing */

    bool params_known;
    tr__param *params;
    size_t param_count;
    tr__hidden hidden[TR__HIDDEN_MAX];
    uint32_t hidden_count;
    bool hidden_known;

    bool resources_known; /* shared and scratch came from metadata, not from a default */
    uint32_t num_warps, num_ctas, cluster[3], shared, tensor_memory;
    uint32_t maxnreg; /* 0: none */
    bool cooperative, programmatic;
    tr__scratch global_scratch, profile_scratch;
    int64_t registers, spills, constant_bytes, local_bytes; /* -1: not known */
} tr__record;

/* An empty record (num_warps 4, num_ctas 1, nothing known); NULL out of memory. */
tr__record *tr__record_create(void);
tr__record *tr__record_copy(const tr__record *record);
tr__record *tr__record_retain(const tr__record *record);
void tr__record_release(tr__record *record);

/* Triton's metadata JSON, or a record as tr__record_write writes it, laid over `record`. `where` names it in
   messages. After a failure `record` may hold a part of it. */
tr_status tr__record_read(tr__record *record, const char *json, size_t size, const char *where,
                          tr_error **error);
tr_status tr__record_read_object(tr__record *record, const json_t *object, const char *where,
                                 tr_error **error);

/* What lies under "triton_runner", also what a compiler says beyond Triton's own keys (tr__compile_result.extra):
     "parameters"  what the caller passes, in order, tuples flattened; types as in signature.h:
                   [{"name": "x", "type": "*fp32", "divisibility": 16}, {"name": "n", "type": "i32", "constant": 1},
                    {"name": "d", "type": "tensordesc<fp16[64, 64]>", "flags": 1}, …]
                   "tensordesc<void[]>": a tensor map of which the text does not tell more
                   "constant": folded, still passed and checked
     "hidden"      ["global_scratch", "profile_scratch"]
     "arch"        "sm_90"
     "kernel"      the entry's name
     "made_by"     {"ttir": "triton 3.4.0", "cubin": "ptxas 12.8.93", …}
     "options"     {"num_warps": 8, …}
     "registers", "spills", "constant_bytes", "local_bytes"   integers
     "locations"   [["\"sums\"(\"k.py\":24:20)", …], …]: for each loop in a text of MLIR where its arguments come from, which
                   has no place there; with it the stages to come get the lines of source that they got in one go
   Every key may be absent; one it does not know is kept out. */
tr_status tr__record_read_extra(tr__record *record, const json_t *extra, const char *where, tr_error **error);

/* Triton's keys plus "triton_runner": one line of ASCII, keys sorted: equal records give equal bytes. */
tr_status tr__record_write(const tr__record *record, char **json, tr_error **error);

/* Changes of a record that nobody shares yet. set_params takes the array over, also when it fails. Descriptors are
   joined, "tensordesc_meta" to the parameters it is about, by each call above and by set_params. */
tr_status tr__record_set_params(tr__record *record, tr__param *params, size_t count, tr_error **error);
tr_status tr__record_join_descriptors(tr__record *record, const char *where, tr_error **error);
bool tr__record_set_text(char **field, const char *text); /* false: out of memory */
void tr__params_release(tr__param *params, size_t count);

/* metadata/embed.c: the record inside a stage's bytes: a comment behind a text, a trailer behind an ELF image. */
tr_status tr__record_embed(const char *json, tr_stage stage, tr__buffer *bytes, tr_error **error);

/* Where the record lies in `data`: the stage alone is what remains without [begin, end). Without one, *json
   is NULL and begin == end == size. Several, or one that was damaged: TR_E_PARSE. free() *json. */
typedef struct tr__embedded {
    size_t begin, end;
    char *json;
} tr__embedded;
tr_status tr__record_extract(const char *data, size_t size, tr_stage stage, const char *where,
                             tr__embedded *out, tr_error **error);

#endif
