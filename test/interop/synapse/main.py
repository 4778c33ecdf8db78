"""Plays the stories between Beffroi and Synapse and says what passed.

    main.py BEFFROI SYNAPSE_PYTHON FOLDER [WORD...]

With words, only the stories whose name has one of them. With "control" in the
place of BEFFROI a second Synapse stands there: what fails then is a limit of
Synapse, and no fault of Beffroi.
"""

import os
import sys
import time
import traceback

sys.path.append(os.path.join(os.path.dirname(__file__), ".."))

import outage
import rooms
import people  # its stories join those of rooms
import encrypted  # likewise
from client import Account
from servers import Beffroi, Synapse, make_ca


class Run:
    """What passed and what failed."""

    def __init__(self, words):
        self.words, self.passed, self.failed, self.count = words, 0, 0, 0

    def play(self, name, fn, first, second):
        if self.words and not any(w in name for w in self.words):
            return
        self.count += 1
        start = time.monotonic()
        try:
            fn(Account(first, f"un{self.count}"), Account(second, f"deux{self.count}"))
        except Exception:
            self.failed += 1
            print(f"FAIL  {name}\n{traceback.format_exc(limit=-4)}", flush=True)
        else:
            self.passed += 1
            print(f"ok    {name} ({time.monotonic() - start:.1f}s)", flush=True)


def keys(beffroi, synapse):
    """Each server tells its keys itself; any exchange shows that the other believes them."""
    rooms.exchange(rooms.shared_room(beffroi, synapse), beffroi, synapse)


def main():
    binary, python, folder, words = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
    make_ca(folder)
    synapse = Synapse(folder, python)
    synapse.configure()
    synapse.generate_keys()
    if binary == "control":
        beffroi = Synapse(folder, python, "control")
        beffroi.configure()
        beffroi.generate_keys()
    else:
        beffroi = Beffroi(folder, binary)
        beffroi.configure([synapse.name])
    run = Run(words)
    try:
        synapse.start()
        beffroi.start()
        run.play("keys", keys, beffroi, synapse)
        assert people and encrypted
        for story in rooms.STORIES:
            name = story.__name__.replace("_", " ")
            run.play(f"{name}: synapse to beffroi", story, beffroi, synapse)
            run.play(f"{name}: beffroi to synapse", story, synapse, beffroi)
        for story in outage.STORIES:
            run.play(story.__name__.replace("_", " "), story, beffroi, synapse)
    finally:
        beffroi.stop()
        synapse.stop()
    print(f"{run.passed} passed, {run.failed} failed")
    return 1 if run.failed or not run.passed else 0


if __name__ == "__main__":
    sys.exit(main())
