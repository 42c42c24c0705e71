"""What the processor computes well."""


def computes_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16; without them it is far slower than float32."""
    import torch

    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
