/* What went wrong, where: the first fault of a launch stops it and is told. */
#include "machine/checks.h"
#include "machine/warp.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CUDA_ILLEGAL_ADDRESS = 700, CUDA_MISALIGNED_ADDRESS = 716, CUDA_INVALID_ADDRESS_SPACE = 717 };

/* On one line, without runs of white space. */
static void copy_text(char *out, size_t room, trcpu_text text) {
    size_t n = 0;
    for (uint32_t i = 0; i < text.size && n + 1 < room; i++) {
        char c = text.at[i] == '\n' || text.at[i] == '\t' || text.at[i] == '\r' ? ' ' : text.at[i];
        if (c == ' ' && (n == 0 || out[n - 1] == ' ')) continue;
        out[n++] = c;
    }
    out[n] = 0;
}

static void locate(trcpu_fault *fault, const trcpu_function *function, const trcpu_insn *insn) {
    const trcpu_ptx *ptx = function->module->ptx;
    const trcpu_statement *statement = function->sources[insn - function->code].statement;
    if (!statement) return;
    const trcpu_location *location = &ptx->locations[statement->location];
    fault->ptx_line = statement->line;
    fault->line = location->line;
    copy_text(fault->instruction, sizeof fault->instruction, statement->text);
    if (location->line && location->file < ptx->file_count)
        copy_text(fault->file, sizeof fault->file, ptx->files[location->file]);
}

/* The calls that brought inlined code here, innermost first; "" when it is the kernel's own. */
static void inlined_at(char *out, size_t room, const trcpu_function *function, const trcpu_insn *insn) {
    const trcpu_ptx *ptx = function->module->ptx;
    const trcpu_statement *statement = function->sources[insn - function->code].statement;
    out[0] = 0;
    if (!statement) return;
    const trcpu_location *location = &ptx->locations[statement->location];
    if (location->inlined_line && location->inlined_file < ptx->file_count) {
        trcpu_text file = ptx->files[location->inlined_file];
        snprintf(out, room, ", called from %.*s:%u", (int)file.size, file.at, location->inlined_line);
        return;
    }
    size_t n = 0;
    for (uint32_t i = 0; i < location->calls.size && n < room;) {
        const char *at = location->calls.at + i;
        uint32_t size = 0, left = location->calls.size - i; /* file:line:column */
        while (size < left && !strchr(" @[]", at[size])) size++;
        const char *column = memrchr(at, ':', size);
        if (column) n += (size_t)snprintf(out + n, room - n, ", called from %.*s", (int)(column - at), at);
        i += size + 1;
    }
}

const trcpu_insn *trcpu_fault_report(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, int result,
                                     const char *kind, const char *format, ...) {
    trcpu_run *run = warp->launch;
    warp->state = TRCPU_WARP_FAULTED;
    /* what follows from data that nobody has written is not the fault to report */
    if (warp->shadow && strcmp(kind, "race-shared") != 0 &&
        trcpu_shadow_settle(warp->shadow, warp->cta->warps))
        return TRCPU_LEAVE;
    pthread_mutex_lock(&run->lock);
    if (!atomic_load(&run->stopped)) {
        trcpu_fault *fault = run->fault;
        const uint32_t *block = run->launch->block;
        uint64_t address = fault->address;
        memset(fault, 0, sizeof *fault);
        fault->address = address;
        fault->result = result;
        snprintf(fault->kind, sizeof fault->kind, "%s", kind);
        snprintf(fault->kernel, sizeof fault->kernel, "%s", run->function->name);
        locate(fault, run->function, insn);
        memcpy(fault->cta, warp->cta->index, sizeof fault->cta);
        fault->warp = warp->index;
        fault->lane = lane;
        uint32_t thread = warp->index * 32 + lane;
        fault->thread[0] = thread % block[0];
        fault->thread[1] = thread / block[0] % block[1];
        fault->thread[2] = thread / block[0] / block[1];
        char what[512], from[300];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(what, sizeof what, format, arguments);
        va_end(arguments);
        inlined_at(from, sizeof from, run->function, insn);
        int n = snprintf(fault->message, sizeof fault->message,
                         "%s: %s\n  in kernel %s at %s:%u%s\n  PTX line %u: %s\n  CTA (%u, %u, %u), thread "
                         "(%u, %u, %u), warp %u, lane %u",
                         kind, what, fault->kernel, fault->line ? fault->file : "?", fault->line, from,
                         fault->ptx_line, fault->instruction, fault->cta[0], fault->cta[1], fault->cta[2],
                         fault->thread[0], fault->thread[1], fault->thread[2], fault->warp, fault->lane);
        if (n < 0) fault->message[0] = 0;
        atomic_store(&run->stopped, true);
    }
    pthread_mutex_unlock(&run->lock);
    return TRCPU_LEAVE;
}

void trcpu_fault_address(trcpu_warp *warp, uint64_t address) {
    trcpu_run *run = warp->launch;
    pthread_mutex_lock(&run->lock);
    if (!atomic_load(&run->stopped)) run->fault->address = address;
    pthread_mutex_unlock(&run->lock);
}

static const trcpu_insn *fault_of_global(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane,
                                         uint64_t address, uint32_t bytes, const char *verb) {
    trcpu_memory *memory = warp->launch->memory;
    unsigned long long at = address;
    trcpu_block block;
    bool any = trcpu_memory_nearest(memory, address, &block);
    unsigned long long base = any ? block.address : 0, size = any ? block.size : 0;
    bool inside = any && address >= block.address && address < block.address + block.size;
    if (address < 4096)
        return trcpu_fault_report(warp, insn, lane, CUDA_ILLEGAL_ADDRESS, "out-of-bounds",
                                  "%s of %u bytes at 0x%llx: a null pointer", verb, bytes, at);
    if (inside && block.state == TRCPU_BLOCK_FREED)
        return trcpu_fault_report(
            warp, insn, lane, CUDA_ILLEGAL_ADDRESS, "use-after-free",
            "%s of %u bytes at 0x%llx, %llu bytes into the allocation 0x%llx of %llu bytes, which was freed",
            verb, bytes, at, at - base, base, size);
    if (inside && block.read_only && address + bytes <= block.address + block.size)
        return trcpu_fault_report(warp, insn, lane, CUDA_ILLEGAL_ADDRESS, "read-only",
                                  "%s of %u bytes at 0x%llx, %llu bytes into constant data of %llu bytes",
                                  verb, bytes, at, at - base, size);
    if ((address & TRCPU_WINDOW_MASK) == 0 && !inside && warp->launch->checks & TRCPU_CHECK_HOST_POINTER)
        return trcpu_fault_report(warp, insn, lane, CUDA_ILLEGAL_ADDRESS, "host-pointer",
                                  "%s of %u bytes at 0x%llx, which is a host address: neither allocated on "
                                  "the device nor registered",
                                  verb, bytes, at);
    if (!any)
        return trcpu_fault_report(warp, insn, lane, CUDA_ILLEGAL_ADDRESS, "out-of-bounds",
                                  "%s of %u bytes at 0x%llx: nothing is allocated", verb, bytes, at);
    if (address >= block.address) {
        unsigned long long beyond = at + bytes - (base + size);
        return trcpu_fault_report(warp, insn, lane, CUDA_ILLEGAL_ADDRESS, "out-of-bounds",
                                  "%s of %u bytes at 0x%llx reaches %llu bytes past the end of the "
                                  "allocation 0x%llx of %llu bytes (offset %llu)",
                                  verb, bytes, at, beyond, base, size, at - base);
    }
    return trcpu_fault_report(
        warp, insn, lane, CUDA_ILLEGAL_ADDRESS, "out-of-bounds",
        "%s of %u bytes at 0x%llx, %llu bytes before the allocation 0x%llx of %llu bytes", verb, bytes, at,
        base - at, base, size);
}

const trcpu_insn *trcpu_fault_access(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane,
                                     uint64_t address, uint32_t bytes, trcpu_space space, bool write) {
    static const char *const names[] = {"generic", "global", "constant", "shared", "local", "parameter", ""};
    const char *verb = write ? "write" : "read";
    trcpu_fault_address(warp, address);
    if (space == TRCPU_SPACE_GENERIC) {
        uint64_t window = address & TRCPU_WINDOW_MASK;
        space = window == TRCPU_WINDOW_SHARED  ? TRCPU_SPACE_SHARED
                : window == TRCPU_WINDOW_LOCAL ? TRCPU_SPACE_LOCAL
                : window == TRCPU_WINDOW_PARAM ? TRCPU_SPACE_PARAM
                                               : TRCPU_SPACE_GLOBAL;
        if (space != TRCPU_SPACE_GLOBAL) address &= ~TRCPU_WINDOW_MASK;
    }
    uint32_t alignment = bytes ? bytes & -bytes : 1;
    if (address % alignment)
        return trcpu_fault_report(warp, insn, lane, CUDA_MISALIGNED_ADDRESS, "misaligned",
                                  "%s %s of %u bytes at 0x%llx, which is not a multiple of %u", names[space],
                                  verb, bytes, (unsigned long long)address, alignment);
    if (space == TRCPU_SPACE_GLOBAL || space == TRCPU_SPACE_CONST) {
        if ((address & TRCPU_WINDOW_MASK) > TRCPU_DEVICE)
            return trcpu_fault_report(warp, insn, lane, CUDA_INVALID_ADDRESS_SPACE, "out-of-bounds",
                                      "global %s of %u bytes at 0x%llx, which is no global address", verb,
                                      bytes, (unsigned long long)address);
        return fault_of_global(warp, insn, lane, address, bytes, verb);
    }
    uint32_t size = space == TRCPU_SPACE_SHARED  ? warp->shared_bytes
                    : space == TRCPU_SPACE_LOCAL ? warp->local_bytes
                                                 : warp->launch->function->info.parameter_bytes;
    return trcpu_fault_report(
        warp, insn, lane, CUDA_ILLEGAL_ADDRESS, "out-of-bounds",
        "%s %s of %u bytes at offset %lld, of %u bytes there are", names[space], verb, bytes,
        (long long)(space == TRCPU_SPACE_GLOBAL ? (int64_t)address : (int64_t)(int32_t)address), size);
}
