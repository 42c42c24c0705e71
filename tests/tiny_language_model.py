"""A language model small enough for tests: two layers with random weights and a byte-level tokenizer."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from finetune.language_model import LanguageModel, load_language_model

CORPUS = [
    "A person liked these films and games.",
    "Answer: yes",
    "Answer: no",
    "Because you liked this, yes or no.",
] * 20


def save_tiny_language_model(folder: Path, family: str = "llama", *, tied: bool = False) -> Path:
    """Write it as a Hugging Face folder, which is what users have. tied: the head is the table of tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    specials = ["<|im_start|>", "<|im_end|>"]
    bpe.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=specials)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=specials[0], eos_token=specials[1])
    config = AutoConfig.for_model(
        family,
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **({"tie_word_embeddings": True} if tied else {}),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():  # the usual initialisation is so small that all scores come out alike
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_language_model(folder: Path, family: str = "llama") -> LanguageModel:
    """Load it as users load theirs."""
    return load_language_model(
        save_tiny_language_model(folder, family), folder / "cache", device="cpu", precision="float32"
    )
