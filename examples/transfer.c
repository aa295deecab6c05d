/* transfer.c -- a ledger in one process: moves money between two accounts, all or
 * nothing, and finds it again after closing and opening.
 *
 * Build it against an installed holdfast:
 *     cc transfer.c $(pkg-config --cflags --libs holdfast) -o transfer && ./transfer DIR
 */
#include <holdfast.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static hf_slice text(const char *s)
{
    return (hf_slice){s, strlen(s)};
}

static void must(hf_status status, const char *what)
{
    if (status != 0) {
        fprintf(stderr, "%s: %s\n", what, hf_strerror(status));
        exit(1);
    }
}

/* False, and nothing changed, when `from` does not hold enough. */
static int transfer(hf_db *db, const char *from, const char *to, int64_t amount)
{
    hf_slice keys[2] = {text(from), text(to)};
    hf_txn *t;
    int64_t left, there;
    must(hf_begin(db, keys, 2, &t), "begin");
    must(hf_incr_by(t, keys[0], -amount, &left), "take");
    must(hf_incr_by(t, keys[1], amount, &there), "give");
    if (left < 0) {
        hf_rollback(t);
        return 0;
    }
    must(hf_commit(t), "commit");
    return 1;
}

static int64_t balance(hf_db *db, const char *account)
{
    hf_slice key = text(account);
    hf_txn *t;
    int64_t value;
    must(hf_begin(db, &key, 1, &t), "begin");
    must(hf_incr_by(t, key, 0, &value), "read");
    hf_rollback(t);
    return value;
}

int main(int argc, char **argv)
{
    hf_options options = {.dir = argc > 1 ? argv[1] : "transfer-data", .durability = HF_DURABILITY_COMMIT};
    char detail[512];
    hf_db *db;
    if (hf_open(&options, &db, detail, sizeof(detail)) != 0) {
        fprintf(stderr, "%s\n", detail);
        return 1;
    }
    hf_slice alice = text("account:alice");
    hf_txn *t;
    must(hf_begin(db, &alice, 1, &t), "begin");
    must(hf_set(t, alice, text("100"), 0), "set");
    must(hf_commit(t), "commit");
    int64_t bob = balance(db, "account:bob");
    int first = transfer(db, "account:alice", "account:bob", 70);
    int second = transfer(db, "account:alice", "account:bob", 70);
    hf_close(db);

    must(hf_open(&options, &db, detail, sizeof(detail)), "open again");
    printf("first transfer %s, second %s; alice %lld, bob gained %lld\n", first ? "done" : "refused",
           second ? "done" : "refused", (long long)balance(db, "account:alice"),
           (long long)(balance(db, "account:bob") - bob));
    int good = first && !second && balance(db, "account:alice") == 30 && balance(db, "account:bob") - bob == 70;
    hf_close(db);
    return good ? 0 : 1;
}
