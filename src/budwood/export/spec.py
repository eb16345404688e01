"""`ExportSpec`: what a run puts into its bundle besides the network."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ExportSpec(BaseModel):
    """What the bundle carries.

    golden: how many pictures of the validation part go into the bundle, small, with the probabilities that they must
        get; loading checks one of them. 0 leaves them out, for pictures that must not be passed on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    golden: int = Field(default=4, ge=0, le=4)
