/* mapped_file.h - a whole file as read-only memory.
 *
 * Weights are used where the page cache has them; nothing is copied. A file that shrinks
 * while it is mapped cannot be caught by any check beforehand: the next read of a missing
 * page raises SIGBUS. mapped_file_name_truncation() makes that death say why. */
#ifndef WORKER_MODEL_MAPPED_FILE_H
#define WORKER_MODEL_MAPPED_FILE_H
#include "protocol/err.h"
#include <stddef.h>
#include <stdint.h>

struct mapped_file {
	const uint8_t *data; /* NULL for an empty file */
	size_t n_bytes;
	char *path; /* owned; as given to open, for messages */
};

/* Map a regular file. ERR_MODEL_LOAD naming the path. Release with mapped_file_close. */
int mapped_file_open(struct mapped_file *m, const char *path, struct fault *f);
void mapped_file_close(struct mapped_file *m); /* *m as zeroed after */

/* Process-wide, once, from main(): on SIGBUS write one line naming the mapped file that was
 * truncated to stderr, then die of the signal as before. */
void mapped_file_name_truncation(void);
#endif
