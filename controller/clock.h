/* clock.h - the one clock of the controller: monotonic microseconds. Policy files take
 * times as arguments and never include this. */
#ifndef CONTROLLER_CLOCK_H
#define CONTROLLER_CLOCK_H
#include <stdint.h>

uint64_t clock_us(void);
#endif
