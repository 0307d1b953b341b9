/* A table of medians: printed, written as JSON, drawn as an SVG with a bar for each figure. */
#ifndef BENCH_CHART_H
#define BENCH_CHART_H

#include <stdbool.h>

enum { CHART_ROWS = 16, CHART_COLUMNS = 12 };

typedef struct chart {
    const char *title, *unit, *row_name;
    const char *machine; /* what it was measured on, and when */
    int rows, columns;
    const char *row[CHART_ROWS], *column[CHART_COLUMNS];
    double value[CHART_ROWS][CHART_COLUMNS]; /* 0: not measured */
    double ratio[CHART_ROWS][CHART_COLUMNS]; /* to the base; 0: of the values */
    int base, digits;                        /* the column that ratios are to; digits behind the point */
} chart;

void chart_print(const chart *chart);
bool chart_write_json(const chart *chart, const char *path);
bool chart_write_svg(const chart *chart, const char *path);

#endif
