"""NLL of the held-out windows: base, adapter separate, PEFT's merge. python evaluate.py OUT"""
import sys
import torch
from transformers import AutoModelForCausalLM
from peft import PeftModel
out = sys.argv[1]
held = [list(map(int, l.split())) for l in open(f"{out}/tokens-held.txt")]

@torch.no_grad()
def nll(m):
    m.train()
    return sum(m(torch.tensor([w]), labels=torch.tensor([w])).loss.item() for w in held) / len(held)

m = AutoModelForCausalLM.from_pretrained(f"{out}/base-nf4", dtype=torch.float32, device_map="cpu")
m.train()
print("base", nll(m), flush=True)
p = PeftModel.from_pretrained(m, f"{out}/adapter")
p.train()
print("separate", nll(p), flush=True)
q = p.merge_and_unload()
print("merged", nll(q), flush=True)
