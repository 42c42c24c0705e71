"""A sentence-transformer small enough to be made in a test."""

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tiny_language_model import save_tiny_language_model
from transformers import AutoTokenizer, BertConfig, BertModel


def save_tiny_sentence_encoder(root: Path) -> Path:
    """Two random BERT layers, 64 dimensions, in a folder of ``root``."""
    tokenizer = AutoTokenizer.from_pretrained(save_tiny_language_model(root / "tokenizer"))
    tokenizer.pad_token = tokenizer.eos_token
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        initializer_range=0.2,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(root / "bert")
    tokenizer.save_pretrained(root / "bert")
    backbone = Transformer(str(root / "bert"), max_seq_length=64)
    model = SentenceTransformer(modules=[backbone, Pooling(backbone.get_embedding_dimension(), "mean")], device="cpu")
    model.save(str(root / "sentences"))
    return root / "sentences"
