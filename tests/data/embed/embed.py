"""The goldens in novel-7m.json: `python3 tests/data/embed/embed.py` with torch and transformers.

For each text its ids and, from last_hidden_state (after the final norm) in float32, the vectors
that mean, cls and last-token pooling give, at unit length, with their length before.
"""
import json
import sys

import torch
from transformers import AutoModel, AutoTokenizer

TEXTS = [
    "It was a cold evening in November",
    "a",
    "",
    "“Good God!” cried he; “naïve—café?”\n\n\tThe end.",
    "Mr. Darcy bowed, and she turned away without a word.",
    "The carriage rolled on through the rain, past hedge and gate and field. " * 22,
]
FOLDER = "models/novel-7m"


def main():
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    model = AutoModel.from_pretrained(FOLDER, dtype=torch.float32, attn_implementation="eager").eval()
    cases = []
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        with torch.no_grad():
            h = model(torch.tensor([ids])).last_hidden_state[0].double()
        case = {"text": text, "ids": ids}
        for name, v in ("mean", h.mean(0)), ("cls", h[0]), ("last", h[-1]):
            unit = v / v.norm()
            case[name] = [round(x, 7) for x in unit.tolist()]
            case[name + "_length"] = v.norm().item()
        cases.append(case)
        print(len(ids), {k: round(case[k + "_length"], 3) for k in ("mean", "cls", "last")}, file=sys.stderr)
    json.dump({"cases": cases}, open(sys.argv[1] if len(sys.argv) > 1 else "tests/data/embed/novel-7m.json", "w"))


main()
