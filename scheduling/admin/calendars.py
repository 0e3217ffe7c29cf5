"""The page of calendars: their holidays, who goes by them, and what a new file would move."""

from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.timezone import localdate
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
)

from scheduling import calendar_use, calendars, configuration
from scheduling.admin.when import shown
from scheduling.calendar_use import User
from scheduling.recurrence import ImpossibleSchedule

DAYS = 366
HOLIDAYS_SHOWN = 40
USERS_SHOWN = 50
MOVES_SHOWN = 200
LONGEST = 5 * DAYS


@dataclass(slots=True)
class Card:
    """What the page tells of a calendar; ``fault`` says why it cannot be read."""

    name: str
    fault: str = ""
    holidays: list[tuple[Any, str]] = field(default_factory=list)
    more_holidays: int = 0
    users: list[tuple[User, list[str]]] = field(default_factory=list)
    more_users: int = 0


class CompareForm(forms.Form):
    """A file that shall take a calendar's place; it is only read."""

    calendar = forms.ChoiceField(
        choices=lambda: [(name, name) for name in calendars.stamps()],
        widget=UnfoldAdminSelectWidget,
    )
    file = forms.FileField(
        label="New file",
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".ics,text/calendar"}),
        help_text="It is compared and not kept. Put it into the folder yourself.",
    )
    days = forms.IntegerField(
        label="Days from now",
        min_value=1,
        max_value=LONGEST,
        initial=DAYS,
        widget=UnfoldAdminIntegerFieldWidget,
    )

    def clean_file(self) -> calendars.Calendar | None:
        """Read it as a calendar."""
        file = self.cleaned_data["file"]
        if file.size > calendars.LARGEST:
            raise forms.ValidationError(f"It is larger than {calendars.LARGEST} bytes.")
        try:
            return calendars.parse(self.cleaned_data.get("calendar", ""), file.read())
        except ImpossibleSchedule as error:
            raise forms.ValidationError(str(error)) from None

    def compared(self) -> list[tuple[User, str, str]] | None:
        """Return each move as schedule, before and after; ``None`` with the errors in the form."""
        if not self.is_valid():
            return None
        name = self.cleaned_data["calendar"]
        users = calendar_use.users_of(name).read
        try:
            moves_of = calendar_use.moves(
                users, name, self.cleaned_data["file"], self.cleaned_data["days"]
            )
        except ImpossibleSchedule as error:
            self.add_error("calendar", str(error))
            return None
        return [
            (user, _said(move.before, user), _said(move.after, user))
            for user, moves in moves_of
            for move in moves
        ]


def page(request: HttpRequest, model_admin: Any) -> HttpResponse:
    """Show the calendars, and by POST what a file would move. The caller checks permissions."""
    form = CompareForm(request.POST or None, request.FILES or None)
    moves = form.compared() if request.method == "POST" else None
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Calendars",
        "has_folder": bool(configuration.read("SCHEDULING_CALENDARS", "")),
        "cards": [_card(name) for name in calendars.stamps()],
        "form": form,
        "moves": None if moves is None else moves[:MOVES_SHOWN],
        "is_empty": moves is not None and form.cleaned_data["file"].is_empty,
        "more_moves": max(len(moves or ()) - MOVES_SHOWN, 0),
    }
    return TemplateResponse(request, "scheduling/admin/calendars.html", context)


def _card(name: str) -> Card:
    card = Card(name)
    try:
        holidays = calendars.read(name).holidays(localdate(), DAYS)
    except ImpossibleSchedule as error:
        card.fault = str(error)
    else:
        card.holidays = holidays[:HOLIDAYS_SHOWN]
        card.more_holidays = max(len(holidays) - HOLIDAYS_SHOWN, 0)
    users = calendar_use.users_of(name, USERS_SHOWN)
    card.users = [(user, [_said(fire, user) for fire in user.next_fires]) for user in users.read]
    card.more_users = users.hidden
    return card


def _said(moment: Any, user: User) -> str:
    return shown(moment, user.zone) if moment is not None else ""
