/* libraries.h -- what the server asks of scripting at its start. */
#ifndef HF_SCRIPT_LIBRARIES_H
#define HF_SCRIPT_LIBRARIES_H

struct engine;

/* Loads the function libraries that the engine holds; before workers run, after host is set. */
void script_load_libraries(struct engine *e);

#endif
