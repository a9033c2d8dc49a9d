/* check_draft.c - the pair form: two loaded models compared. The token form is draft.c. */
#include "worker/check_draft.h"
#include "worker/calibrate.h"
#include "worker/draft.h"
#include "worker/model/model.h"
#include "worker/models.h"
#include "worker/params.h"
#include "worker/text/tokenizer.h"
#include <stdio.h>
#include <string.h>

/* A draft pays when it is smaller than this share of its primary. */
#define WORTHWHILE_RATIO 0.5
/* Less than that is not worth a second model's memory. */
#define WORTHWHILE_GAIN 1.05
/* What a draft of no cost at all would be expected to gain. */
#define LARGEST_GAIN 0.3

struct pair {
	const struct model_ref *primary, *draft;
	struct buf errors, warnings;        /* JSON array elements */
	const struct calibration *measured; /* NULL = estimated */
};

/* 1234567 as "1,234,567", as the reference prints sizes. */
static void format_count(uint64_t v, char *out, size_t cap)
{
	char digits[32];
	const int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)v);
	size_t at = 0;
	for (int i = 0; i < n && at + 2 < cap; i++) {
		if (i && (n - i) % 3 == 0)
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = '\0';
}

static void warn_size(struct pair *p, uint64_t primary, uint64_t draft)
{
	char a[40], b[40], text[160];
	if (draft < primary)
		return;
	format_count(draft, a, sizeof a);
	format_count(primary, b, sizeof b);
	snprintf(text, sizeof text,
		"Draft model (%s parameters) should be smaller than the primary model (%s "
		"parameters).",
		a, b);
	jout_sep(&p->warnings);
	jout_cstr(&p->warnings, text);
}

static void warn_architecture(struct pair *p, const char *primary, const char *draft)
{
	char text[256];
	if (!primary || !draft || strcmp(primary, draft) == 0)
		return;
	snprintf(text, sizeof text, "Architecture mismatch: primary=%.80s, draft=%.80s.", primary,
		draft);
	jout_sep(&p->warnings);
	jout_cstr(&p->warnings, text);
}

static void warn_special(struct pair *p, const char *name, int32_t primary, int32_t draft)
{
	char text[128];
	if (primary == draft)
		return;
	snprintf(text, sizeof text, "%s token id mismatch: primary=%d, draft=%d.", name, primary,
		draft);
	jout_sep(&p->warnings);
	jout_cstr(&p->warnings, text);
}

static void write_model(struct buf *out, const char *key, const struct model_ref *r)
{
	const struct model_info *i = model_info(model_ref_model(r));
	jout_key(out, key);
	buf_addc(out, '{');
	jout_key_cstr(out, "id", model_ref_id(r));
	jout_key_int(out, "vocab_size",
		(int64_t)tokenizer_vocab_size(model_tokenizer(model_ref_model(r))));
	jout_key_int(out, "parameter_count", (int64_t)i->parameter_count);
	jout_key_cstr(out, "architecture", i->architecture);
	buf_addc(out, '}');
}

static void write_measured(struct buf *out, const struct calibration *c)
{
	jout_key_bool(out, "measured", true);
	jout_key_fixed(out, "acceptance_rate", c->acceptance, 4);
	jout_key_fixed(out, "tokens_per_second", c->plain, 3);
	jout_key_fixed(out, "tokens_per_second_drafted", c->drafted, 3);
	jout_key_int(out, "best_draft_tokens", (int64_t)c->best_draft);
}

static void write_estimate(
	struct buf *out, const struct pair *p, double primary, double draft, bool compatible)
{
	const struct calibration *c = p->measured;
	const bool known = primary > 0 && draft > 0;
	const double ratio = primary > 0 ? draft / primary : 0;
	const double guess = known ? 1 + (1 - ratio) * LARGEST_GAIN : 1;
	const double speedup = !c ? guess : c->plain > 0 ? c->drafted / c->plain : 1;
	const bool is_good = c ? speedup >= WORTHWHILE_GAIN : draft < WORTHWHILE_RATIO * primary;
	char text[32];
	jout_key(out, "performance_estimate");
	buf_addc(out, '{');
	snprintf(text, sizeof text, "%.2fx", speedup);
	jout_key_cstr(out, "expected_speedup", text);
	snprintf(text, sizeof text, "%.1f%%", ratio * 100);
	jout_key_cstr(out, "size_ratio", primary > 0 ? text : "N/A");
	jout_key_cstr(out, "recommendation",
		compatible && is_good ? "Good pairing" : "May not provide significant speedup");
	jout_key_fixed(out, "expected_speedup_value", speedup, 6);
	jout_key_fixed(out, "size_ratio_value", ratio, 6);
	if (c)
		write_measured(out, c);
	else
		jout_key_bool(out, "measured", false);
	buf_addc(out, '}');
}

static bool compare(struct pair *p, struct buf *out)
{
	const struct model *a = model_ref_model(p->primary), *b = model_ref_model(p->draft);
	const struct tokenizer *ta = model_tokenizer(a), *tb = model_tokenizer(b);
	const struct model_info *ia = model_info(a), *ib = model_info(b);
	const bool same = tokenizer_compare(ta, tb, &p->errors, &p->warnings);
	warn_architecture(p, ia->architecture, ib->architecture);
	warn_size(p, ia->parameter_count, ib->parameter_count);
	warn_special(p, "BOS", tokenizer_bos(ta), tokenizer_bos(tb));
	warn_special(p, "EOS", tokenizer_eos(ta), tokenizer_eos(tb));
	buf_addc(out, '{');
	jout_key_bool(out, "compatible", same);
	jout_key(out, "errors");
	buf_addf(out, "[%s]", buf_cstr(&p->errors));
	jout_key(out, "warnings");
	buf_addf(out, "[%s]", buf_cstr(&p->warnings));
	jout_key(out, "details");
	buf_addc(out, '{');
	write_model(out, "primary_model", p->primary);
	write_model(out, "draft_model", p->draft);
	write_estimate(out, p, (double)ia->parameter_count, (double)ib->parameter_count, same);
	buf_adds(out, "}}");
	return same;
}

static bool report(const struct model_ref *primary, const struct model_ref *draft,
	const struct calibration *measured, struct buf *out)
{
	struct pair p = { .primary = primary,
		.draft = draft,
		.measured = measured,
		.errors = BUF_INIT,
		.warnings = BUF_INIT };
	const bool same = compare(&p, out);
	buf_release(&p.errors);
	buf_release(&p.warnings);
	return same;
}

int check_draft_pair(struct models *m, const struct model_ref *primary,
	const struct model_ref *draft, struct fault *f)
{
	struct buf out = BUF_INIT;
	const bool same = models_is_pair(m, primary, draft) || report(primary, draft, NULL, &out);
	if (same) {
		models_note_pair(m, primary, draft);
	} else {
		fault_set(f, ERR_DRAFT_INCOMPATIBLE,
			"%s cannot draft for %s: their token ids mean different pieces",
			model_ref_id(draft), model_ref_id(primary));
		fault_add_str(f, "model_id", model_ref_id(primary));
		fault_add_str(f, "draft_model", model_ref_id(draft));
		fault_add_json(f, "report", buf_cstr(&out));
	}
	buf_release(&out);
	return same ? 0 : ERR_DRAFT_INCOMPATIBLE;
}

void check_draft_answer(struct reply *reply, const struct model_ref *primary,
	const struct model_ref *draft, const struct calibration *measured)
{
	struct buf out = BUF_INIT;
	report(primary, draft, measured, &out);
	reply_result(reply, out.data, out.n_bytes);
	buf_release(&out);
}

/* An incompatible pair has nothing to measure: its report says why. */
static void check_pair(struct request *rq, const char *primary_id, const char *draft_id)
{
	struct fault f = { 0 }, misfit = { 0 };
	struct model_ref *primary = catalog_get(rq->w->catalog, primary_id, &f);
	struct model_ref *draft = primary ? catalog_get(rq->w->catalog, draft_id, &f) : NULL;
	if (draft && params_bool(rq->params, "measure", false) &&
		check_draft_pair(rq->w->models, primary, draft, &misfit) == 0) {
		calibrate_start(rq, primary, draft);
		return;
	}
	if (draft)
		check_draft_answer(rq->reply, primary, draft, NULL);
	else
		reply_fault(rq->reply, &f);
	model_ref_release(draft);
	model_ref_release(primary);
	json_object_put(rq->params);
}

static const char *misfit(const char *primary_id, const char *draft_id, const char *model_id)
{
	if (model_id && (primary_id || draft_id))
		return "model_id is for a draft of tokens, primary_id and draft_id are for a pair: "
		       "give one form";
	if (!model_id && !(primary_id && draft_id))
		return "give primary_id and draft_id, or model_id with a prompt and a draft";
	return NULL;
}

/* In the pair form, what belongs to the token form would have no effect: refused. */
static const char *stray_param(struct json_object *params)
{
	json_object_object_foreach(params, key, value)
	{
		(void)value;
		static const char *const known[] = { "primary_id", "draft_id", "measure",
			"timeout_ms", "priority", "client", "_meta", "workDoneToken",
			"partialResultToken" };
		size_t i = 0;
		while (i < sizeof known / sizeof *known && strcmp(known[i], key) != 0)
			i++;
		if (i == sizeof known / sizeof *known)
			return key;
	}
	return NULL;
}

void handle_check_draft(struct request *rq)
{
	struct fault f;
	const char *primary_id = params_str(rq->params, "primary_id");
	const char *draft_id = params_str(rq->params, "draft_id");
	const char *model_id = params_str(rq->params, "model_id");
	const char *wrong = misfit(primary_id, draft_id, model_id);
	if (!wrong && model_id && params_bool(rq->params, "measure", false))
		wrong = "measure is for a pair: give primary_id and draft_id";
	const char *stray = wrong || model_id ? NULL : stray_param(rq->params);
	if (wrong || stray) {
		fault_set(&f, ERR_INVALID_PARAMS, wrong ? "%s" : "%s has no meaning for a pair",
			wrong ? wrong : stray);
		fault_add_str(&f, "path", stray ? stray : model_id ? "model_id" : "primary_id");
		reply_fault(rq->reply, &f);
		json_object_put(rq->params);
	} else if (model_id) {
		draft_start(rq, model_id);
	} else if (!models_wait_for(rq, primary_id) && !models_wait_for(rq, draft_id)) {
		check_pair(rq, primary_id, draft_id);
	}
}
