/* The record inside a stage's bytes.

     text    "\n" comment " triton-runner-record: " JSON "\n": one line, put last, found anywhere
     image   "\ntriton-runner-record: " JSON, then 32 bytes: the JSON's size and XXH3 (64 bits each, little-endian)
             and the first 16 of "triton-runner-end"; all behind the ELF image, where no reader of ELF looks */
#include "base/elf.h"
#include "base/hash.h"
#include "metadata/record.h"

#include <stdlib.h>
#include <string.h>

static const char mark[] = "triton-runner-record: ";
static const char end_mark[16] = {'t', 'r', 'i', 't', 'o', 'n', '-', 'r',
                                  'u', 'n', 'n', 'e', 'r', '-', 'e', 'n'};
enum { MARK = sizeof mark - 1, TAIL = 32 };

static const char *comment_of(tr_stage stage) {
    return stage == TR_STAGE_PYTHON ? "#" : stage == TR_STAGE_LLIR ? ";" : "//";
}

static void put_u64(unsigned char *out, uint64_t value) {
    for (int i = 0; i < 8; i++) out[i] = (unsigned char)(value >> 8 * i);
}

tr_status tr__record_embed(const char *json, tr_stage stage, tr__buffer *bytes, tr_error **error) {
    size_t size = strlen(json);
    if (stage == TR_STAGE_CUBIN) {
        unsigned char tail[TAIL];
        put_u64(tail, size);
        put_u64(tail + 8, tr__hash_bytes(json, size).low);
        memcpy(tail + 16, end_mark, sizeof end_mark);
        tr__buffer_printf(bytes, "\n%s", mark);
        tr__buffer_append(bytes, json, size);
        tr__buffer_append(bytes, tail, sizeof tail);
    } else {
        tr__buffer_printf(bytes, "\n%s %s", comment_of(stage), mark);
        tr__buffer_append(bytes, json, size);
        tr__buffer_puts(bytes, "\n");
    }
    return bytes->failed ? tr__fail_out_of_memory(error) : TR_OK;
}

static unsigned line_of(const char *data, const char *at) {
    unsigned line = 1;
    for (const char *c = data; (c = memchr(c, '\n', (size_t)(at - c))); c++) line++;
    return line;
}

static const char *back_over(const char *data, const char *at, const char *set) {
    while (at > data && strchr(set, at[-1]) && at[-1]) at--;
    return at;
}

/* The start of the line that holds the mark at `at`, if nothing but the comment's sign stands between; or
   NULL. */
static const char *record_line(const char *data, const char *at, const char *comment) {
    const char *sign = back_over(data, at, " \t");
    const char *text = back_over(data, sign, comment);
    if ((size_t)(sign - text) < strlen(comment)) return NULL;
    const char *start = back_over(data, text, " \t");
    return start == data || start[-1] == '\n' ? start : NULL;
}

static tr_status extract_text(const char *data, size_t size, tr_stage stage, const char *where,
                              tr__embedded *out, tr_error **error) {
    const char *end = data + size, *at = data, *found = NULL;
    while ((at = memmem(at, (size_t)(end - at), mark, MARK))) {
        const char *start = record_line(data, at, comment_of(stage));
        at += MARK;
        if (!start) continue;
        if (found)
            return tr__fail(error, TR_E_PARSE,
                            "%s:%u:1: a second embedded record; the first is in line %u: remove one", where,
                            line_of(data, start), line_of(data, found));
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *last = stop ? stop : end;
        while (last > at && (last[-1] == '\r' || last[-1] == ' ' || last[-1] == '\t')) last--;
        found = start;
        out->end = stop ? (size_t)(stop + 1 - data) : size;
        /* With the newline that embedding put there, unless that would join the lines before and behind. */
        bool alone = start > data && (out->end == size || start - 1 == data || start[-2] == '\n');
        out->begin = (size_t)(start - data) - alone;
        if (memchr(at, 0, (size_t)(last - at)))
            return tr__fail(error, TR_E_PARSE,
                            "%s:%u:1: the embedded record is damaged: a byte 0x00 is in it", where,
                            line_of(data, start));
        out->json = strndup(at, (size_t)(last - at));
        if (!out->json) return tr__fail_out_of_memory(error);
    }
    return TR_OK;
}

static tr_status extract_image(const char *data, size_t size, const char *where, tr__embedded *out,
                               tr_error **error) {
    tr__elf elf;
    if (tr__elf_open(data, size, where, &elf, NULL))
        return TR_OK; /* the stage's own reader says what is wrong */
    const char *begin = data + elf.end, *tail = data + size - TAIL;
    size_t behind = size - elf.end;
    if (!memmem(begin, behind, mark, MARK)) return TR_OK;
    const char *json = begin + 1 + MARK;
    bool whole = behind >= 1 + MARK + TAIL && !memcmp(begin + 1, mark, MARK) &&
                 !memcmp(tail + 16, end_mark, sizeof end_mark);
    uint64_t length = whole ? tr__elf_u64((const unsigned char *)tail) : 0;
    if (!whole || length != (uint64_t)(tail - json) ||
        tr__elf_u64((const unsigned char *)tail + 8) != tr__hash_bytes(json, length).low ||
        memchr(json, 0, length))
        return tr__fail(
            error, TR_E_PARSE,
            "%s: the record behind the ELF image (byte %zu) is damaged, or there are several: give the "
            "metadata in tr_load_options, or save the program again",
            where, elf.end);
    out->begin = elf.end;
    out->end = size;
    out->json = strndup(json, length);
    return out->json ? TR_OK : tr__fail_out_of_memory(error);
}

tr_status tr__record_extract(const char *data, size_t size, tr_stage stage, const char *where,
                             tr__embedded *out, tr_error **error) {
    *out = (tr__embedded){size, size, NULL};
    tr_status status = stage == TR_STAGE_CUBIN ? extract_image(data, size, where, out, error)
                                               : extract_text(data, size, stage, where, out, error);
    if (!status) return TR_OK;
    free(out->json);
    *out = (tr__embedded){size, size, NULL};
    return status;
}
