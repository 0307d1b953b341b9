/* What the benchmarks share: their options, the driver as a program without this library would use it, ways measured in
   turns, and bounds.

       bench bench = {0};
       bench_start(&bench, argc, argv);
       chart chart = {.title = "…", .unit = "ns", .row_name = "arguments", …};
       bench_measure(&bench, &chart, row, rounds, way, user);
       return bench_finish(&bench, &chart, 1);

   A program that measures needs no ways out: what fails ends it, with the reason. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "chart.h"
#include "driver/cuda_api.h"

#include <triton_runner.h>

typedef struct bench {
    const char *device, *json, *svg; /* --device cuda, --json FILE, --svg FILE */
    const char *python;              /* --python INTERPRETER: one with Triton and torch; "none" */
    int rounds;                      /* --rounds N; 0: as many as the program has */
    bool cpu; /* the CPU device: its times mean nothing beside a GPU's, so few rounds and no bounds */
    int arch; /* 90 */
    char machine[192];
    tr_runner *runner;
    CUcontext context; /* the primary one, current */
    CUstream stream;
    int over; /* bounds that were missed */
} bench;

/* The driver that the runner has opened. */
extern struct bench_driver {
#define CUDA_REQUIRED(name, symbol, since, parameters) CUresult(*name) parameters;
#define CUDA_OPTIONAL(name, symbol, since, parameters) CUresult(*name) parameters;
#include "driver/cuda_symbols.inc"
} cu;

void bench_parse(bench *bench, int argc, char **argv);
void bench_start(bench *bench, int argc, char **argv); /* parses, creates runner, context and stream */
/* What stands behind an option that only this program has; "" when it is not given. Before bench_parse. */
const char *bench_option(int argc, char **argv, const char *name);

__attribute__((noreturn, format(printf, 1, 2))) void bench_fail(const char *format, ...);
void bench_check(tr_status status, tr_error *error);
void bench_need(CUresult result, const char *what);
#define RUN(call)                                                                                            \
    do {                                                                                                     \
        tr_error *error = NULL;                                                                              \
        tr_status status_ = call;                                                                            \
        bench_check(status_, error);                                                                         \
    } while (0)
#define CU(call) bench_need(cu.call, #call)

double bench_now(void); /* ns */
double bench_median(double *values, int count);

/* A file beside the benchmarks' sources, in TR_BENCH_DIR if that is set: where the build was carried elsewhere. */
const char *bench_file(const char *name, char *path, size_t size);

/* One burst of a way, in the chart's unit; 0: it is not there. */
typedef double (*bench_way)(void *user, int way);
/* Fills a row: a column is a way. Each round takes every way once, another first each time and every second round
   backwards. The value is the median of the rounds, the ratio the median of the rounds' ratios to the chart's base. */
void bench_measure(const bench *bench, chart *chart, int row, int rounds, bench_way way, void *user);

/* Says whether got is within its bound, and remembers it if not. Nothing on the CPU device. */
enum { AT_MOST, AT_LEAST };
void bench_bound(bench *bench, const char *what, double got, int kind, double bound);

/* Prints, writes, frees; the exit status. */
int bench_finish(bench *bench, const chart *charts, int count);

#endif
