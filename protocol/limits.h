/* limits.h - every bound a host can run into, in one place; `initialize` reports them. */
#ifndef PROTOCOL_LIMITS_H
#define PROTOCOL_LIMITS_H

#define LIMIT_MODEL_ID     512        /* characters */
#define LIMIT_PATH         4096       /* characters of local_path */
#define LIMIT_TEXT         (64 << 20) /* bytes of one text or prompt; the frame is the real bound */
#define LIMIT_MAX_TOKENS   4096       /* of one generate, as the reference */
#define LIMIT_ACK_WINDOW   1024       /* tokens */
#define LIMIT_STOPS        10         /* stop_sequences, as the reference */
#define LIMIT_STOP_CHARS   100        /* characters of one stop sequence, as the reference */
#define LIMIT_STOP_IDS     100
#define LIMIT_TOKEN_ID     1000000 /* no vocabulary is larger; as the reference */
#define LIMIT_LOGIT_BIAS   1024    /* entries */
#define LIMIT_TOP_LOGPROBS 20
#define LIMIT_N            16       /* generate n */
#define LIMIT_DRAFT        64       /* draft_tokens of one check_draft */
#define LIMIT_BATCH        1024     /* items of one batch_* call or one JSON-RPC batch */
#define LIMIT_STREAM_ID    256      /* characters */
#define LIMIT_IDEMPOTENCY  256      /* characters of a key */
#define LIMIT_CACHE_SCOPE  256      /* characters */
#define LIMIT_TIMEOUT_MS   86400000 /* a day */
#define LIMIT_CONTEXT      1000000  /* context_length of load_model, as the reference */
#define LIMIT_KEEP_ALIVE_S 31536000 /* a year */
#define LIMIT_WORKERS      64       /* replicas of one model */
#define LIMIT_QUEUE_CALLS  16384    /* requests waiting in the controller */
#define LIMIT_QUEUE_BYTES  (256u << 20)
#endif
