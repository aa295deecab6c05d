/* script.h -- a Lua state of one worker and the run of one script in it. */
#ifndef HF_SCRIPT_SCRIPT_H
#define HF_SCRIPT_SCRIPT_H

#include "cmd/exec_script.h"
#include "script/libraries.h"

#include <lauxlib.h>
#include <lua.h>

#define SCRIPT_DEPTH_MAX 100                /* of nested tables, arrays in replies */

/* The run that a state is busy with. */
struct run {
    struct script script;
    const char *name;         /* what error replies call the script: its digest, or the function */
    int resp;                 /* redis.setresp */
    bool unwinding;           /* SCRIPT_RESTART or a kill: nothing may catch the error */
    bool killed;
    int killed_line;          /* of the script, where that was */
    bool exhausted;           /* it asked for more memory than there is for it: as if killed */
    bool failed;              /* strict, and one of its commands has failed; its error is in the registry as "failure" */
    bool loading;             /* FUNCTION LOAD: no commands */
    uint64_t started_us;
    bool is_eval;
    bool is_shown;            /* to FUNCTION STATS */
    bool aside;               /* others have been served meanwhile */
    bool late;                /* beyond busy-reply-threshold, and counted as such */
    uint64_t aside_us;        /* when last */
    size_t reply_start;       /* of the output, where the script's reply begins */
    size_t charged;           /* work of functions in C since the hook last ran */
};

struct state {
    lua_State *lua;
    lua_State *thread;        /* that runs: lua, or a coroutine */
    size_t memory, allocated; /* now; since the hook last ran */
    size_t kept;              /* memory after the last whole collection */
    int cycles;               /* of collection, until memory counts as tended */
    bool limited;             /* in a protected call: the limit holds */
    bool exhausted;           /* the limit was met */
    bool tending;             /* script_tend has work */
    struct run *run;          /* NULL: idle */
    uint64_t generation;      /* of the function libraries loaded (function.c) */
    uint64_t cache_generation; /* of the compiled scripts (eval.c) */
    uint64_t flushes;          /* of SCRIPT FLUSH, as it was last looked at */
};

/* The calling worker's; made on first use. */
struct state *state_of(const struct call *c);
void state_flush(void); /* SCRIPT FLUSH: each worker makes its state anew when it is idle, or before its next script */
/* All workers' states together. */
size_t script_memory(void);
size_t script_memory_limit(void); /* of one state, all its libraries included */
/* lua_pcall within the memory limit. */
int state_pcall(struct state *s, int arguments, int results, int handler);
/* For code in C that an error would leave with its locks held or its memory not freed: until state_limit_again, with what *before
 * says, no allocation is refused. False: the limit was passed; state_exhaust then raises the error that nobody may catch. */
struct state *state_unlimit(lua_State *lua, bool *before);
bool state_limit_again(struct state *s, bool before);
bool state_has_room(const struct state *s, size_t more);
int state_exhaust(lua_State *lua);
void state_recover(struct state *s); /* when the limit was met: after the protected call */
lua_State *state_enter_thread(lua_State *lua, lua_State *thread); /* the one before */
void state_hook_again(lua_State *lua);
/* Pushes a table through which the one on the stack's top is read and not written; replaces it. */
void state_protect(lua_State *lua);
void state_protect_strictly(lua_State *lua); /* reading what is not there is an error, too */
struct run *state_run(lua_State *lua);
int raise_error(lua_State *lua, const char *text); /* without a place in front: {err = "ERR text"} */

/* Compiles text (never bytecode) into a function that sees the protected globals; false: the error is on the stack. */
bool state_compile(lua_State *lua, bytes code, const char *name);
bool state_compile_only(lua_State *lua, bytes code); /* as function.c asks: "@user_function", and forgets the function */

/* Calls what is on the stack (function, args); a failure is replied as Redis words it. name: digest or function. */
void run_call(struct state *state, struct run *run, int arguments);
/* Sets up and ends a run around run_call. */
void run_begin(struct state *state, struct run *run, struct call *c, const char *name);
void run_end(struct state *state);
/* busy.c */
void run_time_begin(struct run *run);
void run_time_end(struct run *run);
void run_hook(lua_State *lua, lua_Debug *event);
int run_rethrow(lua_State *lua); /* the error that nobody may catch */
/* For functions in C: so many bytes or steps of work were done. Now and then it does what the hook does, and may not return then. */
void run_charge(lua_State *lua, size_t work);
/* A script that says SCRIPT KILL or FUNCTION KILL stops at its next moment; words the reply. */
void run_kill(struct call *c, bool eval);
bool run_busy(void); /* any worker's script beyond its time */
void run_describe(struct call *c); /* FUNCTION STATS: what runs, or null */
/* The worker's state is busy: its script is served between the steps of a longer one. */
void script_nested(struct call *c);

/* convert.c */
/* A reply that becomes a Lua value on the stack of `lua`. */
struct lua_reply {
    struct reply reply;
    lua_State *lua;
    const struct state *state;
    struct lua_frame { size_t left; int index; int kind; bool has_key; } frames[SCRIPT_DEPTH_MAX];
    int depth;
    bool too_deep, too_large; /* refused: what follows is dropped, and what stands on the stack is of no use */
};
void lua_reply_init(struct lua_reply *r, const struct state *s, lua_State *lua, int resp);
/* The value on the top of the state's own stack becomes the reply of its run; popped. False: the run was ended meanwhile, the error is
 * on the stack and nothing was replied. */
bool lua_try_to_reply(struct state *s, struct reply *r);
void push_error(lua_State *lua, const char *text); /* {err = text} */

/* api.c */
void api_open(lua_State *lua); /* the globals redis and server */
/* While a library is being loaded, `redis` can register functions and log, nothing else. */
void api_for_loading(lua_State *lua, bool loading);

/* pack_*.c, Debian's cjson and bit */
int luaopen_struct(lua_State *lua);
int luaopen_cmsgpack(lua_State *lua);
int luaopen_cjson(lua_State *lua);
int luaopen_bit(lua_State *lua);

/* function.c */
int script_register_function(lua_State *lua);

/* eval.c */
void script_push_words(lua_State *lua, const bytes *words, size_t count); /* as a table */
bool script_take_keys(struct call *c, size_t *count); /* numkeys in word 2; false: the error was replied */
bool script_tend(unsigned worker); /* state.c */
/* For INFO; from any thread. */
void script_cache_stats(uint64_t *count, uint64_t *bytes_held);
void script_library_stats(uint64_t *count, uint64_t *functions, uint64_t *bytes_held);
#define SHA1_TEXT 40
/* For CLIENT PAUSE WRITE; an unknown one might. */
bool script_may_write(const struct command *row, const bytes *argv, size_t argc);
bool function_may_write(bytes name);
void sha1_hex(bytes text, char out[SHA1_TEXT + 1]);

#endif
