/* hf-inspect.h -- the subcommands of hf-inspect that stand in files of their own.
 *
 * Each gets the words behind its name and returns the exit code: 0 sound, 1 damaged,
 * 2 could not be read.
 */
#ifndef HF_INSPECT_H
#define HF_INSPECT_H

int snapshot_inspect(int argc, char **argv);

#endif
