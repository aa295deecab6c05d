/* hf-inspect.h -- the subcommands of hf-inspect.
 *
 * Each gets the words behind its name and returns the exit code: 0 sound, 1 damaged,
 * 2 could not be read.
 */
#ifndef HF_INSPECT_H
#define HF_INSPECT_H

int folder_inspect(int argc, char **argv);
int identity_inspect(int argc, char **argv);
int log_inspect(int argc, char **argv);
int snapshot_inspect(int argc, char **argv);

#endif
