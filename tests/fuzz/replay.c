/* A fuzzer without libFuzzer: runs it over the files of the folders given, and fails where it fails. */
#include "fuzz.h"

#include <dirent.h>

static bool replay(const char *folder, const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rbe");
    if (!file) return false;
    static uint8_t buffer[1 << 20];
    size_t size = fread(buffer, 1, sizeof buffer, file);
    fclose(file);
    uint8_t *data = malloc(size ? size : 1); /* of just this size, so that sanitizers see its end */
    if (!data) return false;
    memcpy(data, buffer, size);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return true;
}

int main(int count, char **arguments) {
    size_t files = 0;
    for (int i = 1; i < count; i++) {
        DIR *folder = opendir(arguments[i]);
        if (!folder) return perror(arguments[i]), 1;
        for (struct dirent *entry; (entry = readdir(folder));)
            if (entry->d_name[0] != '.') {
                if (!replay(arguments[i], entry->d_name)) return perror(entry->d_name), 1;
                files++;
            }
        closedir(folder);
    }
    printf("%zu files\n", files);
    return files ? 0 : 1;
}
