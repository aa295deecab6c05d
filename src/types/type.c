/* type.c -- the table of types, indexed by their permanent numbers.
 *
 * The numbers are those of enum type in store/entry.h and of every file on disk. A new
 * type is a row at the end.
 */
#include "types/type.h"

#include "types/hash.h"
#include "types/list.h"
#include "types/set.h"
#include "types/stream.h"
#include "types/zset.h"

static const struct {
    const char *name;
    const struct type_ops *ops;
} types[] = {
    [0] = {"string", NULL}, /* bytes in the entry */
    [1] = {"list", &list_ops},
    [2] = {"set", &set_ops},
    [3] = {"zset", &zset_ops},
    [4] = {"hash", &hash_ops},
    [5] = {"stream", &stream_ops},
};

static bool is_known(int type)
{
    return type >= 0 && (size_t)type < sizeof(types) / sizeof(types[0]);
}

const struct type_ops *type_ops_of(int type)
{
    return is_known(type) ? types[type].ops : NULL;
}

const char *type_name(int type)
{
    return is_known(type) ? types[type].name : "none";
}
