/* client_tracking.c -- CLIENT TRACKING, CACHING, GETREDIR, TRACKINGINFO: words to tracking.h. */
#include "base/memory.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "cmd/tracking.h"

static bool take_redirect(struct call *c, size_t word, struct tracking_wish *w)
{
    int64_t id;
    if (w->redirect) {
        reply_errorf(c->reply, "ERR A client can only redirect to a single other client");
        return false;
    }
    if (!arg_int(c, word, &id))
        return false;
    int worker = host->client_worker((uint64_t)id);
    if (worker < 0) {
        reply_errorf(c->reply, "ERR The client ID you want redirect to does not exist");
        return false;
    }
    w->redirect = (uint64_t)id;
    w->redirect_worker = (unsigned)worker;
    return true;
}

/* prefixes: room for all words. */
static bool take_options(struct call *c, struct tracking_wish *w, bytes *prefixes)
{
    for (size_t i = 3; i < c->argc; i++) {
        bool more = i + 1 < c->argc;
        if (bytes_is_word(c->argv[i], "REDIRECT") && more) {
            if (!take_redirect(c, ++i, w))
                return false;
        } else if (bytes_is_word(c->argv[i], "BCAST")) {
            w->bcast = true;
        } else if (bytes_is_word(c->argv[i], "OPTIN")) {
            w->optin = true;
        } else if (bytes_is_word(c->argv[i], "OPTOUT")) {
            w->optout = true;
        } else if (bytes_is_word(c->argv[i], "NOLOOP")) {
            w->noloop = true;
        } else if (bytes_is_word(c->argv[i], "PREFIX") && more) {
            prefixes[w->prefix_count++] = c->argv[++i];
        } else {
            reply_status(c->reply, HF_ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static bool overlap(bytes a, bytes b)
{
    return bytes_starts_with(a, b) || bytes_starts_with(b, a);
}

static bool prefixes_fit(struct call *c, const struct tracking_wish *w)
{
    const struct tracking *k = c->session->tracking;
    static const char text[] = "ERR Prefix '" WORD_FORMAT "' overlaps with %s prefix '" WORD_FORMAT
                               "'. Prefixes for a single client must not overlap.";
    for (size_t i = 0; i < w->prefix_count; i++) {
        for (size_t n = 0; tracking_is_on(c->session) && n < k->prefix_count; n++) {
            if (!overlap(w->prefixes[i], k->prefixes[n]))
                continue;
            reply_errorf(c->reply, text, WORD_WHOLE(w->prefixes[i]), "an existing", WORD_WHOLE(k->prefixes[n]));
            return false;
        }
        for (size_t n = i + 1; n < w->prefix_count; n++) {
            if (!overlap(w->prefixes[i], w->prefixes[n]))
                continue;
            reply_errorf(c->reply, text, WORD_WHOLE(w->prefixes[i]), "another provided", WORD_WHOLE(w->prefixes[n]));
            return false;
        }
    }
    return true;
}

/* What does not go together, by itself or with the mode that is on. */
static const char *conflict(const struct session *s, const struct tracking_wish *w)
{
    const struct tracking *k = s->tracking;
    bool on = tracking_is_on(s);
    if (!w->bcast && w->prefix_count)
        return "PREFIX option requires BCAST mode to be enabled";
    if (on && k->bcast != w->bcast)
        return "You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with "
               "a different mode.";
    if (w->bcast && (w->optin || w->optout))
        return "OPTIN and OPTOUT are not compatible with BCAST";
    if (w->optin && w->optout)
        return "You can't specify both OPTIN mode and OPTOUT mode";
    if (on && ((w->optin && k->optout) || (w->optout && k->optin)))
        return "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with "
               "a different mode.";
    return NULL;
}

void cmd_client_tracking(struct call *c)
{
    bool on = bytes_is_word(c->argv[2], "ON");
    struct tracking_wish w = {0};
    bytes *prefixes = mem_alloc(c->argc * sizeof(*prefixes));
    w.prefixes = prefixes;
    const char *why = NULL;
    if (!take_options(c, &w, prefixes)) {
        /* replied */
    } else if (!on && !bytes_is_word(c->argv[2], "OFF")) {
        reply_status(c->reply, HF_ERR_SYNTAX);
    } else if (!on) {
        tracking_stop(c->session);
        reply_ok(c->reply);
    } else if ((why = conflict(c->session, &w)) != NULL) {
        reply_errorf(c->reply, "ERR %s", why);
    } else if (prefixes_fit(c, &w)) {
        tracking_start(c->session, txn_engine(c->txn), &w);
        reply_ok(c->reply);
    }
    mem_free(prefixes);
}

void cmd_client_caching(struct call *c)
{
    struct tracking *k = c->session->tracking;
    bool yes = bytes_is_word(c->argv[2], "YES");
    if (!tracking_is_on(c->session))
        reply_errorf(c->reply, "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or "
                               "OPTOUT mode enabled");
    else if (!yes && !bytes_is_word(c->argv[2], "NO"))
        reply_status(c->reply, HF_ERR_SYNTAX);
    else if (yes ? !k->optin : !k->optout)
        reply_errorf(c->reply, "ERR CLIENT CACHING %s is only valid when tracking is enabled in %s mode.", yes ? "YES" : "NO",
                     yes ? "OPTIN" : "OPTOUT");
    else {
        k->caching = true;
        reply_ok(c->reply);
    }
}

static int64_t redirect_of(const struct session *s)
{
    return tracking_is_on(s) ? (int64_t)s->tracking->redirect : -1;
}

void cmd_client_getredir(struct call *c)
{
    reply_int(c->reply, redirect_of(c->session));
}

static void reply_flags(struct reply *r, const struct tracking *k)
{
    const struct { bool set; const char *word; } flags[] = {
        {!k->on, "off"},  {k->on, "on"},        {k->bcast, "bcast"},
        {k->optin, "optin"},   {k->optin && k->caching, "caching-yes"}, {k->optout, "optout"},
        {k->optout && k->caching, "caching-no"}, {k->noloop, "noloop"}, {k->broken, "broken_redirect"},
    };
    size_t count = 0;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        count += flags[i].set;
    r->ops->set(r, count);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (flags[i].set)
            reply_text(r, flags[i].word);
    }
}

void cmd_client_trackinginfo(struct call *c)
{
    static const struct tracking off;
    const struct tracking *k = c->session->tracking ? c->session->tracking : &off;
    struct reply *r = c->reply;
    reply_map(r, 3);
    reply_text(r, "flags");
    reply_flags(r, k);
    reply_text(r, "redirect");
    reply_int(r, redirect_of(c->session));
    reply_text(r, "prefixes");
    reply_array(r, k->prefix_count);
    for (size_t i = 0; i < k->prefix_count; i++)
        reply_bulk(r, k->prefixes[i]);
}
