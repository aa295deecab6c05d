/* hf-inspect.c -- prints holdfast's files record by record, and names the first damage.
 *
 * One row per kind of file in `commands`; a row's run gets the words behind its name and
 * returns the exit code: 0 sound, 1 damaged, 2 could not be read.
 */
#include "hf-inspect.h"

#include "base/memory.h"
#include "durable/identity.h"
#include "durable/segment.h"
#include "os/os.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_SIZE_MAX ((size_t)1 << 40)

struct log_file { const char *path; uint8_t *data; size_t size; struct segment_header header; };

static int damage(const char *path, uint64_t offset, uint64_t lsn, const char *problem)
{
    fflush(stdout);
    fprintf(stderr, "hf-inspect: %s: damaged at offset %" PRIu64 ", lsn %" PRIu64 ": %s\n", path, offset,
            lsn, problem);
    return 1;
}

static const char *kind_name(uint8_t kind)
{
    static const char *const names[] = {[RECORD_EFFECTS] = "effects", [RECORD_DB_MAP] = "db-map"};
    return kind < sizeof(names) / sizeof(*names) && names[kind] ? names[kind] : "unknown";
}

static void group_print(const struct segment_group *g)
{
    const struct group_header *h = &g->header;
    printf("group offset=%" PRIu64 " lsn=%" PRIu64 " next=%" PRIu64 " epoch=%" PRIu32 " records=%" PRIu32
           " bytes=%" PRIu32 " durable=%" PRIu64 " time=%" PRIu64 " crc=%08" PRIx32 " chain=%08" PRIx32 "%s\n",
           g->offset, h->first_lsn, h->first_lsn + h->lsn_bytes, h->epoch, h->records, h->disk_bytes,
           h->durable_lsn, h->time_ms, h->crc, h->chain,
           h->flags & GROUP_SEAL ? " seal" : h->records ? "" : " mark");
}

/* Prints records up to the damaged one, or all. */
static void records_print(const struct segment_scan *scan, const struct segment_group *g, uint64_t bad_lsn)
{
    uint64_t offset = g->offset + GROUP_HEADER_SIZE, lsn = g->header.first_lsn;
    for (uint32_t i = 0; i < g->header.records && lsn != bad_lsn; i++) {
        struct record_view v;
        if (record_decode(scan->data + offset, scan->size - offset, lsn, &v))
            return;
        printf("  record lsn=%" PRIu64 " epoch=%" PRIu32 " kind=%s slot=%u size=%zu time=%" PRIu64
               "%s crc=ok\n", v.lsn, v.epoch, kind_name(v.kind), v.slot, v.body.size, v.time_ms,
               v.flags & RECORD_INDIRECT ? " indirect" : "");
        offset += v.disk_size;
        lsn = v.next_lsn;
    }
}

/* `next`: the following segment of the same log, or NULL. */
static int log_file_print(const struct log_file *f, const struct log_file *next)
{
    uint64_t limit = next ? next->header.first_lsn : UINT64_MAX;
    struct segment_scan scan = {.data = f->data, .size = f->size, .header = f->header};
    printf("segment %s number=%" PRIu64 " log=%016" PRIx64 " epoch=%" PRIu32 " first=%" PRIu64
           " epoch-began=%" PRIu64 " time=%" PRIu64 " chain=%08" PRIx32 "\n",
           f->path, f->header.number, f->header.log_id, f->header.epoch, f->header.first_lsn,
           f->header.epoch_lsn, f->header.time_ms, f->header.chain);
    segment_scan_run(&scan, limit);
    uint64_t offset = 0, lsn = 0;
    bool bad = false;
    for (size_t i = 0; i < scan.count && !bad; i++) {
        const char *problem = group_verify(f->data, &scan.groups[i], &offset, &lsn);
        group_print(&scan.groups[i]);
        records_print(&scan, &scan.groups[i], problem ? lsn : UINT64_MAX);
        if (problem) {
            segment_scan_cut(&scan, i, problem);
            bad = true;
        }
    }
    if (!bad) {
        offset = segment_scan_next(&scan);
        lsn = scan.end_lsn;
    }
    int result = 0;
    if (scan.end_lsn < limit && (next || segment_scan_is_damaged(&scan)))
        result = damage(f->path, offset, lsn, scan.problem ? scan.problem : "a group is missing");
    else if (next && (scan.end_lsn != limit || scan.end_chain != next->header.chain))
        result = damage(f->path, offset, lsn, "the next segment does not continue this one");
    else
        printf("end file=%s offset=%" PRIu64 " lsn=%" PRIu64 "%s%s\n", f->path, offset, scan.end_lsn,
               scan.problem ? "; behind it bytes that no fsync has covered: " : "",
               scan.problem ? scan.problem : "");
    segment_scan_release(&scan);
    return result;
}

int log_inspect(int count, char **paths)
{
    struct log_file *files = mem_zalloc((size_t)count * sizeof(*files));
    int result = 0;
    for (int i = 0; i < count && result == 0; i++) {
        void *data = NULL;
        files[i].path = paths[i];
        int got = os_read_file(paths[i], FILE_SIZE_MAX, &data, &files[i].size);
        files[i].data = data;
        if (got < 0) {
            fprintf(stderr, "hf-inspect: %s: %s\n", paths[i], strerror(-got));
            result = 2;
            break;
        }
        const char *problem = segment_header_decode(data, files[i].size, &files[i].header);
        if (problem)
            result = damage(paths[i], 0, 0, problem);
    }
    for (int i = 0; i < count && result == 0; i++) {
        const struct log_file *next = i + 1 < count ? &files[i + 1] : NULL;
        bool follows = next && next->header.log_id == files[i].header.log_id &&
                       next->header.number > files[i].header.number;
        result = log_file_print(&files[i], follows ? next : NULL);
    }
    for (int i = 0; i < count; i++)
        mem_free(files[i].data);
    mem_free(files);
    return result;
}

int identity_inspect(int count, char **paths)
{
    for (int i = 0; i < count; i++) {
        void *data = NULL;
        size_t size;
        struct identity id;
        int got = os_read_file(paths[i], FILE_SIZE_MAX, &data, &size);
        if (got < 0) {
            fprintf(stderr, "hf-inspect: %s: %s\n", paths[i], strerror(-got));
            return 2;
        }
        const char *problem = identity_decode(data, size, &id);
        mem_free(data);
        if (problem) {
            fprintf(stderr, "hf-inspect: %s: damaged at offset 0: %s\n", paths[i], problem);
            return 1;
        }
        printf("identity %s log=%016" PRIx64 "\n", paths[i], id.log_id); /* the secret stays one */
    }
    return 0;
}

/* --- one row per kind of file ------------------------------------------------------ */

static const struct command {
    const char *name, *usage, *summary;
    int (*run)(int count, char **words);
} commands[] = {
    {"folder", "folder FOLDER...", "everything in a data directory, in its order", folder_inspect},
    {"identity", "identity FILE...", "which log a data directory belongs to (holdfast.id)", identity_inspect},
    {"log", "log FILE...", "groups and records of log segments, in the order given", log_inspect},
    {"snapshot", "snapshot [-v] FILE...", "header, blocks and ranges of snapshots; -v: every entry", snapshot_inspect},
};

static void help(FILE *out)
{
    fprintf(out, "Usage: hf-inspect COMMAND FILE...\n\n"
                 "Prints the content of holdfast's files and checks every checksum.\n\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
        fprintf(out, "  %-24s %s\n", commands[i].usage, commands[i].summary);
    fprintf(out, "\nExit code: 0 all sound; 1 damage, named on stderr with file and offset;\n"
                 "2 a file could not be read, or the words were not understood.\n\n"
                 "Example: hf-inspect folder /var/lib/holdfast\n");
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            help(stdout);
            return 0;
        }
    }
    for (size_t i = 0; argc > 2 && i < sizeof(commands) / sizeof(*commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 2, argv + 2);
    }
    help(stderr);
    return 2;
}
