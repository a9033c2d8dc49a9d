/* json_tree.h - text that json_scan() accepted, as a json-c tree. */
#ifndef PROTOCOL_JSON_TREE_H
#define PROTOCOL_JSON_TREE_H
#include "protocol/json_scan.h"
#include <json-c/json.h>

/* The value's tree, owned by the caller (json_object_put); NULL when v is absent, `null`, longer
 * than INT_MAX bytes or memory is short. Only for text that json_scan() accepted. */
struct json_object *json_tree(struct json_span v);
#endif
