"""An example of each body that the API takes; the tests send them all, in this order."""

from typing import Any

# Operation → name of the example → body. What one makes, later ones name.
BODIES: dict[str, dict[str, Any]] = {
    "create_template": {"an email": {"name": "order-shipped", "channel": "email"}},
    "create_version": {
        "in English and German": {
            "parts": {
                "subject": "Order {{ number }} was shipped",
                "text": "Dear {{ name }}, your order is on its way.",
            },
            "variants": {
                "de": {
                    "subject": "Bestellung {{ number }} ist unterwegs",
                    "text": "Liebe {{ name }}, Ihre Bestellung ist unterwegs.",
                }
            },
            "sample_context": {"number": 7, "name": "Ada"},
        }
    },
    "roll_back_template": {"to the first version": {"version": 1}},
    "preview_template": {
        "a version with a context": {
            "version": 1,
            "locale": "de",
            "context": {"number": 8, "name": "Eve"},
        }
    },
    "save_recipient": {
        "with a verified address and two devices": {
            "id": "customer-17",
            "addresses": {
                "email": {"address": "ada@example.org", "verified": True},
                "push": ["token-of-her-phone", "token-of-her-tablet"],
            },
            "locale": "de-AT",
            "timezone": "Europe/Vienna",
            "country": "AT",
            "attributes": {"plan": "gold"},
        }
    },
    "save_audience": {
        "gold customers who agreed to offers by mail": {
            "name": "gold-customers",
            "filter": {
                "and": [
                    {"field": "attributes.plan", "op": "eq", "value": "gold"},
                    {"field": "consent.marketing", "op": "eq", "value": "email"},
                ]
            },
        }
    },
    "preview_filter": {
        "who has bought nothing yet": {
            "filter": {
                "and": [
                    {"field": "country", "op": "in", "value": ["AT", "DE"]},
                    {"field": "attributes.orders", "op": "exists", "value": False},
                ]
            }
        }
    },
    "save_category": {
        "that they have to agree to": {
            "name": "weekly-report",
            "title": "Weekly report",
            "description": "What happened in your week.",
            "default": False,
        }
    },
    "save_window": {
        "billing at working hours, not on holidays": {
            "category": "billing",
            "begins": "08:00",
            "ends": "20:00",
            "days": ["mon", "tue", "wed", "thu", "fri"],
            "holidays": False,
            "timezone": "Europe/Vienna",
            "country": "AT",
        }
    },
    "set_preferences": {
        "one agreed to, and all text messages refused": {
            "choices": [
                {"category": "weekly-report", "channel": "email", "granted": True},
                {"channel": "sms", "granted": False},
            ],
            "text": "Yes, send me the weekly report by mail.",
        }
    },
    "create_notification": {
        "to a stored recipient": {
            "channel": "email",
            "to": {"recipient": "customer-17"},
            "template": "order-shipped",
            "context": {"number": 7, "name": "Ada"},
        },
        "from a template": {
            "channel": "email",
            "recipient": "ada@example.org",
            "template": "order-shipped",
            "context": {"number": 7, "name": "Ada"},
            "idempotency_key": "order-7-shipped",
        },
        "a code by SMS, now or never": {
            "channel": "sms",
            "recipient": "+4366412345678",
            "body": "Your code is 4711.",
            "priority": "high",
            "expires": 300,
        },
        "later, with a callback": {
            "channel": "email",
            "recipient": "Ada <ada@example.org>",
            "subject": "Your appointment",
            "body": "We expect you tomorrow at nine.",
            "countdown": 3600,
            "reference": "appointment-12",
            "callback_url": "https://shop.example.org/told",
        },
    },
    "create_batch": {
        "rows of one template": {
            "common": {"channel": "email", "template": "order-shipped", "priority": "low"},
            "notifications": [
                {"recipient": "ada@example.org", "context": {"number": 7, "name": "Ada"}},
                {"recipient": "eve@example.org", "context": {"number": 8, "name": "Eve"}},
            ],
        },
        "to an audience, with a name from each recipient's attributes": {
            "audience": "gold-customers",
            "common": {"channel": "email", "template": "order-shipped", "context": {"number": 7}},
            "variables": {"name": {"from": "attributes.first_name", "default": "customer"}},
        },
        "rows with texts of their own": [
            {"channel": "sms", "recipient": "+4366412345678", "body": "We open at nine."}
        ],
    },
    "create_job": {
        "a mail each Monday": {
            "name": "weekly-report",
            "handler": "notifications.send_notification",
            "schedule": {"cron": "0 7 * * 1", "timezone": "Europe/Berlin"},
            "kwargs": {
                "channel": "email",
                "recipient": "ada@example.org",
                "subject": "Your week",
                "body": "Here is what happened.",
            },
        }
    },
    "change_job": {
        "another rule": {"schedule": {"cron": "0 8 * * 1", "timezone": "Europe/Berlin"}},
        "a pause": {"enabled": False},
    },
    "backfill_job": {
        "what would run, for two days": {
            "since": "2026-01-05T00:00:00Z",
            "until": "2026-01-07T00:00:00Z",
            "pace": 10,
            "dry_run": True,
        }
    },
    "save_throttle": {
        "three pushes a day": {
            "category": "product",
            "channel": "push",
            "limit": 3,
            "period": 86400,
            "rest": "wait",
        }
    },
    "save_chain": {
        "push, then SMS": {
            "name": "one-time-code",
            "stop_on": "delivered",
            "expires": 600,
            "steps": [
                {"channel": "push", "body": "Your code is waiting in the app.", "wait": 60},
                {"channel": "sms", "body": "Open the app to see your code."},
            ],
        }
    },
    "start_chain": {
        "to a stored recipient": {
            "chain": "one-time-code",
            "to": {"recipient": "customer-17"},
            "category": "security",
            "idempotency_key": "login-4711",
        },
        "as data, to addresses": {
            "chain": {
                "stop_on": "sent",
                "steps": [
                    {"channel": "sms", "body": "Your order is on its way.", "wait": 300},
                    {"channel": "email", "subject": "Order 7", "body": "It is on its way."},
                ],
            },
            "recipients": {"sms": "+436641234567", "email": "ada@example.org"},
        },
    },
    "create_event_rule": {
        "tell who ordered": {
            "name": "Tell who ordered",
            "event": "order.shipped",
            "condition": "data.number > 0",
            "channel": "email",
            "recipients": "data.email",
            "template": "order-shipped",
        }
    },
    "create_event": {
        "an order was shipped": {
            "name": "order.shipped",
            "key": "order-7",
            "data": {"email": "ada@example.org", "number": 7, "name": "Ada"},
        }
    },
    "change_window": {"until nine in the evening": {"ends": "21:00"}},
    "change_event_rule": {"an hour later": {"delay": 3600}},
    "create_suppression": {
        "no marketing": {
            "channel": "email",
            "recipient": "eve@example.org",
            "scope": "marketing",
            "detail": "She asked by phone.",
        }
    },
    "create_bulk_replay": {"all, ten a second": {"per_second": 10}},
    "discard_failed_delivery": {"with a reason": {"reason": "The address was wrong."}},
    "discard_failed_deliveries": {
        "one cause": {
            "fingerprint": "0123456789abcdef0123456789abcdef",
            "reason": "The campaign is over.",
        }
    },
    "replay_failed_runs": {"one cause": {"cause": "0123456789abcdef0123456789abcdef"}},
    "discard_failed_run": {"with a reason": {"reason": "It was made good by hand."}},
}
