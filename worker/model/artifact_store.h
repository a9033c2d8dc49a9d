/* artifact_store.h - the folder of packed weights: found by key, made by one worker at a time,
 * thrown away by least recent use.
 *
 *   KEY.pack  an artifact, complete: it appears by rename
 *   KEY.tmp   one being made; whoever makes it holds its flock
 *   KEY.sum   a model file's digest (KEY: of its path), so that it is read whole only once
 *   KEY.ok    which KEY.pack was verified, and in which boot: until either changes, its
 *             checksums need no second reading
 *
 * Any number of processes may use one folder. Nothing in it is ever missed: whatever is absent
 * or damaged is made again. */
#ifndef WORKER_MODEL_ARTIFACT_STORE_H
#define WORKER_MODEL_ARTIFACT_STORE_H
#include "worker/model/artifact.h"
#include <time.h>

struct artifact_store {
	char *folder;     /* owned; NULL = nothing is kept */
	size_t max_bytes; /* of all artifacts together; 0 = no bound */
};

/* $XDG_CACHE_HOME/tandem/weights, or ~/.cache/tandem/weights. Owned; NULL if neither is set. */
char *artifact_store_default(void);
/* folder is copied. */
void artifact_store_init(struct artifact_store *s, const char *folder, size_t max_bytes);
void artifact_store_release(struct artifact_store *s);

/* What a claim is: a file to read, or leave to make it. */
struct artifact_claim {
	struct artifact_id key;
	struct artifact *artifact;
	struct artifact_writer *writer; /* its file is the claim's KEY.tmp … */
	bool is_kept;                   /* … or, from then on, KEY.pack */
};

/* Make the folder. False (logged): it cannot be, and nothing is kept. */
bool artifact_store_prepare(const struct artifact_store *s);
/* Of a prepared store. Both NULL in *c: the file cannot be made, nothing is kept. While another
 * process makes the same, go_on(arg) is asked now and then; false ends the wait: ERR_CANCELLED. */
int artifact_store_claim(const struct artifact_store *s, const struct artifact_id *key,
	bool (*go_on)(void *arg), void *arg, struct artifact_claim *c);
/* The writer's work under its name, older ones thrown out beyond max_bytes; the parts stay
 * mapped. ERR_IO: it is not kept, which harms nobody. */
int artifact_store_keep(const struct artifact_store *s, struct artifact_claim *c, const char *label,
	struct fault *f);
/* All parts asked for so far were whole, and those are all there are. */
void artifact_store_note_verified(const struct artifact_store *s, const struct artifact_id *key);
/* It was found damaged: the next claim makes it. */
void artifact_store_drop(const struct artifact_store *s, const struct artifact_id *key);
/* Unmaps; an unfinished file is removed. */
void artifact_claim_release(const struct artifact_store *s, struct artifact_claim *c);

/* -- artifact_digest.c: KEY.sum remembers a file's digest while the file is as it was ---------- */

/* XXH3-128 of the file's bytes. ERR_MODEL_LOAD: it cannot be read; ERR_CANCELLED by go_on. */
int artifact_digest(const struct artifact_store *s, const char *path, bool (*go_on)(void *arg),
	void *arg, struct artifact_id *out, struct fault *f);

/* -- artifact_list.c: the folder as a whole ---------------------------------------------------- */

struct artifact_listed {
	char name[ARTIFACT_HEX_SIZE]; /* its key */
	size_t n_bytes;
	struct timespec used;
};

/* Owned array, most recently used first; *n = 0 and NULL for an absent folder. */
struct artifact_listed *artifact_store_list(const struct artifact_store *s, size_t *n);
/* Path of a file of the store. Owned. */
char *artifact_store_path(const struct artifact_store *s, const char *name, const char *ending);
/* False if there was none. */
bool artifact_store_remove(const struct artifact_store *s, const char *name);
/* Remove everything that nobody is making just now. */
void artifact_store_clear(const struct artifact_store *s);
/* Remove by least recent use until all fit. Returns how many went. */
size_t artifact_store_evict(const struct artifact_store *s);
#endif
