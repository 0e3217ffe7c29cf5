"""What a recipient may ask of the simulator."""

from notifications.providers.simulator import behaviour_of


def test_a_recipient_can_name_no_file_and_end_no_process() -> None:
    asked = behaviour_of("", "record=/etc/passwd&result=crash&latency=1")
    assert (asked.record, asked.result, asked.latency) == ("", "sent", 1.0)


def test_an_account_can_do_both() -> None:
    told = behaviour_of("record=/tmp/seen&result=crash", "")
    assert (told.record, told.result) == ("/tmp/seen", "crash")
