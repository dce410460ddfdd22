"""Images that need no network: handwritten digits, photographs, folders of one's own, and tables that ship.

``digits`` scikit-learn's scans, ``photos`` scikit-image's photographs, ``folders`` images of one's own, one
folder for each class, ``splits`` the three parts of all of them, ``results`` what ``tables/`` holds.
"""

from vit_steps.data.digits import load_digits_images
from vit_steps.data.folders import ImageFolder, load_image_folder
from vit_steps.data.photos import PHOTOS, load_photo
from vit_steps.data.results import TABLES, load_table
from vit_steps.data.splits import SPLITS, split_in_three

__all__ = [
    "PHOTOS",
    "SPLITS",
    "TABLES",
    "ImageFolder",
    "load_digits_images",
    "load_image_folder",
    "load_photo",
    "load_table",
    "split_in_three",
]
