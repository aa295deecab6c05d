/* fuzz_lua_reply.c -- replies of commands to Lua values and Lua values to replies.
 *
 * The first byte: bit 0, the script's RESP (2 or 3); bit 1, the connection's; bit 2, whether the rest is a reply of a command or a
 * program that builds a value. A command's reply is one value on the stack; a script's is one whole reply of the protocol and
 * nothing behind it, read here by a reader that knows nothing of the writer.
 */
#include "lua_state.h"

#include "proto/resp/resp_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- a reply of a command, from bytes ---- */

#define REPLY_DEPTH 120 /* deeper than scripts can have them */

static void say(struct reply *r, struct source *in, int depth);

static void say_many(struct reply *r, struct source *in, size_t count, int depth)
{
    for (size_t i = 0; i < count; i++)
        say(r, in, depth + 1);
}

static void say_open(struct reply *r, struct source *in, int kind, int depth)
{
    size_t count = depth < REPLY_DEPTH && in->at < in->end ? next_byte(in) % 5 : 0;
    switch (kind) {
    case 0: r->ops->array(r, count); say_many(r, in, count, depth); break;
    case 1: r->ops->map(r, count); say_many(r, in, 2 * count, depth); break;
    case 2: r->ops->set(r, count); say_many(r, in, count, depth); break;
    default: r->ops->push(r, count); say_many(r, in, count, depth);
    }
}

/* A map's keys and a set's members are texts or numbers, as commands have them. */
static void say(struct reply *r, struct source *in, int depth)
{
    uint8_t what = next_byte(in);
    bytes text;
    switch (what % 16) {
    case 0: r->ops->simple(r, next_text(in, 40)); break;
    case 1: r->ops->error(r, next_text(in, 40)); break;
    case 2: r->ops->integer(r, (int64_t)next_byte(in) << what / 16); break;
    case 3: r->ops->verbatim(r, "txt", next_text(in, 40)); break;
    case 4: r->ops->dbl(r, next_double(in)); break;
    case 5: r->ops->boolean(r, what & 16); break;
    case 6: r->ops->null(r); break;
    case 7: r->ops->null_array(r); break;
    case 8: r->ops->big_number(r, BYTES("12345678901234567890")); break;
    case 9: r->ops->number(r, BYTES("1.5")); break;
    case 10: case 11: case 12: case 13: say_open(r, in, what % 16 - 10, depth); break;
    default: text = next_text(in, 255); r->ops->bulk(r, text);
    }
}

static int reply_to_value(lua_State *lua)
{
    struct source *in = lua_touserdata(lua, 1);
    static struct lua_reply reply;
    lua_settop(lua, 0);
    bool limited;
    struct state *s = state_unlimit(lua, &limited);
    lua_reply_init(&reply, s, lua, run.resp);
    say(&reply.reply, in, 0);
    if (!state_limit_again(s, limited) || reply.too_large)
        return state_exhaust(lua);
    if (reply.too_deep)
        return raise_error(lua, "the reply is nested too deeply");
    hf_assert(lua_gettop(lua) == 1 && reply.depth == 0);
    return 1;
}

/* ---- a reader of the protocol ---- */

static size_t line_size(bytes in) /* without its end */
{
    const uint8_t *end = memchr(in.data, '\r', in.size);
    hf_assert(end && end + 1 < in.data + in.size && end[1] == '\n');
    return (size_t)(end - in.data);
}

static size_t read_count(const uint8_t *at, size_t size)
{
    size_t count = 0;
    hf_assert(size > 0 && size < 18);
    for (size_t i = 0; i < size; i++) {
        hf_assert(at[i] >= '0' && at[i] <= '9');
        count = count * 10 + (size_t)(at[i] - '0');
    }
    return count;
}

/* Bytes of the reply that `in` begins with, resp 2 or 3. */
static size_t read_reply(bytes in, int resp)
{
    hf_assert(in.size >= 3);
    uint8_t mark = in.data[0];
    size_t line = line_size(in), used = line + 2, parts = 0;
    hf_assert(strchr(resp == 3 ? "+-:$*,#_(=%~" : "+-:$*", mark));
    if (resp == 2 && line == 3 && memcmp(in.data + 1, "-1", 2) == 0 && (mark == '$' || mark == '*'))
        return used;
    if (mark == '$' || mark == '=') {
        size_t size = read_count(in.data + 1, line - 1);
        hf_assert(size <= in.size - used && in.size - used - size >= 2 && memcmp(in.data + used + size, "\r\n", 2) == 0);
        return used + size + 2;
    }
    if (mark == '*' || mark == '~' || mark == '%')
        parts = read_count(in.data + 1, line - 1) * (mark == '%' ? 2 : 1);
    else
        hf_assert(!memchr(in.data + 1, '\n', line - 1) && !memchr(in.data + 1, 0, line - 1));
    for (size_t i = 0; i < parts; i++)
        used += read_reply(bytes_of(in.data + used, in.size - used), resp);
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct state *s = fuzz_state();
    struct source in = {data + 1, data + size};
    struct buf out;
    run.resp = data[0] & 1 ? 3 : 2;
    script_set_memory_limit(FUZZ_MEMORY / 2);
    lua_pushcfunction(s->lua, data[0] & 4 ? reply_to_value : build_value);
    lua_pushlightuserdata(s->lua, &in);
    if (state_pcall(s, 1, 1, 0) == 0) {
        struct reply reply = {.ops = &resp_reply_ops, .out = &out, .version = data[0] & 2 ? 3 : 2};
        buf_init(&out, SIZE_MAX);
        bool replied = lua_try_to_reply(s, &reply);
        hf_assert(replied ? read_reply(buf_view(&out), reply.version) == out.size : out.size == 0);
        buf_release(&out);
    }
    fuzz_state_end(s);
    return 0;
}
