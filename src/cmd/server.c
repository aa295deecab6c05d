/* server.c -- commands about the server: its numbers, snapshots, time and end. */
#include "base/number.h"
#include "cmd/args.h"
#include "cmd/cluster.h"
#include "cmd/exec_script.h"
#include "cmd/handlers.h"
#include "cmd/usage.h"
#include "os/os.h"

#include <stdio.h>

#ifndef HF_VERSION
#define HF_VERSION "0.1.0"
#endif

#define INFO_MAX (16u << 20)

static void reply_verbatim(struct call *c, bytes text)
{
    c->reply->ops->verbatim(c->reply, "txt", text);
}

void cmd_info(struct call *c)
{
    struct buf text;
    buf_init(&text, INFO_MAX);
    host->info(c->txn, c->argv + 1, c->argc - 1, &text);
    reply_verbatim(c, buf_view(&text));
    buf_release(&text);
}

/* The lines of CONTAINER HELP come from the rows beside it. */
static void reply_help_of(struct reply *r, const struct command *sub)
{
    struct buf line;
    buf_init(&line, 4096);
    buf_printf(&line, "%s%s", sub->name, sub->usage[0] ? " " : "");
    usage_show(sub->usage, &line);
    buf_append_u8(&line, 0);
    reply_simple(r, (const char *)line.data);
    buf_reset(&line);
    buf_printf(&line, "    %s", sub->summary);
    buf_append_u8(&line, 0);
    reply_simple(r, (const char *)line.data);
    buf_release(&line);
}

void cmd_help(struct call *c)
{
    const char *full = c->command->full_name;
    const struct command *container = command_find(bytes_of(full, strcspn(full, "|")));
    char head[128];
    size_t rows = 0;
    for (const struct command *sub = container->subcommands; sub->name; sub++)
        rows++;
    reply_array(c->reply, 1 + 2 * rows);
    snprintf(head, sizeof(head), "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", container->name);
    reply_simple(c->reply, head);
    for (const struct command *sub = container->subcommands; sub->name; sub++)
        reply_help_of(c->reply, sub);
}

/* ---- snapshots ---- */

static void reply_snapshot(struct call *c, status s, const char *done)
{
    if (s == HF_ERR_EXISTS)
        reply_errorf(c->reply, "ERR Background save already in progress");
    else if (!arg_refused(c, s))
        reply_simple(c->reply, done);
}

void cmd_save(struct call *c)
{
    reply_snapshot(c, host->snapshot_wait(), "OK");
}

void cmd_bgsave(struct call *c)
{
    if (c->argc > 2 || (c->argc == 2 && !bytes_is_word(c->argv[1], "SCHEDULE")))
        reply_status(c->reply, HF_ERR_SYNTAX);
    else
        reply_snapshot(c, host->snapshot_start(), "Background saving started");
}

/* A snapshot is what makes the log shorter. */
void cmd_bgrewriteaof(struct call *c)
{
    bool scheduled = host->snapshot_follow();
    reply_simple(c->reply, scheduled ? "Background append only file rewriting scheduled"
                                     : "Background append only file rewriting started");
}

void cmd_lastsave(struct call *c)
{
    reply_int(c->reply, (int64_t)host->snapshot_last_s());
}

/* ---- the end ---- */

static bool take_end_words(struct call *c, unsigned *how)
{
    static const struct { const char *word; unsigned flag; } words[] = {
        {"SAVE", END_SAVE}, {"NOSAVE", END_NOSAVE}, {"NOW", END_NOW}, {"FORCE", END_FORCE}, {"ABORT", END_ABORT}};
    *how = 0;
    for (size_t i = 1; i < c->argc; i++) {
        unsigned flag = 0;
        for (size_t j = 0; !flag && j < sizeof(words) / sizeof(words[0]); j++)
            flag = bytes_is_word(c->argv[i], words[j].word) ? words[j].flag : 0;
        if (!flag)
            return false;
        *how |= flag;
    }
    return (*how & (END_SAVE | END_NOSAVE)) != (END_SAVE | END_NOSAVE) && (!(*how & END_ABORT) || *how == END_ABORT);
}

/* Says nothing when it succeeds: the connection closes. */
void cmd_shutdown(struct call *c)
{
    unsigned how;
    uint32_t late = atomic_load_explicit(&script_late, memory_order_relaxed);
    if (!take_end_words(c, &how)) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return;
    }
    if (how & END_SAVE && late) { /* what the script has done so far is no state to save */
        reply_busy(c->reply, late);
        return;
    }
    bool done = host->shutdown(how);
    if (how & END_ABORT && done)
        reply_ok(c->reply);
    else if (how & END_ABORT)
        reply_errorf(c->reply, "ERR No shutdown in progress.");
    else if (done)
        c->session->close_after_reply = true;
    else
        reply_errorf(c->reply, "ERR Errors trying to SHUTDOWN. Check logs.");
}

/* ---- small things ---- */

static void reply_digits(struct call *c, uint64_t value)
{
    char digits[NUMBER_TEXT_MAX];
    reply_bulk(c->reply, bytes_of(digits, number_format_uint(digits, value)));
}

void cmd_time(struct call *c)
{
    uint64_t now_us = OS.wall_us();
    reply_array(c->reply, 2);
    reply_digits(c, now_us / 1000000);
    reply_digits(c, now_us % 1000000);
}

void cmd_replicaof(struct call *c)
{
    int64_t port;
    if (cluster_on)
        reply_errorf(c->reply, "ERR REPLICAOF not allowed in cluster mode.");
    else if (bytes_is_word(c->argv[1], "NO") && bytes_is_word(c->argv[2], "ONE"))
        reply_ok(c->reply);
    else if (!number_parse_int(c->argv[2], &port) || port < 0 || port > 65535)
        reply_errorf(c->reply, "ERR Invalid master port");
    else
        reply_errorf(c->reply, "ERR holdfast does not replicate yet; only NO ONE is accepted");
}

struct failover_words {
    bool to, timeout, force;
};

/* One option from word *at on. False: its error was replied. */
static bool take_failover_option(struct call *c, size_t *at, struct failover_words *w)
{
    int64_t number = 1;
    size_t left = c->argc - *at - 1;
    bytes word = c->argv[*at];
    bool fits = true;
    if (bytes_is_word(word, "TO") && !w->to && left >= 2) {
        w->to = true;
        fits = arg_int(c, *at += 2, &number);
    } else if (bytes_is_word(word, "TIMEOUT") && !w->timeout && left >= 1) {
        w->timeout = true;
        fits = arg_int(c, *at += 1, &number);
        if (fits && number <= 0) {
            reply_errorf(c->reply, "ERR FAILOVER timeout must be greater than 0");
            fits = false;
        }
    } else if (bytes_is_word(word, "FORCE") && !w->force) {
        w->force = true;
    } else {
        reply_status(c->reply, HF_ERR_SYNTAX);
        fits = false;
    }
    return fits;
}

void cmd_failover(struct call *c)
{
    struct failover_words w = {0};
    if (c->argc == 2 && bytes_is_word(c->argv[1], "ABORT")) {
        reply_errorf(c->reply, "ERR No failover in progress.");
        return;
    }
    for (size_t i = 1; i < c->argc; i++) {
        if (!take_failover_option(c, &i, &w))
            return;
    }
    reply_errorf(c->reply, "ERR FAILOVER requires connected replicas.");
}

/* A holdfast: what keeps kelp on its rock. */
void cmd_lolwut(struct call *c)
{
    int64_t version;
    if (c->argc > 2 && bytes_is_word(c->argv[1], "VERSION") && !arg_int(c, 2, &version))
        return;
    reply_verbatim(c, BYTES("    )  (    )\n"
                            "   (    )  (\n"
                            "    )  (    )\n"
                            "   (    )  (\n"
                            "    \\   \\ /\n"
                            "  ___\\__/|\\___\n"
                            " /_/ / | | \\ \\_\\\n"
                            "~~~ rock ~~~~~~~~\n"
                            "holdfast " HF_VERSION "\n"));
}
