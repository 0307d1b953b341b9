/* Which checks run, by name. */
#include "machine/checks.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    uint32_t checks;
} names[] = {
    {"default", TRCPU_CHECK_DEFAULT},
    {"all", TRCPU_CHECK_ALL},
    {"none", 0},
    {"out-of-bounds", TRCPU_CHECK_OUT_OF_BOUNDS},
    {"use-after-free", TRCPU_CHECK_USE_AFTER_FREE},
    {"host-pointer", TRCPU_CHECK_HOST_POINTER},
    {"misaligned", TRCPU_CHECK_MISALIGNED},
    {"read-only", TRCPU_CHECK_READ_ONLY},
    {"uninitialised-shared", TRCPU_CHECK_UNINITIALISED_SHARED},
    {"race-shared", TRCPU_CHECK_RACE_SHARED},
    {"missing-wait", TRCPU_CHECK_MISSING_WAIT},
    {"barrier-divergence", TRCPU_CHECK_BARRIER_DIVERGENCE},
    {"deadlock", TRCPU_CHECK_DEADLOCK},
    {"infinite-loop", TRCPU_CHECK_INFINITE_LOOP},
    {"race-global", TRCPU_CHECK_RACE_GLOBAL},
    {"uninitialised-global", TRCPU_CHECK_UNINITIALISED_GLOBAL},
};
enum { NAME_COUNT = sizeof names / sizeof *names };

static bool find(const char *text, size_t size, uint32_t *checks) {
    for (size_t n = 0; n < NAME_COUNT; n++)
        if (strlen(names[n].name) == size && memcmp(names[n].name, text, size) == 0) {
            *checks = names[n].checks;
            return true;
        }
    return false;
}

uint32_t trcpu_checks_parse(const char *text, char *unknown, size_t unknown_size) {
    if (unknown_size) unknown[0] = 0;
    if (!text || !*text) return TRCPU_CHECK_DEFAULT;
    uint32_t checks = *text == '-' ? TRCPU_CHECK_DEFAULT : 0;
    while (*text) {
        size_t size = strcspn(text, ",");
        bool less = *text == '-';
        uint32_t found = 0;
        if (find(text + less, size - less, &found))
            checks = less ? checks & ~found : checks | found;
        else if (unknown_size && !unknown[0])
            snprintf(unknown, unknown_size, "%.*s", (int)size, text);
        text += size + (text[size] == ',');
    }
    return checks;
}

void trcpu_checks_list(char *out, size_t room) {
    size_t n = 0;
    for (size_t i = 0; i < NAME_COUNT && n < room; i++)
        n += (size_t)snprintf(out + n, room - n, "%s%s", i ? ", " : "", names[i].name);
}
