/* cpu.c - CPU detection: cpuid says what the CPU has, xgetbv what the system saves. */
#include "kernels/cpu.h"
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Bits of XCR0: a CPU with AVX-512 under a system that does not save its registers would
 * corrupt them at every context switch. */
#define XCR0_AVX    0x06u
#define XCR0_AVX512 0xe6u

static unsigned xgetbv(void)
{
	unsigned low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return low;
}

unsigned cpu_detect(void)
{
	const unsigned avx2 = bit_AVX2;
	const unsigned avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
	const unsigned base = bit_OSXSAVE | bit_FMA | bit_F16C | bit_AVX;
	unsigned a, b, c, d, found = 0;

	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & base) != base)
		return 0;
	unsigned saved = xgetbv();
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
		return 0;
	if ((b & avx2) == avx2 && (saved & XCR0_AVX) == XCR0_AVX)
		found |= KERNELS_AVX2;
	if (found && (b & avx512) == avx512 && (saved & XCR0_AVX512) == XCR0_AVX512)
		found |= KERNELS_AVX512;
	if ((found & KERNELS_AVX512) && (c & bit_AVX512VNNI))
		found |= KERNELS_VNNI;
	if ((found & KERNELS_AVX512) && __get_cpuid_count(7, 1, &a, &b, &c, &d) &&
		(a & bit_AVX512BF16))
		found |= KERNELS_BF16;
	return found;
}

#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

/* NEON is part of the base architecture. */
unsigned cpu_detect(void)
{
	return KERNELS_NEON | (getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? KERNELS_DOT : 0);
}

#else

unsigned cpu_detect(void)
{
	return 0;
}
#endif
