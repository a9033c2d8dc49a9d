/* run.h - `tandem run`: this binary as a small host for people. */
#ifndef CONTROLLER_RUN_H
#define CONTROLLER_RUN_H

/* argv[0] is "run"; `out` gets the text. Returns the exit code. */
int run_main(int out, int argc, char **argv);
#endif
