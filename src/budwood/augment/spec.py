"""What may happen to a training picture: `PictureSpec`, and `AugmentSpec` with the mixes and the classes' own settings.

Settings only: nothing here draws or changes a pixel, and neither torch nor OpenCV is imported.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializationInfo,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from budwood.config import validate
from budwood.errors import SettingsError

Flip = Literal["auto", "none", "horizontal", "both"]
Share = Annotated[float, Field(ge=0, le=1)]
_MAX_SIGMA = 10  # pixels; beyond it a picture at a network's size shows nothing


class PictureSpec(BaseModel):
    """What may happen to one picture.

    rotation: largest turn in degrees either way (180: any), borders filled by reflection; ``"auto"`` is 180 where the
        audit finds no preferred orientation and 10 elsewhere.
    flip: ``"auto"`` flips as far as the audit finds mirroring harmless.
    scale: smallest and largest magnification. shift: largest move, as a share of the side.
    shear: largest slant in degrees either way, along the width or the height.
    brightness, contrast, saturation: largest relative change either way.
    hue: largest turn of the colours either way, as a share of the colour circle.
    grayscale, blur, jpeg, gridmask, cutout: share of the pictures that lose their colours, are blurred, compressed,
        covered by a regular grid of squares, or by one box.
    blur_sigma: smallest and largest deviation of the blur, in pixels of the network's input.
    jpeg_quality: lowest and highest quality, 1-100.
    gridmask_area, cutout_area: smallest and largest share of the picture that is hidden.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotation: Annotated[float, Field(ge=0, le=180)] | Literal["auto"] = "auto"
    flip: Flip = "auto"
    scale: tuple[float, float] = (0.8, 1.15)
    shift: float = Field(default=0.1, ge=0, le=0.5)
    shear: float = Field(default=0.0, ge=0, le=45)
    brightness: float = Field(default=0.2, ge=0, lt=1)
    contrast: float = Field(default=0.2, ge=0, lt=1)
    saturation: float = Field(default=0.2, ge=0, le=1)
    hue: float = Field(default=0.0, ge=0, le=0.5)
    grayscale: Share = 0.0
    blur: Share = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    jpeg: Share = 0.0
    jpeg_quality: tuple[int, int] = (30, 95)
    gridmask: Share = 0.0
    gridmask_area: tuple[float, float] = (0.1, 0.36)
    cutout: Share = 0.0
    cutout_area: tuple[float, float] = (0.02, 0.2)

    @model_validator(mode="after")
    def _possible_scale(self) -> PictureSpec:
        low, high = self.scale
        if not 0 < low <= high:
            raise ValueError(
                f"scale takes the smallest and the largest magnification, both above 0 (found {low}, {high})"
            )
        return self

    @field_validator("blur_sigma", "jpeg_quality", "gridmask_area", "cutout_area")
    @classmethod
    def _possible_range(cls, value: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        least, most = {"blur_sigma": (0.01, _MAX_SIGMA), "jpeg_quality": (1, 100)}.get(info.field_name or "", (0, 0.9))
        return _within(value, least, most)


class AugmentSpec(PictureSpec):
    """What may happen to a training picture, and to whole batches of them.

    cutmix, mixup: share of the batches that are mixed so (Yun 2019, Zhang 2018); labels are mixed alike.
    cutmix_area: smallest and largest share of the picture that its partner's box covers.
    cutmix_beta, mixup_beta: parameter of the symmetric beta distribution that the share is drawn from; 1: all alike,
        below 1 mostly near the ends.
    classes: settings of single classes, by name, each only what differs from the others'.
    """

    cutmix: Share = 0.5
    cutmix_area: tuple[float, float] = (0.0, 1.0)
    cutmix_beta: float = Field(default=1.0, gt=0, le=100)
    mixup: Share = 0.0
    mixup_beta: float = Field(default=0.2, gt=0, le=100)
    classes: dict[str, PictureSpec] = Field(default_factory=dict)

    @field_validator("classes", mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        # The nearest right key would otherwise be looked for among those of the whole recipe.
        for name, keys in value.items() if isinstance(value, Mapping) else ():
            for key in keys if isinstance(keys, Mapping) else ():
                if key not in PictureSpec.model_fields:
                    raise ValueError(_unknown(str(name), str(key)))
        return value

    @field_validator("cutmix_area")
    @classmethod
    def _possible_share(cls, value: tuple[float, float]) -> tuple[float, float]:
        return _within(value, 0, 1)

    @model_validator(mode="after")
    def _possible_mixes(self) -> AugmentSpec:
        if self.cutmix + self.mixup > 1:
            raise ValueError("cutmix and mixup are shares of the batches: together at most 1")
        return self

    @field_serializer("classes")
    def _only_what_differs(self, classes: dict[str, PictureSpec], info: SerializationInfo) -> dict[str, Any]:
        # Written out whole, a class would hold on to defaults that it never set.
        return {name: spec.model_dump(mode=info.mode, exclude_unset=True) for name, spec in classes.items()}

    def resolved(self, *, turn_free: bool, mirror_free: bool) -> AugmentSpec:
        """The spec with ``"auto"`` decided by what the audit found."""
        rotation = 180.0 if turn_free else 10.0
        flip: Flip = "none" if not mirror_free else "both" if turn_free else "horizontal"
        decided = {"rotation": rotation, "flip": flip}
        classes = {
            name: spec.model_copy(update=_for_auto(spec, {k: v for k, v in decided.items() if k in _set_by(spec)}))
            for name, spec in self.classes.items()
        }
        return self.model_copy(update={**_for_auto(self, decided), "classes": classes})

    def with_overrides(self, values: Mapping[str, Any], *, source: str = "augment") -> AugmentSpec:
        """The spec with some keys set anew; those of one class are added to what that class has.

        Args:
            values: as in a recipe, such as ``{"cutmix": 0, "classes": {"rare": {"rotation": 180}}}``.
            source: where they stand, for the error.

        Raises:
            SettingsError: a wrong key, type or contradiction.
        """
        merged = {**self.model_dump(), **values}
        own, new = self.model_dump()["classes"], values.get("classes", {})
        if isinstance(new, Mapping) and all(isinstance(keys, Mapping) for keys in new.values()):
            merged["classes"] = own | {name: {**own.get(name, {}), **keys} for name, keys in new.items()}
        return validate(AugmentSpec, merged, source=source)

    def for_class(self, name: str) -> PictureSpec:
        """What may happen to a picture of that class."""
        spec = self.classes.get(name)
        return self.model_copy(update={key: getattr(spec, key) for key in _set_by(spec)}) if spec else self

    def check_classes(self, classes: Sequence[str]) -> None:
        """Refuse settings of classes that are not there.

        Raises:
            SettingsError: naming the nearest class, or all of a few.
        """
        for name in self.classes:
            if name not in classes:
                near = difflib.get_close_matches(name, classes, n=1)
                hint = f'did you mean "{near[0]}"?' if near else f"the classes are {_named(classes)}"
                raise SettingsError(f'augment.classes.{name}: the pictures have no class "{name}"; {hint}')


def _set_by(spec: PictureSpec) -> list[str]:
    """The keys that were given, in the order of the fields."""
    return [key for key in PictureSpec.model_fields if key in spec.model_fields_set]


def _for_auto(spec: PictureSpec, decided: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in decided.items() if getattr(spec, key) == "auto"}


def _within(value: tuple[float, float], least: float, most: float) -> tuple[float, float]:
    low, high = value
    if not least <= low <= high <= most:
        raise ValueError(
            f"takes the smallest and the largest value, both from {least:g} to {most:g} (found {low:g}, {high:g})"
        )
    return value


def _unknown(name: str, key: str) -> str:
    if key in AugmentSpec.model_fields:
        return f'"{key}" concerns whole batches, so class "{name}" cannot have its own: set augment.{key}'
    near = difflib.get_close_matches(key, PictureSpec.model_fields, n=1, cutoff=0.0)
    return f'class "{name}" has the unknown key "{key}"; did you mean "{near[0]}"?'


def _named(classes: Sequence[str], limit: int = 12) -> str:
    shown = ", ".join(f'"{name}"' for name in classes[:limit])
    return shown + (f" and {len(classes) - limit} more" if len(classes) > limit else "")
