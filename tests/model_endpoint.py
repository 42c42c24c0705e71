"""An endpoint's answers by a real language model: text, one forced tool call, or log-probabilities of one token."""

import json
import threading

import torch
from scripted_endpoint import completion

from finetune.constrained import ConstrainedWriter
from finetune.language_model import LanguageModel

LIKELIEST = 20


class ModelScript:
    """A script for `ScriptedEndpoint`; requests are answered one after another."""

    def __init__(self, lm: LanguageModel):
        self._lm = lm
        self._constrained = ConstrainedWriter(lm)
        self._lock = threading.Lock()

    def __call__(self, body):
        with self._lock, torch.inference_mode():
            ids = self._prompt(body["messages"])
            if "tool_choice" in body:
                return 200, self._call(ids, body), {}
            if body.get("logprobs"):
                return 200, self._likeliest(ids), {}
            return 200, self._text(ids, body["max_tokens"]), {}

    def _prompt(self, messages):
        if self._lm.tokenizer.chat_template:
            return list(
                self._lm.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True).input_ids
            )
        return self._lm.start_ids + self._lm.text_ids("\n".join(one["content"] for one in messages))

    def _call(self, ids, body):
        function = body["tools"][0]["function"]
        matcher = self._constrained.matcher(f"start: %json {json.dumps(function['parameters'])}")
        [written] = self._constrained.write(ids, matcher, [None], body["max_tokens"])
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(self._lm.text_ids(written.text)) + 1}
        return completion(calls=[(function["name"], written.text)], usage=usage)

    def _likeliest(self, ids):
        logits = self._lm.model(torch.tensor([ids])).logits[0, -1].float()
        best = logits.log_softmax(0).topk(LIKELIEST)
        decode = self._lm.tokenizer.decode
        likely = {
            decode([token]): value for token, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        }
        return completion("", likely=likely, usage={"prompt_tokens": len(ids), "completion_tokens": 1})

    def _text(self, ids, longest):
        given = torch.tensor([ids])
        written = self._lm.model.generate(
            given, attention_mask=torch.ones_like(given), max_new_tokens=longest, do_sample=False,
            pad_token_id=self._lm.tokenizer.eos_token_id,
        )[0, len(ids) :].tolist()  # fmt: skip
        text = self._lm.tokenizer.decode(written, skip_special_tokens=True)
        return completion(text, usage={"prompt_tokens": len(ids), "completion_tokens": len(written)})
