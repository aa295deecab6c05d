/* guards.h -- safe versions of library functions that arguments can drive out of their bounds. */
#ifndef HF_SCRIPT_GUARDS_H
#define HF_SCRIPT_GUARDS_H

#include <lua.h>

/* Replaces them in the state's globals, before those are protected. */
void guards_install(lua_State *lua);
void guards_install_json(lua_State *lua); /* by guards_install; the library cjson is on top */

#endif
