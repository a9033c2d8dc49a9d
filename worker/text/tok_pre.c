/* tok_pre.c - pre-tokenizer patterns by the names that llama.cpp's converter writes.
 *
 * The patterns are those of the models' own files in the form that llama.cpp runs them,
 * which in a few places (case folding by hand, [^a-z] for upper case) is not the same. */
#include "worker/text/tok_pre.h"
#include <stddef.h>
#include <string.h>

#define CONTRACTIONS "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define GPT2         "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"
#define SPACES       "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LETTERS      "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define MARKS        " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define LLAMA3       CONTRACTIONS "|" LETTERS "|\\p{N}{1,3}|" MARKS SPACES
#define QWEN2        CONTRACTIONS "|" LETTERS "|\\p{N}|" MARKS SPACES
#define UPPER        "((?=[\\p{L}])([^a-z]))"
#define LOWER        "((?=[\\p{L}])([^A-Z]))"
#define CASED        "[^\\r\\n\\p{L}\\p{N}]?" UPPER
#define TEKKEN \
	CASED "*" LOWER "+|" CASED "+" LOWER "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES
#define GPT4O                                                                  \
	CASED "*" LOWER "+" CONTRACTIONS "?|" CASED "+" LOWER "*" CONTRACTIONS \
	      "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES
#define UPPER_LT "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER_LT "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED_LT "[^\\r\\n\\p{L}\\p{N}]?" UPPER_LT
#define AYA                                                                                \
	CASED_LT "*" LOWER_LT "+" CONTRACTIONS "?|" CASED_LT "+" LOWER_LT "*" CONTRACTIONS \
		 "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES
#define YOUTU                                                                              \
	CASED_LT "*" LOWER_LT "+" CONTRACTIONS "?|" CASED_LT "+" LOWER_LT "*" CONTRACTIONS \
		 "?|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES
#define CJK "[一-龥぀-ゟ゠-ヿ]+"
#define YOUTU_ASIA                                         \
	"[가-힣ㄱ-ㆎ]+|"                               \
	"[！…“”‘’—：；，、-〿︰-﹏]+|" \
	"[ㄅ-ㄯ]+|" CJK
#define ASCII_PUNCT "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
#define DEEPSEEK3                                                    \
	ASCII_PUNCT "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| " \
		    "?[\\p{P}\\p{S}]+[\\r\\n]*" SPACES
/* Deepseek LLM writes the letters that have case out as ranges. */
#define CASED_RANGES                                                                     \
	"\\s?["                                                                          \
	"A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}"   \
	"\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}"            \
	"\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}"    \
	"\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}"           \
	"\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}"   \
	"\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}"   \
	"\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}"   \
	"\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}"              \
	"\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}"             \
	"\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}"   \
	"\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}"    \
	"\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}"     \
	"\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}"    \
	"\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}"    \
	"\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}"    \
	"\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}"   \
	"\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}" \
	"\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}"                \
	"\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"                \
	"]+"

static const struct tok_pre rows[] = {
	{ .names = "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
		.patterns = { LLAMA3 },
		.ignore_merges = true,
		.add_bos = true },
	{ .names = "dbrx smaug-bpe chatglm-bpe glm4", .patterns = { LLAMA3 } },
	{ .names = "qwen2 deepseek-r1-qwen kormo f2llmv2 stablelm2 hunyuan solar-open megrez "
		   "grok-2",
		.patterns = { QWEN2 } },
	{ .names = "qwen35",
		.patterns = { CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| "
					   "?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" SPACES } },
	{ .names = "gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum "
		   "modern-bert "
		   "exaone4 mpt olmo jais trillion granite-docling",
		.patterns = { GPT2 } },
	{ .names = "jina-v1-en jina-v2-code roberta-bpe", .patterns = { GPT2 }, .add_sep = true },
	{ .names = "starcoder refact command-r smollm codeshell exaone minerva-7b mellum2",
		.patterns = { "\\p{N}", GPT2 } },
	{ .names = "falcon",
		.patterns = { "[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]" } },
	{ .names = "deepseek-llm",
		.patterns = { "[\\r\\n]", CASED_RANGES, "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$",
			"[一-龥ࠀ-一가-퟿]+", "\\p{N}+" } },
	{ .names = "deepseek-coder",
		.patterns = { "[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥ࠀ-一가-퟿]+",
			"\\p{N}" } },
	{ .names = "deepseek-v3 hunyuan-dense joyai-llm hy_v4",
		.patterns = { "\\p{N}{1,3}", CJK, DEEPSEEK3 } },
	{ .names = "tekken", .patterns = { TEKKEN }, .ignore_merges = true, .add_bos = true },
	{ .names = "gpt-4o llama4 kanana2 talkie minimax-m2", .patterns = { GPT4O } },
	{ .names = "tiny_aya cohere2moe", .patterns = { "[0-9]{1,3}(?=(?:[0-9]{3})*\\b)", AYA } },
	{ .names = "youtu", .patterns = { YOUTU_ASIA, YOUTU }, .ignore_merges = true },
	{ .names = "poro-chat bloom gpt3-finnish", .patterns = { " ?[^(\\s|.,!?…。，、।۔،)]+" } },
	{ .names = "viking", .patterns = { " ?[^(\\s|.,!?…。，、।۔،)]+", "\\p{N}" } },
	{ .names = "chameleon",
		.patterns = { "<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
			"([\\t\\n]|    |  )", "\\p{N}", "[\\p{P}!-/:-@\\[-`{-~]", GPT2 },
		.add_bos = true },
	{ .names = "superbpe", .patterns = { "\\p{N}+", "(?=([0-9]{3})+(?![0-9]))" } },
	{ .names = "bailingmoe bailingmoe2 llada-moe",
		.patterns = { "'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|" LETTERS "|\\p{N}|" MARKS
			      "|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+" } },
	{ .names = "seed-coder",
		.patterns = { CONTRACTIONS "|" LETTERS
					   "|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+" SPACES } },
	{ .names = "exaone-moe",
		.patterns = { CONTRACTIONS
			"|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: "
			"\\p{L}\\p{M}*)*)+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|"
			"\\s*[\\r\\n]|\\s+(?!\\S)|\\s+" } },
	{ .names = "laguna", .patterns = { "[^\\n]+|[\\n]+", QWEN2 } },
	{ .names = "ufakzeka", .patterns = { LETTERS "|\\p{N}|" MARKS SPACES } },
	{ .names = "minicpm5",
		.patterns = { "\\p{N}{1,3}", CONTRACTIONS "|" LETTERS "|\\p{N}+|" MARKS SPACES },
		.ignore_merges = true },
	{ .names = "default",
		.patterns = { "[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]" } },
};

static bool has_name(const char *names, const char *name)
{
	size_t n = strlen(name);
	for (const char *at = names; (at = strstr(at, name)) != NULL; at += n)
		if ((at == names || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
			return true;
	return false;
}

const struct tok_pre *tok_pre_find(const char *name)
{
	if (name[0] == '\0')
		name = "default";
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strchr(name, ' ') == NULL && has_name(rows[i].names, name))
			return &rows[i];
	return NULL;
}
