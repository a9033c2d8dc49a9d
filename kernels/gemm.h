/* gemm.h - prefill products through OpenBLAS, row-exact. The only door to cblas.
 *
 * OpenBLAS promises no order of summation, so a row's bits could depend on how many rows are
 * multiplied with it. They do not if every call has one shape: GEMM_ROWS rows (the last panel
 * padded with zero rows) by the same blocks of GEMM_OUTS outputs. That a row then gives the
 * same bits at each place of the panel and beside any neighbours is measured, not assumed:
 * gemm_is_row_exact() tries it on this machine for a given shape, and the caller uses the
 * kernels' own product (which promises it) where it fails. */
#ifndef KERNELS_GEMM_H
#define KERNELS_GEMM_H
#include "kernels/dtype.h"
#include "kernels/kernels.h"

#define GEMM_ROWS 32
#define GEMM_OUTS 64

/* Once per process before any other call: one BLAS thread; parallelism is the pool's. */
void gemm_init(void);

/* Floats of scratch for one gemm_panel() of depth n_in. One scratch per thread. */
size_t gemm_scratch(size_t n_in);

/* Does a row give the same bits at every place of a panel, whatever its neighbours, for
 * products of depth n_in with blocks of n_outs (1..GEMM_OUTS) outputs? Some milliseconds: ask
 * once per shape when a model is loaded (GEMM_OUTS, and n_out % GEMM_OUTS if not 0). scratch as
 * for gemm_panel. */
bool gemm_is_row_exact(size_t n_in, size_t n_outs, float *scratch);

/* As struct mul says, but in OpenBLAS's order of summation: out[r][o] for n_rows of any
 * number (cut into panels here) and o in [o_begin, o_end). o_begin is a multiple of GEMM_OUTS,
 * o_end too unless it is the matrix's last row, so that blocks are always the same. w_type is
 * F32, F16 or BF16; narrow weights are widened block by block into scratch. */
void gemm_panel(const struct kernels *k, enum dtype w_type, const struct mul *m, float *scratch);

/* Is it worth asking, given the set kernels_select() returned? OpenBLAS packs both sides of
 * every panel for 32 rows of use; with AVX-512 our own product, which packs nothing and wastes
 * no padding, is about twice as fast (bench_kernels). A fact of the CPU, never of a timing:
 * which path a row takes decides its bits. */
bool gemm_pays(unsigned used);

/* "Zen", "SkylakeX" …: what OpenBLAS took this CPU for. Static storage. */
const char *gemm_core_name(void);
#endif
