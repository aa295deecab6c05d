/* sandbox.h -- what scripts may use of Lua. */
#ifndef HF_SCRIPT_SANDBOX_H
#define HF_SCRIPT_SANDBOX_H

#include <lua.h>
#include <stdbool.h>

/* Fills a new state: the libraries, their guards, what is allowed of them; the globals that scripts see are then in the
 * registry as "globals". Runs protected (lua_cpcall). */
int sandbox_setup(lua_State *lua);
bool sandbox_is_shared(lua_State *lua, int index); /* a table that all scripts share: reached through a proxy */

/* Puts `around` in the place of a C function, a field of the table on top. It calls the original within its own call, so
 * that errors name the function and the line of the script that called it. The original has one upvalue at most and none
 * but that is its own; `around` leaves upvalue 1 alone, and does not wrap what is wrapped. */
void sandbox_wrap(lua_State *lua, const char *name, lua_CFunction around);
/* From `around`, with the arguments that are on the stack, which then holds all the results. Returns how many. */
int sandbox_call_original(lua_State *lua);
/* Raises it if the table of argument 1 is shared. */
void sandbox_refuse_shared(lua_State *lua);

#endif
