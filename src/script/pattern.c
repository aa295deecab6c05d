/* pattern.c -- matching: one step forward for each item of the pattern, and back to the last choice when an item fails.
 *
 * A choice is an item that could have taken more or fewer bytes, or a capture that has to be forgotten on the way back. Items stand
 * in a line and each is met once on the way to where the matching stands, so there are never more choices than bytes in the pattern.
 */
#include "script/pattern.h"

#include "script/script.h"

#include <ctype.h>
#include <string.h>

enum { GIVES_BACK, TAKES_MORE, OPENED, CLOSED }; /* kinds of choices */
enum outcome { FAILED, GOES_ON, MATCHED };

void pattern_charge(struct pattern *p)
{
    size_t done = p->work;
    p->work = 0;
    run_charge(p->lua, done);
}

void pattern_begin(struct pattern *p, lua_State *lua, bytes subject, bytes text)
{
    const uint8_t *zero = text.size ? memchr(text.data, 0, text.size) : NULL;
    p->lua = lua;
    p->subject = subject;
    p->text = bytes_of(text.data, zero ? (size_t)(zero - text.data) : text.size);
    p->work = 0;
    p->choices = p->few;
    luaL_checkstack(lua, 4, "too many values");
    if (p->text.size > PATTERN_CHOICES)
        p->choices = lua_newuserdata(lua, p->text.size * sizeof(*p->choices));
    else
        lua_pushnil(lua);
}

/* The byte at a place of the pattern; behind its end: 0, which is no byte of any. */
static uint8_t peek(const struct pattern *p, size_t place)
{
    return place < p->text.size ? p->text.data[place] : 0;
}

int16_t pattern_byte_at(const struct pattern *p, size_t place)
{
    uint8_t byte = peek(p, place), behind = peek(p, place + 1);
    if (byte == 0 || strchr("().%[^$", byte) || (behind && strchr("*?-", behind)))
        return NO_BYTE;
    return byte;
}

/* ---- one byte ---- */

static bool in_class(uint8_t byte, uint8_t letter)
{
    bool found;
    switch (tolower(letter)) {
    case 'a': found = isalpha(byte); break;
    case 'c': found = iscntrl(byte); break;
    case 'd': found = isdigit(byte); break;
    case 'l': found = islower(byte); break;
    case 'p': found = ispunct(byte); break;
    case 's': found = isspace(byte); break;
    case 'u': found = isupper(byte); break;
    case 'w': found = isalnum(byte); break;
    case 'x': found = isxdigit(byte); break;
    case 'z': found = byte == 0; break;
    default: return byte == letter;
    }
    return found != (isupper(letter) != 0);
}

/* from, end: what stands between the brackets. */
static bool in_set(const struct pattern *p, uint8_t byte, size_t from, size_t end)
{
    const uint8_t *text = p->text.data;
    bool negated = text[from] == '^';
    for (size_t i = from + negated; i < end; i++) {
        bool found;
        if (text[i] == '%') {
            found = in_class(byte, text[++i]);
        } else if (end - i > 2 && text[i + 1] == '-') {
            found = byte >= text[i] && byte <= text[i + 2];
            i += 2;
        } else {
            found = byte == text[i];
        }
        if (found)
            return !negated;
    }
    return negated;
}

/* Behind the set that begins at a place; its first byte cannot end it. */
static size_t set_end(const struct pattern *p, size_t place)
{
    size_t i = place + 1 + (peek(p, place + 1) == '^');
    for (bool first = true; first || peek(p, i) != ']'; first = false, i++) {
        if (i >= p->text.size)
            luaL_error(p->lua, "malformed pattern (missing ']')");
        if (p->text.data[i] == '%' && i + 1 < p->text.size)
            i++;
    }
    return i + 1;
}

/* Behind the item for one byte that begins at a place. */
static size_t item_end(const struct pattern *p, size_t place)
{
    if (p->text.data[place] == '[')
        return set_end(p, place);
    if (p->text.data[place] != '%')
        return place + 1;
    if (place + 1 >= p->text.size)
        luaL_error(p->lua, "malformed pattern (ends with '%%')");
    return place + 2;
}

static inline bool item_takes(struct pattern *p, size_t item, size_t end, size_t at)
{
    pattern_spend(p, end - item);
    if (at >= p->subject.size)
        return false;
    uint8_t byte = p->subject.data[at];
    switch (p->text.data[item]) {
    case '.': return true;
    case '%': return in_class(byte, p->text.data[item + 1]);
    case '[': return in_set(p, byte, item + 1, end - 1);
    default: return byte == p->text.data[item];
    }
}

/* ---- captures ---- */

static void choose(struct pattern *p, struct pattern_choice choice)
{
    hf_assert(p->choice_count < p->text.size);
    p->choices[p->choice_count++] = choice;
}

static enum outcome open_capture(struct pattern *p)
{
    bool is_position = peek(p, p->place + 1) == ')';
    if (p->capture_count == PATTERN_CAPTURES_MAX)
        luaL_error(p->lua, "too many captures");
    p->captures[p->capture_count].start = p->at;
    p->captures[p->capture_count++].size = is_position ? CAPTURE_POSITION : CAPTURE_OPEN;
    p->place += is_position ? 2 : 1;
    choose(p, (struct pattern_choice){.kind = OPENED});
    return GOES_ON;
}

/* The one that was opened last. */
static enum outcome close_capture(struct pattern *p)
{
    int i = p->capture_count - 1;
    while (i >= 0 && p->captures[i].size != CAPTURE_OPEN)
        i--;
    if (i < 0)
        luaL_error(p->lua, "invalid pattern capture");
    p->captures[i].size = p->at - p->captures[i].start;
    p->place++;
    choose(p, (struct pattern_choice){.kind = CLOSED, .at = (size_t)i});
    return GOES_ON;
}

/* %1 to %9: the same bytes again. A position has none. */
static enum outcome match_again(struct pattern *p)
{
    int i = p->text.data[p->place + 1] - '1';
    if (i < 0 || i >= p->capture_count || p->captures[i].size == CAPTURE_OPEN)
        luaL_error(p->lua, "invalid capture index");
    size_t size = p->captures[i].size;
    if (size == CAPTURE_POSITION || p->subject.size - p->at < size)
        return FAILED;
    pattern_spend(p, size);
    if (memcmp(p->subject.data + p->captures[i].start, p->subject.data + p->at, size) != 0)
        return FAILED;
    p->at += size;
    p->place += 2;
    return GOES_ON;
}

/* ---- items of more than one byte ---- */

/* %bxy */
static enum outcome match_balanced(struct pattern *p)
{
    if (p->text.size - p->place < 4)
        luaL_error(p->lua, "unbalanced pattern");
    uint8_t opens = p->text.data[p->place + 2], closes = p->text.data[p->place + 3];
    if (p->at >= p->subject.size || p->subject.data[p->at] != opens)
        return FAILED;
    size_t depth = 1;
    for (size_t i = p->at + 1; i < p->subject.size; i++) {
        uint8_t byte = p->subject.data[i];
        pattern_spend(p, 1);
        if (byte == closes && --depth == 0) {
            p->at = i + 1;
            p->place += 4;
            return GOES_ON;
        }
        if (byte == opens && byte != closes)
            depth++;
    }
    return FAILED;
}

/* %f[set]: between a byte outside and one inside; there is a zero before the first and one behind the last. */
static enum outcome match_frontier(struct pattern *p)
{
    size_t set = p->place + 2;
    if (peek(p, set) != '[')
        luaL_error(p->lua, "missing '[' after '%%f' in pattern");
    size_t end = set_end(p, set);
    uint8_t before = p->at ? p->subject.data[p->at - 1] : 0, here = p->at < p->subject.size ? p->subject.data[p->at] : 0;
    pattern_spend(p, end - set);
    if (in_set(p, before, set + 1, end - 1) || !in_set(p, here, set + 1, end - 1))
        return FAILED;
    p->place = end;
    return GOES_ON;
}

/* As many as there are, and fewer later. */
static enum outcome take_most(struct pattern *p, size_t end, size_t least, size_t most)
{
    size_t item = p->place, low = p->at + least, at = p->at;
    while (at - p->at < most && item_takes(p, item, end, at))
        at++;
    if (at < low)
        return FAILED;
    p->at = at;
    p->place = end + 1;
    if (at > low)
        choose(p, (struct pattern_choice){.kind = GIVES_BACK, .expected = pattern_byte_at(p, p->place), .next = p->place, .at = at, .low = low});
    return GOES_ON;
}

static enum outcome match_item(struct pattern *p)
{
    size_t end = item_end(p, p->place);
    switch (peek(p, end)) {
    case '*': return take_most(p, end, 0, SIZE_MAX);
    case '+': return take_most(p, end, 1, SIZE_MAX);
    case '?': return take_most(p, end, 0, 1);
    case '-':
        choose(p, (struct pattern_choice){.kind = TAKES_MORE, .expected = pattern_byte_at(p, end + 1), .item = p->place, .next = end + 1, .at = p->at});
        p->place = end + 1;
        return GOES_ON;
    default:
        if (!item_takes(p, p->place, end, p->at))
            return FAILED;
        p->at++;
        p->place = end;
        return GOES_ON;
    }
}

static enum outcome match_escaped(struct pattern *p)
{
    uint8_t letter = peek(p, p->place + 1);
    if (letter == 'b')
        return match_balanced(p);
    if (letter == 'f')
        return match_frontier(p);
    if (isdigit(letter))
        return match_again(p);
    return match_item(p);
}

/* ---- forth and back ---- */

static enum outcome step(struct pattern *p)
{
    pattern_spend(p, 1);
    if (p->place == p->text.size)
        return MATCHED;
    switch (p->text.data[p->place]) {
    case '(': return open_capture(p);
    case ')': return close_capture(p);
    case '%': return match_escaped(p);
    case '$':
        if (p->place + 1 == p->text.size)
            return p->at == p->subject.size ? MATCHED : FAILED;
        return match_item(p);
    default: return match_item(p);
    }
}

/* Nothing is tried where the byte behind cannot be the one that must follow. */
static bool is_expected(const struct pattern *p, const struct pattern_choice *c)
{
    return c->expected == NO_BYTE || (c->at < p->subject.size && p->subject.data[c->at] == c->expected);
}

static bool give_back(struct pattern *p, struct pattern_choice *c)
{
    while (c->at > c->low) {
        c->at--;
        pattern_spend(p, 1);
        if (is_expected(p, c))
            return true;
    }
    return false;
}

static bool take_more(struct pattern *p, struct pattern_choice *c)
{
    while (item_takes(p, c->item, c->next - 1, c->at)) {
        c->at++;
        if (is_expected(p, c))
            return true;
    }
    return false;
}

/* To the last choice that has something left; false: none has. */
static bool step_back(struct pattern *p)
{
    for (; p->choice_count; p->choice_count--) {
        struct pattern_choice *c = &p->choices[p->choice_count - 1];
        bool moved = false;
        switch (c->kind) {
        case OPENED: p->capture_count--; break;
        case CLOSED: p->captures[c->at].size = CAPTURE_OPEN; break;
        case GIVES_BACK: moved = give_back(p, c); break;
        default: moved = take_more(p, c);
        }
        if (moved) {
            p->place = c->next;
            p->at = c->at;
            return true;
        }
    }
    return false;
}

bool pattern_match(struct pattern *p, size_t place, size_t at, size_t *end)
{
    p->place = place;
    p->at = at;
    p->capture_count = 0;
    p->choice_count = 0;
    for (;;) {
        enum outcome outcome = step(p);
        if (outcome == MATCHED) {
            *end = p->at;
            return true;
        }
        if (outcome == FAILED && !step_back(p))
            return false;
    }
}
