"""What the steps share: languages, prompting, losses, training, decoding, language identification, text io."""
