"""Make the reference tokenizers of this folder: small vocabularies trained on heldout.txt, one
for each stage of tokenizer.json and each kind of SentencePiece model, with what Hugging Face
tokenizers and sentencepiece do with strings.json.

    python3 make_goldens.py HELDOUT.txt strings.json OUT    (needs tokenizers, sentencepiece,
                                                             transformers)
expected.json: for every string `ids` (no specials), `special` where adding specials differs,
and `text`, the ids decoded without special tokens. `skip` marks strings the oracle refuses."""
import io, json, os, random, sys
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)
import sentencepiece as spm

heldout, strings_path, out = sys.argv[1:4]
text = open(heldout, encoding="utf-8").read()[:60000]
lines = text.split("\n")
strings = json.load(open(strings_path, encoding="utf-8"))
corpus = lines + [s for s in strings if len(s) < 200] * 2
N, P, D, T = normalizers, pre_tokenizers, decoders, trainers
GPT2_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

def save(name, tok, sample=strings):
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    tok.save(os.path.join(folder, "tokenizer.json"), pretty=False)
    tok = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    cases = []
    for s in sample:
        try:
            ids, special = tok.encode(s, add_special_tokens=False).ids, tok.encode(s).ids
            case = {"ids": ids, "text": tok.decode(ids)}
            if special != ids:
                case["special"] = special
        except Exception:
            case = {"skip": True}
        cases.append(case)
    json.dump({"tokenizer": name, "cases": cases}, open(os.path.join(folder, "expected.json"), "w"),
              ensure_ascii=True, separators=(",", ":"))
    print(name, tok.get_vocab_size(), flush=True)

def bpe(size=700, byte_level=True, **kw):
    opts = dict(vocab_size=size, show_progress=False, special_tokens=kw.pop("special", ["<unk>", "<s>", "</s>"]))
    if byte_level:
        opts["initial_alphabet"] = P.ByteLevel.alphabet()
    return Tokenizer(models.BPE(**kw)), T.BpeTrainer(**opts)

def train(tok, trainer):
    tok.train_from_iterator(corpus, trainer)
    return tok

def byte_level(name, pre, norm=None, post=None, dec=None, added=(), size=700):
    tok, tr = bpe(size)
    if norm: tok.normalizer = norm
    tok.pre_tokenizer = pre
    tok.decoder = dec or D.ByteLevel()
    train(tok, tr)
    if post: tok.post_processor = post(tok)
    for a in added:
        (tok.add_special_tokens if a.special else tok.add_tokens)([a])
    save(name, tok)

BL = lambda prefix=False, regex=True: P.ByteLevel(add_prefix_space=prefix, use_regex=regex)
byte_level("roberta", BL(True), post=lambda t: processors.RobertaProcessing(("</s>", t.token_to_id("</s>")),
    ("<s>", t.token_to_id("<s>")), trim_offsets=True, add_prefix_space=True))
byte_level("falcon", P.Sequence([P.Punctuation("contiguous"), BL(), P.Digits(False), P.Split(Regex("[0-9][0-9][0-9]"), "isolated")]))
byte_level("neox-nfc", BL(), norm=N.NFC(), added=[AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)])
byte_level("deepseek-coder", P.Sequence([P.Split(Regex("[\r\n]"), "isolated"), P.Split(Regex(r"\s?\p{L}+"), "isolated"),
    P.Split(Regex(r"\s?\p{P}+"), "isolated"), P.Split(Regex("[一-龥ࠀ-一가-퟿]+"), "isolated"), P.Digits(True), BL(regex=False)]))
byte_level("starcoder", P.Sequence([P.Digits(True), BL()]))
byte_level("gpt4o-like", P.Sequence([P.Split(Regex(r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated"), BL(regex=False)]),
    post=lambda t: processors.Sequence([processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B:1", special_tokens=[("<s>", t.token_to_id("<s>")), ("</s>", t.token_to_id("</s>"))])]))
byte_level("added-tokens", BL(), norm=N.Lowercase(), added=[
    AddedToken("<l>", lstrip=True, special=True), AddedToken("<r>", rstrip=True, special=True),
    AddedToken("<w>", single_word=True), AddedToken("Hello", normalized=True), AddedToken("World", normalized=False),
    AddedToken("ab", single_word=True, normalized=True), AddedToken("<lr>", lstrip=True, rstrip=True, normalized=False)])
for behaviour in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]:
    for invert in (False, True):
        byte_level(f"split-{behaviour.replace('_', '-')}{'-inverted' if invert else ''}",
            P.Sequence([P.Split(Regex(r"\d+|\p{Lu}|\s"), behaviour, invert), BL(regex=False)]), size=450)
byte_level("split-string", P.Sequence([P.Split(" ", "merged_with_next"), P.Split(".", "isolated"), BL(regex=False)]), size=450)

def char_level(name, norm, pre, dec=None, size=900, **kw):
    tok, tr = bpe(size, byte_level=False, unk_token="<unk>", **kw)
    if norm: tok.normalizer = norm
    if pre: tok.pre_tokenizer = pre
    if dec: tok.decoder = dec
    save(name, train(tok, tr))

for i, norm in enumerate([N.NFD(), N.NFKD(), N.NFKC(), N.Sequence([N.NFD(), N.StripAccents(), N.Lowercase()]),
        N.Strip(True, True), N.Strip(True, False), N.Sequence([N.Replace(Regex(r"\s{2,}"), " "), N.Replace("a", "@@")]),
        N.Nmt(), N.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False),
        N.Sequence([N.Prepend("_"), N.Strip(False, True)])]):
    kind = "-".join(json.loads(norm.__getstate__())["type"].lower() for _ in [0])
    char_level(f"norm-{i}-{kind}", norm, P.Whitespace(), size=500)
char_level("pre-whitespace-split", None, P.WhitespaceSplit(), size=500)
char_level("pre-char-delimiter", None, P.CharDelimiterSplit("e"), size=500)
char_level("pre-unicode-scripts", None, P.Sequence([P.UnicodeScripts(), P.Whitespace()]), size=700)
for b in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]:
    char_level(f"pre-punctuation-{b.replace('_', '-')}", None, P.Punctuation(b), size=500)
char_level("pre-digits", None, P.Sequence([P.Digits(True), P.BertPreTokenizer()]), size=500)
for scheme in ["always", "first", "never"]:
    char_level(f"metaspace-{scheme}", None, P.Metaspace("▁", scheme), D.Metaspace("▁", scheme), size=700)
char_level("metaspace-nosplit", None, P.Metaspace("▁", "first", split=False), D.Metaspace("▁", "first"), size=700)
char_level("end-of-word", N.Lowercase(), P.WhitespaceSplit(), D.BPEDecoder("</w>"), end_of_word_suffix="</w>", size=700)
char_level("continuing-prefix", None, P.WhitespaceSplit(), D.WordPiece("##", False), continuing_subword_prefix="##", size=700)
char_level("fuse-unk", None, P.WhitespaceSplit(), fuse_unk=True, size=400)

# Llama-2 style: byte fallback
tok, _ = bpe(1000, byte_level=False, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
tok.normalizer = N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")])
tok.decoder = D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])
tr = T.BpeTrainer(vocab_size=1000, show_progress=False, limit_alphabet=120,
    special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)])
train(tok, tr)
tok.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
save("llama2-like", tok)
# The same with merges written as strings, as files of earlier years have them
path = os.path.join(out, "llama2-like", "tokenizer.json")
j = json.load(open(path))
j["model"]["merges"] = [m if isinstance(m, str) else " ".join(m) for m in j["model"]["merges"]]
os.makedirs(os.path.join(out, "llama2-merge-strings"), exist_ok=True)
json.dump(j, open(os.path.join(out, "llama2-merge-strings", "tokenizer.json"), "w"), separators=(",", ":"))
e = json.load(open(os.path.join(out, "llama2-like", "expected.json")))
json.dump(e, open(os.path.join(out, "llama2-merge-strings", "expected.json"), "w"), separators=(",", ":"))

def wordpiece(name, norm, post):
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=60))
    tok.normalizer, tok.pre_tokenizer, tok.decoder = norm, P.BertPreTokenizer(), D.WordPiece("##", True)
    train(tok, T.WordPieceTrainer(vocab_size=900, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"]))
    tok.post_processor = post(tok)
    save(name, tok)
cls = lambda t: processors.BertProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]")))
tmpl = lambda t: processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
    special_tokens=[("[CLS]", t.token_to_id("[CLS]")), ("[SEP]", t.token_to_id("[SEP]"))])
wordpiece("bert-uncased", N.BertNormalizer(True, True, None, True), cls)
wordpiece("bert-cased", N.BertNormalizer(True, True, None, False), tmpl)

def unigram(name, norm, pre, dec, byte_fallback=False):
    tok = Tokenizer(models.Unigram())
    if norm: tok.normalizer = norm
    tok.pre_tokenizer, tok.decoder = pre, dec
    special = ["<unk>", "<s>", "</s>"] + ([f"<0x{i:02X}>" for i in range(256)] if byte_fallback else [])
    train(tok, T.UnigramTrainer(vocab_size=900 + 256 * byte_fallback, show_progress=False, special_tokens=special, unk_token="<unk>"))
    if byte_fallback:
        j = json.loads(tok.to_str()); j["model"]["byte_fallback"] = True
        tok = Tokenizer.from_str(json.dumps(j))
    save(name, tok)
unigram("unigram-metaspace", N.NFKC(), P.Metaspace(), D.Metaspace())
unigram("unigram-bytes", None, P.Metaspace("▁", "first"), D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)]), True)

# SentencePiece models, and the same through the converters users' folders went through
def sentencepiece(name, convert=None, **kw):
    model = io.BytesIO()
    opts = dict(vocab_size=900, character_coverage=0.9995, hard_vocab_limit=False, minloglevel=2)
    opts.update(kw)
    spm.SentencePieceTrainer.train(sentence_iterator=iter(l for l in corpus if l and "\0" not in l), model_writer=model, **opts)
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    open(os.path.join(folder, "tokenizer.model"), "wb").write(model.getvalue())
    sp = spm.SentencePieceProcessor(model_proto=model.getvalue())
    cases = []
    for s in strings:
        if "\0" in s:
            cases.append({"skip": True}); continue
        ids = sp.encode(s)
        cases.append({"ids": ids, "text": sp.decode(ids)})
    json.dump({"tokenizer": name, "cases": cases}, open(os.path.join(folder, "expected.json"), "w"), separators=(",", ":"))
    print(name, sp.vocab_size(), flush=True)
    if convert:
        try:
            from transformers.convert_slow_tokenizer import SpmConverter
            from sentencepiece import sentencepiece_model_pb2 as pb
        except Exception as e:
            print("  no converter:", e); return
        m = pb.ModelProto(); m.ParseFromString(model.getvalue())
        vocab = [(p.piece, p.score) for p in m.pieces]
        tok = Tokenizer(models.Unigram(vocab, unk_id=m.trainer_spec.unk_id, byte_fallback=m.trainer_spec.byte_fallback))
        norm = [N.Precompiled(m.normalizer_spec.precompiled_charsmap)] if m.normalizer_spec.precompiled_charsmap else []
        tok.normalizer = N.Sequence(norm + [N.Strip(False, True), N.Replace(Regex(" {2,}"), "▁")])
        tok.pre_tokenizer = P.Metaspace("▁", "always")
        tok.decoder = D.Metaspace("▁", "always")
        tok.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 2)])
        save(convert, tok)

sentencepiece("sp-unigram", convert="marian-like", model_type="unigram")
sentencepiece("sp-bpe-bytes", model_type="bpe", byte_fallback=True, split_digits=True, normalization_rule_name="identity",
    remove_extra_whitespaces=False, vocab_size=1100)
sentencepiece("sp-unigram-bytes", model_type="unigram", byte_fallback=True, vocab_size=1100, normalization_rule_name="nmt_nfkc")
sentencepiece("sp-unigram-nodummy", model_type="unigram", add_dummy_prefix=False, normalization_rule_name="nfkc_cf")
sentencepiece("sp-bpe-user", model_type="bpe", user_defined_symbols=["<sep>", "Hello", "    "], treat_whitespace_as_suffix=False,
    normalization_rule_name="nmt_nfkc_cf")
sentencepiece("sp-bpe-suffix", model_type="bpe", treat_whitespace_as_suffix=True)
