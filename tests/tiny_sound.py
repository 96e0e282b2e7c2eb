"""Tiny random models of sound, each with a feature extractor, and tones of two classes."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    ASTFeatureExtractor,
    AutoConfig,
    AutoModelForAudioClassification,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

RATE = 2000
"""Samples a second that the models read, few, so that tests are quick; the
extractors of spectrograms know 16,000 alone."""
_LAYERS = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
}  # fmt: skip
_WAVES = _LAYERS | {
    "conv_dim": (8, 8), "conv_kernel": (10, 3), "conv_stride": (5, 2), "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 12,
    "vocab_size": 32, "mask_time_length": 2, "mask_time_prob": 0.2, "layerdrop": 0.1,
    "feat_proj_dropout": 0.1,
}  # fmt: skip
_MASKED = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
FAMILIES: dict[str, dict[str, Any]] = {
    "audio-spectrogram-transformer": _LAYERS | {
        "max_length": 32, "num_mel_bins": 16, "patch_size": 8, "frequency_stride": 8,
        "time_stride": 8,
    },
    "wav2vec2": _WAVES | _MASKED,
    "hubert": _WAVES,
    "wavlm": _WAVES | {"num_buckets": 8, "max_bucket_distance": 16},
    "whisper": {
        "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 24,
        "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 24,
        "num_mel_bins": 16, "max_source_positions": 50, "classifier_proj_size": 12,
        "vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
        "decoder_start_token_id": 1, "begin_suppress_tokens": None,
    },
    "wav2vec2-bert": _LAYERS | {
        "feature_projection_input_dim": 32, "classifier_proj_size": 12, "mask_time_prob": 0.0,
        "vocab_size": 32, "conv_depthwise_kernel_size": 3, "left_max_position_embeddings": 4,
        "right_max_position_embeddings": 4,
    },
    "wav2vec2-conformer": _WAVES | {"conv_depthwise_kernel_size": 3},
    "sew-d": _WAVES | {"squeeze_factor": 2, "max_position_embeddings": 64, "position_buckets": 8},
    "unispeech": _WAVES, "unispeech-sat": _WAVES, "sew": _WAVES | {"squeeze_factor": 2},
    "data2vec-audio": _WAVES | {"num_conv_pos_embeddings": 2},
}  # fmt: skip
"""Settings of each family; Wav2Vec2 as its large models, which are told of padding."""


def extractor(family: str) -> Any:
    """Return a feature extractor that fits a family."""
    if family == "audio-spectrogram-transformer":
        return ASTFeatureExtractor(sampling_rate=16000, num_mel_bins=16, max_length=32)
    if family == "whisper":
        return WhisperFeatureExtractor(feature_size=16, chunk_length=1)
    if family == "wav2vec2-bert":
        return SeamlessM4TFeatureExtractor(sampling_rate=16000, feature_size=16, num_mel_bins=16)
    told = FAMILIES[family].get("feat_extract_norm") == "layer"
    return Wav2Vec2FeatureExtractor(sampling_rate=RATE, return_attention_mask=told)


def save(folder: Path, family: str, **settings: Any) -> str:
    """Write a checkpoint without head, with its feature extractor."""
    config = AutoConfig.for_model(family, **FAMILIES[family] | settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForAudioClassification.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    base = getattr(model, model.base_model_prefix, None) or model
    if base is model:  # Whisper: with a head that is not used
        model.save_pretrained(folder)
    base.save_pretrained(folder)
    extractor(family).save_pretrained(folder)
    return str(folder)


def tone(pitch: float, seconds: float, rate: int = RATE, seed: int = 0) -> Any:
    """Return a tone with a little noise, (n,)."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.02, len(time))
    return (0.5 * np.sin(2 * np.pi * pitch * time) + noise).astype(np.float32)


def write_wav(path: Path, samples: Any, rate: int = RATE, channels: int = 1) -> None:
    """Write 16-bit samples, (n,) or (n, channels), as a WAV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


PITCHES = {"low": 100.0, "high": 400.0}


def folder_of_tones(folder: Path, each: int = 8, rate: int = RATE) -> Path:
    """Write a folder for each class with ``each`` tones of one pitch and of several lengths."""
    for name, pitch in PITCHES.items():
        for number in range(each):
            seconds = 0.1 + 0.02 * (number % 4)
            samples = tone(pitch * (1 + 0.02 * number), seconds, rate, number)
            write_wav(folder / name / f"{number}.wav", samples, rate)
    return folder
