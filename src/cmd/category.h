/* category.h -- the ACL categories of a command: they follow from its row's group and flags.
 *
 * Numbers are positions in the order in which Redis lists them; a set of them is a bit mask.
 */
#ifndef HF_CMD_CATEGORY_H
#define HF_CMD_CATEGORY_H

#include "cmd/command.h"

#define CATEGORIES_MAX 32

size_t category_count(void);
const char *category_name(size_t number); /* "keyspace", without the '@' */
int category_find(bytes name);            /* any case; -1: none */
uint32_t command_categories(const struct command *row);

#endif
