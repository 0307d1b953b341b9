/* The machine: global memory, PTX modules, and what executes them. It knows nothing of CUDA's handles (contexts,
   streams, events: driver/), and driver/ knows nothing of instructions. Results are CUresult values.

       ptx/      text → a parsed module: directives, parameters, instructions as written, source lines
       machine/  parsed → decoded (opcode, operands resolved); warps, CTAs, barriers, memory spaces; checks; counters
       driver/   the exported cu* functions, one file per noun

   A device owns one memory; a module is loaded for one memory, since its .global variables lie there. */
#ifndef TRCPU_MACHINE_H
#define TRCPU_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- global memory: an address space of its own, so that a host pointer used as a device pointer is caught ---- */
typedef struct trcpu_memory trcpu_memory;

trcpu_memory *trcpu_memory_create(uint64_t capacity); /* capacity: what the device says it has, in bytes */
void trcpu_memory_destroy(trcpu_memory *memory);
void trcpu_memory_info(trcpu_memory *memory, uint64_t *used, uint64_t *capacity);

/* Device addresses are never host addresses. 0 out of memory. Alignment 512, as cuMemAlloc; no two allocations
   touch: a guard lies between. */
uint64_t trcpu_memory_allocate(trcpu_memory *memory, uint64_t size);
int trcpu_memory_free(trcpu_memory *memory, uint64_t address); /* must be an allocation's base */

/* Before the first allocation: remember what these checks ask of global memory. Reads of what was never written are
   only found in memory that is watched; races also when a launch is the first to ask. False: no address space. */
bool trcpu_memory_watch(trcpu_memory *memory, uint32_t checks);

/* Host memory that kernels may reach (cuMemHostAlloc, cuMemHostRegister): device address == host address. */
int trcpu_memory_register(trcpu_memory *memory, void *host, uint64_t size);
int trcpu_memory_unregister(trcpu_memory *memory, void *host);

/* The host bytes behind [address, address + size), NULL when it is not all inside one live allocation. */
void *trcpu_memory_host(trcpu_memory *memory, uint64_t address, uint64_t size);
/* The allocation that holds `address`. */
bool trcpu_memory_find(trcpu_memory *memory, uint64_t address, uint64_t *base, uint64_t *size,
                       bool *registered);
/* A copy or fill by the driver wrote here: those bytes are initialised now. */
void trcpu_memory_wrote(trcpu_memory *memory, uint64_t address, uint64_t size);

/* ---- modules ---- */
typedef struct trcpu_module trcpu_module;
typedef struct trcpu_function trcpu_function;

/* Parses and decodes all of it. On failure *out is NULL, the CUresult says which kind (invalid PTX, unsupported
   instruction or version, no kernel image for a cubin) and `log` holds "line N: …" lines, as ptxas would print. */
int trcpu_module_load(trcpu_memory *memory, const char *ptx, size_t size, int arch, char *log,
                      size_t log_size, trcpu_module **out);
void trcpu_module_destroy(trcpu_module *module);
trcpu_function *trcpu_module_function(trcpu_module *module, const char *name);
size_t trcpu_module_function_count(const trcpu_module *module);
trcpu_function *trcpu_module_function_at(trcpu_module *module, size_t index);
bool trcpu_module_global(trcpu_module *module, const char *name, uint64_t *address, uint64_t *size);

typedef struct trcpu_parameter {
    uint32_t offset, size, alignment;
} trcpu_parameter;

typedef struct trcpu_function_info {
    const char *name;
    const trcpu_parameter *parameters;
    uint32_t parameter_count, parameter_bytes;
    uint32_t required_block[3], max_block[3]; /* .reqntid, .maxntid; 0: none */
    uint32_t required_cluster[3];             /* .reqnctapercluster; 0: none */
    uint32_t static_shared, local_bytes, constant_bytes, registers, max_threads;
    int ptx_version, target_arch; /* 84, 90 */
} trcpu_function_info;
const trcpu_function_info *trcpu_function_describe(const trcpu_function *function);

/* ---- execution ---- */
/* What a kernel did wrong. Text and place; filled once, by the first fault of a launch. */
typedef struct trcpu_fault {
    int result;    /* the CUresult the context is left with: CUDA_ERROR_ILLEGAL_ADDRESS, … */
    char kind[32]; /* "out-of-bounds", "use-after-free", "misaligned", "host-pointer", "race", … */
    char kernel[128];
    char file[256]; /* the Python source, by .loc */
    uint32_t line;  /* of the Python source */
    uint32_t ptx_line;
    char instruction[160]; /* as the PTX has it */
    uint32_t cta[3], thread[3], warp, lane;
    uint64_t address;
    char message[1024]; /* all of the above and the nearest allocation, in one readable text */
} trcpu_fault;

typedef struct trcpu_launch {
    const trcpu_function *function;
    uint32_t grid[3], block[3], cluster[3]; /* cluster: 0 or 1 for none */
    uint32_t dynamic_shared;
    bool cooperative;
    const void *parameters; /* the packed buffer, parameter_bytes long */
} trcpu_launch;

/* Which checks run (TRITON_RUNNER_CPU_CHECKS: names separated by commas, from left to right, or "default", "all",
   "none"; "-name" takes one away, from the default when it comes first). `unknown`: the first name there is none of,
   "" when all are known. */
uint32_t trcpu_checks_parse(const char *text, char *unknown, size_t unknown_size);
void trcpu_checks_list(char *out, size_t room); /* all names, for a message */

typedef struct trcpu_counts trcpu_counts; /* machine/counters.h */

/* Runs a whole grid and returns when it is done: CUDA_SUCCESS, or the fault's result with *fault filled.
   counters may be NULL: then nothing is counted. Thread-safe; worker threads are shared by all callers. */
int trcpu_execute(trcpu_memory *memory, const trcpu_launch *launch, uint32_t checks, trcpu_counts *counters,
                  trcpu_fault *fault);

/* CTAs of `block` threads and `dynamic_shared` bytes that the modelled SM holds at once. */
int trcpu_occupancy(const trcpu_function *function, uint32_t block_threads, uint32_t dynamic_shared);

#endif
