/* stream_wire.h - a stream's frames as text (protocol.md section 3). */
#ifndef WORKER_STREAM_WIRE_H
#define WORKER_STREAM_WIRE_H
#include "worker/stream.h"

/* Each appends params (or a result) as a JSON object. The caller holds s->lock. */
void stream_write_handshake(const struct stream *s, struct buf *out, double started_at);
/* tokens [from, from + n): the single form for one, the batched form for more. */
void stream_write_chunk(struct stream *s, struct buf *out, size_t from, size_t n);
/* Text that the end released and no token carried, as a chunk of the last token. */
void stream_write_tail(struct stream *s, struct buf *out, int choice);
void stream_write_stats(const struct stream *s, struct buf *out);
void stream_write_event(const struct stream *s, struct buf *out);
void stream_write_error(const struct stream *s, struct buf *out, const struct fault *f);
void stream_write_whole(struct stream *s, struct buf *out);

/* "usage":{…} and "timings":{…}, for check_draft too. n_draft: tokens judged. */
void stream_write_usage(struct buf *out, const struct job_result *r, size_t n_draft);
void stream_write_timings(struct buf *out, const struct job_result *r);
/* Decoded text of one token, as far as it is text by itself. */
void stream_write_token_text(struct buf *out, const struct model_ref *m, int32_t id);
#endif
