/* libraries.h -- what the server asks of scripting at its start and its end. */
#ifndef HF_SCRIPT_LIBRARIES_H
#define HF_SCRIPT_LIBRARIES_H

#include <stddef.h>
#include <stdint.h>

struct engine;

/* Loads the function libraries that the engine holds; before workers run, after host is set. */
void script_load_libraries(struct engine *e);
/* Frees the cache of scripts; no worker runs any more. */
void script_cache_release(void);

/* busy-reply-threshold, milliseconds; 0: none. A script beyond it makes other commands be refused, until it ends. */
void script_set_time_limit(int64_t ms);
/* script-memory-limit: what the scripts of one worker may use. */
void script_set_memory_limit(size_t bytes_max);

#endif
