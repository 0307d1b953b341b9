/* What the subcommands share: exit statuses, messages, the table of subcommands. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <triton_runner.h>

#include <stdbool.h>
#include <stdio.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* argv[0] is "triton-runner NAME", for usage messages. Each returns an exit status. */
int command_doctor(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_compile(int argc, char **argv);
int command_run(int argc, char **argv);
int command_cache(int argc, char **argv);

/* "triton-runner: …" on stderr; returns EXIT_FAILED. */
__attribute__((format(printf, 1, 2))) int fail(const char *format, ...);

/* Says what the error says: message, what the compiler printed (its end, or all with `whole_log`); destroys
 * it. */
int fail_with(tr_error *error, bool whole_log);

/* Bold and colours on a terminal, unless NO_COLOR is set; else "". */
const char *style(FILE *stream, const char *sequence);
#define STYLE_BOLD  "\033[1m"
#define STYLE_RED   "\033[31m"
#define STYLE_GREEN "\033[32m"
#define STYLE_DIM   "\033[2m"
#define STYLE_NONE  "\033[0m"

tr_stage stage_by_name(const char *name); /* -1: no such stage */
const char *stage_name(tr_stage stage);

#endif
