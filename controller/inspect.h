/* inspect.h - `tandem inspect`: the worker binary's own sub-command, since only workers know
 * models. */
#ifndef CONTROLLER_INSPECT_H
#define CONTROLLER_INSPECT_H

/* argv[0] is "inspect"; `out` gets the report. Becomes the worker; returns only the exit code
 * of not having managed to. */
int inspect_main(int out, int argc, char **argv);
#endif
