/* glob.h -- the pattern language of KEYS, SCAN MATCH and CONFIG GET.
 *
 * '*' any run, '?' any byte, [abc] [a-z] [^a] sets, '\' takes the next byte as it
 * is. Iterative; work is at most text size times pattern size, and one '*' never
 * multiplies with another (only the last '*' is retried), so no pattern is slow.
 */
#ifndef HF_BASE_GLOB_H
#define HF_BASE_GLOB_H

#include "base/bytes.h"

bool glob_match(bytes pattern, bytes text, bool ignore_case);

#endif
