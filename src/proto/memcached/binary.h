/* binary.h -- the binary protocol: a header of 24 bytes, then extras, key, value. Numbers are big-endian.
 *
 *    0 u8 magic   1 u8 opcode   2 u16 key size   4 u8 extras size   5 u8 0   6 u16 vbucket, of an answer: status
 *    8 u32 size of what follows   12 opaque, comes back as it is   16 u64 number to compare with, of an answer: the item's
 */
#ifndef HF_PROTO_MEMCACHED_BINARY_H
#define HF_PROTO_MEMCACHED_BINARY_H

#include "base/buf.h"
#include "proto/memcached/memcached.h"

enum { BINARY_HEADER = 24, BINARY_REQUEST = 0x80, BINARY_RESPONSE = 0x81 };

enum binary_opcode {
    OP_GET = 0x00, OP_SET, OP_ADD, OP_REPLACE, OP_DELETE, OP_INCREMENT, OP_DECREMENT, OP_QUIT, OP_FLUSH, OP_GETQ, OP_NOOP, OP_VERSION,
    OP_GETK, OP_GETKQ, OP_APPEND, OP_PREPEND, OP_STAT, OP_SETQ, OP_ADDQ, OP_REPLACEQ, OP_DELETEQ, OP_INCREMENTQ, OP_DECREMENTQ, OP_QUITQ,
    OP_FLUSHQ, OP_APPENDQ, OP_PREPENDQ, OP_TOUCH = 0x1c, OP_GAT, OP_GATQ, OP_SASL_LIST = 0x20, OP_SASL_AUTH, OP_SASL_STEP, OP_GATK, OP_GATKQ,
};

enum binary_status {
    BINARY_OK = 0, BINARY_NOT_FOUND = 1, BINARY_EXISTS = 2, BINARY_TOO_LARGE = 3, BINARY_INVALID = 4, BINARY_NOT_STORED = 5,
    BINARY_NOT_NUMBER = 6, BINARY_AUTH_ERROR = 0x20, BINARY_AUTH_CONTINUE = 0x21, BINARY_UNKNOWN = 0x81, BINARY_NO_MEMORY = 0x82, BINARY_NOT_SUPPORTED = 0x83,
    BINARY_INTERNAL = 0x84,
};

uint64_t binary_number(const uint8_t *at, size_t size); /* big-endian */
void binary_put_number(uint8_t *at, uint64_t value, size_t size);
/* The loud form of a quiet opcode. */
enum binary_opcode binary_loud(uint8_t opcode);
/* An answer to the command that runs: its header, then extras, key and value. */
void binary_answer(const struct memcached *m, struct buf *out, enum binary_status code, bytes extras, bytes key, bytes value, uint64_t cas);
/* With the own text of the code when it is empty. */
void binary_error(const struct memcached *m, struct buf *out, enum binary_status code, bytes text);

#endif
