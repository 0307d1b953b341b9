/* The packed parameter buffer of one kernel: laid out once, then only stored into.

       pack.c    offsets by libffi, compared with the driver's; what a buffer packed elsewhere must keep
       store.c   arguments → buffer: conversions, ranges, promises, and the words for what does not fit */
#ifndef TR_LAUNCH_PACK_H
#define TR_LAUNCH_PACK_H

#include "driver/driver.h"
#include "metadata/record.h"

/* What every launch runs through lies together, apart from what refuses it: between two launches the driver takes the
   caches for itself, and each line of code that must come back costs as much as ten instructions. */
#define TR__HOT __attribute__((hot))

typedef struct tr__pack tr__pack;
typedef struct tr__slot tr__slot;

/* Stores one argument and goes on to the next: every store ends in a call of the next slot's, which the compiler turns
   into a jump, so that a launch runs through its arguments without a loop, a table or a branch it can't predict. The
   last slot's, behind the arguments, clears the hidden tail. Returns NULL, or the argument that does not fit. */
typedef const tr_arg *tr__store(const tr_arg *argument, const tr__slot *slot, char *buffer,
                                const tr__pack *pack);

struct tr__slot {
    tr__store *store;
    uint32_t mask; /* bits that must be 0: a promised divisibility */
    uint32_t offset;
};

/* From a tr_tensor_map into the buffer; neighbours are merged. */
typedef struct tr__piece {
    uint16_t from, to, size;
} tr__piece;

typedef struct tr__place { /* where one argument lies; size 0: folded */
    uint32_t offset, size, alignment;
    uint32_t first_piece, piece_count;
    uint64_t made_for; /* what a tensor map must have been encoded for */
} tr__place;

typedef struct tr__element { /* one parameter as the kernel itself counts them */
    uint32_t offset, size, alignment;
} tr__element;

typedef struct tr__promise { /* what a buffer packed elsewhere must keep */
    uint32_t offset, mask;   /* of the 4 bytes at `offset`, these bits are 0 */
    uint32_t index;
} tr__promise;

enum { TR__PACKED_MAX = 32764 }; /* bytes of parameters that a kernel can have */

struct tr__pack {
    size_t size;           /* of the whole buffer, hidden tail included */
    const tr__slot *slots; /* count + 1 */
    size_t count;          /* arguments that the caller passes */
    uint32_t hidden_count;
    uint32_t hidden_offset[TR__HIDDEN_MAX];
    const tr__record *record; /* borrowed from the program */
    const tr__place *places;  /* count */
    const tr__piece *pieces;
    const tr__element *elements;
    const tr__promise *promises;
    uint32_t element_count, promise_count;
    bool has_maps;
};

/* Where tensor maps lie. They are aligned to 64 or 128 bytes, as the compiler had it, and not in the buffer but in the
   constant bank, in which the parameters begin at 0x210 on sm_90 and at 0x380 from sm_100 on: `lead` is what of the
   former is no multiple of the alignment, so the first place for a map is at 48 there. Nothing else is affected. */
typedef struct tr__layout {
    uint32_t map_alignment, lead;
} tr__layout;
enum { TR__LEAD_SM90 = 0x210 % 128 };

/* The record outlives the pack. */
tr_status tr__pack_create(const tr__record *record, tr__layout layout, tr__pack **out, tr_error **error);
void tr__pack_destroy(tr__pack *pack);

/* Compares with what the driver says of the function, where it can say it. */
tr_status tr__pack_compare(const tr__pack *pack, tr__driver *driver, CUfunction function, tr_error **error);

/* NULL, or the argument that does not fit; tr__pack_refuse then says why. The hidden tail is left as it is.
 */
static inline const tr_arg *tr__pack_store(const tr__pack *pack, const tr_arg *arguments, char *buffer) {
    return pack->slots->store(arguments, pack->slots, buffer, pack);
}
__attribute__((cold)) tr_status tr__pack_refuse(const tr__pack *pack, size_t index, const tr_arg *argument,
                                                tr_error **error);
__attribute__((cold)) tr_status tr__pack_refuse_count(const tr__pack *pack, size_t count, tr_error **error);

/* A buffer that was packed before: do the promises still hold? Four bytes behind it may be read. */
tr_status tr__pack_verify(const tr__pack *pack, const char *buffer, tr_error **error);

/* store.c */
tr__store *tr__store_for(const tr__param *param); /* the quickest that keeps all that was promised */
tr__store *tr__store_tail_for(uint32_t hidden_count);
const char *tr__type_name(tr_type type); /* "i32", "fp16", … */

#endif
