/* number.c -- conversions with every overflow checked. */
#include "base/number.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

bool number_parse_uint(bytes text, uint64_t *value)
{
    if (text.size == 0 || text.size > 20 || (text.data[0] == '0' && text.size > 1))
        return false;
    uint64_t result = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = (unsigned)text.data[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(result, (uint64_t)10, &result) ||
            __builtin_add_overflow(result, (uint64_t)digit, &result))
            return false;
    }
    *value = result;
    return true;
}

bool number_parse_int(bytes text, int64_t *value)
{
    bool negative = text.size > 0 && text.data[0] == '-';
    uint64_t magnitude;
    if (negative)
        text = bytes_of(text.data + 1, text.size - 1);
    if (!number_parse_uint(text, &magnitude))
        return false;
    if (negative) {
        if (magnitude == 0 || magnitude > (uint64_t)INT64_MAX + 1)
            return false;
        *value = (int64_t)(0 - magnitude);
    } else {
        if (magnitude > INT64_MAX)
            return false;
        *value = (int64_t)magnitude;
    }
    return true;
}

bool number_parse_float(bytes text, long double *value)
{
    char copy[NUMBER_FLOAT_MAX];
    if (text.size == 0 || text.size >= sizeof(copy))
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = 0;
    char first = copy[0];
    if (first == ' ' || (first >= '\t' && first <= '\r'))
        return false;
    char *end;
    errno = 0;
    long double result = strtold(copy, &end);
    if ((size_t)(end - copy) != text.size || isnan(result))
        return false;
    if (errno == ERANGE && (isinf(result) || result == 0))
        return false;
    *value = result;
    return true;
}

bool number_parse_double(bytes text, double *value)
{
    char copy[NUMBER_FLOAT_MAX];
    if (text.size == 0 || text.size >= sizeof(copy))
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = 0;
    char first = copy[0];
    if (first == ' ' || (first >= '\t' && first <= '\r'))
        return false;
    char *end;
    errno = 0;
    double result = strtod(copy, &end);
    if ((size_t)(end - copy) != text.size || isnan(result))
        return false;
    if (errno == ERANGE && (isinf(result) || result == 0))
        return false;
    *value = result;
    return true;
}

size_t number_format_uint(char *out, uint64_t value)
{
    if (HF_LIKELY(value < 100)) {
        size_t tens = value >= 10;
        out[0] = (char)('0' + value / 10);
        out[tens] = (char)('0' + value % 10);
        return tens + 1;
    }
    char reversed[NUMBER_TEXT_MAX];
    size_t size = 0;
    do {
        reversed[size++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    for (size_t i = 0; i < size; i++)
        out[i] = reversed[size - 1 - i];
    return size;
}

size_t number_format_int(char *out, int64_t value)
{
    if (value >= 0)
        return number_format_uint(out, (uint64_t)value);
    out[0] = '-';
    return 1 + number_format_uint(out + 1, 0 - (uint64_t)value);
}

size_t number_format_float(char out[NUMBER_FLOAT_MAX], long double value)
{
    if (isinf(value)) {
        memcpy(out, value > 0 ? "inf\0" : "-inf", 5);
        return value > 0 ? 3 : 4;
    }
    int printed = snprintf(out, NUMBER_FLOAT_MAX, "%.17Lf", value);
    hf_assert(printed > 0 && printed < NUMBER_FLOAT_MAX);
    size_t size = (size_t)printed;
    while (out[size - 1] == '0')
        size--;
    if (out[size - 1] == '.')
        size--;
    if (size == 2 && out[0] == '-' && out[1] == '0') {
        out[0] = '0';
        size = 1;
    }
    return size;
}

bool number_parse_memory(bytes text, uint64_t *value)
{
    static const struct { const char *suffix; uint64_t factor; } units[] = {
        {"", 1}, {"b", 1}, {"k", 1000}, {"kb", 1024}, {"m", 1000000}, {"mb", 1048576},
        {"g", 1000000000}, {"gb", 1073741824}};
    size_t digits = 0;
    while (digits < text.size && text.data[digits] >= '0' && text.data[digits] <= '9')
        digits++;
    bytes suffix = bytes_of(text.data + digits, text.size - digits);
    uint64_t number;
    if (!number_parse_uint(bytes_of(text.data, digits), &number))
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (bytes_is_word(suffix, units[i].suffix))
            return !__builtin_mul_overflow(number, units[i].factor, value);
    }
    return false;
}

size_t number_format_double(char out[NUMBER_DOUBLE_MAX], double value)
{
    if (isnan(value) || isinf(value))
        return (size_t)snprintf(out, NUMBER_DOUBLE_MAX, "%s", isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
    return (size_t)snprintf(out, NUMBER_DOUBLE_MAX, "%.17g", value);
}
