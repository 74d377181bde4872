#!/usr/bin/env python3
"""Makes the images of this folder, and what Pillow makes of them, which ../images.rs holds thinfer's results against. Needs numpy and pillow
(made with Pillow 13.0.0)."""
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT = 61, 37


def photo():
    """Slopes, waves and an edge in three colours, and some noise."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    noise = np.random.default_rng(1).normal(0, 6, (HEIGHT, WIDTH, 3))
    colours = [128 + 120 * np.sin(x / 3 + y / 9), 4 * x + y, np.where(x + y > 50, 230, 20) + 9 * np.cos(y)]
    return Image.fromarray(np.clip(np.stack(colours, -1) + noise, 0, 255).astype(np.uint8))


def cropped(image, shorter, width, height, how):
    """torchvision's Resize(shorter), then CenterCrop((height, width))."""
    w, h = image.size
    size = (shorter, int(shorter * h / w)) if w <= h else (int(shorter * w / h), shorter)
    large = image.resize(size, how)
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return large.crop((left, top, left + width, top + height))


def letterboxed(image, width, height, how, fill, corner):
    """As detectors do it: scaled by one factor, rounded, on a plain ground."""
    w, h = image.size
    r = min(width / w, height / h)
    size = (round(w * r), round(h * r))
    at = (0, 0) if corner else ((width - size[0]) // 2, (height - size[1]) // 2)
    out = Image.new("RGB", (width, height), fill)
    out.paste(image.resize(size, how), at)
    return out


def main():
    image = photo()
    save = lambda picture, name, **how: picture.save(HERE / name, **how)
    save(image, "photo.png")
    for name, how in [("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC)]:
        save(image.resize((24, 16), how), f"small_{name}.png")
        save(image.resize((90, 50), how), f"large_{name}.png")
        save(image.resize((24, 50), how), f"tall_{name}.png")
        save(cropped(image, 21, 20, 17, how), f"crop_{name}.png")
        save(letterboxed(image, 32, 32, how, (114, 114, 114), False), f"letterbox_{name}.png")
    save(letterboxed(image, 50, 20, Image.BILINEAR, (9, 80, 200), True), "corner_bilinear.png")
    save(image.convert("L").resize((24, 16), Image.BILINEAR), "grey_bilinear.png")
    # What files hold and how it is to be read.
    for name, how in [
        ("quarter", dict(subsampling=2)), ("half", dict(subsampling=1)), ("full", dict(subsampling=0)), ("progressive", dict(progressive=True)),
    ]:
        save(image, f"{name}.jpg", quality=90, **how)
        save(Image.open(HERE / f"{name}.jpg"), f"{name}_read.png")
    save(image.convert("L"), "grey.jpg", quality=90)
    save(Image.open(HERE / "grey.jpg"), "grey_read.png")
    save(image.convert("CMYK"), "cmyk.jpg", quality=50)
    exif = Image.Exif()
    exif[0x0112] = 6
    save(image, "turned.jpg", quality=50, exif=exif)
    save(image, "turned.png", exif=exif)
    exif[0x0112] = 1
    save(image, "upright.png", exif=exif)
    save(Image.fromarray(np.zeros((2, 2), np.uint16)), "sixteen.png")
    clear = image.convert("P")
    clear.info["transparency"] = 0
    save(clear, "clear.png", transparency=0)


main()
