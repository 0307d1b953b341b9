/* Which checks run. */
#include "machine/checks.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    uint32_t checks;
} names[] = {{"default", TRCPU_CHECK_DEFAULT}, {"all", TRCPU_CHECK_ALL}, {"none", 0}};

uint32_t trcpu_checks_parse(const char *text, char *unknown, size_t unknown_size) {
    uint32_t checks = 0;
    if (unknown_size) unknown[0] = 0;
    if (!text || !*text) return TRCPU_CHECK_DEFAULT;
    while (*text) {
        size_t size = strcspn(text, ","), n = 0;
        while (n < sizeof names / sizeof *names &&
               (strlen(names[n].name) != size || memcmp(names[n].name, text, size)))
            n++;
        if (n < sizeof names / sizeof *names)
            checks |= names[n].checks;
        else if (unknown_size && !unknown[0])
            snprintf(unknown, unknown_size, "%.*s", (int)size, text);
        text += size + (text[size] == ',');
    }
    return checks;
}
