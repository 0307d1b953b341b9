/* The plugin libtriton_runner_llvm.so: llir → PTX by an LLVM that is linked into it and into nothing else.
   This table is all it exports. It knows nothing of the library: plain C types in, malloc'ed memory out. */
#ifndef TR_COMPILERS_LLVM_H
#define TR_COMPILERS_LLVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum tr__llvm_outcome {
    TR__LLVM_DONE,
    TR__LLVM_BAD_REQUEST, /* a processor or PTX version that this LLVM does not know */
    TR__LLVM_MALFORMED,   /* the text does not parse or verify */
    TR__LLVM_REFUSED,     /* code generation failed */
    TR__LLVM_OUT_OF_MEMORY
} tr__llvm_outcome;

typedef struct tr__llvm_request {
    const char *text; /* NUL-terminated behind size */
    size_t size;
    const char *name;     /* what diagnostics call the text */
    const char *arch;     /* "sm_90"; Triton's own suffix is added where none is given */
    uint32_t ptx_version; /* 87 for 8.7; 0: the least that suffices for the processor, and no less than 8.7 */
    bool fp_fusion;       /* a * b + c may become one instruction */
} tr__llvm_request;

typedef struct tr__llvm_result {
    char *ptx; /* NULL but after TR__LLVM_DONE */
    size_t ptx_size;
    char *message; /* one line, with name:line:column where LLVM tells it; NULL after TR__LLVM_DONE */
    char *log;     /* everything LLVM said; NULL: nothing */
} tr__llvm_result; /* free() each */

typedef struct tr__llvm_plugin {
    const char *version; /* of LLVM */
    tr__llvm_outcome (*compile)(const tr__llvm_request *request,
                                tr__llvm_result *result); /* from any thread */
} tr__llvm_plugin;

/* The name carries the version of this interface. */
#define TR__LLVM_PLUGIN_SYMBOL "tr_llvm_plugin_1"
extern const tr__llvm_plugin tr_llvm_plugin_1;

#endif
