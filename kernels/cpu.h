/* cpu.h - which instruction sets this CPU and its operating system really have. */
#ifndef KERNELS_CPU_H
#define KERNELS_CPU_H

/* A set of enum kernels_isa (kernels.h). Asks the CPU; cheap, no state. */
unsigned cpu_detect(void);
#endif
