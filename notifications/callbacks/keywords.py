"""Words that somebody answers by SMS: STOP, START and HELP, in some languages.

STOP has the words that Twilio and Amazon take, of which carriers ask for some (CTIA Messaging
Principles, 5.1.3), and what the same is called in other languages.
"""

import unicodedata
from collections.abc import Iterable

from django.conf import settings


def word_of(text: str) -> str:
    """Return ``stop``, ``start`` or ``help`` for a text that is such a word alone, else empty.

    How it is written and what stands around it that is no letter or digit does not count.
    """
    word = _plain(text)
    if not word:
        return ""
    if word in STOP or word in _plain_all(settings.SMS_STOP_WORDS):
        return "stop"
    if word in START or word in _plain_all(settings.SMS_START_WORDS):
        return "start"
    return "help" if word in HELP else ""


def _plain(text: str) -> str:
    """Return the letters and digits of a text: full-width ones, in quotes or with an emoji, too."""
    letters = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in letters if char.isalnum())


def _plain_all(words: Iterable[str]) -> frozenset[str]:
    return frozenset(map(_plain, words))


STOP = _plain_all(
    (
        # https://www.twilio.com/docs/proxy/opt-out-keywords and the CTIA's "opt out", "revoke"
        *("stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "opt-out"),
        *("arret", "arrett", "arrete", "arrêt", "arrête", "arrêté"),  # French
        # https://docs.aws.amazon.com/sms-voice/latest/userguide/keywords-required.html
        *("remove", "td"),
        *("stopp", "stoppen", "abmelden", "afmelden", "afmeld", "avregistrera"),  # Germanic
        *("alto", "baja", "parar", "pare", "detener", "cancelar", "salir", "sair"),  # Iberian
        *("basta", "annulla", "désabonner", "désinscrire"),  # Italian, French
        *("lopeta", "peruuta"),  # Finnish
        *("iptal", "dur", "ret"),  # Turkish
        *("стоп", "отписаться", "отписка", "відписатися"),  # Russian, Ukrainian, Bulgarian
        *("στοπ", "διακοπή"),  # Greek
        *(
            "停止",
            "退订",
            "退訂",
            "取消",
            "配信停止",
            "수신거부",
            "중지",
        ),  # Chinese, Japanese, Korean
        *("توقف", "إلغاء", "הסר", "הסרה"),  # Arabic, Hebrew
        *("ยกเลิก", "berhenti", "huy", "hủy"),  # Thai, Indonesian, Vietnamese
    )
)
START = _plain_all(("start", "unstop", "yes"))
HELP = _plain_all(("help", "info", "hilfe", "aide", "ayuda", "aiuto"))
