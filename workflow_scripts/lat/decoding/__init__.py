"""Decode prompts: engines that run a model, and what they share.

- `requests`: the lines to decode, their batches, and the text of an output.
- `beams`: the rules of beam search, apart from any model.
- `levels`: attention to keys and values that several rows share, and search with it.
- `plain`: search with `generate` of transformers, and contrastive decoding.
- `boosts`: what a language boost adds to the logits.
- `probes`: whether a model gives the same logits in a batch as alone.
- `transformers_engine`, `ctranslate2_engine`, `vllm_engine`: one engine each.
- `on_server`: translation by a language model on a server.
- `shards`: the directions of each of several jobs.
- `windows`: context windows of models.
"""
