/* info.h - initialize, runtime/info, runtime/state, runtime/telemetry. */
#ifndef WORKER_INFO_H
#define WORKER_INFO_H
#include "worker/handlers.h"

handler_fn handle_initialize, handle_runtime_info, handle_runtime_state, handle_runtime_telemetry;
#endif
