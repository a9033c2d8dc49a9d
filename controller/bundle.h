/* bundle.h - what is known about a worker's death, in one file for whoever looks for the cause.
 *
 * $XDG_STATE_HOME/tandem/crash-TIME-PID.json (~/.local/state/tandem): how it ended, its last words
 * and backtrace, the last frames on its pipe, the requests it had. The oldest files go when there
 * are more than opt->bundles, or BUNDLE_BYTES_ALL together. They hold prompts, and only their
 * owner may read them. */
#ifndef CONTROLLER_BUNDLE_H
#define CONTROLLER_BUNDLE_H
#include "controller/controller.h"

#define BUNDLES          16 /* unless told otherwise */
#define BUNDLE_BYTES_ALL ((size_t)16 << 20)

/* Before w's peer is closed and its calls are given away. Sets w->end.bundle, "" when there is
 * none: not wanted, no folder, no room. */
void bundle_write(struct worker *w);
#endif
