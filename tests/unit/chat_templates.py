"""Small tokenizers with chat templates that behave like those of Qwen3, Gemma 3 and Llama 3."""

from transformers import AddedToken, PreTrainedTokenizerFast

from workflow_scripts.lat.training.tokenizing import train_tokenizer

# Turns between <|im_start|> and <|im_end|>; an empty block of thoughts where thinking is switched off.
QWEN3 = """
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.role == 'assistant' and loop.last %}{{- '<think>\\n\\n</think>\\n\\n' }}{% endif %}
    {{- message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{% endif %}
{%- endif %}
"""
# A start token, the assistant is called model, and the system's text is the beginning of the user's first turn.
GEMMA3 = """{{ bos_token }}
{%- if messages[0].role == 'system' %}
    {%- set first = messages[0].content | trim + '\\n\\n' %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set first = '' %}
    {%- set turns = messages %}
{%- endif %}
{%- for message in turns %}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('turns must alternate') }}
    {%- endif %}
    {{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' }}
    {{- (first if loop.first else '') + message.content | trim + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{% endif %}
"""
# Headers between control tokens, and always a turn of the system, with the date of the day.
LLAMA3 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now('%d %b %Y') if strftime_now is defined else '26 Jul 2024' %}
{%- endif %}
{%- set system = '' %}
{%- if messages[0].role == 'system' %}
    {%- set system = messages[0].content | trim %}
    {%- set messages = messages[1:] %}
{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: ' + date_string + '\\n\\n' + system + '<|eot_id|>' }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}
"""
TEMPLATES = {"qwen3": QWEN3, "gemma3": GEMMA3, "llama3": LLAMA3}
CONTROL_TOKENS = {
    "qwen3": ["<|im_start|>", "<|im_end|>"],
    "gemma3": ["<start_of_turn>", "<end_of_turn>"],
    "llama3": ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
}
END_OF_TURN = {"qwen3": "<|im_end|>", "gemma3": "<end_of_turn>", "llama3": "<|eot_id|>"}
TEXTS = [
    "Translate the following sentences from Italian to Dutch.",
    "Translate the following sentences from Dutch to Italian.",
    "### Instruction:\n\n### Input:\n\n### Response:",
    "user assistant model system\n\nToday Date: 26 Jul 2024",
    "Il gatto dorme. De kat slaapt. Uno, due, tre. Een, twee, drie.",
]


def chat_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer with the chat template and the control tokens of a kind of model."""
    tokenizer = train_tokenizer(TEXTS * 5, 420)
    tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in CONTROL_TOKENS[kind]])
    if kind == "qwen3":
        tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = TEMPLATES[kind]
    return tokenizer
