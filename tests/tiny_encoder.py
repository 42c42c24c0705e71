"""A sentence-transformer small enough for tests: three layers of BERT with random weights and a word tokenizer."""

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
from transformers.utils import logging


def save_tiny_encoder(folder, texts):
    """Write it as a folder, which is what users have; it knows the words of ``texts``."""
    backbone = folder.parent / f"{folder.name}-backbone"
    words = sorted({word for text in texts for word in text.casefold().replace(",", " ").replace(".", " ").split()})
    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", *words])}
    split = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    split.normalizer = normalizers.Lowercase()
    split.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=split, pad_token="[PAD]", unk_token="[UNK]")
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertModel(config, add_pooling_layer=False)
        for name, parameter in model.named_parameters():
            if "LayerNorm" not in name:
                torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(backbone)
    tokenizer.save_pretrained(backbone)
    logging.set_verbosity_error()  # or it tells of a pooling layer that there is none of
    part = Transformer(str(backbone), max_seq_length=64)
    made = SentenceTransformer(modules=[part, Pooling(part.get_embedding_dimension(), "mean")], device="cpu")
    made.save(str(folder))
    return folder
