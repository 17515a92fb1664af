"""Makes text.json.gz and NAME.json.gz of this directory with Hugging Face tokenizers.

    python make.py        (tokenizers 0.23.3)

text.json.gz holds 10 000 lines of mixed text. NAME.json.gz holds a tokenizer.json trained on some of them with the normalizers,
pre-tokenizers, added tokens, post-processors and decoders of a well-known model, and what tokenizers makes of the text: for
every 100 lines a hash of ids and decoded text, for every 40th line the ids.
"""

import collections
import gzip
import hashlib
import json
import pathlib
import random
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent
DEMO = HERE / "../../../testdata/demo"
LINES, BLOCK, SHOWN = 10_000, 100, 40
rng = random.Random(8)

SENTENCES = """
Der Zug nach Köln fährt um 9:05 Uhr ab, über Düsseldorf.
L'été dernier, où étiez-vous ? À l'hôtel « Étoile », près de la forêt.
El pingüino comió una piña; ¿quién lo vio? ¡Nadie!
Zażółć gęślą jaźń — wszystkie polskie znaki w jednym zdaniu.
Příliš žluťoučký kůň úpěl ďábelské ódy.
Съешь же ещё этих мягких французских булок, да выпей чаю.
Η γρήγορη καφέ αλεπού πηδάει πάνω από το τεμπέλικο σκυλί.
敏捷的棕色狐狸跳过了懒狗。今天天气很好,我们去公园散步吧!
人人生而自由,在尊嚴和權利上一律平等。他們賦有理性和良心。
いろはにほへと ちりぬるを。東京タワーは333メートルです。
コンピュータは計算機です。カタカナとひらがなを混ぜる。
모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.
सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता प्राप्त है।
সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে।
தமிழ் மொழி மிகவும் பழமையானது; எண் ௧௨௩.
มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ
Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.
يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. العدد ١٢٣٤.
כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.
تمام انسان‌ها آزاد به دنیا می‌آیند و از لحاظ حیثیت برابرند.
ყველა ადამიანი იბადება თავისუფალი და თანასწორი.
Բոլոր մարդիկ ծնվում են ազատ ու հավասար.
Ĉiuj homoj estas denaske liberaj kaj egalaj laŭ digno.
İstanbul'da ılık bir gün; IĞDIR ve ığdır aynı mı?
∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β = ¬(¬α ∨ β), ∑ᵢ xᵢ² ≤ ∞
½ + ¼ = ¾; x² + y³; Ⅷ. Kapitel, ① ② ③; ﬁne ﬀ ﬂ; ㎏ ㏒ ℡ №5
""".strip().splitlines()
EMOJI = "😀 😂 🥲 👍 👍🏽 👩‍💻 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 🇯🇵 ❤️ ❤ ☃️ ✨ 🔥 1️⃣ #️⃣ 🧑🏿‍🚀 🫠 🫨 ©️ ™".split()
CODE = ["def f(x):\n\treturn x**2  # √", "if (a != b) { c += '\\u00e9'; }", "SELECT * FROM t WHERE id='42';", "    for i in range(10):\n        print(i)",
        "<div class=\"a b\">&nbsp;</div>", "x = 0x1F + 1e-9 + 1_000_000;", "git commit -m \"it's done\"", "$HOME/.cache//tmp\\n", "camelCase snake_case SCREAMING_CASE HTTPServer2", "a\r\n\r\n\tb\r\n"]
CONTRACTIONS = "I'm you're we've they'll he'd it's DON'T I'LL WE'RE 'S 'tis o'clock rock'n'roll it’s don’t 'ſ I'Ve x'll'd's".split()
SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u2028", "\u200b", "\u200d", "\u0085", "\u000b", "\f", " \n ", "     ", "\ufeff"]
SPECIAL = ["<s>", "</s>", "<unk>", "<|endoftext|>", "<|begin_of_text|>", "<|im_start|>", "<|im_end|>", "<bos>", "<eos>", "[INST]", "[/INST]", "<tool_call>", "word", "<mask>",
           "<0x41>", "▁", "▁▁", "Ġ", "Ċ", "\ufffd", "\x00"]
NEW = [0x1C89, 0xA7CB, 0xA7DA, 0x2EBF0, 0x2EE5D, 0x10D50, 0x10D70, 0x10D40, 0x1E5D0, 0x897, 0x113B8, 0x11BF3, 0x1CCF4, 0x13460,  # Unicode 15.1 and 16
       0x32FF, 0x1E055, 0x8D3, 0x10781, 0x11938, 0x11935, 0x11930, 0x1F16C,
       0x2427, 0x1CC05, 0x113D4, 0x1B4E, 0x16D6E, 0x1FAE9, 0x61D, 0x2E5A, 0x166D, 0x111C9]  # other normalization


def pick(words, low, high):
    return [rng.choice(words) for _ in range(rng.randint(low, high))]


def natural():
    lines = (DEMO / "eval.txt").read_text().splitlines() + (DEMO / "eval-domain.txt").read_text().splitlines()
    return [l for l in lines if l.strip()]


def mixed_words():
    words = [w for s in SENTENCES for w in s.split()] + CONTRACTIONS
    return "".join(w + rng.choice(SPACES[:3] + [" "] * 12) for w in pick(words, 3, 9))


def emoji():
    return "".join(w + rng.choice(["", " ", "x"]) for w in pick(EMOJI + ["ok", "so", "!!", "…"], 2, 8))


def marks():
    out = ""
    for c in pick("aeiounAEO가かはקالम한e1 ", 3, 12):
        out += c + "".join(chr(rng.choice([0x300, 0x301, 0x302, 0x308, 0x323, 0x327, 0x328, 0x345, 0x5B0, 0x5BC, 0x64B, 0x651, 0x3099, 0x309A, 0x93C, 0x1D165, 0x1DF6, 0x8CF])) for _ in range(rng.choice([0, 1, 1, 2, 4])))
    return unicodedata.normalize(rng.choice(["NFC", "NFD"]), out) if rng.random() < 0.5 else out


def jamo():
    return "".join(chr(0x1100 + rng.randrange(19)) + chr(0x1161 + rng.randrange(21)) + (chr(0x11A8 + rng.randrange(27)) if rng.random() < 0.5 else "") for _ in range(rng.randint(1, 5)))


def control():
    return "".join(rng.choice([chr(rng.randrange(32)), chr(0x7F + rng.randrange(33)), "a", "B", "7", " ", ".", "\u200e", "\u202e", "\u2066"]) for _ in range(rng.randint(3, 20)))


def long_word():
    kind = rng.randrange(4)
    if kind == 0:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(40, 300)))
    if kind == 1:
        return rng.choice(["a", "=", "-", " ", "\n", "ab", "▁", "0", "😀", "ß"]) * rng.randint(30, 200)
    if kind == 2:
        return "".join(rng.choice("0123456789") for _ in range(rng.randint(5, 60))) + rng.choice(["", ".5", "e10", "km"])
    return "".join(chr(rng.randrange(0x4E00, 0x9FA5)) for _ in range(rng.randint(5, 20)))


def any_chars():
    out = []
    for _ in range(rng.randint(1, 10)):
        c = rng.choice([rng.randrange(0x80, 0x3000), rng.randrange(0xA000, 0xD800), rng.randrange(0xE000, 0x30000), rng.choice(NEW), rng.randrange(32, 127)])
        out.append(chr(c))
    return "".join(out)


def newer():
    return "".join(chr(rng.choice(NEW)) if rng.random() < 0.6 else rng.choice("aA1 .中é\n+") for _ in range(rng.randint(2, 12)))


def special():
    parts = []
    for w in pick(SPECIAL + CONTRACTIONS + ["hello", "World", "x_", "é", "sword", "word2"], 2, 7):
        parts += [w, rng.choice(["", "", " ", "  ", "\n", "\u3000 "])]
    return "".join(parts)


def spaces():
    return "".join(w + rng.choice(SPACES) * rng.randint(1, 3) for w in pick(["a", "The", "12", ".", "é", "中", "'s", ""], 2, 8))


def make_text():
    plain = natural()
    kinds = [(mixed_words, 2600), (emoji, 600), (marks, 500), (jamo, 100), (control, 500), (long_word, 200), (any_chars, 500), (newer, 150), (special, 1000), (spaces, 700)]
    lines = ["", " ", "\n", "▁", "  leading", "trailing  ", "a"] + SENTENCES + CODE
    for make, n in kinds:
        lines += [make() for _ in range(n)]
    while len(lines) < LINES:
        lines.append("".join(rng.choice(plain) + rng.choice(["", "", "\n"]) for _ in range(1)))
    rng.shuffle(lines)
    return lines


BYTES = ["<0x%02X>" % b for b in range(256)]
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = LLAMA3.replace("{1,3}", "")
TEKKEN = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = TEKKEN.replace(r"]+|[^\r", r"]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r").replace(r"]*|\p{N}|", r"]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}|")


def special_token(s, **more):
    return AddedToken(s, special=True, normalized=more.pop("normalized", False), **more)


def byte_level(text, size, pre, normalizer=None, **model):
    tok = Tokenizer(models.BPE(**model))
    if normalizer:
        tok.normalizer = normalizer
    tok.pre_tokenizer = pre
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(text, trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return tok


def split_bytes(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def template(tok, bos, eos=None):
    ids = [(t, tok.token_to_id(t)) for t in (bos, eos) if t]
    return processors.TemplateProcessing(single=f"{bos} $A" + (f" {eos}" if eos else ""), pair=f"{bos} $A {bos}:1 $B:1", special_tokens=ids)


def gpt2(text):
    tok = byte_level(text, 1000, pre_tokenizers.ByteLevel(add_prefix_space=False))
    tok.add_special_tokens([special_token("<|endoftext|>")])
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    return tok


def added(text):
    """GPT-2 with a prefix space and added tokens of every kind."""
    tok = byte_level(text, 600, pre_tokenizers.ByteLevel(add_prefix_space=True))
    tok.add_special_tokens([special_token("<|endoftext|>"), special_token("<mask>", lstrip=True), special_token("<s>", rstrip=True), special_token("</s>", lstrip=True, rstrip=True)])
    tok.add_tokens([AddedToken("word", single_word=True), AddedToken("<tool_call>", normalized=False), AddedToken("é", single_word=True, lstrip=True), AddedToken("\u3000"), AddedToken("<tool", rstrip=True)])
    return tok


def llama3(text):
    tok = byte_level(text, 1500, split_bytes(LLAMA3), ignore_merges=True)
    raw = json.loads(tok.to_str())
    vocab = raw["model"]["vocab"]
    for word in ["Ġtherefore", "Ġunderstanding", "ðŁĺĤ", "Ġpackage"]:  # words that no merge makes
        vocab.setdefault(word, len(vocab))
    tok = Tokenizer.from_str(json.dumps(raw))
    tok.add_special_tokens([special_token(s) for s in ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]])
    tok.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template(tok, "<|begin_of_text|>")])
    return tok


def qwen(text):
    tok = byte_level(text, 1200, split_bytes(QWEN), normalizers.NFC())
    tok.add_special_tokens([special_token(s) for s in ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]])
    tok.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("</tool_call>", normalized=False)])
    tok.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    return tok


def tekken(text):
    tok = byte_level(text, 1000, split_bytes(TEKKEN), ignore_merges=True)
    tok.add_special_tokens([special_token(s) for s in ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]])
    tok.post_processor = template(tok, "<s>")
    return tok


def o200k(text):
    tok = byte_level(text, 800, split_bytes(O200K))
    tok.add_special_tokens([special_token("<|endoftext|>")])
    return tok


def deepseek(text):
    split = lambda p: pre_tokenizers.Split(Regex(p), "isolated")
    pre = [split("[\r\n]"), split("\\s?\\p{L}+"), split("\\s?\\p{P}+"), split("[一-龥ࠀ-一가-퟿]+"), split("\\s+$"), pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    tok = byte_level(text, 700, pre_tokenizers.Sequence(pre), normalizers.Sequence([]))
    tok.add_special_tokens([special_token("<s>", normalized=True), special_token("</s>", normalized=True)])
    tok.post_processor = template(tok, "<s>", "</s>")
    return tok


def r1(text):
    """DeepSeek-R1-Distill-Qwen."""
    pattern = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
    split = lambda p: pre_tokenizers.Split(Regex(p), "isolated")
    pre = [split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(pattern), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    tok = byte_level(text, 900, pre_tokenizers.Sequence(pre))
    tok.add_special_tokens([special_token("<｜begin▁of▁sentence｜>"), special_token("<｜end▁of▁sentence｜>")])
    tok.post_processor = template(tok, "<｜begin▁of▁sentence｜>")
    return tok


def falcon(text):
    pre = [pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False), pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")]
    tok = byte_level(text, 700, pre_tokenizers.Sequence(pre))
    tok.add_special_tokens([special_token("<|endoftext|>")])
    return tok


def sentence_piece(text, size, normalizer, pre, decoder, special, alphabet=300):
    tok = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if normalizer:
        tok.normalizer = normalizer
    if pre:
        tok.pre_tokenizer = pre
    tok.decoder = decoder
    tok.train_from_iterator(text, trainers.BpeTrainer(vocab_size=size, special_tokens=special + BYTES, limit_alphabet=alphabet, show_progress=False))
    raw = json.loads(tok.to_str())
    raw["added_tokens"] = []  # the bytes are plain tokens
    return Tokenizer.from_str(json.dumps(raw))


SP_DECODER = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]


def llama2(text):
    tok = sentence_piece(text, 1400, normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None,
                         decoders.Sequence(SP_DECODER + [decoders.Strip(" ", 1, 0)]), ["<unk>", "<s>", "</s>"])
    tok.add_special_tokens([special_token(s, normalized=True) for s in ["<unk>", "<s>", "</s>"]])
    tok.post_processor = template(tok, "<s>")
    return tok


def mistral(text):
    tok = sentence_piece(text, 1100, None, pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False),
                         decoders.Sequence(SP_DECODER + [decoders.Strip(" ", 1, 0)]), ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"])
    tok.add_special_tokens([special_token(s) for s in ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]])
    tok.post_processor = template(tok, "<s>")
    return tok


def phi3(text):
    tok = sentence_piece(text, 900, normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None,
                         decoders.Sequence(SP_DECODER + [decoders.Strip(" ", 1, 0)]), ["<unk>", "<s>", "</s>"])
    tok.add_special_tokens([special_token("<unk>"), special_token("<s>"), AddedToken("</s>", rstrip=True, normalized=False), special_token("<|endoftext|>"), special_token("<|im_end|>", rstrip=True)])
    tok.post_processor = template(tok, "<s>")
    return tok


def gemma(text):
    tok = sentence_piece(text, 1300, normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"),
                         decoders.Sequence(SP_DECODER), ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "\n\n", "\n\n\n", "▁▁", "▁▁▁▁"])
    tok.add_special_tokens([special_token(s) for s in ["<pad>", "<eos>", "<bos>", "<unk>"]])
    tok.add_tokens([AddedToken(s, normalized=False) for s in ["<mask>", "\n\n", "\n\n\n", "▁▁", "▁▁▁▁"]])
    tok.post_processor = template(tok, "<bos>")
    return tok


def broken_bytes(text):
    """Some bytes are missing, so that unknown characters and bytes meet."""
    tok = sentence_piece(text, 700, normalizers.Replace(" ", "▁"), None, decoders.Sequence(SP_DECODER), ["<unk>"], alphabet=120)
    raw = json.loads(tok.to_str())
    for b in range(0x80, 0xC0, 3):
        raw["model"]["vocab"]["<gone%d>" % b] = raw["model"]["vocab"].pop("<0x%02X>" % b)
    raw["model"]["fuse_unk"] = False
    return Tokenizer.from_str(json.dumps(raw))


def unigram(text, size, normalizer, pre, special, byte_fallback=False):
    tok = Tokenizer(models.Unigram())
    if normalizer:
        tok.normalizer = normalizer
    tok.pre_tokenizer = pre
    known = {c for c, _ in collections.Counter("".join(text)).most_common(250)}  # the trainer wants every character in the vocabulary
    text = [t for t in text if known.issuperset(t)]
    tok.train_from_iterator(text, trainers.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False))
    raw = json.loads(tok.to_str())
    raw["model"]["byte_fallback"] = byte_fallback
    raw["added_tokens"] = []
    if byte_fallback:
        raw["model"]["vocab"] += [[b, 0.0] for b in BYTES]
    return Tokenizer.from_str(json.dumps(raw))


def t5(text):
    tok = unigram(text, 900, None, pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]), ["<pad>", "</s>", "<unk>"])
    tok.add_special_tokens([special_token(s) for s in ["<pad>", "</s>", "<unk>"]])
    tok.decoder = decoders.Metaspace()
    tok.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", tok.token_to_id("</s>"))])
    return tok


def spm(text):
    """tokenizers.implementations.SentencePieceUnigramTokenizer, with byte fallback."""
    tok = unigram(text, 800, normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip(left=True, right=False)]),
                  pre_tokenizers.Metaspace(), ["<unk>", "<s>", "</s>"], byte_fallback=True)
    tok.add_special_tokens([special_token(s) for s in ["<unk>", "<s>", "</s>"]])
    tok.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return tok


def digest(rows):
    return hashlib.sha256("".join(rows).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def write(name, value):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    (HERE / (name + ".json.gz")).write_bytes(gzip.compress(text, 9, mtime=0))


def main():
    text = make_text()
    write("text", text)
    some = [t for i, t in enumerate(text) if i % 3]
    for make in [gpt2, added, llama3, qwen, tekken, o200k, deepseek, r1, falcon, llama2, mistral, phi3, gemma, broken_bytes, t5, spm]:
        tok = make(some)
        ids = [tok.encode(t, add_special_tokens=i % 2 == 0).ids for i, t in enumerate(text)]
        back = [tok.decode(row, skip_special_tokens=False) for row in ids]
        blocks = range(0, LINES, BLOCK)
        write(make.__name__, {
            "tokenizer": json.loads(tok.to_str()),
            "ids": [digest([" ".join(map(str, row)) + "\n" for row in ids[b : b + BLOCK]]) for b in blocks],
            "decoded": [digest([row + "\n" for row in back[b : b + BLOCK]]) for b in blocks],
            "lines": {str(i): ids[i] for i in range(0, LINES, SHOWN)},
        })
        print(make.__name__, tok.get_vocab_size(), sum(map(len, ids)))


main()
