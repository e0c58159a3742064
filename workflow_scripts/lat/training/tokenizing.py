"""A byte-level BPE for base models the workflow builds itself."""

from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

START, END, PAD = "<s>", "</s>", "<pad>"


def train_tokenizer(texts: Sequence[str], vocabulary: int, pieces: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """Learn a BPE of `vocabulary` tokens from `texts`: the 256 bytes, three special tokens and `pieces` included.

    Prompts start with `<s>`. Nothing is unknown to it, since every byte is a token. `pieces` are fixed strings, such as
    a template's headers, that become one token each: a third fewer tokens a sample for a model tuned on one template.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(pieces),
        special_tokens=[START, END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in pieces])
    start = tokenizer.token_to_id(START)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A", special_tokens=[(START, start)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=START,
        eos_token=END,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
    )
