/* status.c -- the rows of errors.def as arrays. */
#include "base/status.h"

static const struct row { const char *word; int http; const char *text; } rows[] = {
    {"OK", 200, "OK"},
#define ERROR(name, word, http, text) {word, http, text},
#include "base/errors.def"
#undef ERROR
};

const char *status_word(status s)
{
    hf_assert(s < HF_STATUS_COUNT);
    return rows[s].word;
}

const char *status_text(status s)
{
    hf_assert(s < HF_STATUS_COUNT);
    return rows[s].text;
}

int status_http(status s)
{
    hf_assert(s < HF_STATUS_COUNT);
    return rows[s].http;
}
