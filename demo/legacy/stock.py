"""What the Stockroom has: some rows in memory, gone when the app ends."""

import itertools
import threading

MAX_BODY_BYTES = 4096
MAX_ITEMS = 500
LOW = 10

_lock = threading.Lock()
_ids = itertools.count(1)
_items = []


def items():
    with _lock:
        return [dict(item) for item in _items]


def item(number):
    with _lock:
        return next((dict(item) for item in _items if str(item["id"]) == number), None)


def add(wanted):
    """Adds `{"item": NAME, "count": NUMBER}`. A ValueError says what is wrong with it."""
    if not isinstance(wanted, dict):
        raise ValueError("Send an object with item and count.")
    name, count = wanted.get("item"), wanted.get("count")
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= 80:
        raise ValueError("item: 1 to 80 letters.")
    if type(count) is not int or not 0 <= count <= 1_000_000:
        raise ValueError("count: a whole number from 0 to 1000000.")
    return _add(name.strip(), "IN", count)


def report(reader):
    """The figures that only an admin should see. The app relies on the proxy for that."""
    with _lock:
        return {
            "for": reader,
            "items": len(_items),
            "pieces": sum(item["count"] for item in _items),
            "low": [item["item"] for item in _items if item["count"] < LOW],
        }


def _add(name, shelf, count):
    with _lock:
        if len(_items) >= MAX_ITEMS:
            raise ValueError("The Stockroom is full.")
        item = {"id": next(_ids), "item": name, "shelf": shelf, "count": count}
        _items.append(item)
        return dict(item)


for _row in (
    ("Hex bolt M8 × 40, zinc", "A-01", 1240),
    ("Washer M8, stainless", "A-02", 3100),
    ("Ball bearing 6204", "A-07", 64),
    ("V-belt SPZ 1000", "B-03", 8),
    ("Hydraulic hose 1/2 in, 2 m", "B-11", 23),
    ("Limit switch, roller lever", "C-02", 17),
    ("Contactor 24 V DC", "C-05", 6),
    ("Gear oil ISO VG 220, 5 l", "D-01", 41),
    ("Safety gloves, size 9", "E-04", 180),
    ("Emergency stop button", "E-09", 3),
):
    _add(*_row)
