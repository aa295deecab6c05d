/* config_private.h -- the rows, between config.c, config_source.c and config_rewrite.c. */
#ifndef HF_SERVER_CONFIG_PRIVATE_H
#define HF_SERVER_CONFIG_PRIVATE_H

#include "server/config.h"

enum setting_kind { INT, BOOL, MEMORY, OCTAL, ENUM, FLAGS, TEXT, LIST };
enum setting_flags { LIVE = 1, INERT = 2, SECRET = 4, ALIAS = 8, OWN = 16, HIDDEN = 32, PROTECTED = 64, FIRST = 128, TLS = 256 };
enum setting_source { SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENVIRONMENT, SOURCE_FLAG, SOURCE_RUNTIME };

#define CONFIG_FILE_MAX (64u << 20) /* thousands of users may stand in it */

struct setting_row {
    const char *name;
    enum setting_kind kind;
    const char *initial;
    int64_t min, max;
    unsigned flags;
    const char *words; /* ENUM, FLAGS: "a|b|c" */
    const char *help;
};

extern const struct setting_row setting_rows[SETTING_COUNT];

struct parsed {
    int64_t number;
    char text[CONFIG_TEXT_MAX];
};

/* config_check.c: what settings ask beyond their kind; may reword the value. `before`: the text that stands; NULL: none. */
bool config_check(enum setting id, const char *before, struct parsed *p, char *reason, size_t size);
bool config_check_live(enum setting id, const struct parsed *p, char *reason, size_t size); /* the same, for CONFIG SET alone */
bool config_say(char *reason, size_t size, const char *text);                               /* false */
int limits_class(const char *word);                                                         /* -1: unknown */
const char *limits_parse(const char *text, struct output_limit limits[3]); /* merges "class hard soft seconds ..."; NULL, or what is wrong */

void config_defaults(void);
int config_find(bytes name);                 /* aliases resolved; -1: unknown */
const char *config_nearest(const char *name, size_t within); /* by fewer changes of letters than that; NULL: nothing is near */
/* Checks and stores one setting; false: `reason` says what is wrong with the value. */
bool config_assign(enum setting id, char *const *words, size_t count, enum setting_source source, char *reason,
                   size_t reason_size);
enum setting_source config_source(enum setting id);
bool config_is_default(enum setting id);
bool config_was_included(enum setting id); /* a file sets it, and something later set it again */
void config_set_file(const char *path);
void config_other_file(void); /* the lines that come are of another one than those before */
void config_replace_text(enum setting id, const char *text); /* start only: dir made absolute */

#endif
