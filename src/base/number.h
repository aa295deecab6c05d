/* number.h -- strict text to number and back.
 *
 * Strict as Redis documents its integers: optional '-', no '+', no spaces, no
 * leading zeros, whole text used, in range. Out pointers are written only on
 * success.
 */
#ifndef HF_BASE_NUMBER_H
#define HF_BASE_NUMBER_H

#include "base/assert.h"
#include "base/bytes.h"

#define NUMBER_TEXT_MAX 24  /* room for any int64 or uint64 in decimal */
#define NUMBER_FLOAT_MAX 5120 /* room for any long double in number_format_float */

bool number_parse_int(bytes text, int64_t *value) HF_CHECK;
bool number_parse_uint(bytes text, uint64_t *value) HF_CHECK;
/* strtold over the whole text, no surrounding spaces, NaN refused. */
bool number_parse_float(bytes text, long double *value) HF_CHECK;
bool number_parse_double(bytes text, double *value) HF_CHECK; /* the same with strtod */

size_t number_format_int(char *out, int64_t value);
size_t number_format_uint(char *out, uint64_t value);
/* 17 significant decimals after the point, trailing zeros removed: the form that
 * INCRBYFLOAT and HINCRBYFLOAT store and reply. */
size_t number_format_float(char out[NUMBER_FLOAT_MAX], long double value);
/* 17 significant digits, as Redis 7.0 replies scores; nan, inf, -inf. */
#define NUMBER_DOUBLE_MAX 40
size_t number_format_double(char out[NUMBER_DOUBLE_MAX], double value);
/* Sizes as redis.conf writes them: 100, 1k, 1kb, 2mb, 3gb (k = 1000, kb = 1024). */
bool number_parse_memory(bytes text, uint64_t *value) HF_CHECK;

#endif
