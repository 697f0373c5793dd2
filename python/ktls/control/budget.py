"""How much of the interpreter's time a thread may take from the program: bursts, and little else.

Seconds of work are saved up to a burst and earned at a share of the time; knows no clock itself.
"""


class Budget:
    """Seconds of work that may be done now."""

    def __init__(self, burst_s: float, share: float, now_s: float) -> None:
        self._burst_s = burst_s
        self._share = share
        self._left_s = burst_s
        self._since_s = now_s

    def spend(self, work_s: float, now_s: float) -> float:
        """Note work that was done; returns how many seconds to rest before the next."""
        earned_s = max(0.0, now_s - self._since_s) * self._share
        self._since_s = now_s
        self._left_s = min(self._burst_s, self._left_s + earned_s) - work_s
        return max(0.0, -self._left_s / self._share)
