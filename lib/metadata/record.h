/* What is known of one kernel: the record that travels with a program through every stage. Immutable once it is
   shared; a change makes a copy. Triton's own JSON keys stay as they were found; what the library itself needs is
   read out of them once, into typed fields, and nowhere else. */
#ifndef TR_METADATA_RECORD_H
#define TR_METADATA_RECORD_H

#include "base/buffer.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

/* A tensor descriptor's expansion, as Triton's "tensordesc_meta" tells it (sm_90+); below sm_90 `encoded` is false
   and the descriptor is passed as pointer, shape and strides. */
typedef struct tr__descriptor {
    bool encoded;
    uint32_t rank;
    int64_t block[5];                            /* elements; the metadata's block size, not the type's */
    int32_t swizzle, element_size, element_type; /* as Triton writes them */
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

/* Triton's metadata JSON, or a record as tr__record_write writes it, into `record`. `where` names it in messages. */
tr_status tr__record_read(tr__record *record, const char *json, size_t size, const char *where, tr_error **error);
tr_status tr__record_read_object(tr__record *record, const json_t *object, const char *where, tr_error **error);

/* Triton's keys plus "triton_runner": one line, keys in a fixed order, so that equal records give equal bytes. */
tr_status tr__record_write(const tr__record *record, char **json, tr_error **error);

/* metadata/embed.c: the record inside a stage's bytes: a trailing comment in text, a trailer behind an ELF image. */
tr_status tr__record_embed(const char *json, tr_stage stage, tr__buffer *bytes, tr_error **error);
/* Where the record lies in `data`, if there is one: *stage_size is then the size of the stage alone. */
tr_status tr__record_extract(const char *data, size_t size, tr_stage stage, size_t *stage_size, char **json,
                             tr_error **error);

#endif
