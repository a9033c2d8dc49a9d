/* splice.h - changing a member of JSON text without parsing the rest: the bytes that do
 * not change are copied as they came. Only on text that json_scan() accepted. */
#ifndef CONTROLLER_SPLICE_H
#define CONTROLLER_SPLICE_H
#include "protocol/json_scan.h"

/* Append the object without the members named in `keys` (NULL-terminated) and without its
 * closing brace, so that the caller may add some. */
void splice_without(struct buf *out, struct json_span object, const char *const *keys);

/* Append the object with member key = value (JSON text), replacing one that is there. */
void splice_set(struct buf *out, struct json_span object, const char *key, struct json_span value);
#endif
