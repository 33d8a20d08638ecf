"""What training minimizes: the tokens, and two losses that help and are dropped at export."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from batches import Batch
from model import Nano
from tokens import END, LANGUAGE_TOKENS, TOKENIZER, CompactVocabulary
from torch import Tensor

GUIDED_LAYERS = (1, 2)  # decoder layers whose head 0 is pulled towards where a token is spoken
GUIDE_MARGIN = 8  # encoder positions, 0.16 s
LANGUAGE_WEIGHT = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights of the helping losses."""

    ctc: float
    guide: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The loss, and what the log shows of it (name to value)."""

    total: Tensor
    figures: dict[str, float]


def compute_loss(model: Nano, batch: Batch, vocabulary: CompactVocabulary, weights: Weights, *, with_ctc: bool) -> Loss:
    """Return cross entropy of the labels + character CTC of the encoder + guided cross-attention."""
    with torch.autocast("cpu", torch.bfloat16):
        audio = model.encoder(batch.mel, batch.offsets)
        hidden, attention = model.decoder(batch.tokens, audio, GUIDED_LAYERS)
        selected = batch.labels >= 0
        logits = model.logits(hidden[selected])
    labels = batch.labels[selected]
    entropy = F.cross_entropy(logits.float(), labels, reduction="none")
    language_ids = torch.tensor([vocabulary.compact(t) for t in [*LANGUAGE_TOKENS.values(), TOKENIZER.no_speech]])
    is_language = torch.isin(labels, language_ids)
    importance = torch.ones_like(entropy)
    importance[is_language] = LANGUAGE_WEIGHT
    total = (entropy * importance).sum() / importance.sum()
    figures = _accuracies(logits, labels, is_language, vocabulary) | {"ce": entropy.mean().item()}
    if with_ctc and bool((batch.character_counts > 0).any()):
        ctc = _ctc_loss(model, audio, batch)
        total = total + weights.ctc * ctc
        figures["ctc"] = ctc.item()
    if bool((batch.spans[..., 0] >= 0).any()):
        guide = _guide_loss(attention, batch)
        total = total + weights.guide * guide
        figures["guide"] = guide.item()
    return Loss(total=total, figures=figures)


def _ctc_loss(model: Nano, audio: Tensor, batch: Batch) -> Tensor:
    rows = batch.character_counts > 0
    log_probabilities = model.ctc(audio[rows].float()).log_softmax(-1).transpose(0, 1)
    lengths = torch.full((int(rows.sum()),), audio.shape[1])
    return F.ctc_loss(log_probabilities, batch.characters, lengths, batch.character_counts[rows], zero_infinity=True)


def _guide_loss(attention: dict[int, Tensor], batch: Batch) -> Tensor:
    """Return how little of head 0's attention lies where the label is spoken."""
    spans = batch.spans
    has_span = spans[..., 0] >= 0
    n_positions = batch.mel.shape[-1] // 2
    positions = torch.arange(n_positions, dtype=torch.float)
    near = (positions >= spans[..., 0:1] - GUIDE_MARGIN) & (positions <= spans[..., 1:2] + GUIDE_MARGIN)
    loss = torch.zeros(())
    for layer in GUIDED_LAYERS:
        mass = (attention[layer][:, 0] * near).sum(-1)[has_span]
        loss = loss - (mass + 1e-4).log().mean() / len(GUIDED_LAYERS)
    return loss


@torch.no_grad()
def _accuracies(logits: Tensor, labels: Tensor, is_language: Tensor, vocabulary: CompactVocabulary) -> dict[str, float]:
    """Return the share of right text, timestamp and language tokens, and the mean timestamp error in seconds."""
    begin, end = vocabulary.timestamps
    is_time = labels >= begin
    hit = (logits.argmax(-1) == labels).float()
    kinds = {"text": labels < vocabulary.compact(END), "time": is_time, "language": is_language}
    figures = {name: float(hit[mask].mean()) for name, mask in kinds.items() if mask.any()}
    if is_time.any():
        guess = logits[is_time][:, begin:end].argmax(-1) + begin
        figures["time_error"] = float(((guess - labels[is_time]).abs() * 0.02).mean())
    return figures
