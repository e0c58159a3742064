"""Check the base models of a config, and the model folders and files that they name."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..data.sources import TERMS
from ..files import InputError, TextError, fold, parse_json, read_text
from ..names import ALPACA, ALPACA_LINES, CHAT, EXTERNAL
from ..training.deepspeed_config import read_deepspeed_config
from .references import check_known, sources, sources_of

GGUF_MAGIC = b"GGUF"
PART = re.compile(r"\.part-?(\d+)$")  # end of the names of the parts that a file was cut into
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
OTHER_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.h5", "*.msgpack")
# Every tokenizer has one of these files, which hold its vocabulary.
VOCABULARIES = ("tokenizer.json", "*.model", "*.tiktoken", "tekken.json", "vocab.*")


def check_base_models(config: Mapping[str, Any], root: Path, paper_names: list[str]) -> None:
    """Check all base models.

    Args:
        config: a configuration that matches the schema.
        root: the folder that relative paths start from.
        paper_names: what the tables of the paper call its base models.

    Raises:
        InputError: a base model contradicts itself, or names a folder or file that is not usable.
    """
    for licence in config["accept_licences"]:
        check_known("accept_licences", licence, TERMS, "licences of weights with terms of their own")
    for name, model in config["base_models"].items():
        key = f"base_models.{name}"
        if name == EXTERNAL:
            continue
        if sum(kind in model for kind in ("build", "hub", "path", "gguf")) != 1:
            raise InputError(f"config: {key} needs exactly one of `build`, `hub`, `path`, `gguf`")
        if "build" in model:
            _check_build(f"{key}.build", model["build"], config["benchmarks"])
        if "gguf" in model:
            _check_gguf(f"{key}.gguf", model, root)
        if "path" in model:
            check_model_folder(f"{key}.path", model["path"], root)
        if "paper" in model:
            check_known(f"{key}.paper", model["paper"], paper_names, "paper's models")
        _check_template(key, model, root)
        _check_deepspeed(f"{key}.deepspeed", model["deepspeed"], root)


def check_licences(config: Mapping[str, Any], fetched: Iterable[str]) -> None:
    """Check that the user accepts the licences of weights that a run downloads.

    Args:
        config: the checked configuration.
        fetched: names of the sources that are downloaded.

    Raises:
        InputError: a licence has terms of its own and is not in `accept_licences`.
    """
    for name in fetched:
        licence = sources()[name].licence
        if licence in TERMS and licence not in config["accept_licences"]:
            raise InputError(
                f"config: {name} has terms of its own, {TERMS[licence]}; if you accept them, run `make demo` or add"
                f" `--config 'accept_licences=[{licence}]'`; `make tiny` needs no such weights"
            )


def _check_template(key: str, model: Mapping[str, Any], root: Path) -> None:
    """Check the template of a base model, as far as that is possible before the model is there."""
    template = model.get("template", ALPACA_LINES)
    if template in (ALPACA, ALPACA_LINES):
        for name in ("system_message", "template_options"):
            if name in model:
                raise InputError(f"config: {key}.{name} is for chat templates; set `template: {CHAT}`, or remove it")
        return
    # Imported here, since few configs need the library, and every step imports this module.
    import jinja2

    from ..prompts.chat import RESERVED_OPTIONS, compile_template

    if template != CHAT:
        if not (root / template).is_file():
            check_known(f"{key}.template", template, (ALPACA, ALPACA_LINES, CHAT), "templates, nor a file")
        try:
            compile_template(read_text(root / template))
        except jinja2.TemplateSyntaxError as error:
            raise InputError(
                f"config: {key}.template: {template}: line {error.lineno}: {fold(error.message or '')}; correct it"
            ) from None
    if "build" in model:
        raise InputError(
            f"config: {key}.template: the tokenizer of a model that the workflow builds is made from its prompts, so"
            f" that it has no chat template; set {ALPACA} or {ALPACA_LINES}"
        )
    if template == CHAT and "path" in model and not _has_chat_template(f"{key}.path", root / model["path"]):
        raise InputError(
            f"config: {key}.template: the tokenizer of `{model['path']}` has no chat template; set {ALPACA} or a file"
            " with a template, or choose a chat model"
        )
    for name in model.get("template_options", {}):
        if name in RESERVED_OPTIONS:
            raise InputError(
                f"config: {key}.template_options.{name}: the workflow sets this variable itself; remove it"
            )


def _has_chat_template(key: str, folder: Path) -> bool:
    """Whether the tokenizer of a model folder has a chat template, in one of the places where transformers looks."""
    if any(folder.glob("chat_template.*")) or any(folder.glob("additional_chat_templates/*.jinja")):
        return True
    settings = folder / "tokenizer_config.json"
    return settings.is_file() and bool(read_object(key, settings).get("chat_template"))


def _check_deepspeed(key: str, name: str, root: Path) -> None:
    if not (root / name).is_file():
        raise InputError(f"config: {key}: no file `{name}`; see configs/deepspeed/")
    try:
        read_deepspeed_config(root / name)
    except InputError as error:
        raise InputError(f"config: {key}: {str(error).removeprefix(f'{root}/')}") from None


def _check_build(key: str, build: Mapping[str, Any], benchmarks: Mapping[str, Any]) -> None:
    check_known(f"{key}.benchmark", build["benchmark"], benchmarks, "benchmarks")
    known = benchmarks[build["benchmark"]]["languages"]
    for language in build["languages"]:
        check_known(f"{key}.languages", language, known, f"languages of {build['benchmark']}")
    if build["hidden"] % (2 * build["heads"]):
        raise InputError(f"config: {key}.hidden must be a multiple of 2 * heads")


def _check_gguf(key: str, model: Mapping[str, Any], root: Path) -> None:
    rows = [name for name in sources_of("model") if ".gguf" in sources()[name].file]
    for number, name in enumerate(model["gguf"]):
        if name in sources() or not (root / name).is_file():
            check_known(key, name, rows, "GGUF files in resources/sources.tsv, nor a file")
        else:
            _check_gguf_file(key, name, root / name, is_first=number == 0)
    files = [sources()[name].file if name in sources() else name for name in model["gguf"]]
    numbers = [int(found[1]) for file in files if (found := PART.search(file))]
    if len(numbers) == len(files) and numbers != list(range(numbers[0], numbers[0] + len(files))):
        raise InputError(f"config: {key}: the parts have the numbers {numbers}; name all parts, in their order")


def _check_gguf_file(key: str, name: str, path: Path, is_first: bool) -> None:
    is_gguf = begins_with(key, path, GGUF_MAGIC)
    if is_first and not is_gguf:
        raise InputError(f"config: {key}: `{name}` is no GGUF file; name a model in this format, its first part first")
    if is_gguf and not is_first:
        raise InputError(
            f"config: {key}: `{name}` is a GGUF file of its own, not the continuation of the first part; join the parts"
            " with `llama-gguf-split --merge` and name the joined file"
        )


def begins_with(key: str, path: Path, magic: bytes) -> bool:
    """Return whether a file begins with the magic number of its format.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with open(path, "rb") as handle:
            return handle.read(len(magic)) == magic
    except OSError as error:
        raise InputError(f"config: {key}: {path} cannot be read ({error.strerror}); correct its permissions") from None


def check_model_folder(key: str, name: str, root: Path) -> None:
    """Check that a folder has the files of a transformers model that belong together, without reading the weights.

    Args:
        key: key of the folder, for messages.
        name: the folder as the config names it.
        root: the folder that relative paths start from.

    Raises:
        InputError: a file is missing, or the tokenizer has more tokens than the model.
    """
    folder = root / name
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise InputError(f"config: {key}: `{name}` holds adapters; merge them into their base model with peft first")
    if not (folder / "config.json").is_file():
        raise InputError(f"config: {key}: `{name}` is no transformers model folder (no config.json)")
    config = read_object(key, folder / "config.json")
    _check_weights(key, name, folder)
    if not any(path for pattern in VOCABULARIES for path in folder.glob(pattern)):
        raise InputError(f"config: {key}: `{name}` has no tokenizer (no tokenizer.json); copy its files there")
    # Models for several kinds of input describe the language model in `text_config`.
    text_config = config.get("text_config")
    embeddings = (text_config if isinstance(text_config, dict) else config).get("vocab_size")
    if (folder / "tokenizer.json").is_file() and isinstance(embeddings, int):
        try:
            tokens = _count_tokens(read_object(key, folder / "tokenizer.json"))
        except (AttributeError, TypeError):
            raise InputError(f"config: {key}: tokenizer.json is not that of a tokenizer; get the model again") from None
        if tokens > embeddings:
            raise InputError(
                f"config: {key}: `{name}` has {tokens} tokens in tokenizer.json, but `vocab_size` of config.json is"
                f" {embeddings}; its files do not belong together, get them again"
            )


def _check_weights(key: str, name: str, folder: Path) -> None:
    """Check that the weights that transformers loads are there."""
    if (folder / WEIGHTS).is_file():
        return
    if (folder / WEIGHTS_INDEX).is_file():
        weight_map = read_object(key, folder / WEIGHTS_INDEX).get("weight_map")
        files = set(map(str, weight_map.values())) if isinstance(weight_map, dict) else set()
        missing = sorted(file for file in files if not (folder / file).is_file())
        if missing or not files:
            raise InputError(
                f"config: {key}: `{name}` lacks {missing[0] if missing else 'weights'}; get the model again"
            )
        return
    others = [path.name for pattern in OTHER_WEIGHTS for path in sorted(folder.glob(pattern))]
    if others:
        raise InputError(
            f"config: {key}: `{name}` has weights only in {others[0]}; convert them to safetensors by loading and"
            " saving the model with transformers"
        )
    raise InputError(f"config: {key}: `{name}` has no weights (no {WEIGHTS}); get the model again")


def read_object(key: str, path: Path) -> dict[str, Any]:
    """Read a JSON file of a model folder.

    Raises:
        InputError: the file is not a JSON object; the message begins with the key of the config.
    """
    try:
        content = parse_json(read_text(path))
    except TextError as error:
        raise InputError(f"config: {key}: {path.name}: {error}; get the model again") from None
    except InputError as error:
        raise InputError(f"config: {key}: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"config: {key}: {path.name} is not a JSON object; get the model again")
    return content


def _count_tokens(tokenizer: Mapping[str, Any]) -> int:
    """Return the number of embeddings that the content of a tokenizer.json needs: its largest token id plus one."""
    vocabulary = (tokenizer.get("model") or {}).get("vocab") or {}
    ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
    added = [token.get("id", 0) for token in tokenizer.get("added_tokens") or []]
    return max([-1, *ids, *added]) + 1
