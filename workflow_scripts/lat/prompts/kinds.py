"""What a prompt is, apart from the wording of prompts, a change of which must not rerun steps that only encode them."""

# A text, or the pieces of a chat: text of the template and texts in its slots by turns, the former first.
Prompt = str | list[str]
