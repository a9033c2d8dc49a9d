/* artifact.h - one file of weights in the layout our kernels read, made once from a model's own
 * and mapped ever after, by every worker that needs them.
 *
 *   header, 128 bytes | parts, each from a multiple of 64 KiB | index, one entry a part
 *
 * Numbers are in the machine's own byte order and the key names its instruction set: a cache of
 * one machine, never sent anywhere. A file is believed no more than any other: header and index
 * have checksums and are checked whole at open, a part's own checksum when it is first asked for.
 * Checksums are XXH3-64; ids XXH3-128 of what they stand for. */
#ifndef WORKER_MODEL_ARTIFACT_H
#define WORKER_MODEL_ARTIFACT_H
#include "protocol/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARTIFACT_VERSION   1
#define ARTIFACT_ALIGN     65536 /* of parts; a multiple of every page size */
#define ARTIFACT_PARTS_MAX 1000000
#define ARTIFACT_LABEL_MAX 64
#define ARTIFACT_HEX_SIZE  33 /* an id as text, terminated */

struct artifact_id {
	uint8_t bytes[16];
};

struct artifact_id artifact_id_of(const void *bytes, size_t n);
void artifact_id_print(const struct artifact_id *id, char out[ARTIFACT_HEX_SIZE]);

/* -- reading: one thread at a time; what artifact_part gave stays valid until the close ------ */

struct artifact;

/* ERR_MODEL_LOAD naming the file and what is wrong with it; *key NULL = whatever it holds. */
int artifact_open(
	const char *path, const struct artifact_id *key, struct artifact **out, struct fault *f);
void artifact_close(struct artifact *a); /* NULL is fine */
/* Its parts were verified before, and the file has not changed since. */
void artifact_trust(struct artifact *a);
/* n_bytes of the part: NULL if there is none of that id and size, or (damaged) its checksum
 * does not fit. */
const void *artifact_part(
	struct artifact *a, const struct artifact_id *id, size_t n_bytes, bool *damaged);
/* Every part, trusted or not. ERR_MODEL_LOAD naming the first bad one's place. */
int artifact_verify(struct artifact *a, struct fault *f);
size_t artifact_bytes(const struct artifact *a);
size_t artifact_n_parts(const struct artifact *a);
const char *artifact_label(const struct artifact *a); /* for people; printable ASCII */

/* -- writing ---------------------------------------------------------------------------------- */

struct artifact_writer;

/* Over fd, an empty file open for reading and writing, owned from here on. */
struct artifact_writer *artifact_writer_new(int fd);
/* Room for a part in the file itself, to be filled by the caller: pages that later readers
 * share. NULL when the disk has no room, after which nothing more can be added. */
void *artifact_add(struct artifact_writer *w, const struct artifact_id *id, size_t n_bytes);
/* Checksums, index and header are written, the whole reaches the disk, parts become read-only.
 * ERR_IO. The file still has the name it was opened by. */
int artifact_finish(struct artifact_writer *w, const struct artifact_id *key, const char *label,
	struct fault *f);
size_t artifact_written(const struct artifact_writer *w); /* bytes of the parts */
void artifact_writer_free(struct artifact_writer *w);     /* its parts are gone; NULL is fine */
#endif
