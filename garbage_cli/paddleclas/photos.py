"""What theirs makes of a photo before the network sees it: its size, and the values of its pixels.

Knows their operations and the defaults of each. Does not know what training adds at random.
"""

from garbage_cli.paddleclas.sheet import ALWAYS, Sheet, shown
from garbage_cli.paddleclas.styles import Style

_BY_NUMBER = {"cv2": {1: "bilinear", 2: "bicubic"}, "pil": {2: "bilinear", 3: "bicubic"}}
"""What OpenCV and Pillow call these two filters."""
SAME = "ours is that of evaluation"
CROPS = ("RandCropImage", "RandCropImageV2", "RandomResizedCrop", "RandomResizedCropAndInterpolation")
_CENTRE_CROPS = ("CropImage", "CenterCropImage", "CenterCrop")
_FORMS = ("DecodeImage", "ToCHWImage", "ToTensor")
"""Operations that change no value."""
_ENGINE = "of their engine; changes no result"


def read_evaluation(sheet: Sheet, style: Style) -> None:
    """Resizing, the centre crop and the normalisation, which are training's too."""
    for path, name in sheet.items(f"{style.val}.{style.operations}").items():
        if name == "ResizeImage":
            _read_resize(sheet, path)
        elif name in _CENTRE_CROPS:
            _read_crop(sheet, f"{path}.size")
        elif name == "NormalizeImage":
            read_normalising(sheet, path)
        elif not read_form(sheet, path, name):
            sheet.drop(f"{path}.*", f"not supported: {name}")
    _read_size(sheet, style)


def read_form(sheet: Sheet, path: str, name: str) -> bool:
    """Operations that change the form of a photo and no value; say whether this is one."""
    if name in _FORMS:
        sheet.drop(path, ALWAYS, differs=False)
        sheet.keep(f"{path}.to_rgb", True)
        for word in ("to_np", "channel_first", "backend"):
            sheet.drop(f"{path}.{word}", _ENGINE, differs=False)
    return name in _FORMS


def _read_resize(sheet: Sheet, path: str) -> None:
    if short := sheet.whole(f"{path}.resize_short"):
        sheet.use(f"{path}.resize_short", "preprocess.resize_short", short)
    elif (square := side(sheet, f"{path}.size")) is not None:
        note = "the shorter side; theirs stretches photos into a square"
        sheet.use(f"{path}.size", "preprocess.resize_short", square, note)
        sheet.set("preprocess.crop", square)
    read_filter(sheet, path)


def _read_crop(sheet: Sheet, key: str) -> None:
    if (square := side(sheet, key)) is not None:
        sheet.use(key, "preprocess.crop", square)


def side(sheet: Sheet, key: str) -> int | None:
    """The side of a square, given once or twice; another shape is told of."""
    if not sheet.given(key):
        return None
    if not isinstance(sheet.leaves[key], list):
        return sheet.whole(key)
    sides = sheet.numbers(key) or []
    if len(set(sides)) == 1 and sides[0] == int(sides[0]):
        return int(sides[0])
    sheet.drop(key, f"not supported: {shown(sheet.leaves[key])}; ours is a square")
    return None


def read_filter(sheet: Sheet, path: str) -> None:
    key, backend = f"{path}.interpolation", sheet.text(f"{path}.backend") or "cv2"
    sheet.drop(f"{path}.backend", "ours is Pillow", differs=False)
    value = sheet.leaves.get(key)
    name = _BY_NUMBER.get(backend.lower(), {}).get(value) if isinstance(value, int) else str(value).lower()
    if name in ("bilinear", "bicubic"):
        sheet.use(key, "preprocess.interpolation", name)
    elif sheet.given(key):
        sheet.drop(key, f"not supported: {shown(value)}; there are bilinear and bicubic")


def read_normalising(sheet: Sheet, path: str) -> None:
    """mean and std are of values times `scale`; ours of values 0…1."""
    scale = sheet.number(f"{path}.scale")
    factor = 1.0 if scale is None or abs(255 * scale - 1) < 1e-4 else 1 / (255 * scale) if scale else None
    if factor is None:
        raise sheet.bad(f"{path}.scale", "a number other than 0, such as 1.0/255.0")
    for word in ("mean", "std"):
        values = sheet.numbers(f"{path}.{word}")
        if values is not None and len(values) != 3:
            raise sheet.bad(f"{path}.{word}", "three numbers")
        if values is not None:
            sheet.use(f"{path}.{word}", f"preprocess.{word}", [value * factor for value in values])
    for word in ("order", "output_fp16", "channel_num"):
        sheet.drop(f"{path}.{word}", _ENGINE, differs=False)
    if factor == 1:
        sheet.drop(f"{path}.scale", ALWAYS, differs=False)
    else:
        sheet.tell(f"{path}.scale", "preprocess.mean and preprocess.std, scaled")


def _read_size(sheet: Sheet, style: Style) -> None:
    """The input's side, where evaluation does not say it: image_shape, or the random crop's."""
    shape = sheet.numbers(style.image_shape)
    square = shape is not None and len(shape) == 3 and shape[1] == shape[2] == int(shape[2])
    if shape is not None and square and sheet.settings.get("preprocess.crop") in (None, shape[2]):
        sheet.use(style.image_shape, "preprocess.crop", int(shape[2]))
    sheet.drop(style.image_shape, f"not supported: {shown(sheet.leaves.get(style.image_shape))}; {SAME}")
    for path, name in sheet.items(f"{style.train}.{style.operations}").items():
        if name in CROPS and "preprocess.crop" not in sheet.settings:
            _read_crop(sheet, f"{path}.size")
    crop = sheet.settings.get("preprocess.crop", 224)
    if "preprocess.resize_short" not in sheet.settings and isinstance(crop, int) and crop > 256:
        sheet.set("preprocess.resize_short", crop)
