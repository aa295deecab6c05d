/* fuzz_hyperloglog.c -- any bytes as a HyperLogLog: SET, then PFADD, PFCOUNT, PFMERGE and PFDEBUG through the commands.
 *
 * Input: a byte that chooses hll-sparse-max-bytes, two values (each with two bytes of size before it) for the keys a and b, then
 * a step for each two bytes. A naive reading of the value foretells the reply: what is no HyperLogLog is -WRONGTYPE, a whole one
 * counts and adds as its registers do, register by register, and stays whole; a damaged one may be refused as -INVALIDOBJ, and is then
 * what it was.
 */
#include "../unit/support/exec_client.h"
#include "base/wire.h"
#include "types/hyperloglog.h"

#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 32

enum form { ABSENT, OTHER, DAMAGED, WHOLE };

struct twin {
    struct buf value;
    enum form form;
    uint8_t registers[HLL_REGISTERS];
};

static struct client client;
static const char *const keys[] = {"a", "b", "c"};
static struct twin twins[3];
static char dir[64];

static void remove_dir(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    int status = system(command);
    (void)status;
}

static void start(void)
{
    struct engine *engine;
    char detail[512];
    snprintf(dir, sizeof(dir), "%s/hf-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    char *made = mkdtemp(dir);
    hf_assert(made);
    atexit(remove_dir);
    struct engine_config config = {.dir = dir, .workers = 1, .durability = DURABILITY_NONE};
    status s = engine_open(&config, &engine, detail, sizeof(detail));
    hf_assert(s == HF_OK);
    command_table_init();
    client_init(&client, exec_new(engine, 0), DURABILITY_NONE);
    for (int i = 0; i < 3; i++)
        buf_init(&twins[i].value, SIZE_MAX);
}

/* ---- the naive reading ---- */

static enum form read_sparse(bytes v, uint8_t *registers)
{
    size_t at = 16, filled = 0;
    while (at < v.size) {
        unsigned code = v.data[at++], length, rank = 0;
        if (code >= 128) {
            rank = ((code - 128) >> 2) + 1;
            length = (code & 3) + 1;
        } else if (code < 64) {
            length = code + 1;
        } else if (at == v.size) {
            return DAMAGED;
        } else {
            length = ((code - 64) << 8) + v.data[at++] + 1;
        }
        for (; length; length--) {
            if (filled == HLL_REGISTERS)
                return DAMAGED;
            registers[filled++] = (uint8_t)rank;
        }
    }
    return filled == HLL_REGISTERS ? WHOLE : DAMAGED;
}

static enum form read_value(bytes v, uint8_t *registers)
{
    memset(registers, 0, HLL_REGISTERS);
    if (v.size < 16 || memcmp(v.data, "HYLL", 4) != 0 || v.data[4] > 1 || (v.data[4] == 0 && v.size != 16 + 12288))
        return OTHER;
    if (v.data[4] == 1)
        return read_sparse(v, registers);
    for (uint32_t bit = 0; bit < 12288 * 8; bit++)
        registers[bit / 6] |= (uint8_t)((v.data[16 + bit / 8] >> bit % 8 & 1) << bit % 6);
    return WHOLE;
}

/* ---- commands ---- */

static const char *run_words(const char *name, const char *word, int key, int other, const bytes *elements, size_t count)
{
    bytes argv[16];
    size_t argc = 0;
    argv[argc++] = bytes_str(name);
    if (word)
        argv[argc++] = bytes_str(word);
    argv[argc++] = bytes_str(keys[key]);
    if (other >= 0)
        argv[argc++] = bytes_str(keys[other]);
    for (size_t i = 0; i < count; i++)
        argv[argc++] = elements[i];
    return client_run(&client, argv, argc);
}

/* The value as it is now. */
static void look(int key)
{
    struct twin *t = &twins[key];
    const char *reply = run_words("GET", NULL, key, -1, NULL, 0);
    buf_reset(&t->value);
    t->form = ABSENT;
    memset(t->registers, 0, sizeof(t->registers));
    if (strncmp(reply, "$-1", 3) == 0)
        return;
    size_t length = strtoull(reply + 1, NULL, 10);
    buf_append(&t->value, strstr(reply, "\r\n") + 2, length);
    uint8_t *exact = mem_alloc(length ? length : 1); /* a read beyond the end shows */
    if (length)
        memcpy(exact, t->value.data, length);
    t->form = read_value(bytes_of(exact, length), t->registers);
    mem_free(exact);
}

static bool is_error(const char *reply, const char *word) { return reply[0] == '-' && strncmp(reply + 1, word, strlen(word)) == 0; }

/* The forms that stand in for a command's reply; true: it must have been done. */
static bool must_work(const char *reply, const int *used, size_t count)
{
    bool other = false, damaged = false;
    for (size_t i = 0; i < count; i++) {
        other |= twins[used[i]].form == OTHER;
        damaged |= twins[used[i]].form == DAMAGED;
    }
    if (!other && !damaged) {
        hf_assert(reply[0] != '-');
        return true;
    }
    if (!damaged)
        hf_assert(is_error(reply, "WRONGTYPE "));
    hf_assert(reply[0] != '-' || is_error(reply, "WRONGTYPE ") || is_error(reply, "INVALIDOBJ "));
    return false;
}

/* It holds what the registers in `wanted` say, or after an error what it did. */
static void expect_after(int key, bool worked, bool refused, const uint8_t *wanted)
{
    static struct buf before;
    if (!before.size_max)
        buf_init(&before, SIZE_MAX);
    buf_reset(&before);
    buf_append_bytes(&before, buf_view(&twins[key].value));
    look(key);
    if (worked)
        hf_assert(twins[key].form == WHOLE && memcmp(twins[key].registers, wanted, HLL_REGISTERS) == 0);
    if (refused)
        hf_assert(bytes_equal(buf_view(&before), buf_view(&twins[key].value)));
}

static void add(int key, unsigned seed)
{
    uint8_t wanted[HLL_REGISTERS];
    uint32_t numbers[4];
    bytes elements[4];
    bool changes = twins[key].form == ABSENT;
    size_t count = seed % 5;
    memcpy(wanted, twins[key].registers, sizeof(wanted));
    for (size_t i = 0; i < count; i++) {
        uint32_t index;
        uint8_t rank;
        numbers[i] = (seed * 7919u + (uint32_t)i) * 2654435761u;
        elements[i] = bytes_of(&numbers[i], 1 + (seed >> 3) % 4);
        hll_place(elements[i], &index, &rank);
        changes |= wanted[index] < rank;
        wanted[index] = wanted[index] < rank ? rank : wanted[index];
    }
    const char *reply = run_words("PFADD", NULL, key, -1, elements, count);
    bool worked = must_work(reply, &key, 1), refused = reply[0] == '-';
    hf_assert(!worked || strcmp(reply, changes ? ":1\r\n" : ":0\r\n") == 0);
    expect_after(key, worked, refused, wanted);
}

static void count(int key, int other)
{
    int used[] = {key, other};
    uint8_t most[HLL_REGISTERS];
    uint64_t wanted = 0, cached = UINT64_MAX;
    const struct twin *t = &twins[key];
    for (size_t i = 0; i < HLL_REGISTERS; i++)
        most[i] = other < 0 || t->registers[i] > twins[other].registers[i] ? t->registers[i] : twins[other].registers[i];
    if (other < 0 && (t->form == WHOLE || t->form == DAMAGED))
        cached = get_u64(t->value.data + 8);
    const char *reply = run_words("PFCOUNT", NULL, key, other, NULL, 0);
    bool worked = must_work(reply, used, other < 0 ? 1 : 2), absent = t->form == ABSENT && other < 0, refused = reply[0] == '-';
    wanted = cached >> 63 ? hll_count_registers(most) : cached;
    if (worked && !absent)
        hf_assert(reply[0] == ':' && strtoll(reply + 1, NULL, 10) == (long long)wanted);
    if (worked && absent)
        hf_assert(strcmp(reply, ":0\r\n") == 0);
    else
        expect_after(key, worked && twins[key].form == WHOLE, refused, twins[key].form == WHOLE && other < 0 ? most : twins[key].registers);
}

static void merge(int key, int other)
{
    int used[] = {key, other};
    uint8_t most[HLL_REGISTERS];
    for (size_t i = 0; i < HLL_REGISTERS; i++)
        most[i] = twins[key].registers[i] > twins[other].registers[i] ? twins[key].registers[i] : twins[other].registers[i];
    const char *reply = run_words("PFMERGE", NULL, key, other, NULL, 0);
    bool worked = must_work(reply, used, 2), refused = reply[0] == '-';
    expect_after(key, worked, refused, most);
    look(other);
}

static void debug(int key, const char *word)
{
    uint8_t same[HLL_REGISTERS];
    memcpy(same, twins[key].registers, sizeof(same));
    const char *reply = run_words("PFDEBUG", word, key, -1, NULL, 0);
    bool refused = reply[0] == '-', worked = twins[key].form == WHOLE && !refused;
    if (twins[key].form == OTHER)
        hf_assert(is_error(reply, "WRONGTYPE "));
    expect_after(key, worked, refused, same);
}

static void step(unsigned what, unsigned seed)
{
    static const char *const words[] = {"DECODE", "GETREG", "TODENSE", "ENCODING"};
    int key = (int)(what >> 4) % 3, other = (int)(what >> 6) % 3;
    switch (what % 8) {
    case 0:
    case 1:
    case 2: add(key, seed); break;
    case 3: count(key, -1); break;
    case 4: count(key, other); break;
    case 5: merge(key, other); break;
    case 6: debug(key, words[seed % 4]); break;
    default:
        run_words("DEL", NULL, key, -1, NULL, 0);
        look(key);
    }
}

static bytes take(bytes *in)
{
    size_t size = in->size < 2 ? 0 : get_u16(in->data);
    *in = in->size < 2 ? bytes_of(in->data, 0) : bytes_of(in->data + 2, in->size - 2);
    size = size < in->size ? size : in->size;
    bytes out = bytes_of(in->data, size);
    *in = bytes_of(in->data + size, in->size - size);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t limits[] = {0, 20, 100, 3000, 100000};
    if (!dir[0])
        start();
    if (size == 0)
        return 0;
    bytes in = bytes_of(data + 1, size - 1);
    hll_sparse_bytes_max = limits[data[0] % 5];
    for (int i = 0; i < 3; i++) {
        if (i == 2) {
            run_words("DEL", NULL, i, -1, NULL, 0);
        } else {
            bytes value = take(&in);
            run_words("SET", NULL, i, -1, &value, 1);
        }
        look(i);
    }
    for (size_t i = 0; i + 1 < in.size && i < 2 * STEPS_MAX; i += 2)
        step(in.data[i], in.data[i + 1]);
    return 0;
}
