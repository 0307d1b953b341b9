/* triton_runner: runs OpenAI Triton kernels from any stage of their compilation.

   python → ttir → ttgir → llir → ptx → cubin → loaded kernel → launch. A program is one kernel at one of these
   stages; it can be compiled to any later one, loaded, and launched.

       tr_runner *runner;
       tr_program *program;
       tr_kernel *kernel;
       tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
       tr_arg args[] = {tr_arg_ptr(x), tr_arg_ptr(y), tr_arg_ptr(out), tr_arg_i32(n)};
       config.grid[0] = (n + 1023) / 1024;
       tr_runner_create(NULL, &runner, NULL);
       tr_load_stage(runner, TR_STAGE_AUTO, "vector_add.ttir", NULL, &program, NULL);
       tr_kernel_create(program, &kernel, NULL);
       tr_launch(kernel, &config, args, 4, NULL);

   Rules, which hold everywhere and are not repeated below:
    - Each function returns a status, TR_OK or what went wrong. Each also takes a `tr_error **`, which may be NULL: it is
      set to NULL on success, else to an object with the message, which the caller destroys.
    - An out-parameter is NULL (a number: 0) after a failure. Every function may return TR_E_INVALID_ARGUMENT, for a
      NULL or a value that cannot be meant, and TR_E_OUT_OF_MEMORY; what else it returns stands with it.
    - What a function gives out through a pointer to a pointer is the caller's, who destroys or frees it. A pointer that
      is returned is borrowed, and lives as long as the object it was asked of.
    - A program keeps its runner alive, a kernel its program: destroy in any order; NULL is accepted.
    - Structs that grow begin with struct_size; begin with the struct's _INIT. A pointer to options may be NULL, and NULL
      or 0 in a field means its default. A caller built against an older header works; one built against a newer
      one works as long as the fields that this version does not know are 0, else it gets TR_E_UNSUPPORTED.
    - Any function may be called from any thread, side by side with any other; only destroying what another thread still
      uses is the caller's fault. (A tr_plan is for one thread at a time.)
    - Sizes are in bytes, shapes and strides in elements, times as their names say. Strings are UTF-8; paths are bytes
      as the file system has them.
    - After a fork the child makes a runner of its own; what it inherited it may only leave alone.
    - No call prints, exits, installs signal handlers, changes the environment, the locale or the current CUDA context,
      or leaves a child process that the host's wait() or SIGCHLD could see.

   All of it is there since 0.1.0, unless something else is said. */
#ifndef TRITON_RUNNER_H
#define TRITON_RUNNER_H

#include <stddef.h>
#include <stdint.h>

#if UINTPTR_MAX != UINT64_MAX
#error "libtriton_runner needs a 64-bit target"
#endif
#define TR_VERSION_MAJOR 0
#define TR_VERSION_MINOR 1
#define TR_VERSION_PATCH 0
#ifndef TR_API
#define TR_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_runner tr_runner;   /* drivers, compilers and caches of one engine */
typedef struct tr_program tr_program; /* one kernel at one stage: bytes + record; immutable */
typedef struct tr_kernel tr_kernel;   /* a program ready to launch, on every context it is used from */
typedef struct tr_error tr_error;     /* why a call failed */

/* ---- statuses, stages, types: the numbers never change ---- */

typedef int32_t tr_status;
enum {
    TR_OK = 0,
    TR_E_INVALID_ARGUMENT = 1,  /* a NULL, a bad value, an option no remaining stage reads */
    TR_E_OUT_OF_MEMORY = 2,
    TR_E_UNSUPPORTED = 3,       /* understood, but not by this build, device or version */
    TR_E_IO = 4,                /* a file could not be read or written; the message has path and reason */
    TR_E_SEALED = 5,            /* the runner is sealed; the message names what is missing */
    TR_E_PARSE = 10,            /* malformed IR, PTX, ELF or record; the message has line:column */
    TR_E_COMPILE = 11,          /* a compiler refused it; tr_error_log() holds its output */
    TR_E_COMPILER_MISSING = 12, /* no Triton, no ptxas, …; the message says what to install */
    TR_E_COMPILER_CRASHED = 13, /* it aborted or was killed; this process lives on */
    TR_E_TIMEOUT = 14,
    TR_E_CANCELLED = 15,
    TR_E_SIGNATURE = 20,        /* arguments do not fit the kernel, or break what it was promised */
    TR_E_RESOURCE = 21,         /* more shared memory, threads, scratch, grid than the device has */
    TR_E_DRIVER_MISSING = 30,   /* no GPU, no driver, no CPU device; the message says what to install */
    TR_E_DRIVER = 31,           /* tr_error_driver_code() holds the CUresult */
    TR_E_MEMORY_FAULT = 32,     /* the CPU device caught a bad access, a race, a deadlock */
    TR_E_STICKY = 33            /* an earlier launch broke the context; this call did nothing. On the CPU device a new
                                   runner works; a GPU's driver wants a new process, but after a failed assertion */
};

typedef int32_t tr_stage;
enum {
    TR_STAGE_AUTO = 0,   /* from the file's name, else its content */
    TR_STAGE_PYTHON = 1, /* a .py file with functions under @triton.jit */
    TR_STAGE_TTIR = 2,   /* Triton IR: tensors */
    TR_STAGE_TTGIR = 3,  /* Triton GPU IR: tensors with layouts, for one architecture and number of warps */
    TR_STAGE_LLIR = 4,   /* LLVM IR */
    TR_STAGE_PTX = 5,
    TR_STAGE_CUBIN = 6   /* an ELF image, for one architecture */
};

typedef int32_t tr_type;
enum {
    TR_TYPE_PTR = 1,
    TR_TYPE_I1 = 2, TR_TYPE_I8 = 3, TR_TYPE_I16 = 4, TR_TYPE_I32 = 5, TR_TYPE_I64 = 6,
    TR_TYPE_U8 = 7, TR_TYPE_U16 = 8, TR_TYPE_U32 = 9, TR_TYPE_U64 = 10,
    TR_TYPE_F16 = 20, TR_TYPE_BF16 = 21, TR_TYPE_F32 = 22, TR_TYPE_F64 = 23,
    TR_TYPE_F8E4M3 = 24, TR_TYPE_F8E5M2 = 25, TR_TYPE_F4E2M1 = 26, TR_TYPE_TF32 = 27, /* tensor elements */
    TR_TYPE_TENSOR_MAP = 40
};

/* ---- errors ---- */

/* "TR_E_PARSE"; "unknown status" for a number that is none. Static. */
TR_API const char *tr_status_name(tr_status status);

/* What happened, where (file:line:column; argument index and name), and what to do, in one line; "" for NULL.
   Borrowed. */
TR_API const char *tr_error_message(const tr_error *error);

/* The compiler's whole output, or the names to choose from when a file has several kernels; "" when there is none. */
TR_API const char *tr_error_log(const tr_error *error);

/* The stage that was being read or made; TR_STAGE_AUTO when the error has nothing to do with one. */
TR_API tr_stage tr_error_stage(const tr_error *error);

/* The driver's CUresult; 0 when the driver had no part in it. */
TR_API int32_t tr_error_driver_code(const tr_error *error);

TR_API void tr_error_destroy(tr_error *error);

/* The library's version, major << 16 | minor << 8 | patch, which may be newer than the header's. */
TR_API uint32_t tr_version(void);

/* ---- runner ---- */

typedef struct tr_runner_options {
    size_t struct_size;
    const char *device;      /* NULL or "cuda": a GPU or TR_E_DRIVER_MISSING; "cuda:1"; "cpu";
                                "auto": a GPU if there is one, else the CPU device */
    const char *triton;      /* which Triton: NULL for the first found, a version ("3.4.0", or "3.4" for the newest of
                                those), or an interpreter's path. They are looked for in TRITON_RUNNER_PYTHON
                                (interpreters, or interpreter=site-folder pairs, separated by colons), the active
                                virtual environment, then the PATH */
    const char *cache_dir;   /* NULL: TRITON_RUNNER_CACHE_DIR, else the user's cache folder; "": none */
    const char *library_dir; /* where plugin, helper, worker and CPU device lie; NULL: TRITON_RUNNER_LIBDIR, else beside
                                the library */
    void (*log)(void *user, int32_t level, const char *message); /* level: 0 debug, 1 information, 2 warning, 3 error;
                                from any thread; must not call back into the library */
    void *log_user;
} tr_runner_options;
#define TR_RUNNER_OPTIONS_INIT { sizeof(tr_runner_options), 0, 0, 0, 0, 0, 0 }

/* Opens nothing yet: driver, compilers and cache are each made by the first call that needs them, which is also the one
   that fails where they are missing. Strings are copied.
   TR_E_UNSUPPORTED */
TR_API tr_status tr_runner_create(const tr_runner_options *options, tr_runner **out, tr_error **error);

/* The runner ends with its last program and kernel; with it its compilers' processes. */
TR_API void tr_runner_destroy(tr_runner *runner);

/* From now on no call compiles, starts a process, reads the disk, or loads a module for the first time: it fails with
   TR_E_SEALED instead, naming the kernel and what is missing. What an engine calls when it starts to serve. What was
   compiled before is still found in memory. There is no way back. */
TR_API tr_status tr_runner_seal(tr_runner *runner, tr_error **error);

typedef int32_t tr_report;
enum {
    TR_REPORT_DOCTOR = 1,  /* what there is, what is missing and the line that installs it. Starts processes */
    TR_REPORT_CACHE = 2,   /* folder, size, entries */
    TR_REPORT_COUNTERS = 3 /* what was compiled, loaded and found so far */
};

/* *json: an object, with newlines; tr_free() it. Keys may be added in any release.
   TR_E_SEALED: the first two, on a sealed runner */
TR_API tr_status tr_runner_report(tr_runner *runner, tr_report what, char **json, tr_error **error);

/* What the library gave out as plain memory; NULL is accepted. */
TR_API void tr_free(void *memory);

typedef int32_t tr_cache_action;
enum { TR_CACHE_VERIFY = 1, TR_CACHE_PRUNE = 2, TR_CACHE_CLEAR = 3 };

/* The cache of compile results on disk. *affected (may be NULL): the damaged entries that verify set aside, the entries
   that prune (the least recently used, until `limit` bytes are left) and clear removed.
   TR_E_IO, TR_E_SEALED */
TR_API tr_status tr_runner_cache(tr_runner *runner, tr_cache_action action, uint64_t limit, uint64_t *affected,
                                 tr_error **error);

/* ---- load a stage ---- */

typedef struct tr_load_options {
    size_t struct_size;
    const void *data;      /* the source itself, copied; NULL: read `path` (which else only names it) */
    size_t size;
    const char *kernel;    /* NULL: the only one; several: TR_E_INVALID_ARGUMENT, names in the log */
    const char *metadata;  /* Triton's JSON; NULL: the embedded record, else the .json beside the file */
    const char *signature; /* python: Triton's AOT syntax, extended: "*fp32:16, i32:1, (i32, *fp16),
                              tensordesc<fp16[128, 64]>, None, 1024". "i32:1" stays an argument, checked; a literal
                              (number, True, None, 'text', tl.float32) is compiled in, and not passed. ":16" promises a
                              multiple of 16. Of later stages it says what the arguments are where nothing else does */
} tr_load_options;
#define TR_LOAD_OPTIONS_INIT { sizeof(tr_load_options), 0, 0, 0, 0, 0 }

/* Reads one kernel at one stage. Its metadata come from, in this order: options->metadata; the record that
   tr_program_save embedded; the .json beside the file (so that a folder of Triton's cache can be read as it lies, and
   there the arguments' types from the .ttir beside); and what the text tells itself. Metadata that contradict the text
   are refused. The text is checked as far as it says what a kernel is; its body is left to the compilers.
   TR_E_IO          the file cannot be read
   TR_E_PARSE       it is empty, malformed, another stage than said, or has no kernel; metadata of wrong types
   TR_E_UNSUPPORTED metadata of another backend than CUDA, 32-bit PTX
   TR_E_RESOURCE    it needs more threads or shared memory than its architecture has
   TR_E_SEALED      from a file, on a sealed runner */
TR_API tr_status tr_load_stage(tr_runner *runner, tr_stage stage, const char *path, const tr_load_options *options,
                               tr_program **out, tr_error **error);

/* ---- compile to a later stage ---- */

enum {
    TR_COMPILE_NO_CACHE = 1,  /* neither looked up nor kept */
    TR_COMPILE_IN_PROCESS = 2 /* LLVM, nvJitLink: no helper process. Faster by some milliseconds, but what crashes them
                                 crashes the caller, and no time limit holds */
};
typedef struct tr_compile_options {
    size_t struct_size;
    const char *arch;      /* "sm_90"; NULL: the program's own, else the runner's device */
    const char *triton;    /* NULL: the version that made the program, else the runner's */
    const char *options;   /* JSON of Triton backend options: {"num_warps": 8}; they travel in the record */
    const char *llvm;      /* llir → ptx: NULL or "auto": the Triton that made the llir if it is here, else LLVM;
                              "llvm", "triton" */
    const char *assembler; /* ptx → cubin: NULL or "auto": the first there is of "ptxas", "nvjitlink", "driver" */
    const char *const *environment; /* "MLIR_ENABLE_DUMP=1", …, NULL; for the compilers; part of the cache key */
    uint32_t timeout_ms, flags; /* 0: no limit but each compiler's own, five minutes */
    int32_t (*progress)(void *user, tr_stage reached, double seconds); /* after each stage with the time it took, and
                              about every 50 ms with 0; in the calling thread. Non-zero cancels */
    void *progress_user;
} tr_compile_options;
#define TR_COMPILE_OPTIONS_INIT { sizeof(tr_compile_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Compiles to `stage`, ttir … cubin; to its own stage a program is compiled already. Equal input and equal tools give
   equal bytes, and those of Triton's own full run. An option that no stage to come reads (num_warps behind ttgir), or
   an architecture that contradicts what is baked in, is TR_E_INVALID_ARGUMENT. Threads that ask for the same
   thing compile it once.
   TR_E_PARSE             the text is malformed where its compiler reads on
   TR_E_COMPILE           a compiler refused it: message with its first error, log with all it said
   TR_E_COMPILER_MISSING  the Triton that made the program, LLVM or ptxas is not here
   TR_E_COMPILER_CRASHED, TR_E_TIMEOUT, TR_E_CANCELLED
   TR_E_UNSUPPORTED       this Triton, LLVM or ptxas cannot do it for this architecture
   TR_E_RESOURCE          the result needs more shared memory than the architecture has
   TR_E_DRIVER_MISSING, TR_E_DRIVER   no arch was given and the device cannot be asked; assembler "driver"
   TR_E_SEALED            it is not compiled yet, and the runner is sealed */
TR_API tr_status tr_compile_to(const tr_program *program, tr_stage stage, const tr_compile_options *options,
                               tr_program **out, tr_error **error);

/* ---- programs ---- */

TR_API tr_stage tr_program_stage(const tr_program *program);     /* TR_STAGE_AUTO for NULL */
TR_API const char *tr_program_kernel(const tr_program *program); /* the entry's name; borrowed */

/* The stage's bytes, without an embedded record; a NUL follows. Borrowed. Takes no tr_error: it fails for NULL only. */
TR_API tr_status tr_program_bytes(const tr_program *program, const void **data, size_t *size);

/* Triton's metadata as JSON in one line, with what this library knows besides under "triton_runner": "parameters",
   "hidden", "made_by", "options", "registers", …; borrowed. */
TR_API const char *tr_program_metadata(const tr_program *program);

/* What the compilers said, also when all went well; "" if nothing. Borrowed. */
TR_API const char *tr_program_log(const tr_program *program);

/* The same kernel at a stage that it passed on the way from where it was loaded, or at its own. */
TR_API tr_status tr_program_at(const tr_program *program, tr_stage passed, tr_program **out, tr_error **error);

/* Writes the stage with its metadata embedded: a comment behind a text, a trailer behind an ELF image, which the driver
   and NVIDIA's tools ignore. The file is all that tr_load_stage needs. Replaced in one step;
   a device or a pipe is written into.
   TR_E_IO */
TR_API tr_status tr_program_save(const tr_program *program, const char *path, tr_error **error);

TR_API void tr_program_destroy(tr_program *program);

/* ---- kernels ---- */

/* Compiles what is not launchable yet (to cubin for a GPU, to PTX for the CPU device), loads it into the current
   context, else the runner's, and lays its parameters out. The kernel may then be launched in any context of the
   driver; where it is not loaded, the first launch loads it.
   What tr_compile_to returns, and
   TR_E_SIGNATURE       nothing tells the arguments' types, or the shared memory: give the metadata
   TR_E_RESOURCE        more shared memory, threads or registers than the device has
   TR_E_UNSUPPORTED     built for another architecture; an instruction that the CPU device does not know; a cubin on it
   TR_E_DRIVER_MISSING, TR_E_DRIVER, TR_E_STICKY, TR_E_SEALED */
TR_API tr_status tr_kernel_create(const tr_program *program, tr_kernel **out, tr_error **error);

/* Loads it into the current context now, so that no launch will have to: before a capture, and before sealing.
   TR_E_RESOURCE, TR_E_UNSUPPORTED, TR_E_DRIVER, TR_E_STICKY, TR_E_SEALED */
TR_API tr_status tr_kernel_load(const tr_kernel *kernel, tr_error **error);

/* What is in flight runs to its end; graphs that captured it keep what they need. What it holds in a context of the
   caller's own making that is not current (and may be gone) is given back by the next call made there, else goes with
   that context. */
TR_API void tr_kernel_destroy(tr_kernel *kernel);

enum { TR_PARAM_FOLDED = 1 /* "== 1": checked, takes no bytes */ };
typedef struct tr_param_info {
    size_t struct_size;
    const char *name;      /* NULL when unknown; borrowed from the kernel */
    tr_type type, element; /* element: of a pointer or tensor, 0 when unknown */
    uint32_t flags, divisibility; /* the value must be a multiple; 1 when nothing was promised */
    uint32_t offset, size, alignment, reserved; /* bytes in the packed buffer */
    int64_t constant;      /* of a folded one */
} tr_param_info;
#define TR_PARAM_INFO_INIT { sizeof(tr_param_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* What the caller passes, in order; hidden ones are not counted. 0 for NULL. */
TR_API size_t tr_kernel_param_count(const tr_kernel *kernel);

/* Takes no tr_error: it fails for a NULL and an index that is none. */
TR_API tr_status tr_kernel_param(const tr_kernel *kernel, size_t index, tr_param_info *info);

typedef int32_t tr_attribute;
enum {
    TR_ATTRIBUTE_NUM_WARPS = 1,     /* 32 threads each; the whole CTA's */
    TR_ATTRIBUTE_NUM_CTAS = 2,      /* of a cluster */
    TR_ATTRIBUTE_SHARED = 3,        /* bytes of a CTA, static and dynamic */
    TR_ATTRIBUTE_REGISTERS = 4,     /* of a thread */
    TR_ATTRIBUTE_SPILLS = 5,        /* as its compiler tells it */
    TR_ATTRIBUTE_LOCAL = 6,         /* bytes of a thread */
    TR_ATTRIBUTE_CONSTANT = 7,      /* bytes */
    TR_ATTRIBUTE_MAX_THREADS = 8,   /* that a CTA of it can have */
    TR_ATTRIBUTE_BLOCKS_PER_SM = 9, /* CTAs that fit a multiprocessor at once */
    TR_ATTRIBUTE_PACKED_SIZE = 10   /* bytes of the packed buffer: for tr_kernel_pack */
};

/* In the current context, else the runner's.
   TR_E_DRIVER, TR_E_STICKY, TR_E_SEALED */
TR_API tr_status tr_kernel_attribute(const tr_kernel *kernel, tr_attribute attribute, int64_t *out, tr_error **error);

/* The CUfunction in the current context, else the runner's; it lives as long as the kernel.
   TR_E_DRIVER, TR_E_STICKY, TR_E_SEALED */
TR_API tr_status tr_kernel_function(const tr_kernel *kernel, void **cufunction, tr_error **error);

/* How much scratch a launch with this grid needs, for who brings it (TR_LAUNCH_WORKSPACE). *bytes is 0 for a kernel
   that needs none; *alignment may be NULL.
   TR_E_RESOURCE        it has no number */
TR_API tr_status tr_kernel_workspace(const tr_kernel *kernel, const uint32_t grid[3], size_t *bytes,
                                     size_t *alignment, tr_error **error);

/* ---- launch ---- */

typedef struct tr_tensor_map { uint64_t opaque[32]; } tr_tensor_map; /* by value, no destroy, copied at launch */
enum { TR_TENSOR_PAD_NAN = 1, /* what lies outside reads as NaN, not 0 */ TR_TENSOR_ROUND_TF32 = 2 };
typedef struct tr_tensor {
    size_t struct_size;
    uint64_t ptr;         /* device address of the first element */
    tr_type element;
    uint32_t rank, flags, reserved;
    int64_t shape[5], strides[5]; /* in elements, row-major order: the last dimension varies fastest */
} tr_tensor;
#define TR_TENSOR_INIT { sizeof(tr_tensor), 0, 0, 0, 0, 0, {0, 0, 0, 0, 0}, {0, 0, 0, 0, 0} }

/* A descriptor for parameter `param` (an index of tr_kernel_param) of this kernel, encoded into the caller's storage,
   which may be copied and used for every launch, also of kernels whose parameter is equal. Block size and swizzle are
   the kernel's.
   TR_E_SIGNATURE       the parameter is no descriptor, or the tensor does not fit it: element, rank, alignment, strides
   TR_E_UNSUPPORTED     flags that this kernel's Triton has not; TR_E_DRIVER */
TR_API tr_status tr_tensor_map_encode(const tr_kernel *kernel, size_t param, const tr_tensor *tensor,
                                      tr_tensor_map *out, tr_error **error);

/* An integer of any type goes where its value fits; a float of any type is rounded once, to nearest even; pointers are
   device addresses. The value stands in the member that belongs to `type`: ptr; i for I1 … I64; u for U8 … U64; f for
   the floats; map, which is read during the launch only. */
typedef struct tr_arg { /* 16 bytes for ever; new kinds are new types */
    tr_type type;
    uint32_t reserved; /* 0 */
    union { uint64_t ptr; int64_t i; uint64_t u; double f; const tr_tensor_map *map; } value;
} tr_arg;

enum {
    TR_LAUNCH_WORKSPACE = 1,      /* use `workspace` for scratch instead of the runner's pool */
    TR_LAUNCH_CHECK_POINTERS = 2, /* for debugging: ask the driver about each pointer argument. One of the host, of
                                     another device, freed or never allocated is TR_E_SIGNATURE; 0 is fine */
    TR_LAUNCH_PRIORITY = 4,       /* run with `priority` */
    TR_LAUNCH_CARVEOUT = 8,       /* keep `carveout` percent of the multiprocessor's memory for shared memory */
    TR_LAUNCH_OVERLAP = 16,       /* may begin before the launch ahead on the stream has ended, as if compiled with
                                     launch_pdl: for a kernel that waits by griddepcontrol (sm_90 and later) */
    TR_LAUNCH_NO_OVERLAP = 32     /* may not, though compiled with launch_pdl */
};
typedef struct tr_launch_config {
    size_t struct_size;
    uint32_t grid[3], flags;    /* grid: programs, as Triton counts them; any 0 is no launch and no error */
    void *stream;               /* CUstream; NULL: the default stream */
    uint64_t workspace, workspace_size; /* device memory that is the launch's until it is done */
    int32_t priority;           /* as a stream's: lower numbers first */
    uint32_t carveout;          /* 0 to 100 */
} tr_launch_config;
#define TR_LAUNCH_CONFIG_INIT { sizeof(tr_launch_config), {1, 1, 1}, 0, 0, 0, 0, 0, 0 }

/* Checks the arguments, count, kind, range and promises, then launches, asynchronously; nothing reaches the device when
   one does not fit. In the current context, else the runner's. May be captured: a graph keeps the scratch it needs.
   TR_E_SIGNATURE       an argument, by index and name: what was given, what was promised
   TR_E_INVALID_ARGUMENT flags that mean nothing or contradict each other; a first launch in a context, in a capture
   TR_E_RESOURCE        grid over the device's limits; a cooperative grid that does not fit; too little workspace
   TR_E_SEALED          not loaded in this context, and the runner is sealed
   TR_E_DRIVER, TR_E_MEMORY_FAULT, TR_E_STICKY  the last two tell of an earlier launch */
TR_API tr_status tr_launch(const tr_kernel *kernel, const tr_launch_config *config, const tr_arg *args,
                           size_t arg_count, tr_error **error);

/* The two halves of tr_launch. Pack checks the arguments and lays them out in `buffer`, of `size` bytes, at least
   TR_ATTRIBUTE_PACKED_SIZE; launching checks the promises again, for the buffer may have been changed since.
   TR_E_SIGNATURE; launching: as tr_launch */
TR_API tr_status tr_kernel_pack(const tr_kernel *kernel, const tr_arg *args, size_t arg_count, void *buffer,
                                size_t size, tr_error **error);
TR_API tr_status tr_launch_packed(const tr_kernel *kernel, const tr_launch_config *config, const void *buffer,
                                  size_t size, tr_error **error);

static inline tr_arg tr_arg_ptr(uint64_t v) { tr_arg a = { TR_TYPE_PTR, 0, { 0 } }; a.value.ptr = v; return a; }
static inline tr_arg tr_arg_i32(int32_t v) { tr_arg a = { TR_TYPE_I32, 0, { 0 } }; a.value.i = v; return a; }
static inline tr_arg tr_arg_i64(int64_t v) { tr_arg a = { TR_TYPE_I64, 0, { 0 } }; a.value.i = v; return a; }
static inline tr_arg tr_arg_f32(float v) { tr_arg a = { TR_TYPE_F32, 0, { 0 } }; a.value.f = (double)v; return a; }
static inline tr_arg tr_arg_map(const tr_tensor_map *v) { tr_arg a = { TR_TYPE_TENSOR_MAP, 0, { 0 } }; a.value.map = v; return a; }

/* ---- device memory, for callers that have no CUDA of their own; in the current context, else the runner's ---- */

/* Asking for 0 bytes is TR_E_INVALID_ARGUMENT; freeing 0 is nothing.
   All of these: TR_E_DRIVER, TR_E_STICKY, TR_E_DRIVER_MISSING; and TR_E_MEMORY_FAULT, which tells of an earlier
   launch */
TR_API tr_status tr_device_alloc(tr_runner *runner, size_t bytes, uint64_t *out, tr_error **error);
TR_API tr_status tr_device_free(tr_runner *runner, uint64_t ptr, tr_error **error);

/* Synchronous: after the call `src` may be changed, `dst` is filled; ordered behind what runs on the default stream. */
TR_API tr_status tr_device_write(tr_runner *runner, uint64_t dst, const void *src, size_t bytes, tr_error **error);
TR_API tr_status tr_device_read(tr_runner *runner, void *dst, uint64_t src, size_t bytes, tr_error **error);

/* Waits for all that was launched in the context, and tells of faults. */
TR_API tr_status tr_device_synchronize(tr_runner *runner, tr_error **error);

/* ---- plans: many launches submitted as one; arguments and grids may change each time ---- */

typedef struct tr_plan tr_plan; /* one thread at a time */

/* For the context that is current, else the runner's: there it runs.
   TR_E_DRIVER_MISSING, TR_E_DRIVER, TR_E_STICKY */
TR_API tr_status tr_plan_create(tr_runner *runner, tr_plan **out, tr_error **error);

/* Adds a launch, checked as tr_launch does; config->stream is not used. It comes after the entries whose indices are
   in `after`; NULL: after the one added last; no entry, with after not NULL: it may run from the start. *index: its
   number, from 0; may be NULL. A refused call leaves the plan as it was. The plan keeps the kernel.
   TR_E_SIGNATURE, TR_E_RESOURCE, TR_E_SEALED, TR_E_DRIVER */
TR_API tr_status tr_plan_add(tr_plan *plan, const tr_kernel *kernel, const tr_launch_config *config,
                             const tr_arg *args, size_t arg_count,
                             const uint32_t *after, size_t after_count, /* NULL: after the one added last */
                             uint32_t *index, tr_error **error);

/* Other arguments or grid for an entry from the next launch on; what was launched before keeps its own.
   TR_E_SIGNATURE, TR_E_RESOURCE */
TR_API tr_status tr_plan_set(tr_plan *plan, uint32_t index, const uint32_t *grid, /* NULL: as it was */
                             const tr_arg *args, size_t arg_count,               /* NULL, 0: as they were */
                             tr_error **error);

/* Copies and fills of device memory as entries. 0 bytes: nothing is done. */
TR_API tr_status tr_plan_add_copy(tr_plan *plan, uint64_t dst, uint64_t src, size_t bytes, const uint32_t *after,
                                  size_t after_count, uint32_t *index, tr_error **error);
TR_API tr_status tr_plan_add_fill(tr_plan *plan, uint64_t dst, uint8_t value, size_t bytes, const uint32_t *after,
                                  size_t after_count, uint32_t *index, tr_error **error);
TR_API tr_status tr_plan_set_copy(tr_plan *plan, uint32_t index, uint64_t dst, uint64_t src, size_t bytes,
                                  tr_error **error);
TR_API tr_status tr_plan_set_fill(tr_plan *plan, uint32_t index, uint64_t dst, uint8_t value, size_t bytes,
                                  tr_error **error);

/* An entry that is switched off is skipped; what comes after it waits for what it would have waited for. */
TR_API tr_status tr_plan_enable(tr_plan *plan, uint32_t index, int32_t enabled, tr_error **error); /* 0: skipped */

/* Between the two, tr_launch on this stream (not the default one) adds to the plan instead of launching, in order.
   *first, *count (may be NULL): the entries that came of it.
   TR_E_DRIVER; recorded: TR_E_UNSUPPORTED when something else than tr_launch used the stream */
TR_API tr_status tr_plan_record(tr_plan *plan, void *stream, tr_error **error);
TR_API tr_status tr_plan_recorded(tr_plan *plan, uint32_t *first, uint32_t *count, tr_error **error);

/* Submits all entries, asynchronously. An earlier launch of the same plan may still run.
   TR_E_DRIVER, TR_E_RESOURCE, TR_E_MEMORY_FAULT, TR_E_STICKY */
TR_API tr_status tr_plan_launch(tr_plan *plan, void *stream, tr_error **error);
TR_API void tr_plan_destroy(tr_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
