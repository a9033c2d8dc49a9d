/* tok_proto.c - the protocol buffer wire format, fields one after another. */
#include "worker/text/tok_proto.h"
#include <string.h>

struct proto_reader proto_read(const char *bytes, size_t n)
{
	const unsigned char *at = (const unsigned char *)bytes;
	return (struct proto_reader) { at, at + n, false };
}

static uint64_t read_varint(struct proto_reader *r)
{
	uint64_t v = 0;
	for (int shift = 0; shift < 64; shift += 7) {
		if (r->at == r->end)
			break;
		unsigned char byte = *r->at++;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return v;
	}
	r->is_bad = true;
	return 0;
}

static uint64_t read_fixed(struct proto_reader *r, size_t n)
{
	uint64_t v = 0;
	if ((size_t)(r->end - r->at) < n) {
		r->is_bad = true;
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)r->at[i] << (8 * i);
	r->at += n;
	return v;
}

bool proto_next(struct proto_reader *r, struct proto_field *out)
{
	if (r->is_bad || r->at == r->end)
		return false;
	uint64_t tag = read_varint(r);
	*out = (struct proto_field) { .number = (uint32_t)(tag >> 3) };
	if (tag >> 3 == 0 || tag >> 32 != 0)
		r->is_bad = true;
	switch (tag & 7) {
	case 0: out->value = read_varint(r); break;
	case 1: out->value = read_fixed(r, 8); break;
	case 5: out->value = read_fixed(r, 4); break;
	case 2:
		out->value = read_varint(r);
		if (out->value > (uint64_t)(r->end - r->at)) {
			r->is_bad = true;
			break;
		}
		out->bytes = (const char *)r->at;
		out->n_bytes = (size_t)out->value;
		r->at += out->n_bytes;
		break;
	default: r->is_bad = true;
	}
	return !r->is_bad;
}

float proto_float(const struct proto_field *x)
{
	uint32_t bits = (uint32_t)x->value;
	float v;
	memcpy(&v, &bits, sizeof v);
	return v;
}
