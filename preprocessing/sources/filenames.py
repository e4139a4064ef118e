"""Recognition of files by name: their suffix, and files that only accompany data.

Suffixes of compressions, upper case and the suffix `.utf-8` are ignored. Files that accompany data (hidden files,
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
    """The suffix in lower case, ignoring suffixes of compressions, `.utf-8`, and suffixes that number a part."""
    stem, suffix = splitext(without_compression(basename(name)).lower())
    if suffix in (".utf-8", ".utf8"):
        stem, suffix = splitext(stem)
    return "" if _NUMBERED.fullmatch(suffix) else suffix


def companion(name: str) -> str:
    """The reason why a file is no data of any kind, by its path in the directory or archive; empty if it may be
    data."""
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
    """The reason to leave out a file whose name is not that of a file of this kind of source."""
    suffix = suffix_of(name)
    if suffix in _PACKED_SUFFIXES or splitext(name.lower())[1] in _PACKED_SUFFIXES:
        return PACKED
    return f"{suffix}, which {kind} does not read" if suffix else f"neither name nor content of {kind}"
