"""Pictures: only real ones, stripped of all that came along, bounded, served for good."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from PIL import Image, ImageCms

from config import Settings
from tests.pictures import encode, picture, upload
from tests.support import Maker
from tests.test_events import FORM

RED = (200, 30, 30)


@pytest.fixture(autouse=True)
def folder(settings: Settings) -> Path:
    """The upload folder, empty."""
    settings.UPLOAD_DIR.mkdir(parents=True, exist_ok=True)
    for path in settings.UPLOAD_DIR.iterdir():
        path.unlink()
    return settings.UPLOAD_DIR


Send = Callable[..., Any]


@pytest.fixture
def send(client: FlaskClient, make: Maker) -> Send:
    """Submits the form with a picture."""
    headers = make.headers(make.organizer())

    def post(data: bytes, name: str = "poster.png", **more: str) -> Any:
        form = FORM | more | {"image": upload(data, name)}
        return client.post("/events", data=form, headers=headers, content_type="multipart/form-data")

    return post


@pytest.fixture
def stored(client: FlaskClient, send: Send, settings: Settings) -> Callable[[bytes], Image.Image]:
    """What is served of a picture that was sent."""

    def fetch(data: bytes) -> Image.Image:
        answer = send(data)
        assert answer.status_code == 201, answer.text
        path = answer.json["image_url"].removeprefix(settings.PUBLIC_URL)
        return Image.open(io.BytesIO(client.get(path, buffered=True).data))

    return fetch


Stored = Callable[[bytes], Image.Image]


def is_near(pixel: Any, colour: tuple[int, ...]) -> bool:
    return all(abs(one - other) < 24 for one, other in zip(pixel, colour, strict=True))


# ── Taken ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("PNG", "P"),
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("WEBP", "RGB"),
        ("WEBP", "RGBA"),
    ],
)
def test_every_usual_kind_of_picture_keeps_its_colour(stored: Stored, kind: str, mode: str) -> None:
    shown = stored(picture(kind, mode=mode))
    assert (shown.format, shown.size) == ("WEBP", (60, 40))
    assert is_near(shown.convert("RGB").getpixel((30, 20)), RED)


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "L"), ("PNG", "LA"), ("JPEG", "L")])
def test_grey_stays_grey(stored: Stored, kind: str, mode: str) -> None:
    grey = encode(Image.new("L", (60, 40), 90).convert(mode), kind)
    assert is_near(stored(grey).convert("RGB").getpixel((30, 20)), (90, 90, 90))


def test_black_and_white_stays_so(stored: Stored) -> None:
    half = Image.new("1", (60, 40), 0)
    half.paste(1, (30, 0, 60, 40))
    shown = stored(encode(half, "PNG")).convert("RGB")
    assert is_near(shown.getpixel((10, 20)), (0, 0, 0))
    assert is_near(shown.getpixel((50, 20)), (255, 255, 255))


@pytest.mark.parametrize("level", [0, 90, 255])
def test_sixteen_bits_are_brought_down_to_eight(stored: Stored, level: int) -> None:
    deep = Image.new("I;16", (60, 40), level * 257)
    assert is_near(stored(encode(deep, "PNG")).convert("RGB").getpixel((30, 20)), (level,) * 3)


def test_transparency_stays(stored: Stored) -> None:
    hole = Image.new("RGBA", (60, 40), (*RED, 255))
    hole.paste((0, 0, 0, 0), (0, 0, 30, 40))
    palette = hole.quantize()
    for image in (hole, palette):
        shown = stored(encode(image, "PNG")).convert("RGBA")
        assert shown.getpixel((5, 20))[3] < 8
        assert is_near(shown.getpixel((55, 20)), (*RED, 255))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_a_moving_picture_the_first_frame_stays(stored: Stored, kind: str) -> None:
    frames = [Image.new("RGB", (60, 40), colour) for colour in (RED, (0, 0, 255), (0, 255, 0))]
    shown = stored(encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=100))
    assert getattr(shown, "n_frames", 1) == 1
    assert is_near(shown.convert("RGB").getpixel((30, 20)), RED)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_what_came_along_is_gone(stored: Stored, send: Send, folder: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E], exif[0x013B] = "SECRET description", "SECRET artist"
    exif.get_ifd(0x8825)[2] = (1.0, 17.0, 31.0)
    exif.get_ifd(0x8825)[1] = "S"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    more = {"comment": b"SECRET comment"} if kind == "JPEG" else {"xmp": b"<x>SECRET</x>"} if kind == "WEBP" else {}
    sent = picture(kind, exif=exif.tobytes(), icc_profile=profile, **more)
    assert b"SECRET" in sent
    shown = stored(sent)
    assert dict(shown.getexif()) == {}
    assert not shown.info.keys() & {"exif", "icc_profile", "xmp", "comment"}
    [path] = folder.iterdir()
    assert b"SECRET" not in path.read_bytes()


@pytest.mark.parametrize(("orientation", "corner"), [(1, (5, 5)), (3, (55, 35)), (6, (35, 5)), (8, (5, 55))])
def test_a_turned_picture_is_set_upright(stored: Stored, orientation: int, corner: tuple[int, int]) -> None:
    image = Image.new("RGB", (60, 40), (255, 255, 255))
    image.paste(RED, (0, 0, 12, 12))
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = stored(encode(image, "JPEG", exif=exif.tobytes(), quality=95))
    assert shown.size == ((60, 40) if orientation in (1, 3) else (40, 60))
    assert is_near(shown.convert("RGB").getpixel(corner), RED)
    assert dict(shown.getexif()) == {}


@pytest.mark.parametrize(("sent", "kept"), [((4000, 100), (2000, 50)), ((100, 4000), (50, 2000)), ((1, 1), (1, 1))])
def test_a_big_picture_is_made_smaller(stored: Stored, sent: tuple[int, int], kept: tuple[int, int]) -> None:
    assert stored(picture("JPEG", size=sent)).size == kept


def test_a_very_long_picture_keeps_at_least_a_pixel(stored: Stored) -> None:
    assert stored(picture("PNG", size=(9000, 1))).size == (2000, 1)


def test_a_broken_exif_block_does_not_spoil_the_picture(stored: Stored) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    cut = exif.tobytes()[:-6]
    assert stored(picture("JPEG", exif=cut)).format == "WEBP"


@pytest.mark.parametrize("name", ["poster.gif", "../../etc/passwd", "poster.png\x00.html", "picha ñ", "." * 300])
def test_the_files_own_name_does_not_matter(send: Send, folder: Path, name: str) -> None:
    answer = send(picture(), name)
    assert answer.status_code == 201
    [path] = folder.iterdir()
    assert answer.json["image_url"].endswith(f"/media/{path.name}")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_what_hides_behind_a_picture_is_gone(stored: Stored, folder: Path, kind: str) -> None:
    stored(picture(kind) + b"PK\x03\x04<script>alert(1)</script><?php system($_GET[0]); ?>")
    [path] = folder.iterdir()
    assert b"script" not in path.read_bytes()
    assert b"php" not in path.read_bytes()


# ── Refused ───────────────────────────────────────────────────────────────────────────────────────────────────────


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def huge_png(width: int, height: int) -> bytes:
    """A few kilobytes that promise an enormous picture."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(4_000_000), 9)) + chunk(b"IEND", b"")


REFUSED = {
    "gif": picture("GIF"),
    "bmp": picture("BMP"),
    "tiff": picture("TIFF"),
    "ico": picture("ICO"),
    "pdf": picture("PDF"),
    "jpeg 2000": picture("JPEG2000"),
    "avif": b"\x00\x00\x00\x20ftypavif" + bytes(64),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "html": b"<!doctype html><script>alert(1)</script>",
    "text": b"just a text",
    "one byte": b"\x89",
    "gif that is javascript": b"GIF89a/*" + bytes(40) + b"*/=alert(1)//",
    "bitmap that is html": b"BM<script>alert(1)</script>",
    "png signature alone": picture()[:8],
    "png header alone": picture()[:33],
    "png cut in half": picture(size=(600, 400))[: len(picture(size=(600, 400))) // 2],
    "jpeg cut in half": picture("JPEG", size=(600, 400))[: len(picture("JPEG", size=(600, 400))) // 2],
    "webp cut in half": picture("WEBP", size=(600, 400))[: len(picture("WEBP", size=(600, 400))) // 2],
    "png with a wrong checksum": picture().replace(b"IHDR", b"IHDX"),
    "png of no width": huge_png(0, 10),
    "bomb just over the limit": huge_png(10_000, 5_001),
    "bomb that Pillow warns of": huge_png(10_000, 10_000),
    "bomb that Pillow refuses": huge_png(60_000, 60_000),
    "bomb beyond 32 bits": huge_png(2**31 - 1, 2**31 - 1),
}


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_picture_of_ours_is_refused_and_leaves_nothing(
    client: FlaskClient, send: Send, folder: Path, sent: bytes
) -> None:
    answer = send(sent)
    assert (answer.status_code, answer.json["code"]) == (422, "bad_image"), answer.text
    assert answer.json["message"].startswith(("Please send a picture", "This picture has too many pixels"))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_damaged_picture_is_taken_or_refused_but_never_an_error(send: Send, kind: str) -> None:
    whole = picture(kind, size=(64, 64))
    for position in range(0, len(whole), max(1, len(whole) // 60)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        assert send(bytes(damaged)).status_code in (201, 422)


@pytest.mark.parametrize(
    ("extra_bytes", "status"),
    [(5 * 1024 * 1024 - 1000, 201), (6 * 1024 * 1024, 413), (20 * 1024 * 1024, 413)],
)
def test_too_big_a_file_is_413(client: FlaskClient, make: Maker, folder: Path, extra_bytes: int, status: int) -> None:
    # Encoded by requests: werkzeug's own client leaves a big temporary file open.
    file = ("poster.png", picture() + bytes(extra_bytes))
    ready = requests.Request("POST", "http://ticksy.test", data=FORM, files={"image": file}).prepare()
    headers = make.headers(make.organizer()) | {"Content-Type": ready.headers["Content-Type"]}
    answer = client.post("/events", data=ready.body, headers=headers)
    assert answer.status_code == status
    assert (answer.json.get("code") == "too_large") is (status == 413)
    assert len(list(folder.iterdir())) == (1 if status == 201 else 0)


# ── What becomes of the file ──────────────────────────────────────────────────────────────────────────────────────


def test_a_picture_is_served_at_an_absolute_address_and_may_be_kept_for_good(
    client: FlaskClient, send: Send, settings: Settings
) -> None:
    url = send(picture()).json["image_url"]
    assert url.startswith(f"{settings.PUBLIC_URL}/media/")
    answer = client.get(url.removeprefix(settings.PUBLIC_URL), headers={"Host": "evil.example"}, buffered=True)
    assert (answer.status_code, answer.mimetype) == (200, "image/webp")
    assert "max-age=31536000" in answer.headers["Cache-Control"]
    assert "public" in answer.headers["Cache-Control"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_host_header_never_reaches_the_address(client: FlaskClient, make: Maker, settings: Settings) -> None:
    form = FORM | {"image": upload(picture())}
    headers = make.headers(make.organizer()) | {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    answer = client.post("/events", data=form, headers=headers, content_type="multipart/form-data")
    assert answer.json["image_url"].startswith(settings.PUBLIC_URL)


@pytest.mark.parametrize(
    "path",
    [
        *("", ".webp", "x.webp", "../config.py", "..%2fconfig.py", "%2e%2e/%2e%2e/etc/passwd", "....//config.py"),
        *("..%5cconfig.py", "/etc/passwd", "0" * 32, "0" * 32 + ".webp", "0" * 32 + ".webp%00.png", "0" * 31 + ".webp"),
        *("0" * 32 + "%2f..%2f" + "0" * 32 + ".webp", "~root", "A" * 32 + ".webp"),
    ],
)
def test_media_gives_nothing_but_pictures(client: FlaskClient, path: str) -> None:
    answer = client.get(f"/media/{path}", buffered=True)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_a_form_that_is_refused_leaves_no_file(send: Send, folder: Path) -> None:
    assert send(picture(), start_time="2020-01-01T12:00").status_code == 422
    assert send(picture(), title="").status_code == 422
    assert list(folder.iterdir()) == []


def put(client: FlaskClient, headers: dict[str, str], event_id: int, data: bytes, **form: str) -> Any:
    body = form | {"image": upload(data)}
    return client.put(f"/events/{event_id}", data=body, headers=headers, content_type="multipart/form-data")


def test_a_new_picture_takes_the_old_ones_place(client: FlaskClient, make: Maker, folder: Path) -> None:
    event = make.event()
    headers = make.headers(event.organizer)
    first = put(client, headers, event.id, picture()).json["image_url"]
    second = put(client, headers, event.id, picture("JPEG")).json["image_url"]
    assert first != second
    assert [path.name for path in folder.iterdir()] == [second.rsplit("/", 1)[1]]


def test_an_edit_without_a_picture_keeps_it(client: FlaskClient, make: Maker, folder: Path) -> None:
    event = make.event()
    headers = make.headers(event.organizer)
    url = put(client, headers, event.id, picture()).json["image_url"]
    kept = client.put(f"/events/{event.id}", json={"title": "Another"}, headers=headers).json["image_url"]
    assert kept == url
    assert len(list(folder.iterdir())) == 1


def test_an_edit_that_fails_keeps_the_old_picture_alone(client: FlaskClient, make: Maker, folder: Path) -> None:
    event = make.event()
    headers = make.headers(event.organizer)
    url = put(client, headers, event.id, picture()).json["image_url"]
    assert put(client, headers, event.id, b"GIF89a").status_code == 422
    assert put(client, headers, event.id, picture(), end_time="2000-01-01T00:00").status_code == 422
    assert put(client, make.headers(make.organizer()), event.id, picture()).status_code == 404
    client.post(f"/events/{event.id}/cancel", headers=headers)
    assert put(client, headers, event.id, picture()).status_code == 409
    assert [path.name for path in folder.iterdir()] == [url.rsplit("/", 1)[1]]


def test_the_picture_goes_with_its_event(client: FlaskClient, make: Maker, folder: Path) -> None:
    event = make.event()
    headers = make.headers(event.organizer)
    put(client, headers, event.id, picture())
    client.delete(f"/events/{event.id}", headers=headers)
    assert list(folder.iterdir()) == []
