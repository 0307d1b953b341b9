#include "compilers/compiler.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

uint32_t tr__ptx_newest(uint32_t release) {
    uint32_t major = release / 100, minor = release % 100;
    if (major >= 13) return 90 + (major - 13) * 10 + minor;
    if (major == 12) return 80 + (minor < 6 ? minor : minor - 1);
    return major == 11 ? 70 + minor : 63 + minor;
}

/* Where the number behind `.version` is, which comes before anything but comments; NULL: there is none. */
static const char *find_version(const char *text, size_t *length) {
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *at = line + strspn(line, " \t");
        if (!strncmp(at, ".version", 8)) {
            at += 8;
            at += strspn(at, " \t");
            *length = strspn(at, "0123456789.");
            return at;
        }
        if (*at && strncmp(at, "//", 2) != 0 && !isspace((unsigned char)*at)) return NULL;
    }
    return NULL;
}

tr_status tr__ptx_readable(const tr__blob *source, uint32_t newest, tr__buffer *log, tr__blob **out,
                           tr_error **error) {
    unsigned major = 0, minor = 0;
    size_t length = 0;
    const char *number = find_version(source->data, &length);
    if (!number || sscanf(number, "%u.%u", &major, &minor) != 2 || major * 10 + minor <= newest) {
        *out = tr__blob_retain((tr__blob *)source);
        return TR_OK;
    }
    tr__buffer text = {0};
    size_t before = (size_t)(number - source->data);
    tr__buffer_append(&text, source->data, before);
    tr__buffer_printf(&text, "%u.%u", newest / 10, newest % 10);
    tr__buffer_append(&text, number + length, source->size - before - length);
    tr__buffer_printf(log, "PTX .version %u.%u is read as %u.%u, the newest this compiler knows\n", major,
                      minor, newest / 10, newest % 10);
    *out = text.failed ? NULL : tr__blob_create(text.data, text.size);
    tr__buffer_release(&text);
    return *out ? TR_OK : tr__fail_out_of_memory(error);
}
