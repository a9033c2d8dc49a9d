/* log.h - lines on stderr for people; stdout belongs to the protocol.
 *
 * Default level: info. `-v` raises it to debug. TRACE=part[,part] (or TRACE=all) prints
 * a request's way through the named parts. A slow or closed stderr never blocks or ends
 * the process: a line that cannot be written at once is dropped and counted, and the
 * next line that can be written says how many were. Thread-safe. */
#ifndef PROTOCOL_LOG_H
#define PROTOCOL_LOG_H
#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Once, before threads: the program's name in front of each line, and the level. Reads
 * TRACE from the environment and warns of what it names that is no part. */
void log_init(const char *name, enum log_level level);
void log_set_level(enum log_level level); /* before threads, too */
void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

/* The lines around the stack that a worker leaves when a fault ends it. */
#define LOG_BACKTRACE_BEGIN "backtrace:"
#define LOG_BACKTRACE_END   "end of the backtrace"

/* True when TRACE names `part`; cheap enough to ask on every request. */
bool log_traces(const char *part);
void log_trace(const char *part, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Our own bug: say where, abort. */
_Noreturn void log_fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#endif
