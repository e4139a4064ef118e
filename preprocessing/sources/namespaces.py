"""Names of the namespaces whose links are dropped, and the prefixes of links to other languages.

A dump names the namespaces of its wiki, but not their aliases: German articles also say `[[Bild:...]]`, Portuguese
ones `[[Imagem:...]]`. Source: the siteinfo of each Wikipedia (`api.php?action=query&meta=siteinfo`), as the settings
of the DBpedia extraction framework and the base configuration of Parsoid keep it, read in 2026.
"""

from functools import cache

from preprocessing.languages import CODES

CANONICAL_NAMESPACES = ("File", "Image", "Category")
"""Names that every MediaWiki accepts, whatever its language."""
MEDIA_NAMESPACE = "Media"
"""Name, in every MediaWiki, of the namespace of direct links to files, which are shown, unlike links to File."""

_ALIASES = """
ab: Изображение, Категория, Файл
ace bjn: Berkas, Gambar, Kategori
af: Beeld
als bar de frr lb rm stq sv: Bild
alt av cv inh koi krc kv lbe myv: Изображение
ami pwn szy trv wuu zh-min-nan: 分类, 分類, 图像, 图片, 圖像, 圖片, 文件, 档案, 檔案
an ay cbk-zam gn guc qu: Imagen
ang: Biliþ
ar arz: صورة
ary: صورة, ملف
as: CAT, चित्र, श्रेणी, চিত্র, শ্রেণী
ast: Archivu, Imagen, Imaxe, Imaxen
avk: Ewava, Imagen, Изображение
az: FL, KAT, Şəkil
azb fa pnb: تصویر
ba: Изображение, Рәсем, Төркөм
ban bew bug gor id jv mad min nia: Gambar
bat-smg: Kategorija, Vaizdas
be be-tarask be-x-old: Выява
bg: Картинка
br: Skeudenn
bs: Slika
bxr mdf mhr mrj tyv: Изображение, Категория
ca oc: Imatge
cdo: 分类, 图像, 图片, 圖像, 圖片, 档案, 檔案
ce: Изображение, Кадегар, Сурт, Тоба, Хlум
ceb: Imahen
ckb: پ
co eml fur lld pms: Immagine
commons: CAT
crh: Resim, Категория, Ресим, Файл
cs sk: Obrázok
csb pl: Grafika
cu: Ви́дъ, Видъ, Категория
da: Billede
diq: Kategoriye
dsb hsb: Bild, Wobraz
dtp ms: Imej
dv: ފައިލް
el: Εικόνα
es: CAT, Imagen
et vep: Pilt
eu: Irudi
ext: Categoria, Imagen
ff: Catégorie, Fichier
fi olo smn: Kuva
frp: Émâge
ga: Rang
gag: Dosya, Kategori, Resim
gan: CAT, 分类, 图像, 图片, 圖像, 圖片, 文件, 档案, 檔案
gl: Arquivo, Imagem, Imaxe
glk: تصویر, رده, پرونده
gom: श्रेणी
gu: CAT, શ્રે
hak: 分类, 图像, 图片, 圖像, 圖片, 文件, 档案
haw: Kiʻi
he: קו, קט, תמונה
hi: श्र
hr: CT, DT, KT, Slika
ht: Imaj
hu: Kép
ia: Imagine
ig: Ákwúkwó orünotu, Ébéonọr
ii za: 分類, 图像, 图片, 圖像, 圖片, 档案, 檔案
io: Imajo
it: CAT, Immagine
ja: カテゴリ, 画像
ka xmf: სურათი
kaa: Sanat, Su'wret, Swret, Санат, Сурет, سانات, سۋرەت
kbd: Категория
kk: Sanat, Swret, سانات, سۋرەت
kl: Billede, Fil, Kategori
km: ចំណាត់ក្រុម, ចំនាត់ថ្នាក់ក្រុម, រូបភាព
ko: 그림
ksh: Beld, Belld, Bild, Kategorie, Katejori, Kattejori, Saachjrop, Saachjropp, Sachjrop
ku: پۆل, پەڕگە
kw: Class
la: Imago
lad: Archivo, Categoría, Dossia, Imagen, Katēggoría
lez: Şəkil, Изображение
li: Aafbeilding, Afbeelding, Kategorie
lij nap: Categoria, Immagine
lmo: Categuria, Immagine, Imàjine
lrc: أسگ, تصویر
mai: CA
mg wo: Catégorie
mk: Слика
ml: ചി, ചിത്രം, പ്ര, വ, വി, വിഭാഗം
mn: Зураг
mo rmy ro: Fişier, Imagine
mwl: Arquivo, Categoria, Ficheiro, Imagem
mzn: تصویر, رده
nah: Categoría, Imagen
nds-nl: Afbeelding, Categorie, Kattegerie, Ofbeelding
nds: Datei
nl vls zea: Afbeelding
nn no: Bilde
or: ବିଭାଗ
os: Изображение, Ныв
pdc: Bild, Datei, Kategorie
pfl: Bild, Datei, Kadegorie, Kategorie
pnt: Εικόνα, Εικόναν
ps: انځور
pt: Arquivo, Imagem
ru: Изображение, К
rue uk: Зображення, Изображение, Категория
sa: चित्रं, चित्रम्
sah: Изображение, Ойуу
sc: Immàgini
scn: Immagine, Mmàggini
sd: عڪس
se: Bilde, Kuva
sh: DT, Fotografija, KAT, KT, Slika, ДТ, Датотека, КАТ, КТ, Категорија
si: රූපය
sq: Figura, Kategori
sr: Datoteka, Fotografija, Kategorija, Slika, Слика, Фотографија
srn: Afbeelding, Categorie
sw: Picha
szl: Grafika, Kategoria
tay: biru' na zayzyuwaw, 分类, 分類, 图像, 图片, 圖像, 圖片, 文件, 档案, 檔案
te: ఫైలు, బొమ్మ
tet: Arquivo, Imagem, Kategoría
th: ภาพ
tl: Kaurian
tr: KAT, Resim
tt: Räsem, Törkem, Изображение, Категория, Рәсем
udm: Изображение, Суред
ur: تصویر, ملف
uz: Kategoriya, Tasvir
vec: Immagine, Imàjine
vi: Hình
vo: Magod
war: Fayl
xal: Зург, Изображение, Янз
yi: בילד, קאטעגאריע, תמונה
yo: Àwòrán
zh-yue: 分类, 分類, 图, 图像, 圖, 圖像, 文件, 档, 档案, 檔, 檔案, 类, 類
zh: CAT, 分类, 分類, 图像, 图片, 圖像, 圖片, 文件, 档案, 檔案
"""
"""Codes of Wikipedias, and their further names of the namespaces of files and of categories."""

_PREFIXES = CODES | {"sr-cyrl", "sr-latn", "zh-hans", "zh-hant"}
"""Prefixes of links to other languages; articles use codes of scripts in the same way."""


def namespace_aliases(wiki: str) -> set[str]:
    """Further names of the namespaces of files and of categories in the Wikipedia with this code, such as `de`."""
    lines = (line.partition(": ") for line in _ALIASES.strip().split("\n"))
    return {name for codes, _, names in lines if wiki in codes.split() for name in names.split(", ")}


@cache
def namespace_keys(names: tuple[str, ...]) -> frozenset[str]:
    """The `namespace_key` of each name."""
    return frozenset(map(namespace_key, names))


def namespace_key(name: str) -> str:
    """A namespace's name in normal form: MediaWiki ignores case and treats `_` as a space."""
    return " ".join(name.replace("_", " ").split()).lower()


def is_interlanguage(prefix: str) -> bool:
    """Whether a link with this prefix leads to the same article in another language, and so is not shown."""
    return namespace_key(prefix) in _PREFIXES
