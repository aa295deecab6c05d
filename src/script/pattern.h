/* pattern.h -- Lua's string patterns, as section 5.4.1 of the manual of Lua 5.1 describes them, for string.find and its kin.
 *
 * Why not Lua's own: its matcher calls itself for each item of a pattern, without a bound, and nothing interrupts one that tries a
 * pattern's repetitions against each other for hours. This one keeps its choices in a list that is as long as the
 * pattern at most, and charges each byte that it looks at (run_charge): a script may be killed, or others be served, at any.
 * What is malformed is an error when the matching gets there, not before, as in Lua. A zero ends a pattern.
 *
 * Memory: the list is a userdata on the stack of Lua when it is too long for the struct, so an error leaks nothing.
 */
#ifndef HF_SCRIPT_PATTERN_H
#define HF_SCRIPT_PATTERN_H

#include "base/assert.h"
#include "base/bytes.h"

#include <lua.h>

#define PATTERN_CAPTURES_MAX 32
#define PATTERN_CHOICES 48

#define CAPTURE_OPEN SIZE_MAX           /* of a capture: its end was not met yet */
#define CAPTURE_POSITION (SIZE_MAX - 1) /* "()" */

struct pattern_choice {
    uint8_t kind;
    int16_t expected; /* the byte that must follow, or NO_BYTE */
    size_t item, next; /* of the pattern: what is repeated, and what comes behind it */
    size_t at, low;
};

struct pattern {
    lua_State *lua;
    bytes subject, text;
    size_t place, at; /* next byte of the text and of the subject */
    struct { size_t start, size; } captures[PATTERN_CAPTURES_MAX];
    int capture_count;
    struct pattern_choice *choices, few[PATTERN_CHOICES];
    size_t choice_count;
    size_t work; /* not charged yet */
};

/* Pushes one value, which stays below whatever the caller does until it has done with `p`. Both texts must stay, too. */
void pattern_begin(struct pattern *p, lua_State *lua, bytes subject, bytes text);
/* Does the pattern from `place` on match the subject at `at`? *end: behind the match; the captures are set. May raise an error. */
bool pattern_match(struct pattern *p, size_t place, size_t at, size_t *end);
void pattern_charge(struct pattern *p);
#define PATTERN_UNCHARGED 4096
static inline void pattern_spend(struct pattern *p, size_t work)
{
    p->work += work;
    if (HF_UNLIKELY(p->work >= PATTERN_UNCHARGED))
        pattern_charge(p);
}
/* The byte that the item at a place must take, exactly one of it; NO_BYTE: others, none, or more could do. */
#define NO_BYTE (-1)
int16_t pattern_byte_at(const struct pattern *p, size_t place);

/* string.find, match, gmatch, gfind, gsub: into the table on top of the stack. */
void pattern_install(lua_State *lua);

#endif
