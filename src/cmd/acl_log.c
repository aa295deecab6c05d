/* acl_log.c -- what was refused lately, for ACL LOG (recent.h); the same refusal again within a minute is counted. */
#include "base/memory.h"
#include "cmd/acl.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "cmd/recent.h"
#include "os/os.h"

#define SAME_MS 60000u
#define LOOK_BACK 10u /* entries that may be the same refusal */
#define OBJECT_MAX 1024u
#define LINE_MAX_SIZE 4096u

struct refusal {
    struct recent_entry entry;
    uint64_t id, count, created_ms, updated_ms;
    enum acl_verdict why;
    enum acl_context where;
    struct buf object, user, client;
};

static void refusal_free(struct recent_entry *e)
{
    struct refusal *r = (struct refusal *)e;
    buf_release(&r->object);
    buf_release(&r->user);
    buf_release(&r->client);
    mem_free(r);
}

static struct recent refusals = {.length_max = 128, .free_one = refusal_free};
static uint64_t next_id; /* guarded by refusals.lock */

static _Atomic uint64_t denied[ACL_VERDICTS];

uint64_t acl_denied_count(enum acl_verdict why) { return atomic_load_explicit(&denied[why], memory_order_relaxed); }

void acl_denied_reset(void)
{
    for (size_t i = 0; i < ACL_VERDICTS; i++)
        atomic_store_explicit(&denied[i], 0, memory_order_relaxed);
}

void acl_log_set_length(uint64_t entries) { recent_set_length(&refusals, entries); }

/* Unlinks an entry that says the same. */
static struct refusal *take_same_locked(const struct refusal *fresh)
{
    struct recent_entry **at = &refusals.newest;
    for (unsigned i = 0; i < LOOK_BACK && *at; i++, at = &(*at)->next) {
        struct refusal *r = (struct refusal *)*at;
        if (r->why != fresh->why || r->where != fresh->where || fresh->created_ms - r->updated_ms > SAME_MS ||
            !bytes_equal(buf_view(&r->object), buf_view(&fresh->object)) || !bytes_equal(buf_view(&r->user), buf_view(&fresh->user)))
            continue;
        *at = r->entry.next;
        refusals.length--;
        r->entry.next = NULL;
        return r;
    }
    return NULL;
}

static void copy_text(struct buf *out, bytes text)
{
    buf_init(out, SIZE_MAX);
    buf_append(out, text.data, text.size < OBJECT_MAX ? text.size : OBJECT_MAX);
}

void acl_log_note(const struct session *s, enum acl_verdict why, enum acl_context where, bytes object, bytes user)
{
    struct refusal *fresh = mem_zalloc(sizeof(*fresh));
    atomic_fetch_add_explicit(&denied[why], 1, memory_order_relaxed);
    fresh->created_ms = fresh->updated_ms = OS.wall_ms();
    fresh->count = 1;
    fresh->why = why;
    fresh->where = where;
    copy_text(&fresh->object, object);
    copy_text(&fresh->user, user);
    buf_init(&fresh->client, LINE_MAX_SIZE);
    if (s->connection && host && host->client_info) {
        host->client_info(s, &fresh->client);
        if (fresh->client.size) /* without the end of the line */
            fresh->client.size--;
    }
    spin_lock(&refusals.lock);
    struct refusal *same = take_same_locked(fresh);
    fresh->id = same ? same->id : next_id++;
    if (same) {
        fresh->count = same->count + 1;
        fresh->created_ms = same->created_ms;
    }
    struct recent_entry *rest = recent_add_locked(&refusals, &fresh->entry);
    spin_unlock(&refusals.lock);
    recent_free(&refusals, same ? &same->entry : NULL);
    recent_free(&refusals, rest);
}

/* ---- ACL LOG ---- */

static void reply_refusal(struct reply *r, const struct refusal *e, uint64_t now_ms)
{
    static const char *const reasons[] = {
        [ACL_DENIED_COMMAND] = "command", [ACL_DENIED_KEY] = "key", [ACL_DENIED_AUTH] = "auth", [ACL_DENIED_CHANNEL] = "channel"};
    static const char *const contexts[] = {[ACL_TOPLEVEL] = "toplevel", [ACL_MULTI] = "multi", [ACL_SCRIPT] = "lua"};
    reply_map(r, 10);
    reply_text(r, "count");
    reply_int(r, (int64_t)e->count);
    reply_text(r, "reason");
    reply_text(r, reasons[e->why]);
    reply_text(r, "context");
    reply_text(r, contexts[e->where]);
    reply_text(r, "object");
    reply_bulk(r, buf_view(&e->object));
    reply_text(r, "username");
    reply_bulk(r, buf_view(&e->user));
    reply_text(r, "age-seconds");
    r->ops->dbl(r, (double)(now_ms > e->updated_ms ? now_ms - e->updated_ms : 0) / 1000);
    reply_text(r, "client-info");
    reply_bulk(r, buf_view(&e->client));
    reply_text(r, "entry-id");
    reply_int(r, (int64_t)e->id);
    reply_text(r, "timestamp-created");
    reply_int(r, (int64_t)e->created_ms);
    reply_text(r, "timestamp-last-updated");
    reply_int(r, (int64_t)e->updated_ms);
}

void cmd_acl_log(struct call *c)
{
    int64_t count = 10;
    if (c->argc > 3) {
        reply_errorf(c->reply, "ERR unknown subcommand or wrong number of arguments for '" WORD_FORMAT "'. Try ACL HELP.",
                     WORD_WHOLE(c->argv[1]));
        return;
    }
    if (c->argc == 3 && bytes_is_word(c->argv[2], "RESET")) {
        recent_clear(&refusals);
        reply_ok(c->reply);
        return;
    }
    if (c->argc == 3 && !arg_int(c, 2, &count))
        return;
    uint64_t now_ms = OS.wall_ms();
    spin_lock(&refusals.lock);
    uint64_t shown = count < 0 ? 0 : (uint64_t)count > refusals.length ? refusals.length : (uint64_t)count;
    const struct recent_entry *e = refusals.newest;
    reply_array(c->reply, shown);
    for (uint64_t i = 0; i < shown; i++, e = e->next)
        reply_refusal(c->reply, (const struct refusal *)e, now_ms);
    spin_unlock(&refusals.lock);
}
