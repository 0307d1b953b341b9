/* The options that compile and run share: how a file is loaded and how it is compiled. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "argument.h"
#include "command.h"

#include <argp.h>
#include <jansson.h>

typedef struct options {
    const char *file, *kernel, *signature, *metadata_file;
    tr_stage from;
    bool log;
    char *metadata;           /* the text of metadata_file */
    json_t *backend;          /* object: what --option gave */
    const char **environment; /* NULL-terminated; what --env gave */
    size_t environment_count;
    tr_compile_options compile;
} options;

extern const struct argp options_argp; /* a child parser; its input is an `options` */

/* What argp's children can't do by themselves: the JSON of the backend options, the file of the metadata.
   0, or an exit status after a message. */
int options_finish(options *options);
void options_release(options *options);

/* Loads the file; on failure says why. */
int options_load(const options *options, tr_runner *runner, tr_program **out);

/* With compile's options as far as PTX, which every device takes; to a cubin only when an assembler was asked for. An
   exit status. */
int options_prepare(options *options, tr_program **program);

/* An argument's device copy into its file, if it has one. An exit status. */
int options_bring_back(argument *argument, tr_runner *runner, uint64_t memory);

/* What the runner and the CPU device counted, as tables or as JSON. An exit status. */
int options_print_counters(tr_runner *runner, bool as_json);

/* Shows stages as they are reached, on a terminal only. Sets progress in `compile`. */
void options_show_progress(options *options);
void options_hide_progress(void);

#endif
