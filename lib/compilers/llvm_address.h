/* Addresses with a constant part that ptxas can put into the load or store itself. LLVM 23 and later, which Triton 3.7
   uses, take it out of an `xor` too; for earlier ones the `xor` is rewritten as something they see through. */
#ifndef TR_COMPILERS_LLVM_ADDRESS_H
#define TR_COMPILERS_LLVM_ADDRESS_H

#include <llvm-c/Core.h>

/* In each address of the function, `xor %base, C` becomes `or disjoint (xor %base, C & ~Z), C & Z`, where Z are the
   bits that %base is known not to have. */
void tr__llvm_split_addresses(LLVMContextRef context, LLVMValueRef function);

#endif
