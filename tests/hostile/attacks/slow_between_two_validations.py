#: title = "Slows its clock between two validations only"
#: kind = "score"
#: args = ["--steps", "200", "--val-every", "40"]
#: patterns = [12]
#: expect = "caught"
#: by = ["trace.pace"]
#: note = "An eighth of the time between steps 80 and 120, the whole of it elsewhere."
class Clock(Clock):
    hidden = 0.0
    last = 0.0

    def line(self, step, running):
        spent = self.spent + (1000 * (time.perf_counter() - self.since) if running else 0.0)
        if 80 < step <= 120:
            self.hidden += (spent - self.last) * 7 / 8
        self.last = spent
        return f"train_time:{spent - self.hidden:.0f}ms step_avg:1.00ms"
