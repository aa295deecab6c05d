/* function_private.h -- the registry of function libraries, between function.c and function_dump.c.
 *
 * One registry for all workers, changed by commands that hold the gate; each worker's Lua state loads the libraries again
 * when the generation has moved. A library's memory is the registry's once it was put there.
 */
#ifndef HF_SCRIPT_FUNCTION_PRIVATE_H
#define HF_SCRIPT_FUNCTION_PRIVATE_H

#include "script/script.h"

struct function { char *name, *description; unsigned flags; };

struct library {
    struct library *next;
    char *name;
    uint8_t *source;
    size_t source_size;
    struct function *functions;
    size_t count;
};

extern struct library *libraries; /* in order of their names */

void library_free(struct library *l);      /* NULL is fine */
struct library *library_find(bytes name);  /* NULL: none */
/* Takes one out of the registry and puts another one in, or NULL; both are the registry's from then on. Undone with the
 * transaction. */
void library_exchange(struct call *c, struct library *old, struct library *new);
struct function *function_find(bytes name, struct library **of); /* in any case of letters, as in Redis */
void new_function_table(lua_State *lua);
/* Compiles and runs the source once, to see what it registers; the registry is not touched. must_be_new: refused when there is one
 * of its name. NULL: the error was replied. */
struct library *library_make(struct state *s, struct call *c, bytes source, bool must_be_new);

#endif
