"""Language codes: validation, suggestions for other spellings, and the language of a wiki.

The codes are those of Wikimedia's wikis, which include ISO 639-1; sentencex knows them and their fallbacks.
"""

import re
import unicodedata
from difflib import get_close_matches

_CODES = """
aa ab ace ady ae af ak als alt am ami an ang ann anp ar arc ary arz as ast atj av avk awa ay az azb ba ban bar
bat-smg bbc bcl bdr be be-tarask be-x-old bew bg bh bi bjn blk bm bn bo bpy br bs btm bug bxr ca cbk-zam cdo ce ceb
ch cho chr chy ckb cmn co cr crh cs csb cu cv cy da dag de dga din diq dsb dtp dty dv dz ee egl el eml en eo es et
eu ext fa fat ff fi fiu-vro fj fo fon fr frp frr fur fy ga gag gan gcr gd gl glk gn gom gor got gpe grc gsw gu guc
gur guw gv ha hak haw he hi hif hke ho hr hsb ht hu hy hyw hz ia iba id ie ig igl ii ik ilo inh io is it iu ja jam
jbo jv ka kaa kab kaj kbd kbp kcg kg kge ki kj kk kl km kn knc ko koi kr krc ks ksh ku kus kv kw ky la lad lb lbe
lez lfn lg li lij lld lmo ln lo lrc lt ltg lu lv lzh mad mai map-bms mdf mg mh mhr mi min mk ml mn mni mnw mo mos mr
mrj ms mt mus mwl my myv mzn na nah nan nap nb nd nds nds-nl ne new ng nia nl nn no nov nqo nr nrm nso nup nv ny oc
oj olo om or os pa pag pam pap pcd pcm pdc pfl pi pih pl pms pnb pnt ppl ps pt pwn qu rki rm rmy rn ro roa-rup
roa-tara rsk ru rue rup rw sa sah sat sc scn sco sd se sg sgs sh shi shn shy si simple sk skr sl sm smn sn so sq sr
srn ss st stq su sv sw syl szl szy ta tay tcy tdd te tet tg th ti tig tk tl tly tn to tok tpi tr trv ts tt tum tw ty
tyv udm ug uk ur uz ve vec vep vi vls vo vro wa war wo wuu xal xh xmf yi yo yue za zea zgh zh zh-classical zh-cn
zh-min-nan zh-tw zh-yue zu
"""
CODES = frozenset(_CODES.split())
"""Language codes of Wikimedia, including old ones; those of Wikipedias are also the prefixes of links to them."""

_NAMES = """
af afrikaans afr; am amharic; ar arabic ara; as assamese; az azerbaijani; be belarusian; bg bulgarian bul; bn
bengali ben; bo tibetan; br breton; bs bosnian; ca catalan cat; ceb cebuano; cs czech ces cze cz cestina; cy welsh
cym wel; da danish dan dk dansk; de german deu ger deutsch; el greek ell gre gr; en english eng gb us; eo esperanto;
es spanish spa espanol; et estonian est; eu basque eus baq; fa persian fas per farsi; fi finnish fin suomi; fr
french fra fre francais; fy frisian; ga irish gle; gd gaelic; gl galician glg; gu gujarati; ha hausa; he hebrew heb;
hi hindi hin; hr croatian hrv; ht haitian; hu hungarian hun magyar; hy armenian hye arm; id indonesian ind bahasa;
ig igbo; is icelandic isl ice; it italian ita italiano; ja japanese jpn jp; jv javanese; ka georgian kat geo; kk
kazakh; km khmer; kn kannada; ko korean kor; ku kurdish; ky kyrgyz; la latin latina; lb luxembourgish; lo lao; lt
lithuanian lit; lv latvian lav; mg malagasy; mk macedonian; ml malayalam; mn mongolian; mr marathi; ms malay msa
may; mt maltese; my burmese; ne nepali; nl dutch nld dut nederlands; no norwegian nor norsk bokmal ; oc occitan; or
odia; pa punjabi; pl polish pol polski; ps pashto; pt portuguese por portugues brazilian; qu quechua; ro romanian
ron rum; ru russian rus russkij; si sinhala; sk slovak slk slo; sl slovenian slv; so somali; sq albanian; sr serbian
srp; sv swedish swe svenska; sw swahili swa; ta tamil tam; te telugu tel; th thai tha; tk turkmen; tl tagalog; tr
turkish tur turkce; tt tatar; ug uyghur; uk ukrainian ukr ua ; ur urdu urd; uz uzbek; vi vietnamese vie; xh
xhosa; yi yiddish; yo yoruba; zh chinese mandarin zho chi cn; zu zulu
"""
"""Codes, each followed by names and other codes of the same language."""

_RELATED = [{"no", "nb", "nn"}, {"sr", "hr", "bs", "sh"}, {"id", "ms"}, {"zh", "yue", "wuu", "gan", "cmn", "lzh"}]
"""Groups of codes of one language or of its variants."""
_ALIKE = [*_RELATED, {"no", "nb", "nn", "da"}, {"cs", "sk"}, {"hi", "mr", "ne"}]
"""Groups of languages that a classifier confuses on short texts."""
_PROJECT = re.compile(r"(.+?)wik(?:i|ipedia|tionary|ibooks|inews|iquote|isource|iversity|ivoyage)")


def check_language(code: str) -> None:
    """Checks that a user's language code exists.

    Raises:
        ValueError: it does not; the message suggests a code.
    """
    if code not in CODES:
        meant = meant_language(code)
        hint = f"; did you mean {meant}?" if meant else ""
        raise ValueError(f"language = {code!r}: must be the code of a language, such as en, de or zh{hint}")


def meant_language(code: str) -> str:
    """The code meant by another spelling: capitals, a name, three letters, a region; empty if there is none."""
    plain = unicodedata.normalize("NFKD", code).encode("ascii", "ignore").decode().lower().replace("_", "-").strip()
    known = {name: entry.split()[0] for entry in _NAMES.split(";") for name in entry.split()}
    for name in (plain, re.split(r"[^a-z]", plain)[0]):
        if name in CODES:
            return name
        if name in known:
            return known[name]
    close = get_close_matches(plain, [name for name in known if len(name) > 3], 1, cutoff=0.75)
    return known[close[0]] if close else ""


def language_of_wiki(tag: str, database: str) -> str:
    """The language code of a wiki; empty if it is unknown.

    Args:
        tag: value of the dump's `xml:lang`.
        database: name of the wiki's database, such as `dewiki`.
    """
    tag = tag.lower()
    for code in (tag, wiki_of_database(database), tag.partition("-")[0]):
        if code in CODES:
            return "en" if code == "simple" else code
    return ""


def wiki_of_database(database: str) -> str:
    """The subdomain of a wiki by its database, such as `de` for `dewiki`; empty if it is none of Wikimedia's."""
    project = _PROJECT.fullmatch(database)
    return project[1].replace("_", "-") if project else ""


def same_language(one: str, other: str) -> bool:
    """Whether two codes are of one language or of its variants."""
    return _is_in_one_group(one, other, _RELATED)


def alike(one: str, other: str) -> bool:
    """Whether a classifier may confuse two languages on short texts."""
    return _is_in_one_group(one, other, _ALIKE)


def _is_in_one_group(one: str, other: str, groups: list[set[str]]) -> bool:
    heads = {one.partition("-")[0], other.partition("-")[0]}
    return len(heads) == 1 or any(heads <= group for group in groups)
