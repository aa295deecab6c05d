/* slowlog.c -- what was slow lately (recent.h): its words are cut as Redis cuts them, and passwords are
 * not among them.
 */
#include "cmd/slowlog.h"

#include "base/memory.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "cmd/kept_words.h"
#include "cmd/recent.h"
#include "os/latency.h"
#include "os/ticks.h"

#include <stdio.h>

#define WORDS_MAX 32
#define WORD_MAX 128

struct slow {
    struct recent_entry entry;
    uint64_t id, unix_s, us;
    char address[64], name[128];
    struct kept_words words;
};

_Atomic uint64_t slowlog_threshold = UINT64_MAX;

static void slow_free(struct recent_entry *e)
{
    struct slow *s = (struct slow *)e;
    kept_words_release(&s->words);
    mem_free(s);
}

static struct recent slow_log = {.length_max = 128, .free_one = slow_free};
static uint64_t next_id; /* guarded by slow_log.lock */

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

void slowlog_set_length(uint64_t entries) { recent_set_length(&slow_log, entries); }

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
    if (row->handler == cmd_migrate)
        return migrate_is_secret(argv, argc, i);
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
    spin_lock(&slow_log.lock);
    e->id = next_id++;
    struct recent_entry *rest = recent_add_locked(&slow_log, &e->entry);
    spin_unlock(&slow_log.lock);
    recent_free(&slow_log, rest);
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
    spin_lock(&slow_log.lock);
    uint64_t shown = count < 0 || (uint64_t)count > slow_log.length ? slow_log.length : (uint64_t)count;
    const struct recent_entry *e = slow_log.newest;
    reply_array(c->reply, shown);
    for (uint64_t i = 0; i < shown; i++, e = e->next)
        reply_entry(c->reply, (const struct slow *)e);
    spin_unlock(&slow_log.lock);
}

void cmd_slowlog_len(struct call *c)
{
    reply_int(c->reply, (int64_t)recent_length(&slow_log));
}

void cmd_slowlog_reset(struct call *c)
{
    recent_clear(&slow_log);
    reply_ok(c->reply);
}
