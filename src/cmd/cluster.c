/* cluster.c -- CLUSTER for a cluster of one node: slots and nodes stand as they are, what would change them is refused. */
#include "cmd/cluster.h"

#include "base/crc.h"
#include "base/memory.h"
#include "base/number.h"
#include "base/random.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "engine/keys.h"
#include "os/thread.h"

#include <stdio.h>

#define ADDRESS_MAX 46 /* of an address in words, with its NUL */
#define HOSTNAME_MAX 256
#define PORT_OFFSET 10000u

bool cluster_on;

static char node_id[CLUSTER_ID_SIZE + 1];

static struct spin lock;
static struct endpoint {
    char ip[ADDRESS_MAX], hostname[HOSTNAME_MAX];
    uint16_t port, tls_port, bus_port;
    enum cluster_endpoint kind;
} announced;

void cluster_start(uint64_t identity)
{
    /* Not the identity itself, which guards the data directory. */
    uint64_t a = random_mix(identity), b = random_mix(identity + 1), c = random_mix(identity + 2);
    snprintf(node_id, sizeof(node_id), "%016llx%016llx%08x", (unsigned long long)a, (unsigned long long)b, (unsigned)c);
    cluster_on = true;
}

void cluster_announce(const struct cluster_place *p)
{
    uint16_t port = p->port ? p->port : p->tls_port;
    struct endpoint e = {.port = port, .tls_port = p->tls_port ? p->tls_port : port, .kind = p->endpoint};
    e.bus_port = p->bus_port ? p->bus_port : (uint16_t)(port + PORT_OFFSET);
    snprintf(e.ip, sizeof(e.ip), "%.*s", (int)p->ip.size, (const char *)p->ip.data);
    snprintf(e.hostname, sizeof(e.hostname), "%.*s", (int)p->hostname.size, (const char *)p->hostname.data);
    spin_lock(&lock);
    announced = e;
    spin_unlock(&lock);
}

/* ---- what a cluster refuses ---- */

struct slots { bool any, differ; uint16_t slot; };

static void add_slot(struct slots *s, bytes key)
{
    uint16_t slot = key_slot(key);
    s->differ |= s->any && s->slot != slot;
    s->any = true;
    s->slot = slot;
}

static void add_slots(struct slots *s, const struct command *row, const bytes *argv, size_t argc)
{
    size_t channels = row->handler == cmd_spublish ? 2 : row->handler == cmd_ssubscribe || row->handler == cmd_sunsubscribe ? argc : 0;
    for (size_t i = 1; i < channels && i < argc; i++)
        add_slot(s, argv[i]);
    if (!command_has_keys(row))
        return;
    uint32_t few[16], *positions = argc > 16 ? mem_alloc(argc * sizeof(*positions)) : few; /* on the path of every command */
    size_t count = command_key_positions(row, argv, argc, positions);
    for (size_t i = 0; i < count; i++)
        add_slot(s, argv[positions[i]]);
    if (positions != few)
        mem_free(positions);
}

bool cluster_refuses(struct session *s, const struct command *row, const bytes *argv, size_t argc)
{
    struct slots slots = {.any = false};
    add_slots(&slots, row, argv, argc);
    for (size_t i = 0; row->handler == cmd_exec && s->in_multi && !s->multi_aborted && i < s->queue_count; i++)
        add_slots(&slots, s->queue[i].command, s->queue[i].argv, s->queue[i].argc);
    if (slots.differ)
        reply_error_line(&s->reply, "CROSSSLOT Keys in request don't hash to the same slot");
    return slots.differ;
}

/* ---- scripts ---- */

void cluster_script_begin(struct cluster_script *k, const struct session *s, const struct command *row, const bytes *argv, size_t argc)
{
    struct slots slots = {.any = false};
    add_slots(&slots, row, argv, argc);
    for (size_t i = 0; i < s->queue_count; i++)
        add_slots(&slots, s->queue[i].command, s->queue[i].argv, s->queue[i].argc);
    *k = (struct cluster_script){.slot = slots.any ? slots.slot : CLUSTER_SLOTS};
}

bool cluster_refuses_script(struct cluster_script *k, const struct command *row, const bytes *argv, size_t argc, struct reply *r)
{
    struct slots slots = {.any = false};
    add_slots(&slots, row, argv, argc);
    if (slots.differ)
        reply_error_line(r, "ERR Script attempted to access a non local key in a cluster node");
    else if (slots.any && k->one_slot && k->slot != CLUSTER_SLOTS && k->slot != slots.slot)
        reply_error_line(r, "ERR Script attempted to access keys that do not hash to the same slot");
    else {
        if (slots.any && k->slot == CLUSTER_SLOTS)
            k->slot = slots.slot;
        return false;
    }
    return true;
}

bool cluster_refuses_flag(bool no_cluster, struct reply *r)
{
    if (!cluster_on || !no_cluster)
        return false;
    reply_error_line(r, "ERR Can not run script on cluster, 'no-cluster' flag is set.");
    return true;
}

/* ---- about the node ---- */

/* The address of this server that the client has connected to, without its port; "" on a unix socket. */
static void take_local(const struct session *s, char out[ADDRESS_MAX])
{
    const char *text = s->local_address ? s->local_address : "", *colon = strrchr(text, ':');
    bytes ip = colon && text[0] != '/' ? bytes_of(text, (size_t)(colon - text)) : BYTES("");
    if (ip.size > 2 && ip.data[0] == '[')
        ip = bytes_of(ip.data + 1, ip.size - 2);
    snprintf(out, ADDRESS_MAX, "%.*s", (int)ip.size, (const char *)ip.data);
}

static struct endpoint endpoint_for(const struct session *s)
{
    struct endpoint e;
    spin_lock(&lock);
    e = announced;
    spin_unlock(&lock);
    if (!e.ip[0])
        take_local(s, e.ip);
    if (s->over_tls)
        e.port = e.tls_port;
    return e;
}

/* "?": a name is wanted and there is none; NULL: clients stay where they are. */
static const char *endpoint_word(const struct endpoint *e)
{
    const char *name = e->hostname[0] ? e->hostname : "?";
    return e->kind == ENDPOINT_IP ? e->ip : e->kind == ENDPOINT_HOSTNAME ? name : NULL;
}

static bool is_on(struct call *c)
{
    if (!cluster_on)
        reply_errorf(c->reply, "ERR This instance has cluster support disabled");
    return cluster_on;
}

/* READONLY, READWRITE, ASKING: this node serves reads and writes of all slots anyhow. */
void cmd_cluster_mode(struct call *c)
{
    if (is_on(c))
        reply_ok(c->reply);
}

void cmd_cluster_help(struct call *c)
{
    if (is_on(c))
        cmd_help(c);
}

void cmd_cluster_myid(struct call *c)
{
    if (is_on(c))
        reply_text(c->reply, node_id);
}

/* A shard of one node: its name is as random, as long and as lasting as one of its own would be. */
void cmd_cluster_myshardid(struct call *c) { cmd_cluster_myid(c); }

static void reply_verbatim(struct call *c, struct buf *text)
{
    c->reply->ops->verbatim(c->reply, "txt", buf_view(text));
    buf_release(text);
}

void cmd_cluster_info(struct call *c)
{
    struct buf out;
    if (!is_on(c))
        return;
    buf_init(&out, 4096);
    buf_printf(&out, "cluster_state:ok\r\ncluster_slots_assigned:%u\r\ncluster_slots_ok:%u\r\n", CLUSTER_SLOTS, CLUSTER_SLOTS);
    buf_printf(&out, "cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:1\r\ncluster_size:1\r\n"
                     "cluster_current_epoch:1\r\ncluster_my_epoch:1\r\ncluster_stats_messages_sent:0\r\n"
                     "cluster_stats_messages_received:0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n");
    reply_verbatim(c, &out);
}

void cmd_cluster_nodes(struct call *c)
{
    struct buf out;
    if (!is_on(c))
        return;
    struct endpoint e = endpoint_for(c->session);
    buf_init(&out, 4096);
    buf_printf(&out, "%s %s:%u@%u%s%s myself,master - 0 0 1 connected 0-%u\n", node_id, e.ip, e.port, e.bus_port,
               e.hostname[0] ? "," : "", e.hostname, CLUSTER_SLOTS - 1);
    reply_verbatim(c, &out);
}

static void reply_pair(struct reply *r, const char *name, const char *value)
{
    reply_text(r, name);
    reply_text(r, value);
}

/* What is known of the node beside its endpoint. */
static void reply_metadata(struct reply *r, const struct endpoint *e)
{
    bool ip = e->kind != ENDPOINT_IP, hostname = e->kind != ENDPOINT_HOSTNAME && e->hostname[0];
    reply_map(r, (size_t)ip + hostname);
    if (ip)
        reply_pair(r, "ip", e->ip);
    if (hostname)
        reply_pair(r, "hostname", e->hostname);
}

void cmd_cluster_slots(struct call *c)
{
    struct reply *r = c->reply;
    if (!is_on(c))
        return;
    struct endpoint e = endpoint_for(c->session);
    reply_array(r, 1);
    reply_array(r, 3);
    reply_int(r, 0);
    reply_int(r, CLUSTER_SLOTS - 1);
    reply_array(r, 4);
    if (endpoint_word(&e))
        reply_text(r, endpoint_word(&e));
    else
        reply_null(r);
    reply_int(r, e.port);
    reply_text(r, node_id);
    reply_metadata(r, &e);
}

void cmd_cluster_shards(struct call *c)
{
    struct reply *r = c->reply;
    if (!is_on(c))
        return;
    struct endpoint e = endpoint_for(c->session);
    reply_array(r, 1);
    reply_map(r, 2);
    reply_text(r, "slots");
    reply_array(r, 2);
    reply_int(r, 0);
    reply_int(r, CLUSTER_SLOTS - 1);
    reply_text(r, "nodes");
    reply_array(r, 1);
    reply_map(r, e.hostname[0] ? 8 : 7);
    reply_pair(r, "id", node_id);
    reply_text(r, "port");
    reply_int(r, e.port);
    reply_pair(r, "ip", e.ip);
    reply_pair(r, "endpoint", endpoint_word(&e) ? endpoint_word(&e) : "");
    if (e.hostname[0])
        reply_pair(r, "hostname", e.hostname);
    reply_pair(r, "role", "master");
    reply_text(r, "replication-offset");
    reply_int(r, 0);
    reply_pair(r, "health", "online");
}

void cmd_cluster_links(struct call *c)
{
    if (is_on(c))
        reply_array(c->reply, 0);
}

/* ---- slots ---- */

void cmd_cluster_keyslot(struct call *c)
{
    if (is_on(c))
        reply_int(c->reply, key_slot(c->argv[2]));
}

struct slot_keys { struct arena *arena; uint16_t slot; uint64_t count, wanted; bytes *names; size_t capacity; };

static void take_key(void *context, bytes key, int type)
{
    struct slot_keys *k = context;
    (void)type;
    if (key_slot(key) != k->slot)
        return;
    if (k->count < k->wanted) {
        if (k->count == k->capacity) {
            size_t capacity = k->capacity ? k->capacity * 2 : 16;
            bytes *more = arena_alloc(k->arena, capacity * sizeof(*more));
            if (k->count)
                memcpy(more, k->names, k->count * sizeof(*more));
            k->names = more;
            k->capacity = capacity;
        }
        k->names[k->count] = arena_dup(k->arena, key);
    }
    k->count++;
}

void cmd_cluster_countkeysinslot(struct call *c)
{
    int64_t slot;
    struct slot_keys keys = {.wanted = 0};
    if (!is_on(c) || !arg_int(c, 2, &slot))
        return;
    if (slot < 0 || slot >= CLUSTER_SLOTS) {
        reply_errorf(c->reply, "ERR Invalid slot");
        return;
    }
    keys.slot = (uint16_t)slot;
    db_scan_slot(c->txn, 0, keys.slot, UINT64_MAX, take_key, &keys, &keys.count);
    reply_int(c->reply, (int64_t)keys.count);
}

void cmd_cluster_getkeysinslot(struct call *c)
{
    int64_t slot, wanted;
    struct slot_keys keys = {.arena = txn_arena(c->txn)};
    if (!is_on(c) || !arg_int(c, 2, &slot) || !arg_int(c, 3, &wanted))
        return;
    if (slot < 0 || slot >= CLUSTER_SLOTS || wanted < 0) {
        reply_errorf(c->reply, "ERR Invalid slot or number of keys");
        return;
    }
    keys.slot = (uint16_t)slot;
    keys.wanted = (uint64_t)wanted;
    db_scan_slot(c->txn, 0, keys.slot, keys.wanted, take_key, &keys, &keys.count);
    uint64_t shown = keys.count < keys.wanted ? keys.count : keys.wanted;
    reply_array(c->reply, shown);
    for (uint64_t i = 0; i < shown; i++)
        reply_bulk(c->reply, keys.names[i]);
}

/* ---- what would change slots or nodes ---- */

static void refuse_change(struct call *c)
{
    reply_errorf(c->reply, "ERR this is a cluster of one node: it keeps all slots and knows no other node");
}

static bool take_slot(struct call *c, size_t at, int64_t *slot)
{
    if (number_parse_int(c->argv[at], slot) && *slot >= 0 && *slot < CLUSTER_SLOTS)
        return true;
    reply_errorf(c->reply, "ERR Invalid or out of range slot");
    return false;
}

static void reply_busy_slot(struct call *c, int64_t slot) { reply_errorf(c->reply, "ERR Slot %lld is already busy", (long long)slot); }

void cmd_cluster_addslots(struct call *c)
{
    int64_t first = 0, slot;
    if (!is_on(c))
        return;
    for (size_t i = 2; i < c->argc; i++) {
        if (!take_slot(c, i, &slot))
            return;
        first = i == 2 ? slot : first;
    }
    reply_busy_slot(c, first);
}

void cmd_cluster_delslots(struct call *c)
{
    int64_t slot;
    if (!is_on(c))
        return;
    for (size_t i = 2; i < c->argc; i++) {
        if (!take_slot(c, i, &slot))
            return;
    }
    refuse_change(c);
}

static bool take_ranges(struct call *c, int64_t *first)
{
    int64_t from, to;
    if (c->argc % 2) {
        arg_wrong_count(c);
        return false;
    }
    for (size_t i = 2; i < c->argc; i += 2) {
        if (!take_slot(c, i, &from) || !take_slot(c, i + 1, &to))
            return false;
        if (from > to) {
            reply_errorf(c->reply, "ERR start slot number %lld is greater than end slot number %lld", (long long)from, (long long)to);
            return false;
        }
        *first = i == 2 ? from : *first;
    }
    return true;
}

void cmd_cluster_addslotsrange(struct call *c)
{
    int64_t first;
    if (is_on(c) && take_ranges(c, &first))
        reply_busy_slot(c, first);
}

void cmd_cluster_delslotsrange(struct call *c)
{
    int64_t first;
    if (is_on(c) && take_ranges(c, &first))
        refuse_change(c);
}

/* FLUSHSLOTS, BUMPEPOCH, RESET and what is understood of the others. */
void cmd_cluster_change(struct call *c)
{
    if (is_on(c))
        refuse_change(c);
}

void cmd_cluster_reset(struct call *c)
{
    if (!is_on(c))
        return;
    if (c->argc > 3 || (c->argc == 3 && !bytes_is_word(c->argv[2], "HARD") && !bytes_is_word(c->argv[2], "SOFT")))
        reply_status(c->reply, HF_ERR_SYNTAX);
    else
        refuse_change(c);
}

void cmd_cluster_saveconfig(struct call *c)
{
    if (is_on(c)) /* the node's name is the data directory's, there is nothing else */
        reply_ok(c->reply);
}

void cmd_cluster_setslot(struct call *c)
{
    int64_t slot;
    if (!is_on(c) || !take_slot(c, 2, &slot))
        return;
    bool is_node = c->argc == 5 && bytes_is_word(c->argv[3], "NODE");
    bool moves = c->argc == 5 && (bytes_is_word(c->argv[3], "MIGRATING") || bytes_is_word(c->argv[3], "IMPORTING"));
    bool mine = (is_node || moves) && bytes_equal(c->argv[4], bytes_str(node_id));
    if ((c->argc == 4 && bytes_is_word(c->argv[3], "STABLE")) || (is_node && mine))
        reply_ok(c->reply); /* as it is */
    else if (moves && bytes_is_word(c->argv[3], "IMPORTING"))
        reply_errorf(c->reply, "ERR I'm already the owner of hash slot %u", (unsigned)slot);
    else if (is_node)
        reply_errorf(c->reply, "ERR Unknown node " WORD_FORMAT, WORD_WHOLE(c->argv[4]));
    else if (moves && !mine)
        reply_errorf(c->reply, "ERR I don't know about node " WORD_FORMAT, WORD_WHOLE(c->argv[4]));
    else if (moves)
        refuse_change(c);
    else
        reply_errorf(c->reply, "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP");
}

void cmd_cluster_meet(struct call *c)
{
    int64_t port, bus_port;
    if (!is_on(c))
        return;
    if (!number_parse_int(c->argv[3], &port))
        reply_errorf(c->reply, "ERR Invalid TCP base port specified: " WORD_FORMAT, WORD_WHOLE(c->argv[3]));
    else if (c->argc == 5 && !number_parse_int(c->argv[4], &bus_port))
        reply_errorf(c->reply, "ERR Invalid TCP bus port specified: " WORD_FORMAT, WORD_WHOLE(c->argv[4]));
    else if (port < 1 || port > 65535)
        reply_errorf(c->reply, "ERR Invalid node address specified: " WORD_FORMAT ":" WORD_FORMAT, WORD_WHOLE(c->argv[2]),
                     WORD_WHOLE(c->argv[3]));
    else
        refuse_change(c);
}

void cmd_cluster_failover(struct call *c)
{
    if (!is_on(c))
        return;
    if (c->argc > 3 || (c->argc == 3 && !bytes_is_word(c->argv[2], "FORCE") && !bytes_is_word(c->argv[2], "TAKEOVER")))
        reply_status(c->reply, HF_ERR_SYNTAX);
    else
        reply_errorf(c->reply, "ERR You should send CLUSTER FAILOVER to a replica");
}

void cmd_cluster_set_config_epoch(struct call *c)
{
    int64_t epoch;
    if (!is_on(c) || !arg_int(c, 2, &epoch))
        return;
    if (epoch < 0)
        reply_errorf(c->reply, "ERR Invalid config epoch specified: %lld", (long long)epoch);
    else
        reply_errorf(c->reply, "ERR Node config epoch is already non-zero");
}

/* The node of word 2 is this one; false: unknown, and replied so. */
static bool is_me(struct call *c)
{
    if (bytes_equal(c->argv[2], bytes_str(node_id)))
        return true;
    reply_errorf(c->reply, "ERR Unknown node " WORD_FORMAT, WORD_WHOLE(c->argv[2]));
    return false;
}

void cmd_cluster_replicas(struct call *c)
{
    if (is_on(c) && is_me(c))
        reply_array(c->reply, 0);
}

void cmd_cluster_failure_reports(struct call *c)
{
    if (is_on(c) && is_me(c))
        reply_int(c->reply, 0);
}

void cmd_cluster_forget(struct call *c)
{
    if (is_on(c) && is_me(c))
        reply_errorf(c->reply, "ERR I tried hard but I can't forget myself...");
}

void cmd_cluster_replicate(struct call *c)
{
    if (is_on(c) && is_me(c))
        reply_errorf(c->reply, "ERR Can't replicate myself");
}
