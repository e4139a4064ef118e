"""Laws of preprocessing/sources/epub.py."""

import io
import zipfile
from random import Random

import pytest

from preprocessing.sources.booktext import BadBookError, paragraphs
from preprocessing.sources.documents import BOOK_TOO_LARGE, DAMAGED_EPUB, ENCRYPTED_EPUB
from preprocessing.sources.epub import epub_to_text

CONTAINER = """<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">
<rootfiles><rootfile full-path="OPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
PAGE = '<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>No</title></head>{}</html>'


def package(names, nav="", guide=""):
    """Return a package document with these members in its spine, and one as its navigation."""
    items = "".join(
        f'<item id="i{number}" href="{name}" media-type="application/xhtml+xml" properties="{"nav" * (name == nav)}"/>'
        for number, name in enumerate(names)
    )
    refs = "".join(f'<itemref idref="i{number}"/>' for number in range(len(names)))
    return (
        f'<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><manifest>{items}</manifest><spine>{refs}</spine>'
        f"<guide>{guide}</guide></package>"
    )


def make_zip(members):
    """Return a zip file of these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def make_epub(bodies, extra=None, **options):
    """Return an EPUB file of these XHTML bodies by name."""
    fixed = {"mimetype": "application/epub+zip", "META-INF/container.xml": CONTAINER}
    pages = {f"OPS/{name.replace('%20', ' ')}": PAGE.format(body) for name, body in bodies.items()}
    return make_zip({**fixed, "OPS/book.opf": package([*bodies], **options), **pages, **(extra or {})})


def read(data, max_bytes=10**6):
    """Return the paragraphs of an EPUB."""
    return paragraphs(epub_to_text(data, max_bytes))


def test_the_spine_is_read_in_its_order():
    """Pages are read in the order of the spine, with percent-encoded names, and heads are not text."""
    epub = make_epub({"b.xhtml": "<body><p>One.</p></body>", "a%20b.xhtml": "<body><h1>Two</h1><p>Three.</p></body>"})
    assert read(epub) == ["One.", "Two", "Three."]


def test_navigation_cover_and_licence_go():
    """Navigation, cover and licence are removed by manifest, guide, element, epub:type and class, as whole pages and
    within a page.
    """
    bodies = {
        "nav.xhtml": "<body><p>Chapter 1</p></body>",
        "cover.xhtml": "<body><p>Cover</p></body>",
        "copyright.xhtml": '<body epub:type="copyright-page"><p>All rights</p></body>',
        "text.xhtml": (
            '<body><section class="pg-boilerplate pgheader"><div>Licence</div><section>More</section></section>'
            '<nav><ol><li>Chapter 1</li></ol></nav><section epub:type="toc"><p>Chapter 1</p></section>'
            '<p>One <span class="pagenum"><a id="p1">[12]</a></span>two<span epub:type="pagebreak"/> three.</p></body>'
        ),
    }
    guide = '<reference type="cover" href="cover.xhtml"/><reference type="toc" href="text.xhtml#toc"/>'
    assert read(make_epub(bodies, nav="nav.xhtml", guide=guide)) == ["One two three."]


def test_entities_are_not_expanded():
    """A document type whose entities would expand to gigabytes is damage."""
    bomb = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 20))
    opf = f'<!DOCTYPE x [<!ENTITY e0 "boom">{bomb}]><package>&e19;</package>'
    with pytest.raises(BadBookError) as error:
        read(make_zip({"META-INF/container.xml": CONTAINER, "OPS/book.opf": opf}))
    assert error.value.kind == DAMAGED_EPUB


def test_what_unpacks_to_too_much_is_refused():
    """A book whose members unpack to more than the limit is refused before all of it is unpacked."""
    page = f"<body><p>{'a ' * 1000}</p></body>"
    epub = make_epub({f"{number}.xhtml": page for number in range(10)})
    assert len(read(epub, 30_000)) == 10
    for data in (epub, make_epub({"a.xhtml": "a" * 10**7})):
        with pytest.raises(BadBookError, match="unpacks to more than 20,000 bytes") as error:
            read(data, 20_000)
        assert error.value.kind == BOOK_TOO_LARGE


def encryption(name):
    """Return the list of one encrypted member."""
    return {
        "META-INF/encryption.xml": '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container" '
        'xmlns:e="http://www.w3.org/2001/04/xmlenc#"><e:EncryptedData>'
        f'<e:CipherData><e:CipherReference URI="{name}"/></e:CipherData></e:EncryptedData></encryption>'
    }


def test_encrypted_books_are_told_from_obfuscated_fonts():
    """Encrypted pages, and a zip file with a password, are refused; a book that obfuscates only its fonts is read."""
    bodies = {"a.xhtml": "<body><p>Text.</p></body>"}
    assert read(make_epub(bodies, encryption("OPS/a.ttf"))) == ["Text."]
    locked = bytearray(make_epub(bodies))
    locked[locked.index(b"PK\x01\x02", locked.index(b"PK\x01\x02") + 4) + 8] |= 1  # The flag of the container.
    for data in (make_epub(bodies, encryption("OPS/a.xhtml")), bytes(locked)):
        with pytest.raises(BadBookError) as error:
            read(data)
        assert error.value.kind == ENCRYPTED_EPUB


def test_damage_is_never_a_trace():
    """A book that is truncated anywhere, or has any changed byte, is read or refused by kind."""
    epub, random = make_epub({f"{number}.xhtml": "<body><p>Text.</p></body>" for number in range(3)}), Random(0)
    damaged = [epub[:stop] for stop in range(0, len(epub), 7)]
    for _ in range(1500):
        data = bytearray(epub)
        data[random.randrange(len(data))] = random.randrange(256)
        damaged.append(bytes(data))
    kinds = set()
    for data in damaged:
        try:
            read(data)
        except BadBookError as error:
            kinds.add(error.kind)
    assert DAMAGED_EPUB in kinds and kinds <= {DAMAGED_EPUB, ENCRYPTED_EPUB, BOOK_TOO_LARGE}


def test_declared_encodings():
    """A page is read in the encoding that it declares."""
    for encoding in ("iso-8859-1", "utf-8", "utf-16"):
        page = PAGE.replace('"utf-8"', f'"{encoding}"').format("<body><p>café</p></body>")
        pages = {"OPS/book.opf": package(["z.xhtml"]), "OPS/z.xhtml": page.encode(encoding)}
        assert read(make_zip({"META-INF/container.xml": CONTAINER, **pages})) == ["café"]
