/* config_neutral.c - config.json fields that leave the logits of a forward pass alone:
 * bookkeeping, training, other heads, and defaults for generating (generation_config.json's
 * subject). Everything else must be asked for by the architecture or be switched off. */
#include "worker/model/config.h"
#include <string.h>

static const char *const NEUTRAL[] = {
	/* what the files are and who wrote them */
	"architectures",
	"auto_map",
	"custom_pipelines",
	"dtype",
	"finetuning_task",
	"id2label",
	"is_llama_config",
	"label2id",
	"license",
	"model_name",
	"name_or_path",
	"prefix",
	"problem_type",
	"task_specific_params",
	"tokenizer_class",
	"torch_dtype",
	"transformers_version",
	"transformers.js_config",
	"unsloth_fixed",
	"unsloth_version",
	/* token ids: the tokenizer's and the sampler's subject */
	"begin_suppress_tokens",
	"bad_words_ids",
	"bos_token_id",
	"cls_token_id",
	"decoder_start_token_id",
	"eos_token_id",
	"forced_bos_token_id",
	"forced_eos_token_id",
	"mask_token_id",
	"pad_token_id",
	"sep_token_id",
	"suppress_tokens",
	"unk_token_id",
	/* training */
	"attention_dropout",
	"attn_pdrop",
	"classifier_dropout",
	"classifier_dropout_prob",
	"embd_pdrop",
	"embedding_dropout",
	"ffn_dropout",
	"gradient_checkpointing",
	"hidden_dropout",
	"hidden_dropout_prob",
	"attention_probs_dropout_prob",
	"initializer_range",
	"initializer_factor",
	"resid_pdrop",
	"rescale_prenorm_residual",
	"router_aux_loss_coef",
	"router_jitter_noise",
	"router_z_loss_coef",
	"output_router_logits",
	"aux_loss_alpha",
	"use_bfloat16",
	"z_loss",
	/* how transformers runs it, not what it computes */
	"_attn_implementation_autoset",
	"attn_implementation",
	"cache_implementation",
	"chunk_size_feed_forward",
	"is_decoder",
	"output_attentions",
	"output_hidden_states",
	"output_scores",
	"pretraining_tp",
	"return_dict",
	"return_dict_in_generate",
	"tf_legacy_loss",
	"tie_encoder_decoder",
	"torchscript",
	"use_cache",
	"use_return_dict",
	/* heads other than the language model's */
	"summary_activation",
	"summary_first_dropout",
	"summary_proj_to_labels",
	"summary_type",
	"summary_use_proj",
	/* lengths beside max_position_embeddings */
	"max_sequence_length",
	"model_max_length",
	"n_ctx",
	"seq_length",
	/* generation settings older files keep here */
	"diversity_penalty",
	"do_sample",
	"early_stopping",
	"encoder_no_repeat_ngram_size",
	"exponential_decay_length_penalty",
	"length_penalty",
	"max_length",
	"min_length",
	"max_new_tokens",
	"no_repeat_ngram_size",
	"num_beam_groups",
	"num_beams",
	"num_return_sequences",
	"remove_invalid_values",
	"repetition_penalty",
	"temperature",
	"top_k",
	"top_p",
	"typical_p",
};

bool config_is_neutral(const char *key)
{
	/* A leading underscore marks fields transformers derives from others. */
	if (key[0] == '_')
		return true;
	for (size_t i = 0; i < sizeof NEUTRAL / sizeof *NEUTRAL; i++)
		if (strcmp(key, NEUTRAL[i]) == 0)
			return true;
	return false;
}
