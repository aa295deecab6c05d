/* args.c -- parsing of words that several groups share. */
#include "cmd/args.h"

#include "base/number.h"
#include "engine/engine.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>

bool arg_int(struct call *c, size_t index, int64_t *value)
{
    if (HF_LIKELY(number_parse_int(c->argv[index], value)))
        return true;
    reply_status(c->reply, HF_ERR_NOT_INTEGER);
    return false;
}

static void reply_range_error(struct call *c, int64_t low, int64_t high)
{
    reply_errorf(c->reply, "ERR value is out of range, value must between %" PRId64 " and %" PRId64, low,
                 high);
}

bool arg_int_within(struct call *c, size_t index, int64_t range, int64_t *value)
{
    int64_t parsed;
    if (!arg_int(c, index, &parsed))
        return false;
    if (parsed < -range || parsed > range) {
        reply_range_error(c, -range, range);
        return false;
    }
    *value = parsed;
    return true;
}

bool arg_int_from(struct call *c, size_t index, int64_t least, const char *error, int64_t *value)
{
    int64_t parsed;
    if (!number_parse_int(c->argv[index], &parsed) || parsed < least) {
        reply_error_line(c->reply, error);
        return false;
    }
    *value = parsed;
    return true;
}

bool arg_pop_count(struct call *c, size_t index, int64_t *count)
{
    if (index == c->argc)
        return true;
    if (!bytes_is_word(c->argv[index], "COUNT") || index + 1 == c->argc) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return false;
    }
    if (!arg_int_from(c, index + 1, 1, "ERR count should be greater than 0", count))
        return false;
    if (index + 2 < c->argc)
        reply_status(c->reply, HF_ERR_SYNTAX);
    return index + 2 == c->argc;
}

bool arg_db(struct call *c, size_t index, uint32_t *db)
{
    int64_t value;
    if (!arg_int(c, index, &value))
        return false;
    if (value < INT_MIN || value > INT_MAX) {
        reply_range_error(c, INT_MIN, INT_MAX);
        return false;
    }
    if (value < 0 || value >= (int64_t)engine_databases(txn_engine(c->txn))) {
        reply_status(c->reply, HF_ERR_DB_INDEX);
        return false;
    }
    *db = (uint32_t)value;
    return true;
}

bool arg_timeout(struct call *c, size_t index, double *seconds)
{
    long double parsed;
    if (!number_parse_float(c->argv[index], &parsed)) {
        reply_errorf(c->reply, "ERR timeout is not a float or out of range");
        return false;
    }
    long double ms = ceill(parsed * 1000);
    if (ms < 0 || ms >= 0x1p63L) {
        reply_errorf(c->reply, "ERR timeout is negative"); /* Redis 7.0 says so of both ends */
        return false;
    }
    *seconds = (double)(ms / 1000);
    return true;
}

void arg_wrong_count(struct call *c)
{
    reply_errorf(c->reply, "ERR wrong number of arguments for '%s' command", c->command->full_name);
}

bytes arg_without_line_end(struct call *c, size_t index)
{
    bytes word = c->argv[index];
    while (word.size && (word.data[word.size - 1] == '\r' || word.data[word.size - 1] == '\n'))
        word.size--;
    return word;
}

bool arg_deadline(struct call *c, enum expire_unit unit, size_t index, uint64_t *deadline_ms)
{
    int64_t value, when;
    if (!arg_int(c, index, &value))
        return false;
    int64_t scale = unit == EXPIRE_EX || unit == EXPIRE_EXAT ? 1000 : 1;
    int64_t base = unit == EXPIRE_EX || unit == EXPIRE_PX ? (int64_t)txn_now_ms(c->txn) : 0;
    if (value <= 0 || __builtin_mul_overflow(value, scale, &when) ||
        __builtin_add_overflow(when, base, &when)) {
        reply_errorf(c->reply, "ERR invalid expire time in '%s' command", c->command->full_name);
        return false;
    }
    *deadline_ms = (uint64_t)when;
    return true;
}
