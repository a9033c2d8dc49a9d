/* selftest.h - `tandem run --selftest-determinism`: the same questions in many circumstances. */
#ifndef CONTROLLER_SELFTEST_H
#define CONTROLLER_SELFTEST_H
#include "controller/run_options.h"

/* A line for each circumstance to `out`: how many answers were the same, to the bit of every
 * log-probability, or what differs first. Returns the exit code: 1 if anything did. */
int selftest_run(int out, const struct run_options *opt);
#endif
