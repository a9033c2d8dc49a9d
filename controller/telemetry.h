/* telemetry.h - runtime/telemetry: the controller's figures beside those of its workers. */
#ifndef CONTROLLER_TELEMETRY_H
#define CONTROLLER_TELEMETRY_H
#include "controller/controller.h"

/* Answers the call once every worker has told its own figures, or half a second later
 * without those that have not. */
void telemetry_answer(struct controller *c, struct call *call);
#endif
