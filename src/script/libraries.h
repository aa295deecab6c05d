/* libraries.h -- what the server asks of scripting at its start. */
#ifndef HF_SCRIPT_LIBRARIES_H
#define HF_SCRIPT_LIBRARIES_H

struct engine;

/* Loads the function libraries that the engine holds; before workers run, after host is set. */
void script_load_libraries(struct engine *e);

/* busy-reply-threshold, milliseconds; 0: none. A script beyond it makes other commands be refused, until it ends. */
void script_set_time_limit(int64_t ms);

#endif
