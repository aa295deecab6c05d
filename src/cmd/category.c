/* category.c -- one row per category. */
#include "cmd/category.h"

static const struct {
    const char *category, *group;
    uint32_t flags;
} rows[] = {
    {"keyspace", "generic", 0},     {"read", NULL, CMD_READ},
    {"write", NULL, CMD_WRITE},     {"set", "set", 0},
    {"sortedset", "sorted-set", 0}, {"list", "list", 0},
    {"hash", "hash", 0},            {"string", "string", 0},
    {"bitmap", "bitmap", 0},        {"hyperloglog", "hyperloglog", 0},
    {"geo", "geo", 0},              {"stream", "stream", 0},
    {"pubsub", NULL, CMD_PUBSUB},   {"admin", NULL, CMD_ADMIN},
    {"fast", NULL, CMD_FAST},       {"slow", NULL, 0},
    {"blocking", NULL, CMD_BLOCKING}, {"dangerous", NULL, CMD_ADMIN | CMD_DANGEROUS},
    {"connection", "connection", 0}, {"transaction", "transactions", 0},
    {"scripting", "scripting", 0},
};

#define COUNT (sizeof(rows) / sizeof(rows[0]))
_Static_assert(COUNT <= CATEGORIES_MAX, "a set of categories is one word");

size_t category_count(void) { return COUNT; }

const char *category_name(size_t number)
{
    hf_assert(number < COUNT);
    return rows[number].category;
}

int category_find(bytes name)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (bytes_is_word(name, rows[i].category))
            return (int)i;
    }
    return -1;
}

/* "+connection -read" */
static uint32_t corrected(uint32_t set, const char *text)
{
    for (size_t size; *text; text += size + (text[size] == ' ')) {
        size = strcspn(text, " ");
        int number = category_find(bytes_of(text + 1, size - 1));
        hf_assert(number >= 0);
        set = *text == '+' ? set | UINT32_C(1) << number : set & ~(UINT32_C(1) << number);
    }
    return set;
}

/* A container says nothing about its subcommands. */
uint32_t command_categories(const struct command *row)
{
    uint32_t flags = row->handler ? row->flags : 0, set = 0;
    for (size_t i = 0; i < COUNT; i++) {
        const char *group = rows[i].group;
        uint32_t any = rows[i].flags;
        bool is_in = group ? row->handler && strcmp(row->group, group) == 0
                   : any   ? (flags & any) != 0
                           : !(flags & CMD_FAST);
        set |= (uint32_t)is_in << i;
    }
    return row->categories ? corrected(set, row->categories) : set;
}
