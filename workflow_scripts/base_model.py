"""Provide a base model as a folder: trained from the benchmark's text, downloaded, or made from the user's files.

`build`  trains a byte-level BPE tokenizer and a small model of the Llama architecture. The model is initialised at
         random and then trained briefly as a plain language model on the benchmark's monolingual text. A single
         process runs as `python -m`; `torchrun` starts several, see `lat/training/launch.py`.
`fetch`  downloads a model from the Hugging Face hub, or links a local folder.
`gguf`   converts a GGUF file, quantised or not, into a transformers folder in fp32.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import shutil
import struct
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lat.codehash import step_code
from .lat.data.hub import FILES, TEMPLATES, fetch_snapshot
from .lat.data.store import entry_name, link_folder, provide
from .lat.files import InputError, atomic_write, read_jsonl, replaced_folder, sha256, write_table
from .lat.manifest import write_manifest
from .lat.prompts.templates import add_template_arguments, template_of
from .lat.runtime import log, run_step
from .lat.training.hyperparameters import add_checkpoint_arguments, add_deepspeed_argument

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GGUF_MAGIC = b"GGUF"
# Libraries whose version may change the result of a conversion.
GGUF_LIBRARIES = ("gguf", "tokenizers", "transformers")
# The instruction of the prompt with which the template of a base model is checked.
CHECKED_INSTRUCTION = "Translate the following sentences from German to English."
# Arguments of `build` that do not change what is trained.
WITHOUT_EFFECT = ("command", "output", "steps_log", "checkpoints", "checkpoint_minutes", "threads")


def main() -> None:
    """Parse the flags and run the subcommand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    build = commands.add_parser("build", help="train a tokenizer and a model from text")
    build.add_argument("--monolingual", type=Path, required=True, help="JSON lines with the keys language and text")
    build.add_argument("--languages", nargs="+", required=True, help="languages of the plain text")
    build.add_argument("--multilingual", type=float, default=0.0, help="share of the text in multilingual documents")
    build.add_argument("--samples", type=Path, required=True, help="training prompts, used for the tokenizer only")
    build.add_argument("--output", type=Path, required=True)
    build.add_argument("--steps-log", type=Path, required=True)
    build.add_argument("--vocabulary", type=int, required=True, help="number of tokens of the byte-level BPE")
    build.add_argument("--hidden", type=int, required=True)
    build.add_argument("--intermediate", type=int, required=True)
    build.add_argument("--layers", type=int, required=True)
    build.add_argument("--heads", type=int, required=True)
    build.add_argument("--max-length", type=int, required=True, help="maximum sequence length of the model, in tokens")
    add_checkpoint_arguments(build)
    add_deepspeed_argument(build)
    build.add_argument("--learning-rate", type=float, required=True)
    build.add_argument("--warmup-ratio", type=float, required=True)
    build.add_argument("--batch-size", type=int, required=True)
    build.add_argument("--micro-batch-size", type=int, required=True)
    build.add_argument("--epochs", type=float, required=True, help="passes over the text; 0 leaves the model random")
    build.add_argument("--threads", type=int, default=0)
    build.add_argument("--seed", type=int, required=True)

    fetch = commands.add_parser("fetch", help="download a model or link a local one")
    where = fetch.add_mutually_exclusive_group(required=True)
    where.add_argument("--hub", help="hub id, such as meta-llama/Llama-2-7b-hf")
    where.add_argument("--path", type=Path, help="a local model folder")
    fetch.add_argument("--revision", help="revision on the hub: a commit, tag or branch")
    fetch.add_argument("--chat-template", action="store_true", help="download the file of the chat template, too")
    fetch.add_argument("--output", type=Path, required=True)
    fetch.add_argument("--store", type=Path, help="folder of downloads that several working folders share")

    gguf = commands.add_parser("gguf", help="convert a GGUF file")
    gguf.add_argument("--parts", type=Path, nargs="+", required=True, help="the file, or its parts in their order")
    gguf.add_argument("--output", type=Path, required=True)
    gguf.add_argument("--threads", type=int, default=0)
    gguf.add_argument("--store", type=Path, help="folder of downloads that several working folders share")

    check = commands.add_parser("check", help="check that a base model can be trained and decoded")
    check.add_argument("--model", type=Path, required=True, help="folder of the base model")
    check.add_argument("--attention", required=True, help="attention implementation of transformers")
    check.add_argument("--engines", nargs="+", required=True, help="decoding engines that will be used")
    check.add_argument("--output", type=Path, required=True, help="text file that says what was checked")
    add_template_arguments(check)

    arguments = parser.parse_args()
    runs = {"build": run_build, "fetch": run_fetch, "gguf": run_gguf, "check": run_check}
    runs[arguments.command](arguments)


def run_build(arguments: argparse.Namespace) -> None:
    """Train the tokenizer, initialise the model at random, and train it as a plain language model.

    A run that is asked to stop exits with status 75, and the next run of the same command continues.

    Raises:
        InputError: there is no text, another run of this training is alive, or training fails in a way that the user
            can correct.
    """
    import deepspeed
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    from .lat.models import encode_prompt, encode_response
    from .lat.prompts.prompting import template_pieces
    from .lat.training.checkpoints import Checkpoints, key_of, save_model
    from .lat.training.engine import INTERRUPTED, Interrupted, end_processes, share_threads, start_processes
    from .lat.training.hyperparameters import Hyperparameters
    from .lat.training.loop import STEP_COLUMNS, train
    from .lat.training.pretraining import pretraining_texts
    from .lat.training.run import occupied, remove_state
    from .lat.training.samples import EncodedSample
    from .lat.training.tokenizing import train_tokenizer

    share_threads(arguments.threads)
    set_seed(arguments.seed)
    texts = pretraining_texts(read_jsonl(arguments.monolingual), arguments.languages, arguments.multilingual)
    if not texts:
        raise InputError(f"{arguments.monolingual}: no text in {' '.join(arguments.languages)}; change build.languages")
    prompts = [row["prompt"] for row in read_jsonl(arguments.samples)]
    tokenizer = train_tokenizer([*texts, *prompts], arguments.vocabulary, template_pieces())
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=arguments.hidden,
            intermediate_size=arguments.intermediate,
            num_hidden_layers=arguments.layers,
            num_attention_heads=arguments.heads,
            max_position_embeddings=arguments.max_length,
            tie_word_embeddings=True,
            # The default of 0.02 suits hidden sizes in the thousands; small models learn faster with a larger range.
            initializer_range=0.7 * arguments.hidden**-0.5,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    log.info("tokenizer with %d tokens, model with %.2fM parameters", len(tokenizer), model.num_parameters() / 1e6)
    start = encode_prompt(tokenizer, "")
    samples = [EncodedSample(start, encode_response(tokenizer, text)) for text in texts]
    engine: Any = None
    rows: list[dict[str, Any]] = []
    start_processes()
    occupancy = occupied(arguments.checkpoints)
    if arguments.epochs:
        hyperparameters = Hyperparameters(
            learning_rate=arguments.learning_rate,
            warmup_ratio=arguments.warmup_ratio,
            weight_decay=0.0,
            batch_size=arguments.batch_size,
            micro_batch_size=arguments.micro_batch_size,
            epochs=arguments.epochs,
            steps=0,
            max_length=arguments.max_length,
            alpha=0.0,
            dtype="fp32",
            gradient_checkpointing=False,
            seed=arguments.seed,
        )
        # The tokenizer and the weights that training starts from are made of the files and settings alone.
        settings = {name: value for name, value in vars(arguments).items() if name not in WITHOUT_EFFECT}
        key = key_of(
            [
                json.dumps(settings, sort_keys=True, default=str),
                sha256(arguments.monolingual),
                sha256(arguments.samples),
                str(deepspeed.comm.get_world_size()),
            ]
        )
        checkpoints = Checkpoints(
            arguments.checkpoints / key, minutes=arguments.checkpoint_minutes, occupancy=occupancy
        )
        try:
            engine, rows = train(model, tokenizer, samples, hyperparameters, arguments.deepspeed_config, checkpoints)
        except Interrupted as interruption:
            log.info("%s", interruption)
            end_processes(INTERRUPTED)
        mean = sum(float(row["loss"]) for row in rows[-20:]) / len(rows[-20:])
        log.info("perplexity on the training text at the end: %.1f per token", math.exp(mean))
    if occupancy:
        occupancy.check()
    save_model(model, tokenizer, arguments.output, engine)
    if occupancy:
        write_table(arguments.steps_log, rows, STEP_COLUMNS)
        remove_state(arguments.checkpoints, occupancy)
    end_processes()


def run_fetch(arguments: argparse.Namespace) -> None:
    """Download a model of the hub to the output folder, or make the output a link to the user's folder.

    Raises:
        InputError: the user's folder has no `config.json`, the workflow cannot use the model of the hub, or the
            download fails.
    """
    if arguments.path:
        if not (arguments.path / "config.json").is_file():
            raise InputError(f"{arguments.path}: no config.json there; point `path` at a transformers model folder")
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.symlink_to(arguments.path.resolve(), target_is_directory=True)
        return
    patterns = (*FILES, *TEMPLATES) if arguments.chat_template else FILES
    fetch_snapshot(
        arguments.hub, arguments.revision, arguments.output, patterns, base_model=True, store=arguments.store
    )
    if not arguments.store:  # the files of a store have theirs
        write_manifest(arguments.output)
    architecture = json.loads((arguments.output / "config.json").read_text())["architectures"]
    log.info("%s: %s", arguments.hub, " ".join(architecture))


def run_gguf(arguments: argparse.Namespace) -> None:
    """Read weights and tokenizer from a GGUF file, and write them as a transformers folder with fp32 weights.

    Raises:
        InputError: the file is not a GGUF file, is only one of several files of a model, lacks weights, or transformers
            cannot read it.
    """
    import torch

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if not arguments.store:
        with replaced_folder(arguments.output) as partial:
            convert_gguf(arguments.parts, partial)
            write_manifest(partial)
        return
    # Another version of the code or of a library may convert otherwise.
    code = [inspect.getsource(convert_gguf), step_code("lat/models"), *map(version, GGUF_LIBRARIES)]
    name = entry_name("gguf", arguments.parts[0].name, [sha256(part) for part in arguments.parts], code)
    entry = provide(arguments.store, name, lambda folder: convert_gguf(arguments.parts, folder), resumes=False)
    link_folder(entry, arguments.output)
    log.info("%s: links to %s", arguments.output, entry)


def convert_gguf(parts: Sequence[Path], output: Path) -> None:
    """Convert a GGUF file that may be in several parts, and write the result to a folder.

    Raises:
        InputError: see `run_gguf`; or the disk is full.
    """
    from safetensors import SafetensorError
    from transformers import AutoTokenizer

    from .lat.models import load_model

    with tempfile.TemporaryDirectory(dir=output) as folder:
        whole = Path(folder) / "model.gguf"
        with open(whole, "wb") as handle:
            for part in parts:
                with open(part, "rb") as piece:
                    shutil.copyfileobj(piece, handle)
        check_gguf(whole, parts[0])
        log.info("reading %.0f MB of GGUF; about a minute for 250 MB", whole.stat().st_size / 1e6)
        try:
            model = load_model(folder, "fp32", "eager", gguf_file=whole.name)
            tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=whole.name)
        except InputError as error:
            # The user knows the file, not the temporary folder.
            raise InputError(str(error).replace(folder, str(parts[0]))) from None
        except (ValueError, KeyError, IndexError, NotImplementedError, struct.error) as error:
            raise InputError(f"{parts[0]}: transformers cannot read this GGUF file ({error})") from None
    # With these attributes of the quantised file set, the library refuses to save the model.
    model.config.quantization_config = None
    model.hf_quantizer = None
    try:
        model.save_pretrained(output)
        tokenizer.save_pretrained(output)
    except SafetensorError as error:
        raise InputError(f"{output}: cannot write the model ({error}); free disk space and run again") from None
    log.info("%s: %.0fM parameters", model.config.architectures[0], model.num_parameters() / 1e6)


def check_gguf(path: Path, name: Path) -> None:
    """Check that a file is a GGUF file and holds a whole model.

    Args:
        path: the file.
        name: what the user calls it, for messages.

    Raises:
        InputError: it is not, or it is one of several files.
    """
    import gguf

    with open(path, "rb") as handle:
        if handle.read(len(GGUF_MAGIC)) != GGUF_MAGIC:
            raise InputError(f"{name}: no GGUF file; its parts must be named in their order")
    try:
        field = gguf.GGUFReader(path).get_field(gguf.Keys.Split.LLM_KV_SPLIT_COUNT)
        files = 1 if field is None else int(field.contents())
    except (ValueError, KeyError, IndexError, struct.error) as error:
        raise InputError(f"{name}: transformers cannot read this GGUF file ({error})") from None
    if files > 1:
        raise InputError(
            f"{name}: one of the {files} GGUF files of a model; join them with `llama-gguf-split --merge` and name the"
            " joined file"
        )


def run_check(arguments: argparse.Namespace) -> None:
    """Check that the workflow can train and decode a base model, without loading its weights.

    Raises:
        InputError: it cannot.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from .lat.models import load_tokenizer

    folder = arguments.model
    if not list(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder}: no weights in safetensors files there; convert the model with transformers"
            " (`save_pretrained`), or choose a revision that has them"
        )
    tokenizer = load_tokenizer(folder)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(
                config, attn_implementation=arguments.attention, trust_remote_code=False
            )
    except (ValueError, ImportError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{folder}: transformers cannot build this model with attention {arguments.attention} ({reason}); change"
            " `attention`, or choose another base model"
        ) from None
    rows, tokens = model.get_input_embeddings().weight.shape[0], max(tokenizer.get_vocab().values()) + 1
    if tokens > rows:
        raise InputError(
            f"{folder}: the tokenizer has {tokens} tokens, the model embeddings for {rows}; its files do not belong"
            " together, get them again"
        )
    if "ctranslate2" in arguments.engines:
        check_converter(type(config).__name__, folder)
    template = check_template(arguments, tokenizer)
    with atomic_write(arguments.output) as handle:
        print(
            f"{config.model_type}: {arguments.attention}, {' '.join(arguments.engines)}, {rows} embeddings", file=handle
        )
        handle.write(template)
    log.info("%s: %s, %.0fM parameters", folder, config.model_type, model.num_parameters() / 1e6)


def check_template(arguments: argparse.Namespace, tokenizer: PreTrainedTokenizerBase) -> str:
    """Check that the tokenizer of a base model can encode training samples in its template.

    Returns:
        What ends a response, and a prompt with a demonstration; empty for a template in which any text can be encoded.

    Raises:
        InputError: it cannot, or it has no such template.
    """
    from .lat.models import encode_joined, stop_tokens

    arguments.tokenizer = arguments.model
    template = template_of(arguments)
    keys = template.training_keys()
    if not keys:
        return ""
    for demonstrations in ([], [("Guten Morgen.", "Good morning.")]):
        prompt = template.render(CHECKED_INSTRUCTION, "Guten Abend.", demonstrations)
        encode_joined(tokenizer, prompt, "Good evening.", keys.get("end"))
    template.decoding_keys()
    ends = tokenizer.convert_ids_to_tokens(stop_tokens(tokenizer, keys.get("end")))
    shown = prompt if isinstance(prompt, str) else "".join(prompt)
    return f"template: {arguments.template}; a response ends with {' or '.join(ends)}\n{shown}\n"


def check_converter(kind: str, folder: Path) -> None:
    """Check that CTranslate2 can convert models with a class of configuration.

    Raises:
        InputError: it cannot.
    """
    from ctranslate2.converters.transformers import _MODEL_LOADERS

    if kind not in _MODEL_LOADERS:
        raise InputError(
            f"{folder}: CTranslate2 has no converter for {kind.removesuffix('Config')}; set `engine: transformers`"
        )


if __name__ == "__main__":
    run_step(main)
