"""Laws of preprocessing/sources/templates.py and of the tables in preprocessing/sources/wikis."""

import time
import tomllib

import pytest

from preprocessing.sources.templates import LOST, TABLES, Fate, template_name, templates_of
from preprocessing.sources.wikitext import to_prose

LANGUAGES = sorted(path.stem for path in TABLES.glob("*.toml") if path.stem not in ("common", "functions"))
NAMESPACES = ("File", "Category")

ENGLISH = [
    ("lang|fr|mot juste", "mot juste"),
    ("Lang|fr|mot|italic=no", "mot"),
    ("lang|fr", ""),
    ("transl|ar|DIN|kitāb", "kitāb"),
    ("lang-la|rex", "Latin: rex"),
    ("langx|la|rex|link=no", "Latin: rex"),
    ("lang-xyz|rex", "rex"),
    ("blockquote|text=To be.|author=Hamlet", "\n\nTo be.\n\n"),
    ("nowrap|1=5 = 3 + 2", "5 = 3 + 2"),
    ("no_wrap|a b", "a b"),
    ("snd", " – "),
    ("as of|2010|lc=y", "as of 2010"),
    ("as of|2014", "As of 2014"),
    ("as of|2014|5|df=US", "As of May 2014"),
    ("as of|2014|5|21", "As of 21 May 2014"),
    ("as of|2014|alt=in 2014", "in 2014"),
    ("as of", ""),
    ("chem|H|2|O", "H2O"),
    ("chem|SO|4|2-", "SO42−"),
    ("chem2|H2O + SO4(2-) -> X", "H2O + SO42− → X"),
    ("HMS|Victory|1765", "HMS Victory"),
    ("uss|Enterprise|CV-6|2", "Enterprise"),
    ("ship|HMS|Victory|1765", "HMS Victory"),
    ("sclass|Nimitz|aircraft carrier", "Nimitz-class aircraft carrier"),
    ("zh|s=中国|t=中國|p=Zhōngguó", "simplified Chinese: 中国; traditional Chinese: 中國; pinyin: Zhōngguó"),
    ("zh|p=Zhōngguó", "pinyin: Zhōngguó"),
    ("nihongo|Tokyo Tower|東京タワー|Tōkyō tawā", "Tokyo Tower"),
    ("Nihongo4|Tokyo Tower|東京タワー", "Tokyo Tower"),
    ("nihongo3|joke|冗談|jōdan", "jōdan (冗談, joke)"),
    ("currency|5|GBP", "£5"),
    ("US$|5|year=2010", "US$5"),
    ("INR", "₹"),
    ("INRConvert|500|c", "₹500 crore"),
    ("£", "£"),
    ("w|Cromer", "Cromer"),
    ("frac|12|1|2", "\xa012 1⁄2"),
    ("frac|1|2", "\xa01⁄2"),
    ("×", "×"),
    ("10^|6", "10^6"),
    ("e|-9", " × 10^−9"),
    ("music|flat", "♭"),
    ("closed-open|0,1", "[0,1)"),
    ("percentage|22|50|1", "44.0%"),
    ("circa|1500|1510", "c. 1500 – c. 1510"),
    ("reign|1500|1510", "r. 1500–1510"),
    ("birth date|1980|05|1", "May 1, 1980"),
    ("start date|1980|5|1|df=y", "1 May 1980"),
    ("harvtxt|Boolos|Jeffrey|1974", "Boolos & Jeffrey (1974)"),
    ("age|1980|5|1", ""),
    ("coord|1|N|2|E", ""),
    ("citation needed|date=May 2020", ""),
    ("IPA|/a/", ""),
]


@pytest.mark.parametrize(("content", "text"), ENGLISH)
def test_english_templates_read_as_mediawiki_shows_them(content, text):
    """English templates give the text that MediaWiki shows, or nothing where the arguments do not determine it."""
    assert templates_of("en").text(content) == text


OTHERS = [
    ("fr", "unité|5|km", "5 km"),
    ("fr", "unité|444257 Berlinois", "444 257 Berlinois"),
    ("fr", "nombre|1.36|enfant", "1,36 enfant"),
    ("fr", "unité|10|m||s|-1", "10 m s−1"),
    ("fr", "date|1|mai|1900|en sport", "1er mai 1900"),
    ("fr", "date|lundi|1|mai|1900", "lundi 1er mai 1900"),
    ("fr", "date|29 9 2019", "29 septembre 2019"),
    ("fr", "date-|mai 2005", "mai 2005"),
    ("fr", "s-|XIX|e", "XIXe siècle"),
    ("fr", "s mini-|XIX", "XIXe siècle"),
    ("fr", "-s-|V|e", "Ve siècle av. J.-C."),
    ("fr", "sp-|XVI|e|au|XVIII|e|s", "XVIe au XVIIIe siècles"),
    ("fr", "XIXe siècle", "XIXe siècle"),
    ("fr", "1er|mai", "1er mai"),
    ("fr", "no|3", "no 3"),
    ("fr", "citation|bonjour", "« bonjour »"),
    ("fr", "guil|bonjour", "« bonjour »"),
    ("fr", "Lien|langue=en|trad=ASFINAG|fr=Asfinag|texte=l'Asfinag", "l'Asfinag"),
    ("fr", "en langue|de|Österreich", "en allemand : Österreich"),
    ("fr", "heure|4|30", "4 h 30"),
    ("de", '"|Freude', "„Freude“"),
    ("de", "enS|joy", "englisch joy"),
    ("de", "Höhe|120|DE-NHN", "120 m ü. NHN"),
    ("de", "JULGREGDATUM|26|4|1795|Link=true", "26. April 1795"),
    ("it", "M|61.000||km/h", "61.000 km/h"),
    ("it", "M|48|k|B", "48 kB"),
    ("it", "exp|1,9|19", "1,9 × 10^19"),
    ("pt", "fmtn|200000", "200 000"),
    ("pt", "séc|XXI", "século XXI"),
    ("pt", "dtext|1|5|1900", "1 de maio de 1900"),
    ("pt", "Lang-de|Berlin", "em alemão: Berlin"),
    ("ru", "lang-de|Bär", "нем. Bär"),
    ("ru", "нп5|Квартал|квартал|de|Viertel", "квартал"),
    ("ru", "нп5|Квартал||de|Viertel", "Квартал"),
    ("ru", "num|11848|км", "11 848 км"),
    ("uk", "нп|Сьомий лист|Сьомому листі|en|Seventh Letter", "Сьомому листі"),
    ("ja", "仮リンク|加藤訓子|it|Kuniko Kato", "加藤訓子"),
    ("ja", "仮リンク|加藤訓子|it|Kuniko Kato|label=加藤", "加藤"),
    ("ja", "lang-en-short|game", "英: game"),
    ("ja", "読み仮名|医科学|いかがく", "医科学（いかがく）"),
    ("zh", "link-de|边境总督|Markgraf", "边境总督"),
    ("zh", "le|边境总督|Margrave|总督", "总督"),
    ("zh", "internal link helper|甲|A|lang-code=en", "甲"),
    ("zh", "lang-de|Berlin", "德語：Berlin"),
    ("ar", "ألمانية|Berlin", "بالألمانية: Berlin"),
    ("ar", "وإو|عر=برلين|تر=Berlin|لغ=de", "برلين"),
    ("es", "unidad|12000|km", "12 000 km"),
    ("xx", "lang|fr|mot", "mot"),
    ("pt-br", "séc|XXI", "século XXI"),
    ("simple", "lang-la|rex", "Latin: rex"),
]


@pytest.mark.parametrize(("language", "content", "text"), OTHERS)
def test_templates_of_other_languages_are_read_by_their_tables(language, content, text):
    """Templates of other languages are read by their tables, and languages without a table have the templates of all
    wikis.
    """
    assert templates_of(language).text(content) == text


IN_SENTENCES = [
    ("Er wiegt {{zahl unbekannt|5}} kg.", "Er wiegt 5 kg."),
    ("Il dit ''{{inconnu|bonjour}}'' souvent.", "Il dit bonjour souvent."),
    ("被称为{{unknown|腓特烈城}}的新城区", "被称为腓特烈城的新城区"),
    ("A fact.{{unknown mark|source}} More.", "A fact. More."),
    ("A word{{unknown mark|source}} more.", "A word more."),
    ("* {{unknown|Berlin}} [http://x.org site]", "site"),
    ("{{unknown box|text}}\nA word.", "A word."),
    ("A word {{unknown box|text}}", "A word"),
    ("A {{unknown|one|two}} word.", "A word."),
    ("A {{unknown|name=one}} word.", "A word."),
    ("A {{unknown|fr}} word.", "A word."),
    ("It has {{area/Japan|Osaka}} km.", "It has km."),
    ("A {{unknown|http://x.org/y}} word.", "A word."),
    ("A {{unknown|image.png}} word.", "A word."),
    ("A {{flagicon|France}} {{citation needed|x}} word.", "A word."),
    ("About {{formatnum:{{population of|Berlin}}}} people.", "About people."),
    ("It is 12{{frac|1|2}} miles, or 3{{×}}4.", "It is 12 1⁄2 miles, or 3×4."),
    ("So it was. {{as of|2014}}, it is {{val|1.98|e=30|u=kg}}.", "So it was. As of 2014, it is 1.98 × 10^30 kg."),
    ("About {{formatnum:3769495}} people.", "About 3,769,495 people."),
    ("{{PAGENAME}} is a town.", "Berlin is a town."),
]


@pytest.mark.parametrize(("wikitext", "prose"), IN_SENTENCES)
def test_an_unknown_template_is_text_only_inside_a_sentence(wikitext, prose):
    """Inside a sentence, an unknown template gives its only argument if that is text; marks, boxes and numbers of other
    templates give nothing.
    """
    assert to_prose(wikitext, NAMESPACES, title="Berlin") == prose


def test_a_template_that_is_lost_inside_another_leaves_no_mark():
    """A lost argument makes a number empty, and does not remove text."""
    templates = templates_of("en")
    assert templates.text(f"nowrap|about {LOST}5") == "about 5"
    assert templates.text(f"convert|1{LOST}|km") == templates.text(f"formatnum:1{LOST}") == ""
    assert to_prose("A {{nowrap|{{unknown}} b", NAMESPACES) == "A nowrap| b"


@pytest.mark.parametrize("language", LANGUAGES)
def test_tables_are_sound(language):
    """Every pattern is understood, and every name is in its normal form and stands in the table once."""
    table = tomllib.loads((TABLES / f"{language}.toml").read_text(encoding="utf-8"))
    names = [*table["gone"], *(name for names in table["text"].values() for name in names)]
    assert names == [template_name(name) for name in names]
    assert sorted(names) == sorted(set(names))
    templates = templates_of(language)
    for name in names:
        if not set(name) & set("*#@~"):
            assert templates.fate(name) is not Fate.UNKNOWN
            for number in range(6):
                assert isinstance(templates.text("|".join([name, *["x"] * number])), str)


@pytest.mark.parametrize("argument", ["a" + " " * 100_000, " " * 100_000, "1 " * 50_000, "a=" * 50_000, "1," * 50_000])
@pytest.mark.parametrize("name", ["convert", "val", "unité", "formatnum:", "chem2", "date", "unknown", "zh"])
def test_time_is_linear(name, argument):
    """The time is linear, also where an argument looks like a name or number without end."""
    start = time.process_time()
    templates_of("fr").text(f"{name}|{argument}")
    templates_of("en").text(f"{name}|{argument}")
    assert time.process_time() - start < 5
