"""Loss and gradients of the preference losses in this workflow and in TRL, on the same model and pairs.

    make trl && python -m timing.preference_losses

Nothing is timed. TRL runs in its own environment, with its own trainers (`ORPOTrainer`, `CPOTrainer`, `DPOTrainer`),
whose loss of one batch is computed. TRL's likelihood loss of ORPO and CPO includes the tokens of the prompt, and that
of this workflow only those of the response. Whole objectives are therefore compared on prompts of a single token, which
nothing predicts, and on long prompts the preference loss alone.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PAIRS = 6
WEIGHT, BETA = 0.4, 0.3
TOLERANCE = 1e-4
# Name, loss, tokens of the prompts (0: several), and the weight of the likelihood loss.
CASES = (
    ("orpo, whole", "orpo", 1, 1.0),
    ("orpo, preference loss alone", "orpo", 0, 0.0),
    ("cpo, whole", "cpo", 1, 1.0),
    ("cpo, preference loss alone", "cpo", 0, 0.0),
    ("dpo", "dpo", 0, 0.0),
)


def draw_pairs(prompt_tokens: int) -> list[dict[str, list[int]]]:
    """Draw pairs of random tokens; with 0 as `prompt_tokens`, their prompts have different lengths."""
    import torch

    generator = torch.Generator().manual_seed(1)

    def tokens(count: int) -> list[int]:
        return torch.randint(4, 300, (count,), generator=generator).tolist()

    return [
        {
            "prompt": tokens(prompt_tokens or 5 + 3 * number),
            "response": tokens(2 + number),
            "rejected": tokens(1 + (5 * number) % 7),
        }
        for number in range(PAIRS)
    ]


def prepare(folder: Path) -> None:
    """Write the model, the model before the training, and a tokenizer."""
    import torch

    from workflow_scripts.lat.training.tokenizing import train_tokenizer

    from .train_step import build

    model = build("tiny", 300)
    for name in ("model", "before"):
        model.save_pretrained(folder / name)
        train_tokenizer(["the quick brown fox"] * 5, 300).save_pretrained(folder / name)
        torch.manual_seed(2)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.02 * torch.randn_like(parameter)


def run_workflow(folder: Path, case: tuple[str, str, int, float]) -> dict[str, Any]:
    """Compute the loss and the gradients with this workflow."""
    import dataclasses

    import torch

    from workflow_scripts.lat.models import load_model
    from workflow_scripts.lat.training.hyperparameters import Preference
    from workflow_scripts.lat.training.pairs import EncodedPair, PreferenceLoss, pair_tensors

    _, loss, prompt_tokens, likelihood = case
    # In TRL, CPO has no weight of the preference loss.
    preference = Preference(loss, WEIGHT if loss == "orpo" else 1.0, likelihood, BETA)  # type: ignore[arg-type]
    pairs = [EncodedPair(**row) for row in draw_pairs(prompt_tokens)]
    inputs: dict[str, Any] = {"pad": 2, "layout": "tree", "device": torch.device("cpu")}
    if loss == "dpo":
        before = PreferenceLoss(load_model(folder / "before", "fp32", "sdpa"), preference)
        with torch.no_grad():
            sums = before(**pair_tensors(pairs, pairs, **inputs), only_sums=True).t().tolist()
        pairs = [dataclasses.replace(pair, reference=tuple(both)) for pair, both in zip(pairs, sums, strict=True)]
    model = load_model(folder / "model", "fp32", "sdpa")
    count = sum(len(pair.response) for pair in pairs)
    total, _ = PreferenceLoss(model, preference)(**pair_tensors(pairs, pairs, **inputs), scale=1 / count)
    total.backward()
    return {"loss": total.item(), "gradients": {name: value.grad for name, value in model.named_parameters()}}


def run_trl(folder: Path, case: tuple[str, str, int, float]) -> dict[str, Any]:
    """Compute the same with a trainer of TRL."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _, loss, prompt_tokens, likelihood = case
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32, attn_implementation="sdpa")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    # The trainers want a dataset, but the batch is given to their loss.
    unused = Dataset.from_dict({"prompt": ["the quick "], "chosen": ["brown"], "rejected": ["fox"]})
    settings = {
        "output_dir": str(folder / "trl"), "use_cpu": True, "bf16": False, "report_to": [], "max_length": 1024,
        "gradient_checkpointing": False, "disable_tqdm": True, "per_device_train_batch_size": PAIRS,
    }  # fmt: skip
    given = {"train_dataset": unused, "processing_class": tokenizer}
    rows = draw_pairs(prompt_tokens)
    if loss == "dpo":
        import trl

        before = AutoModelForCausalLM.from_pretrained(
            folder / "before", dtype=torch.float32, attn_implementation="sdpa"
        )
        args = trl.DPOConfig(**settings, beta=BETA)
        trainer: Any = trl.DPOTrainer(model, ref_model=before, args=args, **given)
        sequences = [(row["prompt"], row[key]) for key in ("response", "rejected") for row in rows]
        whole = [prompt + response for prompt, response in sequences]
        inputs = {
            "input_ids": padded(whole, 2),
            "attention_mask": padded([[1] * len(ids) for ids in whole], 0),
            "completion_mask": padded([[0] * len(prompt) + [1] * len(text) for prompt, text in sequences], 0),
        }
        total = trainer.compute_loss(trainer.model, inputs)
    else:
        batch = {}
        for side, key in (("chosen", "response"), ("rejected", "rejected")):
            whole = [row["prompt"] + row[key] for row in rows]
            batch[f"{side}_input_ids"] = padded(whole, 2)
            batch[f"{side}_attention_mask"] = padded([[1] * len(ids) for ids in whole], 0)
            batch[f"{side}_labels"] = padded([[-100] * len(row["prompt"]) + row[key] for row in rows], -100)
        if loss == "cpo":
            from trl.experimental.cpo import CPOConfig, CPOTrainer

            trainer = CPOTrainer(model, args=CPOConfig(**settings, beta=BETA, cpo_alpha=likelihood), **given)
            total, _ = trainer.get_batch_loss_metrics(trainer.model, batch)
        else:
            from trl.experimental.orpo import ORPOConfig, ORPOTrainer

            trainer = ORPOTrainer(model, args=ORPOConfig(**settings, beta=WEIGHT), **given)
            if likelihood:
                total, _ = trainer.get_batch_loss_metrics(trainer.model, batch)
            else:
                chosen, rejected, *_ = trainer.concatenated_forward(trainer.model, batch)
                total = -trainer.odds_ratio_loss(chosen, rejected)[0].mean()
    total.backward()
    return {"loss": total.item(), "gradients": {name: value.grad for name, value in model.named_parameters()}}


def padded(rows: list[list[int]], value: int) -> Any:
    """Return rows of token ids as a tensor, padded on the right."""
    import torch

    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows])


def errors(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[float, float]:
    """Return the relative difference of the loss, and the largest one of the gradient of a parameter."""
    differences = [
        ((ours["gradients"][name] - gradient).norm() / gradient.norm()).item()
        for name, gradient in theirs["gradients"].items()
    ]
    return abs(ours["loss"] - theirs["loss"]) / abs(theirs["loss"]), max(differences)


def main() -> int:
    """Compare all cases; the exit status tells whether they are equal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=".venv-trl/bin/python", help="interpreter of the environment of TRL")
    parser.add_argument("--trl", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    if arguments.trl:
        torch.save([run_trl(arguments.trl, case) for case in CASES], arguments.trl / "trl.pt")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        subprocess.run([arguments.python, "-m", "timing.preference_losses", "--trl", name], check=True)
        found = torch.load(folder / "trl.pt")
        rows = []
        for case, theirs in zip(CASES, found, strict=True):
            ours = run_workflow(folder, case)
            rows.append([case[0], ours["loss"], theirs["loss"], *errors(ours, theirs)])
    for row in rows:
        print(json.dumps(dict(zip(("case", "loss", "TRL", "loss differs", "gradient differs"), row, strict=True))))
    return int(max(max(row[3:]) for row in rows) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
