/* bug.c -- which sown fault is on, in a build with -Dbugs=true. In the product nothing here is called. */
#include "os/thread.h"

#include <unistd.h>

#if defined(HF_BUGS) && !defined(HF_SIM)

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[BUG_LAST] = {
    [BUG_STRIPE_LOCK] = "stripe-lock",       [BUG_PUBLISH_FIRST] = "publish-first",   [BUG_NO_STAMP] = "no-stamp",
    [BUG_GATE_ALONE] = "gate-alone",         [BUG_MANIFEST_EARLY] = "manifest-early", [BUG_ACK_EARLY] = "ack-early",
    [BUG_WAKE_LOST] = "wake-lost",           [BUG_ACK_UNWRITTEN] = "ack-unwritten",   [BUG_READ_UNGATED] = "read-ungated",
    [BUG_ABSENT_UNGATED] = "absent-ungated", [BUG_NO_FSYNC] = "no-fsync",             [BUG_FSYNC_ERROR] = "fsync-error",
    [BUG_HALF_REPLAY] = "half-replay",       [BUG_RECORD_CRC] = "record-crc",         [BUG_GROUP_CRC] = "group-crc",
    [BUG_BLOCK_CRC] = "block-crc",           [BUG_IDENTITY_CRC] = "identity-crc",     [BUG_WAITER_LOST] = "waiter-lost",
    [BUG_WAITER_ORDER] = "waiter-order",     [BUG_UNDO_WRITE] = "undo-write",         [BUG_UNDO_TTL] = "undo-ttl",
    [BUG_WATCH_MISSED] = "watch-missed",     [BUG_EVENT_LOST] = "event-lost",
    [BUG_WATCH_KEPT] = "watch-kept",         [BUG_WATCH_EXPIRED] = "watch-expired",   [BUG_TTL_KEPT] = "ttl-kept",
    [BUG_WAITER_KEYS] = "waiter-keys",       [BUG_CHAIN_LOST] = "chain-lost",         [BUG_PENDING_LOST] = "pending-lost",
    [BUG_GROUP_AGAIN] = "group-again",       [BUG_ACK_LOST] = "ack-lost",             [BUG_SCRIPT_LOCK] = "script-lock",
    [BUG_TARGET_TURN] = "target-turn",
};

static enum os_bug chosen;

__attribute__((constructor)) static void choose(void)
{
    const char *name = getenv("HOLDFAST_BUG");
    for (int i = 0; name && i < BUG_LAST; i++) {
        if (names[i] && strcmp(names[i], name) == 0)
            chosen = (enum os_bug)i;
    }
    if (name && *name && chosen == BUG_NONE) {
        fprintf(stderr, "HOLDFAST_BUG: there is no fault \"%s\"\n", name);
        exit(2);
    }
}

bool os_bug(enum os_bug bug)
{
    return bug == chosen;
}

#endif

void os_bug_pause(void)
{
    usleep(300);
}
