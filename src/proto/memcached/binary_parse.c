/* binary_parse.c -- packets of the binary protocol.
 *
 * Words: name, key, extras, value. A packet whose sizes cannot be is answered, and the connection ends; so does, by its opcode
 * alone, one that asks for more than a login before there was one. A value that is too large is skipped without having been read.
 */
#include "proto/memcached/binary.h"

#define LOGIN_BODY_MAX 4096

uint64_t binary_number(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | at[i];
    return value;
}

void binary_put_number(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = size; i-- > 0; value >>= 8)
        at[i] = (uint8_t)value;
}

enum binary_opcode binary_loud(uint8_t opcode)
{
    switch (opcode) {
    case OP_GETQ: return OP_GET;
    case OP_GETKQ: return OP_GETK;
    case OP_SETQ: return OP_SET;
    case OP_ADDQ: return OP_ADD;
    case OP_REPLACEQ: return OP_REPLACE;
    case OP_DELETEQ: return OP_DELETE;
    case OP_INCREMENTQ: return OP_INCREMENT;
    case OP_DECREMENTQ: return OP_DECREMENT;
    case OP_QUITQ: return OP_QUIT;
    case OP_FLUSHQ: return OP_FLUSH;
    case OP_APPENDQ: return OP_APPEND;
    case OP_PREPENDQ: return OP_PREPEND;
    case OP_GATQ: return OP_GAT;
    case OP_GATKQ: return OP_GATK;
    default: return (enum binary_opcode)opcode;
    }
}

struct packet { size_t key, extras, body, value; };

static enum parse_result say(struct resp_words *words, struct protocol_command *out, enum binary_status code, bool close)
{
    static const uint8_t codes[] = {[BINARY_INVALID] = BINARY_INVALID, [BINARY_AUTH_ERROR] = BINARY_AUTH_ERROR, [BINARY_UNKNOWN] = BINARY_UNKNOWN};
    protocol_word(words, BYTES("error"));
    protocol_word(words, bytes_of(&codes[code], 1));
    if (close)
        protocol_word(words, BYTES("close"));
    out->row = memcached_row(ROW_BIN_SAY);
    return PARSE_DONE;
}

static enum memcached_row row_of_stat(bytes key)
{
    bool set = bytes_equal(key, BYTES("detail on")) || bytes_equal(key, BYTES("detail off"));
    return bytes_equal(key, BYTES("reset")) ? ROW_BIN_STAT_RESET : set ? ROW_BIN_STAT_SET : ROW_BIN_STAT;
}

/* Which row, and are the sizes those of the opcode? */
static bool row_of(enum binary_opcode opcode, const struct packet *p, bytes key, enum memcached_row *row)
{
    bool bare = p->body == 0, only_key = p->key && !p->extras && !p->value;
    switch (opcode) {
    case OP_GET: case OP_GETK: *row = ROW_BIN_GET; return only_key;
    case OP_TOUCH: case OP_GAT: case OP_GATK: *row = ROW_BIN_TOUCH; return p->extras == 4 && p->key && !p->value;
    case OP_SET: case OP_ADD: case OP_REPLACE: *row = ROW_BIN_STORE; return p->extras == 8 && p->key;
    case OP_APPEND: case OP_PREPEND: *row = ROW_BIN_JOIN; return !p->extras && p->key;
    case OP_DELETE: *row = ROW_BIN_DELETE; return only_key;
    case OP_INCREMENT: case OP_DECREMENT: *row = ROW_BIN_DELTA; return p->extras == 20 && p->key && !p->value;
    case OP_FLUSH: *row = ROW_BIN_FLUSH; return !p->key && !p->value && (!p->extras || p->extras == 4);
    case OP_STAT: *row = row_of_stat(key); return !p->extras && !p->value;
    case OP_NOOP: *row = ROW_BIN_NOOP; return bare;
    case OP_VERSION: *row = ROW_BIN_VERSION; return bare;
    case OP_QUIT: *row = ROW_BIN_QUIT; return bare;
    case OP_SASL_LIST: *row = ROW_BIN_MECHANISMS; return bare;
    case OP_SASL_AUTH: case OP_SASL_STEP: *row = ROW_BIN_AUTH; return !p->extras && p->key;
    default: *row = ROW_BIN_SAY; return true;
    }
}

static bool is_for_all(uint8_t opcode)
{
    return opcode == OP_VERSION || opcode == OP_SASL_LIST || opcode == OP_SASL_AUTH || opcode == OP_SASL_STEP;
}

static bool stores(enum memcached_row row) { return row == ROW_BIN_STORE || row == ROW_BIN_JOIN; }

enum parse_result memcached_parse_binary(struct memcached *m, const struct protocol_limits *limits, bytes input,
                                         struct resp_words *words, struct protocol_command *out, size_t *used)
{
    enum memcached_row row;
    *used = 0;
    m->needs = BINARY_HEADER;
    if (input.data[0] != BINARY_REQUEST)
        return PARSE_BAD;
    if (input.size < BINARY_HEADER)
        return PARSE_MORE;
    const uint8_t *head = input.data;
    struct packet p = {.key = (size_t)binary_number(head + 2, 2), .extras = head[4], .body = (size_t)binary_number(head + 8, 4)};
    *out = (struct protocol_command){.head = head, .quiet = binary_loud(head[1]) != head[1]};
    *used = BINARY_HEADER;
    if (!limits->authenticated && !is_for_all(head[1]))
        return say(words, out, BINARY_AUTH_ERROR, true);
    if (p.key + p.extras > p.body)
        return say(words, out, BINARY_UNKNOWN, true);
    if (p.key > MEMCACHED_KEY_MAX)
        return say(words, out, BINARY_INVALID, true);
    p.value = p.body - p.key - p.extras;
    m->needs = BINARY_HEADER + p.extras + p.key;
    if (input.size < m->needs) {
        *used = 0;
        return PARSE_MORE;
    }
    bytes extras = bytes_of(head + BINARY_HEADER, p.extras), key = bytes_of(extras.data + p.extras, p.key);
    if (!row_of(binary_loud(head[1]), &p, key, &row))
        return say(words, out, BINARY_INVALID, true);
    if (row == ROW_BIN_SAY || (row == ROW_BIN_AUTH && p.body > LOGIN_BODY_MAX)) {
        out->skip = p.body;
        return say(words, out, row == ROW_BIN_SAY ? BINARY_UNKNOWN : BINARY_AUTH_ERROR, false);
    }
    bool fits = !stores(row) || memcached_item_fits(p.key, p.value, (uint32_t)(p.extras ? binary_number(extras.data, 4) : 0));
    if (!fits) {
        *used = m->needs;
        out->skip = p.value;
        row = ROW_BIN_OVERSIZE;
    } else {
        m->needs += p.value;
        *used = input.size < m->needs ? 0 : m->needs;
        if (*used == 0)
            return PARSE_MORE;
    }
    if (row == ROW_BIN_FLUSH && p.extras && binary_number(extras.data, 4))
        row = ROW_BIN_FLUSH_LATER;
    out->row = memcached_row(row);
    protocol_word(words, bytes_str(out->row->name));
    protocol_word(words, key);
    protocol_word(words, extras);
    protocol_word(words, bytes_of(key.data + key.size, fits ? p.value : 0));
    return PARSE_DONE;
}
