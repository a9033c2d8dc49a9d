/* inspect.h - `tandem-worker inspect PATH`: what a model is, and why it would not load.
 *
 * What load_model would say, told from the headers of the files: no weight is read. */
#ifndef WORKER_INSPECT_H
#define WORKER_INSPECT_H
#include "protocol/buf.h"

struct inspect_options {
	const char *path;
	bool is_json;
};

/* Append the report on a path. True if the model would load. */
bool inspect_report(const struct inspect_options *o, struct buf *out);

/* argv[0] is "inspect". Returns the exit code: 0, EX_DATAERR if it would not load, EX_USAGE. */
int inspect_main(int argc, char **argv);
#endif
