"""OpenCV as the augmentation uses it: without threads of its own, so that the loader's threads decide.

Every module that changes pixels takes ``cv2`` from here. OpenCV neither reads nor shows files in Budwood.
"""

from __future__ import annotations

import cv2

__all__ = ["cv2"]

# Its own pool is shared by all callers: under the loader's threads each small picture would wait for the others.
cv2.setNumThreads(0)
