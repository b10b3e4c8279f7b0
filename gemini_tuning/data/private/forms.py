"""The forms of personal numbers and addresses, each with what tells it from other numbers: checksum, table or context.

Every function takes the text and its folded twin (see `personal.fold_ascii`: one ASCII character for each character, so
positions are the same in both) and gives `(start, end)` pairs. All patterns are anchored at a rare character and
bounded, so the time is linear in the length of the text, whatever is in it.

Sources: ISO/IEC 7812 and 7064, GB 11643-1999, the SWIFT IBAN registry, ITU-T E.164 and the North American Numbering
Plan, RFC 2606, 4291, 5737 and 6890, all from memory of their public text, as of 2026.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Iterator

Pair = tuple[int, int]

# A number does not start or end inside a word, an identifier or a decimal fraction.
_LEFT = r"(?<![0-9A-Za-z_])(?<![0-9]\.)"
_RIGHT = r"(?![0-9A-Za-z_])(?!\.[0-9])"
_DIGITS = re.compile(r"[0-9]")
_RUN = re.compile(r"[0-9](?:[ \-./()]{0,2}[0-9]){6,}+")


def _digits(text: str) -> str:
    return "".join(_DIGITS.findall(text))


def runs(folded: str) -> list[Pair]:
    """Runs of seven digits and more with at most two separators between them: where all the numbers are."""
    found = []
    for match in _RUN.finditer(folded):
        start, end = match.span()
        found.append((start - (start > 0 and folded[start - 1] in "+("), end))
    return found


# --- email ---------------------------------------------------------------------------------------------------------

_LOCAL = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+'-\u00c0"
_DOMAIN = re.compile(r"(?:[0-9A-Za-z\u00c0](?:[0-9A-Za-z\u00c0-]{0,61}[0-9A-Za-z\u00c0])?\.){1,8}([A-Za-z]{2,24})")
_FILES = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "bmp", "ico", "pdf"})
"""`icon@2x.png` is the name of a picture."""
_RESERVED = re.compile(r"(?:.*\.)?(?:example\.(?:com|org|net)|example|test|invalid|localhost)")
"""Names that RFC 2606 keeps for documents: nobody has an address there."""
_LOCAL_LENGTH = 64
_LOGIN = re.compile(r"://[^\s/?#@]{1,64}:[^\s/?#@]{1,128}\Z")


def emails(text: str, folded: str) -> Iterator[Pair]:
    """Addresses around each `@`. Those of documents (`example.com`) and the login `git@` are nobody's."""
    at = folded.find("@")
    while at >= 0:
        before = folded[max(0, at - _LOCAL_LENGTH) : at]
        local = before[len(before.rstrip(_LOCAL)) :].lstrip(".-'+%")
        domain = _DOMAIN.match(folded, at + 1) if local and local[-1] != "." else None
        if domain is not None and not folded[domain.end() : domain.end() + 1].isdigit():
            known = domain.group(1).lower() in _FILES or _RESERVED.fullmatch(domain.group().lower())
            # In https://user:password@host the part before the sign is a password: `secrets` has it.
            scheme = folded.rfind("://", max(0, at - 200), at)
            login = _LOGIN.match(folded, scheme, at) if scheme >= 0 else None
            if not known and not login and local.lower() != "git":
                yield at - len(local), domain.end()
        at = folded.find("@", at + 1)


# --- Chinese resident ids ------------------------------------------------------------------------------------------

_RESIDENT = re.compile(
    _LEFT + r"(?=([1-8][0-9]{5}([ -]?)(?:18|19|20)[0-9]{2}[01][0-9][0-3][0-9]\2[0-9]{3}[0-9Xx])" + _RIGHT + ")"
)
_PROVINCES = frozenset(
    {11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46, 50, 51, 52, 53, 54}
    | {61, 62, 63, 64, 65, 71, 81, 82, 83}
)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def is_resident_id(number: str) -> bool:
    """Whether 18 characters are a Chinese resident id: province, date of birth, ISO 7064 MOD 11-2 check character."""
    if len(number) != 18 or not number[:17].isdigit() or int(number[:2]) not in _PROVINCES:
        return False
    try:
        datetime.date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, number, strict=False))
    return number[17].upper() == "10X98765432"[total % 11]


def resident_ids(text: str, folded: str, run: Pair) -> Iterator[Pair]:
    """Resident ids, as one run or parted 6-8-4."""
    # The check character X stands after the run of digits.
    for match in _RESIDENT.finditer(folded, run[0], min(run[1] + 3, len(folded))):
        if is_resident_id(match.group(1).replace(" ", "").replace("-", "")):
            yield match.span(1)


# --- bank cards ----------------------------------------------------------------------------------------------------

_CARD = re.compile(
    _LEFT + r"(?=(?:([2-9][0-9]{12,18})"
    r"|([2-9][0-9]{3}([ -])[0-9]{4}\3[0-9]{4}\3[0-9]{1,4})((?:\3[0-9]{1,3})?)"
    r"|([36][0-9]{3}([ -])[0-9]{6}\6[0-9]{4,5})"
    r"|(6[0-9]{5}[ -][0-9]{10,13}))" + _RIGHT + ")"
)
# (first prefix, last prefix, lengths); the first row that fits decides.
_ISSUERS = (
    ("2200", "2204", range(16, 20)), ("2221", "2720", (16,)), ("34", "34", (15,)), ("37", "37", (15,)),
    ("3528", "3589", range(16, 20)), ("300", "305", (14, 16)), ("36", "36", (14, 16)), ("38", "39", (14, 16)),
    ("4", "4", (13, 16, 19)), ("51", "55", (16,)), ("5018", "5018", range(13, 20)), ("5020", "5020", range(13, 20)),
    ("5038", "5038", range(13, 20)), ("508", "508", (16,)), ("5893", "5893", range(13, 20)),
    ("6304", "6304", range(13, 20)), ("6759", "6763", range(13, 20)), ("6011", "6011", range(16, 20)),
    ("60", "60", (16,)), ("62", "62", range(16, 20)), ("644", "649", range(16, 20)), ("65", "65", range(16, 20)),
    ("81", "82", range(16, 20)), ("9558", "9558", (19,)),
)  # fmt: skip


def is_card(number: str) -> bool:
    """Whether 13 to 19 digits are a card number: an issuer's prefix with its length, and Luhn's checksum."""
    if not 13 <= len(number) <= 19 or not number.isdigit() or len(set(number)) < 2:
        return False
    for first, last, lengths in _ISSUERS:
        if first <= number[: len(first)] <= last:
            if len(number) not in lengths:
                return False
            break
    else:
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in number[-2::-2])
    return (sum(doubled) + sum(map(int, number[-1::-2]))) % 10 == 0


def cards(text: str, folded: str, run: Pair) -> Iterator[Pair]:
    """Card numbers, as one run or in the groups that are printed on cards."""
    for match in _CARD.finditer(folded, run[0], min(run[1] + 2, len(folded))):
        start = match.start()
        plain, four, _, more, amex, _, union = match.groups()
        # A group after four times four may be the end of a long number, or the month on it.
        for form in ([four + more, four] if more else [four]) if four else [plain or amex or union]:
            if is_card(_digits(form)):
                yield start, start + len(form)
                break


# --- IBAN ----------------------------------------------------------------------------------------------------------

_IBAN_START = re.compile(r"(?<![0-9A-Za-z_])([A-Za-z]{2})[0-9]{2}")
_BEFORE = 16
_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip


def is_iban(number: str) -> bool:
    """Whether letters and digits without spaces are an IBAN: the country's length, and 1 modulo 97."""
    number = number.upper()
    if not number.isascii() or not number.isalnum() or _IBAN_LENGTHS.get(number[:2]) != len(number):
        return False
    return int("".join(str(int(char, 36)) for char in number[4:] + number[:4])) % 97 == 1


def ibans(text: str, folded: str, run: Pair) -> Iterator[Pair]:
    """IBANs, as one run or in groups of four: every country's has seven digits together, after at most 12 others."""
    for match in _IBAN_START.finditer(folded, max(0, run[0] - _BEFORE), run[1]):
        length = _IBAN_LENGTHS.get(match.group(1).upper())
        if length is None:
            continue
        start = match.start()
        for end in (start + length, start + length + (length - 1) // 4):
            form = folded[start:end]
            number = form if end == start + length else form.replace(form[4:5], "") if form[4:5] in (" ", "-") else ""
            after = folded[end : end + 1]
            if (
                len(number) == length
                and is_iban(number)
                and not (after.isascii() and (after.isalnum() or after == "_"))
            ):
                yield start, end
                break


# --- US social security numbers ------------------------------------------------------------------------------------

_SSN = re.compile(
    _LEFT + r"(?=((?!000|666|9)[0-9]{3}([ -]?)(?!00)[0-9]{2}\2(?!0000)[0-9]{4})" + _RIGHT + ")"
)  # fmt: skip
_SSN_WORD = re.compile(r"\bssn\b|social[ -]security|\bitin\b", re.IGNORECASE)
_SSN_NEAR = 60


def ssns(text: str, folded: str, run: Pair) -> Iterator[Pair]:
    """Nine digits 3-2-4 that stand after the words: without them such a number is anything."""
    for match in _SSN.finditer(folded, run[0], min(run[1] + 2, len(folded))):
        if _SSN_WORD.search(folded, max(0, match.start() - _SSN_NEAR), match.start()):
            yield match.span(1)


# --- phones --------------------------------------------------------------------------------------------------------

_CODES = re.compile(
    r"7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[124]|9[0-58]"
    r"|2[1-689][0-9]|3[578][0-9]|42[0-9]|5[09][0-9]|6[7-9][0-9]|8[0578][0-9]|9[679][0-9]"
)
"""Calling codes but +1 and +86, which have forms of their own."""
_INTERNATIONAL = re.compile(r"(?<![0-9A-Za-z_+])\+([2-9](?:[ \-./()]{0,2}[0-9]){7,14})(?![0-9A-Za-z_])")
_AMERICAN = re.compile(
    r"(?<![0-9A-Za-z_+])(?<![0-9A-Za-z][.\-/])"
    r"(?:(?:\+?1[ .\-]?)?(?:\([2-9][0-9]{2}\)[ .\-]?|[2-9][0-9]{2}[.\-])[2-9][0-9]{2}[.\- ][0-9]{4}"
    r"|\+1[ .\-]?\(?[2-9][0-9]{2}\)?[ .\-]?[2-9][0-9]{2}[ .\-]?[0-9]{4})"
    r"(?![0-9_])(?![.\-][0-9])"
)
_CHINESE_MOBILE = re.compile(
    r"(?<![0-9A-Za-z_+])(?<![0-9A-Za-z][.\-/])(?:(?:\+|00)?86[ \-]?)?1[3-9][0-9](?:[0-9]{8}|([ \-])[0-9]{4}\1[0-9]{4})"
    r"(?![0-9A-Za-z_])(?!\.[0-9])"
)
_CHINESE_LANDLINE = re.compile(
    r"(?<![0-9A-Za-z_+])(?<![0-9A-Za-z][.\-/])"
    r"(?:(?:\+|00)?86[ \-]?(?:10|2[0-9]|[3-9][0-9]{2})[ \-]|\(0(?:10|2[0-9]|[3-9][0-9]{2})\) ?"
    r"|0(?:10|2[0-9]|[3-9][0-9]{2})-)[2-9][0-9]{2,3}[ \-]?[0-9]{4}(?![0-9A-Za-z_])"
)
_SAID = re.compile(r"[+(]?[0-9](?:[ \-./()]{0,2}[0-9]){6,14}(?![0-9A-Za-z_])(?!\.[0-9])")
_PHONE_WORD = re.compile(
    r"(?:\b(?:tele)?phone|\btel\.?|\bmobile|\bcell(?:phone)?|\bfax|\bwhatsapp"
    r"|\b(?:call|reach|phone|text)(?: (?:me|us|him|her|them))?(?: (?:at|on))?)"
    r"(?:[ _](?:number|no\.?|num))?(?: is)?[\"']?[ ]?[:=#]?[ ]?[\"']?\Z"
    r"|(?:电话|手机|座机|传真|联系方式|手机号|微信)(?:号码?)?(?:是|为)?[\"']?[ ]?[:：]?[ ]?[\"']?\Z",
    re.IGNORECASE,
)
_WORD_LENGTH = 32


def phones(text: str, folded: str, run: Pair) -> Iterator[Pair]:
    """Phones: with a calling code, North American with separators, Chinese, or any that a word before says is one."""
    # The space or bracket before, and the letter after, belong to the question whether it is one.
    end = min(run[1] + 3, len(folded))
    for pattern in (_AMERICAN, _CHINESE_MOBILE, _CHINESE_LANDLINE):
        for match in pattern.finditer(folded, run[0], end):
            yield match.span()
    for match in _INTERNATIONAL.finditer(folded, run[0], end):
        if _CODES.match(_digits(match.group())):
            yield match.span()
    said = _PHONE_WORD.search(text[max(0, run[0] - _WORD_LENGTH) : run[0]])
    if said and (number := _SAID.match(folded, run[0], end)):
        yield number.span()


# --- IP addresses --------------------------------------------------------------------------------------------------

_IPV4 = re.compile(
    r"(?<![0-9A-Za-z_.\-])(?<![A-Za-z]/)[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9A-Za-z_\-/]|\.[0-9])"
)
_VERSION = re.compile(r"(?:\bv|version|\bver\.?|release|firmware|build|版本号?)[ :：]{0,2}\Z", re.IGNORECASE)
_IPV6 = re.compile(r"[23](?<![0-9A-Za-z:.].)[0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}(?![0-9A-Za-z:])")
_NOBODY_4 = tuple(
    ipaddress.IPv4Network(network) for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
    )
)  # fmt: skip
"""Loopback, private, documentation, multicast: no network's own table is used, since Python's changes by version."""
_NOBODY_6 = ipaddress.IPv6Network("2001:db8::/32")


def ipv4s(text: str, folded: str) -> Iterator[Pair]:
    """IPv4 addresses of the public net. `1.2.3.4` (single digits only) is rather a version or a section."""
    for match in _IPV4.finditer(folded):
        try:
            address = ipaddress.IPv4Address(match.group())
        except ValueError:
            continue
        if len(match.group()) == 7 or any(address in network for network in _NOBODY_4):
            continue
        if not _VERSION.search(text[max(0, match.start() - 12) : match.start()]):
            yield match.span()


def ipv6s(text: str, folded: str) -> Iterator[Pair]:
    """IPv6 addresses of the public net (2000::/3), but for those of documents."""
    for match in _IPV6.finditer(folded):
        try:
            address = ipaddress.IPv6Address(match.group())
        except ValueError:
            continue
        if address not in _NOBODY_6:
            yield match.span()
