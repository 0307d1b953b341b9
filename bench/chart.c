#include "chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double ratio(const chart *chart, int row, int column) {
    double measured = chart->ratio[row][column];
    return measured > 0 ? measured : chart->value[row][column] / chart->value[row][chart->base];
}

static int width_of_rows(const chart *chart) {
    size_t width = strlen(chart->row_name);
    for (int i = 0; i < chart->rows; i++)
        if (strlen(chart->row[i]) > width) width = strlen(chart->row[i]);
    return (int)width;
}

void chart_print(const chart *chart) {
    int width = width_of_rows(chart);
    printf("%s, %s (%s)\n%-*s", chart->title, chart->unit, chart->machine, width, chart->row_name);
    for (int k = 0; k < chart->columns; k++) printf("  %16s", chart->column[k]);
    printf("\n");
    for (int i = 0; i < chart->rows; i++) {
        printf("%-*s", width, chart->row[i]);
        for (int k = 0; k < chart->columns; k++) {
            if (chart->value[i][k] <= 0)
                printf("  %16s", "-");
            else if (isfinite(ratio(chart, i, k)))
                printf("  %8.*f (%5.3f)", chart->digits, chart->value[i][k], ratio(chart, i, k));
            else
                printf("  %16.*f", chart->digits, chart->value[i][k]);
        }
        printf("\n");
    }
}

bool chart_write_json(const chart *chart, const char *path) {
    FILE *file = fopen(path, "we");
    if (!file) return false;
    fprintf(file, "{\"title\": \"%s\", \"unit\": \"%s\", \"machine\": \"%s\", \"base\": \"%s\", \"rows\": [",
            chart->title, chart->unit, chart->machine, chart->column[chart->base]);
    for (int i = 0; i < chart->rows; i++) {
        fprintf(file, "%s\n  {\"%s\": \"%s\"", i ? "," : "", chart->row_name, chart->row[i]);
        for (int k = 0; k < chart->columns; k++) {
            if (chart->value[i][k] <= 0) continue;
            fprintf(file, ", \"%s\": %.*f", chart->column[k], chart->digits + 1, chart->value[i][k]);
            if (k != chart->base && isfinite(ratio(chart, i, k)))
                fprintf(file, ", \"%s, ratio\": %.4f", chart->column[k], ratio(chart, i, k));
        }
        fprintf(file, "}");
    }
    fprintf(file, "\n]}\n");
    return !fclose(file);
}

bool chart_write_svg(const chart *chart, const char *path) {
    static const char *const colours[CHART_COLUMNS] = {"#888", "#2a6", "#26a", "#a62", "#a26", "#662",
                                                       "#266", "#626", "#48c", "#c84", "#8a4", "#444"};
    enum { LEFT = 16, WIDTH = 560, RIGHT = 200, BAR = 16, GAP = 8, TOP = 36 };
    double most = 0;
    int bars = 0;
    for (int i = 0; i < chart->rows; i++) {
        for (int k = 0; k < chart->columns; k++) {
            most = fmax(most, chart->value[i][k]);
            bars += chart->value[i][k] > 0;
        }
    }
    FILE *file = fopen(path, "we");
    if (!file) return false;
    int height = TOP + (bars + chart->rows) * BAR + chart->rows * GAP + GAP, y = TOP;
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" "
            "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
            "<text x=\"8\" y=\"20\" font-size=\"14\">%s, %s, by %s (%s)</text>\n",
            LEFT + WIDTH + RIGHT, height, chart->title, chart->unit, chart->row_name, chart->machine);
    for (int i = 0; i < chart->rows; i++, y += GAP) {
        fprintf(file, "<text x=\"8\" y=\"%d\" font-weight=\"bold\">%s</text>\n", y + BAR - 4, chart->row[i]);
        y += BAR;
        for (int k = 0; k < chart->columns; k++) {
            if (chart->value[i][k] <= 0) continue;
            double width = chart->value[i][k] / most * WIDTH;
            fprintf(file,
                    "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>"
                    "<text x=\"%.1f\" y=\"%d\">%s %.*f</text>\n",
                    LEFT, y, width, BAR - 2, colours[k], LEFT + width + 6, y + BAR - 4, chart->column[k],
                    chart->digits, chart->value[i][k]);
            y += BAR;
        }
    }
    fprintf(file, "</svg>\n");
    return !fclose(file);
}
