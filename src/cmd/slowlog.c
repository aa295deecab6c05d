/* slowlog.c -- a list of entries, the newest first, each one block: its words are cut as Redis cuts them, and passwords are
 * not among them.
 */
#include "cmd/slowlog.h"

#include "base/memory.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "cmd/kept_words.h"
#include "os/latency.h"
#include "os/thread.h"
#include "os/ticks.h"

#include <stdio.h>

#define WORDS_MAX 32
#define WORD_MAX 128

struct slow {
    struct slow *next;
    uint64_t id, unix_s, us;
    char address[64], name[128];
    struct kept_words words;
};

_Atomic uint64_t slowlog_threshold = UINT64_MAX;

static struct spin lock;
static struct slow *newest;
static uint64_t length, length_max = 128, next_id;

static _Atomic int64_t threshold_us = -1;

/* Of both thresholds the lower one, at the rate of the ticks as it is known now. */
static void set_ticks(void)
{
    int64_t slow_us = atomic_load(&threshold_us);
    uint64_t us = slow_us < 0 ? UINT64_MAX : (uint64_t)slow_us, ms = atomic_load(&latency_threshold_ms);
    if (ms && ms < us / 1000)
        us = ms * 1000;
    atomic_store(&slowlog_threshold, us == UINT64_MAX || us == 0 ? us : ticks_of_us(us));
}

void slowlog_set_threshold(int64_t us)
{
    ticks_start();
    atomic_store(&threshold_us, us);
    set_ticks();
}

void slowlog_set_latency(uint64_t ms)
{
    ticks_start();
    atomic_store(&latency_threshold_ms, ms);
    set_ticks();
}

bool slowlog_keeps_ms(uint64_t ms)
{
    int64_t wanted_us = atomic_load(&threshold_us);
    return wanted_us >= 0 && (uint64_t)wanted_us / 1000 <= ms;
}

static bool is_slow(uint64_t us)
{
    int64_t wanted = atomic_load(&threshold_us);
    return wanted >= 0 && us >= (uint64_t)wanted;
}

static void slow_free(struct slow *e)
{
    while (e) {
        struct slow *next = e->next;
        kept_words_release(&e->words);
        mem_free(e);
        e = next;
    }
}

/* Takes off what is too much; the caller frees it outside of the lock. */
static struct slow *cut_locked(uint64_t keep)
{
    struct slow **at = &newest;
    for (uint64_t i = 0; i < keep && *at; i++)
        at = &(*at)->next;
    struct slow *rest = *at;
    *at = NULL;
    length = length < keep ? length : keep;
    return rest;
}

void slowlog_set_length(uint64_t entries)
{
    spin_lock(&lock);
    length_max = entries;
    struct slow *rest = cut_locked(entries);
    spin_unlock(&lock);
    slow_free(rest);
}

static void add_word(struct slow *e, bytes word)
{
    char cut[WORD_MAX + 64];
    if (word.size > WORD_MAX) {
        memcpy(cut, word.data, WORD_MAX);
        int extra = snprintf(cut + WORD_MAX, sizeof(cut) - WORD_MAX, "... (%zu more bytes)", word.size - WORD_MAX);
        word = bytes_of(cut, WORD_MAX + (size_t)extra);
    }
    bool kept = kept_words_try_add(&e->words, word);
    hf_assert(kept); /* they are bounded */
}

/* Passwords, as far as a command has them at a known place. */
bool slowlog_is_secret(const struct command *row, const bytes *argv, size_t argc, size_t i)
{
    static const char *const settings[] = {"requirepass", "masterauth", "masteruser", "tls-key-file-pass", "tls-client-key-file-pass"};
    if (row->handler == cmd_auth)
        return i > 0;
    if (row->handler == cmd_acl_setuser)
        return i > 1;
    if (row->handler == cmd_hello)
        return i > 1 && (bytes_is_word(argv[i - 1], "AUTH") || (i > 2 && bytes_is_word(argv[i - 2], "AUTH")));
    if (row->handler != cmd_config_set || i < 3 || i % 2 == 0 || argc < 4)
        return false;
    for (size_t n = 0; n < sizeof(settings) / sizeof(settings[0]); n++) {
        if (bytes_is_word(argv[i - 1], settings[n]))
            return true;
    }
    return false;
}

void slowlog_note(const struct session *s, const struct command *row, const bytes *argv, size_t argc, uint64_t ticks, uint64_t unix_ms)
{
    uint64_t us = ticks_to_us(ticks);
    bool slow = is_slow(us);
    if (latency_is_on())
        latency_note(row->flags & CMD_FAST ? LATENCY_FAST_COMMAND : LATENCY_COMMAND, us);
    if (!slow)
        set_ticks(); /* the rate is known better by now */
    if (!slow || row->flags & CMD_SKIP_SLOWLOG)
        return;
    struct slow *e = mem_zalloc(sizeof(*e));
    kept_words_init(&e->words, SIZE_MAX);
    e->us = us;
    e->unix_s = unix_ms / 1000;
    snprintf(e->address, sizeof(e->address), "%s", s->address ? s->address : "");
    snprintf(e->name, sizeof(e->name), "%s", s->name);
    for (size_t i = 0; i < argc; i++) {
        if (argc > WORDS_MAX && i == WORDS_MAX - 1) {
            char more[64];
            int size = snprintf(more, sizeof(more), "... (%zu more arguments)", argc - WORDS_MAX + 1);
            add_word(e, bytes_of(more, (size_t)size));
            break;
        }
        add_word(e, slowlog_is_secret(row, argv, argc, i) ? BYTES("(redacted)") : argv[i]);
    }
    spin_lock(&lock);
    e->id = next_id++;
    e->next = newest;
    newest = e;
    length++;
    struct slow *rest = cut_locked(length_max);
    spin_unlock(&lock);
    slow_free(rest);
}

/* ---- SLOWLOG ---- */

static void reply_entry(struct reply *r, const struct slow *e)
{
    reply_array(r, 6);
    reply_int(r, (int64_t)e->id);
    reply_int(r, (int64_t)e->unix_s);
    reply_int(r, (int64_t)e->us);
    kept_words_reply(&e->words, r);
    reply_text(r, e->address);
    reply_text(r, e->name);
}

void cmd_slowlog_get(struct call *c)
{
    int64_t count = 10;
    if (c->argc > 3) {
        reply_errorf(c->reply, "ERR unknown subcommand or wrong number of arguments for '" WORD_FORMAT "'. Try SLOWLOG HELP.",
                     WORD(c->argv[1]));
        return;
    }
    if (c->argc > 2 && (!arg_int_from(c, 2, -1, "ERR count should be greater than or equal to -1", &count)))
        return;
    spin_lock(&lock);
    uint64_t shown = count < 0 || (uint64_t)count > length ? length : (uint64_t)count;
    const struct slow *e = newest;
    reply_array(c->reply, shown);
    for (uint64_t i = 0; i < shown; i++, e = e->next)
        reply_entry(c->reply, e);
    spin_unlock(&lock);
}

void cmd_slowlog_len(struct call *c)
{
    spin_lock(&lock);
    uint64_t count = length;
    spin_unlock(&lock);
    reply_int(c->reply, (int64_t)count);
}

void cmd_slowlog_reset(struct call *c)
{
    spin_lock(&lock);
    struct slow *rest = cut_locked(0);
    spin_unlock(&lock);
    slow_free(rest);
    reply_ok(c->reply);
}
