"""What an inspection of a model's files reports. Pure.

A Job runs the runtime's `inspect` on the model's own source, and its result is JSON of one of two shapes. It comes from
the model's files, so all of it is hostile: what isn't as described here is ignored, and never an error.

A checkpoint in safetensors files (or PyTorch's, of which only `config` and `files` are known):

    {"config": {…},        config.json as it is, without what no engine's memory depends on, to keep it short: strings
                           of more than 100 characters, lists of more than 512 entries, `id2label`, `label2id`, and
                           `quantization_config.ignore` or `.modules_to_not_convert` beyond 64 names
     "revision": "0e9e39f249a1…",     the commit, if it is known
     "files": 16060556376,            bytes of all weight files, headers included
     "tensors": {
       "bytes": 16060522496,          of all tensors, but for those of `drafts`
       "parameters": 8030261248,      elements as stored (a packed int32 counts as one), but for those of `drafts`
       "embedding": 525336576,        elements of the input embedding: NAME.weight where NAME ends with embed_tokens,
                                      wte, word_embeddings, tok_embeddings, embeddings (of Mamba's `backbone`)…
       "head": 525336576,             elements of the output layer (`lm_head`, `output`); 0 if it isn't stored
       "experts": 0,                  elements of routed experts: names with `.experts.`, or fused ones
       "experts_bytes": 0,
       "encoders": 0,                 elements of vision and audio towers and their projections
       "encoders_bytes": 0,
       "drafts": 0,                   bytes of layers for multi-token prediction, which engines load only for
                                      speculative decoding: `mtp.`, or layers from num_hidden_layers on
       "by_dtype": {"BF16": 16060522496}     bytes by safetensors' own names of types
     }}

A GGUF file, or the first of several:

    {"gguf": {…},          its key-value pairs, without those of `tokenizer.` and strings of more than 100 characters
     "tokens": 128256,     length of `tokenizer.ggml.tokens`
     "files": 4920734272,  bytes of all files of the model
     "tensors": {"bytes": …, "parameters": …, "embedding": …, "head": …, "experts": …, "experts_bytes": …,
                 "encoders": 0, "encoders_bytes": 0, "drafts": 0, "by_dtype": {"Q4_K": …, "Q6_K": …, "F32": …}}}
                           as above; elements are the weights themselves, whatever their type. `embedding` is
                           `token_embd.weight`, `head` is `output.weight`, experts are `blk.N.ffn_*_exps.*`

All numbers are integers. Everything is optional: what isn't there is unknown.
"""
