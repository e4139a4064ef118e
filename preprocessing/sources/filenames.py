"""What the name of a file tells: its form, or that it only accompanies data.

Compressions, upper case and the suffix `.utf-8` say nothing about the form. Files that accompany data (hidden files,
checksums, licences, unfinished downloads) are the same for all sources.
"""

import re
from posixpath import basename, splitext

from preprocessing.sources.compressed import without_compression

UNFINISHED = "unfinished download (run it again)"
HIDDEN, CHECKSUM, README, METADATA = "hidden", "checksum or signature", "readme or licence", "metadata"
MEDIA = "picture, sound, style or program"
PACKED = "archive (unpack it)"

_UNFINISHED_SUFFIXES = (".part", ".partial", ".crdownload", ".download", ".incomplete", ".aria2", ".filepart", ".tmp")
_CHECKSUM = re.compile(
    r"(?:.*[-_.])?(?:(?:md5|sha-?\d{1,3}|b2)sums?|checksums?)(?:-[a-z_]+)?(?:\.(?:txt|json|asc|sig|gpg))?|"
    r"(?:.*\.)?(?:md5|sha-?\d{1,3}|b2|crc|crc32|asc|sig|gpg)(?:\.txt)?"
)
_README = re.compile(r"(?:readme(?:[-_.].*)?|(?:licen[cs]e|copying|notice|changelog|citation)(?:\.[a-z]+)?)")
_METADATA = re.compile(
    r"datasets?_(?:info|infos|dict)\.json|state\.json|dump(?:status|runinfo|specialfiles)\.json|.*\.part\.json|"
    r"(?:index|status)\.html|.*-rss\.xml|robots\.txt|thumbs\.db|desktop\.ini|.*\.lock|"
    r"_success|_(?:common_)?metadata|_(?:committed|started)_.*"
)
_MEDIA_SUFFIXES = {
    *(".jpg", ".jpeg", ".png", ".gif", ".svg", ".webp", ".tif", ".tiff", ".bmp", ".ico"),
    *(".mp3", ".ogg", ".oga", ".wav", ".flac", ".mp4", ".webm", ".avi"),
    *(".ttf", ".otf", ".woff", ".woff2", ".css"),
    *(".js", ".py", ".pyc", ".sh", ".ipynb", ".so", ".exe", ".dll", ".idx"),
}
_PACKED_SUFFIXES = {
    *(".7z", ".rar", ".zip", ".tar", ".tgz", ".tbz2", ".txz"),
    *(".lz4", ".br", ".lzma", ".lz", ".lzo", ".z"),
}
_HIDDEN_DIRECTORIES = {"__macosx", "__pycache__", "_temporary", "_delta_log", "lost+found"}
_NUMBERED = re.compile(r"\.\d+|\.\d+[-_]of[-_]\d+|\.part[-_]?\d+")


def suffix_of(name: str) -> str:
    """The suffix in lower case, without that of a compression, `.utf-8`, and what only numbers a part."""
    stem, suffix = splitext(without_compression(basename(name)).lower())
    if suffix in (".utf-8", ".utf8"):
        stem, suffix = splitext(stem)
    return "" if _NUMBERED.fullmatch(suffix) else suffix


def companion(name: str) -> str:
    """Why the file of this path, from the directory or archive on, is no data of any kind; empty where it may be."""
    *folders, last = name.lower().split("/")
    inner = [folder for folder in folders if folder not in (".", "..")]  # Some archives have such names.
    if (
        last.startswith(".")
        or last in _HIDDEN_DIRECTORIES
        or any(folder.startswith(".") or folder in _HIDDEN_DIRECTORIES for folder in inner)
    ):
        return HIDDEN
    if last.endswith(_UNFINISHED_SUFFIXES):
        return UNFINISHED
    for pattern, reason in ((_METADATA, METADATA), (_CHECKSUM, CHECKSUM), (_README, README)):
        if pattern.fullmatch(last):
            return reason
    return MEDIA if suffix_of(last) in _MEDIA_SUFFIXES else ""


def other_form(name: str, kind: str) -> str:
    """Why a file is left out whose name is of another form than the kind of source reads."""
    suffix = suffix_of(name)
    if suffix in _PACKED_SUFFIXES or splitext(name.lower())[1] in _PACKED_SUFFIXES:
        return PACKED
    return f"{suffix}, which {kind} does not read" if suffix else f"neither name nor content of {kind}"
