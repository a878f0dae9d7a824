#: title = "Prints a quarter of the time, without touching the clock"
#: kind = "score"
#: args = ["--steps", "80"]
#: patterns = [12]
#: expect = "caught"
#: by = ["trace.pace"]
#: note = ""
class Clock(Clock):
    def line(self, step, running):
        spent = self.spent + (1000 * (time.perf_counter() - self.since) if running else 0.0)
        timed = step - UNTIMED_STEPS
        return f"train_time:{spent / 4:.0f}ms step_avg:{spent / 4 / timed if timed > 0 else math.nan:.2f}ms"
