/* Text of newer LLVMs made readable for this one: since Triton 3.8
   floating-point literals are written in ways that LLVM 22 refuses. */
#ifndef TR_COMPILERS_LLVM_LITERALS_H
#define TR_COMPILERS_LLVM_LITERALS_H

#include "base/buffer.h"

#include <stdint.h>

typedef struct tr__llvm_position {
    uint32_t line, column; /* from 1 */
} tr__llvm_position;

/* Appends `text` with its literals rewritten; a text without new ones comes out as it was but for the
   spelling of float, half and bfloat numbers. Lines stay where they are. False when brackets nest deeper than
   any real program's, which would exhaust the stack of LLVM's parser; *where is then the place. */
bool tr__llvm_rewrite_literals(const char *text, size_t size, tr__buffer *out, tr__llvm_position *where);

#endif
