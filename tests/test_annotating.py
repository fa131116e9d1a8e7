import io
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

import pytest
from conftest import COLOURS, save_photo
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFont

from garbage_cli.annotating import Annotating, Typeface, annotate, place, system_typeface
from garbage_cli.annotating import fonts as fonts_room
from garbage_cli.annotating.drawing import LONGEST, NARROWEST, UNKNOWN, UNSURE, contrast, ink_on, words_of
from garbage_cli.annotating.fonts import has_glyph
from garbage_cli.errors import ConfigError
from garbage_cli.labels import BINS, THE_40, Label
from garbage_cli.prediction import Photo, Prediction, Score

ENGLISH = Typeface()


@pytest.fixture
def typeface() -> Typeface:
    found = system_typeface()
    if not found.has_chinese:
        pytest.skip("no font with Chinese here")
    return found


def answered(name: str, label: Label = THE_40[23], *, sure: bool = True) -> Prediction:
    return Prediction(name, (Score(label, 0.75),), sure=sure)


class Fake:
    """A classifier that calls every photo a drink can, some photos ahead of its answers; `bad` in a name fails."""

    def predict(self, photos: Iterable[Photo]) -> Iterator[Prediction]:
        held = list(photos)
        for photo in held:
            yield Prediction(photo.name, error="no") if "bad" in photo.name else answered(photo.name)


def drawn(photos: Iterable[Photo], folder: Path) -> list[Prediction]:
    return list(Annotating(Fake(), folder, typeface=ENGLISH).predict(photos))


# ---- pictures


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return image


def near(pixel: object, colour: str) -> bool:
    wanted = bytes.fromhex(colour.removeprefix("#"))
    return isinstance(pixel, tuple) and all(abs(a - b) < 12 for a, b in zip(pixel, wanted, strict=True))


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (64, 48), (2, 3000), (3000, 2), (640, 480), (5000, 3000)])
@pytest.mark.parametrize("chinese", [False, True])
def test_photos_of_any_size_keep_their_shape_above_a_band_in_the_bins_colour(
    size: tuple[int, int], chinese: bool, typeface: Typeface
) -> None:
    photo = Image.new("RGB", size, (250, 0, 250))
    image = opened(annotate(photo, answered("a.jpg"), typeface if chinese else ENGLISH))
    assert NARROWEST <= image.width <= LONGEST
    assert min(size) == 2 or near(image.getpixel((image.width // 2, 0)), "#fa00fa")
    assert near(image.getpixel((2, image.height - 2)), THE_40[23].bin.colour)  # type: ignore[union-attr]
    band = image.crop((0, image.height - max(30, image.width // 8), image.width, image.height)).convert("L")
    assert band.getextrema()[0] < 60  # type: ignore[operator] # black letters


def test_each_answer_has_its_colour_and_its_words(typeface: Typeface) -> None:
    photo = Image.new("RGB", (200, 200))
    for prediction, colour in (
        (answered("a", THE_40[0]), "#9aa0a6"),
        (answered("a", sure=False), UNSURE),
        (answered("a", Label(0, "玻璃", None)), UNKNOWN),
    ):
        image = opened(annotate(photo, prediction, typeface))
        assert near(image.getpixel((2, image.height - 2)), colour)
    unsure = words_of(answered("a", sure=False), chinese=True, typeface=typeface)
    assert (unsure.bin, unsure.kind) == ("不确定 not sure", "最可能 at best: 易拉罐 drink can")
    sure = words_of(answered("a"), chinese=True, typeface=typeface)
    assert (sure.bin, sure.kind, sure.score) == ("可回收物 Recyclable", "易拉罐 drink can", "75.0 %")
    with pytest.raises(ValueError, match="no answer to draw"):
        annotate(photo, Prediction("a", error="no"), typeface)


def test_letters_can_be_read_on_every_band() -> None:
    for colour in (*(bin_.colour for bin_ in BINS), UNSURE, UNKNOWN):
        assert contrast(ink_on(colour), colour) >= 4.5  # WCAG 2, level AA
    assert round(contrast("#000000", "#ffffff"), 1) == 21


def test_a_long_kind_is_shrunk_and_in_the_end_cut(typeface: Typeface) -> None:
    photo = Image.new("RGB", (320, 240))
    for name in ("破碎花盆及碟碗" * 2, "破碎花盆及碟碗" * 60, "a" * 3000):
        image = opened(annotate(photo, answered("a", Label(0, name, "其他垃圾")), typeface))
        edge = image.crop((image.width - 6, 240, image.width, image.height)).convert("L")
        assert edge.getextrema()[0] > 100, name  # type: ignore[operator] # nothing runs over the edge


def test_without_a_font_for_chinese_the_words_are_english() -> None:
    def said(label: Label) -> str:
        words = words_of(answered("a", label), chinese=False, typeface=ENGLISH)
        return f"{words.bin}: {words.kind}"

    assert said(THE_40[23]) == "Recyclable: drink can"
    assert said(Label(7, "苹果核", "湿垃圾")) == "Kitchen: class 7"
    assert said(Label(7, "apple core", "蓝桶")) == "?: apple core"


# ---- fonts


def test_a_font_is_proved_by_its_glyphs(typeface: Typeface) -> None:
    font = typeface.font(0, 24)
    assert all(has_glyph(font, letter) for letter in "可回收物易拉罐不确定A")
    assert not any(has_glyph(font, letter) for letter in "\U0010fffe\ue123\u202e\n")
    assert not has_glyph(ImageFont.load_default(24), "垃")
    assert [*typeface.runs("易🂡拉\x1b x")] == [(0, "易拉 x")]


def test_files_that_are_no_fonts_or_have_no_chinese_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typeface: Typeface
) -> None:
    path, face = typeface.files[0]
    monkeypatch.setattr(fonts_room, "font_folders", lambda: (tmp_path, tmp_path / "gone"))
    monkeypatch.setattr(fonts_room, "_from_fontconfig", lambda: iter(()))
    (tmp_path / "NotoSansCJK-Regular.ttc").write_bytes(b"no font")
    (tmp_path / "msyh.ttc").write_bytes(path.read_bytes()[:5000])
    latin = getattr(ImageFont.load_default(10), "font_bytes", b"")
    (tmp_path / "simhei.ttf").write_bytes(latin)
    (tmp_path / "SomeOther.ttc").symlink_to(path)
    find = fonts_room.system_typeface.__wrapped__
    assert find() == Typeface()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "wqy-microhei.ttc").symlink_to(path)
    assert find() == Typeface(((tmp_path / "deep" / "wqy-microhei.ttc", face),))


def test_fontconfig_is_asked_where_no_known_name_is_found(monkeypatch: pytest.MonkeyPatch, typeface: Typeface) -> None:
    monkeypatch.setattr(fonts_room, "font_folders", lambda: ())
    monkeypatch.setattr(fonts_room, "_from_fontconfig", lambda: iter((Path("gone.ttf"), typeface.files[0][0])))
    assert fonts_room.system_typeface.__wrapped__() == typeface


def test_each_system_has_its_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    for platform, folder in (("linux", "/usr/share/fonts"), ("darwin", "/System/Library/Fonts"), ("win32", "Fonts")):
        monkeypatch.setattr("sys.platform", platform)
        assert any(str(path).endswith(folder) for path in fonts_room.font_folders())


# ---- places


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("a.jpg", "a.jpg"),
        ("照 片/a.JPEG", "照 片/a.JPEG"),
        ("a.png", "a.png.jpg"),
        ("a.png.jpg", "a.png.jpg.jpg"),
        ("/home/me/a.jpg", "home/me/a.jpg"),
        ("../../a.jpg", "__up__/__up__/a.jpg"),
        ("a/../b.jpg", "a/__up__/b.jpg"),
        ("-", "stdin.jpg"),
    ],
)
def test_a_picture_goes_under_the_photos_own_name(name: str, where: str) -> None:
    assert place(name) == PurePath(where)


@given(st.lists(st.text("a./-\\pngj\u0301照\udcb5", max_size=300), max_size=6))
def test_whatever_the_name_the_picture_is_inside_and_is_a_jpeg(parts: list[str]) -> None:
    where = place("/".join(parts))
    assert not where.is_absolute()
    assert ".." not in where.parts
    assert where.suffix.lower() in (".jpg", ".jpeg", ".jpe")
    assert all(len(part.encode(errors="surrogatepass")) <= 220 for part in where.parts)


@given(st.lists(st.from_regex(r"\A[ab](\.jpg|\.png|\.jpeg|\.webp|\.x){0,3}\Z"), unique=True))
def test_two_photos_of_a_folder_do_not_meet(names: list[str]) -> None:
    assert len({place(name) for name in names}) == len(names)


def test_folders_are_kept_and_answers_come_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["a/1.jpg", "b/1.jpg", "b/1.png", "c/bad.jpg", "b/1.jpg", str(tmp_path / "a" / "1.jpg")]
    for name in names:
        save_photo(Path(name), COLOURS["red"])
    answers = drawn([*(Photo.from_path(Path(name)) for name in names)], Path("out"))
    assert [answer.image for answer in answers] == names
    made = sorted(str(path.relative_to("out")) for path in Path("out").rglob("*") if path.is_file())
    absolute = str(tmp_path / "a" / "1.jpg").removeprefix("/")
    assert made == sorted(["a/1.jpg", "b/1.jpg", "b/1.png.jpg", absolute])


def test_a_second_run_replaces_its_own_pictures_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photo = Photo.from_path(save_photo(Path("a.jpg"), COLOURS["red"]))
    for _ in range(2):
        drawn([photo], Path("out"))
    save_photo(Path("out/a.jpg"), COLOURS["blue"])
    before = Path("out/a.jpg").read_bytes()
    with pytest.raises(ConfigError, match=r"out/a\.jpg is there and no picture of ours"):
        drawn([photo], Path("out"))
    assert Path("out/a.jpg").read_bytes() == before


def test_a_photo_is_never_replaced_by_its_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = save_photo(Path("a.jpg"), COLOURS["red"])
    before = path.read_bytes()
    for folder in (Path(), tmp_path, Path("same")):
        Path("same").mkdir(exist_ok=True)
        if not Path("same/a.jpg").exists():
            os.link(path, "same/a.jpg")
        with pytest.raises(ConfigError, match="would replace the photo"):
            drawn([Photo.from_path(path)], folder)
    assert path.read_bytes() == before


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_photo(Path("deep/a.jpg"), COLOURS["red"])
    Path("out").mkdir()
    Path("elsewhere").mkdir()
    Path("out/deep").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="leads out of out"):
        drawn([Photo.from_path(Path("deep/a.jpg"))], Path("out"))
    assert not [*Path("elsewhere").iterdir()]


def test_a_photo_that_is_gone_meanwhile_is_counted(tmp_path: Path) -> None:
    drawing = Annotating(Fake(), tmp_path / "out", typeface=ENGLISH)
    assert [*drawing.predict([Photo.from_path(tmp_path / "gone.jpg")])] == [answered(str(tmp_path / "gone.jpg"))]
    assert drawing.undrawn == 1
    assert not (tmp_path / "out").exists()


def test_a_picture_is_upright_and_says_nothing_of_where_the_photo_was_taken(tmp_path: Path) -> None:
    photo = Image.new("RGB", (400, 600), (250, 250, 250))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x8825] = {1: "N"}
    photo.save(tmp_path / "a.jpg", exif=exif)
    drawn([Photo("a.jpg", tmp_path / "a.jpg")], tmp_path / "out")
    image = opened((tmp_path / "out" / "a.jpg").read_bytes())
    assert image.width == 600
    assert not image.getexif()


def test_a_pipe_of_the_pictures_name_is_an_error_and_is_not_waited_for(tmp_path: Path) -> None:
    photo = Photo("a.jpg", save_photo(tmp_path / "a.jpg", COLOURS["red"]))
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / "a.jpg")
    told: list[str] = []

    def draw() -> None:
        try:
            drawn([photo], tmp_path / "out")
        except ConfigError as error:
            told.append(str(error))

    drawing = threading.Thread(target=draw, daemon=True)
    drawing.start()
    drawing.join(timeout=20)
    assert not drawing.is_alive()
    assert told == [
        f"{tmp_path / 'out' / 'a.jpg'} is there and no picture of ours; name another folder for the pictures"
    ]
    assert (tmp_path / "out" / "a.jpg").is_fifo()
