/* The Tritons that a runner finds, for tests that run with each of them. */
#ifndef TESTS_TRITONS_H
#define TESTS_TRITONS_H

#include "triton_runner.h"

#include <jansson.h>

/* An array of objects with "version", and what else tr_runner_report tells of an installation; NULL on failure. The
   caller's to json_decref. */
static json_t *find_tritons(tr_runner *runner) {
    char *text;
    if (tr_runner_report(runner, TR_REPORT_DOCTOR, &text, NULL)) return NULL;
    json_t *report = json_loads(text, 0, NULL);
    json_t *list = json_incref(json_object_get(json_object_get(report, "triton"), "installations"));
    json_decref(report);
    tr_free(text);
    return list;
}

#endif
