/* sandbox.h -- what scripts may use of Lua. */
#ifndef HF_SCRIPT_SANDBOX_H
#define HF_SCRIPT_SANDBOX_H

#include <lua.h>
#include <stdbool.h>

/* Fills a new state: the libraries, their guards, what is allowed of them; the globals that scripts see are then in the
 * registry as "globals". Runs protected (lua_cpcall). */
int sandbox_setup(lua_State *lua);
bool sandbox_is_shared(lua_State *lua, int index); /* a table that all scripts share: reached through a proxy */

#endif
