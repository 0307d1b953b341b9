#include "chart.h"

#include <stdio.h>

/* Ratios are to the first column. */
void chart_print(const chart *chart) {
    printf("%s, %s (%s)\n%-12s", chart->title, chart->unit, chart->machine, chart->row_name);
    for (int k = 0; k < chart->columns; k++) printf(" %18s", chart->column[k]);
    printf("\n");
    for (int i = 0; i < chart->rows; i++) {
        printf("%-12s", chart->row[i]);
        for (int k = 0; k < chart->columns; k++)
            printf(" %10.0f (%5.3f)", chart->value[i][k], chart->value[i][k] / chart->value[i][0]);
        printf("\n");
    }
}

bool chart_write_json(const chart *chart, const char *path) {
    FILE *file = fopen(path, "we");
    if (!file) return false;
    fprintf(file, "{\"title\": \"%s\", \"unit\": \"%s\", \"machine\": \"%s\", \"rows\": [", chart->title,
            chart->unit, chart->machine);
    for (int i = 0; i < chart->rows; i++) {
        fprintf(file, "%s\n  {\"%s\": \"%s\"", i ? "," : "", chart->row_name, chart->row[i]);
        for (int k = 0; k < chart->columns; k++)
            fprintf(file, ", \"%s\": %.1f", chart->column[k], chart->value[i][k]);
        fprintf(file, "}");
    }
    fprintf(file, "\n]}\n");
    return !fclose(file);
}

bool chart_write_svg(const chart *chart, const char *path) {
    static const char *const colours[CHART_COLUMNS] = {"#888", "#2a6", "#26a", "#a62",
                                                       "#a26", "#662", "#266", "#626"};
    enum { LEFT = 120, WIDTH = 520, BAR = 16, GAP = 14, TOP = 44 };
    double most = 1;
    for (int i = 0; i < chart->rows; i++)
        for (int k = 0; k < chart->columns; k++) most = chart->value[i][k] > most ? chart->value[i][k] : most;
    FILE *file = fopen(path, "we");
    if (!file) return false;
    int height = TOP + chart->rows * (chart->columns * BAR + GAP) + GAP, y = TOP;
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" "
            "font-size=\"12\">\n<text x=\"8\" y=\"20\" font-size=\"14\">%s, %s (%s)</text>\n",
            LEFT + WIDTH + 200, height, chart->title, chart->unit, chart->machine);
    for (int i = 0; i < chart->rows; i++, y += GAP) {
        fprintf(file, "<text x=\"8\" y=\"%d\">%s %s</text>\n", y + BAR - 4, chart->row[i], chart->row_name);
        for (int k = 0; k < chart->columns; k++, y += BAR) {
            double width = chart->value[i][k] / most * WIDTH;
            fprintf(file,
                    "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>"
                    "<text x=\"%.1f\" y=\"%d\">%s %.0f</text>\n",
                    LEFT, y, width, BAR - 2, colours[k], LEFT + width + 6, y + BAR - 4, chart->column[k],
                    chart->value[i][k]);
        }
    }
    fprintf(file, "</svg>\n");
    return !fclose(file);
}
