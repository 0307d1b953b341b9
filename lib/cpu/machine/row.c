/* Rows of the register file: taken, and those that hold the same for every warp. */
#include "machine/decoder.h"

#include <stdlib.h>
#include <string.h>

uint32_t trcpu_row_take(trcpu_decoder *d, uint32_t bytes) {
    uint32_t row = d->function->file_bytes;
    d->function->file_bytes += bytes == 0 ? 4 : bytes == 8 ? 256 : 128;
    return row;
}

/* ---- rows that hold the same for every warp ---- */
uint32_t trcpu_row_constant(trcpu_decoder *d, uint64_t value, uint32_t bytes) {
    trcpu_function *f = d->function;
    bytes = bytes == 8 ? 8 : 4;
    if (bytes == 4) value = (uint32_t)value;
    if (2 * (f->constant_count + 1) > d->constant_buckets) {
        uint32_t buckets = d->constant_buckets ? 2 * d->constant_buckets : 128;
        uint32_t *index = calloc(buckets, sizeof *index);
        if (!index) {
            trcpu_decoder_fail(d, TRCPU_OUT_OF_MEMORY, "out of memory");
            return 0;
        }
        for (uint32_t i = 0; i < f->constant_count; i++) {
            uint32_t at = (uint32_t)(f->constants[i].value * 0x9e3779b97f4a7c15u >> 33) & (buckets - 1);
            while (index[at]) at = (at + 1) & (buckets - 1);
            index[at] = i + 1;
        }
        free(d->constant_index);
        d->constant_index = index;
        d->constant_buckets = buckets;
    }
    uint32_t at = (uint32_t)(value * 0x9e3779b97f4a7c15u >> 33) & (d->constant_buckets - 1);
    for (; d->constant_index[at]; at = (at + 1) & (d->constant_buckets - 1)) {
        const trcpu_constant *c = &f->constants[d->constant_index[at] - 1];
        if (c->value == value && c->bytes == bytes) return c->row;
    }
    if (!trcpu_decoder_grow(d, &f->constants, &d->constant_room, f->constant_count + 1, sizeof *f->constants))
        return 0;
    d->constant_index[at] = f->constant_count + 1;
    uint32_t row = trcpu_row_take(d, bytes);
    f->constants[f->constant_count++] = (trcpu_constant){row, (uint8_t)bytes, value};
    return row;
}

static const char *const special_names[TRCPU_SPECIAL_COUNT] = {"tid.x",
                                                               "tid.y",
                                                               "tid.z",
                                                               "laneid",
                                                               "warpid",
                                                               "nwarpid",
                                                               "lanemask_eq",
                                                               "lanemask_lt",
                                                               "lanemask_le",
                                                               "lanemask_gt",
                                                               "lanemask_ge",
                                                               "ntid.x",
                                                               "ntid.y",
                                                               "ntid.z",
                                                               "nctaid.x",
                                                               "nctaid.y",
                                                               "nctaid.z",
                                                               "ctaid.x",
                                                               "ctaid.y",
                                                               "ctaid.z",
                                                               "smid",
                                                               "nsmid",
                                                               "gridid",
                                                               "clusterid.x",
                                                               "clusterid.y",
                                                               "clusterid.z",
                                                               "nclusterid.x",
                                                               "nclusterid.y",
                                                               "nclusterid.z",
                                                               "cluster_ctaid.x",
                                                               "cluster_ctaid.y",
                                                               "cluster_ctaid.z",
                                                               "cluster_nctaid.x",
                                                               "cluster_nctaid.y",
                                                               "cluster_nctaid.z",
                                                               "cluster_ctarank",
                                                               "cluster_nctarank",
                                                               "is_explicit_cluster",
                                                               "dynamic_smem_size",
                                                               "total_smem_size",
                                                               "clock",
                                                               "clock_hi",
                                                               "clock64",
                                                               "globaltimer",
                                                               "globaltimer_lo",
                                                               "globaltimer_hi"};

int trcpu_special_find(trcpu_text name) {
    if (name.size < 2 || name.at[0] != '%') return -1;
    trcpu_text rest = {name.at + 1, name.size - 1};
    for (int i = 0; i < TRCPU_SPECIAL_COUNT; i++)
        if (trcpu_text_is(rest, special_names[i])) return i;
    return -1;
}

uint32_t trcpu_special_bytes(uint32_t special) {
    return special == TRCPU_CLOCK64 || special == TRCPU_GLOBALTIMER || special == TRCPU_GRIDID ? 8 : 4;
}

uint32_t trcpu_row_special(trcpu_decoder *d, uint32_t special) {
    trcpu_function *f = d->function;
    uint32_t row = 0;
    for (uint32_t i = 0; i < f->special_count && !row; i++)
        if (f->specials[i].special == special) row = f->specials[i].row;
    if (!row) {
        if (!trcpu_decoder_grow(d, &f->specials, &d->special_room, f->special_count + 1, sizeof *f->specials))
            return 0;
        row = trcpu_row_take(d, trcpu_special_bytes(special));
        f->specials[f->special_count++] = (trcpu_row_use){row, special};
    }
    if (special >= TRCPU_CLOCK) { /* read anew each time */
        trcpu_insn *insn = trcpu_decoder_emit(d, trcpu_decoder_form(d, "%time"));
        if (insn) {
            insn->op[0] = row;
            insn->mode = (uint8_t)special;
        }
    }
    return row;
}
