/* CUmodules by content and context: each image is loaded once per context, by whoever asks first, and
   unloaded when its last user lets go. */
#ifndef TR_CACHE_MODULES_H
#define TR_CACHE_MODULES_H

#include "base/blob.h"
#include "driver/driver.h"

typedef struct tr__modules tr__modules;
typedef struct tr__module tr__module;

tr_status tr__modules_create(tr__driver *driver, tr__modules **out, tr_error **error);
void tr__modules_close(tr__modules *modules); /* NULL is accepted; modules in use keep what they need */

/* `context` is current. Without may_load an image that is not there yet is TR_E_SEALED. A driver's compiler
   (image: PTX) puts its words into the error's log. */
tr_status tr__modules_get(tr__modules *modules, tr__blob *image, tr__context context, bool may_load,
                          const char *kernel, tr__module **out, tr_error **error);
CUmodule tr__module_handle(const tr__module *module);
tr__module *tr__module_retain(tr__module *module);
void tr__module_put(tr__module *module); /* NULL is accepted */

typedef struct tr__modules_count {
    uint64_t loaded, loads, hits, unloads;
} tr__modules_count;
tr__modules_count tr__modules_counted(tr__modules *modules);

#endif
