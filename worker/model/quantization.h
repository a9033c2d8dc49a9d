/* quantization.h - what a config.json says about quantized weights, and which of it we can do. */
#ifndef WORKER_MODEL_QUANTIZATION_H
#define WORKER_MODEL_QUANTIZATION_H
#include "worker/model/config.h"

/* *out: MLX's settings {bits, group_size, mode, and objects of the same by tensor name}, owned
 * by the caller (config_free), or NULL where there are none. The fields count as understood;
 * a method or mode we do not have is ERR_MODEL_LOAD naming it. */
int quantization_read(struct config *c, struct config **out, struct fault *f);
#endif
