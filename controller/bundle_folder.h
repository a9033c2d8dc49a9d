/* bundle_folder.h - the folder of crash bundles, bounded. */
#ifndef CONTROLLER_BUNDLE_FOLDER_H
#define CONTROLLER_BUNDLE_FOLDER_H
#include "protocol/buf.h"
#include "protocol/err.h"

#define BUNDLE_PREFIX "crash-"
#define BUNDLE_SUFFIX ".json"

struct bundle_limits {
	size_t n, n_bytes; /* of all together, the new one included */
};

/* Write text as `name`, whose order by name is that by age, after removing the oldest that are too
 * many. Files of other names are left alone. path: where it is. ERR_IO when it cannot be. */
int bundle_store(const char *name, const struct buf *text, const struct bundle_limits *limits,
	char *path, size_t cap, struct fault *f);
#endif
