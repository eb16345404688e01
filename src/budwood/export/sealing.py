"""Writing a bundle's folder: weights, facts, card, golden pictures, and last of all the manifest that seals it."""

from __future__ import annotations

from pathlib import Path

from budwood.export.bundle_facts import FACTS_NAME, BundleFacts
from budwood.export.card import CARD_NAME, model_card
from budwood.export.golden import GOLDEN_NAME
from budwood.export.weights import write_weights
from budwood.files import read_json, write_json, write_manifest, write_text
from budwood.models.build import Classifier

WEIGHTS_NAME = "model.safetensors"


def write_bundle(folder: Path, model: Classifier, facts: BundleFacts) -> None:
    """Write a network's bundle; the manifest comes last, so a half-written folder is never taken for one."""
    write_weights(folder / WEIGHTS_NAME, model)
    seal(folder, facts)


def seal(folder: Path, facts: BundleFacts) -> None:
    """Write the facts and the card of a bundle, anew where they were there, and seal the folder as it now is."""
    golden = len(read_json(folder / GOLDEN_NAME)["pictures"]) if (folder / GOLDEN_NAME).is_file() else 0
    write_json(folder / FACTS_NAME, facts.to_dict())
    write_text(folder / CARD_NAME, model_card(facts, num_golden=golden))
    write_manifest(folder)
