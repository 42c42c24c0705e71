"""How long a person waits for `whyrec chat`: for the prompt, for the first answer, and for later ones.

    python -m benchmarks.chat_speed

MovieLens-small, the language model as reader, no ranking by it. The prompt: at a terminal, from the start of the
process until something can be typed. Answers: from a line on standard input until its reply, once the models are
loaded, which `/profile` waits for; how long that took is told too. Medians of several processes.
"""

import argparse
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.quality import workspace
from benchmarks.reporting import spread, write_report

PROMPT = b"\x1b[?2004h"  # the terminal is told to expect typing
REPEATS = 5
SAID = (
    "something like Alien, but no horror, from the 90s",
    "more comedy",
    "forget the horror, and give me five",
    "why the first?",
    "/dislike 1",
)


def call(root: Path) -> list[str]:
    """The command."""
    return [sys.executable, "-m", "agent.cli", "chat", "--mode", "retrieval", "-w", str(root)]


def until_prompt(root: Path) -> float:
    """Seconds until something can be typed."""
    start = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:  # the child, which becomes the command
        os.execv(sys.executable, call(root))
    seen = b""
    try:
        while PROMPT not in seen:
            seen += os.read(terminal, 4096)
        return time.perf_counter() - start
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def talked(root: Path) -> list[float]:
    """Seconds until all is loaded, then until each answer."""
    process = subprocess.Popen(
        [*call(root), "--format", "ndjson"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    times = []
    with process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipes")
        for line in ("/profile", *SAID):
            start = time.perf_counter()
            process.stdin.write(line + "\n")
            reply = json.loads(process.stdout.readline())
            times.append(time.perf_counter() - start)
            if not (line == "/profile" or reply["rows"] or reply["reason"]):
                raise RuntimeError(f"no answer to {line!r}: {reply}")
        process.stdin.close()
    return times


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where the workspace is kept")
    asked = parser.parse_args()
    root = workspace("movielens-small", asked.work, None, {})
    until_prompt(root)  # not counted: what is read of the disk for the first time
    prompts = [until_prompt(root) for _ in range(REPEATS)]
    rounds = [talked(root) for _ in range(REPEATS)]
    figures = {
        "prompt": spread(prompts),
        "loaded": spread([times[0] for times in rounds]),
        "first answer": spread([times[1] for times in rounds]),
        "later answers": spread([one for times in rounds for one in times[2:]]),
        "slowest answer": max(one for times in rounds for one in times[1:]),
    }
    write_report("chat-speed", figures, repeats=REPEATS, said=SAID)


if __name__ == "__main__":
    main()
