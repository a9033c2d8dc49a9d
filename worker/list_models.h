/* list_models.h - list_models: what is loaded, being loaded, and could be. */
#ifndef WORKER_LIST_MODELS_H
#define WORKER_LIST_MODELS_H
#include "worker/handlers.h"

/* The roots are walked beside the I/O thread. */
handler_fn handle_list_models;
#endif
