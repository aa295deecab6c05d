/* glob.c -- matching with one retry point: the last '*' seen. */
#include "base/glob.h"

#define STARS_MAX 1000 /* Redis gives up on more, too */

static uint8_t fold(uint8_t c, bool ignore_case)
{
    return ignore_case && c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* Matches one text byte against the element at pattern[*at]; moves *at past it. */
static bool match_set(bytes pattern, size_t *at, uint8_t c, bool ignore_case)
{
    size_t p = *at + 1;
    bool negated = p < pattern.size && pattern.data[p] == '^';
    bool found = false;
    if (negated)
        p++;
    c = fold(c, ignore_case);
    while (p < pattern.size && pattern.data[p] != ']') {
        if (pattern.data[p] == '\\' && p + 1 < pattern.size) {
            p++;
            found |= pattern.data[p] == c || fold(pattern.data[p], ignore_case) == c;
            p++;
        } else if (p + 2 < pattern.size && pattern.data[p + 1] == '-') {
            uint8_t low = fold(pattern.data[p], ignore_case);
            uint8_t high = fold(pattern.data[p + 2], ignore_case);
            if (low > high) {
                uint8_t swap = low;
                low = high;
                high = swap;
            }
            found |= c >= low && c <= high;
            p += 3;
        } else {
            found |= fold(pattern.data[p], ignore_case) == c;
            p++;
        }
    }
    *at = p < pattern.size ? p + 1 : p;
    return found != negated;
}

static bool match_one(bytes pattern, size_t *at, uint8_t c, bool ignore_case)
{
    uint8_t element = pattern.data[*at];
    if (element == '[')
        return match_set(pattern, at, c, ignore_case);
    if (element == '\\' && *at + 1 < pattern.size) {
        *at += 1;
        element = pattern.data[*at];
    } else if (element == '?') {
        *at += 1;
        return true;
    }
    *at += 1;
    return fold(element, ignore_case) == fold(c, ignore_case);
}

bool glob_match(bytes pattern, bytes text, bool ignore_case)
{
    size_t p = 0, t = 0;
    size_t star_p = SIZE_MAX, star_t = 0, stars = 0;
    if (text.size == 0) /* Redis: the empty text matches nothing but "" and the lone star */
        return pattern.size == 0 || (pattern.size == 1 && pattern.data[0] == '*');
    while (t < text.size) {
        if (p < pattern.size && pattern.data[p] == '*') {
            if (++stars > STARS_MAX)
                return false;
            do {
                star_p = ++p;
            } while (p < pattern.size && pattern.data[p] == '*');
            star_t = t;
            continue;
        }
        size_t next = p;
        if (p < pattern.size && match_one(pattern, &next, text.data[t], ignore_case)) {
            p = next;
            t++;
            continue;
        }
        if (star_p == SIZE_MAX)
            return false;
        p = star_p;
        t = ++star_t;
    }
    while (p < pattern.size && pattern.data[p] == '*')
        p++;
    return p == pattern.size;
}
