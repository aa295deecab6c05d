/* config.h -- the settings: rows in config.def, values from a file, the environment
 * and the command line.
 *
 * Later sources win: defaults, then the file, then HOLDFAST_<NAME>, then --name. Every
 * refusal names its place (file and line, variable or flag), the value, and for an
 * unknown name the nearest known one.
 *
 * Threads: config_read runs before any thread. Numbers may be read by any thread at any
 * time; texts that are not LIVE too, they never change after start. LIVE texts are
 * copied out under the lock.
 */
#ifndef HF_SERVER_CONFIG_H
#define HF_SERVER_CONFIG_H

#include "base/bytes.h"
#include "base/status.h"

enum setting {
#define SETTING(id, ...) SETTING_##id,
#include "server/config.def"
#undef SETTING
    SETTING_COUNT
};

enum config_run { CONFIG_RUN_SERVER, CONFIG_RUN_CHECK, CONFIG_RUN_HELP, CONFIG_RUN_HELP_ALL, CONFIG_RUN_VERSION };

#define CONFIG_ERROR_SIZE 1024
#define CONFIG_TEXT_MAX 4096
#define CONFIG_BINDS_MAX 16

bool config_read(int argc, char **argv, enum config_run *run, char error[CONFIG_ERROR_SIZE]);
void config_help(bool all); /* else those that are marked FIRST: one screen */

int64_t config_number(enum setting id);   /* INT, MEMORY, OCTAL; BOOL: 0 or 1; ENUM: index of the word; FLAGS: bits of the words after the first */
const char *config_text(enum setting id); /* TEXT, LIST that are not LIVE */
size_t config_copy(enum setting id, char out[CONFIG_TEXT_MAX]); /* any kind, as CONFIG GET words it */
const char *config_word(enum setting id); /* ENUM */
const char *config_file(void);            /* absolute path; "" without one */

/* Called with the changed setting after CONFIG SET, on the thread that ran it. Two may run at once: read
 * the value then, whoever comes last applies what stands. */
void config_on_change(void (*changed)(enum setting id));

/* What CONFIG SET is about to store, over what stands; NULL: what stands (at start, and inside of these calls). */
struct config_wanted;
const char *config_wanted_text(const struct config_wanted *w, enum setting id); /* TEXT, LIST */
int64_t config_wanted_number(const struct config_wanted *w, enum setting id);

/* Called by CONFIG SET before anything is stored, by one thread at a time.
 * on_listen: ports or bind change. False: it cannot listen there, still does where it did, and nothing is stored.
 * on_tls: something of TLS changes. False: nothing is stored. `give_back`: it was taken, but something else was refused. */
void config_on_listen(bool (*listens)(const struct config_wanted *wanted));
void config_on_tls(bool (*takes)(const struct config_wanted *wanted), void (*give_back)(void));
void config_with_all(void (*each)(void *context), void *context); /* while nothing changes */

/* The settings that were given but have no effect, for a line of the log. */
size_t config_inert_given(char *out, size_t size);

/* For struct host. On refusal `error` is the whole line but for its "ERR ". */
void config_get_matching(bytes pattern, void (*each)(void *context, bytes name, bytes value), void *context);
bool config_set_all(const bytes *names, const bytes *values, size_t count, char *error, size_t error_size);
status config_rewrite(bool all, char *error, size_t error_size); /* all: also settings that have their default */

/* client-output-buffer-limit of a class: "normal", "slave" or "pubsub". */
struct output_limit { uint64_t hard, soft, soft_s; };
struct output_limit config_output_limit(const char *class_name);

#endif
