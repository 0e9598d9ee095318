"""Attention and rotary position embeddings, as opset 23 and later have them as operators."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dtc.training.engines.torch.calls import Call, operator


@operator("Attention")
def _attention(
    call: Call,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    past_k: Tensor | None = None,
    past_v: Tensor | None = None,
    valid: Tensor | None = None,
) -> tuple[Tensor, ...]:
    flat = q.dim() == 3
    if flat:
        q = _heads(q, call.integer("q_num_heads"))
        k, v = (_heads(each, call.integer("kv_num_heads")) for each in (k, v))
    k = k if past_k is None else torch.cat([past_k, k], 2)
    v = v if past_v is None else torch.cat([past_v, v], 2)
    present = k, v
    # Every head of keys serves a group of heads of queries.
    group = q.shape[1] // k.shape[1]
    if group > 1:
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scale = call.real("scale") if call.has("scale") else 1 / math.sqrt(q.shape[-1])
    scores = (q * math.sqrt(scale)) @ (k * math.sqrt(scale)).transpose(-1, -2)
    kept, seen = scores, _allowed(call, scores, 0 if past_k is None else past_k.shape[2], valid)
    if call.real("softcap"):
        scores = call.real("softcap") * torch.tanh(scores / call.real("softcap"))
    capped = scores
    if mask is not None:
        scores, seen = _masked(scores, mask, seen)
    if seen is not None:
        scores = scores.masked_fill(~seen, -math.inf)
    # A query that sees no key gives zeros, not NaN.
    weights = (
        torch.nan_to_num(torch.softmax(scores, -1)) if seen is not None or mask is not None else scores.softmax(-1)
    )
    y = weights.to(v.dtype) @ v
    y = y.transpose(1, 2).reshape(y.shape[0], y.shape[2], -1) if flat else y
    mode = call.integer("qk_matmul_output_mode")
    return y, *present, (kept, capped, scores, weights)[mode]


def _heads(x: Tensor, count: int) -> Tensor:
    return x.reshape(x.shape[0], x.shape[1], count, -1).transpose(1, 2)


def _allowed(call: Call, scores: Tensor, past: int, valid: Tensor | None) -> Tensor | None:
    """Return which keys each query may see `[N or 1, 1, queries, keys]`, by order and by what is valid."""
    left, right = call.integer("left_window_size", -1), call.integer("right_window_size", -1)
    causal = bool(call.integer("is_causal"))
    queries, keys = scores.shape[-2:]
    key = torch.arange(keys, device=scores.device).reshape(1, 1, 1, -1)
    offset = torch.tensor(past, device=scores.device).reshape(1, 1, 1, 1)
    rules = []
    if valid is not None:
        count = valid.reshape(-1, 1, 1, 1)
        rules.append(key < count)
        offset = offset if past else count - queries
    here = torch.arange(queries, device=scores.device).reshape(1, 1, -1, 1) + offset
    if causal:
        rules.append(key <= here)
    if left >= 0:
        rules.append(key >= here - left)
    if right >= 0:
        rules.append(key <= here + right)
    if not rules:
        return None
    allowed = rules[0]
    for rule in rules[1:]:
        allowed = allowed & rule
    return allowed


def _masked(scores: Tensor, mask: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return scores and allowed keys behind a mask, which may be shorter than the keys: the rest is not seen."""
    missing = scores.shape[-1] - mask.shape[-1]
    if mask.dtype is torch.bool:
        whole = torch.nn.functional.pad(mask, [0, missing], value=False)
        return scores, whole if seen is None else seen & whole
    return scores + torch.nn.functional.pad(mask, [0, missing], value=-math.inf), seen


@operator("RotaryEmbedding")
def _rotary(call: Call, x: Tensor, cos: Tensor, sin: Tensor, places: Tensor | None = None) -> Tensor:
    flat = x.dim() == 3
    heads = _heads(x, call.integer("num_heads")) if flat else x
    size = call.integer("rotary_embedding_dim") or heads.shape[-1]
    turned, rest = heads[..., :size], heads[..., size:]
    if places is not None:
        cos, sin = cos[places], sin[places]
    cos, sin = cos[:, None, :, : size // 2], sin[:, None, :, : size // 2]
    if call.integer("interleaved"):
        a, b = turned[..., 0::2], turned[..., 1::2]
        turned = torch.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(turned.shape)
    else:
        a, b = turned.chunk(2, -1)
        turned = torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
    y = torch.cat([turned, rest], -1)
    return y.transpose(1, 2).reshape(x.shape) if flat else y
