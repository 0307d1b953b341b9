#include "compilers/llvm_address.h"

#include <stdbool.h>
#include <stdint.h>

enum { MAX_DEPTH = 6, MAX_WIDTH = 64 };

static unsigned width_of(LLVMValueRef value) {
    LLVMTypeRef type = LLVMTypeOf(value);
    if (LLVMGetTypeKind(type) != LLVMIntegerTypeKind) return 0;
    unsigned width = LLVMGetIntTypeWidth(type);
    return width <= MAX_WIDTH ? width : 0;
}

static uint64_t ones(unsigned count) {
    return count >= MAX_WIDTH ? UINT64_MAX : (1ull << count) - 1;
}

static bool is_constant(LLVMValueRef value, uint64_t *number) {
    if (!LLVMIsAConstantInt(value)) return false;
    *number = LLVMConstIntGetZExtValue(value);
    return true;
}

static uint64_t known_zeros(LLVMValueRef value, unsigned depth);

/* By a constant amount that is less than the width. */
static uint64_t zeros_of_shift(LLVMValueRef value, unsigned width, unsigned depth) {
    uint64_t amount, zeros = known_zeros(LLVMGetOperand(value, 0), depth + 1);
    if (!is_constant(LLVMGetOperand(value, 1), &amount) || amount >= width) return 0;
    if (LLVMGetInstructionOpcode(value) == LLVMShl)
        return (zeros << amount | ones((unsigned)amount)) & ones(width);
    return zeros >> amount | (ones(width) & ~(ones(width) >> amount));
}

/* Bits that are 0 whatever happens, of a value at most 64 bits wide. */
static uint64_t known_zeros(LLVMValueRef value, unsigned depth) {
    uint64_t number;
    unsigned width = width_of(value);
    if (!width || depth > MAX_DEPTH) return 0;
    if (is_constant(value, &number)) return ~number & ones(width);
    if (!LLVMIsAInstruction(value)) return 0;
    LLVMValueRef first = LLVMGetOperand(value, 0);
    switch (LLVMGetInstructionOpcode(value)) {
    case LLVMShl:
    case LLVMLShr: return zeros_of_shift(value, width, depth);
    case LLVMAnd: return known_zeros(first, depth + 1) | known_zeros(LLVMGetOperand(value, 1), depth + 1);
    case LLVMOr:
    case LLVMXor: return known_zeros(first, depth + 1) & known_zeros(LLVMGetOperand(value, 1), depth + 1);
    case LLVMSelect:
        return known_zeros(LLVMGetOperand(value, 1), depth + 1) &
               known_zeros(LLVMGetOperand(value, 2), depth + 1);
    case LLVMTrunc: return known_zeros(first, depth + 1) & ones(width);
    case LLVMZExt: {
        unsigned narrow = width_of(first);
        return narrow ? known_zeros(first, depth + 1) | (ones(width) & ~ones(narrow)) : 0;
    }
    default: return 0;
    }
}

static bool is_address(LLVMValueRef user) {
    return LLVMIsAInstruction(user) && LLVMGetInstructionOpcode(user) == LLVMGetElementPtr;
}

static bool is_used_by_address(LLVMValueRef value) {
    for (LLVMUseRef use = LLVMGetFirstUse(value); use; use = LLVMGetNextUse(use))
        if (is_address(LLVMGetUser(use))) return true;
    return false;
}

static void replace_in_addresses(LLVMValueRef value, LLVMValueRef by) {
    for (LLVMUseRef use = LLVMGetFirstUse(value), next; use; use = next) {
        next = LLVMGetNextUse(use);
        LLVMValueRef user = LLVMGetUser(use);
        for (int i = 0, count = is_address(user) ? LLVMGetNumOperands(user) : 0; i < count; i++)
            if (LLVMGetOperand(user, (unsigned)i) == value) LLVMSetOperand(user, (unsigned)i, by);
    }
}

static void split(LLVMBuilderRef builder, LLVMValueRef value) {
    uint64_t constant;
    if (LLVMGetInstructionOpcode(value) != LLVMXor || !width_of(value) ||
        !is_constant(LLVMGetOperand(value, 1), &constant) || !is_used_by_address(value))
        return;
    LLVMValueRef base = LLVMGetOperand(value, 0);
    uint64_t added = constant & known_zeros(base, 0);
    if (!added) return;
    LLVMTypeRef type = LLVMTypeOf(value);
    LLVMPositionBuilderBefore(builder, value);
    if (constant & ~added)
        base = LLVMBuildXor(builder, base, LLVMConstInt(type, constant & ~added, false), "");
    LLVMValueRef sum = LLVMBuildOr(builder, base, LLVMConstInt(type, added, false), "");
    if (LLVMIsAInstruction(sum)) LLVMSetIsDisjoint(sum, true);
    replace_in_addresses(value, sum);
    if (!LLVMGetFirstUse(value)) LLVMInstructionEraseFromParent(value);
}

void tr__llvm_split_addresses(LLVMContextRef context, LLVMValueRef function) {
    LLVMBuilderRef builder = LLVMCreateBuilderInContext(context);
    for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(function); block;
         block = LLVMGetNextBasicBlock(block))
        for (LLVMValueRef i = LLVMGetFirstInstruction(block), next; i; i = next) {
            next = LLVMGetNextInstruction(i);
            split(builder, i);
        }
    LLVMDisposeBuilder(builder);
}
