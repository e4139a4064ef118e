"""Recognises disambiguation pages by the templates that mark them.

Lists of surnames and set indexes are articles.

Source of the names: the settings of the DBpedia extraction framework, which reads them from each Wikipedia's
MediaWiki:Disambiguationspage, except names with another meaning in other wikis, and names of lists of people.
"""

import re

_FORMS = re.compile(
    r"\{\{\s*+(?:(?:[\w –-]*[ _])?disamb(?:ig|iguation|igua)?(?:[ _-](?:cleanup|page))?|dab|hndis|geodis|numberdis|"
    r"mathdab|schooldis|roaddis|hospitaldis|begriffsklärung|homonymie|desambiguaci[oó]n|desambiguação|неоднозначность|"
    r"ujednoznacznienie|doorverwijspagina|dp|förgrening|flertydig|täsmennyssivu|rozcestník|aimai|曖昧さ回避|消歧义|"
    r"消歧義|동음이의|توضيح|פירושונים)\s*[|}]|__DISAMBIG__",
    re.IGNORECASE,
)
_NAMES = """
Aðgreining; Anamrwysedd; Anlam ayrım; Anlam ayrımı; Apartigilo; Argipen; Begriffsklearung; Begriffsklärig;
Begriepskläärenge; Cudakirin; Çoq manalı; Daugiareikšmis; Desambig; Desambiguació; Desambiguáncia; Desambiguassiú;
Desambigazión; Dezamb; Dezambiguasiù; Dezambiguizare; Disambiguazion; Disambìgua; Disanbigua; Discretiva; Disheñvelout;
Dixanbigua; Dixebra; Dəqiqləşdirmə; Diżambig; Diżambigwazzjoni; Dp-intro; Dpintro; Dubbelsinnig; Định hướng; Egyért;
Egyért-redir; Egyértelműsítő; Egyértelműsítő lap; Förgreningssida; Fleiri týdningar; Fleirtyding; Giklaro; Grensida;
Gwahaniaethu; Homónimos; Homonimo; Idirdhealú; Kthjellim; Mehrdüdig Begreep; Muar Meeningen; Neibetsjuttings;
Nozīmju atdalīšana; Nyahkekaburan; Omonimia; Omonimeye; Pekerside; Razdvojba; Razločitev; Rozlišovacia stránka;
Soilleireachadh; Strona ujednoznaczniająca; Trang định hướng; Tobokstavsforkortelse; Trebokstavsforkortelse;
Trebokstavsförgrening; Verdudeliking; Višeznačnost; Višeznačna odrednica; Wěcejwóznamowosć;
Wjacezmyslnosć; Äiznamoičenduz;
Αποσαφ; Αποσαφήνιση; Айрық; Вишезначна одредница; Күп мәғәнәлелек; Күп мәгънәле; Күп мәгънәләр; Многозначность;
Неадназначнасць; Појаснување; Салаа утгатай; Шматзначнасць; Երկիմաստ; ابهام‌زدایی; رفع ابهام; ڕوونکردنەوە;
صفحة توضيح; बहुविकल्पी शब्द; नि:संदिग्धीकरण; अस्पष्टता; দ্ব্যর্থতা নিরসন; ବହୁବିକଳ୍ପ; பக்கவழி நெறிப்படுத்தல்; అయోమయ నివృత్తి;
ದ್ವಂದ್ವ ನಿವಾರಣೆ; വിവക്ഷകൾ; നാനാർത്ഥങ്ങൾ; แก้กำกวม; แก้ความกำกวม; คำกำกวม; მრავალმნიშვნელოვანი; 동음이의어; 동명이인; 消含糊;
消除歧义; 消除歧義; 消除含糊; 搞清楚; Khu-pia̍t-iah; Ìṣojútùú
"""
_OTHERS = frozenset(" ".join(name.split()).lower() for name in _NAMES.split(";"))
_TEMPLATE = re.compile(r"\{\{\s*+([^|{}\[\]<>\n]{4,60})[|}\n]")


def is_disambiguation(wikitext: str) -> bool:
    """Whether a page is marked as a disambiguation page."""
    if _FORMS.search(wikitext):
        return True
    names = map(str.lower, _TEMPLATE.findall(wikitext))
    return not _OTHERS.isdisjoint(name.replace("_", " ").rstrip() for name in names)
