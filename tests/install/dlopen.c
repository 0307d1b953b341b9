/* A binding's way: the library opened at run time, twice under two names, as two versions in one process would be. */
#include <triton_runner.h>

#include <dlfcn.h>
#include <stdio.h>

typedef tr_status create(const tr_runner_options *, tr_runner **, tr_error **);
typedef void destroy(tr_runner *);

int main(int argc, char **argv) {
    tr_runner *runners[2];
    if (argc != 3) return 2;
    for (int i = 0; i < 2; i++) {
        void *library = dlopen(argv[i + 1], RTLD_NOW | RTLD_LOCAL);
        if (!library) return fprintf(stderr, "%s\n", dlerror()), 1;
        create *make = (create *)(uintptr_t)dlsym(library, "tr_runner_create");
        destroy *drop = (destroy *)(uintptr_t)dlsym(library, "tr_runner_destroy");
        tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
        options.device = "cpu";
        if (!make || !drop || make(&options, &runners[i], NULL)) return 1;
        if (i == 1) drop(runners[1]);
    }
    puts("opened twice");
    return 0;
}
