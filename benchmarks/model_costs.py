"""What a Whisper model computes and reads, counted from its shape; a multiplication with its addition is 2 FLOP."""

from dataclasses import dataclass

from auricle.engines.checkpoint import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCosts:
    """Of one model at the full window."""

    shape: Shape

    @property
    def encoder_convolutions(self) -> float:
        """FLOP of the two convolutions, of three frames each."""
        positions, width = self.shape.audio_positions, self.shape.d_model
        return 2.0 * 3 * width * (2 * positions * self.shape.n_mels + positions * width)

    @property
    def encoder_products(self) -> float:
        """FLOP of the encoder's products with weights: four of the attention, two of the feed-forward network."""
        return self.shape.encoder_layers * 2.0 * self.shape.audio_positions * 12 * self.shape.d_model**2

    @property
    def encoder_attention(self) -> float:
        """FLOP of queries by keys and scores by values."""
        return self.shape.encoder_layers * 2.0 * 2 * self.shape.audio_positions**2 * self.shape.d_model

    @property
    def encoder(self) -> float:
        """FLOP of a window."""
        return self.encoder_convolutions + self.encoder_products + self.encoder_attention

    @property
    def decoder_weights(self) -> int:
        """Weights that a step of the decoder reads: six products of attention, two of the feed-forward network, the
        vocabulary."""
        return self.shape.decoder_layers * 14 * self.shape.d_model**2 + self.shape.vocabulary * self.shape.d_model
