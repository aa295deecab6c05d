/* config_check.c -- the settings with an inner shape: what is checked beyond the kind, and how they are worded.
 *
 * A check may write the value anew, as CONFIG GET then shows it. Sources are not told apart here, but for config_check_live: a
 * configuration file of Redis may ask for what this server does in its own way, a CONFIG SET is told.
 */
#include "base/number.h"
#include "cmd/pubsub.h"
#include "server/config_private.h"
#include "server/percentiles.h"

#include <stdio.h>

bool config_say(char *reason, size_t size, const char *text)
{
    snprintf(reason, size, "%s", text);
    return false;
}

/* -- client-output-buffer-limit -- */

static const char *const limit_classes[] = {"normal", "slave", "pubsub"};

int limits_class(const char *word)
{
    if (bytes_is_word(bytes_str(word), "replica"))
        word = "slave";
    for (int i = 0; i < 3; i++)
        if (bytes_is_word(bytes_str(word), limit_classes[i]))
            return i;
    return -1;
}

const char *limits_parse(const char *text, struct output_limit limits[3])
{
    char copy[CONFIG_TEXT_MAX], *rest = NULL;
    snprintf(copy, sizeof(copy), "%s", text);
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        int class = limits_class(word);
        const char *hard = strtok_r(NULL, " ", &rest), *soft = strtok_r(NULL, " ", &rest),
                   *seconds = strtok_r(NULL, " ", &rest);
        struct output_limit l;
        if (!hard || !soft || !seconds)
            return "Wrong number of arguments in buffer limit configuration.";
        if (class < 0)
            return "Invalid client class specified in buffer limit configuration.";
        if (!number_parse_memory(bytes_str(hard), &l.hard) || !number_parse_memory(bytes_str(soft), &l.soft) ||
            !number_parse_uint(bytes_str(seconds), &l.soft_s) || l.soft_s > INT32_MAX)
            return "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
        limits[class] = l;
    }
    return NULL;
}

static bool check_limits(const char *before, char text[CONFIG_TEXT_MAX], char *reason, size_t size)
{
    struct output_limit limits[3] = {{0}};
    const char *wrong = before ? limits_parse(before, limits) : NULL;
    wrong = wrong ? wrong : limits_parse(text, limits);
    if (wrong)
        return config_say(reason, size, wrong);
    size_t used = 0;
    for (int i = 0; i < 3; i++)
        used += (size_t)snprintf(text + used, CONFIG_TEXT_MAX - used, "%s%s %llu %llu %llu", i ? " " : "", limit_classes[i],
                                 (unsigned long long)limits[i].hard, (unsigned long long)limits[i].soft,
                                 (unsigned long long)limits[i].soft_s);
    return true;
}

/* -- lists of numbers -- */

#define NUMBERS_MAX 128

/* How many words there are, or -1: one is no number, or they are too many. */
static int parse_numbers(const char *text, int64_t numbers[NUMBERS_MAX])
{
    char copy[CONFIG_TEXT_MAX], *rest = NULL;
    int count = 0;
    snprintf(copy, sizeof(copy), "%s", text);
    for (const char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (count == NUMBERS_MAX || !number_parse_int(bytes_str(word), &numbers[count++]))
            return -1;
    }
    return count;
}

static void word_numbers(const int64_t *numbers, int count, char text[CONFIG_TEXT_MAX])
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < count && used < CONFIG_TEXT_MAX; i++)
        used += (size_t)snprintf(text + used, CONFIG_TEXT_MAX - used, "%s%lld", i ? " " : "", (long long)numbers[i]);
}

/* Pairs of seconds and changes. */
static bool check_save(char text[CONFIG_TEXT_MAX], char *reason, size_t size)
{
    int64_t numbers[NUMBERS_MAX];
    int count = parse_numbers(text, numbers);
    bool good = count >= 0 && count % 2 == 0;
    for (int i = 0; good && i < count; i += 2)
        good = numbers[i] >= 1 && numbers[i + 1] >= 0;
    if (!good)
        return config_say(reason, size, "Invalid save parameters");
    word_numbers(numbers, count, text);
    return true;
}

static size_t count_spaces(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += *text == ' ';
    return count;
}

static bool check_oom_values(char text[CONFIG_TEXT_MAX], char *reason, size_t size)
{
    int64_t numbers[NUMBERS_MAX];
    if (count_spaces(text) != 2)
        return config_say(reason, size, "wrong number of arguments");
    int count = parse_numbers(text, numbers);
    for (int i = 0; i < 3; i++)
        if (count != 3 || numbers[i] < -2000 || numbers[i] > 2000)
            return config_say(reason, size, "Invalid oom-score-adj-values, elements must be between -2000 and 2000.");
    word_numbers(numbers, count, text);
    return true;
}

/* -- names in a text -- */

/* "{{" is a brace; {name} must be one of these. */
static bool title_is_known(const char *text)
{
    static const char *const names[] = {"title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"};
    while ((text = strchr(text, '{')) != NULL) {
        size_t size = strcspn(++text, "}");
        bool known = *text == '{';
        for (size_t i = 0; !known && i < sizeof(names) / sizeof(names[0]); i++)
            known = text[size] == '}' && size == strlen(names[i]) && memcmp(text, names[i], size) == 0;
        if (!known)
            return false;
        text += *text == '{' ? 1 : size + 1;
    }
    return true;
}

static bool check_hostname(const char *text, char *reason, size_t size)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
    if (strlen(text) > (size_t)setting_rows[SETTING_CLUSTER_ANNOUNCE_HOSTNAME].max)
        return config_say(reason, size, "Hostnames must be less than 256 characters");
    return !text[strspn(text, alphabet)] ||
           config_say(reason, size, "Hostnames may only contain alphanumeric characters, hyphens or dots");
}

/* -- the checks -- */

#define REPL_BACKLOG_MIN 16384
enum { OOM_NO, OOM_YES, OOM_RELATIVE }; /* the words of the setting; the last two mean the same */

/* Settings whose value is moved into its range instead of refused. */
static void fit(enum setting id, int64_t *number)
{
    if (id == SETTING_HZ)
        *number = *number < 1 ? 1 : *number > 500 ? 500 : *number;
    if (id == SETTING_REPL_BACKLOG && *number < REPL_BACKLOG_MIN)
        *number = REPL_BACKLOG_MIN;
    if (id == SETTING_OOM_SCORE_ADJ && *number == OOM_RELATIVE)
        *number = OOM_YES;
    if (id == SETTING_WATCHDOG && *number > 0 && *number < 200)
        *number = 200;
}

bool config_check(enum setting id, const char *before, struct parsed *p, char *reason, size_t size)
{
    fit(id, &p->number);
    switch (id) {
    case SETTING_OUTPUT_LIMIT: return check_limits(before, p->text, reason, size);
    case SETTING_SAVE: return check_save(p->text, reason, size);
    case SETTING_OOM_SCORE_ADJ_VALUES: return check_oom_values(p->text, reason, size);
    case SETTING_PROC_TITLE_TEMPLATE:
        return (p->text[0] && title_is_known(p->text)) || config_say(reason, size, "template format is invalid or contains unknown variables");
    case SETTING_CLUSTER_ANNOUNCE_HOSTNAME: return check_hostname(p->text, reason, size);
    case SETTING_NOTIFY: {
        uint32_t flags;
        if (!pubsub_notify_parse(bytes_str(p->text), &flags))
            return config_say(reason, size, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
        pubsub_notify_word(flags, p->text);
        return true;
    }
    case SETTING_LATENCY_PERCENTILES: {
        double percents[PERCENTILES_MAX];
        size_t count = 0;
        if (!percentiles_parse(p->text, percents, &count, reason, size))
            return false;
        percentiles_word(percents, count, p->text, sizeof(p->text));
        return true;
    }
    case SETTING_SHUTDOWN_ON_SIGINT:
    case SETTING_SHUTDOWN_ON_SIGTERM:
        return (p->number & 3) != 3 || config_say(reason, size, "shutdown options SAVE and NOSAVE can't be used simultaneously");
    case SETTING_REQUIREPASS:
        return strlen(p->text) <= (size_t)setting_rows[id].max ||
               config_say(reason, size, "the password is longer than 512 bytes");
    case SETTING_BIND:
        return count_spaces(p->text) < CONFIG_BINDS_MAX || config_say(reason, size, "Too many bind addresses specified.");
    case SETTING_REPLICAOF:
        return !p->text[0] || bytes_is_word(bytes_str(p->text), "no one") ||
               config_say(reason, size, "holdfast does not follow another server");
    case SETTING_DIR: return p->text[0] || config_say(reason, size, "a directory is needed");
    default: return true;
    }
}

bool config_check_live(enum setting id, const struct parsed *p, char *reason, size_t size)
{
    if (id == SETTING_ACTIVEDEFRAG && p->number && !config_number(id))
        return config_say(reason, size, "Active defragmentation cannot be enabled: entries are not moved in memory");
    return true;
}
