/* prepared.c - one load's parts: found in the artifact cache, or made there. */
#include "worker/model/prepared.h"
#include "protocol/buf.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include <stdlib.h>
#include <string.h>

struct prepared {
	struct prepared_options o;
	struct artifact_claim claim;
	bool is_claimed, is_stale; /* stale: the file lacks what was asked for */
	size_t n_asked, n_bytes;
};

struct prepared *prepared_new(const struct prepared_options *o)
{
	struct prepared *p = xcalloc(1, sizeof *p);

	p->o = *o;
	return p;
}

void prepared_free(struct prepared *p)
{
	if (!p)
		return;
	if (p->is_claimed)
		artifact_claim_release(p->o.store, &p->claim);
	free(p);
}

static bool report(struct prepared *p, const char *stage)
{
	return !p->o.progress || p->o.progress(p->o.progress_arg, 0.5, stage);
}

static bool still_reading(void *arg)
{
	return report(arg, "reading");
}

static bool still_waiting(void *arg)
{
	return report(arg, "waiting for another worker to pack");
}

static int add_digest(struct prepared *p, const char *path, struct buf *text, struct fault *f)
{
	struct artifact_id id;
	char hex[ARTIFACT_HEX_SIZE];
	int rc = artifact_digest(p->o.store, path, still_reading, p, &id, f);

	if (rc == 0) {
		artifact_id_print(&id, hex);
		buf_addf(text, "|%s", hex);
	}
	return rc;
}

/* Everything that decides a byte of any part. */
static int make_key(struct prepared *p, struct artifact_id *key, struct fault *f)
{
	struct buf text = BUF_INIT;
	const char *file;
	int rc = 0;

	buf_addf(&text, "%d|%s|%s", PREPARED_LAYOUT, p->o.kernels, p->o.choices);
	for (size_t i = 0; rc == 0 && (file = tensor_source_file(p->o.source, i)); i++)
		rc = add_digest(p, file, &text, f);
	if (rc == 0 && p->o.config)
		rc = add_digest(p, p->o.config, &text, f);
	*key = artifact_id_of(text.data, text.n_bytes);
	buf_release(&text);
	return rc;
}

static int claim(struct prepared *p, struct fault *f)
{
	struct artifact_id key;
	struct fault why = { 0 };
	int rc;

	p->is_claimed = true;
	if (!artifact_store_prepare(p->o.store))
		return 0;
	rc = make_key(p, &key, &why);
	if (rc == 0)
		rc = artifact_store_claim(p->o.store, &key, still_waiting, p, &p->claim);
	else if (rc != ERR_CANCELLED)
		log_warn("%s; packed weights are not kept", why.text);
	return rc == ERR_CANCELLED ? fault_set(f, ERR_CANCELLED, "the load was cancelled") : 0;
}

static struct artifact_id part_id(const struct prepared *p, const char *what)
{
	struct buf text = BUF_INIT;

	buf_addf(&text, "%zu|%s", p->n_asked, what);
	const struct artifact_id id = artifact_id_of(text.data, text.n_bytes);
	buf_release(&text);
	return id;
}

static const void *look_up(struct prepared *p, const struct artifact_id *id, size_t n_bytes)
{
	bool damaged;
	const void *part = artifact_part(p->claim.artifact, id, n_bytes, &damaged);

	if (!part && !p->is_stale)
		log_warn("packed weights of %s are %s; the next load packs anew", p->o.model,
			damaged ? "damaged" : "incomplete");
	p->is_stale |= !part;
	return part;
}

int prepared_next(struct prepared *p, const char *what, size_t n_bytes, struct prepared_part *out,
	struct fault *f)
{
	const struct artifact_id id = part_id(p, what);
	int rc = 0;

	*out = (struct prepared_part) { 0 };
	p->n_asked++;
	if (n_bytes < PREPARED_PART_MIN || !p->o.store || !p->o.store->folder)
		return 0;
	if (!p->is_claimed && (rc = claim(p, f)) < 0)
		return rc;
	if (p->claim.artifact)
		out->ready = look_up(p, &id, n_bytes);
	else if (p->claim.writer)
		out->room = artifact_add(p->claim.writer, &id, n_bytes);
	if (out->ready || out->room)
		p->n_bytes += n_bytes;
	return 0;
}

void prepared_end(struct prepared *p)
{
	const char *slash = strrchr(p->o.model, '/');
	struct fault f;

	if (p->claim.artifact && p->is_stale)
		artifact_store_drop(p->o.store, &p->claim.key);
	else if (p->claim.artifact)
		artifact_store_note_verified(p->o.store, &p->claim.key);
	else if (p->claim.writer &&
		 artifact_store_keep(p->o.store, &p->claim, slash ? slash + 1 : p->o.model, &f) < 0)
		log_warn("%s; the next load packs again", f.text);
}

size_t prepared_bytes(const struct prepared *p)
{
	return p->n_bytes;
}
