/* tok_proto.h - reading protocol buffer messages, enough for sentencepiece_model.proto.
 *
 * Wire format: https://protobuf.dev/programming-guides/encoding. Groups are refused. */
#ifndef WORKER_TEXT_TOK_PROTO_H
#define WORKER_TEXT_TOK_PROTO_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct proto_reader {
	const unsigned char *at, *end;
	bool is_bad; /* set by proto_next when the bytes end early or make no sense */
};
struct proto_field {
	uint32_t number;
	uint64_t value;    /* varint, or the bits of a fixed32/fixed64 */
	const char *bytes; /* length-delimited: borrowed; else NULL */
	size_t n_bytes;
};

struct proto_reader proto_read(const char *bytes, size_t n);
/* false at the end, or when is_bad. */
bool proto_next(struct proto_reader *r, struct proto_field *out);
float proto_float(const struct proto_field *x);
#endif
