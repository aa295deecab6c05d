/* words.c -- one pass over the bytes, one copy per word; room for the words doubles. */
#include "base/words.h"

#include "base/memory.h"

#include <ctype.h>

/* Takes one word from *at on into out (room for the whole line); its size, or -1. */
static long take_word(bytes line, size_t *at, char *out)
{
    size_t i = *at;
    long size = 0;
    while (i < line.size && !isspace(line.data[i])) {
        uint8_t c = line.data[i];
        if (c == 0)
            return -1;
        if (c != '"' && c != '\'') {
            out[size++] = (char)c;
            i++;
            continue;
        }
        uint8_t quote = c;
        for (i++;; i++) {
            if (i >= line.size || line.data[i] == 0)
                return -1;
            c = line.data[i];
            if (c == quote)
                break;
            uint8_t next = i + 1 < line.size ? line.data[i + 1] : 0;
            if (c == '\\' && quote == '"' && next == 'x' && i + 3 < line.size && hex_digit(line.data[i + 2]) >= 0 &&
                hex_digit(line.data[i + 3]) >= 0) {
                out[size] = (char)(hex_digit(line.data[i + 2]) << 4 | hex_digit(line.data[i + 3]));
                if (out[size++] == 0)
                    return -1;
                i += 3;
            } else if (c == '\\' && next && (quote == '"' || next == '\'')) {
                out[size++] = quote == '"' ? (char)unescaped(next) : '\'';
                i++;
            } else {
                out[size++] = (char)c;
            }
        }
        i++; /* the closing quote; a blank or the end must follow */
        if (i < line.size && !isspace(line.data[i]))
            return -1;
    }
    *at = i;
    return size;
}

bool words_split(struct words *w, bytes line)
{
    size_t capacity = 0;
    char *scratch = mem_alloc(line.size + 1);
    *w = (struct words){NULL, 0};
    bool good = true;
    for (size_t at = 0; good;) {
        while (at < line.size && isspace(line.data[at]))
            at++;
        if (at >= line.size)
            break;
        long size = w->count < WORDS_MAX ? take_word(line, &at, scratch) : -1;
        good = size >= 0;
        if (good) {
            if (w->count == capacity)
                w->items = mem_realloc(w->items, (capacity = capacity ? capacity * 2 : 8) * sizeof(*w->items));
            scratch[size] = 0;
            w->items[w->count++] = mem_strdup(scratch);
        }
    }
    mem_free(scratch);
    if (!good)
        words_release(w);
    return good;
}

void words_release(struct words *w)
{
    for (size_t i = 0; i < w->count; i++)
        mem_free(w->items[i]);
    mem_free(w->items);
    *w = (struct words){NULL, 0};
}

void word_quote(const char *value, struct buf *out)
{
    static const char controls[] = "\n\r\t\a\b", letters[] = "nrtab";
    buf_append_u8(out, '"');
    for (const char *c = value; *c; c++) {
        const char *control = strchr(controls, *c);
        if (*c == '"' || *c == '\\')
            buf_printf(out, "\\%c", *c);
        else if (control)
            buf_printf(out, "\\%c", letters[control - controls]);
        else if (isprint((unsigned char)*c))
            buf_append_u8(out, (uint8_t)*c);
        else
            buf_printf(out, "\\x%02x", (unsigned char)*c);
    }
    buf_append_u8(out, '"');
}
