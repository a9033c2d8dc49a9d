/* recording.c - from a record's lines to its frames. */
#include "controller/recording.h"
#include "protocol/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX ((size_t)4 << 30)

static int read_file(struct recording *r, const char *path, size_t *n, struct fault *f)
{
	struct stat st;
	size_t at = 0;
	ssize_t got = 1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		fault_set(f, ERR_IO, "cannot read %s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode) || (size_t)st.st_size > FILE_BYTES_MAX) {
		fault_set(f, ERR_IO, "%s is no file of at most %zu bytes", path, FILE_BYTES_MAX);
	} else if (!(r->bytes = mem_try((size_t)st.st_size + 1))) {
		fault_set(f, ERR_NOMEM, "no memory for the %lld bytes of %s", (long long)st.st_size,
			path);
	} else {
		while (at < (size_t)st.st_size && got > 0)
			if ((got = read(fd, r->bytes + at, (size_t)st.st_size - at)) > 0)
				at += (size_t)got;
		*n = at;
		close(fd);
		return 0;
	}
	if (fd >= 0)
		close(fd);
	return f->err;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(struct json_span v, struct buf *out)
{
	if (v.n % 2)
		return false;
	for (size_t i = 1; i + 1 < v.n; i += 2) {
		int high = hex_digit(v.at[i]), low = hex_digit(v.at[i + 1]);
		if (high < 0 || low < 0)
			return false;
		buf_addc(out, (char)(high << 4 | low));
	}
	return true;
}

static bool add_frame(struct recording *r, struct json_span line)
{
	struct recorded x = { .dir = RECORD_IN };
	struct json_span dir = json_find(line, "dir"), text = json_find(line, "text"),
			 hex = json_find(line, "hex");
	struct buf own = BUF_INIT;
	if (json_str_is(dir, "out"))
		x.dir = RECORD_OUT;
	else if (!json_str_is(dir, "in"))
		return false;
	x.text = json_find(line, "frame");
	x.is_json = x.text.at != NULL;
	if (!x.is_json) {
		bool ok = text.at ? json_get_str(text, &own)
				  : json_kind(hex) == '"' && read_hex(hex, &own);
		x.text.n = own.n_bytes;
		x.owned = buf_detach(&own);
		x.text.at = x.owned;
		if (!ok) {
			free(x.owned);
			return false;
		}
		x.is_json = json_scan(x.text.at, x.text.n, NULL) == 0;
	}
	if ((r->n_frames & (r->n_frames - 1)) == 0)
		r->frames = xreallocarray(
			r->frames, r->n_frames ? 2 * r->n_frames : 1, sizeof *r->frames);
	r->frames[r->n_frames++] = x;
	return true;
}

static void add_option(struct recording *r, char *option)
{
	r->options = xreallocarray(r->options, r->n_options + 2, sizeof *r->options);
	r->options[r->n_options++] = option;
	r->options[r->n_options] = NULL;
}

static bool take_header(struct recording *r, struct json_span line)
{
	int64_t version = 0;
	struct json_span options = json_find(line, "options"), option;
	if (!json_get_int(json_find(line, "record"), &version) || version != 1 ||
		json_kind(options) != '[')
		return false;
	struct json_cursor c = json_iterate(options);
	add_option(r, xstrdup("tandem"));
	while (json_next_element(&c, &option)) {
		struct buf text = BUF_INIT;
		json_get_str(option, &text);
		buf_cstr(&text);
		add_option(r, buf_detach(&text));
	}
	return true;
}

static bool take_line(struct recording *r, struct json_span line)
{
	int64_t n_lost = 0;
	if (json_kind(line) != '{')
		return false;
	if (!r->n_options)
		return take_header(r, line);
	if (json_get_int(json_find(line, "lost"), &n_lost) && n_lost >= 0)
		r->n_lost += (uint64_t)n_lost;
	else if (json_find(line, "end").at)
		r->is_whole = json_str_is(json_find(line, "end"), "whole");
	else
		return add_frame(r, line);
	return true;
}

int recording_open(struct recording *r, const char *path, struct fault *f)
{
	size_t n = 0, n_lines = 0;
	memset(r, 0, sizeof *r);
	if (read_file(r, path, &n, f) < 0)
		return f->err;
	char *at = r->bytes, *end = r->bytes + n, *next;
	for (; (next = memchr(at, '\n', (size_t)(end - at))) != NULL; at = next + 1) {
		n_lines++;
		if (json_scan(at, (size_t)(next - at), f) < 0 ||
			!take_line(r, json_whole(at, (size_t)(next - at))))
			return fault_set(f, ERR_INVALID_PARAMS, "%s: line %zu is not of a record",
				path, n_lines);
	}
	if (!r->n_options)
		return fault_set(f, ERR_INVALID_PARAMS, "%s: is no record", path);
	return 0;
}

void recording_release(struct recording *r)
{
	for (size_t i = 0; i < r->n_frames; i++)
		free(r->frames[i].owned);
	for (size_t i = 0; i < r->n_options; i++)
		free(r->options[i]);
	free(r->frames);
	free(r->options);
	free(r->bytes);
}
